"""Segmentation: where in the image a defect is, as learned from synthetic defects and from masks."""

import re

import numpy as np

from semi_anogan.networks.losses import top_mean
from semi_anogan.networks.segmentation import decoded

TOP_SHARE = 0.01  # of the places of an image that count, the most abnormal


class Segmentation:
    """Log-odds that a place is abnormal, of the frozen pretrained features of all scales.

    Args: weights: of networks.segmentation.decoded, float32, by name.

    Raises: ValueError where one is missing or unknown.
    """

    def __init__(self, weights: dict[str, np.ndarray]):
        self.weights = {name: np.asarray(value, np.float32) for name, value in weights.items()}
        scales = sum(bool(re.fullmatch(r"enter\d+/kernel", name)) for name in weights)
        layers = {"exit", *(f"enter{i}" for i in range(scales)), *(f"mix{i}" for i in range(scales - 1))}
        layers |= {f"narrow{i}" for i in range(scales - 1) if f"narrow{i}/kernel" in weights}
        wrong = {f"{layer}/{kind}" for layer in layers for kind in ("kernel", "bias")} ^ set(weights)
        if wrong or not scales:
            raise ValueError(f"a segmentation's weights do not fit: {', '.join(sorted(wrong))}")

    def measured(self, features):
        """(the component [N], the mean of its highest log-odds; its map [N, h, w, 1]) of features.

        features: of the frozen network, list of [N, h, w, C], finest first.
        """
        logits = decoded(features, self.weights)
        return top_mean(logits, TOP_SHARE), logits

    def arrays(self) -> dict[str, np.ndarray]:
        """Named arrays, from which `of_arrays` makes the same segmentation."""
        return self.weights

    @classmethod
    def of_arrays(cls, **weights) -> "Segmentation":
        """The inverse of `arrays`."""
        return cls(weights)
