"""Images mirrored and turned by right angles, exactly: no pixel is interpolated."""

from collections.abc import Callable

import numpy as np

# Each [H, W, C] -> [H, W, C]; a quarter turn of an image that is not square changes its shape.
ORIENTATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mirrored": lambda image: image[:, ::-1],
    "upside down": lambda image: image[::-1],
    "turned by a half": lambda image: image[::-1, ::-1],
    "turned by a quarter": lambda image: np.rot90(image),
}


def oriented(image: np.ndarray, name: str) -> np.ndarray:
    """An image [H, W, C] in one of ORIENTATIONS; in a quarter turn only if it is square, else as it is."""
    if name == "turned by a quarter" and image.shape[0] != image.shape[1]:
        return image
    return np.ascontiguousarray(ORIENTATIONS[name](image))
