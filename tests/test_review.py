"""Labels that a person gives after a look at training images: read, checked, and what they change."""

import csv
import dataclasses
import json
import os

import pytest

from semi_anogan.benchmarks import review as reviewing
from semi_anogan.data import review
from semi_anogan.data.dataset import Dataset, Example
from semi_anogan.data.splits import apply_labels, split
from semi_anogan.errors import DataError, RunError
from semi_anogan.runs import build, suspicious_csv


def splits(normal=30, abnormal=0, hidden=(), share=0.2):
    examples = [Example(f"n{i}", "train", "normal", mislabelled=i in hidden) for i in range(normal)]
    examples += [Example(f"a{i}", "train", "abnormal", mask=f"m{i}") for i in range(abnormal)]
    examples += [Example("t0", "test", "normal"), Example("t1", "test", "abnormal")]
    return split(Dataset("made up", tuple(examples), lambda example: None), share, seed=0)


def names(examples):
    return {e.path for e in examples}


def written(path, text, **kwargs):
    path.write_text(text, **kwargs)
    return path


def test_only_rows_with_a_label_count(tmp_path):
    file = written(
        tmp_path / "suspicious.csv",
        "path,suspicion,label\na.png,3,normal\nb.png,2,\nc.png,,abnormal\na.png,1,normal\n",
    )
    assert review.read(file) == {"a.png": "normal", "c.png": "abnormal"}


def test_a_name_that_is_not_utf8_is_read_as_suspicious_csv_writes_it(tmp_path):
    name = b"m\xfcnze.png".decode("utf-8", "surrogateescape")
    written(tmp_path / "s.csv", f"path,label\n{name},abnormal\n", encoding="utf-8", errors="surrogateescape")
    assert review.read(tmp_path / "s.csv") == {name: "abnormal"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,suspicion\na,1\n", "no column label"),
        ("path,label\na,good\n", "row 2: label 'good' is not normal or abnormal"),
        ("path,label\na,normal\nb,\na,abnormal\n", "row 4: 'a' is abnormal, but normal in row 2"),
        ("", "no column path, label"),
    ],
)
def test_a_file_that_is_wrong_is_named_with_the_row(tmp_path, text, message):
    file = written(tmp_path / "mine.csv", text)
    with pytest.raises(DataError, match=message) as error:
        review.read(file)
    assert str(file) in str(error.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="mine.csv: cannot be read: No such file"):
        review.read(tmp_path / "mine.csv")


def test_held_out_images_stay_held_out_and_nothing_is_lost():
    before = splits(hidden={3, 4})
    trained, held = before.normal[0], before.held_out_normal[0]
    after = apply_labels(
        before, {trained.path: "abnormal", held.path: "normal", before.normal[1].path: "normal"}, "s.csv"
    )
    assert names(after.abnormal) == {trained.path} and names(after.normal) == names(before.normal) - {
        trained.path
    }
    assert (
        after.held_out_normal[1:] == before.held_out_normal[1:] and after.held_out_normal[0].path == held.path
    )
    assert after.held_out_normal[0].reviewed and after.normal[0].reviewed and not after.normal[1].reviewed
    assert all(e.abnormal and e.reviewed and not e.mislabelled for e in after.abnormal)
    assert after.test == before.test and not after.held_out_abnormal


@pytest.mark.parametrize(("found", "held_out"), [(7, 0), (8, 8), (12, 12), (14, 12)])
def test_of_held_out_images_found_abnormal_eight_to_twelve_stay_held_out(found, held_out):
    before = splits(normal=100, share=0.5)
    after = apply_labels(before, {e.path: "abnormal" for e in before.held_out_normal[:found]}, "s.csv")
    assert len(after.held_out_abnormal) == held_out and len(after.abnormal) == found - held_out
    assert len(after.held_out_normal) == 50 - found and after.normal == before.normal


def test_a_known_abnormal_image_may_turn_out_normal():
    before = splits(abnormal=3)
    after = apply_labels(before, {"a1": "normal", "a2": "abnormal"}, "s.csv")
    assert names(after.abnormal) == {"a0", "a2"} and "a1" in names(after.normal)
    assert {e.path: e.mask for e in after.normal + after.abnormal if e.path[0] == "a"} == {
        "a0": "m0",
        "a1": None,
        "a2": "m2",
    }


def test_what_cannot_be_reviewed_is_named():
    for name, kind in (("t1", "a test image"), ("n99", "no image of this data")):
        with pytest.raises(DataError, match=f"s.csv: '{name}' is {kind}"):
            apply_labels(splits(), {name: "abnormal"}, "s.csv")
    with pytest.raises(DataError, match="s.csv: leaves 0 normal images to train with and 6 held out"):
        before = splits()
        apply_labels(before, {e.path: "abnormal" for e in before.normal}, "s.csv")


