"""Fusing score components into one score and choosing its threshold, from held-out training images only.

    score = bias + sum_k weights_k * clip((c_k - center_k) / scale_k, clip_low, clip_high)

An image is abnormal if its score > threshold.

Held-out training images are as noisy as the training data: some "normal" ones may be abnormal. So centre and
scale are median and MAD, and scores far off the others are set aside before the threshold is read off
(`plausible`).

They are also few, and a threshold rests on the highest of them. So images that the networks trained on count
too. These score lower as a whole, but are spread in the same way: brought to the median of the held-out ones
(`as_held_out`) they say how far up normal images reach.
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence

import numpy as np

from semi_anogan.config import check_ranges, default
from semi_anogan.errors import ConfigError, RunError
from semi_anogan.scoring.drift import Usual
from semi_anogan.scoring.fusion import equal_weights, known_weights
from semi_anogan.scoring.robust import robust_spread
from semi_anogan.scoring.threshold import (
    Tail,
    false_alarm_interval,
    plausible,
    probably_normal,
    tail_threshold,
)

CLIP = 20.0  # in robust standard deviations: no single component may decide everything through one wild value
# Share of the known abnormal images that may score lower than what is set aside as probably mislabelled.
LOWEST_KNOWN = 0.05
NORMAL, LOOK, ABNORMAL = "normal", "look", "abnormal"  # labels
# What the calibration of an earlier run may not have.
OPTIONAL = {
    "false_alarm_interval",
    "pixel_threshold",
    "normal_scores",
    "normal_highest",
    "look_threshold",
    "usual",
}
ROBUST_Z_SUM = "robust_z_sum"
LOGISTIC_REGRESSION = "logistic_regression"


@dataclasses.dataclass(frozen=True)
class Calibration:
    """How K score components become one score and a threshold.

    Attributes:
      names: names of the K components, each higher = more abnormal.
      center, scale: median and 1.4826 MAD of the held-out normal images, as they are and in other light;
        scale > 0.
      weights: non-negative; 0 for a component that is not used.
      bias: added to the score.
      clip_low, clip_high: bounds of the standardised components.
      method: "robust_z_sum", or "logistic_regression" where known abnormal images moved the weights (the
        score is then a log-odds, up to shrinkage).
      threshold: an image is abnormal if score > threshold.
      false_alarm_rate: what the threshold was asked to give on normal images, in (0, 1).
      normals: number of normal images the threshold rests on, held out or not (without those set aside).
      set_aside: rows of the held-out normal images that the threshold does not rest on, as probably
        mislabelled.
      abnormals: number of held-out known abnormal images the weights were fitted with.
      warnings: sentences for the user.
      false_alarm_interval: (low, high) between which the false-alarm rate of new images lies with a
        probability of 90 %, as far as so few normal images can say; empty where that is not known.
      base: components that count, all the same, where no known abnormal image says otherwise.
      pixel_threshold: of the map; a normal image has a place above it with a probability of false_alarm_rate.
        None where that is not known.
      normal_scores: those that the threshold rests on, of `normals` images; empty where they are not kept.
        Of trained images they are as if held out (`as_held_out`). normal_highest: of the images that the
        pixel threshold rests on, the highest value of the map, likewise.
      look_threshold: an image that is not abnormal is to be looked at if its score is above; None: no image
        is.
      usual: what normal images are like as a whole; None where that is not kept.
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
    base: tuple[str, ...] = ()
    false_alarm_interval: tuple[float, ...] = ()
    pixel_threshold: float | None = None
    normal_scores: tuple[float, ...] = ()
    normal_highest: tuple[float, ...] = ()
    look_threshold: float | None = None
    usual: Usual | None = None
    map_center: tuple[float, ...] = ()
    map_scale: tuple[float, ...] = ()

    def score(self, components: np.ndarray) -> np.ndarray:
        """The fused score, float64 [N], of components [N, K]; ValueError names a value that is not finite."""
        standardised = _standardised(_checked(components, self.names), self.center, self.scale)
        return self.bias + np.clip(standardised, self.clip_low, self.clip_high) @ np.array(self.weights)

    def label(self, score: float) -> str:
        """ "abnormal", "look" or "normal"."""
        if score > self.threshold:
            return ABNORMAL
        return LOOK if self.look_threshold is not None and score > self.look_threshold else NORMAL

    def p_value(self, score: float) -> float | None:
        """The conformal p-value of an image (Vovk et al. 2005): how rarely a normal one scores so high.

        (1 + number of `normal_scores` that are as high or higher) / (1 + their number): never below
        1 / (n + 1). Scores that were set aside as probably mislabelled do not count. None where no scores
        are kept.
        """
        if not self.normal_scores:
            return None
        as_high = sum(other >= score for other in self.normal_scores)
        return (1 + as_high) / (1 + len(self.normal_scores))

    def at(
        self,
        threshold: float | None = None,
        false_alarm_rate: float | None = None,
        review_band: Sequence[float] | None = None,
    ) -> "Calibration":
        """The same with another threshold, given itself, or by one or two false-alarm rates in (0, 1).

        A rate gives the threshold that a training with it would have, to the bit, and the pixel threshold
        too. Where `normal_highest` is not kept, the pixel threshold stays; so it does with a threshold.

        Args: review_band: (low, high): an image is abnormal above the threshold of the lower rate, and to be
          looked at above that of the higher one.
        Raises: ConfigError for a value that cannot be, none or several of them; RunError for rates where no
          scores are kept.
        """
        if sum(value is not None for value in (threshold, false_alarm_rate, review_band)) != 1:
            raise ConfigError("give one of threshold, false_alarm_rate and review_band")
        if threshold is not None:
            check_threshold(threshold)
            rate = self.rate(threshold)
            values = {"threshold": float(threshold), "false_alarm_rate": math.nan if rate is None else rate}
            return dataclasses.replace(self, **values, false_alarm_interval=(), look_threshold=None)
        low, high = (false_alarm_rate, None) if review_band is None else check_band(review_band)
        check_rate(low)
        if len(self.normal_scores) < 2:
            raise RunError(
                "no scores of normal images are kept, from which a threshold for a false-alarm rate follows: "
                "export the run again; or delete detector.json in its folder and give its train command again"
            )
        scores, warnings = np.array(self.normal_scores), []
        values = {"threshold": tail_threshold(scores, low, warnings), "false_alarm_rate": float(low)}
        values["look_threshold"] = None if high is None else tail_threshold(scores, high, [])
        if self.pixel_threshold is not None and len(self.normal_highest) > 1:
            values["pixel_threshold"] = tail_threshold(np.array(self.normal_highest), low, [])
        if low != self.false_alarm_rate:
            values |= {"false_alarm_interval": (), "warnings": tuple(warnings)}
        return dataclasses.replace(self, **values)

    def rate(self, threshold: float) -> float | None:
        """The false-alarm rate that a threshold gives, as the scores kept say; None where there are none."""
        if len(self.normal_scores) < 2:
            return None
        scores = np.array(self.normal_scores)
        tail = Tail.fit(scores)
        above = (1 + np.count_nonzero(scores > threshold)) / (len(scores) + 1)
        return float(tail.rate(threshold) if threshold > tail.start else above)

    def pruned(self, kept: Sequence[str] = ()) -> "Calibration":
        """The same score without the components whose weight is 0, but with those that are to be `kept`.

        The map's statistics stay as they are.
        """
        used = [k for k, name in enumerate(self.names) if self.weights[k] or name in kept]
        values = {
            key: tuple(getattr(self, key)[k] for k in used) for key in ("names", "center", "scale", "weights")
        }
        return dataclasses.replace(self, **values)

    def to_dict(self) -> dict:
        """Plain JSON values, from which from_dict makes exactly the same, less the map's statistics."""
        values = dataclasses.asdict(self)
        del values["map_center"], values["map_scale"]
        values["usual"] = None if self.usual is None else self.usual.to_dict()
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    @classmethod
    def from_dict(cls, values: dict) -> "Calibration":
        """The inverse of to_dict; ValueError names missing and unknown keys.

        What came later may be missing: `OPTIONAL`.
        """
        fields = {field.name for field in dataclasses.fields(cls)} - {"map_center", "map_scale"}
        missing = sorted(fields - OPTIONAL - set(values))
        unknown = sorted(set(values) - fields)
        if missing or unknown:
            raise ValueError(f"calibration: missing keys {missing}, unknown keys {unknown}")
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        if values.get("usual") is not None:
            values["usual"] = Usual.from_dict(values["usual"])
        return cls(**values)


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """Training images that are held out, or the components [., K] of each.

    Weights and threshold rest on them.

    Attributes:
      normal: labelled normal; some may be mislabelled.
      abnormal: known abnormal images.
      synthetic: normal images with synthetic defects; see `tested`.
      relit: normal images as they may be in other light (data.relit). A component is judged by how these
        vary too: what light alone moves says less.
      known: where no abnormal image is held out, those that the likeness was fitted to, in its order. They
        weigh the components that did not train on them; of the likeness counts what the others' discriminant
        says of each.
      trained: normal images that the networks trained on, which help to set the threshold. trained_memory:
        of each its component `memory`, by the patches of all others; by default it is measured as in any
        image, though its own patches are remembered.
      checked: bool for each normal image, and then for each trained one, whether it is normal for certain:
        the threshold bears it, however high it scores. None is by default.
      tested: components that count in the base as far as they tell the synthetic images apart.
      mislabelled_share: of the images labelled normal how many are believed to be abnormal, in [0, 0.5). The
        threshold does not bear so many of the highest scores, `checked` ones apart.
    """

    normal: Iterable
    abnormal: Iterable = ()
    synthetic: Iterable = ()
    relit: Iterable = ()
    known: Iterable = ()
    checked: Sequence[bool] = ()
    tested: Sequence[str] = ()
    trained: Iterable = ()
    trained_memory: Sequence[float] = ()
    mislabelled_share: float = 0.0


