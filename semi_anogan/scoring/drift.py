"""Whether new images are still like those that a detector was calibrated on, and alarms as rare as asked.

What normal images are like is kept with the calibration (Usual). As images come, each says of each quantity
whether it is outside of what was usual. A sequential test watches how often that happens (Drift).
"""

import collections
import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from semi_anogan.data.look import Look

FEWEST = 20  # normal images: of fewer nothing is usual
OUTSIDE = 0.01  # share of them that may lie beyond either end of what is usual
# Without a change a warning comes in PER_IMAGES images with this probability at most.
FALSE_WARNING, PER_IMAGES = 0.05, 20_000
# How much of it is for new normal images being where these tests look more often than is reckoned with.
CHANCE = 0.01
LEAST = 0.002  # what two images may differ by and still be the same: half a grey value of 256
WINDOW = 200  # latest images that a line tells of
# The changes that are looked for: so many times as often as reckoned with, and so much less often not.
TIMES, NOT = (2.0, 4.0, 8.0), (0.75, 0.5, 0.25, 0.1)
LIGHT, FOCUS, PART = "the light has changed", "the focus has changed", "the part lies or looks otherwise"
SURFACE = "the surface looks otherwise"
FEATURES = "features"  # how far the means of the pretrained features are from those of normal images
MEANT = {"brightness": LIGHT, "contrast": LIGHT, "sharpness": FOCUS, "picture": PART, FEATURES: SURFACE}
COMPONENT = "this component of the score has changed"
REFIT = "python -m semi_anogan.train --workdir=RUN --refit"
ALARMS = "alarms"
FIGURES = ("brightness", "contrast", "sharpness")
FLOOR, SUMMARY_FLOOR = 0.05, 1e-3  # of the spread, of images that are all alike
ROUNDING = 2e-4  # what two engines may differ by in a component, as a share of its largest value
# Where an image may be too often: outside of the range of what is usual, above its middle, below it.
OUTSIDE_OF, ABOVE, BELOW = "outside", "above", "below"


@dataclasses.dataclass(frozen=True)
class Usual:
    """What normal images are like.

    Attributes:
      count: how many of them say so.
      ranges: {name of a quantity: (lowest, middle, highest)}: brightness, contrast and sharpness as in
        look.Look; picture, how far the small picture is from the mean one; and features, likewise of the
        summary, where that is known.
      mean, spread: of the small pictures, [side * side] values.
      summary_mean, summary_spread: of the summaries, [D] values; empty where there are none.
      held_out: how many held-out images say what the components are.
      components: {name: (lowest, middle, highest)}; empty of fewer than FEWEST held-out images.
    """

    count: int
    ranges: Mapping[str, tuple[float, float, float]]
    mean: tuple[float, ...]
    spread: tuple[float, ...]
    summary_mean: tuple[float, ...] = ()
    summary_spread: tuple[float, ...] = ()
    held_out: int = 0
    components: Mapping[str, tuple[float, float, float]] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(
        cls,
        looks: Sequence[Look],
        summaries: Sequence[np.ndarray | None] = (),
        components: Mapping[str, Sequence[float]] | None = None,
    ) -> "Usual | None":
        """Of normal images; None of fewer than FEWEST.

        Args: looks, summaries: of each image, summaries [D] or none at all; components: {name: its values} of
          images that the networks were not trained on.
        """
        if len(looks) < FEWEST:
            return None
        values = {name: [getattr(seen, name) for seen in looks] for name in FIGURES}
        values["picture"], mean, spread = _beside_others([seen.picture.ravel() for seen in looks], FLOOR)
        known = {"mean": tuple(mean.tolist()), "spread": tuple(spread.tolist())}
        if len(summaries) and all(summary is not None for summary in summaries):
            # No more digits than are kept, so that what is read again is the same.
            values[FEATURES], mean, spread = _beside_others(summaries, SUMMARY_FLOOR)
            known |= {"summary_mean": _short(mean), "summary_spread": _short(spread)}
        ranges = {name: _range(of_images, LEAST) for name, of_images in values.items()}
        found = {k: v for k, v in (components or {}).items() if len(v) >= FEWEST}
        if found:
            known["held_out"] = min(map(len, found.values()))
            known["components"] = {k: _range(v, ROUNDING * np.abs(v).max() + 1e-6) for k, v in found.items()}
        return cls(len(looks), ranges, **known)

    @classmethod
    def of_measured(
        cls, held_out: Sequence, trained: Sequence, set_aside: Sequence[int], names: Sequence[str]
    ) -> "Usual | None":
        """Of Measurements of normal images, held out and trained on.

        What the networks were trained on has lower components, so these are the held-out images' alone; less
        those that are `set_aside` (rows), as probably mislabelled. names: of the components.
        """
        everything = [*held_out, *trained]
        values = np.delete(np.array([m.components for m in held_out], np.float64), list(set_aside), axis=0)
        components = dict(zip(names, values.T, strict=True))
        return cls.of([m.look for m in everything], [m.summary for m in everything], components)

    def quantities(self, seen: Look, summary: np.ndarray | None = None) -> dict[str, float]:
        """What an image says of each quantity of `ranges`; summary: where `features` is one of them."""
        found = {name: getattr(seen, name) for name in FIGURES}
        mean, spread, *of_summary = self._arrays
        found["picture"] = _away(seen.picture.ravel(), mean, spread)
        if FEATURES in self.ranges and summary is not None:
            found[FEATURES] = _away(summary, *of_summary)
        return found

    @functools.cached_property
    def _arrays(self) -> tuple[np.ndarray, ...]:
        return tuple(map(np.array, (self.mean, self.spread, self.summary_mean, self.summary_spread)))

    def to_dict(self) -> dict:
        """Plain JSON values. What a version of before does not know has keys of its own."""
        ranges = {name: list(triple) for name, triple in self.ranges.items()}
        summary = {"mean": list(self.summary_mean), "spread": list(self.summary_spread)}
        summary["range"] = ranges.pop(FEATURES, None)
        of_components = {name: list(triple) for name, triple in self.components.items()}
        return {
            "count": self.count,
            "ranges": ranges,
            "mean": list(self.mean),
            "spread": list(self.spread),
            "summary": summary if self.summary_mean else None,
            "components": {"count": self.held_out, "ranges": of_components} if of_components else None,
        }

    @classmethod
    def from_dict(cls, values: dict) -> "Usual":
        """The inverse of to_dict, which a version of before wrote without summary and components."""
        ranges = {name: tuple(triple) for name, triple in values["ranges"].items()}
        known = {}
        if summary := values.get("summary"):
            ranges[FEATURES] = tuple(summary["range"])
            known = {"summary_mean": tuple(summary["mean"]), "summary_spread": tuple(summary["spread"])}
        if components := values.get("components"):
            known["held_out"] = components["count"]
            known["components"] = {name: tuple(triple) for name, triple in components["ranges"].items()}
        return cls(values["count"], ranges, tuple(values["mean"]), tuple(values["spread"]), **known)


