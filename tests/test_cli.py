"""--config and --config.KEY on the command line: any order, names of files, refusals."""

import json
import subprocess
import sys

import pytest

from helpers.processes import ENVIRONMENT
from semi_anogan import cli


def python(arguments, cwd) -> subprocess.CompletedProcess:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)


def test_arguments_are_arranged_with_the_file_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").touch()
    arguments = [
        "--config.batches.flips=hv",
        "--workdir",
        "w",
        "--config=own.py",
        "--config.objective.alpha=1",
    ]
    expected = [
        "--config=own.py",
        "--config.batches.flips=hv",
        "--workdir",
        "w",
        "--config.objective.alpha=1",
    ]
    assert cli.arranged(["train", *arguments]) == ["train", *expected]
    apart = ["--config.parts.memory", "5", "--config", "own.py"]
    assert cli.arranged(["train", *apart]) == ["train", "--config=own.py", "--config.parts.memory", "5"]
    assert cli.arranged(["train", "--", "--config=own.py"]) == ["train", "--", "--config=own.py"]
    assert cli.arranged(["train", "--config"]) == ["train", "--config"]  # absl says what is missing
    assert cli.arranged([]) == []


@pytest.mark.parametrize(
    "arguments, name",
    [
        ([], "surface"),
        (["--config.seed=1"], "surface"),
        (["--config.data.size=32"], "surface"),
        (["--config.data.root=parts"], "folder"),
        (["--config.data.root", "parts"], "folder"),
        (["--config.data.path=parts.csv"], "folder"),
        (["--config.data.name=mnist", "--config.data.path=mnist.npz"], "mnist"),
        (["--config.data.name=surface"], "surface"),
        (["--config.data.name", "manifest"], "folder"),
        (["--config.data.name=tfds"], "folder"),
    ],
)
def test_without_a_file_the_data_say_which_configuration_is_taken(arguments, name):
    assert cli.config_for(["train", *arguments]) == str(cli.config_folder() / f"{name}.py")


@pytest.mark.parametrize(
    "arguments, name, taken",
    [
        (["--config.data.root=x"], "folder", "folder"),
        (["--config.data.path=x.csv", "--config.data.root=x"], "manifest", "folder"),
        (["--config.data.path=x.npz", "--config.data.name=mnist"], "mnist", "mnist"),
        ([], "surface", ""),
    ],
)
def test_the_configuration_that_is_taken_is_told(arguments, name, taken, tmp_path):
    code = (
        f"import sys; sys.argv = ['x', *{arguments}]\n"
        "from semi_anogan import cli\n"
        "flag = cli.define_config('text')\n"
        "from absl import flags; flags.FLAGS(cli.arranged(sys.argv))\n"
        "config = cli.config_of(flag); print(config.data.name, config.data.size is None)"
    )
    told = (
        f"note: no --config is given; taking configs/{taken}.py, as --config.data asks for\n" if taken else ""
    )
    assert python(["-c", code], tmp_path).stdout == f"{told}{name} {name != 'surface'}\n"


