"""Whole runs with pretrained features: many known defects, a few, or none."""

import csv
import json
import shutil

import numpy as np
import pytest

from helpers.tiny_runs import tiny_config
from semi_anogan import train
from semi_anogan.data import review
from semi_anogan.data.image_arrays import resize
from semi_anogan.errors import DataError, RunError
from semi_anogan.networks.pretrained.load import load_features
from semi_anogan.review.reasons import Asked, Reasons
from semi_anogan.runs import build, remembered, suspicious_csv
from semi_anogan.runs import folder as run_folder
from semi_anogan.scoring.detector import Detector

pytestmark = pytest.mark.slow

FEATURES = {
    "features.name": "efficientnet_lite0",
    "features.resolution": 32,
    "parts.memory": 60,
    "schedule.total_kimages": 0.064,
    "schedule.patch_kimages": 0.032,
    "schedule.patch_batch_size": 8,
    "schedule.start_resolution": 8,
    "score.components": "discriminator,patches,memory,likeness,classifier",
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Run folders by their number of known abnormal images: 40, of which 8 are held out, 3 and 0."""
    folders = {}
    for known in (40, 3, 0):
        folders[known] = tmp_path_factory.mktemp(f"known{known}")
        train.run(tiny_config(**{**FEATURES, "data.abnormal_count": known}), folders[known])
    return folders


def calibration_of(folder) -> dict:
    """The calibration that is written in a run folder."""
    return json.loads((folder / "detector.json").read_text())["calibration"]


def checkpoints_are_the_same(folder, other) -> bool:
    """Whether nothing was trained between two run folders: names, and the bytes of the newest one."""
    old, new = (sorted((f / "checkpoints").iterdir()) for f in (folder, other))
    return [p.name for p in old] == [p.name for p in new] and old[-1].read_bytes() == new[-1].read_bytes()


def test_few_known_defects_weigh_what_did_not_train_on_them(finished):
    fitted = calibration_of(finished[3])
    weights = dict(zip(fitted["names"], fitted["weights"], strict=True))
    assert set(weights) >= {"discriminator", "patches", "memory", "likeness"}
    assert fitted["method"] == "logistic_regression" and fitted["abnormals"] == 3
    assert weights["discriminator"] == weights["patches"] == 0 and weights["memory"] + weights["likeness"] > 0
    with np.load(finished[3] / "likeness.npz") as file:
        assert file["left_out"].shape == (3,)
        assert file["weights0"].shape == (24,) and file["weights2"].shape == (112,)


def test_without_known_defects_components_count_as_they_agree_with_the_memory(finished):
    fitted = calibration_of(finished[0])
    weights = dict(zip(fitted["names"], fitted["weights"], strict=True))
    assert fitted["method"] == "robust_z_sum" and fitted["abnormals"] == 0
    assert weights["memory"] == max(weights.values()) > 0 and sum(weights.values()) == pytest.approx(1)
    assert "likeness" in weights  # to synthetic defects


def test_with_many_known_defects_there_is_a_classifier_on_the_features_before_fine_tuning(finished):
    """What the run's file says, on ImageNet's own features, is the component in scores.csv."""
    assert [(finished[known] / "classifier.npz").exists() for known in (40, 3, 0)] == [True, False, False]
    detector, config = Detector.load(finished[40]), run_folder.load_config(finished[40])
    assert detector.model.patch_discriminator_average.features.trainable_blocks > 0
    assert "classifier" in detector.names
    assert all("classifier" not in Detector.load(finished[known]).names for known in (3, 0))
    dataset, splits, _ = build.load_data(config)
    seen = (next(iter(detector.preparation.cut(dataset.read_image(e)))) for e in splits.test)
    images = np.stack([resize(image, *detector.model.image_shape) for image in seen])
    features = [np.asarray(f, np.float64) for f in load_features()(images)]
    pooled = np.concatenate([f.mean((1, 2)) for f in features] + [f.std((1, 2)) for f in features], axis=1)
    with np.load(finished[40] / "classifier.npz") as file:
        expected = pooled @ file["weights"] + file["bias"]
    with open(finished[40] / "scores.csv", newline="") as file:
        found = {row["path"]: float(row["classifier"]) for row in csv.DictReader(file)}
    np.testing.assert_allclose([found[e.path] for e in splits.test], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("known", [40, 3, 0])
def test_a_loaded_run_scores_as_the_training_did(finished, known):
    detector = Detector.load(finished[known])
    dataset, splits, _ = build.load_data(run_folder.load_config(finished[known]))
    rows = (finished[known] / "scores.csv").read_text().splitlines()[1:]
    found = [detector.judge(m)[0] for m in detector.measure(dataset.read_image(e) for e in splits.test)]
    np.testing.assert_allclose(found, [float(row.split(",")[2]) for row in rows], rtol=1e-3, atol=1e-3)


def test_the_end_of_a_run_done_again_says_the_same(finished, tmp_path):
    """A training that was cut off after its last step, before the threshold."""
    folder = tmp_path / "run"
    shutil.copytree(finished[3], folder)
    for name in ("detector.json", "metrics.json", "memory.npz", "likeness.npz"):
        (folder / name).unlink()
    train.run(tiny_config(**{**FEATURES, "data.abnormal_count": 3}), folder)
    before, after = calibration_of(finished[3]), calibration_of(folder)
    assert before["names"] == after["names"]
    np.testing.assert_allclose(after["weights"], before["weights"], rtol=1e-3, atol=1e-6)
    assert after["threshold"] == pytest.approx(before["threshold"], rel=1e-3)


def test_settings_of_the_detector_change_without_training_again(finished, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(finished[3], folder)
    changes = {"data.abnormal_count": 3, "parts.memory": 0, "calibration.false_alarm_rate": 0.4}
    train.run(tiny_config(**{**FEATURES, **changes}), folder)
    assert "calibration.false_alarm_rate was 0.01, now 0.4" in capsys.readouterr().out
    before, after = calibration_of(finished[3]), calibration_of(folder)
    assert after["names"] == [n for n in before["names"] if n != "memory"]
    assert not (folder / "memory.npz").exists()
    assert after["false_alarm_rate"] == 0.4 and run_folder.load_config(folder).parts.memory == 0
    assert checkpoints_are_the_same(finished[3], folder)


def test_reviewed_images_change_the_detector_without_training_again(finished, tmp_path, capsys):
    """suspicious.csv of the run itself, filled in, from which the same command goes on; the labels stay."""
    folder = tmp_path / "run"
    shutil.copytree(finished[0], folder)
    file = folder / "suspicious.csv"
    rows = [line.split(",") for line in file.read_text().splitlines()]
    assert rows[0] == ["path", "suspicion", "label"]
    for number, label in ((1, "abnormal"), (2, "normal"), (3, "abnormal")):
        rows[number][2] = label
    file.write_text("\n".join(",".join(row) for row in rows))
    changes = {"data.abnormal_count": 0, "data.reviewed": str(file)}
    train.run(tiny_config(**{**FEATURES, **changes}), folder)
    said = capsys.readouterr().out
    assert f"data.reviewed was None, now {str(file)!r}" in said
    assert f"{file}: 3 images reviewed, 2 of them abnormal" in said
    labels = {row[0]: row[2] for row in rows[1:4]}
    assert {path: found.label for path, found in review.read(file).items()} == labels
    assert not {path for path, _ in suspicious_csv.read_highest(file, 1000)} & set(labels)
    before, after = calibration_of(finished[0]), calibration_of(folder)
    assert before["method"] == after["method"] == "robust_z_sum" and before["threshold"] != after["threshold"]
    assert checkpoints_are_the_same(finished[0], folder)
    # What has been looked at is not listed again.
    report = (folder / "report.html").read_text()
    assert all(path not in report for path in labels)


@pytest.mark.parametrize("name", ["likeness.npz", "memory.npz", "classifier.npz"])
def test_a_damaged_file_is_named(finished, tmp_path, name):
    folder = tmp_path / "run"
    shutil.copytree(finished[40], folder)
    (folder / name).write_bytes((folder / name).read_bytes()[:200])
    with pytest.raises(RunError, match=f"{name}: cannot be read"):
        Detector.load(folder)


def test_the_review_page_is_told_what_a_place_is_near_to(finished):
    """Of images that the source draws, with the memory's places found again in them."""
    paths = remembered.read(finished[3])
    reasons = Reasons(finished[3], None)
    assert len(paths) == len(set(paths)) > 8
    found = reasons.answer(Asked("training", paths[0]))
    assert "the memory knows this image: its own patches are left out" in found["notes"]
    assert len(found["normal"]) == 4 and paths[0] not in [n["path"] for n in found["normal"]]
    hows = {n["how"].split(",")[0].split(";")[0] for n in found["normal"]}
    # Of 60 patches in all, those of an image may be of it in other light alone.
    alone = "not found again: remembered in other light alone"
    assert hows <= {"found again", "remembered in other light", alone}
    near = [n["distance"] for n in found["normal"]]
    assert near == sorted(near) and found["support"] == 2
    signed = np.mean([np.sign(d) * d * d for d in near[:2]])
    assert found["distance"] == pytest.approx(np.sign(signed) * abs(signed) ** 0.5)
    assert len(found["known"]) == found["known_count"] == 3
    assert all(n["crop"].startswith("data:image/png;base64,") for n in found["normal"] + found["known"])
    drawn = reasons.answer(Asked("training", paths[0], drawn=True))
    assert drawn["reconstruction"] is None and "does without the generator" in drawn["notes"][0]
    with pytest.raises(DataError, match="no image of the run's data any more"):
        reasons.answer(Asked("test", "surface/test/none"))
