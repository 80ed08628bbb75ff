"""What every data source returns: a checked list of examples and the functions that read them."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from semi_anogan.data.images import Found, Scale
from semi_anogan.data.notes import Notes

NORMAL, ABNORMAL = "normal", "abnormal"


class Masked(NamedTuple):
    """An image and what of it is ignored.

    Attributes:
      image: as a detector takes it.
      ignored: bool [H, W], or None for nothing.
      painted: whether the image is painted over already; then no more than `ignored` is.
    """

    image: np.ndarray
    ignored: np.ndarray | None
    painted: bool = False


@dataclasses.dataclass(frozen=True)
class Example:
    """One image of a data set.

    Attributes:
      path: name of the image; a file path relative to data.root, or a virtual one such as
        "surface/test/000012".
      split: "train" or "test".
      label: "normal" or "abnormal". In "train" it is what training is told, which may be wrong.
      mask: path of the pixel mask relative to data.root, or None.
      ignore: path of the mask of what of it is ignored, likewise.
      key: what the source needs to find the image again (an index, say); opaque to everyone else.
      mislabelled: True where the source itself hid an abnormal image among the normal ones. Only for reports
        and tests, never for training.
      reviewed: True where a person has looked at the image and given the label.
      kind: of defect, as its folder or the manifest names it; None where that is not known.
    """

    path: str
    split: str
    label: str
    mask: str | None = None
    key: int | str | None = None
    mislabelled: bool = False
    reviewed: bool = False
    ignore: str | None = None
    kind: str | None = None

    @property
    def abnormal(self) -> bool:
        return self.label == ABNORMAL


class Look(NamedTuple):
    """What was found in the files of an example.

    Attributes:
      found: in that of its image.
      mask_reading: how its mask was read, as data/masks.py names it; None without a mask.
      mask_share: of the image's pixels, what the mask marks.
      mask_format: of the mask's file, as Pillow names it.
      ignored_share: of the image's pixels, what is ignored.
    """

    found: Found
    mask_reading: str | None = None
    mask_share: float = 0.0
    mask_format: str = ""
    ignored_share: float = 0.0


@dataclasses.dataclass(frozen=True)
class Files:
    """The image files of a Dataset: its examples have one each, which may be damaged or of another depth.

    Attributes:
      path: Example -> path of its image file.
      look: Example -> what is found on reading image and mask in full; DataError where they cannot be used.
      depth: (Example, what of it is ignored: bool [H, W] or None) -> as `images.depth_of`.
      scale: how they are read.
      at: (Scale, most pixels, more examples) -> the Dataset whose files are read so, with these examples too;
        their paths are absolute.
    """

    path: Callable[[Example], str]
    look: Callable[[Example], Look]
    depth: Callable[..., tuple[str, float]]
    scale: Scale
    at: Callable[[Scale, int], "Dataset"]


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Examples and how to read them.

    Attributes:
      name: name of the source ("mnist").
      examples: every example of both splits, in a fixed order.
      read_image: Example -> float32 [H, W, C] in [-1, 1] at the image's own size.
      read_mask: Example -> bool [H, W], True where the pixel is abnormal, or None where the data has no mask
        for it.
      in_colour: Example -> whether its file shows colour, whatever read_image makes of it; False where that
        is not known.
      image_size: Example -> (height, width) of what read_image returns, or None where reading it is the only
        way to know.
      files: the Files of a source of image files, None of others.
      notes: how the data were found and read, for a person.
      labels, labels_file: what a person said of training images, a review.Review by path, and in which file;
        "" without.
      ignore: what is ignored of every image: bool, of any size, or None.
      ignored: Example -> what of its image is ignored in all: bool [H, W], or None for nothing.
      hidden: Example -> whether its mask marks something, but nothing that is not ignored.
    """

    name: str
    examples: tuple[Example, ...]
    read_image: Callable[[Example], np.ndarray]
    read_mask: Callable[[Example], np.ndarray | None] = lambda example: None
    in_colour: Callable[[Example], bool] = lambda example: False
    image_size: Callable[[Example], tuple[int, int]] | None = None
    files: Files | None = None
    notes: Notes = dataclasses.field(default_factory=Notes)
    labels: Mapping = dataclasses.field(default_factory=dict)
    labels_file: str = ""
    ignore: np.ndarray | None = None
    ignored: Callable[[Example], np.ndarray | None] = lambda example: None
    hidden: Callable[[Example], bool] = lambda example: False

    def size_of(self, example: Example) -> tuple[int, int]:
        """(height, width) of an example's image."""
        if self.image_size is not None:
            return self.image_size(example)
        return self.read_image(example).shape[:2]

    def masked(self, example: Example) -> Masked | np.ndarray:
        """An example's image, as read_image gives it, with what of it is ignored, as a detector takes it."""
        image, ignored = self.read_image(example), self.ignored(example)
        return image if ignored is None else Masked(image, ignored, painted=True)

    def select(self, split: str, label: str | None = None) -> list[Example]:
        """The examples of one split, optionally of one label, in order."""
        return [e for e in self.examples if e.split == split and (label is None or e.label == label)]
