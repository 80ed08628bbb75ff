"""Defects of machined surfaces.

Each has a field that grows from its centre or line. The pixels of its mask are the ones with the smallest
values, as many as its area asks for, so that the area is exact at every size.
"""

import math

import numpy as np

DEFECTS = ("scratch", "pit", "stain", "dent")
AREA_RANGE = (0.0005, 0.01)  # share of the pixels that a defect covers
MIN_CHANGE = 0.04  # a defect changes every pixel of its mask by at least this much (of a range of 2)

# Contrast of the smallest and the largest defect, in standard deviations of the texture.
_STRENGTH = (4.8, 2.5)


def draw(rng, kind, x, y, texture, contrast, lay, light):
    """Draws one defect.

    Args:
      rng: decides everything random.
      kind: one of DEFECTS.
      x, y: pixel centres in the unit square, [size, size] each.
      texture: of the surface, [size, size].
      contrast: standard deviation of the texture.
      lay, light: directions of the tool marks and of the light, in radians.

    Returns:
      The mask, bool [size, size], and the change of the surface, float32 [size, size], 0 outside the mask.
    """
    area = x.shape[0] ** 2
    share = math.exp(rng.uniform(*np.log(AREA_RANGE)))
    fewest, most = math.ceil(AREA_RANGE[0] * area), math.floor(AREA_RANGE[1] * area)
    pixels = np.clip(round(share * area), fewest, most)
    field, profile = (_scratch if kind == "scratch" else _blob)(rng, kind, share, x, y, lay, light)
    inside = np.argpartition(field, pixels - 1, axis=None)[:pixels]
    depth = field.ravel()[inside] / max(field.ravel()[inside].max(), 1e-6)  # 0 at the centre, 1 at the edge

    smallness = math.log(AREA_RANGE[1] / share) / math.log(AREA_RANGE[1] / AREA_RANGE[0])
    strength = _STRENGTH[1] + (_STRENGTH[0] - _STRENGTH[1]) * smallness
    strength *= rng.uniform(0.9, 1.3) * contrast
    sign = 1 if rng.random() < {"scratch": 0.35, "pit": 0.25}.get(kind, 0.5) else -1
    change = sign * strength * profile(inside, depth)
    if kind == "stain":  # a film that fills the texture
        fill = -0.7 * texture.ravel()[inside]
        change = change + np.clip(fill, -0.6 * np.abs(change), 0.6 * np.abs(change))
    change = np.where(change < 0, -1, 1) * np.maximum(np.abs(change), 1.1 * MIN_CHANGE)

    mask, changes = np.zeros(x.shape, bool), np.zeros(x.shape, np.float32)
    mask.ravel()[inside] = True
    changes.ravel()[inside] = change
    return mask, changes


# Each returns (field [size, size], profile); profile(pixels inside, their depth) says how much these change.


def _scratch(rng, kind, share, x, y, lay, light):
    """A thin, slightly curved line across the lay: a core with an edge of the other sign on one side."""
    length = min(math.sqrt(share * rng.uniform(15, 45)), 0.8)
    turn = lay + rng.uniform(0.35, math.pi - 0.35)
    bend = rng.uniform(-0.25, 0.25) / max(length, 0.05)
    reach = [0.5 * length * abs(math.cos(turn)) + 0.06, 0.5 * length * abs(math.sin(turn)) + 0.06]
    dx, dy = x - rng.uniform(reach[0], 1 - reach[0]), y - rng.uniform(reach[1], 1 - reach[1])
    length = min(length, share * x.shape[0] / 1.5)  # no thinner than 1.5 pixels, or the core would have gaps
    along = math.cos(turn) * dx + math.sin(turn) * dy
    across = math.cos(turn) * dy - math.sin(turn) * dx - bend * along**2
    field = np.hypot(np.maximum(np.abs(along) - 0.5 * length, 0), across)
    side = rng.choice([-1, 1])

    def profile(inside, depth):
        edge = side * np.sign(across.ravel()[inside]) * depth > 0.45
        return np.where(edge, -0.8, 1.1)

    return field, profile


def _blob(rng, kind, share, x, y, lay, light):
    """A rounded spot of uneven outline: a pit, a stain or a dent."""
    centre_x, centre_y = rng.uniform(0.08, 0.92, 2)
    dx, dy = x - centre_x, y - centre_y
    turn, stretch = rng.uniform(0, math.pi), math.sqrt(rng.uniform(1, 2.2 if kind == "stain" else 1.5))
    u = (math.cos(turn) * dx + math.sin(turn) * dy) / stretch
    v = (math.cos(turn) * dy - math.sin(turn) * dx) * stretch
    angle, outline = np.arctan2(v, u), 1.0
    for waves in (2, 3, 5):
        outline = outline + rng.uniform(0, 0.3 if kind == "stain" else 0.12) * np.cos(
            waves * angle + rng.uniform(0, 2 * math.pi)
        ) / math.sqrt(waves)
    field = np.hypot(u, v) / outline

    def profile(inside, depth):
        if kind == "stain":
            return 1.15 - 0.75 * depth**2
        bearing = np.arctan2(dy.ravel()[inside], dx.ravel()[inside]) - light
        if kind == "pit":  # the wall that faces the light is bright
            return np.where((depth > 0.7) & (np.cos(bearing) < 0.2), -0.9, 1.2)
        towards = np.cos(bearing) * depth
        return np.where(towards < 0, -1, 1) * (0.5 + 0.7 * np.abs(towards))

    return field, profile
