"""The tail and its threshold by hand, and which held-out images count as normal."""

import numpy as np
import pytest
from scipy import stats

from semi_anogan.scoring.threshold import (
    Tail,
    false_alarm_interval,
    plausible,
    probably_normal,
    tail_threshold,
)


@pytest.mark.parametrize("n, rate, expected", [(19, 0.25, 15), (9, 0.5, 5), (39, 0.2, 32)])
def test_below_the_tail_the_threshold_is_a_conformal_quantile(n, rate, expected):
    warnings = []
    assert tail_threshold(np.arange(1.0, n + 1)[::-1], rate, warnings) == expected
    assert warnings == []


def test_tail_by_hand():
    """Of 20 scores 3 make the tail, of which the highest counts as no higher than the next."""
    scores = np.append(np.arange(17.0), [18.0, 21.0, 99.0])
    tail = Tail.fit(scores)
    # Above 16: excesses of 2, 5 and at least 5, of which two are seen: 12 / 2. Four of 21 are as high as 16.
    assert tail == pytest.approx((16.0, 4 / 21, 6.0))
    assert Tail.fit(np.append(scores[:-1], 1e6)) == tail
    warnings = []
    assert tail_threshold(scores, 0.02, warnings) == pytest.approx(16 + 6 * np.log(4 / 21 / 0.02))
    assert warnings == [
        "20 normal images show no false-alarm rate below 1/21 = 4.76% (2% asked for); the threshold is "
        "extrapolated from their highest scores"
    ]
    warnings = []
    tail_threshold(scores, 1e-9, warnings)
    assert "(1e-07% asked for)" in warnings[0]
    # The rate of a threshold is the inverse.
    assert tail.rate(tail.threshold(0.02)) == pytest.approx(0.02)
    assert tail.rate(16 + 6 * np.log(2)) == pytest.approx(2 / 21) and tail.rate(3.0) == tail.share


def test_the_tail_of_very_few_or_equal_scores():
    assert Tail.fit([1.0, 3.0]) == pytest.approx((1.0, 2 / 3, 2.0))
    assert Tail.fit([1.0, 3.0, 4.0]) == pytest.approx((1.0, 3 / 4, 4.0))  # excesses 2 and at least 2: 4 / 1
    assert tail_threshold(np.full(50, 3.0), 0.01, []) == pytest.approx(3.0)


def test_one_odd_image_does_not_decide():
    """Among 100 normal images one lies as far as defects do, though above no gap: recall would be lost."""
    rng = np.random.default_rng(0)
    scores = rng.standard_normal(100)
    odd = np.append(scores[:99], 6.0)
    clean, found = tail_threshold(scores, 0.01, []), tail_threshold(odd, 0.01, [])
    assert found == pytest.approx(clean, abs=0.3) and found < 4


def test_the_interval_holds_the_true_rate_as_often_as_it_says():
    """Of 150 logistic scores: 90 % of the intervals hold what their threshold gives; some may miss."""

    def choose(held_out, trained):
        scores = np.concatenate([held_out, trained])
        return tail_threshold(scores, 0.01, []), scores

    rng, held, widths = np.random.default_rng(2), [], []
    for _ in range(60):
        scores = rng.logistic(size=150)
        low, high = false_alarm_interval(choose, scores[:50], scores[50:])
        held.append(low <= stats.logistic.sf(tail_threshold(scores, 0.01, [])) <= high)
        widths.append(high / low)
    assert 0.75 < np.mean(held) <= 1 and low < 0.01 < high
    more = rng.logistic(size=1500)
    low, high = false_alarm_interval(choose, more[:500], more[500:])
    assert high / low < 0.6 * np.median(widths)


def test_plausible_by_hand():
    # 0..19 has no wide gap; one far value is left out.
    assert plausible(np.arange(20.0)).all()
    assert plausible(np.append(np.arange(30.0), 1000.0)).tolist() == [True] * 30 + [False]
    # A second kind of image, more than the largest share, is kept.
    assert plausible(np.concatenate([np.arange(20.0), 1000 + np.arange(20.0)])).all()
    assert plausible(np.array([0.0] * 5 + [1e6])).all()  # too few to judge
    # 12 are enough for a gap, not for the spread. The last of 17 lies beyond 4.5 spreads but above no gap: it
    # stays, and of 31 it goes.
    assert plausible(np.append(np.arange(11.0), 1000.0)).tolist() == [True] * 11 + [False]
    few = np.append(np.linspace(0, 1, 14), [1.6, 2.3, 3.1])
    assert plausible(few).all() and not plausible(np.concatenate([few, np.linspace(0, 1, 14)])).all()
    assert plausible(np.full(50, 3.0)).all()


@pytest.mark.parametrize(("gap", "kept"), [(0.25, 100), (0.5, 80)])
def test_a_narrow_gap_below_many_scores_is_none(gap, kept):
    """The mean excess is 0.44, three quarters of it 0.33; gap times count alone would ask for 0.18."""
    scores = np.concatenate([np.linspace(0, 1, 80), 1 + gap + np.linspace(0, 1, 20)])
    assert plausible(scores).sum() == kept
    assert plausible(scores, least_gap=0).sum() == 80


def test_the_tail_of_a_skewed_distribution_is_not_taken_for_abnormal_images():
    rng = np.random.default_rng(4)
    scores = rng.exponential(size=300)
    assert (probably_normal(scores, 5 + 2 * rng.standard_normal(20), np.ones(300, bool)) == 1).all()


def test_scores_that_hardly_tell_known_abnormal_images_apart_are_all_normal():
    rng = np.random.default_rng(5)
    normal = rng.standard_normal(280)
    assert (probably_normal(normal, 1.2 + rng.standard_normal(26), np.ones(280, bool)) == 1).all()


def test_probably_normal_by_hand():
    """One step of Bayes' rule at the share that the steps settle on, in plain numbers."""
    rng = np.random.default_rng(9)
    scores = np.append(rng.logistic(size=200), [8.0])
    abnormal = np.array([6.0, 8.0, 10.0])
    probability = probably_normal(scores, abnormal, np.ones(201, bool))
    share = (1 - probability).mean()
    middle, scale = np.median(scores), np.median(np.abs(scores - np.median(scores))) / np.log(3)
    of_abnormal = stats.norm.pdf(8.0, 8.0, abnormal.std() + 1e-3 * 1.4826 * np.log(3) * scale) * share
    of_normal = stats.logistic.pdf(8.0, middle, scale) * (1 - share)
    assert probability[-1] == pytest.approx(of_normal / (of_normal + of_abnormal), rel=1e-3)
    assert probability[:200].min() >= probability[-1] and np.median(probability) == 1
    held_out = probably_normal(scores, abnormal, scores < 5)
    assert held_out[-1] == 0
