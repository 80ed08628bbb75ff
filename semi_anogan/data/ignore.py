"""Regions to ignore: painted over as if nothing were there, before anything else sees an image.

What is painted depends on the pixels around the region alone. So whatever stands in it changes nothing: no
network, memory, score or threshold has seen it. numpy and Pillow only.
"""

import dataclasses
import functools
import hashlib
import io
import os

import numpy as np
from PIL import Image

from semi_anogan.data import masks, polygons
from semi_anogan.data.dataset import Dataset, Example
from semi_anogan.data.image_files import MAX_PIXELS
from semi_anogan.data.notes import Notes
from semi_anogan.errors import DataError

NAME = "ignore.png"  # of a fixed mask in a run folder or a bundle
MOST_SHARE = 0.5  # of an image: a mask that ignores more may be inverted
MOST_STRETCH = 0.02  # how far a mask's aspect may differ from its image's


def read(path: str | os.PathLike, max_pixels: int = MAX_PIXELS, image: str = "") -> np.ndarray:
    """Reads a mask, bool [H, W], True where ignored: an image file, read as data/masks.py says, or polygons.

    Args: image: name of the image it is for, where a JSON file has the polygons of several.
    Raises: DataError, for a file that cannot be read or ignores all of an image.
    """
    path = os.fspath(path)
    if path.lower().endswith(".json"):
        mask = polygons.read(path, max_pixels, image)
    else:
        mask, _ = masks.read(path, max_pixels)
    if mask.all():
        raise DataError(f"{path}: ignores all of the image; black is what counts, the brightest value is not")
    return mask


