"""The runtime scores as `score` does, without TensorFlow, Keras or JAX, and tells of files it cannot read."""

import csv
import functools
import io
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import venv

import numpy as np
import pytest
from PIL import Image

from helpers.exported import BATCH
from helpers.processes import ENVIRONMENT, ROOT
from semi_anogan import score
from semi_anogan.data.listing import list_inputs
from semi_anogan.export.runtime.bundle import digest_of
from semi_anogan.scoring.outputs import Outputs
from semi_anogan.scoring.regions import find

_DEVICES = tempfile.TemporaryDirectory(prefix="semi_anogan_devices_")
REFUSED = ("tensorflow", "keras", "jax", "ml_collections", "absl", "sklearn", "scipy", "matplotlib")
RUN = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {REFUSED}:
            raise ImportError("refused: " + name)
sys.meta_path.insert(0, Refuse())
from semi_anogan.export.runtime.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def runtime(bundle, *arguments, stdin=None, python=sys.executable):
    command = [python, "-P", "-c", RUN, f"--bundle={bundle}", *map(str, arguments)]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, input=stdin)


def table(folder, name="scores.csv") -> dict[str, dict]:
    with open(pathlib.Path(folder) / name, newline="") as file:
        rows = list(csv.DictReader(file))
    return {pathlib.Path(row["path"]).name + row.get("number", ""): row for row in rows}


@pytest.fixture(scope="module")
def pictures(test_images, tmp_path_factory):
    """Ten images of other sizes than the model's, and one that is none."""
    folder = tmp_path_factory.mktemp("pictures")
    for i, image in enumerate(test_images[:10]):
        picture = Image.fromarray(np.uint8(np.round(image[..., 0] * 127.5 + 127.5)))
        picture.resize((16 + i, 20)).save(folder / f"{i}.png")
    (folder / "broken.png").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def expected(smoke_detector, pictures, tmp_path_factory):
    """What `score` writes of them."""
    folder = tmp_path_factory.mktemp("scored")
    inputs, outputs = list_inputs(str(pictures)), Outputs(maps=True, coco=True, root=str(pictures))
    assert score.score(smoke_detector.pruned(), inputs, folder, outputs) == 1
    return folder


ENGINES = {"onnx": "onnxruntime", "tflite": "ai-edge-litert"}
LARGEST_MEGABYTES = {"onnx": 250, "tflite": 200}
ABSENT = ("tensorflow", "keras", "jax", "scipy", "sklearn", "absl")


@functools.cache
def device(engine: str) -> pathlib.Path:
    """The Python of a fresh environment with what docs/export.md installs on a device.

    Skips where pip reaches no package registry.
    """
    document = (ROOT / "docs/export.md").read_text()
    commands = [
        line
        for line in document.splitlines()
        if line.startswith("pip install") and ("--no-deps" in line or "pillow" in line)
    ]
    project, packages = (line.split("#")[0].removeprefix("pip install") for line in commands)
    if engine == "tflite":
        packages = commands[1].split("# or:")[1]
    assert ENGINES[engine] in packages
    folder = pathlib.Path(_DEVICES.name) / engine
    venv.create(folder)
    pip = [sys.executable, "-m", "pip", f"--python={folder / 'bin/python'}"]
    everywhere = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__")
    at_the_top = {"runs", "build", "tests"}  # deeper, runs is a package

    def left_out(place, names):
        return everywhere(place, names) | (at_the_top if pathlib.Path(place) == ROOT else set())

    shutil.copytree(ROOT, folder / "semi_anogan", ignore=left_out)
    for line in (project, packages):
        done = subprocess.run(
            [*pip, "install", "-q", *line.split()],
            cwd=folder,
            capture_output=True,
            text=True,
        )
        if "connect" in done.stderr.lower() or "name resolution" in done.stderr.lower():
            pytest.skip(f"no package registry: {done.stderr.splitlines()[-1]}")
        assert done.returncode == 0, done.stderr
    return folder / "bin/python"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.slow
