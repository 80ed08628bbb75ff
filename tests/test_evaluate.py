"""Evaluation: metrics.json says what scores.csv says, twice the same, and data with parts missing is fine."""

import csv
import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from helpers import trained
from helpers.evaluated import dataset_of
from helpers.processes import command
from helpers.trained import CALIBRATION, StandInDetector
from semi_anogan import evaluate
from semi_anogan.data.splits import Splits
from semi_anogan.errors import RunError
from semi_anogan.runs import folder as run_folder
from semi_anogan.scoring.chosen import Chosen

COMPONENTS = ("residual", "feature_distance", "discriminator")  # of a run without pretrained features


def read(folder):
    """(metrics, rows of scores.csv) of a run folder."""
    with open(folder / "scores.csv", newline="", encoding="utf-8") as file:
        return json.loads((folder / "metrics.json").read_text()), list(csv.DictReader(file))


@pytest.fixture(scope="module")
def again(smoke_run, tmp_path_factory):
    """A copy of the run folder, evaluated by the command: (result, folder)."""
    folder = tmp_path_factory.mktemp("again") / "run"
    shutil.copytree(
        smoke_run, folder, ignore=shutil.ignore_patterns("plots", "report.html", "metrics.json", "scores.csv")
    )
    return command("evaluate", f"--workdir={folder}"), folder


def test_the_command_finds_what_the_training_found(smoke_run, again):
    result, folder = again
    assert result.returncode == 0, result.stderr
    (first, first_rows), (second, second_rows) = read(smoke_run), read(folder)
    for values in (first, second):
        assert values.pop("search_images_per_second") > 0
    assert _close(first, second), (first, second)
    assert [row["path"] for row in first_rows] == [row["path"] for row in second_rows]
    for name in ("score", *COMPONENTS):
        np.testing.assert_allclose(
            [float(row[name]) for row in first_rows],
            [float(row[name]) for row in second_rows],
            rtol=2e-5,
            atol=2e-5,
        )
    assert (
        f"image AUROC {second['image_auroc']:.3f}" in result.stdout
        and f"report: {folder}/report.html" in result.stdout
    )


def _close(a, b):
    if isinstance(a, dict):
        return set(a) == set(b) and all(_close(a[k], b[k]) for k in a)
    return a == b or a == pytest.approx(b, rel=1e-5)


def test_contract_keys_are_there(again, smoke_data):
    values, rows = read(again[1])
    assert {
        "image_auroc",
        "image_average_precision",
        "image_f1_max",
        "threshold",
        "image_false_alarm_rate",
        "image_recall",
        "false_alarm_rate_asked",
        "false_alarm_interval",
        "components",
        "pixel_auroc",
        "pixel_aupro",
        "pixel_threshold",
        "region_recall",
        "regions_per_normal_image",
        "region_pixel_f1",
        "counts",
        "train_seconds",
        "search_images_per_second",
    } <= set(values)
    assert set(values["components"]) == set(COMPONENTS)
    _, _, splits = smoke_data
    assert values["counts"] == {
        "train_normal": len(splits.normal),
        "train_abnormal": len(splits.abnormal),
        "held_out_normal": len(splits.held_out_normal),
        "held_out_abnormal": len(splits.held_out_abnormal),
        "test_normal": 10,
        "test_abnormal": 10,
    }
    assert values["counts"]["train_normal"] + values["counts"]["held_out_normal"] == 60
    assert [row["path"] for row in rows] == [e.path for e in splits.test]


