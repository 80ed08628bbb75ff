"""From images of any size to a model's batches, and from its maps back. numpy and Pillow only."""

import collections
import concurrent.futures
import copy
import dataclasses
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from semi_anogan.data import ignore as ignoring
from semi_anogan.data import image_arrays, masks, tiles
from semi_anogan.data import images as image_io
from semi_anogan.data.dataset import Masked
from semi_anogan.data.look import Look, look
from semi_anogan.scoring import kinds as known_kinds
from semi_anogan.scoring import regions
from semi_anogan.scoring.kinds import KindMap
from semi_anogan.whole_batches import filled


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What was found for one image, before any statistics of other images come in.

    Attributes:
      components: float32 [K] in the order of Detector.names; the largest of an image's tiles.
      layers: float32 [h, w, S], the map's layers, at the size the generator works at.
      reconstruction, difference: [h, w, C] and [h, w], likewise; None where no component needs the search.
      size: the image's own (height, width).
      combined: whether the layers are combined to one already, the map before its smoothing.
      ignored: what of the image is ignored, bool of its own size, or None for nothing.
      look: how the image looks as a whole, painted over where it is ignored.
      kinds: how alike it is to each known kind of defect, place by place; None where that was not asked for.
      summary: float32 [D], the mean of each pretrained feature over the image, of its tiles the mean; None
        where no component needs the features.
    """

    components: np.ndarray
    layers: np.ndarray
    reconstruction: np.ndarray | None
    difference: np.ndarray | None
    size: tuple[int, int]
    combined: bool = False
    ignored: np.ndarray | None = None
    look: Look | None = None
    kinds: KindMap | None = None
    summary: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Preparation:
    """From an image of any size to what a model takes of it.

    Attributes:
      channels: 1 or 3.
      shape: (height, width) of the model's maps.
      image_shape: (height, width) of the images that the detector takes.
      tile: whether larger images are cut into overlapping tiles, instead of reduced.
    """

    channels: int
    shape: tuple[int, int]
    image_shape: tuple[int, int]
    tile: bool

    @classmethod
    def of_model(cls, model, tile: bool) -> "Preparation":
        """The preparation of the images that a SemiAnoGAN takes."""
        return cls(model.sizes["channels"], model.shape, model.view_shape, tile)

    @classmethod
    def of_bundle(cls, images: dict) -> "Preparation":
        """The preparation that the section `images` of bundle.json says."""
        return cls(images["channels"], tuple(images["shape"]), tuple(images["image_shape"]), images["tile"])

    def __call__(self, image) -> tuple[tuple[int, int], tuple[int, int], Sequence[np.ndarray] | tiles.Cut]:
        """(own size, size of its map, itself or its tiles: each [*image_shape, channels]).

        Tiles are made one by one, as they are asked for.

        image: [H, W, C] or [H, W], uint8 or float in [-1, 1]; ValueError for anything else.
        """
        image = np.asarray(image)
        image = image[..., None] if image.ndim == 2 else image
        if image.ndim != 3 or not image.size or image.dtype != np.uint8 and image.dtype.kind != "f":
            raise ValueError(f"an image must be uint8 or float [H, W, C], got {image.dtype} {image.shape}")
        image = image_arrays.from_uint8(image) if image.dtype == np.uint8 else image.astype(np.float32)
        low, high = image.min(), image.max()
        if not -1.01 <= low <= high <= 1.01:  # written so that NaN fails too
            raise ValueError(f"float images must be in [-1, 1], got {low} to {high}")
        image = image_arrays.to_channels(image, self.channels)
        size = image.shape[:2]
        if not self.tile:
            return size, self.shape, [image_arrays.resize(image, *self.image_shape)]
        working = tuple(map(max, size, self.shape))
        image = image_arrays.resize(image, *working)
        return (
            size,
            working,
            tiles.Cut(image, self.shape, made=lambda t: image_arrays.resize(t, *self.image_shape)),
        )

    def cut_mask(self, mask: np.ndarray) -> list[np.ndarray]:
        """Of an image's mask, bool [H, W], what belongs to each part of `cut`: bool [*image_shape]."""
        if not self.tile:
            return [masks.resized(mask, *self.image_shape)]
        working = tuple(map(max, mask.shape, self.shape))
        parts = tiles.cut(masks.resized(mask, *working), self.shape)
        return [masks.resized(part, *self.image_shape) for part in parts]

    def cut(self, image) -> Sequence[np.ndarray] | tiles.Cut:
        """What of an image is measured."""
        return self(image)[2]


