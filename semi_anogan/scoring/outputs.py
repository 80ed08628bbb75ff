"""What scores and regions are written to: tables that can be continued, coco.json, names of pictures."""

import contextlib
import csv
import dataclasses
import datetime
import hashlib
import io
import json
import os
import pathlib
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence

from semi_anogan.errors import RunError, UserError
from semi_anogan.scoring.regions import Region, polygon

SCORES, REGIONS, REGION_LINES, COCO = "scores.csv", "regions.csv", "regions.jsonl", "coco.json"
DRIFT, DRIFT_COLUMNS = "drift.csv", ("path", "change", "time")  # path: of the image at which it was told
LOCK = ".writing"
MAPS, OVERLAYS = "maps", "overlays"  # folders
COLUMNS = ("path", "score", "label", "status", "error", "regions", "threshold", "p_value", "time")
BEGIN = b"path,score,label,"  # of scores.csv, by which it is known
LOOK_COLUMN = "look_threshold"  # after these, where there is one
REGION_COLUMNS = ("path", "number", *(name for name in Region._fields if name != "mask"))
ALL, OF_ABNORMAL, NONE = OVERLAYS_OF = ("all", "abnormal", "none")
SUFFIXES = {"png": ".png", "jpeg": ".jpg"}
# Bytes of a file's name: file systems take 255, and the time and the picture's suffix follow.
LONGEST_NAME, LONGEST_PATH = 200, 1000


@dataclasses.dataclass(frozen=True)
class Outputs:
    """What is written besides scores.csv, regions.csv and regions.jsonl.

    Attributes:
      maps: the maps. overlays: of which images, one of OVERLAYS_OF; "abnormal": of those to be looked at too.
      overlay_format: "png" or "jpeg".
      coco: coco.json.
      min_area: pixels; smaller regions are left out.
      append: continue the files of an earlier call; else they are replaced.
      resume: they are of this call, which was interrupted: a picture replaces one of its name. With append.
      root: folder that the images lie in: pictures lie in `maps` and `overlays` as the images do in it.
    """

    maps: bool = False
    overlays: str = OF_ABNORMAL
    overlay_format: str = "png"
    coco: bool = False
    min_area: int = 0
    append: bool = False
    root: str = ""
    resume: bool = False

    def __post_init__(self):
        if self.coco and self.append:
            raise RunError(
                f"{COCO} is of one call and cannot be continued: give --coco without --append and --resume, "
                f"to a runtime that watches with --no-append; {REGION_LINES} is continued, and says the same"
            )


@contextlib.contextmanager
def claimed(output: pathlib.Path) -> Iterator[None]:
    """Makes the folder, which no other process may write to meanwhile; RunError where one does."""
    import sqlite3  # whose locks are everywhere, and end with the process; a device has no other package

    output.mkdir(parents=True, exist_ok=True)
    lock, mine = output / LOCK, True
    files = sqlite3.connect(lock, timeout=0, isolation_level=None)
    try:
        try:
            files.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            mine = "locked" not in str(error)
            if not mine:
                raise RunError(
                    f"{output}: another process writes its scores there; give another --output"
                ) from None
            print(f"note: {output}: cannot be locked: {error}")  # a file system without locks
        (output / SCORES).touch()
        yield
    finally:
        files.close()
        if mine:
            lock.unlink(missing_ok=True)


@contextlib.contextmanager
def table(path: pathlib.Path, columns: Sequence[str], append: bool):
    """A function that adds a row to a CSV file, and writes it at once.

    append: continue the file, if it has these columns; RunError where it has others.
    """
    begun = append and cut_to_lines(path)
    if begun:
        with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
            found = next(csv.reader(file), [])
        if found != list(columns):
            raise RunError(
                f"{path}: cannot be continued: it has the columns {','.join(found)}, now they are "
                f"{','.join(columns)}; give another --output, or replace it, without --append"
            )
    # surrogateescape: file names that are not UTF-8 come out as they are
    with open(path, "a" if begun else "w", newline="", encoding="utf-8", errors="surrogateescape") as file:

        def add(row):
            text = io.StringIO()
            csv.writer(text).writerow(row)
            file.write(text.getvalue())  # in one piece
            file.flush()

        if not begun:
            add(columns)
        yield add


@contextlib.contextmanager
def lines(path: pathlib.Path, append: bool):
    """A function that adds a line of JSON to a file, and writes it at once."""
    if append:
        cut_to_lines(path)
    with open(path, "a" if append else "w", encoding="ascii") as file:

        def add(values: dict):
            file.write(json.dumps(values) + "\n")
            file.flush()

        yield add


def cut_to_lines(path: pathlib.Path) -> bool:
    """Whether a file holds lines already. What a killed process left of one at its end is cut off."""
    if not path.exists() or not path.stat().st_size:
        return False
    with open(path, "rb+") as file:
        end = size = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - 65536)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end < size:
            file.truncate(end)
            print(f"note: {path}: its last line was written in part, and is taken away")
    return end > 0


