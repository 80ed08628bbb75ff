"""The standardisation of pretrained features, and the network that draws them from the latents."""

import keras
import numpy as np
import pytest
from keras import ops

from semi_anogan.backend import input_gradients
from semi_anogan.networks.feature_generator import (
    SPEED,
    WIDTHS,
    FeatureGenerator,
    Standardization,
    width,
)


def tensor(values):
    return ops.convert_to_tensor(np.asarray(values, np.float32))


def numpy(x):
    return ops.convert_to_numpy(x)


def uniform(*shape, seed=1):
    return tensor(np.random.default_rng(seed).uniform(-1, 1, shape))


# Standardization


def standardization(channels=(2, 1)):
    layer = Standardization(channels)
    layer.build()
    return layer


# Two images of two scales: 1 x 2 places of two channels, 1 place of one.
FIRST = [np.float32([[[[1, 0], [3, 0]]], [[[5, 2], [7, 2]]]]), np.float32([-4, 2]).reshape(2, 1, 1, 1)]
SECOND = [np.float32([[[[9, 1], [9, 1]]], [[[0, 0], [0, 0]]]]), np.float32([8, 0]).reshape(2, 1, 1, 1)]


def values_of(statistics):
    means, squares, steps = statistics
    return [numpy(m).tolist() for m in means], [numpy(s).tolist() for s in squares], float(steps)


def test_it_starts_as_no_change_but_for_epsilon():
    found = standardization()([tensor(f) for f in FIRST])
    for a, b in zip(found, FIRST, strict=True):
        np.testing.assert_allclose(numpy(a), b / np.sqrt(1 + 1e-6), rtol=1e-6)


def test_statistics_of_two_batches_by_hand():
    """Weights 1 and 3: the mean of the first channel is (2 + 3 * 6) / 4, of its square (5 + 3 * 37) / 4."""
    layer = standardization()
    one = layer.moved([tensor(f) for f in FIRST], tensor([1, 3]))
    means, squares, steps = values_of(one)
    assert steps == 1
    np.testing.assert_allclose(means[0], [5.0, 1.5], rtol=1e-6)
    np.testing.assert_allclose(means[1], [0.5], rtol=1e-6)
    np.testing.assert_allclose(squares[0], [29.0, 3.0], rtol=1e-6)
    np.testing.assert_allclose(squares[1], [7.0], rtol=1e-6)
    assert float(layer.steps) == 0 and numpy(layer.means[0]).tolist() == [0, 0]  # not kept yet
    layer.assign(one)
    # The second batch is worth as much as the first; only its first image counts.
    two = layer.moved([tensor(f) for f in SECOND], tensor([2, 0]))
    means, squares, steps = values_of(two)
    assert steps == 2
    np.testing.assert_allclose(means[0], [(5 + 9) / 2, (1.5 + 1) / 2], rtol=1e-6)
    np.testing.assert_allclose(means[1], [(0.5 + 8) / 2], rtol=1e-6)
    np.testing.assert_allclose(squares[0], [(29 + 81) / 2, (3 + 1) / 2], rtol=1e-6)
    np.testing.assert_allclose(squares[1], [(7 + 64) / 2], rtol=1e-6)


def test_standardised_values_by_hand():
    layer = standardization()
    statistics = layer.moved([tensor(f) for f in FIRST], tensor([1, 3]))
    found = layer([tensor(f) for f in FIRST], statistics)
    expected = (FIRST[0] - np.float32([5, 1.5])) / np.sqrt(np.float32([29 - 25, 3 - 2.25]))
    np.testing.assert_allclose(numpy(found[0]), expected, rtol=1e-4)
    np.testing.assert_allclose(numpy(found[1]).ravel(), np.float32([-4.5, 1.5]) / np.sqrt(6.75), rtol=1e-4)
    layer.assign(statistics)  # the kept ones say the same
    for a, b in zip(layer([tensor(f) for f in FIRST]), found, strict=True):
        np.testing.assert_array_equal(numpy(a), numpy(b))


def test_a_channel_that_never_changes_stays_finite():
    layer = standardization((1,))
    constant = tensor(np.full((2, 3, 3, 1), 7.0))
    layer.assign(layer.moved([constant], tensor([1, 1])))
    np.testing.assert_allclose(numpy(layer([constant])[0]), 0.0, atol=1e-2)


def test_a_batch_without_normal_images_moves_nothing():
    layer = standardization()
    layer.assign(layer.moved([tensor(f) for f in FIRST], tensor([1, 3])))
    before = values_of((layer.means, layer.squares, layer.steps))
    layer.assign(layer.moved([tensor(f) for f in SECOND], tensor([0, 0])))
    assert values_of((layer.means, layer.squares, layer.steps)) == before


