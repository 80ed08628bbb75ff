"""Images that come over time: files that appear in a folder, or frames on a stream."""

import collections
import contextlib
import csv
import io
import json
import os
import pathlib
import queue
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from semi_anogan.data import image_files, masks_or_images, pnm
from semi_anogan.data import images as image_io
from semi_anogan.data.listing import is_ignore, is_image_name, note_left_out
from semi_anogan.data.notes import Notes
from semi_anogan.errors import DataError, RunError
from semi_anogan.scoring.files import PAUSE, NotYet
from semi_anogan.scoring.outputs import REGION_LINES, REGIONS, SCORES, is_picture

POLL_SECONDS = 0.1
TRIES = 3  # of reading a file, before it is an error
MOST_WAITING = 10_000  # files that are looked at together; of more the others come later
SEEN = "watched.sqlite3"
TABLES = (SCORES, REGIONS, REGION_LINES)


class Seen:
    """Which files have been scored into an output, by path, size and time; kept in a file there.

    So memory does not grow with their number, and a run that begins again does not score them again. Of one
    that could not be read the time of its status counts too: a person may have given the right to read it.
    Masks that were left out are kept as well: without their image they would be scored.

    Args: output: the folder; append: go on with what is kept, if scores.csv is still there. The file is
      opened by `open`: only who has claimed the folder may.
    Raises: RunError where it cannot be used.
    """

    def __init__(self, output: pathlib.Path, append: bool):
        self._path, self._files = output / SEEN, None
        self._ids: dict[str, str] = {}  # of images that were begun and not done
        self._append = append and (output / SCORES).exists() and (output / SCORES).stat().st_size > 0

    def open(self):
        """Opens the file."""
        import sqlite3  # where a folder is watched

        self._error = sqlite3.Error
        try:
            if not self._append:
                self._path.unlink(missing_ok=True)
            self._files = sqlite3.connect(self._path, isolation_level=None)
            # A row that a power failure takes means that a file is scored again.
            self._files.execute("PRAGMA synchronous=OFF")
            for name in ("files", "masks"):
                self._files.execute(f"CREATE TABLE IF NOT EXISTS {name} (path BLOB PRIMARY KEY, size, time)")
            sizes = ", ".join(f'"{name}"' for name in TABLES)
            self._files.execute(f"CREATE TABLE IF NOT EXISTS begun (id PRIMARY KEY, path BLOB, {sizes})")
            self._take_back()
        except (OSError, sqlite3.Error) as error:
            raise self._told(error) from error

    def __contains__(self, file: tuple[str, int, int | str]) -> bool:
        path, *state = file
        return self.state_of(path) == tuple(state)

    def is_mask(self, path: str, size: int, time_ns: int) -> bool:
        """Whether a file was left out as a mask."""
        return self.state_of(path, "masks") == (size, time_ns)

    def state_of(self, path: str, table: str = "files") -> tuple | None:
        """Size and time of the file as it was scored, as given to `add`; None of another."""
        query = f"SELECT size, time FROM {table} WHERE path = ?"
        try:
            return self._files.execute(query, (os.fsencode(path),)).fetchone()
        except self._error as error:
            raise self._told(error) from error

    def add_mask(self, path: str, size: int, time_ns: int):
        """Keeps a file as a mask."""
        try:
            values = os.fsencode(path), size, time_ns
            self._files.execute("REPLACE INTO masks VALUES (?, ?, ?)", values)
        except self._error as error:
            raise self._told(error) from error

    def begin(self, path: str) -> str:
        """Says that an image, `path` as in the tables, is going to have its rows; returns an id of that.

        Until `add`, a process that begins again takes the rows back, and gives the image the same id.
        """
        found = self._ids.pop(path, None) or str(uuid.uuid4())
        sizes = [p.stat().st_size if p.exists() else 0 for p in (self._path.parent / n for n in TABLES)]
        try:
            values = found, os.fsencode(path), *sizes
            self._files.execute(f"REPLACE INTO begun VALUES (?, ?{', ?' * len(sizes)})", values)
        except self._error as error:
            raise self._told(error) from error
        return found

    def add(self, path: str, size: int, time_ns: int | str):
        """Keeps a file as scored, in the place of an earlier one of this name; what was begun is done."""
        try:
            self._files.execute("BEGIN")
            self._files.execute("REPLACE INTO files VALUES (?, ?, ?)", (os.fsencode(path), size, time_ns))
            self._files.execute("DELETE FROM begun")
            self._files.execute("COMMIT")
        except self._error as error:
            raise self._told(error) from error

    def _take_back(self):
        """Takes away the rows of an image that was begun and not done, where they are the last ones."""
        for number, path, *sizes in self._files.execute("SELECT * FROM begun").fetchall():
            path = os.fsdecode(path)
            self._ids[path] = number
            tables = [(self._path.parent / name, size) for name, size in zip(TABLES, sizes, strict=True)]
            last = [_from(place, size) for place, size in tables]
            if any(last) and all(_are_of(rows, path, name) for rows, name in zip(last, TABLES, strict=True)):
                for (place, size), rows in zip(tables, last, strict=True):
                    if rows:
                        os.truncate(place, size)
                print(
                    f"note: {path}: was being written when the process ended, and is scored again", flush=True
                )
        self._files.execute("DELETE FROM begun")

    def _told(self, error: Exception) -> RunError:
        return RunError(
            f"{self._path}: cannot be used: {error}; without this file all images are scored again"
        )


