"""Synthetic abnormal images, drawn into normal ones: a further source of abnormal images where few or none
are known.

- cut_paste: a patch of the image pasted elsewhere, slightly brighter or darker (Li et al. 2021, CutPaste).
- scar: the same with a long, thin, rotated patch (Li et al. 2021).
- scratch: a thin dark or bright line, bent or kinked.
- perlin: blobs of Perlin noise filled with the texture of another image (Zavrtanik et al. 2021, DRAEM).
- blob: a dark or bright spot with a soft edge, now and then a large ellipse or rectangle.
- crack: a thin dark line with branches, of few or many bends.
- shade: beyond one to three wavy borders the image is dimmer, seldom brighter, in proportion: what is cut
off, wet, worn or badly lit.

Sizes are shares of the image's side, sqrt(height * width), but never less than a pixel or two.
"""

import functools
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

KINDS = ("cut_paste", "scar", "scratch", "perlin", "blob", "crack", "shade")
TRAINING_KINDS = ("cut_paste", "scratch", "blob")  # where the config names none
CALIBRATION_KINDS = (
    "scar",
    "perlin",
)  # training does not see these, or what it learned would weigh too much in the score
MIN_SIDE = 8
MASK_CHANGE = 0.02  # a pixel is in the mask if a channel changes by more than this (of a range of 2)
MIN_CONTRAST = 0.05  # at least MIN_PIXELS pixels change by this much or more
MIN_PIXELS = 3
MAX_SHARE = 0.5  # of the pixels; what would change more is drawn again

_FINE = 4  # scratches are drawn on a grid that many times finer, each way


def training_kinds(chosen: Sequence[str]) -> tuple[str, ...]:
    """The kinds that training draws where the config names these, or none."""
    return tuple(chosen) or TRAINING_KINDS


def calibration_kinds(chosen: Sequence[str]) -> tuple[str, ...]:
    """The kinds that weigh the components: CALIBRATION_KINDS, as far as training does not draw them."""
    return tuple(kind for kind in CALIBRATION_KINDS if kind not in chosen) or CALIBRATION_KINDS


def synthesise(
    image: np.ndarray, other: np.ndarray, rng: np.random.Generator, kinds: tuple[str, ...] = KINDS
) -> tuple[np.ndarray, np.ndarray]:
    """Draws one to three defects into a normal image: a pure function of its arguments.

    A defect that does not show (black on black, say) is drawn up to ten times and then left out; should that
    leave no
    defect at all, a blob of strong contrast is drawn.

    Args:
      image: float32 [H, W, C] in [-1, 1], C = 1 or 3, H and W at least MIN_SIDE; not modified.
      other: another normal image of the same shape, the source of foreign texture; may be `image` itself.
      rng: decides everything random.
      kinds: the kinds of defect to choose from, of KINDS; all are equally likely.

    Returns:
      The image with its defects, float32 [H, W, C] in [-1, 1], and the mask, bool [H, W]: True on MIN_PIXELS
      pixels or
      more, at most on the share MAX_SHARE. In the mask every pixel differs from `image` by more than
      MASK_CHANGE in
      some channel, and MIN_PIXELS of them by MIN_CONTRAST or more; all other pixels are those of `image`.

    Raises:
      ValueError: an unknown kind or none, or images of the wrong shape.
    """
    kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        raise ValueError(
            f"kinds must be one or more of {', '.join(KINDS)}, got {unknown[0] if unknown else kinds!r}"
        )
    if np.ndim(image) != 3 or np.shape(image)[2] not in (1, 3) or min(np.shape(image)[:2]) < MIN_SIDE:
        raise ValueError(
            f"image must be [H, W, 1 or 3], H and W at least {MIN_SIDE}, got shape {np.shape(image)}"
        )
    if np.shape(other) != np.shape(image):
        raise ValueError(
            f"other must have the shape of image, {np.shape(image)}, got shape {np.shape(other)}"
        )

    image, other = np.asarray(image, np.float32), np.asarray(other, np.float32)
    drawn = image
    for _ in range(rng.integers(1, 4)):
        for _ in range(10):
            draw = _DRAW[kinds[rng.integers(len(kinds))]]
            trial = np.clip(draw(drawn, other, rng), -1, 1)
            total = _change(image, trial)
            # The total has to show too, as a defect may happen to cover an earlier one with what was there
            # before.
            if _shows(_change(drawn, trial)) and _shows(total) and (total > MASK_CHANGE).mean() <= MAX_SHARE:
                drawn = trial
                break
    if drawn is image:
        drawn = _strong_blob(image, rng)
    mask = _change(image, drawn) > MASK_CHANGE
    return np.where(mask[..., None], drawn, image), mask


def _change(before, after):
    """[H, W]: the largest change of a channel."""
    return functools.reduce(
        np.maximum, np.moveaxis(np.abs(after - before), -1, 0)
    )  # .max(-1) is many times slower


