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


def corners(height: int, width: int, side: int, overlap: float = 0.5) -> list[tuple[int, int]]:
    """(top, left) of every tile, row by row; together they cover the image."""
    return [
        (top, left) for top in positions(height, side, overlap) for left in positions(width, side, overlap)
    ]


def cut(image: np.ndarray, side: int, overlap: float = 0.5) -> np.ndarray:
    """[H, W, C] -> tiles [T, side, side, C] in the order of `corners`."""
    where = corners(*image.shape[:2], side, overlap)
    return np.stack([image[top : top + side, left : left + side] for top, left in where])


def stitch(tiles: np.ndarray, height: int, width: int, overlap: float = 0.5) -> np.ndarray:
    """The inverse of `cut` for maps: [T, side, side, ...] -> [H, W, ...].

    Each tile's weight falls linearly towards its border, so that a map changes from one tile to the next
    without an edge. Tiles that agree are reproduced exactly.
    """
    side = tiles.shape[1]
    ramp = np.minimum(np.arange(side) + 1.0, side - np.arange(side))
    weight = np.outer(ramp, ramp).reshape(side, side, *[1] * (tiles.ndim - 3))
    total = np.zeros((height, width, *tiles.shape[3:]))
    weights = np.zeros((height, width, *[1] * (tiles.ndim - 3)))
    for (top, left), tile in zip(corners(height, width, side, overlap), tiles, strict=True):
        total[top : top + side, left : left + side] += weight * tile
        weights[top : top + side, left : left + side] += weight
    return (total / weights).astype(np.float32)
