"""From images of any size to a model's batches, and from its maps back. numpy and Pillow only."""

import collections
import concurrent.futures
import copy
import dataclasses
import sys
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from semi_anogan.data import images as image_io
from semi_anogan.data import masks, tiles
from semi_anogan.scoring import regions
from semi_anogan.whole_batches import filled


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What was found for one image, before any statistics of other images come in.

    Attributes:
      components: float32 [K] in the order of Detector.names; the largest of an image's tiles.
      layers: float32 [h, w, S], the map's layers, at the size the generator works at.
      reconstruction, difference: [h, w, C] and [h, w], likewise; None where no component needs the search.
      size: the image's own (height, width).
    """

    components: np.ndarray
    layers: np.ndarray
    reconstruction: np.ndarray | None
    difference: np.ndarray | None
    size: tuple[int, int]


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

    def __call__(self, image) -> tuple[tuple[int, int], tuple[int, int], list[np.ndarray]]:
        """(own size, size of its map, itself or its tiles: each [*image_shape, channels]).

        image: [H, W, C] or [H, W], uint8 or float in [-1, 1]; ValueError for anything else.
        """
        image = np.asarray(image)
        image = image[..., None] if image.ndim == 2 else image
        if image.ndim != 3 or image.dtype != np.uint8 and image.dtype.kind != "f":
            raise ValueError(f"an image must be uint8 or float [H, W, C], got {image.dtype} {image.shape}")
        image = image_io.from_uint8(image) if image.dtype == np.uint8 else image.astype(np.float32)
        if not np.isfinite(image).all() or np.abs(image).max() > 1.01:
            raise ValueError(f"float images must be in [-1, 1], got {image.min()} to {image.max()}")
        image = image_io.to_channels(image, self.channels)
        size = image.shape[:2]
        if not self.tile:
            return size, self.shape, [image_io.resize(image, *self.image_shape)]
        working = tuple(map(max, size, self.shape))
        parts = tiles.cut(image_io.resize(image, *working), self.shape)
        return size, working, [image_io.resize(part, *self.image_shape) for part in parts]

    def cut_mask(self, mask: np.ndarray) -> list[np.ndarray]:
        """Of an image's mask, bool [H, W], what belongs to each part of `cut`: bool [*image_shape]."""
        if not self.tile:
            return [masks.resized(mask, *self.image_shape)]
        working = tuple(map(max, mask.shape, self.shape))
        parts = tiles.cut(masks.resized(mask, *working), self.shape)
        return [masks.resized(part, *self.image_shape) for part in parts]

    def cut(self, image) -> list[np.ndarray]:
        """What of an image is measured."""
        return self(image)[2]