def _shows(change):
    return np.count_nonzero(change >= MIN_CONTRAST) >= MIN_PIXELS


# Each kind: (image [H, W, C], other [H, W, C], rng) -> a new image [H, W, C], which may leave [-1, 1].


def _cut_paste(image, other, rng):
    height, width = image.shape[:2]
    area, aspect = rng.uniform(0.02, 0.15) * height * width, 3.3 ** rng.uniform(-1, 1)
    h, w = (
        round(min(max(math.sqrt(a), 2), most - 1))
        for a, most in ((area * aspect, height), (area / aspect, width))
    )
    (top, to_top), (left, to_left) = rng.integers(height - h + 1, size=2), rng.integers(width - w + 1, size=2)
    out = image.copy()
    out[to_top : to_top + h, to_left : to_left + w] = _jitter(
        image[top : top + h, left : left + w], rng, 0.15
    )
    return out


def _scar(image, other, rng):
    (height, width), side = image.shape[:2], _side(image)
    length, thickness = max(side * rng.uniform(0.1, 0.4), 5), max(side * rng.uniform(0.015, 0.05), 2)
    along, across = _coordinates(image, rng)
    # Antialiased: half a pixel beyond the edge nothing is left.
    opacity = np.clip((length + 1) / 2 - np.abs(along), 0, 1) * np.clip(
        (thickness + 1) / 2 - np.abs(across), 0, 1
    )
    inside = opacity > 0
    rows = np.rint(rng.uniform(0, height) + across[inside]).astype(int).clip(0, height - 1)
    columns = np.rint(rng.uniform(0, width) + along[inside]).astype(int).clip(0, width - 1)
    out = image.copy()
    out[inside] += opacity[inside, None] * (_jitter(image[rows, columns], rng, 0.3) - out[inside])
    return out


