"""The baselines that need a network, and all of them on a configuration."""

import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from helpers.tiny_runs import tiny_config
from semi_anogan.benchmarks import tables
from semi_anogan.benchmarks.baselines import comparison, networks
from semi_anogan.data.dataset import Dataset, Example
from semi_anogan.errors import RunError

TRUTH = np.repeat([False, True], 8)


@pytest.fixture(scope="module")
def toy():
    """Normal, abnormal and test images, 16 x 16: noise, and noise with a bright square somewhere."""
    rng = np.random.default_rng(0)

    def draw(count, abnormal):
        images = rng.normal(0, 0.1, (count, 16, 16, 1)).astype(np.float32)
        for image in images if abnormal else ():
            top, left = rng.integers(0, 11, 2)
            image[top : top + 5, left : left + 5] += 0.8
        return np.clip(images, -1, 1)

    return draw(24, False), draw(12, True), np.concatenate([draw(8, False), draw(8, True)])


def separation(scores):
    return roc_auc_score(TRUTH, scores)


def same_twice(function):
    """The scores, which must be the same in a second call, up to the order in which threads add."""
    first, second = function(), function()
    assert first.shape == (16,)
    np.testing.assert_allclose(first, second, atol=1e-5)
    return first


def test_trunk_side():
    assert [networks.trunk_side(side) for side in (16, 128, 129, 512)] == [128, 128, 256, 256]


def test_pooled_features(toy):
    features = networks.pooled_features(toy[2], batch_size=5)
    assert features.shape == (16, 432) and features.dtype == np.float32
    # Neither the batch nor its padding matters.
    np.testing.assert_allclose(networks.pooled_features(toy[2][3:4], batch_size=5)[0], features[3], atol=1e-4)
    assert networks.pooled_features(toy[1][:0]).shape == (0, 432)


def test_nearest_patches(toy):
    normal, _, test = toy

    def scores():
        return networks.nearest_patches(normal, test, memory_size=100, most_patches=1000, seed=3)

    assert separation(same_twice(scores)) > 0.9


def test_nearest_patches_of_an_image_in_memory_are_near(toy):
    normal = toy[0][:2]
    scores = networks.nearest_patches(normal, np.concatenate([normal, toy[2][-1:]]), memory_size=10**6)
    assert scores[:2].max() < 0.05 < scores[2]


def test_small_cnn_learns(toy):
    assert separation(same_twice(lambda: networks.small_cnn(*toy, steps=40, flips="hvr", seed=1))) > 0.9


@pytest.mark.slow
def test_finetuned_classifier_learns(toy):
    assert separation(networks.finetuned_classifier(*toy, steps=8, flips="h", seed=1)) > 0.9


@pytest.mark.parametrize("name", ["small_cnn", "finetuned_classifier"])
def test_supervised_networks_need_both_kinds(toy, name):
    with pytest.raises(ValueError, match="got 24 normal, 0 abnormal"):
        getattr(networks, name)(toy[0], toy[1][:0], toy[2])


@pytest.fixture
def config(toy, monkeypatch):
    """A configuration whose data are the toy images."""
    pictures = {}
    for name, images in zip(("normal", "abnormal", "test"), toy, strict=True):
        for i, image in enumerate(images):
            abnormal = TRUTH[i] if name == "test" else name == "abnormal"
            label = "abnormal" if abnormal else "normal"
            pictures[Example(f"{name}{i}", "test" if name == "test" else "train", label)] = image
    config = tiny_config(model__resolution=16)

    def load(config):
        count = config.data.abnormal_count
        known = [e for e in pictures if e.split == "train" and e.abnormal][:count]
        return Dataset(
            "toy", tuple(e for e in pictures if not e.path.startswith("abn") or e in known), pictures.get
        ), 0

    monkeypatch.setattr(comparison.build, "load_data", load)
    return config


def test_run_keeps_its_figures(config, tmp_path, capsys):
    names = ["PCA reconstruction", "5-NN on pixels", "5-NN on features", "logistic regression on features"]
    found = comparison.run(config, names, tmp_path)
    assert list(found) == names and all(v["image_auroc"] > 0.9 for v in found.values())
    assert capsys.readouterr().out.startswith("PCA reconstruction: AUROC ")
    path = tmp_path / comparison.FILE
    values = json.loads(path.read_text())
    values["results"]["5-NN on pixels"]["image_auroc"] = 0.25
    path.write_text(json.dumps(values))
    again = comparison.run(config, names[:2], tmp_path)
    assert again["5-NN on pixels"]["image_auroc"] == 0.25  # not run again
    assert capsys.readouterr().out == ""
    assert "| 5-NN on pixels | 0.25 |" in tables.of_baselines(config, names[:2], tmp_path, 500)
    config.seed = 5
    with pytest.raises(RunError, match="not what baselines of these settings write"):
        comparison.run(config, names, tmp_path)


def test_without_known_abnormal_images_some_are_left_out(config, tmp_path):
    config.data.abnormal_count = 0
    found = comparison.run(config, ["small CNN", "PCA reconstruction", "fine-tuned classifier"], tmp_path)
    assert found["small CNN"] is None and found["fine-tuned classifier"] is None
    assert found["PCA reconstruction"]["image_auroc"] > 0.9
    assert comparison.read(tmp_path) == found


def test_outlier_detectors(config, tmp_path):
    """Those that learn from the test images ask for no others; ALOCC for the normal training images."""
    found = comparison.run(config, list(comparison.OUTLIER_DETECTORS), tmp_path, steps=2)
    assert list(found) == ["CoP", "REAPER", "LRR", "DPCP", "R-graph", "ALOCC"]
    assert all(0 <= values["image_auroc"] <= 1 for values in found.values())
    again = tables.of_baselines(config, ["R-graph"], tmp_path, 2)
    assert "| R-graph | " in again


def test_a_failing_baseline_does_not_lose_the_others(config, tmp_path, monkeypatch):
    def fail(images):
        raise ZeroDivisionError("by hand")

    monkeypatch.setitem(comparison.ALL, "5-NN on pixels", comparison.Method(fail, "pixels"))
    with pytest.raises(RunError, match="^5-NN on pixels: ZeroDivisionError: by hand$"):
        comparison.run(config, ["5-NN on pixels", "PCA reconstruction"], tmp_path)
    assert list(comparison.read(tmp_path)) == ["PCA reconstruction"]


def test_run_refuses_unknown_names_and_damaged_files(config, tmp_path):
    with pytest.raises(RunError, match="'6-NN' is not one of largest pixel step, PCA"):
        comparison.run(config, ["6-NN"])
    (tmp_path / comparison.FILE).write_text("{}")
    with pytest.raises(RunError, match="give another folder"):
        comparison.read(tmp_path)


def test_sides_follow_from_the_training_images(config):
    config.model.resolution = 8
    images = comparison.Images(config)
    assert [x.shape for x in images.pixels] == [(24, 8, 8, 1), (12, 8, 8, 1), (16, 8, 8, 1)]
    assert images.model_sized[2].shape == (16, 8, 8, 1)
    assert images.large[0].shape == (24, 16, 16, 1)  # their own size
    config.model.resolution = 512
    images = comparison.Images(config)
    assert images.pixels[0].shape == (24, 64, 64, 1) and images.large[1].shape == (12, 256, 256, 1)


def test_trivial_scores_are_still_told(config):
    text = tables.of_trivial_scores(config)
    assert "| mean_brightness | " in text and "| nearest_neighbours | " in text
