"""Calibration: the score by hand, the threshold's promise, and mislabelled held-out images."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import stats

from helpers.trained import StandInDetector
from semi_anogan.errors import ConfigError, RunError
from semi_anogan.scoring.calibration import Calibration
from semi_anogan.scoring.fit_calibration import HeldOut, as_held_out, fit, with_interval, with_pixel_threshold
from semi_anogan.scoring.fusion import FIRMNESS, SLOPE, known_weights
from semi_anogan.scoring.judging import Judging
from semi_anogan.scoring.threshold import plausible, tail_threshold


def test_score_by_hand():
    calibration = Calibration(
        names=("residual", "feature"),
        center=(1.0, 10.0),
        scale=(0.5, 2.0),
        weights=(2.0, 0.25),
        bias=-1.0,
        clip_low=-3.0,
        clip_high=4.0,
        method="logistic_regression",
        threshold=0.0,
        false_alarm_rate=0.01,
        normals=9,
        set_aside=(),
        abnormals=8,
        warnings=(),
    )
    # Row 0: z = (1, -2) -> -1 + 2 - 0.5. Row 1: z = (200, -50) -> clipped to (4, -3) -> -1 + 8 - 0.75.
    np.testing.assert_allclose(calibration.score(np.array([[1.5, 6.0], [101.0, -90.0]])), [0.5, 6.25])


def test_center_scale_and_mean_by_hand():
    normal = np.array([[0.0, 5.0], [1.0, 5.0], [2.0, 5.0], [3.0, 5.0], [100.0, 5.0]])
    calibration = fit(["varies", "constant"], HeldOut(normal), false_alarm_rate=0.5)
    assert calibration.center == (2.0, 5.0)
    # |deviations| of the first: 2, 1, 0, 1, 98 -> median 1. The second has the floor 1e-4 * 5 + 1e-6.
    assert calibration.scale == pytest.approx((1.4826, 5.01e-4))
    assert calibration.method == "robust_z_sum" and calibration.weights == (0.5, 0.5)
    assert any("constant over" in w and "constant" in w and "varies" not in w for w in calibration.warnings)
    # One spread above the centre and one and a half below; the least that counts is 20 below.
    np.testing.assert_allclose(
        calibration.score(np.array([[3.4826, 5.0 - 1.5 * 5.01e-4], [2.0, -50.0]])), [-0.25, -10.0]
    )


def test_single_component_keeps_its_order_below_the_center():
    calibration = fit(["a"], HeldOut(np.arange(30.0)[:, None]))
    scores = calibration.score(np.arange(30.0)[:, None])
    assert (np.diff(scores) > 0).all()


def test_trained_scores_are_brought_to_the_held_out_ones_by_hand():
    """Median 2, median deviation 1; held-out ones 10 and 3: of so few that may be chance."""
    held_out, trained = np.float64([1, 7, 10, 13, 40]), np.float64([0, 1, 2, 3, 9])
    np.testing.assert_allclose(as_held_out(trained, held_out), [8, 9, 10, 11, 17])
    # Twenty of each: log 3 is more than 2 sqrt(1.36 / 10) = 0.74.
    many = as_held_out(np.tile(trained, 4), np.tile(held_out, 4))
    np.testing.assert_allclose(many, np.tile([4, 7, 10, 13, 31], 4))
    assert not len(as_held_out(np.ones(9), held_out))  # they say nothing of a spread


def test_the_threshold_rests_on_trained_images_too():
    """They score lower, as what the networks know does; the tail is theirs all the same."""
    rng, rates, alone = np.random.default_rng(0), [], []
    for _ in range(40):
        normal, trained = rng.gumbel(size=(40, 1)), rng.gumbel(size=(600, 1)) - 3
        found = fit(["a"], HeldOut(normal, trained=trained), 0.01)
        few = fit(["a"], HeldOut(normal), 0.01)
        assert found.normals > 600 and found.center == few.center and found.weights == few.weights
        for c, values in ((found, rates), (few, alone)):
            values.append(stats.gumbel_r.sf(c.center[0] + c.scale[0] * c.threshold))
    assert 0.005 < np.mean(rates) < 0.02 and np.ptp(rates) < np.ptp(alone)


def test_a_trained_image_that_a_person_found_normal_is_borne():
    """Rows of `checked` go on with the trained images; what is set aside is told of held-out ones alone."""
    rng = np.random.default_rng(0)
    normal, trained = rng.standard_normal((60, 1)), np.append(rng.standard_normal(96), [9.0] * 4)[:, None]
    doubted = fit(["a"], HeldOut(normal, trained=trained))
    assert doubted.set_aside == () and doubted.normals == 156
    checked = fit(["a"], HeldOut(normal, trained=trained, checked=[False] * 156 + [True] * 4))
    assert checked.normals == 160 and checked.threshold > doubted.threshold


def test_a_share_believed_to_be_mislabelled_is_not_borne():
    """Of 15 scores two are a share of 0.15; the one that a person found normal is not among them."""
    normal, trained = np.arange(10.0)[:, None], np.arange(5.0)[:, None] + 2.5
    given = HeldOut(normal, trained=trained, checked=[False] * 9 + [True] + [False] * 5)
    told = dataclasses.replace(given, mislabelled_share=0.15)
    every, fewer = fit(["a"], given, 0.1), fit(["a"], told, 0.1)
    assert every.normals == 15 and every.set_aside == ()
    # Trained ones have the median of held-out ones already, 4.5: as they are, 8 and 7 are the highest.
    assert fewer.normals == 13 and fewer.set_aside == (7, 8)
    left = fewer.score(np.float64([0, 1, 2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6, 6.5, 9])[:, None])
    assert sorted(fewer.normal_scores) == pytest.approx(sorted(left.tolist()))
    assert fewer.threshold == tail_threshold(np.array(fewer.normal_scores), 0.1, []) < every.threshold
    assert any("2 of 10 held-out" in w and "highest 0.15 of all" in w for w in fewer.warnings)
    assert with_interval(fewer, told).false_alarm_interval != with_interval(fewer, given).false_alarm_interval
    assert fit(["a"], dataclasses.replace(given, mislabelled_share=0.06), 0.1).normals == 15  # rounded down


def test_too_few_images_for_the_rate():
    warnings = []
    # Of 60 evenly spaced scores 9 lie above 50, and the highest counts as no higher than 58.
    mean_excess = (sum(range(1, 9)) + 8) / 8
    expected = 50 + mean_excess * np.log(10 / 61 / 0.01)
    assert tail_threshold(np.arange(60.0), 0.01, warnings) == pytest.approx(expected)
    assert len(warnings) == 1 and "1/61 = 1.64% (1% asked for)" in warnings[0]
    assert warnings[0] in fit(["a"], HeldOut(np.arange(60.0)[:, None]), false_alarm_rate=0.01).warnings


def test_json_round_trip_is_exact():
    rng = np.random.default_rng(0)
    held_out = HeldOut(rng.normal(size=(50, 2)), rng.normal(size=(9, 2)) + 3)
    calibration = fit(["a", "b"], held_out)
    again = Calibration.from_dict(json.loads(json.dumps(calibration.to_dict(), allow_nan=False)))
    assert again == calibration and again.method == "logistic_regression"
    components = rng.normal(size=(7, 2))
    np.testing.assert_array_equal(again.score(components), calibration.score(components))
    with pytest.raises(ValueError, match=r"missing keys \['bias'\], unknown keys \['offset'\]"):
        values = calibration.to_dict()
        values["offset"] = values.pop("bias")
        Calibration.from_dict(values)
    # Runs of before have neither interval nor pixel threshold.
    known = with_interval(calibration, held_out)
    known = with_pixel_threshold(known, held_out, np.arange(50.0))
    values = known.to_dict()
    assert Calibration.from_dict(values) == known and len(values.pop("false_alarm_interval")) == 2
    assert values.pop("pixel_threshold") > 40 and len(values.pop("normal_highest")) == 50
    assert Calibration.from_dict(values) == calibration


def test_the_pixel_threshold_is_chosen_as_the_threshold_is():
    rng = np.random.default_rng(0)
    normal, trained = rng.normal(size=(60, 1)), rng.normal(size=(80, 1)) - 2
    held_out = HeldOut(normal, trained=trained)
    found = fit(["a"], held_out, false_alarm_rate=0.05)
    assert found.set_aside == () and found.pixel_threshold is None and found.normals == 140
    # Where each image's highest value is its score, the two are the same.
    scores = (np.concatenate([normal, trained])[:, 0] - found.center[0]) / found.scale[0]
    assert with_pixel_threshold(found, held_out, scores).pixel_threshold == pytest.approx(found.threshold)
    # But it need not be: one image in 20 is above.
    values = rng.exponential(size=140)
    chosen = with_pixel_threshold(found, held_out, values).pixel_threshold
    assert 0.02 < np.mean(rng.exponential(size=10_000) > chosen) < 0.1
    # What is set aside does not count, whatever its map is.
    normal[:2] = 30
    found = fit(["a"], held_out, false_alarm_rate=0.05)
    assert found.set_aside == (0, 1)
    chosen = [with_pixel_threshold(found, held_out, values * ([v] * 2 + [1] * 138)) for v in (0.1, 99)]
    assert chosen[0] == chosen[1]
    # Images that are all alike say nothing of trained ones, and leave these out.
    alike = HeldOut(normal, trained=np.zeros((80, 1)))
    of_held_out = with_pixel_threshold(fit(["a"], HeldOut(normal), 0.05), HeldOut(normal), scores[:60])
    chosen = with_pixel_threshold(fit(["a"], alike, 0.05), alike, scores)
    assert chosen.pixel_threshold == of_held_out.pixel_threshold


def test_regression_uses_good_components_and_drops_wrong_ones():
    rng = np.random.default_rng(1)
    normal = rng.normal(size=(200, 3))
    abnormal = rng.normal(size=(30, 3)) + [3.0, 1.0, -2.0]
    calibration = fit(["good", "weak", "wrong"], HeldOut(normal, abnormal))
    assert calibration.method == "logistic_regression" and calibration.abnormals == 30
    good, weak, wrong = calibration.weights
    assert good > weak > wrong == 0
    assert any("wrong" in w and "good" not in w for w in calibration.warnings)
    plain = fit(["good", "weak", "wrong"], HeldOut(normal))
    recall, of_plain = (
        (c.score(rng.normal(size=(2000, 3)) + [3.0, 1.0, -2.0]) > c.threshold).mean()
        for c in (calibration, plain)
    )
    assert recall > of_plain + 0.1


TAILS = {
    "normal": stats.norm(),
    "exponential": stats.expon(),
    "gamma": stats.gamma(2),
    "logistic": stats.logistic(),
}


def _false_alarm_rate(tail, n, contamination, rate, repeats=60) -> float:
    """Mean false-alarm rate on fresh clean images, from the distribution function: without sampling noise.

    Mislabelled images lie about 5 standard deviations above the 99.9 % quantile of the normal ones.
    """
    rng = np.random.default_rng(7)
    rates = []
    for _ in range(repeats):
        values = tail.rvs(n, random_state=rng)
        wrong = rng.random(n) < contamination
        values[wrong] = tail.isf(1e-3) + tail.std() * rng.normal(5, 1.5, wrong.sum())
        fitted = fit(["a"], HeldOut(values[:, None]), false_alarm_rate=rate)
        rates.append(tail.sf(fitted.center[0] + fitted.scale[0] * fitted.threshold))
    return float(np.mean(rates))


@pytest.mark.parametrize("contamination", [0.0, 0.05, 0.2])
@pytest.mark.parametrize("tail", TAILS)
def test_observed_false_alarm_rate(tail, contamination):
    # 60 images cannot support 1 %: clean ones would give 1/61.
    for n, rate, low, high in ((60, 0.05, 0.025, 0.08), (300, 0.05, 0.035, 0.07), (300, 0.01, 0.005, 0.02)):
        # A fifth of hidden images widens the spread by which they are set aside: some of them stay.
        low = low * 0.8 if contamination == 0.2 else low
        assert low < _false_alarm_rate(TAILS[tail], n, contamination, rate) < high, (n, rate)


def test_a_long_tail_is_not_set_aside_bit_by_bit():
    """400 exponential scores, by their quantiles: once 4.5 spreads above the median 3 lie, and no more go.

    Median and 70 % quantile are 0.6932 and 1.2023: the limit is 0.6932 + 4.5 * 0.5092 / 0.5244 = 5.062.
    """
    scores = -np.log(1 - (np.arange(400) + 0.5) / 400)
    keep = plausible(scores)
    assert keep.sum() == 397 and scores[keep].max() < 5.062 < scores[~keep].min()


def test_mislabelled_images_that_were_not_set_aside_would_drag_the_threshold_up():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(size=160), rng.normal(9, 1.5, size=40)])
    assert tail_threshold(values, 0.01, []) > 9
    fitted = fit(["a"], HeldOut(values[:, None]), false_alarm_rate=0.01)
    assert fitted.set_aside == tuple(range(160, 200)) and fitted.normals == 160
    assert 1.8 < fitted.center[0] + fitted.scale[0] * fitted.threshold < 3.5
    assert any(w.startswith("40 of 200") for w in fitted.warnings)
    # Those that a person has found normal are borne, however high they score.
    checked = [False] * 190 + [True] * 10
    fitted = fit(["a"], HeldOut(values[:, None], checked=checked), false_alarm_rate=0.01)
    assert fitted.set_aside == tuple(range(160, 190)) and fitted.normals == 170
    assert fitted.center[0] + fitted.scale[0] * fitted.threshold > values[190:].min()


def test_fused_score_with_contaminated_normals_and_known_abnormals():
    rng = np.random.default_rng(4)
    normal = np.concatenate([rng.normal(size=(180, 3)), rng.normal(size=(20, 3)) + [9, 9, 0]])
    held_out = HeldOut(normal, rng.normal(size=(20, 3)) + [7, 7, 0])
    calibration = fit(["a", "b", "noise"], held_out, false_alarm_rate=0.05)
    assert calibration.set_aside == tuple(range(180, 200))
    assert 0.02 < (calibration.score(rng.normal(size=(20000, 3))) > calibration.threshold).mean() < 0.1


@pytest.mark.parametrize(
    ("held_out", "rate", "message"),
    [
        (HeldOut(np.zeros((5, 3))), 0.01, r"shape \(5, 3\)"),
        (HeldOut(np.array([[0.0, 1.0], [2.0, np.nan]])), 0.01, r"'b' of row 1 is nan"),
        (HeldOut(np.zeros((1, 2))), 0.01, "at least 2 held-out normal images, got 1"),
        (HeldOut(()), 0.01, "at least 2 held-out normal images, got 0"),
        (HeldOut(np.zeros((5, 2))), 1.0, "calibration.false_alarm_rate must be between 0 and 1, got 1.0"),
        (HeldOut(np.zeros((5, 2))), 0.0, "calibration.false_alarm_rate must be between 0 and 1, got 0.0"),
        (HeldOut(np.zeros((5, 2)), np.zeros((5, 1))), 0.01, r"shape \(5, 1\)"),
        (HeldOut(np.zeros((5, 2)), synthetic=np.zeros((9, 3))), 0.01, r"shape \(9, 3\)"),
    ],
)
def test_bad_arguments(held_out, rate, message):
    with pytest.raises(ValueError, match=message):
        fit(["a", "b"], held_out, rate)


def test_score_refuses_what_is_not_finite():
    # NaN > threshold is False: a broken image would pass as normal.
    calibration = fit(["a", "b"], HeldOut(np.random.default_rng(0).normal(size=(30, 2))))
    with pytest.raises(ValueError, match="'a' of row 1 is inf"):
        calibration.score(np.array([[0.0, 0.0], [np.inf, 0.0]]))


@pytest.mark.parametrize(("share", "most_false_alarms"), [(0.0, 0.015), (0.05, 0.02)])
def test_threshold_with_hidden_abnormal_images_that_overlap_the_normal_ones(share, most_false_alarms):
    """Hidden images 4 deviations away on average, as spread as the known ones: too near for a gap to show."""
    rng = np.random.default_rng(3)
    false_alarms, recall = [], []
    for _ in range(40):
        hidden = round(share * 150)
        normal = np.concatenate([rng.standard_normal(150 - hidden), 4 + 2 * rng.standard_normal(hidden)])
        found = fit(["a"], HeldOut(normal[:, None], 4 + 2 * rng.standard_normal((20, 1))), 0.01)
        false_alarms.append(np.mean(found.score(rng.standard_normal((4000, 1))) > found.threshold))
        recall.append(np.mean(found.score(4 + 2 * rng.standard_normal((4000, 1))) > found.threshold))
    assert 0.004 < np.mean(false_alarms) < most_false_alarms
    assert np.mean(recall) > 0.62  # 0.80 for the true 99 % quantile


def test_ignored_components_get_no_weight_however_well_they_tell_the_images_apart():
    rng = np.random.default_rng(0)
    normal, abnormal = rng.standard_normal((100, 3)), rng.standard_normal((9, 3)) + [2.0, 50.0, 2.0]
    names, ignored = ("memory", "patches", "likeness"), ("discriminator", "patches")
    calibration = fit(names, HeldOut(normal, abnormal), ignored=ignored)
    assert calibration.weights[1] == 0 and calibration.weights[0] > 0 and calibration.weights[2] > 0
    assert not any("patches" in warning for warning in calibration.warnings)


@pytest.mark.parametrize("tail", ["normal", "logistic", "t"])
def test_the_promised_rate_holds_beside_known_abnormal_images_whatever_the_tail(tail):
    """No image is hidden, but known ones overlap the upper tail: to set that aside would double the rate."""
    distribution = {**TAILS, "t": stats.t(5)}[tail]
    rng, rates = np.random.default_rng(8), []
    for _ in range(100):
        normal = distribution.rvs((280, 1), random_state=rng) / distribution.std()
        found = fit(["a"], HeldOut(normal, 4 + 1.7 * rng.standard_normal((26, 1))), 0.01)
        fresh = distribution.rvs((2000, 1), random_state=rng) / distribution.std()
        rates.append(np.mean(found.score(fresh) > found.threshold))
    assert 0.004 < np.mean(rates) < 0.015


def test_what_scores_lower_than_known_abnormal_images_is_not_set_aside():
    """Twelve unusual normal images lie in a group below the known defects; eight hidden ones among those."""
    rng = np.random.default_rng(0)
    usual, unusual, hidden = rng.standard_normal(180), rng.uniform(8, 10, 12), rng.uniform(18, 22, 8)
    normal, known = np.concatenate([usual, unusual, hidden])[:, None], rng.uniform(17, 23, (12, 1))
    # Nothing known: both groups leave a gap.
    assert fit(("a",), HeldOut(normal)).set_aside == tuple(range(180, 200))
    calibration = fit(("a",), HeldOut(normal, known))
    assert calibration.set_aside == tuple(range(192, 200))
    highest = calibration.score(unusual[:, None]).max()
    assert highest < calibration.threshold < calibration.score(hidden[:, None]).min()


def test_what_is_written_leaves_the_map_out():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(size=40), rng.normal(9, 1.5, size=2)])
    calibration = fit(["a"], HeldOut(values[:, None]))
    assert calibration.set_aside == (40, 41)
    of_map = dataclasses.replace(calibration, map_center=(1.0,), map_scale=(2.0,))
    written = of_map.to_dict()
    assert written["set_aside"] == [40, 41]
    assert not {"map_center", "map_scale"} & set(written)
    assert Calibration.from_dict(written) == calibration


def test_without_known_images_the_base_weighs_the_same_and_the_others_nothing():
    normal = np.random.default_rng(0).standard_normal((50, 4))
    calibration = fit(("a", "b", "c", "d"), HeldOut(normal), base=("b", "d", "e"))
    assert calibration.weights == (0.0, 0.5, 0.0, 0.5) and calibration.bias == 0
    assert calibration.base == ("b", "d") and calibration.clip_low == -20.0
    # Where none of it is there, all are.
    assert fit(("a", "b"), HeldOut(normal[:, :2]), base=("e",)).weights == (0.5, 0.5)


def test_few_known_images_move_the_weights_little_and_many_as_far_as_they_say():
    """Two components are the base; the known images show in a third, and not in the first."""
    rng = np.random.default_rng(2)
    normal, abnormal = rng.normal(size=(200, 3)), rng.normal(size=(200, 3)) + [0.0, 2.0, 3.0]
    names, base, shares = ("silent", "weak", "strong"), ("silent", "weak"), []
    for count in (1, 5, 20, 200):
        weights = np.array(fit(names, HeldOut(normal, abnormal[:count]), base=base).weights)
        shares.append(weights / weights.sum())
    silent, _, strong = np.transpose(shares)
    assert (np.diff(strong) > 0).all() and strong[-1] > 0.5
    assert silent[0] > 0.25 and silent[1:].max() < 0.1


def test_weights_of_known_images_by_hand():
    """One component, one normal image at -1 and one known one at 1: the loss is 2 log(1 + exp(-w)).

    Its slope -2 / (1 + exp(w)) and that of the prior, FIRMNESS (w - 1), cancel; the bias is 0 by symmetry.
    """
    weights, bias = known_weights(np.array([[-1.0]]), np.array([[1.0]]), np.array([1.0]), [0])
    assert FIRMNESS * (weights[0] - SLOPE) == pytest.approx(2 / (1 + np.exp(weights[0])), rel=1e-3)
    assert bias == pytest.approx(0.0, abs=1e-3)


def test_known_images_that_point_the_wrong_way_leave_the_score_to_the_base():
    rng = np.random.default_rng(2)
    normal = rng.normal(size=(100, 2))
    lower = fit(["a", "b"], HeldOut(normal, rng.normal(size=(40, 2)) - 5))
    assert lower.method == "robust_z_sum" and lower.weights == (0.5, 0.5)
    assert any("no component is higher" in w for w in lower.warnings)


def test_a_component_that_says_next_to_nothing_is_dropped():
    rng = np.random.default_rng(11)
    normal, abnormal = rng.normal(size=(400, 3)), rng.normal(size=(200, 3)) + [3.0, 2.0, 0.0]
    calibration = fit(["good", "weak", "nothing"], HeldOut(normal, abnormal), base=("good", "weak"))
    assert calibration.weights[2] == 0 and any(w.endswith("without: nothing") for w in calibration.warnings)
    without = fit(["good", "weak"], HeldOut(normal[:, :2], abnormal[:, :2]))
    assert calibration.weights[:2] == pytest.approx(without.weights, rel=0.02)


def test_what_is_tested_joins_the_base_only_where_it_finds_more_synthetic_defects():
    """Of 60 synthetic defects the memory finds some; a likeness that finds more of them counts too."""
    rng = np.random.default_rng(12)
    normal, names = rng.normal(size=(300, 3)), ("memory", "likeness", "patches")
    synthetic = rng.normal(size=(60, 3)) + [1.5, 2.5, 5.0]
    better = fit(names, HeldOut(normal, synthetic=synthetic, tested=("likeness",)), base=("memory",))
    assert better.base == ("memory", "likeness") and better.weights == (0.5, 0.5, 0.0)
    synthetic[:, 1] -= 2.0
    worse = fit(names, HeldOut(normal, synthetic=synthetic, tested=("likeness",)), base=("memory",))
    assert worse.base == ("memory",) and worse.weights == (1.0, 0.0, 0.0)
    assert fit(names, HeldOut(normal, tested=("likeness",)), base=("memory",)).base == ("memory",)
    # The feature residual counts half.
    both = fit(("feature_residual", "memory"), HeldOut(normal[:, :2]))
    assert both.weights == pytest.approx((1 / 3, 2 / 3))
    # Where the base finds them all, nothing is proved by finding them, too.
    synthetic += 30.0
    both = fit(names, HeldOut(normal, synthetic=synthetic, tested=("likeness",)), base=("memory",))
    assert both.base == ("memory",)


def kept(**changes) -> Calibration:
    """The calibration of a run with what another threshold needs."""
    rng = np.random.default_rng(0)
    held_out = HeldOut(rng.gumbel(size=(30, 2)), trained=rng.gumbel(size=(90, 2)) - 1)
    found = fit(["a", "b"], held_out, **changes)
    return with_pixel_threshold(found, held_out, rng.gumbel(size=120))


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.05, 0.3, 0.99])
def test_another_rate_gives_what_a_training_with_it_gives(rate):
    """To the bit, and through the JSON of a run folder or bundle; so does the training's own rate."""
    trained, other = kept(false_alarm_rate=rate), kept(false_alarm_rate=0.02)
    assert len(other.normal_scores) == other.normals == len(other.normal_highest)
    stored = Calibration.from_dict(json.loads(json.dumps(other.to_dict())))
    found = stored.at(false_alarm_rate=rate)
    for name in ("threshold", "pixel_threshold", "false_alarm_rate"):
        assert getattr(found, name) == getattr(trained, name), name
    assert [w for w in trained.warnings if "normal images show no" in w] == list(found.warnings)
    own = trained.at(false_alarm_rate=rate)
    assert own == trained


