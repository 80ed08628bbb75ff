"""Batches: a pure function of seed and images seen; what augmentation may do and what not."""

import collections

import numpy as np
import pytest

from semi_anogan.data.batches import Batches, ImageStore
from semi_anogan.data.dataset import Dataset, Example

SIDE = 4


class Source:
    """A data set in memory that counts how often each image is read."""

    def __init__(self, images, masks=None):
        self.images, self.masks = images, masks or {}
        self.reads = collections.Counter()
        self.examples = [
            Example(name, "train", "abnormal" if name.startswith("a") else "normal") for name in images
        ]
        self.normal = [e for e in self.examples if not e.abnormal]
        self.abnormal = [e for e in self.examples if e.abnormal]
        self.dataset = Dataset("memory", tuple(self.examples), self.read, lambda e: self.masks.get(e.path))

    def read(self, example):
        self.reads[example.path] += 1
        return self.images[example.path]

    def batches(self, tile=False, latent_size=3, image_size=None, side=SIDE, **options):
        store = ImageStore(self.dataset, side, tile, image_size=image_size)
        return Batches(store, self.normal, self.abnormal, latent_size, **options)


def flat(value):
    return np.full((SIDE, SIDE, 1), value, np.float32)


def numbered(normal=7, abnormal=3):
    """Normal images 0, 0.01, ...; abnormal images -0.01, -0.02, ..., all of one value."""
    images = {f"n{i}": flat(i / 100) for i in range(normal)}
    return Source(images | {f"a{i}": flat(-(i + 1) / 100) for i in range(abnormal)})


def numbers(batch):
    """Which images are in a batch of numbered()."""
    return np.round(batch["images"][:, 0, 0, 0] * 100).astype(int).tolist()


def same(a, b):
    return all(np.array_equal(a[key], b[key]) for key in a) and a.keys() == b.keys()


def test_pure_function_of_seed_and_images_seen():
    options = {"flips": "hv", "shift_px": 1, "seed": 5}
    rng = np.random.default_rng(0)
    names = ("n0", "n1", "n2", "n3", "n4", "a0", "a1")
    images = {name: rng.random((SIDE, SIDE, 1), np.float32) for name in names}
    first, second = (Source(images).batches(**options) for _ in range(2))
    expected = {seen: first.batch(seen, 3) for seen in (0, 3, 6, 9, 300)}
    for seen in (300, 6, 0, 9, 3):  # another object, in another order
        assert same(second.batch(seen, 3), expected[seen])
    assert same(first.batch(6, 3), expected[6])
    assert not np.array_equal(expected[0]["latents"], expected[3]["latents"])
    assert not np.array_equal(expected[0]["mix"], expected[3]["mix"])


def test_each_epoch_visits_each_normal_image_once():
    batches = numbered(normal=7).batches(seed=1)
    # 21 images: three epochs.
    drawn = [n for step in range(7) for n in numbers(batches.batch(3 * step, 3))[:3]]
    epochs = [drawn[i : i + 7] for i in (0, 7, 14)]
    assert [sorted(e) for e in epochs] == [list(range(7))] * 3
    assert epochs[0] != epochs[1] != epochs[2] and list(range(7)) not in epochs


def test_order_does_not_depend_on_the_batch_size():
    batches = numbered().batches(seed=2)
    whole = numbers(batches.batch(0, 12))[:12]
    parts = [n for seen, size in ((0, 5), (5, 1), (6, 6)) for n in numbers(batches.batch(seen, size))[:size]]
    assert parts == whole


def test_the_seed_decides_order_and_latents():
    a, b = (numbered(normal=50).batches(seed=seed).batch(0, 20) for seed in (0, 1))
    assert numbers(a)[:20] != numbers(b)[:20] and not np.array_equal(a["latents"], b["latents"])


@pytest.mark.parametrize(
    "share, size, count", [(0.5, 4, 2), (0.25, 4, 1), (0.25, 2, 1), (0.01, 4, 1), (1.0, 4, 4)]
)
def test_abnormal_share_and_labels(share, size, count):
    batch = numbered().batches(abnormal_share=share).batch(0, size)
    np.testing.assert_array_equal(batch["labels"], [0] * size + [1] * count)
    assert batch["labels"].dtype == np.float32
    assert all(n >= 0 for n in numbers(batch)[:size]) and all(n < 0 for n in numbers(batch)[size:])


