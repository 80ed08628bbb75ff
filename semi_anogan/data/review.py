"""Labels that a person gave after a look at training images."""

import os

from semi_anogan.data.dataset import ABNORMAL, NORMAL
from semi_anogan.data.listing import csv_rows
from semi_anogan.errors import DataError


def read(path) -> dict[str, str]:
    """Path -> "normal" or "abnormal", of the rows of a CSV file that have a label.

    The file may be a run's suspicious.csv, say, filled in.

    Raises: DataError naming the file, the row and the value.
    """
    path = os.fspath(path)
    labels, first_row = {}, {}
    for line, row in csv_rows(path, ("path", "label"), errors="surrogateescape"):
        name, label = row["path"], row["label"]
        if label not in ("", NORMAL, ABNORMAL):
            raise DataError(
                f"{path}: row {line}: label {label!r} is not {NORMAL} or {ABNORMAL}, "
                "nor empty for an image not looked at"
            )
        if label and labels.setdefault(name, label) != label:
            raise DataError(
                f"{path}: row {line}: {name!r} is {label}, but {labels[name]} in row {first_row[name]}"
            )
        if label:
            first_row.setdefault(name, line)
    return labels
