"""The shape of the images that a model sees: its resolution is their short side, the images say the long one.

Standard library only.
"""

import statistics
from collections.abc import Iterable

from semi_anogan.errors import ConfigError

MOST = 8  # times the short side, the longest that the long one may be
MUCH = 1.5  # stretched by more than this an image may no longer look like the others
COARSEST_STRIDE = 32  # of the pretrained features
# Short sides of the images that the memory compares. Which one sees a defect depends on the defect.
SIZES = (64, 96, 128, 256, 384)
FINEST_MAP = 256  # short side of the images of a map: finer ones judge texture, and cost most
BASE = 4  # short side of what a generator begins with


def smallest_and_largest(shapes: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """By area, of (height, width); of two of one area the one with the smaller height is the smaller one."""
    in_order = sorted(shapes, key=lambda shape: (shape[0] * shape[1], shape))
    return [in_order[0], in_order[-1]]


def shape_of(resolution: int, aspect: float, image_size: int | None = None) -> tuple[int, int]:
    """(height, width) in pixels, of which the shorter is `resolution`.

    The longer one is rounded to a whole multiple of resolution / 4, so that the generator begins with whole
    pixels, and of what makes the coarsest grid of the pretrained features whole.

    Args:
      resolution: a power of two from 4 to 1024.
      aspect: width / height, from 1 / MOST to MOST; 1 is a square.
      image_size: short side of the images that pretrained features see, `resolution` or more; None without.

    Raises: ConfigError for another aspect.
    """
    if not 1 / MOST <= aspect <= MOST:
        raise ConfigError(f"model.aspect must be from 1/{MOST} to {MOST}, got {aspect!r}")
    wanted = resolution * max(aspect, 1 / aspect)
    step = resolution / BASE
    if image_size:
        step = max(step, COARSEST_STRIDE * resolution / image_size)
    longer = round(max(1, round(wanted / step)) * step)
    # A square is always possible, also where a cell of the coarsest grid is larger than the whole image.
    if longer < resolution or wanted - resolution <= abs(wanted - longer):
        longer = resolution
    return (longer, resolution) if aspect < 1 else (resolution, longer)


def enlarged(shape: tuple[int, int], image_size: int) -> tuple[int, int]:
    """The shape whose short side is `image_size`, a whole multiple of this one's."""
    times = image_size // min(shape)
    return shape[0] * times, shape[1] * times


def at_size(shape: tuple[int, int], size: int) -> tuple[int, int]:
    """The shape of this aspect whose short side is `size`, in whole pixels."""
    height, width = (round(side * size / min(shape)) for side in shape)
    return height, width


def memory_sizes(text: str | None) -> list[int]:
    """The sizes that features.sizes says, ascending; none of an empty one."""
    return sorted({int(word) for word in (text or "").split(",") if word.strip()})


def sizes_up_to(side: int) -> list[int]:
    """Of SIZES those that an image with this short side fills; the smallest where it fills none."""
    return [size for size in SIZES if size <= side] or [SIZES[0]]


def map_size(sizes: Iterable[int]) -> int:
    """Of these short sides the one at which a map is made: the largest up to FINEST_MAP, or the smallest."""
    sizes = list(sizes)
    return max([size for size in sizes if size <= FINEST_MAP] or [min(sizes)])


def aspect_of(sizes: Iterable[tuple[int, int]], resolution: int = 64, image_size: int | None = None) -> float:
    """The median aspect of images of these sizes, (height, width); 1.0 where `shape_of` makes it a square.

    It is limited to what `shape_of` takes. Without any sizes it is 1.0.
    """
    aspects = [width / height for height, width in sizes]
    if not aspects:
        return 1.0
    aspect = min(max(statistics.median(aspects), 1 / MOST), float(MOST))
    height, width = shape_of(resolution, aspect, image_size)
    return 1.0 if height == width else aspect


def in_words(shape: tuple[int, int]) -> str:
    """A shape, (height, width), as people write it: width x height."""
    return f"{shape[1]} x {shape[0]}"


def stretch(size: tuple[int, int], shape: tuple[int, int]) -> float:
    """By what factor an image (height, width) is stretched along one side to be of a shape; from 1 on."""
    ratio = size[0] * shape[1] / (size[1] * shape[0])
    return max(ratio, 1 / ratio)
