"""The training loop: exact resume after any death, stopping, going back on divergence, refusals."""

import concurrent.futures
import csv
import io
import json
import os
import random
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from PIL import Image

from helpers.processes import ONE_THREAD, ROOT, finish, start
from helpers.tiny_runs import newest_checkpoint, steps_done, tiny_config, train_command
from semi_anogan import train
from semi_anogan.data.batches import Batches
from semi_anogan.errors import ConfigError, DataError, RunError
from semi_anogan.runs import build, checkpoint
from semi_anogan.runs import folder as run_folder
from semi_anogan.training.loop import Training

STEPS = 150  # of the tiny run
ONE_STAGE = {
    "model__resolution": 4,
    "objective__synthetic_weight": 0.0,  # defects need 8 x 8 pixels
    "schedule__total_kimages": 0.2,
    "train__checkpoint_kimages": 0.04,
    "train__log_steps": 10,
}


# Processes of their own: begun with the module, they run beside its other tests.


def killed_run(folder):
    """A run killed three times at random; once it leaves a damaged and a half-written checkpoint."""
    rng, codes = random.Random(6), []
    for low, high in ((0, 20), (25, 50), (55, 80)):
        process = start(train_command(folder), f"{folder}.log")
        wait_for_step(process, folder, rng.randint(low, high))
        time.sleep(rng.uniform(0.0, 0.05))
        process.kill()
        codes.append(process.wait())
        if low == 25:
            newest = checkpoint.steps(folder / "checkpoints")[-1]
            content = newest.read_bytes()
            newest.write_bytes(content[: len(content) // 2])
            newest.with_name("step_00000999.npz.tmp").write_bytes(content[:1000])
    return [*codes, finish(start(train_command(folder), f"{folder}.log"))]


def interrupted_run(folder):
    """A longer run that gets SIGINT; its exit code."""
    process = start(train_command(folder, {"schedule.total_kimages": 60}), f"{folder}.log")
    wait_for_step(process, folder, 10)
    process.send_signal(signal.SIGINT)
    return finish(process)


def wait_for_step(process, folder, step):
    end = time.monotonic() + 200
    while steps_done(folder) < step:
        assert process.poll() is None and time.monotonic() < end, f"{folder}.log"
        time.sleep(0.005)


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """Name -> (folder, future of the exit codes)."""
    parent = tmp_path_factory.mktemp("runs")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        yield {
            job.__name__: (parent / job.__name__, pool.submit(job, parent / job.__name__))
            for job in (killed_run, interrupted_run)
        }


@pytest.fixture(scope="module", autouse=True)
def _start_early(request):
    if any(item.path == request.path and "started" in item.fixturenames for item in request.session.items):
        request.getfixturevalue("started")


def log_of(folder) -> str:
    return folder.with_name(folder.name + ".log").read_text(errors="replace").replace("\r", "\n")


# Trainings in this process, of one stage.


def load(**changes):
    config = tiny_config(**{**ONE_STAGE, **changes})
    return config, *build.load_data(config)[1:]


def training(folder, said=None, **changes) -> Training:
    config, splits, store = load(**changes)
    return Training(config, folder, splits, store, (said if said is not None else []).append)


def weights(model) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(v) for v in model.variables]


def assert_finite(arrays):
    assert all(np.isfinite(a).all() for a in arrays)


def poison_images(monkeypatch, images_seen, attempts):
    """Makes the images of one batch NaN, in these attempts."""
    original = Batches.batch

    def batch(self, seen, batch_size, attempt=0):
        made = original(self, seen, batch_size, attempt)
        if seen == images_seen and attempt in attempts:
            made["images"] = np.full_like(made["images"], np.nan)
        return made

    monkeypatch.setattr(Batches, "batch", batch)


def test_nan_goes_back_once_and_finishes(tmp_path, monkeypatch):
    poison_images(monkeypatch, 104, attempts={0})
    said = []
    job = training(tmp_path, said)
    model = job.run()
    # Step 14 gives NaN; the next look at the losses is the checkpoint due at 120 images, the last one before
    # it at 80.
    assert (
        len(said) == 1
        and said[0].startswith("diverged at 120 images: ")
        and "discriminator_loss nan" in said[0]
    )
    assert said[0].endswith("going on from 80 images with half the learning rate")
    assert job.progress["attempt"] == 1 and job.progress["images_seen"] == 200 and job.progress["step"] == 25
    assert_finite(weights(model))
    last = job.schedule.stage(192).learning_rate
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model.optimizer.learning_rate), last / 2, rtol=1e-6)
    history = job.progress["history"]
    assert history["images_seen"] == [40, 80, 120, 160, 200]
    assert_finite(history.values())
    saved = newest_checkpoint(tmp_path)
    assert json.loads(saved["progress"].tobytes()) == job.progress
    assert_finite(saved.values())


