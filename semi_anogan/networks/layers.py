"""Layers of the progressive growing GAN (Karras et al. 2017, arXiv 1710.10196), in keras.ops.

Every operation here has a gradient that survives export to ONNX and TFLite with builtin operators only, which
rules out leaky_relu, pooling, resizing and sqrt operators in what the latent search differentiates.
"""

import math

import keras
import numpy as np
from keras import ops

PACKAGE = "semi_anogan"
SQRT_2 = math.sqrt(2.0)  # gain of leaky ReLUs (He et al. 2015)


def leaky_relu(x, slope: float = 0.2):
    """max(x, slope x), with a gradient of a few element-wise products that exports.

    The gradient that TensorFlow would take of the maximum has a dozen operators, and took a quarter of the
    latent search.
    """

    @ops.custom_gradient
    def apply(x):
        y = ops.maximum(x, slope * x)

        def gradient(*arguments, upstream=None):
            upstream = arguments[0] if upstream is None else upstream
            # 1 from y = 0 on, else the slope, but between 0 and -1e-30. Constant where it is differentiated
            # again.
            steps = ops.minimum(ops.maximum(1e30 * y + 1.0, slope), 1.0)
            return upstream * ops.stop_gradient(steps)

        return y, gradient

    return apply(x)


def bounded(x):
    """tanh(x), in (-1, 1), written so that its gradient exports, and is 0 where exp overflows."""

    @ops.custom_gradient
    def apply(x):
        y = 2.0 / (1.0 + ops.exp(-2.0 * x)) - 1.0

        def gradient(*arguments, upstream=None):
            upstream = arguments[0] if upstream is None else upstream
            return upstream * (1.0 - ops.square(y))

        return y, gradient

    return apply(x)


def pixel_norm(x, epsilon: float = 1e-8):
    """Scales each feature vector to unit mean square: [..., C] -> [..., C] (Karras et al. 2017, 4.2).

    In float32, whatever the precision of x, which it keeps.
    """
    mean = ops.mean(ops.square(ops.cast(x, "float32")), axis=-1, keepdims=True)
    return x * ops.cast(ops.power(mean + epsilon, -0.5), x.dtype)


def upscale(x):
    """Doubles height and width by repeating pixels: [N, H, W, C] -> [N, 2H, 2W, C]."""
    _, height, width, channels = x.shape
    x = ops.reshape(ops.concatenate([x, x], axis=-1), (-1, height, 2 * width * channels))  # columns twice
    return ops.reshape(ops.concatenate([x, x], axis=-1), (-1, 2 * height, 2 * width, channels))  # rows twice


