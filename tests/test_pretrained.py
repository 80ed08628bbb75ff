"""The pretrained features: gradients written by hand, fine-tuned offsets, refusals."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from semi_anogan.networks.pretrained import efficientnet_lite0
from semi_anogan.networks.pretrained.efficientnet_lite0 import PretrainedFeatures
from semi_anogan.networks.pretrained.load import load_features


@pytest.mark.parametrize(
    ("size", "stride", "side"), [(3, 1, 8), (3, 2, 8), (5, 2, 8), (5, 1, 7), (3, 2, 9), (5, 2, 7)]
)
def test_depthwise_equals_tensorflows_own_with_its_gradient(size, stride, side):
    rng = np.random.default_rng(0)
    x = tf.constant(rng.standard_normal((2, side, side, 3)), tf.float32)
    kernel = tf.constant(rng.standard_normal((size, size, 3, 1)), tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        ours = efficientnet_lite0.depthwise(x, kernel, stride)
        theirs = tf.nn.depthwise_conv2d(x, kernel, [1, stride, stride, 1], "SAME")
        a, b = tf.reduce_sum(tf.sin(ours)), tf.reduce_sum(tf.sin(theirs))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    np.testing.assert_allclose(tape.gradient(a, x), tape.gradient(b, x), atol=1e-5)


def test_relu6_is_tensorflows_with_its_gradient():
    x = tf.constant([-1.0, 0.0, 1e-30, 3.0, 6.0, 7.0])
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            y = efficientnet_lite0.relu6(x)
            ours, theirs = tf.reduce_sum(tf.sin(y)), tf.reduce_sum(tf.sin(tf.nn.relu6(x)))
        first = tape.gradient(ours, x)
    np.testing.assert_array_equal(y, np.float32([0, 0, 1e-30, 3, 6, 6]))
    np.testing.assert_allclose(first, [0, 0, 1, np.cos(3), 0, 0], rtol=1e-6)
    np.testing.assert_array_equal(first, tape.gradient(theirs, x))
    np.testing.assert_allclose(outer.gradient(first, x), [0, 0, -1e-30, -np.sin(3), 0, 0], rtol=1e-6)


def test_frozen_features_have_no_variables_and_the_scales_they_say():
    network = load_features()
    network.build()
    assert (
        network.variables == []
        and network.strides == [4, 8, 16, 32]
        and network.channels == [24, 40, 112, 320]
    )
    found = network(np.zeros((1, 64, 64, 1), np.float32))
    assert [tuple(f.shape) for f in found] == [(1, 16, 16, 24), (1, 8, 8, 40), (1, 4, 4, 112), (1, 2, 2, 320)]
    grey = np.random.default_rng(0).uniform(-1, 1, (1, 64, 64, 1)).astype(np.float32)
    for a, b in zip(network(grey), network(np.repeat(grey, 3, axis=-1)), strict=True):
        np.testing.assert_array_equal(a, b)  # grey is the same value in red, green and blue


def test_offsets_start_at_the_imagenet_weights_and_move_them_by_their_scale():
    images = np.random.default_rng(0).uniform(-1, 1, (1, 32, 32, 3)).astype(np.float32)
    frozen, tuned = PretrainedFeatures(15), PretrainedFeatures(15, trainable_blocks=1)
    frozen.build()
    tuned.build()
    names = {"block15/expand", "block15/depthwise", "block15/project"}
    assert {name.rsplit("/", 1)[0] for name in tuned.offsets} == names and len(tuned.trainable_variables) == 6
    np.testing.assert_allclose(tuned(images)[-1], frozen(images)[-1], atol=1e-5)
    bias = tuned.offsets["block15/project/bias"]
    bias.assign(np.ones(320, np.float32))
    np.testing.assert_allclose(
        tuned(images)[-1], frozen(images)[-1] + efficientnet_lite0.OFFSET_SCALE, atol=1e-5
    )
    for a, b in zip(tuned(images)[:-1], frozen(images)[:-1], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "NoSuchNet"}, "features.name must be .* got 'NoSuchNet'"),
        ({"weights_file": "w.h5"}, "features.weights must not be given for efficientnet_lite0, got 'w.h5'"),
        ({"trainable_blocks": 17}, "trainable_blocks must be 0 to 16, got 17"),
        (
            {"name": "MobileNetV2", "trainable_blocks": 2},
            "features.trainable_blocks must be 0 for MobileNetV2, got 2",
        ),
        ({"name": "MobileNetV2", "weights_file": "missing.h5"}, "features.weights 'missing.h5'"),
    ],
)
def test_refusals_name_the_value(arguments, message):
    with pytest.raises(ValueError, match=message):
        load_features(**arguments)


def test_a_model_of_keras_applications_from_a_weights_file(tmp_path):
    whole = keras.applications.MobileNetV3Small(include_top=False, weights=None, input_shape=(256, 256, 3))
    whole.save_weights(tmp_path / "small.weights.h5")
    network = load_features("MobileNetV3Small", str(tmp_path / "small.weights.h5"), last_stride=16)
    network.build()
    assert network.strides == [4, 8, 16] and network.trainable_variables == []
    found = network(np.zeros((1, 64, 64, 1), np.float32))
    assert [f.shape[1] for f in found] == [16, 8, 4] and [f.shape[-1] for f in found] == network.channels
    assert all(
        tuned is frozen
        for tuned, frozen in zip(*network.tuned_and_frozen(np.zeros((1, 64, 64, 1), np.float32)), strict=True)
    )


@pytest.mark.parametrize("blocks", [0, 2, 6, 16])
def test_features_as_they_were_before_fine_tuning(blocks):
    images = np.random.default_rng(0).uniform(-1, 1, (2, 64, 64, 1)).astype(np.float32)
    untouched, network = (
        PretrainedFeatures(15)(images),
        PretrainedFeatures(15, trainable_blocks=blocks),
    )
    network.build()
    for number, variable in enumerate(network.trainable_variables):
        variable.assign(np.random.default_rng(number).normal(0, 1, variable.shape))
    tuned, frozen = network.tuned_and_frozen(images)
    for now, before, called, expected in zip(tuned, frozen, network(images), untouched, strict=True):
        np.testing.assert_array_equal(now, called)
        np.testing.assert_array_equal(before, expected)
    changed = [not np.array_equal(now, before) for now, before in zip(tuned, frozen, strict=True)]
    assert (
        changed
        == {0: [False] * 4, 2: [False, False, False, True], 6: [False, False, True, True], 16: [True] * 4}[
            blocks
        ]
    )
