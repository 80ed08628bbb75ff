"""Whether new images are still like those that a detector was calibrated on, and alarms as rare as asked.

What normal images are like is kept with the calibration (Usual). As images come, each says of each quantity
whether it is outside of what was usual. A sequential test watches how often that happens (Drift).
"""

import collections
import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from semi_anogan.data.look import Look

FEWEST = 20  # normal images: of fewer nothing is usual
OUTSIDE = 0.01  # share of them that may lie beyond either end of what is usual
# Without a change a warning comes in PER_IMAGES images with this probability at most.
FALSE_WARNING, PER_IMAGES = 0.05, 20_000
LEAST = 0.002  # what two images may differ by and still be the same: half a grey value of 256
SURE = 0.999  # that new normal images are outside no more often than is reckoned with
WINDOW = 200  # latest images that a line tells of
# The changes that are looked for: so many times as often as reckoned with, and so much less often not.
TIMES, NOT = (2.0, 4.0, 8.0), (0.75, 0.5, 0.25, 0.1)
LIGHT, FOCUS, PART = "the light has changed", "the focus has changed", "the part lies or looks otherwise"
MEANT = {"brightness": LIGHT, "contrast": LIGHT, "sharpness": FOCUS, "picture": PART}  # by name
ALARMS = "alarms"
# Where an image may be too often: outside of the range of what is usual, above its middle, below it.
OUTSIDE_OF, ABOVE, BELOW = "outside", "above", "below"


