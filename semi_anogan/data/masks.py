"""Pixel masks: which values of a file mean abnormal, and masks at other sizes.

A mask file may hold two values, grey borders (antialiased, enlarged, or from JPEG), or a value for each kind
of defect. One rule reads all of these:

- Black is normal, and the brightest value is abnormal, whatever it is: 1, 255, 65535.
- Values between count as abnormal from half of the brightest on: the border of a drawn shape is then where
  it was drawn, and what JPEG scatters around it is left out.
- Values below half count too if they are labels. These fill areas: at most half of their pixels lie between
  a darker and a brighter neighbour, as those of a grey border do. And they are few, all values being whole
  numbers up to 31, or at least a sixteenth of the brightest apart; or a quarter of their pixels and more lie
  among pixels of the same value alone, which is so of hardly any pixel of a border.
"""

import os

import numpy as np
from PIL import Image

from semi_anogan.data import mask_names, polygons
from semi_anogan.data.image_files import MAX_PIXELS
from semi_anogan.data.images import file_format, read_values
from semi_anogan.data.listing import image_names
from semi_anogan.data.notes import Notes
from semi_anogan.errors import DataError

MOST_LABELS = 31  # highest number of a kind of defect, where values are numbers
LEAST_STEP = 1 / 16  # between labels that are no such numbers, as a share of the brightest
LEAST_FLAT = 1 / 4  # of the pixels of other labels

PLAIN, EMPTY, FULL, GREY, LABELS, POLYGONS = "plain", "empty", "full", "grey", "labels", "polygons"
_TOLD = {
    EMPTY: "black all over, such as {first}: they show no defect; look whether their images have one",
    FULL: "of one value without black, such as {first}: all of the image counts as abnormal",
    GREY: "grey in places, such as {first}: pixels from half of a mask's brightest value on count as "
    "abnormal",
    LABELS: "of several values, taken as kinds of defects, such as {first}: all but black counts as abnormal",
    POLYGONS: "polygons, such as {first}: all that they enclose counts as abnormal, whatever its label",
}
MOST_SHARE = 0.5  # of an image: a mask that marks more may be inverted


def read(path: str | os.PathLike, max_pixels: int = MAX_PIXELS, image: str = "") -> tuple[np.ndarray, str]:
    """Reads a mask file, or several masks of one image: what any of them marks is abnormal.

    A JSON file has polygons: all that they enclose is abnormal. In palette and colour images the brightest of
    a pixel's channels is its value, and not the number of its colour. Transparent pixels are black.

    Args: image: name of the image, where a file of COCO has the polygons of several.

    Returns:
      (bool [H, W], True where abnormal; how it was read: PLAIN, EMPTY, FULL, GREY, LABELS or POLYGONS; of
      several the first that is not PLAIN).

    Raises:
      ImageError: as in `images.read_image`, or values that are negative or no numbers.
      DataError: masks of one image that have different sizes, or a folder without any.
    """
    joined, readings, first = None, [], None
    for file in files_of(path):
        mask, reading = _of_file(file, max_pixels, image)
        if joined is not None and joined.shape != mask.shape:
            raise DataError(
                f"{file}: has {mask.shape[1]} x {mask.shape[0]} pixels, but {first}, of the same image, has "
                f"{joined.shape[1]} x {joined.shape[0]}"
            )
        joined, first = (mask, file) if joined is None else (joined | mask, first)
        readings.append(reading)
    return joined, next((reading for reading in readings if reading != PLAIN), PLAIN)


def _of_file(path: str, max_pixels: int, image: str) -> tuple[np.ndarray, str]:
    if is_polygons(path):
        mask = polygons.read(path, max_pixels, image, touched=False)
        return mask, POLYGONS if mask.any() else EMPTY
    return of_values(read_values(path, max_pixels))


def is_polygons(path: str) -> bool:
    """Whether a file has polygons instead of pixels, by its name."""
    return path.lower().endswith(mask_names.POLYGONS)


def is_several(path: str | os.PathLike) -> bool:
    """Whether a path stands for several masks: it is a folder, or a pattern as mask_names has it."""
    return os.path.isdir(path) or "*" in os.path.basename(path) and not os.path.isfile(path)


