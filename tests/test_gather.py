"""What the report of a run shows: the images and curves that are gathered for it."""

import dataclasses
import types

import numpy as np
import pytest

from helpers.evaluated import dataset_of
from semi_anogan.data import image_arrays
from semi_anogan.data.synthetic import TRAINING_KINDS
from semi_anogan.errors import DataError
from semi_anogan.evaluation.report import gather


def test_curves_are_those_of_losses_and_variety_where_there_are_values():
    history = {
        "images_seen": [8, 16, 24],
        "generator_loss": [3.0, None, 1.0],
        "variety": [None, 0.5, 0.75],
        "fade": [0, 0, 1],
    }
    assert gather.curves(history) == {
        "generator_loss": ((8, 24), (3.0, 1.0)),
        "variety": ((16, 24), (0.5, 0.75)),
    }


def test_suspicious_images_are_the_first_without_a_label_that_the_data_still_has(tmp_path):
    path = tmp_path / "suspicious.csv"
    assert gather.suspicious_images(path, dataset_of({})) == []
    path.write_text("path,suspicion,label\ntrain/1,4,normal\ngone,3,\ntrain/0,2.5,\ntrain/3,2,\ntrain/2,1,\n")
    found = gather.suspicious_images(path, dataset_of({}), most=3)
    assert [(s.path, s.score, s.mislabelled) for s in found] == [
        ("train/0", 2.5, True),
        ("train/3", 2.0, False),
    ]
    assert found[0].image.shape == (8, 8, 1)


def test_images_to_label_are_those_of_the_lists_with_pictures(tmp_path):
    path = tmp_path / "suspicious.csv"
    path.write_text("path,suspicion,label\ntrain/1,4,normal\ngone,3,\ntrain/0,2.5,\ntrain/3,2,\ntrain/2,1,\n")
    data = dataset_of({"normal/0": 0.1, "normal/1": 0.9, "abnormal/0": 0.2, "abnormal/1": 0.8})
    results = types.SimpleNamespace(abnormal=np.array([0, 0, 1, 1]), scores=np.array([0.1, 0.9, 0.2, 0.8]))
    items, left_out = gather.images_to_sort(path, data, data.select("test"), results, 0.5, most=2)
    assert [(i.path, i.origin, i.group, i.figure, i.truth) for i in items] == [
        ("train/0", "training", "suspicious", 2.5, ""),
        ("train/3", "training", "suspicious", 2.0, ""),
        ("abnormal/0", "test", "miss", 0.2, "abnormal"),
        ("normal/1", "test", "false alarm", 0.9, "normal"),
        ("abnormal/1", "test", "near", 0.8, "abnormal"),
    ]
    assert left_out == {"suspicious": 1} and all(i.jpeg.startswith(b"\xff\xd8") for i in items)

    def gone(example):
        raise DataError("train/0: no such file")

    data = dataclasses.replace(data, read_image=gone)
    items, _ = gather.images_to_sort(path, data, data.select("test"), results, 0.5)
    assert {i.jpeg for i in items} == {None}  # they can be labelled all the same


def test_the_report_shows_what_training_draws(smoke_data):
    """Each drawn image differs in part from one of three normal ones; none where training draws none."""
    config, dataset, splits = smoke_data
    config = config.copy_and_resolve_references()
    config.batches.flips = ""
    side = max(config.model.resolution, config.features.resolution if config.features.name else 0)
    originals = [image_arrays.resize(dataset.read_image(e), side, side) for e in splits.normal[:3]]
    drawn = gather.synthetic_images(config, dataset, splits.normal[:3], TRAINING_KINDS)
    assert len(drawn) == 7
    for image in drawn:
        assert 0 < min((image != original).mean() for original in originals) <= 0.5
    config.objective.synthetic_weight = 0.0
    assert gather.synthetic_images(config, dataset, splits.normal[:3], TRAINING_KINDS) == []


@pytest.mark.parametrize(
    "values, said",
    [
        ([0.9] * 10 + [0.02] * 5, "differ from each other by 2% of what normal images do"),
        # Not at the end; None: rows of the patch discriminator's training.
        ([0.02] * 10 + [0.9] * 5 + [None] * 3, None),
        ([0.1, None], "by 10%"),
        ([], None),
    ],
)
def test_a_collapsed_generator_is_said(values, said):
    found = gather.generator_warnings({"variety": values} if values else {})
    assert [said in text for text in found] == ([True] if said else [])
