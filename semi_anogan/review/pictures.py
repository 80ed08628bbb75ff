"""The pictures of the page: images by index, small and large, their overlays, maps and masks."""

import collections
import io
import itertools
import os
import pathlib
import threading
from collections.abc import Callable

import numpy as np

from semi_anogan.data import image_arrays, images, masks
from semi_anogan.data.dataset import Example
from semi_anogan.data.image_files import MAX_PIXELS
from semi_anogan.data.look import small_picture
from semi_anogan.data.review import SCORED
from semi_anogan.errors import DataError
from semi_anogan.review.entries import Entry
from semi_anogan.scoring.outputs import MAPS, OVERLAYS, SUFFIXES, picture_name

THUMB, LARGE = 128, 2048  # pixels of the long side, at most
CACHE_BYTES = 128 << 20


class Cache:
    """What was made of keys, up to a number of bytes; what was not asked for longest goes first."""

    def __init__(self, most: int = CACHE_BYTES):
        self.most, self.held = most, 0
        self._found: collections.OrderedDict = collections.OrderedDict()
        self._lock = threading.Lock()

    def get(self, key, make: Callable[[], bytes]) -> bytes:
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
                return self._found[key]
        made = make()
        with self._lock:
            if key not in self._found and len(made) <= self.most:
                self._found[key] = made
                self.held += len(made)
            while self.held > self.most:
                self.held -= len(self._found.popitem(last=False)[1])
        return made


class Pictures:
    """Reads images of a run and of scored files, and makes PNG and JPEG of them.

    Args: config: the run's, whose places are found; data_set: () -> its Dataset, asked for only where the
      images of the run are no files below a folder that the configuration names.
    """

    def __init__(self, config, data_set: Callable):
        self._scale = images.Scale(config.data.white, config.data.black)
        self._most = config.data.max_pixels or MAX_PIXELS
        self._root = _root(config)
        self._data_set, self._examples = data_set, None
        self._last: tuple[int, np.ndarray] | None = None
        self._cache, self._lock = Cache(), threading.Lock()
        self._decoding = threading.Semaphore(min(4, os.cpu_count() or 1))  # each may hold a large image

    def known(self, kind: str, most: int) -> list[str]:
        """Paths of the known defects of a kind among the training images, at most so many."""
        self._load()
        found = (e for e in self._found.examples if e.split == "train" and e.abnormal and e.kind == kind)
        return [e.path for e in itertools.islice(found, most)]

    def size(self, entry: Entry) -> tuple[int, int]:
        """(height, width) of an image; DataError where it cannot be read."""
        path = self.file(entry)
        if path is not None:
            return images.image_size(path, self._most)
        data_set, example = self._example(entry)
        return data_set.size_of(example)

    def file(self, entry: Entry) -> str | None:
        """The image's file; None where it has none."""
        if entry.origin == SCORED:
            return entry.path
        if self._root is not None:
            return os.path.join(self._root, entry.path)
        data_set, example = self._example(entry)
        return None if data_set.files is None else data_set.files.path(example)

    def large(self, entry: Entry) -> bytes:
        """PNG, at the image's own size up to LARGE."""
        return self._cache.get((entry.index, LARGE), lambda: self._made(entry, LARGE, "PNG"))

    def part(self, entry: Entry, top: int, left: int, height: int, width: int) -> bytes:
        """PNG of some of the image's own pixels, as far as it has them; DataError where it has none there."""
        from PIL import Image

        with self._decoding:
            pixels = self._pixels(entry)
        if top >= pixels.shape[0] or left >= pixels.shape[1]:
            raise DataError(f"{entry.path} has no pixels at x {left}, y {top}")
        picture = Image.fromarray(pixels[top : top + height, left : left + width])
        return _encoded(picture, "PNG")

    def thumb(self, entry: Entry) -> bytes:
        """JPEG."""
        return self._cache.get((entry.index, THUMB), lambda: self._made(entry, THUMB, "JPEG"))

    def look(self, entry: Entry) -> np.ndarray | None:
        """The small picture of data/look.py, made of the thumbnail; None where the image cannot be read."""
        from PIL import Image

        try:
            with Image.open(io.BytesIO(self.thumb(entry))) as picture:
                return small_picture(np.asarray(picture.convert("L"), np.float32) / 255)
        except DataError:
            return None

    def view_size(self, entry: Entry) -> tuple[int, int]:
        """(height, width) of `large`, which a mask is drawn on."""
        return shrunk(self.size(entry), LARGE)

    def mask_of(self, entry: Entry, content: bytes) -> np.ndarray:
        """bool, of the image's own size: what is opaque and bright in a picture of the size of `large`.

        Raises: DataError for a picture that is none, or of another size.
        """
        from PIL import Image

        wanted, own = self.view_size(entry), self.size(entry)
        try:
            with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
                if (picture.height, picture.width) != wanted:
                    raise DataError(
                        f"the mask has {picture.width} x {picture.height} pixels, the picture of "
                        f"{entry.path} has {wanted[1]} x {wanted[0]}"
                    )
                pixels = np.asarray(picture.convert("RGBA"))
        except DataError:
            raise
        except Image.UnidentifiedImageError:
            raise DataError("the mask is no PNG image") from None
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(f"the mask cannot be read: {error}") from None
        drawn = (pixels[..., 3] >= 128) & (pixels[..., :3].max(axis=-1) >= 128)
        return masks.resized(drawn, *own) if wanted != own else drawn

    def mask_picture(self, entry: Entry, path: pathlib.Path) -> bytes:
        """PNG of the size of `large`, opaque white where a mask file marks something."""
        from PIL import Image

        mask, _ = masks.read(path, self._most)
        masks.check_size(os.fspath(path), mask, entry.path, self.size(entry))
        wanted = self.view_size(entry)
        if mask.shape != wanted:
            mask = masks.resized(mask, *wanted)
        pixels = np.zeros((*mask.shape, 4), np.uint8)
        pixels[mask] = 255
        return _encoded(Image.fromarray(pixels), "PNG")

    def _made(self, entry: Entry, most: int, form: str) -> bytes:
        from PIL import Image

        with self._decoding:
            pixels = self._pixels(entry)
            height, width = shrunk(pixels.shape[:2], most)
            picture = Image.fromarray(pixels)
            if (height, width) != pixels.shape[:2]:
                picture = picture.resize((width, height), Image.Resampling.BOX, reducing_gap=None)
            return _encoded(picture, form)

    def _pixels(self, entry: Entry) -> np.ndarray:
        """uint8 [H, W, 3]; the last one is kept, as parts of it are asked for one after the other."""
        last = self._last
        if last is not None and last[0] == entry.index:
            return last[1]
        path = self.file(entry)
        if path is not None:
            image = images.read_image(path, 3, self._most, self._scale)
        else:
            data_set, example = self._example(entry)
            image = image_arrays.to_channels(data_set.read_image(example), 3)
        pixels = image_arrays.to_uint8(image)
        if max(pixels.shape) > LARGE:
            self._last = (entry.index, pixels) if pixels.nbytes <= CACHE_BYTES else None
        return pixels

    def _load(self):
        with self._lock:
            if self._examples is None:
                self._found = self._data_set()
                self._examples = {e.path: e for e in self._found.examples}

    def _example(self, entry: Entry) -> tuple[object, Example]:
        self._load()
        if entry.path not in self._examples:
            raise DataError(f"{entry.path}: is no image of the run's data any more")
        return self._found, self._examples[entry.path]