def test_metrics_agree_with_scores_csv(again):
    values, rows = read(again[1])
    abnormal = np.array([row["truth"] == "abnormal" for row in rows])
    scores = np.array([float(row["score"]) for row in rows])
    label = np.array([row["label"] == "abnormal" for row in rows])
    assert abnormal.sum() == 10
    assert values["image_auroc"] == pytest.approx(sklearn_metrics.roc_auc_score(abnormal, scores))
    assert values["image_average_precision"] == pytest.approx(
        sklearn_metrics.average_precision_score(abnormal, scores)
    )
    best = max(sklearn_metrics.f1_score(abnormal, scores >= t) for t in scores)
    assert values["image_f1_max"] == pytest.approx(best)
    np.testing.assert_array_equal(label, scores > values["threshold"])
    assert values["image_recall"] == pytest.approx(label[abnormal].mean())
    assert values["image_false_alarm_rate"] == pytest.approx(label[~abnormal].mean())
    for name in COMPONENTS:
        assert values["components"][name] == pytest.approx(
            sklearn_metrics.roc_auc_score(abnormal, [float(row[name]) for row in rows]),
            abs=0.011,  # ties by rounding
        )


def test_threshold_and_seconds_are_the_runs(again, smoke_run):
    values, _ = read(again[1])
    detector = json.loads((smoke_run / "detector.json").read_text())
    assert values["threshold"] == detector["calibration"]["threshold"]
    assert values["train_seconds"] == round(run_folder.read_progress(smoke_run)["seconds"], 1) > 0


def test_report_holds_the_figures(again):
    _, folder = again
    values, rows = read(folder)
    page = (folder / "report.html").read_text()
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))
    for figure in (
        f"{values['image_auroc']:.3f}",
        f"{values['image_recall']:.1%}",
        f"{values['threshold']:.6g}",
    ):
        assert figure in text
    assert "smoke: surface" in text
    plots = {p.stem for p in (folder / "plots").glob("*.png")}
    assert {"scores", "roc", "precision_recall", "pixel_differences", "history", "gallery"} <= plots
    assert page.count("data:image/png;base64,") >= len(plots) - 1
    assert not re.search(r'(src|href)="(?!data:|#)', page)  # nothing from elsewhere


# With stand-in networks: an image's score is its mean, its map is the image itself


def evaluated(tmp_path, smoke_data, dataset, **settings):
    test = dataset.select("test")
    training = dataset.select("train")
    splits = Splits(training[:2], [], training[2:], [], test)
    detector = StandInDetector(**settings)
    progress = {
        "seconds": 12.34,
        "history": {"images_seen": [1, 2], "generator_loss": [1.0, 0.5], "fade": [0, 1]},
    }
    return evaluate.evaluate(smoke_data[0], tmp_path, detector, dataset, splits, progress)


def test_metrics_by_hand(tmp_path, smoke_data):
    """Threshold 0.5; normal 0.1, 0.2, 0.6, 0.3 and abnormal 0.9, 0.4: of 8 pairs 7 are in order."""
    values = {"n1": 0.1, "n2": 0.2, "n3": 0.6, "n4": 0.3, "abnormal1": 0.9, "abnormal2": 0.4}
    found = evaluated(tmp_path, smoke_data, dataset_of(values))
    assert found == json.loads((tmp_path / "metrics.json").read_text())
    assert found["image_auroc"] == 7 / 8
    assert found["image_false_alarm_rate"] == 1 / 4 and found["image_recall"] == 1 / 2
    assert found["threshold"] == 0.5 and found["train_seconds"] == 12.3
    assert found["false_alarm_rate_asked"] == 0.1 and found["false_alarm_interval"] is None
    assert found["components"] == dict.fromkeys(trained.COMPONENTS, 7 / 8)
    assert "pixel_auroc" not in found  # no masks
    _, rows = read(tmp_path)
    assert [(row["path"], row["truth"], row["label"]) for row in rows] == [
        ("n1", "normal", "normal"),
        ("n2", "normal", "normal"),
        ("n3", "normal", "abnormal"),
        ("n4", "normal", "normal"),
        ("abnormal1", "abnormal", "abnormal"),
        ("abnormal2", "abnormal", "normal"),
    ]
    assert [float(row["residual"]) for row in rows] == pytest.approx(list(values.values()))


