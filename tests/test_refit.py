"""Runs whose images change: they keep their split, say what is new, and take it in by --refit."""

import csv
import json
import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image

from helpers.processes import command
from helpers.tiny_runs import newest_checkpoint, tiny_config
from semi_anogan import train
from semi_anogan.errors import DataError, RunError
from semi_anogan.runs import build, files_csv, replacement
from semi_anogan.scoring import chosen
from semi_anogan.scoring.detector import Detector
from semi_anogan.training.loop import Training

OF_SURFACES = {
    f"data__{name}": None
    for name in ("size", "train_normal", "train_abnormal", "test_normal", "test_abnormal")
}


def draw(root, counts, seed=0):
    rng = np.random.default_rng(seed)
    for folder, names in counts.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            pixels = rng.integers(0, 256, (16, 16)).astype(np.uint8)
            Image.fromarray(pixels).save(root / folder / f"{name}.png")


def config_of(root, **changes):
    short = {  # of one stage, without a search
        "schedule__start_resolution": 8,
        "schedule__total_kimages": 0.064,
        "train__checkpoint_kimages": 0.016,
        "score__components": "discriminator",
    }
    changes = {**short, **changes}
    return tiny_config(name="parts", data__name="folder", data__root=str(root), **OF_SURFACES, **changes)


def files_of(folder):
    return {
        p.name: p.read_bytes() for p in pathlib.Path(folder).iterdir() if p.is_file() and p.name != "lock"
    }


