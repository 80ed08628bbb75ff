"""Random patches of normal images, and how unlike each image is to the others."""

import numpy as np

from semi_anogan.scoring import likeness
from semi_anogan.scoring.patch_samples import PatchSamples, draw, isolation


def features(rng, value=None):
    """Features of strides 8, 16 and 32 of an image: [8, 8, 2], [4, 4, 3] and [2, 2, 4]."""
    maps = [rng.standard_normal((8, 8, 2)), rng.standard_normal((4, 4, 3)), rng.standard_normal((2, 2, 4))]
    return [(m if value is None else np.full_like(m, value)).astype(np.float32) for m in maps]


def views(rng, value=None):
    """Views of an image at two sizes: [2, 2, 5] and [4, 4, 5]."""
    found = [rng.standard_normal((side, side, 5)) for side in (2, 4)]
    return [(v if value is None else np.full_like(v, value)).astype(np.float32) for v in found]


def rows(array):
    return {row.tobytes() for row in array}


def test_of_each_image_as_many_patches_are_drawn_and_they_are_its_own():
    rng = np.random.default_rng(0)
    images = [[(features(rng), views(rng))] for _ in range(5)]
    drawn = draw(iter(images), seed=3, pool=30)
    assert [([len(m) for m in p.memory], len(p.likeness)) for p in drawn] == [([4, 6], 6)] * 5
    for patches, ((tile, of_tile),) in zip(drawn, images, strict=True):
        for found, view in zip(patches.memory, of_tile, strict=True):
            assert len(rows(found)) == len(found)
            assert rows(found) <= rows(view.reshape(-1, view.shape[-1]))
        assert rows(patches.likeness) <= rows(likeness.patches_of(tile))
        # No view of more that was drawn of the first images, which would stay in the computer's memory.
        assert all(array.base is None for array in (*patches.memory, patches.likeness))
    again = draw(iter(images), seed=3, pool=30)
    for a, b in zip(drawn, again, strict=True):
        for one, other in zip(a.memory, b.memory, strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(a.likeness, b.likeness)
    other = draw(iter(images), seed=4, pool=30)
    assert any(rows(a.memory[1]) != rows(b.memory[1]) for a, b in zip(drawn, other, strict=True))


def test_patches_of_all_tiles_of_an_image_are_drawn():
    rng = np.random.default_rng(0)
    tiles = [(features(rng, value), views(rng, value)) for value in (1.0, 2.0)]
    (patches,) = draw([tiles], seed=0)
    # 2 x 2 and 4 x 4 of each tile; the likeness has all scales but the last, 2 + 3 channels.
    assert [m.shape for m in patches.memory] == [(8, 5), (32, 5)] and patches.likeness.shape == (32, 5)
    assert all({1.0, 2.0} == set(np.unique(m)) for m in patches.memory)


def test_the_image_unlike_the_others_is_the_most_isolated():
    """Ten images near 0, the fourth with one patch far off; of two new ones one is far from all of them."""
    rng = np.random.default_rng(1)

    def image(far=0.0):
        patches = rng.normal(0, 1, (20, 3)).astype(np.float32)
        patches[0] += far
        return PatchSamples((np.zeros_like(patches), patches), patches)

    images = [image(30.0 if i == 3 else 0.0) for i in range(10)]
    found = isolation(images)
    assert np.argmax(found) == 3 and found[3] > 2 * np.sort(found)[-2]
    near, far = isolation([image(), image(-30.0)], images)
    assert far > 2 * near
    assert isolation(images[:1]).tolist() == [0.0]