def test_without_known_abnormal_images_there_are_none():
    batches = numbered(abnormal=0).batches()
    batch = batches.batch(0, 4)
    assert batches.abnormal_size(4) == 0 and len(batch["images"]) == 4 and not batch["labels"].any()


def test_abnormal_images_take_turns():
    batches = numbered(abnormal=3).batches(abnormal_share=0.5)
    # Two a batch: two epochs of three.
    drawn = [n for seen in (0, 4, 8) for n in numbers(batches.batch(seen, 4))[4:]]
    assert sorted(drawn[:3]) == sorted(drawn[3:]) == [-3, -2, -1]


def test_attempt_changes_latents_and_augmentation_but_not_the_order():
    texture = np.float32(1e-4) * np.arange(16, dtype=np.float32).reshape(4, 4, 1)
    images = {f"n{i}": flat(i / 100) + texture for i in range(20)}
    batches = Source(images).batches(flips="hv")
    a, b = batches.batch(8, 10), batches.batch(8, 10, attempt=1)
    assert numbers(a) == numbers(b) and not np.array_equal(a["images"], b["images"])
    assert not np.array_equal(a["latents"], b["latents"]) and not np.array_equal(a["mix"], b["mix"])


def test_latents_and_mix():
    batch = numbered().batches(latent_size=64).batch(0, 200)
    latents, mix = batch["latents"], batch["mix"]
    assert latents.shape == (200, 64) and latents.dtype == np.float32  # of the normal images only
    assert latents.min() >= -1 and latents.max() <= 1  # uniform: deviation 1 / sqrt(3)
    assert latents.mean() == pytest.approx(0, abs=0.03) and latents.std() == pytest.approx(3**-0.5, abs=0.02)
    assert mix.shape == (200, 1, 1, 1) and mix.dtype == np.float32
    assert mix.min() >= 0 and mix.max() <= 1
    assert mix.mean() == pytest.approx(0.5, abs=0.1) and np.ptp(mix) > 0.9


def test_draws_of_the_augmentation_change_nothing_else():
    source = numbered()
    plain, augmented = source.batches().batch(8, 40), source.batches(augment_draws=7).batch(8, 40)
    assert set(augmented) - set(plain) == {"augment", "augment_generated"}
    assert all(np.array_equal(plain[name], augmented[name]) for name in plain)
    assert augmented["augment"].shape == (len(plain["images"]), 7)
    assert augmented["augment_generated"].shape == (40, 7)
    for name in ("augment", "augment_generated"):
        assert 0 <= augmented[name].min() < 0.1 < 0.9 < augmented[name].max() < 1
    again = source.batches(augment_draws=7).batch(8, 40, attempt=1)
    assert not np.array_equal(again["augment"], augmented["augment"])


PICTURE = (np.arange(16, dtype=np.float32) / 16).reshape(4, 4, 1)


def variants(batches, steps=20):
    return {image.tobytes() for seen in range(steps) for image in batches.batch(seen, 4)["images"]}


@pytest.mark.parametrize(
    "flips, expected",
    [
        ("", [PICTURE]),
        ("h", [PICTURE, PICTURE[:, ::-1]]),
        ("v", [PICTURE, PICTURE[::-1]]),
        ("hv", [PICTURE, PICTURE[:, ::-1], PICTURE[::-1], PICTURE[::-1, ::-1]]),
        ("r", [PICTURE, np.rot90(PICTURE)]),
        ("hvr", [np.rot90(p, k) for p in (PICTURE, PICTURE[:, ::-1]) for k in range(4)]),
    ],
)
def test_flips_give_just_these_images(flips, expected):
    found = variants(Source({"n": PICTURE}).batches(flips=flips), steps=30)
    assert found == {np.ascontiguousarray(e).tobytes() for e in expected}


