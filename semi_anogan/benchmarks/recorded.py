"""What was measured of a finished run's images: for benchmarks of scores and thresholds, without images."""

import csv
import pathlib
from typing import NamedTuple

import numpy as np

from semi_anogan.errors import RunError
from semi_anogan.runs import build, places
from semi_anogan.runs import folder as run_folder
from semi_anogan.scoring.evidence import Evidence, read_evidence


class Recorded(NamedTuple):
    """The components of a run's images.

    Attributes:
      evidence: of the held-out images.
      test: float64 [N, K], of the test images; abnormal: bool [N], the truth.
      mislabelled: bool, which of the held-out normal images the source knows to be abnormal.
    """

    evidence: Evidence
    test: np.ndarray
    abnormal: np.ndarray
    mislabelled: np.ndarray

    @classmethod
    def of_run(cls, folder) -> "Recorded":
        """What a finished run measured; RunError for what it lacks."""
        evidence = read_evidence(folder)
        path = pathlib.Path(folder) / run_folder.SCORES
        try:
            with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
                rows = list(csv.DictReader(file))
            test = np.array([[float(row[name]) for name in evidence.names] for row in rows])
        except (OSError, KeyError, ValueError) as error:
            raise RunError(f"{path}: cannot be read as the scores of the run: {error}") from error
        abnormal = np.array([row["truth"] == "abnormal" for row in rows])
        config = run_folder.load_config(folder)
        places.find(config, folder)
        _, splits, _ = build.load_data(config, folder)
        return cls(evidence, test, abnormal, np.array([e.mislabelled for e in splits.held_out_normal]))

    @classmethod
    def read(cls, path) -> "Recorded":
        """The inverse of `write`."""
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
        own = [arrays.pop(name) for name in ("test", "test_abnormal", "mislabelled")]
        return cls(Evidence.of_arrays(**arrays), *own)

    def write(self, path):
        """Writes a small file: components in single precision, none of the images."""
        own = {"test": self.test, "test_abnormal": self.abnormal, "mislabelled": self.mislabelled}
        arrays = {**self.evidence.arrays(), **own}
        small = {k: v.astype(np.float32) if v.dtype == np.float64 else v for k, v in arrays.items()}
        with open(path, "wb") as file:
            np.savez_compressed(file, **small)