def files_of(path: str | os.PathLike) -> list[str]:
    """The files of a mask: itself, those in a folder, or of a pattern; DataError where there are none."""
    path = os.fspath(path)
    if not is_several(path):
        return [path]
    if os.path.isdir(path):
        found = [os.path.join(path, name) for name in image_names(path)]
    else:
        folder, pattern = os.path.split(path)
        found = [
            os.path.join(folder, n) for n in image_names(folder or ".") if mask_names.pattern(n) == pattern
        ]
    if not found:
        raise DataError(f"{path}: several masks of an image, but there is no image file")
    return found


def format_of(path: str | os.PathLike, max_pixels: int = MAX_PIXELS) -> str:
    """The format of a mask's file, as Pillow names it, or "JSON"; of several the first one's."""
    first = files_of(path)[0]
    return "JSON" if is_polygons(first) else file_format(first, max_pixels)


def of_values(values: np.ndarray) -> tuple[np.ndarray, str]:
    """As `read`, from the values of a mask: [H, W], 0 or more, of any range."""
    top, low = values.max(), values.min()
    if top == 0:
        return np.zeros(values.shape, bool), EMPTY
    if low == top:
        return np.ones(values.shape, bool), FULL
    mask = values >= top / 2
    below = (values > 0) & ~mask
    if not below.any():
        return mask, PLAIN
    if low == 0 and _are_labels(values, below):
        return values > 0, LABELS
    return mask, GREY


def check_size(path: str, mask: np.ndarray, image: str, size: tuple[int, int]):
    """DataError where a mask has not the size, (height, width), of its image."""
    if mask.shape == size:
        return
    turned = mask.shape == size[::-1]
    raise DataError(
        f"{path}: the mask has {mask.shape[1]} x {mask.shape[0]} pixels, but its image {image} has "
        f"{size[1]} x {size[0]}"
        + ("; is it on its side, or the image turned by its EXIF orientation?" if turned else "")
    )


def resized(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """A mask [H, W] as bool [height, width].

    Reduced, a pixel is abnormal if any of those is whose middle it covers, so that no defect is lost.
    Enlarged, each pixel becomes a rectangle.
    """
    if mask.shape == (height, width):
        return mask
    plane = Image.fromarray(mask.astype(np.float32))  # Pillow mode F: no share is rounded to 0
    return np.asarray(plane.resize((width, height), Image.Resampling.BOX)) > 0


def note(notes: Notes, path: str, reading: str, share: float, form: str):
    """Adds a line for each kind of what is unusual in a mask file.

    Args: reading: how it was read; share: of the image, what it marks; form: of the file, as Pillow names it.
    """
    if reading in _TOLD:
        notes.add(f"{{n}} masks are {_TOLD[reading]}", path)
    if share > MOST_SHARE and reading != FULL:
        notes.add(
            f"{{n}} masks mark more than {MOST_SHARE:.0%} of their image, such as {{first}}: taken as they "
            "are; if they are inverted, write them with black as normal",
            path,
        )
    if form == "JPEG":
        notes.add(
            "{n} masks are JPEG files, whose values scatter at borders, such as {first}: what is grey counts "
            "from half of the brightest on; PNG keeps them as they are",
            path,
        )


def _are_labels(values: np.ndarray, below: np.ndarray) -> bool:
    """Whether the values where `below` is True are labels, and not the grey of a border."""
    darkest, brightest = (_of_neighbours(values, choose) for choose in (np.minimum, np.maximum))
    count = np.count_nonzero(below)
    between = (darkest < values) & (values < brightest)
    if 2 * np.count_nonzero(between & below) > count:
        return False
    levels = np.unique(values)
    if levels[-1] <= MOST_LABELS and (levels == np.rint(levels)).all():
        return True
    if np.diff(levels.astype(np.float64)).min() >= LEAST_STEP * levels[-1]:
        return True
    return np.count_nonzero((darkest == brightest) & below) >= LEAST_FLAT * count


def _of_neighbours(values: np.ndarray, choose: np.ufunc) -> np.ndarray:
    """The least or greatest value of each pixel and its eight neighbours."""
    padded = np.pad(values, 1, mode="edge")
    rows = choose(choose(padded[:-2], padded[1:-1]), padded[2:])
    return choose(choose(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])
