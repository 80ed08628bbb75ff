"""Masks that are told from images by their pixels: `part1.png` beside `part1.jpg`."""

import collections
import contextlib
import os
import threading
from collections.abc import Collection, Sequence

import numpy as np

from semi_anogan.data import mask_names
from semi_anogan.data.deep_values import is_deep
from semi_anogan.data.image_files import MAX_PIXELS, SUFFIXES, ImageError, opened
from semi_anogan.data.images import image_size
from semi_anogan.data.notes import Notes
from semi_anogan.data.sources.folder_names import is_masks, may_be_masks
from semi_anogan.errors import DataError
from semi_anogan.progress import in_threads

SHARE = 0.9  # of a mask: so much of it has one of two values; the rest are grey borders and further kinds
SAME_NAME = "files have the name of an image beside them, and the look of its mask"  # in a line on these
# Lines on what is found among images that are to be scored.
IN_FOLDERS = "{n} masks in folders of masks are left out, such as {first}"
NAMED = "{n} masks, named as masks of images beside them, are left out, such as {first}"
OF_SAME_NAME = f"{{n}} {SAME_NAME}, such as {{first}}: left out"
FOLDERS_ALONE = (
    "{n} files in folders named as those of masks, such as {first}, do not look like masks: taken as images"
)
NAMES_ALONE = (
    "{n} files are named as masks of images beside them, such as {first}, but do not look like masks: taken "
    "as images"
)
OF_LONGER_NAME = (
    "{n} files have the name of an image beside them and a word more, and the look of its mask, such as "
    "{first}: left out"
)
NOT_CLEAR = (
    "{n} files look like masks and are named after images beside them, such as {first}, but have another "
    "size, or others named so do not look like masks: taken as images"
)
PLAIN = (0, 1, 255, 65535)  # values of a mask that has one all over: nothing is a defect, or all
LOOKED_AT = 10  # files of a folder
SAMPLED = 512  # about so many rows and columns are looked at
EVERY_SUFFIX = tuple(case for suffix in SUFFIXES for case in (suffix, suffix.upper()))
LARGE = 16_000_000  # pixels of an image that is decoded while no other such one is, for its memory
_LARGE_ONE = threading.Lock()


def of_same_name(
    files: Sequence[str], root: str = "", max_pixels: int = MAX_PIXELS
) -> tuple[dict[str, list[str]], list[list[str]]]:
    """Of files whose paths differ by their suffixes alone: (mask -> its images, groups that stay together).

    A mask is one that looks like a mask beside one of its size that does not. Of several that look alike, as
    copies in two formats do, none is: what is left of a group is told by the caller. Other files are not
    opened.

    Args: files: relative to root, as those returned; max_pixels: of a file that is looked at.
    """
    by_name = collections.defaultdict(list)
    for file in files:
        by_name[mask_names.bare(file)].append(file)
    groups = [group for group in by_name.values() if len(group) > 1]
    looks = _looks([file for group in groups for file in group], root, max_pixels)
    found = {}
    for group in groups:
        for mask in (file for file in group if looks[file]):
            images = [file for file in group if looks[file] == 0]
            size = _size(mask, root, max_pixels)
            if same := [image for image in images if _size(image, root, max_pixels) == size]:
                found[mask] = same
    left = [[file for file in group if file not in found] for group in groups]
    return found, [group for group in left if len(group) > 1]


