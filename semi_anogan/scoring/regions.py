"""Where in an image something is abnormal: the connected parts of its map that are high enough. numpy only.

scipy labels such parts too, but would add half again to what a device needs.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# What a detector without a pixel threshold tells.
MISSING = (
    "no regions, since the run was calibrated before maps were made as they are now: delete detector.json in "
    "its folder and give its train command again, which fits the detector anew; then export it again, if it "
    "is exported"
)

# Levels at which regions are looked for, each so many times the one before. One that grows together with
# another is one of its own if its peak is so many times as high as where they meet: less may be chance.
STEP, PLAIN = 0.8, 1.25

# Colour of the line around regions in pictures: rare in real parts, and unlike the warm colours of maps.
LINE = (0, 255, 255)


class Region(NamedTuple):
    """A connected part (8 neighbours) of an image that is abnormal.

    Attributes:
      left, top, width, height: its box, in pixels of the image.
      area: its number of pixels.
      peak, mean: of the map over it.
      x, y: column and row of its centroid; 0 is the middle of the first pixel.
      certain: whether the map exceeds the pixel threshold. Where it does so nowhere in an image labelled
        abnormal, the only region is the one of the highest value, and is not certain.
      mask: bool [height, width], its pixels within the box.
      kind: the known kind of defect that it is most alike to, "" where none is known; `kinds.named` tells it.
      kind_likeness: how alike, a cosine in [-1, 1]; None without a kind.
    """

    left: int
    top: int
    width: int
    height: int
    area: int
    peak: float
    mean: float
    x: float
    y: float
    certain: bool
    mask: np.ndarray
    kind: str = ""
    kind_likeness: float | None = None


def find(anomaly_map: np.ndarray, pixel_threshold: float) -> list[Region]:
    """The regions of an abnormal image, at least one, the highest peak first.

    A region has a pixel above the pixel threshold, and reaches down to half of its peak: there is the edge of
    what smoothing and wide features have spread (docs/experiments.md, "Regions down to half of their peak").
    Where it would grow together with another one before that, both end there. Where nothing is above the
    threshold, the highest value is the only peak.

    Args: anomaly_map: float [H, W], finite.
    """
    anomaly_map = np.asarray(anomaly_map)
    highest = anomaly_map.max()
    certain = bool(highest > pixel_threshold)
    least = pixel_threshold if certain else np.nextafter(highest, -np.inf)
    lowest = least / 2 if least > 0 else least  # no region reaches below
    labels, count = connected(anomaly_map > lowest)
    found = []
    for rows, columns in _pixels_of(labels, count):
        top, left = rows.min(), columns.min()
        part = np.full((rows.max() - top + 1, columns.max() - left + 1), -np.inf)
        part[rows - top, columns - left] = anomaly_map[rows, columns]
        for inner_rows, inner_columns in _mountains(part, least, lowest):
            found.append(_region(anomaly_map, inner_rows + top, inner_columns + left, certain))
    return sorted(found, key=lambda r: -r.peak)


def _pixels_of(labels: np.ndarray, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(rows, columns) of each label from 1 to count."""
    rows, columns = np.nonzero(labels)
    label = labels[rows, columns]
    order = np.argsort(label, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(label, minlength=count + 1)[1:])[:-1])
    return [(rows[part], columns[part]) for part in parts]