def test_statistics_are_saved_but_not_trained():
    layer = standardization((3, 4, 5))
    assert not layer.trainable_variables
    assert [tuple(v.shape) for v in layer.variables] == [(3,), (4,), (5,), (3,), (4,), (5,), ()]
    assert Standardization.from_config(layer.get_config()).channels == (3, 4, 5)


# FeatureGenerator


def shapes_of(side):
    """Those of efficientnet_lite0's features of strides 8, 16 and 32."""
    return [(side // stride, side // stride, c) for stride, c in ((8, 40), (16, 112), (32, 320))]


def made(side=64, channels=3, seed=0):
    keras.utils.set_random_seed(seed)
    network = FeatureGenerator((side // 32, side // 32, channels), shapes_of(side))
    network.build()
    return network


@pytest.mark.parametrize("side", [64, 128])
def test_each_scale_is_drawn_finest_first(side):
    network = made(side)
    cells = side // 32
    found = network(uniform(2, 3 * cells**2))
    assert [f.shape for f in found] == [(2, *shape) for shape in shapes_of(side)]
    assert [f.shape[1] for f in found] == [4 * cells, 2 * cells, cells]
    for f in found:  # about standardised already, with no two images alike
        assert 0.5 < numpy(f).std() < 2 and np.abs(numpy(f)[0] - numpy(f)[1]).max() > 0.1
    kernels = {layer.name: tuple(layer.kernel.shape) for layer in network.layers}
    assert kernels == {
        "enter": (3, 3, 3, 192),
        "narrow_1": (3, 3, 192, 144),
        "narrow_2": (3, 3, 144, 64),
        "conv_0": (3, 3, 192, 192),
        "conv_1": (3, 3, 144, 144),
        "conv_2": (3, 3, 64, 64),
        "to_features_0": (1, 1, 64, 40),
        "to_features_1": (1, 1, 144, 112),
        "to_features_2": (1, 1, 192, 320),
    }


def test_widths():
    assert [width(i) for i in range(5)] == [192, 144, 64, 64, 64] and WIDTHS == (192, 144, 64)


def test_scales_of_one_size_are_drawn_from_the_same_map():
    """Of 16 x 16 images a stride of 32 leaves one place, as one of 16 does."""
    network = FeatureGenerator((1, 1, 4), [(2, 2, 5), (1, 1, 6), (1, 1, 7)])
    network.build()
    assert [f.shape for f in network(uniform(3, 4))] == [(3, 2, 2, 5), (3, 1, 1, 6), (3, 1, 1, 7)]
    single = FeatureGenerator((1, 1, 4), [(1, 1, 6)])
    single.build()
    assert not single.narrow and single(uniform(3, 4))[0].shape == (3, 1, 1, 6)


def test_latents_of_a_place_draw_the_features_around_it():
    network = made(256, channels=2)
    latents = numpy(uniform(1, 8 * 8 * 2)).reshape(8, 8, 2)
    changed = latents.copy()
    changed[0, 0] *= -1
    fine, middle, coarse = network(tensor(np.stack([latents, changed]).reshape(2, -1)))
    for found, cell in ((fine, 4), (middle, 2), (coarse, 1)):
        where = np.abs(numpy(found)[0] - numpy(found)[1]).max(axis=-1) > 1e-5
        assert where[:cell, :cell].all() and not where[-2 * cell :, -2 * cell :].any()


def test_its_layers_are_fast_and_all_have_a_gradient():
    network = made()
    for layer in network.layers:
        assert layer.speed == SPEED

        def total(value, kernel=layer.kernel):
            with keras.StatelessScope(state_mapping=[(kernel, value)]):
                return sum(ops.sum(ops.abs(f), axis=(1, 2, 3)) for f in network(uniform(2, 12)))

        gradient = numpy(input_gradients(total, tensor(numpy(layer.kernel)))[1])
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 1e-2, layer.name


def test_it_has_a_gradient_for_the_latents():
    """The latent search needs it: against a central difference along the gradient."""
    network, latents = made(), numpy(uniform(1, 12))

    def total(z):
        return sum(ops.sum(ops.square(f[..., :5]), axis=(1, 2, 3)) for f in network(z))

    gradient = numpy(input_gradients(total, tensor(latents))[1])
    norm = np.linalg.norm(gradient)
    step = np.float32(1e-3 / norm) * gradient
    high, low = (float(total(tensor(latents + s * step))[0]) for s in (1, -1))
    assert norm > 1 and (high - low) / 2e-3 == pytest.approx(norm, rel=0.05)


def test_save_and_load_in_safe_mode(tmp_path):
    network, latents = made(), uniform(2, 12)
    expected = network(latents)
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras", safe_mode=True)
    assert type(loaded) is FeatureGenerator and loaded.get_config() == network.get_config()
    for a, b in zip(loaded(latents), expected, strict=True):
        np.testing.assert_allclose(numpy(a), numpy(b), rtol=1e-5, atol=1e-6)
