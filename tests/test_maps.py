"""What the search says of an image, and anomaly maps, by hand on tiny arrays."""

import numpy as np
import pytest
from keras import ops

from semi_anogan.components import NAMES, names_where
from semi_anogan.scoring import maps


def tensor(values, *shape):
    array = np.asarray(values, np.float32)
    return ops.convert_to_tensor(array.reshape(shape) if shape else array)


def numpy(x):
    return ops.convert_to_numpy(x)


def test_components_by_hand():
    images, reconstructions = tensor([1, 0, -1, 0.5, 0, 0, 0, 0], 2, 2, 2, 1), tensor([0.0] * 8, 2, 2, 2, 1)
    features = [tensor([1, 2, 0, 0], 2, 1, 2, 1), tensor([5, 0], 2, 1, 1, 1)]
    others = [tensor([0, 0, 0, 0], 2, 1, 2, 1), tensor([1, 3], 2, 1, 1, 1)]
    values, _ = maps.of_search(images, reconstructions, features, others)
    assert {*values, "feature_residual"} == set(names_where(needs_search=True)) < set(NAMES)
    np.testing.assert_allclose(numpy(values["residual"]), [2.5 / 4, 0.0], rtol=1e-6)
    # Means 1.5 and 4 of the first image, 0 and 3 of the second.
    np.testing.assert_allclose(numpy(values["feature_distance"]), [2.75, 1.5], rtol=1e-6)


def test_map_layers_by_hand():
    images = np.zeros((1, 4, 4, 2), np.float32)
    images[0, 1, 2] = [1.0, -0.5]  # |difference| averaged over the channels: 0.75
    fine, coarse = np.zeros((1, 4, 4, 1), np.float32), np.zeros((1, 2, 2, 3), np.float32)
    fine[0, 3, 0] = -2.0
    coarse[0, 0, 1] = [3.0, 0.0, -6.0]
    zeros = [np.zeros_like(fine), np.zeros_like(coarse)]
    features = [tensor(fine), tensor(coarse)]
    _, layers = maps.of_search(tensor(images), tensor(0 * images), features, zeros)
    assert set(layers) == {"residual", "feature_distance"}
    (residual,), (of_fine, of_coarse) = (
        map(numpy, layers[name]) for name in ("residual", "feature_distance")
    )
    assert (residual.shape, of_fine.shape, of_coarse.shape) == ((1, 4, 4, 1), (1, 4, 4, 1), (1, 2, 2, 1))
    expected = np.zeros((4, 4))
    expected[1, 2] = 0.75
    np.testing.assert_allclose(residual[0, ..., 0], expected)
    expected = np.zeros((4, 4))
    expected[3, 0] = 2.0
    np.testing.assert_allclose(of_fine[0, ..., 0], expected)
    np.testing.assert_allclose(of_coarse[0, ..., 0], [[0, 3], [0, 0]])


