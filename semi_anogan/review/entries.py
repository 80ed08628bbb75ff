"""The images that a person may look at: those of a run's tables, and newly scored ones. No framework."""

import csv
import dataclasses
import math
import os
import pathlib
from collections.abc import Callable, Sequence

from semi_anogan.data.dataset import ABNORMAL, NORMAL
from semi_anogan.data.listing import csv_rows
from semi_anogan.data.review import ORIGINS, SCORED, TEST, TRAINING
from semi_anogan.errors import DataError, RunError
from semi_anogan.review import worth
from semi_anogan.runs import folder as run_folder

LOOKED_AT = 100  # paths of a table, to find what folder they count from: some may have been moved


@dataclasses.dataclass
class Entry:
    """One image.

    Attributes:
      index: by which the page asks for it; it stays as long as the server runs.
      origin: one of ORIGINS.
      path: as in suspicious.csv and scores.csv of the run; of scored images absolute.
      named: of scored images the path as their table has it, by which their regions and pictures are found.
      score, suspicion: NaN where there is none. truth: of test images, else "".
      listed: whether the tables of now have it.
      same: of a scored image that is an image file of the run's data, the entry of that: what is said of it
        is said of that, so that no detector is trained on a test image.
    """

    index: int
    origin: str
    path: str
    named: str = ""
    score: float = math.nan
    suspicion: float = math.nan
    truth: str = ""
    listed: bool = False
    same: "Entry | None" = None

    @property
    def key(self) -> tuple[str, str]:
        """(origin, path) that a label is kept under."""
        return (self.same or self).origin, (self.same or self).path


class Entries:
    """All images by index. `read` may be called again, as after a refit: an image keeps its index.

    Attributes: notes: lines for a person on what was left out, scored_notes: of the newly scored images.
    """

    def __init__(self):
        self.all: list[Entry] = []
        self.notes: list[str] = []
        self.scored_notes: list[str] = []
        self._places: dict[tuple[str, str], Entry] = {}

    def find(self, origin: str, path: str) -> Entry | None:
        return self._places.get((origin, path))

    def of(self, origin: str) -> list[Entry]:
        """Those of an origin that the tables of now have, in the order of their table."""
        return self._order[origin]

    def read(self, folder: pathlib.Path, scored: pathlib.Path | None):
        """Reads the tables of a run, and as `read_scored`.

        Raises: RunError, DataError that name the file, the row and the value.
        """
        for entry in self.all:
            entry.listed, entry.score, entry.suspicion = False, math.nan, math.nan
        self.notes, self.scored_notes, self._order = [], [], {origin: [] for origin in ORIGINS}
        path = folder / run_folder.SUSPICIOUS
        if path.exists():
            for line, row in table_rows(path, ("path", "suspicion")):
                self._add(TRAINING, row["path"], suspicion=_number(path, line, row, "suspicion"))
        else:
            self.notes.append(f"{path} is not there, so no training images are listed")
        path = folder / run_folder.SCORES
        if path.exists():
            for line, row in table_rows(path, ("path", "truth", "score")):
                if row["truth"] not in (NORMAL, ABNORMAL):
                    raise RunError(
                        f"{path}: row {line}: truth {row['truth']!r} is not {NORMAL} or {ABNORMAL}"
                    )
                self._add(TEST, row["path"], score=_score(path, line, row), truth=row["truth"])
        else:
            self.notes.append(f"{path} is not there, so no test images are listed")
        if scored is not None:
            self.read_scored(scored)

    def read_scored(self, folder: pathlib.Path):
        """Reads the table of a folder that `score` wrote, in the place of what was read of it before.

        Raises: RunError, DataError as `read`; then nothing has changed.
        """
        path = folder / run_folder.SCORES
        rows = table_rows(path, ("path", "score", "label", "status"))
        scored = [(row["path"], _score(path, line, row)) for line, row in rows if row["status"] == "ok"]
        for entry in self.of(SCORED):
            entry.listed, entry.score = False, math.nan
        self.scored_notes, self._order[SCORED] = [], []
        base = counted_from([name for name, _ in scored], folder)
        for name, score in scored:
            self._add(SCORED, os.path.abspath(os.path.join(base, name)), score=score, named=name)
        if failed := len(rows) - len(scored):
            self.scored_notes.append(f"{path}: {failed} images could not be scored, and are left out")
        if base != os.getcwd():
            self.scored_notes.append(f"{path}: its relative paths are found from {base}")
        missing = [entry for entry in self.of(SCORED)[:LOOKED_AT] if not os.path.exists(entry.path)]
        if missing:
            count = f"{len(missing)} of the first {min(LOOKED_AT, len(scored))} images are not there"
            self.scored_notes.append(
                f"{path}: {count}, such as {missing[0].path}; they are shown without pictures"
            )

    def unlisted(self, origin: str, path: str) -> Entry:
        """An image that no table has, such as a known defect."""
        entry = self._places.get((origin, path))
        if entry is None:
            entry = self._places[origin, path] = Entry(len(self.all), origin, path)
            self.all.append(entry)
        return entry

    def _add(self, origin: str, path: str, **values):
        entry = self.unlisted(origin, path)
        if not entry.listed:  # a table that was continued may hold an image twice: the last row counts
            self._order[origin].append(entry)
        entry.listed = True
        for key, value in values.items():
            setattr(entry, key, value)


