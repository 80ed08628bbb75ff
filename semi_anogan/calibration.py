"""Fusing score components into one score and choosing its threshold, from held-out training images only.

    score = bias + sum_k weights_k * clip((c_k - center_k) / scale_k, clip_low, clip_high);  abnormal if > threshold

Held-out training images are as noisy as the training data: some "normal" ones may be abnormal. So centre and scale are
median and MAD, and scores far off the others are set aside before the threshold is read off (`plausible`).
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

CLIP = 20.0  # in robust standard deviations: no single component may decide everything through one wild value
FIT_CLIP = 5.0
TRUSTED = 0.75  # agreement with the anchor that a trusted component is taken to have at least (docs/choices.md, "No known defects")
ROBUST_Z_SUM, LOGISTIC_REGRESSION, SYNTHETIC_REGRESSION = "robust_z_sum", "logistic_regression", "synthetic_regression"


@dataclasses.dataclass(frozen=True)
class Calibration:
    """How K score components become one score and a threshold.

    Attributes:
      names: names of the K components, each higher = more abnormal.
      center, scale: median and 1.4826 MAD of the held-out normal images; scale > 0.
      weights: non-negative; 0 for a component that is not used.
      bias: added to the score.
      clip_low, clip_high: bounds of the standardised components.
      method: "robust_z_sum", or "logistic_regression" (the score is then a log-odds, up to shrinkage) on known abnormal images,
        or "synthetic_regression", the same on synthetic ones.
      threshold: an image is abnormal if score > threshold.
      false_alarm_rate: what the threshold was asked to give on normal images, in (0, 1).
      normals: number of held-out normal images the threshold rests on (without those set aside).
      trimmed: rows of the held-out normal images that were set aside as probably mislabelled.
      abnormals: number of held-out known abnormal images the weights were fitted with.
      warnings: sentences for the user.
      trusted: components that were known to find hidden defects when the weights were chosen.
    """

    names: tuple[str, ...]
    center: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float
    clip_low: float
    clip_high: float
    method: str
    threshold: float
    false_alarm_rate: float
    normals: int
    trimmed: tuple[int, ...]
    abnormals: int
    warnings: tuple[str, ...]
    trusted: tuple[str, ...] = ()

    def score(self, components: np.ndarray) -> np.ndarray:
        """The fused score, float64 [N], of components [N, K]; ValueError names a value that is not finite."""
        standardised = _standardised(_checked(components, self.names), self.center, self.scale)
        return self.bias + np.clip(standardised, self.clip_low, self.clip_high) @ np.array(self.weights)

    def pruned(self) -> "Calibration":
        """The same score without the components whose weight is 0."""
        used = np.flatnonzero(self.weights)
        kept = {key: tuple(getattr(self, key)[k] for k in used) for key in ("names", "center", "scale", "weights")}
        return dataclasses.replace(self, **kept)

    def to_dict(self) -> dict:
        """A dict of plain JSON values, exact: from_dict(json.loads(json.dumps(d))) is the same calibration."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict) -> "Calibration":
        """The inverse of to_dict; ValueError names missing and unknown keys. One of an earlier version trusts no component."""
        known = {field.name for field in dataclasses.fields(cls)}
        missing, unknown = sorted(known - set(values) - {"trusted"}), sorted(set(values) - known)
        if missing or unknown:
            raise ValueError(f"calibration: missing keys {missing}, unknown keys {unknown}")
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def fit(names: Sequence[str], normal: np.ndarray, abnormal: np.ndarray | None = None, false_alarm_rate: float = 0.01,
        min_abnormal: int = 8, synthetic: np.ndarray | None = None, groups: Sequence[int] | None = None,
        ignored: Sequence[str] = (), anchor: str = "", trusted: Sequence[str] = ()) -> Calibration:
    """Fits weights and threshold.

    The weights are those of a logistic regression against the known abnormal images, if there are at least min_abnormal,
    and the synthetic ones, if given; each source weighs the same. Without either, the score is a mean of the components'
    positive parts (clip_low = 0), in which each group of components weighs the same, or as the anchor says: in simulations with
    components of unequal value this lost up to 1 point of AUROC against the plain sum where all were equally good,
    and gained 1 to 13 points where some were useless or pointed the wrong way.

    Args:
      names: K component names.
      normal: [N, K] components of held-out training images labelled normal, N >= 2; some may be mislabelled.
      abnormal: [M, K] components of held-out known abnormal training images, or None.
      false_alarm_rate: share of normal images that may be labelled abnormal, in (0, 1).
      min_abnormal: fewest abnormal images for the logistic regression.
      synthetic: [S, K] components of held-out normal images with synthetic defects, or None.
      groups: K numbers, the same for components that rest on the same evidence; None: each is a group of its own.
      anchor: component that has seen neither known nor synthetic defects: where there is no regression, the others count as far as
        they agree with it (see `_agreeing`).
      trusted: components that are known to find hidden defects, however little they agree with the anchor.
      ignored: components that the regression leaves out, as it must where the abnormal images trained them.

    Raises:
      ValueError: a wrong shape or rate, or a component that is not finite (named with its row).
    """
    names = tuple(names)
    normal = _checked(normal, names)
    abnormal = _checked(np.zeros((0, len(names))) if abnormal is None else abnormal, names)
    if len(normal) < 2:
        raise ValueError(f"calibration needs at least 2 held-out normal images, got {len(normal)}")
    if not 0 < false_alarm_rate < 1:
        raise ValueError(f"false_alarm_rate must be in (0, 1), got {false_alarm_rate}")
    warnings: list[str] = []
    center, scale = _center_and_scale(names, normal, warnings)
    z_normal, z_abnormal = (np.clip(_standardised(c, center, scale), -CLIP, CLIP) for c in (normal, abnormal))
    sources, what = [], []
    if len(abnormal) >= max(min_abnormal, 1):
        sources, what = [z_abnormal], ["known"]
    if synthetic is not None and len(synthetic) >= max(min_abnormal, 1):
        sources.append(np.clip(_standardised(_checked(synthetic, names), center, scale), -CLIP, CLIP))
        what.append("synthetic")
    method = {(): ROBUST_Z_SUM, ("synthetic",): SYNTHETIC_REGRESSION}.get(tuple(what), LOGISTIC_REGRESSION)
    what = f"{' and '.join(what)} abnormal"
    if sources:
        used = [i for i, name in enumerate(names) if name not in ignored]
        weights, bias = _regression(z_normal, sources, used)
        if not weights.any():
            warnings.append(f"no component is higher for the {what} images than for the normal ones; "
                            "they were left out of the score")
            method = ROBUST_Z_SUM
        elif not weights.all():
            dropped = [name for name, weight in zip(names, weights) if weight == 0 and name not in ignored]
            if dropped:
                warnings.append(f"not used, since not higher for the {what} images: {', '.join(dropped)}")
    clip_low = -CLIP
    if method == ROBUST_Z_SUM:
        groups = range(len(names)) if groups is None else groups
        weights, bias = _shares(groups), 0.0
        if anchor in names:
            weights = _agreeing(z_normal, names.index(anchor), groups, [names.index(name) for name in trusted if name in names])
        # Several components: positive parts. A single one keeps its whole range, so that no scores are tied.
        clip_low = 0.0 if len(names) > 1 else -CLIP
    scores = bias + np.clip(z_normal, clip_low, CLIP) @ weights
    # Judged by the whole range of the components: a mean of positive parts is skewed, and its tail would be taken for mislabelled images.
    keep = plausible(bias + z_normal @ weights)
    if method == LOGISTIC_REGRESSION:
        keep = probably_normal(scores, bias + np.clip(z_abnormal, clip_low, CLIP) @ weights, keep) >= 0.5
    if not keep.all():
        warnings.append(f"{np.count_nonzero(~keep)} of {len(keep)} held-out normal images score as abnormal ones do; "
                        "they were set aside as probably mislabelled when the threshold was chosen")
    return Calibration(
        names, tuple(center.tolist()), tuple(scale.tolist()), tuple(weights.tolist()), float(bias), clip_low, CLIP,
        method, conformal_threshold(scores[keep], false_alarm_rate, warnings), float(false_alarm_rate),
        int(keep.sum()), tuple(np.flatnonzero(~keep).tolist()),
        len(abnormal) if method == LOGISTIC_REGRESSION else 0, tuple(warnings), tuple(trusted))


