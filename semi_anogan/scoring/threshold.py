"""The threshold of a score, from held-out images labelled normal of which some may be abnormal."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from semi_anogan.scoring.robust import robust_spread

FEWEST_FOR_SPREAD = 20  # scores: of fewer two quantiles say too little about the spread


# Of the scores, the highest, whose excesses are taken as exponential: TAIL_MOST, of few a share. Of fewer the
# mean excess says little; of more it is that of lower scores, and many real tails end sooner than theirs.
TAIL_MOST, TAIL_SHARE = 30, 0.15
# Of those again, the highest, which count as no higher than the one below them.
CENSORED_SHARE = 0.1
RESAMPLES, CONFIDENCE = 200, 0.9  # of the interval


class Tail(NamedTuple):
    """The upper tail of a score: P(score > t) = share * exp(-(t - start) / mean_excess) for t >= start.

    That is the exponential case of the generalised Pareto distribution, to which excesses over a high
    threshold tend (Pickands 1975). Its shape is not fitted: of so few excesses its error would move the
    threshold more than the true shape does.

    Attributes: start: where the tail begins; share: probability of a score above it; mean_excess: > 0.
    """

    start: float
    share: float
    mean_excess: float

    @classmethod
    def fit(cls, scores: np.ndarray) -> "Tail":
        """The tail of n >= 2 scores.

        The mean excess is the maximum-likelihood estimate of a sample censored at its highest (Epstein &
        Sobel 1953): how far up the CENSORED_SHARE highest lie, at least one, does not count. So no single
        image, mislabelled say, decides.
        """
        s, n = np.sort(np.asarray(scores, np.float64)), len(scores)
        count = min(max(2, min(round(TAIL_SHARE * n), TAIL_MOST)), n - 1)
        whole = count - min(math.ceil(CENSORED_SHARE * count), count - 1)
        excesses = s[n - count :] - s[n - count - 1]
        mean_excess = (excesses[:whole].sum() + (count - whole) * excesses[whole - 1]) / whole
        # So probably a new score exceeds the (count + 1)-th highest of n, whatever the distribution.
        return cls(float(s[n - count - 1]), (count + 1) / (n + 1), float(mean_excess) + 1e-12)

    def threshold(self, rate: float) -> float:
        """What a score exceeds with the probability `rate`, in (0, share]."""
        return self.start + self.mean_excess * math.log(self.share / rate)

    def rate(self, threshold: float) -> float:
        """The probability that a score exceeds the threshold; at most `share`."""
        return self.share * math.exp(-max(0.0, threshold - self.start) / self.mean_excess)


def tail_threshold(scores: np.ndarray, false_alarm_rate: float, warnings: list[str]) -> float:
    """What a new image exceeds with the probability false_alarm_rate, as the scores [n] of normal images say.

    Within their upper tail it is read off the fitted Tail. Below, for larger rates, it is the k-th smallest
    score, k = ceil((n + 1)(1 - rate)): split conformal (Vovk et al. 2005). A warning says where n is too
    small for the rate (k > n), so that no score but the fitted tail alone reaches as far.
    """
    n = len(scores)
    # The subtraction: 0.95 * 20 must give 19, not 20.
    k = max(1, math.ceil((n + 1) * (1 - false_alarm_rate) - 1e-9))
    if k > n:
        warnings.append(
            f"{n} normal images show no false-alarm rate below 1/{n + 1} = {1 / (n + 1):.2%} "
            f"({100 * false_alarm_rate:.3g}% asked for); the threshold is extrapolated from their highest "
            "scores"
        )
    tail = Tail.fit(scores)
    if false_alarm_rate < tail.share:
        return tail.threshold(false_alarm_rate)
    return float(np.sort(scores)[k - 1])


def false_alarm_interval(choose: Callable, held_out: np.ndarray, trained: np.ndarray) -> tuple[float, float]:
    """Between which rates the false alarms of a threshold lie with CONFIDENCE, by the bootstrap (Efron 1979).

    The images are drawn again, and the threshold is chosen again; the tail of all scores says which rate it
    would have given.

    Args: choose: rows of held-out and of trained images -> (threshold, scores that it rests on); held_out,
      trained: all rows of each.
    """
    rng, rates = np.random.default_rng(0), []
    _, scores = choose(held_out, trained)
    tail, lower = Tail.fit(scores), np.sort(scores)
    for _ in range(RESAMPLES):
        threshold, _ = choose(*(rng.choice(rows, len(rows)) for rows in (held_out, trained)))
        above = 1 - np.searchsorted(lower, threshold, side="right") / len(lower)
        rates.append(tail.rate(threshold) if threshold > tail.start else above)
    low, high = np.quantile(rates, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def plausible(
    scores: np.ndarray, chance: float = 0.01, most: float = 0.3, fewest: int = 12, least_gap: float = 0.75
) -> np.ndarray:
    """Which scores go with the bulk, bool [N]: all but what lies above too wide a gap.

    For n exponential variables the gap between the i-th and the next order statistic, times n - i, is again
    exponential with the same mean (Renyi 1953), and gaps are stochastically smaller in every distribution of
    increasing hazard rate (normal, logistic, gamma, Gumbel). So the widest such product among the gaps in the
    upper part, divided by the mean excess over the median (estimated from the i lower scores only, as in a
    test stopped after i failures), is compared with the value it exceeds with probability `chance`. It is
    repeated on what is left until no gap is too wide. A mislabelled image inside the tail of the normal ones
    leaves no gap and stays. Real scores have heavier tails: below many of them a narrow gap would be too wide
    by that test alone, and a fifth of the normal images went; so a gap must also be a good part of the mean
    excess wide.

    Args:
      scores: [N].
      chance: probability of leaving anything out of clean exponential scores, about.
      most: largest share that may be left out; more than that is taken as a second kind of normal image.
      fewest: with fewer scores than this nothing is left out; with fewer than FEWEST_FOR_SPREAD only what
        lies above a gap.
      least_gap: width of a gap, at least, in units of the mean excess over the median.
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
        limit = mean_excess * np.maximum(np.log((n - lowest) / chance), least_gap * (n - i))
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(product > 0, product / limit, 0.0)
        widest = int(np.argmax(ratio))
        if ratio[widest] <= 1:
            break
        n = int(i[widest])
    # Mislabelled images may also lie beyond the tail without leaving a gap. Median and 70 % quantile, which
    # they hardly move, give the spread; 4.5 of it above the median lie 3e-6 of a normal, 7e-4 of a logistic,
    # 6e-3 of an exponential variable. Once only: of what is left the spread is less again, and bit by bit the
    # tail of real images would go (docs/experiments.md, "Setting aside beyond 4.5 spreads, again and again").
    if n > lowest and len(s) >= max(fewest, FEWEST_FOR_SPREAD):
        median, upper = np.quantile(s[:n], [0.5, 0.7])
        inside = int(np.searchsorted(s[:n], median + 4.5 * (upper - median) / 0.5244, side="right"))
        n = max(inside, lowest)
    keep = np.zeros(len(s), bool)
    keep[order[:n]] = True
    return keep


