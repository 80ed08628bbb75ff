"""Layers: hand-computed values of every operation of layers.py."""

import math

import keras
import numpy as np
import pytest
from keras import ops

from semi_anogan.backend import input_gradients
from semi_anogan.networks import layers


def run(function, x, *arguments, **options):
    return ops.convert_to_numpy(
        function(ops.convert_to_tensor(np.asarray(x, np.float32)), *arguments, **options)
    )


def test_leaky_relu_by_hand():
    np.testing.assert_allclose(
        run(layers.leaky_relu, [-5.0, -0.5, 0.0, 2.0]), [-1.0, -0.1, 0.0, 2.0], rtol=1e-6
    )


def test_leaky_relu_gradients_by_hand():
    """Of sum(y^2) / 2 it is slope^2 x, of the squared norm of that 2 slope^4 x; slope is 1 or 0.2."""
    x = ops.convert_to_tensor(np.float32([-5.0, -1e-20, 0.0, 1e-20, 3e8, 2.0]))

    def first(x):
        return input_gradients(lambda x: ops.square(layers.leaky_relu(x)) / 2, x)[1]

    np.testing.assert_allclose(
        ops.convert_to_numpy(first(x)), [-0.2, -0.04e-20, 0.0, 1e-20, 3e8, 2.0], rtol=1e-6
    )
    second = input_gradients(
        lambda x: ops.square(first(x)), ops.convert_to_tensor(np.float32([-5.0, 0.0, 2.0]))
    )[1]
    np.testing.assert_allclose(ops.convert_to_numpy(second), [-5 * 2 * 0.2**4, 0.0, 4.0], rtol=1e-6)
    at_zero = input_gradients(lambda x: 3.0 * layers.leaky_relu(x), ops.convert_to_tensor(np.float32([0.0])))[
        1
    ]
    np.testing.assert_allclose(ops.convert_to_numpy(at_zero), [3.0])


def test_bounded_by_hand():
    """tanh, finite far out too, with its gradient 1 - tanh^2."""
    x = np.float32([0.0, 0.5, -0.5, 1.0, 30.0, -30.0, -50.0, 1000.0])
    expected = [0.0, 0.462117, -0.462117, 0.761594, 1.0, -1.0, -1.0, 1.0]
    np.testing.assert_allclose(run(layers.bounded, x), expected, rtol=1e-5, atol=1e-6)
    gradient = input_gradients(layers.bounded, ops.convert_to_tensor(x))[1]
    np.testing.assert_allclose(
        ops.convert_to_numpy(gradient), [1.0, 0.786448, 0.786448, 0.419974, 0, 0, 0, 0], rtol=1e-4, atol=1e-6
    )


def test_pixel_norm_by_hand():
    # Mean squares: (9 + 16) / 2 = 12.5 and (0 + 4) / 2 = 2; a zero vector stays zero.
    expected = [[3 / 12.5**0.5, -4 / 12.5**0.5], [0.0, 2**0.5], [0.0, 0.0]]
    np.testing.assert_allclose(
        run(layers.pixel_norm, [[3.0, -4.0], [0.0, 2.0], [0.0, 0.0]]), expected, rtol=1e-5
    )


def test_upscale_by_hand():
    image = np.arange(1, 7).reshape(1, 2, 3, 1)  # [[1, 2, 3], [4, 5, 6]]
    expected = [[1, 1, 2, 2, 3, 3], [1, 1, 2, 2, 3, 3], [4, 4, 5, 5, 6, 6], [4, 4, 5, 5, 6, 6]]
    np.testing.assert_array_equal(run(layers.upscale, image)[0, :, :, 0], expected)


def test_upscale_keeps_images_and_channels_apart():
    images = np.random.default_rng(0).standard_normal((3, 2, 4, 5)).astype(np.float32)
    np.testing.assert_array_equal(run(layers.upscale, images), images.repeat(2, axis=1).repeat(2, axis=2))


def test_downscale_by_hand():
    rows = [[1, 3, 0, 0], [5, 7, 0, 8], [-1, 1, 2, 2], [1, -1, 2, 4]]
    images = np.stack([rows, np.multiply(rows, 10)], axis=-1)[None]  # two channels
    expected = np.array([[4.0, 2.0], [0.0, 2.5]])
    np.testing.assert_allclose(run(layers.downscale, images)[0, :, :, 0], expected)
    np.testing.assert_allclose(run(layers.downscale, images)[0, :, :, 1], 10 * expected)