def fit(
    names: Sequence[str],
    held_out: HeldOut,
    false_alarm_rate: float = default("calibration.false_alarm_rate"),
    base: Sequence[str] = (),
    ignored: Sequence[str] = (),
) -> Calibration:
    """Fits weights and threshold.

    Without known abnormal images the components of the base weigh the same and the others nothing. Known ones
    move the weights away from that, as far as their number allows (fusion.known_weights).

    Args:
      names: K component names.
      held_out: components [., K] of its images, at least 2 normal ones; `known` is not used.
      false_alarm_rate: share of normal images that may be labelled abnormal, in (0, 1).
      base: components that find defects which nobody has labelled. Where there is none of them, all are.
      ignored: components that the known images leave out, as they must what they trained.

    Raises: ValueError for a wrong shape or rate, or a component that is not finite (named with its row).
    """
    names = tuple(names)
    normal, abnormal, synthetic, relit = (
        _components(names, c)
        for c in (held_out.normal, held_out.abnormal, held_out.synthetic, held_out.relit)
    )
    if len(normal) < 2:
        raise ValueError(f"calibration needs at least 2 held-out normal images, got {len(normal)}")
    check_ranges(
        "calibration", false_alarm_rate=false_alarm_rate, mislabelled_share=held_out.mislabelled_share
    )
    warnings: list[str] = []
    center, scale = _center_and_scale(names, np.concatenate([normal, relit]), warnings)

    def standardised(components):
        return np.clip(_standardised(components, center, scale), -CLIP, CLIP)

    z_normal, z_abnormal = standardised(normal), standardised(abnormal)
    base = _base(names, base, held_out.tested, normal, synthetic)
    method, bias = ROBUST_Z_SUM, 0.0
    weights = equal_weights(len(names), [names.index(name) for name in base])
    if len(z_abnormal):
        used = [k for k, name in enumerate(names) if name not in ignored]
        moved, moved_bias = known_weights(z_normal, z_abnormal, weights, used)
        if moved.any():
            method, weights, bias = LOGISTIC_REGRESSION, moved, moved_bias
            unused = [n for n, w in zip(names, weights, strict=True) if w == 0 and n not in ignored]
            if unused:
                warnings.append(
                    "not used, since the others tell the known abnormal images apart as well without: "
                    + ", ".join(unused)
                )
        else:
            warnings.append(
                "no component is higher for the known abnormal images than for the normal ones; "
                "they were left out of the score"
            )

    found = Calibration(
        names=names,
        center=tuple(center.tolist()),
        scale=tuple(scale.tolist()),
        weights=tuple(weights.tolist()),
        bias=float(bias),
        clip_low=-CLIP,
        clip_high=CLIP,
        method=method,
        threshold=np.inf,
        false_alarm_rate=float(false_alarm_rate),
        normals=0,
        set_aside=(),
        abnormals=len(abnormal) if method == LOGISTIC_REGRESSION else 0,
        warnings=(),
        base=base,
    )
    # The threshold: of the scores that are those of normal images.
    scores, keep = _normal_scores(found, held_out)
    of_held_out = keep[: len(normal)]
    if not of_held_out.all():
        warnings.append(
            f"{np.count_nonzero(~of_held_out)} of {len(normal)} held-out normal images score as abnormal "
            f"ones do{_told_of(held_out)}; they were set aside as probably mislabelled when the threshold "
            "was chosen"
        )
    return dataclasses.replace(
        found,
        threshold=tail_threshold(scores[keep], false_alarm_rate, warnings),
        normal_scores=tuple(scores[keep].tolist()),
        normals=int(keep.sum()),
        set_aside=tuple(np.flatnonzero(~of_held_out).tolist()),
        warnings=tuple(warnings),
    )