def read_fixed(
    path: str | os.PathLike, digest: str | None = None, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """As `read`, of the mask of all images.

    Raises: DataError, also where it ignores nothing, or is not the one of `digest`.
    """
    mask = read(path, max_pixels)
    if not mask.any():
        raise DataError(f"{os.fspath(path)}: ignores nothing: it is black all over")
    if digest is not None and digest_of(mask) != digest:
        raise DataError(
            f"{os.fspath(path)}: is not the mask that the run was trained with: its digest is "
            f"{digest_of(mask)}, data.ignore_digest is {digest}"
        )
    return mask


def digest_of(mask: np.ndarray) -> str:
    """SHA-256 of a mask's size and pixels, whatever file they come from."""
    height, width = mask.shape
    return hashlib.sha256(f"{height}x{width}:".encode() + np.packbits(mask).tobytes()).hexdigest()


def png_of(mask: np.ndarray) -> bytes:
    """A mask as a PNG file, white where ignored."""
    file = io.BytesIO()
    Image.fromarray(np.where(mask, np.uint8(255), np.uint8(0))).save(file, format="PNG")
    return file.getvalue()


def of_png(data: bytes) -> np.ndarray:
    """The inverse of `png_of`."""
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        return np.asarray(image.convert("L")) > 127


def fitted(mask: np.ndarray, size: tuple[int, int], what: str, of: str) -> np.ndarray:
    """A mask at the size, (height, width), of an image of the same shape: what it touches is ignored.

    Args: what, of: the mask and the image, for errors.
    Raises: DataError where their shapes differ: the mask would not lie where it was drawn.
    """
    (height, width), (own_height, own_width) = size, mask.shape
    expected = own_width * height / own_height
    if abs(expected - width) > max(1.0, MOST_STRETCH * width):
        raise DataError(
            f"{what}: the mask of what is ignored has {own_width} x {own_height} pixels, but {of} has "
            f"{width} x {height}: another shape; an image of another shape needs a mask of its own"
        )
    return masks.resized(mask, height, width)


def joined(fixed: np.ndarray | None, own: np.ndarray | None, size, what: str, of: str) -> np.ndarray | None:
    """What is ignored of an image of a size, bool [H, W], by the fixed mask and its own; None for nothing.

    Args: fixed: of any size; own: of this size; what, of: as in `fitted`.
    Raises: DataError as `fitted`, and where nothing of the image is left.
    """
    found = None if fixed is None else fitted(fixed, size, what, of)
    if own is not None:
        found = own if found is None else found | own
    if found is None or not found.any():
        return None
    if found.all():
        raise DataError(f"{of}: all of it is ignored")
    return found


def note_share(notes: Notes, path: str, share: float):
    """Adds a line where a mask of an image's own ignores more of it than may be meant."""
    if share > MOST_SHARE:
        notes.add(
            f"of {{n}} images more than {MOST_SHARE:.0%} are ignored, such as {{first}}; if the masks are "
            "inverted, write them with black as what counts",
            path,
        )


def told(mask: np.ndarray, path) -> str:
    """A line for a person: how much the fixed mask ignores."""
    share = float(mask.mean())
    percent = f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"
    inverted = "; more than half: is the mask inverted? Black is what counts" if share > MOST_SHARE else ""
    return f"{percent} of each image is ignored ({path}){inverted}"


def painted(image: np.ndarray, ignored: np.ndarray | None) -> np.ndarray:
    """The image, float32 [H, W, C], painted over where it is ignored: by nearby pixels, smoothly.

    ignored: bool [H, W], not True everywhere; None for nothing.
    """
    if ignored is None or not ignored.any():
        return image
    window = _window(ignored)
    out = np.array(image, np.float32)
    out[window] = _filled(out[window][None], ignored[window], np)[0]
    return out


def painted_with(images, ignored: np.ndarray, ops):
    """As `painted`, of images [N, H, W, C] with one mask; ops: numpy, or keras.ops also in a graph."""
    if not ignored.any():
        return images
    rows, columns = _window(ignored)
    (height, width), (top, left) = ignored.shape, (rows.start, columns.start)
    found = _filled(images[:, rows, columns], ignored[rows, columns], ops)
    around = [(top, height - top - found.shape[1]), (left, width - left - found.shape[2])]
    found = ops.pad(found, ((0, 0), *around, (0, 0)))
    return ops.where(ignored[None, :, :, None], found, images)


def _window(ignored: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of what is ignored and, around, as much again: no more decides what is painted."""
    ends = [np.flatnonzero(ignored.any(axis)) for axis in (1, 0)]
    reach = max(16, *(int(e[-1] - e[0]) + 1 for e in ends))
    return tuple(
        slice(max(0, int(e[0]) - reach), min(side, int(e[-1]) + 1 + reach))
        for e, side in zip(ends, ignored.shape, strict=True)
    )


def _filled(images, ignored: np.ndarray, ops):
    """Images [N, H, W, C] with what is ignored, bool [H, W], filled from around.

    Push-pull (Gortler et al. 1996): each level halves the one before by the means of the pixels that count,
    until all do; then each fills its gaps from the coarser one, enlarged bilinearly.

    Args: ops: numpy, or keras.ops with images of any number.
    """
    height, width = ignored.shape
    if not ignored.any():
        return images
    rows, columns = -(-height // 2), -(-width // 2)
    # Where nothing counts the values do not either, whatever they are.
    gaps = np.pad(ignored, ((0, 2 * rows - height), (0, 2 * columns - width)), constant_values=True)
    counts = (~gaps).reshape(rows, 2, columns, 2).sum((1, 3))
    known = np.float32(~ignored)[None, :, :, None]
    values = ops.where(known > 0, images, np.float32(0))
    values = ops.pad(values, ((0, 0), (0, 2 * rows - height), (0, 2 * columns - width), (0, 0)))
    channels = images.shape[-1]
    sums = ops.sum(ops.reshape(values, (-1, rows, 2, columns, 2, channels)), axis=(2, 4))
    means = sums / np.float32(np.maximum(counts, 1))[None, :, :, None]
    coarse = _filled(means, counts == 0, ops)
    fine = _doubled(_doubled(coarse, 1, ops), 2, ops)[:, :height, :width]
    return ops.where(known > 0, images, fine)


def _doubled(x, axis: int, ops):
    """x [N, H, W, C], one axis enlarged bilinearly to twice its length."""
    length = x.shape[axis]

    def part(start: int, stop: int):
        return x[(slice(None),) * axis + (slice(start, stop),)]

    before = ops.concatenate([part(0, 1), part(0, length - 1)], axis=axis)
    after = ops.concatenate([part(1, length), part(length - 1, length)], axis=axis)
    near, quarter = np.float32(0.75), np.float32(0.25)
    pairs = ops.stack([near * x + quarter * before, near * x + quarter * after], axis=axis + 1)
    shape = [-1, *x.shape[1:]]
    shape[axis] = 2 * length
    return ops.reshape(pairs, shape)


def blanked(anomaly_map: np.ndarray, ignored: np.ndarray | None) -> np.ndarray:
    """A map [H, W] without anything where it is ignored: there it is as low as anywhere, and not above 0."""
    if ignored is None:
        return anomaly_map
    out = np.array(anomaly_map, np.float32)
    out[ignored] = min(0.0, float(out[~ignored].min()))
    return out


def wholly(ignored: np.ndarray | None, height: int, width: int) -> np.ndarray | None:
    """Of another size which pixels, bool [height, width], stand for nothing but what is ignored."""
    return None if ignored is None else ~masks.resized(~ignored, height, width)


def grown(mask: np.ndarray) -> np.ndarray:
    """A mask with all neighbours of its pixels, bool [H, W]."""
    padded = np.pad(mask, 1)
    rows = padded[:-2] | padded[1:-1] | padded[2:]
    return rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]


def ignoring(dataset: Dataset, fixed: np.ndarray | None, path: str = "") -> Dataset:
    """A Dataset whose images are painted over and whose masks are cut, by the fixed mask and their own.

    path: of the fixed mask, for errors.
    """

    @functools.lru_cache(maxsize=8)
    def of_fixed(size):
        return fitted(fixed, size, path, "an image")

    def ignored(example: Example, size: tuple[int, int] | None = None):
        size = dataset.size_of(example) if size is None else size
        # Cached by size; it fails in `joined`, with the image's name.
        with_size = fixed
        if fixed is not None:
            try:
                with_size = of_fixed(size)
            except DataError:
                pass
        return joined(with_size, dataset.ignored(example), size, path, example.path)

    def read_image(example: Example):
        image = dataset.read_image(example)
        return painted(image, ignored(example, image.shape[:2]))

    def read_mask(example: Example):
        mask = dataset.read_mask(example)
        found = None if mask is None else ignored(example, mask.shape)
        return mask if found is None else mask & ~found

    def hidden(example: Example) -> bool:
        mask = dataset.read_mask(example)
        return mask is not None and bool(mask.any()) and not read_mask(example).any()

    def look(example: Example):
        found = dataset.files.look(example)
        there = ignored(example, found.found.size)
        return found if there is None else found._replace(ignored_share=float(there.mean()))

    def depth(example: Example):
        return dataset.files.depth(example, ignored(example))

    def at(*how) -> Dataset:
        return ignoring(dataset.files.at(*how), fixed, path)

    files = dataset.files and dataclasses.replace(dataset.files, look=look, depth=depth, at=at)
    return dataclasses.replace(
        dataset,
        read_image=read_image,
        read_mask=read_mask,
        files=files,
        ignore=fixed,
        ignored=ignored,
        hidden=hidden,
    )


def without_hidden(dataset: Dataset) -> Dataset:
    """The Dataset without the abnormal images of which all that is abnormal is ignored; its notes say so.

    To training they would be abnormal all over, and a test would call each a miss.
    """

    def is_hidden(example: Example) -> bool:
        try:
            return example.abnormal and dataset.hidden(example)
        except DataError:  # for others to tell, with all other files
            return False

    hidden = [e for e in dataset.examples if is_hidden(e)]
    dataset.notes.add(
        "{n} abnormal images are left out, such as {first}: all that their masks mark is ignored",
        hidden[0].path if hidden else "",
        len(hidden),
    )
    left_out = set(hidden)
    return dataclasses.replace(dataset, examples=tuple(e for e in dataset.examples if e not in left_out))