def of_longer_names(
    files: Sequence[str], root: str = "", max_pixels: int = MAX_PIXELS
) -> tuple[dict[str, list[str]], list[str]]:
    """Of files named as another and a word more, as `part1_anno`: (mask -> its images, unclear ones).

    A word is one of masks if the first files with it all look like masks beside an image of their size that
    does not, and one of them has two values: part1_top may be another view, and black where a camera failed.
    Of other names no more is opened. Not clear are those that look like masks all the same.

    Args: as of of_same_name.
    """
    named, by_word = collections.defaultdict(list), {}
    for file in files:
        named[os.path.splitext(file)[0]].append(file)
    for stem, same in named.items():
        of = next(((name, word) for name, word in mask_names.perhaps_images_of(stem) if name in named), None)
        if of is not None:
            by_word.setdefault(of[1], []).extend((file, named[of[0]]) for file in same)
    looks = _looks_of([pair for pairs in by_word.values() for pair in pairs[:LOOKED_AT]], root, max_pixels)

    def some_looks(pairs) -> bool:
        return any(looks[file] for file, _ in pairs[:LOOKED_AT])

    by_word = {word: pairs for word, pairs in by_word.items() if some_looks(pairs)}
    looks |= _looks_of([pair for pairs in by_word.values() for pair in pairs[LOOKED_AT:]], root, max_pixels)
    found, unclear = {}, []
    for pairs in by_word.values():
        masks, others = {}, []
        for file, images in pairs:
            images = [image for image in images if looks[image] == 0]
            if looks[file] and images:
                size = _size(file, root, max_pixels)
                if same := [image for image in images if _size(image, root, max_pixels) == size]:
                    masks[file] = same
                else:
                    others.append(file)
        marking = any(looks[file] == 2 for file in masks)
        if marking and all(file in masks for file, _ in pairs[:LOOKED_AT]):
            found |= masks
        else:
            others += masks
        unclear += others
    return found, unclear


def _looks_of(pairs: Sequence[tuple[str, list[str]]], root: str, max_pixels: int) -> dict[str, int | None]:
    """As `_looks`, of (file, images it may be the mask of)."""
    return _looks(
        list(dict.fromkeys(file for own, images in pairs for file in (own, *images))), root, max_pixels
    )


def look_like_masks(files: Sequence[str], max_pixels: int = MAX_PIXELS) -> list[str]:
    """Those files that look like masks."""
    return [file for file, look in _looks(files, "", max_pixels).items() if look]


def is_of_masks(files: Sequence[str], max_pixels: int = MAX_PIXELS) -> bool:
    """Whether the files of a folder, in their order, are masks: the first of them all look like some."""
    first = files[:LOOKED_AT]
    return bool(first) and look_like_masks(first, max_pixels) == list(first)


def without_masks(files: list[str], root: str, notes: Notes, max_pixels: int = MAX_PIXELS) -> list[str]:
    """The files without the masks among them, which would be scored as images.

    A file is a mask if it looks like one and is named so, or as an image beside it (and a word). A folder has
    masks if its name allows it and its first files look so. Other files are not opened.

    Args: files: below the folder root; notes: get a line for each kind of masks, and for files only named so;
      max_pixels: of a file that is looked at: one with more cannot be scored either.
    Raises: DataError where all are masks.
    """
    folders = {}
    for file in files:
        folders.setdefault(_folder_of_masks(os.path.relpath(file, root)), []).append(file)
    others = folders.pop("", [])
    for folder, inside in folders.items():
        if is_of_masks(inside, max_pixels):
            notes.add(IN_FOLDERS, inside[0], len(inside))
            continue
        others += inside
        if is_masks(os.path.basename(folder)):
            notes.add(FOLDERS_ALONE, inside[0], len(inside))
    stem_of = {file: os.path.splitext(file)[0] for file in others}
    stems = set(stem_of.values())
    named = [file for file, stem in stem_of.items() if not stems.isdisjoint(mask_names.images_of(stem))]
    masks = dict.fromkeys(look_like_masks(named, max_pixels))
    images = [file for file in named if file not in masks]
    notes.add(NAMED, next(iter(masks), ""), len(masks))
    notes.add(NAMES_ALONE, (images or [""])[0], len(images))
    pairs, unclear = of_same_name([file for file in others if file not in masks], "", max_pixels)
    notes.add(OF_SAME_NAME, next(iter(pairs), ""), len(pairs))
    rest = [file for file in others if file not in masks and file not in pairs]
    longer, alike = of_longer_names(rest, "", max_pixels)
    notes.add(OF_LONGER_NAME, next(iter(longer), ""), len(longer))
    notes.add(NOT_CLEAR, (alike or [""])[0], len(alike))
    notes.add(
        "{n} names are those of several files, such as {first}: all are taken as images; a mask is known by "
        "its look and the size of its image",
        " and ".join(unclear[0][:2]) if unclear else "",
        len(unclear),
    )
    left = set(others).difference(masks, pairs, longer)
    if not left:
        raise DataError(f"{root}: no image files below this folder, but {len(files)} masks, as {files[0]}")
    return [file for file in files if file in left]