def test_the_interval_of_the_false_alarm_rate_is_told(tmp_path, smoke_data):
    known = dataclasses.replace(CALIBRATION, false_alarm_interval=(0.04, 0.2))
    found = evaluated(tmp_path, smoke_data, dataset_of({"n1": 0.1, "abnormal1": 0.9}), calibration=known)
    assert found["false_alarm_interval"] == [0.04, 0.2]
    assert "lies between 4.0% and 20.0%" in (tmp_path / "report.html").read_text()


def test_pixel_metrics_by_hand(tmp_path, smoke_data):
    """A defect of 4 pixels at 0.9; of 124 normal pixels 64 (the other image) are at 0.95, the rest at 0."""
    mask = np.zeros((8, 8), bool)
    mask[2:4, 2:4] = True
    found = evaluated(tmp_path, smoke_data, dataset_of({"n": 0.95, "abnormal": 0.9}, {"abnormal": mask}))
    assert found["pixel_auroc"] == pytest.approx(60 / 124)
    # Found only beyond a false-positive rate of 64 / 124.
    assert found["pixel_aupro"] == pytest.approx(0.0, abs=1e-6)
    found = evaluated(tmp_path, smoke_data, dataset_of({"n": 0.1, "abnormal": 0.9}, {"abnormal": mask}))
    assert found["pixel_auroc"] == 1.0 and found["pixel_aupro"] == pytest.approx(1.0)


def test_regions_by_hand(tmp_path, smoke_data, capsys):
    """Threshold 0.5, pixel threshold 0.6. Of the defects one is found whole, one by an eighth, one not.

    Scores are means over the image, its highest place is what its mask has.
    """
    whole, part, missed = (np.zeros((8, 8), bool) for _ in range(3))
    whole[:, :6] = True
    part[1:, :] = True
    missed[0, 0] = True
    values = {"n1": 0.1, "n2": 0.55, "abnormal1": 0.9, "abnormal2": 0.8, "abnormal3": 0.9}
    masks = {"abnormal1": whole, "abnormal2": part, "abnormal3": missed}
    known = dataclasses.replace(CALIBRATION, pixel_threshold=0.6)
    found = evaluated(tmp_path, smoke_data, dataset_of(values, masks), calibration=known)
    # Normal: n1 below the threshold, n2 above it, so that all of its pixels are a region, not a certain one.
    assert found["regions_per_normal_image"] == 1 / 2 and found["pixel_threshold"] == 0.6
    assert found["region_recall"] == 2 / 3  # abnormal3 scores 0.9 / 64
    assert found["region_pixel_f1"] == pytest.approx(2 * (48 + 56) / (48 + 56 + 64 + 48 + 56 + 1))
    told = capsys.readouterr().out
    assert "regions touch 66.7% of the defects, pixel F1 0.762; 0.500 in a normal image\n" in told
    page = (tmp_path / "report.html").read_text()
    assert "A normal image has 0.50 regions on the mean" in page and "line in them runs around" in page
    assert "region_recall" not in evaluated(tmp_path, smoke_data, dataset_of(values, masks))


def test_abnormal_images_without_a_mask_do_not_count_as_normal_pixels(tmp_path, smoke_data):
    mask = np.zeros((8, 8), bool)
    mask[2:4, 2:4] = True
    values = {"n": 0.1, "abnormal": 0.5, "abnormal without": 0.9}
    found = evaluated(tmp_path, smoke_data, dataset_of(values, {"abnormal": mask}))
    assert found["pixel_auroc"] == 1.0


def test_what_the_calibration_warns_of_is_printed_and_reported(tmp_path, smoke_data, capsys):
    warned = dataclasses.replace(CALIBRATION, warnings=("9 held-out images are few",))
    evaluated(tmp_path, smoke_data, dataset_of({"n1": 0.1, "abnormal1": 0.9}), calibration=warned)
    assert "note: 9 held-out images are few\n" in capsys.readouterr().out
    assert "9 held-out images are few" in (tmp_path / "report.html").read_text()