def with_interval(found: Calibration, held_out: HeldOut) -> Calibration:
    """The same with its false_alarm_interval; held_out: the components that it was fitted to."""

    def choose(*rows):
        scores, keep = _normal_scores(found, held_out, *rows)
        return tail_threshold(scores[keep], found.false_alarm_rate, []), scores[keep]

    counts = len(held_out.normal), len(held_out.trained)
    interval = false_alarm_interval(choose, *(np.arange(count) for count in counts))
    return dataclasses.replace(found, false_alarm_interval=interval)


def with_pixel_threshold(found: Calibration, held_out: HeldOut, highest: np.ndarray) -> Calibration:
    """The same with its pixel_threshold, chosen as the threshold is, of the images that this rests on.

    The map of a trained image is as if its own patches were not remembered, once it is brought to the median
    of held-out ones (docs/experiments.md, "A pixel threshold from trained images too").

    Args: held_out: the components that it was fitted to; highest: [N], the highest value of the map of each
      held-out normal image, then of each trained one.
    """
    count = len(held_out.normal)
    _, keep = _normal_scores(found, held_out)
    of_held_out, of_trained = highest[:count][keep[:count]], highest[count : len(keep)][keep[count:]]
    if len(of_trained):
        of_trained = as_held_out(of_trained, of_held_out)
    highest = np.concatenate([of_held_out, of_trained])
    chosen = tail_threshold(highest, found.false_alarm_rate, [])
    return dataclasses.replace(found, pixel_threshold=chosen, normal_highest=tuple(map(float, highest)))