@pytest.mark.parametrize(
    "path", ["folder", "folder.py", "configs/folder.py", "./configs/folder.py", "configs/folder"]
)
def test_an_installed_configuration_is_found_by_its_name(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    installed = str(cli.config_folder() / "folder.py")
    assert cli.arranged(["train", f"--config={path}"], told=True) == ["train", f"--config={installed}"]
    assert capsys.readouterr().out == f"note: {path} is no file here; taking the installed {installed}\n"
    assert cli.arranged(["train", f"--config={path}"])[1] == f"--config={installed}"
    assert capsys.readouterr().out == ""  # told once only


@pytest.mark.parametrize(
    "path",
    [
        "my/other/folder.py",
        "configs/old/folder.py",
        "/configs/folder.py",
        "folder.json",
        "nowhere",
        "__init__",
    ],
)
def test_another_path_is_left_as_it_is(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.arranged(["train", f"--config={path}"], told=True) == ["train", f"--config={path}"]
    assert capsys.readouterr().out == ""


def test_a_file_that_is_there_comes_before_the_installed_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "folder.py").touch()
    assert cli.arranged(["train", "--config=configs/folder.py"], told=True)[1] == "--config=configs/folder.py"
    assert capsys.readouterr().out == ""


# Whole commands, which end early

SHOWN = """
import sys
from semi_anogan import cli
config = cli.define_config("shown")
cli.run(lambda argv: print(cli.config_of(config).to_json()))
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--config=own.py", "--config.data.size=16", "--config.batches.flips=v", "--config.parts.memory=7"],
        ["--config.data.size=16", "--config.batches.flips=v", "--config.parts.memory=7", "--config=own.py"],
        [
            "--config.batches.flips",
            "v",
            "--config",
            "own.py",
            "--config.data.size=16",
            "-config.parts.memory=7",
        ],
    ],
)
def test_the_order_of_arguments_changes_nothing(arguments, tmp_path):
    """own.py says another value for one of the three keys, and one of its own."""
    (tmp_path / "own.py").write_text(
        "from semi_anogan.config import default_config\n\n\n"
        "def get_config():\n"
        "    config = default_config()\n"
        "    config.batches.flips = 'h'\n"
        "    config.score.batch_size = 5\n"
        "    return config\n"
    )
    done = python(["-c", SHOWN, *arguments], tmp_path)
    assert done.returncode == 0, done.stderr
    config = json.loads(done.stdout)
    assert (config["batches"]["flips"], config["data"]["size"], config["parts"]["memory"]) == ("v", 16, 7)
    assert config["score"]["batch_size"] == 5 and config["objective"]["alpha"] == 0.5


@pytest.mark.parametrize("name", ["configs/folder.py", "folder"])
def test_a_command_takes_the_installed_file_and_says_so(name, tmp_path):
    arguments = ["--config.data.root=missing", f"--config={name}", "--workdir=w"]
    done = python(["-m", "semi_anogan.train", *arguments], tmp_path)
    assert done.returncode == 1 and done.stderr == "error: data.root: 'missing' is not a folder\n"
    installed = cli.config_folder() / "folder.py"
    assert done.stdout == f"note: {name} is no file here; taking the installed {installed}\n"


@pytest.mark.parametrize("path", ["configs/nowhere.py", "my/other/folder.py", "__init__"])
@pytest.mark.parametrize("others", [[], ["--config.data.root=x"]])
def test_a_config_file_that_is_nowhere_is_one_line(path, others, tmp_path):
    done = python(["-m", "semi_anogan.train", *others, f"--config={path}"], tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == (
        f"error: --config: {path}: no such file here, nor a configuration that is installed; "
        "installed are caltech256, elpv, folder, gpu, mnist, smoke, surface\n"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        ("--config.batches.flips=x", 'batches.flips must be made of the letters "h", "v" and "r", got \'x\''),
        ("--config.parts.memory=-1", "parts.memory must be at least 0, got -1"),
    ],
)
def test_a_value_out_of_its_range_is_one_line(flag, told, tmp_path):
    done = python(["-m", "semi_anogan.train", flag, "--workdir=w"], tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"error: {told}\n")
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("data.flisp", "batches.flips"),
        ("features.memroy", "parts.memory"),
        ("batches.tile", "images.tile"),
    ],
)
def test_an_unknown_key_is_one_line_that_names_it_and_the_nearest(key, nearest, tmp_path):
    done = python(["-m", "semi_anogan.train", f"--config.{key}=1"], tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    told = "there is no such key of the configuration; the nearest is"
    assert done.stderr == f"error: --config.{key}: {told} {nearest}\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("others", [[], ["--config.data.size=16"]])
def test_an_unknown_key_in_the_file_is_one_line_too(others, tmp_path):
    (tmp_path / "own.py").write_text(
        "from semi_anogan.config import default_config\n\n\n"
        "def get_config():\n"
        "    config = default_config()\n"
        "    config.data.flips = 'h'\n"
        "    return config\n"
    )
    done = python(["-m", "semi_anogan.train", "--config=own.py", *others], tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: --config: flips: there is no such key of the configuration; the nearest is batches.flips\n"
    )
