"""MNIST digits: some digits are normal, the rest abnormal (Kimura & Yanagihara 2018, section on MNIST)."""

import os
import zipfile

import numpy as np

from semi_anogan.data.dataset import Dataset
from semi_anogan.data.sources.classes import class_dataset
from semi_anogan.errors import DataError

HINT = (
    "Without it, set data.path to a file in Keras layout (an npz with x_train, y_train, x_test, y_test), "
    "such as https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
)


def load(
    channels: int,
    path: str | None = None,
    normal_classes=(0,),
    contamination: float = 0.0,
    abnormal_count: int | None = 0,
    seed: int = 0,
    root: str | None = None,
) -> Dataset:
    """Loads the digits, 28 x 28, padded to 32 x 32 with their background (-1).

    Args:
      channels: 1 or 3.
      path: npz file in Keras layout; by default the data comes from TensorFlow Datasets.
      normal_classes: the normal digits: one, a list, or a string such as "0,4".
      contamination: share in [0, 1) of the images given to training as normal that are other digits in truth.
      abnormal_count: how many known abnormal images training gets, spread evenly over the other digits, none
        of them among the contaminating ones; None: all.
      seed: chooses the contaminating and the known abnormal images.
      root: without path: folder where TensorFlow Datasets keeps the data, by default its own.

    Raises:
      DataError: file not there or not as expected, data not available, or a setting that cannot be met.
    """
    if path is None:
        from semi_anogan.data.sources.tfds import load_arrays

        train, test, _ = load_arrays("mnist", root, hint=HINT)
    else:
        train, test = _read_npz(os.fspath(path))
    return class_dataset(
        "mnist",
        train,
        test,
        channels,
        normal_classes=normal_classes,
        contamination=contamination,
        abnormal_count=abnormal_count,
        seed=seed,
        class_names=[str(digit) for digit in range(10)],
        prepare=lambda image: np.pad(image, ((2, 2), (2, 2), (0, 0))),  # [28, 28, 1] -> [32, 32, 1]
    )


def _read_npz(path: str) -> tuple[tuple, tuple]:
    """(images [N, 28, 28, 1], labels [N]) of training and of testing, from a file in Keras layout."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("x_train", "y_train", "x_test", "y_test")}
    except KeyError as error:
        raise DataError(f"{path}: not in Keras layout: {error.args[0]}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, EOFError, TypeError, IndexError, zipfile.BadZipFile):
        # Not numpy's own text, which advises pickle.
        raise DataError(f"{path}: cannot be read as an npz file of plain arrays") from None
    for split in ("train", "test"):
        x, y = arrays[f"x_{split}"], arrays[f"y_{split}"]
        if x.dtype != np.uint8 or x.shape[1:] != (28, 28) or y.shape != x.shape[:1]:
            raise DataError(
                f"{path}: x_{split} is {x.dtype} {x.shape} and y_{split} {y.dtype} {y.shape}; wanted "
                "uint8 (N, 28, 28) and (N,)"
            )
        if y.dtype.kind not in "iu" or (y.size and not 0 <= y.min() <= y.max() <= 9):
            raise DataError(f"{path}: y_{split} must be whole numbers from 0 to 9")
    return tuple((arrays[f"x_{split}"][..., None], arrays[f"y_{split}"]) for split in ("train", "test"))
