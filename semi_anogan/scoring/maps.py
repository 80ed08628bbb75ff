"""Score components and anomaly maps, in keras.ops. A component depends on its own image only."""

import numpy as np
from keras import ops

from semi_anogan.data.image_arrays import gaussian
from semi_anogan.networks import losses
from semi_anogan.networks.layers import reduced

# Share of the places of a feature residual map that count, its highest: a defect is somewhere, but one place
# alone says little (docs/experiments.md, "The feature residual of the worst places").
FEATURE_SHARE = 0.15

# Of the map: what is left of it where the segmentation finds nothing, and from how many standard deviations
# of a normal place on it finds something (docs/experiments.md, "The segmentation as the edge of the map").
FAINT, EDGE = 0.25, 2.0


def of_search(images, reconstructions, features, reconstruction_features):
    """The components of the search by name, each [N], and their map layers, lists of [N, h, w, 1].

    The layers are |x - G(z*)| (Schlegl et al. 2017, section 2.3) and for each scale the difference of the
    discriminator's features, averaged over its channels.
    """
    values = {
        "residual": losses.residual(images, reconstructions),
        "feature_distance": losses.feature_distance(features, reconstruction_features),
    }
    pairs = zip([images, *features], [reconstructions, *reconstruction_features], strict=True)
    differences = [ops.mean(ops.abs(a - b), axis=-1, keepdims=True) for a, b in pairs]
    return values, {"residual": differences[:1], "feature_distance": differences[1:]}


def of_feature_residual(features, drawn, scales):
    """The component `feature_residual` [N], and its map layers, list of [N, h, w, 1].

    Args: features: the standardised pretrained features, list of [N, h, w, C]; drawn: those of the latents;
      scales: [S], the mean feature residual of normal images on each of the S scales, so that all count
      alike: fine ones are drawn worse.
    """
    found = losses.feature_residual_maps(features, drawn)
    layers = [m / (scales[i] + 1e-6) for i, m in enumerate(found)]
    return sum(losses.top_mean(m, FEATURE_SHARE) for m in layers) / len(layers), layers


def to_size(layer, shape: tuple[int, int]):
    """A map [N, h, w, 1] at another size: halved, or interpolated between the centres of its patches."""
    if layer.shape[1] >= shape[0] and layer.shape[2] >= shape[1]:
        return reduced(layer, min(shape))
    return ops.image.resize(layer, shape, interpolation="bilinear", data_format="channels_last")


def combined(layers, center, scale, weights, edges=None, xp=ops):
    """The map of its layers: [..., S] -> [...].

        map = mean * (FAINT + (1 - FAINT) * sigmoid(segmentation - EDGE))

    The mean is that of the standardised layers, weighted. What looks at wide patches says how abnormal a
    place is, the segmentation where the defect ends: it has the finest features.

    Args: weights: float32 [S], of the mean; edges: likewise, of the segmentation; None: the mean alone.
      xp: keras.ops or numpy.
    """
    standardised = (layers - center) / scale
    mean = xp.sum(standardised * weights, axis=-1)
    if edges is None:
        return mean
    beyond = xp.sum(standardised * edges, axis=-1) - EDGE
    sure = 0.5 + 0.5 * xp.tanh(0.5 * beyond)  # the sigmoid, which no value is too large for
    return mean * (FAINT + (1.0 - FAINT) * sure)


def smooth(maps, sigma_px: float):
    """Gaussian smoothing of [N, H, W, 1]; only pixels inside the image count (as images.smooth_map)."""
    if sigma_px <= 0:
        return maps
    kernel = gaussian(sigma_px)

    def blur(x):
        x = ops.conv(x, kernel.reshape(-1, 1, 1, 1), padding="same", data_format="channels_last")
        return ops.conv(x, kernel.reshape(1, -1, 1, 1), padding="same", data_format="channels_last")

    return blur(maps) / blur(np.ones((1, *maps.shape[1:]), np.float32))
