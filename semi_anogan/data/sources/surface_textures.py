"""Textures of machined surfaces: brushed, ground and cast, from random streams of each part's own.

Each is a function of
- seed, index: which part;
- size: pixels on a side;
- x, y: the pixel centres in the unit square, [size, size] each;
- lay, light: the directions of the tool marks and of the light, in radians.
It returns [size, size] of standard deviation near 1.
"""

import math

import numpy as np

FIRST_LAYER, SECOND_LAYER = 1, 2  # random streams of a part; the others are in surface.py


def generator(seed: int, index: int, stream: int) -> np.random.Generator:
    """The random numbers of one stream of one part."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(index, stream))))


def brushed(seed, index, size, x, y, lay, light):
    """Fine, long, nearly parallel lines."""
    u = -math.sin(lay) * (x - 0.5) + math.cos(lay) * (y - 0.5)
    v = math.cos(lay) * (x - 0.5) + math.sin(lay) * (y - 0.5)
    return 0.85 * _lines(generator(seed, index, FIRST_LAYER), u, v, size, 8, 0.25, 24)


def ground(seed, index, size, x, y, lay, light):
    """Two sets of overlapping arcs of large radius."""
    total = 0.0
    for stream, turn in ((FIRST_LAYER, lay + 0.5), (SECOND_LAYER, lay - 0.5)):
        rng = generator(seed, index, stream)
        radius = rng.uniform(1.0, 2.0)
        dx, dy = x - 0.5 + radius * math.cos(turn), y - 0.5 + radius * math.sin(turn)
        u = np.hypot(dx, dy) - radius
        v = np.arctan2(dy, dx) - turn
        v = (v + math.pi) % (2 * math.pi) - math.pi
        total = total + _lines(rng, u, np.clip(v * radius, -1, 0.999), size, 8, 0.3, 16)
    return 0.65 * total


def cast(seed, index, size, x, y, lay, light):
    """Granular relief, lit from the side: the slope towards the light of a random height."""
    rng = generator(seed, index, FIRST_LAYER)
    height = 0.0
    for cells in _octaves(size, 8):
        turn = rng.uniform(0, 2 * math.pi)  # turned cells, so that no grid shows
        u = math.cos(turn) * (x - 0.5) + math.sin(turn) * (y - 0.5)
        v = math.cos(turn) * (y - 0.5) - math.sin(turn) * (x - 0.5)
        height = height + (8 / cells) ** 1.3 * _noise(rng, u, v, cells, cells)
    slope_y, slope_x = np.gradient(height, 1 / size)
    return 0.072 * (math.cos(light) * slope_x + math.sin(light) * slope_y)


def _lines(rng, u, v, size, first, slope, stretch):
    """Lines along v: the octaves of a noise that is `stretch` times longer along v than across."""
    total = 0.0
    for cells in _octaves(size, first):
        total = total + (cells / first) ** -slope * _noise(rng, u, v, cells, max(2, round(cells / stretch)))
    return total


def _noise(rng, u, v, cells_u, cells_v):
    """Smooth random field [size, size]: normal values at the corners of cells, blended; u, v in [-1, 1]."""
    rows, columns = 2 * cells_u + 2, 2 * cells_v + 2
    corners = rng.standard_normal((rows, columns), np.float32).ravel()
    u, v = (u + 1) * cells_u, (v + 1) * cells_v
    row, column = u.astype(np.int32), v.astype(np.int32)
    u, v = u - row, v - column
    u, v = u * u * (3 - 2 * u), v * v * (3 - 2 * v)
    corner = row * columns + column
    near = corners.take(corner)
    near += u * (corners.take(corner + columns) - near)
    far = corners.take(corner + 1)
    far += u * (corners.take(corner + columns + 1) - far)
    return near + v * (far - near)


def _octaves(size, first):
    """Numbers of cells along the picture, coarse to fine, up to one cell for each pixel.

    Coarse ones are drawn first, so that a larger picture only adds detail.
    """
    return [first << k for k in range(16) if first << k <= size] or [first]
