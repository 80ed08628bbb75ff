"""Detector: from images to scores, labels and anomaly maps. What other programs import."""

import copy
import pathlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from semi_anogan.backend import compile_function, is_symbolic
from semi_anogan.components import COMPONENTS, GROUPS, OF_FEATURES, OF_SEARCH, TRAINED_ON_KNOWN
from semi_anogan.components import check as check_components
from semi_anogan.config import words
from semi_anogan.data import images as image_io
from semi_anogan.errors import RunError
from semi_anogan.networks.latent_search import LatentSearch
from semi_anogan.networks.pretrained.load import load_features
from semi_anogan.runs.build import load_model, search_settings
from semi_anogan.runs.folder import (
    CLASSIFIER,
    DETECTOR,
    LIKENESS,
    MEMORY,
    load_config,
    read_arrays,
    read_json,
)
from semi_anogan.scoring import calibration as calibrating
from semi_anogan.scoring.base_detector import AnySize, Measurement
from semi_anogan.scoring.classifier import Classifier
from semi_anogan.scoring.feature_reader import FeatureFitting
from semi_anogan.scoring.graph import Judge, Measure, layer_counts
from semi_anogan.scoring.likeness import Likeness
from semi_anogan.scoring.memory import Memory

FORMAT = 1  # of detector.json


class Detection(NamedTuple):
    """What a detector says of N images.

    scores float32 [N], higher = more abnormal; labels bool [N], True = abnormal (score > threshold); maps
    float32
    [N, H, W] at the images' own size, 0 = as far off as the average normal pixel, in standard deviations of
    those.
    """

    scores: np.ndarray
    labels: np.ndarray
    maps: np.ndarray


