"""Rendered surfaces: fixed by their seed, with exact masks, and no trivial score that tells the defects."""

import math

import numpy as np
import pytest

from semi_anogan.benchmarks.baselines import classical as baselines
from semi_anogan.data.sources import surface
from semi_anogan.data.sources.surface_defects import MIN_CHANGE
from semi_anogan.errors import DataError


def _counts(**counts):
    return {"train_normal": 0, "train_abnormal": 0, "test_normal": 0, "test_abnormal": 0, **counts}


@pytest.mark.parametrize("finish", surface.FINISHES)
@pytest.mark.parametrize("defect", surface.DEFECTS)
def test_same_seed_and_index_give_the_same_pixels(finish, defect):
    first, first_mask = surface.render(3, 7, 32, finish, defect)
    surface.render(4, 8, 32, "cast", "pit")  # rendering others in between changes nothing
    again, again_mask = surface.render(3, 7, 32, finish, defect)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first_mask, again_mask)
    assert first.dtype == np.float32 and first.shape == (32, 32, 1) and np.abs(first).max() <= 1
    assert np.abs(first - surface.render(3, 8, 32, finish, defect)[0]).mean() > 0.02
    assert np.abs(first - surface.render(4, 7, 32, finish, defect)[0]).mean() > 0.02


def test_an_image_does_not_depend_on_the_others():
    small = surface.load(1, seed=5, size=32, **_counts(train_normal=9, train_abnormal=3, test_normal=2))
    large = surface.load(
        1, seed=5, size=32, contamination=0, **_counts(train_normal=40, train_abnormal=8, test_normal=6)
    )
    in_large = {example.path: example for example in large.examples}
    for example in reversed(small.examples):
        assert not example.mislabelled  # 5 % of 9 images is none
        np.testing.assert_array_equal(small.read_image(example), large.read_image(in_large[example.path]))


@pytest.mark.parametrize("size, fewest, most", [(16, 1, 2), (64, 3, 40), (128, 9, 163), (512, 132, 2621)])
@pytest.mark.parametrize("defect", surface.DEFECTS)
def test_defects_cover_the_stated_share(defect, size, fewest, most):
    areas = [surface.render(0, i, size, "brushed", defect)[1].sum() for i in range(200 if size < 512 else 12)]
    assert fewest <= min(areas) and max(areas) <= most
    if size == 128:  # log-uniform: half of them below the geometric mean, sqrt(0.0005 * 0.01) = 0.22 %
        assert np.mean(np.array(areas) < math.sqrt(0.0005 * 0.01) * 128**2) == pytest.approx(0.5, abs=0.12)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [16, 64, 128])
@pytest.mark.parametrize("finish", surface.FINISHES)
@pytest.mark.parametrize("defect", surface.DEFECTS)
def test_mask_is_exact(defect, finish, size, channels):
    for index in range(10):
        flawless, empty = surface.render(1, index, size, finish, None, channels)
        image, mask = surface.render(1, index, size, finish, defect, channels)
        assert not empty.any() and mask.dtype == bool
        np.testing.assert_array_equal(image[~mask], flawless[~mask])
        assert np.abs(image - flawless)[mask].min() >= MIN_CHANGE


def test_defects_stand_out_from_the_texture():
    for finish in surface.FINISHES:
        for defect in surface.DEFECTS:
            ratios = []
            for index in range(20):
                flawless = surface.render(1, index, 64, finish)[0]
                image, mask = surface.render(1, index, 64, finish, defect)
                gradient = np.gradient(flawless[..., 0])[0]  # without the slow change of the lighting
                ratios.append(np.abs(image - flawless)[mask].mean() / gradient.std())
            assert np.median(ratios) > 3


def test_a_larger_render_shows_the_same_part():
    for finish in surface.FINISHES:
        for defect in surface.DEFECTS:
            small, small_mask = surface.render(0, 11, 64, finish, defect)
            large, large_mask = surface.render(0, 11, 256, finish, defect)
            shrunk = large.reshape(64, 4, 64, 4).mean(axis=(1, 3))
            assert np.corrcoef(shrunk.ravel(), small.ravel())[0, 1] > 0.85
            assert large_mask.mean() == pytest.approx(small_mask.mean(), abs=1 / 64**2)
            centre = np.argwhere(large_mask).mean(axis=0) / 4
            np.testing.assert_allclose(np.argwhere(small_mask).mean(axis=0), centre, atol=2)