def test_a_threshold_that_a_person_chose_is_told(tmp_path, smoke_data, capsys, monkeypatch):
    chosen = Chosen(0.7, "ann", "2026-01-31T12:00:00Z", 0.6, 0.5)
    monkeypatch.setattr(StandInDetector, "chosen", chosen)
    judged = dataclasses.replace(CALIBRATION, threshold=0.7)
    found = evaluated(tmp_path, smoke_data, dataset_of({"n1": 0.1, "abnormal1": 0.9}), calibration=judged)
    assert (found["threshold"], found["false_alarm_rate_asked"]) == (0.7, None)
    assert found["threshold_chosen"] == chosen._asdict()
    told = "threshold 0.7, chosen by ann on 2026-01-31T12:00:00Z, is used; calibrated is 0.5 (before: 0.6)"
    assert f"note: {told}\n" in capsys.readouterr().out
    assert told in (tmp_path / "report.html").read_text()


def test_normal_images_only(tmp_path, smoke_data, capsys):
    found = evaluated(tmp_path, smoke_data, dataset_of({"n1": 0.1, "n2": 0.2, "n3": 0.6, "n4": 0.3}))
    assert (
        found["image_auroc"] is None
        and found["image_recall"] is None
        and found["image_average_precision"] is None
    )
    assert found["components"] == dict.fromkeys(trained.COMPONENTS)
    assert found["image_false_alarm_rate"] == 1 / 4
    assert (found["counts"]["test_normal"], found["counts"]["test_abnormal"]) == (4, 0)
    assert (tmp_path / "report.html").exists()
    assert found["not_available"]["image_auroc"] == "there are no abnormal test images"
    told = capsys.readouterr().out
    assert "image AUROC none" in told and "cannot be had: there are no abnormal test images" in told


def test_abnormal_images_only(tmp_path, smoke_data):
    found = evaluated(tmp_path, smoke_data, dataset_of({"abnormal1": 0.1, "abnormal2": 0.8}))
    assert (
        found["image_auroc"] is None
        and found["image_false_alarm_rate"] is None
        and found["image_recall"] == 1 / 2
    )


def test_no_test_images(tmp_path, smoke_data, capsys):
    found = evaluated(tmp_path, smoke_data, dataset_of({}))
    assert "image_auroc" not in found and found["threshold"] == 0.5
    assert set(found["not_available"].values()) == {"there are no test images"}
    assert "no test images; at threshold 0.500" in capsys.readouterr().out
    assert "There are no test images" in (tmp_path / "report.html").read_text()


def test_gallery_is_searched_together(tmp_path, smoke_data):
    """8 images for the gallery are 2 batches of 4, not one each.

    The test's 8 images are 2 more, and the first is searched before the clock starts.
    """
    values = {f"n{i}": i / 10 for i in range(4)} | {f"abnormal{i}": 0.6 + i / 20 for i in range(4)}
    calls = []

    def components(batch):
        calls.append(len(batch))
        return np.repeat(batch.mean(axis=(1, 2)), 4, axis=1)

    evaluated(tmp_path, smoke_data, dataset_of(values), components=components)
    assert calls == [4] * 5


def test_a_full_disk_is_a_run_error(tmp_path, smoke_data, monkeypatch):
    import errno
    import os

    from semi_anogan.evaluation.report import page

    def full(folder, report):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / "report.html"))

    monkeypatch.setattr(page, "write_report", full)
    with pytest.raises(RunError, match="report.html: cannot be written: No space left"):
        evaluated(tmp_path, smoke_data, dataset_of({"n1": 0.1, "abnormal1": 0.2}))


def test_synthetic_defects_that_test_a_likeness_are_in_held_out_images(smoke_data):
    """One of each, changed in part of its pixels."""
    from semi_anogan.training.fit_detector import read_synthetic

    config, dataset, splits = smoke_data
    drawn = list(read_synthetic(config, dataset, splits, most=2))
    for image, example in zip(drawn, splits.held_out_normal[:2], strict=True):
        changed = (image != dataset.read_image(example)).mean()
        assert 0 < changed <= 0.5
