"""Checkpoints: one .npz per step, written atomically, the same under every backend, without pickle."""

import json
import logging
import pathlib
import re
import zipfile
import zlib

import numpy as np

from semi_anogan.errors import CheckpointError
from semi_anogan.files import atomically, told_writing

KEEP = 2
_NAME = re.compile(r"^step_(\d{8})\.npz$")
_AGAIN = "the train command of the run makes it again"
_DAMAGES = (OSError, zipfile.BadZipFile, EOFError, ValueError, KeyError)


def save(folder, model, progress: dict) -> pathlib.Path:
    """Writes every variable of the model and its optimizer, and `progress` (JSON values, with "step").

    The last KEEP checkpoints are kept.

    The file appears under its name only when it is complete and on disk, so a process killed at any moment
    leaves the earlier checkpoint as it was. CheckpointError when it cannot be written (a full disk, say);
    nothing is lost then.
    """
    folder = pathlib.Path(folder)
    path = _path(folder, progress["step"])
    arrays = {name: np.asarray(v) for name, v in _named_variables(model).items()}
    arrays["progress"] = np.frombuffer(json.dumps(progress).encode(), np.uint8)
    with told_writing(folder, CheckpointError):
        folder.mkdir(parents=True, exist_ok=True)
    with atomically(path, CheckpointError, synced=True) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)
    for old in steps(folder)[:-KEEP]:
        old.unlink(missing_ok=True)
    for left in folder.glob("*.tmp"):
        left.unlink(missing_ok=True)
    return path


def _path(folder, step: int) -> pathlib.Path:
    return pathlib.Path(folder) / f"step_{step:08d}.npz"


def steps(folder) -> list[pathlib.Path]:
    """The checkpoint files of a folder, oldest first."""
    folder = pathlib.Path(folder)
    return sorted(p for p in folder.glob("step_*.npz") if _NAME.match(p.name)) if folder.is_dir() else []


def restore_latest(folder, model) -> dict | None:
    """Restores the newest readable checkpoint and returns its progress; None where there is no checkpoint.

    A damaged file is reported and passed over for the one before; CheckpointError when all are damaged.
    """
    return _newest(folder, lambda path: restore(path, model))


def restore_step(folder, step: int, model):
    """Restores the checkpoint of a step; CheckpointError where it is missing or damaged."""
    path = _path(folder, step)
    try:
        restore(path, model)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: missing; {_AGAIN}") from None
    except _DAMAGES as error:
        raise CheckpointError(f"{path}: damaged: {error}; {_AGAIN}") from error


def latest_progress(folder) -> dict | None:
    """Only the progress of the newest readable checkpoint; None where there is no checkpoint."""
    return _newest(folder, lambda path: _read(path)[1])


_told: set[pathlib.Path] = set()  # damaged files that were reported


def _newest(folder, read):
    files = steps(folder)
    for path in reversed(files):
        try:
            return read(path)
        except _DAMAGES as error:
            if path not in _told:  # it is read again for the weights
                _told.add(path)
                logging.warning("%s: damaged checkpoint passed over: %s", path, error)
    if files:
        raise CheckpointError(
            f"{folder}: none of its {len(files)} checkpoints can be read; start again in another folder"
        )
    return None


def restore(path, model) -> dict:
    """Restores a checkpoint into the model (its optimizer too, if compiled) and returns its progress."""
    named = _named_variables(model)
    arrays, progress = _read(path)
    if getattr(model, "optimizer", None) is None:
        arrays = {name: a for name, a in arrays.items() if not name.startswith("optimizer/")}
    expected = {name: tuple(v.shape) for name, v in named.items()}
    found = {name: a.shape for name, a in arrays.items()}
    if expected != found:
        name = next(n for n in [*expected, *found] if expected.get(n) != found.get(n))
        raise CheckpointError(
            f"{path}: does not fit the model: {name} is {found.get(name)} in the file, "
            f"{expected.get(name)} in the model"
        )
    for name, variable in named.items():
        variable.assign(arrays[name])
    return progress


def _read(path) -> tuple[dict[str, np.ndarray], dict]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (
        RuntimeError,
        zlib.error,
    ) as error:  # what zipfile raises for damage that looks like an unknown kind of entry
        raise zipfile.BadZipFile(str(error)) from error
    return arrays, json.loads(arrays.pop("progress").tobytes())


def _named_variables(model) -> dict:
    """Variables by names that depend on neither the backend nor on counters of layer names."""
    named = {f"model/{index:04d}": v for index, v in enumerate(model.variables)}
    if getattr(model, "optimizer", None) is not None:
        named |= {f"optimizer/{index:04d}": v for index, v in enumerate(model.optimizer.variables)}
    return named