def now() -> str:
    """The time in UTC, as ISO 8601 with milliseconds: 2026-01-31T12:00:00.000Z."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def region_row(path: str, number: int, region: Region) -> list[str]:
    """The values of a region for regions.csv, in the order of REGION_COLUMNS."""
    values = region._asdict()
    del values["mask"]
    values["certain"] = "yes" if region.certain else "no"
    texts = (f"{v:.6g}" if isinstance(v, float) else "" if v is None else str(v) for v in values.values())
    return [path, str(number), *texts]


def region_line(path: str, number: int, region: Region, shape: tuple[int, int]) -> dict:
    """The values of a region for regions.jsonl; shape: (height, width) of its image.

    box: left, top, width, height in pixels. area: in pixels; share: of the image. kind, kind_likeness: None
    without. polygon: its outer edge, [[x, y], ...] along the edges of pixels; 0, 0 is the upper left corner
    of the image.
    """
    return {
        "path": path,
        "number": number,
        "box": list(region[:4]),
        "area": region.area,
        "share": short(region.area / (shape[0] * shape[1])),
        "peak": short(region.peak),
        "mean": short(region.mean),
        "x": short(region.x),
        "y": short(region.y),
        "certain": region.certain,
        **_kind(region),
        "polygon": polygon(region),
    }


def _kind(region: Region) -> dict:
    likeness = region.kind_likeness
    return {"kind": region.kind or None, "kind_likeness": None if likeness is None else short(likeness)}


def short(value: float) -> float:
    """The value with the six digits that every table has."""
    return float(f"{value:.6g}")


class Coco:
    """coco.json, in the format of COCO's object detection; `coco` makes one. Written as images come.

    An image that could not be read is not in it, since it has no size. A region's `score` is its peak.
    """

    def __init__(self, annotations, images, root: str):
        self._files, self._counts, self._root = (annotations, images), [0, 0], root

    def add(self, path: str, score: float, label: str, shape: tuple[int, int], regions: Sequence[Region]):
        """Adds an image of `shape` (height, width) and its regions."""
        image = {"file_name": relative(path, self._root) or path, "width": shape[1], "height": shape[0]}
        image_id = self._add(1, {**image, "anomaly_score": short(score), "label": label})
        for region in regions:
            corners = [coordinate for point in polygon(region) for coordinate in point]
            values = {"image_id": image_id, "category_id": 1, "bbox": list(region[:4]), "area": region.area}
            values |= {"segmentation": [corners], "iscrowd": 0, "score": short(region.peak)}
            values |= _kind(region)
            self._add(0, values)

    def _add(self, which: int, values: dict) -> int:
        self._counts[which] += 1
        before = ",\n" if self._counts[which] > 1 else "\n"
        self._files[which].write(before + json.dumps({"id": self._counts[which], **values}))
        return self._counts[which]


@contextlib.contextmanager
def coco(path: pathlib.Path, root: str) -> Iterator[Coco]:
    """A Coco that is written to `path` at the end, also an early one; memory does not grow."""
    temporary = path.with_name(path.name + ".tmp")
    categories = [{"id": 1, "name": "abnormal", "supercategory": "abnormal"}]
    try:
        with open(temporary, "w") as file, tempfile.TemporaryFile("w+", dir=path.parent) as images:
            file.write('{"info": {"description": "regions that semi_anogan found"},\n"annotations": [')
            stopped = None
            try:
                yield Coco(file, images, root)
            except (KeyboardInterrupt, UserError) as error:  # a stream of frames may end in an error
                stopped = error
            file.write('\n],\n"images": [')
            images.seek(0)
            while piece := images.read(1 << 16):
                file.write(piece)
            file.write(f'\n],\n"categories": {json.dumps(categories)}}}\n')
        os.replace(temporary, path)
        if stopped is not None:
            raise stopped
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM inside is KeyboardInterrupt, as Ctrl-C is: so ends what a service manager stops."""

    def interrupt(number, frame):
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # others get no signals
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def root_of(argument: str) -> str:
    """The folder that the images of the argument --input lie in, as Outputs.root: it, or its own."""
    return argument if os.path.isdir(argument) else os.path.dirname(argument)


def print_any_name():
    """Names of files that are no text, or not in the terminal's encoding, are printed in escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def relative(path: str, root: str) -> str | None:
    """The path of an image from the folder `root` on, with forward slashes; None where it is elsewhere."""
    try:
        found = os.path.relpath(path, root or ".")
    except ValueError:  # another drive
        return None
    inside = found != os.curdir and found.split(os.sep)[0] != os.pardir
    return found.replace(os.sep, "/") if inside else None


def picture_name(path: str, root: str) -> str:
    """The name of an image's map and overlay without their suffix, as the image lies below `root`.

    Of an image elsewhere, and of one with a name too long, it has a hash of the whole path.
    """
    inside = relative(path, root)
    folder, name = os.path.split(inside or os.path.basename(path))
    raw = os.fsencode(name)
    if inside is not None and len(os.fsencode(inside)) <= LONGEST_PATH and len(raw) <= LONGEST_NAME:
        return inside
    digest = hashlib.blake2b(os.fsencode(inside or path), digest_size=8).hexdigest()
    if len(raw) > LONGEST_NAME:  # cut between characters, where it is UTF-8
        name = raw[: LONGEST_NAME - 20].decode("utf-8", "ignore")
    short = f"{name}.{digest}"
    return f"{folder}/{short}" if folder and len(os.fsencode(folder)) <= LONGEST_PATH else short


def is_picture(path: str) -> bool:
    """Whether a file is a map or an overlay that a call has written: in such a folder beside a scores.csv."""
    place = os.path.dirname(path)
    while os.path.basename(place):
        parent, name = os.path.split(place)
        if name in (MAPS, OVERLAYS):
            with contextlib.suppress(OSError), open(os.path.join(parent, SCORES), "rb") as file:
                if file.read(len(BEGIN)) == BEGIN:
                    return True
        if parent == place:
            break
        place = parent
    return False


def without_pictures(paths: Sequence[str], notes) -> list[str]:
    """The paths that are not such; a line in `notes` tells of the others."""
    kept = []
    for path in paths:
        if is_picture(path):
            notes.add(
                "{n} images are left out, since they are maps and overlays that were written here, such as "
                "{first}",
                path,
            )
        else:
            kept.append(path)
    return kept