def probably_normal(
    scores: np.ndarray, abnormal: np.ndarray, keep: np.ndarray, most: float = 0.3
) -> np.ndarray:
    """Of each score the probability, [N], that it is a normal image's and not a hidden abnormal one's.

    Hidden abnormal images score like the known ones. So the scores are taken as a mixture of a logistic
    distribution, of median and spread of those kept, and the normal distribution of the known abnormal
    images, whose share alone is fitted by expectation- maximisation (Dempster et al. 1977). The logistic has
    a heavier tail than the normal distribution, which would take the upper tail of almost any real scores for
    abnormal images. Only where the known ones lie three spreads or more above the median, and the bulk of the
    scores is about symmetric (octile skewness at most 0.2): else the two kinds cannot be told apart, or the
    tail of a skewed distribution would be taken for abnormal images.

    Args:
      scores: [N] of held-out images labelled normal; abnormal: [M] of known abnormal images.
      keep: bool [N], the scores to start from; the others' probability is 0. most: largest share that can be
        hidden abnormal images.
    """
    low, middle, high = np.quantile(scores[keep], [0.125, 0.5, 0.875])
    spread = robust_spread(scores[keep], middle)
    apart = abnormal.mean() - middle >= 3 * spread
    if spread <= 0 or not apart or high + low - 2 * middle > 0.2 * (high - low):
        return keep.astype(np.float64)
    scale = spread / 1.4826 / np.log(3)  # of a logistic distribution of this median absolute deviation
    distance = np.abs(scores - middle) / scale
    of_normal = -distance - 2 * np.log1p(np.exp(-distance)) - np.log(scale)
    deviation = abnormal.std() + 1e-3 * spread
    of_abnormal = (
        -0.5 * ((scores - abnormal.mean()) / deviation) ** 2 - np.log(deviation) - 0.5 * np.log(2 * np.pi)
    )
    order, share = np.argsort(scores, kind="stable"), 0.05
    hidden = np.zeros(len(scores))
    for _ in range(50):
        odds = of_abnormal + np.log(share) - of_normal - np.log1p(-share)
        hidden = np.where(scores > middle, 1 / (1 + np.exp(-np.clip(odds, -50, 50))), 0.0)
        hidden[order] = np.maximum.accumulate(
            hidden[order]
        )  # a higher score is never the more probably normal
        share = np.clip(hidden.mean(), 1e-3, most)
    return np.where(keep, 1.0 - hidden, 0.0)
