"""The protocols, their runs and tables; a function that writes their files replaces the runs themselves."""

import csv
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from semi_anogan.benchmarks.baselines import comparison
from semi_anogan.benchmarks.suites import jobs as suite_jobs
from semi_anogan.benchmarks.suites import suite
from semi_anogan.benchmarks.suites import tables as suite_tables
from semi_anogan.benchmarks.suites.protocols import (
    ABLATIONS,
    GENERATOR,
    ON_ANY_DATA,
    SUITES,
    VARIANTS,
    Selection,
    suite_of,
)
from semi_anogan.config import default_config
from semi_anogan.errors import RunError
from semi_anogan.runs import folder as run_folder

CONFIGS = pathlib.Path(__file__).parent.parent / "configs"
COMPONENTS = ["residual", "feature_distance", "feature_residual", "discriminator"]
METRICS = {
    "image_auroc": 0.9,
    "image_f1_max": 0.8,
    "image_false_alarm_rate": 0.02,
    "image_recall": 0.7,
    "pixel_auroc": None,
    "train_seconds": 100.4,
    "search_images_per_second": 12.34,
}


def write_config(folder, **changes):
    config = default_config()
    config.update_from_flattened_dict(changes)
    (folder / "config.json").unlink(missing_ok=True)
    run_folder.claim(folder, config)


def write_run(folder, **changes):
    """A finished run of four images, normal, normal, abnormal, abnormal.

    Their residuals are 1, 2, 3, 1.5, their feature distances 0, 0, 0, 10.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_config(folder)
    with open(folder / "scores.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "truth", "score", "label", *COMPONENTS])
        for truth, *losses in (("normal", 1, 0), ("normal", 2, 0), ("abnormal", 3, 0), ("abnormal", 1.5, 10)):
            writer.writerow(["x.png", truth, 0, "normal", *losses, 0, 0])
    (folder / "metrics.json").write_text(json.dumps({**METRICS, **changes}))


@pytest.fixture
def launched(monkeypatch):
    """Replaces the processes: keeps the `commands` given; those that contain a text of `failing` fail."""
    commands = []

    def launch(command, folder, threads):
        commands.append(command)
        (folder / "output.txt").write_text("".join(f"line {i}\r" for i in range(30)) + "\nerror: by hand\n")
        if any(text in " ".join(command) for text in launch.failing):
            return 1
        seed = next(int(a.split("=")[1]) for a in command if a.startswith("--config.seed="))
        if "--suite=baselines" in command:
            methods = next(a for a in command if a.startswith("--methods=")).split("=", 1)[1].split(",")
            none_known = "--config.data.abnormal_count=0" in command
            values = {"image_auroc": 0.5 + 0.1 * seed, "image_f1_max": 0.6, "seconds": 7.0}
            skipped = [m for m in methods if comparison.ALL[m].supervised and none_known]
            results = {m: None if m in skipped else values for m in methods}
            (folder / comparison.FILE).write_text(json.dumps({"settings": {}, "results": results}))
        else:
            write_run(folder, image_auroc=0.9 + 0.02 * seed)
        return 0

    launch.failing = []
    monkeypatch.setattr(suite_jobs, "launch", launch)
    launch.commands = commands
    return launch


def run(name, folder, given=None, config=None, **selection):
    """(Markdown, number of failures) of a suite whose figure goes to docs/figure.png."""
    config = config or CONFIGS / f"{name}.py"
    chosen = suite_of(name, pathlib.Path(config).stem)
    planned = suite.plan(chosen, str(config), given or {}, Selection(**selection), folder / "runs")
    done = suite.run(planned)
    return done.draw_and_tell(folder / "docs/figure.png"), len(done.failures)


def rows(text):
    """{case: {method: cells}} of a suite's Markdown."""
    cases = {}
    for block in text.split("### ")[1:]:
        lines = [
            [c.strip() for c in line.strip("|").split("|")]
            for line in block.splitlines()
            if line.startswith("|")
        ]
        cases[block.splitlines()[0]] = {line[0]: dict(zip(lines[0], line, strict=True)) for line in lines[2:]}
    return cases


def flags_of(jobs):
    """{job's name: set of its --config flags without the file}."""
    return {job.name: {a for a in job.arguments if not a.startswith("--config=")} for job in jobs}


