"""The table of speeds: what is in it and how its figures hang together; no time is asserted."""

import pytest

from helpers.exported import BATCH
from helpers.processes import command
from semi_anogan.benchmarks import export as exported
from semi_anogan.errors import RunError
from semi_anogan.scoring.detector import Detector


def test_every_engine_stands_beside_the_model(bundle_folder, smoke_run, monkeypatch):
    monkeypatch.setattr(exported, "ROUNDS", 1)
    text = exported.run(bundle_folder, smoke_run)
    rows = [
        [c.strip() for c in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith(f"| {BATCH} ")
    ]
    assert "one search step: ms" in text and len(rows) == 7, text
    assert rows[0][1:3] == ["TensorFlow", "float32"] and rows[0][4] == rows[0][6] == "1"
    assert {(r[1], r[2]) for r in rows[1:]} == {("onnx", p) for p in ("float32", "float16")} | {
        ("tflite", p) for p in ("float32", "float16", "int8", "int8_full")
    }
    own = float(rows[0][3])
    for row in rows:
        assert float(row[4]) == pytest.approx(own / float(row[3]), rel=0.02)  # printed with three decimals


def test_another_runs_bundle_is_refused(bundle_folder, smoke_run, monkeypatch):
    monkeypatch.setattr(Detector, "load", lambda *_, **__: type("Other", (), {"threshold": 0.0})())
    with pytest.raises(RunError, match="was not exported from"):
        exported.run(bundle_folder, smoke_run)


def test_the_command_says_what_it_needs():
    done = command("benchmark", "--suite=export")
    assert done.returncode == 1 and "--bundle" in done.stderr and "Traceback" not in done.stderr