class BaseDetector:
    """Measures and judges images of any size; what Detector and the edge runtime share.

    A subclass gives `_measure_batch`: images [batch_size, *image_shape, channels] -> (components, layers [,
    reconstructions[, differences]]), as in Measurement with a batch axis; and `_combined`: the layers of
    one image [h, w, S] -> its map [h, w] before smoothing. One that `summarises` has the summary [., D] after
    the layers. One that knows `kinds` of defects gives `_measure_kinds` too: the same with [., h', w', K]
    after these. `at_once` batches are measured beside each other where a caller lets them overlap, which
    needs functions that several threads may call.

    Args:
      preparation: of the images.
      batch_size: images measured at once.
      map_sigma_px: Gaussian smoothing of the map, in its pixels.
      calibration: the Calibration, None for a detector that cannot judge yet.
    """

    at_once = 1
    scale = image_io.Scale()  # of the image files that it was trained on
    ignore: np.ndarray | None = None  # what is ignored of every image: bool, of any size
    kinds: tuple[str, ...] = ()  # of the known defects, where the likeness tells them apart
    summarises = False
    exact = True  # components and summaries are those that it was calibrated with, but for rounding
    chosen = None  # of a run that was loaded: the threshold that a person chose for it (scoring/chosen.py)
    _range_is_known = False
    # What shows how far it has come with the parts of a large image: parts -> the same.
    show_parts: Callable[[Sequence], Iterable] = staticmethod(lambda parts: parts)

    def __init__(self, preparation: Preparation, batch_size: int, map_sigma_px: float, calibration=None):
        self.preparation = preparation
        self.channels, self.tile = preparation.channels, preparation.tile
        self.shape, self.image_shape = preparation.shape, preparation.image_shape
        self.batch_size = batch_size
        self.map_sigma_px = map_sigma_px
        self.calibration = calibration

    @property
    def calibrated(self):
        """The Calibration; RuntimeError for a detector without one."""
        if self.calibration is None:
            raise RuntimeError(
                "the detector has no threshold yet: load a finished run, or take the detector that calibrate "
                "returns"
            )
        return self.calibration

    @property
    def threshold(self) -> float:
        """An image is abnormal if its score is above."""
        return self.calibrated.threshold

    @property
    def pixel_threshold(self) -> float | None:
        """What the map of a normal image hardly ever exceeds; None for a run of before there were regions."""
        return self.calibrated.pixel_threshold

    def at(
        self,
        threshold: float | None = None,
        false_alarm_rate: float | None = None,
        review_band: Sequence[float] | None = None,
    ) -> "BaseDetector":
        """This detector with another threshold; its scores and maps are the same. See Calibration.at.

        Labels of a call are True above the threshold; `calibrated.label` of a score tells what is to be
        looked at too.
        """
        other = copy.copy(self)
        other.calibration = self.calibrated.at(threshold, false_alarm_rate, review_band)
        return other

    def tell_of_range(self, images):
        """Says once on stderr where images, given to a call, may be in [0, 1] instead of [-1, 1].

        images: sequence of arrays. Float ones are doubted if none has a negative value, unless others had one
        in an earlier call.
        """
        if self._range_is_known:
            return
        arrays = [a for a in map(np.asarray, images) if a.dtype.kind == "f" and a.size]
        if not arrays:
            return
        self._range_is_known = True
        if all(a.min() >= 0 for a in arrays):
            print(
                f"warning: {len(arrays)} float images have no negative value: float images are taken in [-1, "
                "1]; of ones in [0, 1] give 2 * x - 1, of uint8 ones x itself",
                file=sys.stderr,
            )

    def measure(
        self,
        images: Iterable,
        overlap: bool = False,
        combined: bool = False,
        pictures: bool = True,
        kinds: bool = False,
    ) -> Iterator[Measurement]:
        """Measures images in order; no more than `at_once` batches and an image are in memory.

        Args:
          images: each [H, W, C] or [H, W], uint8 or float in [-1, 1], of any size; or Masked.
          overlap: run batches while the next one is read, which is faster, but an image then comes out when
            `at_once` further batches are there.
          combined: the layers as one, which is all that a calibrated detector judges by: of large images that
            are cut into tiles they would need many times the memory of the image.
          pictures: reconstruction and difference, where there are any.
          kinds: how alike to each known kind of defect, where there are any.
        """
        kinds = kinds and bool(self.kinds)
        waiting: collections.deque[_Assembly] = collections.deque()
        inputs: list[np.ndarray] = []
        running: collections.deque[concurrent.futures.Future] = collections.deque()  # at most `at_once`

        def told(rows) -> Iterator[Measurement]:
            """The images that are complete with these rows, each that of the next part."""
            for row in rows:
                self._add(waiting[0], row)
                while waiting and waiting[0].complete:
                    yield self._closed(waiting.popleft())

        combine = self._combined if combined else None
        with concurrent.futures.ThreadPoolExecutor(self.at_once) as others:
            for image in images:
                image, ignored = self._painted(image)
                size, working_size, parts = self._prepare(image)
                tile_shape = self.shape if kinds else None
                given = size, working_size, len(parts), ignored, combine, pictures, self._look(image)
                waiting.append(_Assembly(*given, tile_shape, self.summarises))
                for part in self.show_parts(parts):
                    inputs.append(part)
                    if len(inputs) < self.batch_size:
                        continue
                    batch, inputs = inputs, []
                    if overlap:
                        if len(running) == self.at_once:
                            yield from told(running.popleft().result())
                        running.append(others.submit(self._run, batch, kinds))
                    else:
                        yield from told(self._run(batch, kinds))
                del image, parts
            while running:
                yield from told(running.popleft().result())
            if inputs:
                yield from told(self._run(inputs, kinds))

    def judge(self, measurement: Measurement) -> tuple[float, bool, np.ndarray]:
        """(score, label, anomaly map [H, W] at the image's own size) of one measured image.

        In numpy, as scoring.graph.Verdict computes it in a graph: one image alone is not worth a graph.
        """
        score = float(self.calibrated.score(measurement.components[None])[0])
        layers = measurement.layers
        combined = layers[..., 0] if measurement.combined else self._combined(layers)
        anomaly_map = image_arrays.smooth_map(combined, self.map_sigma_px)
        anomaly_map = image_arrays.resize_map(anomaly_map, *measurement.size)
        return score, score > self.threshold, ignoring.blanked(anomaly_map, measurement.ignored)

    def regions(
        self,
        labels: Sequence[bool],
        maps: Sequence[np.ndarray],
        images: Sequence | None = None,
        ignore: np.ndarray | None = None,
    ) -> list[list[regions.Region]]:
        """The regions of each image: none where it is labelled normal, else at least one, the highest first.

        Args: labels, maps: of N images, each map [H, W], as a call of the detector gives them. A graph gives
          them too, but has no regions of its own: their number differs from image to image. images, ignore:
          those of the call, for the kind of each region and its likeness, as regions.jsonl has them. The
          abnormal ones are measured once more for that. Without them, or where no kinds are known, regions
          have none.
        Raises: RuntimeError for a run of before there were regions; ValueError for another number of images.
        """
        if self.pixel_threshold is None:
            raise RuntimeError(regions.MISSING)
        found = [
            regions.find(anomaly_map, self.pixel_threshold) if label else []
            for label, anomaly_map in zip(labels, maps, strict=True)
        ]
        if images is None or not self.kinds:
            return found
        if len(images) != len(found):
            raise ValueError(f"regions: got {len(found)} labels and maps, but {len(images)} images")
        rows = [row for row, of_image in enumerate(found) if of_image]
        items = [images[row] for row in rows]
        if ignore is not None:
            shared = np.ndim(ignore) == 2
            items = [Masked(images[row], ignore if shared else ignore[row]) for row in rows]
        for row, m in zip(rows, self._with_kinds(items), strict=True):
            found[row] = known_kinds.named(found[row], m.kinds, m.size, self.kinds)
        return found

    def _with_kinds(self, images: Iterable) -> Iterator[Measurement]:
        return self.measure(images, combined=True, pictures=False, kinds=True)

    def parts(self, image) -> Iterable[np.ndarray]:
        """What of an image is measured, each [*image_shape, channels]; image: as in `measure`."""
        return self.preparation.cut(self._painted(image)[0])

    def _painted(self, image) -> tuple[np.ndarray, np.ndarray | None]:
        """(the image, painted over where it is ignored; what is: bool [H, W], or None for nothing)."""
        if self.ignore is None and not isinstance(image, Masked):
            return image, None
        own, painted = None, False
        if isinstance(image, Masked):
            image, own, painted = image
        if painted:
            return image, own
        image = np.asarray(image)
        ignored = ignoring.joined(self.ignore, own, image.shape[:2], ignoring.NAME, "an image")
        if ignored is None:
            return image, None
        image = image[..., None] if image.ndim == 2 else image
        image = image_arrays.from_uint8(image) if image.dtype == np.uint8 else image
        return ignoring.painted(image, ignored), ignored

    def _look(self, image) -> Look:
        image = np.asarray(image)
        image = image[..., None] if image.ndim == 2 else image
        return look(image_arrays.from_uint8(image) if image.dtype == np.uint8 else image)

    def _prepare(self, image):
        return self.preparation(image)

    def _run(self, images: list[np.ndarray], kinds: bool = False) -> list[tuple[np.ndarray, ...]]:
        measure = self._measure_kinds if kinds else self._measure_batch
        outputs = [np.asarray(o) for o in measure(np.stack(filled(images, self.batch_size)))]
        return list(zip(*outputs, strict=True))[: len(images)]

    def _add(self, assembly: "_Assembly", row: Sequence[np.ndarray]):
        assembly.add(row)

    def _closed(self, assembly: "_Assembly") -> Measurement:
        return assembly.measurement()