def _scratch(image, other, rng):
    (height, width), side = image.shape[:2], _side(image)
    steps = rng.integers(3, 25)
    bend = rng.uniform(0, 1.2) / math.sqrt(
        steps
    )  # radians a step: a bent line, or a kinked one where steps are few
    directions = _directions(steps, bend, rng)
    path = np.cumsum(side * rng.uniform(0.1, 0.9) / steps * directions, 0)
    path += rng.uniform(0, 1, 2) * (width, height) - path[steps // 2]  # the middle lies in the image
    return image + _lines(image, [path], rng.uniform(1, max(1, 0.015 * side))) * _tint(image, rng, 0.1, 0.8)


def _crack(image, other, rng):
    (height, width), side = image.shape[:2], _side(image)
    steps, bend = rng.integers(4, 30), rng.uniform(0, 0.35)
    step = side * rng.uniform(0.2, 1) / steps
    paths = [rng.uniform(0, 1, 2) * (width, height) + np.cumsum(step * _directions(steps, bend, rng), 0)]
    for _ in range(rng.integers(4)):  # branches
        branch = np.cumsum(step * _directions(rng.integers(2, steps + 1), bend, rng), 0)
        paths.append(paths[0][rng.integers(steps)] + branch)
    opacity = _lines(image, paths, rng.uniform(1, max(1, 0.015 * side)))
    return image + opacity * _scaled(image, rng.uniform(0.1, 0.8))


def _shade(image, other, rng):
    (height, width), side = image.shape[:2], _side(image)
    soft = rng.choice([1, rng.uniform(1, max(1, 0.08 * side))])  # pixels over which the shade sets in
    inside = np.ones((height, width), np.float32)
    for _ in range(rng.integers(1, 4)):
        across = _coordinates(image, rng)[1] * rng.choice([-1, 1]) + _perlin_noise(
            height, width, rng
        ) * side * rng.uniform(0, 0.15)
        inside *= np.clip(across / soft + 0.5, 0, 1)
    factor = rng.uniform(0.1, 0.9)
    return image + inside[..., None] * _scaled(image, factor if rng.random() < 0.9 else 2 - factor)


def _perlin(image, other, rng):
    noise = _perlin_noise(*image.shape[:2], rng)
    labels, _ = ndimage.label(noise > np.quantile(noise, rng.uniform(0.85, 0.99)))
    largest = 1 + np.argsort(-np.bincount(labels.flat)[1:])[: rng.integers(1, 5)]  # one to four blobs
    opacity = rng.uniform(0.3, 1) * ndimage.uniform_filter(np.isin(labels, largest).astype(np.float32), 3)
    turned = (other[::-1], other[:, ::-1], other[::-1, ::-1])[rng.integers(3)]
    return image + opacity[..., None] * (_jitter(turned, rng, 0.4) - image)


def _blob(image, other, rng):
    side, large = _side(image), rng.random() < 0.2
    rectangle = large and rng.random() < 0.5
    radius = (
        side * rng.uniform(0.15, 0.4) if large else max(1.5, 0.08 * side) ** rng.random()
    )  # log-uniform from 1 px
    x, y = np.abs(_coordinates(image, rng, turned=not rectangle))
    y /= rng.uniform(0.4, 1)
    distance = np.maximum(x, y) if rectangle else np.hypot(x, y)
    opacity = np.clip((radius + 0.5 - distance) / (1 + rng.random() * radius), 0, 1)
    mean = np.tensordot(opacity, image, 2) / max(opacity.sum(), 1e-6)
    fill = rng.random()  # 0: the texture shows through, 1: it is covered
    return image + opacity[..., None] * (_tint(image, rng, 0.15, 0.6 if large else 1) + fill * (mean - image))


_DRAW = {
    "cut_paste": _cut_paste,
    "scar": _scar,
    "scratch": _scratch,
    "perlin": _perlin,
    "blob": _blob,
    "crack": _crack,
    "shade": _shade,
}


def _strong_blob(image, rng):
    """A disc, nearly black where the image is bright and nearly white where it is dark, so that it always
    shows.
    """
    height, width = image.shape[:2]
    y, x = np.ogrid[:height, :width]
    row, column = rng.integers(2, height - 2), rng.integers(2, width - 2)
    disc = np.hypot(y - row, x - column) <= max(
        1.5, 0.04 * _side(image)
    )  # a pixel and its neighbours at least
    out = image.copy()
    out[disc] = 0.1 * image[disc] + (-0.9 if image[disc].mean() > 0 else 0.9)
    return out


def _side(image):
    return math.sqrt(image.shape[0] * image.shape[1])


def _jitter(patch, rng, most):
    """Contrast times 1 +- most, and brightness +- most; [..., C]."""
    mean = patch.mean(axis=tuple(range(patch.ndim - 1)))
    contrast, brightness = rng.uniform(-most, most, 2).astype(np.float32)
    return (patch - mean) * (1 + contrast) + (mean + brightness)


def _tint(image, rng, low, high):
    """A change of brightness [C], darker or brighter by low to high in its strongest channel."""
    colour = rng.uniform(0.5, 1, image.shape[2]).astype(np.float32)
    return colour / colour.max() * np.float32(rng.choice([-1, 1]) * rng.uniform(low, high))


def _directions(steps, bend, rng):
    """Unit vectors (x, y) of a line's steps, each turned from the one before by a normal random angle, bend
    in radians: [steps, 2].
    """
    heading = rng.uniform(0, 2 * math.pi) + np.cumsum(rng.normal(0, bend, steps))
    return np.stack([np.cos(heading), np.sin(heading)], 1)


def _lines(image, paths, thickness):
    """Opacity [H, W, 1] of lines through the points (x, y) of each path, in pixels; antialiased."""
    height, width = image.shape[:2]
    canvas = Image.new("L", (width * _FINE, height * _FINE))
    for path in paths:
        points = [tuple(xy) for xy in path * _FINE]
        ImageDraw.Draw(canvas).line(points, fill=255, width=round(thickness * _FINE), joint="curve")
    return np.asarray(canvas.reduce(_FINE), np.float32)[..., None] / np.float32(255)


def _scaled(image, factor):
    """What makes the image that many times as bright, black being -1: [H, W, C]."""
    return (image + 1) * np.float32(factor - 1)


def _coordinates(image, rng, turned=True):
    """Coordinates of the pixels from a random point of the image, along axes turned at random: [2, H, W] in
    pixels.
    """
    y, x = (
        np.arange(size, dtype=np.float32) - np.float32(rng.uniform(0, size - 1)) for size in image.shape[:2]
    )
    angle = rng.uniform(0, math.pi) if turned else 0
    y, cos, sin = y[:, None], math.cos(angle), math.sin(angle)
    return np.stack([x * cos + y * sin, y * cos - x * sin])


def _perlin_noise(height, width, rng):
    """Gradient noise [H, W] with 2 to 10 cells each way, about -0.7 to 0.7."""
    cells = rng.integers(2, 11, size=2)
    angles = rng.uniform(0, 2 * math.pi, cells + 1)  # of the slopes at the corners of the cells

    def offsets(size, count):  # from the corners, in cells, and the corners' weights: [size, count + 1]
        offset = np.arange(size)[:, None] * (count / size) - np.arange(count + 1)
        near = np.clip(1 - np.abs(offset), 0, 1)
        return offset, near**3 * (near * (6 * near - 15) + 10)

    (y, weight_y), (x, weight_x) = offsets(height, cells[0]), offsets(width, cells[1])
    return (weight_y * y) @ np.sin(angles) @ weight_x.T + weight_y @ np.cos(angles) @ (weight_x * x).T
