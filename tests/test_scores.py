"""Score components and maps, by hand on tiny arrays."""

import numpy as np
import pytest
from keras import ops

from semi_anogan import scores


def tensor(values, *shape):
    array = np.asarray(values, np.float32)
    return ops.convert_to_tensor(array.reshape(shape) if shape else array)


def numpy(x):
    return ops.convert_to_numpy(x)


def test_components_by_hand():
    images, reconstructions = tensor([1, 0, -1, 0.5, 0, 0, 0, 0], 2, 2, 2, 1), tensor([0.0] * 8, 2, 2, 2, 1)
    latents = tensor([[3, 4], [0, 1]])
    logits = tensor([2.0, -7.0])
    features = [tensor([1, 2, 0, 0], 2, 1, 2, 1), tensor([5, 0], 2, 1, 1, 1)]
    others = [tensor([0, 0, 0, 0], 2, 1, 2, 1), tensor([1, 3], 2, 1, 1, 1)]
    found = numpy(scores.components(images, reconstructions, latents, logits, features, others))
    assert scores.COMPONENTS == ("residual", "feature_distance", "discriminator", "latent_norm")
    # Feature distances: means 1.5 and 4 of the first image, 0 and 3 of the second.
    np.testing.assert_allclose(found, [[2.5 / 4, 2.75, -2.0, 12.5], [0.0, 1.5, 7.0, 0.5]], rtol=1e-6)


def test_map_layers_by_hand():
    images = np.zeros((1, 4, 4, 2), np.float32)
    images[0, 1, 2] = [1.0, -0.5]  # |difference| averaged over the channels: 0.75
    reconstructions = np.zeros_like(images)
    fine, coarse = np.zeros((1, 4, 4, 1), np.float32), np.zeros((1, 2, 2, 3), np.float32)
    fine[0, 3, 0] = -2.0
    coarse[0, 0, 1] = [3.0, 0.0, -6.0]  # 3, and each coarse pixel stands for 2 x 2
    evidence = [tensor(np.arange(16), 1, 4, 4, 1), tensor([-1, 2, -3, 4], 1, 2, 2, 1)]
    zeros = [np.zeros_like(fine), np.zeros_like(coarse)]
    features = [tensor(fine), tensor(coarse)]
    layers = numpy(scores.map_layers(tensor(images), tensor(reconstructions), features, zeros, evidence))
    assert layers.shape == (1, 4, 4, 5)
    expected = np.zeros((4, 4, 5))
    expected[1, 2, 0] = 0.75
    expected[3, 0, 1] = 2.0
    expected[:2, 2:, 2] = 3.0
    expected[..., 3] = np.arange(16).reshape(4, 4)
    expected[..., 4] = [[-1, -1, 2, 2], [-1, -1, 2, 2], [-3, -3, 4, 4], [-3, -3, 4, 4]]
    np.testing.assert_allclose(layers[0], expected, rtol=1e-6)


def test_map_layers_repeat_over_several_doublings():
    image = tensor(np.zeros(64), 1, 8, 8, 1)
    coarse = tensor([1, 2, 3, 4], 1, 2, 2, 1)
    layers = numpy(scores.map_layers(image, image, [coarse], [0 * coarse], [coarse]))
    np.testing.assert_array_equal(layers[0, :, :, 1], np.kron([[1, 2], [3, 4]], np.ones((4, 4))))
    np.testing.assert_array_equal(layers[0, :, :, 2], layers[0, :, :, 1])


def test_anomaly_map_is_the_mean_of_the_standardised_layers():
    layers = tensor([[1, 10], [3, 30], [1, 50], [-1, 10]], 1, 2, 2, 2)
    found = numpy(scores.anomaly_map(layers, np.float32([1, 10]), np.float32([2, 20]), sigma_px=0.0))
    # Standardised: (0, 0), (1, 1), (0, 2), (-1, 0).
    np.testing.assert_allclose(found, [[[0.0, 1.0], [1.0, -0.5]]], rtol=1e-6)


# Weights of sigma 1 up to 3 pixels: exp(-d^2 / 2) over their sum.
E1, E2, E3 = np.exp([-0.5, -2.0, -4.5])
TOTAL = 1 + 2 * (E1 + E2 + E3)


def test_anomaly_map_is_smoothed_after_the_mean():
    layers = np.zeros((1, 9, 9, 2), np.float32)
    layers[0, 4, 4] = [6.0, 0.0]
    found = numpy(scores.anomaly_map(tensor(layers), np.float32([0, 0]), np.float32([2, 1]), sigma_px=1.0))
    assert found.shape == (1, 9, 9)
    assert found[0, 4, 4] == pytest.approx(1.5 / TOTAL**2, rel=1e-5)  # (6 / 2 + 0) / 2 = 1.5


def test_smooth_of_one_pixel_by_hand():
    x = np.zeros((1, 15, 15, 1), np.float32)
    x[0, 7, 7] = 1.0
    found = numpy(scores.smooth(tensor(x), 1.0))[0, :, :, 0]
    row = np.array([0] * 4 + [E3, E2, E1, 1, E1, E2, E3] + [0] * 4) / TOTAL
    np.testing.assert_allclose(found, np.outer(row, row), rtol=1e-4, atol=1e-7)
    assert found.sum() == pytest.approx(1.0, rel=1e-5)


def test_smooth_counts_only_pixels_inside():
    x = np.zeros((1, 20, 20, 1), np.float32)
    x[0, 0, 10] = 1.0
    found = numpy(scores.smooth(tensor(x), 1.0))[0, :, :, 0]
    inside = 1 + E1 + E2 + E3  # of the column's weights at the top row
    assert found[0, 10] == pytest.approx(1 / (inside * TOTAL), rel=1e-5)
    assert found[1, 10] == pytest.approx(E1 / ((inside + E1) * TOTAL), rel=1e-5)


@pytest.mark.parametrize("shape", [(2, 16, 16, 1), (1, 4, 30, 1)])
@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.5])
def test_smooth_keeps_a_constant_up_to_the_border(shape, sigma):
    np.testing.assert_allclose(numpy(scores.smooth(tensor(np.full(shape, -3.5)), sigma)), -3.5, rtol=1e-5)


def test_smooth_of_sigma_zero_is_nothing():
    x = tensor(np.random.default_rng(0).standard_normal((1, 5, 5, 1)))
    np.testing.assert_array_equal(numpy(scores.smooth(x, 0.0)), numpy(x))
    np.testing.assert_array_equal(numpy(scores.smooth(x, 0)), numpy(x))


def test_smooth_treats_each_map_on_its_own():
    x = tensor(np.random.default_rng(0).standard_normal((3, 8, 8, 1)))
    alone = np.concatenate([numpy(scores.smooth(x[i : i + 1], 1.5)) for i in range(3)])
    np.testing.assert_allclose(numpy(scores.smooth(x, 1.5)), alone, rtol=1e-5, atol=1e-6)
