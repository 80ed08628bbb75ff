"""What fit_detector writes to a run folder, and what it leaves there when it is cut off."""

import csv
import dataclasses
import json

import numpy as np
import pytest

from helpers import strange as made_up
from helpers.trained import tiny_model
from semi_anogan.data import review
from semi_anogan.data.dataset import Example
from semi_anogan.data.splits import Splits
from semi_anogan.runs import folder as run_folder
from semi_anogan.runs import suspicious_csv
from semi_anogan.scoring.detector import Detector
from semi_anogan.scoring.evidence import read_evidence
from semi_anogan.scoring.feature_reader import FeatureReader
from semi_anogan.scoring.memory import Memory
from semi_anogan.training.fit_detector import (
    base_components,
    fit_detector,
    held_out_images,
    reading,
    trained_sample,
    wanted_parts,
)

pytestmark = pytest.mark.usefixtures("readers_compiled_once")
FITTED = ("memory.npz", "likeness.npz", "classifier.npz", "segmentation.npz")
FILES = {*FITTED, "remembered.json", "evidence.npz", "suspicious.csv", "detector.json"}


@pytest.fixture(scope="module")
def known():
    """A config, a model and data of 24 normal and 6 known abnormal images, 12 and 8 more held out."""
    config, model, dataset, splits = made_up.make()
    config.score.components = "discriminator,patches,memory,likeness,classifier,segmentation"
    config.parts.segmentation = 2
    abnormal = made_up.of_known(14)
    normal = [e for e in splits.normal if not e.mislabelled]
    return config, model, dataset, Splits(normal[:24], abnormal[:6], normal[24:36], abnormal[6:], [])


