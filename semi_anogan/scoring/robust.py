"""Statistics that a few wild values hardly move."""

import numpy as np


def robust_spread(values: np.ndarray, center, axis: int | None = None):
    """1.4826 times the median absolute deviation from `center`: about a standard deviation."""
    return 1.4826 * np.median(np.abs(values - center), axis=axis)


def robust_z(values) -> np.ndarray:
    """Each value's distance from the median in robust standard deviations: float64 [N]."""
    values = np.asarray(values, np.float64)
    median = np.median(values)
    return (values - median) / (robust_spread(values, median) + 1e-6)
