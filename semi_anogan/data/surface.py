"""Rendered machined surfaces with micro defects and exact pixel masks: the embedded default data set.

A part is described in coordinates of the unit square, so the same (seed, index) shows the same kind of part at every
size: a larger render adds finer detail, and a defect keeps its share of the picture. Every image has random streams of
its own, so no image depends on how many others there are. Finish, exposure, lighting and contrast vary from image to
image, which keeps brightness and contrast from giving the label away.
"""

import functools
import math

import numpy as np

from semi_anogan.data.dataset import ABNORMAL, NORMAL, DataError, Dataset, Example

FINISHES = ("brushed", "ground", "cast")
DEFECTS = ("scratch", "pit", "stain", "dent")
AREA_RANGE = (0.0005, 0.01)  # share of the pixels that a defect covers
MIN_CHANGE = 0.04  # a defect changes every pixel of its mask by at least this much (of a range of 2)
SIZE_RANGE = (16, 1024)

_SURFACE_LIMIT = 0.8  # flawless surfaces stay inside +-this, so that a bright or dark defect is never clipped away
_TINT_LIMIT = 0.06
_STRENGTH = (4.8, 2.5)  # contrast of the smallest and the largest defect, in standard deviations of the texture
_PARAMETERS, _FIRST_LAYER, _SECOND_LAYER, _CAMERA, _DEFECT, _CONTAMINATION = range(6)  # random streams of an image
_FIRST_INDEX = {("train", NORMAL): 0, ("train", ABNORMAL): 10**6, ("test", NORMAL): 2 * 10**6,
                ("test", ABNORMAL): 3 * 10**6}