def test_a_band_has_the_thresholds_of_its_rates():
    found = kept().at(review_band=(0.001, 0.1))
    low, high = (kept().at(false_alarm_rate=rate) for rate in (0.001, 0.1))
    assert (found.threshold, found.pixel_threshold) == (low.threshold, low.pixel_threshold)
    assert found.look_threshold == high.threshold < found.threshold
    labels = [found.label(s) for s in (found.look_threshold, found.threshold, found.threshold + 1e-9)]
    assert labels == ["normal", "look", "abnormal"]
    assert found.at(threshold=1.0).look_threshold is None


def test_a_threshold_leaves_the_pixel_threshold_and_tells_its_rate():
    own = kept()
    found = own.at(threshold=2.5)
    assert (found.threshold, found.pixel_threshold) == (2.5, own.pixel_threshold)
    assert own.at(threshold=own.threshold).false_alarm_rate == pytest.approx(own.false_alarm_rate)
    # Below the tail, which begins at 1, by counting: 3 of 4 scores are above 0.5, a new one may be too.
    few = dataclasses.replace(own, normal_scores=(0.0, 1.0, 2.0, 3.0))
    assert few.rate(-9.0) == 1 and few.rate(0.5) == 4 / 5
    assert np.isnan(dataclasses.replace(own, normal_scores=()).at(threshold=1.0).false_alarm_rate)