def planned(name, given=None, **selection):
    chosen, methods, seeds = Selection(**selection).of(SUITES[name], comparison.METHODS)
    return suite_jobs.plan(chosen, methods, seeds, "runs", "c.py", given or {}, 500)


def test_every_setting_is_a_key_of_the_configuration():
    known = default_config()
    for protocol in (*SUITES.values(), *(suite_of(name, "elpv") for name in ON_ANY_DATA)):
        settings = [*protocol.cases.values(), *protocol.parts.values()]
        settings += [variant.settings for variant in protocol.variants.values()]
        for key in {key for setting in settings for key in setting} | {
            *protocol.seed_keys,
            *protocol.required,
        }:
            section, _, name = key.partition(".")
            assert section in known and (not name or name in known[section]), key


def test_variants_of_a_folder_are_the_same_run():
    for variants in (VARIANTS, ABLATIONS):
        for variant in variants.values():
            assert all(
                v.settings == variant.settings for v in variants.values() if v.folder == variant.folder
            )


def test_mnist_protocol():
    jobs = planned("mnist", {"data.path": "m.npz"})
    # 10 digits x 3 seeds x (baselines and alpha 1, mixture, features, full; without the mixture where none
    # are known).
    assert len(jobs) == 10 * 3 * (5 + 4) == len(flags_of(jobs))
    common = {
        "--config.data.path=m.npz",
        "--config.data.normal_classes=3",
        "--config.data.contamination=0.05",
    }
    assert flags_of(jobs)["64 known, digit 3, alpha1, seed 2"] == common | {
        "--config.data.abnormal_count=64",
        "--config.seed=2",
        "--config.objective.alpha=1.0",
        "--config.features.name=",
        "--config.objective.synthetic_weight=0.0",
        "--config.score.components=",
    }
    assert flags_of(jobs)["none known, digit 3, full, seed 0"] == common | {
        "--config.data.abnormal_count=0",
        "--config.seed=0",
    }
    assert "none known, digit 3, mixture, seed 0" not in flags_of(jobs)
    job = next(job for job in jobs if job.name == "none known, digit 3, full, seed 0")
    assert job.folder == pathlib.Path("runs/none-known/digit-3/full/seed0")
    assert job.command[1:3] == ["-m", "semi_anogan.train"] and job.command[-1] == f"--workdir={job.folder}"


def test_fast_and_chosen_protocols():
    fast = planned("mnist", fast=True)
    assert {(job.part, job.seed) for job in fast} == {("digit 0", 0), ("digit 4", 0), ("digit 8", 0)}
    chosen = planned(
        "mnist", fast=True, cases=["none known", "digit 3"], variants=["plain AnoGAN", "alpha = 1"]
    )
    assert [job.name for job in chosen] == ["none known, digit 3, alpha1, seed 0"]
    seeds = planned("elpv", seeds=(4,), variants=["full", "small CNN"], cases=["10 known"])
    assert [job.name for job in seeds] == ["10 known, baselines, seed 4", "10 known, full, seed 4"]
    assert seeds[0].methods == ("small CNN",)
    assert seeds[0].command[-3:] == [
        "--methods=small CNN",
        "--baseline_steps=500",
        f"--folder={seeds[0].folder}",
    ]


def test_elpv_and_surface_protocols():
    assert {job.case for job in planned("elpv")} == {"none known", "10 known", "128 known"}
    for job in planned("elpv"):
        assert ("--config.batches.synthetic_kinds=crack,shade" in job.arguments) == (job.case == "none known")
    assert len(planned("elpv")) == 3 * (4 + 5 + 5)
    flags = flags_of(planned("surface"))
    assert len(flags) == 15
    assert flags["surfaces, full, seed 2"] == {"--config.seed=2", "--config.data.seed=2"}


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("mnist", {"variants": ["ful"]}, "variants: 'ful' is not one of plain AnoGAN"),
        ("mnist", {"cases": ["digit 11"]}, "cases: 'digit 11' is not one of 64 known, none known, digit 0"),
        ("mnist", {"seeds": (1, 1)}, "seeds must be different numbers of at least 0, got 1, 1"),
        (
            "mnist",
            {"given": {"data.normal_classes": 3}},
            "--config.data.normal_classes is set by the suite itself",
        ),
        ("elpv", {"given": {"seed": 3}}, "--config.seed is set by the suite itself"),
        ("caltech256", {}, "needs --config.data.root, the folder that holds 256_ObjectCategories"),
    ],
)
def test_wrong_choices_are_refused_before_anything_runs(name, options, words, tmp_path, launched):
    with pytest.raises(RunError, match=words):
        run(name, tmp_path, **options)
    assert launched.commands == [] and not list(tmp_path.iterdir())


