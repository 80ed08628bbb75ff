"""The seven kinds of synthetic defects, and the blob that always shows.

- cut_paste: a piece of the image pasted elsewhere, slightly brighter or darker (Li et al. 2021, CutPaste).
- scar: the same with a long, thin, rotated piece (Li et al. 2021).
- scratch: a thin dark or bright line, bent or kinked.
- perlin: blobs of Perlin noise filled with the texture of another image (Zavrtanik et al. 2021, DRAEM).
- blob: a dark or bright spot with a soft edge, now and then a large ellipse or rectangle.
- crack: a thin dark line with branches, of few or many bends.
- shade: beyond one to three wavy borders the image is dimmer, seldom brighter, in proportion: what is cut
  off, wet, worn or badly lit.

Each is a function of (image [H, W, C], other [H, W, C], rng) and returns a new image [H, W, C], which may
leave [-1, 1]. Sizes are shares of the image's side, sqrt(height * width), but never less than a pixel or two.
"""

import math

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

_FINE = 4  # lines are drawn on a grid that many times finer, each way


def _cut_paste(image, other, rng):
    height, width = image.shape[:2]
    area, aspect = rng.uniform(0.02, 0.15) * height * width, 3.3 ** rng.uniform(-1, 1)
    h = round(min(max(math.sqrt(area * aspect), 2), height - 1))
    w = round(min(max(math.sqrt(area / aspect), 2), width - 1))
    (top, to_top), (left, to_left) = rng.integers(height - h + 1, size=2), rng.integers(width - w + 1, size=2)
    piece = image[top : top + h, left : left + w]
    out = image.copy()
    out[to_top : to_top + h, to_left : to_left + w] = _jitter(piece, rng, 0.15)
    return out


def _scar(image, other, rng):
    (height, width), side = image.shape[:2], _side(image)
    length, thickness = max(side * rng.uniform(0.1, 0.4), 5), max(side * rng.uniform(0.015, 0.05), 2)
    along, across = _coordinates(image, rng)
    # Antialiased: half a pixel beyond the edge nothing is left.
    opacity = np.clip((length + 1) / 2 - np.abs(along), 0, 1)
    opacity *= np.clip((thickness + 1) / 2 - np.abs(across), 0, 1)
    inside = opacity > 0
    rows = np.rint(rng.uniform(0, height) + across[inside]).astype(int).clip(0, height - 1)
    columns = np.rint(rng.uniform(0, width) + along[inside]).astype(int).clip(0, width - 1)
    out = image.copy()
    out[inside] += opacity[inside, None] * (_jitter(image[rows, columns], rng, 0.3) - out[inside])
    return out


def _scratch(image, other, rng):
    (height, width), side = image.shape[:2], _side(image)
    steps = rng.integers(3, 25)
    bend = rng.uniform(0, 1.2) / math.sqrt(steps)  # radians a step: a bent line, or a kinked one of few steps
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
        across = _coordinates(image, rng)[1] * rng.choice([-1, 1])
        across = across + _perlin_noise(height, width, rng) * side * rng.uniform(0, 0.15)
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
    # A small one's radius is log-uniform from one pixel on.
    radius = side * rng.uniform(0.15, 0.4) if large else max(1.5, 0.08 * side) ** rng.random()
    x, y = np.abs(_coordinates(image, rng, turned=not rectangle))
    y /= rng.uniform(0.4, 1)
    distance = np.maximum(x, y) if rectangle else np.hypot(x, y)
    opacity = np.clip((radius + 0.5 - distance) / (1 + rng.random() * radius), 0, 1)
    mean = np.tensordot(opacity, image, 2) / max(opacity.sum(), 1e-6)
    fill = rng.random()  # 0: the texture shows through, 1: it is covered
    return image + opacity[..., None] * (_tint(image, rng, 0.15, 0.6 if large else 1) + fill * (mean - image))


DRAW = {
    "cut_paste": _cut_paste,
    "scar": _scar,
    "scratch": _scratch,
    "perlin": _perlin,
    "blob": _blob,
    "crack": _crack,
    "shade": _shade,
}


def strong_blob(image, rng, ignored=None):
    """A disc that always shows: nearly black where the image is bright, nearly white where it is dark.

    ignored: bool [H, W], where its middle is not; None for nowhere.
    """
    height, width = image.shape[:2]
    y, x = np.ogrid[:height, :width]
    if ignored is None:
        row, column = rng.integers(2, height - 2), rng.integers(2, width - 2)
    else:
        places = np.argwhere(~ignored)
        row, column = places[rng.integers(len(places))]
    radius = max(1.5, 0.04 * _side(image))  # a pixel and its neighbours at least
    disc = np.hypot(y - row, x - column) <= radius
    out = image.copy()
    out[disc] = 0.1 * image[disc] + (-0.9 if image[disc].mean() > 0 else 0.9)
    return out


def _side(image):
    return math.sqrt(image.shape[0] * image.shape[1])


def _jitter(pixels, rng, most):
    """Pixels [..., C], their contrast times 1 +- most and their brightness +- most."""
    mean = pixels.mean(axis=tuple(range(pixels.ndim - 1)))
    contrast, brightness = rng.uniform(-most, most, 2).astype(np.float32)
    return (pixels - mean) * (1 + contrast) + (mean + brightness)


def _tint(image, rng, low, high):
    """A change of brightness [C], darker or brighter by low to high in its strongest channel."""
    colour = rng.uniform(0.5, 1, image.shape[2]).astype(np.float32)
    return colour / colour.max() * np.float32(rng.choice([-1, 1]) * rng.uniform(low, high))


def _directions(steps, bend, rng):
    """Unit vectors (x, y) of a line's steps: [steps, 2].

    Each is turned from the one before by a normal random angle of standard deviation `bend`, in radians.
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
    """Coordinates [2, H, W] of the pixels, in pixels from a random point along axes turned at random."""
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
