"""What image files hold: the only module that knows the ranges of their pixels.

Inside the package an image is float32 [H, W, C] in [-1, 1] with C = 1 (grey) or 3 (RGB), and -1 is black.
What a file holds comes to that as follows:

- 8 bits a channel: x / 127.5 - 1. More bits: (x - black) / (white - black) * 2 - 1 by the run's `Scale`;
  values beyond are clipped. Without one the full scale, 65535, whatever values occur.
- Float TIFF: values in [0, 1], or of a `Scale` whose white was given; a range is never guessed from one file.
- Palette, CMYK, YCbCr and 1-bit images are converted to RGB or grey.
- Transparency is composited over black.
- EXIF orientation is applied. Of several frames or pages (GIF, TIFF) the first is taken.
"""

import dataclasses
import os

import numpy as np
from PIL import Image

from semi_anogan.data.deep_values import deep_values, is_deep
from semi_anogan.data.image_arrays import in_colour, to_channels
from semi_anogan.data.image_files import (
    MAX_PIXELS,
    ORIENTATION,
    Header,
    ImageError,
    decoded,
    header_of,
    opened,
)
from semi_anogan.data.notes import Notes
from semi_anogan.image_shape import MUCH, in_words, stretch

_SWAPPED_ORIENTATIONS = (5, 6, 7, 8)  # EXIF values for images stored on their side
# Kinds of values -> what is white where nothing else is known.
EIGHT_BITS, DEEP, FLOAT = "8 bits", "more than 8 bits", "float"
FULL_SCALE = {EIGHT_BITS: 255.0, DEEP: 65535.0, FLOAT: 1.0}
DARK = 8  # so many times below white an image of more than 8 bits is told of
SAMPLED = 256  # about so many rows and columns say so


@dataclasses.dataclass(frozen=True)
class Scale:
    """Which values of image files are white and black.

    A white from 256 on is that of files of more than 8 bits; those of 8 bits then span the same range, 255 of
    them is as white. A white of 1 or less is that of float files, the others have their full scale.

    Attributes:
      white: None: 255 of 8 bits, 65535 of more, 1 of float files.
      black: None is 0.
    """

    white: float | None = None
    black: float | None = None

    def ends(self, kind: str, highest: float) -> tuple[float, float]:
        """(black, white) of a file; kind: a key of FULL_SCALE; highest: its highest value.

        Where a file is beyond all doubt of another depth than `white` says, its own full scale is white.
        """
        full = FULL_SCALE[kind]
        white, black = self.white or full, self.black or 0.0
        other = {
            EIGHT_BITS: white > full or white <= 1,
            DEEP: white <= 1 or white <= 255 < highest,
            FLOAT: white >= 255 and highest <= 1,
        }
        return (black * full / white, full) if other[kind] else (black, white)


@dataclasses.dataclass(frozen=True)
class Found:
    """What was found in a file besides its pixels.

    Attributes:
      header: of the file; None of a frame that is none.
      kind: a key of FULL_SCALE.
      highest, lowest: its highest and lowest value; of 8 bits 255 and 0.
      size: (height, width).
      clipped: whether values lie beyond white or black.
      other_scale: whether it is of another depth than the scale's, and was read at its own full scale.
      transparent: whether it has transparent pixels.
      levels: how many values its pixels have: 1, 2, or 3 for more.
      colour: whether it shows colour; False too of a file of colours whose pixels are all grey.
    """

    header: Header | None
    kind: str
    highest: float
    size: tuple[int, int]
    clipped: bool = False
    other_scale: bool = False
    transparent: bool = False
    levels: int = 3
    colour: bool = False
    lowest: float = 0.0


