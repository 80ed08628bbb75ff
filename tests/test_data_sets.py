"""One configuration on a list of data sets: the list, the cases, and two little sets from end to end."""

import csv
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from helpers.processes import ENVIRONMENT, ROOT
from helpers.tiny_runs import TINY
from semi_anogan.benchmarks.suites import data_sets, suite, tables
from semi_anogan.benchmarks.suites.data_sets import DataSet
from semi_anogan.benchmarks.suites.protocols import Selection
from semi_anogan.errors import DataError, RunError


def write_set(folder, normal=2, known=0, tested=1, masks=False, seed=0):
    """A manifest `list.csv` of noise of 16 x 16, abnormal ones with a white square, and its images."""
    rng, rows = np.random.default_rng(seed), []
    (folder / "img").mkdir(parents=True)
    groups = (
        ("train", "normal", normal),
        ("train", "abnormal", known),
        ("test", "normal", tested),
        ("test", "abnormal", tested),
    )
    for split, label, count in groups:
        for i in range(count):
            values = rng.integers(80, 120, (16, 16)).astype(np.uint8)
            mask = np.zeros((16, 16), np.uint8)
            if label == "abnormal":
                mask[4:9, 5:11] = 255
            name = f"{split}_{label}_{i}.png"
            Image.fromarray(np.maximum(values, mask)).save(folder / "img" / name)
            masked = masks and label == "abnormal"
            if masked:
                Image.fromarray(mask).save(folder / "img" / f"mask_{name}")
            rows.append([name, split, label, f"mask_{name}" if masked else ""])
    with open(folder / "list.csv", "w", newline="") as file:
        csv.writer(file).writerows([["path", "split", "label", "mask"], *rows])


def write_list(folder, *rows):
    path = folder / "sets.csv"
    path.write_text("\n".join(["name,path,root", *rows, ""]))
    return path


def test_a_list_is_read(tmp_path, monkeypatch):
    """Paths count from the list's folder, wherever the command runs; a root left out is the manifest's."""
    write_set(tmp_path / "a", normal=3, known=2)
    write_set(tmp_path / "b")
    (tmp_path / "b/list.csv").rename(tmp_path / "b/img/list.csv")
    path = write_list(tmp_path, "Set A,a/list.csv,a/img", "", f"b,{tmp_path}/b/img/list.csv,")
    monkeypatch.chdir(tmp_path)
    for given in (path, "sets.csv"):
        assert data_sets.read(given) == [
            DataSet("Set A", str(tmp_path / "a/list.csv"), str(tmp_path / "a/img"), 3, 2),
            DataSet("b", str(tmp_path / "b/img/list.csv"), str(tmp_path / "b/img"), 2, 0),
        ]


@pytest.mark.parametrize(
    "rows, words",
    [
        (["a,a/list.csv,a/img", "A,a/list.csv,a/img"], "row 3: name 'A' is that of 'a' again"),
        ([",a/list.csv,a/img"], "row 2: name '' must have a letter"),
        (["a: b,a/list.csv,a/img"], "row 2: name 'a: b' must have a letter"),
        (["a,,a/img"], "row 2: the path is empty"),
        (["a,none.csv,"], "row 2: .*none.csv: cannot be read"),
        (["a,a/list.csv,nowhere"], "row 2: data.root: .*nowhere' is not a folder"),
        (["a,a/list.csv,"], "row 2: .*list.csv: 4 files do not exist under"),
        ([], "no rows"),
    ],
)
def test_errors_name_the_list_and_the_row(tmp_path, rows, words):
    write_set(tmp_path / "a")
    path = write_list(tmp_path, *rows)
    with pytest.raises(DataError, match=words) as error:
        data_sets.read(path)
    assert str(error.value).startswith(str(path))


