"""What the names of folders say: which hold training and test images, normal ones, defects and masks."""

import os
from collections.abc import Iterable, Mapping
from os.path import basename

from semi_anogan.config import words
from semi_anogan.data import ignore_files
from semi_anogan.data.listing import note_outputs
from semi_anogan.data.notes import Notes
from semi_anogan.data.sources import folder_layouts, folder_mask_folders, folder_names
from semi_anogan.data.sources.folder_names import GOOD, is_perhaps_good, plain
from semi_anogan.data.sources.folder_root import Root


class Named(Root):
    """A folder whose folders are named by split and label.

    Args: good: names of the folders of normal images, with commas between; None: the known ones, and others
      may be asked for; others: as of Root.
    Attributes: asked: whether names may be asked for; given: those in `good`, as they are written.
    """

    def __init__(self, root: str, good: str | None, notes: Notes, max_pixels: int):
        super().__init__(root, notes, max_pixels)
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

    def is_perhaps_test(self, folder: str) -> bool:
        """Whether a folder could be meant as that of the test images, by its name or by what is in it."""
        if folder_names.is_perhaps_test(basename(folder)):
            return True
        if is_train(folder) or folder_names.is_no_kind(basename(folder)):
            return False
        inside = map(basename, self.within(folder))
        return any(self.is_good(n) or folder_names.is_perhaps_good(n) for n in inside)

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

    def known_good(self, parents: Iterable[str] = ()) -> list[str]:
        """Names of the folders of normal images in those of splits, and in the parents."""
        splits = folder_names.TRAIN | folder_names.TEST
        parents = {*parents, *(top for top in self.within("") if plain(basename(top)) in splits)}
        found = {plain(basename(path)) for parent in parents for path in self.within(parent)}
        return sorted(found & GOOD)

    def kind_of(self, name: str, kinds: Mapping[str, object]) -> str:
        """The name of a kind of defect, as another folder has spelt it first."""
        return next((kind for kind in kinds if plain(kind) == plain(name)), name)


def is_train(folder: str) -> bool:
    """Whether a folder is one of training images, by its name."""
    return plain(basename(folder)) in folder_names.TRAIN
