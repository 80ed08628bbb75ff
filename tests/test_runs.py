"""Run folders: who may write one, and what is told where something is wrong."""

import ast
import errno
import json
import subprocess
import sys

import pytest

from helpers import processes
from semi_anogan.config import default_config
from semi_anogan.errors import RunError
from semi_anogan.runs import build
from semi_anogan.runs import folder as run_folder
from semi_anogan.scoring.detector import Detector


def config(**changes):
    made = default_config()
    made.update_from_flattened_dict(changes)
    return made


def test_claim_writes_the_resolved_config(tmp_path):
    run_folder.claim(tmp_path, config(**{"objective.alpha": 0.25, "data.normal_classes": "0,4"}))
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["objective"]["alpha"] == 0.25 and written["data"]["normal_classes"] == "0,4"
    assert written.pop("format") == 2 and set(written) == set(default_config().to_dict())
    assert written["schedule"] == default_config().schedule.to_dict()
    assert written["data"]["root"] is None
    assert [p.name for p in tmp_path.iterdir()] == ["config.json"]


@pytest.mark.parametrize("value", ["0,4", 0, [0, 4], (0, 4)])
def test_the_same_config_goes_on(tmp_path, value):
    for _ in range(2):
        run_folder.claim(tmp_path, config(**{"data.normal_classes": value}))


def test_claim_refuses_another_config_and_names_keys_and_values(tmp_path):
    run_folder.claim(tmp_path, config())
    before = (tmp_path / "config.json").read_bytes()
    other = config(**{"objective.alpha": 0.75, "seed": 3, "data.root": "/images"})
    with pytest.raises(RunError) as error:
        run_folder.claim(tmp_path, other)
    changes = ("objective.alpha was 0.5, now 0.75", "seed was 0, now 3", "data.root was None, now '/images'")
    for part in (str(tmp_path), *changes):
        assert part in str(error.value)
    assert "--workdir" in str(error.value) and "latent_channels" not in str(error.value)
    assert (tmp_path / "config.json").read_bytes() == before


def test_claim_accepts_keys_that_decide_nothing(tmp_path):
    run_folder.claim(tmp_path, config())
    free = {
        "train.log_steps": 7,
        "train.checkpoint_kimages": 0.5,
        "images.cache_megabytes": 1,
        "data.max_pixels": 10_000_000,
        "data.ignore": "another/place.png",
        "name": "other",
    }
    assert set(free) == set(run_folder.FREE_KEYS)
    (tmp_path / "detector.json").touch()
    assert "train.log_steps was 20, now 7" in run_folder.claim(tmp_path, config(**free))
    assert (tmp_path / "detector.json").exists() and run_folder.load_config(tmp_path).train.log_steps == 7


def test_claim_removes_what_was_fitted_with_other_settings_of_the_detector(tmp_path):
    run_folder.claim(tmp_path, config(**{"score.components": "patches,memory"}))
    for name in ("detector.json", "metrics.json", "suspicious.csv"):
        (tmp_path / name).touch()
    other = {"score.components": "memory", "calibration.false_alarm_rate": 0.05}
    assert len(run_folder.claim(tmp_path, config(**other))) == 2
    assert {p.name for p in tmp_path.iterdir()} == {"config.json", "suspicious.csv"}
    assert run_folder.load_config(tmp_path).calibration.false_alarm_rate == 0.05


def test_claim_takes_other_reviewed_images_when_the_training_has_finished_only(tmp_path):
    run_folder.claim(tmp_path, config())
    other = config(**{"data.reviewed": "suspicious.csv"})
    told = "now 'suspicious.csv': the images in training change only when it has finished"
    with pytest.raises(RunError, match=f"data.reviewed was None, {told}"):
        run_folder.claim(tmp_path, other)
    (tmp_path / "detector.json").touch()
    assert run_folder.claim(tmp_path, other) == ["data.reviewed was None, now 'suspicious.csv'"]
    assert not (tmp_path / "detector.json").exists() and run_folder.claim(tmp_path, other) == []


@pytest.mark.parametrize(
    "key, before, after",
    [
        ("score.components", "memory", ""),
        ("score.components", "residual,memory", "memory"),
        ("search.init", "encoder", "candidates"),
        ("search.pretrained_weight", 1.0, 0.0),
    ],
)
def test_claim_lets_the_search_change(tmp_path, key, before, after):
    """Its encoder is always trained: only the detector is made anew."""
    run_folder.claim(tmp_path, config(**{key: before}))
    (tmp_path / "detector.json").touch()
    told = [f"{key} was {before!r}, now {after!r}"]
    assert run_folder.claim(tmp_path, config(**{key: after})) == told
    assert not (tmp_path / "detector.json").exists()
    assert run_folder.load_config(tmp_path)[key.split(".")[0]][key.split(".")[1]] == after


