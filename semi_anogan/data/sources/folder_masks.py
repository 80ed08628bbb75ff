"""Which mask belongs to which image of a folder layout: by name, in a folder of masks or beside the image."""

import collections
import os
import unicodedata
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import NamedTuple

from semi_anogan.data import mask_names, masks_or_images
from semi_anogan.data import masks as mask_files
from semi_anogan.data.image_files import MAX_PIXELS
from semi_anogan.data.listing import images_below
from semi_anogan.data.notes import Notes
from semi_anogan.errors import DataError

NO_MASKS = (  # a line
    "{n} folders of masks have none that is read, such as {first}: masks are image files, or polygons of "
    "labelme in JSON files of their images' names"
)


class Places(NamedTuple):
    """Folders of masks of one kind of defect, relative to the root: of both splits, of training, of test."""

    shared: list[str]
    train: list[str]
    test: list[str]


def apart(
    root: str, folder: str, paths: Sequence[str], max_pixels: int = MAX_PIXELS
) -> tuple[dict[str, str], dict[str, str]]:
    """(image -> its name without suffix, image -> the mask beside it), of files in a folder.

    A mask is told by its name, or by its pixels where it has the name of its image, or this and a word more
    (data/masks_or_images.py).

    Args: folder: relative to root, as the images and masks returned; paths: relative to the folder;
      max_pixels: of a file that is looked at.
    Raises: DataError for two masks of an image that are not numbered.
    """
    stem_of = {path: os.path.splitext(path)[0] for path in paths}
    stems = set(stem_of.values())
    of_stem = {
        path: next((name for name in mask_names.images_of(stem) if name in stems), None)
        for path, stem in stem_of.items()
    }
    unnamed = [path for path, image in of_stem.items() if image is None]
    place = os.path.join(root, folder)
    images_of, _ = masks_or_images.of_same_name(unnamed, place, max_pixels)
    rest = [path for path in unnamed if path not in images_of]
    images_of |= masks_or_images.of_longer_names(rest, place, max_pixels)[0]
    names = {f"{folder}/{path}": stem_of[path] for path in unnamed if path not in images_of}
    files = collections.defaultdict(list)
    for path, stem in stem_of.items():
        if path not in images_of:
            files[stem].append(path)
    beside = collections.defaultdict(list)
    for path in paths:
        for image in images_of.get(path) or files.get(of_stem[path], ()):
            beside[f"{folder}/{image}"].append(f"{folder}/{path}")
    return names, {image: _one_of(found) for image, found in beside.items()}


def note_beside(notes: Notes, beside: Mapping[str, str], what: str):
    """Tells of masks beside their images, as `apart` found them; what: becomes of them."""
    found = collections.defaultdict(dict)
    for image, mask in beside.items():
        found[mask_names.bare(image) == mask_names.bare(mask)][mask] = None
    for same_name, told in ((False, "masks lie beside their images"), (True, masks_or_images.SAME_NAME)):
        masks = found[same_name]
        notes.add(f"{{n}} {told}, such as {{first}}: {what}", next(iter(masks), ""), len(masks))


def _one_of(paths: list[str]) -> str:
    """The mask of an image, or the pattern of those that are numbered; DataError where they are not."""
    patterns = {mask_names.pattern(path) for path in paths}
    if len(paths) > 1 and len(patterns) > 1:
        raise DataError(f"{paths[0]} and {paths[1]} are masks of the same image")
    return patterns.pop() if len(paths) > 1 else paths[0]


def marked(
    root: str,
    names: Mapping[str, str],
    beside: Mapping[str, str],
    folders: Iterable[str],
    max_pixels: int = MAX_PIXELS,
) -> dict[str, str]:
    """Image -> its mask, of those whose mask marks something.

    Args: names, beside: as `apart` returns them; folders: of masks, relative to root; max_pixels: of a mask.
    Raises: ImageError for a mask that cannot be read.
    """
    found = by_name(root, folders, set(names.values()), Notes())
    masks = {path: found.get(name, beside.get(path)) for path, name in names.items()}
    return {
        path: mask
        for path, mask in masks.items()
        if mask and mask_files.read(os.path.join(root, mask), max_pixels)[0].any()
    }


