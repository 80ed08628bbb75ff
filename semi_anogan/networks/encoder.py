"""The encoder: from what is seen of an image to the latents where its search starts.

It gives latents before their bound: z = bounded(u). It is trained together with the generator.
"""

import math

import keras
from keras import ops

from semi_anogan.networks.feature_generator import OnGrid, conv, width
from semi_anogan.networks.gan import Generator
from semi_anogan.networks.layers import (
    PACKAGE,
    EqualizedConv,
    EqualizedDense,
    downscale,
    leaky_relu,
    pixel_norm,
)


@keras.saving.register_keras_serializable(PACKAGE)
class FeatureEncoder(OnGrid):
    """Standardised pretrained features, list of [N, h, w, C], finest first -> latents before the bound.

    The latents are [N, L].

    Args: as in OnGrid.
    """

    def __init__(self, latent_shape, shapes, **kwargs):
        super().__init__(latent_shape, shapes, **kwargs)
        self.paths = []
        for i, (halvings, shape) in enumerate(zip(self.levels, self.shapes, strict=True)):
            f = width(min(halvings, 1) * 2)  # finer features are reduced: few channels hold what is left
            sizes = [shape[2], *[f] * max(halvings, 1)]
            self.paths.append(
                [
                    conv(a, b, f"enter_{i}_{k}", size=3 if halvings else 1)
                    for k, (a, b) in enumerate(zip(sizes, sizes[1:], strict=False))
                ]
            )
        joined = sum(path[-1].kernel_shape[-1] for path in self.paths)
        self.convs = [conv(joined, width(0), "conv_0"), conv(width(0), width(0), "conv_1")]
        self.to_latents = conv(width(0), self.latent_shape[2], "to_latents", size=1, gain=1.0)

    def build(self, input_shape=None):
        for layer in [*sum(self.paths, []), *self.convs, self.to_latents]:
            layer.build(None)
        self.built = True

    def call(self, features):
        found = []
        for x, path in zip(features, self.paths, strict=True):
            for layer in path:
                x = pixel_norm(leaky_relu(layer(x)))
                if x.shape[1] > self.latent_shape[0]:
                    x = downscale(x)
            found.append(x)
        x = ops.concatenate(found, axis=-1)
        for layer in self.convs:
            x = pixel_norm(leaky_relu(layer(x)))
        return ops.reshape(self.to_latents(x), (-1, math.prod(self.latent_shape)))


@keras.saving.register_keras_serializable(PACKAGE)
class ImageEncoder(keras.Model):
    """Images [N, *shape, channels] -> latents before the bound [N, L].

    For models without pretrained features.

    Args: generator: arguments of Generator, by name.
    """

    def __init__(self, generator, **kwargs):
        super().__init__(**kwargs)
        self.generator = dict(generator)
        like = Generator(**self.generator)
        self.latent_shape, filters, r = like.latent_shape, like.filters, like.resolution
        self.from_image = EqualizedConv(like.channels, filters(2 * r), size=1, name="from_image")
        self.convs = [
            EqualizedConv(filters(2 * size), filters(size), name=f"conv_{size}")
            for size in reversed(like.resolutions[1:])
        ]
        inputs = filters(2 * like.first)
        self.last_conv = EqualizedConv(inputs, filters(like.first), name="last_conv")
        self.on_grid = like.on_grid and like.first == min(self.latent_shape[:2])
        if self.on_grid:
            size = self.latent_shape[2]
            self.to_latents = EqualizedConv(filters(like.first), size, size=1, gain=1.0, name="to_latents")
        else:
            size = like.latent_size
            places = math.prod(like.base) * (like.first // 4) ** 2
            self.last_dense = EqualizedDense(places * filters(like.first), 2 * size, name="dense")
            self.to_latents = EqualizedDense(2 * size, size, gain=1.0, name="to_latents")

    def build(self, input_shape=None):
        for layer in self.layers:
            layer.build(None)
        self.built = True

    def call(self, images):
        x = leaky_relu(self.from_image(images))
        for layer in self.convs:
            x = downscale(leaky_relu(layer(x)))
        x = leaky_relu(self.last_conv(x))
        if not self.on_grid:
            x = leaky_relu(self.last_dense(ops.reshape(x, (-1, self.last_dense.kernel_shape[0]))))
        return ops.reshape(self.to_latents(x), (-1, math.prod(self.latent_shape)))

    def get_config(self):
        return {"generator": self.generator, "name": self.name, "trainable": self.trainable}
