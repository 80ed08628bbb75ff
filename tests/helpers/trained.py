"""Small models and detectors, made without any training."""

import numpy as np


def tiny_model(**changes):
    """An untrained SemiAnoGAN of the smallest useful size; the same weights for the same seed."""
    import keras

    from semi_anogan.networks.model import SemiAnoGAN

    sizes = {
        "resolution": 8,
        "channels": 1,
        "latent_size": 8,
        "filters_base": 64,
        "filters_cap": 8,
        "seed": 0,
    }
    sizes.update(changes)
    keras.utils.set_random_seed(sizes["seed"])
    return SemiAnoGAN(**sizes)


COMPONENTS = ("residual", "feature_distance", "discriminator", "latent_norm")  # without pretrained features


def stand_in_calibration(threshold: float = 0.5):
    """score = sum of the components' positive parts over 4."""
    from semi_anogan.scoring.calibration import ROBUST_Z_SUM, Calibration

    return Calibration(
        names=COMPONENTS,
        center=(0.0,) * 4,
        scale=(1.0,) * 4,
        weights=(0.25,) * 4,
        bias=0.0,
        clip_low=0.0,
        clip_high=20.0,
        method=ROBUST_Z_SUM,
        threshold=threshold,
        false_alarm_rate=0.1,
        normals=10,
        trimmed=(),
        abnormals=0,
        warnings=(),
    )


def stand_in_detector(layers=None, components=None, channels=1, resolution=8, batch_size=4, **settings):
    """A real Detector around stand-in functions of a batch [B, R, R, C] instead of networks and search.

    Map center 0, scale 1, no smoothing; calibrated as stand_in_calibration says.

    Args:
      layers: -> [B, R, R, 1], by default the image's mean over its channels; also the difference.
      components: -> [B, 4], by default four times the layers' mean.
    """
    import types

    from semi_anogan.scoring.detector import Detector

    detector = object.__new__(Detector)
    layers = layers or (lambda x: x.mean(axis=-1, keepdims=True))
    components = components or (lambda x: np.repeat(layers(x).mean(axis=(1, 2)), 4, axis=1))
    model = types.SimpleNamespace(
        generator=types.SimpleNamespace(resolutions=[2**k for k in range(2, resolution.bit_length())]),
        sizes={"resolution": resolution, "channels": channels},
        options={"features": {}},
        image_size=resolution,
        patches=None,
        projected=None,
        encoder=None,
    )
    detector.__dict__.update(
        model=model,
        resolution=resolution,
        channels=channels,
        tile=False,
        map_sigma_px=0.0,
        batch_size=batch_size,
        names=COMPONENTS,
        search=types.SimpleNamespace(pretrained=None),
        memory=None,
        likeness=None,
        _chosen=(),
        calibration=stand_in_calibration(),
        map_center=np.float32([0.0]),
        map_scale=np.float32([1.0]),
        _map_weights=lambda: np.float32([1.0]),
        _measure=lambda x: (components(x), layers(x), x, layers(x)),
    )
    detector.__dict__.update(settings)
    return detector
