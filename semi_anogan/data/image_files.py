"""Opens image files with Pillow: which files are taken, and what is wrong with one that is not."""

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from semi_anogan.errors import DataError

MAX_PIXELS = 100_000_000
MIN_SIDE = 4
# Pillow tries all its decoders if not told which. Some start other programs (EPS) or are of no use here.
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM", "JPEG2000")
# Formats that are told by the file's name alone: they have no magic number that would tell them from others.
BY_SUFFIX = {".tga": "TGA", ".pcx": "PCX", ".dib": "DIB"}
# What counts as an image where a folder is listed.
SUFFIXES = tuple(
    ".png .jpg .jpeg .jpe .jfif .bmp .tif .tiff .webp .gif .pgm .ppm .pbm .pnm .jp2 .j2k .jpx".split()
) + tuple(BY_SUFFIX)
# What is an image too, but cannot be read here.
OTHER_SUFFIXES = tuple(
    (
        ".avif .heic .heif .raw .dng .nef .nrw .cr2 .cr3 .crw .arw .orf .rw2 .raf .pef .srw .dcm .dicom .nii "
        ".npy .npz .exr .hdr .psd .svg .eps .jxl .jxr .wdp .fits .fit .h5 .hdf5 .ico .xcf .sgi .ras "
        ".pfm .pam .dds .czi .nd2 .lsm .vsi .svs .mp4 .avi .mov .mkv"
    ).split()
)
ORIENTATION = 0x0112  # the EXIF value
# Values of TIFF.
BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLES_PER_PIXEL, SAMPLE_FORMAT = 258, 262, 277, 339
MIN_IS_WHITE = 0  # of PHOTOMETRIC
SIGNED = 2  # of SAMPLE_FORMAT
_TIFF_BEGINS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Those that no other kind of file begins with.
_IMAGE_BEGINS = (
    *_TIFF_BEGINS,
    *(b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"),
)


class Header(NamedTuple):
    """What a file says of itself before its pixels are decoded.

    Attributes:
      format: as Pillow names it: "PNG".
      mode: Pillow's: "RGB", "I;16".
      frames: pages or frames in the file.
      deep_colour: whether its colours or its transparency have 16 bits, of which Pillow keeps 8.
      most: the value that is white in a PGM or PPM file; 0 in others.
      unread: channels of a pixel that are not read.
      orientation: EXIF, 1 for upright; found on decoding.
    """

    format: str
    mode: str
    frames: int
    deep_colour: bool
    most: int
    unread: int = 0
    orientation: int = 1


_RAISE = "; --config.data.max_pixels raises it, or --max_pixels of score and of the runtime"


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
        # Pillow has a limit of its own, and refuses twice as much.
        if Image.MAX_IMAGE_PIXELS is not None and Image.MAX_IMAGE_PIXELS < max_pixels:
            Image.MAX_IMAGE_PIXELS = max_pixels
        # As a file object: by name, Pillow maps some TIFF files into memory and garbles those on their side.
        with open(path, "rb") as file, Image.open(file, formats=_formats(path)) as image:
            width, height = image.size
            if width < MIN_SIDE or height < MIN_SIDE:
                raise ImageError(f"{path}: {width} x {height} pixels, smaller than {MIN_SIDE} x {MIN_SIDE}")
            if width * height > max_pixels:
                raise ImageError(
                    f"{path}: {width} x {height} pixels, more than the limit of {max_pixels} pixels{_RAISE}"
                )
            if _tiff_bits(image) == 8 and SIGNED in image.tag_v2.get(SAMPLE_FORMAT, ()):
                # Pillow takes -1 for 255.
                raise ImageError(
                    f"{path}: signed values of 8 bits, which are not read; save it with 0 as black"
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
        raise ImageError(f"{path}: {_unreadable(path)}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{path}: too many pixels, the limit is {max_pixels}: {error}{_RAISE}") from None
    except Exception as error:  # Pillow's decoders raise almost anything on broken files
        raise ImageError(f"{path}: cannot be decoded: {type(error).__name__}: {error}") from error


@contextlib.contextmanager
def decoded(path: str | os.PathLike, max_pixels: int) -> Iterator[tuple[Image.Image, Header]]:
    """(first frame as a Pillow image, decoded and upright; the file's header); errors as in `opened`."""
    with opened(path, max_pixels) as image:
        # Of a PNG file Pillow decodes all to know the orientation, of a TIFF file it forgets it on decoding.
        header = header_of(image)._replace(orientation=image.getexif().get(ORIENTATION, 1))
        inverted = image.format == "TIFF" and image.tag_v2.get(PHOTOMETRIC) == MIN_IS_WHITE
        image.load()
        if inverted and image.mode[0] in "IF":  # Pillow itself turns those of 8 bits and less only
            image = _black_and_white_exchanged(image, path)
        yield ImageOps.exif_transpose(image), header


def _black_and_white_exchanged(image: Image.Image, path) -> Image.Image:
    """A TIFF of 16 bits whose 0 is white as one whose 0 is black; ImageError of other depths."""
    values = np.asarray(image)
    if not image.mode.startswith("I;16"):
        raise ImageError(
            f"{os.fspath(path)}: 0 is white in it (MinIsWhite), which is read of up to 16 bits; save it with "
            "0 as black"
        )
    other = Image.fromarray(np.uint16(65535) - values.astype(np.uint16))
    other.info = image.info
    other.getexif().update(image.getexif())
    return other


def header_of(image: Image.Image) -> Header:
    """The header of an opened file, whose pixels have not been decoded."""
    arguments = image.tile[0][3] if image.tile else None
    raw = arguments[0] if isinstance(arguments, tuple) else arguments
    most = arguments[1] if image.format == "PPM" and isinstance(arguments, tuple) else 0
    deep = most > 255 or ";16" in str(raw) or _tiff_bits(image) > 8 or _jpeg2000_bits(image) > 8
    return Header(
        format=image.format,
        mode=image.mode,
        frames=getattr(image, "n_frames", 1),
        deep_colour=deep and image.mode[0] not in "IF",
        most=most,
        unread=_tiff_unread(image),
    )


def _tiff_bits(image: Image.Image) -> int:
    """Bits of a colour of a TIFF file, 0 of others."""
    return max(image.tag_v2.get(BITS_PER_SAMPLE, (0,))) if image.format == "TIFF" else 0


def _tiff_unread(image: Image.Image) -> int:
    """Channels of a TIFF file that Pillow leaves out, such as near infrared beside colours."""
    if image.format != "TIFF":
        return 0
    return max(0, image.tag_v2.get(SAMPLES_PER_PIXEL, 1) - len(image.getbands()))


def _jpeg2000_bits(image: Image.Image) -> int:
    """Bits of a colour of a JPEG 2000 file, 0 of others: the marker SIZ says it, which Pillow does not."""
    if image.format != "JPEG2000":
        return 0
    position = image.fp.tell()
    image.fp.seek(0)
    beginning = image.fp.read(4096)
    image.fp.seek(position)
    marker = beginning.find(b"\xff\x4f\xff\x51")
    depth = beginning[marker + 42 : marker + 43] if marker >= 0 else b""
    return (depth[0] & 0x7F) + 1 if depth else 0


def _formats(path: str) -> tuple[str, ...]:
    named = BY_SUFFIX.get(os.path.splitext(path)[1].lower())
    return (*FORMATS, named) if named else FORMATS


def _check_file(path: str) -> None:
    """Refuses what is no file of some length."""
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise ImageError(f"{path}: is a folder, not an image file")
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(f"{path}: is not a regular file")
    if status.st_size == 0:
        raise ImageError(f"{path}: empty file (0 bytes)")


def begins_as_image(path: str | os.PathLike) -> bool:
    """Whether a file is probably an image by its first bytes, whatever its name."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as file:
            beginning = file.read(12)
    except OSError:
        return False
    return beginning.startswith(_IMAGE_BEGINS) or beginning[:4] + beginning[8:] == b"RIFFWEBP"


def _unreadable(path: str) -> str:
    """What is wrong with a file that no decoder takes."""
    try:
        with open(path, "rb") as file:
            beginning = file.read(12)
    except OSError as error:
        return f"cannot be read: {error}"
    if beginning.startswith(_TIFF_BEGINS):
        return (
            "a TIFF file of a kind that is not read; save it in grey or RGB of 8 or 16 bits, or in grey of "
            "32-bit float"
        )
    return f"not a readable {', '.join(FORMATS)} image, it begins with {beginning!r}"