@pytest.mark.slow
def test_diverging_again_is_an_error_and_keeps_the_last_good_checkpoint(tmp_path, monkeypatch):
    poison_images(monkeypatch, 104, attempts={0})
    original = Training.step

    def step(self, stage):
        logs = original(self, stage)
        if self.progress["attempt"] and self.progress["images_seen"] == 120:
            logs = {**logs, "generator_loss": -2e4}  # finite, and beyond train.divergence_loss
        return logs

    monkeypatch.setattr(Training, "step", step)
    with pytest.raises(RunError) as error:
        training(tmp_path).run()
    told = str(error.value)
    assert told.startswith(f"{tmp_path}: diverged at 120 images: generator_loss -20000, for the second time")
    assert "schedule.learning_rate" in told
    assert steps_done(tmp_path) == 10
    for path in checkpoint.steps(tmp_path / "checkpoints"):
        with np.load(path) as file:
            assert_finite(file[name] for name in file.files)


@pytest.mark.slow
def test_weights_that_went_bad_in_the_last_step_are_not_saved(tmp_path, monkeypatch):
    """The losses of a step are those before its update, so they may still be finite."""
    original = Training.step

    def step(self, stage):
        logs = original(self, stage)
        if not self.progress["attempt"] and self.progress["images_seen"] == 120:
            kernel = self.model.generator.enter.kernel
            kernel.assign(keras.ops.full(kernel.shape, np.nan))
        return logs

    monkeypatch.setattr(Training, "step", step)
    said = []
    job = training(tmp_path, said)
    assert_finite(weights(job.run()))
    assert (
        len(said) == 1 and "diverged at 120 images: weights that are not finite; going on from 80" in said[0]
    )
    assert job.progress["attempt"] == 1 and job.progress["images_seen"] == 200


def signal_at(monkeypatch, images_seen, *numbers):
    original = Training.step

    def step(self, stage):
        logs = original(self, stage)
        if self.progress["images_seen"] == images_seen:
            for number in numbers:
                os.kill(os.getpid(), number)
        return logs

    monkeypatch.setattr(Training, "step", step)


