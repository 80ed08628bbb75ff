"""Shared settings of the tests."""

import os
import pathlib
import shutil

# Before TensorFlow is imported, here and in the commands' processes.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest

from helpers import exported, processes

# The files that take longest, first: a process that is given one of them last would end alone, long after
# the other.
LONG = (
    "export_docs",
    "training",
    "commands",
    "export_runtime",
    "distribution",
    "jax",
    "run_with_features",
    "patch_discriminator",
    "update_order",
    "detector",
)


def pytest_collection_modifyitems(items):
    gone = [name for name in LONG if not (processes.ROOT / f"tests/test_{name}.py").exists()]
    assert not gone, f"tests/conftest.py: LONG names files that are gone: {gone}"
    order = {f"test_{name}": rank for rank, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path.stem, len(LONG)))


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory) -> pathlib.Path:
    """The run folder of configs/smoke.py (16 x 16, grey), trained once; not to be changed."""
    folder = tmp_path_factory.mktemp("smoke") / "run"
    config = processes.ROOT / "configs/smoke.py"
    result = processes.command("train", f"--config={config}", f"--workdir={folder}")
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture(scope="session")
def smoke_data(smoke_run):
    """(config, Dataset, Splits) of the run."""
    from semi_anogan.runs import build
    from semi_anogan.runs.folder import load_config

    config = load_config(smoke_run)
    dataset, splits, _ = build.load_data(config)
    return config, dataset, splits


@pytest.fixture(scope="session")
def smoke_detector(smoke_run):
    """Detector.load of the run, compiled once for all; not to be changed."""
    from semi_anogan.scoring.detector import Detector

    return Detector.load(smoke_run)


@pytest.fixture(scope="session")
def test_images(smoke_data) -> np.ndarray:
    """The run's 20 test images, float32 [20, 16, 16, 1] in [-1, 1], normal and abnormal."""
    _, dataset, splits = smoke_data
    return np.stack([dataset.read_image(e) for e in splits.test])


@pytest.fixture(scope="session")
def bundle_folder(smoke_run, tmp_path_factory) -> pathlib.Path:
    """Every format and precision of the smoke run at batch 6, not to be changed."""
    from semi_anogan.export import images, write
    from semi_anogan.runs.folder import load_config
    from semi_anogan.scoring.detector import Detector

    detector, config = Detector.load(smoke_run, batch_size=exported.BATCH), load_config(smoke_run)
    pictures = images.representative(detector, config, None)
    folder = tmp_path_factory.mktemp("exported") / "bundle"
    formats = ["saved_model", "onnx", "tflite", "tensorrt"]
    precisions = ["float32", "float16", "int8", "int8_full"]
    write.export(detector, config.to_dict(), pictures, folder, formats, [exported.BATCH], precisions)
    return folder


@pytest.fixture
def copied(bundle_folder, tmp_path) -> pathlib.Path:
    """A copy of the bundle to damage."""
    return pathlib.Path(shutil.copytree(bundle_folder, tmp_path / "bundle"))
