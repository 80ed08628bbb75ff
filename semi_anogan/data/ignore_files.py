"""Which mask of what is ignored belongs to which image file.

In a folder `ignore`, the mask of ROOT/PATH/NAME.png is ROOT/ignore/PATH/NAME.png or NAME_mask.png, of any
format that is read, or NAME.json with polygons.
"""

import dataclasses
import os
from collections.abc import Callable

import numpy as np

from semi_anogan.data import ignore, mask_names
from semi_anogan.data.dataset import Example, Masked
from semi_anogan.data.images import Reader
from semi_anogan.data.listing import (
    csv_rows,
    listed,
    subfolders,
)
from semi_anogan.data.notes import Notes
from semi_anogan.errors import DataError

FOLDER = "ignore"
ABOVE = 3  # folders above --input that may be the root


def mask_of(root: str, name: str) -> str | None:
    """The mask of an image, relative to root, of the image's name relative to root; None without one.

    Raises: DataError where there are two.
    """
    place, stem = os.path.split(os.path.splitext(name)[0])
    folder = os.path.join(root, FOLDER, place)
    if not os.path.isdir(folder):
        return None
    found = [file for file in listed(folder) if mask_names.is_mask_name(file) and _belongs(file, stem)]
    if len(found) > 1:
        raise DataError(f"{folder}: {found[0]} and {found[1]} are masks of the same image")
    return "/".join(filter(None, [FOLDER, place.replace(os.sep, "/"), found[0]])) if found else None


def with_masks(root: str, examples: list[Example], notes: Notes) -> list[Example]:
    """The examples of a folder with their masks; notes: get a line about those of no image."""
    if not os.path.isdir(os.path.join(root, FOLDER)):
        return examples
    examples = [dataclasses.replace(e, ignore=mask_of(root, e.path)) for e in examples]
    used = {e.ignore for e in examples}
    unused = [name for name in _masks_below(root) if name not in used]
    notes.add("{n} masks of what is ignored are of no image, such as {first}: not used", *_first(unused))
    return examples


def of_input(path: str) -> Callable[[str], str | None]:
    """A function from an image's path to the path of its mask or None; path: --input of a command.

    Of a CSV file its column `ignore` says it. Else the root is --input, or one of up to ABOVE folders above
    it: so masks that a training has are found for a part of its images too.

    Raises: DataError for a CSV file whose rows disagree.
    """
    path = os.fspath(path)
    if path.lower().endswith(".csv") and not os.path.isdir(path):
        return _of_csv(path).get
    roots = [path if os.path.isdir(path) else os.path.dirname(path)]
    while len(roots) <= ABOVE and os.path.dirname(os.path.abspath(roots[-1])) != os.path.abspath(roots[-1]):
        roots.append(os.path.dirname(os.path.abspath(roots[-1])))
    roots = [root or "." for root in roots if os.path.isdir(os.path.join(root, FOLDER))]

    def found(file: str) -> str | None:
        for root in roots:
            mask = mask_of(root, os.path.relpath(file, root))
            if mask is not None:
                return os.path.join(root, mask)
        return None

    return found


@dataclasses.dataclass
class MaskedReader:
    """Reads images as a Reader does, with what of them is ignored.

    Args:
      reader: reads the images.
      fixed: the mask of all images, or None.
      mask_of: path of an image -> that of its own mask, or None.
    """

    reader: Reader
    fixed: np.ndarray | None = None
    mask_of: Callable[[str], str | None] = lambda path: None

    def __call__(self, path, channels: int):
        """float32 [H, W, channels], or Masked; DataError as in Reader, and where a mask cannot be used."""
        image = self.reader(path, channels)
        return self.masked(image, path, self.mask_of(os.fspath(path)))

    def masked(self, image: np.ndarray, name, mask: str | None = None):
        """An image that is read, as __call__ gives it; mask: path of its own mask, if any."""
        size, own = image.shape[:2], None
        if mask is not None:
            own = ignore.read(mask, self.reader.max_pixels, str(name))
            own = ignore.fitted(own, size, mask, str(name))
            self.reader.notes.add(
                "{n} images have a mask of their own of what is ignored, such as {first}", f"{name} = {mask}"
            )
        ignored = ignore.joined(self.fixed, own, size, ignore.NAME, str(name))
        if ignored is None:
            return image
        ignore.note_share(self.reader.notes, str(name), float(ignored.mean()))
        return Masked(image, ignored)


def _of_csv(path: str) -> dict[str, str]:
    """{path of an image: path of its mask} of the rows of a CSV file that have one."""
    root, masks = os.path.dirname(path), {}
    for line, row in csv_rows(path, ("path",), root=root):
        file, mask = os.path.join(root, row["path"]), row.get(FOLDER) or None
        mask = mask and os.path.join(root, mask)
        if masks.setdefault(file, mask) != mask:
            raise DataError(f"{path}: row {line}: {row['path']!r} has another mask in an earlier row")
    return {file: mask for file, mask in masks.items() if mask is not None}


def _belongs(file: str, stem: str) -> bool:
    own = os.path.splitext(file)[0]
    return own == stem or mask_names.without_ending(own) == stem


def _masks_below(root: str) -> list[str]:
    """The masks below ROOT/ignore, relative to root."""
    found, waiting = [], [FOLDER]
    while waiting:
        place = waiting.pop(0)
        full = os.path.join(root, place)
        found += [
            f"{place}/{n}"
            for n in listed(full)
            if mask_names.is_mask_name(n) and os.path.isfile(f"{full}/{n}")
        ]
        waiting += [f"{place}/{name}" for name in subfolders(full)]
    return found


def _first(names: list[str]) -> tuple[str, int]:
    return (names or [""])[0], len(names)
