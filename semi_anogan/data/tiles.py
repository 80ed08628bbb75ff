"""Overlapping tiles of an image, and maps put together from them without seams."""

from collections.abc import Callable, Iterator

import numpy as np


def positions(length: int, side: int, overlap: float = 0.5) -> list[int]:
    """Where tiles of `side` pixels begin along `length` pixels, evenly spread.

    They overlap by at least the share `overlap`; `length` must be `side` or more.
    """
    if length < side:
        raise ValueError(f"an image side of {length} pixels is smaller than a tile of {side}")
    stride = max(1, int(side * (1 - overlap)))
    count = 1 + -(-(length - side) // stride)
    return [round(p) for p in np.linspace(0, length - side, count)]


def corners(height: int, width: int, shape: tuple[int, int], overlap: float = 0.5) -> list[tuple[int, int]]:
    """(top, left) of every tile of a shape, (height, width), row by row; together they cover the image."""
    rows, columns = positions(height, shape[0], overlap), positions(width, shape[1], overlap)
    return [(top, left) for top in rows for left in columns]


class Cut:
    """The tiles of an image [H, W, ...], in the order of `corners`: cut one by one, as they are asked for.

    Args: shape: of a tile; made: what becomes of each.
    """

    def __init__(
        self,
        image: np.ndarray,
        shape: tuple[int, int],
        overlap: float = 0.5,
        made: Callable[[np.ndarray], np.ndarray] = lambda tile: tile,
    ):
        self._image, self._shape, self._made = image, shape, made
        self._corners = corners(*image.shape[:2], shape, overlap)

    def __len__(self) -> int:
        return len(self._corners)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, i: int) -> np.ndarray:
        (top, left), (height, width) = self._corners[i], self._shape
        return self._made(self._image[top : top + height, left : left + width])


def cut(image: np.ndarray, shape: tuple[int, int], overlap: float = 0.5) -> np.ndarray:
    """[H, W, ...] -> tiles [T, *shape, ...] in the order of `corners`."""
    return np.stack(list(Cut(image, shape, overlap)))


def stitch(tiles: np.ndarray, height: int, width: int, overlap: float = 0.5) -> np.ndarray:
    """The inverse of `cut` for maps: [T, h, w, ...] -> [H, W, ...], as `Stitcher` makes it."""
    stitcher = Stitcher(height, width, overlap)
    for tile in tiles:
        stitcher.add(tile)
    return stitcher.result()


class Stitcher:
    """Puts a map [H, W, ...] together from its tiles [h, w, ...], which come in the order of `corners`.

    Each tile's weight falls linearly towards its border, so that a map changes from one tile to the next
    without an edge. Tiles that agree are reproduced exactly. Beside the map no more than a row of tiles is in
    memory.
    """

    def __init__(self, height: int, width: int, overlap: float = 0.5):
        self._size, self._overlap = (height, width), overlap
        self._map = None
        self._count = 0

    def add(self, tile: np.ndarray):
        """Adds the next tile; all have one shape."""
        if self._map is None:
            self._begin(tile)
        width, columns = tile.shape[1], self._columns
        row, column = divmod(self._count, len(columns))
        if row == len(self._rows):
            raise ValueError(f"more tiles than a map of {self._size} has, {self._count}")
        if column == 0 and row:
            self._finish(self._rows[row] - self._rows[row - 1])
        left = columns[column]
        self._strip[:, left : left + width] += self._weight * tile
        self._count += 1

    def result(self) -> np.ndarray:
        """The map, float32, once all tiles are there."""
        if self._map is None or self._count != len(self._rows) * len(self._columns):
            raise ValueError(f"{self._count} tiles are too few for a map of {self._size}")
        self._finish(len(self._strip))
        return self._map

    def _begin(self, tile: np.ndarray):
        ends = (1,) * (tile.ndim - 2)
        self._map = np.empty((*self._size, *tile.shape[2:]), np.float32)
        self._strip = np.zeros((tile.shape[0], self._size[1], *tile.shape[2:]))
        places, sums, weights = [], [], []
        for length, side in zip(self._size, tile.shape[:2], strict=True):
            weight = np.minimum(np.arange(side) + 1.0, side - np.arange(side))
            total = np.zeros(length)
            starts = positions(length, side, self._overlap)
            for start in starts:
                total[start : start + side] += weight
            places.append(starts)
            sums.append(total)
            weights.append(weight)
        self._rows, self._columns = places
        self._weight = np.outer(*weights).reshape(*tile.shape[:2], *ends)
        self._down, self._along = sums[0], sums[1].reshape(-1, *ends)
        self._done = 0  # rows of the map

    def _finish(self, count: int):
        """The first `count` rows of the strip are done: no further tile reaches them."""
        for row in range(count):
            self._map[self._done + row] = self._strip[row] / (self._down[self._done + row] * self._along)
        self._done += count
        self._strip = np.concatenate([self._strip[count:], np.zeros_like(self._strip[:count])])
