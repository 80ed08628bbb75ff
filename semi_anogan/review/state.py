"""What the page shows and changes, of one run: its images, labels, threshold and refit."""

import collections
import contextlib
import csv
import functools
import json
import os
import pathlib
import shlex
import shutil
import threading
import time

from semi_anogan.data.review import SCORED, TEST, TRAINING
from semi_anogan.data.review import read as read_labels
from semi_anogan.errors import DataError, RunError, UserError
from semi_anogan.files import atomically, told_writing
from semi_anogan.review import figures, reviewed_csv
from semi_anogan.review.entries import LISTS, Entries, Entry, counted_from
from semi_anogan.review.pictures import Pictures, ScoredPictures, data_set_of
from semi_anogan.review.reasons import Asked, Loaded
from semi_anogan.review.refit import LOG, Refit, score_command, train_command
from semi_anogan.review.reviewed_csv import Reviewed, Row
from semi_anogan.review.why import Why
from semi_anogan.runs import folder as run_folder
from semi_anogan.runs import known_files, places, replacement
from semi_anogan.scoring import chosen
from semi_anogan.scoring.outputs import MAPS, OVERLAYS, REGION_LINES

RESCORED = "rescored"  # folder in the run: the newly scored images, scored again after a refit
RESCORED_OF = "rescored.json"  # which images these are
LOCK = "review.lock"
MOST_ROWS = 500  # of a list at once
# Seconds between two looks for images that were scored meanwhile, and how many times as long as one took.
FOLLOWED, AS_LONG = 5.0, 20.0
LOOKING = 2.0  # seconds in which images are looked at for how alike they are
MOST_KNOWN = 8  # known defects of a kind that are shown


