"""The run folder: the names of its files, who may write it, and how they are read and written."""

import contextlib
import fcntl
import json
import pathlib
import zipfile

import ml_collections

from semi_anogan.components import searches
from semi_anogan.config import SECTIONS, default_config, flat, words
from semi_anogan.errors import RunError
from semi_anogan.files import atomically
from semi_anogan.runs import checkpoint

CONFIG = "config.json"
DETECTOR = "detector.json"
MEMORY = "memory.npz"
LIKENESS = "likeness.npz"
CLASSIFIER = "classifier.npz"
SUSPICIOUS = "suspicious.csv"
METRICS = "metrics.json"
SCORES = "scores.csv"
REPORT = "report.html"
CHECKPOINTS = "checkpoints"
EVENTS = "events"
# Settings that may change when a run goes on, because they decide nothing about its weights.
FREE_KEYS = ("train.log_steps", "train.checkpoint_kimages", "images.cache_megabytes", "name")
# Settings of the detector: where they change it is fitted again.
DETECTOR_KEYS = (
    "calibration.false_alarm_rate",
    "data.reviewed",
    "map.sigma_px",
    "score.components",
    "score.batch_size",
    *(f"parts.{name}" for name in SECTIONS["parts"]),
    *(f"search.{name}" for name in SECTIONS["search"] if name != "init"),
)


def write_json(path, values: dict):
    """Writes JSON atomically."""
    with atomically(path, RunError) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n")


def read_json(path) -> dict:
    """RunError where the file is missing or is no JSON object."""
    try:
        values = json.loads(pathlib.Path(path).read_text())
    except FileNotFoundError:
        raise RunError(
            f"{path}: no such file; is {pathlib.Path(path).parent} a run folder of a training?"
        ) from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise RunError(f"{path}: expected a JSON object, got {type(values).__name__}")
    return values


def write_arrays(path, arrays: dict):
    """Writes named arrays (.npz) atomically; RunError when it cannot be written."""
    import numpy as np

    with atomically(path, RunError) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)


def read_arrays(path, make):
    """make(**arrays) of the named arrays (.npz) in a file; RunError where it is damaged."""
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as file:
            return make(**{name: file[name] for name in file.files})
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise RunError(f"{path}: cannot be read: {error}") from error


@contextlib.contextmanager
def locked(folder):
    """Makes the folder and holds its lock, until the process ends. RunError when it is taken."""
    folder = pathlib.Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / "lock", "w")
    except OSError as error:
        raise RunError(f"{folder}: cannot be used as a run folder: {error.strerror or error}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunError(f"{folder}: another training is running in this folder") from None
        yield folder


def claim(folder, config) -> list[str]:
    """Writes the resolved config to a new run folder, or checks that the folder's run goes on with this one.

    Where a setting of the detector differs from the earlier one, what was made with that is removed, but not
    the trained weights.

    Returns: the settings that differ, in words. Raises: RunError naming each setting that must not.
    """
    folder = pathlib.Path(folder)
    path = folder / CONFIG
    if not path.exists():
        write_json(path, config.to_dict())
        return []
    # A key that an earlier version did not know had its default.
    default, earlier, now = (
        flat(json.loads(json.dumps(c)))
        for c in (default_config().to_dict(), read_json(path), config.to_dict())
    )
    earlier = {**default, **earlier}
    for values in (earlier, now):  # none is 1, which it was in earlier versions
        values["model.aspect"] = values["model.aspect"] or 1.0
    differing = [k for k in sorted({*earlier, *now}) if earlier.get(k) != now.get(k)]
    changes = {k: f"{k} was {earlier.get(k)!r}, now {now.get(k)!r}" for k in differing}
    refused = [k for k in differing if k not in FREE_KEYS + DETECTOR_KEYS]
    searched, searching = (searches(words(c["score.components"] or "")) for c in (earlier, now))
    if searched != searching:
        refused.append("score.components")
        changes["score.components"] += ": the search's encoder is trained with the rest, or not at all"
    if "data.reviewed" in differing and not (folder / DETECTOR).exists():
        refused.append("data.reviewed")
        changes["data.reviewed"] += ": the images in training change only when it has finished"
    if refused:
        reasons = "; ".join(changes[k] for k in refused)
        raise RunError(f"{folder}: holds a run with other settings ({reasons}); give another --workdir")
    if set(differing) & set(DETECTOR_KEYS):
        for name in (METRICS, DETECTOR):
            (folder / name).unlink(missing_ok=True)
    if differing:
        write_json(path, config.to_dict())
    return list(changes.values())


def load_config(folder) -> ml_collections.ConfigDict:
    """The resolved config of a run folder; RunError names a key that this version does not know."""
    config = default_config()
    values = read_json(pathlib.Path(folder) / CONFIG)
    try:
        config.update(ml_collections.ConfigDict(values))
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{pathlib.Path(folder) / CONFIG}: {error}") from error
    if "aspect" not in values.get("model", {}):  # of an earlier version, to which all images were squares
        config.model.aspect = 1.0
    return config


def read_progress(folder) -> dict:
    """The progress of the newest readable checkpoint of a run folder."""
    progress = checkpoint.latest_progress(pathlib.Path(folder) / CHECKPOINTS)
    if progress is None:
        raise RunError(f"{pathlib.Path(folder) / CHECKPOINTS}: holds no checkpoint")
    return progress
