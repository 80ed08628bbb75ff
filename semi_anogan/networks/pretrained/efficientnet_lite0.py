"""EfficientNet-Lite0, embedded: ImageNet features at several scales, frozen or fine-tuned.

efficientnet_lite0.npz holds its weights (Tan & Le 2019, arXiv 1905.11946; the Lite variant of TensorFlow's
model garden) without the head, batch normalisation folded in; see NOTICE.
"""

import functools
import importlib.resources

import keras
import numpy as np
from keras import ops

from semi_anogan.networks.layers import PACKAGE

NAME = "efficientnet_lite0"
# Outputs that serve as features, and their stride: the last block of each scale.
TAPS = {2: 4, 4: 8, 10: 16, 15: 32}
# A fine-tuned weight is the ImageNet one plus this times a variable that starts at 0: Adam then moves it that
# much slower than the equalised layers beside it, with one learning rate for all.
OFFSET_SCALE = 0.01
_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)


@functools.cache
def weights() -> dict[str, np.ndarray]:
    """The embedded weights, float32, by name: stem/kernel, block0/depthwise/kernel, ..."""
    with (
        importlib.resources.files("semi_anogan.networks.pretrained")
        .joinpath(f"{NAME}.npz")
        .open("rb") as file
    ):
        with np.load(file, allow_pickle=False) as values:
            return {name: values[name].astype(np.float32) for name in values.files}


def relu6(x):
    """min(max(x, 0), 6), with a gradient that exports; the operator's own does not.

    The operator itself is computed with the convolution before it; minimum and maximum took a third of the
    network's time.
    """

    @ops.custom_gradient
    def apply(x):
        y = ops.relu6(x)

        def gradient(*arguments, upstream=None):
            upstream = arguments[0] if upstream is None else upstream
            return ops.where(ops.logical_and(x > 0.0, x < 6.0), upstream, 0.0)

        return y, gradient

    return apply(x)


