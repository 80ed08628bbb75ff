"""Small models and detectors, made without any training."""

import numpy as np

from semi_anogan.scoring.base_detector import BaseDetector, Preparation
from semi_anogan.scoring.calibration import ROBUST_Z_SUM, Calibration


def tiny_model(**changes):
    """An untrained SemiAnoGAN of the smallest useful size; the same weights for the same seed."""
    import keras

    from semi_anogan.networks.model import SemiAnoGAN

    sizes = {
        "resolution": 8,
        "channels": 1,
        "latent_channels": 8,
        "filters_base": 64,
        "filters_cap": 8,
        "seed": 0,
    }
    sizes.update(changes)
    keras.utils.set_random_seed(sizes["seed"])
    return SemiAnoGAN(**sizes)


COMPONENTS = ("residual", "feature_distance", "discriminator", "patches")
# score = sum of the components' positive parts over 4; abnormal above 0.5.
CALIBRATION = Calibration(
    names=COMPONENTS,
    center=(0.0,) * 4,
    scale=(1.0,) * 4,
    weights=(0.25,) * 4,
    bias=0.0,
    clip_low=0.0,
    clip_high=20.0,
    method=ROBUST_Z_SUM,
    threshold=0.5,
    false_alarm_rate=0.1,
    normals=10,
    set_aside=(),
    abnormals=0,
    warnings=(),
)


class StandInDetector(BaseDetector):
    """A detector with functions of a batch [B, R, R, C] instead of networks and search; no smoothing.

    Args:
      layers: -> [B, R, R, 1], the map, by default the image's mean over its channels; also the difference.
      components: -> [B, 4], by default the layers' mean, four times.
    """

    names = COMPONENTS
    search = "stand-in"

    def __init__(
        self,
        layers=None,
        components=None,
        channels=1,
        resolution=8,
        batch_size=4,
        tile=False,
        map_sigma_px=0.0,
        calibration=CALIBRATION,
    ):
        preparation = Preparation(channels, (resolution,) * 2, (resolution,) * 2, tile)
        super().__init__(preparation, batch_size, map_sigma_px, calibration)
        self._layers = layers or (lambda x: x.mean(axis=-1, keepdims=True))
        self._components = components or (lambda x: np.repeat(self._layers(x).mean(axis=(1, 2)), 4, axis=1))

    def __call__(self, images):
        """Scores images as Detector does, but takes whatever `measure` takes."""
        from semi_anogan.scoring.detector import Detection

        scores, labels, maps = zip(*(self.judge(m) for m in self.measure(images)), strict=True)
        return Detection(np.array(scores, np.float32), np.array(labels), np.stack(maps))

    def _measure_batch(self, images):
        layers = self._layers(images)
        return self._components(images), layers, images, layers

    def _combined(self, layers):
        return layers[..., 0]
