"""Score components and anomaly maps, in keras.ops.

Every component is built so that a higher value is more abnormal, and depends on its own image only.
"""

import numpy as np
from keras import ops

from semi_anogan import losses
from semi_anogan.data.images import gaussian
from semi_anogan.layers import reduced

# What a score can be made of. residual, feature_distance: the search's two losses at z*; discriminator, patches: minus the
# logit; latent_norm: mean square of z*; memory: distance to the nearest normal patches; likeness: to the known defects,
# or where none is known to hidden or synthetic ones (fit_detector.py); classifier: log-odds of the whole image, where many are known.
COMPONENTS = ("residual", "feature_distance", "discriminator", "latent_norm", "patches", "memory", "likeness", "classifier")
OF_SEARCH = ("residual", "feature_distance", "latent_norm")  # need the generator's search
TRAINED_ON_KNOWN = ("discriminator", "patches")  # tell the known abnormal images apart, whatever they make of others
OF_FEATURES = ("memory", "likeness", "classifier")  # fitted to the pretrained features of the training images when the networks are trained
# What rests on the same evidence: the search, what was trained to tell abnormal images, the memory, the likeness, and the classifier.
GROUPS = {**dict.fromkeys(OF_SEARCH, 0), "discriminator": 1, "patches": 1, "memory": 2, "likeness": 3, "classifier": 4}


def of_search(images, reconstructions, latents, features, reconstruction_features):
    """The components of the search by name, each [N], and their map layers by name, each a list of [N, h, w, 1].

    The layers are |x - G(z*)| (Schlegl et al. 2017, section 2.3) and for each scale the feature difference, averaged over its
    channels.
    """
    values = {
        "residual": losses.residual(images, reconstructions),
        "feature_distance": losses.feature_distance(features, reconstruction_features),
        "latent_norm": losses.latent_norm(latents),
    }
    pairs = zip([images, *features], [reconstructions, *reconstruction_features], strict=True)
    differences = [ops.mean(ops.abs(a - b), axis=-1, keepdims=True) for a, b in pairs]
    return values, {"residual": differences[:1], "feature_distance": differences[1:]}


def to_size(layer, side: int):
    """A map [N, h, h, 1] at another size: halved, or interpolated between the centres of its patches."""
    if layer.shape[1] >= side:
        return reduced(layer, side)
    return ops.image.resize(layer, (side, side), interpolation="bilinear", data_format="channels_last")


def combined(layers, center, scale, weights):
    """The weighted mean of a map's standardised layers: [N, H, W, S] -> [N, H, W, 1]."""
    return ops.sum((layers - center) / scale * weights, axis=-1, keepdims=True)


def smooth(maps, sigma_px: float):
    """Gaussian smoothing of [N, H, W, 1]; at the border only pixels inside the image count (as images.smooth_map)."""
    if sigma_px <= 0:
        return maps
    kernel = gaussian(sigma_px)

    def blur(x):
        x = ops.conv(x, kernel.reshape(-1, 1, 1, 1), padding="same", data_format="channels_last")
        return ops.conv(x, kernel.reshape(1, -1, 1, 1), padding="same", data_format="channels_last")

    return blur(maps) / blur(np.ones((1, *maps.shape[1:]), np.float32))
