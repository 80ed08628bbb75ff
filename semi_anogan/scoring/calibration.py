"""Fusing score components into one score and choosing its threshold, from held-out training images only.

    score = bias + sum_k weights_k * clip((c_k - center_k) / scale_k, clip_low, clip_high)

An image is abnormal if its score > threshold.

Held-out training images are as noisy as the training data: some "normal" ones may be abnormal. So centre and
scale are median and MAD, and scores far off the others are set aside before the threshold is read off
(`plausible`).
"""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from semi_anogan.config import check_ranges, default
from semi_anogan.scoring.fusion import agreement_weights, group_shares, regression_weights
from semi_anogan.scoring.robust import robust_spread
from semi_anogan.scoring.threshold import conformal_threshold, plausible, probably_normal

CLIP = 20.0  # in robust standard deviations: no single component may decide everything through one wild value
# Share of the known abnormal images that may score lower than what is set aside as probably mislabelled.
LOWEST_KNOWN = 0.05
ROBUST_Z_SUM = "robust_z_sum"
LOGISTIC_REGRESSION = "logistic_regression"
SYNTHETIC_REGRESSION = "synthetic_regression"


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
        known abnormal images, or "synthetic_regression", the same on synthetic ones.
      threshold: an image is abnormal if score > threshold.
      false_alarm_rate: what the threshold was asked to give on normal images, in (0, 1).
      normals: number of held-out normal images the threshold rests on (without those set aside).
      set_aside: rows of the held-out normal images that the threshold does not rest on, as probably
        mislabelled.
      abnormals: number of held-out known abnormal images the weights were fitted with.
      warnings: sentences for the user.
      trusted: components that had learned from hidden defects, or from kinds that are expected, when the
        weights were chosen.
      map_center, map_scale: median over the held-out normal images of each map layer's mean and standard
        deviation; empty where maps are not judged by them (in a bundle they are part of the exported graph).
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
    set_aside: tuple[int, ...]
    abnormals: int
    warnings: tuple[str, ...]
    trusted: tuple[str, ...] = ()
    map_center: tuple[float, ...] = ()
    map_scale: tuple[float, ...] = ()

    def score(self, components: np.ndarray) -> np.ndarray:
        """The fused score, float64 [N], of components [N, K]; ValueError names a value that is not finite."""
        standardised = _standardised(_checked(components, self.names), self.center, self.scale)
        return self.bias + np.clip(standardised, self.clip_low, self.clip_high) @ np.array(self.weights)

    def pruned(self) -> "Calibration":
        """The same score without the components whose weight is 0; the map's statistics stay as they are."""
        used = np.flatnonzero(self.weights)
        kept = {
            key: tuple(getattr(self, key)[k] for k in used) for key in ("names", "center", "scale", "weights")
        }
        return dataclasses.replace(self, **kept)

    def to_dict(self) -> dict:
        """Plain JSON values, from which from_dict makes exactly the same, less the map's statistics."""
        values = dataclasses.asdict(self)
        del values["map_center"], values["map_scale"]
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    @classmethod
    def from_dict(cls, values: dict) -> "Calibration":
        """The inverse of to_dict; ValueError names missing and unknown keys."""
        fields = {field.name for field in dataclasses.fields(cls)} - {"map_center", "map_scale"}
        missing, unknown = sorted(fields - set(values)), sorted(set(values) - fields)
        if missing or unknown:
            raise ValueError(f"calibration: missing keys {missing}, unknown keys {unknown}")
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """Training images that are held out, or the components [., K] of each.

    Weights and threshold rest on them.

    Attributes:
      normal: labelled normal; some may be mislabelled.
      abnormal: known abnormal images.
      synthetic: normal images with synthetic defects, which weigh the components beside the abnormal ones.
      known: where no abnormal image is held out, those that the likeness was fitted to, in its order. They
        weigh the components that did not train on them; of the likeness counts what the others' discriminant
        says of each.
      checked: bool for each normal image, whether it is normal for certain: the threshold bears it, however
        high it scores. None is by default.
    """

    normal: Iterable
    abnormal: Iterable = ()
    synthetic: Iterable = ()
    known: Iterable = ()
    checked: Sequence[bool] = ()


