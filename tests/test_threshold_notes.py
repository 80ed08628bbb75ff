"""Hand-made test scores: what is told of a threshold that does not suit them."""

import numpy as np

from semi_anogan.evaluation.threshold_notes import threshold_notes


def told(normal, abnormal, threshold, asked=0.01):
    scores = np.array([*normal, *abnormal], float)
    return threshold_notes(np.arange(len(scores)) >= len(normal), scores, threshold, asked)


def test_a_threshold_that_hidden_defects_have_raised():
    """100 normal scores 0 to 99, 20 abnormal ones 90 to 109: above 99, the highest of normal ones, are 10."""
    normal, abnormal = range(100), range(90, 110)
    (line,) = told(normal, abnormal, 107.5)
    assert line.startswith(
        "the threshold is higher than the test images need: it finds 10% of the abnormal ones; one that 1 % "
        "of the normal ones exceed would find 50%."
    )
    assert "calibration.mislabelled_share" in line
    assert told(normal, abnormal, 102.5) == []  # 35 %: 15 points less
    assert told(normal, abnormal, 104.5)  # 25 %
    assert told(normal, abnormal, 99.5) == []
    assert told(range(19), abnormal, 107.5) == told(normal, range(100, 109), 107.5) == []  # too few
    assert "one that 5 % of the normal ones exceed would find 70%" in told(normal, abnormal, 107.5, 0.05)[0]


def test_more_false_alarms_than_were_asked_for():
    """6 of 100 where 1 are asked: by chance in 5 of 10,000 cases; 5: in 34; 2 are twice as many."""
    normal = [0] * 94 + [2] * 6
    (line,) = told(normal, [3] * 10, 1)
    assert line.startswith("6 of 100 normal test images are above the threshold, where 1 % were asked")
    assert told([0] * 95 + [2] * 5, [3] * 10, 1) == []
    assert told(normal, [3] * 10, 1, asked=0.05) == []
    assert told([0] * 2000 + [2] * 40, [3] * 10, 1, asked=0.011) == []  # not twice as many


def test_a_threshold_that_suits():
    assert told([0] * 99 + [2], [3] * 10, 1) == []
    assert told([0] * 100, [0] * 10, 1) == []  # none would be found by another one either
