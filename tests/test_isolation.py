"""How far patches and images are from those of other images."""

import numpy as np
import pytest

from semi_anogan.scoring.isolation import FAR, by_image, isolation, isolation_of_patches


def test_isolation_of_patches_by_hand():
    """Of seven images with a patch each, at 0, 1, 3, 6, 10, 15 and 21, the fifth nearest other one."""
    at = np.float32([0, 1, 3, 6, 10, 15, 21])[:, None]
    found = isolation_of_patches(at, np.arange(7), block=2)
    np.testing.assert_allclose(found, [15, 14, 12, 9, 10, 14, 20], rtol=1e-5)
    # Patches of one image do not make each other common, and of few images the last counts.
    found = isolation_of_patches(np.float32([[0], [0], [4], [7]]), np.array([0, 0, 1, 2]))
    np.testing.assert_allclose(found, [7, 7, 4, 7], rtol=1e-5)
    assert isolation_of_patches(np.float32([[0], [9]]), np.array([3, 3])).tolist() == [0, 0]
    # Compared with those at 3, 6 and 10 alone: of two or three other images the second nearest.
    found = isolation_of_patches(at, np.arange(7), among=np.array([2, 3, 4]), block=2)
    np.testing.assert_allclose(found, [6, 5, 7, 4, 7, 9, 15], rtol=1e-5)


def test_isolation_by_hand():
    """From 0 the other images are 1 and 5 away, from 1 they are 1 and 4, from 6, the worst, 5 and 6."""
    patches = [np.float32([[0.0]]), np.float32([[1.0]]), np.float32([[5.0], [6.0]])]
    np.testing.assert_allclose(isolation(patches), np.sqrt([13.0, 8.5, 30.5]))
    others = [np.float32([[2.0]]), np.float32([[9.0], [5.5]])]
    np.testing.assert_allclose(isolation(others, patches), np.sqrt([2.5, 36.5]))
    # Of one other image it is the distance to that.
    np.testing.assert_allclose(isolation(patches[:2]), [1.0, 1.0])


def test_patches_by_image_by_hand():
    """Image 5 has two patches, image 2 one: it is filled up with one that is far."""
    patches = np.float32([[1, 2], [3, 4], [5, 6]])
    found, added, owners = by_image(patches, np.float32([10, 20, 30]), np.array([5, 2, 5]))
    assert owners.tolist() == [2, 5]
    np.testing.assert_array_equal(found, [[[3, 4], [1, 2]], [[0, 0], [5, 6]]])
    np.testing.assert_array_equal(added, np.float32([[20, 10], [FAR, 30]]))


@pytest.mark.parametrize("most", [1, 2, 5, 8])
def test_isolation_is_the_plain_reckoning_whatever_patches_an_image_has(most):
    """Of nine images of one to `most` patches, in blocks that they do not fill."""
    rng = np.random.default_rng(most)
    owner = np.sort(np.concatenate([np.arange(9), rng.integers(0, 9, 9 * (most - 1))]))
    at = rng.normal(3, 1, (len(owner), 4)).astype(np.float32)
    apart = np.linalg.norm(at[:, None] - at[None], axis=2)
    nearest = np.stack([apart[:, owner == image].min(axis=1) for image in range(9)], axis=1)
    nearest[np.arange(len(owner)), owner] = np.inf
    expected = np.sort(nearest, axis=1)[:, 4] / 2
    np.testing.assert_allclose(isolation_of_patches(at, owner, block=7), expected, rtol=1e-3, atol=1e-3)
    # Of images: a tenth of the patches, the farthest, and the two nearest images.
    from_two = np.sqrt((np.sort(nearest, axis=1)[:, :2] ** 2).mean(axis=1))
    of_images = [np.sort(from_two[owner == image]) for image in range(9)]
    expected = [values[-max(1, round(len(values) / 10)) :].mean() for values in of_images]
    found = isolation([at[owner == image] for image in range(9)], pool=1000)
    np.testing.assert_allclose(found, expected, rtol=1e-3)
