"""Which image is worth a label next: by hand-computed values."""

import numpy as np
import pytest

from semi_anogan.review.worth import order


def test_the_doubtful_come_first():
    assert order([9.0, 1.2, 0.0, 2.5], 2.0).tolist() == [3, 1, 2, 0]


def test_what_is_the_same_as_one_before_waits():
    """Distances from the threshold 0, 0.1, 0.4, 3: median 0.25. Images 0 and 1 are the same."""
    looks = np.array([[0.0], [0.0], [4.0], [8.0]])  # apart: 0, 4, 8, 4, 8, 4; the median is 4
    # Doubts 1, 0.714, 0.385, 0.077. After image 0, image 1 counts half: 0.357, less than 0.385.
    assert order([2.0, 2.1, 1.6, 5.0], 2.0, lambda i: looks[i]).tolist() == [0, 2, 1, 3]
    assert order([2.0, 2.1, 1.6, 5.0], 2.0).tolist() == [0, 1, 2, 3]


def test_only_the_most_doubtful_are_looked_at_and_what_cannot_be_read_is_unlike_all():
    asked = []

    def describe(index):
        asked.append(index)
        return None if index == 1 else np.zeros(2)

    # 0 and 2 are the same; 1 is unlike all, so it stays before 2 although that is about as doubtful.
    found = order([2.0, 2.2, 2.1, 9.0, 7.0], 2.0, describe, among=3)
    assert found.tolist() == [0, 1, 2, 4, 3] and sorted(asked) == [0, 1, 2]


def test_a_score_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="scores and threshold must be finite"):
        order([1.0, float("nan")], 0.0)
    assert order([], 0.0).tolist() == []
