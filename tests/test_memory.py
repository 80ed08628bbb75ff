"""The memory of normal patches: which patches it keeps, how far others are, and its file."""

import numpy as np
import pytest

from semi_anogan.errors import RunError
from semi_anogan.runs import folder as run_folder
from semi_anogan.scoring.memory import Memory, _farthest, isolation, patches_of, whitening


def test_the_coreset_takes_the_farthest_each_time():
    points = np.float32([[0], [1], [2], [10]])

    class First:
        @staticmethod
        def integers(count):
            return 0

    # 10 is farthest from 0; then 2 is 2 away, 1 only 1.
    assert _farthest(points, 3, First).tolist() == [0, 3, 2]
    assert sorted(_farthest(points, 4, First).tolist()) == [0, 1, 2, 3]


def test_distance_to_the_nearest_kept_patch_by_hand():
    memory = Memory([[0, 0], [3, 4]], center=[1, 1], projection=[[0.5, 0], [0, 0.5]])
    # One position: its fine feature is 1 and its coarse one 9; less the center and halved 0 and 4.
    # Nearest is (3, 4), 3 away; over sqrt(2).
    features = [np.full((1, 1, 1, 1), 1, np.float32), np.full((1, 1, 1, 1), 9, np.float32)]
    np.testing.assert_allclose(memory.distances(features), np.full((1, 1, 1, 1), 3 / 2**0.5), rtol=1e-6)


def test_a_remembered_image_is_at_distance_zero_and_another_is_not():
    rng = np.random.default_rng(0)
    images = [[rng.standard_normal((4, 4, 3)), rng.standard_normal((2, 2, 5))] for _ in range(3)]
    memory = Memory.fit([patches_of(image) for image in images], size=48, seed=0)
    assert memory.patches.shape == (48, 8)
    known = [f[None].astype(np.float32) for f in images[1]]
    assert np.max(memory.distances(known)) < 2e-3
    assert np.min(memory.distances([f + 5 for f in known])) > 1


def test_its_file_gives_the_same_memory_and_a_damaged_one_is_named(tmp_path):
    memory = Memory(np.eye(3), center=[0, 1], projection=np.ones((2, 3)))
    run_folder.write_arrays(tmp_path / "memory.npz", memory.arrays())
    again = run_folder.read_arrays(tmp_path / "memory.npz", Memory)
    for name, value in memory.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], value)
    (tmp_path / "memory.npz").write_bytes((tmp_path / "memory.npz").read_bytes()[:100])
    with pytest.raises(RunError, match=r"memory\.npz: cannot be read"):
        run_folder.read_arrays(tmp_path / "memory.npz", Memory)


def test_whitened_patches_vary_the_same_in_every_direction():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20000, 2)).astype(np.float32) @ np.float32([[3, 1], [0, 0.5]])
    x += np.float32([5, -2])
    center, projection = whitening(x, 2)
    np.testing.assert_allclose(center, [5, -2], atol=0.1)
    # Standardised, the two are correlated by r = 3 / sqrt(9) / sqrt(1.25): along the diagonals the variances
    # are 1 - r and 1 + r.
    r = 1 / 1.25**0.5
    variances = np.array([1 - r, 1 + r])
    expected = np.diag(variances / (variances + 0.1))
    np.testing.assert_allclose(np.cov(((x - center) @ projection).T), expected, atol=0.02)


def test_arrays_that_do_not_fit_together_are_refused(tmp_path):
    np.savez(tmp_path / "memory.npz", patches=np.eye(3), center=np.zeros(2), projection=np.ones((2, 4)))
    with pytest.raises(RunError, match=r"memory\.npz: cannot be read: .*\(3, 3\).*\(2, 4\)"):
        run_folder.read_arrays(tmp_path / "memory.npz", Memory)


def test_no_image_is_refused():
    with pytest.raises(ValueError, match="at least one normal image"):
        Memory.fit([], size=4, seed=0)


def test_images_least_like_the_others_are_not_remembered():
    """Ten images near one point and one far off; without it every distance from there is large."""
    rng = np.random.default_rng(0)

    def image(center):
        return [rng.normal(center, 0.1, (side, side, 3)).astype(np.float32) for side in (4, 2)]

    images = [image(0.0) for _ in range(10)] + [image(5.0)]
    patches = [patches_of(image) for image in images]
    far = [f[None] for f in image(5.0)]
    remembered = Memory.fit(patches, 40, seed=0)
    trimmed = Memory.fit(patches, 40, seed=0, trim_share=0.1)
    assert np.asarray(remembered.distances(far)).max() < 0.5 * np.asarray(trimmed.distances(far)).min()
    near = [f[None] for f in images[0]]
    assert np.asarray(trimmed.distances(near)).max() < 0.5 * np.asarray(trimmed.distances(far)).min()
    # Who has looked at it and says that it is normal is right, whatever it looks like.
    checked = Memory.fit(patches, 40, seed=0, trim_share=0.1, checked=[False] * 10 + [True])
    assert np.asarray(checked.distances(far)).max() < 0.5 * np.asarray(trimmed.distances(far)).min()
    # Where all were looked at none is left out.
    everyone = Memory.fit(patches, 1000, seed=0, trim_share=0.5, checked=[True] * 11)
    assert len(everyone.patches) == 11 * 16


def test_isolation_by_hand():
    """The nearest of another image is 1 away for the first two, 4 and 5 for the third, whose worst counts."""
    patches = [np.float32([[0.0]]), np.float32([[1.0]]), np.float32([[5.0], [6.0]])]
    np.testing.assert_allclose(isolation(patches), [1.0, 1.0, 5.0])
    others = [np.float32([[2.0]]), np.float32([[9.0], [5.5]])]
    np.testing.assert_allclose(isolation(others, patches), [1.0, 3.0])