def conformal_threshold(scores: np.ndarray, false_alarm_rate: float, warnings: list[str]) -> float:
    """The k-th smallest of n scores, k = ceil((n + 1)(1 - rate)): split conformal prediction (Vovk et al. 2005).

    A new image drawn as the n were exceeds it with a probability of at most the rate, whatever the distribution. Where
    n is too small for the rate (k > n) it is the largest score, and a warning says so.
    """
    n = len(scores)
    k = int(np.ceil((n + 1) * (1 - false_alarm_rate) - 1e-9))  # the subtraction: 0.95 * 20 must give 19, not 20
    if k > n:
        warnings.append(f"{n} held-out normal images support no false-alarm rate below 1/{n + 1} = {1 / (n + 1):.2%} "
                        f"({false_alarm_rate:.2%} asked for); the threshold is their largest score")
    return float(np.sort(scores)[min(k, n) - 1])


def plausible(scores: np.ndarray, chance: float = 0.01, most: float = 0.3, fewest: int = 20) -> np.ndarray:
    """Which scores go with the bulk, bool [N]: everything above a gap too wide for the tail of the rest is left out.

    For n exponential variables the gap between the i-th and the next order statistic, times n - i, is again
    exponential with the same mean (Renyi 1953), and gaps are stochastically smaller in every distribution of
    increasing hazard rate (normal, logistic, gamma, Gumbel). So the widest such product among the gaps in the upper
    part, divided by the mean excess over the median (estimated from the i lower scores only, as in a test stopped
    after i failures), is compared with the value it exceeds with probability `chance`. It is repeated on what is left
    until no gap is too wide. A mislabelled image inside the tail of the normal ones leaves no gap and stays.

    Args:
      scores: [N].
      chance: probability of leaving anything out of clean exponential scores, about.
      most: largest share that may be left out; more than that is taken as a second kind of normal image.
      fewest: with fewer scores than this nothing is left out.
    """
    order = np.argsort(scores, kind="stable")
    s, n = np.asarray(scores, np.float64)[order], len(scores)
    lowest = int(np.ceil(n * (1 - most)))
    while n > lowest and len(s) >= fewest:
        i = np.arange(lowest, n)  # i scores below the gap, n - i above
        half = n // 2
        median = s[half - 1]
        excess = np.cumsum(s[:n] - median)[i - 1] - np.cumsum(s[:n] - median)[half - 1]
        mean_excess = (excess + (n - i) * (s[i - 1] - median)) / (i - half)
        product = (n - i) * (s[i] - s[i - 1])
        limit = mean_excess * np.log((n - lowest) / chance)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(product > 0, product / limit, 0.0)
        widest = int(np.argmax(ratio))
        if ratio[widest] <= 1:
            break
        n = int(i[widest])
    # Mislabelled images may also lie beyond the tail without leaving a gap. Median and 70 % quantile, which they hardly move,
    # give the spread; 4.5 of it above the median lie 3e-6 of a normal, 7e-4 of a logistic, 6e-3 of an exponential variable.
    while n > lowest and len(s) >= fewest:
        median, upper = np.quantile(s[:n], [0.5, 0.7])
        inside = int(np.searchsorted(s[:n], median + 4.5 * (upper - median) / 0.5244, side="right"))
        if inside == n:
            break
        n = max(inside, lowest)
    keep = np.zeros(len(s), bool)
    keep[order[:n]] = True
    return keep


