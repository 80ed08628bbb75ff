"""Fits a calibration: fuses score components into one score and chooses its threshold, from held-out images.

Held-out training images are as noisy as the training data: some "normal" ones may be abnormal. So centre and
scale are median and MAD, and scores far off the others are set aside before the threshold is read off
(`plausible`).

They are also few, and a threshold rests on the highest of them. So images that the networks trained on count
too. These score lower as a whole, but are spread in the same way: brought to the median of the held-out ones
(`as_held_out`) they say how far up normal images reach.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from semi_anogan.config import check_ranges, default
from semi_anogan.scoring.calibration import (
    LOGISTIC_REGRESSION,
    ROBUST_Z_SUM,
    Calibration,
    checked_components,
    standardised,
)
from semi_anogan.scoring.fusion import known_weights, starting_weights
from semi_anogan.scoring.robust import robust_spread
from semi_anogan.scoring.threshold import false_alarm_interval, plausible, probably_normal, tail_threshold

CLIP = 20.0  # in robust standard deviations: no single component may decide everything through one wild value
# Share of the known abnormal images that may score lower than what is set aside as probably mislabelled.
LOWEST_KNOWN = 0.05


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
      tested: components that count in the base if they tell the synthetic images apart as well as one of it
        does, and it does better with them.
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

    Without known abnormal images the components of the base weigh by their voices (components.py), the others
    nothing. Known ones move the weights away from that, as far as their number allows (fusion.known_weights).

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

    def clipped(components):
        return np.clip(standardised(components, center, scale), -CLIP, CLIP)

    z_normal, z_abnormal = clipped(normal), clipped(abnormal)
    base = _base(names, base, held_out.tested, z_normal, clipped(synthetic))
    method, bias = ROBUST_Z_SUM, 0.0
    weights = starting_weights(names, base)
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


def _base(names, base, tested, z_normal, z_synthetic) -> tuple[str, ...]:
    """The base among the names, with what finds synthetic defects as well as one of it, and more with it.

    What was fitted to synthetic defects may know these alone: then it finds other kinds of them, which its
    training has not drawn, no better than what knows none. Where the base finds them all, they prove nothing.
    """
    found = [name for name in names if name in base]

    def worth(*chosen) -> float:
        weights = starting_weights(names, chosen)
        return _auroc(z_normal @ weights, z_synthetic @ weights)

    if found and len(z_synthetic) and len(z_normal):
        least = min(map(worth, found))
        for name in tested:
            new = name in names and name not in found
            if new and worth(name) >= least and worth(*found, name) > worth(*found):
                found.append(name)
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
    return checked_components(components if len(components) else np.zeros((0, len(names))), names)


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
