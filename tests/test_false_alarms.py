"""The benchmark of false-alarm rates."""

import dataclasses
import types

import numpy as np
import pytest

from semi_anogan.benchmarks import false_alarms
from semi_anogan.scoring.calibration import HeldOut, fit


def test_rates_are_counted_on_images_that_the_threshold_did_not_see():
    """One component, 30 held-out images 0 to 29: 20 calibrate, with 40 trained ones."""
    normal = np.arange(30.0)[:, None]
    components = {
        "normal": normal,
        "abnormal": np.zeros((0, 1)),
        "synthetic": np.zeros((0, 1)),
        "known": np.zeros((0, 1)),
        "trained": np.arange(40.0)[:, None],
        "mislabelled": np.arange(30) == 29,
        "checked": np.append(np.arange(30) < 3, np.arange(40) == 7),
        "test_normal": np.float64([[0.0], [28.5], [40.0], [50.0]]),
        "test_abnormal": np.float64([[10.0], [99.0]]),
    }

    def fuse(held_out, rate):
        assert len(held_out.normal) == 20 and rate == 0.01
        np.testing.assert_array_equal(held_out.checked[:20], held_out.normal[:, 0] < 3)
        assert np.flatnonzero(held_out.checked[20:]).tolist() == [7] and len(held_out.trained) == 40
        # The largest of those that calibrate is the threshold.
        found = fit(["a"], HeldOut(held_out.normal), rate)
        return dataclasses.replace(found, threshold=found.score(held_out.normal).max())

    for seed in range(5):
        order = np.random.default_rng(seed).permutation(30)
        seen, rest = order[:20], order[20:]
        found = false_alarms.observed(fuse, components, 0.01, seed)
        assert found["held_out"] == pytest.approx(np.mean(rest[rest < 29] > seen.max()))
        assert found["test"] == pytest.approx(np.mean(np.array([0, 28.5, 40, 50]) > seen.max()))
        assert found["recall"] == 0.5 and found["calibrated_on"] == 20


def test_a_finished_run_is_taken_as_it_was_calibrated(smoke_run, smoke_detector):
    """The components that the benchmark takes give the run's own weights and threshold."""
    detector, components = false_alarms.detector_and_components(smoke_run)
    held_out = HeldOut(**{name: components[name] for name in false_alarms.CALIBRATING})
    fitted = detector.fuse(held_out, 0.01)
    np.testing.assert_allclose(fitted.weights, smoke_detector.calibration.weights, rtol=1e-3)
    assert fitted.threshold == pytest.approx(smoke_detector.threshold, rel=1e-3, abs=1e-3)
    text = false_alarms.run([str(smoke_run)], [0.05], [0, 1])
    assert f"| {smoke_run.name} | 0.05 |" in text
    assert "2 draws each" in text and "| all |" not in text


def test_several_runs_are_summed_up_in_the_last_rows(monkeypatch):
    """By hand: rates 0.1 and 0.3 of one run's two draws, 0.5 and 0.9 of the other's."""
    rates = {("a", 0): 0.1, ("a", 1): 0.3, ("b", 0): 0.5, ("b", 1): 0.9}
    detector = types.SimpleNamespace(fuse=fit, calibration=types.SimpleNamespace(base=()))
    monkeypatch.setattr(false_alarms, "detector_and_components", lambda folder: (detector, folder[-1]))

    def observed(fuse, components, rate, seed):
        return {"calibrated_on": 20, "held_out": rates[components, seed], "test": 0.0, "recall": 1.0}

    monkeypatch.setattr(false_alarms, "observed", observed)
    lines = false_alarms.run(["runs/a", "runs/b"], [0.01], [0, 1]).splitlines()
    assert lines[-2:] == [
        "| b | 0.01 | 20 | 0.7 | 0.500 to 0.900 | 0 | 0.000 to 0.000 | 1 |",
        "| all | 0.01 |  | 0.45 | 0.100 to 0.900 | 0 | 0.000 to 0.000 | 1 |",
    ]