def test_shifts_give_just_these_images():
    """One pixel each way, the border repeated: nine images, the unmoved one among them."""
    padded = np.pad(PICTURE, ((1, 1), (1, 1), (0, 0)), mode="edge")
    expected = {padded[i : i + 4, j : j + 4].tobytes() for i in range(3) for j in range(3)}
    assert variants(Source({"n": PICTURE}).batches(shift_px=1), steps=60) == expected and len(expected) == 9


def place(height, width):
    """An image whose value at (y, x) is (10 y + x) / 100."""
    return (np.add.outer(10 * np.arange(height), np.arange(width)) / 100).astype(np.float32)[..., None]


def corners_of(images):
    """(top, left) of crops of `place`, after checking that each is one whole piece of it."""
    first = np.round(images[:, 0, 0, 0] * 100).astype(int)
    for image, value in zip(images, first, strict=True):
        top, left = divmod(int(value), 10)
        np.testing.assert_array_equal(image, place(8, 10)[top : top + 4, left : left + 4])
    return {divmod(int(v), 10) for v in first}


def test_crops_come_from_everywhere():
    batches = Source({"n": place(8, 10)}).batches(tile=True)
    found = corners_of(np.concatenate([batches.batch(seen, 8)["images"] for seen in range(50)]))
    assert found == {(top, left) for top in range(5) for left in range(7)}


@pytest.mark.parametrize("pixel", [(0, 0), (7, 9), (0, 9), (3, 5)])
def test_crop_of_an_abnormal_image_shows_the_abnormal_pixel(pixel):
    mask = np.zeros((8, 10), bool)
    mask[pixel] = True
    source = Source({"n": place(8, 10), "a": place(8, 10)}, {"a": mask})
    batches = source.batches(tile=True, abnormal_share=1.0)
    images = np.concatenate([batches.batch(seen, 8)["images"][8:] for seen in range(30)])
    found = corners_of(images)
    corners = {(top, left) for top in range(5) for left in range(7)}
    expected = {(top, left) for top, left in corners if 0 <= pixel[0] - top < 4 and 0 <= pixel[1] - left < 4}
    assert found == expected  # every crop with the pixel, and no other


def test_crop_of_an_abnormal_image_without_mask_is_any():
    source = Source({"n": place(8, 10), "a": place(8, 10)}, {"a": np.zeros((8, 10), bool)})
    batches = source.batches(tile=True, abnormal_share=1.0)
    found = corners_of(np.concatenate([batches.batch(seen, 8)["images"][8:] for seen in range(50)]))
    assert len(found) == 35


# Masks, synthetic images, images larger than the generator's.


def masked(*pixels, shape=(4, 4)):
    mask = np.zeros(shape, bool)
    for pixel in pixels:
        mask[pixel] = True
    return mask


def test_labels_and_masks_of_all_three_kinds():
    """All ones for normal images and known ones without a mask; the changed pixels for synthetic ones."""
    mask = masked((1, 2), (1, 3), shape=(8, 8))
    images = {
        "n": np.zeros((8, 8, 1), np.float32),
        "a0": np.full((8, 8, 1), 0.5, np.float32),
        "a1": np.full((8, 8, 1), 0.6, np.float32),
    }
    source = Source(images, {"a0": mask})
    batches = source.batches(side=8, abnormal_share=0.5, synthetic_share=0.75, masks=True)
    assert (batches.abnormal_size(4), batches.synthetic_size(4)) == (2, 3)
    batch = batches.batch(0, 4)
    assert batch["labels"].tolist() == [0] * 4 + [1] * 2 + [2] * 3 and batch["labels"].dtype == np.float32
    assert batch["images"].shape == batch["masks"].shape == (9, 8, 8, 1)
    assert batch["masks"].dtype == np.float32
    assert len(batch["latents"]) == len(batch["mix"]) == 4
    assert batch["masks"][:4].all() and not batch["images"][:4].any()
    for image, found in zip(batch["images"][4:6], batch["masks"][4:6], strict=True):
        expected = mask if image[0, 0, 0] == 0.5 else np.ones((8, 8), bool)
        np.testing.assert_array_equal(found[..., 0] > 0, expected)
    assert set(batch["images"][4:6, 0, 0, 0].tolist()) == {0.5, np.float32(0.6)}
    for image, found in zip(batch["images"][6:], batch["masks"][6:], strict=True):
        np.testing.assert_array_equal(found > 0, np.abs(image) > 0.02)
        assert found.any() and np.abs(image).max() <= 1