def _from(path: pathlib.Path, size: int) -> bytes:
    """What a file has from a size on; nothing where there is none."""
    if not path.exists():
        return b""
    with open(path, "rb") as file:
        file.seek(size)
        return file.read()


def _are_of(rows: bytes, path: str, table: str) -> bool:
    """Whether rows of a table are of one image alone: another call may have continued the tables since."""
    text = rows.decode("utf-8", "surrogateescape")
    try:
        if table == REGION_LINES:
            return all(json.loads(line)["path"] == path for line in text.splitlines())
        found = list(csv.reader(io.StringIO(text, newline="")))
    except (ValueError, csv.Error):
        return False
    return all(row[:1] == [path] for row in found) and (table != SCORES or len(found) <= 1)


class _State(NamedTuple):
    """What of a file says whether it has changed: its size, its time, and that of its status (rights)."""

    size: int
    time_ns: int
    status_ns: int

    @property
    def read(self) -> tuple[int, int]:
        """What is kept in Seen of a file that was read: new rights do not make it another."""
        return self.size, self.time_ns

    @property
    def unread(self) -> tuple[int, str]:
        """And of one that could not be read."""
        return self.size, f"{self.time_ns} {self.status_ns}"


class _Waiting:
    """A file that is not scored yet.

    key: its path without links; state: its _State; since: when this was first seen so, or when it was last
    read in vain; tries: how often it was read; taken: whether it was read, or too often in vain; failed:
    whether in vain.
    """

    def __init__(self, key: str, state: _State):
        self.key, self.state, self.since, self.tries = key, state, time.monotonic(), 0
        self.taken = self.failed = False


