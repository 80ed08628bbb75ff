"""The figures of each kind of defect, with intervals that say how little a few images tell."""

from collections.abc import Sequence

import numpy as np

from semi_anogan.evaluation.metrics import PixelMetrics, image_metrics, ordered_keys
from semi_anogan.scoring.regions import connected

CONFIDENCE = 0.9  # of all intervals, as of the threshold's
RESAMPLES = 1000
# Fewer images than this, or images that all say the same, would make a bootstrap's interval too narrow.
LEAST_RESAMPLED = 10
_Z = 1.6448536269514722  # normal quantile of CONFIDENCE, two sides


class RegionOverlaps:
    """What each connected defect of each image brings to the AUPRO: it is the mean of these values."""

    def __init__(self):
        self._found: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}

    def update(self, index: int, anomaly_map: np.ndarray, mask: np.ndarray):
        """Adds image `index`; anomaly_map, mask: as PixelMetrics.update has checked them."""
        if mask.any():
            labels, count = connected(mask)
            keys = ordered_keys(anomaly_map)
            self._found[index] = [
                np.unique(keys[labels == number], return_counts=True) for number in range(1, count + 1)
            ]

    def areas(self, pixels: PixelMetrics) -> dict[int, np.ndarray]:
        """Index of an image -> the values of its defects, in [0, 1]; pixels: of the same images."""
        of_key = pixels.areas_of_keys()
        return {
            index: np.array([(of_key[keys] * counts).sum() / counts.sum() for keys, counts in regions])
            for index, regions in self._found.items()
        }


def figures(
    kinds: Sequence[str | None],
    abnormal: np.ndarray,
    scores: np.ndarray,
    threshold: float,
    areas: dict[int, np.ndarray] | None = None,
) -> dict[str, dict]:
    """Kind of defect -> its figures, in the order of the kinds' names.

    Args: kinds: of each test image its kind of defect, None of normal images and where it is not known;
      abnormal, scores: [N], as in image_metrics; areas: as RegionOverlaps gives them, None without masks.

    Returns: of each kind `count`, `image_recall`, `image_auroc` (against all normal images), `pixel_aupro`
      where there are masks, and for each its interval, [low, high], after "_interval"; None where it cannot
      be had.
    """
    scores, found = np.asarray(scores, np.float64), {}
    abnormal = np.asarray(abnormal, bool)
    normal = scores[~abnormal]
    for kind in sorted({kind for kind in kinds if kind is not None}):
        members = np.array([k == kind for k in kinds]) & abnormal
        own = scores[members]
        if not len(own):
            continue
        hits = int((own > threshold).sum())
        values = {
            "count": len(own),
            "image_recall": hits / len(own),
            "image_recall_interval": wilson(hits / len(own), len(own)),
            "image_auroc": None,
            "image_auroc_interval": None,
        }
        if len(normal):
            truth = np.repeat([True, False], [len(own), len(normal)])
            auroc = image_metrics(truth, np.concatenate([own, normal]))["image_auroc"]
            values |= {"image_auroc": auroc, "image_auroc_interval": auroc_interval(own, normal)}
        if areas is not None:
            masked = [areas[i] for i in np.flatnonzero(members) if i in areas]
            values["pixel_aupro"] = float(np.concatenate(masked).mean()) if masked else None
            values["pixel_aupro_interval"] = mean_interval(masked) if masked else None
        found[kind] = values
    return found


def wilson(share: float, count: int) -> list[float]:
    """Wilson's interval (1927) of a share that was found among `count`."""
    centre = share + _Z**2 / (2 * count)
    half = _Z * np.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    scale = 1 + _Z**2 / count
    return [float(max(0.0, (centre - half) / scale)), float(min(1.0, (centre + half) / scale))]


def auroc_interval(abnormal: np.ndarray, normal: np.ndarray, seed: int = 0) -> list[float]:
    """Interval of the AUROC of two groups of scores: by bootstrap of both, of few images by `wilson`.

    An AUROC is the mean over the abnormal images of the share of normal ones below; a mean of values in
    [0, 1] varies at most as a share does.
    """
    normal = np.sort(normal)
    low, high = np.searchsorted(normal, abnormal, "left"), np.searchsorted(normal, abnormal, "right")
    places = (low + high) / (2 * len(normal))
    if _too_few(places):
        return wilson(float(places.mean()), len(places))
    rng, found = np.random.default_rng(seed), []
    for _ in range(RESAMPLES):
        drawn = np.bincount(rng.integers(len(normal), size=len(normal)), minlength=len(normal))
        below = np.concatenate([[0], np.cumsum(drawn)])
        places = (below[low] + below[high]) / (2 * len(normal))
        found.append(places[rng.integers(len(places), size=len(places))].mean())
    return _ends(found)


def mean_interval(groups: Sequence[np.ndarray], seed: int = 0) -> list[float]:
    """Interval of the mean of values in [0, 1] that come in groups, of an image each, by bootstrap of these.

    Of few images it is by `wilson`.
    """
    sums, counts = np.array([g.sum() for g in groups]), np.array([len(g) for g in groups])
    if _too_few(sums / counts):
        return wilson(float(np.clip(sums.sum() / counts.sum(), 0, 1)), len(groups))
    rng = np.random.default_rng(seed)
    chosen = rng.integers(len(groups), size=(RESAMPLES, len(groups)))
    return _ends(sums[chosen].sum(axis=1) / counts[chosen].sum(axis=1))


def _too_few(values: np.ndarray) -> bool:
    return len(values) < LEAST_RESAMPLED or bool(np.ptp(values) == 0)


def _ends(values) -> list[float]:
    tail = (1 - CONFIDENCE) / 2
    return [float(end) for end in np.quantile(values, [tail, 1 - tail])]
