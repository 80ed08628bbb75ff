"""How much each component counts: by its voices, but as far as known abnormal images say otherwise."""

from collections.abc import Sequence

import numpy as np

from semi_anogan.components import BY_NAME
from semi_anogan.scoring.threshold import plausible

# In standard deviations: what is farther off is certain, and says no more of how much a component is worth.
FIT_CLIP = 10.0
# Of the weights: a component of less is not worth its computation, least of all that of a search.
LEAST_SHARE = 0.025
# How firmly weights stay at what they are without known images, in known images: few move them little, many
# as far as they say. 1 is a normal distribution of deviation 1 around those weights.
FIRMNESS = 1.0
# Log-odds of being abnormal for each standard deviation of the mean of the components, without known images.
SLOPE = 1.0


def starting_weights(names: Sequence[str], chosen: Sequence[str]) -> np.ndarray:
    """Weights [K] that sum to 1, by the voices of the chosen components, and 0 of the others."""
    voices = [(BY_NAME[name].voices if name in BY_NAME else 1.0) * (name in chosen) for name in names]
    return np.array(voices) / sum(voices)


def known_weights(
    z_normal: np.ndarray, z_known: np.ndarray, start: np.ndarray, candidates: Sequence[int]
) -> tuple[np.ndarray, float]:
    """Weights [K] and bias of the log-odds of being abnormal, after known abnormal images.

    They are the most probable ones of a logistic regression whose weights are normally distributed around
    SLOPE times `start`, and not negative: components are built so that higher is more abnormal. Both kinds of
    images weigh the same. The second pass is without the normal images that look mislabelled to the first.

    Args: z_normal, z_known: [., K], standardised; start: [K], weights that sum to 1; candidates: the
      components that are used.
    """
    weights, bias, keep = SLOPE * start, 0.0, np.ones(len(z_normal), bool)
    for _ in range(2):
        weights, bias = _most_probable(z_normal[keep], z_known, SLOPE * start, candidates)
        small = weights < LEAST_SHARE * weights.sum()
        if (small & (weights > 0)).any():
            left = [k for k in candidates if not small[k]]
            weights, bias = _most_probable(z_normal[keep], z_known, SLOPE * start, left)
        keep = plausible(bias + z_normal @ weights)
    return weights, bias


def _most_probable(z_normal, z_known, start, candidates) -> tuple[np.ndarray, float]:
    from scipy.optimize import minimize

    z = np.clip(np.concatenate([z_normal, z_known]), -FIT_CLIP, FIT_CLIP)
    sign = np.where(np.arange(len(z)) < len(z_normal), -1.0, 1.0)
    importance = np.where(sign > 0, 1.0, len(z_known) / len(z_normal))

    def negative_log(values):
        weights, bias = values[:-1], values[-1]
        margin = sign * (z @ weights + bias)
        slope = -importance * sign * np.exp(-np.logaddexp(0.0, margin))  # of log(1 + exp(-margin))
        off = weights - start
        loss = importance @ np.logaddexp(0.0, -margin) + 0.5 * FIRMNESS * off @ off
        return loss, np.append(z.T @ slope + FIRMNESS * off, slope.sum())

    bounds = [(0.0, None if k in set(candidates) else 0.0) for k in range(len(start))] + [(None, None)]
    first = np.append(np.where([high is None for _, high in bounds[:-1]], start, 0.0), 0.0)
    found = minimize(negative_log, first, jac=True, bounds=bounds, method="L-BFGS-B").x
    return found[:-1], float(found[-1])
