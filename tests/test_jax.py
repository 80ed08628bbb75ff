"""The JAX backend against TensorFlow: the same numbers, the same checkpoints, and no TensorFlow needed."""

import csv
import subprocess
import sys

import keras
import numpy as np
import pytest

from helpers.processes import ONE_THREAD, ROOT
from helpers.tiny_runs import augment_draws, averaged_outputs, newest_checkpoint, tiny_config
from semi_anogan.backend import Trainer, make_strategy
from semi_anogan.config import AUGMENTATIONS
from semi_anogan.networks.augmentation import augment
from semi_anogan.runs import build, checkpoint
from semi_anogan.runs import folder as run_folder
from semi_anogan.training import loop as training

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="compares with TensorFlow"),
]


def make_batch(seed):
    rng = np.random.default_rng(seed)
    return {
        "images": rng.uniform(-1, 1, (12, 8, 8, 1)).astype(np.float32),
        "labels": np.repeat(np.float32([0, 1]), [8, 4]),
        "latents": rng.uniform(-1, 1, (8, 8)).astype(np.float32),
        "mix": rng.random((8, 1, 1, 1), dtype=np.float32),
    }


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """(folder, what TensorFlow computes, what jax_worker.py computes)."""
    pytest.importorskip("jax")
    folder = tmp_path_factory.mktemp("jax")
    inputs = make_batch(2)
    np.savez(folder / "inputs.npz", **inputs)

    model = training.compiled_model(tiny_config())
    model.fade.assign(0.5)
    trainer = Trainer(model, make_strategy("one_device")[0])
    trainer(make_batch(1))  # so that averages and optimizer have a state of their own
    checkpoint.save(folder / "given", model, {"step": 1})
    command = [sys.executable, "-m", "helpers.jax_worker", str(folder)]
    # Compiling takes nearly all of the time here, so XLA is told to make no effort.
    flags = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    worker = subprocess.Popen(
        command,
        env={**ONE_THREAD, "XLA_FLAGS": flags},
        cwd=ROOT / "tests",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        expected = {f"outputs/{i}": v for i, v in enumerate(averaged_outputs(model, inputs))}
        moved = augment(
            inputs["images"], augment_draws(inputs), AUGMENTATIONS, np.float32(inputs["images"] > 0.5)
        )
        expected |= {f"augmented/{i}": np.asarray(v) for i, v in enumerate(moved)}
        expected |= {f"loss/{name}": np.asarray(value) for name, value in trainer(inputs).items()}
        expected |= {f"step/{index:04d}": np.asarray(v) for index, v in enumerate(model.variables)}
        _, errors = worker.communicate(timeout=400)
    finally:
        worker.kill()
    assert worker.returncode == 0, errors
    with np.load(folder / "results.npz") as file:
        return folder, expected, {name: file[name] for name in file.files}


def compare(expected, found, prefix):
    names = sorted(name for name in expected if name.startswith(prefix))
    assert names and names == sorted(name for name in found if name.startswith(prefix))
    for name in names:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-4, rtol=1e-4, err_msg=name)
    return names


def test_a_tensorflow_checkpoint_gives_the_same_under_jax(both):
    _, expected, found = both
    assert len(compare(expected, found, "outputs/")) == 4  # images, logits, one scale's features and evidence


def test_augmentation_gives_the_same(both):
    assert len(compare(*both[1:], "augmented/")) == 2  # images and masks


def test_one_step_gives_the_same_losses_and_weights(both):
    folder, expected, found = both
    assert "loss/abnormal_logit" in compare(expected, found, "loss/")
    names = compare(expected, found, "step/")
    before = newest_checkpoint_of(folder / "given")
    moved = [
        name
        for name in names
        if np.abs(expected[name] - before[name.replace("step/", "model/")]).max() > 5e-4
    ]
    assert len(moved) > 20  # by more than the tolerance


def test_a_step_in_bfloat16_is_that_in_float32_but_for_rounding(both):
    """Of about 1 in 256; and it is another one, so that bfloat16 is what it computed in."""
    _, expected, found = both
    names = [name.removeprefix("loss/") for name in expected if name.startswith("loss/")]
    pairs = np.array([(found[f"bfloat16/{name}"], expected[f"loss/{name}"]) for name in names])
    np.testing.assert_allclose(*pairs.T, rtol=0.03, atol=0.03)
    assert np.abs(np.diff(pairs)).max() > 1e-4


def newest_checkpoint_of(checkpoints):
    with np.load(checkpoint.steps(checkpoints)[-1]) as file:
        return {name: file[name] for name in file.files}


def test_a_whole_run_without_tensorflow(both):
    folder = both[0] / "run"
    values = run_folder.read_json(folder / "metrics.json")
    assert 0 <= values["image_auroc"] <= 1 and 0 <= values["pixel_aupro"] <= 1
    with open(folder / "scores.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 20
    assert (folder / "report.html").exists() and list(folder.glob("events/*"))
    progress = run_folder.read_progress(folder)
    assert progress["images_seen"] == 200 and progress["step"] == 25
    assert set(progress["history"]["resolution"]) == {4, 8}
    saved = newest_checkpoint(folder)
    assert all(np.isfinite(a).all() for a in saved.values())


def test_a_jax_checkpoint_gives_the_same_under_tensorflow(both):
    folder, _, found = both
    config = run_folder.load_config(folder / "run")
    model = training.compiled_model(config)  # with its optimizer: training could go on here
    checkpoint.restore_latest(folder / "run" / run_folder.CHECKPOINTS, model)
    with np.load(folder / "inputs.npz") as inputs:
        outputs = averaged_outputs(model, inputs)
    assert len(compare({f"run_outputs/{i}": v for i, v in enumerate(outputs)}, found, "run_outputs/")) == 4


def test_a_jax_run_scores_the_same_under_tensorflow(both):
    """The whole way, latent search included."""
    from semi_anogan.scoring.detector import Detector

    folder = both[0] / "run"
    detector = Detector.load(folder)
    dataset, splits, _ = build.load_data(run_folder.load_config(folder))
    with open(folder / "scores.csv", newline="") as file:
        expected = [float(row["score"]) for row in csv.DictReader(file)][:5]
    images = np.stack([dataset.read_image(e) for e in splits.test[:5]])
    np.testing.assert_allclose(detector(images).scores, expected, atol=2e-3, rtol=1e-3)


def test_fit_under_jax(both):
    found = both[2]
    for name in ("discriminator_loss", "generator_loss"):
        assert found[f"fit/{name}"].shape == (2,) and np.isfinite(found[f"fit/{name}"]).all()
        assert (found[f"fit/{name}"] != 0).all()
    assert found["fit_change"] > 1e-4
    assert found["fit_seed_change"].any()  # or each step would draw the same latents
