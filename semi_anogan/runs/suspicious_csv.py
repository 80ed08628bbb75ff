"""suspicious.csv: the normal training images that look most abnormal, and what a person found them to be."""

import csv
import itertools
import pathlib

from semi_anogan.errors import RunError
from semi_anogan.files import atomically


def write(path, ranked, found=()):
    """Writes path, suspicion and label, the highest first; a person fills the label in (data/review.py).

    What a person has filled in stays, whether or not it was used. found: reviewed examples that are abnormal,
    and so not ranked. RunError when it cannot be written; the file is then what it was.
    """
    filled_in = {row["path"]: row["label"] for row in _rows(path) if row.get("path") and row.get("label")}
    with (
        atomically(path, RunError) as temporary,
        open(temporary, "w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["path", "suspicion", "label"])
        writer.writerows(
            [e.path, f"{value:.6g}", e.label if e.reviewed else filled_in.get(e.path, "")]
            for e, value in ranked
        )
        writer.writerows([e.path, "", e.label] for e in found)


def read_highest(path, count: int | None) -> list[tuple[str, float]]:
    """The first `count` rows that have no label yet, None: all; none where there is no such file."""
    unlabelled = (row for row in _rows(path) if not row.get("label"))
    return [(row["path"], float(row["suspicion"])) for row in itertools.islice(unlabelled, count)]


def _rows(path) -> list[dict]:
    if not pathlib.Path(path).exists():
        return []
    with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        return list(csv.DictReader(file))
