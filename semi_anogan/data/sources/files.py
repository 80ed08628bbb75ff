"""What the sources of image files share: how examples are read, and which known defects training gets."""

import dataclasses
import os
from collections.abc import Sequence

from semi_anogan.data import ignore, image_arrays, images, masks
from semi_anogan.data.dataset import NORMAL, Dataset, Example, Files, Look
from semi_anogan.data.image_files import MAX_PIXELS
from semi_anogan.data.images import Scale
from semi_anogan.data.notes import Notes
from semi_anogan.errors import DataError


def file_dataset(
    name: str,
    root: str,
    examples: list[Example],
    channels: int,
    notes: Notes | None = None,
    scale: Scale = Scale(),
    max_pixels: int = MAX_PIXELS,
) -> Dataset:
    """A Dataset over image files, whose `path`, `mask` and `ignore` are relative to `root`.

    What is ignored is not painted over yet: data.catalog does that.

    Args: notes: of how they were found; scale, max_pixels: as in `images.read`.
    """
    notes = notes or Notes()

    def path(example: Example) -> str:
        return os.path.join(root, example.path)

    def read_image(example: Example):
        return images.read_image(path(example), channels, max_pixels, scale)

    def read_mask(example: Example):
        return None if example.mask is None else mask_of(example, image_size(example))[0]

    def mask_of(example: Example, size: tuple[int, int]):
        """(mask, how it was read)."""
        file = os.path.join(root, example.mask)
        mask, reading = masks.read(file, max_pixels, example.path)
        masks.check_size(file, mask, path(example), size)
        return mask, reading

    def look(example: Example) -> Look:
        _, found = images.read(path(example), channels, scale, max_pixels)
        if example.mask is None:
            return Look(found)
        mask, reading = mask_of(example, found.size)
        form = masks.format_of(os.path.join(root, example.mask), max_pixels)
        return Look(found, reading, float(mask.mean()), form)

    def in_colour(example: Example):
        return image_arrays.in_colour(images.read_image(path(example), 3, max_pixels, scale))

    def image_size(example: Example) -> tuple[int, int]:
        return images.image_size(path(example), max_pixels)

    def depth(example: Example, ignored=None):
        return images.depth_of(path(example), max_pixels, ignored)

    def ignored(example: Example):
        if example.ignore is None:
            return None
        file = os.path.join(root, example.ignore)
        mask = ignore.read(file, max_pixels, example.path)
        return ignore.fitted(mask, image_size(example), file, path(example))

    def at(scale: Scale, max_pixels: int, more: Sequence[Example] = ()) -> Dataset:
        return file_dataset(name, root, [*examples, *more], channels, notes, scale, max_pixels)

    return Dataset(
        name,
        tuple(examples),
        read_image,
        read_mask,
        in_colour,
        image_size,
        Files(path, look, depth, scale, at),
        notes,
        ignored=ignored,
    )


def choose_training(
    examples: list[Example], abnormal_count: int | None, contamination: float, source: str
) -> list[Example]:
    """The examples with fewer known abnormal training images, or some of these hidden among the normal ones.

    To see what noise in the training data costs: hidden ones are given to training as normal, and are marked
    `mislabelled`.

    Args:
      abnormal_count: how many of the known abnormal training images to use, the first; None: all but those
        hidden.
      contamination: share in [0, 1) that hidden ones, the last, make up of the normal training images.
      source: named in errors.

    Raises:
      DataError: fewer than that are there, or there are no normal training images.
    """
    normal = sum(e.split == "train" and not e.abnormal for e in examples)
    if not normal:
        raise DataError(f"{source}: no normal training images, nothing to learn from")
    if not 0.0 <= contamination < 1.0:
        raise DataError(f"data.contamination: {contamination!r} is not in [0, 1)")
    known = [e for e in examples if e.split == "train" and e.abnormal]
    hidden = round(contamination / (1.0 - contamination) * normal)
    if hidden > len(known):
        raise DataError(
            f"data.contamination: {contamination!r} takes {hidden} of the abnormal training images, but "
            f"{source} has {len(known)}"
        )
    count = len(known) - hidden if abnormal_count is None else abnormal_count
    if not 0 <= count <= len(known) - hidden:
        less = f", less {hidden} that data.contamination takes" if hidden else ""
        raise DataError(
            f"data.abnormal_count: {abnormal_count!r}, but {source} has {len(known)} known abnormal "
            f"training images{less}"
        )
    mislabelled = {e.path for e in known[len(known) - hidden :]}
    dropped = {e.path for e in known[count:]} - mislabelled
    return [
        dataclasses.replace(e, label=NORMAL, mask=None, mislabelled=True, kind=None)
        if e.path in mislabelled
        else e
        for e in examples
        if e.path not in dropped
    ]
