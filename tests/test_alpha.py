"""alpha = 1 against alpha < 1: a function that writes the metrics replaces the trainings."""

import json

import pytest
from PIL import Image

from semi_anogan.benchmarks import alpha
from semi_anogan.config import default_config
from semi_anogan.errors import RunError
from semi_anogan.runs import folder as run_folder


@pytest.fixture
def launched(monkeypatch):
    """Replaces the processes; the list of the commands given. An AUROC is 0.9, with seed 1 0.92."""
    commands = []

    def launch(command, folder, threads):
        assert threads == 1
        commands.append(command)
        auroc = 0.92 if "--config.seed=1" in command else 0.9
        components = {"residual": auroc - 0.3, "discriminator": 0.5}
        values = {"image_auroc": auroc, "components": components, "train_seconds": 12.3}
        run_folder.claim(folder, default_config())
        (folder / "metrics.json").write_text(json.dumps(values))
        return 0

    monkeypatch.setattr(alpha, "launch", launch)
    return commands


def test_rows_are_means_over_the_seeds(tmp_path, launched):
    arguments = (tmp_path / "runs", tmp_path / "docs", ["--config=c.py"], [1.0, 0.5], [0.0, 0.05], [0, 1], 1)
    text = alpha.run(*arguments)
    assert text.startswith("Settings: `--config=c.py`, seeds 0, 1; image AUROC on the test images, mean ± ")
    assert "; 12 s of training per run with one thread. Machine: " in text
    rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
    figures = "0.610 ± 0.010 | 0.910 ± 0.010 | 0.500 ± 0.000 |"
    assert rows == [f"| {c} | {a} | {figures}" for c in ("0%", "5%") for a in ("1", "0.5")]
    assert len(launched) == 8
    folder = tmp_path / "runs/alpha0.5_contamination0.05_seed1"
    settings = ["objective.alpha=0.5", "data.contamination=0.05", "seed=1", "data.seed=1"]
    expected = ["--config=c.py", *(f"--config.{s}" for s in settings), f"--workdir={folder}"]
    assert expected in [command[3:] for command in launched]
    assert Image.open(tmp_path / "docs/alpha.png").width > 500 and "![alpha](alpha.png)" in text
    alpha.run(*arguments)
    assert len(launched) == 8  # what is finished is not run again


def test_a_failing_training_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(alpha, "launch", lambda command, folder, threads: 3)
    with pytest.raises(RunError, match=r"seed0/output.txt: the training ended with exit code 3"):
        alpha.run(tmp_path, tmp_path, [], [1.0], [0.0], [0])


def test_a_run_of_another_format_is_refused_before_any_is_trained(tmp_path, launched):
    folder = tmp_path / "alpha0.5_contamination0_seed1"
    folder.mkdir()
    (folder / "config.json").write_text("{}")  # as the first version began one, without a number
    with pytest.raises(RunError) as error:
        alpha.run(tmp_path, tmp_path, [], [1.0, 0.5], [0.0], [0, 1], 1)
    assert str(error.value) == (
        f"{folder}/config.json: format 1 is read by semi_anogan 0.1; this is 0.2, which reads format 2: "
        "give another --folder, or install that version"
    )
    assert launched == []
