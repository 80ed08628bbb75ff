"""What lies in the folders of a data set: images, masks beside them, and what is told of both."""

import collections
import os
import shlex
from collections.abc import Sequence
from typing import NamedTuple

from semi_anogan.config import words
from semi_anogan.data.listing import (
    images_below,
    is_image_name,
    listed,
    note_left_out,
    without_mask_ending,
)
from semi_anogan.data.notes import Notes
from semi_anogan.data.sources import folder_names
from semi_anogan.data.sources.folder_names import GOOD, plain
from semi_anogan.errors import DataError

SHOWN = 5  # names in a line


class Images(NamedTuple):
    """Images of a folder, relative to root -> their names below it, without suffix; and masks beside them."""

    names: dict[str, str]
    beside: dict[str, str]

    def joined(self, other: "Images") -> "Images":
        return Images(self.names | other.names, self.beside | other.beside)


class Folders:
    """What lies in the folders of a data set, which are given relative to its root.

    Args: good: names of the folders of normal images, with commas between, None: the known ones; notes: get
      what is left out or unusual.
    """

    def __init__(self, root: str, good: str | None, notes: Notes):
        self.root, self.notes = root, notes
        self.asked = good is None
        self.given = words(good or "")
        self.good = GOOD if good is None else frozenset(plain(word) for word in self.given)

    def is_good(self, name: str) -> bool:
        return plain(name) in self.good

    def images(self, folder: str, normal: bool = False) -> Images:
        """The images below a folder, without the masks that lie beside them.

        Raises: DataError where a folder within it is named as one of the other label.
        """
        paths = images_below(os.path.join(self.root, folder), self.notes, folder_names.is_no_kind)
        stems = collections.defaultdict(list)
        for path in paths:
            stems[os.path.splitext(path)[0]].append(path)
        names, beside = {}, {}
        for path in paths:
            stem = os.path.splitext(path)[0]
            base = without_mask_ending(stem)
            if base in stems:
                beside |= {f"{folder}/{image}": f"{folder}/{path}" for image in stems[base]}
            else:
                names[f"{folder}/{path}"] = stem
        what = "left out, as the images are normal" if normal else "taken as the masks of these"
        first = next(iter(beside.values()), "")
        self.notes.add(
            f"{{n}} masks lie beside their images, such as {{first}}: {what}",
            first,
            len(set(beside.values())),
        )
        inner = [path for path in names if "/" in path[len(folder) + 1 :]]
        if self.asked:
            self.refuse_other_label(folder, inner, normal)
        self.notes.add(
            "{n} images in folders within those of a kind are read as of this kind, such as {first}",
            (inner or [""])[0],
            len(inner),
        )
        return Images(names, beside)

    def refuse_other_label(self, folder: str, inner: Sequence[str], normal: bool):
        """DataError where a folder in one of normal images is named as one of defects, or the other way."""
        for path in inner:
            for name in path[len(folder) + 1 :].split("/")[:-1]:
                defect = plain(name) in folder_names.BAD - {"1"}
                good = plain(name) in GOOD or folder_names.is_perhaps_good(name)
                if defect if normal else good:
                    own, other = ("normal", "abnormal") if normal else ("abnormal", "normal")
                    good = os.path.basename(folder) if normal else "good"
                    raise DataError(
                        f"{os.path.join(self.root, os.path.dirname(path))}: named as a folder of {other} "
                        f"images, but within {folder}, whose images are {own}; move it out of there, or "
                        f"--config.data.good={shlex.quote(good)} takes its images as {own}"
                    )

    def directly(self, folder: str) -> list[str]:
        """Names of the images that lie in a folder itself."""
        full = os.path.join(self.root, folder)
        return [n for n in listed(full) if is_image_name(n) and not os.path.isdir(os.path.join(full, n))]

    def note_directly(self, folder: str, advice: str):
        """Tells of images, and of files that are none, which lie in a folder itself."""
        full = os.path.join(self.root, folder)
        for name in listed(full):
            if not os.path.isdir(os.path.join(full, name)):
                note_left_out(self.notes, os.path.join(full, name))
        here = self.directly(folder)
        first = os.path.join(folder, here[0]) if here else ""
        where = f"directly in {folder}/" if folder else "directly in the folder of the data"
        self.notes.add(
            f"{{n}} images lie {where} and are left out, such as {{first}}; {advice}", first, len(here)
        )

    def note_unused(self, folder: str):
        """Tells of a folder whose images are not used."""
        self.notes.add(
            f"{self.root}: {{n}} images in the folder {folder} are not used", folder, self.count(folder)
        )

    def note_replaced(self, folder: str):
        """Tells where data.good makes a folder one of defects whose name says otherwise."""
        name = os.path.basename(folder)
        if not self.asked and (plain(name) in GOOD or folder_names.is_perhaps_good(name)):
            self.notes.add(
                f"{self.root}: {{n}} images in {folder} are taken as abnormal, as data.good is "
                f"{','.join(self.given)!r}",
                folder,
                self.count(folder),
            )

    def count(self, folder: str) -> int:
        """How many images are below a folder."""
        return len(images_below(os.path.join(self.root, folder)))


def few(names: Sequence[str]) -> str:
    """The first names of a list, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def counted(folders: Sequence[tuple[str, int]]) -> str:
    """The first of folders with their number of images."""
    return few([f"{name} ({count} images)" for name, count in folders])