def downscale(x):
    """Halves height and width by averaging 2 x 2 pixels: [N, 2H, 2W, C] -> [N, H, W, C]."""
    _, height, width, channels = x.shape
    x = ops.sum(ops.reshape(x, (-1, height // 2, 2, width * channels)), axis=2)  # pairs of rows
    x = ops.sum(ops.reshape(x, (-1, width // 2, 2, channels)), axis=2)  # pairs of columns
    return 0.25 * ops.reshape(x, (-1, height // 2, width // 2, channels))


def reduced(images, side: int):
    """Halved until their short side is `side`: [N, H, W, C] -> [N, h, w, C]."""
    while min(images.shape[1:3]) > side:
        images = downscale(images)
    return images


def resized(x, shape: tuple[int, int]):
    """Doubled or halved until it has a shape: [N, H, W, C] -> [N, h, w, C].

    Where the last cell of x lies half outside, what is beyond the shape is cut off.
    """
    height, width = shape
    if x.shape[1] >= height and x.shape[2] >= width:
        return reduced(x, min(shape))
    while x.shape[1] < height or x.shape[2] < width:
        x = upscale(x)
    return x if tuple(x.shape[1:3]) == (height, width) else x[:, :height, :width]


_BINOMIAL = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]).astype(np.float32) / 256


def detail(images, epsilon: float = 0.02):
    """What differs from the surroundings, in units of its own mean size: [N, H, W, C] -> [N, H, W, C].

    The image minus its 5 x 5 binomial blur, over the image's mean absolute such difference. A micro defect is
    a few grey values on top of illumination and exposure that vary by more; without this the first layers see
    only the latter.
    """
    _, height, width, channels = images.shape
    kernel = _BINOMIAL[:, :, None, None] * np.eye(channels, dtype=np.float32)
    inside = _blurred_ones(height, width)  # at the border only pixels inside the image count
    blurred = ops.conv(images, kernel, padding="same", data_format="channels_last") / inside
    difference = images - blurred
    return difference / (ops.mean(ops.abs(difference), axis=(1, 2, 3), keepdims=True) + epsilon)


def _blurred_ones(height: int, width: int) -> np.ndarray:
    padded = np.pad(np.ones((height, width), np.float32), 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5))
    return np.einsum("hwij,ij->hw", windows, _BINOMIAL)[None, :, :, None]


def lerp(old, new, fade):
    """Linear mix: `old` at fade 0, `new` at fade 1."""
    return old + (new - old) * fade


class _Equalized(keras.layers.Layer):
    """A linear layer with equalised learning rate (Karras et al. 2017, section 4.1).

    Weights start as N(0, 1) and are multiplied by gain / sqrt(fan_in) at run time, so that every weight has
    the same dynamic range and Adam the same speed for all layers.

    speed: how much faster than other equalised layers it learns: weights are stored that much smaller, and
      multiplied by it at run time.
    """

    def __init__(self, kernel_shape, gain=SQRT_2, speed=1.0, **kwargs):
        super().__init__(**kwargs)
        self.kernel_shape = tuple(kernel_shape)
        self.speed = speed
        self.runtime_scale = speed * gain / math.sqrt(math.prod(self.kernel_shape[:-1]))

    def build(self, input_shape=None):
        # The values are the same on every replica of a distribution strategy, so their mean is any of them.
        self.kernel = self.add_weight(
            shape=self.kernel_shape,
            initializer=keras.initializers.RandomNormal(0.0, 1.0 / self.speed),
            name="kernel",
            aggregation="mean",
        )
        self.bias = self.add_weight(
            shape=self.kernel_shape[-1:], initializer="zeros", name="bias", aggregation="mean"
        )
        self.built = True


class EqualizedDense(_Equalized):
    """Dense layer: [N, inputs] -> [N, outputs]."""

    def __init__(self, inputs: int, outputs: int, **kwargs):
        super().__init__((inputs, outputs), **kwargs)

    def call(self, x):
        return ops.matmul(x, self.kernel * self.runtime_scale) + self.bias


class EqualizedConv(_Equalized):
    """Convolution with "same" padding and stride 1: [N, H, W, inputs] -> [N, H, W, outputs]."""

    def __init__(self, inputs: int, outputs: int, size: int = 3, **kwargs):
        super().__init__((size, size, inputs, outputs), **kwargs)

    def call(self, x):
        return (
            ops.conv(x, self.kernel * self.runtime_scale, padding="same", data_format="channels_last")
            + self.bias
        )


def compute_in(network: keras.Model, precision: str):
    """Lets a network's 3 x 3 convolutions compute in another precision than float32: "bfloat16".

    They are nearly all of its work. Weights stay float32, and so does what 1 x 1 and dense layers read and
    give: images, of which bfloat16 would hold 256 grey values at most, logits and evidence. Before `build`.
    """
    if precision == "float32":
        return
    for layer in network.layers:
        if isinstance(layer, EqualizedConv) and layer.kernel_shape[0] > 1:
            layer.dtype_policy = keras.DTypePolicy(f"mixed_{precision}")


class MinibatchStddev(keras.layers.Layer):
    """Appends the mean standard deviation over the batch as a channel (Karras et al. 2017, section 3).

    Times sqrt(C), so that it weighs as much in what follows as the C features together: weights of equalised
    layers move slowly, and as one channel among 65 the discriminator of a short training did not come to see
    a generator that drew one image only.

    The batch statistic counts only the examples with a weight, and its running mean over training stands in
    for it when `weights` is None. So a known abnormal image cannot be told from a normal one by the batch it
    comes in, and a score does not depend on the images scored with it.
    """

    def __init__(self, momentum: float = 0.98, epsilon: float = 1e-8, **kwargs):
        super().__init__(**kwargs)
        self.momentum = momentum
        self.epsilon = epsilon

    def build(self, input_shape=None):
        self.moving_stddev = self.add_weight(
            shape=(), initializer="ones", trainable=False, name="moving_stddev", aggregation="mean"
        )
        self.built = True

    def call(self, x, weights=None, update=False):
        """x [N, H, W, C]; weights [N] or None; update: move the running mean. Returns [N, H, W, C + 1]."""
        if weights is None:
            statistic = ops.convert_to_tensor(self.moving_stddev)
        else:
            weights = ops.reshape(weights, (-1, 1, 1, 1))
            total = ops.maximum(ops.sum(weights), 1.0)
            mean = ops.sum(x * weights, axis=0, keepdims=True) / total
            variance = ops.sum(ops.square(x - mean) * weights, axis=0) / total
            statistic = ops.mean(ops.sqrt(variance + self.epsilon))
            if update:
                self.moving_stddev.assign(
                    lerp(ops.stop_gradient(statistic), self.moving_stddev, self.momentum)
                )
        return ops.concatenate([x, ops.zeros_like(x[..., :1]) + math.sqrt(x.shape[-1]) * statistic], axis=-1)