def test_a_list_without_columns_or_test_images(tmp_path):
    (tmp_path / "sets.csv").write_text("name\na\n")
    with pytest.raises(DataError, match="sets.csv: row 1: no column path"):
        data_sets.read(tmp_path / "sets.csv")
    write_set(tmp_path / "a", tested=0)
    with pytest.raises(DataError, match="row 2: .*list.csv: has no test images"):
        data_sets.read(write_list(tmp_path, "a,a/list.csv,a/img"))


SETS = (
    DataSet("many", "m.csv", "m", 90, 80),
    DataSet("some", "s.csv", "s", 90, 25),
    DataSet("no", "n.csv", "n", 9, 0),
)


def test_cases():
    chosen, told = data_sets.suite_on(SETS, "folder")
    assert {name: case["data.abnormal_count"] for name, case in chosen.cases.items()} == {
        **{"many: none known": 0, "many: 10 known": 10, "many: 64 known": 64},
        **{"some: none known": 0, "some: 10 known": 10, "some: 25 known": 25},
        "no: none known": 0,
    }
    settings = {"data.name": "manifest", "data.path": "s.csv", "data.root": "s"}
    assert chosen.cases["some: 25 known"] == {**settings, "data.abnormal_count": 25}
    assert told == [
        "some: 25 known abnormal images instead of 64",
        "no: no known abnormal images instead of 10 and 64",
    ]
    assert "some: 25 known abnormal images instead of 64; no: no known" in chosen.note
    assert not any("," in name for name in chosen.cases)  # --cases=A,B names them
    # Nothing but the data's settings and the seed.
    planned = suite.plan(chosen, "c.py", {}, Selection(cases=("some: 10 known",)), "runs", 500)
    assert [job.name for job in planned.jobs[:2]] == [
        "some: 10 known, baselines, seed 0",
        "some: 10 known, full, seed 0",
    ]
    assert len(planned.jobs) == 6 and planned.jobs[1].arguments == (
        *("--config=c.py", "--config.data.name=manifest", "--config.data.path=s.csv", "--config.data.root=s"),
        *("--config.data.abnormal_count=10", "--config.seed=0"),
    )
    with pytest.raises(RunError, match="--config.data.path is set by the suite itself"):
        suite.plan(chosen, "c.py", {"data.path": "x.csv"}, Selection(), "runs", 500)


def test_cases_with_hidden_defects():
    """A tenth of 90 + 10 images: 70 known ones are left of 80, and 15 of 25; the set without any is out."""
    chosen, told = data_sets.suite_on(SETS, "folder", (0.0, 0.1))
    hidden = {name: case for name, case in chosen.cases.items() if "data.contamination" in case}
    assert {name: case["data.abnormal_count"] for name, case in hidden.items()} == {
        "many: none known and 10 % hidden": 0,
        "many: 10 known and 10 % hidden": 10,
        "many: 64 known and 10 % hidden": 64,
        "some: none known and 10 % hidden": 0,
        "some: 10 known and 10 % hidden": 10,
        "some: 15 known and 10 % hidden": 15,
    }
    assert len(chosen.cases) == 13 and {case["data.contamination"] for case in hidden.values()} == {0.1}
    assert told[2:] == [
        "some and 10 % hidden: 15 known abnormal images instead of 64",
        "no: left out with 10 % hidden, which takes 1 of the known abnormal images, but there are 0",
    ]
    with pytest.raises(RunError, match="no: left out with 10 % hidden"):
        data_sets.suite_on(SETS[2:], "folder", (0.1,))
    with pytest.raises(RunError, match="contaminations: 1.0 is not in"):
        data_sets.suite_on(SETS, "folder", (1.0,))


