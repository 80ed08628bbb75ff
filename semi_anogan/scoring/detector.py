"""Detector: from images to scores, labels and anomaly maps. What other programs import."""

import copy
import dataclasses
import math
import pathlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from semi_anogan import components as table
from semi_anogan.backend import compile_function, is_symbolic
from semi_anogan.config import default, words
from semi_anogan.data import ignore as ignoring
from semi_anogan.data.dataset import Masked
from semi_anogan.data.image_files import MAX_PIXELS
from semi_anogan.data.images import Scale
from semi_anogan.data.masks import resized
from semi_anogan.errors import RunError
from semi_anogan.networks.latent_search import LatentSearch
from semi_anogan.runs import build, replacement
from semi_anogan.runs import folder as run_folder
from semi_anogan.scoring import chosen as chosen_threshold
from semi_anogan.scoring import fit_calibration
from semi_anogan.scoring.base_detector import BaseDetector, Preparation
from semi_anogan.scoring.calibration import Calibration, check_threshold
from semi_anogan.scoring.classifier import Classifier
from semi_anogan.scoring.drift import Usual
from semi_anogan.scoring.evidence import Evidence, read_evidence
from semi_anogan.scoring.fit_calibration import HeldOut
from semi_anogan.scoring.graph import ScoreGraph, Verdict
from semi_anogan.scoring.likeness import Likeness
from semi_anogan.scoring.map_peaks import highest_places
from semi_anogan.scoring.maps import combined
from semi_anogan.scoring.memory import Memory
from semi_anogan.scoring.parts import PARTS, read_parts
from semi_anogan.scoring.segmentation import Segmentation

EDGES = "segmentation"  # the component whose map says where a defect ends
# Pixels of a batch at the size that the generator draws, at most: the search keeps all between latents and
# pixels, of each image of a batch.
BATCH_PIXELS = 32 * 128 * 128


class Detection(NamedTuple):
    """What a detector says of N images.

    scores float32 [N], higher = more abnormal; labels bool [N], True = abnormal (score > threshold); maps
    float32 [N, H, W] at the images' own size, 0 = as far off as the average normal pixel, in standard
    deviations of those. Detector.regions makes the regions of labels and maps.
    """

    scores: np.ndarray
    labels: np.ndarray
    maps: np.ndarray


