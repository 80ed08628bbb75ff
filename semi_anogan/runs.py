"""The run folder: what is in it, who may write it, and what is rebuilt from it."""

import contextlib
import fcntl
import json
import os
import pathlib

import ml_collections

from semi_anogan.config import default_config, words

CONFIG, DETECTOR, MEMORY, LIKENESS, CLASSIFIER, SUSPICIOUS, METRICS, SCORES, REPORT, CHECKPOINTS, EVENTS = (
    "config.json",
    "detector.json",
    "memory.npz",
    "likeness.npz",
    "classifier.npz",
    "suspicious.csv",
    "metrics.json",
    "scores.csv",
    "report.html",
    "checkpoints",
    "events",
)
# Keys that may change when a run goes on, because they decide nothing about its weights; those of the detector have it fitted again.
FREE_KEYS = ("train.log_steps", "train.checkpoint_kimages", "data.cache_megabytes", "name")
DETECTOR_KEYS = (
    "calibration.false_alarm_rate", "data.reviewed", "features.memory", "features.memory_trim", "features.likeness",
    "features.classifier", "features.search",
    "map.sigma_px", "score.components", "search.iterations", "search.feature_weight", "search.learning_rate",
    "search.restarts", "search.candidates", "search.patience", "search.batch_size",
)
_SOURCE_FREE = ("name", "reviewed", "tile", "flips", "shift_px", "cache_megabytes")  # data keys that are not options of the source


class RunError(RuntimeError):
    """A run folder that is missing, in use, damaged or of another run; the message names the file and the value."""


