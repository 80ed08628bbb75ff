"""Run folders: who may write one, and what is told where something is wrong."""

import errno
import json
import subprocess
import sys

import pytest

from semi_anogan.config import MOVED, default_config
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
    assert "--workdir" in str(error.value) and "latent_size" not in str(error.value)
    assert (tmp_path / "config.json").read_bytes() == before


def test_claim_goes_on_with_a_run_of_before_a_key_was_known(tmp_path):
    """It had the default: any other value is a difference."""
    run_folder.claim(tmp_path, config())
    values = run_folder.read_json(tmp_path / "config.json")
    del values["batches"]["synthetic_kinds"]
    run_folder.write_json(tmp_path / "config.json", values)
    assert run_folder.claim(tmp_path, config()) == []
    with pytest.raises(RunError, match="batches.synthetic_kinds was '', now 'crack'"):
        run_folder.claim(tmp_path, config(**{"batches.synthetic_kinds": "crack"}))


def test_claim_accepts_keys_that_decide_nothing(tmp_path):
    run_folder.claim(tmp_path, config())
    free = {
        "train.log_steps": 7,
        "train.checkpoint_kimages": 0.5,
        "images.cache_megabytes": 1,
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


@pytest.mark.parametrize("before, after", [("memory", ""), ("residual,memory", "memory")])
def test_claim_keeps_whether_there_is_a_search(tmp_path, before, after):
    """Its encoder is trained with the rest."""
    run_folder.claim(tmp_path, config(**{"score.components": before}))
    (tmp_path / "detector.json").touch()
    with pytest.raises(
        RunError, match=f"score.components was '{before}', now '{after}': the search's encoder"
    ):
        run_folder.claim(tmp_path, config(**{"score.components": after, "map.sigma_px": 2.0}))
    assert (tmp_path / "detector.json").exists() and run_folder.load_config(tmp_path).map.sigma_px == 1.0


def test_claim_refuses_a_key_that_this_version_does_not_know(tmp_path):
    run_folder.claim(tmp_path, config())
    path = tmp_path / "config.json"
    values = json.loads(path.read_text())
    values["objective"]["beta"] = 0.5
    path.write_text(json.dumps(values))
    with pytest.raises(RunError, match="objective.beta was 0.5, now None"):
        run_folder.claim(tmp_path, config())


def test_load_config_gives_back_what_was_claimed(tmp_path):
    changed = config(**{"objective.alpha": 0.25, "data.abnormal_count": 64, "schedule.total_kimages": 2.0})
    run_folder.claim(tmp_path, changed)
    loaded = run_folder.load_config(tmp_path)
    assert loaded.to_dict() == changed.to_dict()
    with pytest.raises(AttributeError):  # locked
        loaded.objective.alhpa = 1.0


def test_load_config_of_an_older_run_takes_new_keys_from_the_defaults(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"objective": {"alpha": 0.9}}))
    loaded = run_folder.load_config(tmp_path)
    assert loaded.objective.alpha == 0.9 and loaded.model.resolution == default_config().model.resolution


# What a run of an earlier version wrote, and what it is called now.
EARLIER = {
    "data": {"tile": True, "cache_megabytes": 7, "flips": "hv", "shift_px": 2},
    "objective": {
        "abnormal_share": 0.75,
        "synthetic_share": 0.125,
        "synthetic_kinds": "crack",
        "masks": False,
        "top_share": 0.02,
    },
    "features": {
        "patches": False,
        "memory": 50,
        "memory_trim": 0.1,
        "likeness": False,
        "classifier": False,
        "search": True,
    },
    "search": {"batch_size": 5, "iterations": 3},
}
NOW = {
    "images": {"tile": True, "cache_megabytes": 7},
    "batches": {
        "flips": "hv",
        "shift_px": 2,
        "abnormal_share": 0.75,
        "synthetic_share": 0.125,
        "synthetic_kinds": "crack",
        "masks": False,
    },
    "model": {"top_share": 0.02},
    "features": {"patch_discriminator": False},
    "parts": {"memory": 50, "memory_trim": 0.1, "likeness": False, "classifier": False},
    "search": {"pretrained": True, "iterations": 3},
    "score": {"batch_size": 5},
}


def with_values(values):
    """The default configuration with these nested values."""
    made = default_config()
    made.update(values)
    return made


def test_load_config_takes_old_spellings_of_the_keys(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(EARLIER))
    assert {f"{section}.{key}" for section, keys in EARLIER.items() for key in keys} >= set(MOVED)
    squares = with_values({**NOW, "model": {**NOW["model"], "aspect": 1.0}})
    assert run_folder.load_config(tmp_path).to_dict() == squares.to_dict()


def test_claim_goes_on_with_a_run_of_old_spellings(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(EARLIER))
    (tmp_path / "detector.json").touch()
    before = path.read_bytes()
    for values in (NOW, EARLIER):  # who goes on may say it in the old words too
        assert run_folder.claim(tmp_path, with_values(values)) == []
    assert path.read_bytes() == before and (tmp_path / "detector.json").exists()


def test_claim_names_what_differs_from_a_run_of_old_spellings_as_it_is_called_now(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(EARLIER))
    other = with_values({**NOW, "batches": {**NOW["batches"], "flips": ""}, "model": {"top_share": 0.01}})
    with pytest.raises(RunError) as error:
        run_folder.claim(tmp_path, other)
    for part in ("batches.flips was 'hv', now ''", "model.top_share was 0.02, now 0.01"):
        assert part in str(error.value)
    assert "data.flips" not in str(error.value) and "objective.top_share" not in str(error.value)


def test_claim_writes_the_keys_of_now_where_a_run_of_old_spellings_may_change(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(EARLIER))
    for name in ("detector.json", "metrics.json"):
        (tmp_path / name).touch()
    other = with_values({**NOW, "score": {"batch_size": 6}, "images": {"tile": True, "cache_megabytes": 8}})
    changes = ["images.cache_megabytes was 7, now 8", "score.batch_size was 5, now 6"]
    assert run_folder.claim(tmp_path, other) == changes
    written = json.loads(path.read_text())
    assert (
        written == other.to_dict() and "flips" not in written["data"] and "memory" not in written["features"]
    )
    assert [p.name for p in tmp_path.iterdir()] == ["config.json"]  # it is fitted again


@pytest.mark.parametrize(
    "values, told",
    [
        ({"objective": {"alpha": 0.5, "beta": 1.0}}, "beta"),
        ({"colour": "red"}, "colour"),
        ({"schedule": {"batch_size": "many"}}, "batch_size"),
    ],
)
def test_load_config_names_file_and_key(tmp_path, values, told):
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(RunError) as error:
        run_folder.load_config(tmp_path)
    assert str(error.value).startswith(f"{tmp_path / 'config.json'}: ") and told in str(error.value)


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


@pytest.mark.parametrize(
    "components, init, trained",
    [
        ("", "encoder", True),
        ("", "candidates", False),
        ("memory, residual", "encoder", True),
        ("discriminator,memory", "encoder", False),
    ],
)
def test_an_encoder_is_trained_only_where_a_search_starts_from_it(components, init, trained):
    sizes = {"model.resolution": 8, "model.filters_base": 16, "model.filters_cap": 4, "features.name": ""}
    model = build.build_model(config(**{"score.components": components, "search.init": init, **sizes}))
    assert (model.encoder is not None) == trained