def test_tables_show_means_over_parts_and_seeds(tmp_path, launched):
    text, failed = run(
        "mnist", tmp_path, seeds=(0, 1), cases=["digit 0", "digit 4", "64 known", "none known"]
    )
    cases = rows(text)
    assert failed == 0 and list(cases) == ["64 known", "none known"]
    known = cases["64 known"]
    assert list(known) == [*comparison.METHODS, *VARIANTS]
    full = known["full"]
    # 0.90 and 0.92 of the seeds: 0.91 ± 0.01 (both digits are alike); seconds and speed without a deviation.
    assert (
        full["image AUROC"] == "0.910 ± 0.010"
        and full["training, s"] == "100"
        and full["test images/s"] == "12.3"
    )
    assert full["recall at threshold"] == "0.700 ± 0.000" and "pixel AUROC" not in full
    # 0.9 residual + 0.1 distance: 0.9, 1.8 (normal), 2.7, 2.35 (abnormal). It has no threshold.
    plain = known["plain AnoGAN"]
    assert plain["image AUROC"] == plain["F1 max"] == "1.000 ± 0.000" and plain["recall at threshold"] == "–"
    assert known["alpha = 1"]["image AUROC"] == "0.910 ± 0.010"
    assert "learns from the test images" not in full and "CoP" not in known
    assert known["small CNN"]["image AUROC"] == "0.550 ± 0.050" and known["small CNN"]["training, s"] == "7"
    supervised = {name for name, method in comparison.METHODS.items() if method.supervised}
    assert set(known) - set(cases["none known"]) == supervised | {"alpha < 1"}
    assert (tmp_path / "docs/figure.png").stat().st_size > 1000 and "![mnist](figure.png)" in text
    assert "mean over digit 0, digit 4. Seeds 0, 1:" in text


def test_search_loss_of_a_run(tmp_path):
    write_run(tmp_path)
    assert suite_tables.of_run(tmp_path)["image_auroc"] == 0.9
    with_distance = suite_tables.of_run(tmp_path, "search_loss")
    assert with_distance == {**with_distance, "image_auroc": 1.0, "train_seconds": 100.4}
    # lambda = 0: the residual alone, 1, 2 | 3, 1.5, has three of four pairs in order.
    write_config(tmp_path, **{"search.feature_weight": 0.0})
    assert suite_tables.of_run(tmp_path, "search_loss")["image_auroc"] == 0.75
    # A component alone: the distances 0, 0 | 0, 10 order one pair of two, and one is even.
    assert suite_tables.of_run(tmp_path, "feature_distance")["image_auroc"] == 0.75
    assert "image_recall" not in suite_tables.of_run(tmp_path, "residual")
    (tmp_path / "scores.csv").write_text("path,truth,score,label\nx,normal,0,normal\n")
    assert suite_tables.of_run(tmp_path, "search_loss") == suite_tables.of_run(tmp_path, "residual") == {}
    assert suite_tables.of_run(tmp_path / "none") == {}


def test_finished_runs_are_not_run_again(tmp_path, launched, capsys):
    options = {"seeds": (0,), "cases": ["10 known"]}
    first, _ = run("elpv", tmp_path, **options)
    assert len(launched.commands) == 5
    output = capsys.readouterr().out.splitlines()
    assert output[0].startswith("[1/5] 10 known, baselines, seed 0: done; ") and output[0].endswith(" left")
    assert output[1].startswith("[2/5] 10 known, alpha1, seed 0: AUROC 0.900, 100 s of training; ")
    (tmp_path / "runs/10-known/full/seed0/metrics.json").unlink()
    again, _ = run("elpv", tmp_path, **options)
    assert len(launched.commands) == 6 and "full/seed0" in launched.commands[-1][-1] and again == first
    assert "4 of 5 runs are there already" in capsys.readouterr().out