def is_mask(
    file: str,
    root: str,
    notes: Notes,
    max_pixels: int = MAX_PIXELS,
    suffixes: Collection[str] = EVERY_SUFFIX,
) -> bool:
    """Whether a file is a mask, as in `without_masks`, where files come one by one: by what is beside it now.

    In a folder whose name allows masks it is one if it looks so itself. Without a file beside it, or such a
    folder, it is not opened.

    Args: file: below the folder root; notes: get a line; suffixes: that files beside it may have, each of
      which costs a look whether there is one.
    Raises: ImageError where it, or one beside it that would have to be looked at, cannot be read.
    """

    def told(line: str, found: bool) -> bool:
        notes.add(line, file)
        return found

    if folder := _folder_of_masks(os.path.relpath(file, root)):
        if _values_of_mask(file, max_pixels):
            return told(IN_FOLDERS, True)
        if is_masks(os.path.basename(folder)):
            notes.add(FOLDERS_ALONE, file)
    stem = os.path.splitext(file)[0]
    if any(_of_name(name, suffixes) for name in mask_names.images_of(stem)):
        looks = bool(_values_of_mask(file, max_pixels))
        return told(NAMED if looks else NAMES_ALONE, looks)
    beside = [other for other in _of_name(mask_names.bare(file), suffixes) if other != file]
    longer = [i for name, _ in mask_names.perhaps_images_of(stem) for i in _of_name(name, suffixes)]
    values = _values_of_mask(file, max_pixels) if beside or longer else 0
    if not values:
        return False
    # One that is black and named by a word not known here may be an image of a camera that failed.
    others = [*beside, *longer] if values == 2 else beside
    images = [other for other in others if not _values_of_mask(other, max_pixels)]
    size = _size(file, "", max_pixels)
    for image in images:
        if _size(image, "", max_pixels) == size:
            return told(OF_SAME_NAME if image in beside else OF_LONGER_NAME, True)
    return bool(images) and told(NOT_CLEAR, False)


def is_named_as_mask(file: str) -> bool:
    """Whether a file is named as a mask, or lies in a folder of masks, by names alone."""
    stem = os.path.splitext(file)[0]
    return bool(mask_names.images_of(stem)) or any(map(is_masks, file.replace(os.sep, "/").split("/")[:-1]))


def _of_name(stem: str, suffixes: Collection[str]) -> list[str]:
    """The image files that are there under a name; the folder, which may be long, is not listed for it."""
    return [stem + suffix for suffix in suffixes if os.path.isfile(stem + suffix)]


def _folder_of_masks(file: str) -> str:
    """The outermost folder above a file whose name allows that it has masks, relative as the file; or ""."""
    parts = file.split(os.sep)[:-1]
    found = (i for i, part in enumerate(parts) if may_be_masks(part))
    return os.path.join("", *parts[: next(found, -1) + 1])


def _looks(files: Sequence[str], root: str, max_pixels: int) -> dict[str, int | None]:
    """What `_values_of_mask` says of each file; None of one that cannot be read, which is told on reading."""

    def look(file: str) -> int | None:
        try:
            return _values_of_mask(os.path.join(root, file), max_pixels)
        except ImageError:
            return None

    return dict(zip(files, in_threads(look, files, "masks or images"), strict=True))


def _values_of_mask(path: str, max_pixels: int) -> int:
    """2 where nearly all pixels have one of two values, 1 where all are black or white, 0 of another image.

    Raises: ImageError for a file that cannot be read.
    """
    with opened(path, max_pixels) as image:
        large = image.width * image.height > LARGE
        image.draft("L", (SAMPLED, SAMPLED))  # a JPEG file is decoded reduced, which is quicker
        with _LARGE_ONE if large else contextlib.nullcontext():
            values = np.asarray(image if is_deep(image) else image.convert("L"))
    step = max(1, min(values.shape) // SAMPLED)
    found, counts = np.unique(values[::step, ::step], return_counts=True)
    if len(found) == 1:
        return int(found[0] in PLAIN)
    return 2 if np.sort(counts)[-2:].sum() >= SHARE * counts.sum() else 0


def _size(file: str, root: str, max_pixels: int) -> tuple[int, int]:
    return image_size(os.path.join(root, file), max_pixels)
