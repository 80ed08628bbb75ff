"""Semi-supervised AnoGAN for visual inspection (Kimura & Yanagihara 2018, arXiv 1807.01136).

The public names load on first use, so that `import semi_anogan` itself loads no TensorFlow, Keras or JAX.
"""

import importlib

__version__ = "0.2.0"

_PUBLIC = {
    "SemiAnoGAN": "semi_anogan.networks.model",
    "Detector": "semi_anogan.scoring.detector",
    "Detection": "semi_anogan.scoring.detector",
    "HeldOut": "semi_anogan.scoring.fit_calibration",
    "LatentSearch": "semi_anogan.networks.latent_search",
    "Generator": "semi_anogan.networks.gan",
    "Discriminator": "semi_anogan.networks.gan",
    "Schedule": "semi_anogan.networks.schedule",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'semi_anogan' has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted([*globals(), *__all__])