class _Assembly:
    """An image whose parts are measured one by one.

    Args: size, working_size: the image's own and its map's; count: parts; ignored: as in Measurement;
      combine: of layers, or None to keep them; pictures: keep these; look: as in Measurement; tile_shape: of
      the parts where they come with the likeness to kinds, else None; summarised: whether they come with a
      summary.
    """

    def __init__(
        self,
        size,
        working_size,
        count: int,
        ignored,
        combine,
        pictures: bool,
        look: Look,
        tile_shape=None,
        summarised: bool = False,
    ):
        self._size, self._working_size, self._left = size, working_size, count
        self._count, self._summary = count, 0.0 if summarised else None
        self._ignored, self._combine, self._with_pictures, self._look = ignored, combine, pictures, look
        self._components: np.ndarray | None = None
        self._pictures: list[tiles.Stitcher] = []
        self._tile_shape, self._kinds = tile_shape, []

    @property
    def complete(self) -> bool:
        return not self._left

    def add(self, row: Sequence[np.ndarray]):
        """Adds what was found in the next part: components, layers and pictures."""
        components, layers, *pictures = row
        if self._summary is not None:
            found, *pictures = pictures
            self._summary = self._summary + np.asarray(found, np.float64)
        if self._tile_shape is not None:
            found, *pictures = pictures
            self._kinds.append(found)
        self._left -= 1
        if self._components is None:
            self._components = components
        else:
            self._components = np.maximum(self._components, components)
        if self._combine is not None:
            layers = self._combine(layers)[..., None]
        found = [layers, *(pictures if self._with_pictures else [])]
        self._pictures = self._pictures or [tiles.Stitcher(*self._working_size) for _ in found]
        for stitcher, picture in zip(self._pictures, found, strict=True):
            stitcher.add(picture)

    def measurement(self) -> Measurement:
        layers, reconstruction, difference = [*(p.result() for p in self._pictures), None, None][:3]
        difference = None if difference is None else difference[..., 0]
        combined = self._combine is not None
        summary = None if self._summary is None else np.float32(self._summary / self._count)
        kinds = KindMap(np.stack(self._kinds), self._working_size, self._tile_shape) if self._kinds else None
        return Measurement(
            np.array(self._components),
            layers,
            reconstruction,
            difference,
            self._size,
            combined,
            self._ignored,
            self._look,
            kinds,
            summary,
        )
