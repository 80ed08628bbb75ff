"""The memory of normal patches: which it keeps, how far others are, how its sizes count, and its file."""

import keras
import numpy as np
import pytest

from semi_anogan.config import default_config
from semi_anogan.data.batches import ImageStore
from semi_anogan.data.dataset import Dataset, Example
from semi_anogan.data.image_arrays import resize
from semi_anogan.errors import RunError
from semi_anogan.runs import aspect
from semi_anogan.runs import folder as run_folder
from semi_anogan.scoring import isolation as isolation_module
from semi_anogan.scoring import memory as memory_module
from semi_anogan.scoring.memory import Memory, SizeMemory, embed, whitening
from semi_anogan.scoring.views import scaled


def patches_of(features):
    """All patches of one image's features, list of [h, w, C], finest first: [n, D]."""
    embedded = np.asarray(embed([f[None] for f in features]), np.float32)
    return embedded.reshape(-1, embedded.shape[-1])


def of_one(value, middle=0.0, upper=1.0):
    """A memory of one patch of one dimension."""
    return SizeMemory([[value]], [0.0], [0.0], [[1.0]], middle, upper)


def test_distance_to_the_nearest_kept_patch_by_hand():
    memory = SizeMemory([[0, 0], [3, 4]], [0, 0], center=[1, 1], projection=[[0.5, 0], [0, 0.5]])
    # One position: its features 1 and 9, less the center and halved, are 0 and 4.
    # Nearest is (3, 4), 3 away; over sqrt(2).
    found = memory.distances(np.float32([[[[1, 9]]]]))
    np.testing.assert_allclose(found, np.full((1, 1, 1, 1), 3 / 2**0.5), rtol=1e-6)


def test_how_isolated_a_patch_is_is_taken_off():
    """From 2 it is 2 to the patch at 0, and 3 to that at 5, which is isolated by 2.5: 9 - 6.25 < 4."""
    memory = SizeMemory([[0], [5]], [0, 2.5], [0], [[1]])
    found = np.asarray(memory.distances(np.float32([[[[2], [1], [4]]]])))[0, 0, :, 0]
    # From 1 it is 1 - 0 to the first. From 4, 1 - 6.25 is below 0: nearer than normal patches are.
    np.testing.assert_allclose(found, [2.75**0.5, 1.0, -(5.25**0.5)], rtol=1e-5)


def test_an_image_is_judged_by_the_patches_of_others():
    """A patch each of images 0, 1 and 2, at 0, 2 and 5: the one at 2 is 2 from the others."""
    size = SizeMemory([[0], [2], [5]], [0, 0, 0], [0], [[1]], owner=[0, 1, 2])
    x = np.float32([[[[2]]]])
    np.testing.assert_allclose(size.distances(x), [[[[0]]]], atol=1e-3)
    np.testing.assert_allclose(size.distances(x, left_out=[1]), [[[[2]]]], rtol=1e-5)
    np.testing.assert_allclose(size.distances(x, left_out=[2]), [[[[0]]]], atol=1e-3)
    # Each of several images by its own.
    both = size.distances(np.repeat(x, 2, axis=0), left_out=[2, 1])
    np.testing.assert_allclose(np.ravel(both), [0, 2], rtol=1e-5, atol=1e-3)
    memory = Memory({32: size}).judged_by(np.arange(11.0)[:, None])  # median 5, 80 % quantile 8
    np.testing.assert_allclose(memory.measured([x], left_out=[1])[0], [(2 - 8) / 3], rtol=1e-5)
    # Of a single image there is nothing else to be judged by, and its own patches count.
    alone = SizeMemory([[0], [2]], [0, 0], [0], [[1]], owner=[4, 4])
    np.testing.assert_allclose(alone.distances(x, left_out=[4]), [[[[0]]]], atol=1e-3)
    # Whose its patches are is saved; runs of before do not know it.
    arrays = memory.owned_by([7, 8, 9]).arrays()
    np.testing.assert_allclose(Memory.of_arrays(**arrays).measured([x], left_out=[8])[0], [-2], rtol=1e-5)
    del arrays["owner_32"]
    with pytest.raises(ValueError, match="does not know whose its patches are"):
        Memory.of_arrays(**arrays).measured([x], left_out=[8])