def fit(
    names: Sequence[str],
    held_out: HeldOut,
    false_alarm_rate: float = default("calibration.false_alarm_rate"),
    min_abnormal: int = 8,
    groups: Sequence | None = None,
    ignored: Sequence[str] = (),
    anchor: str = "",
    trusted: Sequence[str] = (),
) -> Calibration:
    """Fits weights and threshold.

    The weights are those of a logistic regression against the known abnormal images, if there are at least
    min_abnormal, and the synthetic ones, if given; each source weighs the same. Without either, the score is
    a mean of the components' positive parts (clip_low = 0), in which each group of components weighs the
    same, or as the anchor says. In simulations with components of unequal value this lost up to 1 point of
    AUROC against the plain sum where all were equally good, and gained 1 to 13 points where some were useless
    or pointed the wrong way.

    Args:
      names: K component names.
      held_out: components [., K] of its images, at least 2 normal ones; `known` is not used.
      false_alarm_rate: share of normal images that may be labelled abnormal, in (0, 1).
      min_abnormal: fewest abnormal images for the logistic regression.
      groups: K values, the same for components that rest on the same evidence; None: each is a group of its
        own.
      ignored: components that the regression leaves out, as it must where the abnormal images trained them.
      anchor: component that has seen neither known nor synthetic defects: where there is no regression, the
        others count as far as they agree with it (fusion.agreement_weights).
      trusted: components that have learned from hidden defects or from kinds that are expected, however
        little they agree with the anchor.

    Raises: ValueError for a wrong shape or rate, or a component that is not finite (named with its row).
    """
    names = tuple(names)
    normal, abnormal, synthetic = (
        _checked(c if len(c) else np.zeros((0, len(names))), names)
        for c in (held_out.normal, held_out.abnormal, held_out.synthetic)
    )
    if len(normal) < 2:
        raise ValueError(f"calibration needs at least 2 held-out normal images, got {len(normal)}")
    check_ranges("calibration", false_alarm_rate=false_alarm_rate)
    warnings: list[str] = []
    center, scale = _center_and_scale(names, normal, warnings)

    def standardised(components):
        return np.clip(_standardised(components, center, scale), -CLIP, CLIP)

    # The weights: by regression where there are abnormal images to tell apart, else by groups.
    z_normal, z_abnormal = standardised(normal), standardised(abnormal)
    sources = {"known": z_abnormal, "synthetic": standardised(synthetic)}
    sources = {what: z for what, z in sources.items() if len(z) >= max(min_abnormal, 1)}
    method, weights, bias = _by_regression(names, z_normal, sources, ignored, warnings)
    clip_low = -CLIP
    if method == ROBUST_Z_SUM:
        weights, bias = _by_groups(names, z_normal, groups, anchor, trusted), 0.0
        # Several components: positive parts. A single one keeps its whole range, so that no scores are tied.
        clip_low = 0.0 if len(names) > 1 else -CLIP

    # The threshold: of the scores that are those of normal images.
    scores = bias + np.clip(z_normal, clip_low, CLIP) @ weights
    of_known = bias + np.clip(z_abnormal, clip_low, CLIP) @ weights if method == LOGISTIC_REGRESSION else None
    # Judged by the whole range of the components: a mean of positive parts is skewed, and its tail would be
    # taken for mislabelled images.
    keep = _kept(scores, plausible(bias + z_normal @ weights), of_known, held_out.checked)
    if not keep.all():
        warnings.append(
            f"{np.count_nonzero(~keep)} of {len(keep)} held-out normal images score as abnormal ones do; "
            "they were set aside as probably mislabelled when the threshold was chosen"
        )
    return Calibration(
        names=names,
        center=tuple(center.tolist()),
        scale=tuple(scale.tolist()),
        weights=tuple(weights.tolist()),
        bias=float(bias),
        clip_low=clip_low,
        clip_high=CLIP,
        method=method,
        threshold=conformal_threshold(scores[keep], false_alarm_rate, warnings),
        false_alarm_rate=float(false_alarm_rate),
        normals=int(keep.sum()),
        set_aside=tuple(np.flatnonzero(~keep).tolist()),
        abnormals=len(abnormal) if method == LOGISTIC_REGRESSION else 0,
        warnings=tuple(warnings),
        trusted=tuple(trusted),
    )


def _by_regression(names, z_normal, sources: dict, ignored, warnings) -> tuple[str, np.ndarray | None, float]:
    """(method, weights, bias) against the sources by name; ROBUST_Z_SUM where that fails."""
    if not sources:
        return ROBUST_Z_SUM, None, 0.0
    what = f"{' and '.join(sources)} abnormal"
    used = [i for i, name in enumerate(names) if name not in ignored]
    weights, bias = regression_weights(z_normal, list(sources.values()), used)
    if not weights.any():
        warnings.append(
            f"no component is higher for the {what} images than for the normal ones; "
            "they were left out of the score"
        )
        return ROBUST_Z_SUM, None, 0.0
    dropped = [n for n, weight in zip(names, weights, strict=True) if weight == 0 and n not in ignored]
    if dropped:
        warnings.append(
            f"not used, since the others tell the {what} images apart as well without: {', '.join(dropped)}"
        )
    return (LOGISTIC_REGRESSION if "known" in sources else SYNTHETIC_REGRESSION), weights, bias


def _by_groups(names, z_normal, groups, anchor, trusted) -> np.ndarray:
    """Weights where there is no regression: as the anchor says, or of each group the same."""
    groups = range(len(names)) if groups is None else groups
    if anchor not in names:
        return group_shares(groups)
    trusted = [names.index(name) for name in trusted if name in names]
    return agreement_weights(z_normal, names.index(anchor), groups, trusted)


def _kept(scores, keep, of_known, checked) -> np.ndarray:
    """Which scores the threshold is read off, bool [N]; of_known: known abnormal images' scores, or None."""
    if of_known is not None:
        keep = probably_normal(scores, of_known, keep) >= 0.5
        # An unusual normal image, far from the others but lower than known defects score, is one that the
        # threshold must bear.
        keep |= scores < np.quantile(of_known, LOWEST_KNOWN)
    keep[np.flatnonzero(checked)] = True
    return keep


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
    scale = robust_spread(normal, center, axis=0)
    # A component that hardly varies: the floor keeps rounding noise (float32: 1e-7 of the value) far below
    # one unit.
    floor = 1e-4 * np.abs(center) + 1e-6
    constant = [name for name, value, least in zip(names, scale, floor, strict=True) if value < least]
    if constant:
        warnings.append(f"nearly constant over the held-out normal images: {', '.join(constant)}")
    return center, np.maximum(scale, floor)
