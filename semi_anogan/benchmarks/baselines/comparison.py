"""The baselines on the data of a configuration; their figures are kept in a folder, so none is run twice."""

import dataclasses
import functools
import json
import pathlib
import time
import traceback
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from semi_anogan.benchmarks.baselines import classical, subspace
from semi_anogan.data.image_arrays import resize
from semi_anogan.errors import RunError
from semi_anogan.evaluation import metrics
from semi_anogan.image_shape import shape_of
from semi_anogan.runs import build
from semi_anogan.runs import folder as run_folder

FILE = "baselines.json"
PIXEL_SIDE, LARGE_SIDE = 64, 256


class Groups(NamedTuple):
    """Arrays, images or features, of normal and known abnormal training images and of test images."""

    normal: np.ndarray
    abnormal: np.ndarray
    test: np.ndarray


class Images:
    """The images of a configuration at the sizes the baselines want, all of the model's aspect.

    Training normal images include those that our method holds out. The sides follow from training images and
    settings.
    """

    def __init__(self, config, steps: int = 500):
        self.dataset = build.load_data(config)[0]
        groups = self.dataset.select("train", "normal"), self.dataset.select("train", "abnormal")
        self.groups = (*groups, self.dataset.select("test"))
        self.truth = np.array([e.abnormal for e in self.groups[2]])
        self.resolution, self.aspect = config.model.resolution, config.model.aspect or 1.0
        self.seed = config.seed
        self.feature_seconds = 0.0
        self.training = {"steps": steps, "flips": config.batches.flips, "seed": config.seed}

    def at(self, side: int) -> Groups:
        """The three groups, each float32 [., h, w, C] in [-1, 1], whose short side is `side`."""
        shape = shape_of(side, self.aspect)
        channels = self.dataset.read_image(self.groups[0][0]).shape[-1]
        arrays = (
            np.array([resize(self.dataset.read_image(e), *shape) for e in group], np.float32)
            for group in self.groups
        )
        return Groups(*(array.reshape(-1, *shape, channels) for array in arrays))

    @functools.cached_property
    def pixels(self):
        """For scores on raw pixels: at the model's resolution, at most 64."""
        return self.at(min(self.resolution, PIXEL_SIDE))

    @functools.cached_property
    def model_sized(self):
        """At the model's resolution."""
        return self.at(self.resolution)

    @functools.cached_property
    def large(self):
        """For pretrained networks: at the images' own size (the median of the first ones), at most 256."""
        sides = [min(self.dataset.read_image(e).shape[:2]) for e in self.groups[0][:32]]
        return self.at(min(max(int(np.median(sides)), self.resolution), LARGE_SIDE))

    @functools.cached_property
    def features(self):
        """Pooled pretrained features of the three groups, each [., D]."""
        from semi_anogan.benchmarks.baselines.networks import pooled_features

        groups, started = self.large, time.monotonic()
        features = Groups(*(pooled_features(images) for images in groups))
        self.feature_seconds = time.monotonic() - started
        return features


@dataclasses.dataclass(frozen=True)
class Method:
    """A baseline: score takes Images and gives one score per test image, higher = more abnormal."""

    score: Callable[[Images], np.ndarray]
    group: str  # property of Images that it works on
    supervised: bool = False  # needs known abnormal images
    transductive: bool = False  # learns from the test images, unlabelled and all together


# Keras is loaded by what needs it: the names below are used without it.
def _nearest_patches(images: Images) -> np.ndarray:
    from semi_anogan.benchmarks.baselines import networks

    return networks.nearest_patches(images.large.normal, images.large.test, seed=images.seed)


def _small_cnn(images: Images) -> np.ndarray:
    from semi_anogan.benchmarks.baselines import networks

    return networks.small_cnn(*images.model_sized, **images.training)


def _finetuned_classifier(images: Images) -> np.ndarray:
    from semi_anogan.benchmarks.baselines import networks

    return networks.finetuned_classifier(*images.large, **images.training)


def _alocc(images: Images) -> np.ndarray:
    from semi_anogan.benchmarks.baselines import alocc

    return alocc.alocc(images.model_sized.normal, images.model_sized.test, **images.training)