def test_what_one_image_says_alone_counts_half():
    """Images with patches at 0 and 3, at 2, and at 6: d^2 is the mean of the two nearest images' own."""
    size = SizeMemory([[3], [2], [0], [6]], [0, 0, 0, 0], [0], [[1]], owner=[0, 4, 0, 7], support=2)
    x = np.float32([[[[2], [0], [5]]]])
    # From 2: 1 and 0. From 0: 0 and 4. From 5: 1 and 4.
    np.testing.assert_allclose(np.asarray(size.distances(x)).ravel(), [0.5**0.5, 2**0.5, 2.5**0.5], rtol=1e-5)
    # Without image 4. From 2: 1 and 16. From 0: 0 and 36. From 5: 4 and 1.
    found = np.asarray(size.distances(x, left_out=[4])).ravel()
    np.testing.assert_allclose(found, [8.5**0.5, 18**0.5, 2.5**0.5], rtol=1e-5)
    # A single image has no second one.
    alone = SizeMemory([[3], [0]], [0, 0], [0], [[1]], owner=[5, 5], support=2)
    np.testing.assert_allclose(np.asarray(alone.distances(x)).ravel(), [1, 0, 2], atol=1e-3)
    # Runs of before know one image.
    arrays = Memory({64: size}).arrays()
    assert Memory.of_arrays(**arrays).sizes[64].support == 2
    del arrays["support_64"]
    found = Memory.of_arrays(**arrays).sizes[64].distances(x)
    np.testing.assert_allclose(np.asarray(found).ravel(), [0, 0, 1], atol=1e-3)
    with pytest.raises(ValueError, match="support is 2"):
        SizeMemory([[3]], [0], [0], [[1]], support=2)


@pytest.mark.parametrize("count", [2, 3, 8, 9, 31, 700])
def test_the_two_smallest_of_any_number(count):
    values = np.random.default_rng(count).normal(size=(50, count)).astype(np.float32)
    expected = np.sort(values, axis=1)[:, :2].mean(axis=1)
    np.testing.assert_allclose(memory_module._mean_of_smallest(values, 2), expected, rtol=1e-5, atol=1e-6)


def test_each_patch_that_is_kept_knows_its_image():
    patches = [np.full((4, 2), 10.0 * i, np.float32) + np.arange(2.0, dtype=np.float32) for i in range(12)]
    patches[2] += 500
    memory = SizeMemory.fit(patches, 40, seed=0)
    assert set(memory.owner) == set(range(12)) and len(memory.owner) == len(memory.patches)
    for i in set(memory.owner):
        own = memory.patches[memory.owner == i]
        expected = (patches[i][0] - memory.center) @ memory.projection
        np.testing.assert_allclose(own, np.broadcast_to(expected, own.shape), rtol=1e-3, atol=1e-3)


def test_all_patches_are_kept_where_there_are_few_and_a_remembered_one_is_near():
    rng = np.random.default_rng(0)
    images = [[rng.standard_normal((4, 4, 3)), rng.standard_normal((2, 2, 5))] for _ in range(3)]
    memory = SizeMemory.fit([patches_of(image) for image in images], most=48, seed=0)
    assert memory.patches.shape == (48, 8)
    known = [f[None].astype(np.float32) for f in images[1]]
    assert np.max(memory.distances(embed(known))) <= 2e-3
    assert np.min(memory.distances(embed([f + 5 for f in known]))) > 1


def test_every_image_has_as_many_patches_kept():
    """A hidden defect fills its image with rare patches: it has no more of them than others."""
    rng = np.random.default_rng(0)
    patches = [rng.normal(100.0 * (i % 10 == 0), 1.0, (20, 3)).astype(np.float32) for i in range(100)]
    memory = SizeMemory.fit(patches, 500, seed=0)
    assert np.bincount(memory.owner).tolist() == [5] * 100
    again = SizeMemory.fit(patches, 500, seed=0)
    np.testing.assert_array_equal(again.patches, memory.patches)


def test_rare_patches_are_kept_and_plain_background_is_known_by_a_few():
    """Of each image 5 of 100 patches lie far apart, and 95 are background; 10 of each are kept."""
    rng = np.random.default_rng(0)
    patches = [
        np.concatenate([rng.normal(0, 0.1, (95, 8)), rng.normal(0, 5, (5, 8))]).astype(np.float32)
        for _ in range(30)
    ]
    memory = SizeMemory.fit(patches, 300, seed=0)
    size = np.linalg.norm(memory.patches - np.median(memory.patches, axis=0), axis=1)
    rare = size > 2
    assert len(memory.patches) == 300 and set(np.bincount(memory.owner)) == {10}
    assert np.count_nonzero(rare) >= 0.97 * 150  # at random, about 15 of 150 would be


