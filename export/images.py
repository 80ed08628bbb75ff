"""Images for the parity check and for the ranges of 8-bit values: normal training images, or a folder's."""

import itertools

import numpy as np

from semi_anogan.data import ignore
from semi_anogan.data.images import Reader
from semi_anogan.data.listing import list_inputs
from semi_anogan.errors import DataError
from semi_anogan.runs import build, places

COUNT = 32


def representative(
    detector, config, path: str | None, folder=None, data_root: str | None = None, needed: bool = True
) -> np.ndarray:
    """[M, H, W, C] as the detector's model takes them, M at most COUNT.

    Args: path: their files, taken evenly; None for normal training images of the run's configuration; folder:
      of the run; data_root: of its images, where they were moved; needed: whether only real images will do:
      else the generator draws some where there are none, and a line says so.

    Raises: DataError where there are none.
    """
    if path:
        read = Reader(detector.scale)
        images = (read(p, detector.channels) for p in _evenly(list_inputs(path)))
    else:
        try:
            if folder is not None:
                places.find(config, folder, data_root)
            dataset, _ = build.load_dataset(config, folder)
            images = [dataset.read_image(e) for e in _evenly(dataset.select("train", "normal"))]
            if data_root is not None:
                places.remember(folder, config)
        except DataError as error:
            if needed or data_root is not None:
                raise
            print(f"note: {error}; so the generator draws the images for the check of the formats")
            images = _drawn(detector.model, config.seed)
    parts = map(detector.parts, images)
    found = np.stack(list(itertools.islice(itertools.chain.from_iterable(parts), COUNT)))
    if detector.ignore is not None and not detector.tile:  # as the graph of `detect` paints them
        found = ignore.painted_with(found, detector.seen_ignored(), np)
    return found


def _drawn(model, seed: int) -> np.ndarray:
    """Images of the generator: [COUNT, H, W, C] in [-1, 1]."""
    latents = np.random.default_rng(seed).uniform(-1, 1, (COUNT, model.latent_size)).astype(np.float32)
    return np.clip(np.asarray(model.generator_average(latents)), -1, 1)


def _evenly(items: list) -> list:
    return [items[i] for i in np.unique(np.linspace(0, len(items) - 1, COUNT).astype(int))]