def probably_normal(scores: np.ndarray, abnormal: np.ndarray, keep: np.ndarray, most: float = 0.3) -> np.ndarray:
    """Of each score the probability that it is a normal image's and not a hidden abnormal one's: [N] in [0, 1].

    Hidden abnormal images score like the known ones. So the scores are taken as a mixture of a logistic distribution, of median and
    spread of those kept, and the normal distribution of the known abnormal images, whose share alone is fitted by expectation-
    maximisation (Dempster et al. 1977). The logistic has a heavier tail than the normal distribution, which would take the upper tail of
    almost any real scores for abnormal images. Only where the known ones lie three spreads or more above the median, and the bulk
    of the scores is about symmetric (octile skewness at most 0.2): else the two kinds cannot be told apart, or the tail of a skewed
    distribution would be taken for abnormal images.

    Args:
      scores: [N] of held-out images labelled normal; abnormal: [M] of known abnormal images.
      keep: bool [N], the scores to start from; the others' probability is 0. most: largest share that can be hidden abnormal images.
    """
    low, middle, high = np.quantile(scores[keep], [0.125, 0.5, 0.875])
    spread = np.median(np.abs(scores[keep] - middle)) * 1.4826
    apart = abnormal.mean() - middle >= 3 * spread
    if spread <= 0 or not apart or high + low - 2 * middle > 0.2 * (high - low):
        return keep.astype(np.float64)
    scale = spread / 1.4826 / np.log(3)  # of a logistic distribution of this median absolute deviation
    distance = np.abs(scores - middle) / scale
    of_normal = -distance - 2 * np.log1p(np.exp(-distance)) - np.log(scale)
    deviation = abnormal.std() + 1e-3 * spread
    of_abnormal = -0.5 * ((scores - abnormal.mean()) / deviation) ** 2 - np.log(deviation) - 0.5 * np.log(2 * np.pi)
    order, share = np.argsort(scores, kind="stable"), 0.05
    hidden = np.zeros(len(scores))
    for _ in range(50):
        odds = of_abnormal + np.log(share) - of_normal - np.log1p(-share)
        hidden = np.where(scores > middle, 1 / (1 + np.exp(-np.clip(odds, -50, 50))), 0.0)
        hidden[order] = np.maximum.accumulate(hidden[order])  # a higher score is never the more probably normal
        share = np.clip(hidden.mean(), 1e-3, most)
    return np.where(keep, 1.0 - hidden, 0.0)


