"""Held-out training images: how many, which, and that they are kept apart."""

import pytest

from semi_anogan.data.dataset import Dataset, Example
from semi_anogan.data.splits import split
from semi_anogan.errors import ConfigError, DataError


def dataset(normal, abnormal=0, test=3):
    examples = [Example(f"n{i}", "train", "normal") for i in range(normal)]
    examples += [Example(f"a{i}", "train", "abnormal") for i in range(abnormal)]
    examples += [Example(f"t{i}", "test", "abnormal" if i % 2 else "normal") for i in range(test)]
    return Dataset("made up", tuple(examples), lambda example: None)


def names(examples):
    return [e.path for e in examples]


def test_sizes_by_hand():
    splits = split(dataset(normal=102, abnormal=50), 0.2, seed=0)
    assert len(splits.held_out_normal) == 20 and len(splits.normal) == 82  # round(20.4)
    assert len(splits.held_out_abnormal) == 10 and len(splits.abnormal) == 40
    assert names(splits.test) == ["t0", "t1", "t2"]


def test_nothing_is_used_twice_or_lost_and_the_order_is_kept():
    data = dataset(normal=30, abnormal=60)
    splits = split(data, 0.25, seed=3)
    normal, abnormal = (splits.normal, splits.held_out_normal), (splits.abnormal, splits.held_out_abnormal)
    for label, (used, held) in (("n", normal), ("a", abnormal)):
        assert not set(used) & set(held) and not (set(used) | set(held)) & set(splits.test)
        everyone = [e.path for e in data.select("train") if e.path[0] == label]
        assert sorted(names(used + held)) == sorted(everyone)
        assert [n for n in everyone if n in names(used)] == names(used)
        assert [n for n in everyone if n in names(held)] == names(held)


def test_the_seed_decides_and_nothing_else():
    data = dataset(normal=100, abnormal=100)
    first, again, other = split(data, 0.2, seed=1), split(data, 0.2, seed=1), split(data, 0.2, seed=2)
    assert first == again
    assert first.held_out_normal != other.held_out_normal
    assert first.held_out_abnormal != other.held_out_abnormal
    # The choice is at random, not the first or last rows; normal and abnormal ones are not drawn alike.
    held = [int(e.path[1:]) for e in first.held_out_normal]
    assert held not in (list(range(20)), list(range(80, 100)))
    assert held != [int(e.path[1:]) for e in first.held_out_abnormal]


def test_the_number_of_abnormal_images_does_not_move_the_normal_ones():
    with_few, with_many = split(dataset(50, 5), 0.2, 0), split(dataset(50, 80), 0.2, 0)
    assert with_few.held_out_normal == with_many.held_out_normal


@pytest.mark.parametrize(
    "known, held", [(0, 0), (5, 0), (37, 0), (38, 8), (40, 8), (55, 11), (60, 12), (100, 12)]
)
def test_of_the_abnormal_images_eight_to_twelve_are_held_out_or_none(known, held):
    splits = split(dataset(20, known), 0.2, seed=0)  # 37 * 0.2 = 7.4, 38 * 0.2 = 7.6
    assert len(splits.held_out_abnormal) == held and len(splits.abnormal) == known - held


def test_at_least_two_normal_images_are_held_out_and_two_are_left():
    splits = split(dataset(normal=4), 0.01, seed=0)
    assert len(splits.held_out_normal) == 2 and len(splits.normal) == 2
    with pytest.raises(DataError, match="made up: 3 normal training images are too few"):
        split(dataset(normal=3), 0.2, seed=0)
    with pytest.raises(DataError, match="made up: 0 normal"):
        split(dataset(normal=0, abnormal=50), 0.2, seed=0)


@pytest.mark.parametrize("share", [0, 1, -0.2, 20])
def test_errors_name_key_and_value(share):
    told = rf"calibration\.hold_out_share must be between 0 and 1, got {share}$"
    with pytest.raises(ConfigError, match=told):
        split(dataset(10), share, seed=0)
