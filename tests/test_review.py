"""Labels that a person gives after a look at training images: read, checked, and what they change."""

import csv
import dataclasses
import json
import os

import numpy as np
import pytest

from semi_anogan.benchmarks import review as reviewing
from semi_anogan.data import catalog, review
from semi_anogan.data import splits as splitting
from semi_anogan.data.dataset import Dataset, Example
from semi_anogan.data.review import Review
from semi_anogan.data.splits import split
from semi_anogan.errors import DataError, RunError
from semi_anogan.runs import build, suspicious_csv


def splits(normal=30, abnormal=0, hidden=(), share=0.2):
    examples = [Example(f"n{i}", "train", "normal", mislabelled=i in hidden) for i in range(normal)]
    examples += [Example(f"a{i}", "train", "abnormal", mask=f"m{i}") for i in range(abnormal)]
    examples += [Example("t0", "test", "normal"), Example("t1", "test", "abnormal")]
    return split(Dataset("made up", tuple(examples), lambda example: None), share, seed=0)


def apply_labels(before, labels, path):
    return splitting.apply_labels(before, {name: Review(label) for name, label in labels.items()}, path)


def labels_of(file):
    return {name: found.label for name, found in review.read(file).items()}


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
    assert labels_of(file) == {"a.png": "normal", "c.png": "abnormal"}


def test_a_name_that_is_not_utf8_is_read_as_suspicious_csv_writes_it(tmp_path):
    name = b"m\xfcnze.png".decode("utf-8", "surrogateescape")
    written(tmp_path / "s.csv", f"path,label\n{name},abnormal\n", encoding="utf-8", errors="surrogateescape")
    assert labels_of(tmp_path / "s.csv") == {name: "abnormal"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,suspicion\na,1\n", "no column label"),
        ("path,label\na,good\n", "row 2: label 'good' is not normal or abnormal"),
        ("path,label\na,normal\nb,\na,abnormal\n", "row 4: 'a' is abnormal, but normal in row 2"),
        ("", "no column path, label"),
        ("path,label,kind\na,normal,cut\n", "row 2: kind 'cut' on a normal image"),
        ("path,label,mask\na,normal,m.png\n", "row 2: mask 'm.png' on a normal image"),
        ("path,label,mask\na,abnormal,m.png\n", "row 2: the mask .*m.png is not there"),
        ("path,label,kind\na,abnormal,Good\n", "row 2: kind 'Good' on an abnormal image; name the defect"),
        ("path,label,origin\na,abnormal,line\n", "row 2: origin 'line' is not one of training, test, scored"),
        (
            "path,label,kind\na,abnormal,cut\na,abnormal,\n",
            "row 3: 'a' has another kind or mask than in row 2",
        ),
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
    assert labels_of(tmp_path / "suspicious.csv") == {
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
    assert labels_of(file) == {names[1]: "abnormal"} and suspicious_csv.read_highest(file, 3) == [
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


@pytest.mark.slow
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


def test_kind_mask_and_origin_are_read_and_change_an_example(tmp_path):
    (tmp_path / "masks").mkdir()
    mask = tmp_path / "masks/a.png"
    mask.touch()
    file = written(
        tmp_path / "reviewed.csv",
        "path,label,kind,mask,origin,who,when\na,abnormal,cut,masks/a.png,training,Kim,\nb,abnormal,,,,,\n",
    )
    found = review.read(file)
    assert found == {
        "a": Review("abnormal", "cut", str(mask), "training", 2),
        "b": Review("abnormal", row=3),
    }
    known = Example("b", "train", "abnormal", mask="m", kind="dent")
    assert review.reviewed(known, found["b"]) == dataclasses.replace(known, reviewed=True)
    assert review.reviewed(known, found["a"]) == dataclasses.replace(
        known, reviewed=True, mask=str(mask), kind="cut"
    )
    assert review.reviewed(known, Review("normal")) == Example("b", "train", "normal", reviewed=True)


def parts(folder):
    """Loads a folder of image files with what was reviewed of it."""
    from PIL import Image

    for name in ("train/good/1", "train/good/2", "test/good/3"):
        path = folder / f"parts/{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 10).save(path)
    Image.new("L", (8, 8), 20).save(folder / "new.png")
    return lambda: catalog.load("folder", 1, str(folder / "reviewed.csv"), root=str(folder / "parts"))


def test_absolute_paths_are_images_of_the_data_or_join_them(tmp_path):
    load = parts(tmp_path)
    one, three, new = (
        tmp_path / f"{name}.png" for name in ("parts/train/good/1", "parts/test/good/3", "new")
    )
    written(tmp_path / "reviewed.csv", f"path,label\n{one},abnormal\n{three},normal\n{new},abnormal\n")
    dataset = load()
    assert dataset.labels == {"train/good/1.png": Review("abnormal", row=2)}
    assert dataset.examples[-1] == Example(str(new), "train", "abnormal", reviewed=True)
    assert len(dataset.examples) == 4 and dataset.read_image(dataset.examples[-1]).shape == (8, 8, 1)
    assert dataset.notes.lines()[-1].startswith(
        "1 test images were reviewed, such as test/good/3.png: nothing"
    )
    written(tmp_path / "reviewed.csv", f"path,label\n{one},abnormal\ntrain/good/1.png,abnormal\n")
    with pytest.raises(DataError, match="row 3: 'train/good/1.png' is in row 2 too"):
        load()
    written(tmp_path / "reviewed.csv", f"path,label,origin\n{new},normal,scored\n")
    with pytest.raises(DataError, match="is no image of this data, and as its images are no files, none can"):
        catalog.load("surface", 1, str(tmp_path / "reviewed.csv"))


def test_a_mask_drawn_for_an_image_that_is_no_file_is_its_mask(tmp_path):
    from PIL import Image

    options = {"size": 16, "train_normal": 2, "train_abnormal": 2, "test_normal": 1, "test_abnormal": 1}
    name = next(e.path for e in catalog.load("surface", 1, **options).examples if e.split == "train")
    Image.fromarray(255 * (np.arange(256).reshape(16, 16) < 40).astype(np.uint8)).save(tmp_path / "m.png")
    file = written(tmp_path / "r.csv", f"path,label,mask,origin\n{name},abnormal,m.png,training\n")
    dataset = catalog.load("surface", 1, str(file), **options)
    example = next(e for e in dataset.examples if e.path == name)
    assert dataset.read_mask(review.reviewed(example, dataset.labels[name])).sum() == 40
    Image.new("L", (8, 8), 255).save(tmp_path / "m.png")
    with pytest.raises(DataError, match="the mask has 8 x 8 pixels, but its image"):
        catalog.load("surface", 1, str(file), **options).read_mask(
            review.reviewed(example, dataset.labels[name])
        )
