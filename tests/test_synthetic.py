"""Synthetic defects: what is promised for all of them, and that each kind does what its name says."""

import numpy as np
import pytest
from scipy import ndimage

from semi_anogan.data import synthetic, synthetic_kinds
from semi_anogan.data.synthetic import (
    KINDS,
    MASK_CHANGE,
    MAX_SHARE,
    MIN_CONTRAST,
    MIN_PIXELS,
    paste,
    synthesise,
)

SHAPES = [(32, 32, 1), (28, 28, 1), (64, 64, 1), (256, 192, 3)]
EIGHT = np.ones((3, 3))  # pixels that touch at a corner belong together


def texture(shape, seed=0, spread=0.15):
    noise = np.random.default_rng(seed).normal(0, spread, shape)
    # So far from -1 and 1 that a piece is not clipped where its contrast and brightness change.
    return np.clip(noise, -0.5, 0.5).astype(np.float32)


def flat(shape, value=0.0):
    return np.full(shape, value, np.float32)


def draws(image, kinds, count, other=None):
    other = image if other is None else other
    return [synthesise(image, other, np.random.default_rng(seed), kinds) for seed in range(count)]


def single_pieces(results, least=8):
    """(image, the slices around the changed pixels) of the draws whose mask is one piece."""
    for image, mask in results:
        labels, count = ndimage.label(mask, EIGHT)
        if count == 1 and mask.sum() >= least:
            yield image, ndimage.find_objects(labels)[0]


def assert_as_promised(image, result, mask):
    assert result.shape == image.shape and result.dtype == np.float32
    assert mask.shape == image.shape[:2] and mask.dtype == bool
    assert -1 <= result.min() and result.max() <= 1
    change = np.abs(result - image).max(-1)
    np.testing.assert_array_equal(mask, change > MASK_CHANGE)
    assert not change[~mask].any()
    assert np.count_nonzero(change >= MIN_CONTRAST) >= MIN_PIXELS
    assert mask.mean() <= MAX_SHARE


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_keeps_the_promises(kind, shape):
    image, other = texture(shape), texture(shape, seed=1)
    before = image.copy(), other.copy()
    for result, mask in draws(image, (kind,), 60 if shape[0] < 100 else 10, other):
        assert_as_promised(image, result, mask)
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(other, before[1])


