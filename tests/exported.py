"""A bundle of the smoke run, exported once for all tests that need one."""

import functools
import pathlib
import shutil
import tempfile

import numpy as np
import pytest
import trained

_FOLDER = tempfile.TemporaryDirectory(prefix="semi_anogan_bundle_")
BATCH = 6  # of which a TFLite file takes half


@functools.cache
def _exported() -> pathlib.Path:
    from semi_anogan import runs
    from semi_anogan.detector import Detector
    from semi_anogan.export import images, write

    detector = Detector.load(trained._trained(), batch_size=BATCH)
    config = runs.load_config(trained._trained())
    pictures = images.representative(detector, config, None)
    folder = pathlib.Path(_FOLDER.name) / "bundle"
    formats = ["saved_model", "onnx", "tflite", "tensorrt"]
    write.export(detector, config.to_dict(), pictures, folder, formats, [BATCH], ["float32", "float16", "int8", "int8_full"])
    return folder


@pytest.fixture(scope="session")
def bundle_folder() -> pathlib.Path:
    """Every format and precision of the smoke run at batch 6, not to be changed."""
    return _exported()


@pytest.fixture
def copied(bundle_folder, tmp_path) -> pathlib.Path:
    """A copy of the bundle to damage."""
    return pathlib.Path(shutil.copytree(bundle_folder, tmp_path / "bundle"))


def detector_without_search(**settings):
    """A tiny detector without the search, with colour, calibrated on noise."""
    from semi_anogan.detector import Detector

    detector = Detector(trained.tiny_model(channels=3), components=("discriminator",), batch_size=2, **settings)
    rng = np.random.default_rng(0)
    detector.calibrate(rng.uniform(-1, 1, (12, 8, 8, 3)).astype(np.float32), false_alarm_rate=0.1)
    return detector