def test_no_masks_unless_asked_for():
    assert set(numbered().batches(synthetic_share=0.0).batch(0, 4)) == {"images", "labels", "latents", "mix"}


def test_synthetic_defects_are_of_the_kinds_asked_for(monkeypatch):
    from semi_anogan.data import batches as module

    drawn, draw = [], module.synthesise

    def noted(image, other, rng, kinds, ignored):
        drawn.append(kinds)
        return draw(image, other, rng, kinds, ignored)

    monkeypatch.setattr(module, "synthesise", noted)
    source = Source({"n0": np.zeros((8, 8, 1), np.float32)})
    for kinds in ({}, {"synthetic_kinds": ["crack", "shade"]}):
        source.batches(side=8, synthetic_share=1.0, **kinds).batch(0, 1)
    assert drawn == [("cut_paste", "scratch", "blob"), ("crack", "shade")]


def test_synthetic_images_come_from_the_seed_too():
    images = {f"n{i}": np.full((8, 8, 1), i / 100, np.float32) for i in range(5)}
    a, b, c = (
        Source(images).batches(side=8, synthetic_share=1.0, masks=True, seed=seed) for seed in (1, 1, 2)
    )
    assert same(a.batch(8, 4), b.batch(8, 4))
    assert not np.array_equal(a.batch(8, 4)["masks"], c.batch(8, 4)["masks"])
    assert not np.array_equal(a.batch(8, 4)["masks"], a.batch(8, 4, attempt=1)["masks"])
    assert a.synthetic_size(1) == 1 and Source(images).batches(side=8).synthetic_size(4) == 0


@pytest.mark.parametrize("options", [{"flips": "hvr"}, {"shift_px": 1}, {"flips": "hvr", "shift_px": 1}])
def test_masks_move_with_their_image(options):
    """The image, dark but for its defect, is its own mask; the border is repeated of both."""
    mask = masked((0, 1), (1, 1), (2, 1), (2, 2))
    images = {"n": flat(-0.5), "a": np.where(mask, 0.5, -0.5).astype(np.float32)[..., None]}
    batches = Source(images, {"a": mask}).batches(abnormal_share=1.0, masks=True, **options)
    seen = set()
    for step in range(20):
        batch = batches.batch(step, 4)
        np.testing.assert_array_equal(batch["masks"][4:], (batch["images"][4:] + 0.5))
        assert batch["masks"][:4].all()
        seen |= {m.tobytes() for m in batch["masks"][4:]}
    assert len(seen) >= 8


def test_a_shift_never_moves_the_defect_out_of_the_image():
    """An abnormal image without any abnormal pixel could not be learned from; such a shift is left out."""
    mask = masked((3, 0))
    images = {"n": flat(-0.5), "a": np.where(mask, 0.5, -0.5).astype(np.float32)[..., None]}
    batches = Source(images, {"a": mask}).batches(abnormal_share=1.0, masks=True, shift_px=2)
    batch = batches.batch(0, 200)
    np.testing.assert_array_equal(batch["masks"][200:], batch["images"][200:] + 0.5)
    count = batch["masks"][200:].sum(axis=(1, 2, 3))
    # A shift down or to the left moves the corner's pixel out; up and to the right it is repeated, up to
    # 3 x 3 times.
    assert count.min() == 1 and count.max() == 9


def test_images_at_the_size_of_the_features():
    """A store of 8 x 8 pixels for a generator of 4 x 4: twice the shift in pixels, masks of the same size."""
    picture = (np.arange(64, dtype=np.float32) / 64).reshape(8, 8, 1)
    source = Source({"n": picture, "a": flat(0.25)}, {"a": masked((0, 0))})
    batches = source.batches(image_size=8, abnormal_share=1.0, masks=True, shift_px=1)
    batch = batches.batch(0, 30)
    assert batch["images"].shape == batch["masks"].shape == (60, 8, 8, 1)
    np.testing.assert_allclose(batch["images"][30:], 0.25, atol=1e-6)  # 4 x 4 pixels enlarged
    padded = np.pad(picture, ((2, 2), (2, 2), (0, 0)), mode="edge")
    possible = {padded[i : i + 8, j : j + 8].tobytes() for i in range(5) for j in range(5)}
    found = {image.tobytes() for image in batch["images"][:30]}
    assert found <= possible and len(found) > 10
    np.testing.assert_array_equal(batches.store.image(source.normal[0]), picture)
    mask = batches.store.mask(source.abnormal[0])
    np.testing.assert_array_equal(mask, np.pad(np.ones((2, 2), bool), ((0, 6), (0, 6))))


