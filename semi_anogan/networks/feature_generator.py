"""The second drawing of the latents: the features of the pretrained network, and how they are compared.

Deng & Li 2022 (arXiv 2201.10703) draw the features of a frozen network again from a narrow code of them, and
compare the two by their angle. Here the code is the latents of the generator: bounded, and so searchable.
"""

import keras
from keras import ops

from semi_anogan.networks.layers import PACKAGE, EqualizedConv, leaky_relu, pixel_norm, upscale

# Feature channels at 1, 2, 4, ... times the size of the grid of latents.
WIDTHS = (192, 144, 64)
# Its layers learn this much faster than those of the GAN, whose rate is what the adversarial game bears.
SPEED = 16.0


def conv(inputs: int, outputs: int, name: str, size: int = 3, gain: float = 2**0.5) -> EqualizedConv:
    """A layer of the networks that draw and read features."""
    return EqualizedConv(inputs, outputs, size=size, gain=gain, speed=SPEED, name=name)


def width(index: int) -> int:
    """Feature channels at 2^index times the size of the grid."""
    return WIDTHS[min(index, len(WIDTHS) - 1)]


@keras.saving.register_keras_serializable(PACKAGE)
class Standardization(keras.layers.Layer):
    """Brings each channel of several feature maps to mean 0 and deviation 1 over normal training images.

    The statistics are means over all training steps so far: `moved` gives those with one more batch, and
    `assign` keeps them.

    Args: channels: of the feature maps, finest first.
    """

    def __init__(self, channels, **kwargs):
        super().__init__(**kwargs)
        self.channels = tuple(channels)

    def build(self, input_shape=None):
        if self.built:
            return

        def weight(size, start, name):
            return self.add_weight(
                shape=size, initializer=start, trainable=False, name=name, aggregation="mean"
            )

        self.means = [weight((c,), "zeros", f"mean_{i}") for i, c in enumerate(self.channels)]
        self.squares = [weight((c,), "ones", f"square_{i}") for i, c in enumerate(self.channels)]
        self.steps = weight((), "zeros", "steps")
        self.built = True

    def call(self, features, statistics=None):
        """List of [N, h, w, C] -> the same standardised; statistics: of `moved`, or None: those kept."""
        means, squares, _ = statistics or (self.means, self.squares, None)
        return [
            (f - m) * ops.power(ops.maximum(s - ops.square(m), 0.0) + 1e-6, -0.5)
            for f, m, s in zip(features, means, squares, strict=True)
        ]

    def moved(self, features, weights):
        """(means, mean squares, steps) with one more batch; weights [N] >= 0 of its images.

        Without any weight the batch does not count.
        """
        counts = ops.cast(ops.sum(weights) > 0, "float32")
        weights = ops.reshape(weights / ops.maximum(ops.sum(weights), 1e-6), (-1, 1, 1, 1))
        rate = counts / (self.steps + 1.0)

        def moved(kept, values):
            now = ops.mean(ops.sum(values * weights, axis=0), axis=(0, 1))
            return kept + rate * (now - kept)

        means = [moved(ops.convert_to_tensor(m), f) for m, f in zip(self.means, features, strict=True)]
        squares = [
            moved(ops.convert_to_tensor(s), ops.square(f))
            for s, f in zip(self.squares, features, strict=True)
        ]
        return means, squares, self.steps + counts

    def assign(self, statistics):
        """Keeps what `moved` gave."""
        means, squares, steps = statistics
        for variable, value in zip([*self.means, *self.squares], [*means, *squares], strict=True):
            variable.assign(value)
        self.steps.assign(steps)

    def get_config(self):
        return {"channels": self.channels, "name": self.name}


class OnGrid(keras.Model):
    """What the networks between a grid of latents and pretrained features share.

    Args:
      latent_shape: (h, w, c) of the grid that the latents are, L = h w c.
      shapes: (h, w, C) of the features, finest first; each is the grid's size or 2, 4, ... times that.
    """

    def __init__(self, latent_shape, shapes, **kwargs):
        super().__init__(**kwargs)
        self.latent_shape = tuple(latent_shape)
        self.shapes = [tuple(shape) for shape in shapes]
        # How often the grid is doubled to the size of each feature map.
        self.levels = [(shape[0] // self.latent_shape[0]).bit_length() - 1 for shape in self.shapes]

    def get_config(self):
        return {
            "latent_shape": self.latent_shape,
            "shapes": self.shapes,
            "name": self.name,
            "trainable": self.trainable,
        }


@keras.saving.register_keras_serializable(PACKAGE)
class FeatureGenerator(OnGrid):
    """Latents [N, L] in [-1, 1] -> standardised pretrained features, list of [N, h, w, C], finest first.

    Args: as in OnGrid.
    """

    def __init__(self, latent_shape, shapes, **kwargs):
        super().__init__(latent_shape, shapes, **kwargs)
        levels = self.levels[0]
        self.enter = conv(self.latent_shape[2], width(0), "enter")
        self.narrow = [conv(width(i), width(i + 1), f"narrow_{i + 1}") for i in range(levels)]
        self.convs = [conv(width(i), width(i), f"conv_{i}") for i in range(levels + 1)]
        self.to_features = [
            conv(width(level), shape[2], f"to_features_{i}", size=1, gain=1.0)
            for i, (level, shape) in enumerate(zip(self.levels, self.shapes, strict=True))
        ]

    def build(self, input_shape=None):
        for layer in self.layers:
            layer.build(None)
        self.built = True

    def call(self, latents):
        x = pixel_norm(leaky_relu(self.enter(ops.reshape(latents, (-1, *self.latent_shape)))))
        drawn = {}
        for index, layer in enumerate(self.convs):
            if index:
                x = upscale(pixel_norm(leaky_relu(self.narrow[index - 1](x))))
            x = pixel_norm(leaky_relu(layer(x)))
            for position, level in enumerate(self.levels):
                if level == index:
                    drawn[position] = self.to_features[position](x)
        return [drawn[position] for position in range(len(self.shapes))]
