"""Which remembered normal patches, and which known defects, a place of an image is nearest to.

The memory keeps of each patch which image it is of. Where in that image it lies is not kept: it is found
again by looking for the patch in the image, which shows at the same time whether the image is still the one
that was remembered.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from keras import ops

from semi_anogan.backend import compile_function
from semi_anogan.data import masks, tiles
from semi_anogan.data.orientation import oriented
from semi_anogan.scoring.base_detector import Preparation
from semi_anogan.scoring.isolation import TOP_SHARE
from semi_anogan.scoring.memory import SizeMemory, embed
from semi_anogan.scoring.views import scaled
from semi_anogan.whole_batches import filled

# Whitened distances below are rounding: a patch is found again, not one that is like it.
SAME = 0.05
MOST_PARTS = 256  # tiles of an image that is searched for a patch
PARTS_AT_ONCE = 8
# Where a place of an oriented image lies upright, as shares of height and width from the top left.
_UPRIGHT: dict[str, Callable[[float, float], tuple[float, float]]] = {
    "": lambda y, x: (y, x),
    "mirrored": lambda y, x: (y, 1 - x),
    "upside down": lambda y, x: (1 - y, x),
    "turned by a half": lambda y, x: (1 - y, 1 - x),
    "turned by a quarter": lambda y, x: (x, 1 - y),
}


class Near(NamedTuple):
    """The nearest remembered patch of an image.

    Attributes: owner: number of the image, -1 where the memory does not know it; patch: row of the memory's
    patches; distance: d_i of SizeMemory, in whitened features, below 0 where it is nearer than normal patches
    are to each other.
    """

    owner: int
    patch: int
    distance: float


class Place(NamedTuple):
    """A patch of an image: which part of the image (0, or the tile), row and column in its grid."""

    part: int
    row: int
    column: int


class Box(NamedTuple):
    """Pixels of an image."""

    top: int
    left: int
    height: int
    width: int


class Found(NamedTuple):
    """A remembered patch that was looked for in its image.

    Attributes:
      grid, middle: where it is: the image's patches, and the pixel in the middle of this one.
      away: whitened distance of what lies there from what was remembered; below SAME it is that patch.
      orientation: of the image as it was remembered, "" for upright.
      known: whether any of the image's remembered patches is in it: else it is another image than then.
    """

    grid: "Grid"
    middle: tuple[float, float]
    away: float
    orientation: str
    known: bool


def nearest_images(
    memory: SizeMemory, patch: np.ndarray, most: int, left_out: int | None = None
) -> list[Near]:
    """Of the images with the nearest patches the nearest patch each, the nearest first.

    Args: patch: whitened [P]; most: images; left_out: number of an image that is not compared with.
    """
    squared = np.mean(np.square(memory.patches - patch), axis=1) - np.square(memory.radii) + memory.doubts
    owner = np.full(len(squared), -1) if memory.owner is None else memory.owner
    found: dict[int, Near] = {}
    for row in np.argsort(squared, kind="stable"):
        own = int(owner[row])
        if own != left_out and own not in found:
            d = float(squared[row])
            found[own] = Near(own, int(row), float(np.sign(d) * np.sqrt(abs(d))))
            if len(found) == most:
                break
    return list(found.values())


def distance_of(memory: SizeMemory, patch: np.ndarray, left_out: int | None = None) -> float:
    """What the memory says of a whitened patch [P], as SizeMemory.distances does."""
    nearest = nearest_images(memory, patch, int(memory.support), left_out)
    nearest = nearest or nearest_images(memory, patch, int(memory.support))  # a memory of one image
    squared = np.mean([np.sign(n.distance) * n.distance**2 for n in nearest])
    return float(np.sign(squared) * np.sqrt(abs(squared)))


def is_distance(patches: np.ndarray, patch: np.ndarray) -> np.ndarray:
    """Whitened distances of patches [..., P] to one [P]: the root of the mean square."""
    return np.sqrt(np.mean(np.square(patches - patch), axis=-1))


class Grid:
    """Where the patches of an image lie.

    Args: preparation: of the detector; size: the image's own (height, width); shape: (rows, columns) of the
      patches of one part.
    """

    def __init__(self, preparation: Preparation, size: tuple[int, int], shape: tuple[int, int]):
        self.size, self.shape = tuple(size), tuple(shape)
        self._working = tuple(map(max, size, preparation.shape)) if preparation.tile else self.size
        self._side = preparation.shape if preparation.tile else self.size
        self._corners = tiles.corners(*self._working, self._side)

    def at(self, y: float, x: float) -> Place:
        """The patch at a pixel of the image: of the tile in whose middle it is most."""
        place = np.array([y, x]) * self._working / self.size
        middles = np.array(self._corners) + np.array(self._side) / 2
        part = int(np.argmin(np.abs(middles - place).max(axis=1)))
        inside = (place - self._corners[part]) / self._side * self.shape
        row, column = np.clip(np.floor(inside), 0, np.array(self.shape) - 1).astype(int).tolist()
        return Place(part, row, column)

    def middle(self, place: Place) -> tuple[float, float]:
        """The middle of a patch, in pixels of the image."""
        inside = (np.array(place[1:]) + 0.5) / self.shape * self._side
        y, x = (self._corners[place.part] + inside) * self.size / self._working
        return float(y), float(x)

    def box(self, middle: tuple[float, float], cells: int = 3) -> Box:
        """So many cells of the grid along each side, around a pixel, as far as they are in the image.

        3 are what is averaged to one patch.
        """
        side = cells * np.array(self._side) / self.shape * self.size / self._working
        low = np.clip(np.round(np.array(middle) - side / 2), 0, np.array(self.size) - 1).astype(int)
        high = np.clip(np.round(np.array(middle) + side / 2), low + 1, self.size).astype(int)
        return Box(*low.tolist(), *(high - low).tolist())


class PatchReader:
    """Reads the patches that a detector's map rests on: whitened features at the memory's map size.

    Args: detector: a Detector with a memory.
    """

    def __init__(self, detector):
        self.memory: SizeMemory = detector.memory.sizes[detector.memory.map_size]
        self.preparation: Preparation = detector.preparation
        model, size = detector.model, detector.memory.map_size
        shape = model.memory_shapes[model.memory_sizes.index(size)]
        self._at_once = PARTS_AT_ONCE if detector.tile else 1
        self._embed = compile_function(lambda x: embed(model.pretrained(scaled(x, shape))), model)

    def read(self, parts: Iterable[np.ndarray]) -> list[np.ndarray]:
        """Of each part of an image its whitened patches [rows, columns, P]."""
        found, waiting = [], iter(parts)
        while batch := list(itertools.islice(waiting, self._at_once)):
            embedded = np.asarray(ops.convert_to_numpy(self._embed(np.stack(filled(batch, self._at_once)))))
            found += [self.whitened(e) for e in embedded[: len(batch)]]
        return found

    def whitened(self, embedded: np.ndarray) -> np.ndarray:
        """As the memory compares them: [..., D] -> [..., P]."""
        return (embedded - self.memory.center) @ self.memory.projection

    def grid(self, size: tuple[int, int], patches: Sequence[np.ndarray]) -> Grid:
        """Of an image of a size, with some of its parts' patches."""
        return Grid(self.preparation, size, patches[0].shape[:2])

    def find(self, image: np.ndarray, remembered: np.ndarray, which: int, orientations=()) -> Found | None:
        """Where in an image a remembered patch is.

        Args: image: [H, W, C], as the memory has seen it; remembered: all patches [n, P] that are remembered
          of it; which: row of the one; orientations: names of data/orientation.py in which it may have been
          remembered too.
        Returns: None for an image of too many tiles.
        """
        best, known = None, False
        for name in ("", *orientations):
            seen = oriented(image, name) if name else image
            if name and name.endswith("quarter") and image.shape[0] != image.shape[1]:
                continue
            parts = self.preparation.cut(seen)
            if len(parts) > MOST_PARTS:
                return None
            patches = self.read(parts)
            grid = self.grid(seen.shape[:2], patches)
            flat = np.stack(patches).reshape(-1, remembered.shape[1])
            known = known or any(is_distance(flat, one).min() < SAME for one in remembered)
            away = is_distance(flat, remembered[which])
            at = int(away.argmin())
            if best is None or away[at] < best.away:
                rows, columns = patches[0].shape[:2]
                y, x = grid.middle(Place(at // (rows * columns), *divmod(at % (rows * columns), columns)))
                y, x = _UPRIGHT[name](y / seen.shape[0], x / seen.shape[1])
                middle = y * image.shape[0], x * image.shape[1]
                best = Found(self.grid(image.shape[:2], patches), middle, float(away[at]), name, known)
            if best.away < SAME:
                break
        return best._replace(known=known)


def defect_places(
    reader: PatchReader, image: np.ndarray, mask: np.ndarray | None
) -> tuple[Grid, list[Place], np.ndarray] | None:
    """(grid, places, whitened patches [n, P]) of what is abnormal in an image.

    It is what the mask marks, or, without one, the tenth of the patches that is farthest from the memory.
    None for an image of which too many tiles would have to be read.
    """
    parts = reader.preparation.cut(image)
    marked = mask is not None and mask.any()
    numbers = list(range(len(parts)))
    if marked and len(parts) > 1:
        of_mask = reader.preparation.cut_mask(mask)
        numbers = [i for i in numbers if of_mask[i].any()]
    if not 0 < len(numbers) <= MOST_PARTS:
        return None
    patches = reader.read(parts[i] for i in numbers)
    grid = reader.grid(image.shape[:2], patches)
    places = [Place(i, r, c) for i in numbers for r in range(grid.shape[0]) for c in range(grid.shape[1])]
    flat = np.stack(patches).reshape(len(places), -1)
    if marked:
        of_mask = reader.preparation.cut_mask(mask)
        kept = np.concatenate([masks.resized(of_mask[i], *grid.shape).reshape(-1) for i in numbers])
        kept = np.flatnonzero(kept)
    else:
        squared = nearest_squared(reader.memory, flat)
        kept = np.argsort(-squared, kind="stable")[: max(1, round(TOP_SHARE * len(squared)))]
    return grid, [places[i] for i in kept], flat[kept]


def nearest_squared(memory: SizeMemory, patches: np.ndarray, block: int = 1024) -> np.ndarray:
    """The least power distance of whitened patches [n, P] to any remembered one: [n]."""
    depth = memory.patches.shape[1]
    offsets = np.mean(np.square(memory.patches), axis=1) - np.square(memory.radii) + memory.doubts
    blocks = (patches[i : i + block] for i in range(0, len(patches), block))
    least = [(offsets - (2.0 / depth) * x @ memory.patches.T).min(axis=1) for x in blocks]
    return np.concatenate(least) + np.mean(np.square(patches), axis=1)
