import numpy as np
import pytest

from semi_anogan import baselines


def _images(*rows):
    """Each row of four values as a 2 x 2 grey image."""
    return np.asarray(rows, np.float32).reshape(len(rows), 2, 2, 1)


def test_mean_brightness():
    np.testing.assert_allclose(baselines.mean_brightness(_images([0, 0, 1, 1], [-1, -1, -1, 1])), [0.5, -0.5])


def test_pixel_standard_deviation():
    scores = baselines.pixel_standard_deviation(_images([0.25] * 4, [-1, 1, -1, 1], [0, 0, 0, 1]))
    np.testing.assert_allclose(scores, [0, 1, np.sqrt(3) / 4])


def test_nearest_neighbours():
    normal = _images([0, 0, 0, 0], [1, 1, 1, 1], [-1, -1, -1, -1])
    # Distances of the first to the normal ones: 0, 2, 2; of the second: 1, 3, 1 (all four values differ by 0.5, 1.5).
    images = _images([0, 0, 0, 0], [-0.5, -0.5, -0.5, -0.5])
    np.testing.assert_allclose(baselines.nearest_neighbours(images, normal, k=1), [0, 1], atol=1e-6)
    np.testing.assert_allclose(baselines.nearest_neighbours(images, normal, k=3), [4 / 3, 5 / 3], atol=1e-6)


def test_nearest_neighbours_rejects_bad_input():
    normal = _images([0, 0, 0, 0], [1, 1, 1, 1])
    with pytest.raises(ValueError, match="normal images, 2, got 3"):
        baselines.nearest_neighbours(normal, normal, k=3)
    with pytest.raises(ValueError, match=r"\(3, 3, 1\)"):
        baselines.nearest_neighbours(np.zeros((1, 3, 3, 1)), normal, k=1)


def test_trivial_aurocs():
    normal = _images(*([[0, 0, 0, 0]] * 5))
    # Means: 0, 0.3 | -0.5, 0.1. Of four normal-abnormal pairs the abnormal one is brighter in one: 0.25, so 0.75.
    # Standard deviations: 0, 0.3 | 0.5, 0.1: three of four pairs in order, 0.75.
    # All training images are 0, so the distance is the norm: 0, 0.85 | 1.41, 0.28: three of four, 0.75.
    test = _images([0, 0, 0, 0], [0, 0.6, 0, 0.6], [-1, 0, -1, 0], [0, 0.2, 0, 0.2])
    aurocs = baselines.trivial_aurocs(normal, test, [0, 0, 1, 1])
    assert aurocs == pytest.approx(
        {"mean_brightness": 0.75, "pixel_standard_deviation": 0.75, "nearest_neighbours": 0.75})
    # With the labels exchanged the first two stay, having no direction; the distance keeps its own.
    swapped = baselines.trivial_aurocs(normal, test, [1, 1, 0, 0])
    assert swapped == pytest.approx(
        {"mean_brightness": 0.75, "pixel_standard_deviation": 0.75, "nearest_neighbours": 0.25})


def test_trivial_aurocs_rejects_bad_labels():
    images = _images(*([[0, 0, 0, 0]] * 5))
    with pytest.raises(ValueError, match="only one label"):
        baselines.trivial_aurocs(images, images, np.zeros(5))
    with pytest.raises(ValueError, match="5 test images but 4 labels"):
        baselines.trivial_aurocs(images, images, [0, 0, 1, 1])
