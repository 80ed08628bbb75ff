"""Opens image files with Pillow: which files are taken, and what is wrong with one that is not."""

import contextlib
import os
import stat
from collections.abc import Iterator

from PIL import Image, ImageOps

from semi_anogan.errors import DataError

MAX_PIXELS = 100_000_000
MIN_SIDE = 4
# Pillow tries all its decoders if not told which. Some start other programs (EPS) or are of no use here.
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM", "JPEG2000")
# What counts as an image where a folder is listed.
SUFFIXES = tuple(".png .jpg .jpeg .bmp .tif .tiff .webp .gif .pgm .ppm .pbm .pnm .jp2".split())


class ImageError(DataError):
    """An image file that cannot be used; the message names the file, the reason and the value found."""


@contextlib.contextmanager
def opened(path: str | os.PathLike, max_pixels: int) -> Iterator[Image.Image]:
    """A Pillow image whose header has been read and checked, not yet its pixels.

    Raises: ImageError, for whatever goes wrong here or while the caller uses the image.
    """
    path = os.fspath(path)
    try:
        _check_file(path)
        # As a file object: by name, Pillow maps some TIFF files into memory and garbles those on their side.
        with open(path, "rb") as file, Image.open(file, formats=FORMATS) as image:
            width, height = image.size
            if width < MIN_SIDE or height < MIN_SIDE:
                raise ImageError(f"{path}: {width} x {height} pixels, smaller than {MIN_SIDE} x {MIN_SIDE}")
            if width * height > max_pixels:
                raise ImageError(
                    f"{path}: {width} x {height} pixels, more than the limit of {max_pixels} pixels"
                )
            yield image
    except ImageError:
        raise
    except FileNotFoundError:
        reason = "link to a file that does not exist" if os.path.islink(path) else "no such file"
        raise ImageError(f"{path}: {reason}") from None
    except PermissionError:
        raise ImageError(f"{path}: permission denied") from None
    except Image.UnidentifiedImageError:
        raise ImageError(
            f"{path}: not a readable {', '.join(FORMATS)} image, it {_beginning(path)}"
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{path}: too many pixels, the limit is {max_pixels}: {error}") from None
    except Exception as error:  # Pillow's decoders raise almost anything on broken files
        raise ImageError(f"{path}: cannot be decoded: {type(error).__name__}: {error}") from error


@contextlib.contextmanager
def decoded(path: str | os.PathLike, max_pixels: int) -> Iterator[Image.Image]:
    """The first frame of a file as a Pillow image, decoded and upright; errors as in `opened`."""
    with opened(path, max_pixels) as image:
        image.load()
        yield ImageOps.exif_transpose(image)


def _check_file(path: str) -> None:
    """Refuses what is no file of some length."""
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise ImageError(f"{path}: is a folder, not an image file")
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(f"{path}: is not a regular file")
    if status.st_size == 0:
        raise ImageError(f"{path}: empty file (0 bytes)")


def _beginning(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return f"begins with {file.read(12)!r}"
    except OSError as error:
        return f"cannot be read: {error}"