class Detector(BaseDetector):
    """Scores images with a trained SemiAnoGAN. It is made once of its parts and does not change.

    Args:
      model: the trained SemiAnoGAN; its averaged networks are used.
      search: keyword arguments of LatentSearch.of_model.
      tile: cut images larger than the model's shape into overlapping tiles, instead of reducing them.
      map_sigma_px: Gaussian smoothing of the map, in pixels of the model's resolution.
      batch_size: images scored at once. It is fixed: shorter batches are filled up, so that an image's score
        is the same alone and in any company.
      components: names of components.COMPONENTS the score is made of; empty: all that there are. Without any
        that needs the search there is no search, no reconstruction, and an image takes a fraction of the
        time.
      memory: the Memory of normal patches, or None.
      likeness: the Likeness to the known defects, or None.
      classifier: the Classifier of whole images, or None.
      segmentation: the Segmentation, or None.
      calibration: what `calibrate` fits, or None: then it measures images but cannot judge them.

    Attributes:
      names: the components, in order.
      rests_on: the Evidence that `calibrate` made its calibration of; None where it was loaded or given.
      chosen: the threshold that a person chose for its run (scoring/chosen.py), by which it judges; None for
        the calibrated one.
      shape: (height, width) of the model's maps. image_shape: of the images that it takes, the model's
        view_shape.

    Raises: ValueError for components that there are not, or a calibration of others.
    """

    def __init__(
        self,
        model,
        search: dict | None = None,
        tile: bool = False,
        map_sigma_px: float = default("map.sigma_px"),
        batch_size: int = default("score.batch_size"),
        components: Iterable[str] = (),
        memory: Memory | None = None,
        likeness: Likeness | None = None,
        classifier: Classifier | None = None,
        segmentation: Segmentation | None = None,
        calibration: Calibration | None = None,
    ):
        super().__init__(Preparation.of_model(model, tile), batch_size, map_sigma_px, calibration)
        self.model = model
        self.memory, self.likeness = memory, likeness
        self.classifier, self.segmentation = classifier, segmentation
        self.rests_on: Evidence | None = None
        on_cores = all(name.startswith("cpu") for name in keras.distribution.list_devices())
        # Two batches fill the cores better. A GPU is full with one, and a large model takes much memory.
        self.at_once = 2 if on_cores and BATCH_PIXELS >= 32 * math.prod(self.shape) else 1
        if memory is not None and tuple(memory.sizes) != model.memory_sizes:
            raise ValueError(f"memory of sizes {tuple(memory.sizes)}, the model has {model.memory_sizes}")
        self.names = self._names_of(tuple(components))
        self.search = LatentSearch.of_model(model, **(search or {})) if table.searches(self.names) else None
        self._compile()
        if calibration is not None:
            self._check_fits(calibration)

    def _names_of(self, chosen: tuple[str, ...]) -> tuple[str, ...]:
        table.check(chosen)
        missing = {name for name in table.names_where(fitted=True) if getattr(self, name) is None}
        missing |= {"patches"} if self.model.patch_discriminator is None else set()
        missing |= {"feature_residual"} if self.model.feature_generator is None else set()
        names = tuple(n for n in table.NAMES if n not in missing and (not chosen or n in chosen))
        if not names:
            raise ValueError(
                f"score.components: {', '.join(chosen)}: none is there; a fitted one needs pretrained "
                "features, and known abnormal images or what stands in for them"
            )
        return names

    def _compile(self):
        parts = {name: getattr(self, name) for name in PARTS}
        self.graph = ScoreGraph(self.model, self.names, self.search, **parts)
        self.kinds, self.summarises = self.graph.kinds, self.graph.summarises
        self._measure_batch = compile_function(self._score_batch, self.model)
        self._measure_kinds = compile_function(lambda x: self._score_batch(x, True), self.model)
        self._search_latents = None

    @classmethod
    def of_config(cls, config, model, **parts) -> "Detector":
        """A detector with a configuration's settings.

        Args: parts: arguments of Detector, memory and the like, or those that replace the configuration's; of
          `search` only what it names.
        Raises: RunError for a bad setting.
        """
        settings = {
            "search": build.search_settings(config, **(parts.pop("search", None) or {})),
            "tile": config.images.tile,
            "map_sigma_px": config.map.sigma_px,
            "batch_size": fitting_batch(config.score.batch_size, model.shape),
            "components": words(config.score.components),
        }
        try:
            detector = cls(model, **{**settings, **parts})
        except ValueError as error:
            raise RunError(f"bad setting: {error}") from error
        detector.scale = Scale(config.data.white, config.data.black)
        if config.data.ignore:
            most = config.data.max_pixels or MAX_PIXELS
            detector.ignore = ignoring.read_fixed(config.data.ignore, config.data.ignore_digest, most)
        return detector

    @classmethod
    def load(cls, run_folder, **overrides) -> "Detector":
        """The detector of a finished run folder.

        Args: run_folder: what `train --workdir` wrote; overrides: keyword arguments of Detector that replace
          the run's.
        Raises: RunError naming the file that is missing or does not fit.
        """
        return _loaded(cls, pathlib.Path(run_folder), overrides)

    def __call__(self, images, ignore=None) -> Detection:
        """Scores images.

        Args:
          images: [N, H, W, C] or [N, H, W], uint8 (0 to 255) or float in [-1, 1]. A symbolic tensor inside a
            TensorFlow graph (tf.data map) must be float [N, *image_shape, channels].
          ignore: bool [H, W] of all images, or [N, H, W]: what of them is ignored, beside what the run
            ignores of every image. Not in a graph.
        """
        if is_symbolic(images):
            if ignore is not None:
                raise ValueError("ignore: in a graph there is no mask of an image's own")
            return self._detect_symbolic(images)
        try:
            images = np.asarray(images)
        except ValueError:  # numpy's own words are of no help here
            raise ValueError("images of a call must have one size; give those of each on their own") from None
        if images.ndim not in (3, 4) or not len(images):
            raise ValueError(f"images must be [N, H, W, C] or [N, H, W] with N > 0, got shape {images.shape}")
        if images.ndim == 3 and images.shape[-1] in (1, 3):
            raise ValueError(
                f"images must be [N, H, W, C], got shape {images.shape}; of a single image give image[None]"
            )
        self.tell_of_range(images)
        items = images
        if ignore is not None:
            ignore = np.asarray(ignore)
            if ignore.dtype != bool or ignore.shape not in (images.shape[:3], images.shape[1:3]):
                raise ValueError(
                    f"ignore must be bool {list(images.shape[1:3])} or {list(images.shape[:3])}, got "
                    f"{ignore.dtype} {list(ignore.shape)}"
                )
            items = map(Masked, images, np.broadcast_to(ignore, images.shape[:3]))
        results = [self.judge(m) for m in self.measure(items, combined=True, pictures=False)]
        values, labels, maps = zip(*results, strict=True)
        return Detection(np.array(values, np.float32), np.array(labels), np.stack(maps))

    def calibrate(
        self,
        held_out: HeldOut,
        false_alarm_rate: float = default("calibration.false_alarm_rate"),
        base: Sequence[str] = table.names_where(unlabelled=True),
    ) -> "Detector":
        """This detector with score statistics, weights and threshold fitted on held-out training images.

        Args:
          held_out: images as in `measure`, that the networks were not trained on; never test images.
          false_alarm_rate: share of normal images that may be labelled abnormal, in (0, 1).
          base: components that find defects which nobody has labelled: they count where no known one says
            otherwise.

        Raises: ValueError without normal images.
        """

        def figures(images) -> list[tuple[np.ndarray, ...]]:
            # Only these and a number of places are kept of each image: the layers of large ones would not fit
            # in memory together.
            return [
                (
                    m.components,
                    highest_places(m.layers, self.map_sigma_px, ignored),
                    *_center_and_scale(m.layers, ignored),
                    dataclasses.replace(m, layers=None, reconstruction=None, difference=None),
                )
                for m in self.measure(images, overlap=True)
                for ignored in [ignoring.wholly(m.ignored, *m.layers.shape[:2])]
            ]

        normal = figures(held_out.normal)
        if not normal:
            raise ValueError("calibration needs held-out normal images, got none")
        others = {
            name: [m.components for m in self.measure(getattr(held_out, name), overlap=True)]
            for name in ("abnormal", "synthetic", "relit", "known")
        }
        trained = figures(held_out.trained)
        of_normal = {"normal": [f[0] for f in normal], "trained": [f[0] for f in trained]}
        evidence = self.evidence(dataclasses.replace(held_out, **of_normal, **others), base)
        found = evidence.calibration(false_alarm_rate)
        seen = [f[-1] for f in normal], [f[-1] for f in trained]
        found = dataclasses.replace(found, usual=Usual.of_measured(*seen, found.set_aside, self.names))
        # Median over the images: some of them may be abnormal after all.
        map_center = np.median([f[2] for f in normal], axis=0).astype(np.float32)
        map_scale = np.median([f[3] for f in normal], axis=0).astype(np.float32) + 1e-6
        found = dataclasses.replace(
            found, map_center=tuple(map_center.tolist()), map_scale=tuple(map_scale.tolist())
        )
        fitted = self._calibrated_as(found)
        highest = np.array([fitted._combined(f[1]).max() for f in normal + trained])
        found = fit_calibration.with_pixel_threshold(found, evidence.held_out, highest)
        return self._calibrated_as(found, evidence)

    def evidence(
        self, held_out: HeldOut, base: Sequence[str] = table.names_where(unlabelled=True)
    ) -> Evidence:
        """What `calibrate` makes of the components [., K] of held-out images, before weights and threshold.

        Raises: ValueError for `known` images that are not those of the likeness.
        """
        ignored: tuple[str, ...] = ()
        left_out = () if self.likeness is None else self.likeness.left_out
        if len(held_out.known) and not len(held_out.abnormal) and len(left_out):
            if len(held_out.known) != len(left_out):
                raise ValueError(
                    f"known must be the {len(left_out)} images that the likeness was fitted to, "
                    f"got {len(held_out.known)}"
                )
            abnormal = np.array(held_out.known)
            if "likeness" in self.names:
                abnormal[:, self.names.index("likeness")] = left_out
            held_out = dataclasses.replace(held_out, abnormal=abnormal)
            ignored = table.names_where(trained_on_known=True)
        if len(held_out.trained_memory) and "memory" in self.names:
            trained = np.array(held_out.trained)
            trained[:, self.names.index("memory")] = held_out.trained_memory
            held_out = dataclasses.replace(held_out, trained=trained)
        held_out = dataclasses.replace(held_out, known=(), trained_memory=())
        return Evidence(self.names, held_out, tuple(base), ignored)

    def pruned(self) -> "Detector":
        """A detector of the same scores and maps, without the components that have no weight in either.

        Where no component that needs the search has a weight it does not search, which is several times
        faster; there are no reconstructions then.
        """
        calibration, counts = self.calibrated, self.graph.layer_counts
        weights = dict(zip(calibration.names, calibration.weights, strict=True))
        if not any(weights[name] for name in counts):  # then all layers make the map
            return self
        calibration = calibration.pruned(table.names_where(locates=True))
        used = np.repeat([name in calibration.names for name in counts], list(counts.values()))
        kept = {
            key: tuple(np.array(getattr(calibration, key))[used].tolist())
            for key in ("map_center", "map_scale")
        }
        pruned = copy.copy(self)
        pruned.calibration, pruned.names = dataclasses.replace(calibration, **kept), calibration.names
        pruned.search = self.search if table.searches(pruned.names) else None
        pruned._compile()
        return pruned

    def state(self) -> dict:
        """What `calibrate` fitted, as the JSON values of detector.json."""
        c = self.calibrated
        maps = {"map_center": list(c.map_center), "map_scale": list(c.map_scale)}
        maps |= {"map_components": list(self._map_components()), "map_edges": self._map_edges() is not None}
        return {"calibration": c.to_dict(), **maps}

    def _calibrated_as(self, calibration: Calibration, rests_on: Evidence | None = None) -> "Detector":
        """This detector with a calibration, which must be one of its components."""
        self._check_fits(calibration)
        calibrated = copy.copy(self)  # shares what is compiled
        calibrated.calibration, calibrated.rests_on, calibrated.chosen = calibration, rests_on, None
        return calibrated

    def _check_fits(self, calibration: Calibration):
        """ValueError for the calibration of a detector of other components."""
        lengths = [len(getattr(calibration, name)) for name in ("names", "center", "scale", "weights")]
        if calibration.names != self.names or set(lengths) != {len(self.names)}:
            raise ValueError(
                f"calibration of {calibration.names} has {lengths} values, expected {self.names}"
            )
        layers = sum(self.graph.layer_counts.values())
        center, scale = np.shape(calibration.map_center), np.shape(calibration.map_scale)
        if center != (layers,) or scale != (layers,):
            raise ValueError(f"map_center {center} and map_scale {scale} must have {layers} values each")

    def _map_components(self) -> tuple[str, ...]:
        """What locates; where nothing does, all that have a map."""
        counts = self.graph.layer_counts
        return tuple(name for name in counts if name in table.names_where(locates=True)) or tuple(counts)

    def _map_weights(self) -> np.ndarray:
        """What locates makes the map, all the same; where nothing does, each as in the score.

        A component's layers share its weight. All weigh the same where none has any.
        """
        counts, made_of = self.graph.layer_counts, self._map_components()
        weights = dict(zip(self.names, self.calibrated.weights, strict=True))
        if set(made_of) & set(table.names_where(locates=True)):
            weights = {name: float(name in made_of) for name in counts}
        shares = np.concatenate([np.full(count, weights[name] / count) for name, count in counts.items()])
        if not shares.any():
            shares = np.ones_like(shares)
        return (shares / shares.sum()).astype(np.float32)

    def _map_edges(self) -> np.ndarray | None:
        """The layers that say where a defect ends, as in maps.combined; None where none does."""
        counts = self.graph.layer_counts
        if EDGES not in counts or self._map_components() == (EDGES,):
            return None
        shares = [np.full(n, float(name == EDGES) / n) for name, n in counts.items()]
        return np.concatenate(shares).astype(np.float32)

    def _combined(self, layers: np.ndarray) -> np.ndarray:
        center, scale = np.float32(self.calibrated.map_center), np.float32(self.calibrated.map_scale)
        return combined(layers, center, scale, self._map_weights(), self._map_edges(), np)

    def _score_batch(self, images, kinds: bool = False):
        """[B, H, W, C] -> components [B, K], layers [B, h, w, L] and, with search, two pictures.

        Where it summarises, the summary [B, D] comes after the layers; kinds: and then the likeness to each
        known kind of defect.
        """
        shape = (self.batch_size, *self.image_shape, self.channels)
        return self.graph(ops.reshape(ops.convert_to_tensor(images, "float32"), shape), kinds)

    def _detect_symbolic(self, images) -> Detection:
        """The same in a graph."""
        if self.ignore is not None and self.tile:
            raise ValueError("in a graph it is not known where a tile lies, and so not what of it is ignored")
        if self.ignore is not None and tuple(images.shape[1:-1]) == self.image_shape:
            images = ignoring.painted_with(ops.cast(images, "float32"), self.seen_ignored(), ops)
        return self.detect_prepared(images)

    def detect_prepared(self, images) -> Detection:
        """As __call__ in a graph, of images that are painted over already.

        Fills up to whole batches of the fixed size.
        """
        verdict = self.verdict()
        expected = (*self.image_shape, self.channels)
        if tuple(images.shape[1:]) != expected or "float" not in str(images.dtype):
            raise ValueError(
                f"images in a graph must be float {[None, *expected]}, got {images.dtype} {images.shape}"
            )
        count = ops.shape(images)[0]
        images = ops.cast(images, "float32")
        filled = ops.concatenate([images, ops.repeat(images[:1], (-count) % self.batch_size, axis=0)], axis=0)
        batches = ops.reshape(filled, (-1, self.batch_size, *expected))
        components, layers = ops.map(lambda batch: self._score_batch(batch)[:2], batches)
        components = ops.reshape(components, (-1, len(self.names)))[:count]
        layers = ops.reshape(layers, (-1, *self.shape, layers.shape[-1]))[:count]
        scores, labels, maps = verdict(components, layers)[:3]
        if self.ignore is not None:
            blank = ignoring.wholly(self.ignore, *self.shape)
            lowest = ops.min(ops.where(blank, np.float32(np.inf), maps), axis=(1, 2), keepdims=True)
            maps = ops.where(blank, ops.minimum(lowest, 0.0), maps)
        return Detection(scores, labels, maps)

    def seen_ignored(self) -> np.ndarray:
        """Of images resized to image_shape, what may have been mixed with what is ignored: bool."""
        return ignoring.grown(resized(ignoring.grown(self.ignore), *self.image_shape))

    def search_of(self, images):
        """The latents [batch_size, L] that the search finds for a batch [batch_size, H, W, C]."""
        if self._search_latents is None:
            self._search_latents = compile_function(self.graph.search_of, self.model)
        return self._search_latents(images)

    def verdict(self) -> Verdict:
        """What makes score, label and map of components and layers, in keras.ops."""
        return Verdict(self.calibrated, self._map_weights(), self.map_sigma_px, self._map_edges())


