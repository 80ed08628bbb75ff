"""The baselines without a network, each on arrays whose scores are known by hand."""

import numpy as np
import pytest

from semi_anogan.benchmarks.baselines import classical


def _images(*rows):
    """Each row of four values as a 2 x 2 grey image."""
    return np.asarray(rows, np.float32).reshape(len(rows), 2, 2, 1)


def test_mean_brightness():
    np.testing.assert_allclose(classical.mean_brightness(_images([0, 0, 1, 1], [-1, -1, -1, 1])), [0.5, -0.5])


def test_pixel_standard_deviation():
    scores = classical.pixel_standard_deviation(_images([0.25] * 4, [-1, 1, -1, 1], [0, 0, 0, 1]))
    np.testing.assert_allclose(scores, [0, 1, np.sqrt(3) / 4])


def test_largest_step():
    # Rows [[a, b], [c, d]]: the steps are ab, cd, ac and bd.
    images = _images([0, 0.5, 0, 0], [0, 0, -1, 1], [0.3] * 4, [0, 1, 1, 0])
    np.testing.assert_allclose(classical.largest_step(images), [0.5, 2, 0, 1], atol=1e-6)


def test_nearest_neighbours():
    normal = _images([0, 0, 0, 0], [1, 1, 1, 1], [-1, -1, -1, -1])
    # Distances of the first to the normal ones: 0, 2, 2; of the second: 1, 3, 1 (all four values differ by
    # 0.5, 1.5).
    images = _images([0, 0, 0, 0], [-0.5, -0.5, -0.5, -0.5])
    np.testing.assert_allclose(classical.nearest_neighbours(images, normal, k=1), [0, 1], atol=1e-6)
    np.testing.assert_allclose(classical.nearest_neighbours(images, normal, k=3), [4 / 3, 5 / 3], atol=1e-6)


def test_nearest_neighbours_rejects_bad_input():
    normal = _images([0, 0, 0, 0], [1, 1, 1, 1])
    with pytest.raises(ValueError, match="normal images, 2, got 3"):
        classical.nearest_neighbours(normal, normal, k=3)
    with pytest.raises(ValueError, match=r"\(3, 3, 1\)"):
        classical.nearest_neighbours(np.zeros((1, 3, 3, 1)), normal, k=1)


def test_trivial_aurocs():
    normal = _images(*([[0, 0, 0, 0]] * 5))
    # Means: 0, 0.3 | -0.5, 0.1. Of four normal-abnormal pairs the abnormal one is brighter in one: 0.25, so
    # 0.75. Standard deviations: 0, 0.3 | 0.5, 0.1: three of four pairs in order, 0.75. All training images
    # are 0, so the distance is the norm: 0, 0.85 | 1.41, 0.28: three of four, 0.75.
    test = _images([0, 0, 0, 0], [0, 0.6, 0, 0.6], [-1, 0, -1, 0], [0, 0.2, 0, 0.2])
    aurocs = classical.trivial_aurocs(normal, test, [0, 0, 1, 1])
    assert aurocs == pytest.approx(
        {"mean_brightness": 0.75, "pixel_standard_deviation": 0.75, "nearest_neighbours": 0.75}
    )
    # With the labels exchanged the first two stay, having no direction; the distance keeps its own.
    swapped = classical.trivial_aurocs(normal, test, [1, 1, 0, 0])
    assert swapped == pytest.approx(
        {"mean_brightness": 0.75, "pixel_standard_deviation": 0.75, "nearest_neighbours": 0.25}
    )


def test_trivial_aurocs_rejects_bad_labels():
    images = _images(*([[0, 0, 0, 0]] * 5))
    with pytest.raises(ValueError, match="only one label"):
        classical.trivial_aurocs(images, images, np.zeros(5))
    with pytest.raises(ValueError, match="5 test images but 4 labels"):
        classical.trivial_aurocs(images, images, [0, 0, 1, 1])