def test_feature_residual_by_hand():
    """The mean of the highest 15 %, in units of what each scale's mean is of normal images."""
    fine = np.zeros((2, 4, 4, 2), np.float32) + np.float32([1, 0])
    drawn = fine.copy()
    drawn[0, 1, 2], drawn[0, 3, 3] = [-1, 0], [0, 1]  # 2 and 1 of the 16 places: 2.4 of them count, so two
    coarse = np.float32([[0, 1], [0, 1]]).reshape(2, 1, 1, 2)
    coarse_drawn = np.float32([[0, 7], [2, 0]]).reshape(2, 1, 1, 2)
    scales = tensor([0.5, 0.25])
    values, layers = maps.of_feature_residual(
        [tensor(fine), tensor(coarse)], [tensor(drawn), tensor(coarse_drawn)], ops.unstack(scales)
    )
    of_fine, of_coarse = map(numpy, layers)
    expected = np.zeros((2, 4, 4))
    expected[0, 1, 2], expected[0, 3, 3] = 4.0, 2.0
    np.testing.assert_allclose(of_fine[..., 0], expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(of_coarse.ravel(), [0.0, 4.0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(numpy(values), [(3 + 0) / 2, (0 + 4) / 2], rtol=1e-4)
    assert maps.FEATURE_SHARE == 0.15


def test_to_size_halves_larger_maps():
    layer = tensor(np.arange(16), 1, 4, 4, 1)
    np.testing.assert_array_equal(numpy(maps.to_size(layer, (4, 4))), numpy(layer))
    np.testing.assert_allclose(numpy(maps.to_size(layer, (2, 2)))[0, ..., 0], [[2.5, 4.5], [10.5, 12.5]])
    np.testing.assert_allclose(numpy(maps.to_size(layer, (1, 1))), [[[[7.5]]]])


def test_to_size_interpolates_between_the_centres_of_smaller_ones():
    """Two patches over four pixels: their centres lie at 0.5 and 2.5, a pixel between them is a quarter on
    its way.
    """
    layer = tensor([0.0, 8.0, 0.0, 8.0], 1, 2, 2, 1)
    np.testing.assert_allclose(numpy(maps.to_size(layer, (4, 4)))[0, ..., 0], [[0, 2, 6, 8]] * 4, atol=1e-5)
    np.testing.assert_allclose(
        numpy(maps.to_size(tensor([3.0], 1, 1, 1, 1), (8, 8))), np.full((1, 8, 8, 1), 3.0), rtol=1e-6
    )


def test_anomaly_map_is_the_weighted_mean_of_the_standardised_layers():
    layers = tensor([[1, 10], [3, 30], [1, 50], [-1, 10]], 1, 2, 2, 2)
    for weights, expected in (
        (np.float32([0.5, 0.5]), [[0.0, 1.0], [1.0, -0.5]]),
        (np.float32([0.25, 0.75]), [[0, 1], [1.5, -0.25]]),
    ):
        found = numpy(maps.combined(layers, np.float32([1, 10]), np.float32([2, 20]), weights))
        # Standardised: (0, 0), (1, 1), (0, 2), (-1, 0).
        np.testing.assert_allclose(found, [expected], rtol=1e-6)


def test_the_segmentation_is_the_edge_of_the_map():
    """A quarter of the mean where it says nothing, all where it is sure, five eighths at two deviations."""
    layers = np.float32([[8.0, -100.0], [8.0, 100.0], [8.0, 2.0], [-4.0, 2.0]])[None, None]
    arguments = np.float32([0, 0]), np.float32([1, 1]), np.float32([1, 0]), np.float32([0, 1])
    for found in (maps.combined(layers, *arguments, np), numpy(maps.combined(tensor(layers), *arguments))):
        np.testing.assert_allclose(found[0, 0], [2.0, 8.0, 5.0, -2.5], rtol=1e-5)


# Weights of sigma 1 up to 3 pixels: exp(-d^2 / 2) over their sum.
E1, E2, E3 = np.exp([-0.5, -2.0, -4.5])
TOTAL = 1 + 2 * (E1 + E2 + E3)


def test_smooth_of_one_pixel_by_hand():
    x = np.zeros((1, 15, 15, 1), np.float32)
    x[0, 7, 7] = 1.0
    found = numpy(maps.smooth(tensor(x), 1.0))[0, :, :, 0]
    row = np.array([0] * 4 + [E3, E2, E1, 1, E1, E2, E3] + [0] * 4) / TOTAL
    np.testing.assert_allclose(found, np.outer(row, row), rtol=1e-4, atol=1e-7)
    assert found.sum() == pytest.approx(1.0, rel=1e-5)


def test_smooth_counts_only_pixels_inside():
    x = np.zeros((1, 20, 20, 1), np.float32)
    x[0, 0, 10] = 1.0
    found = numpy(maps.smooth(tensor(x), 1.0))[0, :, :, 0]
    inside = 1 + E1 + E2 + E3  # of the column's weights at the top row
    assert found[0, 10] == pytest.approx(1 / (inside * TOTAL), rel=1e-5)
    assert found[1, 10] == pytest.approx(E1 / ((inside + E1) * TOTAL), rel=1e-5)


@pytest.mark.parametrize("shape", [(2, 16, 16, 1), (1, 4, 30, 1)])
@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.5])
def test_smooth_keeps_a_constant_up_to_the_border(shape, sigma):
    np.testing.assert_allclose(numpy(maps.smooth(tensor(np.full(shape, -3.5)), sigma)), -3.5, rtol=1e-5)


def test_smooth_of_sigma_zero_is_nothing():
    x = tensor(np.random.default_rng(0).standard_normal((1, 5, 5, 1)))
    np.testing.assert_array_equal(numpy(maps.smooth(x, 0.0)), numpy(x))
    np.testing.assert_array_equal(numpy(maps.smooth(x, 0)), numpy(x))


def test_smooth_treats_each_map_on_its_own():
    x = tensor(np.random.default_rng(0).standard_normal((3, 8, 8, 1)))
    alone = np.concatenate([numpy(maps.smooth(x[i : i + 1], 1.5)) for i in range(3)])
    np.testing.assert_allclose(numpy(maps.smooth(x, 1.5)), alone, rtol=1e-5, atol=1e-6)