@dataclasses.dataclass(frozen=True)
class Usual:
    """What normal images are like.

    Attributes:
      count: how many of them say so.
      ranges: {name of a quantity: (lowest, middle, highest)}: brightness, contrast and sharpness as in
        look.Look, and picture, how far the small picture is from the mean one.
      mean, spread: of the small pictures, [side * side] values.
    """

    count: int
    ranges: Mapping[str, tuple[float, float, float]]
    mean: tuple[float, ...]
    spread: tuple[float, ...]

    @classmethod
    def of(cls, looks: Sequence[Look]) -> "Usual | None":
        """Of normal images; None of fewer than FEWEST."""
        if len(looks) < FEWEST:
            return None
        n, pictures = len(looks), np.array([seen.picture.ravel() for seen in looks], np.float64)
        mean, squares = pictures.mean(axis=0), (pictures**2).mean(axis=0)
        # Each picture beside mean and spread of the others, as a new one is: with its own part in them
        # it would seem nearer.
        others = (n * mean - pictures) / (n - 1)
        deviations = _spread((n * squares - pictures**2) / (n - 1) - others**2)
        values = [
            {**_figures(seen), "picture": _away(picture, *of_others)}
            for seen, picture, *of_others in zip(looks, pictures, others, deviations, strict=True)
        ]
        aside, ranges = beyond(n), {}
        for name in values[0]:
            ordered = sorted(value[name] for value in values)
            ranges[name] = ordered[aside - 1] - LEAST, ordered[n // 2], ordered[-aside] + LEAST
        spread = _spread(squares - mean**2)
        return cls(n, ranges, tuple(mean.tolist()), tuple(spread.tolist()))

    def quantities(self, seen: Look) -> dict[str, float]:
        """What an image says of each quantity."""
        picture = _away(seen.picture.ravel(), np.array(self.mean), np.array(self.spread))
        return {**_figures(seen), "picture": picture}

    def to_dict(self) -> dict:
        """Plain JSON values."""
        ranges = {name: list(triple) for name, triple in self.ranges.items()}
        return {"count": self.count, "ranges": ranges, "mean": list(self.mean), "spread": list(self.spread)}

    @classmethod
    def from_dict(cls, values: dict) -> "Usual":
        """The inverse of to_dict."""
        ranges = {name: tuple(pair) for name, pair in values["ranges"].items()}
        return cls(values["count"], ranges, tuple(values["mean"]), tuple(values["spread"]))


def _figures(seen: Look) -> dict[str, float]:
    return {name: getattr(seen, name) for name in ("brightness", "contrast", "sharpness")}


def _spread(variance: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(variance, 0.0)) + 0.05  # of images that are all alike


def _away(picture: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> float:
    return float(np.abs((picture - mean) / spread).mean())


def beyond(count: int) -> int:
    """Which of `count` ordered values is the first, and the last, that is usual: the k-th from either end."""
    return max(1, round(OUTSIDE * count))


def reckoned(count: int, outside: int) -> float:
    """How often new images are outside, at most and with certainty SURE, where `outside` of count + 1 are.

    The share beyond order statistics of `count` values has a beta distribution, whatever theirs (Wilks 1941).
    """
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        # P(Beta(outside, count + 1 - outside) <= middle) = P(Binomial(count, middle) >= outside)
        fewer = sum(_binomial(count, i, middle) for i in range(outside))
        low, high = (middle, high) if 1 - fewer < SURE else (low, middle)
    return high


def _binomial(n: int, k: int, p: float) -> float:
    if not 0 < p < 1:
        return float(k == (n if p else 0))
    chosen = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(chosen + k * math.log(p) + (n - k) * math.log1p(-p))


class Watch:
    """Whether something happens more often than with probability `rate`, tested with each image.

    It is the Shiryaev-Roberts sum of the likelihood ratios from each image on, R <- (R + 1) * ratio, of
    several greater rates, and their mean. Without a change R - n is a supermartingale after n images, so R
    reaches n / delta with a probability of delta at most (Pollak 1985; Shin, Ramdas and Rinaldo 2024).

    Args: rate: in (0, 1); limit: of R.

    Attributes: statistic: R.
    """

    def __init__(self, rate: float, limit: float):
        self._limit = limit
        rarer = [1 - (1 - rate) * times for times in NOT]
        others = [rate * times for times in TIMES if rate * times < rarer[0]] + rarer
        self._ratios = [((1 - q) / (1 - rate), q / rate) for q in others]
        self._sums = [0.0] * len(self._ratios)

    def add(self, happened: bool) -> bool:
        """Whether it now happens more often."""
        now = int(happened)
        pairs = zip(self._sums, self._ratios, strict=True)
        self._sums = [min((before + 1) * ratios[now], 1e100) for before, ratios in pairs]
        return self.statistic >= self._limit

    @property
    def statistic(self) -> float:
        return sum(self._sums) / max(1, len(self._sums))


class Drift:
    """Follows images as they come.

    Args: calibration: has `usual`, or None, and `normal_scores`.

    Attributes: warned: {name: line} of what has changed; count: images followed.
    """

    def __init__(self, calibration):
        self._usual: Usual | None = calibration.usual
        self._asked = calibration.false_alarm_rate
        self.count, self.warned = 0, {}
        # {(name, side): how often images are there, at most}
        rates, usual = {}, self._usual
        for name in usual.ranges if usual else ():
            rates[name, OUTSIDE_OF] = reckoned(usual.count, 2 * beyond(usual.count))
            rates[name, ABOVE] = rates[name, BELOW] = reckoned(usual.count, usual.count // 2 + 1)
        scores = calibration.normal_scores
        if len(scores) >= FEWEST:
            above = sum(score > calibration.threshold for score in scores)
            rates[ALARMS, ABOVE] = max(reckoned(len(scores), above + 1), calibration.false_alarm_rate)
        limit = len(rates) * PER_IMAGES / FALSE_WARNING
        self._watches = {key: Watch(rate, limit) for key, rate in rates.items() if rate < 0.9}
        names = dict.fromkeys(name for name, _ in self._watches)
        self._outside = {name: collections.deque(maxlen=WINDOW) for name in names}
        self._values = {name: collections.deque(maxlen=WINDOW) for name in names}

    def add(self, seen: Look, abnormal: bool) -> list[str]:
        """Takes in an image; lines of what has been found to have changed with it, each once."""
        self.count += 1
        values = {} if self._usual is None else self._usual.quantities(seen)
        values[ALARMS] = float(abnormal)
        ranges = {ALARMS: (0.0, 0.5, 0.5), **(self._usual.ranges if self._usual else {})}
        for name in self._values:
            self._values[name].append(values[name])
            self._outside[name].append(not ranges[name][0] <= values[name] <= ranges[name][2])
        lines = []
        for (name, side), watch in self._watches.items():
            middle = ranges[name][1]
            there = {
                OUTSIDE_OF: self._outside[name][-1],
                ABOVE: values[name] > middle,
                BELOW: values[name] < middle,
            }
            if watch.add(there[side]) and name not in self.warned:
                self.warned[name] = self._line(name)
                lines.append(self.warned[name])
        return lines

    def state(self) -> dict:
        """What is known now, as JSON values: of each quantity how many of the latest images are outside."""
        found = {
            name: {"outside": sum(seen), "of": len(seen), "changed": name in self.warned}
            for name, seen in self._outside.items()
        }
        return {"images": self.count, "quantities": found}

    def _line(self, name: str) -> str:
        outside, latest = sum(self._outside[name]), len(self._outside[name])
        if name == ALARMS:
            low, high = interval(outside, latest)
            return (
                f"drift after {self.count} images: {outside} of the last {latest} are labelled abnormal "
                f"({low:.1%} to {high:.1%} of all), where {self._asked:.2%} of normal ones were asked for: "
                "either so many are defective, or normal ones have changed"
            )
        low, middle, high = self._usual.ranges[name]
        now = float(np.median(self._values[name]))
        return (
            f"drift after {self.count} images: {name} is {now:.3g} on the median of the last {latest}, of "
            f"normal images it was {middle:.3g}; {outside} are outside of {low:.3g} to {high:.3g}: "
            f"{MEANT[name]}. "
            "If that is meant to stay, add new normal images and train with --refit"
        )


def interval(count: int, of: int, outside: float = 0.1) -> tuple[float, float]:
    """(low, high), the exact interval of Clopper and Pearson (1934) for a share: `count` of `of`."""

    def solved(reached):
        low, high = 0.0, 1.0
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (low, middle) if reached(middle) else (middle, high)
        return (low + high) / 2

    def at_least(k, p):
        return 1 - sum(_binomial(of, i, p) for i in range(k))

    low = 0.0 if not count else solved(lambda p: at_least(count, p) >= outside / 2)
    high = 1.0 if count == of else solved(lambda p: at_least(count + 1, p) >= 1 - outside / 2)
    return low, high
