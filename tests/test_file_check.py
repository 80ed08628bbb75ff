"""Files that cannot be used are told of before training, all at once."""

import re

import numpy as np
import pytest
from PIL import Image

from helpers import bad_files
from helpers.tiny_runs import tiny_config
from semi_anogan import train
from semi_anogan.data.catalog import load
from semi_anogan.data.check_files import read_all
from semi_anogan.errors import DataError

# Of the surfaces that tiny_config is for; files have no such options.
OF_SURFACES = {
    f"data__{name}": None
    for name in ("size", "train_normal", "train_abnormal", "test_normal", "test_abnormal")
}


@pytest.fixture
def parts(tmp_path):
    """A folder of 20 good images each for training and test, noise of 16 x 16."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        (tmp_path / "parts" / split / "good").mkdir(parents=True)
        for i in range(20):
            picture = Image.fromarray(rng.integers(0, 255, (16, 16), np.uint8))
            picture.save(tmp_path / "parts" / split / "good" / f"{i}.png")
    return tmp_path / "parts"


def test_every_bad_file_is_named_and_no_good_one(parts):
    files = bad_files.write_all(parts / "train" / "good")
    dataset = load("folder", 1, root=parts)
    with pytest.raises(DataError) as told:
        read_all(dataset, dataset.examples)
    lines = str(told.value).splitlines()
    bad = {str(path) for path, expected in files.values() if expected == "error"}
    assert lines[0] == f"{len(bad)} of {len(dataset.examples)} images cannot be used:"
    assert {re.match(r"  (.*?\.png): ", line)[1] for line in lines[1:]} == bad
    with pytest.raises(DataError) as told:
        read_all(dataset, dataset.examples, most=2)
    assert len(str(told.value).splitlines()) == 4 and str(told.value).endswith(f"and {len(bad) - 2} more")


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_bad_image_stops_a_run_before_it_trains(parts, tmp_path, capsys, split):
    bad = parts / split / "good" / "3.png"
    good = bad.read_bytes()
    bad.write_bytes(good[: len(good) // 2])
    config = tiny_config(
        name="parts", data__name="folder", data__root=str(parts), schedule__total_kimages=0.05, **OF_SURFACES
    )
    with pytest.raises(DataError, match=rf"^{re.escape(str(bad))}: .*truncated"):
        train.run(config, tmp_path / "run")
    checkpoints = [p.name for p in (tmp_path / "run" / "checkpoints").iterdir()]
    assert checkpoints == ["step_00000000.npz"]  # as it began
    assert "files checked" in capsys.readouterr().err
    bad.write_bytes(good)
    dataset = load("folder", 1, root=parts)
    read_all(dataset, dataset.examples)  # and nothing is wrong with the others


def test_a_mask_of_another_size_is_found_too(parts):
    (parts / "test" / "scratch").mkdir()
    (parts / "ground_truth" / "scratch").mkdir(parents=True)
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(parts / "test" / "scratch" / "0.png")
    Image.fromarray(np.zeros((12, 16), np.uint8)).save(parts / "ground_truth" / "scratch" / "0_mask.png")
    dataset = load("folder", 1, root=parts)
    words = r"0_mask\.png: the mask has 16 x 12 pixels, but its image .* has 16 x 16$"
    with pytest.raises(DataError, match=words):
        read_all(dataset, dataset.examples)