def test_downscale_of_a_rectangle_by_hand():
    image = np.arange(16).reshape(1, 2, 8, 1)  # columns 2j, 2j + 1 of both rows: mean 2j + 4.5
    np.testing.assert_allclose(run(layers.downscale, image)[0, :, :, 0], [[4.5, 6.5, 8.5, 10.5]])


def test_downscale_undoes_upscale():
    images = np.random.default_rng(1).standard_normal((2, 4, 8, 3)).astype(np.float32)
    np.testing.assert_array_equal(run(layers.downscale, run(layers.upscale, images)), images)


def impulse(channels=1):
    """One pixel of 1 in the middle of 9 x 9; the 5 x 5 blur around it stays off the border."""
    image = np.zeros((1, 9, 9, channels), np.float32)
    image[0, 4, 4, 0] = 1.0
    return image


# The blur's weights: binomial, 6/16 in the middle. 220/256 of the pixel are left, and its surroundings lose
# as much.
BLUR = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
MEAN_DIFFERENCE = 2 * 220 / 256 / 81


def test_detail_of_one_pixel_by_hand():
    expected = np.zeros((9, 9))
    expected[2:7, 2:7] = -BLUR
    expected[4, 4] += 1
    found = run(layers.detail, impulse())[0, :, :, 0]
    np.testing.assert_allclose(found, expected / (MEAN_DIFFERENCE + 0.02), rtol=1e-4, atol=1e-5)


def test_detail_has_one_unit_for_all_channels_and_does_not_mix_them():
    found = run(layers.detail, impulse(channels=2), epsilon=0.0)  # the mean is over twice as many values
    assert found[0, 4, 4, 0] == pytest.approx((220 / 256) / (MEAN_DIFFERENCE / 2), rel=1e-4)
    np.testing.assert_allclose(found[..., 1], 0.0, atol=1e-4)
    assert np.abs(found).mean() == pytest.approx(1.0, rel=1e-4)  # what the unit is


def test_detail_at_the_border_counts_only_pixels_inside():
    """Of the blur's 1 4 6 4 1 a corner sees 6 4 1 in each direction: its own share is 36/121."""
    image = np.zeros((1, 8, 8, 1), np.float32)
    image[0, 0, 0] = 1.0
    raw = run(layers.detail, image, epsilon=0.0)[0, :, :, 0]
    assert raw[0, 1] / raw[0, 0] == pytest.approx(-(6 * 4) / (11 * 15) / (1 - 36 / 121), rel=1e-4)


