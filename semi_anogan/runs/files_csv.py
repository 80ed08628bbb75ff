"""files.csv of a run folder: which files its images are, and what each is used for (data/record.py)."""

import csv
import dataclasses
import pathlib
from collections.abc import Sequence

from semi_anogan.data.record import NOT_RECORDED, USES, Row
from semi_anogan.errors import RunError
from semi_anogan.files import atomically

_YES = {"yes": True, "": False}
# What records of before do not have.
_LATER = {"ignore": "", "ignore_size": "0", "ignore_sha256": NOT_RECORDED}
COLUMNS = tuple(field.name for field in dataclasses.fields(Row))


def write(path, rows: Sequence[Row]):
    """Writes the rows; RunError when that fails, and the file is then what it was."""
    with (
        atomically(path, RunError) as temporary,
        open(temporary, "w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in rows:
            values = dataclasses.asdict(row)
            writer.writerow([_text(values[name]) for name in COLUMNS])


def read(path) -> list[Row] | None:
    """The rows, None where there is no such file. RunError names the file and the row that is damaged."""
    if not pathlib.Path(path).exists():
        return None
    rows = []
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        reader = csv.DictReader(file)
        for values in reader:
            if not set(_LATER) & set(values):
                values = {**values, **_LATER}
            try:
                row = Row(**{name: values[name] for name in COLUMNS})
                marks = {name: _YES[values[name]] for name in ("hidden", "gone")}
                sizes = {name: int(values[name]) for name in ("size", "ignore_size")}
                row = dataclasses.replace(row, **sizes, **marks)
            except (KeyError, ValueError, TypeError) as error:
                raise RunError(f"{path}: row {reader.line_num}: cannot be read: {error}") from error
            if row.use not in USES or row.label not in ("normal", "abnormal") or len(row.sha256) != 64:
                raise RunError(f"{path}: row {reader.line_num}: cannot be read: {list(values.values())}")
            rows.append(row)
    return rows


def _text(value) -> str:
    return ("yes" if value else "") if isinstance(value, bool) else str(value)
