"""Pretrained features of training images, computed once for each image that comes again."""

import hashlib

import numpy as np

from semi_anogan.backend import compile_function
from semi_anogan.whole_batches import batch_rows

BATCH = 16  # images whose features are computed at once, always so many: so that none depends on its company


class FeatureCache:
    """What the frozen network of a SemiAnoGAN says of images, kept in memory up to a limit.

    The network never changes, and training images come again and again: mirrored in a few ways, or as they
    are. An image is known by its content. Features are kept as float16, and rounded to it also when they are
    fresh, so that a training that goes on gets the same ones.

    Args: model: with a feature generator; megabytes: most memory.
    """

    def __init__(self, model, megabytes: float):
        self._extract = compile_function(lambda x: model.pretrained_features(x), model)
        self._left = megabytes * 2**20
        self._kept: dict[bytes, list[np.ndarray]] = {}

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """{"features_0": float32 [N, h, w, C], ...}, finest first, of images [N, H, W, C]."""
        keys = [hashlib.blake2b(np.ascontiguousarray(image), digest_size=16).digest() for image in images]
        found = {key: self._kept[key] for key in keys if key in self._kept}
        new = {key: i for i, key in enumerate(keys) if key not in found}
        if new:
            rows = self._rows(images[list(new.values())])
            for key, features in zip(new, rows, strict=True):
                found[key] = features
                self._keep(key, features)
        columns = zip(*(found[key] for key in keys), strict=True)
        return {f"features_{i}": np.stack(c).astype(np.float32) for i, c in enumerate(columns)}

    def _rows(self, images: np.ndarray) -> list[list[np.ndarray]]:
        """Of each image its features, float16 [h, w, C], finest first."""
        rows = []
        for batch in batch_rows(len(images), BATCH):
            features = [np.asarray(f).astype(np.float16) for f in self._extract(images[batch])]
            rows += [list(of_one) for of_one in zip(*features, strict=True)]
        return rows[: len(images)]

    def _keep(self, key: bytes, features: list[np.ndarray]):
        size = sum(f.nbytes for f in features)
        if size <= self._left:
            self._left -= size
            self._kept[key] = [f.copy() for f in features]
