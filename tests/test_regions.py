"""Regions of maps by hand, and that score, label, map and regions agree."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from helpers.trained import CALIBRATION, StandInDetector
from semi_anogan.scoring.regions import connected, find, polygon, union

LOCATING = dataclasses.replace(CALIBRATION, pixel_threshold=0.6)


def drawn(*rows: str) -> np.ndarray:
    """A map of digits."""
    return np.array([[int(c) for c in row] for row in rows], np.float32)


def test_parts_are_those_of_scipy():
    rng = np.random.default_rng(0)
    for shape in [(1, 1), (1, 7), (7, 1), (30, 41)]:
        for share in (0.0, 0.2, 0.4, 0.6, 1.0):
            inside = rng.random(shape) < share
            labels, count = connected(inside)
            expected, expected_count = ndimage.label(inside, np.ones((3, 3)))
            assert count == expected_count
            np.testing.assert_array_equal(labels, expected)


def test_a_spiral_is_one_part():
    """Its arms meet only far inside, so numbers given row by row must be joined several times."""
    inside = drawn("11111111", "10000001", "10111101", "10100101", "10110101", "10000101", "11111101") > 0
    assert connected(inside)[1] == 1


def test_two_blobs_by_hand():
    """Peaks 8 and 6, threshold 5: they reach down to above 4 and above 3. A peak of 5 does not count."""
    values = drawn("80000030", "76000360", "04000043", "00000000", "00005000")
    first, second = found = find(values, 5.0)
    assert first[:5] == (0, 0, 2, 2, 3) and (first.peak, first.mean, first.certain) == (8.0, 7.0, True)
    assert (first.x, first.y) == pytest.approx((1 / 3, 2 / 3))
    np.testing.assert_array_equal(first.mask, [[True, False], [True, True]])
    assert second[:5] == (6, 1, 1, 2, 2)
    assert (second.peak, second.mean, second.x, second.y) == (6.0, 5.0, 6.0, 1.5)
    inside = union(found, (5, 8))
    assert inside.sum() == 5 and inside[2, 6] and not inside[2, 1]


def test_diagonal_neighbours_are_one_region_also_at_the_border():
    (region,) = find(drawn("0009", "0090", "0000"), 1.0)
    assert region[:5] == (2, 0, 2, 2, 2) and (region.x, region.y) == (2.5, 0.5)
    np.testing.assert_array_equal(region.mask, [[False, True], [True, False]])
    assert len(find(drawn("9009", "0000", "9009"), 1.0)) == 4  # not around the border


def test_a_low_peak_beside_a_high_one_is_a_region_of_its_own():
    """Above half of the threshold, 2, all is one part; above half of the highest peak, 4, it is two."""
    assert [(r.left, r.width, r.peak) for r in find(drawn("8883666"), 4.0)] == [(0, 3, 8.0), (4, 3, 6.0)]


def test_what_a_plain_defect_spreads_is_no_part_of_it():
    """Half of 9 is above the threshold, 3: the region ends there, but the 4 that stands alone counts."""
    assert [(r.left, r.area) for r in find(drawn("9975420"), 3.0)] == [(0, 4)]
    assert [(r.left, r.area) for r in find(drawn("9902400"), 3.0)] == [(0, 2), (4, 1)]
    assert [(r.left, r.area) for r in find(drawn("3579753468643"), 3.0)] == [(1, 5), (8, 3)]


def test_regions_that_grow_together_end_there():
    """Levels are 20 times 0.8, 0.64, ...: at 6.55 the second peak stands alone, at 5.24 it does not."""
    values = np.array([[0, 12, 20, 12, 6, 7, 9, 7, 1]], np.float32)
    assert [(r.left, r.area) for r in find(values, 3.0)] == [(1, 3), (5, 3)]
    values[0, 6] = 8.0  # no more than 1.25 times 6.55: less may be chance
    assert [(r.left, r.area) for r in find(values, 3.0)] == [(1, 3)]


def test_each_region_is_connected_and_has_its_peak():
    rng = np.random.default_rng(1)
    for threshold in (0.5, 1.0, 3.0):
        noise = ndimage.gaussian_filter(rng.standard_normal((60, 70)), 2) * 10
        found = find(noise, threshold)
        assert sum(r.area for r in found) == union(found, noise.shape).sum()  # none overlap
        for r in found:
            values = noise[r.top : r.top + r.height, r.left : r.left + r.width]
            assert connected(r.mask)[1] == 1 and values[r.mask].max() == r.peak > threshold
            assert values[r.mask].min() > threshold / 2


def test_where_nothing_is_above_the_threshold_the_highest_place_is_it_and_is_not_certain():
    (region,) = find(drawn("024", "003", "300"), 5.0)
    assert (region.left, region.top, region.area, region.peak, region.certain) == (2, 0, 2, 4.0, False)
    # A value at the threshold is not above it.
    assert [r.certain for r in find(drawn("05"), 5.0)] == [False]
    # A map that is nowhere above the average normal pixel.
    (region,) = find(drawn("024") - 9, 5.0)
    assert (region.left, region.area, region.peak, region.certain) == (2, 1, -5.0, False)
    # All alike.
    (region,) = find(np.zeros((3, 4), np.float32), 5.0)
    assert (region.area, region.width, region.height) == (12, 4, 3)


def test_a_label_agrees_with_its_regions():
    """An image labelled normal has none, however high a place; an abnormal one at least one."""
    detector = StandInDetector(calibration=LOCATING)
    images = np.zeros((4, 8, 8, 1), np.float32)
    images[0, 2, 2] = 1.0  # normal, as its mean is below 0.5
    images[1:3] = 0.55  # abnormal by its mean
    images[2, 4:6, 5] = 0.9
    found = detector(images)
    regions = detector.regions(found.labels, found.maps)
    assert [len(r) for r in regions] == [0, 1, 1, 0]
    assert regions[1][0].area == 64 and not regions[1][0].certain
    assert regions[2][0].certain and regions[2][0].peak == found.maps[2].max()


def test_regions_of_a_call_have_kinds_where_its_images_are_given():
    """Of 2 x 2 places the upper left one is "cut", the others "dent". Abnormal images are measured again."""
    alike = np.float32([[[0.75, -0.5], [-0.5, 0.25]], [[-0.5, 0.25], [-0.5, 0.25]]])
    asked = []

    class Knowing(StandInDetector):
        kinds = ("cut", "dent")

        def _measure_kinds(self, images):
            asked.append(images[0].max())
            components, layers, *pictures = self._measure_batch(images)
            return components, layers, np.repeat(alike[None], len(images), axis=0), *pictures

    detector = Knowing(components=lambda x: np.repeat(x.max(axis=(1, 2)), 4, axis=1), calibration=LOCATING)
    images = np.full((3, 8, 8, 1), -0.5, np.float32)
    images[1, 1:3, 1:3], images[2, 5:7, 1:3] = 0.9, 0.8
    _, labels, maps = detector(images)
    none, (cut,), (dent,) = detector.regions(labels, maps, images)
    assert none == [] and (cut.kind, cut.kind_likeness) == ("cut", 0.75)
    assert (dent.kind, dent.kind_likeness) == ("dent", 0.25) and len(asked) == 1
    assert detector.regions(labels, maps)[1][0].kind == ""
    # What is ignored of an image is painted over when it is measured again.
    ignore = np.zeros((3, 8, 8), bool)
    ignore[1, 1:3, 1:3] = True
    detector.regions(labels, maps, images, ignore)
    assert asked[1] == pytest.approx(-0.5)
    with pytest.raises(ValueError, match="3 labels and maps, but 2 images"):
        detector.regions(labels, maps, images[:2])


def test_regions_of_an_image_of_tiles_are_at_its_own_size():
    image = np.full((1, 21, 40, 1), -0.5, np.float32)
    image[0, 3:7, 30:35] = 0.9  # across the tiles that begin at columns 24 and 28
    detector = StandInDetector(
        components=lambda x: np.repeat(x.max(axis=(1, 2)), 4, axis=1), tile=True, calibration=LOCATING
    )
    found = detector(image)
    ((region,),) = detector.regions(found.labels, found.maps)
    assert region[:5] == (30, 3, 5, 4, 20) and (region.x, region.y) == (32.0, 4.5)
    assert region.peak == pytest.approx(0.9) and region.mean == pytest.approx(0.9)


def test_without_a_pixel_threshold_it_is_told_what_to_do():
    detector = StandInDetector()
    assert detector.pixel_threshold is None
    with pytest.raises(RuntimeError, match="delete detector.json .* give its train command again"):
        detector.regions([True], [np.zeros((8, 8))])


def shoelace(corners) -> float:
    x, y = np.array(corners, float).T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


def test_a_polygon_by_hand():
    """An L of three pixels; two that touch at a corner; a ring, whose hole does not count."""
    (region,) = find(drawn("0000", "0900", "0990"), 1.0)
    assert polygon(region) == [[1, 1], [2, 1], [2, 2], [3, 2], [3, 3], [1, 3]]
    (region,) = find(drawn("0009", "0090"), 1.0)
    assert polygon(region) == [[3, 0], [4, 0], [4, 1], [3, 1], [3, 2], [2, 2], [2, 1], [3, 1]]
    (region,) = find(drawn("999", "909", "999"), 1.0)
    assert polygon(region) == [[0, 0], [3, 0], [3, 3], [0, 3]] and region.area == 8
    (region,) = find(drawn("9"), 1.0)
    assert polygon(region) == [[0, 0], [1, 0], [1, 1], [0, 1]]


def test_polygons_hold_their_pixels_and_holes():
    rng = np.random.default_rng(0)
    for share in (0.2, 0.4, 0.6, 0.9):
        for region in find((rng.random((30, 41)) < share).astype(np.float32), 0.5):
            corners = polygon(region)
            filled = ndimage.binary_fill_holes(region.mask)
            assert shoelace(corners) == filled.sum() >= region.area
            x, y = np.array(corners).T
            assert (x.min(), y.min(), np.ptp(x), np.ptp(y)) == region[:4]
            # Each side is straight, and turns into the next.
            sides = np.diff(np.array([*corners, corners[0]]), axis=0)
            assert ((sides == 0).sum(axis=1) == 1).all() and ((sides == 0).any(axis=0)).all()
