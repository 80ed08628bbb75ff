"""Shared settings of the tests."""

import os
import pathlib
import shutil

# Before TensorFlow is imported, here and in the commands' processes.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest

from helpers import documented, exported, processes, shared, tiny_runs

# The files that take longest, first: a process that is given one of them last would end alone, long after
# the other. Those that want the same shared run or bundle first are not neighbours, or one would wait.
LONG = (
    "export_docs",
    "training",
    "commands",
    "run_with_features",
    "any_shape",
    "jax",
    "export",
    "stand_ins",
    "fit_detector",
    "distribution",
    "export_runtime",
    "data_sets",
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
def readme_folder(tmp_path_factory) -> pathlib.Path:
    """Where README's first command has trained runs/smoke, once for all processes; not to be changed."""
    return shared.once(tmp_path_factory, "readme", documented.train)


@pytest.fixture(scope="session")
def smoke_run(readme_folder) -> pathlib.Path:
    """The run folder of configs/smoke.py (16 x 16, grey); not to be changed."""
    return readme_folder / "runs/smoke"


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory) -> pathlib.Path:
    """The run folder of a command with tiny_runs.TINY (8 x 8, grey), of one thread; not to be changed.

    What the command said is tiny/run.log beside it.
    """

    def make(folder):
        command, log = tiny_runs.train_command(folder / "run"), folder / "run.log"
        assert processes.finish(processes.start(command, log)) == 0, log.read_text(errors="replace")

    return shared.once(tmp_path_factory, "tiny", make) / "run"


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

    def make(folder):
        detector, config = Detector.load(smoke_run, batch_size=exported.BATCH), load_config(smoke_run)
        pictures = images.representative(detector, config, None)
        formats = ["saved_model", "onnx", "tflite", "tensorrt"]
        precisions = ["float32", "float16", "int8", "int8_full"]
        output = folder / "bundle"
        write.export(detector, config.to_dict(), pictures, output, formats, [exported.BATCH], precisions)

    return shared.once(tmp_path_factory, "exported", make) / "bundle"


@pytest.fixture(scope="session")
def product_bundles(tmp_path_factory) -> pathlib.Path:
    """What exported.write_products writes, not to be changed."""
    return shared.once(tmp_path_factory, "products", exported.write_products)


@pytest.fixture(scope="module")
def readers_compiled_once():
    """All FeatureReaders of one model with the same settings share their compiled functions in a module.

    These hold nothing that is fitted, and read the model's weights when they are called.
    """
    from semi_anogan.scoring.feature_reader import FeatureReader

    compiled, made = FeatureReader.__init__, {}

    def shared_by_all(self, model, tile, batch_size):
        key = (id(model), tile, batch_size)
        if key not in made:
            compiled(self, model, tile, batch_size)
            made[key] = (model, dict(vars(self)))  # the model stays, and so its id is no other's
        vars(self).update(made[key][1])

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(FeatureReader, "__init__", shared_by_all)
        yield


@pytest.fixture
def copied(bundle_folder, tmp_path) -> pathlib.Path:
    """A copy of the bundle to damage."""
    return pathlib.Path(shutil.copytree(bundle_folder, tmp_path / "bundle"))