class Detector(AnySize, FeatureFitting):
    """Scores images with a trained SemiAnoGAN.

    Args:
      model: the trained SemiAnoGAN; its averaged networks are used.
      search: keyword arguments of LatentSearch.
      tile: cut images larger than the model's resolution into overlapping tiles, instead of reducing them.
      map_sigma_px: Gaussian smoothing of the map, in pixels of the model's resolution.
      batch_size: images searched at once. It is fixed: shorter batches are filled up, so that an image's
        score is the same
        alone and in any company.
      components: names of components.COMPONENTS the score is made of; empty: all that the model has. Without
        any of components.OF_SEARCH
        there is no search, no reconstruction, and an image takes a fraction of the time.
      memory: the Memory of normal patches, or None; `remember` makes one.
      likeness: the Likeness to the known defects, or None; `recognise` makes one.
      classifier: the Classifier of whole images, or None; `tell_apart` makes one.

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
        likeness: Likeness | None = None,
        classifier: Classifier | None = None,
    ):
        self.model = model
        self.resolution, self.channels = model.sizes["resolution"], model.sizes["channels"]
        self.tile = tile
        self.map_sigma_px = map_sigma_px
        self.batch_size = batch_size
        on_cores = all(name.startswith("cpu") for name in keras.distribution.list_devices())
        self.at_once = 2 if on_cores else 1  # two fill the cores better; a GPU is full with one
        self.memory, self.likeness, self.classifier = memory, likeness, classifier
        self.calibration = None
        self.map_center = self.map_scale = None
        self._chosen = tuple(components)
        self._pretrained = self._extract = None
        settings = model.options["features"]
        if settings.get("name") and model.patches is None and any(settings.get(name) for name in OF_FEATURES):
            self._pretrained = load_features(settings["name"], settings["weights"])
        self.names = self._names()
        self.search = self._latent_search(search or {}) if set(self.names) & set(OF_SEARCH) else None
        self._compile()

    def _compile(self):
        self.graph = Measure(
            self.model, self.names, self.search, self.memory, self.likeness, self.classifier, self._pretrained
        )
        self._measure = compile_function(self._measure_batch, self.model)
        self._search_latents = None

    def _names(self) -> tuple[str, ...]:
        missing = {"patches"} if self.model.patches is None else set()
        missing |= {name for name in OF_FEATURES if getattr(self, name) is None}
        check_components(self._chosen)
        names = tuple(n for n in COMPONENTS if n not in missing and (not self._chosen or n in self._chosen))
        if not names and not set(self._chosen) <= set(OF_FEATURES):
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

        Args: run_folder: what `train --workdir` wrote; overrides: keyword arguments of Detector that replace
          the run's.
        Raises: RunError naming the file that is missing or does not fit.
        """
        return load_detector(run_folder, **overrides)

    @property
    def image_size(self) -> int:
        """Side of the images that the model takes."""
        return self.model.image_size

    @property
    def threshold(self) -> float:
        """An image is abnormal if its score is above."""
        return self._calibrated().threshold

    def __call__(self, images) -> Detection:
        """Scores images.

        Args:
          images: [N, H, W, C] or [N, H, W], uint8 (0 to 255) or float in [-1, 1]. A symbolic tensor inside a
            TensorFlow graph
            (tf.data map) must be float [N, resolution, resolution, channels].
        """
        if is_symbolic(images):
            return self._detect_symbolic(images)
        images = np.asarray(images)
        if images.ndim not in (3, 4) or not len(images):
            raise ValueError(f"images must be [N, H, W, C] or [N, H, W] with N > 0, got shape {images.shape}")
        if images.ndim == 3 and images.shape[-1] in (1, 3):
            raise ValueError(
                f"images must be [N, H, W, C], got shape {images.shape}; of a single image give image[None]"
            )
        results = [self.judge(m) for m in self.measure(images)]
        values, labels, maps = zip(*results, strict=True)
        return Detection(np.array(values, np.float32), np.array(labels), np.stack(maps))

    def judge(self, measurement: Measurement) -> tuple[float, bool, np.ndarray]:
        """(score, label, anomaly map [H, W] at the image's own size) of one measured image."""
        calibration = self._calibrated()
        score = float(calibration.score(measurement.components[None])[0])
        # As `final` computes them in a graph, in numpy: one image alone is not worth a graph.
        combined = (measurement.layers - self.map_center) @ (self._map_weights() / self.map_scale)
        anomaly_map = image_io.smooth_map(combined, self.map_sigma_px)
        return score, score > calibration.threshold, image_io.resize_map(anomaly_map, *measurement.size)

    def calibrate(
        self,
        normal: Iterable,
        abnormal: Iterable = (),
        false_alarm_rate: float = 0.01,
        synthetic: Iterable = (),
        known: Iterable = (),
        trusted: Sequence[str] = (),
        checked: Sequence[bool] = (),
    ):
        """Fits score statistics, fusion and threshold on held-out training images, never on test images.

        Args: normal, abnormal: images as in `measure`, held out from training; false_alarm_rate: in (0, 1);
          synthetic: held-out
          normal images with synthetic defects, which weigh the components beside the abnormal ones; known:
          where no abnormal image
          is held out, those that `recognise` was given, in its order. They weigh the components that did not
          train on them: of the
          likeness counts what the others' discriminant says of each; trusted: components that have learned
          from hidden defects or
          from kinds that are expected, where nothing else weighs them; checked: which of `normal` are so for
          certain, none by default.
        """
        # Only figures are kept of each image: the layers of large ones would not fit in memory together.
        normal = [
            (m.components, m.layers.mean((0, 1)), m.layers.std((0, 1)))
            for m in self.measure(normal, overlap=True)
        ]
        abnormal, synthetic, known = (
            [m.components for m in self.measure(i, overlap=True)] for i in (abnormal, synthetic, known)
        )
        if not normal:
            raise ValueError("calibration needs held-out normal images, got none")
        components, means, deviations = (np.stack(figures) for figures in zip(*normal, strict=True))
        self.calibration = self.fuse(
            components, abnormal, false_alarm_rate, synthetic, known, trusted, checked
        )
        # Median over the images: some of them may be abnormal after all.
        self.map_center = np.median(means, axis=0).astype(np.float32)
        self.map_scale = np.median(deviations, axis=0).astype(np.float32) + 1e-6

    def fuse(
        self, normal, abnormal, false_alarm_rate: float, synthetic=(), known=(), trusted=(), checked=()
    ) -> calibrating.Calibration:
        """Score statistics, weights and threshold from components [N, K] of images as `calibrate` takes them."""
        settings = {
            "groups": [GROUPS[name] for name in self.names],
            "anchor": "memory",
            "trusted": trusted,
            "checked": checked,
        }
        if len(known) and not len(abnormal) and self.likeness is not None and len(self.likeness.left_out):
            if len(known) != len(self.likeness.left_out):
                raise ValueError(
                    f"known must be the {len(self.likeness.left_out)} images that the likeness was made of, got {len(known)}"
                )
            abnormal = np.array(known)
            if "likeness" in self.names:
                abnormal[:, self.names.index("likeness")] = self.likeness.left_out
            settings |= {"min_abnormal": 2, "ignored": TRAINED_ON_KNOWN}
        return calibrating.fit(
            self.names,
            normal,
            np.stack(abnormal) if len(abnormal) else None,
            false_alarm_rate,
            synthetic=np.stack(synthetic) if len(synthetic) else None,
            **settings,
        )

    def pruned(self) -> "Detector":
        """A detector of the same scores, labels and maps that does not compute the components whose weight in
        the score is 0.

        Where none of components.OF_SEARCH has a weight it does not search, which is several times faster;
        there are no reconstructions then.
        """
        calibration, counts = self._calibrated().pruned(), self._layer_counts()
        if not set(calibration.names) & set(counts):  # then all layers make the map
            return self
        used = np.repeat([name in calibration.names for name in counts], list(counts.values()))
        pruned = copy.copy(self)
        pruned.calibration, pruned._chosen, pruned.names = calibration, calibration.names, calibration.names
        pruned.map_center, pruned.map_scale = self.map_center[used], self.map_scale[used]
        if not set(pruned.names) & set(OF_SEARCH):
            pruned.search = None
        pruned._compile()
        return pruned

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
            raise ValueError(
                f"calibration of {calibration.names} has {lengths} values, expected {self.names}"
            )
        layers = sum(self._layer_counts().values())
        if center.shape != (layers,) or scale.shape != (layers,):
            raise ValueError(
                f"map_center {center.shape} and map_scale {scale.shape} must have {layers} values each"
            )
        self.calibration, self.map_center, self.map_scale = calibration, center, scale

    def _layer_counts(self) -> dict[str, int]:
        return layer_counts(self.model, self.names, self.search)

    def _map_weights(self) -> np.ndarray:
        """Each component's layers share its weight in the score; all weigh the same where those with layers
        have none.
        """
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

    def _measure_batch(self, images):
        """[B, S, S, C] -> (components [B, K], layers [B, R, R, L]) and, with search, (reconstructions,
        differences).
        """
        shape = (self.batch_size, self.image_size, self.image_size, self.channels)
        return self.graph(ops.reshape(ops.convert_to_tensor(images, "float32"), shape))

    def _detect_symbolic(self, images) -> Detection:
        """The same in a graph: fills the batch up to whole batches of the fixed size."""
        self._calibrated()
        side = self.image_size
        expected = (side, side, self.channels)
        if tuple(images.shape[1:]) != expected or "float" not in str(images.dtype):
            raise ValueError(
                f"images in a graph must be float {[None, *expected]}, got {images.dtype} {images.shape}"
            )
        count = ops.shape(images)[0]
        images = ops.cast(images, "float32")
        filled = ops.concatenate([images, ops.repeat(images[:1], (-count) % self.batch_size, axis=0)], axis=0)
        batches = ops.reshape(filled, (-1, self.batch_size, *expected))
        components, layers = ops.map(lambda batch: self._measure_batch(batch)[:2], batches)
        components = ops.reshape(components, (-1, len(self.names)))[:count]
        layers = ops.reshape(layers, (-1, self.resolution, self.resolution, layers.shape[-1]))[:count]
        return Detection(*self.final()(components, layers)[:3])

    def search_of(self, images):
        """The latents that the search finds for a batch [batch_size, S, S, C] as the model takes it:
        [batch_size, L].
        """
        if self._search_latents is None:
            self._search_latents = compile_function(lambda x: self.search(self.graph.small(x))[0], self.model)
        return self._search_latents(images)

    def final(self) -> Judge:
        """What makes score, label and map of components and layers, in keras.ops."""
        return Judge(
            self._calibrated(), self.map_center, self.map_scale, self._map_weights(), self.map_sigma_px
        )


