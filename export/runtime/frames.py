"""Images that come over time: files that appear in a folder, or frames on a stream."""

import os
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from semi_anogan.data import image_files, pnm
from semi_anogan.data import images as image_io
from semi_anogan.data.listing import images_below, is_ignore
from semi_anogan.data.notes import Notes
from semi_anogan.errors import DataError

POLL_SECONDS = 0.1


def of_folder(folder: str, notes: Notes | None = None) -> Iterator[str]:
    """Paths of the image files in a folder and below: those there, then those that appear, without end.

    A file counts when its size has not changed between two looks, so that one being written is not read too
    early. notes: get a line for each kind of what is left out at the beginning.
    """
    sizes, told = {}, set()
    images_below(folder, notes, is_ignore)
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
    return [os.path.join(folder, name) for name in images_below(folder, leave_out=is_ignore)]


class Frame(NamedTuple):
    """One frame of a stream: a name for it, and its pixels uint8 or uint16 [H, W, 1 or 3] up to `most`."""

    name: str
    pixels: np.ndarray
    most: int

    def image(self, channels: int, reader: image_io.Reader) -> np.ndarray:
        """float32 [H, W, channels] in [-1, 1], as a PGM or PPM file with these values is read."""
        image, found = image_io.of_values(self.pixels, self.most, channels, reader.scale)
        image_io.note(reader.notes, self.name, found, reader.scale)
        return image


def of_stream(stream, max_pixels: int = image_files.MAX_PIXELS) -> Iterator[Frame]:
    """Frames of a binary stream of PGM (P5) and PPM (P6) images, as ffmpeg's image2pipe writes them.

    Raises: DataError naming the frame where the stream holds something else or ends within a frame.
    """
    number = 0
    while (magic := pnm.token(stream)) != b"":
        number += 1
        name = f"frame_{number:06d}"
        if magic not in (b"P5", b"P6"):
            raise DataError(f"{name}: a frame must be PGM (P5) or PPM (P6), it begins with {magic[:12]!r}")
        try:
            header = pnm.read_header(stream, magic)
            size = f"{header.width} x {header.height}"
            if min(header.width, header.height) < image_files.MIN_SIDE:
                raise ValueError(f"{size} pixels up to {header.most} cannot be used")
            if header.width * header.height > max_pixels:
                raise ValueError(
                    f"{size} pixels, more than the limit of {max_pixels} pixels; --max_pixels raises it"
                )
            pixels = pnm.read_pixels(stream, header)
        except ValueError as error:
            raise DataError(f"{name}: {error}") from None
        yield Frame(name, pixels, header.most)
