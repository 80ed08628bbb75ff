"""Overlapping tiles of an image, and maps put together from them without seams."""

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


def cut(image: np.ndarray, shape: tuple[int, int], overlap: float = 0.5) -> np.ndarray:
    """[H, W, ...] -> tiles [T, *shape, ...] in the order of `corners`."""
    where, (height, width) = corners(*image.shape[:2], shape, overlap), shape
    return np.stack([image[top : top + height, left : left + width] for top, left in where])


def stitch(tiles: np.ndarray, height: int, width: int, overlap: float = 0.5) -> np.ndarray:
    """The inverse of `cut` for maps: [T, h, w, ...] -> [H, W, ...].

    Each tile's weight falls linearly towards its border, so that a map changes from one tile to the next
    without an edge. Tiles that agree are reproduced exactly.
    """
    h, w = tiles.shape[1:3]
    down, along = (np.minimum(np.arange(side) + 1.0, side - np.arange(side)) for side in (h, w))
    weight = np.outer(down, along).reshape(h, w, *[1] * (tiles.ndim - 3))
    total = np.zeros((height, width, *tiles.shape[3:]))
    weights = np.zeros((height, width, *[1] * (tiles.ndim - 3)))
    for (top, left), tile in zip(corners(height, width, (h, w), overlap), tiles, strict=True):
        total[top : top + h, left : left + w] += weight * tile
        weights[top : top + h, left : left + w] += weight
    return (total / weights).astype(np.float32)
