"""Whole images told apart, by how each pretrained feature is spread over the image."""

from collections.abc import Sequence

import numpy as np
from keras import ops

INVERSE_STRENGTH = (
    0.01  # C of scikit-learn: strong shrinkage, since there are many features and few known abnormal images
)
MOST = 20000  # normal images or tiles that it is fitted to, drawn at random where there are more


class Classifier:
    """Logistic regression between normal and known abnormal images, on frozen ImageNet features.

    These are pooled over the whole image: their mean and their standard deviation.

    It sees what the patches of memory, likeness and patch discriminator do not: how features are spread over
    the image. It is linear and shrunk, and its features are those of photographs, whatever training made of
    them; so it errs elsewhere than what was fine-tuned.

    Args: weights: float32 [D]; bias: float, of the log-odds: `pooled` features times weights, plus bias.
    """

    def __init__(self, weights, bias):
        self.weights, self.bias = np.asarray(weights, np.float32), np.float32(bias)
        if self.weights.ndim != 1 or self.bias.shape != ():
            raise ValueError(
                "weights must be a vector and bias a number, "
                f"got shapes {self.weights.shape} and {self.bias.shape}"
            )

    @classmethod
    def fit(cls, normal: Sequence[np.ndarray], abnormal: Sequence[np.ndarray]) -> "Classifier":
        """Fits the regression; both kinds weigh the same.

        Args: normal, abnormal: of each image its `pooled` features, float32 [tiles, D]. Of an abnormal
          image's tiles some are normal:
          all count at first, then the one alone that the first fit takes for the most abnormal
          (multiple-instance learning).

        Raises: ValueError without images of both kinds.
        """
        if not len(normal) or not len(abnormal):
            raise ValueError(
                f"a classifier needs normal and abnormal images, got {len(normal)} and {len(abnormal)}"
            )
        normal = np.concatenate(normal)
        if len(normal) > MOST:
            normal = normal[np.random.default_rng(0).permutation(len(normal))[:MOST]]
        fitted = cls._fitted(normal, np.concatenate(abnormal))
        if any(len(tiles) > 1 for tiles in abnormal):
            fitted = cls._fitted(normal, np.stack([t[np.argmax(t @ fitted.weights)] for t in abnormal]))
        return fitted

    @classmethod
    def _fitted(cls, normal, abnormal) -> "Classifier":
        from sklearn.linear_model import LogisticRegression

        x = np.concatenate([normal, abnormal]).astype(np.float64)
        # Of both kinds: a feature that is constant in normal images must not be blown up where it is not.
        center, scale = x.mean(axis=0), x.std(axis=0) + 1e-6
        label = np.arange(len(x)) >= len(normal)
        found = LogisticRegression(C=INVERSE_STRENGTH, class_weight="balanced", max_iter=1000).fit(
            (x - center) / scale, label
        )
        weights = found.coef_[0] / scale
        return cls(weights, found.intercept_[0] - center @ weights)

    def values(self, features):
        """Log-odds of being abnormal, up to shrinkage: list of [N, h, w, C] -> [N]."""
        return ops.matmul(pooled(features), self.weights[:, None])[:, 0] + self.bias

    def arrays(self) -> dict[str, np.ndarray]:
        """What the constructor takes."""
        return {"weights": self.weights, "bias": self.bias}


def pooled(features):
    """Mean and deviation over the image of each feature: list of [N, h, w, C] -> [N, 2 sum of C]."""
    means = [ops.mean(f, axis=(1, 2), keepdims=True) for f in features]
    variances = [ops.mean(ops.square(f - mean), axis=(1, 2)) for f, mean in zip(features, means, strict=True)]
    return ops.concatenate([m[:, 0, 0] for m in means] + [ops.sqrt(v + 1e-12) for v in variances], axis=-1)