def build_detector(config, model, **overrides):
    """A detector without calibration."""
    settings = {
        "search": search_settings(config),
        "tile": config.data.tile,
        "map_sigma_px": config.map.sigma_px,
        "batch_size": config.search.batch_size,
        "components": words(config.score.components),
    }
    try:
        return Detector(model, **{**settings, **overrides})
    except ValueError as error:
        raise RunError(f"bad setting: {error}") from error


def load_detector(folder, **overrides):
    """The calibrated detector of a run folder; RunError names the file that is missing or does not fit."""
    folder = pathlib.Path(folder)
    config = load_config(folder)
    state = read_json(folder / DETECTOR) if (folder / DETECTOR).exists() else None
    if state is None:
        raise RunError(
            f"{folder / DETECTOR}: missing, so the training has not finished; run train with --workdir={folder}"
        )
    model = load_model(folder, config)
    try:
        detector = build_detector(config, model, **{**_fitted_to_features(folder), **overrides})
        detector.restore(state)
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{folder / DETECTOR}: {error}") from error
    return detector


def _fitted_to_features(folder) -> dict:
    """What was fitted to the pretrained features, by its name among the arguments of Detector, as far as the
    run has it.
    """
    files = {
        "memory": (MEMORY, Memory),
        "likeness": (LIKENESS, Likeness.of_arrays),
        "classifier": (CLASSIFIER, Classifier),
    }
    return {
        name: read_arrays(folder / file, make)
        for name, (file, make) in files.items()
        if (folder / file).exists()
    }
