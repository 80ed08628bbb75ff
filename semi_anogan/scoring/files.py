"""Scoring image files into scores.csv and maps/, without a framework, so that the edge runtime can."""

import csv
import pathlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from semi_anogan.data import images as image_io
from semi_anogan.errors import DataError

COLUMNS = ("path", "score", "label", "status", "error")


class Scored(NamedTuple):
    """One image's outcome; with `error`, the rest is empty.

    seconds: from the start of reading until the map was known.
    """

    path: str
    score: float | None
    abnormal: bool | None
    anomaly_map: np.ndarray | None
    error: str | None
    seconds: float


def scored(
    detector, items: Iterable, read: Callable | None = None, name: Callable = str, overlap: bool = False
) -> Iterator[Scored]:
    """Scores images one batch after the other; memory does not grow with their number.

    Args:
      detector: has `channels`, `scale`, `measure` and `judge` as Detector has.
      items: what `read(item, channels)` makes a float32 [H, W, C] image of, or raises DataError; None: they
        are paths.
      name: item -> path for the outcome.
      overlap: as in `measure`; not for images that come one by one and are wanted at once.
    """
    read = read or image_io.Reader(detector.scale)
    waiting: list[tuple[str, str | None, float]] = []  # read and not yet told: path, error, when

    def readable():
        for item in items:
            begun = time.perf_counter()
            try:
                image = read(item, detector.channels)
            except DataError as error:
                waiting.append((name(item), str(error), begun))
                continue
            waiting.append((name(item), None, begun))
            yield image

    def failures():
        while waiting and waiting[0][1] is not None:
            path, error, begun = waiting.pop(0)
            yield Scored(path, None, None, None, error, time.perf_counter() - begun)

    for measurement in detector.measure(readable(), overlap):
        yield from failures()
        path, _, begun = waiting.pop(0)
        yield Scored(path, *detector.judge(measurement), None, time.perf_counter() - begun)
    yield from failures()


def write(
    outcomes: Iterable[Scored],
    output: pathlib.Path,
    maps: bool = True,
    extra: dict[str, Callable] | None = None,
) -> int:
    """Writes OUTPUT/scores.csv and OUTPUT/maps/; returns how many images had errors.

    Rows are written as they come, so what is done is not lost when the process ends early. extra: further
    columns, each a function of the outcome. Raises OSError when the output cannot be written.
    """
    extra, failed, names = extra or {}, 0, MapNames()
    (output / "maps" if maps else output).mkdir(parents=True, exist_ok=True)
    # surrogateescape: file names that are not UTF-8 come out as they are
    with open(output / "scores.csv", "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow([*COLUMNS, *extra])
        for outcome in outcomes:
            more = [value(outcome) for value in extra.values()]
            if outcome.error is not None:
                failed += 1
                print(f"error: {outcome.error}", file=sys.stderr)
                writer.writerow([outcome.path, "", "", "error", outcome.error, *more])
                file.flush()
                continue
            if maps:
                write_map(output / "maps" / names.unique(outcome.path), outcome.anomaly_map)
            label = "abnormal" if outcome.abnormal else "normal"
            writer.writerow([outcome.path, f"{outcome.score:.6g}", label, "ok", "", *more])
            file.flush()
    return failed


class MapNames:
    """File names of maps: the image's own, numbered where two folders hold the same name."""

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
