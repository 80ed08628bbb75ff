"""BaseDetector with stand-in functions: sizes, tiles, order, and how far it reads ahead."""

import itertools

import numpy as np
import pytest

from helpers.trained import StandInDetector


def test_a_score_at_the_threshold_is_normal():
    detector = StandInDetector()
    images = np.stack([np.full((8, 8, 1), v, np.float32) for v in (0.25, 0.5, 0.75)])
    result = detector(images)
    assert result.scores.tolist() == [0.25, 0.5, 0.75] and result.labels.tolist() == [False, False, True]
    np.testing.assert_array_equal(result.maps, images[..., 0])


def test_grey_and_rgb_input():
    """A grey detector takes the luma (0.299, 0.587, 0.114) of colours; a colour one repeats grey values."""
    rgb = np.zeros((1, 8, 8, 3), np.float32) + np.float32([0.5, -0.25, 1.0])
    grey = StandInDetector()
    assert grey(rgb).scores[0] == pytest.approx(0.299 * 0.5 - 0.587 * 0.25 + 0.114)
    colour = StandInDetector(lambda x: x[..., 1:2], channels=3)
    assert colour(np.full((1, 8, 8, 1), 0.25, np.float32)).scores[0] == 0.25
    assert colour(np.full((1, 8, 8), 0.25, np.float32)).scores[0] == 0.25


def test_rounding_just_beyond_the_range_is_taken():
    result = StandInDetector()(np.full((1, 8, 8, 1), 1.00001, np.float32))
    assert result.scores[0] == pytest.approx(1.0, abs=1e-4)


def test_tiles_stitch_what_each_pixel_says():
    """Where a tile's map is what its pixels are, the whole map is the image: no seam between the tiles."""
    y, x = np.mgrid[:29, :40].astype(np.float32)
    image = (0.9 * np.sin(y / 7 + x / 5))[None, ..., None].astype(np.float32)
    result = StandInDetector(tile=True)(image)
    np.testing.assert_allclose(result.maps[0], image[0, ..., 0], atol=1e-6)


def test_components_are_the_largest_of_the_tiles():
    detector = StandInDetector(tile=True, batch_size=3)
    image = np.zeros((1, 8, 24, 1), np.float32)
    image[0, :, 16:] = 0.5  # the last of the tiles at columns 0, 4, 8, 12, 16 holds nothing else
    image[0, 3, 2] = 0.8
    assert detector(image).scores[0] == 0.5
    whole = StandInDetector(tile=False)(image)  # reduced to 8 x 8, so that the mean stays
    assert whole.scores[0] == pytest.approx((8 * 8 * 0.5 + 0.8) / (8 * 24), rel=1e-4)


def test_tiles_that_disagree_are_joined_without_a_step():
    """Tiles say 0, 1, 0, 1, ... in their order: from pixel to pixel the map changes by at most 2 / 8."""
    count = [0]

    def layers(x):
        values = np.arange(count[0], count[0] + len(x)) % 2
        count[0] += len(x)
        return np.broadcast_to(values[:, None, None, None], (*x.shape[:3], 1)).astype(np.float32)

    detector = StandInDetector(layers, lambda x: np.zeros((len(x), 4), np.float32), tile=True, batch_size=5)
    (measurement,) = detector.measure([np.zeros((8, 60, 1), np.float32)])
    row = measurement.layers[0, :, 0]
    assert row.min() < 0.3 and row.max() > 0.7
    assert np.abs(np.diff(row)).max() <= 0.25 + 1e-6


def test_order_is_kept_where_images_have_different_numbers_of_tiles():
    """Tiles of several images share batches; each image gets its own back."""
    sizes = [(8, 8), (20, 8), (8, 33), (5, 6), (24, 24), (8, 8), (8, 9)]
    values = np.linspace(0.1, 0.7, len(sizes), dtype=np.float32)
    images = [np.full((*size, 1), v, np.float32) for size, v in zip(sizes, values, strict=True)]
    for batch_size, overlap, at_once in itertools.product((1, 3, 4, 64), (False, True), (1, 2, 3)):
        detector = StandInDetector(tile=True, batch_size=batch_size)
        detector.at_once = at_once
        measured = list(detector.measure(iter(images), overlap))
        assert [m.size for m in measured] == sizes
        np.testing.assert_allclose([m.components[0] / 4 for m in measured], values / 4, rtol=1e-5)


def test_measure_reads_no_further_than_a_batch():
    """It can be fed from a camera: an image comes out as soon as its batch is full."""
    read = []

    def camera():
        for index in range(100):
            read.append(index)
            yield np.zeros((8, 8, 1), np.float32)

    measured = StandInDetector(batch_size=4).measure(camera())
    next(measured)
    assert len(read) == 4
    for _ in range(4):
        next(measured)
    assert len(read) == 8


@pytest.mark.parametrize(("at_once", "ahead"), [(1, 8), (2, 12)])
def test_overlapped_it_reads_one_batch_ahead(at_once, ahead):
    read = []

    def images():
        for index in range(16):
            read.append(index)
            yield np.zeros((8, 8, 1), np.float32)

    detector = StandInDetector(batch_size=4)
    detector.at_once = at_once
    measured = detector.measure(images(), overlap=True)
    next(measured)
    assert len(read) == ahead
    assert len(list(measured)) == 15


@pytest.mark.parametrize("at_once", [1, 2])
def test_an_error_in_an_overlapped_batch_is_told(at_once):
    def failing(batch):
        raise RuntimeError("no memory")

    detector = StandInDetector(failing, batch_size=4)
    detector.at_once = at_once
    with pytest.raises(RuntimeError, match="no memory"):
        list(detector.measure([np.zeros((8, 8, 1), np.float32)] * 16, overlap=True))


def test_without_a_calibration_it_measures_but_does_not_judge():
    detector = StandInDetector(calibration=None)
    (measurement,) = detector.measure([np.full((8, 8, 1), 0.25, np.float32)])
    assert measurement.components.tolist() == [0.25] * 4
    for use in (lambda: detector.judge(measurement), lambda: detector.threshold):
        with pytest.raises(RuntimeError, match="no threshold yet: load a finished run, or take .* calibrate"):
            use()


@pytest.mark.parametrize("count", [1, 9])
def test_images_from_0_to_1_are_told_once(capsys, count):
    detector = StandInDetector()
    images = np.random.default_rng(0).random((count, 8, 8, 1))
    detector.tell_of_range((255 * images).astype(np.uint8))
    assert capsys.readouterr().err == ""
    detector.tell_of_range(list(images))
    detector.tell_of_range(images)
    told = capsys.readouterr().err
    assert told.startswith(f"warning: {count} float images have no negative value") and told.count("\n") == 1


def test_where_some_are_negative_bright_images_are_not_doubted(capsys):
    detector = StandInDetector()
    images = np.random.default_rng(0).random((3, 8, 8, 1))
    detector.tell_of_range([*images, -images[0]])
    detector.tell_of_range(images)
    assert capsys.readouterr().err == ""