METHODS = {
    "largest pixel step": Method(lambda i: classical.largest_step(i.model_sized.test), "model_sized"),
    "PCA reconstruction": Method(
        lambda i: classical.pca_reconstruction(i.pixels.normal, i.pixels.test), "pixels"
    ),
    "5-NN on pixels": Method(
        lambda i: classical.nearest_neighbours(i.pixels.test, i.pixels.normal), "pixels"
    ),
    "5-NN on features": Method(
        lambda i: classical.feature_neighbours(i.features.normal, i.features.test), "features"
    ),
    "logistic regression on features": Method(
        lambda i: classical.logistic_regression(*i.features), "features", supervised=True
    ),
    "nearest patches": Method(_nearest_patches, "large"),
    "small CNN": Method(_small_cnn, "model_sized", supervised=True),
    "fine-tuned classifier": Method(_finetuned_classifier, "large", supervised=True),
}
# What Kimura & Yanagihara (2018) compare with on Caltech-256.
OUTLIER_DETECTORS = {
    "CoP": Method(lambda i: subspace.coherence_pursuit(i.features.test), "features", transductive=True),
    "REAPER": Method(lambda i: subspace.reaper(i.features.test), "features", transductive=True),
    "LRR": Method(lambda i: subspace.low_rank_representation(i.features.test), "features", transductive=True),
    "DPCP": Method(
        lambda i: subspace.dual_principal_components(i.features.test), "features", transductive=True
    ),
    "R-graph": Method(lambda i: subspace.r_graph(i.features.test), "features", transductive=True),
    "ALOCC": Method(_alocc, "model_sized"),
}
ALL = {**METHODS, **OUTLIER_DETECTORS}


def run(config, names: list[str], folder=None, steps: int = 500) -> dict[str, dict | None]:
    """The figures of baselines on the test images of a configuration.

    Args:
      config: whose data, model.resolution, batches.flips and seed are used.
      names: of ALL.
      folder: where given, its baselines.json is kept up to date; what it holds is not run again.
      steps: batches that the supervised networks and ALOCC are trained for.

    Returns:
      {name: {"image_auroc", "image_average_precision", "image_f1_max", "seconds"}}, seconds of training and
      scoring; None for a method that needs known abnormal images where there are none.

    Raises:
      RunError: unknown name, or some methods failed; the others' figures are kept.
    """
    from semi_anogan import backend

    for name in names:
        if name not in ALL:
            raise RunError(f"methods: {name!r} is not one of {', '.join(ALL)}")
    backend.set_deterministic(config.seed)
    images = Images(config, steps)
    settings, failed = _settings(config, steps), []
    found = read(folder, settings) if folder else {}
    for name in [name for name in names if name not in found]:
        try:
            found[name] = _figures_of(ALL[name], images)
        except Exception as error:  # whatever it is, the other methods are run
            traceback.print_exc()
            failed.append(f"{name}: {type(error).__name__}: {error}")
            continue
        print(f"{name}: {_told(found[name])}", flush=True)
        if folder:
            pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
            run_folder.write_json(pathlib.Path(folder) / FILE, {"settings": settings, "results": found})
    if failed:
        raise RunError("; ".join(failed))
    return {name: found[name] for name in names}


def read(folder, settings: dict | None = None) -> dict[str, dict | None]:
    """What a folder holds, perhaps nothing.

    Raises: RunError for a damaged file, or one of other settings where they are given.
    """
    path = pathlib.Path(folder) / FILE
    if not path.exists():
        return {}
    values = run_folder.read_json(path)
    if not isinstance(values.get("results"), dict) or settings not in (None, values.get("settings")):
        raise RunError(f"{path}: not what baselines of these settings write; give another folder")
    return values["results"]


def _settings(config, steps: int) -> dict:
    """What the figures depend on, as it comes back from JSON; config: with its aspect resolved."""
    data = {k: v for k, v in config.data.to_dict().items() if v is not None}
    sections = {
        "images": ("tile",),
        "batches": ("flips", "shift_px"),
        "model": ("resolution", "channels", "aspect"),
    }
    others = {section: {name: config[section][name] for name in names} for section, names in sections.items()}
    others["model"]["aspect"] = others["model"]["aspect"] or 1.0  # nothing has resolved it: a square
    return json.loads(json.dumps({"data": data, **others, "seed": config.seed, "steps": steps}))


def _figures_of(method: Method, images: Images) -> dict | None:
    if method.supervised and not images.groups[1]:
        return None
    getattr(images, method.group)  # reading the images does not count
    started = time.monotonic()
    scores = method.score(images)
    seconds = time.monotonic() - started + (images.feature_seconds if method.group == "features" else 0.0)
    return {**metrics.image_metrics(images.truth, scores), "seconds": round(seconds, 1)}


def _told(values: dict | None) -> str:
    if values is None:
        return "needs known abnormal images"
    auroc = values["image_auroc"]
    return f"AUROC {'none' if auroc is None else format(auroc, '.3f')}, {values['seconds']} s"