def test_a_device_needs_three_packages(engine):
    """Of the packages that training needs none is there, and what is there is small."""
    program = f"import importlib.util as u; print([n for n in {ABSENT} if u.find_spec(n)])"
    done = subprocess.run([device(engine), "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
    site = next((device(engine).parent.parent / "lib").glob("python*/site-packages"))
    megabytes = sum(p.lstat().st_size for p in site.rglob("*") if p.is_file()) / 1e6
    print(f"{engine}: {megabytes:.0f} MB")
    assert 20 < megabytes < LARGEST_MEGABYTES[engine]


@pytest.mark.parametrize(
    "engine, fresh", [("onnx", False), ("tflite", False), ("onnx", True), ("tflite", True)]
)
def test_scores_and_maps_are_those_of_score(engine, fresh, bundle_folder, pictures, expected, tmp_path):
    python = device(engine) if fresh else sys.executable
    done = runtime(
        bundle_folder,
        f"--engine={engine}",
        f"--input={pictures}",
        f"--output={tmp_path / 'out'}",
        "--maps",
        "--coco",
        python=python,
    )
    assert done.returncode == 3, done.stderr
    ours, theirs = table(tmp_path / "out"), table(expected)
    assert list(ours) == list(theirs) and len(ours) == 11
    for name, row in theirs.items():
        assert (ours[name]["label"], ours[name]["status"]) == (row["label"], row["status"])
        assert (ours[name]["error"], ours[name]["regions"]) == (row["error"], row["regions"])
        if row["status"] != "error":
            assert float(ours[name]["score"]) == pytest.approx(float(row["score"]), rel=1e-3, abs=1e-3)
    maps = sorted((expected / "maps").glob("*.npy"))
    differences = [np.abs(np.load(tmp_path / "out/maps" / path.name) - np.load(path)).max() for path in maps]
    # As in the parity check: rounding decides the sign of a gradient near 0, and an image in eight may take
    # another way in the search.
    assert len(maps) == 10 and sorted(differences)[-2] < 1e-3 and max(differences) < 0.1
    # Regions follow from maps and the pixel threshold of the bundle; the images here need not be abnormal.
    pixel_threshold = json.loads((bundle_folder / "bundle.json").read_text())["pixel_threshold"]
    for path, difference in zip(maps, differences, strict=True):
        if difference < 1e-3:
            regions, others = (
                find(np.load(folder / "maps" / path.name), pixel_threshold)
                for folder in (tmp_path / "out", expected)
            )
            assert [r.certain for r in regions] == [r.certain for r in others]
            # left, top, width, height, area: a pixel at the border may fall on either side.
            boxes, other_boxes = (np.array([r[:5] for r in found]) for found in (regions, others))
            assert np.abs(boxes - other_boxes).max() <= 1
    regions, others = table(tmp_path / "out", "regions.csv"), table(expected, "regions.csv")
    assert list(regions) == list(others)
    assert {row["threshold"] for row in ours.values()} == {row["threshold"] for row in theirs.values()}
    assert [row["p_value"] for row in ours.values()] == [row["p_value"] for row in theirs.values()]
    whole, other = (json.loads((place / "coco.json").read_text()) for place in (tmp_path / "out", expected))
    assert [image["file_name"] for image in whole["images"]] == [
        image["file_name"] for image in other["images"]
    ]
    assert len(whole["annotations"]) == len(other["annotations"])


def test_an_old_bundle_has_no_regions_and_says_so(copied, pictures, tmp_path):
    path = copied / "bundle.json"
    values = json.loads(path.read_text())
    assert values["pixel_threshold"] == values["calibration"].pop("pixel_threshold") > 0
    assert values.pop("kinds") == []  # nor have bundles of before
    path.write_text(json.dumps({**values, "digest": digest_of(values)}))
    arguments = (
        "--engine=tflite",
        f"--input={pictures / '0.png'}",
        f"--output={tmp_path / 'out'}",
        "--overlays=all",
        "--maps",
    )
    done = runtime(copied, *arguments)
    assert done.returncode == 0 and b"note: no regions, since the run was calibrated before" in done.stdout
    assert table(tmp_path / "out")["0.png"]["regions"] == ""
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"scores.csv", "maps"}


def test_another_threshold_by_the_bundle_alone(bundle_folder, copied, pictures, tmp_path, smoke_detector):
    """The run's own rate gives its threshold; bundle.json is as it was, so the bundle opens again."""
    before = (bundle_folder / "bundle.json").read_bytes()

    def scored(bundle, *options):
        arguments = (
            "--engine=onnx",
            f"--input={pictures / '0.png'}",
            f"--output={tmp_path / 'out'}",
            *options,
        )
        return runtime(bundle, *arguments)

    for rate in (0.01, 0.3):
        assert scored(bundle_folder, f"--false_alarm_rate={rate}").returncode == 0
        (row,) = table(tmp_path / "out").values()
        assert row["threshold"] == f"{smoke_detector.at(false_alarm_rate=rate).threshold:.6g}"
    assert row["threshold"] != f"{smoke_detector.threshold:.6g}"
    done = scored(bundle_folder, "--review_band=0.001,0.99")
    assert done.returncode == 0 and table(tmp_path / "out")["0.png"]["label"] in ("look", "abnormal")
    assert scored(bundle_folder, "--threshold=-1000").returncode == 0
    assert table(tmp_path / "out")["0.png"]["label"] == "abnormal"
    assert (bundle_folder / "bundle.json").read_bytes() == before
    for option, told in (
        ("--threshold=nan", b"threshold must be a finite number, got nan"),
        ("--false_alarm_rate=1", b"false_alarm_rate must be in (0, 1), got 1.0"),
        ("--review_band=0.1", b"review_band must be two false-alarm rates"),
    ):
        done = scored(bundle_folder, option)
        assert done.returncode == 1 and done.stderr.startswith(b"error: " + told)
        assert done.stderr.count(b"\n") == 1
    # A bundle that was exported before scores were kept.
    path = copied / "bundle.json"
    values = json.loads(path.read_text())
    for name in ("normal_scores", "normal_highest", "look_threshold"):
        del values["calibration"][name]
    path.write_text(json.dumps({**values, "digest": digest_of(values)}))
    done = scored(copied, "--false_alarm_rate=0.1")
    assert done.returncode == 1 and b"export the run again" in done.stderr
    assert scored(copied, "--threshold=1").returncode == 0
    assert table(tmp_path / "out")["0.png"]["p_value"] == ""


def test_a_budget_ends_searches_early_and_says_so(bundle_folder, pictures, tmp_path):
    arguments = (
        "--engine=onnx",
        f"--input={pictures}",
        f"--output={tmp_path / 'out'}",
        f"--batch={BATCH}",
        "--budget_ms=0.001",
    )
    done = runtime(bundle_folder, *arguments)
    assert done.returncode == 3, done.stderr
    steps = [int(row["search_steps"]) for row in table(tmp_path / "out").values() if row["status"] != "error"]
    assert len(steps) == 10 and max(steps) <= 1
    assert b"budget of 0.001 ms: 10 of 10 images" in done.stdout


def test_frames_of_a_stream(bundle_folder, test_images, tmp_path):
    stream = io.BytesIO()
    for image in test_images[:3]:
        Image.fromarray(np.uint8(np.round(image[..., 0] * 127.5 + 127.5))).save(stream, "PPM")
    arguments = ("--engine=tflite", "--input=-", f"--output={tmp_path / 'out'}", f"--batch={BATCH}")
    done = runtime(bundle_folder, *arguments, stdin=stream.getvalue())
    assert done.returncode == 0, done.stderr
    assert len(table(tmp_path / "out")) == 3
    assert b"p50" in done.stdout and b"p95" in done.stdout and b"p99" in done.stdout


def test_an_output_that_cannot_be_written(bundle_folder, pictures, tmp_path):
    (tmp_path / "out").write_text("a file, no folder")
    done = runtime(
        bundle_folder, "--engine=onnx", f"--input={pictures / '0.png'}", f"--output={tmp_path / 'out'}"
    )
    assert done.returncode == 1 and done.stderr.count(b"\n") == 1
    assert (
        done.stderr.startswith(f"error: {tmp_path / 'out'}".encode()) and b"cannot be written" in done.stderr
    )


def test_a_provider_that_is_not_there_is_no_reason_to_take_the_cpu(bundle_folder, tmp_path):
    arguments = ("--engine=onnx", f"--input={tmp_path}", f"--output={tmp_path / 'out'}")
    (tmp_path / "a.png").write_bytes(b"none")
    done = runtime(bundle_folder, *arguments, "--providers=CPUExecutionProvider,NoneExecutionProvider")
    assert done.returncode == 1 and done.stderr.startswith(
        b"error: providers: 'NoneExecutionProvider' is none of those of this ONNX Runtime: "
    )
    assert b"CPUExecutionProvider\n" in done.stderr and done.stderr.count(b"\n") == 1


def test_a_bundle_that_is_none(pictures, tmp_path):
    done = runtime(tmp_path, "--engine=onnx", f"--input={pictures}", f"--output={tmp_path / 'out'}")
    assert done.returncode == 1 and done.stderr.startswith(b"error: ") and b"bundle.json" in done.stderr