def _checked(components: np.ndarray, names: Sequence[str]) -> np.ndarray:
    components = np.asarray(components, np.float64)
    if components.ndim != 2 or components.shape[1] != len(names):
        raise ValueError(f"components have shape {components.shape}, expected [N, {len(names)}] for {list(names)}")
    bad = np.argwhere(~np.isfinite(components))
    if len(bad):
        row, column = bad[0].tolist()
        raise ValueError(f"component {names[column]!r} of row {row} is {components[row, column]}, expected finite")
    return components


def _standardised(components: np.ndarray, center: Sequence[float], scale: Sequence[float]) -> np.ndarray:
    return (components - np.array(center)) / np.array(scale)


def _center_and_scale(names: Sequence[str], normal: np.ndarray, warnings: list[str]) -> tuple[np.ndarray, np.ndarray]:
    center = np.median(normal, axis=0)
    scale = 1.4826 * np.median(np.abs(normal - center), axis=0)
    # A component that hardly varies: the floor keeps rounding noise (float32: 1e-7 of the value) far below one unit.
    floor = 1e-4 * np.abs(center) + 1e-6
    constant = [name for name, value, least in zip(names, scale, floor) if value < least]
    if constant:
        warnings.append(f"nearly constant over the held-out normal images: {', '.join(constant)}")
    return center, np.maximum(scale, floor)


def _shares(groups: Sequence[int]) -> np.ndarray:
    """Weights [K] that sum to 1: each group's are the same together, and within it."""
    _, inverse, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    return 1.0 / len(counts) / counts[inverse]


def _agreeing(z_normal: np.ndarray, anchor: int, groups: Sequence[int], trusted: Sequence[int] = ()) -> np.ndarray:
    """Weights [K] that sum to 1: each group's is its highest correlation with the anchor over the held-out normal images (the anchor's
    own group: 1; a trusted component's: at least TRUSTED), divided within it in proportion to the correlations. What is uncorrelated
    with the anchor, or less, has none.
    """
    groups, deviations = np.asarray(groups), z_normal.std(axis=0)
    centered = (z_normal - z_normal.mean(axis=0)) / np.maximum(deviations, 1e-12)
    agreement = np.maximum(centered.T @ centered[:, anchor] / len(z_normal), 0.0)
    agreement[list(trusted)] = np.maximum(agreement[list(trusted)], TRUSTED)
    agreement[anchor] = 1.0
    weights = np.zeros(len(groups))
    for group in set(groups.tolist()):
        mine = groups == group
        weights[mine] = agreement[mine].max() * agreement[mine] / max(agreement[mine].sum(), 1e-12)
    return weights / weights.sum()


def _regression(z_normal: np.ndarray, sources: Sequence[np.ndarray], candidates: Sequence[int]) -> tuple[np.ndarray, float]:
    """Non-negative logistic regression weights [K] and bias, on the components `candidates`; all 0 where none points the right way.

    Components are built so that higher is more abnormal. A negative weight says that a component is noise or corrects
    another one in this sample, so it is dropped and the rest refitted. C = 0.01 was the best of 0.01, 0.1 and 1 in
    simulations with 4 to 64 abnormal images: few images and correlated components want strong shrinkage. Values count up to
    FIT_CLIP only, so that the components with the longest tails do not take all the weight. The normal images weigh as much
    as the abnormal ones together, and of these each source (array [M, K]) the same. The second pass is without the normal images which look mislabelled to the first.
    """
    from sklearn.linear_model import LogisticRegression

    weights, bias, keep = np.zeros(z_normal.shape[1]), 0.0, np.ones(len(z_normal), bool)
    for _ in range(2):
        z = np.clip(np.concatenate([z_normal[keep], *sources]), -FIT_CLIP, FIT_CLIP)
        count = np.count_nonzero(keep)
        label = np.arange(len(z)) >= count
        of_each = [np.full(len(s), 0.5 * len(z) / len(sources) / len(s)) for s in sources]
        importance = np.concatenate([np.full(count, 0.5 * len(z) / count), *of_each])
        used = np.array(candidates, int)
        while len(used):
            model = LogisticRegression(C=0.01, max_iter=1000).fit(z[:, used], label, sample_weight=importance)
            if (model.coef_[0] > 0).all():
                break
            used = used[model.coef_[0] > 0]
        weights = np.zeros(z.shape[1])
        if not len(used):
            return weights, 0.0
        weights[used], bias = model.coef_[0], float(model.intercept_[0])
        keep = plausible(bias + z_normal @ weights)
    return weights, bias
