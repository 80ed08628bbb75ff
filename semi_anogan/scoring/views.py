"""The views of an image that the memory compares: its pretrained features at several sizes, in keras.ops."""

import numpy as np
from keras import ops

from semi_anogan.data.image_arrays import resize
from semi_anogan.networks.layers import reduced
from semi_anogan.scoring.memory import embed


def features_at(model, images, shape: tuple[int, int], found: dict):
    """The frozen network's features of images [N, *view_shape, C] at a shape: list, finest first.

    found: {shape: features} of those that are there already; what is computed is put there.
    """
    if shape not in found:
        found[shape] = model.pretrained(scaled(images, shape))
    return found[shape]


def views_of(model, images, found: dict | None = None):
    """The memory's views of images [N, *view_shape, C]: a list of `embed` [N, h, w, D], one a size.

    The features are the frozen network's: known defects, which may have tuned another one, must not decide
    what all others are compared by.

    found: as in features_at.
    """
    found = {} if found is None else found
    return [embed(features_at(model, images, shape, found)) for shape in model.memory_shapes]


def places_of(model) -> list[int]:
    """How many patches an image has in each of its views."""
    stride = model.pretrained.strides[-2]
    return [(-(-height // stride)) * (-(-width // stride)) for height, width in model.memory_shapes]


def scaled(images, shape: tuple[int, int]):
    """At another size, as data.image_arrays.resize makes it: [N, H, W, C] -> [N, h, w, C].

    As two matrix products, which every exported format has; or halved, where that is the same.
    """
    height, width, channels = images.shape[1:]
    if (height, width) == tuple(shape):
        return images
    times = height // shape[0]
    if times & (times - 1) == 0 and (height, width) == (times * shape[0], times * shape[1]):
        return reduced(images, min(shape))
    rows, columns = (_weights(old, new) for old, new in ((height, shape[0]), (width, shape[1])))
    x = ops.matmul(rows, ops.reshape(images, (-1, height, width * channels)))
    x = ops.transpose(ops.reshape(x, (-1, shape[0], width, channels)), (0, 1, 3, 2))
    return ops.transpose(ops.matmul(x, columns.T), (0, 1, 3, 2))


def _weights(old: int, new: int) -> np.ndarray:
    """What `resize` makes of each pixel along an axis: float32 [new, old]."""
    return resize(np.eye(old, dtype=np.float32)[..., None], new, old)[..., 0]
