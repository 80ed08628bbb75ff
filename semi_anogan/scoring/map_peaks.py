"""What is kept of a normal image's map layers until their weights are known: where the map may be highest."""

import numpy as np

from semi_anogan.data.image_arrays import smooth_map

PLACES = 4096  # at most, of an image: all of 64 x 64. With 20 layers that is a third of a megabyte.


def highest_places(layers: np.ndarray, sigma_px: float, ignored: np.ndarray | None = None) -> np.ndarray:
    """The smoothed layers, float32 [P, S], at the P <= PLACES places of an image that count.

    A weighted mean of the layers may be smoothed before or after; with the edges of maps.combined the
    highest value is about the same (docs/experiments.md, "The segmentation as the edge of the map"). Of a map
    with more places those stay at which a layer, or the mean of all, is highest.

    Args: layers: float32 [h, w, S], as in Measurement; sigma_px: of the smoothing; ignored: bool [h, w],
      places that do not count, not all of them.
    """
    count = layers.shape[-1]
    smoothed = np.stack([smooth_map(layers[..., k], sigma_px).ravel() for k in range(count)], axis=-1)
    if ignored is not None:
        smoothed = smoothed[~ignored.ravel()]
    if len(smoothed) <= PLACES:
        return smoothed
    standardised = (smoothed - smoothed.mean(0)) / (smoothed.std(0) + 1e-6)
    each = PLACES // (count + 1)
    ranked = np.column_stack([standardised, standardised.mean(1)])
    return smoothed[np.unique(np.argpartition(ranked, -each, axis=0)[-each:])]