def test_p_values_by_hand():
    found = dataclasses.replace(kept(), normal_scores=(0.0, 1.0, 2.0, 3.0))
    assert [found.p_value(s) for s in (-1.0, 0.0, 2.5, 3.0, 9.0)] == [1.0, 1.0, 0.4, 0.4, 0.2]
    assert dataclasses.replace(found, normal_scores=()).p_value(1.0) is None


@pytest.mark.parametrize(
    "values, message",
    [
        ({"threshold": float("nan")}, "threshold must be a finite number, got nan"),
        ({"threshold": float("inf")}, "threshold must be a finite number, got inf"),
        ({"false_alarm_rate": 0.0}, r"false_alarm_rate must be in \(0, 1\), got 0.0"),
        ({"false_alarm_rate": 1.0}, r"got 1.0"),
        ({"false_alarm_rate": float("nan")}, r"got nan"),
        ({"review_band": (0.05, 0.001)}, "the lower one first, such as 0.001,0.05; got 0.05,0.001"),
        ({"review_band": (0.05, 1.0)}, "got 0.05,1.0"),
        ({"review_band": (0.05,)}, "got 0.05"),
        ({"threshold": 1.0, "false_alarm_rate": 0.1}, "give one of threshold, false_alarm_rate"),
        ({}, "give one of"),
    ],
)
def test_thresholds_that_cannot_be(values, message):
    with pytest.raises(ConfigError, match=message):
        kept().at(**values)