class BaseDetector:
    """Measures and judges images of any size; what Detector and the edge runtime share.

    A subclass gives `_measure_batch`: images [batch_size, *image_shape, channels] -> (components, layers [,
    reconstructions[, differences]]), as in Measurement with a batch axis; and `_combined`: the layers of
    one image [h, w, S] -> its map [h, w] before smoothing. `at_once` batches are measured beside each other
    where a caller lets them overlap, which needs a `_measure_batch` that several threads may call.

    Args:
      preparation: of the images.
      batch_size: images measured at once.
      map_sigma_px: Gaussian smoothing of the map, in its pixels.
      calibration: the Calibration, None for a detector that cannot judge yet.
    """

    at_once = 1
    scale = image_io.Scale()  # of the image files that it was trained on
    _told_of_range = False

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
        """Says once on stderr where images, given to a call, are probably in [0, 1] instead of [-1, 1].

        images: sequence of arrays; only more than 8 float ones without a negative value are doubted.
        """
        if self._told_of_range or not isinstance(images, (np.ndarray, list, tuple)) or len(images) <= 8:
            return
        arrays = [np.asarray(image) for image in images]
        if all(a.dtype.kind == "f" and a.size and a.min() >= 0 for a in arrays):
            self._told_of_range = True
            print(
                f"warning: {len(arrays)} float images have no negative value: float images are taken in [-1, "
                "1]; of ones in [0, 1] give 2 * x - 1, of uint8 ones x itself",
                file=sys.stderr,
            )

    def measure(self, images: Iterable[np.ndarray], overlap: bool = False) -> Iterator[Measurement]:
        """Measures images in order; no more than `at_once` batches and an image are in memory.

        Args: images: each [H, W, C] or [H, W], uint8 or float in [-1, 1], of any size; overlap: run batches
          while the next one is read, which is faster, but an image then comes out when `at_once` further
          batches are there.
        """
        waiting: list[tuple[tuple[int, int], tuple[int, int], int]] = []  # own size, working size, tiles
        inputs: list[np.ndarray] = []
        outputs: list[tuple[np.ndarray, ...]] = []
        running: collections.deque[concurrent.futures.Future] = collections.deque()  # at most `at_once`
        with concurrent.futures.ThreadPoolExecutor(self.at_once) as others:
            for image in images:
                size, working_size, parts = self._prepare(image)
                waiting.append((size, working_size, len(parts)))
                inputs.extend(parts)
                while len(inputs) >= self.batch_size:
                    batch = inputs[: self.batch_size]
                    del inputs[: self.batch_size]
                    if overlap:
                        if len(running) == self.at_once:
                            outputs.extend(running.popleft().result())
                        running.append(others.submit(self._run, batch))
                    else:
                        outputs.extend(self._run(batch))
                while waiting and len(outputs) >= waiting[0][2]:
                    yield self._assemble(*waiting.pop(0), outputs)
            for batch in running:
                outputs.extend(batch.result())
            if inputs:
                outputs.extend(self._run(inputs))
            while waiting:
                yield self._assemble(*waiting.pop(0), outputs)

    def judge(self, measurement: Measurement) -> tuple[float, bool, np.ndarray]:
        """(score, label, anomaly map [H, W] at the image's own size) of one measured image.

        In numpy, as scoring.graph.Verdict computes it in a graph: one image alone is not worth a graph.
        """
        score = float(self.calibrated.score(measurement.components[None])[0])
        anomaly_map = image_io.smooth_map(self._combined(measurement.layers), self.map_sigma_px)
        return score, score > self.threshold, image_io.resize_map(anomaly_map, *measurement.size)

    def regions(self, labels: Sequence[bool], maps: Sequence[np.ndarray]) -> list[list[regions.Region]]:
        """The regions of each image: none where it is labelled normal, else at least one, the highest first.

        Args: labels, maps: of N images, each map [H, W], as a call of the detector gives them. A graph gives
          them too, but has no regions of its own: their number differs from image to image.
        Raises: RuntimeError for a run of before there were regions.
        """
        if self.pixel_threshold is None:
            raise RuntimeError(regions.MISSING)
        return [
            regions.find(anomaly_map, self.pixel_threshold) if label else []
            for label, anomaly_map in zip(labels, maps, strict=True)
        ]

    def _prepare(self, image):
        return self.preparation(image)

    def _run(self, images: list[np.ndarray]) -> list[tuple[np.ndarray, ...]]:
        outputs = [np.asarray(o) for o in self._measure_batch(np.stack(filled(images, self.batch_size)))]
        return list(zip(*outputs, strict=True))[: len(images)]

    def _assemble(self, size, working_size, count, outputs) -> Measurement:
        parts = list(zip(*outputs[:count], strict=True))
        del outputs[:count]
        components = np.max(parts[0], axis=0)
        pictures = [tiles.stitch(np.stack(p), *working_size) for p in parts[1:]]
        layers, reconstruction, difference = [*pictures, None, None][:3]
        difference = None if difference is None else difference[..., 0]
        return Measurement(components, layers, reconstruction, difference, size)
