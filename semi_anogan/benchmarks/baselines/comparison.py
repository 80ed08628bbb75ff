"""The baselines on the data of a configuration; measurements are kept in a folder, so that none is made
twice.
"""

import dataclasses
import functools
import json
import pathlib
import time
import traceback
from collections.abc import Callable

import numpy as np

from semi_anogan.data.images import resize
from semi_anogan.errors import RunError
from semi_anogan.evaluation import metrics
from semi_anogan.runs import build
from semi_anogan.runs import folder as run_folder

FILE = "baselines.json"
PIXEL_SIDE, LARGE_SIDE = 64, 256


class Images:
    """Normal and known abnormal training images and test images of a configuration, at the sides the
    baselines want.

    Training normal images include those that our method holds out. The sides follow from training images and
    settings.
    """

    def __init__(self, config, steps: int = 500):
        self.dataset = build.load_data(config)[0]
        groups = self.dataset.select("train", "normal"), self.dataset.select("train", "abnormal")
        self.groups = (*groups, self.dataset.select("test"))
        self.truth = np.array([e.abnormal for e in self.groups[2]])
        self.resolution, self.seed = config.model.resolution, config.seed
        self.feature_seconds = 0.0
        self.training = {"steps": steps, "flips": config.data.flips, "seed": config.seed}

    def at(self, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The three groups, each float32 [., side, side, C] in [-1, 1]."""
        channels = self.dataset.read_image(self.groups[0][0]).shape[-1]
        return tuple(
            np.array([resize(self.dataset.read_image(e), side, side) for e in group], np.float32).reshape(
                -1, side, side, channels
            )
            for group in self.groups
        )

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
        """For pretrained networks: at the images' own size (the median of the first training images), at most
        256.
        """
        sides = [min(self.dataset.read_image(e).shape[:2]) for e in self.groups[0][:32]]
        return self.at(min(max(int(np.median(sides)), self.resolution), LARGE_SIDE))

    @functools.cached_property
    def features(self):
        """Pooled pretrained features of the three groups, each [., D]."""
        from semi_anogan.benchmarks.baselines.networks import pooled_features

        groups, started = self.large, time.monotonic()
        features = tuple(pooled_features(images) for images in groups)
        self.feature_seconds = time.monotonic() - started
        return features


@dataclasses.dataclass(frozen=True)
class Method:
    """A baseline: score takes Images and gives one score per test image, higher = more abnormal."""

    score: Callable[[Images], np.ndarray]
    group: str  # property of Images that it works on
    supervised: bool = False  # needs known abnormal images


def _simple(name: str, group: str, supervised: bool = False) -> Method:
    """A function of semi_anogan.baselines, on normal (and known abnormal) and test arrays of a property of
    Images.
    """

    def score(images: Images):
        from semi_anogan.benchmarks.baselines import classical as baselines

        normal, abnormal, test = getattr(images, group)
        return getattr(baselines, name)(*((normal, abnormal, test) if supervised else (normal, test)))

    return Method(score, group, supervised)


def _network(name: str, group: str, supervised: bool = True) -> Method:
    """The same for a function of semi_anogan.benchmarks.networks; supervised ones are given steps, flips and
    seed.
    """

    def score(images: Images):
        from semi_anogan.benchmarks.baselines import networks

        normal, abnormal, test = getattr(images, group)
        if supervised:
            return getattr(networks, name)(normal, abnormal, test, **images.training)
        return getattr(networks, name)(normal, test, seed=images.seed)

    return Method(score, group, supervised)


def _pixel_neighbours(images: Images) -> np.ndarray:
    from semi_anogan.benchmarks.baselines.classical import nearest_neighbours

    return nearest_neighbours(images.pixels[2], images.pixels[0])


def _largest_step(images: Images) -> np.ndarray:
    from semi_anogan.benchmarks.baselines.classical import largest_step

    return largest_step(images.model_sized[2])


METHODS = {
    "largest pixel step": Method(_largest_step, "model_sized"),  # trivial
    "PCA reconstruction": _simple("pca_reconstruction", "pixels"),
    "5-NN on pixels": Method(_pixel_neighbours, "pixels"),
    "5-NN on features": _simple("feature_neighbours", "features"),
    "logistic regression on features": _simple("logistic_regression", "features", supervised=True),
    "nearest patches": _network("nearest_patches", "large", supervised=False),
    "small CNN": _network("small_cnn", "model_sized"),
    "fine-tuned classifier": _network("finetuned_classifier", "large"),
}


def run(config, names: list[str], folder=None, steps: int = 500) -> dict[str, dict | None]:
    """Measures baselines on the test images of a configuration.

    Args:
      config: whose data, model.resolution, data.flips and seed are used.
      names: of METHODS.
      folder: where given, its baselines.json is kept up to date; what it holds is not measured again.
      steps: batches that the supervised networks are trained for.

    Returns:
      {name: {"image_auroc", "image_average_precision", "image_f1_max", "seconds"}}, seconds of training and
      scoring;
      None for a method that needs known abnormal images where there are none.

    Raises:
      RunError: unknown name, or some methods failed; the others have been measured.
    """
    from semi_anogan import backend

    for name in names:
        if name not in METHODS:
            raise RunError(f"methods: {name!r} is not one of {', '.join(METHODS)}")
    backend.set_deterministic(config.seed)
    settings, failed = _settings(config, steps), []
    found = read(folder, settings) if folder else {}
    images = Images(config, steps)
    for name in [name for name in names if name not in found]:
        try:
            found[name] = _measured(METHODS[name], images)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other methods are to be measured
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
    """What a folder holds, perhaps nothing. RunError for a damaged file, or one of other settings where
    given.
    """
    path = pathlib.Path(folder) / FILE
    if not path.exists():
        return {}
    values = run_folder.read_json(path)
    if not isinstance(values.get("results"), dict) or settings not in (None, values.get("settings")):
        raise RunError(f"{path}: not what baselines of these settings write; give another folder")
    return values["results"]


def _settings(config, steps: int) -> dict:
    """What the figures depend on, as it comes back from JSON."""
    data = {k: v for k, v in config.data.to_dict().items() if v is not None and k != "cache_megabytes"}
    size = {name: config.model[name] for name in ("resolution", "channels")}
    return json.loads(json.dumps({"data": data, **size, "seed": config.seed, "steps": steps}))


def _measured(method: Method, images: Images) -> dict | None:
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
