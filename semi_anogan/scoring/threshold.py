"""The threshold of a score, from held-out images labelled normal of which some may be abnormal."""

import numpy as np

from semi_anogan.scoring.robust import robust_spread

FEWEST_FOR_SPREAD = 20  # scores: of fewer two quantiles say too little about the spread


def conformal_threshold(scores: np.ndarray, false_alarm_rate: float, warnings: list[str]) -> float:
    """The k-th smallest of n scores, k = ceil((n + 1)(1 - rate)): split conformal (Vovk et al. 2005).

    A new image drawn as the n were exceeds it with a probability of at most the rate, whatever the
    distribution. Where n is too small for the rate (k > n) it is the largest score, and a warning says so.
    """
    n = len(scores)
    k = int(
        np.ceil((n + 1) * (1 - false_alarm_rate) - 1e-9)
    )  # the subtraction: 0.95 * 20 must give 19, not 20
    if k > n:
        warnings.append(
            f"{n} held-out normal images support no false-alarm rate below 1/{n + 1} = {1 / (n + 1):.2%} "
            f"({false_alarm_rate:.2%} asked for); the threshold is their largest score"
        )
    return float(np.sort(scores)[min(k, n) - 1])


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
    # 6e-3 of an exponential variable.
    while n > lowest and len(s) >= max(fewest, FEWEST_FOR_SPREAD):
        median, upper = np.quantile(s[:n], [0.5, 0.7])
        inside = int(np.searchsorted(s[:n], median + 4.5 * (upper - median) / 0.5244, side="right"))
        if inside == n:
            break
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
