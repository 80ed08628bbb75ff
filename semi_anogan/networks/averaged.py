"""A network and the moving average of its weights."""

from collections.abc import Callable

import keras
from keras import ops

from semi_anogan.networks.layers import compute_in, lerp


class Averaged:
    """A network in training, and one with the moving average of its weights (Karras et al. 2017).

    Args: make: of a name; precision: of the one in training, as in layers.compute_in.
    """

    def __init__(self, make: Callable[[str], keras.Model], name: str, precision: str = "float32"):
        self.trained, self.average = make(name), make(f"{name}_average")
        compute_in(self.trained, precision)
        self.average.trainable = False

    def start(self):
        """The average begins with the weights as they are."""
        for average, current in self._pairs():
            # A copy: JAX would share the buffer, and fit donates each.
            average.assign(ops.copy(ops.convert_to_tensor(current)))

    def move(self, decay):
        """Moves the average towards the weights; decay: how much of it stays, in [0, 1]."""
        for average, current in self._pairs():
            average.assign(lerp(ops.convert_to_tensor(current), ops.convert_to_tensor(average), decay))

    def _pairs(self):
        return zip(self.average.weights, self.trained.weights, strict=True)
