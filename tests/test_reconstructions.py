"""The page of reconstructions: which images it shows, and that each stands above its own redrawing."""

import numpy as np
import pytest
from PIL import Image

from semi_anogan.benchmarks import reconstructions as page
from semi_anogan.data.image_arrays import resize, to_uint8
from semi_anogan.errors import RunError
from semi_anogan.runs import folder as run_folder
from semi_anogan.scoring.detector import Detector


def test_three_normal_then_three_abnormal_images_are_chosen():
    abnormal = [False] * 5 + [True] * 2 + [False] * 5
    found = page.chosen(abnormal, seed=0)
    assert [abnormal[i] for i in found] == [False] * 3 + [True] * 2
    assert len(set(found)) == 5 and found == page.chosen(abnormal, seed=0) != page.chosen(abnormal, seed=1)


@pytest.mark.slow
def test_a_page_shows_images_and_reconstructions(smoke_run, smoke_data, tmp_path):
    config, dataset, splits = smoke_data
    told = page.run([str(smoke_run), str(smoke_run)], str(tmp_path / "page.png"))
    with Image.open(tmp_path / "page.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    height = page.TITLE + 2 * page.HEIGHT + page.GAP
    assert pixels.shape == (2 * height, 6 * (page.HEIGHT + page.GAP), 3)
    assert f"{pixels.shape[1]} x {pixels.shape[0]} pixels" in told
    np.testing.assert_array_equal(pixels[:height], pixels[height:])  # the same run twice
    examples = [splits.test[i] for i in page.chosen([e.abnormal for e in splits.test], config.seed)]
    images = [dataset.read_image(e) for e in examples]
    for column, measured in enumerate(Detector.load(smoke_run).measure(images)):
        left = column * (page.HEIGHT + page.GAP)
        for top, expected in ((0, images[column]), (page.HEIGHT, measured.reconstruction)):
            shown = pixels[page.TITLE + top :, left : left + page.HEIGHT][: page.HEIGHT]
            expected = to_uint8(resize(np.clip(expected, -1, 1), page.HEIGHT, page.HEIGHT))
            assert np.abs(shown - expected.astype(int)).max() <= 1


@pytest.mark.parametrize(("shape", "width"), [((5, 5, 1), 96), ((4, 6, 1), 144), ((2, 20, 1), 192)])
def test_an_image_is_shown_in_the_shape_of_its_reconstruction(shape, width):
    """Images of any shape are drawn again in the model's one; the page needs both of one size."""
    image = np.linspace(-1, 1, 10 * 20, dtype=np.float32).reshape(10, 20, 1)
    shown = page._shown(image, shape)
    assert shown.shape == (page.HEIGHT, width, 3)
    np.testing.assert_array_equal(shown[..., :1], to_uint8(resize(image, page.HEIGHT, width)))


def test_a_run_without_a_search_is_named(smoke_run, tmp_path, monkeypatch):
    class Blind:
        search = None

    monkeypatch.setattr(page.Detector, "load", lambda folder: Blind())
    with pytest.raises(RunError, match="needs no search"):
        page.run([str(smoke_run)], str(tmp_path / "page.png"))


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(RunError, match=f"{tmp_path}/{run_folder.CONFIG}: no such file"):
        page.run([str(tmp_path)], str(tmp_path / "page.png"))
