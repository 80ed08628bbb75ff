"""Images for the parity check and for the ranges of 8-bit values: normal training images, or a folder's."""

import itertools

import numpy as np

from semi_anogan.data import ignore
from semi_anogan.data.images import Reader
from semi_anogan.data.listing import list_inputs
from semi_anogan.runs import build

COUNT = 32


def representative(detector, config, path: str | None) -> np.ndarray:
    """[M, H, W, C] as the detector's model takes them, M at most COUNT.

    path: their files, taken evenly; None for normal training images of the run's configuration.

    Raises: DataError where there are none.
    """
    if path:
        read = Reader(detector.scale)
        images = (read(p, detector.channels) for p in _evenly(list_inputs(path)))
    else:
        dataset, _, _ = build.load_data(config)
        images = (dataset.read_image(e) for e in _evenly(dataset.select("train", "normal")))
    parts = map(detector.parts, images)
    found = np.stack(list(itertools.islice(itertools.chain.from_iterable(parts), COUNT)))
    if detector.ignore is not None and not detector.tile:  # as the graph of `detect` paints them
        found = ignore.painted_with(found, detector.seen_ignored(), np)
    return found


def _evenly(items: list) -> list:
    return [items[i] for i in np.unique(np.linspace(0, len(items) - 1, COUNT).astype(int))]
