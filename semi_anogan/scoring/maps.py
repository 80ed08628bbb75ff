"""Score components and anomaly maps, in keras.ops. A component depends on its own image only."""

import numpy as np
from keras import ops

from semi_anogan.data.images import gaussian
from semi_anogan.networks import losses
from semi_anogan.networks.layers import reduced


def of_search(images, reconstructions, latents, features, reconstruction_features):
    """The components of the search by name, each [N], and their map layers, lists of [N, h, w, 1].

    The layers are |x - G(z*)| (Schlegl et al. 2017, section 2.3) and for each scale the feature difference,
    averaged over its channels.
    """
    values = {
        "residual": losses.residual(images, reconstructions),
        "feature_distance": losses.feature_distance(features, reconstruction_features),
        "latent_norm": losses.latent_norm(latents),
    }
    pairs = zip([images, *features], [reconstructions, *reconstruction_features], strict=True)
    differences = [ops.mean(ops.abs(a - b), axis=-1, keepdims=True) for a, b in pairs]
    return values, {"residual": differences[:1], "feature_distance": differences[1:]}


def to_size(layer, shape: tuple[int, int]):
    """A map [N, h, w, 1] at another size: halved, or interpolated between the centres of its patches."""
    if layer.shape[1] >= shape[0] and layer.shape[2] >= shape[1]:
        return reduced(layer, min(shape))
    return ops.image.resize(layer, shape, interpolation="bilinear", data_format="channels_last")


def combined(layers, center, scale, weights):
    """The weighted mean of a map's standardised layers: [N, H, W, S] -> [N, H, W, 1]."""
    return ops.sum((layers - center) / scale * weights, axis=-1, keepdims=True)


def smooth(maps, sigma_px: float):
    """Gaussian smoothing of [N, H, W, 1]; only pixels inside the image count (as images.smooth_map)."""
    if sigma_px <= 0:
        return maps
    kernel = gaussian(sigma_px)

    def blur(x):
        x = ops.conv(x, kernel.reshape(-1, 1, 1, 1), padding="same", data_format="channels_last")
        return ops.conv(x, kernel.reshape(1, -1, 1, 1), padding="same", data_format="channels_last")

    return blur(maps) / blur(np.ones((1, *maps.shape[1:]), np.float32))
