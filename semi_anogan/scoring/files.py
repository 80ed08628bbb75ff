"""Scoring image files into scores.csv, regions, maps/ and overlays/.

Without a framework, so that the edge runtime can.
"""

import contextlib
import dataclasses
import os
import pathlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from semi_anogan.data import images as image_io
from semi_anogan.data.dataset import Masked
from semi_anogan.data.look import Look
from semi_anogan.data.notes import Notes
from semi_anogan.errors import DataError, RunError
from semi_anogan.scoring import kinds as known_kinds
from semi_anogan.scoring.calibration import ABNORMAL, NORMAL
from semi_anogan.scoring.drift import Drift
from semi_anogan.scoring.outputs import (
    ALL,
    BEGIN,
    COCO,
    COLUMNS,
    DRIFT,
    DRIFT_COLUMNS,
    LOOK_COLUMN,
    MAPS,
    OF_ABNORMAL,
    OVERLAYS,
    REGION_COLUMNS,
    REGION_LINES,
    REGIONS,
    SCORES,
    SUFFIXES,
    Outputs,
    claimed,
    coco,
    lines,
    now,
    picture_name,
    region_line,
    region_row,
    table,
)
from semi_anogan.scoring.overlay import overlay
from semi_anogan.scoring.regions import Region

# Bytes of an image that is kept for its overlay while its batch is scored. A larger one is read again.
SMALL = 4 << 20


PAUSE = object()  # an item that is none: no other is there now, so what waits for a batch is to be scored


class NotYet(Exception):
    """An image that cannot be read now, but perhaps later: it has no outcome yet."""


class Scored(NamedTuple):
    """One image's outcome; with `error`, the rest is empty.

    label: "normal", "look" or "abnormal". seconds: from the start of reading until the map was known.
    regions: as Detector.regions gives them, also of an image to be looked at; None where the detector has no
    pixel threshold. image: as it was read, where it was to be kept. p_value: as Calibration.p_value. look,
    ignored, components, summary: as in Measurement. product: by whose detector, of several.
    """

    path: str
    score: float | None
    label: str | None
    anomaly_map: np.ndarray | None
    error: str | None
    seconds: float
    regions: list[Region] | None = None
    image: np.ndarray | None = None
    p_value: float | None = None
    look: Look | None = None
    ignored: np.ndarray | None = None
    product: str | None = None
    components: np.ndarray | None = None
    summary: np.ndarray | None = None


def scored(
    detector,
    items: Iterable,
    read: Callable | None = None,
    name: Callable = str,
    overlap: bool = False,
    keep_images: float = 0,
) -> Iterator[Scored]:
    """Scores images one batch after the other; memory does not grow with their number.

    Args:
      detector: has `channels`, `scale`, `batch_size`, `measure`, `judge`, `regions`, `pixel_threshold` and
        `kinds` as Detector has.
      items: what `read(item, channels)` makes a float32 [H, W, C] image of, or Masked, or raises DataError,
        or NotYet for one that is left out; None: they are paths. After PAUSE what waits is scored, though it
        be no whole batch.
      name: item -> path for the outcome.
      overlap: as in `measure`; not for images that come one by one and are wanted at once.
      keep_images: tell the images too, as far as they have no more bytes than this.
    """
    read = read or image_io.Reader(detector.scale)
    # Read and not yet told: path, error, when, and the image if it is kept.
    waiting: list[tuple[str, str | None, float, np.ndarray | None]] = []
    left, whole = iter(items), False
    # An error is told at once where images are: the next one may be long in coming.
    one_by_one = not overlap and detector.batch_size == 1

    def readable():
        nonlocal whole
        for item in left:
            if item is PAUSE:
                if waiting:
                    return
                continue
            begun = time.perf_counter()
            try:
                image = read(item, detector.channels)
            except NotYet:
                continue
            except DataError as error:
                waiting.append((name(item), str(error), begun, None))
                if one_by_one:
                    return
                continue
            kept = image.image if isinstance(image, Masked) else image
            waiting.append((name(item), None, begun, kept if kept.nbytes <= keep_images else None))
            yield image
        whole = True

    def failures():
        while waiting and waiting[0][1] is not None:
            path, error, begun, _ = waiting.pop(0)
            yield Scored(path, None, None, None, error, time.perf_counter() - begun)

    locates = detector.pixel_threshold is not None
    while not whole:
        measured = detector.measure(readable(), overlap, combined=True, pictures=False, kinds=locates)
        for measurement in measured:
            yield from failures()
            path, _, begun, image = waiting.pop(0)
            score, _, anomaly_map = detector.judge(measurement)
            measurement = dataclasses.replace(measurement, layers=None)  # of a large image they take much
            label, p_value = detector.calibrated.label(score), detector.calibrated.p_value(score)
            seconds, regions = time.perf_counter() - begun, None
            if locates:
                (regions,) = detector.regions([label != NORMAL], [anomaly_map])
                regions = known_kinds.named(regions, measurement.kinds, measurement.size, detector.kinds)
            judged = path, score, label, anomaly_map, None, seconds, regions, image, p_value
            more = {n: getattr(measurement, n) for n in ("look", "ignored", "components", "summary")}
            del measurement, anomaly_map
            yield Scored(*judged, **more)
        yield from failures()


