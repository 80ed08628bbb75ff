"""Which folders hold masks, of which split and kind of defect, in a folder of images."""

import itertools
import os
from collections.abc import Container, Mapping, Sequence

from semi_anogan.data import mask_names
from semi_anogan.data.listing import images_below
from semi_anogan.data.sources import folder_names
from semi_anogan.data.sources.folder_masks import NO_MASKS, Places, by_name, marked, masks_of
from semi_anogan.data.sources.folder_names import plain
from semi_anogan.data.sources.folder_root import Images, Root, Split
from semi_anogan.errors import DataError


def among(root: Root, folders: Sequence[str]) -> list[str]:
    """Those of some folders that hold masks, by their names: masks, or NAME_mask of another, NAME.

    With other names, as defect_masks or NAME_label, their files have to look like masks: a mask may be what
    is inspected, and a label what is missing or torn.
    """
    known = {plain(os.path.basename(folder)) for folder in folders}

    def holds_masks(folder: str) -> bool:
        name = os.path.basename(folder)
        if folder_names.is_masks(name):
            return True
        if _images_of(name) in known and not plain(name).endswith(("label", "labels", "annotation")):
            return True
        return folder_names.may_be_masks(name) and root.like_masks(folder)

    return list(filter(holds_masks, folders))


def _images_of(name: str) -> str | None:
    """NAME, plain, of a folder of masks NAME_mask; None of another."""
    of = None if folder_names.is_masks(name) else mask_names.without_ending(name)
    return None if of is None else plain(of)


def fits(root: Root, split: str, folder: str, kinds: list[str]) -> bool:
    """Whether a folder of masks in that of a split has masks of it, by the names of its folders or files."""
    if set(map(plain, root.folders(folder))) & {plain(os.path.basename(kind)) for kind in kinds}:
        return True
    own = [os.path.splitext(name)[0] for name in root.masks(folder)]
    others = {
        os.path.splitext(os.path.basename(n))[0]
        for kind in kinds
        if kind != folder
        for n in images_below(os.path.join(root.root, kind))
    }
    others |= {os.path.splitext(n)[0] for n in root.directly(split)}
    return bool(own) and all(others & {stem, *mask_names.images_of(stem)} for stem in own)


def of_splits(root: Root, masks: Sequence[str], splits: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Split -> the folders of its masks alone, in or among those of masks: masks/train, train_mask.

    Args: masks: folders of masks; splits: "train" and "test" -> the folders of their images.
    """
    found = {split: [] for split in splits}
    for split, known in (("train", folder_names.TRAIN), ("test", folder_names.TEST)):
        own = known | {plain(os.path.basename(folder)) for folder in splits[split]}
        for folder in masks:
            found[split] += [f"{folder}/{name}" for name in root.folders(folder) if plain(name) in own]
            if _images_of(os.path.basename(folder)) in own:
                found[split].append(folder)
    return found


def of_images(
    root: Root, splits: Mapping[str, Split], masks: list[str], good: Container[str], unmarked: Container[str]
) -> dict[str, str | None]:
    """image -> mask or None, of all abnormal images.

    Args: splits: by name, "train" and "test"; masks: folders of masks in the root; good: plain names of those
      of normal images; unmarked: as in folder_masks.masks_of.
    """
    of_split = {split: found.masks for split, found in splits.items()}
    of = {split: {plain(k): i for k, i in found.defects.items()} for split, found in splits.items()}
    kinds = sorted({*splits["train"].defects, *splits["test"].defects})
    kinds = list({plain(kind): kind for kind in kinds}.values())  # of two spellings one
    mask_of, used = {}, set()

    def of_kind(folders: list[str], kind: str) -> list[str]:
        found = []
        for folder in folders:
            same = [n for n in root.folders(folder) if plain(n) == plain(kind)]
            found += [f"{folder}/{name}" for name in same]
            of = _images_of(os.path.basename(folder))
            # Masks without folders of kinds can only be those of the one kind that there is.
            of_only = len(kinds) == 1 and not root.folders(folder) and of is None
            if of == plain(kind) or of_only and root.directly(folder, mask_names.is_mask_name):
                found.append(folder)
        used.update(found)
        return found

    for kind in kinds:
        train, test = (of[split].get(plain(kind), Images({}, {})) for split in ("train", "test"))
        places = Places(*(of_kind(f, kind) for f in (masks, of_split["train"], of_split["test"])))
        beside = train.beside | test.beside
        mask_of |= masks_of(root.root, kind, train.names, test.names, places, beside, root.notes, unmarked)
    images = [images.names for split in splits.values() for images in split.good.values()]
    normal = dict(itertools.chain(*(names.items() for names in images)))
    every = list(dict.fromkeys([*masks, *of_split["train"], *of_split["test"]]))
    empty = [
        folder
        for folder in every
        if not any(f"{other}/".startswith(f"{folder}/") for other in used) and not root.masks(folder)
    ]
    for folder in every:
        root.notes.add(NO_MASKS, folder, folder in empty and os.path.dirname(folder) not in empty)
        flat = [] if folder in used else root.directly(folder, mask_names.is_mask_name)
        root.notes.add(
            "{n} masks lie in no folder of a kind of defect, such as {first}: not used",
            f"{folder}/{(flat or [''])[0]}",
            len(flat),
        )
        for name in root.folders(folder):
            path = f"{folder}/{name}"
            if plain(name) in good:
                note_marked(root, normal, {}, [path])
            if path not in used and path not in every:
                told = "{n} masks are in folders of no kind of defect, such as {first}: not used"
                root.notes.add(told, path, root.count(path))
    return mask_of


def within(root: Root, names: Mapping[str, str], folders: Sequence[str]) -> dict[str, str]:
    """Image -> its mask in folders of masks within that of the images; names: as Images has them.

    An image may lie in a folder beside these whose name says nothing: images/1.png and masks/1.png.
    """

    def short(name: str) -> str:
        first, _, rest = name.partition("/")
        return rest if rest and folder_names.says_nothing(first) else name

    found = by_name(root.root, folders, set(map(short, names.values())), root.notes)
    of = {image: found[short(name)] for image, name in names.items() if short(name) in found}
    strange = [mask for mask in found.values() if mask not in set(of.values())]
    root.notes.add("{n} masks are of no image, such as {first}: not used", (strange or [""])[0], len(strange))
    return of


def note_marked(root: Root, names: Mapping[str, str], beside: Mapping[str, str], folders: Sequence[str] = ()):
    """Tells of normal images whose mask marks something; arguments as of folder_masks.marked."""
    try:
        found = marked(root.root, names, beside, folders, root.max_pixels)
    except DataError:  # of a mask that is not used
        return
    root.notes.add(
        "{n} files named as masks of normal images mark something, such as {first}: not used, and their "
        "images are taken as normal; look whether they are",
        next(iter(found.values()), ""),
        len(set(found.values())),
    )
