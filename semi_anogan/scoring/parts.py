"""The parts of a detector that are fitted to pretrained features, and their files in a run folder."""

import pathlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

from semi_anogan.runs import folder as run_folder
from semi_anogan.scoring.classifier import Classifier
from semi_anogan.scoring.likeness import Likeness
from semi_anogan.scoring.memory import Memory
from semi_anogan.scoring.segmentation import Segmentation


class Part(NamedTuple):
    """A part by its file in the run folder, and the function that makes it of the arrays there."""

    file: str
    of_arrays: Callable


# By name: that of the component, of Detector's argument, and of the key in the section `parts`.
PARTS = {
    "memory": Part(run_folder.MEMORY, Memory.of_arrays),
    "likeness": Part(run_folder.LIKENESS, Likeness.of_arrays),
    "classifier": Part(run_folder.CLASSIFIER, Classifier),
    "segmentation": Part(run_folder.SEGMENTATION, Segmentation.of_arrays),
}


def read_parts(folder: pathlib.Path, names: Iterable[str] = tuple(PARTS)) -> dict:
    """Those of the named parts that a run has, by name. RunError names a file that is damaged."""
    there = {name: PARTS[name] for name in names if (folder / PARTS[name].file).exists()}
    return {name: run_folder.read_arrays(folder / part.file, part.of_arrays) for name, part in there.items()}


def write_parts(folder: pathlib.Path, parts: dict):
    """Writes the parts by name; the file of one that is None or not there is removed."""
    for name, part in PARTS.items():
        if parts.get(name) is None:
            (folder / part.file).unlink(missing_ok=True)
        else:
            run_folder.write_arrays(folder / part.file, parts[name].arrays())
