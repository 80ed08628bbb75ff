"""Detector: from images to scores, labels and anomaly maps. What other programs import."""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from keras import ops

from semi_anogan import calibration as calibrating
from semi_anogan import scores as scoring
from semi_anogan.backend import compile_function, is_symbolic
from semi_anogan.data import images as image_io
from semi_anogan.data import tiles
from semi_anogan.latent_search import LatentSearch
from semi_anogan.layers import reduced
from semi_anogan.losses import top_mean
from semi_anogan.memory import TOP_SHARE, Memory
from semi_anogan.pretrained import load_features

FORMAT = 1  # of detector.json


class Detection(NamedTuple):
    """What a detector says of N images.

    scores float32 [N], higher = more abnormal; labels bool [N], True = abnormal (score > threshold); maps float32
    [N, H, W] at the images' own size, 0 = as far off as the average normal pixel, in standard deviations of those.
    """

    scores: np.ndarray
    labels: np.ndarray
    maps: np.ndarray


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What was found for one image, before any statistics of other images come in.

    components float32 [K] in the order of Detector.names (the largest of the tiles where there are several);
    layers float32 [h, w, S], the map's layers, at the size the generator works at; reconstruction [h, w, C] and
    difference [h, w] to the image, likewise, or None where no component needs the search;
    size: the image's own (height, width).
    """

    components: np.ndarray
    layers: np.ndarray
    reconstruction: np.ndarray | None
    difference: np.ndarray | None
    size: tuple[int, int]


class Detector:
    """Scores images with a trained SemiAnoGAN.

    Args:
      model: the trained SemiAnoGAN; its averaged networks are used.
      search: keyword arguments of LatentSearch.
      tile: cut images larger than the model's resolution into overlapping tiles, instead of reducing them.
      map_sigma_px: Gaussian smoothing of the map, in pixels of the model's resolution.
      batch_size: images searched at once. It is fixed: shorter batches are filled up, so that an image's score is the same
        alone and in any company.
      components: names of scores.COMPONENTS the score is made of; empty: all that the model has. Without any of scores.OF_SEARCH
        there is no search, no reconstruction, and an image takes a fraction of the time.
      memory: the Memory of normal patches, or None; `remember` makes one.

    Attributes:
      names: the components, in order.
    """

    def __init__(
        self,
        model,
        search=None,
        tile: bool = False,
        map_sigma_px: float = 1.0,
        batch_size: int = 32,
        components: Iterable[str] = (),
        memory: Memory | None = None,
    ):
        self.model = model
        self.resolution, self.channels = model.sizes["resolution"], model.sizes["channels"]
        self.tile = tile
        self.map_sigma_px = map_sigma_px
        self.batch_size = batch_size
        self.memory = memory
        self.calibration = None
        self.map_center = self.map_scale = None
        self._chosen = tuple(components)
        self._pretrained = None
        settings = model.options["features"]
        if settings.get("name") and model.patches is None and settings["memory"]:
            self._pretrained = load_features(settings["name"], settings["weights"])
        self.names = self._names()
        self.search = self._latent_search(search or {}) if set(self.names) & set(scoring.OF_SEARCH) else None
        self._measure = compile_function(self._measure_batch, model)

    def _names(self) -> tuple[str, ...]:
        missing = {"patches"} if self.model.patches is None else set()
        missing |= {"memory"} if self.memory is None else set()
        unknown = set(self._chosen) - set(scoring.COMPONENTS)
        if unknown:
            raise ValueError(f"score.components must be among {', '.join(scoring.COMPONENTS)}, got {', '.join(sorted(unknown))}")
        names = tuple(n for n in scoring.COMPONENTS if n not in missing and (not self._chosen or n in self._chosen))
        if not names and self._chosen != ("memory",):
            raise ValueError(f"score.components: the model has none of {', '.join(self._chosen)}")
        return names

    def _latent_search(self, settings: dict) -> LatentSearch:
        features, pretrained = self.model.options["features"], None
        if features.get("name") and features["search"]:
            pretrained = load_features(features["name"], features["weights"], last_stride=8)
        return LatentSearch(
            self.model.generator_average,
            self.model.discriminator_average,
            encoder=self.model.encoder,
            pretrained=pretrained,
            **settings,
        )

    @classmethod
    def load(cls, run_folder, **overrides) -> "Detector":
        """The detector of a finished run folder.

        Args: run_folder: what `train --workdir` wrote; overrides: keyword arguments of Detector that replace the run's.
        Raises: RunError naming the file that is missing or does not fit.
        """
        from semi_anogan import runs

        return runs.load_detector(run_folder, **overrides)

    @property
    def threshold(self) -> float:
        """An image is abnormal if its score is above."""
        return self._calibrated().threshold

    def __call__(self, images) -> Detection:
        """Scores images.

        Args:
          images: [N, H, W, C] or [N, H, W], uint8 (0 to 255) or float in [-1, 1]. A symbolic tensor inside a TensorFlow graph
            (tf.data map) must be float [N, resolution, resolution, channels].
        """
        if is_symbolic(images):
            return self._detect_symbolic(images)
        images = np.asarray(images)
        if images.ndim not in (3, 4) or not len(images):
            raise ValueError(f"images must be [N, H, W, C] or [N, H, W] with N > 0, got shape {images.shape}")
        if images.ndim == 3 and images.shape[-1] in (1, 3):
            raise ValueError(f"images must be [N, H, W, C], got shape {images.shape}; of a single image give image[None]")
        results = [self.judge(m) for m in self.measure(images)]
        values, labels, maps = zip(*results, strict=True)
        return Detection(np.array(values, np.float32), np.array(labels), np.stack(maps))

    def judge(self, measurement: Measurement) -> tuple[float, bool, np.ndarray]:
        """(score, label, anomaly map [H, W] at the image's own size) of one measured image."""
        calibration = self._calibrated()
        score = float(calibration.score(measurement.components[None])[0])
        layers = measurement.layers[None]
        anomaly_map = scoring.anomaly_map(layers, self.map_center, self.map_scale, self._map_weights(), self.map_sigma_px)
        anomaly_map = image_io.resize_map(ops.convert_to_numpy(anomaly_map)[0], *measurement.size)
        return score, score > calibration.threshold, anomaly_map

    def measure(self, images: Iterable[np.ndarray]) -> Iterator[Measurement]:
        """Searches images one batch after the other, in order; holds no more than a batch and an image in memory.

        images: each [H, W, C] or [H, W], uint8 or float in [-1, 1], of any size.
        """
        waiting: list[tuple[tuple[int, int], tuple[int, int], int]] = []  # own size, working size, tiles
        inputs: list[np.ndarray] = []
        outputs: list[tuple[np.ndarray, ...]] = []
        for image in images:
            size, working_size, parts = self._prepare(image)
            waiting.append((size, working_size, len(parts)))
            inputs.extend(parts)
            while len(inputs) >= self.batch_size:
                outputs.extend(self._run(inputs[: self.batch_size]))
                del inputs[: self.batch_size]
            while waiting and len(outputs) >= waiting[0][2]:
                yield self._assemble(*waiting.pop(0), outputs)
        if inputs:
            outputs.extend(self._run(inputs))
        while waiting:
            yield self._assemble(*waiting.pop(0), outputs)

    def calibrate(
        self, normal: Iterable, abnormal: Iterable = (), false_alarm_rate: float = 0.01, synthetic: Iterable = ()
    ):
        """Fits score statistics, fusion and threshold on held-out training images, never on test images.

        Args: normal, abnormal: images as in `measure`, held out from training; false_alarm_rate: in (0, 1); synthetic: held-out
          normal images with synthetic defects, which weigh the components where too few abnormal images are held out.
        """
        # Only figures are kept of each image: the layers of large ones would not fit in memory together.
        normal = [(m.components, m.layers.mean((0, 1)), m.layers.std((0, 1))) for m in self.measure(normal)]
        abnormal, synthetic = ([m.components for m in self.measure(images)] for images in (abnormal, synthetic))
        if not normal:
            raise ValueError("calibration needs held-out normal images, got none")
        components, means, deviations = (np.stack(figures) for figures in zip(*normal, strict=True))
        self.calibration = calibrating.fit(
            self.names,
            components,
            np.stack(abnormal) if abnormal else None,
            false_alarm_rate,
            synthetic=np.stack(synthetic) if synthetic else None,
        )
        # Median over the images: some of them may be abnormal after all.
        self.map_center = np.median(means, axis=0).astype(np.float32)
        self.map_scale = np.median(deviations, axis=0).astype(np.float32) + 1e-6

    def state(self) -> dict:
        """What `calibrate` fitted, as JSON values."""
        return {
            "format": FORMAT,
            "calibration": self._calibrated().to_dict(),
            "map_center": self.map_center.tolist(),
            "map_scale": self.map_scale.tolist(),
        }

    def restore(self, state: dict):
        """Takes back what `state` gave. ValueError for another format."""
        if state.get("format") != FORMAT:
            raise ValueError(f"format {state.get('format')!r} is not {FORMAT}, the one this version reads")
        calibration = calibrating.Calibration.from_dict(state["calibration"])
        center, scale = np.float32(state["map_center"]), np.float32(state["map_scale"])
        lengths = [len(getattr(calibration, name)) for name in ("names", "center", "scale", "weights")]
        if calibration.names != self.names or set(lengths) != {len(self.names)}:
            raise ValueError(f"calibration of {calibration.names} has {lengths} values, expected {self.names}")
        layers = sum(self._layer_counts().values())
        if center.shape != (layers,) or scale.shape != (layers,):
            raise ValueError(f"map_center {center.shape} and map_scale {scale.shape} must have {layers} values each")
        self.calibration, self.map_center, self.map_scale = calibration, center, scale

    @property
    def wants_memory(self) -> bool:
        """Whether the settings ask for a memory that is not there yet."""
        settings = self.model.options["features"]
        wanted = bool(settings.get("name")) and settings["memory"] and (not self._chosen or "memory" in self._chosen)
        return bool(wanted) and self.memory is None

    def remember(self, images: Iterable, size: int, seed: int = 0, most_images: int = 2000):
        """Makes the memory of normal patches, and the component "memory" with it, from normal training images.

        Args: images: as in `measure`; size: patches to keep; most_images: the first ones that are used.
        """
        extract = compile_function(lambda x: self._features(x), self.model)
        parts = (part for image in itertools.islice(images, most_images) for part in self._prepare(image)[2])

        def features():
            while batch := list(itertools.islice(parts, self.batch_size)):
                filled = batch + [batch[0]] * (self.batch_size - len(batch))
                outputs = [ops.convert_to_numpy(o) for o in extract(np.stack(filled))[-2:]]
                yield from list(zip(*outputs, strict=True))[: len(batch)]

        self.memory = Memory.fit(features(), size, seed)
        self.names = self._names()
        self._measure = compile_function(self._measure_batch, self.model)

    def _features(self, images):
        """The pretrained features that patches and memory share."""
        return self._pretrained(images) if self.model.patches is None else self.model.patches_average.features(images)

    def _layer_counts(self) -> dict[str, int]:
        """How many map layers each component has."""
        scales = len(self.model.generator.resolutions) - 1  # one for each resolution above 4 x 4
        features, patches = scales, 0
        if self.search is not None and self.search.pretrained is not None:
            features += len(self.search.pretrained.strides)
        if self.model.patches is not None:
            patches = len(self.model.patches.scales)
        if self.model.projected is not None:
            scales += len(self.model.projected.scales)
        counts = {"residual": 1, "feature_distance": features, "discriminator": scales, "patches": patches, "memory": 1}
        return {name: counts[name] for name in self.names if name in counts}

    def _map_weights(self) -> np.ndarray:
        """Each component's layers share its weight in the score; all weigh the same where those with layers have none."""
        weights = dict(zip(self.names, self._calibrated().weights, strict=True))
        counts = self._layer_counts()
        shares = np.concatenate([np.full(count, weights[name] / count) for name, count in counts.items()])
        if not shares.any():
            shares = np.ones_like(shares)
        return (shares / shares.sum()).astype(np.float32)

    def _calibrated(self):
        if self.calibration is None:
            raise RuntimeError("the detector has no threshold yet: call calibrate, or load a finished run")
        return self.calibration

    def _prepare(self, image) -> tuple[tuple[int, int], tuple[int, int], list[np.ndarray]]:
        image = np.asarray(image)
        image = image[..., None] if image.ndim == 2 else image
        if image.ndim != 3 or image.dtype != np.uint8 and image.dtype.kind != "f":
            raise ValueError(f"an image must be uint8 or float [H, W, C], got {image.dtype} {image.shape}")
        image = image_io.from_uint8(image) if image.dtype == np.uint8 else image.astype(np.float32)
        if not np.isfinite(image).all() or np.abs(image).max() > 1.01:
            raise ValueError(f"float images must be in [-1, 1], got {image.min()} to {image.max()}")
        image = image_io.to_channels(image, self.channels)
        size = image.shape[:2]
        side = self.model.image_size
        if not self.tile:
            return size, (self.resolution, self.resolution), [image_io.resize(image, side, side)]
        working = tuple(max(s, self.resolution) for s in size)
        parts = tiles.cut(image_io.resize(image, *working), self.resolution)
        return size, working, [image_io.resize(part, side, side) for part in parts]

    def _run(self, images: list[np.ndarray]) -> list[tuple[np.ndarray, ...]]:
        filled = images + [images[0]] * (self.batch_size - len(images))
        outputs = [ops.convert_to_numpy(o) for o in self._measure(np.stack(filled))]
        return list(zip(*outputs, strict=True))[: len(images)]

    def _assemble(self, size, working_size, count, outputs) -> Measurement:
        parts = list(zip(*outputs[:count], strict=True))
        del outputs[:count]
        components, pictures = np.max(parts[0], axis=0), [tiles.stitch(np.stack(p), *working_size) for p in parts[1:]]
        layers, reconstruction, difference = [*pictures, None, None][:3]
        return Measurement(components, layers, reconstruction, None if difference is None else difference[..., 0], size)

    def _measure_batch(self, images):
        """[B, S, S, C] -> (components [B, K], layers [B, R, R, L]) and, with search, (reconstructions, differences)."""
        size, model = self.model.image_size, self.model
        images = ops.reshape(ops.convert_to_tensor(images, "float32"), (self.batch_size, size, size, self.channels))
        small = reduced(images, self.resolution)
        logits, features, evidence = model.discriminator_average(small)
        pictures = []
        values, layers = {"discriminator": -logits}, {"discriminator": evidence}
        if model.projected_average is not None:
            logits, _, evidence = model.projected_average(small)
            values["discriminator"] -= logits
            layers["discriminator"] = layers["discriminator"] + evidence
        if model.patches_average is not None:
            logits, pretrained, layers["patches"] = model.patches_average(images)
            values["patches"] = -logits
        elif "memory" in self.names:
            pretrained = self._features(images)
        if "memory" in self.names:
            layers["memory"] = [self.memory.distances(pretrained)]
            values["memory"] = top_mean(layers["memory"][0], TOP_SHARE)
        if self.search is not None:
            latents = self.search(small)[0]
            reconstructions = model.generator_average(latents)
            pair = self.search.features(small), self.search.features(reconstructions)
            found = scoring.of_search(small, reconstructions, latents, *pair)
            values, layers = values | found[0], layers | found[1]
            pictures = [reconstructions, found[1]["residual"][0]]
        layers = [scoring.to_size(layer, self.resolution) for name in self._layer_counts() for layer in layers[name]]
        return ops.stack([values[name] for name in self.names], axis=-1), ops.concatenate(layers, axis=-1), *pictures

    def _detect_symbolic(self, images) -> Detection:
        """The same in a graph: fills the batch up to whole batches of the fixed size."""
        calibration = self._calibrated()
        side = self.model.image_size
        expected = (side, side, self.channels)
        if tuple(images.shape[1:]) != expected or "float" not in str(images.dtype):
            raise ValueError(f"images in a graph must be float {[None, *expected]}, got {images.dtype} {images.shape}")
        count = ops.shape(images)[0]
        images = ops.cast(images, "float32")
        filled = ops.concatenate([images, ops.repeat(images[:1], (-count) % self.batch_size, axis=0)], axis=0)
        batches = ops.reshape(filled, (-1, self.batch_size, *expected))
        components, layers = ops.map(lambda batch: self._measure_batch(batch)[:2], batches)
        components = ops.reshape(components, (-1, len(self.names)))[:count]
        layers = ops.reshape(layers, (-1, self.resolution, self.resolution, layers.shape[-1]))[:count]
        standardised = (components - np.float32(calibration.center)) / np.float32(calibration.scale)
        standardised = ops.clip(standardised, calibration.clip_low, calibration.clip_high)
        values = calibration.bias + ops.sum(standardised * np.float32(calibration.weights), axis=-1)
        maps = scoring.anomaly_map(layers, self.map_center, self.map_scale, self._map_weights(), self.map_sigma_px)
        return Detection(values, values > calibration.threshold, maps)