def fitting_batch(batch_size: int, shape: tuple[int, int]) -> int:
    """How many images of a shape (height, width) are scored at once: `batch_size`, or fewer of large ones."""
    return max(1, min(batch_size, BATCH_PIXELS // (shape[0] * shape[1])))


def _loaded(cls, folder: pathlib.Path, overrides: dict) -> Detector:
    replacement.finish(folder)
    config = run_folder.load_config(folder)
    path = folder / run_folder.DETECTOR
    if not path.exists():
        raise RunError(
            f"{path}: missing, so the training has not finished; run train with --workdir={folder}"
        )
    state = run_folder.read_json(path)
    model = build.load_model(folder, config, state.get("step"))
    detector = cls.of_config(config, model, **{**read_parts(folder), **overrides})
    if "calibration" in overrides:
        return detector
    try:
        calibration = _calibration_of(state)
        check_threshold(calibration.threshold)
        # The map of a run of before was made otherwise: its pixel threshold does not fit this one.
        made = tuple(state.get("map_components", ())), state.get("map_edges", False)
        if made != (detector._map_components(), detector._map_edges() is not None):
            calibration = dataclasses.replace(calibration, pixel_threshold=None, normal_highest=())
        if not calibration.normal_scores and (folder / run_folder.EVIDENCE).exists():  # of a run of before
            calibration = fit_calibration.with_normal_scores(calibration, read_evidence(folder).held_out)
        detector = detector._calibrated_as(calibration)
        chosen = chosen_threshold.of_state(state, path)
        if chosen is not None:
            detector = detector.at(threshold=chosen.threshold)
            detector.chosen = chosen
        return detector
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path}: {error}") from error


def _center_and_scale(layers: np.ndarray, ignored: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """(mean, standard deviation) of each layer where it is not ignored: layers [h, w, S], ignored [h, w]."""
    if ignored is None:
        return layers.mean((0, 1)), layers.std((0, 1))
    return layers[~ignored].mean(0), layers[~ignored].std(0)


def _calibration_of(state: dict) -> Calibration:
    """The inverse of Detector.state."""
    maps = {key: tuple(np.float32(state[key]).tolist()) for key in ("map_center", "map_scale")}
    return dataclasses.replace(Calibration.from_dict(state["calibration"]), **maps)