class WatchedFolder:
    """The image files in a folder and below, as they come: those there, then those that appear, without end.

    A file is taken when size and time have rested for `settle` seconds. One that cannot be read then is read
    again twice, as long after. One with another size or time than before is new, and so is one that could not
    be read and has other rights. Maps and overlays are left out, and masks of images that are there when they
    are read (masks_or_images.is_mask). Iterating gives paths; each is to be read with `read`, and its outcome
    told with `done`, in order. Where some are read and not done, and no other is to be read now, it gives
    PAUSE.

    Args: seen: files that are not to be scored again; notes: get a line for each kind of what is left out at
      the beginning, which is told then too, for masks, and for files that are gone before they are read;
      max_pixels: of a file that is looked at to see whether it is a mask.
    """

    def __init__(
        self,
        folder: str,
        seen: Seen,
        settle: float = 1.0,
        notes: Notes | None = None,
        max_pixels: int = image_files.MAX_PIXELS,
    ):
        self._folder, self._seen, self._settle, self._max_pixels = folder, seen, settle, max_pixels
        self._waiting: dict[str, _Waiting] = {}
        self._taken: collections.deque[str] = collections.deque()  # read, and not yet done
        self._notes, self._told = Notes() if notes is None else notes, set()
        self._first = True  # look
        self._suffixes: set[str] = set()  # of files that are left out
        self._of_images: set[str] = set()  # suffixes of the others, as they are spelt

    def __iter__(self) -> Iterator:
        self._seen.open()
        while True:
            begun = time.monotonic()
            known = self._look()
            if self._first and known:
                told = f"note: {known} images in {self._folder} have been scored before, and are not again"
                print(f"{told}; --no-append begins anew", flush=True)
            if self._first:
                for line in self._notes.lines():  # the end may be far
                    print(f"note: {line}", flush=True)
            self._first = False
            ready = [
                path
                for path, file in self._waiting.items()
                if not file.taken and time.monotonic() - file.since >= self._settle
            ]
            # The oldest first.
            yield from sorted(ready, key=lambda path: (self._waiting[path].state[1], path))
            if not ready and self._taken:
                yield PAUSE
            # Of very many files a look takes long: half of the time is for others.
            time.sleep(max(POLL_SECONDS, time.monotonic() - begun if not ready else 0))

    def read(self, path: str, channels: int, reader: image_io.Reader) -> np.ndarray:
        """Reads a file; NotYet where it could not be read and will be tried again, or is a mask."""
        file = self._waiting[path]
        file.tries += 1
        error = image = None
        try:
            if self._is_mask(path, last=file.tries == TRIES):
                self._seen.add_mask(file.key, *file.state.read)
                del self._waiting[path]
                print(f"{path}: left out, as a mask", flush=True)
                raise NotYet
            image = reader(path, channels)
        except DataError as reason:
            error = reason
        if error is not None and file.tries < TRIES:
            file.since = time.monotonic()
            raise NotYet
        file.taken, file.failed = True, error is not None
        self._taken.append(path)
        if error is not None:
            raise error
        return image

    def _is_mask(self, path: str, last: bool) -> bool:
        """Whether a file is a mask; last: it is none where a file beside it cannot be read."""
        found = Notes()  # told once, however often it is tried
        try:
            is_mask = masks_or_images.is_mask(
                path, self._folder, found, self._max_pixels, sorted(self._of_images)
            )
        except DataError:
            if not last:
                raise
            return False
        for text, count, first in found.counted():
            self._notes.add(text, first, count)
        return is_mask

    def begin(self) -> str:
        """The oldest file that was read is going to have its rows; see Seen.begin."""
        return self._seen.begin(self._taken[0])

    def done(self):
        """The oldest file that was read has its rows."""
        file = self._waiting.pop(self._taken.popleft())
        self._seen.add(file.key, *(file.state.unread if file.failed else file.state.read))

    def _look(self) -> int:
        """Brings what waits up to date; returns how many files were seen before."""
        known, there = 0, set()
        for path, key, state in self._image_files():
            file = self._waiting.get(path)
            if file is not None:
                there.add(path)
                if file.state != state and not file.taken:
                    self._waiting[path] = _Waiting(key, state)
            elif self._seen.state_of(key) in (state.read, state.unread):
                known += 1
            elif self._seen.is_mask(key, *state.read):
                continue
            elif len(self._waiting) < MOST_WAITING:
                there.add(path)
                self._waiting[path] = _Waiting(key, state)
        for path in [p for p, file in self._waiting.items() if p not in there and not file.taken]:
            del self._waiting[path]
            self._notes.add("{n} files were gone before they could be read, such as {first}", path)
        return known

    def _note_left_out(self, path: str):
        """Notes a file that is no image to read: of those that come later the first of each suffix, at once.

        More would need memory for each of them.
        """
        suffix = os.path.splitext(path)[1].lower()
        if self._first:
            self._suffixes.add(suffix)
            note_left_out(self._notes, path)
        elif suffix not in self._suffixes:
            self._suffixes.add(suffix)
            note_left_out(self._notes, path)
            found = Notes()
            note_left_out(found, path)
            for line in found.lines():
                print(f"note: {line}", flush=True)

    def _image_files(self) -> Iterator[tuple[str, str, _State]]:
        """(path, path without links, its _State) of the image files, in any order.

        As data.listing finds them, but without a list of all, and with masks. Raises: DataError where the
        folder cannot be listed; one below it is told, once.
        """
        places, waiting = set(), [self._folder]
        while waiting:
            place = waiting.pop()
            real = os.path.realpath(place)
            if real in places:
                continue
            places.add(real)
            if is_picture(os.path.join(real, "")):
                if self._first:
                    told = "{n} folders of maps and overlays that were written here are left out, such as"
                    self._notes.add(told + " {first}", place)
                continue
            try:
                entries = os.scandir(place)
            except OSError as error:
                told = f"{place}: cannot be listed: {error.strerror}"
                if place == self._folder:
                    raise DataError(told) from None
                if place not in self._told and os.path.exists(place):  # else it is gone again
                    self._told.add(place)
                    print(f"error: {told}", file=sys.stderr)
                continue
            with entries:
                for entry in entries:
                    with contextlib.suppress(OSError):  # gone again
                        if entry.is_dir():
                            if is_ignore(entry.name):  # masks of the images
                                continue
                            if not entry.name.startswith("."):
                                waiting.append(entry.path)
                            elif self._first:
                                self._notes.add(
                                    "{n} hidden folders are left out, such as {first}", entry.path
                                )
                        elif is_image_name(entry.name):
                            self._of_images.add(os.path.splitext(entry.name)[1])
                            found = entry.stat()
                            key = os.path.join(real, entry.name)
                            yield entry.path, key, _State(found.st_size, found.st_mtime_ns, found.st_ctime_ns)
                        else:
                            self._note_left_out(entry.path)