@pytest.fixture(scope="module")
def finished(known, tmp_path_factory):
    """(folder, detector) of an end that nothing disturbed; not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    return folder, fit_detector(known[0], folder, *known[1:])


def files_of(folder) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def arrays_of(path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def labels_in(folder):
    return {path: found.label for path, found in review.read(folder / "suspicious.csv").items()}


def fill_in(folder, labels):
    """Writes labels into a suspicious.csv, as a person does."""
    path = folder / "suspicious.csv"
    rows = [line.split(",") for line in path.read_text().splitlines()]
    rows = [[name, value, labels.get(name, label)] for name, value, label in rows]
    path.write_text("".join(",".join(row) + "\n" for row in rows))


def test_each_part_is_written_with_the_calibration_and_the_ranking(known, finished):
    folder, detector = finished
    config, _, _, splits = known
    assert set(files_of(folder)) == FILES
    for file in FITTED:
        part = getattr(detector, file.removesuffix(".npz"))
        found, expected = arrays_of(folder / file), part.arrays()
        assert set(found) == set(expected)
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value)
    assert json.loads((folder / "detector.json").read_text()) == {**detector.state(), "step": None}
    assert json.loads((folder / "remembered.json").read_text()) == {
        "images": [e.path for e in known[3].normal]
    }
    evidence = read_evidence(folder)
    shapes = {name: np.shape(getattr(evidence.held_out, name)) for name in ("normal", "abnormal", "relit")}
    assert shapes == {"normal": (12, 6), "abnormal": (8, 6), "relit": (12, 6)}
    again = evidence.calibration(config.calibration.false_alarm_rate)
    assert again.threshold == detector.threshold and again.weights == detector.calibration.weights
    assert detector.names == tuple(config.score.components.split(","))
    assert detector.calibration.abnormals == 8 and detector.calibration.base == ("memory",)
    with open(folder / "suspicious.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["path"] for row in rows} == {e.path for e in splits.normal + splits.held_out_normal}
    suspicions = [float(row["suspicion"]) for row in rows]
    assert suspicions == sorted(suspicions, reverse=True) and not any(row["label"] for row in rows)


def test_the_threshold_rests_on_the_training_images_too(known, finished):
    """24 train and 12 are held out; the memory judges each of the former by the patches of the others."""
    folder, detector = finished
    _, _, dataset, splits = known
    assert detector.calibration.normals + len(detector.calibration.set_aside) >= 30
    low, high = detector.calibration.false_alarm_interval
    assert 0 <= low < high < 1
    memory, images = detector.memory, [dataset.read_image(e) for e in splits.normal]
    reader = FeatureReader(detector.model, detector.tile, detector.batch_size)
    k = detector.names.index("memory")
    remembered = np.array([m.components[k] for m in detector.measure(images)])
    # Nobody is number 99.
    np.testing.assert_allclose(reader.memory_left_out(memory, images, [99] * 24), remembered, atol=1e-3)
    left_out = reader.memory_left_out(memory, images, range(24))
    assert (left_out >= remembered - 1e-3).all() and (left_out > remembered + 1e-3).any()
    read = reading(dataset)
    held_out = held_out_images(known[0], dataset, splits, detector, read, reader)
    np.testing.assert_allclose(held_out.trained_memory, left_out, atol=1e-3)
    assert len(list(held_out.trained)) == 24 and len(held_out.checked) == 36
    # A memory of before does not know whose its patches are: then held-out images alone count.
    arrays = {name: a for name, a in memory.arrays().items() if not name.startswith(("owner", "support"))}
    old = Detector.of_config(known[0], detector.model, memory=Memory.of_arrays(**arrays))
    held_out = held_out_images(known[0], dataset, splits, old, read, reader)
    assert list(held_out.trained) == [] and not len(held_out.trained_memory) and len(held_out.checked) == 12


def test_which_training_images_are_judged_again():
    examples = [Example(f"{i}.png", "train", "normal", key=i, reviewed=i in (3, 90)) for i in range(100)]
    chosen = trained_sample(examples, seed=1, most=10)
    assert len(chosen) == 10 and {3, 90} < set(chosen) and chosen == sorted(chosen)
    assert chosen == trained_sample(examples, 1, 10) != trained_sample(examples, 2, 10)
    # What a person has found normal always counts.
    assert trained_sample(examples, 1, 1) == [3, 90]
    assert trained_sample(examples, 1) == list(range(100))


@pytest.mark.parametrize("names", [("memory", "segmentation"), ("likeness", "classifier")])
def test_parts_that_are_no_longer_wanted_are_removed(known, finished, tmp_path, names):
    """The folder is that of an earlier end with all of them; the labels in its suspicious.csv stay."""
    config, model, dataset, splits = known
    for file, content in files_of(finished[0]).items():
        (tmp_path / file).write_bytes(content)
    labels = {splits.normal[3].path: "normal", splits.held_out_normal[0].path: "abnormal"}
    fill_in(tmp_path, labels)
    config = config.copy_and_resolve_references()
    for name in names:
        config.parts[name] = type(config.parts[name])(0)
    detector = fit_detector(config, tmp_path, model, dataset, splits)
    gone = {f"{name}.npz" for name in names} | ({"remembered.json"} if "memory" in names else set())
    assert set(files_of(tmp_path)) == FILES - gone
    assert not set(names) & set(detector.names) and len(detector.names) == 4
    assert labels_in(tmp_path) == labels


def test_without_known_images_held_out_there_is_no_classifier(known, finished, tmp_path):
    config, model, dataset, splits = known
    for file, content in files_of(finished[0]).items():
        (tmp_path / file).write_bytes(content)
    few = dataclasses.replace(splits, held_out_abnormal=[])
    detector = fit_detector(config, tmp_path, model, dataset, few)
    assert set(files_of(tmp_path)) == FILES - {"classifier.npz"} and detector.classifier is None
    # Each of the six is judged by the likeness to the others.
    assert detector.calibration.abnormals == 6 and detector.calibration.method == "logistic_regression"


def test_without_pretrained_features_only_ranking_and_calibration_are_written(known, tmp_path):
    config, _, dataset, splits = known
    config = config.copy_and_resolve_references()
    config.features.name, config.score.components = "", "discriminator"
    detector = fit_detector(config, tmp_path, tiny_model(resolution=16), dataset, splits)
    assert set(files_of(tmp_path)) == {"evidence.npz", "suspicious.csv", "detector.json"}
    assert detector.names == ("discriminator",)
    assert len(suspicious_csv.read_highest(tmp_path / "suspicious.csv", 100)) == 36


@pytest.mark.slow
def test_an_end_that_is_cut_off_leaves_no_finished_run_and_can_be_done_again(
    known, finished, tmp_path, monkeypatch
):
    """Whatever step it is cut off at, twice here; the labels that a person has filled in outlive it."""
    config, model, dataset, splits = known
    earlier = files_of(finished[0])["suspicious.csv"]
    (tmp_path / "suspicious.csv").write_bytes(earlier)
    labels = {splits.normal[3].path: "normal"}
    fill_in(tmp_path, labels)

    write_json = run_folder.write_json

    def cut_off(*args, **kwargs):
        raise KeyboardInterrupt

    def cut_off_at_the_last(path, values):
        if path.name == "detector.json":
            raise KeyboardInterrupt
        write_json(path, values)

    # Without detector.json a run is not taken for a finished one.
    steps = [
        (Detector, "calibrate", cut_off, {"suspicious.csv"}),
        (run_folder, "write_json", cut_off_at_the_last, FILES - {"detector.json"}),
    ]
    for owner, step, instead, left in steps:
        with monkeypatch.context() as patched:
            patched.setattr(owner, step, instead)
            with pytest.raises(KeyboardInterrupt):
                fit_detector(config, tmp_path, model, dataset, splits)
        assert set(files_of(tmp_path)) == left
        assert labels_in(tmp_path) == labels
    again = fit_detector(config, tmp_path, model, dataset, splits)
    assert set(files_of(tmp_path)) == FILES and labels_in(tmp_path) == labels
    before, after = finished[1].calibration, again.calibration
    np.testing.assert_allclose(after.weights, before.weights, rtol=1e-3, atol=1e-6)
    assert after.threshold == pytest.approx(before.threshold, rel=1e-3)


def test_parts_are_wanted_where_features_settings_and_components_allow_them(known):
    config = known[0].copy_and_resolve_references()
    config.score.components = ""
    assert wanted_parts(config) == {"memory", "likeness", "classifier", "segmentation"}
    config.score.components = "patches,memory,likeness"
    assert wanted_parts(config) == {"memory", "likeness"}
    config.parts.memory = 0
    assert wanted_parts(config) == {"likeness"}
    config.features.name = ""
    assert wanted_parts(config) == set()


@pytest.mark.parametrize(
    ("weight", "kinds", "named"),
    [(0.25, "crack", ("patches", "likeness")), (0.0, "crack", ()), (0.25, "", ())],
)
def test_what_learned_from_kinds_that_were_named_counts_without_known_defects(known, weight, kinds, named):
    config = known[0].copy_and_resolve_references()
    config.objective.synthetic_weight, config.batches.synthetic_kinds = weight, kinds
    assert base_components(config) == ("feature_residual", "memory", *named)
