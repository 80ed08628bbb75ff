"""The data sources by name: `load(name, channels, **options)` gives any of them as a `Dataset`."""

import dataclasses
import difflib
import importlib
import inspect
import os

from semi_anogan.data import ignore as ignoring
from semi_anogan.data import review
from semi_anogan.data.dataset import Dataset
from semi_anogan.data.image_files import MAX_PIXELS
from semi_anogan.data.images import Scale
from semi_anogan.errors import DataError

# Name of a source -> module and function, imported when the source is asked for.
SOURCES = {
    "surface": ("surface", "load"),
    "manifest": ("manifest", "load"),
    "folder": ("folder", "load"),
    "mnist": ("mnist", "load"),
    "elpv": ("elpv", "load"),
    "caltech256": ("caltech256", "load"),
    "tfds": ("tfds", "load"),
}

OF_FILES = ("manifest", "folder", "elpv", "caltech256")  # whose images are files, of some depth


def load(
    name: str,
    channels: int,
    reviewed: str | None = None,
    white: float | None = None,
    black: float | None = None,
    max_pixels: int | None = None,
    ignore: str | None = None,
    ignore_digest: str | None = None,
    **options,
) -> Dataset:
    """Loads a data set.

    Args:
      name: a key of `SOURCES`.
      channels: channels of the images that `Dataset.read_image` returns, 1 or 3.
      reviewed: CSV file of what a person said of images (data/review.py). Labels of training images replace
        the source's when the images are split; images that are no part of the data join them.
      white, black, max_pixels: of image files: their Scale, and the most pixels of one.
      ignore: file of the mask of what is ignored in every image; ignore_digest: what it must be.
      **options: the source's own options, documented at its function; None means "not given".

    Raises:
      DataError: unknown source or option, a needed option not given, or what the source finds wrong with the
        data.
    """
    if name not in SOURCES:
        raise DataError(
            f"data.name: {name!r} is not a data source{_suggestion(name, SOURCES)}; "
            f"known: {', '.join(SOURCES)}"
        )
    if channels not in (1, 3):
        raise DataError(f"model.channels: {channels!r} is not 1 or 3")
    module, function = SOURCES[name]
    source = getattr(importlib.import_module(f"semi_anogan.data.sources.{module}"), function)
    parameters = dict(list(inspect.signature(source).parameters.items())[1:])  # without channels
    given = {key: value for key, value in options.items() if value is not None}
    if max_pixels is not None and "max_pixels" in parameters:
        given["max_pixels"] = max_pixels
    for key in given:
        if key not in parameters:
            raise DataError(
                f"data.{key}: the source {name!r} has no such option{_suggestion(key, parameters)}; "
                f"it takes {', '.join(parameters)}"
            )
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and key not in given:
            raise DataError(f"data.{key}: the source {name!r} needs it")
    dataset = source(channels, **given)
    scale = Scale(white, black)
    if dataset.files is None and scale != Scale():
        raise DataError(f"data.white, data.black: the source {name!r} reads no image files")
    if white is not None and (black or 0) >= white:
        raise DataError(f"data.black: {black!r} is not below data.white {white!r}")
    labels, added = {}, []
    if reviewed:
        added, labels = review.examples_added(dataset, review.read(reviewed), os.fspath(reviewed))
    if dataset.files is not None:
        dataset = dataset.files.at(scale, max_pixels or MAX_PIXELS, added)
    fixed = None if not ignore else ignoring.read_fixed(ignore, ignore_digest, max_pixels or MAX_PIXELS)
    if fixed is not None or any(e.ignore is not None for e in dataset.examples):
        dataset = ignoring.ignoring(dataset, fixed, os.fspath(ignore or ""))
    if not reviewed:
        return dataset
    dataset = review.with_masks(dataset, labels)
    # Without a label of an image of the data there is nothing to change afterwards.
    return dataclasses.replace(dataset, labels=labels, labels_file=os.fspath(reviewed) if labels else "")


def _suggestion(word: str, known) -> str:
    close = difflib.get_close_matches(str(word), list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
