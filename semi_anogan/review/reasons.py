"""Why an image looks as it does to a run's detector: what the process of review/why.py computes.

Only here, and only in that process, does the review page load a framework.
"""

import base64
import collections
import io
import itertools
import pathlib
from typing import NamedTuple

import numpy as np

from semi_anogan.data import ignore_files, image_arrays, images
from semi_anogan.data.dataset import NORMAL, Example
from semi_anogan.data.image_files import MAX_PIXELS
from semi_anogan.data.orientation import ORIENTATIONS
from semi_anogan.data.review import SCORED
from semi_anogan.errors import DataError, UserError
from semi_anogan.runs import folder as run_folder
from semi_anogan.runs import places, remembered

SHOWN = 4  # nearest normal images, and known defects
MOST_KNOWN = 64  # known defects that an image is compared with, of all kinds alike
CROP = 128  # pixels of the long side of what is shown of a place, at least
CELLS = 7  # of the grid of patches, that are shown around one
KEPT = 64  # images of which it is kept where their map is highest


class Asked(NamedTuple):
    """What the page asks: of which image, by Entry.origin and Entry.path, and of which pixel.

    place: (y, x), None for where the map is highest. drawn: what the generator makes of the image instead,
    which takes longer.
    """

    origin: str
    path: str
    place: tuple[float, float] | None = None
    drawn: bool = False


class Loaded(NamedTuple):
    """From which run: load(settings) in the process gives a function of Asked."""

    folder: str
    data_root: str | None = None

    def load(self):
        return Reasons(pathlib.Path(self.folder), self.data_root).answer


class Known(NamedTuple):
    """A known defect's place: whitened patches [n, P] of what is abnormal in it, and where they lie."""

    example: Example
    grid: object
    places: list
    patches: np.ndarray