@dataclasses.dataclass(frozen=True)
class Reader:
    """Reads image files one after the other by one scale and limit, and notes what is unusual.

    Args: scale, max_pixels: as in `read`; notes: get a line for each kind of what is unusual; resolution:
      short side of what the model sees, to tell of images that are much smaller; shape: (height, width) that
      images are brought to, to tell of those that this stretches; None where it does not.
    """

    scale: Scale = Scale()
    max_pixels: int = MAX_PIXELS
    notes: Notes = dataclasses.field(default_factory=Notes)
    resolution: int = 0
    shape: tuple[int, int] | None = None

    def __call__(self, path: str | os.PathLike, channels: int) -> np.ndarray:
        """float32 [H, W, channels] in [-1, 1]; ImageError as in `read_image`."""
        image, found = read(path, channels, self.scale, self.max_pixels)
        self.note(path, found)
        return image

    def note(self, name, found: Found):
        """Notes what is unusual in an image of a file or a stream."""
        note(self.notes, name, found, self.scale)
        note_small(self.notes, name, found.size, self.resolution)
        if found.levels == 2 and not found.clipped:
            self.notes.add(
                "{n} images have two values alone, as masks have, such as {first}: taken as images",
                name,
            )
        if self.shape is not None and stretch(found.size, self.shape) > MUCH:
            self.notes.add(
                f"{{n}} images are stretched by more than a factor of {MUCH} to be {in_words(self.shape)} "
                "(width x height), as the model sees them, such as {first}: they may look unlike those of "
                "the training",
                name,
            )


def read_image(
    path: str | os.PathLike, channels: int, max_pixels: int = MAX_PIXELS, scale: Scale = Scale()
) -> np.ndarray:
    """Reads an image file.

    Args:
      path: the file; its content decides the format, not its name.
      channels: 1 (colour becomes grey by luma) or 3 (grey is repeated).
      max_pixels: refuse images with more pixels than this, before decoding them.
      scale: which values are white and black.

    Returns:
      float32 [H, W, channels] in [-1, 1].

    Raises:
      ImageError: missing, unreadable, empty, truncated, not an image, smaller than 4 x 4 or too large; values
        that are no numbers, negative where black is not, or beyond the full scale where white is not.
    """
    return read(path, channels, scale, max_pixels)[0]


def read(
    path: str | os.PathLike, channels: int, scale: Scale = Scale(), max_pixels: int = MAX_PIXELS
) -> tuple[np.ndarray, Found]:
    """As `read_image`, with what was found in the file."""
    with decoded(path, max_pixels) as (image, header):
        transparent = _has_transparent_pixels(image)
        raw = deep_values(path, image, header)
        if raw is None:
            pixels, kind, lowest, highest = _eight_bits(image), EIGHT_BITS, 0.0, 255.0
        else:
            kind = FLOAT if raw.dtype.kind == "f" else DEEP
            lowest, highest = _checked(path, raw, kind, scale)
            pixels = raw.astype(np.float32)
    most = header.most if kind == DEEP else 0
    image, found = _in_range(pixels, kind, highest, channels, scale, most, header, transparent)
    return image, dataclasses.replace(found, lowest=lowest)


def of_values(
    values: np.ndarray, most: int, channels: int, scale: Scale = Scale()
) -> tuple[np.ndarray, Found]:
    """As `read`, of the values of a PGM or PPM image, uint8 or uint16 [H, W, 1 or 3], and its maximum."""
    pixels = values.astype(np.float32)
    if most > 255:
        return _in_range(pixels, DEEP, float(values.max()), channels, scale, most)
    return _in_range(pixels * np.float32(255 / most), EIGHT_BITS, 255.0, channels, scale)