def test_sigterm_saves_and_says_how_to_go_on(tmp_path, monkeypatch):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    said = []
    with monkeypatch.context() as patch:
        signal_at(patch, 24, signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            training(tmp_path, said).run()
    assert said == ["stopped at 24 images; the same command goes on from there"]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    assert steps_done(tmp_path) == 3
    again = training(tmp_path, said)
    assert again.progress["images_seen"] == 24 and again.progress["step"] == 3
    assert said[1:] == ["going on at 24 of 200 images"]


def test_a_second_signal_stops_at_once(tmp_path, monkeypatch):
    signal_at(monkeypatch, 24, signal.SIGINT, signal.SIGINT)
    said = []
    with pytest.raises(KeyboardInterrupt):
        training(tmp_path, said).run()
    assert said == [] and steps_done(tmp_path) == 0


def three_steps(folder, **changes):
    job = training(folder, **changes)
    for _ in range(3):
        job.step(job.schedule.stage(job.progress["images_seen"]))
    return job


@pytest.mark.slow
def test_no_known_abnormal_images_is_plain_anogan_to_the_bit(tmp_path):
    """In a process of one thread: with several, sums may be taken in another order."""
    call = f"t.assert_alpha_counts_for_known_images_only(pathlib.Path({str(tmp_path)!r}))"
    command = f"import pathlib, test_training as t; {call}"
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=ROOT / "tests", env=ONE_THREAD, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def assert_alpha_counts_for_known_images_only(folder):
    """Without any, steps at alpha 0.5 leave the weights of those at alpha 1, to the bit.

    With known ones alpha decides: at 1 none is in a batch, below 1 they change the discriminator.
    """
    plain = three_steps(folder / "plain", objective__alpha=1.0)
    none = three_steps(folder / "none", objective__alpha=0.5, data__abnormal_count=0)
    some = three_steps(folder / "some", objective__alpha=0.5)
    batches = [job.batches.batch(0, 8) for job in (plain, none, some)]
    assert [b["labels"].tolist() for b in batches] == [[0] * 8, [0] * 8, [0] * 8 + [1] * 4]
    for name in ("images", "latents", "mix"):
        np.testing.assert_array_equal(batches[0][name], batches[1][name])
    np.testing.assert_array_equal(batches[0]["images"], batches[2]["images"][:8])
    for a, b in zip(weights(plain.model), weights(none.model), strict=True):
        np.testing.assert_array_equal(a, b)
    kernels = [keras.ops.convert_to_numpy(job.model.discriminator.to_logit.kernel) for job in (plain, some)]
    assert np.abs(kernels[0] - kernels[1]).max() > 1e-4


def test_a_folder_in_use_is_refused(tmp_path):
    told = f"{tmp_path}: another training is running in this folder"
    with run_folder.locked(tmp_path), pytest.raises(RunError, match=told):
        train.run(tiny_config(), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["lock"]


@pytest.mark.parametrize(
    ("colour", "channels", "told"),
    [((200, 40, 40), 1, True), ((90, 90, 90), 1, False), ((200, 40, 40), 3, False)],
)
def test_colour_that_grey_would_drop_is_told(tmp_path, monkeypatch, capsys, colour, channels, told):
    from semi_anogan.configs.folder import get_config

    class Begun(Exception):
        pass

    def begin(self):
        raise Begun

    monkeypatch.setattr("semi_anogan.training.loop.Training.run", begin)
    for split in ("train", "test"):
        (tmp_path / "parts" / split / "good").mkdir(parents=True)
        for i in range(6):
            Image.new("RGB", (8, 8), colour).save(tmp_path / "parts" / split / "good" / f"{i}.png")
    config = get_config()
    config.data.root, config.model.channels = str(tmp_path / "parts"), channels
    config.model.resolution, config.features.name = 16, ""
    with pytest.raises(Begun):
        train.run(config, tmp_path / "run")
    assert ("--config.model.channels=3" in capsys.readouterr().out) == told


def test_other_settings_are_refused_by_name(tmp_path):
    run_folder.claim(tmp_path, tiny_config())
    with pytest.raises(RunError, match=r"objective.alpha was 0.5, now 0.75\); give another --workdir"):
        train.run(tiny_config(objective__alpha=0.75), tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"config.json", "lock"}


@pytest.mark.parametrize(
    "key, value, error, told",
    [
        ("objective__alpha", 1.5, ConfigError, r"objective.alpha must be in \(0, 1\], got 1.5"),
        (
            "batches__synthetic_kinds",
            "crack,dent",
            ConfigError,
            "batches.synthetic_kinds must be made of .*crack, shade, got 'crack,dent'",
        ),
        ("objective__adversarial", "hinge", ConfigError, "objective.adversarial must be .*, got 'hinge'"),
        (
            "score__components",
            "memry,likeness",
            ConfigError,
            "score.components must be among residual, .*, segmentation, got memry",
        ),
        (
            "score__components",
            "classifier",
            ConfigError,
            "score.components: .*at least one must make a map, which classifier does not; got classifier",
        ),
        (
            "score__components",
            "patches,memory",
            ConfigError,
            "score.components: the settings switch off patches, memory; at least one must make a map",
        ),
        (
            "model__resolution",
            20,
            ConfigError,
            "model.resolution must be a power of two from 8 to 1024, got 20",
        ),
        ("schedule__batch_size", 0, ConfigError, "schedule.batch_size must be at least 1, got 0"),
        ("search__feature_weight", 2.0, ConfigError, r"search.feature_weight must be in \[0, 1\], got 2.0"),
        ("batches__flips", "x", ConfigError, "batches.flips must be .*, got 'x'"),
        ("data__name", "surfaces", DataError, "'surfaces' is not a data source"),
        ("calibration__hold_out_share", 1.0, ConfigError, "calibration.hold_out_share must be .*, got 1.0"),
    ],
)
def test_bad_settings_leave_the_folder_to_better_ones(tmp_path, key, value, error, told):
    with pytest.raises(error, match=told):
        train.run(tiny_config(**{key: value}), tmp_path)
    assert not (tmp_path / "config.json").exists() and not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize(
    "key, value, told",
    [("train__distribution", "two", "got 'two'"), ("model__channels", 2, "channels must be 1 .*, got 2")],
)
def test_settings_that_only_the_model_or_the_backend_knows(tmp_path, key, value, told):
    config, splits, store = load()
    config.update_from_flattened_dict({key.replace("__", "."): value})
    with pytest.raises(RunError, match=f"bad setting: .*{told}"):
        Training(config, tmp_path, splits, store)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "key, value, told",
    [
        ("objective.alhpa", "0.3", ("alhpa", "alpha")),
        ("objective.alpha", "half", ("objective.alpha", "half")),
    ],
)
def test_the_command_refuses_unknown_keys_and_values_of_another_kind(tmp_path, key, value, told):
    command = train_command(tmp_path / "run", {key: value})
    done = subprocess.run(command, env=ONE_THREAD, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and all(part in line for part in told)
    assert not (tmp_path / "run").exists()


def test_sigint_ends_the_command_with_130(started):
    folder, code = started["interrupted_run"]
    assert code.result() == 130, log_of(folder)
    log = log_of(folder)
    seen = 8 * steps_done(folder)
    assert f"stopped at {seen} images; the same command goes on from there" in log
    assert log.rstrip().endswith("interrupted") and "Traceback" not in log
    assert json.loads(newest_checkpoint(folder)["progress"].tobytes())["images_seen"] == seen
    assert not (folder / "detector.json").exists()


def test_a_killed_run_ends_in_the_same_bits(started, tiny_run):
    whole, (killed, killed_codes) = tiny_run, started["killed_run"]
    assert killed_codes.result() == [-signal.SIGKILL] * 3 + [0], log_of(killed)
    log = log_of(killed)
    resumed = [int(line.split()[3]) for line in log.splitlines() if line.startswith("going on at")]
    assert len(resumed) >= 2 and resumed == sorted(resumed) and 0 < resumed[-1] < 8 * STEPS
    assert log.count("damaged checkpoint passed over") == 1
    assert not list(killed.glob("**/*.tmp"))

    expected, found = newest_checkpoint(whole), newest_checkpoint(killed)
    expected_progress, found_progress = (json.loads(a.pop("progress").tobytes()) for a in (expected, found))
    assert expected.keys() == found.keys() and len(expected) > 100
    differing = [name for name in expected if expected[name].tobytes() != found[name].tobytes()]
    assert not differing
    for progress in (expected_progress, found_progress):
        assert progress.pop("seconds") > 0
        assert progress["step"] == STEPS
    assert expected_progress == found_progress
    # The comparison covers the growing: both resolutions, and a fade on its way.
    history = expected_progress["history"]
    assert set(history["resolution"]) == {4, 8} and any(0 < fade < 1 for fade in history["fade"])

    timed = ("train_seconds", "search_images_per_second")
    metrics = [
        {k: v for k, v in run_folder.read_json(f / "metrics.json").items() if k not in timed}
        for f in (whole, killed)
    ]
    assert metrics[0] == metrics[1] and "image_auroc" in metrics[0]
    for name in ("detector.json", "scores.csv", "config.json"):
        assert (whole / name).read_bytes() == (killed / name).read_bytes()


def test_a_run_folder_holds_everything(tiny_run):
    folder = tiny_run
    values = run_folder.read_json(folder / "metrics.json")
    numbers = (
        "image_auroc",
        "image_average_precision",
        "image_f1_max",
        "image_false_alarm_rate",
        "image_recall",
    )
    assert all(0 <= values[name] <= 1 for name in (*numbers, "pixel_auroc", "pixel_aupro"))
    with open(folder / "scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20
    for row in rows:
        assert (row["label"] == "abnormal") == (float(row["score"]) > values["threshold"])
    recall = np.mean([r["label"] == "abnormal" for r in rows if r["truth"] == "abnormal"])
    np.testing.assert_allclose(values["image_recall"], recall, atol=1e-9)
    assert (folder / "report.html").stat().st_size > 1000 and list(folder.glob("plots/*.png"))


def test_tensorboard_shows_losses_and_a_generated_picture(tiny_run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tiny_run
    events = EventAccumulator(str(folder / "events"), size_guidance={"images": 0, "scalars": 0})
    events.Reload()
    history = json.loads(newest_checkpoint(folder)["progress"].tobytes())["history"]
    for name in ("discriminator_loss", "generator_loss", "penalty", "fade"):
        points = events.Scalars(name)
        assert [p.step for p in points] == history["images_seen"]
        np.testing.assert_allclose([p.value for p in points], history[name], atol=1e-5, rtol=1e-4)
    rates = [p.value for p in events.Scalars("learning_rate")]
    assert rates[0] > rates[-1] > 0
    pictures = events.Images("generated")
    assert pictures[-1].step == 8 * STEPS
    picture = np.asarray(Image.open(io.BytesIO(pictures[-1].encoded_image_string)))
    assert (
        picture.shape == (4 * 8, 8 * 8) and picture.dtype == np.uint8 and picture.std() > 1
    )  # 32 images, 8 in a row
