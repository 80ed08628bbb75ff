"""What is fitted on held-out training images: how score components become one score, and its threshold.

    score = bias + sum_k weights_k * clip((c_k - center_k) / scale_k, clip_low, clip_high)

An image is abnormal if its score > threshold.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from semi_anogan.errors import ConfigError, RunError
from semi_anogan.scoring.drift import Usual
from semi_anogan.scoring.threshold import Tail, tail_threshold

NORMAL, LOOK, ABNORMAL = "normal", "look", "abnormal"  # labels
ROBUST_Z_SUM = "robust_z_sum"
LOGISTIC_REGRESSION = "logistic_regression"
# What the calibration of an earlier run may not have.
OPTIONAL = {
    "false_alarm_interval",
    "pixel_threshold",
    "normal_scores",
    "normal_highest",
    "look_threshold",
    "usual",
}


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
      base: components that count where no known abnormal image says otherwise.
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
        z = standardised(checked_components(components, self.names), self.center, self.scale)
        return self.bias + np.clip(z, self.clip_low, self.clip_high) @ np.array(self.weights)

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


def checked_components(components: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Components [N, K] as float64; ValueError for another shape, or a value that is not finite."""
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


def standardised(components: np.ndarray, center: Sequence[float], scale: Sequence[float]) -> np.ndarray:
    """Components in robust standard deviations, [N, K]."""
    return (components - np.array(center)) / np.array(scale)