def test_without_scores_a_rate_says_what_to_do():
    old = dataclasses.replace(kept(), normal_scores=(), normal_highest=())
    with pytest.raises(RunError, match="export the run again; or delete detector.json"):
        old.at(false_alarm_rate=0.1)
    assert dataclasses.replace(old, normal_scores=kept().normal_scores).at(
        false_alarm_rate=0.1
    ).pixel_threshold == (old.pixel_threshold)


def test_options_of_a_command():
    with pytest.raises(ConfigError, match="^--threshold and --review_band: give only one of them$"):
        Judging.of_options(1.0, None, "0.1,0.2")
    for text in ("a,b", "0.1", "0.1,0.2,0.3", ""):
        with pytest.raises(ConfigError, match=f"such as 0.001,0.05; got {text}$"):
            Judging.of_options(None, None, text)
    assert Judging.of_options(None, None, "0.001, 0.1").review_band == (0.001, 0.1)
    detector = StandInDetector(calibration=kept())
    assert Judging().applied(detector) == (detector, [])
    judging, lines = Judging(false_alarm_rate=0.001).applied(detector)
    assert judging.threshold == kept().at(false_alarm_rate=0.001).threshold > detector.threshold
    assert lines[0].startswith(f"threshold {judging.threshold:.6g} for a false-alarm rate of 0.001 (")
    assert "extrapolated" in lines[1]
    assert "rate about" in Judging(threshold=1.0).applied(detector)[1][0]