def with_pauses(items: Iterator, seconds: float) -> Iterator:
    """The items as they come; PAUSE where one was given and no other has come for so long."""
    coming: queue.Queue = queue.Queue(1)

    def read():
        try:
            for item in items:
                coming.put((item, None))
            coming.put((None, None))
        except Exception as error:
            coming.put((None, error))

    threading.Thread(target=read, daemon=True).start()
    paused = True
    while True:
        try:
            item, error = coming.get(timeout=None if paused else seconds)
        except queue.Empty:
            paused = True
            yield PAUSE
            continue
        if error is not None:
            raise error
        if item is None:
            return
        paused = False
        yield item


class Frame(NamedTuple):
    """One frame of a stream: a name for it, and its pixels uint8 or uint16 [H, W, 1 or 3] up to `most`."""

    name: str
    pixels: np.ndarray
    most: int

    def image(self, channels: int, reader: image_io.Reader) -> np.ndarray:
        """float32 [H, W, channels] in [-1, 1], as a PGM or PPM file with these values is read."""
        image, found = image_io.of_values(self.pixels, self.most, channels, reader.scale)
        reader.note(self.name, found)
        return image


def of_stream(stream, max_pixels: int = image_files.MAX_PIXELS) -> Iterator:
    """Frames of a binary stream of PGM (P5) and PPM (P6) images, as ffmpeg's image2pipe writes them.

    Before it raises it gives PAUSE, so that whole frames that wait for a batch are scored.

    Raises: DataError naming the frame where the stream holds something else or ends within a frame.
    """
    number = 0
    while (magic := pnm.token(stream)) != b"":
        number += 1
        name = f"frame_{number:06d}"
        try:
            frame = _frame(stream, magic, name, max_pixels)
        except ValueError as error:
            yield PAUSE
            raise DataError(f"{name}: {error}") from None
        yield frame


def _frame(stream, magic: bytes, name: str, max_pixels: int) -> Frame:
    """The frame that begins with `magic`; ValueError where it cannot be used."""
    if magic not in (b"P5", b"P6"):
        raise ValueError(f"a frame must be PGM (P5) or PPM (P6), it begins with {magic[:12]!r}")
    header = pnm.read_header(stream, magic)
    size = f"{header.width} x {header.height}"
    if min(header.width, header.height) < image_files.MIN_SIDE:
        raise ValueError(f"{size} pixels up to {header.most} cannot be used")
    if header.width * header.height > max_pixels:
        raise ValueError(f"{size} pixels, more than the limit of {max_pixels} pixels; --max_pixels raises it")
    return Frame(name, pnm.read_pixels(stream, header), header.most)