def test_one_table_of_all_cases(tmp_path):
    """Charts three beside each other: 4 cases take two lines."""
    chosen, _ = data_sets.suite_on(SETS[:1], "folder", (0.0, 0.1))
    rows = {
        name: [tables.Row("memory", "ours", {"image_auroc": [0.5 + 0.1 * i]}, 1, 1)]
        for i, name in enumerate(list(chosen.cases)[:4])
    }
    text = suite.Outcome(chosen, (0,), rows, {}).draw_and_tell(tmp_path / "figure.png")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert lines[0] == "| case | method | image AUROC |" and len(lines) == 2 + 4
    assert lines[3] == "| many: 10 known | memory | 0.600 |"
    with Image.open(tmp_path / "figure.png") as figure:
        assert figure.size == (int((1.6 + 3 * 3.6) * 130), int(2 * 1.5 * 130))


@pytest.fixture
def benchmark(tmp_path):
    """Runs the command in a folder of two sets, `a` with masks and three known defects, `b` with none."""
    write_set(tmp_path / "a", normal=24, known=3, tested=4, masks=True)
    write_set(tmp_path / "b", normal=24, tested=4, seed=1)
    write_list(tmp_path, "a,a/list.csv,a/img", "b,b/list.csv,b/img")

    def run(*arguments):
        command = [sys.executable, "-m", "semi_anogan.benchmark", "--suite=transfer", *arguments]
        path = {"PYTHONPATH": str(ROOT)}
        environment = {**ENVIRONMENT, **path}
        return subprocess.run(
            command, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900
        )

    return run


def test_the_plan_is_told_and_nothing_is_run(benchmark, tmp_path):
    before = sorted(tmp_path.iterdir())
    done = benchmark("--data=sets.csv", "--fast", "--plan")
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and sorted(tmp_path.iterdir()) == before, done.stderr
    assert lines[:2] == [
        "note: a: 3 known abnormal images instead of 10 and 64",
        "note: b: no known abnormal images instead of 10 and 64",
    ]
    assert lines[2] == "6 runs, 0 of them finished"
    assert (
        lines[3]
        == "a: none known, baselines, seed 0: to run, runs/suite-transfer/a-none-known/baselines/seed0"
    )
    assert "configs/folder.py --config.data.name=manifest " in lines[4]
    for arguments, words in (
        (["--data=none.csv"], "error: none.csv: cannot be read"),
        (["--suite=mnist", "--data=sets.csv"], "error: --data=sets.csv: only --suite=transfer takes a list"),
    ):
        done = benchmark(*arguments, "--plan")
        assert done.returncode == 1 and words in done.stderr


@pytest.mark.slow
def test_two_little_sets(benchmark, tmp_path):
    """Without pretrained features, so that it takes less; there is then no memory to show alone."""
    settings = {**TINY, "features.name": "", "schedule.total_kimages": 0.1, "schedule.start_resolution": 8}
    arguments = (
        *("--data=sets.csv", "--fast", "--cases=a: 3 known,b: none known"),
        "--variants=whole score,memory,PCA reconstruction",
        *(f"--config.{key}={value}" for key, value in settings.items()),
    )
    done = benchmark(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / "docs/results/transfer.md").read_text()
    header, _, *lines = [
        [c.strip() for c in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    found = {tuple(line[:2]): dict(zip(header, line, strict=True)) for line in lines}
    names = ("PCA reconstruction", "whole score", "memory (0 of 1 runs)")
    assert list(found) == [(case, name) for case in ("a: 3 known", "b: none known") for name in names]
    assert found["a: 3 known", "PCA reconstruction"]["image AUROC"] == "1.000"  # squares in grey noise
    # Thresholds there are for whole scores, masks only of the first set.
    with_masks = {key for key, cells in found.items() if cells["AUPRO"] != "–"}
    assert with_masks == {("a: 3 known", "whole score")}
    with_recall = {key for key, cells in found.items() if cells["recall at threshold"] != "–"}
    assert with_recall == {(case, "whole score") for case in ("a: 3 known", "b: none known")}
    assert (tmp_path / "docs/results/transfer_suite.png").exists()
    again = benchmark(*arguments)
    assert "4 of 4 runs are there already" in again.stdout and again.returncode == 0
