"""An image as it may be in other light."""

import numpy as np

# Brightness, contrast and gamma each change by a factor of up to exp(LIGHT), about a tenth, either way.
LIGHT = 0.1


def relit(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An image [H, W, C] in [-1, 1] with other brightness, contrast and gamma, each drawn at random.

    Of values v in [0, 1] with the mean m it makes clip(b (m + c (v - m)), 0, 1) ** g.
    """
    brightness, contrast, gamma = np.exp(rng.uniform(-LIGHT, LIGHT, 3))
    return in_light(image, brightness, contrast, gamma)


def in_light(image: np.ndarray, brightness: float, contrast: float, gamma: float) -> np.ndarray:
    """As `relit`, with the factors given: float32 [H, W, C] in [-1, 1]."""
    values = (np.asarray(image, np.float64) + 1) / 2
    mean = values.mean()
    changed = np.clip(brightness * (mean + contrast * (values - mean)), 0, 1) ** gamma
    return (2 * changed - 1).astype(np.float32)
