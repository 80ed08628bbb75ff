"""ELPV: electroluminescence images of solar cells (Buerhop-Lutz et al. 2018; Deitsch et al. 2019).

The images, 300 x 300 grey, come from the PyPI package elpv-dataset and stay where it puts them (licence
CC BY-NC-SA 4.0). Its file data/labels.csv gives each cell the probability that it is defective: 0, 1/3, 2/3
or 1.
"""

import importlib.util
import os

import numpy as np

from semi_anogan.data.dataset import ABNORMAL, NORMAL, Dataset, Example
from semi_anogan.data.sources import manifest
from semi_anogan.data.sources.files import choose_training, file_dataset
from semi_anogan.errors import DataError


def load(
    channels: int,
    path: str | None = None,
    root: str | None = None,
    abnormal_count: int | None = None,
    uncertain: bool = True,
    test_normal: int = 400,
    test_abnormal: int = 300,
    seed: int = 0,
    contamination: float = 0.0,
) -> Dataset:
    """Loads the cells by a manifest, or splits them.

    The split: cells of probability 0 are normal and those of probability 1 abnormal. After a seeded shuffle
    the first `test_normal` and `test_abnormal` of them are for testing and the rest for training. Cells of
    probability 1/3 go to training as normal ones: some are defective, which is real label noise (about a
    fifth of the normal training images, 295 of 1403). Cells of probability 2/3 are not used.

    Args:
      channels: 1 or 3.
      path: CSV manifest (see `manifest.load`) with paths such as images/cell0001.png; uncertain,
        test_normal, test_abnormal and seed then have no effect.
      root: folder that holds labels.csv and images/; by default the installed package's.
      abnormal_count, contamination: as in `files.choose_training`; there are 415 known abnormal ones.
      uncertain: whether the cells of probability 1/3 are used.
      test_normal: number of normal test images.
      test_abnormal: number of abnormal test images.
      seed: of the shuffle.

    Raises:
      DataError: package not installed, files missing, or a setting that cannot be met.
    """
    root = package_root() if root is None else os.fspath(root)
    if path is not None:
        return manifest.load(channels, path, root, abnormal_count, contamination)
    labels_file = os.path.join(root, "labels.csv")
    cells = _read_labels(labels_file)
    rng = np.random.default_rng(seed)
    good, bad = (
        rng.permutation([name for name, p in cells if p == wanted]).tolist() for wanted in (0.0, 1.0)
    )
    noisy = [name for name, p in cells if 0.0 < p < 0.5] if uncertain else []
    if not (0 <= test_normal < len(good) and 0 <= test_abnormal <= len(bad)):
        raise DataError(
            f"{labels_file}: data.test_normal is {test_normal!r} and data.test_abnormal {test_abnormal!r}; "
            f"there are {len(good)} normal and {len(bad)} abnormal cells, and training needs normal ones"
        )
    training = rng.permutation(good[test_normal:] + noisy).tolist()
    examples = [Example(name, "train", NORMAL) for name in training]
    examples += [Example(name, "train", ABNORMAL) for name in bad[test_abnormal:]]
    examples += [Example(name, "test", NORMAL) for name in good[:test_normal]]
    examples += [Example(name, "test", ABNORMAL) for name in bad[:test_abnormal]]
    examples = choose_training(examples, abnormal_count, contamination, labels_file)
    return file_dataset("elpv", root, examples, channels)


def package_root() -> str:
    """Folder of the installed package that holds labels.csv and images/; DataError if it is not installed."""
    spec = importlib.util.find_spec("elpv_dataset")
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            "elpv: the package elpv-dataset is not installed: pip install semi_anogan[elpv]; or set "
            "data.root to the folder that holds its labels.csv and images"
        )
    return os.path.join(list(spec.submodule_search_locations)[0], "data")


def _read_labels(path: str) -> list[tuple[str, float]]:
    """(image path, probability of a defect) per cell, from lines like "images/cell0001.png  1.0  mono"."""
    cells, row, line = [], 0, ""
    try:
        with open(path, encoding="utf-8") as file:
            for line in file:
                row += 1
                if line.strip():
                    name, probability, _ = line.split()
                    cells.append((name, float(probability)))
    except ValueError:
        raise DataError(f"{path}: row {row}: wanted path, probability and type, not {line!r}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    return cells