def _mountains(values: np.ndarray, least: float, lowest: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """The regions of a connected part of a map, (rows, columns) of each one's pixels.

    The level falls step by step. What stands alone becomes a region when the level has come to half of its
    peak, or before it grows together with one that is a region already.

    Args: values: [h, w], -inf outside of the part; least: of a peak; lowest: of a level.
    """
    highest = values.max()
    if highest <= least:
        return []
    count = math.floor(math.log(lowest / highest) / math.log(STEP)) if lowest > 0 else 0
    levels = [*(highest * STEP**i for i in range(1, count + 1)), lowest]
    found, taken = [], np.zeros(values.shape, bool)
    # Of the level before: labels, pixels of each, and itself.
    above, parts_above, above_level = np.zeros(values.shape, np.int32), [], highest

    def add(pixels):
        found.append(pixels)
        taken[pixels] = True

    for level in levels:
        labels, count = connected(values > level)
        parts = _pixels_of(labels, count)
        for pixels in parts:
            peak = values[pixels].max()
            if peak <= least:
                continue
            if taken[pixels].any():
                for other in set(above[pixels].tolist()) - {0}:
                    part = parts_above[other - 1]
                    if not taken[part].any() and values[part].max() > max(least, PLAIN * above_level):
                        add(part)
            elif level <= peak / 2 or level == lowest:
                high = values[pixels] > (max(peak / 2, lowest) if lowest > 0 else level)
                for part in _connected_pixels(pixels[0][high], pixels[1][high]):
                    if values[part].max() > least:
                        add(part)
        above, parts_above, above_level = labels, parts, level
    return found


def _connected_pixels(rows: np.ndarray, columns: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The connected parts of some pixels, (rows, columns) of each."""
    top, left = rows.min(), columns.min()
    inside = np.zeros((rows.max() - top + 1, columns.max() - left + 1), bool)
    inside[rows - top, columns - left] = True
    return [(r + top, c + left) for r, c in _pixels_of(*connected(inside))]


def connected(inside: np.ndarray) -> tuple[np.ndarray, int]:
    """(labels int32 [H, W], their number) of the connected parts (8 neighbours) of a bool [H, W].

    0 is outside; parts are numbered from 1 by their first pixel, row by row.
    """
    # A run of pixels in a row, [start, end), touches those of the row above that overlap it or meet a corner.
    ends_of_runs = np.diff(np.pad(inside, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(ends_of_runs == 1)
    ends = np.nonzero(ends_of_runs == -1)[1]
    above = (rows - 1) * (inside.shape[1] + 2)
    first = np.searchsorted(above + inside.shape[1] + 2 + ends, above + starts, side="left")
    last = np.searchsorted(above + inside.shape[1] + 2 + starts, above + ends, side="right")
    parent = list(range(len(rows)))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = run = parent[parent[run]]
        return run

    for run, touching in enumerate(map(range, first.tolist(), last.tolist())):
        for other in touching:
            one, two = root(run), root(other)
            parent[max(one, two)] = min(one, two)
    roots, number = np.unique(
        np.array([root(run) for run in range(len(parent))], np.int64), return_inverse=True
    )
    labels = np.zeros(inside.shape, np.int32)
    labels[inside] = np.repeat(number + 1, ends - starts)
    return labels, len(roots)


def union(regions: Sequence[Region], shape: tuple[int, int]) -> np.ndarray:
    """The pixels of all regions of an image of `shape` (height, width), bool [H, W]."""
    inside = np.zeros(shape, bool)
    for r in regions:
        inside[r.top : r.top + r.height, r.left : r.left + r.width] |= r.mask
    return inside


def polygon(region: Region) -> list[list[int]]:
    """The outer edge of a region, [[x, y], ...]: its corners in order, along the edges of its pixels.

    0, 0 is the upper left corner of the image, 1, 1 the lower right one of its first pixel. Clockwise, from
    the upper left corner of the region's first pixel on. Holes are inside. Pixels that touch at a corner only
    are passed through that corner, which then stands in it twice.
    """
    inside = np.pad(region.mask, 1).tolist()
    column = region.mask[0].argmax()
    # At a corner, looking ahead, what is inside lies on the right. Beyond the corner: left and right pixel.
    x, y, direction = int(column), 0, 0  # 0: to the right, 1: down, 2: left, 3: up
    steps = ((1, 0), (0, 1), (-1, 0), (0, -1))
    beyond_left = ((1, 0), (1, 1), (0, 1), (0, 0))  # of the padded mask: column and row offsets
    beyond_right = ((1, 1), (0, 1), (0, 0), (1, 0))
    start, corners = (x, y), []
    while not corners or (x, y) != start or direction != 0:
        corners.append([x + region.left, y + region.top])
        while True:  # straight on, to the next corner
            x, y = x + steps[direction][0], y + steps[direction][1]
            a, b = beyond_left[direction]
            if inside[y + b][x + a]:
                direction = (direction - 1) % 4
                break
            a, b = beyond_right[direction]
            if not inside[y + b][x + a]:
                direction = (direction + 1) % 4
                break
    return corners


def outline(inside: np.ndarray, pixels: int = 1) -> np.ndarray:
    """The line just outside of what is inside, both bool [H, W]: even a single pixel stays visible."""
    around = np.pad(inside, pixels)
    for axis in (0, 1):
        grown = around.copy()
        for shift in range(1, pixels + 1):
            grown |= np.roll(around, shift, axis) | np.roll(around, -shift, axis)
        around = grown
    return around[pixels:-pixels, pixels:-pixels] & ~inside


def _region(anomaly_map: np.ndarray, rows: np.ndarray, columns: np.ndarray, certain: bool) -> Region:
    """The region of these pixels, at least one."""
    values = anomaly_map[rows, columns].astype(np.float64)
    top, left = int(rows.min()), int(columns.min())
    mask = np.zeros((int(rows.max()) - top + 1, int(columns.max()) - left + 1), bool)
    mask[rows - top, columns - left] = True
    height, width = mask.shape
    centroid = float(columns.mean()), float(rows.mean())
    return Region(
        left,
        top,
        width,
        height,
        len(rows),
        float(values.max()),
        float(values.mean()),
        *centroid,
        bool(certain),
        mask,
    )