def test_crops_are_enlarged_to_the_size_of_the_features():
    """What is cut out has the generator's size; only then it grows."""
    mask = masked((3, 5), shape=(8, 10))
    source = Source({"n": place(8, 10), "a": place(8, 10)}, {"a": mask})
    large = source.batches(tile=True, image_size=8, abnormal_share=1.0, masks=True).batch(0, 6)
    small = source.batches(tile=True, abnormal_share=1.0, masks=True).batch(0, 6)
    assert large["images"].shape == large["masks"].shape == (12, 8, 8, 1)
    assert small["images"].shape == (12, 4, 4, 1)
    corners_of(small["images"])
    # The same crops; the middle of each is the same.
    for big, little in zip(large["images"], small["images"], strict=True):
        np.testing.assert_allclose(big.mean(), little.mean(), atol=1e-3)
        np.testing.assert_allclose(big[2:6, 2:6].mean(), little[1:3, 1:3].mean(), atol=1e-3)
    for big, little in zip(large["masks"][6:], small["masks"][6:], strict=True):
        (row,), (column,) = np.nonzero(little[..., 0])
        assert big[2 * row : 2 * row + 2, 2 * column : 2 * column + 2].all() and big.sum() == 4
    assert large["masks"][:6].all()


def test_store_resizes_or_keeps_for_tiles():
    source = Source(
        {"n": np.full((8, 12, 1), 0.25, np.float32), "n_small": np.full((2, 8, 1), 0.5, np.float32)}
    )
    resized, tiled = ImageStore(source.dataset, SIDE), ImageStore(source.dataset, SIDE, tile=True)
    big, small = source.examples
    assert resized.image(big).shape == (4, 4, 1) and resized.image(small).shape == (4, 4, 1)
    np.testing.assert_array_equal(tiled.image(big), source.images["n"])
    assert tiled.image(small).shape == (4, 8, 1)  # only what is too small grows
    np.testing.assert_allclose(tiled.image(small), 0.5, atol=1e-6)


def test_store_reads_once_and_within_its_memory_only():
    source = numbered(normal=3, abnormal=0)
    store = ImageStore(source.dataset, SIDE)
    nothing = ImageStore(source.dataset, SIDE, cache_megabytes=0)
    for expected in (1, 1):
        store.image(source.examples[0])
        assert source.reads["n0"] == expected
    for expected in (1, 2):
        np.testing.assert_array_equal(nothing.image(source.examples[1]), source.images["n1"])
        assert source.reads["n1"] == expected


def test_store_masks_follow_the_image():
    mask = np.zeros((2, 2), bool)
    mask[0, 1] = True
    source = Source({"a": flat(0.0), "a_without": flat(0.0)}, {"a": mask})
    store = ImageStore(source.dataset, SIDE)
    resized = store.mask(source.examples[0])
    assert resized.dtype == bool and resized.shape == (4, 4)
    assert resized[:2, 2:].all() and not resized[3:, 0].any()
    assert store.mask(source.examples[1]) is None


def test_batches_leave_the_stored_images_alone():
    source = Source({"n": PICTURE.copy()})
    batches = source.batches(flips="hv", shift_px=1)
    batches.batch(0, 8)["images"][:] = 9.0
    np.testing.assert_array_equal(batches.store.image(source.examples[0]), PICTURE)


def test_errors_name_the_value():
    with pytest.raises(ValueError, match="at least one normal image"):
        numbered(normal=0).batches()
    with pytest.raises(ValueError, match=r"batches\.flips.*'hx'"):
        numbered().batches(flips="hx")
