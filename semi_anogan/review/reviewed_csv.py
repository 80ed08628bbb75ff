"""reviewed.csv and masks/: what a person said of images, written at once and as a whole.

The file's columns are COLUMNS; others that a person has added stay. It is read again where another program
has changed it. Each change says which state of the image it is meant for, so that two browsers do not
overwrite each other.
"""

import csv
import datetime
import hashlib
import os
import pathlib
import re
import threading
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from semi_anogan.data.dataset import ABNORMAL, NORMAL
from semi_anogan.data.review import COLUMNS, ORIGINS
from semi_anogan.data.sources.folder_names import GOOD, plain
from semi_anogan.errors import DataError, RunError
from semi_anogan.files import atomically, told_writing
from semi_anogan.review.entries import Entry, table_rows

NAME, MASKS = "reviewed.csv", "masks"
LABELS = ("", NORMAL, ABNORMAL)
LONGEST = 80  # characters of a kind or a name of a person


class Row(NamedTuple):
    """What was said of an image, in the order of COLUMNS; "" where nothing was.

    Attributes: label: one of LABELS; kind: of defect; mask: path of its PNG from the CSV's folder on; origin:
      one of data.review.ORIGINS; who; when: UTC, ISO 8601.
    """

    path: str
    label: str = ""
    kind: str = ""
    mask: str = ""
    origin: str = ""
    who: str = ""
    when: str = ""

    @property
    def revision(self) -> str:
        """Another one for each state of the image."""
        values = "\0".join(self[1:])
        return hashlib.blake2b(values.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


class Conflict(Exception):
    """A change that was meant for another state of the image: `row` is that of now."""

    def __init__(self, row: Row):
        super().__init__(f"{row.path} was changed meanwhile")
        self.row = row


class Reviewed:
    """The labels of a run folder's reviewed.csv. May be used by several threads.

    Raises: DataError naming the file, row and value, where it cannot be read.
    """

    def __init__(self, folder: pathlib.Path):
        self.folder = pathlib.Path(folder)
        self.path = self.folder / NAME
        self._lock = threading.RLock()
        self._rows: dict[tuple[str, str], Row] = {}
        self._own: dict[tuple[str, str], dict[str, str]] = {}  # values of other columns
        self._own_columns: list[str] = []
        self._seen = None
        self._read()

    def row(self, entry: Entry) -> Row:
        """What was said of an image."""
        with self._lock:
            origin, path = entry.key
            found = self._rows.get((origin, path)) or self._rows.get(("", path))
            return found or Row(path, origin=origin)

    def has_label(self, entry: Entry) -> bool:
        """Whether an image has a label."""
        origin, path = entry.key
        found = self._rows.get((origin, path)) or self._rows.get(("", path))
        return found is not None and found.label != ""

    def kinds(self) -> list[str]:
        """The kinds of defects that were named."""
        with self._lock:
            return sorted({row.kind for row in self._rows.values() if row.kind})

    def counts(self) -> dict[str, dict[str, int]]:
        """origin -> label -> images."""
        found = {origin: {NORMAL: 0, ABNORMAL: 0} for origin in ORIGINS}
        with self._lock:
            for row in self._rows.values():
                if row.label:
                    found[row.origin or ORIGINS[0]][row.label] += 1
        return found

    def add_missing(self, rows: dict[str, str], origin: str) -> tuple[int, int]:
        """Takes in labels of another table, path -> label, of images of which nothing was said.

        Returns: how many, and of how many others something else was said, which stays.
        """
        with self._lock:
            new, others = {}, 0
            for path, label in rows.items():
                known = self._rows.get((origin, path)) or self._rows.get(("", path))
                if known is None:
                    new[origin, path] = Row(path, label, origin=origin)
                others += known is not None and known.label not in ("", label)
            self._rows |= new
            return len(new), others

    def change(
        self,
        entry: Entry,
        revision: str,
        label: str,
        kind: str = "",
        mask: str | None = None,
        who: str = "",
    ) -> Row:
        """Gives an image a label; written when this returns.

        Args: revision: of the row that the change is meant for; kind, mask: of an abnormal image, and dropped
          of others. mask: a path that `write_mask` gave for this image, "" for none, None for that of now.
        Raises: Conflict; DataError for a value that cannot be; RunError where it cannot be written.
        """
        kind, who = checked_kind(kind), checked_text("who", who)
        if label not in LABELS:
            raise DataError(f"label {label!r} is not {NORMAL} or {ABNORMAL}, nor empty")
        with self._lock:
            self._read()
            before = self.row(entry)
            if before.revision != revision:
                raise Conflict(before)
            mask = before.mask if mask is None else mask
            if mask and mask != before.mask and not self._is_mask_of(mask, entry):
                raise DataError(f"mask {mask!r} is none that was drawn for {entry.path}")
            if label != ABNORMAL:
                kind = mask = ""
            origin, path = entry.key
            row = Row(path, label, kind, mask, origin, who, _now())
            rows = {**self._rows, (origin, path): row}
            rows.pop(("", path), None)
            self._write(rows)
            return row

    def change_all(self, said: Iterable[tuple[Entry, str, str, str]], who: str = ""):
        """Gives many images labels at once, whatever they had: (image, label, kind, mask), as in `change`."""
        who = checked_text("who", who)
        with self._lock:
            self._read()
            rows, when = dict(self._rows), _now()
            for entry, label, kind, mask in said:
                origin, path = entry.key
                rows[origin, path] = Row(path, label, checked_kind(kind), mask, origin, who, when)
                rows.pop(("", path), None)
            self._write(rows)

    def write_mask(self, entry: Entry, mask: np.ndarray) -> str:
        """Writes a mask, bool [H, W], and returns its path from the folder on; it is not yet the image's."""
        from PIL import Image

        pixels = np.where(mask, np.uint8(255), np.uint8(0))
        content = hashlib.blake2b(pixels.tobytes(), digest_size=4).hexdigest()
        name = f"{MASKS}/{_stem(entry)}.{content}.png"
        path = self.folder / name
        with told_writing(path, RunError):
            path.parent.mkdir(exist_ok=True)
        if not path.exists():
            with atomically(path, RunError, synced=True) as temporary:
                Image.fromarray(pixels).save(temporary, "PNG")
        return name

    def mask_path(self, row: Row) -> pathlib.Path | None:
        """The file of a row's mask, where it lies in the folder; None without."""
        if not row.mask:
            return None
        path = (self.folder / row.mask).resolve()
        return path if path.is_relative_to(self.folder.resolve()) and path.is_file() else None

    def save(self):
        """Writes what there is, such as the labels of `add_missing`."""
        with self._lock:
            if self._rows:
                self._write(dict(self._rows))

    def _is_mask_of(self, mask: str, entry: Entry) -> bool:
        name = re.fullmatch(re.escape(f"{MASKS}/{_stem(entry)}.") + r"[0-9a-f]{8}\.png", mask)
        return bool(name) and (self.folder / mask).is_file()

    def _write(self, rows: dict[tuple[str, str], Row]):
        with (
            atomically(self.path, RunError, synced=True) as temporary,
            open(temporary, "w", newline="", encoding="utf-8", errors="surrogateescape") as file,
        ):
            writer = csv.writer(file)
            writer.writerow([*COLUMNS, *self._own_columns])
            for key, row in rows.items():
                own = self._own.get(key) or self._own.get(("", row.path)) or {}
                writer.writerow([*row, *(own.get(name, "") for name in self._own_columns)])
        self._rows, self._seen = rows, self._state()

    def _read(self):
        """Reads the file where it is another than the one that was written or read last."""
        state = self._state()
        if state == self._seen:
            return
        if state is None:
            raise RunError(f"{self.path}: was taken away while the page was open; start the page again")
        rows, own = {}, {}
        for line, row in table_rows(self.path, ("path", "label")):  # none where a person took all away
            where = f"{self.path}: row {line}"
            found = Row(**{name: row.get(name, "") for name in COLUMNS})
            if found.label not in LABELS:
                raise DataError(f"{where}: label {found.label!r} is not {NORMAL} or {ABNORMAL}, nor empty")
            if found.origin and found.origin not in ORIGINS:
                raise DataError(f"{where}: origin {found.origin!r} is not one of {', '.join(ORIGINS)}")
            if (found.origin, found.path) in rows:
                raise DataError(f"{where}: {found.path!r} is there twice")
            rows[found.origin, found.path] = found
            own[found.origin, found.path] = {n: v for n, v in row.items() if n and n not in COLUMNS}
        self._own, self._own_columns = own, list(dict.fromkeys(name for one in own.values() for name in one))
        self._rows, self._seen = rows, state

    def _state(self):
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


def _stem(entry: Entry) -> str:
    """How the names of an image's masks begin: its own name, and a hash, as others may have that too."""
    name = re.sub(r"[^\w.-]", "_", os.path.splitext(os.path.basename(entry.path))[0], flags=re.ASCII)[:60]
    whole = "\0".join(entry.key).encode("utf-8", "surrogateescape")
    return f"{name}.{hashlib.blake2b(whole, digest_size=8).hexdigest()}"


def checked_kind(kind: str) -> str:
    """A kind of defect as it is written; DataError for what is none, and what a refit would not take."""
    kind = checked_text("kind", kind)
    if kind and plain(kind) in GOOD:
        raise DataError(f"kind {kind!r} means a normal image; name the defect, or label the image normal")
    return kind


def checked_text(what: str, value: str) -> str:
    """A short text of a person as it is written; DataError for what is none."""
    value = " ".join(value.split())
    if len(value) > LONGEST or not value.isprintable():
        raise DataError(
            f"{what} {value[:LONGEST]!r} must be at most {LONGEST} characters that can be printed"
        )
    return value


def _now() -> str:
    """UTC, ISO 8601, to the millisecond."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
