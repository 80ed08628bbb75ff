"""Run folders as detectors: what is saved is what is loaded, and a damaged file is named."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from semi_anogan.errors import CheckpointError, RunError
from semi_anogan.runs import build
from semi_anogan.scoring.detector import Detector
from semi_anogan.scoring.fit_calibration import HeldOut


@pytest.fixture(scope="module")
def copied(smoke_run, tmp_path_factory):
    """Makes a copy of the run folder to damage."""

    def copy():
        folder = tmp_path_factory.mktemp("copy") / "run"
        shutil.copytree(smoke_run, folder, ignore=shutil.ignore_patterns("plots", "events", "report.html"))
        return folder

    return copy


@pytest.fixture
def same_model(monkeypatch, smoke_detector):
    """A run is loaded with the model of the smoke run: building one is not what is tested here."""
    monkeypatch.setattr(build, "load_model", lambda folder, config, step: smoke_detector.model)


def test_state_goes_through_json_bit_by_bit(smoke_run, smoke_detector, test_images):
    saved = json.loads((smoke_run / "detector.json").read_text())
    newest = max(path.stem for path in (smoke_run / "checkpoints").glob("step_*.npz"))
    assert saved.pop("step") == int(newest.removeprefix("step_"))
    assert json.loads(json.dumps(smoke_detector.state())) == saved
    search = {"iterations": 1, "candidates": 4}
    other = Detector(smoke_detector.model, search, calibration=smoke_detector.calibration)
    assert other.state() == smoke_detector.state()
    for measurement in smoke_detector.measure(test_images):
        score, label, anomaly_map = smoke_detector.judge(measurement)
        assert other.judge(measurement)[:2] == (score, label)
        np.testing.assert_array_equal(other.judge(measurement)[2], anomaly_map)


def test_a_run_of_before_gets_its_scores_from_its_evidence(copied, same_model, smoke_detector):
    """So another false-alarm rate can be had of it, and p-values, with the same bits."""
    folder = copied()
    state = json.loads((folder / "detector.json").read_text())
    for name in ("normal_scores", "normal_highest", "look_threshold"):
        del state["calibration"][name]
    (folder / "detector.json").write_text(json.dumps(state))
    loaded, own = Detector.load(folder), smoke_detector.calibration
    assert loaded.calibration.normal_scores == own.normal_scores and len(own.normal_scores) == own.normals
    assert loaded.at(false_alarm_rate=0.01).threshold == own.threshold
    for rate in (0.001, 0.3):
        found, expected = loaded.at(false_alarm_rate=rate), smoke_detector.at(false_alarm_rate=rate)
        assert found.threshold == expected.threshold != own.threshold
        assert found.pixel_threshold == own.pixel_threshold != expected.pixel_threshold
    (folder / "evidence.npz").unlink()
    with pytest.raises(RunError, match="no scores of normal images are kept"):
        Detector.load(folder).at(false_alarm_rate=0.1)


def test_a_run_whose_map_was_made_otherwise_has_no_pixel_threshold(copied, same_model, smoke_detector):
    """Its threshold is of another map: no regions rather than wrong ones, until it is fitted again."""
    folder = copied()
    state = json.loads((folder / "detector.json").read_text())
    assert state.pop("map_components") == list(smoke_detector._map_components())
    assert Detector.load(folder).pixel_threshold is not None
    (folder / "detector.json").write_text(json.dumps(state))
    loaded = Detector.load(folder)
    assert loaded.pixel_threshold is None and loaded.threshold == smoke_detector.threshold
    assert loaded.at(false_alarm_rate=0.3).pixel_threshold is None


@pytest.mark.parametrize(
    ("normals", "abnormals", "method"), [(6, 10, "logistic_regression"), (10, 0, "robust_z_sum")]
)
def test_a_calibration_that_was_saved_is_loaded_exactly(
    copied, same_model, smoke_detector, test_images, normals, abnormals, method
):
    """Every field, the sentences and the map's statistics too."""
    held_out = HeldOut(test_images[:normals], abnormal=test_images[10 : 10 + abnormals])
    calibrated = smoke_detector.calibrate(held_out, 0.05, base=("discriminator",))
    assert calibrated.calibration.method == method and calibrated.calibration.warnings
    folder = copied()
    (folder / "detector.json").write_text(json.dumps(calibrated.state()))
    loaded = Detector.load(folder)
    assert loaded.calibration == calibrated.calibration and loaded.state() == calibrated.state()


def test_a_chosen_threshold_is_used_and_given_back(copied, same_model, smoke_detector):
    from semi_anogan.scoring import chosen

    folder, own = copied(), smoke_detector.threshold
    assert Detector.load(folder).chosen is None
    chosen.write(folder, 0.25, "ann")
    loaded = Detector.load(folder)
    assert (loaded.threshold, loaded.pixel_threshold) == (0.25, smoke_detector.pixel_threshold)
    assert (loaded.chosen.who, loaded.chosen.former, loaded.chosen.calibrated) == ("ann", own, own)
    assert loaded.pruned().chosen == loaded.chosen
    # What is exported judges by it.
    assert loaded.state()["calibration"]["threshold"] == 0.25
    assert loaded.calibrated.false_alarm_rate == smoke_detector.calibrated.rate(0.25)
    chosen.write(folder, None)
    assert Detector.load(folder).threshold == own


