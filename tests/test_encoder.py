"""The encoders, of pretrained features and of images: shapes, gradients, saving."""

import keras
import numpy as np
import pytest
from keras import ops

from semi_anogan.backend import input_gradients
from semi_anogan.networks.encoder import FeatureEncoder, ImageEncoder
from semi_anogan.networks.feature_generator import SPEED


def tensor(values):
    return ops.convert_to_tensor(np.asarray(values, np.float32))


def numpy(x):
    return ops.convert_to_numpy(x)


def noise(*shape, seed=1):
    return tensor(np.random.default_rng(seed).standard_normal(shape))


def shapes_of(side):
    """Those of efficientnet_lite0's features of strides 8, 16 and 32."""
    return [(side // stride, side // stride, c) for stride, c in ((8, 40), (16, 112), (32, 320))]


def features_of(side, count=3):
    return [noise(count, *shape, seed=i) for i, shape in enumerate(shapes_of(side))]


def of_features(side=64, channels=5):
    keras.utils.set_random_seed(0)
    encoder = FeatureEncoder((side // 32, side // 32, channels), shapes_of(side))
    encoder.build()
    return encoder


def of_images(resolution, latent_shape):
    keras.utils.set_random_seed(0)
    sizes = {"resolution": resolution, "channels": 3, "filters_base": 64, "filters_cap": 8}
    encoder = ImageEncoder({**sizes, "latent_shape": latent_shape})
    encoder.build()
    return encoder


def alone_is_as_with_others(encoder, seen):
    """The latents of a batch; those of each image do not depend on the others."""
    found = numpy(encoder(seen))
    one = numpy(encoder(keras.tree.map_structure(lambda x: x[1:2], seen)))
    np.testing.assert_allclose(one[0], found[1], rtol=1e-3, atol=1e-5)
    return found


def every_layer_learns(encoder, layers, seen):
    for layer in layers:

        def total(value, kernel=layer.kernel):
            with keras.StatelessScope(state_mapping=[(kernel, value)]):
                return ops.sum(ops.square(encoder(seen)), axis=-1)

        gradient = numpy(input_gradients(total, tensor(numpy(layer.kernel)))[1])
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 1e-3, layer.name


@pytest.mark.parametrize("side", [64, 128])
def test_latents_of_features(side):
    encoder, cells = of_features(side), side // 32
    found = alone_is_as_with_others(encoder, features_of(side))
    assert found.shape == (3, 5 * cells**2) and 0.2 < found.std() < 3
    kernels = [[tuple(layer.kernel.shape) for layer in path] for path in encoder.paths]
    # Stride 8 is halved twice, 16 once; 32 has the size of the grid.
    assert kernels == [
        [(3, 3, 40, 64), (3, 3, 64, 64)],
        [(3, 3, 112, 64)],
        [(1, 1, 320, 192)],
    ]
    assert [tuple(layer.kernel.shape) for layer in encoder.convs] == [(3, 3, 320, 192), (3, 3, 192, 192)]
    assert tuple(encoder.to_latents.kernel.shape) == (1, 1, 192, 5)


def test_every_layer_of_the_encoder_of_features_learns():
    encoder = of_features()
    layers = [*sum(encoder.paths, []), *encoder.convs, encoder.to_latents]
    assert all(layer.speed == SPEED for layer in layers)
    assert len(encoder.trainable_variables) == 2 * len(layers)
    every_layer_learns(encoder, layers, features_of(64))


def test_latents_of_a_place_are_of_the_features_around_it():
    encoder = of_features(256, channels=2)
    features = [numpy(f) for f in features_of(256, count=1)]
    changed = [f.copy() for f in features]
    for f in changed:
        f[:, 0, 0] += 1.0
    both = [tensor(np.concatenate(pair)) for pair in zip(features, changed, strict=True)]
    found = numpy(encoder(both)).reshape(2, 8, 8, 2)
    where = np.abs(found[0] - found[1]).max(axis=-1) > 1e-5
    assert where[0, 0] and np.argwhere(where).max() <= 3


def test_latents_of_images_from_a_single_vector():
    encoder = of_images(16, (1, 1, 6))
    assert alone_is_as_with_others(encoder, noise(3, 16, 16, 3)).shape == (3, 6)
    shapes = {layer.name: tuple(layer.kernel.shape) for layer in encoder.layers}
    # 64 / 16 = 4 channels at 16 x 16; 64 / 32 = 2 is under the least number, 4; 64 / 4 = 16 is over the cap.
    assert shapes == {
        "from_image": (1, 1, 3, 4),
        "conv_16": (3, 3, 4, 4),
        "conv_8": (3, 3, 4, 8),
        "last_conv": (3, 3, 8, 8),
        "dense": (16 * 8, 12),
        "to_latents": (12, 6),
    }
    every_layer_learns(encoder, encoder.layers, noise(3, 16, 16, 3))


@pytest.mark.parametrize(("resolution", "cells"), [(64, 2), (128, 4), (256, 8)])
def test_latents_of_images_on_a_grid(resolution, cells):
    encoder = of_images(resolution, (cells, cells, 2))
    images = noise(2, resolution, resolution, 3)
    assert alone_is_as_with_others(encoder, images).shape == (2, 2 * cells**2)
    shapes = {layer.name: tuple(layer.kernel.shape) for layer in encoder.layers}
    if cells < 4:  # the whole image says all the latents
        assert shapes["dense"] == (16 * 8, 2 * 8) and shapes["to_latents"] == (16, 8)
    else:
        assert shapes["to_latents"] == (1, 1, 8, 2) and "dense" not in shapes
    if cells == 8:  # a corner's pixels say the latents of that corner alone
        changed = numpy(images).copy()
        changed[:, :8, :8] += 1.0
        found = [numpy(encoder(tensor(x))).reshape(2, 8, 8, 2) for x in (images, changed)]
        where = np.abs(found[0] - found[1]).max(axis=(0, -1)) > 1e-5
        assert where[0, 0] and not where[4:, 4:].any()


def test_save_and_load_in_safe_mode(tmp_path):
    for encoder, seen in ((of_features(), features_of(64)), (of_images(16, (1, 1, 6)), noise(3, 16, 16, 3))):
        expected = numpy(encoder(seen))
        encoder.save(tmp_path / "network.keras")
        loaded = keras.models.load_model(tmp_path / "network.keras", safe_mode=True)
        assert type(loaded) is type(encoder) and loaded.latent_shape == encoder.latent_shape
        np.testing.assert_allclose(numpy(loaded(seen)), expected, rtol=1e-5, atol=1e-6)