def counted_from(paths: Sequence[str], folder: pathlib.Path) -> str:
    """The folder that relative paths in a table of `score` count from: where it was called.

    That is this working directory, or the folder of the table or one above it, whichever first has one of the
    images; where none has, this working directory.
    """
    here = os.getcwd()
    relative = [path for path in paths if not os.path.isabs(path)][:LOOKED_AT]
    for base in (here, os.fspath(folder), *map(os.fspath, folder.parents)):
        if any(os.path.isfile(os.path.join(base, path)) for path in relative):
            return base
    return here


def _near(entries: list[Entry], threshold: float, look=None) -> list[Entry]:
    describe = None if look is None else lambda i: look(entries[i])
    return [entries[i] for i in worth.order([e.score for e in entries], threshold, describe)]


def _suspicious(entries: Entries, threshold: float, labelled, look) -> list[Entry]:
    return entries.of(TRAINING)


def _misses(entries: Entries, threshold: float, labelled, look) -> list[Entry]:
    found = [e for e in entries.of(TEST) if e.truth == ABNORMAL and not e.score > threshold]
    return sorted(found, key=lambda e: e.score)


def _false_alarms(entries: Entries, threshold: float, labelled, look) -> list[Entry]:
    found = [e for e in entries.of(TEST) if e.truth == NORMAL and e.score > threshold]
    return sorted(found, key=lambda e: -e.score)


def _near_threshold(entries: Entries, threshold: float, labelled, look) -> list[Entry]:
    return _near(entries.of(TEST), threshold)


def _scored(entries: Entries, threshold: float, labelled, look) -> list[Entry]:
    return sorted(entries.of(SCORED), key=lambda e: -e.score)


def _worth_a_label(entries: Entries, threshold: float, labelled, look) -> list[Entry]:
    return _near([e for e in entries.of(SCORED) if not labelled(e)], threshold, look)


def _labelled(entries: Entries, threshold: float, labelled, look) -> list[Entry]:
    return [e for e in entries.all if e.same is None and labelled(e)]


# Name of a list -> (what it says to a person, (Entries, threshold, whether an entry has a label,
# what an entry looks like or None) -> entries).
LISTS: dict[str, tuple[str, Callable[..., list[Entry]]]] = {
    "suspicious": ("Suspicious training images", _suspicious),
    "misses": ("Misses of the test", _misses),
    "false_alarms": ("False alarms of the test", _false_alarms),
    "near": ("Test images near the threshold", _near_threshold),
    "scored": ("Newly scored images", _scored),
    "worth": ("Worth a label", _worth_a_label),
    "labelled": ("Labelled images", _labelled),
}


def table_rows(path: pathlib.Path, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """The rows of a table; none where it has a header only."""
    try:
        with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            reader = csv.reader(file)
            empty = next(reader, None) is not None and next(reader, None) is None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    return [] if empty else csv_rows(os.fspath(path), columns, errors="surrogateescape")


def _number(path, line: int, row: dict, column: str) -> float:
    """A number, NaN where it is left empty; RunError for anything else."""
    text = row[column]
    try:
        value = float(text) if text else math.nan
    except ValueError:
        value = math.inf
    if math.isinf(value) or text and math.isnan(value):
        raise RunError(f"{path}: row {line}: {column} {text!r} is not a finite number")
    return value


def _score(path, line: int, row: dict) -> float:
    value = _number(path, line, row, "score")
    if math.isnan(value):
        raise RunError(f"{path}: row {line}: score is empty")
    return value