@pytest.mark.parametrize("finish", surface.FINISHES)
def test_1024(finish):
    image, mask = surface.render(0, 1, 1024, finish, "dent")
    assert image.shape == (1024, 1024, 1) and mask.shape == (1024, 1024)
    assert np.isfinite(image).all() and np.abs(image).max() <= 1
    assert 525 <= mask.sum() <= 10485


def test_channels():
    grey, grey_mask = surface.render(0, 1, 64, "cast", "pit")
    colour, mask = surface.render(0, 1, 64, "cast", "pit", channels=3)
    np.testing.assert_array_equal(mask, grey_mask)
    tint = colour - grey
    assert colour.shape == (64, 64, 3) and np.abs(tint).max() < 0.07
    np.testing.assert_allclose(tint, np.broadcast_to(tint[0, 0], tint.shape), atol=1e-6)
    assert np.ptp(tint[0, 0]) > 0


def test_default_groups():
    data = surface.load(1)
    assert len(data.select("train", "normal")) == 600 and len(data.select("train", "abnormal")) == 128
    assert len(data.select("test", "normal")) == len(data.select("test", "abnormal")) == 150
    assert len({example.key for example in data.examples}) == len({e.path for e in data.examples}) == 1028
    hidden = [example for example in data.examples if example.mislabelled]
    assert len(hidden) == 30 and all(e.split == "train" and e.label == "normal" for e in hidden)
    images = {data.read_image(example).tobytes() for example in data.examples}
    assert len(images) == 1028  # no image occurs twice, so none is in both splits
    for example in data.examples:
        assert data.read_mask(example).any() == (example.abnormal or example.mislabelled)
        # A hidden defect has no path of a mask, which would give it away.
        assert (example.mask is not None) == example.abnormal


def test_contamination_and_abnormal_count():
    def hidden(share):
        data = surface.load(1, contamination=share, **_counts(train_normal=200))
        return {example.key for example in data.examples if example.mislabelled}

    assert [len(hidden(share)) for share in (0, 0.1, 0.2, 1)] == [0, 20, 40, 200]
    assert hidden(0.1) < hidden(0.2)
    five = surface.load(1, abnormal_count=5).select("train", "abnormal")
    assert len(five) == 5 and five == surface.load(1).select("train", "abnormal")[:5]
    assert surface.load(1, abnormal_count=0).select("train", "abnormal") == []


def test_finishes_are_selected():
    data = surface.load(1, seed=2, finishes=("cast",), **_counts(test_normal=3))
    for example in data.examples:
        np.testing.assert_array_equal(data.read_image(example), surface.render(2, example.key, 64, "cast")[0])


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"size": 8}, "size must be an integer from 16 to 1024, got 8"),
        ({"size": 2048}, "got 2048"),
        ({"contamination": 1.5}, "contamination must be 0 to 1, got 1.5"),
        ({"abnormal_count": 129}, "train_abnormal=128, got 129"),
        ({"test_normal": -1}, "test_normal must be 0 to 999999, got -1"),
        ({"finishes": ("cast", "milled")}, "milled"),
        ({"finishes": ()}, "finishes must be"),
        ({"channels": 2}, "channels must be 1 or 3, got 2"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(DataError, match=message):
        surface.load(**{"channels": 1, **settings})


def test_bad_defect_is_named():
    words = "defect must be one of scratch, pit, stain, dent or None, got 'rust'"
    with pytest.raises(DataError, match=words):
        surface.render(0, 0, 64, "cast", "rust")


@pytest.mark.parametrize("size", [64, 128])
def test_trivial_scores_fail(size):
    data = surface.load(1, size=size)
    test = data.select("test")
    aurocs = baselines.trivial_aurocs(
        np.stack([data.read_image(example) for example in data.select("train", "normal")]),
        np.stack([data.read_image(example) for example in test]),
        [example.abnormal for example in test],
    )
    assert len(test) >= 300
    for score, auroc in aurocs.items():
        assert 0.25 < auroc < 0.75, score