def uses(folder):
    return {row.path: row.use for row in files_csv.read(folder / "files.csv") if not row.gone}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(folder of images, run folder), not to be changed."""
    base = tmp_path_factory.mktemp("finished")
    counts = {"train/good": range(20), "train/cut": range(3), "test/good": range(4), "test/cut": range(4)}
    draw(base / "parts", counts)
    train.run(config_of(base / "parts"), base / "run")
    return base / "parts", base / "run"


@pytest.fixture
def copy(finished, tmp_path):
    return tuple(pathlib.Path(shutil.copytree(source, tmp_path / source.name)) for source in finished)


@pytest.fixture
def interrupted(finished, tmp_path, monkeypatch):
    """As `copy`, of a training that was interrupted after 40 images."""
    root = pathlib.Path(shutil.copytree(finished[0], tmp_path / "parts"))
    step = Training.step

    def stop(self, stage):
        if self.progress["images_seen"] >= 40:
            raise KeyboardInterrupt
        return step(self, stage)

    with monkeypatch.context() as patched:
        patched.setattr(Training, "step", stop)
        with pytest.raises(KeyboardInterrupt):
            train.run(config_of(root), tmp_path / "run")
    return root, tmp_path / "run"


def lose(root, run):
    """As if the images had been where `root` is, and nowhere else."""
    values = json.loads((run / "data.json").read_text())
    values["places"] = {"root": dict.fromkeys(("given", "absolute", "from_run"), str(root))}
    (run / "data.json").write_text(json.dumps(values))
    settings = json.loads((run / "config.json").read_text())
    settings["data"]["root"] = str(root)
    (run / "config.json").write_text(json.dumps(settings))


def test_the_run_keeps_its_files_and_the_same_command_says_what_is_new(finished, copy, capsys):
    root, run = copy
    kept = uses(run)
    assert len(kept) == 31 and list(kept.values()).count("held out") == 4
    config = config_of(root)  # the folder of the images has moved
    draw(root, {"train/good": range(100, 120), "train/cut": ["new"], "test/good": ["new"]}, seed=1)
    before = files_of(run)
    capsys.readouterr()
    found = train.run(config, run)
    told = capsys.readouterr().out.splitlines()
    assert told == [
        "21 training images are new (20 normal, 1 abnormal), such as train/good/100.png",
        "1 test images are new (1 normal, 0 abnormal), such as test/good/new.png",
        f"{run}: finished, and left as it is; --refit fits its detector to the files that there are now, and "
        "evaluates it",
    ]
    assert files_of(run) == before and found == json.loads(before["metrics.json"])
    shutil.rmtree(root)
    shutil.copytree(finished[0], root)
    draw(root, {"test/good": ["new"]}, seed=1)
    train.run(config, run)
    assert "semi_anogan.evaluate takes the test images that there are now" in capsys.readouterr().out


def test_refit_takes_new_files_in_and_leaves_the_networks(copy, capsys):
    root, run = copy
    kept, weights = uses(run), newest_checkpoint(run)
    draw(root, {"train/good": range(100, 120), "train/cut": ["new"], "test/good": ["new"]}, seed=1)
    (root / "train/good/3.png").rename(root / "test/good/moved.png")
    found = train.run(config_of(root), run, refit=True)
    counts = found["counts"]
    assert counts["train_normal"] + counts["held_out_normal"] == 39 and counts["train_abnormal"] == 4
    assert counts["test_normal"] == 6 and json.loads((run / "metrics.json").read_text()) == found
    now = uses(run)
    assert {path: now.get(path) for path in kept if path != "train/good/3.png"} == {
        path: use for path, use in kept.items() if path != "train/good/3.png"
    }
    assert "train/good/3.png" not in now and len(now) == 31 - 1 + 21 + 2
    for name, array in newest_checkpoint(run).items():
        np.testing.assert_array_equal(array, weights[name])
    with open(run / "suspicious.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 39
    told = capsys.readouterr().out
    assert "1 training images of the run are missing, such as train/good/3.png" in told
    # The networks have seen it, whatever the folders say now: in the report too, and in each evaluation.
    seen = "1 test images are training images too, or were, byte for byte, such as test/good/moved.png = "
    assert seen + "train/good/3.png" in told and seen in (run / "report.html").read_text()
    done = command("evaluate", f"--workdir={run}")
    assert done.returncode == 0 and seen in done.stdout
    assert not any(p.is_dir() and p.name.startswith("replacement") for p in run.iterdir())
    # And now nothing is new.
    assert train.run(config_of(root), run)["counts"] == counts
    # A test image that the training has not read is looked at before it is scored.
    Image.new("L", (16, 16), 9).save(root / "test/good/flat.png")
    done = command("evaluate", f"--workdir={run}")
    told = "1 images have one value all over, such as test/good/flat.png: they show nothing"
    assert f"note: {told}\n" in done.stdout
    assert f"of the test images of now: {told}" in (run / "report.html").read_text()
    (root / "test/good/flat.png").write_bytes(b"none")
    done = command("evaluate", f"--workdir={run}")
    assert done.returncode == 1 and "test/good/flat.png: not a readable" in done.stderr


def test_what_a_person_found_in_scored_images_joins_by_a_refit(copy, tmp_path, capsys):
    """With kind and mask, whatever data.abnormal_count says. Of test images nothing is learned."""
    root, run = copy
    kept, incoming = uses(run), tmp_path / "incoming"
    draw(incoming, {".": ["bad", "fine"]}, seed=2)
    (run / "masks").mkdir()
    Image.new("L", (16, 16), 255).save(run / "masks/bad.png")
    file = run / "reviewed.csv"
    file.write_text(
        "path,label,kind,mask,origin,who,when\n"
        f"{incoming}/bad.png,abnormal,scratch,masks/bad.png,scored,Kim,2026-01-01\n"
        f"{incoming}/fine.png,normal,,,scored,Kim,2026-01-01\n"
        f"{incoming}/none.png,,,,scored,Kim,2026-01-01\n"
        "test/good/1.png,abnormal,,,test,Kim,2026-01-01\n"
        "train/good/5.png,abnormal,dent,,training,Kim,2026-01-01\n"
    )
    config = config_of(root, data__reviewed=str(file), data__abnormal_count=3)
    (run / "config.json").write_text(
        (run / "config.json").read_text().replace('"abnormal_count": null', '"abnormal_count": 3')
    )
    capsys.readouterr()
    train.run(config, run)
    told = capsys.readouterr().out
    assert f"2 training images are new (1 normal, 1 abnormal), such as {incoming}/bad.png" in told
    assert f"{run}: the new training images are left out; --refit fits its detector to the files" in told
    counts = train.run(config, run, refit=True)["counts"]
    told = capsys.readouterr().out
    assert "1 test images were reviewed, such as test/good/1.png: nothing is learned of them" in told
    assert counts["train_normal"] + counts["held_out_normal"] == 20 and counts["train_abnormal"] == 5
    assert counts["test_normal"] == counts["test_abnormal"] == 4
    used = uses(run)
    assert used.pop(f"{incoming}/fine.png") in ("train", "held out")  # by a hash of its path
    assert used == {**kept, f"{incoming}/bad.png": "train"}
    row = next(row for row in files_csv.read(run / "files.csv") if row.path == f"{incoming}/bad.png")
    assert (row.label, row.mask) == ("abnormal", str(run / "masks/bad.png"))
    _, splits, _ = build.load_data(config, run)
    assert {(e.path, e.kind, e.mask) for e in splits.abnormal if e.reviewed} == {
        (f"{incoming}/bad.png", "scratch", str(run / "masks/bad.png")),
        ("train/good/5.png", "dent", None),
    }
    # And again, with what was found later.
    file.write_text(file.read_text().replace("/none.png,,", "/none.png,normal,"))
    with pytest.raises(DataError, match=f"row 4: {incoming}/none.png is not there; put it back, or empty"):
        train.run(config, run, refit=True)
    draw(incoming, {".": ["none"]}, seed=3)
    assert train.run(config, run, refit=True)["counts"]["train_abnormal"] == 5
    assert len(uses(run)) == len(kept) + 3


def test_a_refit_that_is_cut_off_leaves_the_former_detector(copy, monkeypatch):
    root, run = copy
    draw(root, {"train/good": range(100, 120)}, seed=1)
    before = files_of(run)

    def cut_off(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Detector, "calibrate", cut_off)
        with pytest.raises(KeyboardInterrupt):
            train.run(config_of(root), run, refit=True)
    assert files_of(run) == before
    # Killed between two moves of the new files: whoever opens the run next moves the others.
    moves, replace = [], replacement.os.replace

    def killed(source, target):
        if pathlib.Path(source).parent.name == replacement.WHOLE:
            moves.append(target)
            if len(moves) == 3:
                raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(replacement.os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            train.run(config_of(root), run, refit=True)
    assert (run / "detector.json").read_bytes() == before["detector.json"] and len(moves) == 3
    assert not (run / "metrics.json").exists()  # those of the former detector
    detector = Detector.load(run)
    assert (run / "detector.json").read_bytes() != before["detector.json"]
    assert detector.threshold == json.loads((run / "detector.json").read_text())["calibration"]["threshold"]
    assert not (run / replacement.WHOLE).exists() and len(uses(run)) == 51


def test_a_replacement_removes_what_the_new_detector_has_not(tmp_path):
    for name in ("memory.npz", "metrics.json", "detector.json", "scores.csv"):
        (tmp_path / name).write_text("former")
    with replacement.replacing(tmp_path) as new:
        (new / "detector.json").write_text("new")
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {
        "detector.json": "new",
        "scores.csv": "former",
    }


def test_an_interrupted_training_goes_on_with_its_own_files_to_the_same_bits(finished, interrupted):
    """New files are left out; the recorded ones decide, in their order."""
    root, run = interrupted
    draw(root, {"train/good": ["0a", "z"], "train/an_edge": ["0"]}, seed=2)  # the kinds take turns
    (root / "train/good/7.png").rename(root / "train/good/seven.png")
    with pytest.raises(RunError, match="its training has not finished; --refit is for afterwards"):
        train.run(config_of(root), run, refit=True)
    train.run(config_of(root), run)
    assert "train/an_edge/0.png" not in uses(run)
    once = newest_checkpoint(finished[1])
    for name, array in newest_checkpoint(run).items():
        if name != "progress":
            np.testing.assert_array_equal(array, once[name])


def test_an_interrupted_training_refuses_files_that_are_gone_or_others(interrupted):
    root, run = interrupted
    (root / "train/good/7.png").unlink()
    draw(root, {"train/cut": [1]}, seed=3)
    before = files_of(run)
    with pytest.raises(RunError) as error:
        train.run(config_of(root), run)
    assert str(error.value) == (
        f"{run}: 1 training images of the run are missing, such as train/good/7.png; 1 training images of "
        "the run have changed, such as train/cut/1.png (its content); the training goes on with the files "
        "that it began with only: put them back, or give another --workdir"
    )
    assert files_of(run) == before


def test_another_setting_of_the_detector_is_fitted_to_the_recorded_files(copy, capsys):
    root, run = copy
    draw(root, {"train/good": range(100, 120)}, seed=1)
    config = config_of(root, calibration__false_alarm_rate=0.1)
    found = train.run(config, run)
    assert found["counts"]["train_normal"] == 16 and found["false_alarm_rate_asked"] == 0.1
    (root / "train/good/3.png").unlink()
    with pytest.raises(RunError, match="missing, such as train/good/3.png; --refit fits the detector to the"):
        train.run(config_of(root, calibration__false_alarm_rate=0.2), run)


def test_what_cannot_be_refitted_is_one_line(copy, tmp_path, smoke_run):
    root, run = copy
    with pytest.raises(RunError, match="holds no run, so there is nothing to refit"):
        train.run(config_of(root), tmp_path / "none", refit=True)
    done = command("train", f"--workdir={smoke_run}", "--config=configs/smoke.py", "--refit")
    assert done.returncode == 1 and "the source 'surface' has none" in done.stderr
    (run / "files.csv").unlink()  # as of an earlier version
    with pytest.raises(RunError, match="of an earlier version, so it is not known which images"):
        train.run(config_of(root), run, refit=True)
    draw(root, {"train/good": ["new"]})
    config = config_of(root)
    with pytest.raises(DataError, match="--data_root: 'nowhere' is not a folder"):
        train.run(config, run, data_root="nowhere")
    with pytest.raises(RunError, match="it had 23 training images, and now there are 24: take the new ones"):
        train.run(config, run)


@pytest.mark.slow
def test_moved_images_are_found_by_data_root(copy, tmp_path):
    root, run = copy
    elsewhere = root.rename(tmp_path / "elsewhere")
    lose(root, run)
    before = json.loads((run / "metrics.json").read_text())
    done = command("evaluate", f"--workdir={run}")
    assert (done.returncode, done.stderr) == (
        1,
        f"error: data.root: {root} is not there; --data_root=DIR says where the images are now\n",
    )
    done = command("evaluate", f"--workdir={run}", f"--data_root={elsewhere}")
    assert done.returncode == 0, done.stderr
    # From now on the run knows it, as after a refit.
    assert f"note: {run}: its images are in {elsewhere} from now on" in done.stdout
    assert command("evaluate", f"--workdir={run}").returncode == 0
    after = json.loads((run / "metrics.json").read_text())
    assert (
        after["image_auroc"] == pytest.approx(before["image_auroc"]) and after["counts"] == before["counts"]
    )
    train.run(config_of(root), run, refit=True, data_root=str(elsewhere))
    assert json.loads((run / "config.json").read_text())["data"]["root"] == str(elsewhere)
    assert command("evaluate", f"--workdir={run}").returncode == 0


@pytest.mark.slow
def test_a_refit_takes_the_settings_of_the_run(copy):
    """Without --config; the former detector stays, and a threshold that was chosen is of that alone."""
    root, run = copy
    (run / "reviewed.csv").write_text("path,label\ntrain/good/1.png,abnormal\n")
    before, settings = files_of(run), json.loads((run / "config.json").read_text())
    chosen.write(run, 0.25, "ann")
    arguments = ("--refit", f"--config.data.reviewed={run / 'reviewed.csv'}")
    done = command("train", f"--workdir={run}", *arguments)
    assert done.returncode == 0, done.stderr
    assert f"{run}: its own settings are taken, as --config names no others" in done.stdout
    assert "note: the threshold 0.25 was chosen for the former detector; of this one it is " in done.stdout
    settings["data"]["reviewed"] = str(run / "reviewed.csv")
    assert json.loads((run / "config.json").read_text()) == settings
    assert chosen.read(run) is None
    kept = json.loads((run / "before_refit/detector.json").read_text())
    assert kept.pop("chosen_threshold")["threshold"] == 0.25
    assert kept == json.loads(before["detector.json"])
    replacement.undo(run)
    chosen.write(run, None)
    after = files_of(run)
    assert json.loads(after.pop("detector.json")) == json.loads(before.pop("detector.json"))
    assert after == before
    # What --config.KEY says else may not differ, as ever.
    done = command("train", f"--workdir={run}", *arguments, "--config.seed=7")
    assert done.returncode == 1 and "seed was 0, now 7" in done.stderr


@pytest.mark.slow
def test_export_without_the_data(copy, tmp_path):
    root, run = copy
    shutil.rmtree(root)
    lose(root, run)
    arguments = (f"--workdir={run}", f"--output={tmp_path}/bundle", "--formats=onnx", "--batch=2")
    done = command("export", *arguments)
    assert done.returncode == 0, done.stderr
    assert "so the generator draws the images for the check" in done.stdout
    done = command("export", *arguments[:2], "--formats=tflite", "--precision=float32,int8_full")
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "--data_root=DIR" in done.stderr
