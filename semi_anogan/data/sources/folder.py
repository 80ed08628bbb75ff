"""Image files in folders whose names, as folder_names.py knows them, say split and label: two layouts."""

import difflib
import hashlib
import itertools
import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from os.path import basename

from semi_anogan.config import words
from semi_anogan.data import ignore_files
from semi_anogan.data.dataset import ABNORMAL, NORMAL, Dataset, Example
from semi_anogan.data.image_files import MAX_PIXELS
from semi_anogan.data.listing import images_below, note_outputs
from semi_anogan.data.notes import Notes
from semi_anogan.data.sources import folder_layouts, folder_mask_folders, folder_names
from semi_anogan.data.sources.files import choose_training, file_dataset
from semi_anogan.data.sources.folder_labels import is_train
from semi_anogan.data.sources.folder_masks import apart, marked, note_beside
from semi_anogan.data.sources.folder_names import GOOD, is_perhaps_good, plain
from semi_anogan.data.sources.folder_questions import HERE, SHOWN, Asking, counted, few
from semi_anogan.data.sources.folder_root import Images, Split
from semi_anogan.errors import DataError

MARKED = "defect"  # the kind of images that no folder names and whose mask marks something
ALIKE = 0.85  # likeness of names, from which on one may be the other misspelt


def load(
    channels: int,
    root: str,
    abnormal_count: int | None = None,
    test_share: float = 0.3,
    seed: int = 0,
    contamination: float = 0.0,
    good: str | None = None,
    test_folder: str | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Dataset:
    """Loads a folder laid out like MVTec AD, or one with a folder of normal images (see folder_layouts.py).

    Names of folders count without case, `-`, `_` and spaces. What could be meant as a folder of normal or of
    test images, but is no known name of one, is asked for. The order of images is by name, with numbers by
    value. In the first layout the known abnormal images of several defects take turns, so that a small
    abnormal_count has some of each. Masks are looked up for both splits, as in `folder_masks`. What is left
    out or taken in an unusual way stands in the dataset's notes.

    Args:
      channels: 1 or 3.
      root: the folder.
      abnormal_count, contamination: as in `choose_training`, in that order.
      test_share: second layout only: share of the images that becomes test images. An image's split depends
        on its name and the seed alone, so adding images never moves others from one split to the other.
      seed: seed of that split.
      good: names of the folders of normal images, with commas between; None: the known ones.
      test_folder: name of the folder of test images, "" for none; None: test.
      max_pixels: of a file that is looked at to see whether it is a mask.

    Raises:
      DataError: neither layout found, no normal training images, a name that could be meant in two ways,
        masks missing.
    """
    root, notes = os.fspath(root), Notes()
    if not os.path.isdir(root):
        hint = "; lists of images are given as data.path" if root.lower().endswith(".csv") else ""
        hint = "; the shell puts no folder for ~ there" if root.startswith("~") else hint
        raise DataError(f"data.root: {root!r} is not a folder{hint}")
    if good is not None and not words(good):
        raise DataError("data.good: names no folder")
    if not 0.0 <= test_share < 1.0:
        raise DataError(f"data.test_share: {test_share!r} is not in [0, 1)")
    reader = _FolderReader(root, good, notes, max_pixels)
    note_outputs(notes, root)
    reader.note_within("")
    tops = reader.within("")
    train = [top for top in tops if is_train(top)]
    if not train and (outer := folder_layouts.above(root)):
        notes.add(
            f"{root}: is part of a folder with training images of its own; --config.data.root="
            f"{shlex.quote(outer)} takes these, and test images beside them"
        )
    if outer := folder_layouts.with_masks(root):
        notes.add(
            f"{root}: masks lie in a folder beside it; --config.data.root={shlex.quote(outer)} takes them too"
        )
    if train:
        examples = reader.split_layout(tops, train, test_folder)
    elif good or reader.names_layout(tops) or reader.perhaps_good(""):
        examples = reader.plain_layout(
            tops, lambda name: "test" if _hash_of(name, seed) < test_share else "train"
        )
    else:
        reader.ask_training(tops)
        raise folder_layouts.neither(root, tops, len(reader.directly("")), reader.is_good)
    reader.note_directly("", "put them into a folder of their kind")
    examples = ignore_files.with_masks(root, examples, notes)
    examples = choose_training(examples, abnormal_count, contamination, root)
    return file_dataset("folder", root, examples, channels, notes)


class _FolderReader(Asking):
    """Finds the images of a folder; arguments as of Named.

    Attributes: unmarked: names of normal images whose mask was looked at and marks nothing.
    """

    def __init__(self, root: str, good: str | None, notes: Notes, max_pixels: int):
        super().__init__(root, good, notes, max_pixels)
        self.unmarked: set[str] = set()

    def split_layout(self, tops: list[str], train: list[str], test_folder: str | None) -> list[Example]:
        """The examples of layout A."""
        test = self.test_folders(tops, test_folder)
        masks = folder_mask_folders.among(self, tops)
        self.ask([(f, n) for folder in (*train, *test) for f, n in self.perhaps_good(folder)])
        own = folder_mask_folders.of_splits(self, masks, {"train": train, "test": test})
        splits = {
            split: self.split(folders, own[split]) for split, folders in (("train", train), ("test", test))
        }
        self.check_given([*train, *test])
        if not splits["train"].good:
            kinds = ", ".join(list(splits["train"].defects)[:SHOWN]) or "none"
            raise DataError(
                f"{os.path.join(self.root, train[0])}: no normal training images: no folder named "
                f"{' or '.join(self.given or sorted(GOOD))} (folders found: {kinds}); "
                "--config.data.good=NAME says which holds them"
            )
        if not splits["train"].normal:
            why = "; ".join(["no normal training images, none that is read", *self.notes.lines()])
            raise DataError(f"{os.path.join(self.root, next(iter(splits['train'].good)))}: {why}")
        self.note_alike(splits)
        mask_of = folder_mask_folders.of_images(self, splits, masks, self.good, self.unmarked)
        for name in tops:
            if name not in (*train, *test, *masks):
                self.note_unused(name)
        examples, kind_of = [], _kinds(splits)
        for split, found in splits.items():
            kinds = [list(images.names) for images in found.defects.values()]
            # In training the kinds take turns.
            abnormal = itertools.chain(*(itertools.zip_longest(*kinds) if split == "train" else kinds))
            examples += [Example(path, split, NORMAL) for path in found.normal]
            examples += [
                Example(path, split, ABNORMAL, mask_of[path], kind=kind_of[path]) for path in abnormal if path
            ]
        return examples

    def plain_layout(self, tops: list[str], split_of: Callable[[str], str]) -> list[Example]:
        """The examples of layout B; split_of: path of an image -> its split."""
        self.ask(self.perhaps_good(""))
        masks = folder_mask_folders.among(self, tops)
        self.check_given([""])
        good, defects = {}, {}
        for name in tops:
            own = basename(name)
            is_split = plain(own) in folder_names.TEST or folder_names.is_perhaps_test(own)
            if self.is_good(name):
                good[name] = self.images(name, normal=True)
            elif name in masks:
                continue
            elif is_split or folder_names.is_no_kind(own):
                self.note_unused(name)
            else:
                self.note_replaced(name)
                images = self.images(name)
                kind = self.kind_of(own, defects)
                defects[kind] = defects[kind].joined(images) if kind in defects else images
        for name in good:
            if folder_names.says_nothing(basename(name)):
                self.take_marked(name, good, defects, masks)
        found = [f"{name} ({len(images.names)} images)" for name, images in good.items()]
        present = [*good, *(kind for kind, images in defects.items() if images.names)]
        if present not in ([NORMAL], [NORMAL, ABNORMAL], [ABNORMAL, NORMAL]):
            kinds = [f"{name} ({len(images.names)})" for name, images in defects.items() if images.names]
            self.notes.add(
                f"{self.root}: {few(found)} taken as normal, as kinds of defects: {few(kinds) or 'none'}; "
                "each is split into training and test images"
            )
        examples, parts = [], {"train": {}, "test": {}}
        for kind, images in defects.items():
            for split, part in parts.items():
                part[kind] = Images(
                    {path: name for path, name in images.names.items() if split_of(path) == split},
                    images.beside,
                )
        own = folder_mask_folders.of_splits(self, masks, dict.fromkeys(parts, ()))
        splits = {split: Split([], good, part, own[split]) for split, part in parts.items()}
        mask_of = folder_mask_folders.of_images(self, splits, masks, self.good, self.unmarked)
        kind_of = _kinds(splits)
        for label, folders in ((NORMAL, good), (ABNORMAL, defects)):
            for images in folders.values():
                examples += [
                    Example(path, split_of(path), label, mask_of.get(path), kind=kind_of.get(path))
                    for path in images.names
                ]
        return examples

    def split(self, folders: Sequence[str], masks_beside: Sequence[str]) -> Split:
        """What the folders of one split hold; masks_beside: folders of its masks that lie beside them."""
        found = Split(list(folders), {}, {}, list(masks_beside))
        for folder in folders:
            note_outputs(self.notes, os.path.join(self.root, folder))
            self.note_within(folder)
            kinds = self.within(folder)
            masks = folder_mask_folders.among(self, kinds)
            for path in kinds:
                if self.is_good(path):
                    found.good[path] = self.images(path, normal=True)
                elif path in masks and folder_mask_folders.fits(self, folder, path, kinds):
                    found.masks.append(path)
                elif plain(basename(path)) in folder_names.SMALL:
                    self.note_unused(path)
                else:
                    self.note_replaced(path)
                    kind = self.kind_of(basename(path), found.defects)
                    images = self.images(path)
                    if not images.names:
                        self.note_empty(path)
                    known = found.defects.get(kind)
                    found.defects[kind] = known.joined(images) if known else images
            for path in kinds:
                if path in found.good and folder_names.says_nothing(basename(path)):
                    self.take_marked(path, found.good, found.defects, found.masks)
            here = self.directly(folder)
            masks = [m for m in found.masks if m.startswith(f"{folder}/")] or found.masks
            if here and HERE in self.given:
                self.take_directly(folder, here, found, masks)
            elif here and self.asked and not found.has_images:
                self.ask_directly(folder, here, masks)
            else:
                self.note_directly(folder, "put them into a folder of their kind")
        several = [(name, len(images.names)) for name, images in found.good.items()]
        if len(several) > 1:
            self.notes.add(
                f"{self.root}: normal images are in several folders, read together: {counted(several)}"
            )
        if len(folders) > 1:
            self.notes.add(f"{self.root}: folders of one split, read together: {few(folders)}")
        return found

    def take_directly(self, folder: str, here: list[str], found: Split, masks: list[str]):
        """Adds images that lie in the folder of a split: normal, but for those whose mask marks something.

        masks: folders of these.
        """
        self.note_others(folder)
        found.good[folder] = Images(*apart(self.root, folder, here, self.max_pixels))
        note_beside(self.notes, found.good[folder].beside, "no images")
        self.take_marked(folder, found.good, found.defects, masks)

    def take_marked(self, folder: str, good: dict[str, Images], defects: dict[str, Images], masks: list[str]):
        """Makes those images of a folder abnormal whose mask marks something; masks: folders of these."""
        names, beside = good[folder]
        of = marked(self.root, names, beside, masks, self.max_pixels)
        good[folder] = Images({path: name for path, name in names.items() if path not in of}, {})
        self.unmarked |= set(good[folder].names.values())
        if of:
            kind = self.kind_of(MARKED, defects)
            images = Images({path: names[path] for path in of}, of)
            defects[kind] = images.joined(defects.get(kind, Images({}, {})))
        self.notes.add(
            f"{{n}} images in {folder}/ have a mask that marks something, such as {{first}}: taken as "
            f"abnormal, of the kind {MARKED}",
            next(iter(of), ""),
            len(of),
        )

    def images(self, folder: str, normal: bool = False) -> Images:
        """The images below a folder, without the masks that lie beside them.

        Raises: DataError where a folder within it is named as one of the other label.
        """
        place = os.path.join(self.root, folder)
        inside = [f"{folder}/{name}" for name in self.folders(folder)]
        masks = list(map(basename, folder_mask_folders.among(self, inside)))

        def leave_out(name: str) -> bool:
            return folder_names.is_no_kind(name) and (normal or name not in masks)

        paths = images_below(place, self.notes, leave_out, others=True)
        paths = [path for path in paths if path.split("/")[0] not in masks]
        names, beside = apart(self.root, folder, paths, self.max_pixels)
        masks = [f"{folder}/{name}" for name in masks]
        if not normal:
            beside = folder_mask_folders.within(self, names, masks) | beside
        what = "left out, as the images are normal" if normal else "taken as the masks of these"
        note_beside(self.notes, beside, what)
        if normal:
            folder_mask_folders.note_marked(self, names, beside, masks)
        inner = [path for path in names if "/" in path[len(folder) + 1 :]]
        if self.asked:
            self.refuse_other_label(folder, inner, normal)
        kinds = {} if normal else {path: _kind_of(path, folder, basename(folder)) for path in inner}
        own = [path for path, kind in kinds.items() if kind != basename(folder)]
        self.notes.add(
            f"{{n}} images in folders within {folder} are of the kinds that these are named after, such as "
            "{first}",
            (own or [""])[0],
            len(own),
        )
        inner = [path for path in inner if path not in set(own)]
        self.notes.add(
            "{n} images in folders within those of a kind are read as of this kind, such as {first}",
            (inner or [""])[0],
            len(inner),
        )
        return Images(names, beside)

    def note_alike(self, splits: Mapping[str, Split]):
        """Tells of kinds in training alone that are nearly named as others in the test alone."""
        train, test = (
            {plain(k): k for k, i in splits[s].defects.items() if i.names} for s in ("train", "test")
        )
        tests = sorted(test.keys() - train.keys())
        for own in sorted(train.keys() - test.keys()):
            for other in difflib.get_close_matches(own, tests, n=1, cutoff=ALIKE):
                if re.sub(r"\D", "", own) == re.sub(r"\D", "", other):
                    self.notes.add(
                        f"{self.root}: train/{train[own]} and test/{test[other]} are taken as two kinds of "
                        "defects; name both alike if they are one, for its figures and for its masks"
                    )

    def note_replaced(self, folder: str):
        """Tells where data.good makes a folder one of defects whose name says otherwise."""
        name = basename(folder)
        says_good = plain(name) in GOOD or is_perhaps_good(name)
        if not self.asked and (says_good or folder_names.says_nothing(name)):
            self.notes.add(
                f"{self.root}: {{n}} images in {folder} are taken as abnormal, as data.good is "
                f"{','.join(self.given)!r}",
                folder,
                self.count(folder),
            )


def _kinds(splits: Mapping[str, Split]) -> dict[str, str]:
    """Image -> its kind of defect, as the first folder spells it."""
    found, spelt = {}, {}
    for split in splits.values():
        for kind, images in split.defects.items():
            for path, name in images.names.items():
                folder = os.path.splitext(path)[0][: -len(name) - 1]
                is_own = plain(basename(folder)) == plain(kind)  # else its mask says the kind
                own = _kind_of(path, folder, kind) if is_own else kind
                found[path] = spelt.setdefault(plain(own), own)
    return found


def _kind_of(path: str, folder: str, kind: str) -> str:
    """The kind of an image below the folder of a kind."""
    inner, slash, _ = path[len(folder) + 1 :].partition("/")
    return folder_names.inner_kind(kind, inner) if slash else kind


def _hash_of(name: str, seed: int) -> float:
    """In [0, 1), from a name and the seed alone."""
    digest = hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
