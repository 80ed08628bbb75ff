"""Which image is worth a label next: one that is doubtful, and unlike those that come before it. numpy only.

Labels teach most where a detector is in doubt (Lewis & Gale 1994), and little where two images are alike, so
that images are chosen in turn, far from each other (Sener & Savarese 2018).
"""

from collections.abc import Callable

import numpy as np

AMONG = 200  # of the most doubtful images, those that are looked at for how alike they are
ALIKE = 0.5  # how much less an image counts that is the same as one before


def order(
    scores,
    threshold: float,
    describe: Callable[[int], np.ndarray | None] | None = None,
    among: int = AMONG,
) -> np.ndarray:
    """Indices of images, those whose label is worth most first: int [N].

    The doubt of an image is 1 / (1 + |score - threshold| / t), t being the median of those distances. It
    counts half where the image equals one that is chosen already, and wholly from the median distance of
    images on.

    Args:
      scores: [N], finite.
      describe: index of an image -> what it looks like, an array of the same shape for all, or None where
        it cannot be read: then it counts as unlike all. Only of the `among` most doubtful images is it asked.
        None: the doubt alone decides.

    Raises: ValueError for scores that are not finite.
    """
    away = np.abs(np.asarray(scores, np.float64) - threshold)
    if not np.isfinite(away).all():
        raise ValueError("scores and threshold must be finite")
    by_doubt = np.argsort(away, kind="stable")
    if describe is None or len(away) < 3:
        return by_doubt
    near, far = by_doubt[:among], by_doubt[among:]
    doubt = 1.0 / (1.0 + away[near] / max(np.median(away), 1e-12))
    looks = [describe(int(i)) for i in near]
    seen = np.array([look is not None for look in looks])
    if seen.sum() < 2:
        return by_doubt
    features = np.array([np.ravel(look) for look in looks if look is not None], np.float64)
    squared = np.sum(features**2, axis=1)
    apart = np.sqrt(np.maximum(squared[:, None] + squared - 2.0 * features @ features.T, 0.0))
    usual = np.median(apart[np.triu_indices(len(apart), 1)])
    distances = np.ones((len(near), len(near)))  # in usual distances, at most 1
    distances[np.ix_(seen, seen)] = np.minimum(apart / max(usual, 1e-12), 1.0)
    nearest, chosen = np.ones(len(near)), []
    left = np.ones(len(near), bool)
    while left.any():
        value = np.where(left, doubt * (1.0 - ALIKE * (1.0 - nearest)), -np.inf)
        best = int(np.argmax(value))
        chosen.append(best)
        left[best] = False
        nearest = np.minimum(nearest, distances[best])
    return np.concatenate([near[chosen], far])
