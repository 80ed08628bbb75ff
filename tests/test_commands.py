"""Commands and Python of README and the guide, run as written; and the promises of the command line."""

import re
import shutil
import subprocess
import sys

import pytest
from PIL import Image

from helpers.documented import COMMANDS, IN_GUIDE, IN_README, README, TOUR, said, shell
from helpers.processes import ENVIRONMENT, ROOT
from helpers.tiny_runs import TINY

TESTED = IN_README + IN_GUIDE


@pytest.fixture(scope="module")
def folder(readme_folder, tmp_path_factory):
    """A copy of the folder in which README's first command was run, and in which the others have been too."""
    path = tmp_path_factory.mktemp("readme") / "copy"
    shutil.copytree(readme_folder, path, symlinks=True)
    return path, {COMMANDS[0]: said(path), **{line: shell(line, path) for line in COMMANDS[1:]}}


def test_readme_shows_commands_and_python_and_the_guide_more():
    assert [language for language, _ in IN_README] == ["bash", "python"]
    assert [language for language, _ in IN_GUIDE if language != "bash"] == ["python", "python"]


@pytest.mark.slow
def test_readmes_commands_run(folder):
    path, done = folder
    for line, result in done.items():
        assert result.returncode == 0, f"{line}\n{result.stdout}\n{result.stderr}"
        assert "Traceback" not in result.stderr
    rows = (path / "runs/smoke/scored/scores.csv").read_text().splitlines()
    assert rows[0] == "path,score,label,status,error,regions,threshold,p_value,time"
    assert len(rows) == 7 and all(",ok," in row for row in rows[1:])
    assert not (path / "runs/smoke/scored/maps").exists()
    for name in (
        "config.json",
        "metrics.json",
        "scores.csv",
        "report.html",
        "plots",
        "detector.json",
        "checkpoints",
        "events",
    ):
        assert (path / "runs/smoke" / name).exists(), name


@pytest.mark.slow
def test_the_guides_commands_run(folder):
    """After README's, in the same folder; the last ones wrote what is looked at here."""
    path, _ = folder
    commands = [line for kind, text in IN_GUIDE if kind == "bash" for line in text.strip().splitlines()]
    done = {line: shell(line, path) for line in commands}
    for line, result in done.items():
        assert result.returncode == 0, f"{line}\n{result.stdout}\n{result.stderr}"
    rows = (path / "runs/found/scores.csv").read_text().splitlines()
    assert rows[0].endswith(",threshold,p_value,time,look_threshold") and len(rows) == 7


@pytest.mark.slow
def test_the_guide_leads_from_a_folder_to_regions(tmp_path):
    """Command by command, but with smaller networks, and a threshold by which they find something."""
    commands = TOUR.replace("\\\n", " ").strip().splitlines()
    assert len(commands) == 6
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    changes = {"features.name": "", "score.components": "discriminator", "schedule.total_kimages": 0.05}
    small = " ".join(f"--config.{key}={value}" for key, value in {**TINY, **changes}.items())
    added, printed = {2: small, 3: "--false_alarm_rate=0.6"}, []
    for number, command in enumerate(commands):
        done = shell(f"{command} {added.get(number, '')}", tmp_path)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        printed.append(done.stdout)
    assert re.search(r"^parts/test/\w+/\d+\.png \[\d+, \d+, \d+, \d+\] None$", printed[4], re.M)
    for folder in ("parts/test", "scored/overlays"):
        assert len(list((tmp_path / folder).rglob("*.png"))) == 28
    assert (tmp_path / "inspected/inspect.html").exists()
    with Image.open(tmp_path / "overlays.png") as picture:
        assert picture.width == 900 and (tmp_path / "overlays.png").stat().st_size <= 150_000
    # What is there already is not written over.
    done = shell(commands[0], tmp_path)
    assert done.returncode == 1 and done.stderr == "error: parts: exists already; give another --output\n"


@pytest.mark.slow
def test_python_of_readme_and_guide_runs(folder):
    """As one program: a later block uses names of the earlier ones."""
    path, _ = folder
    program = "\n".join(text for language, text in TESTED if language == "python")
    program += (
        "\nassert scores.shape == (5,) and maps.shape == (5, 16, 16) and detector.threshold is not None\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr


def test_ci_runs_readmes_first_commands():
    first = re.findall(r"```bash\n(.*?)```", README, re.S)[:2]
    script = (ROOT / ".ci/run").read_text()
    for command in first:
        assert command.strip() in script


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--config.objective.alhpa=0.3", ["alpha", "alhpa"]),
        ("--config.objective.alpha=abc", ["objective.alpha", "abc"]),
        ("--config=nowhere.py", ["nowhere.py"]),
        ("--workdir=w --config.objective.alpha=2", ["objective.alpha", "2.0"]),
        ("--workdir=w --config.objective.augment=colour", ["objective.augment", "colour", "translation"]),
        ("--workdir=w --config.model.resolution=100", ["model.resolution", "100"]),
        ("--workdir=w --config.data.name=manfest", ["manfest", "manifest"]),
        ("surface", ["surface"]),
    ],
)
def test_wrong_settings_are_one_line_that_names_them(flags, words, tmp_path):
    result = shell(f"python -m semi_anogan.train {flags}", tmp_path)
    assert result.returncode in (1, 2)
    assert "Traceback" not in result.stderr
    assert all(word in result.stderr for word in words), result.stderr
    assert not (tmp_path / "w" / "config.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "told"), [("tensorflow", False), ("jax", True)])
def test_step_benchmark_tells_operations_and_memory(tmp_path, backend, told):
    """Operations of all steps are those of one, 1,000 / 16 times; XLA makes no effort, which takes long."""
    pytest.importorskip(backend)
    command = f"python -m semi_anogan.benchmark --suite=step --config={ROOT}/configs/smoke.py"
    command += " --config.model.resolution=8 --config.schedule.start_resolution=4"
    flags = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    result = shell(command, tmp_path, KERAS_BACKEND=backend, XLA_FLAGS=flags)
    assert result.returncode == 0, result.stderr
    found = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", result.stdout, re.M))
    assert found["a step: 16 normal + 12 abnormal images, 8 x 8"] == "float32"
    whole = next(float(value) for name, value in found.items() if name.startswith("TFLOP"))
    assert 0.05 < float(found["GFLOP"]) < 1
    assert whole == pytest.approx(float(found["GFLOP"]) * 1000 / 16 / 1000, rel=0.1)
    assert told or found["memory, GiB"] == "not told by TensorFlow"
    assert not told or 0.001 < float(found["memory, GiB"]) < 1


@pytest.mark.slow
def test_speed_benchmark_counts_and_writes_its_section(tmp_path):
    results = tmp_path / "docs" / "results" / "speed.md"
    results.parent.mkdir(parents=True)
    results.write_text("before\n<!-- begin speed -->\nof an earlier run\n<!-- end speed -->\nafter\n")
    command = f"python -m semi_anogan.benchmark --config={ROOT}/configs/smoke.py"
    command += f" --results={results} --iterations=1,2"
    result = shell(command, tmp_path)
    assert result.returncode == 0, result.stderr
    text = results.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "earlier" not in text
    assert text.count("<!-- begin speed -->") == text.count("<!-- end speed -->") == 1
    for what in (
        "training of the GAN, full resolution, batch 16 normal + 12 abnormal: images/s",
        "share of the peak",
        "peak memory",
    ):
        assert what in text
    share = float(re.search(r"share of the peak \| (\d+)%", text).group(1))
    assert 0 < share <= 120