def write(
    outcomes: Iterable[Scored],
    output: pathlib.Path,
    detector,
    outputs: Outputs | None = None,
    extra: dict[str, Callable] | None = None,
    notes: Notes | None = None,
    read: Callable | None = None,
    changed: Callable[[str], None] | None = None,
) -> int:
    """Writes OUTPUT/scores.csv, regions.csv, regions.jsonl and what is wanted besides.

    Where the images change there is drift.csv. Returns how many images had errors. Rows are written as they
    come, so what is done is not lost when the process ends early. Memory does not grow with the number of
    images.

    Args:
      detector: by which the outcomes were judged, or {product: its detector}. Without a pixel threshold there
        are neither regions nor overlays.
      extra: further columns, each a function of the outcome.
      notes: get a line where regions or overlays are left out.
      read: outcome -> image [H, W, C], for the overlay of an outcome that does not tell its image.
      changed: gets each line on what has changed in the images, before the next outcome is asked for.
    Raises: OSError when the output cannot be written; RunError where another process writes there, or what is
      to be continued has other columns.
    """
    outputs, extra, notes = outputs or Outputs(), extra or {}, notes or Notes()
    detectors = detector if isinstance(detector, Mapping) else {None: detector}
    locates = any(d.pixel_threshold is not None for d in detectors.values())
    looks = any(d.calibrated.look_threshold is not None for d in detectors.values())
    columns = [*COLUMNS, *([LOOK_COLUMN] if looks else []), *extra]
    failed, drifts = 0, {product: Drift.of(d) for product, d in detectors.items()}
    with claimed(output), contextlib.ExitStack() as tables:
        pictures = _Pictures(output, outputs, detectors, notes, read)
        _begin(output, outputs, locates)
        add = tables.enter_context(table(output / SCORES, columns, outputs.append))
        if locates:
            add_region = tables.enter_context(table(output / REGIONS, REGION_COLUMNS, outputs.append))
            add_line = tables.enter_context(lines(output / REGION_LINES, outputs.append))
        whole = tables.enter_context(coco(output / COCO, outputs.root)) if outputs.coco and locates else None
        add_change = None
        for outcome in outcomes:
            when = now()
            outcome = without_small(outcome, outputs.min_area, notes)
            row = score_row(outcome, detectors.get(outcome.product), when, looks)
            row += [value(outcome) for value in extra.values()]
            pictures.write(outcome, when)
            if outcome.error is not None:
                failed += 1
                print(f"error: {outcome.error}", file=sys.stderr)
                add(row)
                continue
            for number, region in enumerate(outcome.regions or (), 1):
                add_region(region_row(outcome.path, number, region))
                add_line(region_line(outcome.path, number, region, outcome.anomaly_map.shape))
            if whole is not None and outcome.regions is not None:
                shape = outcome.anomaly_map.shape
                whole.add(outcome.path, outcome.score, outcome.label, shape, outcome.regions)
            add(row)
            drift = drifts[outcome.product]
            followed = outcome.look, outcome.label == ABNORMAL, outcome.components, outcome.summary
            for line in drift.add(*followed) if outcome.look else ():
                line = of_product(outcome.product, line)
                print(f"note: {line}", flush=True)
                if add_change is None:  # there is no such file where nothing has changed
                    add_change = tables.enter_context(table(output / DRIFT, DRIFT_COLUMNS, outputs.append))
                add_change([outcome.path, line, when])
                if changed is not None:
                    changed(line)
    return failed


def of_product(product: str | None, line: str) -> str:
    """A line that is told of a product, where there are several."""
    return line if product is None else f"product {product}: {line}"


def score_row(outcome: Scored, detector, when: str, looks: bool) -> list:
    """The values of an outcome for scores.csv, in the order of COLUMNS and, where `looks`, LOOK_COLUMN.

    detector: by which it was judged; None for an error of an image that is of no product.
    """
    values = (detector.threshold, detector.calibrated.look_threshold) if detector else (None, None)
    threshold, look = ("" if value is None else f"{value:.6g}" for value in values)
    if outcome.error is not None:
        found = ["", "", "error", outcome.error, "", threshold, ""]
    else:
        count = "" if outcome.regions is None else len(outcome.regions)
        p_value = "" if outcome.p_value is None else f"{outcome.p_value:.6g}"
        found = [f"{outcome.score:.6g}", outcome.label, "ok", "", count, threshold, p_value]
    return [outcome.path, *found, when, *([look] if looks else [])]


def without_small(outcome: Scored, min_area: int, notes: Notes) -> Scored:
    """The outcome without regions of fewer pixels, of which `notes` get a line."""
    if outcome.regions is None:
        return outcome
    kept = [region for region in outcome.regions if region.area >= min_area]
    told = f"{{n}} regions of less than {min_area} pixels are left out, as in {{first}}"
    notes.add(told, outcome.path, len(outcome.regions) - len(kept))
    return outcome._replace(regions=kept)