def test_load_config_gives_back_what_was_claimed(tmp_path):
    changed = config(**{"objective.alpha": 0.25, "data.abnormal_count": 64, "schedule.total_kimages": 2.0})
    run_folder.claim(tmp_path, changed)
    loaded = run_folder.load_config(tmp_path)
    assert loaded.to_dict() == changed.to_dict()
    with pytest.raises(AttributeError):  # locked
        loaded.objective.alhpa = 1.0


def written(folder, **changes):
    """Writes the config.json of a new run with changes; None takes a key away. Returns its path."""
    path = folder / "config.json"
    path.unlink(missing_ok=True)
    run_folder.claim(folder, config())
    values = {**run_folder.read_json(path), **changes}
    run_folder.write_json(path, {key: value for key, value in values.items() if value is not None})
    return path


OLDER = "format 1 is read by semi_anogan 0.1; this is 0.2, which reads format 2: {}, or install that version"
REFUSED = {  # format -> what is told of it; the first version wrote no number
    None: OLDER,
    1: OLDER,
    3: "format 3 is newer than this version reads; this is 0.2, which reads format 2: {}, "
    "or install a newer version",
    "2": "has format '2', as no version of semi_anogan writes it; this is 0.2, which reads format 2: {}",
    0: "has format 0, as no version of semi_anogan writes it; this is 0.2, which reads format 2: {}",
}


@pytest.mark.parametrize(("number", "told"), REFUSED.items())
def test_a_run_of_another_format_is_refused_in_one_line(tmp_path, number, told):
    path = written(tmp_path, format=number)
    (tmp_path / "detector.json").touch()
    (tmp_path / "metrics.json").write_text("{}")
    before = path.read_bytes()
    readers = (run_folder.load_config, run_folder.read_settings, run_folder.read_metrics, Detector.load)
    for read in readers:
        with pytest.raises(RunError) as error:
            read(tmp_path)
        assert str(error.value) == f"{path}: {told.format('train again')}"
    claims = (
        lambda: run_folder.claim(tmp_path, config(**{"map.sigma_px": 2.0})),
        lambda: run_folder.check_format(tmp_path, run_folder.ANOTHER),
    )
    for claim in claims:
        with pytest.raises(RunError) as error:
            claim()
        assert str(error.value) == f"{path}: {told.format('give another --workdir')}"
    assert path.read_bytes() == before and (tmp_path / "detector.json").exists()


def test_the_format_of_a_folder_where_no_run_has_begun_is_not_asked_for(tmp_path):
    run_folder.check_format(tmp_path, "")
    run_folder.check_format(tmp_path / "none", "")
    run_folder.claim(tmp_path, config())
    run_folder.check_format(tmp_path, "")


@pytest.mark.parametrize("number", [None, 1, 3])
def test_the_commands_refuse_a_run_of_another_format_and_change_nothing(tmp_path, number):
    run = tmp_path / "run"
    run.mkdir()
    path = written(run, format=number)
    for name in ("detector.json", "metrics.json"):
        (run / name).write_text("{}")
    (tmp_path / "image.png").touch()
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    again, workdir = "train again", f"--workdir={run}"
    commands = {
        ("train", workdir): "give another --workdir",
        ("evaluate", workdir): again,
        ("score", workdir, f"--input={tmp_path}/image.png", f"--output={tmp_path}/scored"): again,
        ("export", workdir, f"--output={tmp_path}/bundle"): again,
        ("benchmark", "--suite=runs", f"--runs={run}"): again,
        ("benchmark", "--suite=false_alarms", f"--runs={run}"): again,
        ("benchmark", "--suite=review", f"--runs={run}"): again,
        ("benchmark", "--suite=search", f"--runs={run}"): again,
        ("benchmark", "--suite=picture", f"--runs={run}", f"--output={tmp_path}/picture.png"): again,
    }
    if number != 1:  # the same lines: not every command again
        commands = {arguments: told for arguments, told in commands.items() if arguments[0] == "train"}
    for (name, *arguments), instead in commands.items():
        done = processes.command(name, *arguments)
        assert (done.returncode, done.stdout) == (1, ""), (name, arguments)
        assert done.stderr == f"error: {path}: {REFUSED[number].format(instead)}\n"
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_keys_that_are_missing_and_keys_that_there_are_not_are_named(tmp_path):
    values = default_config().to_dict()
    values["objective"]["beta"] = values["objective"].pop("alpha")
    path = written(tmp_path, objective=values["objective"], map=None, colour="red")
    told = "missing keys: map.sigma_px, objective.alpha; unknown keys: colour, objective.beta"
    for read in (run_folder.load_config, lambda folder: run_folder.claim(folder, config())):
        with pytest.raises(RunError) as error:
            read(tmp_path)
        assert str(error.value) == f"{path}: {told}"


@pytest.mark.parametrize("source, white", [("folder", 65535), ("manifest", 65535), ("surface", None)])
def test_keys_that_came_later_have_what_a_run_was_trained_with(tmp_path, source, white):
    values = default_config().to_dict()["data"]
    for name in ("good", "test_folder", "white", "black", "max_pixels"):
        del values[name]
    written(tmp_path, data={**values, "name": source})
    loaded = run_folder.load_config(tmp_path)
    assert loaded.data.white == white and loaded.data.good is None
    now = config(**{"data.name": source})
    now.data.white, now.data.black = loaded.data.white, loaded.data.black
    assert run_folder.claim(tmp_path, now) == []


