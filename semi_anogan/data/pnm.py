"""PGM and PPM images with the values that they hold: Pillow stretches them to 8 or 16 bits."""

import math
import re
from typing import NamedTuple

import numpy as np

CHANNELS = {b"P5": 1, b"P6": 3, b"P2": 1, b"P3": 3}  # by the magic number; P2 and P3 are written as text
TEXT = (b"P2", b"P3")


class Header(NamedTuple):
    """Magic number, size in pixels, channels, and the value that is white."""

    magic: bytes
    width: int
    height: int
    channels: int
    most: int


def read_header(stream, magic: bytes | None = None) -> Header:
    """The header of a binary stream; magic: its magic number, where that has been read.

    Raises: ValueError where it is no header.
    """
    magic = magic or token(stream)
    if magic not in CHANNELS:
        raise ValueError(f"begins with {magic[:12]!r}, not with one of {', '.join(map(repr, CHANNELS))}")
    fields = [token(stream) for _ in range(3)]
    if not all(field.isdigit() for field in fields):
        raise ValueError(f"width, height and maximum must be numbers, got {fields}")
    width, height, most = map(int, fields)
    if not 0 < most < 65536:
        raise ValueError(f"{width} x {height} pixels up to {most} cannot be used")
    return Header(magic, width, height, CHANNELS[magic], most)


def read_pixels(stream, header: Header) -> np.ndarray:
    """The pixels after a header: uint8 or big-endian uint16 [H, W, C].

    Raises: ValueError where the stream ends too early.
    """
    kind = np.dtype(">u2" if header.most > 255 else "u1")
    shape = (header.height, header.width, header.channels)
    count = math.prod(shape)
    if header.magic in TEXT:
        values = re.sub(rb"#[^\n]*", b"", stream.read()).split()[:count]
        if len(values) < count:
            raise ValueError(f"the file ended after {len(values)} of its {count} values")
        return np.array([int(value) for value in values], kind).reshape(shape)
    size = count * kind.itemsize
    data = stream.read(size)
    if len(data) < size:
        raise ValueError(f"the stream ended after {len(data)} of its {size} bytes")
    return np.frombuffer(data, kind).reshape(shape)


def token(stream) -> bytes:
    """The next word of a header, without comments; exactly one blank after it is read."""
    word = b""
    while byte := stream.read(1):
        if byte == b"#" and not word:
            while byte not in (b"\n", b""):
                byte = stream.read(1)
        elif not byte.isspace():
            word += byte
            if len(word) > 64:
                break
        elif word:
            break
    return word