def test_of_an_image_in_doubt_patches_are_kept_at_random():
    """Half of the images are in doubt: what is rare in these may be a defect, and is not preferred."""
    rng = np.random.default_rng(0)
    patches = [
        np.concatenate([rng.normal(0, 0.1, (95, 8)), rng.normal(0, 5, (5, 8))]).astype(np.float32)
        for _ in range(60)
    ]
    memory = SizeMemory.fit(patches, 600, seed=0, doubts=[1.0, 0.0] * 30)
    size = np.linalg.norm(memory.patches - np.median(memory.patches, axis=0), axis=1)
    doubted = memory.owner % 2 == 0
    assert np.count_nonzero(doubted) == 300 and set(memory.doubts[doubted]) == {1.0}
    assert np.count_nonzero(size[~doubted] > 2) >= 0.97 * 150
    assert np.count_nonzero(size[doubted] > 2) <= 0.2 * 150  # about 15


def test_an_image_is_remembered_as_it_is_as_well_as_in_other_light():
    """Half of the patches are of it in other light, and 3 times as far apart: half of those kept are."""
    rng = np.random.default_rng(0)
    patches = [rng.normal(0, [[1.0]] * 40 + [[3.0]] * 40, (80, 4)).astype(np.float32) for _ in range(50)]

    def far(**given):
        kept = SizeMemory.fit(patches, 500, seed=0, **given).patches
        # Of the nearest of all drawn ones: from which half each comes.
        memory = SizeMemory.fit(patches, 10**6, seed=0)
        row = [np.sum((memory.patches - k) ** 2, axis=1).argmin() for k in kept]
        return np.mean(np.array(row) % 80 >= 40)

    assert far() > 0.9
    assert far(upright=[40] * 50) == pytest.approx(0.5, abs=0.06)


def test_how_likely_a_patch_is_to_be_kept_by_hand(monkeypatch):
    """2 and 4 from the nearest image: 2^4 times as likely; compared with a patch of each image."""
    at = np.float32([[0], [2], [6], [6]])
    owner = np.array([0, 1, 2, 2])
    monkeypatch.setattr(isolation_module, "NEIGHBOURS", 1)
    found = memory_module._rarity(at, owner, np.random.default_rng(0))
    np.testing.assert_allclose(found, [2.0**4, 2.0**4, 4.0**4, 4.0**4])
    # What has its equal in another image is still drawn where nothing else is there.
    same = memory_module._rarity(np.zeros((3, 1), np.float32), np.arange(3), np.random.default_rng(0))
    np.testing.assert_allclose(same, [1e-12] * 3)


def test_patches_are_drawn_as_likely_as_they_are():
    """1 of 2 patches of each image, the first three times as likely: of 3 in 4 images it is the first."""
    owner = np.repeat(np.arange(4000), 2)
    rows = memory_module._drawn_alike(
        owner, 4000, np.random.default_rng(0), lambda: np.tile([3.0, 1.0], 4000)
    )
    assert owner[rows].tolist() == list(range(4000))
    assert np.mean(rows % 2 == 0) == pytest.approx(0.75, abs=0.02)
    # Of more images than patches one each of some; of fewer patches all.
    rows = memory_module._drawn_alike(owner, 10, np.random.default_rng(0))
    assert len(rows) == 10 == len(set(owner[rows]))
    rows = memory_module._drawn_alike(np.array([0, 0, 1]), 4, np.random.default_rng(0))
    assert rows.tolist() == [0, 1, 2]


def test_no_patch_counts_as_more_isolated_than_most():
    """A defect that nobody has labelled lies alone: it must not hide those like it behind its isolation."""
    rng = np.random.default_rng(0)
    patches = [rng.normal(0, 1, (10, 2)).astype(np.float32) for _ in range(30)]
    patches[3] = np.full((10, 2), 40, np.float32)
    memory = SizeMemory.fit(patches, 1000, seed=0)
    far = np.linalg.norm(memory.patches - np.median(memory.patches, axis=0), axis=1).argmax()
    assert memory.radii[far] == memory.radii.max()
    assert np.count_nonzero(memory.radii == memory.radii.max()) >= 0.3 * len(memory.radii)


