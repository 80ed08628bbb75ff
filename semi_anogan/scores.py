"""Score components and anomaly maps of images against their reconstructions, in keras.ops.

Every component is built so that a higher value is more abnormal, and depends on its own image only.
"""

import numpy as np
from keras import ops

from semi_anogan import losses
from semi_anogan.layers import upscale

COMPONENTS = ("residual", "feature_distance", "discriminator", "latent_norm")


def components(images, reconstructions, latents, logits, features, reconstruction_features):
    """[N, 4] in the order of COMPONENTS: the search's two losses at z*, minus the discriminator's logit, mean square of z*."""
    return ops.stack(
        [
            losses.residual(images, reconstructions),
            losses.feature_distance(features, reconstruction_features),
            -logits,
            losses.latent_norm(latents),
        ],
        axis=-1,
    )


def map_layers(images, reconstructions, features, reconstruction_features, evidence):
    """What speaks for abnormal at each pixel, in layers: [N, H, W, 1 + 2 scales].

    The first layer is |x - G(z*)| (Schlegl et al. 2017, section 2.3); then for each scale the feature difference, averaged
    over its channels, and for each scale the discriminator's evidence; all repeated up to the image's size.
    """
    layers = [ops.mean(ops.abs(images - reconstructions), axis=-1, keepdims=True)]
    layers += [ops.mean(ops.abs(a - b), axis=-1, keepdims=True) for a, b in zip(features, reconstruction_features, strict=True)]
    return ops.concatenate([_to_size(layer, images.shape[1]) for layer in layers + evidence], axis=-1)


def _to_size(layer, side: int):
    while layer.shape[1] < side:
        layer = upscale(layer)
    return layer


def anomaly_map(layers, center, scale, sigma_px: float):
    """One map from its layers: the mean of the standardised layers, smoothed: [N, H, W, S] -> [N, H, W]."""
    combined = ops.mean((layers - center) / scale, axis=-1, keepdims=True)
    return smooth(combined, sigma_px)[..., 0]


def smooth(maps, sigma_px: float):
    """Gaussian smoothing of [N, H, W, 1]; at the border only pixels inside the image count."""
    if sigma_px <= 0:
        return maps
    reach = max(1, int(np.ceil(3 * sigma_px)))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_px) ** 2).astype(np.float32)
    kernel /= kernel.sum()

    def blur(x):
        x = ops.conv(x, kernel.reshape(-1, 1, 1, 1), padding="same", data_format="channels_last")
        return ops.conv(x, kernel.reshape(1, -1, 1, 1), padding="same", data_format="channels_last")

    return blur(maps) / blur(ops.ones_like(maps[:1]))