def depthwise(x, kernel, stride: int):
    """Depthwise convolution, "same" padding: [N, H, W, C], kernel [K, K, C, 1] -> [N, h, w, C].

    Its gradient with respect to x is written as a depthwise convolution, which exports; the operator's own
    does not.
    None with respect to the kernel: it is meant for frozen weights.
    """
    size, (height, width) = kernel.shape[0], x.shape[1:3]
    flipped = ops.flip(ops.flip(kernel, 0), 1)
    # Padding as in TensorFlow: the odd pixel goes after.
    total = [max((-(-side // stride) - 1) * stride + size - side, 0) for side in (height, width)]

    @ops.custom_gradient
    def apply(x):
        y = ops.depthwise_conv(x, kernel, strides=stride, padding="same", data_format="channels_last")

        def gradient(*arguments, upstream=None):
            u = arguments[0] if upstream is None else upstream
            u = _spread(u, stride)
            if u.shape[1:3] != (height, width):  # odd sides
                u = u[:, :height, :width]
            before = [size - 1 - t // 2 for t in total]
            pads = [(b, size - 1 - b) for b in before]
            u = ops.pad(u, [(0, 0), *pads, (0, 0)])
            return ops.depthwise_conv(u, flipped, padding="valid", data_format="channels_last")

        return y, gradient

    return apply(x)


def _spread(x, stride: int):
    """Zeros between the values: [N, h, w, C] -> [N, stride h, stride w, C]."""
    if stride == 1:
        return x
    _, height, width, channels = x.shape
    zeros = ops.zeros_like(x)
    x = ops.reshape(ops.concatenate([x, zeros], axis=-1), (-1, height, 2 * width * channels))
    return ops.reshape(
        ops.concatenate([x, ops.zeros_like(x)], axis=-1), (-1, 2 * height, 2 * width, channels)
    )


@keras.saving.register_keras_serializable(PACKAGE)
class PretrainedFeatures(keras.Model):
    """EfficientNet-Lite0: [N, H, W, 1 or 3] in [-1, 1] -> list of [N, H / stride, W / stride, C].

    The finest comes first.

    Args:
      last_block: 2, 4, 10 or 15, where the network ends: the features are those of strides 4 (24 channels), 8
        (40), 16 (112) and 32 (320) up to it.
      trainable_blocks: how many of its last blocks are fine-tuned; 0 is frozen. Only the fine-tuned ones are
        variables of the model (and in its checkpoints); the others are the package's.
    """

    def __init__(self, last_block: int = 15, trainable_blocks: int = 0, **kwargs):
        super().__init__(**kwargs)
        if last_block not in TAPS:
            raise ValueError(f"last_block must be one of {sorted(TAPS)}, got {last_block!r}")
        if not 0 <= trainable_blocks <= last_block + 1:
            raise ValueError(f"trainable_blocks must be 0 to {last_block + 1}, got {trainable_blocks!r}")
        self.last_block, self.trainable_blocks = last_block, trainable_blocks
        self.taps = [block for block in TAPS if block <= last_block]
        self.strides = [TAPS[block] for block in self.taps]
        self.channels = [weights()[f"block{block}/project/bias"].shape[0] for block in self.taps]
        self.offsets = {}

    @property
    def first_trained(self) -> int:
        return self.last_block + 1 - self.trainable_blocks

    def build(self, input_shape=None):
        if self.built:
            return
        for block in range(self.first_trained, self.last_block + 1):
            for part in ("expand", "depthwise", "project"):
                for kind in ("kernel", "bias"):
                    name = f"block{block}/{part}/{kind}"
                    if name in weights():
                        self.offsets[name] = self.add_weight(
                            shape=weights()[name].shape,
                            initializer="zeros",
                            name=name.replace("/", "_"),
                            aggregation="mean",
                        )
        self.built = True

    def call(self, images):
        x, shared = self._begin(images)
        return shared + self._end(x, tuned=True)

    def tuned_and_frozen(self, images):
        """(what a call returns, the same before fine-tuning); what both share is computed once."""
        x, shared = self._begin(images)
        tuned = shared + self._end(x, tuned=True)
        return tuned, shared + self._end(x, tuned=False) if self.trainable_blocks else tuned

    def _begin(self, images):
        """(the input of the first block that is fine-tuned, the features of the blocks before)."""
        x = images if images.shape[-1] == 3 else ops.concatenate([images] * 3, axis=-1)
        return self._blocks(relu6(self._conv(x, "stem", 2)), range(self.first_trained), tuned=False)

    def _end(self, x, tuned: bool):
        """The features of the fine-tuned blocks, with or without the fine-tuning."""
        return self._blocks(x, range(self.first_trained, self.last_block + 1), tuned)[1]

    def _blocks(self, x, blocks, tuned: bool):
        features = []
        for block in blocks:
            x = self._block(x, block, tuned)
            if block in self.taps:
                features.append(x)
        return x, features

    def _weight(self, name: str, tuned: bool = False):
        value = ops.convert_to_tensor(weights()[name])
        return value + OFFSET_SCALE * self.offsets[name] if tuned and name in self.offsets else value

    def _conv(self, x, name: str, stride: int = 1, tuned: bool = False):
        kernel, bias = (self._weight(f"{name}/{kind}", tuned) for kind in ("kernel", "bias"))
        return ops.conv(x, kernel, strides=stride, padding="same", data_format="channels_last") + bias

    def _block(self, x, block: int, tuned: bool):
        name, stride = f"block{block}", _STRIDES[block]
        y = relu6(self._conv(x, f"{name}/expand", tuned=tuned)) if f"{name}/expand/kernel" in weights() else x
        kernel = self._weight(f"{name}/depthwise/kernel", tuned)
        if tuned:
            y = ops.depthwise_conv(y, kernel, strides=stride, padding="same", data_format="channels_last")
        else:
            y = depthwise(y, kernel, stride)
        y = self._conv(
            relu6(y + self._weight(f"{name}/depthwise/bias", tuned)), f"{name}/project", tuned=tuned
        )
        return x + y if stride == 1 and x.shape[-1] == y.shape[-1] else y

    def get_config(self):
        return {"last_block": self.last_block, "trainable_blocks": self.trainable_blocks, "name": self.name}
