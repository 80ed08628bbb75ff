"""Baselines without a network: trivial scores, and what scikit-learn or a few lines of numpy make of arrays.

Data that a trivial score separates says nothing about a detector. What needs a network is in networks.py.
"""

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


def largest_step(images: np.ndarray) -> np.ndarray:
    """Largest difference between two pixels side by side or one above the other: [N, H, W, C] -> [N].

    What it separates shows its defects by one sharp edge, without anything learned. H and W are at least 2.
    """
    images = np.asarray(images, np.float32)
    steps = [np.abs(np.diff(images, axis=axis)).max(axis=(1, 2, 3)) for axis in (1, 2)]
    return np.maximum(*steps)


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
        raise ValueError(
            f"images of shape {np.shape(images)[1:]} cannot be compared with normal images of shape "
            f"{np.shape(normal_images)[1:]}"
        )
    search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(_flat(normal_images))
    return search.kneighbors(_flat(images))[0].mean(axis=1)


def pca_reconstruction(
    normal: np.ndarray, images: np.ndarray, components: int = 64, seed: int = 0
) -> np.ndarray:
    """Mean squared difference between an image and its projection on the normal images' principal components.

    Args:
      normal: [M, H, W, C], the normal training images, 2 or more.
      images: [N, H, W, C], to be scored.
      components: how many at most; no more than M - 1, nor than H * W * C - 1, are used.
      seed: of the randomised decomposition of large matrices.

    Returns:
      [N] scores >= 0; higher means more abnormal.

    Raises:
      ValueError: components is not at least 1, fewer than 2 normal images, or the images differ in shape.
    """
    from sklearn.decomposition import PCA

    if components < 1 or len(normal) < 2:
        raise ValueError(
            f"needs 1 component and 2 normal images at least, got {components} and {len(normal)}"
        )
    if np.shape(images)[1:] != np.shape(normal)[1:]:
        raise ValueError(
            f"images of shape {np.shape(images)[1:]} and normal images of shape {np.shape(normal)[1:]}"
        )
    normal, images = _flat(normal), _flat(images)
    pca = PCA(max(1, min(components, len(normal) - 1, normal.shape[1] - 1)), random_state=seed).fit(normal)
    return np.square(images - pca.inverse_transform(pca.transform(images))).mean(axis=1)


def feature_neighbours(normal: np.ndarray, features: np.ndarray, k: int = 5) -> np.ndarray:
    """nearest_neighbours of features [N, D] among normal ones [M, D], standardised by these: [N]."""
    normal, features = standardised(normal, normal, features)
    return nearest_neighbours(features, normal, k)


def logistic_regression(normal: np.ndarray, abnormal: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Logit of a class-balanced logistic regression (C = 0.01) on standardised features.

    Args:
      normal: [M, D], features of the normal training images.
      abnormal: [A, D], features of the known abnormal ones; all of them standardise.
      features: [N, D], to be scored.

    Returns:
      [N], higher means more abnormal.

    Raises:
      ValueError: no abnormal training images.
    """
    from sklearn.linear_model import LogisticRegression

    if not len(abnormal):
        raise ValueError("a logistic regression needs abnormal training images")
    training = np.concatenate([normal, abnormal])
    training, features = standardised(training, training, features)
    labels = np.repeat([0, 1], [len(normal), len(abnormal)])
    model = LogisticRegression(C=0.01, class_weight="balanced", max_iter=1000).fit(training, labels)
    return model.decision_function(features)


def standardised(reference: np.ndarray, *arrays: np.ndarray) -> list[np.ndarray]:
    """Each array [., D] less the reference's mean, over its standard deviation (at least 1e-6)."""
    center, scale = reference.mean(axis=0), np.maximum(reference.std(axis=0), 1e-6)
    return [(array - center) / scale for array in arrays]


def greedy_coreset(features: np.ndarray, count: int, seed: int = 0, dimensions: int = 32) -> np.ndarray:
    """Indices of a few features that lie near to all of them (Roth et al. 2022, PatchCore, algorithm 1).

    One after the other, the feature that is farthest from those chosen; distances are taken after a random
    projection.

    Args:
      features: [M, D].
      count: how many are chosen; all where there are no more.
      seed: of the first one and of the projection.
      dimensions: of the projection; features of no more dimensions are taken as they are.

    Returns:
      [min(count, M)] different indices.

    Raises:
      ValueError: count is less than 1.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    if count >= len(features):
        return np.arange(len(features))
    rng = np.random.default_rng(seed)
    points = np.asarray(features, np.float32)
    if points.shape[1] > dimensions:
        points = points @ rng.standard_normal((points.shape[1], dimensions), dtype=np.float32)
    chosen = [int(rng.integers(len(points)))]
    nearest = np.full(len(points), np.inf, np.float32)
    while len(chosen) < count:
        nearest = np.minimum(nearest, np.square(points - points[chosen[-1]]).sum(axis=1))
        nearest[chosen[-1]] = -1.0  # never again, even where all the others are copies of those chosen
        chosen.append(int(nearest.argmax()))
    return np.array(chosen)


def nearest_distances(features: np.ndarray, memory: np.ndarray, chunk: int = 4096) -> np.ndarray:
    """Euclidean distance of each feature [N, D] to the nearest of a memory [K, D]: [N].

    chunk: features at a time.
    """
    memory = np.asarray(memory, np.float32)
    norms, found = np.square(memory).sum(axis=1), []
    for start in range(0, len(features), chunk):
        part = np.asarray(features[start : start + chunk], np.float32)
        squares = (norms - 2.0 * part @ memory.T).min(axis=1) + np.square(part).sum(axis=1)
        found.append(np.sqrt(np.maximum(squares, 0.0)))
    return np.concatenate(found)


def highest_mean(values: np.ndarray, share: float = 0.05) -> np.ndarray:
    """Mean of the highest `share` of each row, one value at least: [N, P] -> [N]."""
    count = max(1, round(share * values.shape[1]))
    return np.sort(values, axis=1)[:, -count:].mean(axis=1)


def trivial_aurocs(
    train_normal: np.ndarray, test_images: np.ndarray, test_labels: np.ndarray
) -> dict[str, float]:
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
