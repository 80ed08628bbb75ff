"""Goes on with a scoring that was interrupted: which images have no row yet. No framework."""

import csv
import datetime
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from semi_anogan.errors import RunError
from semi_anogan.scoring.outputs import BEGIN, REGION_LINES, REGIONS, SCORES, claimed, cut_to_lines


def left(paths: Sequence[str], output: pathlib.Path, thresholds: Iterable[float]) -> tuple[list[str], str]:
    """(the paths that are still to be scored into an output, a line that tells of the others).

    Not scored again are those that have a score, and whose file is not younger than that. Regions of an image
    that has no row are taken away: the process ended while they were written.

    Args: output: folder of an earlier call, or one that is not there; thresholds: of the detectors of now.
    Raises: RunError where rows are of another threshold, or scores.csv is another table.
    """
    if not (output / SCORES).exists():
        return list(paths), f"{output / SCORES}: is not there, so all images are scored"
    with claimed(output):
        for name in (SCORES, REGIONS, REGION_LINES):
            cut_to_lines(output / name)
        wanted, rows = {f"{threshold:.6g}" for threshold in thresholds}, {}
        for line, row in _rows(output / SCORES):
            if row["status"] == "ok" and row["threshold"] not in wanted:
                raise RunError(
                    f"{output / SCORES}: row {line}: was judged with the threshold {row['threshold']}, "
                    f"which is {' or '.join(sorted(wanted))} now, of another detector or chosen since; give "
                    "another --output; without --resume the file is replaced"
                )
            rows[row["path"]] = row["time"] if row["status"] == "ok" else ""
        _cut_last(output / REGIONS, _of_csv, rows)
        _cut_last(output / REGION_LINES, _of_json, rows)
    again = [path for path in paths if path in rows and not (rows[path] and _is_older(path, rows[path]))]
    once_more = set(again)
    found = [path for path in paths if path not in rows or path in once_more]
    more = f"; {len(again)} have changed since or could not be read, and are scored again" if again else ""
    return found, f"{len(paths) - len(found)} of {len(paths)} images are in {output / SCORES}{more}"


def _rows(path: pathlib.Path) -> Iterator[tuple[int, dict[str, str]]]:
    """(row, the first of which is the header; its values) of scores.csv."""
    with open(path, "rb") as file:
        if (begin := file.read(len(BEGIN))) and begin != BEGIN:
            raise RunError(f"{path}: is not of scored images; give another --output")
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            if any(row.get(name) is None for name in ("path", "status", "threshold", "time")):
                raise RunError(f"{path}: row {number}: has not the columns that score writes")
            yield number, row


def _is_older(path: str, time: str) -> bool:
    """Whether a file is older than a time as `outputs.now` gives it; one that is not there is not."""
    try:
        return os.stat(path).st_mtime < datetime.datetime.fromisoformat(time).timestamp()
    except (OSError, ValueError):
        return False


def _cut_last(path: pathlib.Path, read: Callable[[Iterable[bytes]], Iterator[tuple[str, int]]], rows: dict):
    """Takes the last records of a table away, where they are of an image that has no row of scores.

    read: lines -> of each record (path of its image or "", bytes).
    """
    if not path.exists():
        return
    begin, last, place = 0, "", 0
    with open(path, "rb+") as file:
        for of, length in read(file):
            if of != last:
                begin, last = place, of
            place += length
        if last and last not in rows:
            file.truncate(begin)


def _of_json(lines: Iterable[bytes]) -> Iterator[tuple[str, int]]:
    for line in lines:
        yield json.loads(line)["path"], len(line)


def _of_csv(lines: Iterable[bytes]) -> Iterator[tuple[str, int]]:
    """A record may have several lines, as the name of a file may. The first is the header."""
    record, header = b"", True
    for line in lines:
        record += line
        if record.count(b'"') % 2 == 0:
            yield (
                "" if header else next(csv.reader([record.decode("utf-8", "surrogateescape")]))[0],
                len(record),
            )
            record, header = b"", False