def test_finished_runs_of_other_settings_are_not_taken(tmp_path, launched):
    run("surface", tmp_path, fast=True, given={"schedule.total_kimages": 1.0, "data.size": 32})
    run("surface", tmp_path, fast=True, given={"data.size": 32, "schedule.total_kimages": 1.0})
    count = len(launched.commands)
    with pytest.raises(
        RunError, match="other settings .*total_kimages=1.0; --config.schedule.total_kimages=2.0"
    ):
        run("surface", tmp_path, fast=True, given={"schedule.total_kimages": 2.0, "data.size": 32})
    assert len(launched.commands) == count
    # What failed may be run with other settings.
    launched.failing = ["total_kimages=3.0"]
    for kimages in (3.0, 4.0):
        other = {"schedule.total_kimages": kimages}
        if kimages == 3.0:
            with pytest.raises(RunError, match="no run succeeded"):
                run("surface", tmp_path / "other", fast=True, given=other)
        else:
            assert run("surface", tmp_path / "other", fast=True, given=other)[1] == 0


def test_a_run_of_another_format_is_refused_before_any_is_run(tmp_path, launched):
    selection = {"seeds": (0,), "cases": ["10 known"]}
    folder = tmp_path / "runs/10-known/full/seed0"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")  # begun with the first version, which wrote no number
    with pytest.raises(RunError) as error:
        run("elpv", tmp_path, **selection)
    assert str(error.value) == (
        f"{folder}/config.json: format 1 is read by semi_anogan 0.1; this is 0.2, which reads format 2: "
        "give another --folder, or install that version"
    )
    assert launched.commands == [] and [p.name for p in folder.iterdir()] == ["config.json"]


def test_what_is_trained_alike_takes_over_the_weights(tmp_path, launched):
    """The row without the memory differs from the full method in the detector alone."""
    selection = Selection(seeds=(0,), variants=("without memory", "full", "without alpha"))
    chosen, methods, seeds = selection.of(suite_of("ablation", "surface"), {})
    jobs = suite_jobs.plan(chosen, methods, seeds, tmp_path, "surface.py", {}, 0)
    assert [job.row for job in jobs] == ["full", "no_alpha", "no_memory"]
    full, _, without = jobs
    assert without.trained == full.folder and full.trained is None
    (full.folder / "checkpoints").mkdir(parents=True)
    (full.folder / "checkpoints/step_00000001.npz").write_bytes(b"weights")
    suite_jobs.run_all(jobs)
    assert (without.folder / "checkpoints/step_00000001.npz").read_bytes() == b"weights"
    assert (without.folder / "config.json").read_bytes() == (full.folder / "config.json").read_bytes()
    assert not (jobs[1].folder / "checkpoints").exists()


def test_a_failing_run_is_told_and_the_others_are_kept(tmp_path, launched, capsys):
    launched.failing = ["full/seed1", "baselines/seed0"]
    text, failed = run("surface", tmp_path, seeds=(0, 1))
    found, error = rows(text)["surfaces"], capsys.readouterr().err
    assert failed == 2 and "Failed and left out: surfaces, " in text and "surfaces, full, seed 1" in text
    assert found["full (1 of 2 runs)"]["image AUROC"] == "0.900"
    assert found["with features"]["image AUROC"] == "0.910 ± 0.010"
    assert found["small CNN (1 of 2 runs)"]["image AUROC"] == "0.600"
    tail = error[error.index("failed: surfaces, full, seed 1") :]
    assert "line 29\nerror: by hand\nexit code 1\n" in tail and "line 15\n" not in tail
    launched.failing = []
    assert run("surface", tmp_path, seeds=(0, 1))[1] == 0 and len(launched.commands) == 12


def test_a_run_without_metrics_has_failed(tmp_path, launched, monkeypatch):
    monkeypatch.setattr(suite_jobs, "launch", lambda command, folder, threads: 0)
    with pytest.raises(RunError, match="no run succeeded"):
        run("surface", tmp_path, fast=True)


