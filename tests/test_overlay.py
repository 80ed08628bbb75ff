"""The picture of an image with its regions: what it shows, and that the image stays visible."""

import numpy as np

from semi_anogan.scoring.overlay import UNCERTAIN, overlay
from semi_anogan.scoring.regions import LINE, find, outline


def test_an_outline_is_just_outside():
    inside = np.zeros((6, 6), bool)
    inside[0, 0] = inside[3, 3] = True
    thin, wide = outline(inside), outline(inside, 2)
    assert thin.sum() == 3 + 8 and thin[1, 1] and thin[2, 2] and not thin[0, 5] and not thin[5, 0]
    assert not (thin & inside).any() and (wide | ~thin).all() and wide.sum() == 8 + 24 - 4


def test_the_parts_of_an_overlay():
    image = np.full((40, 60, 1), -1.0, np.float32)  # black
    values = np.zeros((40, 60), np.float32)
    values[10:20, 20:30] = 9.0
    values[30, 50] = 4.0
    picture = overlay(image, values, find(values, 3.0), 3.0)
    assert picture.shape == (8 * 40, 8 * 60, 3) and picture.dtype == np.uint8
    line = (picture == LINE).all(-1)
    assert line[79, 200] and line[160, 200] and line[100, 159] and not line[100, 200]
    assert (picture[120, 200] == [114, 28, 0]).all()  # 0.45 of the colour
    assert (picture[0, 0] == 0).all() and (picture[280, 60] == 0).all()
    # Beside the box stands its number, in the colour of the line.
    assert line[64:80, 240:260].any()
    uncertain = overlay(image, values, find(values, 10.0), 10.0)
    assert (uncertain[79, 200] == UNCERTAIN).all() and not (uncertain == LINE).all(-1).any()


def test_what_is_ignored_is_greyed_and_hatched_within_a_thin_outline():
    """Twice as large: rows 20 to 39, columns 40 to 79. Lines where (row + column) % 12 is 0 and 1."""
    image = np.full((200, 256, 1), 1.0, np.float32)  # white
    ignored = np.zeros((200, 256), bool)
    ignored[10:20, 20:40] = True
    picture = overlay(image, np.zeros((200, 256), np.float32), [], 3.0, ignored)
    assert picture.shape == (400, 512, 3)
    inside = np.zeros((400, 512), bool)
    inside[20:40, 40:80] = True
    assert (picture[~inside] == 255).all() and not (picture[inside] == 255).any()
    grey, dark, light = 191, 72, 200  # half way from 255 to 128
    assert picture[25, 50, 0] == grey and picture[25, 47, 0] == dark and picture[26, 47, 0] == light
    assert (picture[20, 40:80] == light).all() and (picture[20:40, 79] == light).all()
    assert set(np.unique(picture[21:39, 41:79])) == {grey, dark, light}
    nothing = overlay(image, np.zeros((200, 256), np.float32), [], 3.0, np.zeros_like(ignored))
    assert (nothing == 255).all()


def test_without_regions_it_is_the_image_with_its_faint_map():
    image = np.random.default_rng(0).uniform(-1, 1, (600, 300, 3)).astype(np.float32)
    picture = overlay(image, np.full((600, 300), 1.0, np.float32), [], 3.0)
    np.testing.assert_array_equal(picture, np.uint8(np.clip(np.rint((image + 1) * 127.5), 0, 255)))


def test_where_peaks_are_high_colour_ends_where_regions_do():
    """A peak of 20 at a threshold of 4: half of it is the unit. 2 units are full colour, 0.6 a tenth."""
    values = np.zeros((512, 512))
    values[:, :100], values[:, 100:200] = 20.0, 6.0
    found = overlay(np.zeros((512, 512, 1), np.float32), values, find(values, 4.0), 4.0)[256, [50, 150, 300]]
    full, tenth = (0.45 * share * np.array([255, 64, 0]) + (1 - 0.45 * share) * 128 for share in (1, 0.1))
    np.testing.assert_allclose(found, [full, tenth, [128] * 3], atol=1)
