"""Large images: tiles and their maps come and go, so that memory stays near that of image and map."""

import csv
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from helpers.trained import StandInDetector, tiny_model
from semi_anogan import score
from semi_anogan.data import tiles
from semi_anogan.data.image_arrays import smooth_map
from semi_anogan.data.images import read_image
from semi_anogan.errors import DataError
from semi_anogan.scoring.outputs import Outputs


def many_layers(x):
    """A map of 16 layers, of which the stand-in takes the first."""
    return np.repeat(x.mean(axis=-1, keepdims=True), 16, axis=-1)


class Layered(StandInDetector):
    """A stand-in without pictures, whose components are the mean of each part."""

    def _measure_batch(self, images):
        means = images.mean(axis=(1, 2))
        return np.repeat(means, 4, axis=1), many_layers(images)


def test_a_row_of_tiles_is_in_memory_and_no_more():
    """Peak of what NumPy allocates, in images of 4 MB: all tiles would be four, their layers 64."""
    image = np.linspace(-1, 1, 1024 * 1024, dtype=np.float32).reshape(1024, 1024, 1)
    detector = Layered(resolution=64, batch_size=16, tile=True)
    tracemalloc.start()
    try:
        (measurement,) = detector.measure([image], combined=True, pictures=False)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * image.nbytes
    assert measurement.combined and measurement.layers.shape == (1024, 1024, 1)
    np.testing.assert_allclose(measurement.layers, image, atol=1e-6)
    (whole,) = detector.measure([image[:128, :200]])
    (combined,) = detector.measure([image[:128, :200]], combined=True)
    assert whole.layers.shape == (128, 200, 16) and not whole.combined
    one, other = detector.judge(whole), detector.judge(combined)
    assert one[0] == other[0]
    np.testing.assert_allclose(one[2], other[2], atol=1e-6)


def test_tiles_are_made_as_they_are_asked_for():
    made = []

    def noted(tile):
        made.append(tile.shape)
        return tile

    cut = tiles.Cut(np.zeros((12, 12, 1), np.float32), (8, 8), made=noted)
    assert len(cut) == 4 and made == []
    next(iter(cut))
    assert made == [(8, 8, 1)]
    stitcher = tiles.Stitcher(12, 12)
    stitcher.add(np.zeros((8, 8), np.float32))
    with pytest.raises(ValueError, match="1 tiles are too few for a map of"):
        stitcher.result()


def test_smoothing_of_a_wide_map_is_that_of_its_parts():
    """Columns are smoothed some at a time; a row of ones stays, and a single 1 becomes the kernel."""
    np.testing.assert_allclose(smooth_map(np.ones((5, 1300), np.float32), 1.0), 1.0, atol=1e-6)
    spot = np.zeros((15, 1300), np.float32)
    spot[7, 512] = 1.0
    found = smooth_map(spot, 1.0)
    weights = np.exp(-0.5 * np.arange(-3, 4) ** 2)
    weights /= weights.sum()
    np.testing.assert_allclose(found[4:11, 509:516], np.outer(weights, weights), atol=1e-6)


def test_more_pixels_than_pillows_own_limit_pass_where_they_are_asked_for(tmp_path, monkeypatch, recwarn):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.new("L", (30, 20), 255).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="600 pixels|too many pixels"):
        read_image(tmp_path / "a.png", 1, max_pixels=299)
    recwarn.clear()
    assert read_image(tmp_path / "a.png", 1, max_pixels=600).shape == (20, 30, 1)
    assert not recwarn.list


@pytest.mark.slow
def test_an_image_of_12000_by_4000_and_a_line_scan_are_scored(tmp_path):
    from semi_anogan.scoring.detector import Detector
    from semi_anogan.scoring.fit_calibration import HeldOut

    def calibrated(**settings):
        model = tiny_model(resolution=128, filters_base=64, filters_cap=4)
        detector = Detector(model, components=("discriminator",), batch_size=32, **settings)
        noise = np.random.default_rng(0).uniform(-0.2, 0.2, (20, 128, 128, 1)).astype(np.float32)
        return detector.calibrate(HeldOut(noise))

    Image.new("L", (12000, 4000), 110).save(tmp_path / "wide.png", compress_level=1)
    Image.new("L", (4096, 30000), 110).save(tmp_path / "scan.png", compress_level=1)
    outputs = Outputs(maps=True, root=str(tmp_path))
    assert score.score(calibrated(tile=True), [tmp_path / "wide.png"], tmp_path / "wide", outputs) == 0
    assert np.load(tmp_path / "wide/maps/wide.png.npy", mmap_mode="r").shape == (4000, 12000)
    for most, failed in ((None, 1), (130_000_000, 0)):
        output = tmp_path / "scan"
        found = score.score(calibrated(), [tmp_path / "scan.png"], output, max_pixels=most)
        assert found == failed
        with open(output / "scores.csv", newline="") as file:
            (row,) = csv.DictReader(file)
        assert row["status"] == ("error" if failed else "ok")
    assert "max_pixels" not in row["error"]