def test_detail_does_not_see_brightness_or_slopes():
    constant = np.full((1, 6, 10, 1), 0.7)
    np.testing.assert_allclose(run(layers.detail, constant), 0.0, atol=1e-4)
    picture = np.random.default_rng(0).standard_normal((2, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(
        run(layers.detail, picture + 0.5), run(layers.detail, picture), rtol=1e-3, atol=1e-4
    )
    slope = 0.1 * np.add.outer(np.arange(12.0), 2 * np.arange(12.0))[None, :, :, None]
    np.testing.assert_allclose(run(layers.detail, slope)[0, 2:-2, 2:-2], 0.0, atol=1e-4)


def test_detail_of_an_image_depends_on_that_image_only():
    images = np.random.default_rng(0).standard_normal((2, 8, 8, 1)).astype(np.float32)
    images[1] *= 100
    np.testing.assert_allclose(
        run(layers.detail, images)[:1], run(layers.detail, images[:1]), rtol=1e-5, atol=1e-6
    )
    scaled = run(layers.detail, images, epsilon=0.0)
    brighter = run(layers.detail, 3 * images, epsilon=0.0)  # nor on contrast
    np.testing.assert_allclose(brighter, scaled, rtol=1e-4, atol=1e-5)


def test_lerp_by_hand():
    old, new = np.float32([2.0, -1.0]), np.float32([6.0, 1.0])
    np.testing.assert_array_equal(layers.lerp(old, new, 0.0), old)
    np.testing.assert_array_equal(layers.lerp(old, new, 1.0), new)
    np.testing.assert_allclose(layers.lerp(old, new, 0.25), [3.0, -0.5])


def built(layer, kernel, bias):
    layer.build()
    layer.kernel.assign(np.full(layer.kernel.shape, kernel))
    layer.bias.assign(np.full(layer.bias.shape, bias))
    return layer


def test_equalized_dense_scales_by_root_of_two_over_fan_in():
    layer = built(layers.EqualizedDense(8, 2), kernel=1.0, bias=0.25)
    assert layer.runtime_scale == pytest.approx(math.sqrt(2 / 8))
    np.testing.assert_allclose(run(layer, [[1.0] * 8, [0.0] * 7 + [3.0]]), [[4.25, 4.25], [1.75, 1.75]])


def test_equalized_conv_scales_by_root_of_two_over_fan_in():
    layer = built(layers.EqualizedConv(2, 1), kernel=1.0, bias=-1.0)
    assert layer.runtime_scale == pytest.approx(math.sqrt(2 / 18))  # = 1/3
    # Of the 3 x 3 x 2 inputs all count in the middle, 12 at an edge, 8 in a corner: zero padding.
    expected = np.array([[8, 12, 8], [12, 18, 12], [8, 12, 8]]) / 3 - 1
    np.testing.assert_allclose(run(layer, np.ones((1, 3, 3, 2)))[0, :, :, 0], expected, rtol=1e-6)


def test_equalized_gain_and_kernel_orientation():
    layer = built(layers.EqualizedConv(4, 1, size=1, gain=1.0), kernel=0.0, bias=0.0)
    assert layer.runtime_scale == pytest.approx(1 / 2)
    layer.kernel.assign(np.float32([1, 10, 100, 1000]).reshape(1, 1, 4, 1))
    np.testing.assert_allclose(run(layer, np.float32([1, 2, 3, 4]).reshape(1, 1, 1, 4)), [[[[4321 / 2]]]])


def test_equalized_weights_start_at_unit_variance_and_keep_the_variance_of_leaky_inputs():
    keras.utils.set_random_seed(0)
    layer = layers.EqualizedDense(400, 100)
    layer.build()
    kernel = ops.convert_to_numpy(layer.kernel)
    assert kernel.std() == pytest.approx(1.0, abs=0.02) and kernel.mean() == pytest.approx(0.0, abs=0.02)
    assert not ops.convert_to_numpy(layer.bias).any()
    x = np.random.default_rng(0).standard_normal((200, 400))
    assert run(layer, x).var() == pytest.approx(2.0, rel=0.05)  # gain sqrt(2): what a rectifier then halves


def test_reduced_and_resized_by_hand():
    image = np.arange(16.0).reshape(1, 4, 4, 1)
    np.testing.assert_allclose(run(layers.reduced, image, 2)[0, ..., 0], [[2.5, 4.5], [10.5, 12.5]])
    np.testing.assert_allclose(run(layers.reduced, image, 1), [[[[7.5]]]])
    np.testing.assert_array_equal(run(layers.resized, image, (4, 4)), image)
    np.testing.assert_allclose(run(layers.resized, image, (1, 1)), [[[[7.5]]]])
    np.testing.assert_array_equal(
        run(layers.resized, image, (16, 16))[0, ..., 0], image[0, ..., 0].repeat(4, axis=0).repeat(4, axis=1)
    )


def test_speed_keeps_the_effective_weights_at_the_start():
    """They are stored that much smaller, and multiplied by it again."""
    for make in (layers.EqualizedDense, layers.EqualizedConv):
        found = []
        for speed in (1.0, 16.0):
            keras.utils.set_random_seed(0)
            layer = make(50, 40, speed=speed)
            layer.build()
            assert ops.convert_to_numpy(layer.kernel).std() == pytest.approx(1 / speed, rel=0.1)
            found.append(ops.convert_to_numpy(layer.kernel) * layer.runtime_scale)
        np.testing.assert_allclose(found[1], found[0], rtol=1e-4)


def test_a_step_of_adam_moves_a_fast_layer_that_much_further():
    """Adam's first step is its rate against the gradient's sign, whatever the gradient's size."""
    moved = []
    for speed in (1.0, 16.0):
        layer = built(layers.EqualizedDense(3, 2, speed=speed), kernel=0.0, bias=0.0)
        optimizer = keras.optimizers.Adam(0.01, 0.0, 0.99)
        optimizer.build([layer.kernel])

        def loss(kernel, layer=layer):
            with keras.StatelessScope(state_mapping=[(layer.kernel, kernel)]):
                return ops.sum(layer(ops.convert_to_tensor(np.float32([[1, -2, 3]]))))

        kernel = ops.convert_to_tensor(ops.convert_to_numpy(layer.kernel))
        optimizer.apply([input_gradients(loss, kernel)[1]], [layer.kernel])
        moved.append(ops.convert_to_numpy(layer.kernel) * layer.runtime_scale)
    signs = np.float32([[-1, -1], [1, 1], [-1, -1]])
    np.testing.assert_allclose(moved[0], 0.01 * math.sqrt(2 / 3) * signs, rtol=1e-3)
    np.testing.assert_allclose(moved[1], 16 * moved[0], rtol=1e-3)


# Features [3, 1, 1, 2] of three examples.
FEATURES = np.float32([[1, 10], [3, 10], [100, -50]]).reshape(3, 1, 1, 2)
# Without the third: standard deviations 1 and 0 (with epsilon 1e-8 under the root), averaged over the
# channels.
FIRST_TWO = (math.sqrt(1 + 1e-8) + 1e-4) / 2
GAIN = math.sqrt(2)  # of the appended channel, as there are two


def stddev_layer():
    layer = layers.MinibatchStddev()
    layer.build()
    return layer


def test_compute_in_bfloat16_by_hand():
    """1 + 2^-9 is 1 in bfloat16: to a 3 x 3 convolution, not to a 1 x 1 one. Weights stay float32."""

    class Two(keras.Model):
        def __init__(self):
            super().__init__()
            self.wide = [[layers.EqualizedConv(1, 1, name="wide")]]  # found in lists of lists too
            self.narrow = layers.EqualizedConv(1, 1, size=1, name="narrow")

    network = Two()
    layers.compute_in(network, "bfloat16")
    x = np.full((1, 1, 1, 1), 1 + 2.0**-9, np.float32)
    for layer, kept in ((network.wide[0][0], 1.0), (network.narrow, 1 + 2.0**-9)):
        layer.build(None)
        assert layer.kernel.dtype == "float32"
        layer.kernel.assign(np.ones(layer.kernel.shape) / layer.runtime_scale)
        found = layer(ops.convert_to_tensor(x))
        assert keras.backend.standardize_dtype(found.dtype) == ("float32" if kept > 1 else "bfloat16")
        value = float(np.asarray(ops.cast(found, "float32"))[0, 0, 0, 0])
        assert value == pytest.approx(kept, abs=1e-6)


def test_pixel_norm_keeps_the_precision():
    """3 and 4 over their root mean square sqrt(12.5), in bfloat16 rounded to 8 bits."""
    x = ops.cast(ops.convert_to_tensor(np.float32([[3.0, 4.0]])), "bfloat16")
    found = layers.pixel_norm(x)
    assert keras.backend.standardize_dtype(found.dtype) == "bfloat16"
    np.testing.assert_allclose(np.asarray(ops.cast(found, "float32")), [[0.8485, 1.1314]], rtol=2**-7)


def test_minibatch_stddev_counts_only_weighted_examples():
    layer = stddev_layer()
    out = run(layer, FEATURES, weights=np.float32([1, 1, 0]))
    np.testing.assert_array_equal(out[..., :2], FEATURES)
    np.testing.assert_allclose(out[..., 2].ravel(), [GAIN * FIRST_TWO] * 3, rtol=1e-5)
    changed = FEATURES.copy()
    changed[2] = 7777.0
    np.testing.assert_array_equal(run(layer, changed, weights=np.float32([1, 1, 0]))[..., 2], out[..., 2])


def test_minibatch_stddev_weighted_statistic_by_hand():
    # Values 1 (weight 1) and 3 (weight 3): mean 2.5, variance (2.25 + 3 * 0.25) / 4 = 0.75.
    out = run(stddev_layer(), FEATURES[:2, :, :, :1], weights=np.float32([1, 3]))
    np.testing.assert_allclose(out[..., 1].ravel(), [math.sqrt(0.75)] * 2, rtol=1e-5)


def test_minibatch_stddev_averages_over_places():
    # Two places with standard deviations 1 and 3.
    x = np.float32([[0, 1], [2, 7]]).reshape(2, 1, 2, 1)
    out = run(stddev_layer(), x, weights=np.ones(2, np.float32))
    np.testing.assert_allclose(out[..., 1], np.full((2, 1, 2), 2.0), rtol=1e-5)


def test_minibatch_stddev_moving_mean_moves_only_on_update_and_serves_without_weights():
    layer = stddev_layer()
    weights = np.float32([1, 1, 0])
    run(layer, FEATURES, weights=weights)
    run(layer, FEATURES)
    run(layer, FEATURES, update=True)  # nothing to learn from without weights
    assert float(layer.moving_stddev) == 1.0
    np.testing.assert_allclose(run(layer, FEATURES)[..., 2].ravel(), [GAIN] * 3, rtol=1e-6)

    run(layer, FEATURES, weights=weights, update=True)
    once = 0.98 + 0.02 * FIRST_TWO
    assert float(layer.moving_stddev) == pytest.approx(once, rel=1e-6)
    run(layer, FEATURES, weights=weights, update=True)
    twice = 0.98 * once + 0.02 * FIRST_TWO
    np.testing.assert_allclose(run(layer, FEATURES)[..., 2].ravel(), [GAIN * twice] * 3, rtol=1e-6)
    assert layer.trainable_variables == []