def with_normal_scores(found: Calibration, held_out: HeldOut) -> Calibration:
    """The same with its normal_scores, for one that was kept without; held_out: as for with_interval."""
    scores, keep = _normal_scores(found, held_out)
    return dataclasses.replace(found, normal_scores=tuple(scores[keep].tolist()))


def check_threshold(threshold: float):
    """ConfigError for a threshold that is not finite."""
    if not np.isfinite(threshold):
        raise ConfigError(f"threshold must be a finite number, got {threshold!r}")


def check_rate(rate: float):
    """ConfigError for a false-alarm rate out of (0, 1)."""
    if not 0 < rate < 1:
        raise ConfigError(f"false_alarm_rate must be in (0, 1), got {rate!r}")


def check_band(rates: Sequence[float]) -> tuple[float, float]:
    """The two rates of a review band; ConfigError where they are none."""
    if len(rates) != 2 or not 0 < rates[0] < rates[1] < 1:
        raise ConfigError(
            "review_band must be two false-alarm rates in (0, 1), the lower one first, such as 0.001,0.05; "
            f"got {','.join(map(str, rates))}"
        )
    return rates[0], rates[1]


def as_held_out(trained: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """Scores, or map values, of images that the networks trained on, brought to the median of held-out ones.

    They are also brought to their spread where it differs by more than chance, as that of components which
    tell the trained images from known abnormal ones does. To do so always would move the threshold as the
    spread of a few held-out images happens to be.
    """
    middle, aim = np.median(trained), np.median(held_out)
    spread, wanted = robust_spread(trained, middle), robust_spread(held_out, aim)
    if spread <= 0 or wanted <= 0:  # one of them says nothing of how scores are spread
        return np.zeros(0)
    # The logarithm of the median deviation of n normal variables has a variance of about 1.36 / n.
    deviation = np.sqrt(1.36 / len(trained) + 1.36 / len(held_out))
    times = wanted / spread if abs(np.log(wanted / spread)) > 2 * deviation else 1.0
    return aim + (trained - middle) * times


def _normal_scores(found: Calibration, held_out: HeldOut, normal=..., trained=...):
    """(scores [N] of the held-out normal images and, as if held out, of trained ones; which are kept).

    Args: found: without its threshold; normal, trained: rows of the images that count, all by default.
    """
    known = _components(found.names, held_out.abnormal)
    of_known = found.score(known) if found.method == LOGISTIC_REGRESSION else None
    scores, of_trained = (
        found.score(_components(found.names, c))[rows]
        for c, rows in ((held_out.normal, normal), (held_out.trained, trained))
    )
    checked = np.zeros(len(held_out.normal) + len(held_out.trained), bool)
    checked[np.flatnonzero(held_out.checked)] = True
    checked = [checked[: len(held_out.normal)][normal], checked[len(held_out.normal) :][trained]]
    if len(of_trained):
        of_trained = as_held_out(of_trained, scores)
    scores = np.concatenate([scores, of_trained])
    checked = np.concatenate(checked)[: len(scores)]
    keep = _kept(scores, plausible(scores), of_known, checked)
    keep[_highest(scores, ~checked, held_out.mislabelled_share)] = False
    return scores, keep


def _base(names, base, tested, normal, synthetic) -> tuple[str, ...]:
    """The base among the names, with what tells synthetic defects apart as well as one of it does.

    What was fitted to synthetic defects may know these alone: then it finds other kinds of them, which its
    training has not drawn, no better than what knows none.
    """
    found = [name for name in names if name in base]
    if found and len(synthetic) and len(normal):
        worth = {name: _auroc(normal[:, k], synthetic[:, k]) for k, name in enumerate(names)}
        least = min(worth[name] for name in found)
        found += [name for name in tested if name in names and name not in found and worth[name] >= least]
    return tuple(name for name in names if name in found) or tuple(names)


def _auroc(normal: np.ndarray, abnormal: np.ndarray) -> float:
    """How probably an abnormal value is the higher of two, ties half."""
    below = np.searchsorted(np.sort(normal), abnormal, side="left")
    ties = np.searchsorted(np.sort(normal), abnormal, side="right") - below
    return float((below + 0.5 * ties).mean() / len(normal))


def _kept(scores, keep, of_known, checked) -> np.ndarray:
    """Which scores the threshold is read off, bool [N]; of_known: known abnormal images' scores, or None."""
    if of_known is not None:
        keep = probably_normal(scores, of_known, keep) >= 0.5
        # An unusual normal image, far from the others but lower than known defects score, is one that the
        # threshold must bear.
        keep |= scores < np.quantile(of_known, LOWEST_KNOWN)
    keep[np.flatnonzero(checked)] = True
    return keep


def _told_of(held_out: HeldOut) -> str:
    share = held_out.mislabelled_share
    return f", or are among the highest {share:g} of all (calibration.mislabelled_share)" if share else ""


def _highest(scores: np.ndarray, among: np.ndarray, share: float) -> np.ndarray:
    """Rows of the highest `among` them: a share in [0, 0.5), rounded down so that some are left."""
    rows = np.flatnonzero(among)
    rows = rows[np.argsort(scores[rows], kind="stable")]
    return rows[len(rows) - int(share * len(rows) + 1e-9) :]


def _components(names: Sequence[str], components) -> np.ndarray:
    return _checked(components if len(components) else np.zeros((0, len(names))), names)


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
