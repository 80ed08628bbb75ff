"""Masks from polygons in a JSON file, as labelme and COCO write them."""

import contextlib
import json
import os

import numpy as np
from PIL import Image, ImageDraw

from semi_anogan.errors import DataError


def read(path: str | os.PathLike, max_pixels: int, image: str = "", touched: bool = True) -> np.ndarray:
    """bool [H, W] of an image's own size, True where a shape is.

    Of labelme polygons, rectangles and circles are read, of COCO polygons, run lengths, and boxes where an
    annotation has neither. Labels and categories do not matter.

    Args: image: name of the image that the mask is for, where a COCO file has several; touched: whether
      pixels that an outline touches count too, or those alone whose middle is inside.
    Raises: DataError for anything else; it names the file and what it has.
    """
    path = os.fspath(path)
    values = load(path)
    with _told(path):
        if "shapes" in values:
            return of_labelme(path, values, max_pixels, touched)
        return _of_coco(path, values, max_pixels, image, touched)


def load(path: str | os.PathLike) -> dict:
    """What a JSON file of labelme (key shapes) or COCO (images, annotations) holds; DataError of others."""
    path = os.fspath(path)
    try:
        with open(path, encoding="utf-8-sig") as file:
            values = json.load(file)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is no JSON: {error}") from None
    if isinstance(values, dict) and ("shapes" in values or {"images", "annotations"} <= values.keys()):
        return values
    raise DataError(
        f"{path}: neither polygons of labelme (key shapes) nor of COCO (keys images and annotations)"
    )


@contextlib.contextmanager
def _told(path: str):
    """DataError where a file has not what it should."""
    try:
        yield
    except DataError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise DataError(f"{path}: not as labelme or COCO write it: {type(error).__name__}: {error}") from None


def of_labelme(path: str, values: dict, max_pixels: int, touched: bool = True) -> np.ndarray:
    """As `read`, of what a file of labelme holds."""
    with _told(path):
        size = _size(path, values, "imageHeight", "imageWidth", max_pixels)
        shapes = [_of_labelme(path, i, s) for i, s in enumerate(values["shapes"], 1)]
        return _drawn(path, size, shapes, touched)


def of_annotations(
    path: str, image: dict, annotations: list[dict], max_pixels: int, touched: bool = True
) -> np.ndarray:
    """As `of_labelme`, of an image of COCO and those of the annotations that are its own."""
    with _told(path):
        size = _size(path, image, "height", "width", max_pixels)
        mask = np.zeros(size, bool)
        for number, annotation in enumerate(annotations, 1):
            where = f"{path}: annotation {annotation.get('id', number)}"
            with _told(where):
                mask |= _of_annotation(where, annotation, size, touched)
        return mask


def _of_annotation(where: str, annotation: dict, size: tuple[int, int], touched: bool) -> np.ndarray:
    found = annotation.get("segmentation")
    if isinstance(found, dict):
        return _of_runs(where, found, size)
    if found:
        for part in found:
            if not part or len(part) % 2:
                raise DataError(f"{where}: a polygon has {len(part)} numbers, which are no pairs of x and y")
        return _drawn(where, size, [list(zip(part[::2], part[1::2], strict=True)) for part in found], touched)
    if not annotation.get("bbox"):
        raise DataError(f"{where}: has neither a segmentation nor a bbox")
    left, top, width, height = map(float, annotation["bbox"])
    right, bottom = left + width, top + height
    return _drawn(where, size, [[(left, top), (right, top), (right, bottom), (left, bottom)]], touched)


def _of_labelme(path: str, number: int, shape: dict) -> list[tuple]:
    """The points of a shape."""
    points = [(float(x), float(y)) for x, y in shape["points"]]
    kind = shape.get("shape_type") or "polygon"
    if kind == "rectangle" and len(points) == 2:
        (left, top), (right, bottom) = points
        return [(left, top), (right, top), (right, bottom), (left, bottom)]
    if kind == "rectangle" and len(points) == 4:
        return points
    if kind == "circle" and len(points) == 2:
        (x, y), rim = points
        radius = np.hypot(rim[0] - x, rim[1] - y)
        angles = np.linspace(0, 2 * np.pi, 90, endpoint=False)
        return list(zip(x + radius * np.cos(angles), y + radius * np.sin(angles), strict=True))
    if kind == "polygon" and len(points) >= 3:
        return points
    raise DataError(
        f"{path}: shape {number} is a {kind} of {len(points)} points, which encloses nothing that is read "
        "here; polygons, rectangles and circles are"
    )