def test_suspicious_csv_keeps_the_labels_and_lists_what_has_none(tmp_path):
    after = apply_labels(splits(), {"n0": "normal", "n1": "abnormal"}, "s.csv")
    ranked = [
        (e, 10.0 - int(e.path[1:]))
        for e in sorted(after.normal + after.held_out_normal, key=lambda e: int(e.path[1:]))
    ]
    found = [e for e in after.abnormal if e.reviewed]
    suspicious_csv.write(tmp_path / "suspicious.csv", ranked, found)
    rows = list(csv.reader((tmp_path / "suspicious.csv").open()))
    assert (
        rows[0] == ["path", "suspicion", "label"]
        and rows[1] == ["n0", "10", "normal"]
        and rows[2] == ["n2", "8", ""]
    )
    assert rows[-1] == ["n1", "", "abnormal"] and len(rows) == 31
    assert suspicious_csv.read_highest(tmp_path / "suspicious.csv", 2) == [("n2", 8.0), ("n3", 7.0)]
    assert review.read(tmp_path / "suspicious.csv") == {
        "n0": "normal",
        "n1": "abnormal",
    }  # so the same file can be filled in further


def test_what_was_filled_in_outlives_a_fit_that_did_not_use_it_and_a_full_disk(tmp_path, monkeypatch):
    file, ranked = tmp_path / "suspicious.csv", [(e, 1.0) for e in splits().normal[:3]]
    suspicious_csv.write(file, ranked)
    names = [e.path for e, _ in ranked]
    text = file.read_text().replace(f"{names[1]},1,", f"{names[1]},1,abnormal")
    file.write_text("\ufeff" + text, encoding="utf-8")  # as Excel saves it
    suspicious_csv.write(file, [(e, 2.0) for e, _ in ranked])
    assert review.read(file) == {names[1]: "abnormal"} and suspicious_csv.read_highest(file, 3) == [
        (names[0], 2.0),
        (names[2], 2.0),
    ]
    before = file.read_bytes()

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(RunError, match="suspicious.csv: cannot be written: No space left"):
        suspicious_csv.write(file, ranked)
    assert file.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["suspicious.csv"]


def test_the_benchmark_labels_the_most_suspicious_by_the_truth(smoke_run, smoke_data):
    """With none looked at the figures are the run's own; then three are, and their truth is the source's."""
    _, dataset, _ = smoke_data
    truth = {e.path: e.mislabelled for e in dataset.examples}
    before = {p.name: p.read_bytes() for p in smoke_run.iterdir() if p.is_file()}
    (none, no_found, first), (looked_at, found, then) = reviewing.reviewed(smoke_run, 1, 3)
    assert (none, no_found, looked_at) == (0, 0, 3)
    assert found == sum(
        truth[path] for path, _ in suspicious_csv.read_highest(smoke_run / "suspicious.csv", 3)
    )
    own = json.loads((smoke_run / "metrics.json").read_text())
    assert (
        first["image_auroc"] == pytest.approx(own["image_auroc"], abs=1e-3)
        and first["counts"] == own["counts"]
    )
    assert then["counts"]["train_abnormal"] + then["counts"]["held_out_abnormal"] == found + sum(
        own["counts"][part] for part in ("train_abnormal", "held_out_abnormal")
    )
    assert {p.name: p.read_bytes() for p in smoke_run.iterdir() if p.is_file()} == before


def test_the_benchmark_needs_a_source_that_knows_the_truth(smoke_run, monkeypatch):
    load_data = build.load_data

    def without_truth(*arguments):
        dataset, *others = load_data(*arguments)
        return dataclasses.replace(
            dataset, examples=tuple(dataclasses.replace(e, mislabelled=False) for e in dataset.examples)
        ), *others

    monkeypatch.setattr(build, "load_data", without_truth)
    with pytest.raises(
        RunError, match="'surface' does not know which of its normal training images are abnormal"
    ):
        next(reviewing.reviewed(smoke_run, 1, 3))


def test_labels_reach_the_splits_of_image_files_too(tmp_path):
    """Files are read anew by what is white in them; the labels that a person gave must stay with them."""
    from PIL import Image

    from semi_anogan.config import default_config

    for i in range(8):
        path = tmp_path / f"parts/train/good/{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 10 * i).save(path)
    (tmp_path / "reviewed.csv").write_text("path,label\ntrain/good/3.png,abnormal\n")
    config = default_config()
    config.data.update({"name": "folder", "root": str(tmp_path / "parts")})
    config.data.reviewed = str(tmp_path / "reviewed.csv")
    _, splits, _ = build.load_data(config)
    assert [(e.path, e.reviewed) for e in splits.abnormal] == [("train/good/3.png", True)]
