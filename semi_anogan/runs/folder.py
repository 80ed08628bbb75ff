"""The run folder: the names of its files, who may write it, and how they are read and written."""

import contextlib
import json
import pathlib
import zipfile

import ml_collections

from semi_anogan.config import SECTIONS, default_config, flat
from semi_anogan.errors import RunError
from semi_anogan.files import atomically
from semi_anogan.runs import checkpoint
from semi_anogan.versions import RUN_FOLDERS, refusal

CONFIG = "config.json"
DETECTOR = "detector.json"
MEMORY = "memory.npz"
REMEMBERED = "remembered.json"
LIKENESS = "likeness.npz"
CLASSIFIER = "classifier.npz"
SEGMENTATION = "segmentation.npz"
EVIDENCE = "evidence.npz"
SUSPICIOUS = "suspicious.csv"
METRICS = "metrics.json"
SCORES = "scores.csv"
REPORT = "report.html"
DATA = "data.json"
IGNORE = "ignore.png"
FILES = "files.csv"
CHECKPOINTS = "checkpoints"
EVENTS = "events"
ANOTHER = "give another --workdir"  # what to do where a run cannot go on
# Settings that may change when a run goes on, because they decide nothing about its weights.
FREE_KEYS = (
    "train.log_steps",
    "train.checkpoint_kimages",
    "images.cache_megabytes",
    "data.max_pixels",
    "data.ignore",  # where it lies; what it is decides, data.ignore_digest
    "name",
)
# Where the images are.
PLACE_KEYS = ("data.root", "data.path")
# Settings that follow from the data where they are not given: a run goes on with what it found at first.
FOUND_KEYS = (
    "data.white",
    "data.black",
    "model.aspect",
    "features.sizes",
    "features.trainable_blocks",
)
# Settings of the detector: where they change it is fitted again.
DETECTOR_KEYS = (
    "calibration.false_alarm_rate",
    "calibration.mislabelled_share",
    "data.reviewed",
    "map.sigma_px",
    "score.components",
    "score.batch_size",
    *(f"parts.{name}" for name in SECTIONS["parts"]),
    *(f"search.{name}" for name in SECTIONS["search"]),
)
# Keys that came within this format -> what a run without them was trained with.
ADDED = {
    "data.good": None,
    "data.test_folder": None,
    "data.white": 65535.0,
    "data.black": 0.0,
    "data.max_pixels": None,
    "data.ignore": None,
    "data.ignore_digest": None,
    "search.image_weight": 1.0,
    "calibration.mislabelled_share": 0.0,
}


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
    import filelock

    folder = pathlib.Path(folder)
    lock = filelock.FileLock(folder / "lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = lock.acquire(timeout=0)
    except filelock.Timeout:
        raise RunError(f"{folder}: another training is running in this folder") from None
    except OSError as error:
        raise RunError(f"{folder}: cannot be used as a run folder: {error.strerror or error}") from error
    with held:
        yield folder


def claim(folder, config) -> list[str]:
    """Writes the resolved config to a new run folder, or checks that the folder's run goes on with this one.

    Where a setting of the detector differs from the earlier one, what was made with that is removed, but not
    the trained weights.

    Returns: the settings that differ, in words. Raises: RunError naming each setting that must not.
    """
    folder = pathlib.Path(folder)
    if not (folder / CONFIG).exists():
        write_settings(folder, config)
        return []
    changes = differing(folder, config)
    if set(changes) & set(DETECTOR_KEYS):
        for name in (METRICS, DETECTOR):
            (folder / name).unlink(missing_ok=True)
    if changes:
        write_settings(folder, config)
    return list(changes.values())


def differing(folder, config) -> dict[str, str]:
    """The settings in which a resolved config differs from that of the folder's run: key -> both values.

    Where the run has recorded its files, it is these that say whether the data are the same, not the place.

    Raises: RunError naming each setting that must not differ.
    """
    folder = pathlib.Path(folder)
    earlier, now = flat(read_settings(folder, ANOTHER)), flat(json.loads(json.dumps(config.to_dict())))
    for values in (earlier, now):  # nothing has resolved it: a square
        values["model.aspect"] = values["model.aspect"] or 1.0
    differing = [k for k in sorted(now) if earlier[k] != now[k]]
    changes = {k: f"{k} was {earlier[k]!r}, now {now[k]!r}" for k in differing}
    if "data.ignore_digest" in differing:
        changes["data.ignore_digest"] = (
            f"data.ignore is another mask than the run's: {now['data.ignore']!r}, it was "
            f"{earlier['data.ignore']!r}"
        )
    free = FREE_KEYS + DETECTOR_KEYS + (PLACE_KEYS if (folder / FILES).exists() else ())
    refused = [k for k in differing if k not in free]
    if "data.reviewed" in differing and not (folder / DETECTOR).exists():
        refused.append("data.reviewed")
        changes["data.reviewed"] += ": the images in training change only when it has finished"
    if refused:
        reasons = "; ".join(changes[k] for k in refused)
        raise RunError(f"{folder}: holds a run with other settings ({reasons}); {ANOTHER}")
    return changes


def write_ignore(folder, mask):
    """Keeps the mask of what is ignored in every image, bool [H, W]; None for no mask."""
    from semi_anogan.data import ignore

    if mask is not None:
        with atomically(pathlib.Path(folder) / IGNORE, RunError) as temporary:
            temporary.write_bytes(ignore.png_of(mask))


def differing_lines(folder, config) -> list[str]:
    """The settings that differ, in words, as `claim` returns them; nothing is written."""
    return list(differing(folder, config).values())


def write_settings(folder, config):
    """Writes config.json."""
    write_json(pathlib.Path(folder) / CONFIG, {"format": max(RUN_FOLDERS), **config.to_dict()})


def data_notes(folder, lines: list[str], go_on: bool = False) -> list[str]:
    """The notes on the data that data.json of a run folder keeps; where it has none, these lines.

    go_on: of a run that has begun, whose images are not read again; False: the lines are those of now, and
      are written.
    """
    path = pathlib.Path(folder) / DATA
    kept = read_json(path) if path.exists() else {}
    if go_on:
        return list(kept.get("notes", lines))
    write_json(path, {**kept, "notes": lines})
    return lines


def keep_places(folder, places: dict):
    """Puts into data.json where the data are (runs/places.py), if that is not there yet."""
    path = pathlib.Path(folder) / DATA
    kept = read_json(path) if path.exists() else {}
    if kept.get("places") != places:
        write_json(path, {**kept, "places": places})


def inherit(config, folder):
    """Sets those of FOUND_KEYS that are not given to what a run that has begun has found."""
    if not (pathlib.Path(folder) / CONFIG).exists():
        return
    earlier = flat(read_settings(folder, ANOTHER))
    for key in FOUND_KEYS:
        section, name = key.split(".")
        if config[section][name] is None and earlier[key] is not None:
            config[section][name] = earlier[key]


def check_format(folder, instead: str = "train again"):
    """RunError where a run has begun in this folder that this version does not read; see read_settings."""
    if (pathlib.Path(folder) / CONFIG).exists():
        read_settings(folder, instead)


def read_settings(folder, instead: str = "train again") -> dict:
    """The settings in a run folder's config.json, nested.

    Args: instead: what to do where the run is of another format.
    Raises: RunError for another format, and for keys that are missing or that there are not.
    """
    path = pathlib.Path(folder) / CONFIG
    values = read_json(path)
    if told := refusal(path, values.pop("format", 1), RUN_FOLDERS, instead):
        raise RunError(told)
    _add_missing(values)
    found, known = set(flat(values)), set(flat(default_config().to_dict()))
    if found != known:
        missing, unknown = (", ".join(sorted(keys)) or "none" for keys in (known - found, found - known))
        raise RunError(f"{path}: missing keys: {missing}; unknown keys: {unknown}")
    return values


def _add_missing(values: dict):
    """Gives the settings of a run those of ADDED that it has not."""
    from semi_anogan.data.catalog import OF_FILES

    for key, value in ADDED.items():
        section, name = key.split(".")
        own = values.get(section)
        if isinstance(own, dict):
            of_no_files = name in ("white", "black") and own.get("name") not in OF_FILES
            own.setdefault(name, None if of_no_files else value)


def read_metrics(folder) -> dict:
    """A finished run's metrics.json; RunError as for read_settings, or where there is none."""
    read_settings(folder)
    return read_json(pathlib.Path(folder) / METRICS)


def load_config(folder) -> ml_collections.ConfigDict:
    """The resolved config of a run folder; RunError as for read_settings, or for a value of another type.

    data.ignore is the run's own copy of the mask.
    """
    config = default_config()
    values = read_settings(folder)
    try:
        config.update(ml_collections.ConfigDict(values))
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{pathlib.Path(folder) / CONFIG}: {error}") from error
    if config.data.ignore:
        config.data.ignore = str(pathlib.Path(folder) / IGNORE)
    return config


def read_progress(folder) -> dict:
    """The progress of the newest readable checkpoint of a run folder."""
    progress = checkpoint.latest_progress(pathlib.Path(folder) / CHECKPOINTS)
    if progress is None:
        raise RunError(f"{pathlib.Path(folder) / CHECKPOINTS}: holds no checkpoint")
    return progress