def load(
    channels: int,
    seed: int = 0,
    size: int = 64,
    train_normal: int = 600,
    train_abnormal: int = 128,
    test_normal: int = 150,
    test_abnormal: int = 150,
    contamination: float = 0.05,
    abnormal_count: int | None = None,
    finishes: tuple[str, ...] = FINISHES,
) -> Dataset:
    """Describes the data set; an image is rendered when it is read.

    Finishes and defects take turns, so any first rows of a group hold all of them in nearly equal numbers.

    Args:
      channels: 1 (grey) or 3 (slightly tinted).
      seed: which data set; other seeds share no image with it.
      size: height and width in pixels, 16 to 1024.
      train_normal, train_abnormal, test_normal, test_abnormal: number of images in each group.
      contamination: share of the normal training images, 0 to 1, that secretly show a defect (mislabelled=True). The
        images that a smaller share contaminates are among those of a larger one.
      abnormal_count: how many of the train_abnormal images are used, first ones first; None means all.
      finishes: the finishes that occur, of FINISHES.

    Returns:
      A Dataset that has a mask for every image (all False where there is no defect).

    Raises:
      DataError: a setting is out of range.
    """
    finishes = (finishes,) if isinstance(finishes, str) else tuple(finishes)
    _check(size, channels, finishes)
    counts = {("train", NORMAL): train_normal, ("train", ABNORMAL): train_abnormal, ("test", NORMAL): test_normal,
              ("test", ABNORMAL): test_abnormal}
    for (split, label), count in counts.items():
        if not 0 <= count < 10**6:
            raise DataError(f"surface: {split}_{label} must be 0 to 999999, got {count!r}")
    if not 0.0 <= contamination <= 1.0:
        raise DataError(f"surface: contamination must be 0 to 1, got {contamination!r}")
    if abnormal_count is not None:
        if not 0 <= abnormal_count <= train_abnormal:
            raise DataError(f"surface: abnormal_count must be 0 to train_abnormal={train_abnormal}, "
                            f"got {abnormal_count!r}")
        counts["train", ABNORMAL] = abnormal_count

    order = _generator(seed, 0, _CONTAMINATION).permutation(train_normal)
    hidden = set(order[:round(contamination * train_normal)].tolist())
    examples, parts = [], {}
    for (split, label), count in counts.items():
        for i in range(count):
            mislabelled = (split, label) == ("train", NORMAL) and i in hidden
            defective = label == ABNORMAL or mislabelled
            path, index = f"surface/{split}/{label}/{i:06d}", _FIRST_INDEX[split, label] + i
            finish = finishes[i % len(finishes)]
            parts[index] = finish, (DEFECTS[i // len(finishes) % len(DEFECTS)] if defective else None)
            mask = f"{path}.mask" if label == ABNORMAL else None
            examples.append(Example(path, split, label, mask, key=index, mislabelled=mislabelled))

    def draw(example):
        return render(seed, example.key, size, *parts[example.key], channels)

    return Dataset("surface", tuple(examples), lambda example: draw(example)[0], lambda example: draw(example)[1])


def render(
    seed: int, index: int, size: int, finish: str, defect: str | None = None, channels: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Renders one part.

    The same part with and without its defect differs in the pixels of the mask and in no others, in each of them by
    MIN_CHANGE or more.

    Args:
      seed, index: which part; both non-negative.
      size: height and width in pixels, 16 to 1024.
      finish: one of FINISHES.
      defect: one of DEFECTS, or None for a flawless part.
      channels: 1 (grey) or 3 (slightly tinted).

    Returns:
      The image, float32 [size, size, channels] in [-1, 1], and the mask, bool [size, size]: True on a share of the
      pixels within AREA_RANGE, or nowhere without a defect.

    Raises:
      DataError: a setting is out of range.
    """
    _check(size, channels, (finish,))
    if defect is not None and defect not in DEFECTS:
        raise DataError(f"surface: defect must be one of {', '.join(DEFECTS)} or None, got {defect!r}")
    rng = _generator(seed, index, _PARAMETERS)
    light = rng.uniform(0, 2 * math.pi)  # direction that the light comes from
    lay = rng.normal(0, 0.12)  # direction of the tool marks
    contrast = math.exp(rng.uniform(math.log(0.06), math.log(0.12)))  # standard deviation of the texture
    x, y = _pixel_grid(size)

    texture = {"brushed": _brushed, "ground": _ground, "cast": _cast}[finish](seed, index, size, x, y, lay, light)
    texture *= contrast
    surface = _illumination(rng, x, y, light) + texture
    surface += rng.uniform(0.2, 0.35) * contrast * _generator(seed, index, _CAMERA).standard_normal(
        surface.shape, np.float32)
    surface = _SURFACE_LIMIT * np.tanh(surface / _SURFACE_LIMIT)
    mask = np.zeros(surface.shape, bool)
    if defect is not None:
        mask, change = _defect(_generator(seed, index, _DEFECT), defect, x, y, texture, contrast, lay, light)
        surface = np.clip(surface + change, _TINT_LIMIT - 1, 1 - _TINT_LIMIT)
    image = surface[..., None]
    if channels == 3:
        image = image + rng.uniform(-_TINT_LIMIT, _TINT_LIMIT, 3).astype(np.float32)
    return np.ascontiguousarray(image, np.float32), mask


def _check(size, channels, finishes):
    if not isinstance(size, (int, np.integer)) or not SIZE_RANGE[0] <= size <= SIZE_RANGE[1]:
        raise DataError(f"surface: size must be an integer from {SIZE_RANGE[0]} to {SIZE_RANGE[1]}, got {size!r}")
    if channels not in (1, 3):
        raise DataError(f"surface: channels must be 1 or 3, got {channels!r}")
    unknown = [finish for finish in finishes if finish not in FINISHES]
    if unknown or not finishes:
        raise DataError(f"surface: finishes must be of {', '.join(FINISHES)}, got {unknown or finishes!r}")


def _generator(seed, index, stream):
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(index, stream))))


@functools.lru_cache(maxsize=2)
def _pixel_grid(size):
    """Pixel centres in the unit square, x to the right and y down: float32 [size, size] each, read-only."""
    centres = (np.arange(size, dtype=np.float32) + 0.5) / size
    x, y = (np.ascontiguousarray(grid) for grid in np.meshgrid(centres, centres))
    x.flags.writeable = y.flags.writeable = False
    return x, y


def _illumination(rng, x, y, light):
    """Exposure, a gradient towards the light and a broad highlight or shadow: [size, size]."""
    exposure, slope, spot = rng.uniform(-0.2, 0.2), rng.uniform(0.05, 0.25), rng.uniform(-0.2, 0.2)
    spot_x, spot_y = rng.uniform(0, 1, 2)
    towards = math.cos(light) * (x - 0.5) + math.sin(light) * (y - 0.5)
    return exposure + slope * towards + spot * np.exp(-4 * ((x - spot_x) ** 2 + (y - spot_y) ** 2))


# Textures: [size, size] of standard deviation near 1.


def _noise(rng, u, v, cells_u, cells_v):
    """Smooth random field: normal values at the corners of cells, blended. u and v lie in [-1, 1]; [size, size]."""
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


def _lines(rng, u, v, size, first, slope, stretch):
    """Lines along v: the octaves of a noise that is `stretch` times longer along v than across."""
    total = 0.0
    for cells in _octaves(size, first):
        total = total + (cells / first) ** -slope * _noise(rng, u, v, cells, max(2, round(cells / stretch)))
    return total


def _brushed(seed, index, size, x, y, lay, light):
    """Fine, long, nearly parallel lines."""
    u = -math.sin(lay) * (x - 0.5) + math.cos(lay) * (y - 0.5)
    v = math.cos(lay) * (x - 0.5) + math.sin(lay) * (y - 0.5)
    return 0.85 * _lines(_generator(seed, index, _FIRST_LAYER), u, v, size, 8, 0.25, 24)


def _ground(seed, index, size, x, y, lay, light):
    """Two sets of overlapping arcs of large radius."""
    total = 0.0
    for stream, turn in ((_FIRST_LAYER, lay + 0.5), (_SECOND_LAYER, lay - 0.5)):
        rng = _generator(seed, index, stream)
        radius = rng.uniform(1.0, 2.0)
        dx, dy = x - 0.5 + radius * math.cos(turn), y - 0.5 + radius * math.sin(turn)
        u = np.hypot(dx, dy) - radius
        v = np.arctan2(dy, dx) - turn
        v = (v + math.pi) % (2 * math.pi) - math.pi
        total = total + _lines(rng, u, np.clip(v * radius, -1, 0.999), size, 8, 0.3, 16)
    return 0.65 * total


def _cast(seed, index, size, x, y, lay, light):
    """Granular relief, lit from the side: the slope towards the light of a random height."""
    rng = _generator(seed, index, _FIRST_LAYER)
    height = 0.0
    for cells in _octaves(size, 8):
        turn = rng.uniform(0, 2 * math.pi)  # turned cells, so that no grid shows
        u = math.cos(turn) * (x - 0.5) + math.sin(turn) * (y - 0.5)
        v = math.cos(turn) * (y - 0.5) - math.sin(turn) * (x - 0.5)
        height = height + (8 / cells) ** 1.3 * _noise(rng, u, v, cells, cells)
    slope_y, slope_x = np.gradient(height, 1 / size)
    return 0.072 * (math.cos(light) * slope_x + math.sin(light) * slope_y)


# Defects. Each has a field that grows from its centre or line; the pixels of its mask are the ones with the smallest
# values, as many as its area asks for, so that the area is exact at every size.


def _defect(rng, kind, x, y, texture, contrast, lay, light):
    """Mask, bool [size, size], and change of the surface, float32 [size, size], 0 outside the mask."""
    size = x.shape[0]
    share = math.exp(rng.uniform(*np.log(AREA_RANGE)))
    pixels = np.clip(round(share * size**2), math.ceil(AREA_RANGE[0] * size**2), math.floor(AREA_RANGE[1] * size**2))
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
    """A rounded patch of uneven outline: a pit, a stain or a dent."""
    centre_x, centre_y = rng.uniform(0.08, 0.92, 2)
    dx, dy = x - centre_x, y - centre_y
    turn, stretch = rng.uniform(0, math.pi), math.sqrt(rng.uniform(1, 2.2 if kind == "stain" else 1.5))
    u = (math.cos(turn) * dx + math.sin(turn) * dy) / stretch
    v = (math.cos(turn) * dy - math.sin(turn) * dx) * stretch
    angle, outline = np.arctan2(v, u), 1.0
    for waves in (2, 3, 5):
        outline = outline + rng.uniform(0, 0.3 if kind == "stain" else 0.12) * np.cos(
            waves * angle + rng.uniform(0, 2 * math.pi)) / math.sqrt(waves)
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