def test_load_config_names_file_and_key_of_a_value_of_another_type(tmp_path):
    schedule = {**default_config().schedule.to_dict(), "batch_size": "many"}
    path = written(tmp_path, schedule=schedule)
    with pytest.raises(RunError, match=f"^{path}: .*batch_size"):
        run_folder.load_config(tmp_path)


def test_read_json_errors_name_the_file(tmp_path):
    path = tmp_path / "state.json"
    with pytest.raises(RunError, match=f"{path}: no such file; is {tmp_path} a run folder"):
        run_folder.read_json(path)
    unreadable = [(b'{"a": ', "be read"), (b"\xff\xfe{", "be read"), (b"[1, 2]", "a JSON object, got list")]
    for content, told in unreadable:
        path.write_bytes(content)
        with pytest.raises(RunError, match=f"{path}: .*{told}"):
            run_folder.read_json(path)
    with pytest.raises(RunError, match=f"{tmp_path}: cannot be read"):
        run_folder.read_json(tmp_path)


def test_write_json_is_atomic(tmp_path, monkeypatch):
    path = tmp_path / "metrics.json"
    run_folder.write_json(path, {"a": 1})

    def no_space(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("semi_anogan.files.os.replace", no_space)
        with pytest.raises(RunError, match=f"{path}: cannot be written: No space left"):
            run_folder.write_json(path, {"a": 2})
    assert run_folder.read_json(path) == {"a": 1} and [p.name for p in tmp_path.iterdir()] == ["metrics.json"]


def test_write_json_into_what_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="file/config.json: cannot be written"):
        run_folder.write_json(tmp_path / "file" / "config.json", {})


HOLDER = """
import sys
from semi_anogan.runs import build, folder as run_folder
with run_folder.locked(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_lock_refuses_another_process_and_ends_with_it(tmp_path):
    folder = tmp_path / "run"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(RunError, match=f"{folder}: another training is running"),
            run_folder.locked(folder),
        ):
            pass
    finally:
        holder.kill()  # no chance to tidy up
        holder.communicate()
    with run_folder.locked(folder) as held:
        assert held == folder
        with pytest.raises(RunError, match="another training is running"), run_folder.locked(folder):
            pass
    with run_folder.locked(folder):  # given back
        pass


def test_no_module_that_only_unix_has_is_imported():
    """The package works where there is no fcntl, as on Windows."""
    for path in [*(processes.ROOT / "semi_anogan").rglob("*.py"), *(processes.ROOT / "export").rglob("*.py")]:
        modules = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name for alias in node.names}
        # "resource": benchmarks do without it.
        assert not modules & {"fcntl", "pwd", "grp", "termios", "posix"}, path


def test_lock_in_what_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with (
            pytest.raises(RunError, match=f"{folder}: cannot be used as a run folder"),
            run_folder.locked(folder),
        ):
            pass


def test_load_data_passes_the_options_to_the_source():
    small = {"train_normal": 20, "train_abnormal": 6, "test_normal": 3, "test_abnormal": 2, "size": 16}
    small["abnormal_count"] = 4
    changed = config(
        **{
            "data.name": "surface",
            "model.resolution": 8,
            "features.name": "",
            **{f"data.{k}": v for k, v in small.items()},
        }
    )
    dataset, splits, store = build.load_data(changed)
    assert len(splits.normal) == 16 and len(splits.held_out_normal) == 4  # calibration.hold_out_share 0.2
    assert len(splits.abnormal) == 4 and splits.held_out_abnormal == []
    assert sum(e.abnormal for e in splits.test) == 2 and len(splits.test) == 5
    assert dataset.read_image(splits.test[0]).shape == (16, 16, 1) and store.image(splits.test[0]).shape == (
        8,
        8,
        1,
    )


def test_a_run_that_has_not_finished_is_told(tmp_path):
    with pytest.raises(RunError, match="config.json: no such file"):
        Detector.load(tmp_path)
    run_folder.claim(tmp_path, config())
    with pytest.raises(
        RunError, match=f"{tmp_path / 'detector.json'}: missing.*train with --workdir={tmp_path}"
    ):
        Detector.load(tmp_path)
    with pytest.raises(RunError, match=f"{tmp_path / 'checkpoints'}: holds no checkpoint"):
        run_folder.read_progress(tmp_path)


@pytest.mark.parametrize("components, init", [("", "encoder"), ("", "candidates"), ("memory", "encoder")])
def test_an_encoder_is_always_trained(components, init):
    sizes = {"model.resolution": 8, "model.filters_base": 16, "model.filters_cap": 4, "features.name": ""}
    model = build.build_model(config(**{"score.components": components, "search.init": init, **sizes}))
    assert model.encoder.trainable_variables and model.feature_generator is None
