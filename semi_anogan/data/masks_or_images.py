"""Masks that are told from images by their pixels: `part1.png` beside `part1.jpg`."""

import collections
import os
from collections.abc import Sequence

import numpy as np

from semi_anogan.data import mask_names
from semi_anogan.data.deep_values import is_deep
from semi_anogan.data.image_files import MAX_PIXELS, ImageError, opened
from semi_anogan.data.images import image_size
from semi_anogan.data.notes import Notes
from semi_anogan.data.sources.folder_names import is_masks, may_be_masks
from semi_anogan.errors import DataError
from semi_anogan.progress import in_threads

SHARE = 0.9  # of a mask: so much of it has one of two values; the rest are grey borders and further kinds
SAME_NAME = "files have the name of an image beside them, and the look of its mask"  # in a line on these
PLAIN = (0, 1, 255, 65535)  # values of a mask that has one all over: nothing is a defect, or all
LOOKED_AT = 10  # files of a folder
SAMPLED = 512  # about so many rows and columns are looked at


def of_same_name(files: Sequence[str], root: str = "") -> dict[str, list[str]]:
    """Mask -> its images, of files whose paths differ by their suffixes alone; other files are not opened.

    A mask is one that looks like a mask beside one of its size that does not. Of several that look alike, as
    copies in two formats do, none is.

    Args: files: relative to root, as those returned.
    """
    by_name = collections.defaultdict(list)
    for file in files:
        by_name[mask_names.bare(file)].append(file)
    groups = [group for group in by_name.values() if len(group) > 1]
    looks = _looks([file for group in groups for file in group], root)
    found = {}
    for group in groups:
        for mask in (file for file in group if looks[file]):
            images = [file for file in group if looks[file] is False]
            if same := [image for image in images if _size(image, root) == _size(mask, root)]:
                found[mask] = same
    return found


def look_like_masks(files: Sequence[str]) -> list[str]:
    """Those files that look like masks."""
    return [file for file, look in _looks(files, "").items() if look]


def is_of_masks(files: Sequence[str]) -> bool:
    """Whether the files of a folder, in their order, are masks: the first of them all look like some."""
    first = files[:LOOKED_AT]
    return bool(first) and look_like_masks(first) == list(first)


def without_masks(files: list[str], root: str, notes: Notes) -> list[str]:
    """The files without the masks among them, which would be scored as images.

    A file is a mask if it looks like one and is named so, or has the name of an image beside it. A folder has
    masks if its name allows it and its first files look so. Other files are not opened.

    Args: files: below the folder root; notes: get a line for each kind of masks, and for files only named so.
    Raises: DataError where all are masks.
    """
    folders = {}
    for file in files:
        folders.setdefault(_folder_of_masks(os.path.relpath(file, root)), []).append(file)
    others = folders.pop("", [])
    for folder, inside in folders.items():
        if is_of_masks(inside):
            notes.add("{n} masks in folders of masks are left out, such as {first}", inside[0], len(inside))
            continue
        others += inside
        if is_masks(os.path.basename(folder)):
            told = "{n} files in folders named as those of masks, such as {first}, do not look like masks: "
            notes.add(f"{told}taken as images", inside[0], len(inside))
    stem_of = {file: os.path.splitext(file)[0] for file in others}
    stems = set(stem_of.values())
    named = [file for file, stem in stem_of.items() if not stems.isdisjoint(mask_names.images_of(stem))]
    masks = dict.fromkeys(look_like_masks(named))
    images = [file for file in named if file not in masks]
    where = "named as masks of images beside them"
    notes.add(f"{{n}} masks, {where}, are left out, such as {{first}}", next(iter(masks), ""), len(masks))
    told = f"{{n}} files are {where}, such as {{first}}, but do not look like masks: taken as images"
    notes.add(told, (images or [""])[0], len(images))
    pairs = of_same_name([file for file in others if file not in masks])
    notes.add(f"{{n}} {SAME_NAME}, such as {{first}}: left out", next(iter(pairs), ""), len(pairs))
    left = set(others).difference(masks, pairs)
    if not left:
        raise DataError(f"{root}: no image files below this folder, but {len(files)} masks, as {files[0]}")
    return [file for file in files if file in left]


def _folder_of_masks(file: str) -> str:
    """The outermost folder above a file whose name allows that it has masks, relative as the file; or ""."""
    parts = file.split(os.sep)[:-1]
    found = (i for i, part in enumerate(parts) if may_be_masks(part))
    return os.path.join("", *parts[: next(found, -1) + 1])


def _looks(files: Sequence[str], root: str) -> dict[str, bool | None]:
    """Whether each file looks like a mask; None of one that cannot be read: that is told on reading it."""

    def look(file: str) -> bool | None:
        try:
            return _looks_like_mask(os.path.join(root, file))
        except ImageError:
            return None

    return dict(zip(files, in_threads(look, files, "masks or images"), strict=True))


def _looks_like_mask(path: str) -> bool:
    """Whether nearly all pixels have one of two values, or all are black or white.

    Raises: ImageError for a file that cannot be read.
    """
    with opened(path, MAX_PIXELS) as image:
        image.draft("L", (SAMPLED, SAMPLED))  # a JPEG file is decoded reduced, which is quicker
        values = np.asarray(image if is_deep(image) else image.convert("L"))
    step = max(1, min(values.shape) // SAMPLED)
    found, counts = np.unique(values[::step, ::step], return_counts=True)
    if len(found) == 1:
        return int(found[0]) in PLAIN
    return bool(np.sort(counts)[-2:].sum() >= SHARE * counts.sum())


def _size(file: str, root: str) -> tuple[int, int]:
    return image_size(os.path.join(root, file))
