"""Which values of a configuration's image files are black and white: found in its training images."""

import dataclasses
import math

from semi_anogan.data.image_files import MAX_PIXELS
from semi_anogan.data.images import DEEP, EIGHT_BITS, FLOAT, Scale
from semi_anogan.errors import DataError
from semi_anogan.progress import in_threads

USUAL = (255, 1023, 4095, 16383, 65535)  # what is white, by the bits that a camera has
DARK = 8  # so many times below white most images are told of


def resolve(config, dataset):
    """Sets data.white and data.black where they are not given, and notes what was found; returns the Dataset.

    White is the smallest of USUAL that holds all training images of more than 8 bits, 1 of float files, and
    255 where all have 8 bits.

    Raises: DataError where black is not below white, both finite.
    """
    if dataset.files is None:
        return dataset
    if config.data.white is None:
        config.data.white = _white(dataset)
    if config.data.black is None:
        config.data.black = 0.0
    if not -math.inf < config.data.black < config.data.white < math.inf:
        raise DataError(
            f"data.black: {config.data.black:g} is not below data.white, which is {config.data.white:g}"
        )
    scale = Scale(config.data.white, config.data.black)
    read = dataset.files.at(scale, config.data.max_pixels or MAX_PIXELS)
    return dataclasses.replace(read, labels=dataset.labels, labels_file=dataset.labels_file)


def _white(dataset) -> float:
    """What is white in the training images; those that cannot be read are left out, for others to tell."""

    def depth(example):
        try:
            return dataset.files.depth(example)
        except DataError:
            return None

    examples = dataset.select("train")
    found = [pair for pair in in_threads(depth, examples, "depth") if pair is not None]
    kinds = {kind: [high for k, high in found if k == kind] for kind in (EIGHT_BITS, DEEP, FLOAT)}
    deep, floats = kinds[DEEP], kinds[FLOAT]
    if floats:
        others = (
            f"; the {len(found) - len(floats)} others at their full scale" if len(floats) < len(found) else ""
        )
        dataset.notes.add(
            f"{len(floats)} training images are float: 0 is black and 1 is white{others}; data.white and "
            "data.black say it otherwise"
        )
        return 1.0
    if not deep:
        return 255.0
    highest = max(deep)
    white = _usual(highest)
    dataset.notes.add(
        f"{len(deep)} of {len(found)} training images have more than 8 bits, values up to {highest:g}: white "
        f"is {white:g} (data.white)"
    )
    dark = [high for high in deep if _usual(high) < white / DARK]
    if 2 * len(dark) >= len(deep):
        dataset.notes.add(
            f"{len(dark)} of these stay at {max(dark):g} or below: nearly black beside the others; where "
            f"these are wrong in a few pixels, --config.data.white={_usual(max(dark)):g} is meant"
        )
    return white


def _usual(highest: float) -> float:
    """The smallest of USUAL that holds a value."""
    return next((float(value) for value in USUAL if value >= highest), float(USUAL[-1]))
