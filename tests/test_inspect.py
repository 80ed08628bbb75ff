"""The look at images before anything is trained: what it counts, what it names, and that it loads little."""

import csv
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from helpers import bad_files
from helpers.processes import ENVIRONMENT, ROOT, command
from semi_anogan import inspect
from semi_anogan.config import default_config
from semi_anogan.data import survey
from semi_anogan.data.dataset import Example
from semi_anogan.data.images import Found
from semi_anogan.data.survey import Figures
from semi_anogan.runs import proposals


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Noise with a bright, a flat and a bad file, equal files, a mask and two kinds of defects."""
    root, rng = tmp_path_factory.mktemp("inspected") / "parts", np.random.default_rng(0)

    def noise(mean=100, shape=(40, 60)):
        return np.clip(rng.normal(mean, 20, shape), 0, 255)

    for i in range(20):
        save(root / f"train/good/{i}.png", noise())
    save(root / "train/good/bright.png", noise(200))
    save(root / "train/good/blurred.png", np.tile(np.linspace(60, 140, 60), (40, 1)))
    save(root / "train/cut/0.png", noise())
    mask = np.zeros((40, 60))
    mask[3:6, 4:8] = 255
    save(root / "ground_truth/cut/0_mask.png", mask)
    for i in range(9):
        save(root / f"test/good/{i}.png", noise(160))
    save(root / "test/hole/0.png", noise())
    (root / "test/good/copy.png").write_bytes((root / "train/good/1.png").read_bytes())
    (root / "train/good/twice.png").write_bytes((root / "train/good/2.png").read_bytes())
    (root / "train/good/cut_off.png").write_bytes((root / "train/good/3.png").read_bytes()[:300])
    save(root / "ground_truth/hole/0_mask.png", np.zeros((10, 10)))  # of another size than its image
    return root


def config_of(root):
    config = default_config()
    config.data.name, config.data.root = "folder", str(root)
    return config


@pytest.fixture(scope="module")
def found(parts, tmp_path_factory):
    output = tmp_path_factory.mktemp("page")
    return inspect.run(config_of(parts), output), output


def test_everything_is_named_with_its_number(found, parts):
    lines, _ = found
    # 24 normal files: a fifth is held out.
    assert lines["What would be used how"] == [
        "19 normal images train the networks, 5 are held out for weights and threshold",
        "1 known defects, 0 of them held out; 1 have a mask",
        "11 test images, 1 of them abnormal, 1 of these with a mask",
    ]
    bad = lines["Files that cannot be used"]
    assert len(bad) == 2 and "train/good/cut_off.png: cannot be decoded" in bad[0]
    assert bad[1].endswith("has 60 x 40") and "hole/0_mask.png: the mask has 10 x 10 pixels" in bad[1]
    sizes = lines["Sizes and depths"]
    assert sizes[:2] == [
        "all are 60 x 40 pixels (width x height)",
        "masks mark 0.50% to 0.50% of their image, 0.50% on the median",
    ]
    assert "PNG 8 bits grey (34)" in sizes
    unusual = "\n".join(lines["What is unusual"])
    assert "1 test images (1 normal, 0 abnormal) are training images too, byte for byte" in unusual
    assert (
        "1 training images are there more than once, byte for byte, such as train/good/twice.png = "
        in unusual
    )
    apart = lines["What lies apart"]
    assert apart[0].startswith(
        "test normal images have another brightness than normal training images: 0.63 "
    )
    told = "\n".join(apart)
    assert "by their brightness from the normal training images, such as train/good/bright.png (0.78)" in told
    assert "by their sharpness" in told and "train/good/blurred.png" in told


def test_the_page_and_the_table(found):
    _, output = found
    page = (output / "inspect.html").read_text()
    assert page.count("data:image/jpeg;base64,") >= 30 and 'src="http' not in page
    assert "Images that stand out" in page and "test, abnormal, hole" not in page  # its only file is bad
    with open(output / "inspect.csv", newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    assert len(rows) == 36
    bright = rows["train/good/bright.png"]
    assert (bright["width"], bright["height"], bright["depth"], bright["colour"]) == (
        "60",
        "40",
        "8 bits",
        "no",
    )
    assert float(bright["brightness"]) == pytest.approx(200 / 255, abs=0.02) and bright["kind"] == ""
    assert rows["train/cut/0.png"]["kind"] == "cut" and rows["train/cut/0.png"]["use"] == "known defect"
    assert float(rows["train/cut/0.png"]["defect_share"]) == pytest.approx(12 / 2400)
    assert "cannot be decoded" in rows["train/good/cut_off.png"]["error"]


def test_bad_files_of_every_sort_are_named_and_nothing_stops(tmp_path):
    files = bad_files.write_all(tmp_path / "parts/train/good")
    for i in range(8):
        save(tmp_path / f"parts/train/good/extra{i}.png", np.full((16, 12), 10 * i))
    lines = inspect.run(config_of(tmp_path / "parts"), tmp_path / "page")
    bad = [path.name for path, expected in files.values() if expected == "error"]
    told = "\n".join(lines["Files that cannot be used"])
    assert all(name in told for name in bad) and len(lines["Files that cannot be used"]) == len(bad)


def test_no_framework_is_loaded(parts, tmp_path):
    """As a command with the folder alone: a folder it is, by itself."""
    code = (
        "import runpy, sys, json\n"
        f"sys.argv = ['inspect', '--config.data.root={parts}', '--output={tmp_path}/page']\n"
        "try:\n    runpy.run_module('semi_anogan.inspect', run_name='__main__', alter_sys=True)\n"
        "finally:\n    print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=ENVIRONMENT
    )
    assert done.returncode == 0, done.stderr
    assert f"page: {tmp_path}/page/inspect.html" in done.stdout and "36 images" in done.stdout
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert {"numpy", "PIL"} <= set(loaded)
    assert not {"tensorflow", "keras", "jax", "sklearn", "scipy", "matplotlib", "jinja2"} & set(loaded)


def test_what_cannot_be_looked_at_is_one_line(tmp_path):
    for flags, told in (
        ((), "the source 'surface' reads no image files; --config.data.root=FOLDER names a folder of them"),
        ((f"--config.data.root={tmp_path}",), "neither of the known layouts"),
        (("--config.data.root=nowhere",), "data.root: 'nowhere' is not a folder"),
        (("--config.data.path=none.csv",), "none.csv: cannot be read"),
    ):
        done = command("inspect", *flags, f"--output={tmp_path}/page")
        assert done.returncode == 1 and told in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert not (tmp_path / "page").exists()


def figures(size=(100, 100), colour=False, brightness=0.5, defect=None):
    return Figures(Found(None, "8 bits", 255.0, size, colour=colour), brightness, 0.1, 0.2, defect)


def of(label, split="train"):
    return Example("x", split, label)


def test_what_is_ignored_is_looked_at(parts, tmp_path):
    """A mask of all images that does not fit, one of its own that marks nothing, a hidden defect."""
    root = tmp_path / "parts"
    shutil.copytree(parts, root)
    names = sorted(path.name for path in (root / "train/good").glob("?.png"))[:2]
    for name, value in zip(names, (0, 255), strict=True):
        values = np.zeros((40, 60), np.uint8)
        values[:30] = value
        (root / "ignore/train/good").mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(root / f"ignore/train/good/{name}")
    lines = inspect.run(config_of(root), tmp_path / "own")
    unusual = lines["What is unusual"]
    first, second = (f"ignore/train/good/{name}" for name in names)
    assert f"1 masks of what is ignored mark nothing, such as {first}" in unusual
    assert f"1 images have a mask of their own of what is ignored, such as {second}" in unusual
    assert any(
        line.startswith("of 1 images more than 50% are ignored, such as train/good/") for line in unusual
    )
    config = config_of(root)
    config.data.ignore = str(tmp_path / "fixed.png")
    Image.fromarray(np.eye(40, 40, dtype=np.uint8) * 255).save(config.data.ignore)
    lines = inspect.run(config, tmp_path / "fixed")
    assert f"2.5 % of each image is ignored ({config.data.ignore})" in lines["What would be used how"]
    assert any(
        "fixed.png: the mask of what is ignored has 40 x 40 pixels, but train/good/" in line
        for line in (lines["Files that cannot be used"])
    )
    Image.fromarray(np.arange(2400, dtype=np.uint16).reshape(40, 60) > 0).save(config.data.ignore)
    unusual = inspect.run(config, tmp_path / "hidden")["What is unusual"]
    assert any("abnormal images are left out, such as" in line for line in unusual)


def test_labels_that_a_person_gave_count_and_their_masks_are_found(parts, tmp_path, monkeypatch):
    """Whatever folder the command runs in: the root and the file are relative to it, a mask to the file."""
    mask = np.zeros((40, 60))
    mask[:4, :3] = 255
    save(tmp_path / "said/masks/1.png", mask)
    (tmp_path / "said/reviewed.csv").write_text(
        "path,label,mask\ntrain/good/1.png,abnormal,masks/1.png\ntrain/good/5.png,normal,\n"
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parts").symlink_to(parts)
    config = config_of("parts")
    config.data.reviewed = "said/reviewed.csv"
    lines = inspect.run(config, tmp_path / "out")
    assert lines["What would be used how"][1] == "2 known defects, 0 of them held out; 2 have a mask"
    assert "said/reviewed.csv: 2 images reviewed, 1 of them abnormal" in lines["What would be used how"]
    with open(tmp_path / "out/inspect.csv") as file:
        (row,) = [row for row in csv.DictReader(file) if row["path"] == "train/good/1.png"]
    # 12 of 2400 pixels.
    assert (row["label"], row["use"], row["defect_share"]) == ("abnormal", "known defect", "0.005")


def test_images_that_show_next_to_nothing_are_told(tmp_path):
    """Values of 4 bits in files of 8."""
    for i in range(6):
        (tmp_path / "train/good").mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(i).integers(0, 3, (40, 60), np.uint8)
        Image.fromarray(values).save(tmp_path / f"train/good/{i}.png")
    (told,) = inspect.run(config_of(tmp_path), tmp_path / "out")["What lies apart"]
    # 0, 1 and 2 of 255: a mean of 1 / 255, a deviation of sqrt(2 / 3) / 255.
    assert told.startswith("normal training images show little: their contrast is 0.0032 of the range on")
    assert "their brightness 0.0039; where white is another value" in told


def test_an_outlier_by_hand():
    """Median 0.5, deviations 0.01 to 0.05: the median of these is 0.03, times 1.4826."""
    values = [0.45, 0.46, 0.47, 0.48, 0.49, 0.51, 0.52, 0.53, 0.54, 0.55, 0.9]
    examples = [Example(f"{v}", "train", "normal") for v in values]
    looks = [figures(brightness=v) for v in values]
    (median, spread) = survey.reference(examples, looks)["brightness"]
    assert median == 0.51 and spread == pytest.approx(1.4826 * 0.03)
    (outlier,) = survey.outliers(examples, looks)
    assert (outlier.example.path, outlier.name) == ("0.9", "brightness")
    assert outlier.deviations == pytest.approx(0.39 / (1.4826 * 0.03))
    assert survey.outliers(examples[:3], looks[:3]) == []


def proposed(looks, labels=None, **changes):
    config = default_config()
    config.model.aspect = 1.0
    config.update_from_flattened_dict(changes)
    labels = labels or ["normal"] * len(looks)
    return proposals.proposed(config, [of(label) for label in labels], looks)


def test_settings_and_their_reasons():
    told = proposed([figures(colour=True)] * 60 + [figures(defect=0.09)], ["normal"] * 60 + ["abnormal"])
    assert [line.split(":")[0] for line in told] == [
        "--config.model.channels=3",
        "--config.calibration.false_alarm_rate=0.02",  # 12 held out and 48 of training: 1 / 61
        "--config.batches.flips=hv, if a mirrored part is as good",
    ]
    many = ["normal"] * 600 + ["abnormal"]
    # 0.0001 of 1000 x 1000 pixels: 10 wide, 1.3 in 128 pixels and 2.6 in 256.
    small = proposed([figures((1000, 1000))] * 600 + [figures((1000, 1000), defect=1e-4)], many)
    assert len(small) == 1 and small[0].startswith("--config.images.tile=True, which takes longer: of the 1 ")
    assert "at most 1.3 pixels wide in what the features see, 128 pixels of the 1000 of an image" in small[0]
    # 50 wide, 6.4 in 128.
    (larger,) = proposed([figures((1000, 1000))] * 600 + [figures((1000, 1000), defect=2.5e-3)], many)
    assert larger.startswith("--config.features.resolution=256: ")
    assert proposed([figures((1000, 1000))] * 600 + [figures((1000, 1000), defect=0.1)], many) == []
    none_known = proposed([figures((2000, 2000))] * 600)
    assert (
        "what is smaller than 125 pixels is easily lost" in none_known[0] and "none is known" in none_known[1]
    )
    (stretched,) = proposed([figures((100, 300))] * 200 + [figures((100, 100))] * 400 + [figures()], many)
    assert "200 of 600 normal training images are stretched" in stretched
    thermal = Figures(Found(None, "more than 8 bits", 7400.0, (100, 100), lowest=7000.0), 0.5, 0.1, 0.2)
    (narrow,) = proposed([thermal] * 600 + [figures()], many, **{"data.white": 16383.0})
    assert narrow.startswith(
        "--config.data.black=7000 --config.data.white=7400, or a little wider: values lie "
    )
    assert narrow.endswith("from 7000 to 7400, which is 2% of what is now black to white")
    assert proposed([thermal] * 600 + [figures()], many, **{"data.white": 7800.0, "data.black": 7000.0}) == []
    assert proposed(["bad"]) == []
