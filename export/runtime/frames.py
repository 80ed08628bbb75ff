"""Images that come over time: files that appear in a folder, or frames on a stream."""

import os
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from semi_anogan.data import image_files
from semi_anogan.data import images as image_io
from semi_anogan.errors import DataError

POLL_SECONDS = 0.1


def of_folder(folder: str) -> Iterator[str]:
    """Paths of the image files in a folder and below: those there, then those that appear, without end.

    A file counts when its size has not changed between two looks, so that one being written is not read too
    early.
    """
    sizes, told = {}, set()
    while True:
        stable = []
        for path in _image_files(folder):
            try:
                size = os.stat(path).st_size
            except OSError:  # gone again
                continue
            if path not in told and size and sizes.get(path) == size:
                stable.append(path)
            sizes[path] = size
        for path in stable:
            told.add(path)
            yield path
        time.sleep(POLL_SECONDS)


def _image_files(folder: str) -> list[str]:
    files = [os.path.join(place, name) for place, _, names in os.walk(folder) for name in names]
    return sorted(f for f in files if f.lower().endswith(image_files.SUFFIXES))


class Frame(NamedTuple):
    """One frame of a stream: a name for it, and its pixels uint8 or uint16 [H, W, 1 or 3] up to `most`."""

    name: str
    pixels: np.ndarray
    most: int

    def image(self, channels: int) -> np.ndarray:
        """float32 [H, W, channels] in [-1, 1]."""
        values = self.pixels.astype(np.float32) / np.float32(self.most / 2) - np.float32(1.0)
        return image_io.to_channels(values, channels)


def of_stream(stream) -> Iterator[Frame]:
    """Frames of a binary stream of PGM (P5) and PPM (P6) images, as ffmpeg's image2pipe writes them.

    Raises: DataError naming the frame where the stream holds something else or ends within a frame.
    """
    number = 0
    while (magic := _token(stream)) != b"":
        number += 1
        name = f"frame_{number:06d}"
        if magic not in (b"P5", b"P6"):
            raise DataError(f"{name}: a frame must be PGM (P5) or PPM (P6), it begins with {magic[:12]!r}")
        fields = [_token(stream) for _ in range(3)]
        if not all(f.isdigit() for f in fields):
            raise DataError(f"{name}: width, height and maximum must be numbers, got {fields}")
        width, height, most = map(int, fields)
        fits = min(width, height) >= image_files.MIN_SIDE and width * height <= image_files.MAX_PIXELS
        if not fits or not 0 < most < 65536:
            raise DataError(f"{name}: {width} x {height} pixels up to {most} cannot be used")
        kind, channels = np.dtype(">u2" if most > 255 else "u1"), 1 if magic == b"P5" else 3
        size = width * height * channels * kind.itemsize
        data = stream.read(size)
        if len(data) < size:
            raise DataError(f"{name}: the stream ended after {len(data)} of its {size} bytes")
        yield Frame(name, np.frombuffer(data, kind).reshape(height, width, channels), most)


def _token(stream) -> bytes:
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