@contextlib.contextmanager
def atomically(path):
    """A path to write to that takes the place of `path` at the end. RunError when it cannot be written; the file is then what it was."""
    path = pathlib.Path(path)
    temporary = path.with_name(path.name + ".tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise RunError(f"{path}: cannot be written: {error.strerror or error}") from error


def write_json(path, values: dict):
    """Writes JSON atomically."""
    with atomically(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n")


def read_json(path) -> dict:
    """RunError where the file is missing or is no JSON object."""
    try:
        values = json.loads(pathlib.Path(path).read_text())
    except FileNotFoundError:
        raise RunError(f"{path}: no such file; is {pathlib.Path(path).parent} a run folder of a training?") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise RunError(f"{path}: expected a JSON object, got {type(values).__name__}")
    return values


@contextlib.contextmanager
def locked(folder):
    """Makes the folder and holds its lock; the lock ends with the process, however it ends. RunError when it is taken."""
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

    Where a setting of the detector differs from the earlier one, what was made with that is removed, but not the trained weights.

    Returns: the settings that differ, in words. Raises: RunError naming each setting that must not.
    """
    folder = pathlib.Path(folder)
    path = folder / CONFIG
    if not path.exists():
        write_json(path, config.to_dict())
        return []
    # A key that an earlier version did not know had its default.
    default, earlier, now = (_flat(json.loads(json.dumps(c))) for c in (default_config().to_dict(), read_json(path), config.to_dict()))
    earlier = {**default, **earlier}
    differing = [k for k in sorted({*earlier, *now}) if earlier.get(k) != now.get(k)]
    changes = {k: f"{k} was {earlier.get(k)!r}, now {now.get(k)!r}" for k in differing}
    refused = [k for k in differing if k not in FREE_KEYS + DETECTOR_KEYS]
    if "score.components" in differing and _searches(earlier.get("score.components") or "") != _searches(config.score.components):
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
    return config


def load_data(config):
    """(Dataset, Splits, ImageStore) of a config."""
    from semi_anogan import data
    from semi_anogan.data import review
    from semi_anogan.data.batches import ImageStore
    from semi_anogan.data.splits import split

    options = {k: v for k, v in config.data.to_dict().items() if k not in _SOURCE_FREE}
    dataset = data.load(config.data.name, config.model.channels, **options)
    store = ImageStore(dataset, config.model.resolution, config.data.tile, config.data.cache_megabytes, image_size(config))
    splits = split(dataset, config.calibration.hold_out_share, config.seed)
    if config.data.reviewed:
        splits = review.apply(splits, review.read(config.data.reviewed), config.data.reviewed)
    return dataset, splits, store


def image_size(config) -> int:
    """Side of the images that the model of a config takes."""
    return max(config.model.resolution, config.features.resolution if config.features.name else 0)


def resolve(config, known: int, folder=None):
    """Fills in the settings that follow from the data: how much of the pretrained network is fine-tuned.

    known: number of known abnormal images to train with. With 10 of them fine-tuning overfits, with 128 it gains most. folder: of a run
    that may have begun, with what was then known: it goes on with that.
    """
    begun = folder is not None and config.data.reviewed and (pathlib.Path(folder) / CONFIG).exists()
    if begun and config.features.trainable_blocks is None:
        config.features.trainable_blocks = load_config(folder).features.trainable_blocks
    elif config.features.trainable_blocks is None:
        embedded = config.features.name == "efficientnet_lite0"
        config.features.trainable_blocks = min(6, known // 16) if embedded and config.objective.alpha < 1 else 0


def build_model(config):
    """An untrained SemiAnoGAN, not compiled."""
    import keras

    from semi_anogan.model import SemiAnoGAN

    keras.utils.set_random_seed(config.seed)
    try:
        return SemiAnoGAN(
            **config.model,
            top_share=config.objective.top_share,
            features=config.features.to_dict(),
            encoder=config.search.init == "encoder" and _searches(config.score.components),
            seed=config.seed,
        )
    except ValueError as error:
        raise RunError(f"bad setting: {error}") from error


def load_model(folder, config):
    """The SemiAnoGAN of a run folder's newest checkpoint; RunError where there is none."""
    from semi_anogan import checkpoint

    model = build_model(config)
    if checkpoint.restore_latest(pathlib.Path(folder) / CHECKPOINTS, model) is None:
        raise RunError(f"{pathlib.Path(folder) / CHECKPOINTS}: holds no checkpoint")
    return model


def _searches(components: str) -> bool:
    from semi_anogan.components import OF_SEARCH

    return not words(components) or bool(set(words(components)) & set(OF_SEARCH))


def search_settings(config, **changes) -> dict:
    """The keyword arguments of LatentSearch that a config says, with changes."""
    return {**{k: v for k, v in config.search.items() if k not in ("batch_size", "init")}, "seed": config.seed, **changes}


def build_detector(config, model, **overrides):
    """A detector without calibration."""
    from semi_anogan.detector import Detector

    settings = {
        "search": search_settings(config),
        "tile": config.data.tile,
        "map_sigma_px": config.map.sigma_px,
        "batch_size": config.search.batch_size,
        "components": words(config.score.components),
    }
    try:
        return Detector(model, **{**settings, **overrides})
    except ValueError as error:
        raise RunError(f"bad setting: {error}") from error


def load_detector(folder, **overrides):
    """The calibrated detector of a run folder; RunError names the file that is missing or does not fit."""
    folder = pathlib.Path(folder)
    config = load_config(folder)
    state = read_json(folder / DETECTOR) if (folder / DETECTOR).exists() else None
    if state is None:
        raise RunError(f"{folder / DETECTOR}: missing, so the training has not finished; run train with --workdir={folder}")
    model = load_model(folder, config)
    try:
        detector = build_detector(config, model, **{**_fitted_to_features(folder), **overrides})
        detector.restore(state)
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{folder / DETECTOR}: {error}") from error
    return detector


def write_arrays(path, arrays: dict):
    """Writes named arrays (.npz) atomically; RunError when it cannot be written."""
    import numpy as np

    with atomically(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)


def _fitted_to_features(folder) -> dict:
    """What was fitted to the pretrained features, by its name among the arguments of Detector, as far as the run has it."""
    from semi_anogan.classifier import Classifier
    from semi_anogan.likeness import Likeness
    from semi_anogan.memory import Memory

    files = {"memory": (MEMORY, Memory), "likeness": (LIKENESS, Likeness.of_arrays), "classifier": (CLASSIFIER, Classifier)}
    return {name: read_arrays(folder / file, make) for name, (file, make) in files.items() if (folder / file).exists()}


def read_arrays(path, make):
    """make(**arrays) of the named arrays (.npz) in a file; RunError where it is damaged."""
    import zipfile

    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as file:
            return make(**{name: file[name] for name in file.files})
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise RunError(f"{path}: cannot be read: {error}") from error


def read_progress(folder) -> dict:
    """The progress of the newest readable checkpoint of a run folder."""
    from semi_anogan import checkpoint

    progress = checkpoint.latest_progress(pathlib.Path(folder) / CHECKPOINTS)
    if progress is None:
        raise RunError(f"{pathlib.Path(folder) / CHECKPOINTS}: holds no checkpoint")
    return progress


def _flat(values: dict, prefix: str = "") -> dict:
    flat = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