def _begin(output: pathlib.Path, outputs: Outputs, locates: bool):
    """Takes away what an earlier call wrote and this one does not continue; says so.

    Raises: RunError where scores.csv is another table, such as that of a run's test images.
    """
    if outputs.append:
        return
    path = output / SCORES
    if path.stat().st_size:
        with open(path, "rb") as file:
            begin = file.readline(len(BEGIN))
        if not BEGIN.startswith(begin):
            raise RunError(
                f"{path}: is not of scored images, as that of a run folder is not; give another --output"
            )
        folders = (output / name for name in (MAPS, OVERLAYS))
        kept = [f"{folder.name}/" for folder in folders if folder.is_dir() and any(folder.iterdir())]
        also = f"; pictures of other images stay in {' and '.join(kept)}" if kept else ""
        print(
            f"note: {path} of an earlier call is replaced{also}; --append continues it, --resume one that "
            "was interrupted"
        )
    gone = () if locates and outputs.coco else (COCO,) if locates else (COCO, REGIONS, REGION_LINES)
    for name in (DRIFT, *gone):
        (output / name).unlink(missing_ok=True)


class _Pictures:
    """Writes maps and overlays, and takes away those of an earlier call that are none any more."""

    def __init__(self, output: pathlib.Path, outputs: Outputs, detectors: Mapping, notes, read):
        self._output, self._outputs = output, outputs
        self._pixel_thresholds = {product: d.pixel_threshold for product, d in detectors.items()}
        self._notes, self._read = notes, read
        self._old = [name for name in (MAPS, OVERLAYS) if (output / name).is_dir()]

    def write(self, outcome: Scored, when: str):
        """Writes those of an outcome. Where they would replace another's, `when` stands in their name."""
        outputs = self._outputs
        suffix = SUFFIXES[outputs.overlay_format]
        wanted = outputs.overlays == ALL or outputs.overlays == OF_ABNORMAL and outcome.label != NORMAL
        located = self._pixel_thresholds.get(outcome.product) is not None
        wanted = wanted and located and outcome.error is None
        ends = {MAPS: (".npy", ".png") if outputs.maps and outcome.error is None else ()}
        ends[OVERLAYS] = (suffix,) if wanted else ()
        if not any(ends.values()) and not self._old:
            return
        name = picture_name(outcome.path, outputs.root)
        for folder, kinds in ends.items():
            stem = self._output / folder / name
            own = outputs.resume or not outputs.append  # pictures of this name are of the same image
            if not own and any(_with(stem, kind).exists() for kind in kinds):
                stem = _with(stem, f".{when.replace('-', '').replace(':', '')}")
            elif folder in self._old and own:
                for kind in {".npy", *SUFFIXES.values()} - set(kinds):
                    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                        _with(stem, kind).unlink()
            if kinds:
                stem.parent.mkdir(parents=True, exist_ok=True)
                if folder == MAPS:
                    write_map(stem, outcome.anomaly_map)
                else:
                    self._write_overlay(_with(stem, suffix), outcome)

    def _write_overlay(self, path: pathlib.Path, outcome: Scored):
        if outcome.image is None:
            try:
                outcome = outcome._replace(image=self._read(outcome))
            except DataError as error:
                told = "{n} overlays are missing, since the image could not be read again, such as {first}"
                self._notes.add(told, str(error))
                path.unlink(missing_ok=True)  # it would be that of an earlier image
                return
        write_overlay(path, outcome, self._pixel_thresholds[outcome.product])


def _with(stem: pathlib.Path, suffix: str) -> pathlib.Path:
    return stem.with_name(stem.name + suffix)


def write_map(stem: pathlib.Path, anomaly_map: np.ndarray):
    """Writes STEM.npy (float32 [H, W]) and STEM.png (grey, 0 to 10 standard deviations of a normal pixel)."""
    from PIL import Image

    anomaly_map = np.asarray(anomaly_map, np.float32)
    with _whole(_with(stem, ".npy")) as file:
        np.save(file, anomaly_map)
    grey = np.empty(anomaly_map.shape, np.uint8)
    for start in range(0, len(grey), 256):  # not all at once, as it may be large
        grey[start : start + 256] = np.clip(anomaly_map[start : start + 256] * 25.5, 0, 255)
    with _whole(_with(stem, ".png")) as file:
        Image.fromarray(grey).save(file, "PNG")


def write_overlay(path: pathlib.Path, outcome: Scored, pixel_threshold: float):
    """Writes the image of an outcome with its map and its regions, as PNG or JPEG by the path's suffix."""
    from PIL import Image

    picture = overlay(outcome.image, outcome.anomaly_map, outcome.regions, pixel_threshold, outcome.ignored)
    kind = next(name for name, suffix in SUFFIXES.items() if path.name.endswith(suffix))
    with _whole(path) as file:
        Image.fromarray(picture).save(file, kind, quality=90)  # of JPEG alone


@contextlib.contextmanager
def _whole(path: pathlib.Path):
    """A file to write to, which takes the place of `path` at the end: a full disk leaves no half of one."""
    temporary = _with(path, ".tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
