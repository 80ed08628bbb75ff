"""Image files in folders whose names, as folder_names.py knows them, say split and label: two layouts."""

import difflib
import hashlib
import itertools
import os
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from os.path import basename

from semi_anogan.config import words
from semi_anogan.data import ignore_files
from semi_anogan.data.dataset import ABNORMAL, NORMAL, Dataset, Example
from semi_anogan.data.image_files import MAX_PIXELS
from semi_anogan.data.listing import (
    images_below,
    note_outputs,
)
from semi_anogan.data.notes import Notes
from semi_anogan.data.sources import folder_layouts, folder_mask_folders, folder_names
from semi_anogan.data.sources.files import choose_training, file_dataset
from semi_anogan.data.sources.folder_masks import apart, marked, note_beside
from semi_anogan.data.sources.folder_names import GOOD, is_perhaps_good, plain
from semi_anogan.data.sources.folder_root import Images, Root, Split
from semi_anogan.errors import DataError

MARKED = "defect"  # the kind of images that no folder names and whose mask marks something
HERE = "."  # in data.good: the images that lie directly in the folder of a split
SHOWN = 5  # names in a line
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


class _FolderReader(Root):
    """Finds the images of a folder; good: as in `load`; notes: get what is left out or unusual.

    Attributes: unmarked: names of normal images whose mask was looked at and marks nothing.
    """

    def __init__(self, root: str, good: str | None, notes: Notes, max_pixels: int):
        super().__init__(root, notes, max_pixels)
        self.unmarked: set[str] = set()
        self.asked = good is None
        self.given = words(good or "")
        self.good = GOOD if good is None else frozenset(plain(word) for word in self.given)
        self._within: dict[str, tuple[list[str], list[str], list[str]]] = {}

    def is_good(self, folder: str) -> bool:
        return plain(basename(folder)) in self.good

    def names_layout(self, folders: Iterable[str]) -> bool:
        """Whether one of some folders is named as that of training images, or may be one of normal ones."""
        return any(
            is_train(folder) or self.is_good(folder) or self.asked and is_perhaps_good(basename(folder))
            for folder in folders
        )

    def within(self, folder: str) -> list[str]:
        """The folders, relative to the root, whose names say the split, the label or that they hold masks.

        They lie in the folder. Or, where none in it says a label, in one there that is named images or the
        like, and masks beside that: in VisA Images/Normal, Images/Anomaly and Masks/Anomaly.
        """
        return self._passed_within(folder)[1]

    def note_within(self, folder: str):
        """Tells of folders of images that were passed on the way to those `within`, and what lies there."""
        passed, _, unused = self._passed_within(folder)
        self.notes.add(
            "{n} folders of images are read as the ones that they lie in, such as {first}",
            (passed or [""])[-1],
            bool(passed),
        )
        for place in passed:
            note_outputs(self.notes, os.path.join(self.root, place))
            self.note_directly(place, "put them into a folder of their kind")
        for path in unused:
            self.note_unused(path)

    def _passed_within(self, folder: str) -> tuple[list[str], list[str], list[str]]:
        """(folders that were passed, from outside to inside; those `within`; others, which are not used)."""
        if folder not in self._within:
            self._within[folder] = self._find_within(folder)
        return self._within[folder]

    def _find_within(self, folder: str) -> tuple[list[str], list[str], list[str]]:
        inside = f"{folder}/" if folder else ""
        first = [inside + name for name in self.folders(folder) if inside + name != ignore_files.FOLDER]
        passed, own, beside = [], first, []
        while True:
            masks = folder_mask_folders.among(self, [*own, *beside])
            if self.names_layout(path for path in own if path not in masks):
                used = [path for path in beside if path in masks]
                unused = [path for path in beside if path not in masks]
                if folder and any(map(self.count, unused)):  # in that of a split they are kinds of defects
                    return [], first, []
                return passed, [*own, *used], unused
            images = [path for path in own if folder_names.says_nothing(basename(path))]
            if len(images) != 1 or len(passed) == folder_layouts.FAR:
                return [], first, []
            passed += images
            beside += [path for path in own if path not in images]
            own = [f"{images[0]}/{name}" for name in self.folders(images[0])]

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
                f"{self.root}: {_few(found)} taken as normal, as kinds of defects: {_few(kinds) or 'none'}; "
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

    def test_folders(self, tops: list[str], given: str | None) -> list[str]:
        """The folders of test images, whose name may have to be asked for."""
        if given == "":
            return []
        if given is not None:
            names = list(map(basename, tops))
            same = [top for top, name in zip(tops, names, strict=True) if given in (top, name)]
            found = same or [t for t, name in zip(tops, names, strict=True) if plain(name) == plain(given)]
            if not found:
                raise DataError(
                    f"data.test_folder: {self.root} has no folder {given!r} (folders found: {_few(names)})"
                )
            return found
        test = [top for top in tops if plain(basename(top)) in folder_names.TEST]
        perhaps = [(name, self.count(name)) for name in tops if self.is_perhaps_test(name)]
        perhaps = [(name, count) for name, count in perhaps if count]
        if test or not perhaps:
            return test
        flags = " or ".join(
            f"--config.data.test_folder={shlex.quote(basename(name))}" for name, _ in perhaps[:SHOWN]
        )
        raise DataError(
            f"{self.root}: no folder test, but {_counted(perhaps)}: are these the test images? {flags} takes "
            "them, --config.data.test_folder= trains without test images"
        )

    def ask_training(self, tops: list[str]):
        """DataError that asks whether a folder with another name is that of the training images."""
        perhaps = [(top, self.count(top)) for top in tops if folder_names.is_perhaps_train(basename(top))]
        perhaps = [(name, count) for name, count in perhaps if count]
        if perhaps:
            raise DataError(
                f"{self.root}: no folder train, but {_counted(perhaps)}: are these the training images? Name "
                "their folder train"
            )

    def is_perhaps_test(self, folder: str) -> bool:
        """Whether a folder could be meant as that of the test images, by its name or by what is in it."""
        if folder_names.is_perhaps_test(basename(folder)):
            return True
        if is_train(folder) or folder_names.is_no_kind(basename(folder)):
            return False
        inside = map(basename, self.within(folder))
        return any(self.is_good(n) or folder_names.is_perhaps_good(n) for n in inside)

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
                f"{self.root}: normal images are in several folders, read together: {_counted(several)}"
            )
        if len(folders) > 1:
            self.notes.add(f"{self.root}: folders of one split, read together: {_few(folders)}")
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

    def ask_directly(self, folder: str, here: list[str], masks: list[str]):
        """DataError that asks whether the images that lie in the folder of a split are normal.

        masks: folders of these.
        """
        names, beside = apart(self.root, folder, here, self.max_pixels)
        known = self.known_good()
        yes, no = shlex.quote(",".join([*known, HERE])), shlex.quote(",".join(known))
        leave = f", --config.data.good={no} leaves them out" if known else ""
        but = ", but for those whose mask marks something" if beside or any(map(self.masks, masks)) else ""
        lists = self.directly(folder, lambda name: name.lower().endswith((".json", ".csv", ".xml", ".txt")))
        if lists and not but:
            but = f", whatever {lists[0]} beside them says"
        raise DataError(
            f"{os.path.join(self.root, folder)}: {len(names)} images lie directly in it: are they normal? "
            f"--config.data.good={yes} takes them as normal{but}{leave}; a folder each for normal images "
            "(good) and for every kind of defect says it too"
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

    def refuse_other_label(self, folder: str, inner: Sequence[str], normal: bool):
        """DataError where a folder in one of normal images is named as one of defects, or the other way.

        Or as one of a split: its images would be split anew.
        """
        known = ",".join(self.known_good([os.path.dirname(folder)]))
        for path in inner:
            for name in path[len(folder) + 1 :].split("/")[:-1]:
                if folder_names.is_split(name):
                    raise DataError(
                        f"{os.path.join(self.root, os.path.dirname(path))}: named as a folder of a split, "
                        f"but within {folder}; make it {name}/{basename(folder)}, or "
                        f"--config.data.good={shlex.quote(known)} takes all images in {folder} alike"
                    )
                defect = folder_names.is_bad(name)
                good = plain(name) in GOOD or is_perhaps_good(name)
                if defect if normal else good:
                    own, other = ("normal", "abnormal") if normal else ("abnormal", "normal")
                    good = basename(folder) if normal else "good"
                    raise DataError(
                        f"{os.path.join(self.root, os.path.dirname(path))}: named as a folder of {other} "
                        f"images, but within {folder}, whose images are {own}; move it out of there, or "
                        f"--config.data.good={shlex.quote(good)} takes its images as {own}"
                    )

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

    def kind_of(self, name: str, kinds: Mapping[str, object]) -> str:
        """The name of a kind of defect, as another folder has spelt it first."""
        return next((kind for kind in kinds if plain(kind) == plain(name)), name)

    def perhaps_good(self, folder: str) -> list[tuple[str, int]]:
        """(folder, number of images) of those in a folder that could be meant as normal."""
        if not self.asked:
            return []
        inside = self.within(folder)
        masks = folder_mask_folders.among(self, inside)
        found = [
            (path, self.count(path))
            for path in inside
            if path not in masks
            if is_perhaps_good(basename(path))
            or folder_names.says_nothing(basename(path))
            and (folder or self.directly(path))
        ]
        return [(name, count) for name, count in found if count]

    def ask(self, perhaps: list[tuple[str, int]]):
        """DataError that asks whether the images of folders are normal."""
        if not perhaps:
            return
        known = self.known_good(os.path.dirname(path) for path, _ in perhaps)
        meant = list(dict.fromkeys(basename(path) for path, _ in perhaps))
        yes, no = (shlex.quote(",".join(names)) for names in ([*known, *meant], known))
        other = f"--config.data.good={no} as abnormal" if known else "else it names those that are"
        parents = {
            os.path.dirname(path) for path, _ in perhaps if folder_names.says_nothing(path.split("/")[-1])
        }
        beside = [m for p in parents for m in folder_mask_folders.among(self, self.within(p))]
        but = ", but for those whose mask marks something" if beside else ""
        raise DataError(
            f"{self.root}: are the images in {_counted(perhaps)} normal? --config.data.good={yes} takes them "
            f"as normal{but}, {other}"
        )

    def known_good(self, parents: Iterable[str] = ()) -> list[str]:
        """Names of the folders of normal images in those of splits, and in the parents."""
        splits = folder_names.TRAIN | folder_names.TEST
        parents = {*parents, *(top for top in self.within("") if plain(basename(top)) in splits)}
        found = {plain(basename(path)) for parent in parents for path in self.within(parent)}
        return sorted(found & GOOD)

    def check_given(self, folders: Sequence[str]):
        """DataError for a name in data.good that no folder in some has."""
        there = {plain(name): name for f in folders for name in map(basename, self.within(f))}
        for name in self.given:
            if name != HERE and plain(name) not in there:
                raise DataError(
                    f"data.good: {name!r} is no folder in {' or '.join(filter(None, folders)) or self.root} "
                    f"(folders found: {_few(list(there.values()))})"
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


def is_train(folder: str) -> bool:
    """Whether a folder is one of training images, by its name."""
    return plain(basename(folder)) in folder_names.TRAIN


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


def _few(names: Sequence[str]) -> str:
    """The first names of a list, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _counted(folders: Sequence[tuple[str, int]]) -> str:
    return _few([f"{name} ({count} images)" for name, count in folders])


def _hash_of(name: str, seed: int) -> float:
    """In [0, 1), from a name and the seed alone."""
    digest = hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
