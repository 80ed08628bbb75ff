"""Scoring image files into scores.csv, regions.csv, maps/ and overlays/.

Without a framework, so that the edge runtime can.
"""

import contextlib
import csv
import pathlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from semi_anogan.data import images as image_io
from semi_anogan.data.dataset import Masked
from semi_anogan.errors import DataError
from semi_anogan.scoring.overlay import overlay
from semi_anogan.scoring.regions import Region

COLUMNS = ("path", "score", "label", "status", "error", "regions")
REGION_COLUMNS = ("path", "number", *(name for name in Region._fields if name != "mask"))


class Scored(NamedTuple):
    """One image's outcome; with `error`, the rest is empty.

    seconds: from the start of reading until the map was known. regions: as Detector.regions gives them, None
    where the detector has no pixel threshold. image: as it was read, where it was to be kept.
    """

    path: str
    score: float | None
    abnormal: bool | None
    anomaly_map: np.ndarray | None
    error: str | None
    seconds: float
    regions: list[Region] | None = None
    image: np.ndarray | None = None


def scored(
    detector,
    items: Iterable,
    read: Callable | None = None,
    name: Callable = str,
    overlap: bool = False,
    keep_images: bool = False,
) -> Iterator[Scored]:
    """Scores images one batch after the other; memory does not grow with their number.

    Args:
      detector: has `channels`, `scale`, `measure`, `judge`, `regions` and `pixel_threshold` as Detector has.
      items: what `read(item, channels)` makes a float32 [H, W, C] image of, or Masked, or raises DataError;
        None: they are paths.
      name: item -> path for the outcome.
      overlap: as in `measure`; not for images that come one by one and are wanted at once.
      keep_images: tell the images too.
    """
    read = read or image_io.Reader(detector.scale)
    # Read and not yet told: path, error, when, and the image if it is kept.
    waiting: list[tuple[str, str | None, float, np.ndarray | None]] = []

    def readable():
        for item in items:
            begun = time.perf_counter()
            try:
                image = read(item, detector.channels)
            except DataError as error:
                waiting.append((name(item), str(error), begun, None))
                continue
            kept = image.image if isinstance(image, Masked) else image
            waiting.append((name(item), None, begun, kept if keep_images else None))
            yield image

    def failures():
        while waiting and waiting[0][1] is not None:
            path, error, begun, _ = waiting.pop(0)
            yield Scored(path, None, None, None, error, time.perf_counter() - begun)

    for measurement in detector.measure(readable(), overlap, combined=True, pictures=False):
        yield from failures()
        path, _, begun, image = waiting.pop(0)
        score, abnormal, anomaly_map = detector.judge(measurement)
        seconds, regions = time.perf_counter() - begun, None
        if detector.pixel_threshold is not None:
            (regions,) = detector.regions([abnormal], [anomaly_map])
        yield Scored(path, score, abnormal, anomaly_map, None, seconds, regions, image)
    yield from failures()


def write(
    outcomes: Iterable[Scored],
    output: pathlib.Path,
    maps: bool = True,
    extra: dict[str, Callable] | None = None,
    pixel_threshold: float | None = None,
    overlays: bool = False,
) -> int:
    """Writes OUTPUT/scores.csv, regions.csv, maps/ and overlays/; returns how many images had errors.

    Rows are written as they come, so what is done is not lost when the process ends early.

    Args:
      extra: further columns, each a function of the outcome.
      pixel_threshold: the detector's; without one there are neither regions nor overlays.
      overlays: draw them; the outcomes must have their images.
    Raises: OSError when the output cannot be written.
    """
    overlays = overlays and pixel_threshold is not None
    extra, failed, names = extra or {}, 0, FileNames()
    for folder, wanted in (("", True), ("maps", maps), ("overlays", overlays)):
        if wanted:
            (output / folder).mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as tables:
        add = tables.enter_context(_table(output / "scores.csv", [*COLUMNS, *extra]))
        if pixel_threshold is not None:
            add_region = tables.enter_context(_table(output / "regions.csv", REGION_COLUMNS))
        else:  # one of an earlier call would not go with these scores
            (output / "regions.csv").unlink(missing_ok=True)
        for outcome in outcomes:
            more = [value(outcome) for value in extra.values()]
            if outcome.error is not None:
                failed += 1
                print(f"error: {outcome.error}", file=sys.stderr)
                add([outcome.path, "", "", "error", outcome.error, "", *more])
                continue
            name, regions = names.unique(outcome.path), outcome.regions
            if maps:
                write_map(output / "maps" / name, outcome.anomaly_map)
            if overlays:
                write_overlay(output / "overlays" / f"{name}.png", outcome, pixel_threshold)
            for number, region in enumerate(regions or (), 1):
                add_region([outcome.path, number, *_texts(region)])
            label = "abnormal" if outcome.abnormal else "normal"
            count = "" if regions is None else len(regions)
            add([outcome.path, f"{outcome.score:.6g}", label, "ok", "", count, *more])
    return failed


@contextlib.contextmanager
def _table(path: pathlib.Path, columns: Sequence[str]):
    """A function that adds a row to a CSV file, and writes it at once."""
    # surrogateescape: file names that are not UTF-8 come out as they are
    with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)

        def add(row):
            writer.writerow(row)
            file.flush()

        add(columns)
        yield add


def _texts(region: Region) -> list[str]:
    """The values of a region for regions.csv, in the order of REGION_COLUMNS."""
    values = region._asdict()
    del values["mask"]
    values["certain"] = "yes" if region.certain else "no"
    return [f"{v:.6g}" if isinstance(v, float) else str(v) for v in values.values()]


class FileNames:
    """Names of maps and overlays: the image's own, numbered where two folders hold the same name."""

    def __init__(self):
        self._taken: dict[str, int] = {}

    def unique(self, path: str) -> str:
        name = pathlib.Path(path).name
        self._taken[name] = number = self._taken.get(name, 0) + 1
        return name if number == 1 else f"{name}.{number}"


def write_map(stem: pathlib.Path, anomaly_map: np.ndarray):
    """Writes STEM.npy (float32 [H, W]) and STEM.png (grey, 0 to 10 standard deviations of a normal pixel)."""
    from PIL import Image

    np.save(stem.with_name(stem.name + ".npy"), anomaly_map.astype(np.float32))
    grey = np.clip(anomaly_map * 25.5, 0, 255).astype(np.uint8)
    Image.fromarray(grey).save(stem.with_name(stem.name + ".png"))


def write_overlay(path: pathlib.Path, outcome: Scored, pixel_threshold: float):
    """Writes the image of an outcome with its map and its regions, as PNG."""
    from PIL import Image

    picture = overlay(outcome.image, outcome.anomaly_map, outcome.regions, pixel_threshold)
    Image.fromarray(picture).save(path)