class Review:
    """A run that is reviewed.

    Args: folder: of a finished run; scored: folder that `score` wrote, or None; who: name of the person where
      the page gives none; data_root: folder of the run's images, where they were moved.

    Raises: RunError or DataError naming the file that is missing or damaged, and where another page has it.
    """

    def __init__(self, folder, scored=None, who: str = "", data_root: str | None = None):
        import filelock

        self.folder = pathlib.Path(os.path.abspath(folder))
        self.given_scored = None if scored is None else pathlib.Path(os.path.abspath(scored))
        self.who, self.data_root = who, data_root
        run_folder.check_format(self.folder)
        if not (self.folder / run_folder.DETECTOR).exists():
            raise RunError(f"{self.folder / run_folder.DETECTOR}: missing, so the training has not finished")
        if self.given_scored is not None and not (self.given_scored / run_folder.SCORES).is_file():
            raise RunError(f"--scored: {self.given_scored / run_folder.SCORES}: no such file")
        self._page = filelock.FileLock(self.folder / LOCK)
        try:
            self._page.acquire(timeout=0)
        except filelock.Timeout:
            raise RunError(f"{self.folder}: another review page is open on this run") from None
        except OSError as error:
            raise RunError(f"{self.folder}: cannot be written: {error.strerror or error}") from error
        self._lock = threading.RLock()
        self.entries = Entries()
        self.generation = 0
        self.refit = Refit(self.folder / LOG, self._read)
        self.why = Why(Loaded(os.fspath(self.folder), data_root))
        try:
            self.reviewed = Reviewed(self.folder)
            self._read()
        except BaseException:
            self._page.release()
            raise

    def close(self):
        """Ends a refit that is running, and lets another page have the run."""
        self.refit.stop()
        self.why.end()
        self._page.release()

    # What there is

    def _read(self):
        """Reads the run's files, at first and when its detector has changed."""
        with self._lock:
            with contextlib.suppress(RunError), run_folder.locked(self.folder):
                replacement.finish(self.folder)  # of a refit that was killed; another process does it else
            config = run_folder.load_config(self.folder)
            places.find(config, self.folder, self.data_root, without=("reviewed",))
            self.scored = self.folder / RESCORED if self._rescored() else self.given_scored
            # What the scored images are read as, None where another program does not add to them.
            self._read_as = self._given() if self.scored == self.given_scored else None
            self._look_after = 0.0
            self.entries.read(self.folder, self.scored)
            self._lists: dict[str, list[Entry]] = {}
            self.threshold = figures.threshold_of(self.folder)
            if not hasattr(self, "pictures"):
                self.pictures = Pictures(config, lambda: data_set_of(config))
            self._taken: list[str] = []  # lines on labels
            self._take_scored()
            suspicious = self.folder / run_folder.SUSPICIOUS
            if suspicious.exists() and self.entries.of(TRAINING):
                labels = {path: found.label for path, found in read_labels(suspicious).items()}
                count, others = self.reviewed.add_missing(labels, TRAINING)
                if count:
                    self._taken.append(f"{count} labels of {suspicious.name} were taken over")
                if others:
                    self._taken.append(
                        f"{others} labels of {suspicious.name} differ from those of {reviewed_csv.NAME}, "
                        "which count"
                    )
            self.generation += 1
        self.why.end()  # it has the former detector

    @property
    def notes(self) -> list[str]:
        """Lines for a person."""
        return [*self.entries.notes, *self._of_scored, *self._not_read, *self._taken]

    def _take_scored(self):
        """What follows from the scored images that were read."""
        self._regions, self._not_read = None, []
        named = [e.named for e in self.entries.of(SCORED)]
        named = named[:: max(1, len(named) // 64)][:64]
        self._scored_pictures = None if self.scored is None else ScoredPictures(self.scored, named)
        self._of_scored = [*self.entries.scored_notes, *self._doubts(), *self._match_files()]

    def _follow(self):
        """Takes in what `score --watch` has added to the scored images, if there was no look for a while."""
        began = time.monotonic()
        if self._read_as is None or began < self._look_after:
            return
        try:
            found = self._given()
            if found == self._read_as:
                return
            self.entries.read_scored(self.given_scored)
            self._read_as = found  # of before: a row that came meanwhile is one for the next look
            self._take_scored()
        except (UserError, OSError) as error:  # a row that is half written, say
            self._not_read = [f"what was scored meanwhile cannot be read: {error}"]
        took = time.monotonic() - began
        self._look_after = time.monotonic() + max(FOLLOWED, AS_LONG * took)

    def _match_files(self) -> list[str]:
        """Finds the scored images that are image files of the run's data; lines on them."""
        self._scored_of: dict[int, Entry] = {}
        scored = self.entries.of(SCORED)
        if not scored:
            return []
        folder_of, files = functools.lru_cache(os.path.realpath), {}

        def real(path: str) -> str:  # a folder is looked up once
            folder, name = os.path.split(os.path.abspath(path))
            return os.path.join(folder_of(folder), name)

        for entry in [*self.entries.of(TRAINING), *self.entries.of(TEST)]:
            path = self.pictures.file(entry)
            if path is None:
                return []
            files[real(path)] = entry
        for entry in scored:
            entry.same = files.get(real(entry.path))
            if entry.same is not None:
                self._scored_of[entry.same.index] = entry
        counts = collections.Counter(e.same.origin for e in scored if e.same is not None)
        return [
            f"{count} of the newly scored images are {origin} images of the run, and count so"
            for origin, count in counts.items()
        ]

    def _rescored(self) -> bool:
        """Whether the given scored images were scored again after a refit."""
        try:
            of = json.loads((self.folder / RESCORED_OF).read_text())
        except (OSError, ValueError):
            return False
        return (self.folder / RESCORED / run_folder.SCORES).is_file() and of == self._given()

    def _given(self) -> list | None:
        """What the given scored images are, and of when."""
        if self.given_scored is None:
            return None
        path = self.given_scored / run_folder.SCORES
        return [os.fsencode(path).hex(), os.stat(path).st_mtime_ns]

    def _doubts(self) -> list[str]:
        """Lines on scores that may be of another detector."""
        if self.scored is None:
            return []
        path, known = self.scored / run_folder.SCORES, figures.calibration_of(self.folder).threshold
        found = chosen.read(self.folder)
        used = {f"{known:.6g}", *([] if found is None else [f"{found.threshold:.6g}", f"{found.former:.6g}"])}
        with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
            first = next(csv.DictReader(file), {})
        given = first.get("threshold", "")
        if given and given not in used:
            return [
                f"{path} was written with the threshold {given}, the run's is {self.threshold:.6g}: its "
                "scores may be those of another detector; score these images again"
            ]
        return []

    def entry(self, index: int) -> Entry:
        """KeyError where there is none."""
        if not 0 <= index < len(self.entries.all):
            raise KeyError(index)
        return self.entries.all[index]

    def listed(self, name: str, fresh: bool = False) -> list[Entry]:
        """The images of a list, in an order that stays until it is asked for afresh; KeyError for another."""
        with self._lock:
            if fresh:
                self._follow()
            if fresh or name not in self._lists:
                self._lists[name] = self._found(name)
            return self._lists[name]

    def _found(self, name: str) -> list[Entry]:
        until = time.monotonic() + LOOKING

        def look(entry: Entry):  # images that were not looked at in time count as unlike all
            return self.pictures.look(entry) if time.monotonic() < until else None

        return self._find(name, look)

    def _find(self, name: str, look=None) -> list[Entry]:
        _, find = LISTS[name]
        return find(self.entries, self.threshold, self.reviewed.has_label, look)

    def item(self, entry: Entry) -> dict:
        """What the page's lists show of an image."""
        row = self.reviewed.row(entry)
        return {
            "id": entry.index,
            "path": entry.path,
            "origin": entry.key[0],
            "score": entry.score,
            "suspicion": entry.suspicion,
            "truth": entry.truth,
            "label": row.label,
            "kind": row.kind,
            "mask": row.mask,
            "who": row.who,
            "when": row.when,
            "revision": row.revision,
        }

    def details(self, entry: Entry) -> dict:
        """What the page shows of the one image that is looked at."""
        height, width = self.pictures.view_size(entry)
        size = self.pictures.size(entry)
        return {
            **self.item(entry),
            "size": size,
            "view": (height, width),
            "overlay": self.picture(entry, OVERLAYS) is not None,
            "map": self.picture(entry, MAPS) is not None,
            "regions": self.regions(entry),
        }

    def picture(self, entry: Entry, folder: str) -> pathlib.Path | None:
        """The overlay or the map of an image, where `score` wrote one of it."""
        twin = self._twin(entry)
        if twin is None or self._scored_pictures is None:
            return None
        return self._scored_pictures.path(twin.named, folder)

    def regions(self, entry: Entry) -> list[dict]:
        """The regions that `score` found in an image."""
        twin = self._twin(entry)
        if twin is None:
            return []
        with self._lock:
            if self._regions is None:
                self._regions = figures.regions_of(self.scored / REGION_LINES)
        return self._regions.get(twin.named, [])

    def why_of(self, entry: Entry, place: tuple[float, float] | None = None, drawn: bool = False) -> dict:
        """What a place of an image (y, x) is near to, None: where its map is highest (review/reasons.py).

        drawn: what the generator makes of the image instead. DataError for a place outside; NotNow.
        """
        height, width = self.pictures.size(entry)
        if place is not None and not (place[0] < height and place[1] < width):
            at = f"x {place[1]:g}, y {place[0]:g}"
            raise DataError(f"{entry.path} has {width} x {height} pixels, so none at {at}")
        found = self.why.ask(Asked(*entry.key, place, drawn))
        with self._lock:
            for one in [*found.get("normal", ()), *found.get("known", ())]:
                if one["path"]:
                    one["id"] = self.entries.unlisted(TRAINING, one["path"]).index
        return found

    def _twin(self, entry: Entry) -> Entry | None:
        """The same image file among the newly scored ones."""
        if entry.origin == SCORED:
            return entry if entry.listed else None
        return self._scored_of.get(entry.index)

    def known(self, kind: str) -> list[Entry]:
        """Some known defects of a kind, to compare an image with."""
        paths = self.pictures.known(kind, MOST_KNOWN)
        with self._lock:
            return [self.entries.unlisted(TRAINING, path) for path in paths]

    def kinds(self) -> list[str]:
        """The kinds of defects that the run knows, and those that a person named."""
        return list(dict.fromkeys([*figures.known_kinds(self.folder), *self.reviewed.kinds()]))

    def told(self) -> dict:
        """All that is not of a single image."""
        with self._lock:
            self._follow()
            found = chosen.read(self.folder)
            why = self.why_no_refit()
            return {
                "run": str(self.folder),
                "who": self.who,
                "generation": self.generation,
                "lists": [
                    {"name": name, "words": words, "count": len(self._find(name))}
                    for name, (words, _) in LISTS.items()
                ],
                "kinds": self.kinds(),
                "counts": self.reviewed.counts(),
                "threshold": self.threshold,
                "calibrated": figures.calibration_of(self.folder).threshold,
                "chosen": None if found is None else found._asdict(),
                "notes": self.notes,
                "scored": None if self.scored is None else str(self.scored),
                "why_no_refit": why,
                "can_undo": (self.folder / replacement.BEFORE / run_folder.DETECTOR).exists(),
                "command": "python " + shlex.join(self.refit_command()[1:]),
            }

    # What changes

    def label(self, entry: Entry, revision: str, label: str, kind="", mask=None, who="") -> Row:
        """As Reviewed.change."""
        return self.reviewed.change(entry, revision, label, kind, mask, who or self.who)

    def draw(self, entry: Entry, revision: str, content: bytes, who="") -> Row:
        """Gives an image a mask, and with it the label abnormal; an empty one takes the mask away."""
        row = self.reviewed.row(entry)
        if row.revision != revision:
            raise reviewed_csv.Conflict(row)
        mask = self.pictures.mask_of(entry, content)
        if not mask.any():
            return self.reviewed.change(entry, revision, row.label, row.kind, "", who or self.who)
        name = self.reviewed.write_mask(entry, mask)
        return self.reviewed.change(entry, revision, "abnormal", row.kind, name, who or self.who)

    def choose(self, threshold: float | None, who: str = ""):
        """Has the run use a threshold, None: the calibrated one; RunError while its detector changes."""
        with self._lock, self._held():
            chosen.write(self.folder, threshold, reviewed_csv.checked_text("who", who or self.who))
            self.threshold = figures.threshold_of(self.folder)
            self._lists.clear()
            self.generation += 1

    def refit_command(self) -> list[str]:
        return train_command(self.folder, self.folder / reviewed_csv.NAME, self.data_root)

    def why_no_refit(self) -> str:
        """Why the detector cannot be fitted anew, "" where it can."""
        try:
            known_files.check_refit(self.folder)
        except UserError as error:
            return str(error)
        counts = self.reviewed.counts()
        return "" if any(counts[TRAINING].values()) or any(counts[SCORED].values()) else NO_LABELS

    def begin_refit(self):
        """Begins to fit the detector anew with the labels of now; RunError where that cannot be."""
        if why := self.why_no_refit():
            raise RunError(why)
        self.reviewed.save()
        commands = [("fitting the detector", self.refit_command(), (0,))]
        images = self.entries.of(SCORED)
        if images:
            table, output = self.folder / "rescored.csv", self.folder / RESCORED
            with atomically(table, RunError) as temporary:
                _write_paths(temporary, [e.path for e in images])
            with atomically(self.folder / RESCORED_OF, RunError) as temporary:
                temporary.write_text(json.dumps(self._given()))
            # 3: some images could not be read, as before
            commands.append(
                ("scoring the new images again", score_command(self.folder, table, output), (0, 3))
            )
        with self._held():  # told here, not by a process that ends at once
            pass
        if not self.refit.start(commands):
            raise RunError("the detector is being fitted already")

    def undo_refit(self):
        """Brings back the detector of before the refit."""
        with self._lock, self._held():
            replacement.undo(self.folder)
            with told_writing(self.folder / RESCORED, RunError):
                shutil.rmtree(self.folder / RESCORED, ignore_errors=True)
            self._read()

    def compared(self) -> dict | None:
        """The figures before and after the refit; None where there was none."""
        before = self.folder / replacement.BEFORE
        if not (before / run_folder.DETECTOR).exists():
            return None
        first, second = figures.summary(before), figures.summary(self.folder)
        limits = first["threshold"], second["threshold"]
        found = {"before": first, "now": second}
        tables = (figures.test_rows(place / run_folder.SCORES) for place in (before, self.folder))
        found["test"] = figures.changed(*tables, *limits)
        if self.given_scored is not None and self.scored != self.given_scored:
            tables = _absolute(self.given_scored), _absolute(self.folder / RESCORED)
            found["scored"] = figures.changed(*tables, *limits)
        return found

    def _held(self):
        if self.refit.running:
            raise RunError("the detector is being fitted; wait until it is done")
        return run_folder.locked(self.folder)


NO_LABELS = "no training image and no newly scored image has a label yet"


def _absolute(folder: pathlib.Path) -> dict:
    rows = figures.test_rows(folder / run_folder.SCORES)
    base = counted_from(list(rows), folder)
    return {os.path.abspath(os.path.join(base, path)): row for path, row in rows.items()}


def _write_paths(path, paths: list[str]):
    with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(["path"])
        writer.writerows([path] for path in paths)
