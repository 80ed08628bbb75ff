"""Runs without test images, or with those of one label: said at the start, reported as far as it goes."""

import json

import numpy as np
import pytest
from PIL import Image

from helpers.processes import command
from helpers.tiny_runs import tiny_config
from semi_anogan import train
from semi_anogan.data.dataset import Dataset, Example
from semi_anogan.data.splits import Splits
from semi_anogan.evaluation import metrics
from semi_anogan.runs import folder as run_folder

# Of the surfaces that tiny_config is for; files have no such options.
OF_SURFACES = {
    f"data__{name}": None
    for name in ("size", "train_normal", "train_abnormal", "test_normal", "test_abnormal")
}


def run(tmp_path, **folders):
    """(metrics, run folder) of a short run on folders with so many images of noise."""
    rng, root = np.random.default_rng(0), tmp_path / "parts"
    for name, count in folders.items():
        path = root / name.replace("__", "/")
        path.mkdir(parents=True)
        for i in range(count):
            Image.fromarray(rng.integers(0, 256, (16, 16)).astype(np.uint8)).save(path / f"{i}.png")
    (root / "train/good/x.heic").write_bytes(b"x")
    config = tiny_config(
        name="parts", data__name="folder", data__root=str(root), schedule__total_kimages=0.05, **OF_SURFACES
    )
    return train.run(config, tmp_path / "run"), tmp_path / "run"


@pytest.fixture(scope="module")
def untested(tmp_path_factory):
    return run(tmp_path_factory.mktemp("untested"), train__good=20, train__cut=3)


def test_a_run_without_test_images_has_a_report_without_their_figures(untested):
    found, folder = untested
    assert found == json.loads((folder / "metrics.json").read_text())
    assert not {"image_auroc", "image_recall", "image_false_alarm_rate", "components"} & set(found)
    assert set(found["not_available"].values()) == {"there are no test images"}
    assert {"image_auroc", "image_recall"} <= set(found["not_available"])
    assert np.isfinite(found["threshold"]) and found["counts"]["held_out_normal"] == 4
    assert not any(value is None for key, value in found.items() if key != "false_alarm_interval")
    page = (folder / "report.html").read_text()
    assert "There are no test images" in page and "Held-out training images" in page
    assert "Suspicious training images" in page and "Your data" in page
    assert (folder / "plots/held_out.png").exists() and not (folder / "plots/roc.png").exists()
    assert len((folder / "scores.csv").read_text().splitlines()) == 1


@pytest.mark.slow
def test_notes_are_kept_and_shown_again(untested):
    _, folder = untested
    notes = json.loads((folder / "data.json").read_text())["notes"]
    assert any(note.startswith("1 files of formats that are not read") for note in notes)
    assert any(note.startswith("there are no test images") for note in notes)
    page = (folder / "report.html").read_text()
    done = command("evaluate", f"--workdir={folder}")
    assert done.returncode == 0, done.stderr
    assert "no test images; at threshold" in done.stdout and "of 4 held-out normal images" in done.stdout
    again = (folder / "report.html").read_text()
    assert all(note.split(", such as")[0] in page and note.split(", such as")[0] in again for note in notes)
    assert run_folder.load_config(folder).data.white == 255


def test_what_is_said_comes_before_the_training(tmp_path, capsys, monkeypatch):
    from semi_anogan.training.loop import Training

    def stop(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Training, "run", stop)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, train__good=20)
    told = capsys.readouterr().out
    assert told.count("note: there are no test images") == 1
    assert told.count("note: 1 files of formats that are not read") == 1


@pytest.mark.parametrize(
    "abnormal, label, missing",
    [(False, "abnormal", "image_recall"), (True, "normal", "image_false_alarm_rate")],
)
def test_one_label_in_the_test(abnormal, label, missing):
    """What cannot be had is named with its reason; nothing is None without a word."""
    truth, scores = np.full(4, abnormal), np.array([0.1, 0.2, 0.6, 0.9])
    values = metrics.image_metrics(truth, scores, 0.5)
    values["components"] = metrics.component_auroc(["memory"], scores[:, None], truth)
    why = metrics.unavailable(values, 4 * (not abnormal), 4 * abnormal)
    keys = {"image_auroc", "image_average_precision", "image_f1_max", missing, "components"}
    assert why == dict.fromkeys(keys, f"there are no {label} test images")
    assert {key for key, value in values.items() if value is None} == keys - {"components"}
    assert metrics.unavailable(values, 1, 1) == {}


def test_defects_without_a_mask_beside_others_are_told():
    def noted(*masks):
        test = [Example(f"test/cut/{i}.png", "test", "abnormal", mask=mask) for i, mask in enumerate(masks)]
        dataset = Dataset("parts", (Example("test/good/0.png", "test", "normal"), *test), None)
        train._note_test(dataset, Splits([], [], [], [], list(dataset.examples)))
        return dataset.notes.lines()

    assert noted("a.png", None, None) == [
        "2 abnormal test images have no mask, such as test/cut/1.png: the figures of pixels are of the others"
    ]
    assert noted("a.png", "b.png") == noted(None, None) == []
