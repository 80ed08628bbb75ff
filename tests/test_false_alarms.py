"""The benchmark of false-alarm rates."""

import dataclasses
import json

import numpy as np
import pytest

from semi_anogan.benchmarks import evidence, false_alarms
from semi_anogan.benchmarks.recorded import Recorded
from semi_anogan.errors import RunError
from semi_anogan.scoring.evidence import Evidence
from semi_anogan.scoring.fit_calibration import HeldOut, fit


def recorded(names=("a",), **arrays) -> Recorded:
    """Arrays of held-out images, and of the test: normal 0, 28.5, 40 and 50, abnormal 10 and 99."""
    test, abnormal = np.float64([[0.0], [28.5], [40.0], [50.0], [10.0], [99.0]]), np.arange(6) > 3
    held_out = HeldOut(np.arange(30.0)[:, None], **arrays)
    return Recorded(Evidence(names, held_out), test, abnormal, np.arange(30) == 29)


def test_rates_are_counted_on_images_that_the_threshold_did_not_see(monkeypatch):
    """One component, 30 held-out images 0 to 29: 20 calibrate, with 40 trained ones."""
    checked = np.append(np.arange(30) < 3, np.arange(40) == 7)
    given = recorded(trained=np.arange(40.0)[:, None], checked=checked)

    def calibration(evidence, rate):
        held_out = evidence.held_out
        assert len(held_out.normal) == 20 and rate == 0.01
        np.testing.assert_array_equal(held_out.checked[:20], held_out.normal[:, 0] < 3)
        assert np.flatnonzero(held_out.checked[20:]).tolist() == [7] and len(held_out.trained) == 40
        # The largest of those that calibrate is the threshold.
        found = fit(["a"], HeldOut(held_out.normal), rate)
        return dataclasses.replace(found, threshold=found.score(held_out.normal).max())

    monkeypatch.setattr(Evidence, "calibration", calibration)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(30)
        seen, rest = order[:20], order[20:]
        found = false_alarms.observed(given, 0.01, seed)
        assert found["held_out"] == pytest.approx(np.mean(rest[rest < 29] > seen.max()))
        assert found["test"] == pytest.approx(np.mean(np.array([0, 28.5, 40, 50]) > seen.max()))
        assert found["recall"] == 0.5 and found["calibrated_on"] == 20


def test_a_finished_run_is_taken_as_it_was_calibrated(smoke_run, smoke_detector, tmp_path):
    """What a run recorded gives its own weights, threshold and figures, and so does a file of it."""
    of_run = Recorded.of_run(smoke_run)
    of_run.write(tmp_path / "a.npz")
    metrics = json.loads((smoke_run / "metrics.json").read_text())
    expected = smoke_detector.calibration
    for found in (of_run, Recorded.read(tmp_path / "a.npz")):
        fitted = found.evidence.calibration(expected.false_alarm_rate)
        assert (fitted.names, fitted.base, fitted.set_aside) == (
            expected.names,
            expected.base,
            expected.set_aside,
        )
        np.testing.assert_allclose(fitted.weights, expected.weights, rtol=1e-4, atol=1e-6)
        assert fitted.threshold == pytest.approx(expected.threshold, rel=1e-4, abs=1e-4)
        figures = evidence.figures(found)
        assert figures.whole == pytest.approx(metrics["image_auroc"], abs=1e-3)
        assert figures.components == pytest.approx(metrics["components"], abs=1e-3)
    text = false_alarms.run([str(smoke_run)], [0.05], [0, 1])
    assert f"| {smoke_run.name} | 0.05 |" in text
    assert "2 draws each" in text and "| all |" not in text


def test_a_run_without_evidence_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"evidence.npz: missing; remove detector.json and train"):
        Recorded.of_run(tmp_path)
    np.savez(tmp_path / "evidence.npz", names=["a"])
    with pytest.raises(RunError, match="missing arrays .*'abnormal', 'base'"):
        Recorded.of_run(tmp_path)


def test_several_runs_are_summed_up_in_the_last_rows(monkeypatch):
    """By hand: rates 0.1 and 0.3 of one run's two draws, 0.5 and 0.9 of the other's."""
    rates = {("a", 0): 0.1, ("a", 1): 0.3, ("b", 0): 0.5, ("b", 1): 0.9}
    monkeypatch.setattr(Recorded, "of_run", lambda folder: folder[-1])

    def observed(recorded, rate, seed):
        return {"calibrated_on": 20, "held_out": rates[recorded, seed], "test": 0.0, "recall": 1.0}

    monkeypatch.setattr(false_alarms, "observed", observed)
    lines = false_alarms.run(["runs/a", "runs/b"], [0.01], [0, 1]).splitlines()
    assert lines[-2:] == [
        "| b | 0.01 | 20 | 0.7 | 0.500 to 0.900 | 0 | 0.000 to 0.000 | 1 |",
        "| all | 0.01 |  | 0.45 | 0.100 to 0.900 | 0 | 0.000 to 0.000 | 1 |",
    ]
