"""The network that says where in an image a defect is: a small decoder of pretrained features."""

from collections.abc import Mapping, Sequence

import keras
import numpy as np
from keras import ops

from semi_anogan.networks.layers import leaky_relu, resized

# Channels from the finest scale to the coarsest; further fine ones are as the first.
WIDTHS = (32, 32, 64, 64)


def decoded(features: Sequence, weights: Mapping):
    """Features, list of [N, h, w, C], finest first -> log-odds that a place is abnormal, [N, h, w, 1].

    A decoder as in Ronneberger et al. 2015 (U-Net): it begins with the coarsest features. At each finer
    scale what is there is doubled, the features of that scale are added, and a 3 x 3 convolution follows.

    weights: kernels and biases by name, "enter0/kernel": enter0, ... are the 1 x 1 convolutions of the
      features of each scale, finest first; narrow0, ... those of what comes from the next coarser one, where
      it has other channels; mix0, ... the 3 x 3 convolutions; exit leads to one channel.
    """

    def convolved(x, name):
        kernel, bias = weights[f"{name}/kernel"], weights[f"{name}/bias"]
        return ops.conv(x, kernel, padding="same", data_format="channels_last") + bias

    coarsest = len(features) - 1
    x = leaky_relu(convolved(features[-1], f"enter{coarsest}"))
    for i in reversed(range(coarsest)):
        if f"narrow{i}/kernel" in weights:
            x = convolved(x, f"narrow{i}")
        x = resized(x, tuple(features[i].shape[1:3])) + convolved(features[i], f"enter{i}")
        x = leaky_relu(convolved(x, f"mix{i}"))
    return convolved(x, "exit")


class SegmentationNetwork(keras.Model):
    """Trains the weights of `decoded`: features, list of [N, h, w, C] -> log-odds [N, h, w, 1].

    Args: center, deviation: of the features, float32 [C] of each scale, finest first: it standardises them.
      seed: of the weights.
    """

    def __init__(
        self, center: Sequence[np.ndarray], deviation: Sequence[np.ndarray], seed: int = 0, **kwargs
    ):
        super().__init__(**kwargs)
        self.center, self.deviation = list(center), list(deviation)
        self.weights_by_name = {}
        for number, (name, shape) in enumerate(sorted(self._shapes().items())):
            glorot = keras.initializers.GlorotUniform(seed=1000 * seed + number)
            kernel = self.add_weight(shape=shape, initializer=glorot, name=f"{name}_kernel")
            bias = self.add_weight(shape=shape[-1:], initializer="zeros", name=f"{name}_bias")
            self.weights_by_name |= {f"{name}/kernel": kernel, f"{name}/bias": bias}
        self.built = True

    def _shapes(self) -> dict[str, tuple]:
        channels = [len(c) for c in self.center]
        scales = len(channels)
        widths = ((scales - len(WIDTHS)) * WIDTHS[:1] + WIDTHS)[-scales:]
        shapes = {f"enter{i}": (1, 1, c, w) for i, (c, w) in enumerate(zip(channels, widths, strict=True))}
        shapes |= {f"mix{i}": (3, 3, widths[i], widths[i]) for i in range(scales - 1)}
        pairs = zip(widths, widths[1:], strict=False)
        shapes |= {f"narrow{i}": (1, 1, coarse, w) for i, (w, coarse) in enumerate(pairs) if coarse != w}
        return {**shapes, "exit": (1, 1, widths[0], 1)}

    def call(self, features):
        scaled = zip(features, self.center, self.deviation, strict=True)
        return decoded([(f - c) / d for f, c, d in scaled], self.weights_by_name)

    def start_from(self, arrays: Mapping[str, np.ndarray]) -> bool:
        """Takes the weights that `arrays` gave of another one; False where these have other shapes."""
        if {n: a.shape for n, a in arrays.items()} != {
            n: tuple(w.shape) for n, w in self.weights_by_name.items()
        }:
            return False
        found = dict(arrays)
        for i, (center, deviation) in enumerate(zip(self.center, self.deviation, strict=True)):
            kernel = found[f"enter{i}/kernel"]
            found[f"enter{i}/kernel"] = kernel * deviation[:, None]
            found[f"enter{i}/bias"] = found[f"enter{i}/bias"] + center @ kernel[0, 0]
        for name, value in found.items():
            self.weights_by_name[name].assign(value)
        return True

    def arrays(self) -> dict[str, np.ndarray]:
        """The weights that give the same log-odds of features as they are: float32, by name."""
        found = {name: np.array(w.value, np.float32) for name, w in self.weights_by_name.items()}
        for i, (center, deviation) in enumerate(zip(self.center, self.deviation, strict=True)):
            kernel = found[f"enter{i}/kernel"] / deviation[:, None]
            found[f"enter{i}/kernel"] = kernel
            found[f"enter{i}/bias"] = found[f"enter{i}/bias"] - center @ kernel[0, 0]
        return found