def masks_of(
    root: str,
    kind: str,
    train: Mapping[str, str],
    test: Mapping[str, str],
    places: Places,
    beside: Mapping[str, str],
    notes: Notes,
    unmarked: Container[str] = (),
) -> dict[str, str | None]:
    """The masks of the images of one kind of defect.

    The mask of NAME.png is NAME_mask.png or NAME.png in a folder of masks of its split. A split without such
    a folder looks in the shared one. There a mask that fits an image of either split is the test image's, as
    in MVTec AD; the training image then counts as without one. What no folder has may lie beside the image.

    Args:
      root: the folder of the data.
      kind: name of the defect.
      train, test: the kind's images, relative to root -> their names below the kind's folder, without suffix.
      places: where its masks may be.
      beside: image -> mask that lies beside it.
      notes: get lines about masks that are not used.
      unmarked: names of normal images whose masks mark nothing, and may stand among these.

    Returns: image -> mask or None.

    Raises:
      DataError: several masks of one image, two of one name, or test images without a mask beside masks
        without an image: names differ.
    """
    names = {*train.values(), *test.values()}
    shared, own_train, own_test = (by_name(root, folders, names, notes) for folders in places)
    if shared and own_train and own_test:
        notes.add(
            f"{root}: {places.shared[0]} is not used, as {places.train[0]} and {places.test[0]} are there"
        )
    of_test = own_test or shared
    of_train = own_train or shared
    if shared and not own_train and not own_test:
        twice = [path for path, name in train.items() if name in shared and name in set(test.values())]
        of_train = {name: mask for name, mask in shared.items() if name not in set(test.values())}
        if twice:
            first = twice[0]
            notes.add(
                f"{root}: {shared[train[first]]} is taken as the mask of test/{kind}, not of {first}, which "
                f"has the same name ({len(twice)} such masks); those of train/{kind} belong in "
                f"{os.path.dirname(places.shared[0])}/train/{kind}"
            )
    masks = {path: of_train.get(name, beside.get(path)) for path, name in train.items()}
    others = set() if own_test else set(train.values())  # whose masks may stand in the same folder
    masks |= _of_test(root, kind, test, of_test, others, beside)
    used = set(masks.values())
    several = [mask for mask in masks.values() if mask and mask_files.is_several(os.path.join(root, mask))]
    notes.add(
        "{n} images have several masks, such as {first}: what any of them marks is abnormal",
        (several or [""])[0],
        len(several),
    )
    unused = [mask for image, mask in beside.items() if image in masks and mask not in used]
    notes.add(
        "{n} masks beside their images are not used, such as {first}: a folder of masks has others",
        (unused or [""])[0],
        len(unused),
    )
    for found in (shared, own_train, own_test):
        if found is shared and own_train and own_test:
            continue  # told above
        strange = [mask for name, mask in found.items() if mask not in used and name not in unmarked]
        notes.add("{n} masks are of no image, such as {first}: not used", (strange or [""])[0], len(strange))
    return masks


def _of_test(
    root: str,
    kind: str,
    test: Mapping[str, str],
    by_name: Mapping[str, str],
    others: set[str],
    beside: Mapping[str, str],
) -> dict[str, str | None]:
    """{test image: mask}, or None for all where the data has none; others: names of training images."""
    masks = {path: by_name.get(name, beside.get(path)) for path, name in test.items()}
    without = [path for path, mask in masks.items() if mask is None]
    strange = [mask for name, mask in by_name.items() if name not in {*test.values(), *others}]
    if without and strange:
        place = os.path.dirname(next(iter([*by_name.values(), *filter(None, masks.values())])))
        hint = f"; {len(strange)} masks there are of no image, such as {strange[0]}"
        hint += f" (masks of train/{kind} belong in ground_truth/train/{kind})" if others else ""
        raise DataError(
            f"{root}: {place} has no mask for {len(without)} images, the first is {without[0]}{hint}"
        )
    return masks


def by_name(root: str, folders: Iterable[str], names: set[str], notes: Notes) -> dict[str, str]:
    """{name of the image: path relative to root} of the masks in some folders.

    Args: names: of the images; a mask has the name of one, or one that mask_names knows, or lies in a folder
      of that name with others of the image; notes: get a line about what is left out.
    """
    found, by_letters = collections.defaultdict(list), {_letters(name): name for name in names}
    for folder in folders:
        paths = images_below(os.path.join(root, folder), notes, wanted=mask_names.is_mask_name, others=True)
        notes.add(NO_MASKS, folder, not paths)
        for path in paths:
            stem, place = os.path.splitext(path)[0], os.path.dirname(path)
            of = [stem, *mask_names.images_of(stem), mask_names.without_suffix(stem)]
            name = next((by_letters[n] for n in map(_letters, of) if n in by_letters), None)
            if name is None and place in names:  # one of several masks, as in MVTec LOCO
                name, path = place, place
            mask = f"{folder}/{path}"
            if mask not in (same := found[name or mask_names.without_ending(stem) or stem]):
                same.append(mask)
    for name, masks in found.items():
        polygons = [mask for mask in masks if mask_files.is_polygons(mask)]
        if len(polygons) < len(masks):
            found[name] = [mask for mask in masks if mask not in polygons]
            notes.add(
                "{n} JSON files are not used, such as {first}: an image file has the mask",
                (polygons or [""])[0],
                len(polygons),
            )
    try:
        return {name: _one_of(masks) for name, masks in found.items()}
    except DataError as error:
        raise DataError(f"{root}: {error}") from None


def _letters(name: str) -> str:
    """A name however its accents are encoded: a copy from another system may encode them otherwise."""
    return unicodedata.normalize("NFC", name)
