"""Trivial scores for comparison: data that one of these separates says nothing about a detector."""

from collections.abc import Callable

import numpy as np


def mean_brightness(images: np.ndarray) -> np.ndarray:
    """Mean of all values of each image: [N, H, W, C] -> [N].

    Abnormal images may be the brighter or the darker ones; the caller chooses the sign.
    """
    return _flat(images).mean(axis=1)


def pixel_standard_deviation(images: np.ndarray) -> np.ndarray:
    """Standard deviation of all values of each image: [N, H, W, C] -> [N]. The caller chooses the sign."""
    return _flat(images).std(axis=1)


def nearest_neighbours(images: np.ndarray, normal_images: np.ndarray, k: int = 5) -> np.ndarray:
    """Mean distance to the nearest normal images; higher means more abnormal.

    Args:
      images: [N, H, W, C].
      normal_images: [M, H, W, C], the normal training images.
      k: how many of the nearest are averaged.

    Returns:
      [N] mean Euclidean distance between raw pixel values.

    Raises:
      ValueError: k is not 1 to M, or the images differ in shape.
    """
    from sklearn.neighbors import NearestNeighbors

    if not 1 <= k <= len(normal_images):
        raise ValueError(f"k must be 1 to the number of normal images, {len(normal_images)}, got {k}")
    if np.shape(images)[1:] != np.shape(normal_images)[1:]:
        raise ValueError(f"images of shape {np.shape(images)[1:]} cannot be compared with normal images of shape "
                         f"{np.shape(normal_images)[1:]}")
    search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(_flat(normal_images))
    return search.kneighbors(_flat(images))[0].mean(axis=1)


def trivial_aurocs(train_normal: np.ndarray, test_images: np.ndarray, test_labels: np.ndarray) -> dict[str, float]:
    """Image AUROC of each trivial score.

    Args:
      train_normal: [M, H, W, C], the normal training images, 5 or more.
      test_images: [N, H, W, C].
      test_labels: [N], true or 1 where abnormal; both labels must occur.

    Returns:
      mean_brightness and pixel_standard_deviation: the larger of the AUROCs of either sign, 0.5 to 1;
      nearest_neighbours: the AUROC with k = 5, 0 to 1.

    Raises:
      ValueError: only one label occurs, or lengths or shapes do not fit.
    """
    from sklearn.metrics import roc_auc_score

    labels = np.asarray(test_labels).astype(bool)
    if len(labels) != len(test_images):
        raise ValueError(f"{len(test_images)} test images but {len(labels)} labels")
    if labels.all() or not labels.any():
        raise ValueError("an AUROC needs normal and abnormal test images; only one label occurs")

    def either_sign(score: Callable[[np.ndarray], np.ndarray]) -> float:
        auroc = float(roc_auc_score(labels, score(test_images)))
        return max(auroc, 1 - auroc)

    return {
        "mean_brightness": either_sign(mean_brightness),
        "pixel_standard_deviation": either_sign(pixel_standard_deviation),
        "nearest_neighbours": float(roc_auc_score(labels, nearest_neighbours(test_images, train_normal))),
    }


def _flat(images):
    # float64: a mean over a million float32 pixels would lose digits.
    images = np.asarray(images, np.float64)
    return images.reshape(len(images), -1)