def test_parallel_runs_share_the_cores(tmp_path, launched, monkeypatch):
    threads, launch = set(), suite_jobs.launch
    monkeypatch.setattr(suite_jobs.os, "cpu_count", lambda: 8)
    monkeypatch.setattr(suite_jobs, "launch", lambda c, f, count: threads.add(count) or launch(c, f, count))
    arguments = str(CONFIGS / "surface.py"), {}, Selection(fast=True), tmp_path / "runs"
    assert suite.run(suite.plan(SUITES["surface"], *arguments), parallel=4).failures == {}
    assert threads == {2} and len(launched.commands) == 5


def test_ablation(tmp_path, launched):
    text, _ = run(
        "ablation", tmp_path, config=CONFIGS / "elpv.py", given={"data.path": "elpv.csv"}, seeds=(0,)
    )
    assert list(rows(text)["elpv"]) == list(ABLATIONS)
    assert suite.title("ablation", "configs/elpv.py") == "ablation_elpv"
    flags = {command[-1].split("/")[-2]: set(command[4:-1]) for command in launched.commands}
    common, every_component = {"--config.data.path=elpv.csv", "--config.seed=0"}, "--config.score.components="
    assert flags["full"] == common | {every_component}  # configs/elpv.py leaves the search out
    assert flags["no_search"] == common | {
        every_component + "discriminator,patches,memory,likeness,classifier,segmentation"
    }
    assert flags["no_likeness"] == common | {every_component, "--config.parts.likeness=False"}
    assert flags["no_memory"] == common | {every_component, "--config.parts.memory=0"}
    assert suite_of("ablation", "surface").seed_keys == ("seed", "data.seed")


@pytest.mark.parametrize("count", [0, 64])
def test_generator(tmp_path, launched, count):
    """The GAN alone, each component by itself, and searches of other lengths with the same weights."""
    text, failed = run(
        "generator",
        tmp_path,
        config=CONFIGS / "folder.py",
        given={"data.root": "casting", "data.abnormal_count": count},
        seeds=(0,),
        variants=[*GENERATOR, "PCA reconstruction"],
    )
    found = rows(text)["folder"]
    assert not any("," in name for name in GENERATOR)  # --variants=A,B names them
    assert failed == 0 and "PCA reconstruction" in found
    with_alpha_1 = {name for name in GENERATOR if name.startswith("alpha = 1")}
    assert len(with_alpha_1) == 2
    assert set(GENERATOR) - set(found) == (set() if count else with_alpha_1)
    assert found["together"]["image AUROC"] == "0.900" and found["residual"]["image AUROC"] == "0.750"
    flags = {c[-1].split("/")[-2]: set(c[4:-1]) for c in launched.commands if "--suite=baselines" not in c}
    extra = flags["gan_100_steps"] - flags["gan"]
    assert extra == {"--config.search.iterations=100"}
    assert "--config.features.patch_discriminator=False" in flags["gan"]
    assert ("gan_alpha1" in flags) == bool(count)


def test_transfer(tmp_path, launched):
    """The whole score and two of its components are of one training, with no setting but the data's."""
    text, failed = run(
        "transfer",
        tmp_path,
        config=CONFIGS / "folder.py",
        given={"data.root": "casting", "data.abnormal_count": 10},
        seeds=(0,),
        variants=["whole score", "memory", "feature residual"],
    )
    found = rows(text)["folder"]
    assert failed == 0
    assert [name.split(" (")[0] for name in found] == ["whole score", "memory", "feature residual"]
    (command,) = launched.commands
    given = {c for c in command if c.startswith("--config.")}
    assert given == {"--config.data.root=casting", "--config.data.abnormal_count=10", "--config.seed=0"}


@pytest.fixture
def categories(tmp_path):
    """A small tree in the layout of Caltech-256: six categories of 150 images, and clutter."""
    root = tmp_path / "data/256_ObjectCategories"
    for number, name, count in [*((i, f"thing{i}", 150) for i in range(1, 7)), (257, "clutter", 500)]:
        folder = root / f"{number:03d}.{name}"
        folder.mkdir(parents=True)
        for i in range(1, count + 1):
            Image.new("L", (2, 2), i % 256).save(folder / f"{number:03d}_{i:04d}.jpg")
    return root