def test_two_sizes_that_say_most_count():
    """Values of 1, 5, 3 and 2 beside held-out ones of median 0 and 80 % quantile 1: 0, 4, 2, 1."""
    memory = Memory({size: of_one(0.0) for size in (32, 64, 96, 128)})
    views = [np.full((1, 1, 1, 1), value, np.float32) for value in (1, 5, 3, 2)]
    value, layer = memory.measured(views)
    np.testing.assert_allclose(value, [(4 + 2) / 2], rtol=1e-5)
    np.testing.assert_allclose(np.asarray(layer).ravel(), [1.0], rtol=1e-5)  # that of 128
    np.testing.assert_allclose(memory.values(views), [[1, 5, 3, 2]], rtol=1e-5)
    two = Memory({32: of_one(0.0), 64: of_one(0.0)}).measured(views[:2])[0]
    np.testing.assert_allclose(two, [(0 + 4) / 2], rtol=1e-5)
    assert Memory({64: of_one(0.0), 256: of_one(0.0), 384: of_one(0.0)}).map_size == 256


def test_sizes_are_brought_to_one_scale_by_held_out_images():
    held_out = np.stack([np.arange(11.0), 10 * np.arange(11.0)], axis=1)  # medians 5, 50; 80 %: 8, 80
    memory = Memory({32: of_one(0.0), 64: of_one(0.0)}).judged_by(held_out)
    views = [np.full((1, 1, 1, 1), value, np.float32) for value in (11, 170)]
    np.testing.assert_allclose(memory.measured(views)[0], [((11 - 8) / 3 + (170 - 80) / 30) / 2], rtol=1e-5)
    # Of images that are all the same the scale is no division by zero.
    same = Memory({32: of_one(0.0)}).judged_by(np.ones((5, 1)))
    np.testing.assert_allclose(same.measured([np.float32([[[[1.5]]]])])[0], [0.5 / 0.01], rtol=1e-4)


def test_larger_sizes_keep_fewer_patches():
    patches = [[np.random.default_rng(i).normal(size=(300, 2)).astype(np.float32)] * 2 for i in range(20)]
    memory = Memory.fit((64, 256), patches, places=(16, 2**13), most=1000, seed=0)
    assert [len(m.patches) for m in memory.sizes.values()] == [
        1000,
        240,
    ]  # 256 x 2^13 = 2^21: of 20 images 12 each


@pytest.mark.parametrize("shape", [(96, 240), (128, 320), (192, 480), (384, 960), (40, 100)])
def test_images_of_another_size_are_those_that_reading_them_gives(shape):
    images = np.random.default_rng(0).uniform(-1, 1, (2, 384, 960, 1)).astype(np.float32)
    found = keras.ops.convert_to_numpy(scaled(images, shape))
    np.testing.assert_allclose(found, np.stack([resize(i, *shape) for i in images]), atol=2e-6)


def test_colour_keeps_its_channels_at_another_size():
    images = np.random.default_rng(0).uniform(-1, 1, (2, 30, 45, 3)).astype(np.float32)
    found = keras.ops.convert_to_numpy(scaled(images, (20, 30)))
    np.testing.assert_allclose(found, np.stack([resize(i, 20, 30) for i in images]), atol=2e-6)


def test_its_file_gives_the_same_memory_and_a_damaged_one_is_named(tmp_path):
    memory = Memory({64: SizeMemory(np.eye(3), [1, 2, 3], [0, 1], np.ones((2, 3)), 0.5, 2.0), 32: of_one(1)})
    run_folder.write_arrays(tmp_path / "memory.npz", memory.arrays())
    again = run_folder.read_arrays(tmp_path / "memory.npz", Memory.of_arrays)
    assert list(again.sizes) == [32, 64]
    for name, value in memory.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], value)
    (tmp_path / "memory.npz").write_bytes((tmp_path / "memory.npz").read_bytes()[:100])
    with pytest.raises(RunError, match=r"memory\.npz: cannot be read"):
        run_folder.read_arrays(tmp_path / "memory.npz", Memory.of_arrays)


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
    wrong = {"patches_64": np.eye(3), "radii_64": np.zeros(3), "center_64": np.zeros(2)}
    np.savez(tmp_path / "memory.npz", **wrong, projection_64=np.ones((2, 4)))
    with pytest.raises(RunError, match=r"memory\.npz: cannot be read: .*\(3, 3\).*\(2, 4\)"):
        run_folder.read_arrays(tmp_path / "memory.npz", Memory.of_arrays)
    np.savez(tmp_path / "memory.npz", patches=np.eye(3))
    with pytest.raises(RunError, match=r"memory\.npz: cannot be read: .*'patches'"):
        run_folder.read_arrays(tmp_path / "memory.npz", Memory.of_arrays)


