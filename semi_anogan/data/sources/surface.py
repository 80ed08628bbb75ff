"""Rendered machined surfaces with micro defects and exact pixel masks: the embedded default data set.

A part is described in coordinates of the unit square, so the same (seed, index) shows the same kind of part
at every size: a larger render adds finer detail, and a defect keeps its share of the picture. Every image has
random streams of its own, so no image depends on how many others there are. Finish, exposure, lighting and
contrast vary from image to image, which keeps brightness and contrast from giving the label away.
"""

import functools
import math

import numpy as np

from semi_anogan.data.dataset import ABNORMAL, NORMAL, Dataset, Example
from semi_anogan.data.sources import surface_defects
from semi_anogan.data.sources.surface_defects import DEFECTS
from semi_anogan.data.sources.surface_textures import brushed, cast, generator, ground
from semi_anogan.errors import DataError

_TEXTURES = {"brushed": brushed, "ground": ground, "cast": cast}
FINISHES = tuple(_TEXTURES)
SIZE_RANGE = (16, 1024)

# Flawless surfaces stay inside +-this, so that a bright or dark defect is never clipped away.
_SURFACE_LIMIT = 0.8
_TINT_LIMIT = 0.06
# Random streams of an image; 1 and 2 are those of its texture.
_PARAMETERS, _CAMERA, _DEFECT, _CONTAMINATION = 0, 3, 4, 5
_FIRST_INDEX = {
    ("train", NORMAL): 0,
    ("train", ABNORMAL): 10**6,
    ("test", NORMAL): 2 * 10**6,
    ("test", ABNORMAL): 3 * 10**6,
}


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
      contamination: share of the normal training images, 0 to 1, that secretly show a defect
        (mislabelled=True). The images that a smaller share contaminates are among those of a larger one.
      abnormal_count: how many of the train_abnormal images are used, first ones first; None means all.
      finishes: the finishes that occur, of FINISHES.

    Returns:
      A Dataset that has a mask for every image (all False where there is no defect).

    Raises:
      DataError: a setting is out of range.
    """
    finishes = (finishes,) if isinstance(finishes, str) else tuple(finishes)
    _check(size, channels, finishes)
    counts = {
        ("train", NORMAL): train_normal,
        ("train", ABNORMAL): train_abnormal,
        ("test", NORMAL): test_normal,
        ("test", ABNORMAL): test_abnormal,
    }
    _check_counts(counts, contamination, abnormal_count)
    if abnormal_count is not None:
        counts["train", ABNORMAL] = abnormal_count
    order = generator(seed, 0, _CONTAMINATION).permutation(train_normal)
    hidden = set(order[: round(contamination * train_normal)].tolist())
    examples, parts = _described(counts, finishes, hidden)

    def draw(example):
        return render(seed, example.key, size, *parts[example.key], channels)

    return Dataset(
        "surface",
        tuple(examples),
        lambda example: draw(example)[0],
        lambda example: draw(example)[1],
        image_size=lambda example: (size, size),
    )


def _described(counts, finishes, hidden) -> tuple[list[Example], dict[int, tuple[str, str | None]]]:
    """The examples in order, and finish and defect (or None) of each part by its index.

    counts: of the images, by (split, label). hidden: numbers of the normal training images with a defect.
    """
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
    return examples, parts


def render(
    seed: int, index: int, size: int, finish: str, defect: str | None = None, channels: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Renders one part.

    The same part with and without its defect differs in the pixels of the mask and in no others, in each of
    them by MIN_CHANGE or more.

    Args:
      seed, index: which part; both non-negative.
      size: height and width in pixels, 16 to 1024.
      finish: one of FINISHES.
      defect: one of DEFECTS, or None for a flawless part.
      channels: 1 (grey) or 3 (slightly tinted).

    Returns:
      The image, float32 [size, size, channels] in [-1, 1], and the mask, bool [size, size]: True on a share
      of the pixels within AREA_RANGE, or nowhere without a defect.

    Raises:
      DataError: a setting is out of range.
    """
    _check(size, channels, (finish,))
    if defect is not None and defect not in DEFECTS:
        raise DataError(f"surface: defect must be one of {', '.join(DEFECTS)} or None, got {defect!r}")
    rng = generator(seed, index, _PARAMETERS)
    light = rng.uniform(0, 2 * math.pi)  # direction that the light comes from
    lay = rng.normal(0, 0.12)  # direction of the tool marks
    contrast = math.exp(rng.uniform(math.log(0.06), math.log(0.12)))  # standard deviation of the texture
    x, y = _pixel_grid(size)

    texture = contrast * _TEXTURES[finish](seed, index, size, x, y, lay, light)
    surface = _illumination(rng, x, y, light) + texture
    noise = generator(seed, index, _CAMERA).standard_normal(surface.shape, np.float32)
    surface += rng.uniform(0.2, 0.35) * contrast * noise
    surface = _SURFACE_LIMIT * np.tanh(surface / _SURFACE_LIMIT)
    mask = np.zeros(surface.shape, bool)
    if defect is not None:
        defect_rng = generator(seed, index, _DEFECT)
        mask, change = surface_defects.draw(defect_rng, defect, x, y, texture, contrast, lay, light)
        surface = np.clip(surface + change, _TINT_LIMIT - 1, 1 - _TINT_LIMIT)
    image = surface[..., None]
    if channels == 3:
        image = image + rng.uniform(-_TINT_LIMIT, _TINT_LIMIT, 3).astype(np.float32)
    return np.ascontiguousarray(image, np.float32), mask


def _check(size, channels, finishes):
    """DataError for a setting that both functions share and that is out of range."""
    if not isinstance(size, (int, np.integer)) or not SIZE_RANGE[0] <= size <= SIZE_RANGE[1]:
        raise DataError(
            f"surface: size must be an integer from {SIZE_RANGE[0]} to {SIZE_RANGE[1]}, got {size!r}"
        )
    if channels not in (1, 3):
        raise DataError(f"surface: channels must be 1 or 3, got {channels!r}")
    unknown = [finish for finish in finishes if finish not in FINISHES]
    if unknown or not finishes:
        raise DataError(f"surface: finishes must be of {', '.join(FINISHES)}, got {unknown or finishes!r}")


def _check_counts(counts, contamination, abnormal_count):
    """DataError for a number of images that is out of range."""
    for (split, label), count in counts.items():
        if not 0 <= count < 10**6:
            raise DataError(f"surface: {split}_{label} must be 0 to 999999, got {count!r}")
    if not 0.0 <= contamination <= 1.0:
        raise DataError(f"surface: contamination must be 0 to 1, got {contamination!r}")
    known = counts["train", ABNORMAL]
    if abnormal_count is not None and not 0 <= abnormal_count <= known:
        raise DataError(
            f"surface: abnormal_count must be 0 to train_abnormal={known}, got {abnormal_count!r}"
        )


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
