"""Fusing score components into one score and choosing its threshold, from held-out training images only.

    score = bias + sum_k weights_k * clip((c_k - center_k) / scale_k, clip_low, clip_high);  abnormal if >
    threshold

Held-out training images are as noisy as the training data: some "normal" ones may be abnormal. So centre and
scale are
median and MAD, and scores far off the others are set aside before the threshold is read off (`plausible`).
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from semi_anogan.scoring.threshold import conformal_threshold, plausible, probably_normal

CLIP = 20.0  # in robust standard deviations: no single component may decide everything through one wild value
FIT_CLIP = 5.0
# of the regression's weights: a component of less is not worth its computation, least of all that of a search
LEAST_SHARE = 0.025
# share of the known abnormal images that may score lower than what is set aside as probably mislabelled
LOWEST_KNOWN = 0.05
# agreement with the anchor that a trusted component is taken to have at least (docs/experiments.md, "No known
# defects")
TRUSTED = 0.75
ROBUST_Z_SUM, LOGISTIC_REGRESSION, SYNTHETIC_REGRESSION = (
    "robust_z_sum",
    "logistic_regression",
    "synthetic_regression",
)


@dataclasses.dataclass(frozen=True)
class Calibration:
    """How K score components become one score and a threshold.

    Attributes:
      names: names of the K components, each higher = more abnormal.
      center, scale: median and 1.4826 MAD of the held-out normal images; scale > 0.
      weights: non-negative; 0 for a component that is not used.
      bias: added to the score.
      clip_low, clip_high: bounds of the standardised components.
      method: "robust_z_sum", or "logistic_regression" (the score is then a log-odds, up to shrinkage) on
        known abnormal images,
        or "synthetic_regression", the same on synthetic ones.
      threshold: an image is abnormal if score > threshold.
      false_alarm_rate: what the threshold was asked to give on normal images, in (0, 1).
      normals: number of held-out normal images the threshold rests on (without those set aside).
      trimmed: rows of the held-out normal images that were set aside as probably mislabelled.
      abnormals: number of held-out known abnormal images the weights were fitted with.
      warnings: sentences for the user.
      trusted: components that had learned from hidden defects, or from kinds that are expected, when the
        weights were chosen.
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
        kept = {
            key: tuple(getattr(self, key)[k] for k in used) for key in ("names", "center", "scale", "weights")
        }
        return dataclasses.replace(self, **kept)

    def to_dict(self) -> dict:
        """A dict of plain JSON values, exact: from_dict(json.loads(json.dumps(d))) is the same calibration."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict) -> "Calibration":
        """The inverse of to_dict; ValueError names missing and unknown keys. One of an earlier version trusts
        no component.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        missing, unknown = sorted(known - set(values) - {"trusted"}), sorted(set(values) - known)
        if missing or unknown:
            raise ValueError(f"calibration: missing keys {missing}, unknown keys {unknown}")
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def fit(
    names: Sequence[str],
    normal: np.ndarray,
    abnormal: np.ndarray | None = None,
    false_alarm_rate: float = 0.01,
    min_abnormal: int = 8,
    synthetic: np.ndarray | None = None,
    groups: Sequence[int] | None = None,
    ignored: Sequence[str] = (),
    anchor: str = "",
    trusted: Sequence[str] = (),
    checked: Sequence[bool] = (),
) -> Calibration:
    """Fits weights and threshold.

    The weights are those of a logistic regression against the known abnormal images, if there are at least
    min_abnormal,
    and the synthetic ones, if given; each source weighs the same. Without either, the score is a mean of the
    components'
    positive parts (clip_low = 0), in which each group of components weighs the same, or as the anchor says:
    in simulations with
    components of unequal value this lost up to 1 point of AUROC against the plain sum where all were equally
    good,
    and gained 1 to 13 points where some were useless or pointed the wrong way.

    Args:
      names: K component names.
      normal: [N, K] components of held-out training images labelled normal, N >= 2; some may be mislabelled.
      abnormal: [M, K] components of held-out known abnormal training images, or None.
      false_alarm_rate: share of normal images that may be labelled abnormal, in (0, 1).
      min_abnormal: fewest abnormal images for the logistic regression.
      synthetic: [S, K] components of held-out normal images with synthetic defects, or None.
      groups: K numbers, the same for components that rest on the same evidence; None: each is a group of its
        own.
      anchor: component that has seen neither known nor synthetic defects: where there is no regression, the
        others count as far as
        they agree with it (see `_agreeing`).
      trusted: components that have learned from hidden defects or from kinds that are expected, however
        little they agree with the anchor.
      checked: which of the normal images are so for certain: the threshold bears them, however high they
        score; none by default.
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
            warnings.append(
                f"no component is higher for the {what} images than for the normal ones; "
                "they were left out of the score"
            )
            method = ROBUST_Z_SUM
        elif not weights.all():
            dropped = [name for name, weight in zip(names, weights) if weight == 0 and name not in ignored]
            if dropped:
                warnings.append(
                    f"not used, since the others tell the {what} images apart as well without: {', '.join(dropped)}"
                )
    clip_low = -CLIP
    if method == ROBUST_Z_SUM:
        groups = range(len(names)) if groups is None else groups
        weights, bias = _shares(groups), 0.0
        if anchor in names:
            weights = _agreeing(
                z_normal,
                names.index(anchor),
                groups,
                [names.index(name) for name in trusted if name in names],
            )
        # Several components: positive parts. A single one keeps its whole range, so that no scores are tied.
        clip_low = 0.0 if len(names) > 1 else -CLIP
    scores = bias + np.clip(z_normal, clip_low, CLIP) @ weights
    # Judged by the whole range of the components: a mean of positive parts is skewed, and its tail would be
    # taken for mislabelled images.
    keep = plausible(bias + z_normal @ weights)
    if method == LOGISTIC_REGRESSION:
        of_known = bias + np.clip(z_abnormal, clip_low, CLIP) @ weights
        keep = probably_normal(scores, of_known, keep) >= 0.5
        # An unusual normal image, far from the others but lower than known defects score, is one that the
        # threshold must bear.
        keep |= scores < np.quantile(of_known, LOWEST_KNOWN)
    keep[np.flatnonzero(checked)] = True
    if not keep.all():
        warnings.append(
            f"{np.count_nonzero(~keep)} of {len(keep)} held-out normal images score as abnormal ones do; "
            "they were set aside as probably mislabelled when the threshold was chosen"
        )
    return Calibration(
        names,
        tuple(center.tolist()),
        tuple(scale.tolist()),
        tuple(weights.tolist()),
        float(bias),
        clip_low,
        CLIP,
        method,
        conformal_threshold(scores[keep], false_alarm_rate, warnings),
        float(false_alarm_rate),
        int(keep.sum()),
        tuple(np.flatnonzero(~keep).tolist()),
        len(abnormal) if method == LOGISTIC_REGRESSION else 0,
        tuple(warnings),
        tuple(trusted),
    )


def _checked(components: np.ndarray, names: Sequence[str]) -> np.ndarray:
    components = np.asarray(components, np.float64)
    if components.ndim != 2 or components.shape[1] != len(names):
        raise ValueError(
            f"components have shape {components.shape}, expected [N, {len(names)}] for {list(names)}"
        )
    bad = np.argwhere(~np.isfinite(components))
    if len(bad):
        row, column = bad[0].tolist()
        raise ValueError(
            f"component {names[column]!r} of row {row} is {components[row, column]}, expected finite"
        )
    return components


def _standardised(components: np.ndarray, center: Sequence[float], scale: Sequence[float]) -> np.ndarray:
    return (components - np.array(center)) / np.array(scale)


def _center_and_scale(
    names: Sequence[str], normal: np.ndarray, warnings: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    center = np.median(normal, axis=0)
    scale = 1.4826 * np.median(np.abs(normal - center), axis=0)
    # A component that hardly varies: the floor keeps rounding noise (float32: 1e-7 of the value) far below
    # one unit.
    floor = 1e-4 * np.abs(center) + 1e-6
    constant = [name for name, value, least in zip(names, scale, floor) if value < least]
    if constant:
        warnings.append(f"nearly constant over the held-out normal images: {', '.join(constant)}")
    return center, np.maximum(scale, floor)


def _shares(groups: Sequence[int]) -> np.ndarray:
    """Weights [K] that sum to 1: each group's are the same together, and within it."""
    _, inverse, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    return 1.0 / len(counts) / counts[inverse]


