"""An image with its regions drawn into it, for an inspector. numpy and Pillow only."""

import math
from collections.abc import Sequence

import numpy as np

from semi_anogan.data import image_arrays
from semi_anogan.scoring.regions import LINE, Region, outline, union

COLOUR = (255, 64, 0)  # of the map
UNCERTAIN = (255, 255, 0)  # LINE of a region that is not certain
OPACITY = 0.45  # of the map, at most: the defect itself must remain visible
GREY = 128.0  # what is ignored is brought half way to it
HATCH = (72.0, 200.0)  # grey of the lines there, a dark one beside a light one: one is seen on any image
BAND = 64  # rows that are drawn at once, so that a large picture needs no more memory than it has to
LONG_SIDE = 512  # of a picture, at least: smaller images are enlarged, by whole factors


def overlay(
    image: np.ndarray,
    anomaly_map: np.ndarray,
    regions: Sequence[Region],
    pixel_threshold: float,
    ignored: np.ndarray | None = None,
) -> np.ndarray:
    """uint8 [h, w, 3]: the image, the map as transparent colour, the outlines and numbers of the regions.

    Small images are enlarged by a whole factor. A number is that of the row in regions.csv. A region that is
    not certain is yellow. What is ignored is greyed and hatched, with a thin outline.

    Args:
      image: float [H, W, C] in [-1, 1].
      anomaly_map: float [H, W].
      ignored: bool [H, W], or None for nothing.
      pixel_threshold: colour begins at half of it, and is full where the map is half as high again; where
        peaks are more than twice as high, half of the highest counts in its place, as regions end there.
    """
    height, width = anomaly_map.shape
    times = max(1, LONG_SIDE // max(height, width))
    shape = height * times, width * times
    image, anomaly_map = image_arrays.resize(image, *shape), image_arrays.resize_map(anomaly_map, *shape)
    unit = max(pixel_threshold, max((r.peak for r in regions), default=0.0) / 2, 1e-6)
    line = max(1, round(max(shape) / LONG_SIDE))
    hatched, edge = None, None
    if ignored is not None and ignored.any():
        hatched = _enlarged(ignored, times)
        edge = outline(~hatched, line)
    pixels = np.empty((*shape, 3), np.uint8)
    for start in range(0, shape[0], BAND):
        rows = slice(start, start + BAND)
        strength = OPACITY * np.clip(anomaly_map[rows] / unit - 0.5, 0, 1)[..., None]
        band = image_arrays.to_uint8(image_arrays.to_channels(image[rows], 3)).astype(np.float32)
        band = (1 - strength) * band + strength * np.float32(COLOUR)
        if hatched is not None:
            _hatch(band, hatched[rows], edge[rows], line, start)
        pixels[rows] = np.uint8(band)
    inside = _enlarged(union(regions, (height, width)), times)
    colour = LINE if all(region.certain for region in regions) else UNCERTAIN
    for region in regions:  # around each alone, as the picture may be large
        top, left = max(0, region.top * times - line), max(0, region.left * times - line)
        bottom, right = (
            (region.top + region.height) * times + line,
            (region.left + region.width) * times + line,
        )
        window = slice(top, bottom), slice(left, right)
        pixels[window][outline(inside[window], line)] = colour
    size = max(11, max(shape) // 40)
    for number, region in enumerate(regions, 1):
        # Beside the upper right corner of the box, where it does not cover the defect; inside the picture.
        x, y = (region.left + region.width) * times + 2 * line, region.top * times - size
        _write(pixels, str(number), x, y, size, colour)
    return pixels


def _write(pixels: np.ndarray, text: str, x: int, y: int, size: int, colour):
    """Writes text of a size into uint8 pixels [h, w, 3], its upper left corner at x, y or inside of them.

    Pillow draws in a copy: of the place of the text alone, as the picture may be large.
    """
    from PIL import Image, ImageDraw

    height, width = pixels.shape[:2]
    style = {"font_size": size, "stroke_width": max(1, size // 10)}
    draw = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    x = min(x, width - draw.textlength(text, font_size=size) - 2)
    y = min(max(y, 0), height - size - 2)
    box = draw.textbbox((x, y), text, **style)
    left, top = (max(0, math.floor(value) - 2) for value in box[:2])
    right, bottom = (max(0, math.ceil(value) + 2) for value in box[2:])
    place = Image.fromarray(np.ascontiguousarray(pixels[top:bottom, left:right]))
    ImageDraw.Draw(place).text((x - left, y - top), text, colour, stroke_fill=(0, 0, 0), **style)
    pixels[top:bottom, left:right] = np.asarray(place)


def _enlarged(mask: np.ndarray, times: int) -> np.ndarray:
    return mask if times == 1 else mask.repeat(times, axis=0).repeat(times, axis=1)


def _hatch(pixels: np.ndarray, ignored: np.ndarray, edge: np.ndarray, line: int, start: int):
    """Greys what is ignored in float32 pixels [h, w, 3], with diagonal lines and its edge, bool [h, w].

    start: of the picture's rows the first one here.
    """
    pixels[ignored] = (pixels[ignored] + GREY) / 2
    rows, columns = np.indices(ignored.shape, sparse=True)
    along = (rows + start + columns) % (12 * line)
    for number, grey in enumerate(HATCH):
        here = (along >= number * line) & (along < (number + 1) * line)
        pixels[ignored & here] = grey
    pixels[edge] = HATCH[1]