def test_pca_reconstruction():
    # Normal images lie on the line (1, 1, 0, 0) through the origin: one component holds them, and its mean is
    # 0.
    normal = _images(*([t, t, 0, 0] for t in (-1, -0.5, 0.5, 1)))
    images = _images([0.25, 0.25, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0.6])
    # (1, 0, 0, 0) falls on (0.5, 0.5, 0, 0): two differences of 0.5 in four values. 0.6 is lost: 0.36 / 4.
    scores = classical.pca_reconstruction(normal, images, components=1)
    np.testing.assert_allclose(scores, [0, 0.125, 0.09], atol=1e-12)
    # More components than there are images or dimensions are not asked for; those that are keep the line.
    np.testing.assert_allclose(classical.pca_reconstruction(normal, images, components=64)[0], 0, atol=1e-12)


@pytest.mark.parametrize(
    ("normal", "images", "components", "words"),
    [
        (_images([0] * 4), _images([0] * 4), 1, "2 normal images at least, got 1 and 1"),
        (_images([0] * 4, [1] * 4), _images([0] * 4), 0, "1 component"),
        (_images([0] * 4, [1] * 4), np.zeros((1, 3, 3, 1)), 1, r"\(3, 3, 1\)"),
    ],
)
def test_pca_reconstruction_rejects_bad_input(normal, images, components, words):
    with pytest.raises(ValueError, match=words):
        classical.pca_reconstruction(normal, images, components)


def test_feature_neighbours_standardises():
    # Standard deviations 1 and 100: each step of one of them counts the same.
    normal = np.array([[-1.0, -100.0], [1.0, 100.0], [-1.0, 100.0], [1.0, -100.0]])
    scores = classical.feature_neighbours(normal, np.array([[1.0, 400.0], [4.0, 100.0], [1.0, 100.0]]), k=1)
    np.testing.assert_allclose(scores, [3, 3, 0], atol=1e-6)


def test_logistic_regression():
    rng = np.random.default_rng(0)
    normal, abnormal = rng.normal(0, 1, (100, 3)), rng.normal([3, 0, 0], 1, (8, 3))
    scores = classical.logistic_regression(
        normal, abnormal, np.array([[4.0, 0, 0], [1.5, 0, 0], [-1.0, 0, 0]])
    )
    assert scores[0] > 0 > scores[2] and scores[0] > scores[1] > scores[2]
    assert abs(scores[1]) < 0.5  # balanced: half-way is undecided, though normal ones are many more
    with pytest.raises(ValueError, match="needs abnormal training images"):
        classical.logistic_regression(normal, abnormal[:0], normal)


def test_greedy_coreset():
    # From whichever it starts, the second is at the far end of the line, and the third in the widest gap.
    points = np.array([[0.0], [0.1], [0.2], [5.0], [10.0]])
    for seed in range(5):
        chosen = classical.greedy_coreset(points, 3, seed).tolist()
        assert len(set(chosen)) == 3 and {3, 4} <= set(chosen)
    assert classical.greedy_coreset(points, 9).tolist() == [0, 1, 2, 3, 4]
    assert len(set(classical.greedy_coreset(np.zeros((4, 2)), 3).tolist())) == 3  # copies of one another
    many = np.random.default_rng(0).normal(size=(50, 64))  # projected
    np.testing.assert_array_equal(classical.greedy_coreset(many, 5, 1), classical.greedy_coreset(many, 5, 1))
    with pytest.raises(ValueError, match="at least 1, got 0"):
        classical.greedy_coreset(points, 0)


def test_nearest_distances():
    memory = np.array([[0.0, 0.0], [3.0, 4.0]])
    features = np.array([[0.0, 1.0], [3.0, 4.0], [6.0, 8.0]])
    for chunk in (1, 2, 5):
        np.testing.assert_allclose(classical.nearest_distances(features, memory, chunk), [1, 0, 5], atol=1e-3)


def test_highest_mean():
    values = np.array([[1.0, 5.0, 3.0, 2.0], [0.0, 0.0, 8.0, 0.0]])
    np.testing.assert_allclose(classical.highest_mean(values, 0.5), [4, 4])
    np.testing.assert_allclose(classical.highest_mean(values), [5, 8])  # one value at least