class Reasons:
    """A run's detector, its data, and what the images remembered are.

    Raises: UserError for a run or data that cannot be read.
    """

    def __init__(self, folder: pathlib.Path, data_root: str | None):
        from semi_anogan.runs import build
        from semi_anogan.scoring.detector import Detector
        from semi_anogan.scoring.nearest import PARTS_AT_ONCE, PatchReader

        self.notes: list[str] = []
        self._config = config = run_folder.load_config(folder)
        places.find(config, folder, data_root, without=("reviewed",))
        if config.data.reviewed:
            try:
                places.find(config, folder, data_root)
                self._data, splits, _ = build.load_data(config, folder)
            except UserError as error:
                self.notes.append(f"the labels of a person do not count here: {error}")
                config.data.reviewed = None
        if not config.data.reviewed:
            self._data, splits, _ = build.load_data(config, folder)
        self._scale = images.Scale(config.data.white, config.data.black)
        self._most = config.data.max_pixels or MAX_PIXELS
        self._examples = {e.path: e for e in [*self._data.examples, *splits.training]}
        self._defects = _spread(splits.abnormal + splits.held_out_abnormal, MOST_KNOWN)
        self._all_defects = len(splits.abnormal) + len(splits.held_out_abnormal)
        self._detector = Detector.load(folder, batch_size=PARTS_AT_ONCE if config.images.tile else 1)
        self._pruned = self._detector.pruned()
        self._reader = self._known = None
        if self._detector.memory is not None:
            self._reader = PatchReader(self._detector)
            owners = remembered.read(folder)
            self._recorded = owners is not None
            self._owners = owners or [e.path for e in splits.normal]
            self._numbers = {path: i for i, path in enumerate(self._owners)}
        self._peaks: collections.OrderedDict[tuple, tuple[float, float]] = collections.OrderedDict()

    def answer(self, asked: Asked) -> dict:
        """What the page shows; JSON values, pictures as data addresses."""
        masked = self._masked(asked)
        if asked.drawn:
            return self._drawn(masked)
        size = np.shape(masked if isinstance(masked, np.ndarray) else masked.image)[:2]
        place = self._peak(asked, masked) if asked.place is None else asked.place
        notes = list(self.notes)
        found = {
            "size": size,
            "clicked": asked.place is not None,
            "place": place,
            "normal": [],
            "known": [],
            "notes": notes,
        }
        if self._reader is None:
            notes.append("this run has no memory of normal patches, so nothing is compared")
            return found
        return found | self._compared(asked, masked, size, place, notes)

    def _drawn(self, masked) -> dict:
        """What the generator makes of an image, and where that differs."""
        from semi_anogan.scoring.nearest import MOST_PARTS

        found = {"reconstruction": None, "difference": None, "notes": []}
        if self._detector.search is None:
            found["notes"] = ["the score of this run does without the generator: there is no reconstruction"]
        elif len(self._detector.parts(masked)) > MOST_PARTS:
            found["notes"] = ["the image has too many tiles for a reconstruction here"]
        else:
            (measured,) = self._detector.measure([masked], combined=True)
            found["reconstruction"] = _data(_picture(measured.reconstruction))
            difference = 2 * np.minimum(measured.difference, 1)[..., None] - 1
            found["difference"] = _data(_picture(difference.astype(np.float32)))
        return found

    def _compared(self, asked: Asked, masked, size, place, notes: list[str]) -> dict:
        from semi_anogan.scoring import nearest

        reader, memory = self._reader, self._reader.memory
        parts = self._detector.parts(masked)
        first = reader.grid(size, reader.read([parts[0]]))
        at = first.at(*place)
        patches = reader.read([parts[at.part]])[0]
        patch, middle = patches[at.row, at.column], first.middle(at)
        own = None if memory.owner is None else self._numbers.get(asked.path)
        if own is not None and asked.origin != SCORED and (memory.owner == own).any():
            notes.append("the memory knows this image: its own patches are left out")
        else:
            own = None
        near = nearest.nearest_images(memory, patch, SHOWN, own)
        normal = []
        if memory.owner is None:
            notes.append(
                "the memory of this run does not know which image a patch is of: train with --refit adds it"
            )
        else:
            normal = [self._remembered(n, reader, memory) for n in near]
        if not self._recorded and normal:
            notes.append(
                "this run is of before it was written down which images the memory knows: what does not say "
                '"found again" may be another image'
            )
        known, left_out = self._nearest_known(asked, patch)
        if self._all_defects > len(self._defects):
            notes.append(f"{len(self._defects)} of {self._all_defects} known defects are compared")
        if left_out:
            notes.append(f"{left_out} known defects are not compared: too many tiles, or no longer there")
        return {
            **self._crop(asked.path, first, middle, asked.origin == SCORED),
            "distance": nearest.distance_of(memory, patch, own),
            "support": int(memory.support),
            "usual": [float(memory.middle), float(memory.upper)],
            "normal": normal,
            "known": known,
            "known_count": self._all_defects,
        }

    def _remembered(self, near, reader, memory) -> dict:
        """What is shown of a remembered patch."""
        path = self._owners[near.owner] if near.owner < len(self._owners) else ""
        told = {"path": path, "distance": near.distance, "box": None, "crop": None}
        try:
            example = self._examples.get(path)
            if example is None:
                raise DataError("is no image of the run's data any more")
            image = self._data.read_image(example)
            rows = np.flatnonzero(memory.owner == near.owner)
            found = reader.find(
                image, memory.patches[rows], int(np.flatnonzero(rows == near.patch)[0]), tuple(ORIENTATIONS)
            )
        except (UserError, OSError) as error:
            return {**told, "how": f"not shown: {error}"}
        if found is None:
            return {**told, "how": "of too many tiles to say where"}
        from semi_anogan.scoring.nearest import SAME

        if found.away < SAME:
            how = "found again"
        elif not found.known:
            # Of few patches that are remembered, all may be of the image in other light.
            how = "not found again: remembered in other light alone, or another image; the place most like it"
        else:
            turned = f", {found.orientation}" if found.orientation else ""
            how = f"remembered in other light{turned}; the place most like it"
        return {**told, "how": how, **self._crop(path, found.grid, found.middle)}

    def _nearest_known(self, asked: Asked, patch: np.ndarray) -> tuple[list[dict], int]:
        """(the nearest known defects, how many of those that are compared cannot be)."""
        from semi_anogan.scoring.nearest import is_distance

        if self._known is None:
            self._known = [k for k in map(self._known_of, self._defects) if k is not None]
        found = []
        for known in self._known:
            if known.example.path != asked.path:
                away = is_distance(known.patches, patch)
                found.append((float(away.min()), known, known.places[int(away.argmin())]))
        shown = []
        for away, known, place in sorted(found, key=lambda f: f[0])[:SHOWN]:
            middle = known.grid.middle(place)
            path = known.example.path
            shown.append(
                {
                    "path": path,
                    "kind": known.example.kind or "",
                    "distance": away,
                    **self._crop(path, known.grid, middle),
                    "masked": known.example.mask is not None,
                }
            )
        return shown, len(self._defects) - len(self._known)

    def _known_of(self, example: Example) -> Known | None:
        from semi_anogan.scoring.nearest import defect_places

        try:
            image, mask = self._data.read_image(example), self._data.read_mask(example)
        except (UserError, OSError):
            return None
        found = defect_places(self._reader, image, mask)
        return None if found is None else Known(example, *found)

    def _peak(self, asked: Asked, masked) -> tuple[float, float]:
        """Where the map of an image is highest: the middle of a pixel."""
        key = asked.origin, asked.path
        if key not in self._peaks:
            (found,) = self._pruned.measure([masked], combined=True, pictures=False)
            anomaly_map = self._pruned.judge(found)[2]
            row, column = np.unravel_index(int(anomaly_map.argmax()), anomaly_map.shape)
            self._peaks[key] = float(row) + 0.5, float(column) + 0.5
            while len(self._peaks) > KEPT:
                self._peaks.popitem(last=False)
        return self._peaks[key]

    def _masked(self, asked: Asked):
        """The image as the detector takes it, painted over where it is ignored."""
        if asked.origin != SCORED:
            if asked.path not in self._examples:
                raise DataError(f"{asked.path}: is no image of the run's data any more")
            return self._data.masked(self._examples[asked.path])
        if self._data.files is None:
            return images.read_image(asked.path, self._detector.channels, self._most, self._scale)
        ignored = ignore_files.of_input(asked.path)(asked.path)
        return self._data.masked(Example(asked.path, "train", NORMAL, ignore=ignored))

    def _crop(self, path: str, grid, middle, scored: bool = False) -> dict:
        """What is around a place, in the image's own pixels and colours.

        box: (top, left, height, width) of the patch in the image, size: (height, width) of that; crop: a
        picture of more around it, inner: the box in that, and the size of that: six numbers.
        """
        example = self._examples.get(path)
        if example is not None and self._data.files is not None:
            path = self._data.files.path(example)
        if scored or self._data.files is not None:
            image = images.read_image(path, 3, self._most, self._scale)
        else:
            image = image_arrays.to_channels(self._data.read_image(example), 3)
        box, around = grid.box(middle), grid.box(middle, CELLS)
        picture = _picture(
            image[around.top : around.top + around.height, around.left : around.left + around.width]
        )
        inner = box.top - around.top, box.left - around.left, *box[2:], *around[2:]
        return {"box": box, "size": image.shape[:2], "crop": _data(picture), "inner": inner}


def _spread(examples: list[Example], most: int) -> list[Example]:
    """At most so many, of each kind alike."""
    kinds: dict[str | None, list[Example]] = {}
    for example in examples:
        kinds.setdefault(example.kind, []).append(example)
    turns = itertools.chain.from_iterable(itertools.zip_longest(*kinds.values()))
    return [e for e in turns if e is not None][:most]


def _picture(image: np.ndarray):
    """A picture of [H, W, C] in [-1, 1]; a small one enlarged by whole pixels, a large one reduced."""
    from PIL import Image

    pixels = image_arrays.to_uint8(image)
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    side = max(picture.size)
    if side > 2 * CROP:
        picture.thumbnail((2 * CROP, 2 * CROP), Image.Resampling.BOX)
    elif side < CROP:
        times = -(-CROP // side)
        picture = picture.resize((times * picture.width, times * picture.height), Image.Resampling.NEAREST)
    return picture


def _data(picture) -> str:
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
