"""Likeness to the known defects."""

import numpy as np
import pytest

from semi_anogan.scoring.likeness import Likeness, _bag, _direction, patches_of

IDENTITY = np.eye(2, dtype=np.float32)


def image(rng, defect=0.0, side=4):
    """Features of strides 4, 8 and 16 of an image, and the pixels of its defect.

    The features are [2 side, 2 side, 2], [side, side, 3] and [side / 2, side / 2, 2]; a defect adds to the
    first one of the middle scale, over a quarter of the image.
    """
    shapes = (2 * side, 2 * side, 2), (side, side, 3), (side // 2, side // 2, 2)
    features = [rng.normal(0, 1, shape) for shape in shapes]
    features[1][: side // 2, : side // 2, 0] += defect
    where = np.zeros((8 * side, 8 * side), bool)
    where[: 4 * side, : 4 * side] = True
    return [f.astype(np.float32) for f in features], where


def test_the_direction_by_hand():
    """Of two images two patches count each: first the longest, then those that point where the mean does."""
    first = np.float32([[4, 0], [0, 3], [2, 2], [0, 0]])
    second = np.float32([[0, 5], [0, 4], [1, 1], [0, 0]])
    bags = [(first, 2), (second, 2)]
    # Means of the first two: (2, 1.5) and (0, 4.5); their mean (1, 3). Products of the first: 4, 9, 8, 0, so
    # (0, 3) and (2, 2) count; of the second 15, 12. Means (1, 2.5) and (0, 4.5), together (0.5, 3.5).
    np.testing.assert_allclose(_direction(bags), np.float64([0.5, 3.5]) / np.hypot(0.5, 3.5), rtol=1e-6)


def test_a_bag_holds_the_patches_farthest_from_the_normal_mean_and_inside_the_mask():
    from semi_anogan.scoring import likeness

    rng = np.random.default_rng(0)
    features, where = image(rng, 3.0, side=16)
    patches, count = _bag([(features[1:], None)], np.zeros(3, np.float32), np.eye(3, dtype=np.float32))
    assert count == round(0.05 * 256) and len(patches) == likeness.CANDIDATES * count
    lengths = np.square(patches).sum(axis=1)
    assert (np.diff(lengths) <= 1e-5).all()
    nothing = np.zeros_like(where)
    inside, _ = _bag([(features[1:], where)], np.zeros(3, np.float32), np.eye(3, dtype=np.float32))
    assert inside[:, 0].min() > 0.5  # the defect adds 3 there, less at its edge
    whole, _ = _bag([(features[1:], nothing)], np.zeros(3, np.float32), np.eye(3, dtype=np.float32))
    np.testing.assert_array_equal(whole, patches)  # an empty mask says nothing


def test_three_known_defects_are_enough():
    """Values are in standard deviations of normal patches; a defect stands out by what was added."""
    rng = np.random.default_rng(1)
    normal = [image(rng)[0] for _ in range(200)]
    abnormal = [[(image(rng, 4.0)[0], None)] for _ in range(3)]
    likeness = Likeness.fit([patches_of(n) for n in normal], abnormal)
    assert [w.shape for w in likeness.weights] == [(2,), (3,)]  # all scales but the coarsest
    values = np.stack([np.asarray(likeness.values([f[None] for f in n]))[0, :, :, 0] for n in normal])
    assert values.mean() == pytest.approx(0, abs=0.1) and values.std() == pytest.approx(1, rel=0.1)
    new, _ = image(rng, 4.0)
    found = np.asarray(likeness.values([f[None] for f in new]))[0, :, :, 0]
    # The corner is highest: the mean over 3 x 3 sees only defect there.
    assert found.shape == (4, 4) and np.argmax(found) == 0
    assert found[0, 0] > 4 and np.abs(found[3]).max() < 3
    assert likeness.left_out.shape == (3,) and (likeness.left_out > 3).all()


def test_values_are_the_product_of_the_averaged_features():
    """By hand, in float64: 3 x 3 means, the product, and the finer scale averaged to the second one."""
    rng = np.random.default_rng(2)
    features = [
        rng.normal(0, 1, (1, 4, 4, 2)).astype(np.float32),
        rng.normal(0, 1, (1, 2, 2, 3)).astype(np.float32),
    ]
    coarsest = rng.normal(0, 1, (1, 1, 1, 5)).astype(np.float32)
    weights = [rng.normal(0, 1, 2), rng.normal(0, 1, 3)]
    expected = np.full((2, 2), 0.25)
    padded = np.pad(features[0][0].astype(np.float64), ((1, 1), (1, 1), (0, 0)), constant_values=np.nan)
    means = [np.nanmean(padded[i : i + 3, j : j + 3], axis=(0, 1)) for i in range(4) for j in range(4)]
    expected += (np.stack(means) @ weights[0]).reshape(2, 2, 2, 2).mean(axis=(1, 3))
    expected += features[1][0].mean(axis=(0, 1)) @ weights[1]  # 3 x 3 holds all of 2 x 2
    found = Likeness(weights, 0.25).values([*features, coarsest])
    np.testing.assert_allclose(np.asarray(found)[0, :, :, 0], expected, rtol=1e-4, atol=1e-5)


def test_left_out_says_what_the_others_say():
    """A defect of another kind than the rest is not found by their discriminant, though by the one of all."""
    rng = np.random.default_rng(3)
    normal = [image(rng)[0] for _ in range(100)]
    odd = image(rng)[0]
    odd[1][:2, :2, 2] -= 6.0
    abnormal = [[(image(rng, 5.0)[0], None)] for _ in range(4)] + [[(odd, None)]]
    likeness = Likeness.fit([patches_of(n) for n in normal], abnormal)
    assert likeness.left_out[:4].min() > likeness.left_out[4] + 1
    alone = Likeness.fit([patches_of(n) for n in normal], abnormal[:1])
    assert alone.left_out.size == 0


def test_arrays_make_the_same_likeness_and_wrong_ones_are_refused():
    likeness = Likeness([np.float32([1, 2]), np.float32([3])], 0.5, [1.0, 2.0])
    again = Likeness.of_arrays(**likeness.arrays())
    assert [w.tolist() for w in again.weights] == [[1, 2], [3]]
    assert again.bias == 0.5 and again.left_out.tolist() == [1, 2]
    with pytest.raises(ValueError, match="expected weights0"):
        Likeness.of_arrays(bias=0.0, left_out=[], weights1=np.zeros(3))
    with pytest.raises(ValueError, match="must be vectors"):
        Likeness([np.zeros((2, 2))], 0.0)


def test_without_images_of_either_kind_it_is_refused():
    features, _ = image(np.random.default_rng(0))
    with pytest.raises(ValueError, match="at least one normal"):
        Likeness.fit([], [[(features, None)]])
    with pytest.raises(ValueError, match="at least one abnormal"):
        Likeness.fit([patches_of(features)], [])