def test_caltech256(categories, tmp_path, launched):
    from semi_anogan.configs.caltech256 import get_config
    from semi_anogan.runs import build

    text, failed = run("caltech256", tmp_path, given={"data.root": str(categories)}, seeds=(0, 1))
    cases = rows(text)
    assert failed == 0 and list(cases) == [f"{n} inlier categor{'y' if n == 1 else 'ies'}" for n in (1, 3, 5)]
    published = {
        name: cells["F1 max"] for name, cells in cases["3 inlier categories"].items() if "(pub" in name
    }
    assert published == {
        "CoP (published)": "0.718",
        "REAPER (published)": "0.784",
        "LRR (published)": "0.671",
        "DPCP (published)": "0.777",
        "R-graph (published)": "0.880",
        "ALOCC (published)": "0.913",
    }
    assert cases["5 inlier categories"]["CoP (published)"]["image AUROC"] == "–"
    # The paper's methods are run here, and each says whether it sees the test images while it learns.
    single = cases["1 inlier category"]
    assert list(single)[6:] == [*comparison.ALL, "AnoGAN", *VARIANTS]
    column = "learns from the test images"
    subspaces = ["CoP", "REAPER", "LRR", "DPCP", "R-graph"]
    seeing = [name for name, cells in single.items() if cells[column] == "yes"]
    assert seeing == [*(f"{name} (published)" for name in subspaces), *subspaces]
    assert {single[name][column] for name in ("ALOCC (published)", "ALOCC", "5-NN on features", "full")} == {
        "no"
    }
    assert cases["1 inlier category"]["full"]["F1 max"] == "0.800 ± 0.000"
    # The settings of the runs load: as many categories as the case says, others for another seed.
    chosen = {}
    for command in launched.commands:
        config = get_config()
        flags = dict(
            a.removeprefix("--config.").split("=", 1) for a in command if a.startswith("--config.data.")
        )
        config.data.root = flags["data.root"]
        config.data.inlier_count, config.data.seed = int(flags["data.inlier_count"]), int(flags["data.seed"])
        for per_class in (None, 100):
            config.data.images_per_class = per_class
            normal = build.load_data(config)[0].select("train", "normal")
            assert len(normal) == (50 if per_class else 75) * config.data.inlier_count
        chosen[config.data.inlier_count, config.data.seed] = {e.path[:3] for e in normal}
    assert [len(chosen[count, 0]) for count in (1, 3, 5)] == [1, 3, 5] and chosen[3, 0] != chosen[3, 1]


def test_duration():
    seconds = (4.4, 89, 90, 3600, 18300)
    assert [suite_jobs.duration(s) for s in seconds] == ["4 s", "89 s", "2 min", "60 min", "5 h 5 min"]


@pytest.mark.slow
def test_the_command_refuses_and_writes(tmp_path):
    def benchmark(*arguments):
        command = [sys.executable, "-m", "semi_anogan.benchmark", *arguments]
        return subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=120)

    for arguments, words in (
        (["--suite=mnist", "--seeds=a"], "seeds: "),
        (["--suite=caltech256"], "error: this suite needs --config.data.root"),
        (["--suite=imagenet"], "imagenet"),
        (["--suite=review"], "error: --suite=review needs --runs=A,B,..., finished runs"),
        (["--suite=false_alarms", "--runs=r", "--rates=1"], "rates between 0 and 1, got ['1']"),
        (["--suite=picture", "--runs=r"], "error: r/config.json: no such file"),
    ):
        done = benchmark(*arguments)
        assert done.returncode in (1, 2) and words in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []

    # A finished run is put into the table.
    write_run(tmp_path / "runs/suite-elpv/none-known/full/seed0")
    done = benchmark(
        "--suite=elpv", "--fast", "--cases=none known", "--variants=full", "--config.data.path=e.csv"
    )
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "docs/results/elpv.md").read_text()
    assert "<!-- begin elpv_suite -->\n`python -m semi_anogan.benchmark --suite=elpv" in text
    assert "| full | 0.900 | 0.800 | 0.020 | 0.700 | 100 | 12.3 |" in text and '"--cases=none known"' in text
    figure = tmp_path / "docs/results/elpv_suite.png"
    assert f"![elpv]({figure.name})" in text and np.array(Image.open(figure)).std() > 1
