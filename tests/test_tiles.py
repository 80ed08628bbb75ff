"""Tiles: they cover the image, overlap enough, and go together without seams."""

import numpy as np
import pytest

from semi_anogan.data import tiles


def test_positions_by_hand():
    assert tiles.positions(8, 8) == [0]
    assert tiles.positions(12, 8) == [0, 4]
    # A third tile, so that the overlap stays at least 4: spread evenly.
    assert tiles.positions(13, 8) == [0, 2, 5]
    assert tiles.positions(16, 8, overlap=0.0) == [0, 8]
    assert tiles.positions(17, 8, overlap=0.0) == [0, 4, 9]
    assert tiles.positions(10, 8, overlap=0.75) == [0, 2]


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.75])
def test_positions_cover_and_overlap(overlap):
    for side in (4, 8, 31):
        for length in range(side, 4 * side):
            starts = np.array(tiles.positions(length, side, overlap))
            assert starts[0] == 0 and starts[-1] == length - side
            if len(starts) > 1:
                shared = side - np.diff(starts)
                assert shared.min() >= np.ceil(side * overlap) and shared.max() - shared.min() <= 1


def test_an_image_smaller_than_a_tile_is_an_error():
    with pytest.raises(ValueError, match="7 pixels.*tile of 8"):
        tiles.positions(7, 8)


def test_corners_row_by_row():
    assert tiles.corners(8, 12, (8, 8)) == [(0, 0), (0, 4)]
    assert tiles.corners(12, 12, (8, 8)) == [(0, 0), (0, 4), (4, 0), (4, 4)]


def test_cut_by_hand():
    image = np.arange(6 * 4).reshape(6, 4, 1)
    parts = tiles.cut(image, (4, 4))
    assert parts.shape == (2, 4, 4, 1)
    np.testing.assert_array_equal(parts[:, 0, 0, 0], [0, 8])
    np.testing.assert_array_equal(parts[1], image[2:6])


@pytest.mark.parametrize("shape", [(8, 8, 1), (21, 8, 2), (13, 30, 3), (33, 17, 1)])
@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.7])
def test_stitch_undoes_cut_exactly(shape, overlap):
    image = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    np.testing.assert_array_equal(tiles.stitch(tiles.cut(image, (8, 8), overlap), *shape[:2], overlap), image)


def test_stitch_of_maps_without_channels():
    ramp = np.add.outer(3.0 * np.arange(20), 0.25 * np.arange(27)).astype(np.float32)
    parts = tiles.cut(ramp[..., None], (8, 8))[..., 0]
    stitched = tiles.stitch(parts, 20, 27)
    assert stitched.dtype == np.float32
    np.testing.assert_array_equal(stitched, ramp)


def test_constant_stays_constant():
    parts = np.full((len(tiles.corners(40, 29, (16, 16))), 16, 16), 0.1, np.float32)
    np.testing.assert_array_equal(tiles.stitch(parts, 40, 29), np.full((40, 29), 0.1, np.float32))


def test_tiles_that_disagree_blend_linearly():
    """Tiles of 0 and 1, overlapping by four pixels, where their weights are 4, 3, 2, 1 and 1, 2, 3, 4."""
    parts = np.stack([np.zeros((8, 8)), np.ones((8, 8))]).astype(np.float32)
    expected = [0, 0, 0, 0, 0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1]
    np.testing.assert_allclose(tiles.stitch(parts, 8, 12), [expected] * 8, rtol=1e-6)
    np.testing.assert_allclose(tiles.stitch(parts, 12, 8), np.transpose([expected] * 8), rtol=1e-6)


def test_no_seam_between_tiles_of_different_levels():
    """With 64 pixel tiles that differ by 1, no step between neighbouring pixels is larger than the ramp's."""
    levels = np.random.default_rng(0).integers(0, 2, len(tiles.corners(160, 160, (64, 64))))
    parts = np.ones((64, 64), np.float32) * levels[:, None, None]
    stitched = tiles.stitch(parts.astype(np.float32), 160, 160)
    assert stitched.min() >= 0 and stitched.max() <= 1 and np.ptp(stitched) > 0.9
    for axis in (0, 1):
        assert np.abs(np.diff(stitched, axis=axis)).max() < 2 / 32  # overlapping by 32 pixels


def test_the_number_of_tiles_must_fit():
    with pytest.raises(ValueError):
        tiles.stitch(np.zeros((3, 8, 8), np.float32), 8, 12)
