"""The threshold's rank by hand, and which held-out images count as normal."""

import numpy as np
import pytest
from scipy import stats

from semi_anogan.scoring.threshold import conformal_threshold, plausible, probably_normal


@pytest.mark.parametrize("n, rate, expected", [(19, 0.05, 19), (99, 0.01, 99), (9, 0.5, 5), (10, 0.25, 9)])
def test_conformal_rank_by_hand(n, rate, expected):
    warnings = []
    assert conformal_threshold(np.arange(1.0, n + 1)[::-1], rate, warnings) == expected
    assert warnings == []


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