def test_a_loaded_run_scores_as_the_training_did(smoke_run, smoke_detector, test_images):
    """scores.csv was written by the process that trained."""
    rows = (smoke_run / "scores.csv").read_text().splitlines()[1:]
    np.testing.assert_allclose(
        smoke_detector(test_images).scores, [float(row.split(",")[2]) for row in rows], rtol=2e-5, atol=2e-5
    )


def test_missing_files_are_named(copied, tmp_path):
    with pytest.raises(RunError, match="config.json"):
        Detector.load(tmp_path / "nothing")
    folder = copied()
    shutil.rmtree(folder / "checkpoints")
    with pytest.raises(RunError, match=f"{folder}/checkpoints: holds no checkpoint"):
        Detector.load(folder)
    (folder / "detector.json").unlink()
    with pytest.raises(RunError, match=f"{folder}/detector.json: missing, so the training has not finished"):
        Detector.load(folder)
    (folder / "config.json").unlink()
    with pytest.raises(RunError, match=f"{folder}/config.json"):
        Detector.load(folder)


def test_damaged_checkpoints_are_named(copied):
    folder = copied()
    for path in (folder / "checkpoints").glob("*.npz"):
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises((RunError, CheckpointError), match=f"{folder}/checkpoints"):
        Detector.load(folder)


def test_another_checkpoint_than_the_detectors_own_is_refused(copied):
    """Weights and threshold rest on what the networks of one step say: of others the scores are wrong."""
    folder = copied()
    former, newest = sorted((folder / "checkpoints").glob("step_*.npz"))
    newest.write_bytes(newest.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=f"{newest}: damaged: .*; the train command of the run makes"):
        Detector.load(folder)
    newest.unlink()
    with pytest.raises(CheckpointError, match=f"{newest}: missing; the train command of the run makes it"):
        Detector.load(folder)
    former.unlink()


def changed(state, **values):
    return {**state, **values}


DAMAGES = {
    "cut off": lambda text, state: text[: len(text) // 2],
    "empty": lambda text, state: "",
    "not an object": lambda text, state: "[1, 2]",
    "binary": lambda text, state: "\x00\x01",
    "without calibration": lambda text, state: {k: v for k, v in state.items() if k != "calibration"},
    "calibration of another kind": lambda text, state: changed(state, calibration=5),
    "a key missing": lambda text, state: changed(
        state, calibration={k: v for k, v in state["calibration"].items() if k != "bias"}
    ),
    "a weight missing": lambda text, state: changed(
        state, calibration=changed(state["calibration"], weights=state["calibration"]["weights"][:-1])
    ),
    "other components": lambda text, state: changed(
        state, calibration=changed(state["calibration"], names=["a", "b", "c"])
    ),
    "a threshold that is none": lambda text, state: changed(
        state, calibration=changed(state["calibration"], threshold=float("nan"))
    ),
    "a layer missing": lambda text, state: changed(state, map_center=state["map_center"][:-1]),
    "a column of layers": lambda text, state: changed(state, map_center=[[c] for c in state["map_center"]]),
    "no map scale": lambda text, state: {k: v for k, v in state.items() if k != "map_scale"},
    "text for a number": lambda text, state: changed(state, map_scale=["a"] * 5),
}


def test_damaged_detector_json_is_named(copied, same_model):
    """Whatever is wrong with it, it is said of this file and at once, not when the first image is scored."""
    folder = copied()
    path = folder / "detector.json"
    text = path.read_text()
    for name, damage in DAMAGES.items():
        damaged = damage(text, json.loads(text))
        path.write_text(damaged if isinstance(damaged, str) else json.dumps(damaged))
        with pytest.raises(RunError) as caught:
            Detector.load(folder)
            pytest.fail(f"{name}: was taken")
        assert str(caught.value).startswith(f"{path}: "), name


def test_what_is_wrong_with_a_setting_is_not_said_of_detector_json(smoke_run, same_model):
    with pytest.raises(RunError, match="^bad setting: score.components must be among .* got colour$"):
        Detector.load(smoke_run, components=["colour"])
    # But its calibration is that of all components.
    with pytest.raises(
        RunError, match=f"{smoke_run}/detector.json: .*'discriminator'.* expected .*'residual'"
    ):
        Detector.load(smoke_run, components=["residual"])


def test_a_calibration_can_be_given_instead_of_the_runs_own(smoke_run, smoke_detector, same_model):
    other = dataclasses.replace(smoke_detector.calibration, threshold=0.75)
    assert Detector.load(smoke_run, calibration=other).threshold == 0.75
    assert Detector.load(smoke_run).threshold == smoke_detector.threshold