def _in_range(
    pixels: np.ndarray,
    kind: str,
    highest: float,
    channels: int,
    scale: Scale,
    most: int = 0,
    header: Header | None = None,
    transparent: bool = False,
) -> tuple[np.ndarray, Found]:
    """What `read` returns, from the values of a file, float32 [H, W, 1 or 3], which it may change.

    most: what its header says is white, where that is more than 8 bits; 0 where it says nothing.
    """
    black, white = scale.ends(kind, highest)
    # Of a white of 16 bits, 255 of 8 bits and 1 of float files say the same.
    other_scale = scale.white not in (None, white) and (kind == DEEP or scale.white != FULL_SCALE[DEEP])
    white = min(white, most) if most else white
    clipped = False
    if kind != EIGHT_BITS or (black, white) != (0.0, 255.0):
        clipped = bool(pixels.min() < black or pixels.max() > white)
        if black:
            pixels -= np.float32(black)
        pixels /= np.float32((white - black) / 2)
        pixels -= np.float32(1.0)
        pixels = np.clip(pixels, -1.0, 1.0, out=pixels)
    else:
        pixels /= np.float32(127.5)
        pixels -= np.float32(1.0)
    step = max(1, min(pixels.shape[:2]) // SAMPLED)
    found = Found(
        header,
        kind,
        highest,
        pixels.shape[:2],
        clipped,
        other_scale,
        transparent,
        levels_of(pixels),
        pixels.shape[-1] == 3 and in_colour(pixels[::step, ::step]),
    )
    pixels = to_channels(pixels, channels)
    # Rounding may have left the range.
    return np.clip(pixels, -1.0, 1.0, out=pixels), found


def levels_of(pixels: np.ndarray) -> int:
    """1 where all pixels have one value, 2 where they have two, 3 for more; some rows tell of most images."""
    for part in (pixels[:: max(1, len(pixels) // 16)], pixels):
        low, high = part.min(), part.max()
        if not ((part == low) | (part == high)).all():
            return 3
    return 1 if low == high else 2


def depth_of(
    path: str | os.PathLike, max_pixels: int = MAX_PIXELS, ignored: np.ndarray | None = None
) -> tuple[str, float]:
    """(key of FULL_SCALE, highest value) of a file, decoded only where it has more than 8 bits.

    Of a PGM or PPM file whose header says what is white it is that. ignored: bool [H, W], pixels that do not
    count.

    Raises: ImageError as in `read_image`, but for values out of range.
    """
    with opened(path, max_pixels) as image:
        header = header_of(image)
    if header.mode[0] not in "IF" and not header.deep_colour:
        return EIGHT_BITS, 255.0
    if header.mode != "F" and 255 < header.most < FULL_SCALE[DEEP]:
        return DEEP, float(header.most)
    with decoded(path, max_pixels) as (image, header):
        raw = deep_values(path, image, header)
    if raw is None:
        return EIGHT_BITS, 255.0
    return FLOAT if raw.dtype.kind == "f" else DEEP, float((raw if ignored is None else raw[~ignored]).max())


def note(notes: Notes, path, found: Found, scale: Scale):
    """Adds a line for each kind of what is unusual in a file."""
    if found.levels == 1:
        notes.add("{n} images have one value all over, such as {first}: they show nothing", path)
    if found.header is not None and found.header.frames > 1:
        notes.add(
            "{n} images have several frames or pages, such as {first}: the first is used; save the others as "
            "files of their own",
            path,
        )
    if found.header is not None and found.header.orientation > 1:
        notes.add(
            "{n} images are turned or mirrored as their EXIF orientation says, such as {first}; a mask must "
            "be of the image as it is shown",
            path,
        )
    if found.header is not None and found.header.unread:
        notes.add(
            "{n} images have more channels than grey or red, green and blue, such as {first}: the others are "
            "not used",
            path,
        )
    if found.header is not None and found.header.deep_colour and found.kind == EIGHT_BITS:
        notes.add(
            "{n} images have more than 8 bits a colour in a format of which 8 are read, such as {first}; "
            "save them as PNG or TIFF in RGB",
            path,
        )
    if found.header is not None and found.header.mode in ("P", "PA"):
        notes.add("{n} images have a palette, such as {first}: converted to colour", path)
    if found.header is not None and found.header.mode in ("CMYK", "LAB", "HSV"):
        notes.add(
            "{n} images are CMYK or the like, such as {first}: converted to RGB; save them as RGB if the "
            "colours must be exact",
            path,
        )
    if found.transparent:
        notes.add("{n} images have transparency, such as {first}: what is transparent counts as black", path)
    if found.other_scale:
        notes.add(
            f"{{n}} images are of another depth than white {scale.white:g} (data.white), such as {{first}}: "
            "read at their own full scale (255 of 8 bits, 65535 of more, 1 of float); save them as the "
            "training images are",
            path,
        )
    elif found.clipped:
        white, black = scale.white or FULL_SCALE[found.kind], scale.black or 0
        notes.add(
            f"{{n}} images have values above white ({white:g}) or below black ({black:g}), such as "
            f"{{first}}: clipped; data.white and data.black say what they are",
            path,
        )
    elif _is_dark(found, scale):
        notes.add(
            f"{{n}} images of more than 8 bits stay below 1/{DARK} of white ({scale.white or 65535:g}), such "
            "as {first}: nearly black; were they saved with fewer bits than the training images?",
            path,
        )


def _is_dark(found: Found, scale: Scale) -> bool:
    """Whether an image is so dark that it may be of fewer bits than its scale, and does not say so itself."""
    says = found.header is not None and found.header.most
    white = scale.ends(found.kind, found.highest)[1]
    return found.kind == DEEP and found.levels > 1 and not says and DARK * found.highest < white


def note_small(notes: Notes, path, size: tuple[int, int], resolution: int):
    """Adds a line where an image, (height, width), is much smaller than what the model sees."""
    if 2 * min(size) <= resolution:
        notes.add(
            f"{{n}} images are at most half as large as what the model sees ({resolution} pixels), such as "
            f"{{first}}: enlarged, which shows nothing more",
            path,
        )


def read_values(path: str | os.PathLike, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Reads the values of a mask file as they stand in it: the brightest channel of each pixel, 0 is black.

    Returns:
      [H, W], uint8, or of 16-bit, integer and float files as they are.

    Raises:
      ImageError: as in `read_image`, several frames, or values that are negative or no numbers.
    """
    with decoded(path, max_pixels) as (image, header):
        if header.frames > 1:
            raise ImageError(
                f"{os.fspath(path)}: a mask of {header.frames} frames or pages; save it as one, or each "
                "as a file of its own, named NAME_mask_1 and so on"
            )
        if not is_deep(image):
            return np.rint(_eight_bits(image)).astype(np.uint8).max(axis=-1)
        values = np.asarray(image)
        low, high = values.min(), values.max()
        if not 0 <= low <= high < np.inf:  # written so that NaN fails too
            raise ImageError(f"{os.fspath(path)}: values from {low} to {high}; a mask's are 0 or more")
        return values


def file_format(path: str | os.PathLike, max_pixels: int = MAX_PIXELS) -> str:
    """The format of a file by its content, as Pillow names it: "PNG"; ImageError as in `image_size`."""
    with opened(path, max_pixels) as image:
        return image.format


def image_size(path: str | os.PathLike, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """(height, width) that `read_image` would return, from the header alone.

    Raises:
      ImageError: as in `read_image`, as far as the header tells.
    """
    with opened(path, max_pixels) as image:
        width, height = image.size
        # Pillow gives the size of a TIFF as already turned upright.
        on_its_side = image.format != "TIFF" and image.getexif().get(ORIENTATION) in _SWAPPED_ORIENTATIONS
    return (width, height) if on_its_side else (height, width)


def _eight_bits(image: Image.Image) -> np.ndarray:
    """float32 [H, W, 1 or 3] from 0 to 255."""
    if image.has_transparency_data:
        rgba = np.asarray(image.convert("RGBA"), np.float32)
        return rgba[..., :3] * (rgba[..., 3:] / np.float32(255))
    grey = image.mode in ("1", "L")
    pixels = np.asarray(image.convert("L" if grey else "RGB"), np.float32)
    return pixels[..., None] if grey else pixels


def _has_transparent_pixels(image: Image.Image) -> bool:
    return image.has_transparency_data and image.convert("RGBA").getextrema()[3][0] < 255


def _checked(path, raw: np.ndarray, kind: str, scale: Scale) -> tuple[float, float]:
    """(lowest, highest value) of a file of more than 8 bits; ImageError where its values cannot be meant."""
    low, high = float(raw.min()), float(raw.max())
    if kind == FLOAT:
        top = scale.white if scale.white is not None and scale.white > 1 else FULL_SCALE[kind]
        limit = np.inf if top > 1 else top
    else:
        limit = max(FULL_SCALE[kind], scale.white or 0.0)
    if not (min(0.0, scale.black or 0.0) <= low and high <= limit and high < np.inf):  # so that NaN fails too
        wanted = "float values must lie in [0, 1], or data.white and data.black must say what they are"
        if kind != FLOAT:
            wanted = f"integer values must lie in [0, {limit:.0f}], or data.white must be more"
        raise ImageError(f"{os.fspath(path)}: pixel values from {raw.min()} to {raw.max()}; {wanted}")
    return low, high
