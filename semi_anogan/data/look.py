"""How an image looks as a whole: light, focus, and a small picture of it. numpy and Pillow only."""

from typing import NamedTuple

import numpy as np

SAMPLED = 256  # about so many rows and columns give brightness and contrast
CROP = 512  # side of the middle part that gives the sharpness
SIDE = 16  # of the small picture


class Look(NamedTuple):
    """Figures of an image.

    Attributes:
      brightness: mean of the grey values, 0 black to 1 white. contrast: their standard deviation.
      sharpness: mean step between neighbouring pixels, over the contrast: of a blurred image it is low.
      picture: float32 [SIDE, SIDE], the image made small, with mean 0 and, but of a plain image, spread 1.
    """

    brightness: float
    contrast: float
    sharpness: float
    picture: np.ndarray


def look(image: np.ndarray) -> Look:
    """The look of an image, float [H, W, C] in [-1, 1]."""
    from semi_anogan.data import image_arrays  # Pillow, which who only reads a calibration does without

    step = max(1, min(image.shape[:2]) // SAMPLED)
    values = (image_arrays.to_channels(image[::step, ::step], 1)[..., 0] + 1) / 2
    brightness, contrast = light(values)
    sharp = sharpness(image_arrays.to_channels(middle(image), 1)[..., 0], 1.0)
    return Look(brightness, contrast, sharp, small_picture(values))


def small_picture(values: np.ndarray) -> np.ndarray:
    """Look.picture of grey values [H, W] in [0, 1]."""
    from semi_anogan.data import image_arrays

    small = image_arrays.resize(values[..., None], SIDE, SIDE)[..., 0]
    return (small - small.mean()) / max(float(small.std()), 0.01)


def light(values: np.ndarray) -> tuple[float, float]:
    """(brightness, contrast) of grey values [H, W] in [0, 1]."""
    return float(values.mean()), float(values.std())


def sharpness(values: np.ndarray, unit: float) -> float:
    """The sharpness of grey values [H, W], whose range is twice `unit`; 0 of a plain image."""
    steps = np.abs(np.diff(values, axis=0)).mean() + np.abs(np.diff(values, axis=1)).mean()
    spread = float(values.std(dtype=np.float32))
    return float(steps / 2 / spread) if spread > 1e-4 * unit else 0.0


def middle(values: np.ndarray) -> np.ndarray:
    """The middle part of an image [H, W, ...], of CROP pixels at most."""
    height, width = values.shape[:2]
    top, left = max(0, (height - CROP) // 2), max(0, (width - CROP) // 2)
    return values[top : top + CROP, left : left + CROP]