def test_no_image_is_refused():
    with pytest.raises(ValueError, match="at least one normal image"):
        SizeMemory.fit([], most=4, seed=0)
    with pytest.raises(ValueError, match="at least one normal image"):
        Memory.fit((64,), [], (16,), most=4, seed=0)


def test_doubtful_images_make_less_look_normal():
    """Ten images near one point and one far off, where the doubt is 1.5: d^2 is more there by the half.

    The other half says how far the next image is.
    """
    rng = np.random.default_rng(0)

    def image(center):
        return [rng.normal(center, 0.1, (side, side, 3)).astype(np.float32) for side in (4, 2)]

    images = [image(0.0) for _ in range(10)] + [image(5.0)]
    patches = [patches_of(image) for image in images]
    far, near = (embed([f[None] for f in image]) for image in (image(5.0), images[0]))
    remembered = SizeMemory.fit(patches, 1000, seed=0)
    doubted = SizeMemory.fit(patches, 1000, seed=0, doubts=[0.0] * 10 + [1.5])
    signed = [np.asarray(m.distances(far)) for m in (remembered, doubted)]
    squared = [d * np.abs(d) for d in signed]
    np.testing.assert_allclose(squared[1] - squared[0], 0.75, atol=0.01)
    # Of what the other images show nothing changes.
    np.testing.assert_array_equal(remembered.distances(near), doubted.distances(near))
    arrays = Memory({64: doubted}).arrays()
    again = Memory.of_arrays(**arrays).sizes[64]
    np.testing.assert_array_equal(again.distances(far), doubted.distances(far))
    # Runs of before know no doubts.
    del arrays["doubts_64"]
    np.testing.assert_array_equal(
        Memory.of_arrays(**arrays).sizes[64].distances(far), remembered.distances(far)
    )


def dataset_of(height, width) -> Dataset:
    """Normal training images of noise."""
    images = np.random.default_rng(0).uniform(-1, 1, (3, height, width, 1)).astype(np.float32)
    examples = tuple(Example(str(i), "train", "normal", key=i) for i in range(3))
    return Dataset("noise", examples, lambda example: images[example.key])


@pytest.mark.parametrize(
    ("size", "changes", "sizes", "view"),
    [
        ((28, 28), {}, "64,96,128", 128),  # enlarged to what the features see, no further
        ((300, 300), {}, "64,96,128,256", 256),
        ((1250, 500), {}, "64,96,128,256,384", 384),
        ((300, 300), {"features.sizes": "64, 80"}, "64, 80", 128),
        ((300, 300), {"features.sizes": ""}, "", 128),
        ((300, 300), {"images.tile": True}, "64,96,128", 128),
        ((300, 300), {"features.name": ""}, "", 64),
    ],
)
def test_the_sizes_follow_from_the_images(size, changes, sizes, view):
    config = default_config()
    config.update_from_flattened_dict(changes)
    aspect.resolve(config, dataset_of(*size))
    assert config.features.sizes == sizes and aspect.view_side(config) == view
    told = [line for line in aspect.told(config, dataset_of(*size)) if "memory" in line]
    several = len(sizes.split(",")) > 1 and not changes.get("images.tile")
    said = "the memory compares images at short sides of " + ", ".join(map(str.strip, sizes.split(",")))
    assert told == ([f"{said} pixels"] if several else [])
    config.parts.memory = 0
    assert not [line for line in aspect.told(config, dataset_of(*size)) if "memory" in line]


def test_images_are_trained_on_as_they_are_scored():
    """Through the largest size; straight to the model's they would be other images."""
    data = dataset_of(300, 300)
    store = ImageStore(data, 64, image_size=128, view_size=256)
    image = data.read_image(data.examples[0])
    scored = keras.ops.convert_to_numpy(scaled(resize(image, 256, 256)[None], (128, 128)))[0]
    np.testing.assert_allclose(store.image(data.examples[0]), scored, atol=1e-6)
    assert np.abs(resize(image, 128, 128) - scored).max() > 0.05
