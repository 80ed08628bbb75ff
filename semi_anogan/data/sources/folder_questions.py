"""Questions on folders whose names could mean two things: errors that name the settings that answer."""

import os
import shlex
from collections.abc import Sequence
from os.path import basename

from semi_anogan.data.sources import folder_mask_folders, folder_names
from semi_anogan.data.sources.folder_labels import Named
from semi_anogan.data.sources.folder_masks import apart
from semi_anogan.data.sources.folder_names import GOOD, is_perhaps_good, plain
from semi_anogan.errors import DataError

HERE = "."  # in data.good: the images that lie directly in the folder of a split
SHOWN = 5  # names in a line


class Asking(Named):
    """A folder of which is asked what its names leave open."""

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
                    f"data.test_folder: {self.root} has no folder {given!r} (folders found: {few(names)})"
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
            f"{self.root}: no folder test, but {counted(perhaps)}: are these the test images? {flags} takes "
            "them, --config.data.test_folder= trains without test images"
        )

    def ask_training(self, tops: list[str]):
        """DataError that asks whether a folder with another name is that of the training images."""
        perhaps = [(top, self.count(top)) for top in tops if folder_names.is_perhaps_train(basename(top))]
        perhaps = [(name, count) for name, count in perhaps if count]
        if perhaps:
            raise DataError(
                f"{self.root}: no folder train, but {counted(perhaps)}: are these the training images? Name "
                "their folder train"
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
            f"{self.root}: are the images in {counted(perhaps)} normal? --config.data.good={yes} takes them "
            f"as normal{but}, {other}"
        )

    def check_given(self, folders: Sequence[str]):
        """DataError for a name in data.good that no folder in some has."""
        there = {plain(name): name for f in folders for name in map(basename, self.within(f))}
        for name in self.given:
            if name != HERE and plain(name) not in there:
                raise DataError(
                    f"data.good: {name!r} is no folder in {' or '.join(filter(None, folders)) or self.root} "
                    f"(folders found: {few(list(there.values()))})"
                )


def few(names: Sequence[str]) -> str:
    """The first names of a list, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def counted(folders: Sequence[tuple[str, int]]) -> str:
    """The first of (folder, number of its images), and how many more there are."""
    return few([f"{name} ({count} images)" for name, count in folders])
