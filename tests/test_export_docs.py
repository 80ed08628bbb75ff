"""docs/export.md's commands and Python, run as written on the smoke run; and a watched folder."""

import csv
import pathlib
import re
import shlex
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from helpers import processes
from helpers.processes import ROOT

pytestmark = pytest.mark.slow

DOCUMENT = (ROOT / "docs/export.md").read_text()
ENVIRONMENT = {**processes.ENVIRONMENT, "PATH": processes.PATH}


def documented(part: str) -> str:
    """The one command of docs/export.md that holds `part`, without its comment."""
    lines = [
        line.split("  #")[0].strip()
        for line in DOCUMENT.splitlines()
        if part in line and line.startswith(("python", "ffmpeg"))
    ]
    assert len(lines) == 1, lines
    return lines[0]


def run(command: str, folder, **replaced):
    for name, value in replaced.items():
        command = re.sub(rf"\b{name}\b", shlex.quote(str(value)), command)
    return subprocess.run(
        command, shell=True, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=300
    )


def rows(folder) -> list[dict]:
    with open(pathlib.Path(folder) / "scores.csv", newline="") as file:
        return list(csv.DictReader(file))


def pictures(images) -> list[Image.Image]:
    return [Image.fromarray(np.uint8(np.round(image[..., 0] * 127.5 + 127.5))) for image in images]


@pytest.fixture(scope="module")
def bundle(smoke_run, tmp_path_factory):
    """What the document's export command makes of the run."""
    folder = tmp_path_factory.mktemp("documented")
    done = run(
        documented("--formats=saved_model,onnx,tflite,tensorrt"), folder, RUN=smoke_run, BUNDLE="bundle"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "bundle"


@pytest.fixture(scope="module")
def folder(test_images, tmp_path_factory):
    place = tmp_path_factory.mktemp("pictures")
    for i, picture in enumerate(pictures(test_images[:4])):
        picture.save(place / f"{i}.png")
    return place


def test_the_export_command_writes_every_format(bundle):
    files = {str(path.relative_to(bundle).parts[0]) for path in bundle.rglob("*") if path.is_file()}
    assert files == {"bundle.json", "parity.npz", "saved_model", "onnx", "tflite", "tensorrt"}


def test_the_check_command_passes(bundle, tmp_path):
    done = run(documented("--check=BUNDLE   "), tmp_path, BUNDLE=bundle)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_runtime_command_scores_a_folder(bundle, folder, tmp_path):
    done = run(documented("--input=FOLDER"), tmp_path, BUNDLE=bundle, FOLDER=folder, SCORED="scored")
    assert done.returncode == 0, done.stderr[-2000:]
    assert [row["status"] for row in rows(tmp_path / "scored")] == ["ok"] * 4
    assert "p50" in done.stdout


def test_the_camera_command_scores_each_frame(bundle, test_images, tmp_path):
    with open(tmp_path / "frames", "wb") as file:
        for picture in pictures(test_images[:3]):
            picture.save(file, "PPM")
    camera, rest = documented("ffmpeg").split("|", 1)
    assert camera.strip().endswith("-")  # to standard output
    done = run(f"cat frames |{rest}", tmp_path, BUNDLE=bundle, SCORED="scored")
    assert done.returncode == 0, done.stderr[-2000:]
    assert [row["status"] for row in rows(tmp_path / "scored")] == ["ok"] * 3
    assert sum(line.startswith("frame_") for line in done.stdout.splitlines()) == 3  # told as they come


def test_the_python_runs(bundle, test_images, tmp_path):
    np.save(tmp_path / "images.npy", test_images[:8])
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT, re.S)
    assert len(blocks) == 2
    edge, served = (block.replace("BUNDLE", str(bundle)) for block in blocks)
    program = f"""
import numpy as np, sys
images = np.load("images.npy")
{edge}
assert scores.shape == labels.shape == (8,) and [m.shape for m in maps] == [(16, 16)] * 8
import tensorflow as tf
dataset = tf.data.Dataset.from_tensor_slices(images).batch(8)
{served}
batch = next(iter(found))
np.testing.assert_allclose(batch["score"], scores, rtol=1e-3, atol=1e-3)
assert (batch["label"].numpy() == labels).all()
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_watched_folder_is_scored_as_files_appear(bundle, test_images, tmp_path):
    watched, out = tmp_path / "watched", tmp_path / "out"
    watched.mkdir()
    images = pictures(test_images[:3])
    images[0].save(watched / "first.png")
    command = [sys.executable, "-m", "semi_anogan.export.runtime", f"--bundle={bundle}", "--engine=tflite"]
    command += [f"--input={watched}", f"--output={out}", "--watch", "--limit=3"]
    with subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert "first.png" in process.stdout.readline()
            images[1].save(watched / "second.png")
            assert "second.png" in process.stdout.readline()
            data = (watched / "second.png").read_bytes()
            # Written slowly: not to be read before it is whole.
            with open(watched / "third.png", "wb") as file:
                file.write(data[:50])
                file.flush()
                time.sleep(0.05)
                file.write(data[50:])
            assert "third.png" in process.stdout.readline()
            assert process.wait(60) == 0
        finally:
            process.kill()
    assert [(pathlib.Path(row["path"]).name, row["status"]) for row in rows(out)] == [
        ("first.png", "ok"),
        ("second.png", "ok"),
        ("third.png", "ok"),
    ]