def _of_coco(path: str, values: dict, max_pixels: int, image: str, touched: bool) -> np.ndarray:
    images = values["images"]
    if len(images) > 1:
        images = [i for i in images if os.path.basename(str(i.get("file_name"))) == os.path.basename(image)]
    if len(images) != 1:
        what = f"none of them, or several, is {os.path.basename(image)!r}" if image else "a mask is of one"
        raise DataError(f"{path}: has {len(values['images'])} images; {what}")
    own = [a for a in values["annotations"] if a["image_id"] == images[0]["id"]]
    return of_annotations(path, images[0], own, max_pixels, touched)


def _of_runs(path: str, found: dict, size: tuple[int, int]) -> np.ndarray:
    """The mask of run lengths, column by column, the first of pixels outside."""
    counts = found["counts"]
    if isinstance(counts, str):
        counts = _counts_of(path, counts)
    if tuple(found["size"]) != size or sum(counts) != size[0] * size[1]:
        raise DataError(f"{path}: run lengths of {found['size']} do not fit an image of {list(size)}")
    inside = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return inside.reshape(size[::-1]).T


def _counts_of(path: str, text: str) -> list[int]:
    """The run lengths in a text, as pycocotools writes them.

    A number has 5 bits in each character, the lowest first; a sixth says that more follow, and the highest of
    the last five is the sign. From the fourth on it is the difference to the number two before.
    """
    counts, value, shift = [], 0, 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise DataError(f"{path}: {character!r} is none of the characters of compressed run lengths")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    if shift:
        raise DataError(f"{path}: the compressed run lengths are cut off")
    return counts


def _size(path: str, values: dict, height: str, width: str, max_pixels: int) -> tuple[int, int]:
    found = values.get(height), values.get(width)
    if not all(type(v) is int and v > 0 for v in found):
        raise DataError(f"{path}: {height} and {width} must be the image's size in pixels, got {found}")
    if found[0] * found[1] > max_pixels:
        raise DataError(f"{path}: {found[1]} x {found[0]} pixels, more than the limit of {max_pixels} pixels")
    return found


def _drawn(path: str, size: tuple[int, int], shapes: list[list[tuple]], touched: bool) -> np.ndarray:
    """bool [H, W] of closed outlines (x, y), 0 being the left or upper edge of the first pixel."""
    mask, (height, width) = np.zeros(size, bool), size
    for points in shapes:
        if not np.isfinite(points).all():
            raise DataError(f"{path}: a polygon has a point that is no number")
        (left, top), (right, bottom) = np.min(points, axis=0), np.max(points, axis=0)
        if right < 0 or bottom < 0 or left > width or top > height:
            raise DataError(
                f"{path}: a shape from {left:g}, {top:g} to {right:g}, {bottom:g} (x, y) lies outside the "
                f"image, which has {width} x {height} pixels"
            )
        inside = None if touched else _middles_inside(points, size)
        # A shape that is thinner than a pixel may hold no middle; it is marked all the same.
        mask |= inside if inside is not None and inside.any() else _touched(points, size)
    return mask


def _touched(points: list[tuple], size: tuple[int, int]) -> np.ndarray:
    canvas = Image.new("1", size[::-1])
    # A pixel's middle lies half a pixel from its edge.
    ImageDraw.Draw(canvas).polygon([(x - 0.5, y - 0.5) for x, y in points], fill=1, outline=1)
    return np.array(canvas, bool)


def _middles_inside(points: list[tuple], size: tuple[int, int]) -> np.ndarray:
    """bool [H, W], True where a ray from the pixel's middle to the right crosses the outline an odd number of
    times.
    """
    (height, width), crossings = size, np.zeros((size[0], size[1] + 1), np.int64)
    for (x, y), (other_x, other_y) in zip(points, points[1:] + points[:1], strict=True):
        low, high = sorted((y, other_y))
        rows = np.arange(max(0, np.ceil(low - 0.5)), min(height, np.ceil(high - 0.5)), dtype=np.int64)
        if not rows.size:
            continue
        at = x + (rows + 0.5 - y) * (other_x - x) / (other_y - y)
        # The first column whose middle is not left of the crossing.
        np.add.at(crossings, (rows, np.clip(np.ceil(at - 0.5), 0, width).astype(np.int64)), 1)
    return np.cumsum(crossings, axis=1)[:, :width] % 2 == 1
