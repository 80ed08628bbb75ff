"""Masks that are told from images by their pixels: `part1.png` beside `part1.jpg`."""

import collections
import os
from collections.abc import Sequence

import numpy as np

from semi_anogan.data.deep_values import is_deep
from semi_anogan.data.image_files import MAX_PIXELS, ImageError, opened
from semi_anogan.data.images import image_size
from semi_anogan.progress import in_threads

SHARE = 0.9  # of a mask: so much of it has one of two values; the rest are grey borders and further kinds
SAME_NAME = "files have the name of an image beside them, and the look of its mask"  # in a line on these
PLAIN = (0, 1, 255, 65535)  # values of a mask that has one all over: nothing is a defect, or all
SAMPLED = 512  # about so many rows and columns are looked at


def of_same_name(files: Sequence[str], root: str = "") -> dict[str, list[str]]:
    """Mask -> its images, of files whose paths differ by the suffix alone; other files are not opened.

    A mask is one that looks like a mask beside one of its size that does not. Of several that look alike, as
    copies in two formats do, none is.

    Args: files: relative to root, as those returned.
    """
    by_stem = collections.defaultdict(list)
    for file in files:
        by_stem[os.path.splitext(file)[0]].append(file)
    groups = [group for group in by_stem.values() if len(group) > 1]
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
