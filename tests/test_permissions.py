"""Files that may not be read: each is named; a run over a folder goes on with the others and counts them."""

import builtins
import csv
import os

import numpy as np
import pytest
from PIL import Image

from helpers.trained import StandInDetector
from semi_anogan import inspect
from semi_anogan.config import default_config
from semi_anogan.data.catalog import load
from semi_anogan.data.check_files import read_all
from semi_anogan.data.listing import list_inputs
from semi_anogan.data.notes import Notes
from semi_anogan.errors import DataError, UserError
from semi_anogan.export.runtime.bundle import Bundle, BundleError
from semi_anogan.runs import folder as run_folder
from semi_anogan.scoring import files as score_files


@pytest.fixture
def parts(tmp_path):
    """Normal and defective images, with masks."""
    names = [f"train/good/{i}" for i in range(3)] + ["test/good/0", "test/cut/0", "ground_truth/cut/0_mask"]
    for seed, name in enumerate(names):
        path = tmp_path / f"parts/{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(seed).integers(0, 2 if "mask" in name else 256, (16, 16))
        Image.fromarray(np.uint8(values)).save(path)
    return tmp_path / "parts"


@pytest.fixture
def locked(monkeypatch):
    """locked(path): that file may not be read any more, whoever asks."""
    paths = set()
    really = {"builtins": builtins.open, "os": os.open}

    def refused(opener):
        def opening(file, *arguments, **named):
            if not isinstance(file, int) and os.path.abspath(os.fspath(file)) in paths:
                raise PermissionError(13, "Permission denied", os.fspath(file))
            return opener(file, *arguments, **named)

        return opening

    monkeypatch.setattr(builtins, "open", refused(really["builtins"]))
    monkeypatch.setattr("io.open", refused(really["builtins"]))  # of pathlib
    monkeypatch.setattr(os, "open", refused(really["os"]))
    return lambda path: paths.add(os.path.abspath(path))


@pytest.mark.parametrize("name", ["train/good/1.png", "ground_truth/cut/0_mask.png"])
def test_a_training_names_it(parts, locked, name):
    dataset = load("folder", 1, root=parts)
    locked(parts / name)
    with pytest.raises(DataError, match=f"^{parts / name}: permission denied$"):
        read_all(dataset, dataset.examples)


@pytest.mark.parametrize("name", ["train/good/1.png", "ground_truth/cut/0_mask.png"])
def test_a_look_at_the_data_counts_it_and_goes_on(parts, locked, name, tmp_path, capsys):
    locked(parts / name)
    config = default_config()
    config.data.name, config.data.root = "folder", str(parts)
    inspect.run(config, tmp_path / "out")
    told = capsys.readouterr().out
    assert "Files that cannot be used:" in told and f"{parts / name}: permission denied" in told
    with open(tmp_path / "out/inspect.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 5


def test_scoring_goes_on_and_counts_it(parts, locked, tmp_path, capsys):
    """What score and the runtime share."""
    locked(parts / "train/good/1.png")
    detector = StandInDetector(resolution=16)
    outcomes = score_files.scored(detector, list_inputs(str(parts / "train/good")))
    assert score_files.write(outcomes, tmp_path / "out", detector) == 1
    with open(tmp_path / "out/scores.csv", newline="") as file:
        rows = {os.path.basename(row["path"]): row for row in csv.DictReader(file)}
    assert [rows[f"{i}.png"]["status"] for i in range(3)] == ["ok", "error", "ok"]
    assert rows["1.png"]["error"] == f"{parts / 'train/good/1.png'}: permission denied"
    assert f"error: {parts / 'train/good/1.png'}: permission denied" in capsys.readouterr().err


def test_a_folder_that_cannot_be_listed(parts, monkeypatch):
    """Scoring goes on without it and says so; a training names it before it begins."""
    really, closed = os.listdir, str(parts / "test/cut")

    def listing(folder="."):
        if os.path.abspath(folder) == closed:
            raise PermissionError(13, "Permission denied", folder)
        return really(folder)

    monkeypatch.setattr(os, "listdir", listing)
    notes = Notes()
    found = list_inputs(str(parts / "test"), notes=notes)
    assert [os.path.relpath(name, parts) for name in found] == ["test/good/0.png"]
    assert notes.lines() == [f"1 folders are left out: {closed}: cannot be listed: Permission denied"]
    with pytest.raises(DataError, match=f"^{closed}: cannot be listed: Permission denied$"):
        list_inputs(closed)
    with pytest.raises(DataError, match=f"^{closed}: cannot be listed: Permission denied$"):
        load("folder", 1, root=parts)


def test_lists_settings_and_bundles_are_named(tmp_path, locked):
    for name in ("list.csv", "bundle.json", "detector.json"):
        (tmp_path / name).write_text("path\n")
        locked(tmp_path / name)
    with pytest.raises(DataError, match=f"^{tmp_path / 'list.csv'}: .*[Pp]ermission denied"):
        list_inputs(str(tmp_path / "list.csv"))
    with pytest.raises(DataError, match=f"^{tmp_path / 'list.csv'}: .*[Pp]ermission denied"):
        load("manifest", 1, path=str(tmp_path / "list.csv"))
    with pytest.raises(BundleError, match=f"^{tmp_path / 'bundle.json'}: .*Permission denied"):
        Bundle(tmp_path)
    with pytest.raises(UserError, match=f"^{tmp_path / 'detector.json'}: .*Permission denied"):
        run_folder.read_json(tmp_path / "detector.json")
