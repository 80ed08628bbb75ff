"""The folder of a data set: what its folders hold, and lines about what of it is left out."""

import os
from collections.abc import Callable
from typing import NamedTuple

from semi_anogan.data import mask_names, masks_or_images
from semi_anogan.data.image_files import MAX_PIXELS
from semi_anogan.data.listing import images_below, is_image_name, listed, note_left_out, subfolders
from semi_anogan.data.notes import Notes


class Images(NamedTuple):
    """Images of a folder, relative to root -> their names below it, without suffix; and masks beside them."""

    names: dict[str, str]
    beside: dict[str, str]

    def joined(self, other: "Images") -> "Images":
        return Images(self.names | other.names, self.beside | other.beside)


class Split(NamedTuple):
    """What the folders of a split hold.

    Attributes: folders: relative to root; good: folder -> its normal images; defects: kind -> images; masks:
      folders of masks that lie within.
    """

    folders: list[str]
    good: dict[str, Images]
    defects: dict[str, Images]
    masks: list[str]

    @property
    def has_images(self) -> bool:
        return any(images.names for images in [*self.good.values(), *self.defects.values()])

    @property
    def normal(self) -> list[str]:
        return [path for images in self.good.values() for path in images.names]


class Root:
    """A folder, whose folders are named relative to it.

    notes: get what is left out; max_pixels: of a file that is looked at.
    """

    def __init__(self, root: str, notes: Notes, max_pixels: int = MAX_PIXELS):
        self.root, self.notes, self.max_pixels = root, notes, max_pixels
        self._like_masks: dict[str, bool] = {}

    def folders(self, folder: str) -> list[str]:
        """Names of the folders in a folder; as listing.subfolders."""
        return subfolders(os.path.join(self.root, folder))

    def directly(self, folder: str, wanted: Callable[[str], bool] = is_image_name) -> list[str]:
        """Names of the images that lie in a folder itself; wanted: other files, by their names."""
        full = os.path.join(self.root, folder)
        return [n for n in listed(full) if wanted(n) and not os.path.isdir(os.path.join(full, n))]

    def note_directly(self, folder: str, advice: str):
        """Tells of the files that lie in a folder itself, all of which are left out."""
        self.note_others(folder)
        here = self.directly(folder)
        first = os.path.join(folder, here[0]) if here else ""
        where = f"directly in {folder}/" if folder else "directly in the folder of the data"
        self.notes.add(
            f"{{n}} images lie {where} and are left out, such as {{first}}; {advice}", first, len(here)
        )

    def note_others(self, folder: str):
        """Tells of the files that lie in a folder itself and are no images by their names."""
        full = os.path.join(self.root, folder)
        for name in self.directly(folder, lambda name: not is_image_name(name)):
            note_left_out(self.notes, os.path.join(full, name), others=True)

    def note_unused(self, folder: str):
        """Tells of a folder that is not used."""
        count = self.count(folder)
        self.notes.add(f"{self.root}: {{n}} images in the folder {folder} are not used", folder, count)
        if not count:
            self.note_empty(folder)

    def note_empty(self, folder: str):
        """Tells of a folder without images."""
        self.notes.add(
            "{n} folders hold no images, such as {first}: not used", os.path.join(self.root, folder)
        )

    def masks(self, folder: str) -> list[str]:
        """The files below a folder of masks that are read as such, relative to it."""
        return images_below(os.path.join(self.root, folder), wanted=mask_names.is_mask_name)

    def like_masks(self, folder: str) -> bool:
        """Whether the first images below a folder all look like masks."""
        if folder not in self._like_masks:
            full = os.path.join(self.root, folder)
            files = [os.path.join(full, name) for name in images_below(full)]
            self._like_masks[folder] = masks_or_images.is_of_masks(files, self.max_pixels)
            self.notes.add(
                "{n} folders are taken as those of masks, since their files look like masks and their names "
                "allow it, such as {first}",
                folder,
                self._like_masks[folder],
            )
        return self._like_masks[folder]

    def count(self, folder: str) -> int:
        """How many images are below a folder."""
        return len(images_below(os.path.join(self.root, folder)))