def _agreeing(
    z_normal: np.ndarray, anchor: int, groups: Sequence[int], trusted: Sequence[int] = ()
) -> np.ndarray:
    """Weights [K] that sum to 1: each group's is its highest correlation with the anchor over the held-out
    normal images (the anchor's
    own group: 1; a trusted component's: at least TRUSTED), divided within it in proportion to the
      correlations, among the trusted ones where
    it has some. What is uncorrelated with the anchor, or less, has none.
    """
    groups, deviations = np.asarray(groups), z_normal.std(axis=0)
    centered = (z_normal - z_normal.mean(axis=0)) / np.maximum(deviations, 1e-12)
    agreement = np.maximum(centered.T @ centered[:, anchor] / len(z_normal), 0.0)
    agreement[list(trusted)] = np.maximum(agreement[list(trusted)], TRUSTED)
    agreement[anchor] = 1.0
    weights = np.zeros(len(groups))
    for group in set(groups.tolist()):
        mine = groups == group
        chosen = mine & np.isin(np.arange(len(groups)), trusted)
        mine = chosen if chosen.any() else mine
        weights[mine] = agreement[mine].max() * agreement[mine] / max(agreement[mine].sum(), 1e-12)
    return weights / weights.sum()


def _regression(
    z_normal: np.ndarray, sources: Sequence[np.ndarray], candidates: Sequence[int]
) -> tuple[np.ndarray, float]:
    """Non-negative logistic regression weights [K] and bias, on the components `candidates`; all 0 where none
    points the right way.

    Components are built so that higher is more abnormal. A negative weight says that a component is noise or
    corrects another one in
    this sample, so it is dropped and the rest refitted; so are, once all are positive, those of less than
    LEAST_SHARE of the weights.
    C = 0.01 was the best of 0.01, 0.1 and 1 in simulations with 4 to 64 abnormal images: few images and
    correlated components want strong
    shrinkage. Values count up to FIT_CLIP only, so that the components with the longest tails do not take all
    the weight. The normal
    images weigh as much as the abnormal ones together, and of these each source (array [M, K]) the same. The
    second pass is without the
    normal images which look mislabelled to the first.
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
            coefficients = model.coef_[0]
            least = LEAST_SHARE * coefficients.sum() if (coefficients > 0).all() else 0.0
            if (coefficients > least).all():
                break
            used = used[coefficients > least]
        weights = np.zeros(z.shape[1])
        if not len(used):
            return weights, 0.0
        weights[used], bias = model.coef_[0], float(model.intercept_[0])
        keep = plausible(bias + z_normal @ weights)
    return weights, bias