def _beside_others(vectors, floor: float) -> tuple[list[float], np.ndarray, np.ndarray]:
    """(how far each of N vectors [D] is from the others, mean of all, spread of all).

    Each beside mean and spread of the others, as a new one is: with its own part in them it would seem
    nearer.
    """
    vectors = np.array(vectors, np.float64)
    n, mean, squares = len(vectors), vectors.mean(axis=0), (vectors**2).mean(axis=0)
    others = (n * mean - vectors) / (n - 1)
    deviations = _spread((n * squares - vectors**2) / (n - 1) - others**2, floor)
    away = [_away(*each) for each in zip(vectors, others, deviations, strict=True)]
    return away, mean, _spread(squares - mean**2, floor)


def _range(values: Sequence[float], least: float) -> tuple[float, float, float]:
    """(lowest, middle, highest) of values; lowest and highest are still usual, and `least` beyond."""
    ordered, aside = sorted(map(float, values)), beyond(len(values))
    return float(ordered[aside - 1] - least), ordered[len(ordered) // 2], float(ordered[-aside] + least)


def _short(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in values)


def _spread(variance: np.ndarray, floor: float) -> np.ndarray:
    return np.sqrt(np.maximum(variance, 0.0)) + floor  # of images that are all alike


def _away(vector, mean, spread) -> float:
    return float(np.abs((np.asarray(vector, np.float64) - mean) / spread).mean())


def beyond(count: int) -> int:
    """Which of `count` ordered values is the first, and the last, that is usual: the k-th from either end."""
    return max(1, round(OUTSIDE * count))


@functools.cache  # quantities of as many images have the same
def reckoned(count: int, outside: int, chance: float = 1e-3) -> float:
    """How often new images are outside, at most but for a `chance`, where `outside` of count + 1 are.

    The share beyond order statistics of `count` values has a beta distribution, whatever theirs (Wilks 1941).
    """
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        # P(Beta(outside, count + 1 - outside) <= middle) = P(Binomial(count, middle) >= outside)
        fewer = sum(_binomial(count, i, middle) for i in range(outside))
        low, high = (middle, high) if 1 - fewer < 1 - chance else (low, middle)
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

    A component is followed in images that are labelled normal: abnormal ones are told by their number, and
    defects must not count as a change.

    Args:
      calibration: has `usual`, or None, `normal_scores` and `names`.
      summary: whether images come with one.
      components: whether they come with components that are those of the calibration, but for rounding.

    Attributes: warned: {name: line} of what has changed; count: images followed.
    """

    def __init__(self, calibration, summary: bool = False, components: bool = False):
        self._usual: Usual | None = calibration.usual
        self._asked = calibration.false_alarm_rate
        self.count, self.warned = 0, {}
        usual, found = self._usual, {}  # {name: (what is usual, of how many images)}
        if usual:
            found = {n: (r, usual.count) for n, r in usual.ranges.items() if summary or n != FEATURES}
        # By its place among the components.
        self._places: dict[str, int] = {}
        if usual and components:
            self._places = {n: k for k, n in enumerate(calibration.names) if n in usual.components}
            found |= {name: (usual.components[name], usual.held_out) for name in self._places}
        self._ranges = {name: triple for name, (triple, _) in found.items()}
        scores = calibration.normal_scores
        follows_alarms = len(scores) >= FEWEST
        chance = CHANCE / max(1, 3 * len(found) + follows_alarms)
        # {(name, side): how often images are there, at most}
        rates = {}
        for name, (_, count) in found.items():
            rates[name, OUTSIDE_OF] = reckoned(count, 2 * beyond(count), chance)
            rates[name, ABOVE] = rates[name, BELOW] = reckoned(count, count // 2 + 1, chance)
        if follows_alarms:
            above = sum(score > calibration.threshold for score in scores)
            rates[ALARMS, ABOVE] = max(reckoned(len(scores), above + 1, chance), calibration.false_alarm_rate)
            self._ranges[ALARMS] = 0.0, 0.5, 0.5
        limit = len(rates) * PER_IMAGES / (FALSE_WARNING - CHANCE)
        self._watches = {key: Watch(rate, limit) for key, rate in rates.items() if rate < 0.9}
        names = dict.fromkeys(name for name, _ in self._watches)
        self._outside = {name: collections.deque(maxlen=WINDOW) for name in names}
        self._values = {name: collections.deque(maxlen=WINDOW) for name in names}
        # Of components in all images, which the line of the alarms tells.
        self._of_all = {name: collections.deque(maxlen=WINDOW) for name in self._places}

    @classmethod
    def of(cls, detector) -> "Drift":
        """Of what a calibrated BaseDetector measures."""
        return cls(detector.calibrated, detector.summarises and detector.exact, detector.exact)

    def add(
        self,
        seen: Look,
        abnormal: bool,
        components: Sequence[float] | None = None,
        summary: np.ndarray | None = None,
    ) -> list[str]:
        """Takes in an image; lines of what has been found to have changed with it, each once.

        Args: components, summary: as in Measurement, where they are followed.
        """
        self.count += 1
        values = {} if self._usual is None else self._usual.quantities(seen, summary)
        values[ALARMS] = float(abnormal)
        for name, place in self._places.items():
            value = float(components[place])
            self._of_all[name].append(self._is_outside(name, value))
            if not abnormal:
                values[name] = value
        for name in self._values:
            if name in values:
                self._values[name].append(values[name])
                self._outside[name].append(self._is_outside(name, values[name]))
        lines = []
        for (name, side), watch in self._watches.items():
            there, value = False, values.get(name)
            if value is not None:
                middle, least = self._ranges[name][1], self._least(name)
                there = {
                    OUTSIDE_OF: self._outside[name][-1],
                    ABOVE: value > middle + least,
                    BELOW: value < middle - least,
                }[side]
            if watch.add(there) and name not in self.warned:
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

    def _is_outside(self, name: str, value: float) -> bool:
        low, _, high = self._ranges[name]
        return not low <= value <= high

    def _least(self, name: str) -> float:
        """What a component may differ by from its middle and still not be beside it."""
        return ROUNDING * abs(self._ranges[name][1]) if name in self._places else 0.0

    def _line(self, name: str) -> str:
        outside, latest = sum(self._outside[name]), len(self._outside[name])
        if name == ALARMS:
            low, high = interval(outside, latest)
            found = sorted(((sum(seen), n) for n, seen in self._of_all.items() if any(seen)), reverse=True)
            told = ", ".join(f"{n} in {count}" for count, n in found)
            return (
                f"drift after {self.count} images: {outside} of the last {latest} are labelled abnormal "
                f"({low:.1%} to {high:.1%} of all), where {self._asked:.2%} of normal ones were asked for: "
                "either so many are defective, or normal ones have changed"
                + (f". Outside of what is usual: {told}" if told else "")
            )
        low, middle, high = self._ranges[name]
        now = float(np.median(self._values[name]))
        which = " that are labelled normal" if name in self._places else ""
        return (
            f"drift after {self.count} images: {name} is {now:.3g} on the median of the last {latest}{which}"
            f", of normal images it was {middle:.3g}; {outside} are outside of {low:.3g} to {high:.3g}: "
            f"{MEANT.get(name, COMPONENT)}. "
            f"If that is meant to stay, add at least {FEWEST} new normal images to the training data, then: "
            f"{REFIT}"
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