@pytest.mark.parametrize("value", [-1, 0, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_defects_show_even_where_there_is_nothing_to_see(kind, value):
    image = flat((28, 28, 1), value)
    for result, mask in draws(image, (kind,), 60):
        assert_as_promised(image, result, mask)


@pytest.mark.parametrize("shape", [(8, 8, 1), (8, 8, 3), (8, 200, 1), (200, 8, 3), (9, 17, 1)])
def test_smallest_and_longest_images(shape):
    image = texture(shape, spread=0.5)
    for kind in KINDS:
        for result, mask in draws(image, (kind,), 40):
            assert_as_promised(image, result, mask)


@pytest.mark.parametrize(
    "image",
    [
        flat((8, 8, 1), -1),
        flat((8, 8, 1), 1),
        flat((64, 48, 3), 0),
        np.sign(texture((9, 9, 1))),
        np.where(np.arange(64).reshape(8, 8, 1) % 8 < 4, np.float32(-1), np.float32(1)),
    ],
    ids=["black", "white", "grey", "noise", "halves"],
)
def test_where_nothing_shows_a_strong_blob_does(monkeypatch, image):
    calls = []

    def invisible(image, other, rng):
        calls.append(1)
        return image + np.float32(0.04)

    monkeypatch.setitem(synthetic_kinds.DRAW, "scar", invisible)
    for seed in range(40):
        calls.clear()
        result, mask = synthesise(image, image, np.random.default_rng(seed), ("scar",))
        assert len(calls) in (10, 20, 30)
        assert_as_promised(image, result, mask)
        assert np.abs(result - image).max() >= 0.7
        assert mask.sum() <= max(9, 0.006 * mask.size)


def test_a_defect_that_covers_too_much_is_drawn_again(monkeypatch):
    monkeypatch.setitem(synthetic_kinds.DRAW, "scar", lambda image, other, rng: image + np.float32(0.5))
    image = texture((32, 32, 1))
    for result, mask in draws(image, ("scar", "scratch"), 20):
        assert_as_promised(image, result, mask)


def test_a_defect_that_undoes_another_or_does_not_show_beside_it_is_not_taken(monkeypatch):
    image = flat((16, 16, 1))
    spot = flat((16, 16, 1))
    spot[4:8, 4:8] = 0.5
    for second in (lambda drawn: image, lambda drawn: drawn + np.float32(0.03) * (drawn != 0)):
        monkeypatch.setitem(
            synthetic_kinds.DRAW,
            "scar",
            lambda drawn, other, rng, second=second: second(drawn) if drawn.any() else spot,
        )
        for result, mask in draws(image, ("scar",), 20):
            np.testing.assert_array_equal(result, spot)
            assert mask.sum() == 16


def test_only_the_generator_decides():
    image, other = texture((32, 32, 3)), texture((32, 32, 3), seed=1)
    for seed in range(30):
        first, mask = synthesise(image, other, np.random.default_rng(seed))
        np.random.seed(seed)
        again, same_mask = synthesise(image.copy(), other.copy(), np.random.default_rng(seed))
        np.testing.assert_array_equal(first, again)
        np.testing.assert_array_equal(mask, same_mask)
    rng = np.random.default_rng(0)
    assert len({synthesise(image, other, rng)[0].tobytes() for _ in range(200)}) == 200


def test_read_only_and_mirrored_views():
    image = texture((24, 32, 3))
    image.flags.writeable = False
    for view in (image, image[::-1], image[:, ::-1], image[::2, ::2], image.transpose(1, 0, 2)):
        plain = np.ascontiguousarray(view)
        for seed in range(20):
            result, mask = synthesise(view, view, np.random.default_rng(seed))
            assert_as_promised(plain, result, mask)
            assert result.flags.writeable and not np.shares_memory(result, image)
            np.testing.assert_allclose(
                result, synthesise(plain, plain, np.random.default_rng(seed))[0], atol=1e-5
            )


def test_defaults_are_all_kinds_and_one_may_be_named_alone():
    image = texture((32, 32, 1))
    for seed in range(5):

        def draw(*kinds, seed=seed):
            return synthesise(image, image, np.random.default_rng(seed), *kinds)[0]

        np.testing.assert_array_equal(draw(), draw(KINDS))
        np.testing.assert_array_equal(draw("scratch"), draw(["scratch"]))


def test_one_to_three_defects_of_the_kinds_asked_for(monkeypatch):
    size, drawn = 4, []

    def square(name):
        def draw(image, other, rng):
            drawn.append(name)
            image = image.copy()
            row, column = np.argwhere(image[::size, ::size, 0] == 0)[0] * size  # the first free place
            image[row : row + size, column : column + size] = 0.5
            return image

        return draw

    for kind in KINDS:
        monkeypatch.setitem(synthetic_kinds.DRAW, kind, square(kind))
    image = flat((32, 32, 1))
    counts = {int(mask.sum()) // size**2 for _, mask in draws(image, ("scar", "blob", "perlin"), 60)}
    assert counts == {1, 2, 3} and set(drawn) == {"scar", "blob", "perlin"}
    for kind in set(drawn):
        assert 0.2 < drawn.count(kind) / len(drawn) < 0.47


def test_errors_name_the_value():
    image = texture((32, 32, 1))
    rng = np.random.default_rng(0)
    for kinds in (("scratch", "dent"), "dent"):
        with pytest.raises(ValueError, match=r"kinds .*scratch.*'dent'"):
            synthesise(image, image, rng, kinds)
    with pytest.raises(ValueError, match=r"kinds .*\(\)"):
        synthesise(image, image, rng, ())
    for shape in [(32, 32), (32, 32, 2), (32, 32, 4), (7, 32, 1), (32, 7, 3), (1, 32, 32, 1), (0, 0, 1)]:
        wrong = np.zeros(shape, np.float32)
        with pytest.raises(ValueError) as error:
            synthesise(wrong, wrong, rng)
        assert str(error.value).startswith("image ") and str(shape) in str(error.value)
    for shape in [(32, 32, 3), (32, 31, 1), (32, 32)]:
        with pytest.raises(ValueError) as error:
            synthesise(image, np.zeros(shape, np.float32), rng)
        assert str(error.value).startswith("other ") and str(shape) in str(error.value)


@pytest.mark.parametrize("kind", KINDS)
def test_only_perlin_takes_from_the_other_image(kind):
    image = texture((64, 64, 1))
    others = texture((64, 64, 1), seed=1), texture((64, 64, 1), seed=2)
    for (a, _), (b, _) in zip(*(draws(image, (kind,), 10, other) for other in others), strict=True):
        assert np.array_equal(a, b) == (kind != "perlin")


@pytest.mark.parametrize(
    "kind, low, high, spread",
    [
        ("cut_paste", 0.08, 0.25, 2),
        ("scar", 0.003, 0.06, 8),
        ("scratch", 0.005, 0.12, 10),
        ("perlin", 0.03, 0.2, 2),
        ("blob", 0.02, 0.15, 2),
        ("crack", 0.01, 0.2, 10),
        ("shade", 0.2, 0.45, 1.5),
    ],
)
def test_defects_grow_with_the_image(kind, low, high, spread):
    """The mean share of the pixels is alike at each size, but for lines, a pixel wide in small images."""
    shares = []
    for side in (32, 64, 256):
        image = texture((side, side, 1), spread=0.05)
        shares.append(np.mean([mask.mean() for _, mask in draws(image, (kind,), 150)]))
    assert low < min(shares) and max(shares) < min(high, spread * min(shares)), shares


def test_cut_paste_is_a_piece_of_the_image_up_to_brightness_and_contrast():
    image = texture((32, 32, 1))
    found = 0
    for result, (rows, columns) in single_pieces(draws(image, ("cut_paste",), 80)):
        piece = result[rows, columns, 0]
        if np.mean(piece != image[rows, columns, 0]) < 0.85 or piece.size > 0.16 * 32**2:
            continue  # two pieces that overlap
        windows = np.lib.stride_tricks.sliding_window_view(image[..., 0], piece.shape).reshape(-1, piece.size)
        centred = windows - windows.mean(1, keepdims=True)
        wanted = piece.ravel() - piece.mean()
        contrast = centred @ wanted / (centred**2).sum(1)
        errors = np.abs(contrast[:, None] * centred - wanted)
        # Pixels that changed less than MASK_CHANGE were set back.
        errors[:, (piece == image[rows, columns, 0]).ravel()] = 0
        best = errors.max(1).argmin()
        assert errors[best].max() < 2 * MASK_CHANGE
        assert 0.8 < contrast[best] < 1.2
        assert abs(piece.mean() - windows[best].mean()) < 0.17
        assert 0.25 < piece.shape[0] / piece.shape[1] < 4 and piece.size > 0.015 * 32**2
        found += 1
    assert found >= 15


def test_cut_paste_pieces_are_rectangles():
    image = texture((64, 64, 1))
    filled = [
        np.mean(result[box] != image[box]) for result, box in single_pieces(draws(image, ("cut_paste",), 60))
    ]
    assert len(filled) >= 15 and np.median(filled) > 0.85


def principal_lengths(mask):
    """Length and width of the rectangle that has the second moments of the pixels."""
    points = np.argwhere(mask)
    return np.sqrt(12 * np.linalg.eigvalsh(np.cov(points.T)))[::-1]


def test_scar_is_thin_straight_and_turned():
    side = 128
    image = texture((side, side, 1), spread=0.4)
    angles, ratios = [], []
    for _, mask in draws(image, ("scar",), 60):
        assert mask.mean() < 3 * (0.4 * side + 2) * (0.05 * side + 2) / side**2
        solid = ndimage.binary_closing(np.pad(mask, 3), EIGHT, 2)
        wide = ndimage.binary_erosion(solid, EIGHT, 5).sum()
        assert wide <= 0.1 * solid.sum()  # 11 pixels wide only at crossings
        labels, count = ndimage.label(solid, EIGHT)
        if count == 1:
            length, width = principal_lengths(solid)
            ratios.append(length / width)
            points = np.argwhere(solid)
            direction = np.linalg.eigh(np.cov(points.T))[1][:, 1]
            angles.append(np.degrees(np.arctan2(*direction)) % 180)
    assert len(ratios) >= 10 and np.median(ratios) > 3
    assert len(np.unique(np.digitize(angles, [45, 90, 135]))) == 4


def test_scar_takes_its_pixels_from_elsewhere_in_the_image():
    """On the flat left half of an image, scars show the dark and bright stripes of its right half."""
    image = flat((128, 128, 1))
    image[:, 64:, 0] = np.where(np.arange(64) % 8 < 4, -0.4, 0.4)
    striped = 0
    for result, (_, columns) in single_pieces(draws(image, ("scar",), 500)):
        if columns.stop <= 64:
            left = result[:, :64]
            striped += left.min() < -0.1 and left.max() > 0.1
    assert striped >= 8


def test_scratch_is_thin_long_and_antialiased():
    image = flat((256, 192, 1))
    widest = 0.015 * np.sqrt(256 * 192)
    longest = []
    for result, mask in draws(image, ("scratch",), 60):
        # 2 * 2 + 1 pixels wide only where scratches cross or turn back.
        assert widest + 2 < 7 and ndimage.binary_erosion(mask, EIGHT, 3).sum() <= 0.05 * mask.sum()
        extent = np.ptp(np.argwhere(mask), axis=0) + 1
        assert mask.sum() <= 3 * (widest + 2) * 0.9 * np.sqrt(256 * 192)
        longest.append(extent.max())
        change = np.abs(result[mask])
        assert change.max() <= 3 * 0.8
        if mask.sum() > 60:
            assert len(np.unique(change)) > 5
    assert np.median(longest) > 50 and np.ptp(longest) > 80
    for result, box in single_pieces(draws(image, ("scratch",), 60)):
        area, diagonal = np.count_nonzero(result[box]), np.hypot(*result[box].shape[:2])
        assert area < 3.5 * (widest + 2) * diagonal


def test_scratches_are_dark_and_bright_weak_and_strong():
    image = flat((64, 64, 1))
    peaks = []
    for result, _ in single_pieces(draws(image, ("scratch",), 100)):
        peaks.append(result.flat[np.abs(result).argmax()])
    strengths = np.abs(peaks)
    assert 0.05 <= strengths.min() < 0.25 and strengths.max() > 0.6
    assert np.mean(strengths < 0.81) > 0.8  # the others are where two scratches cross
    assert 0.25 < np.mean(np.array(peaks) > 0) < 0.75


def test_cracks_are_thin_dark_and_branched_and_dim_what_is_there_in_proportion():
    image = flat((256, 192, 1))
    image[:, 96:] = 0.5
    branched = 0
    for result, mask in draws(image, ("crack",), 60):
        # 2 * 2 + 1 pixels wide only where lines meet or turn back.
        assert ndimage.binary_erosion(mask, EIGHT, 3).sum() <= 0.15 * mask.sum()
        assert (result[mask] < image[mask]).all()
        # Black is -1, and at most three cracks cross: 0.1 is left of the brightness by one.
        left = (result[mask] + 1) / (image[mask] + 1)
        assert 0.1**3 <= left.min() + 1e-6 and left.max() < 1
        branched += any(ndimage.label(row)[1] > 2 for row in mask)
    assert branched > 20


def test_a_crack_looks_the_same_on_a_bright_and_on_a_dim_image():
    """(x + 1) is multiplied: the same draw on an image of half the brightness gives half of each pixel."""
    bright, dim = flat((64, 64, 1), 0.6), flat((64, 64, 1), -0.2)
    compared = 0
    for kind in ("crack", "shade"):
        for seed in range(30):
            (a, mask), (b, other) = (
                synthesise(image, image, np.random.default_rng(seed), kind) for image in (bright, dim)
            )
            both = mask & other
            if (mask != both).mean() < 0.05 and a.max() <= 0.6:  # neither was drawn again, nor made brighter
                np.testing.assert_allclose((a[both] + 1) / 2, b[both] + 1, atol=1e-5)
                compared += 1
    assert compared > 30


def test_shade_covers_a_large_part_by_one_factor_and_lets_the_texture_through():
    image = texture((128, 128, 1))
    factors, sizes = [], []
    for result, mask in draws(image, ("shade",), 400):
        ratio = ((result + 1) / (image + 1))[..., 0]
        inside = ndimage.binary_erosion(mask, EIGHT, 8)
        one = ndimage.label(mask, EIGHT)[1] == 1
        if one and inside.sum() > 200 and np.ptp(ratio[inside]) < 1e-4:  # one shade, a hard border
            factors.append(ratio[inside].mean())
            sizes.append(mask.mean())
    assert len(factors) > 50 and np.median(sizes) > 0.08
    assert all(0.1 <= f <= 0.9 or 1.1 <= f <= 1.9 for f in factors)
    assert 0 < sum(f > 1 for f in factors) < 0.35 * len(factors)


@pytest.mark.parametrize(
    "chosen, training, calibration",
    [
        ((), ("cut_paste", "scratch", "blob"), ("scar", "perlin")),
        (("crack", "shade"), ("crack", "shade"), ("scar", "perlin")),
        (("scar", "blob"), ("scar", "blob"), ("perlin",)),
        # Rather these than none.
        (("perlin", "scar", "crack"), ("perlin", "scar", "crack"), ("scar", "perlin")),
    ],
)
def test_kinds_of_the_config(chosen, training, calibration):
    assert synthetic.training_kinds(chosen) == training
    assert synthetic.calibration_kinds(chosen) == calibration


def test_perlin_is_a_few_blobs_of_the_other_image():
    image, other = flat((128, 128, 1)), flat((128, 128, 1), 0.8)
    counts = []
    for result, mask in draws(image, ("perlin",), 40, other):
        assert (result[mask] > 0).all()  # 0.8 +- 0.4 shines through, more or less
        assert result.max() > 0.3 * 0.4
        counts.append(ndimage.label(mask, EIGHT)[1])
        assert mask.mean() < 3 * 0.2
    assert 1 <= min(counts) and max(counts) <= 3 * 4 and len(set(counts)) >= 4


def test_perlin_shows_the_other_texture_turned():
    """A stripe pattern lies along the rows in one image and along the columns in the other."""
    stripes = np.where(np.arange(64) % 4 < 2, np.float32(-0.4), np.float32(0.4))
    image, other = (np.broadcast_to(s, (64, 64))[..., None].copy() for s in (stripes, stripes[:, None]))
    across = []
    for result, mask in draws(image, ("perlin",), 20, other):
        change = np.where(mask, (result - image)[..., 0], 0)
        inside = ndimage.binary_erosion(mask, EIGHT)
        if inside.sum() < 50:
            continue
        values = result[..., 0]
        # From two rows further on, half a period of the other image.
        across.append(np.abs(np.roll(values, -2, 0) - values)[inside].mean())
        assert np.abs(change).max() > MIN_CONTRAST
    assert len(across) >= 10 and np.median(across) > 0.2


def test_blob_is_a_compact_spot_with_an_edge_in_between():
    image = flat((128, 128, 1))
    fills, soft, signs = [], 0, []
    for result, box in single_pieces(draws(image, ("blob",), 100)):
        change = np.abs(result[box][..., 0])
        fills.append(np.mean(change > MASK_CHANGE))
        peak = change.max()
        soft += np.any((change > 0.2 * peak) & (change < 0.8 * peak))
        signs.append(np.sign(result.flat[np.abs(result).argmax()]))
        assert peak <= 3
    assert len(fills) >= 25 and np.median(fills) > 0.55 and min(fills) > 0.2
    assert soft > 0.9 * len(fills)
    assert 0.2 < np.mean(np.array(signs) > 0) < 0.8


def test_blobs_are_small_and_now_and_then_large():
    shares = np.array([mask.mean() for _, mask in draws(flat((128, 128, 1)), ("blob",), 200)])
    assert np.median(shares) < 0.03
    assert 0.1 < np.mean(shares > 0.06) < 0.5 and shares.max() > 0.25


def test_colour_defects_have_a_colour():
    image = flat((64, 64, 3))
    for kind in ("scratch", "blob"):
        tinted = [np.ptp(result[mask], axis=-1).max() > 0.02 for result, mask in draws(image, (kind,), 30)]
        assert np.mean(tinted) > 0.7


def test_a_pasted_defect_is_the_known_one_turned_elsewhere():
    """A square of 4 x 6 bright pixels on grey, in a darker image; sizes by up to 1.5 either way."""
    abnormal, image = np.full((32, 32, 1), 0.2, np.float32), np.full((32, 32, 1), -0.4, np.float32)
    mask = np.zeros((32, 32), bool)
    mask[10:14, 20:26] = True
    abnormal[mask] = 0.8
    levels, areas, turned, places = set(), [], 0, set()
    for seed in range(40):
        drawn, found = paste(image, abnormal, mask, np.random.default_rng(seed))
        rows, columns = np.flatnonzero(found.any(1)), np.flatnonzero(found.any(0))
        # A rectangle whose corners may be rounded where it is resized.
        assert found[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].mean() >= 0.85
        turned += len(rows) > len(columns)
        areas.append(found.sum())
        places.add((rows[0], columns[0]))
        middle = drawn[rows.mean().round().astype(int), columns.mean().round().astype(int), 0]
        levels.add(round(float(middle), 1))
        far = ~ndimage.binary_dilation(found, iterations=6)
        np.testing.assert_array_equal(drawn[far], image[far])
    # As it is, 0.8; or as much brighter than its surroundings as there, -0.4 + 0.6.
    assert levels == {0.8, 0.2}
    assert 24 / 1.5**2 * 0.6 <= min(areas) and max(areas) <= 24 * 1.5**2 * 1.4
    assert 10 <= turned <= 30 and len(places) > 30
    np.testing.assert_array_equal(image, np.full((32, 32, 1), -0.4, np.float32))


def test_one_of_several_defects_is_pasted_and_a_full_mask_fits():
    abnormal, image = np.zeros((24, 24, 3), np.float32), np.full((24, 24, 3), 0.5, np.float32)
    mask = np.zeros((24, 24), bool)
    mask[2:6, 2:6] = mask[15:20, 15:20] = True
    abnormal[2:6, 2:6], abnormal[15:20, 15:20] = -1, 1
    for seed in range(12):
        drawn, found = paste(image, abnormal, mask, np.random.default_rng(seed))
        assert ndimage.label(found)[1] == 1 and 4 <= found.sum() <= 100
        assert drawn.min() >= -1 and drawn.max() <= 1
        drawn, found = paste(image, abnormal, np.ones((24, 24), bool), np.random.default_rng(seed))
        assert found.mean() > 0.3 and drawn.shape == image.shape


def test_pasting_is_a_pure_function():
    rng = np.random.default_rng(0)
    image, abnormal = (rng.uniform(-1, 1, (16, 16, 1)).astype(np.float32) for _ in range(2))
    mask = np.zeros((16, 16), bool)
    mask[4:8, 4:8] = True
    first, second = (paste(image, abnormal, mask, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
