"""The aspect and the sizes of a configuration's images: found in its training images, and told."""

import statistics

import numpy as np

from semi_anogan.data.dataset import NORMAL
from semi_anogan.errors import DataError
from semi_anogan.image_shape import (
    MOST,
    MUCH,
    aspect_of,
    enlarged,
    in_words,
    memory_sizes,
    shape_of,
    sizes_up_to,
    stretch,
)

LOOKED_AT = 200  # images, evenly spread


def resolve(config, dataset):
    """Sets model.aspect to that of the shape that the model sees, and features.sizes.

    Where they are not given they follow from the normal training images, by the labels of the source: they
    must not change with a review.
    """
    side, aspect = features_side(config), config.model.aspect
    sizes = [] if config.images.tile or None not in (aspect, config.features.sizes) else sizes_of(dataset)
    if aspect is None:
        aspect = aspect_of(sizes, config.model.resolution, side)
    height, width = shape_of(config.model.resolution, aspect, side)
    config.model.aspect = width / height
    if config.features.sizes is None:
        # An image is enlarged to what the features see, but no further: that would show nothing new.
        filled = max([side or 0, *([statistics.median(map(min, sizes))] if sizes else [])])
        config.features.sizes = ",".join(map(str, sizes_up_to(filled) if side else []))


def features_side(config) -> int | None:
    """Short side of the images that the pretrained features see; None without."""
    return max(config.model.resolution, config.features.resolution) if config.features.name else None


def view_side(config) -> int:
    """Short side of the images that the detector takes; config: resolved."""
    sizes = memory_sizes(config.features.sizes) if config.features.name else []
    return max([features_side(config) or config.model.resolution, *sizes])


def sizes_of(dataset, most: int = LOOKED_AT) -> list[tuple[int, int]]:
    """(height, width) of normal training images; what cannot be read is left out, for others to tell."""
    examples, sizes = dataset.select("train", NORMAL), []
    for index in np.unique(np.linspace(0, max(0, len(examples) - 1), most).astype(int)):
        try:
            sizes += [dataset.size_of(e) for e in examples[index : index + 1]]
        except DataError:
            continue
    return sizes


def told(config, dataset) -> list[str]:
    """Lines for a person: what the model sees of images that are no squares.

    How many are stretched much is added to the dataset's notes. config: resolved.
    """
    shape = shape_of(config.model.resolution, config.model.aspect)
    seen = f"the model sees {in_words(shape)}"
    if config.features.name:
        seen += f", its features {in_words(enlarged(shape, features_side(config)))}"
    if config.images.tile:
        return [] if shape[0] == shape[1] else [f"tiles are {in_words(shape)} (width x height): {seen}"]
    sizes, lines = sizes_of(dataset), []
    compared = memory_sizes(config.features.sizes)
    if config.features.name and config.parts.memory and len(compared) > 1:
        lines.append(f"the memory compares images at short sides of {', '.join(map(str, compared))} pixels")
    if sizes and shape[0] != shape[1]:
        middle = tuple(round(statistics.median(sides)) for sides in zip(*sizes, strict=True))
        about = "about " if len(set(sizes)) > 1 else ""
        limit = f" (at most {MOST} to 1)" if max(middle) > MOST * min(middle) else ""
        lines.append(f"images are {about}{in_words(middle)} (width x height): {seen}{limit}")
    stretched = sum(stretch(size, shape) > MUCH for size in sizes)
    if stretched:
        dataset.notes.add(
            f"images differ in shape: {stretched} of {len(sizes)} are stretched by more than a factor "
            f"of {MUCH} to be {in_words(shape)}"
        )
    return lines