class ScoredPictures:
    """The overlays and maps of a folder that `score` wrote.

    Args: output: the folder; named: paths of images in its tables, the first ones, by which it is found how
      their pictures are named.
    """

    def __init__(self, output: pathlib.Path, named: list[str]):
        self._output = output
        self._root = self._found_root(named)

    def path(self, named: str, folder: str) -> pathlib.Path | None:
        """The picture of an image in MAPS or OVERLAYS; None where there is none."""
        if self._root is None:
            return None
        return self._picture(named, self._root, folder)

    def _picture(self, named: str, root: str, folder: str) -> pathlib.Path | None:
        stem = self._output / folder / picture_name(named, root)
        if not stem.resolve().is_relative_to((self._output / folder).resolve()):
            return None
        for suffix in SUFFIXES.values():
            path = stem.with_name(stem.name + suffix)
            if path.is_file():
                return path
        return None

    def _found_root(self, named: list[str]) -> str | None:
        """The folder below which the images lie as their pictures do: the one that most are found by."""
        if not any((self._output / folder).is_dir() for folder in (MAPS, OVERLAYS)):
            return None
        counts = collections.Counter()
        elsewhere = os.fspath(self._output / MAPS)  # so are the names of images that lay in no --input
        for path in named:
            for root in [*_above(path), elsewhere]:
                if any(self._picture(path, root, folder) for folder in (MAPS, OVERLAYS)):
                    counts[root] += 1
        return counts.most_common(1)[0][0] if counts else None


def shrunk(size: tuple[int, int], most: int) -> tuple[int, int]:
    """(height, width) with a long side of at most `most`, in the same proportion."""
    height, width = size
    share = min(1.0, most / max(height, width))
    return max(1, round(height * share)), max(1, round(width * share))


def _above(path: str) -> list[str]:
    """The folders that a path lies in, the nearest first; "" is where relative paths count from."""
    found, place = [], os.path.dirname(path)
    while place and place not in found:
        found.append(place)
        place = os.path.dirname(place)
    return found + ([""] if not os.path.isabs(path) else [])


def _encoded(picture, form: str) -> bytes:
    stream = io.BytesIO()
    if form == "PNG":
        picture.save(stream, "PNG", compress_level=1)
    else:
        picture.save(stream, form, quality=88)
    return stream.getvalue()


def _root(config) -> str | None:
    """The folder that the run's images lie in, where that follows from its settings alone."""
    data = config.data
    if data.name == "folder":
        return data.root
    if data.name == "manifest":
        return data.root or os.path.dirname(data.path) or "."
    return None


def data_set_of(config):
    """The Dataset of a run's configuration, without the labels that a person gave."""
    from semi_anogan.data import catalog

    settings = {**config.data, "reviewed": None}
    return catalog.load(channels=config.model.channels, **settings)
