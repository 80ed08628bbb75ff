"""EdgeDetector: a bundle and an engine score images as the trained Detector does."""

import collections
import time
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from semi_anogan.data import ignore
from semi_anogan.data.images import Scale
from semi_anogan.export.runtime.bundle import Bundle, BundleError
from semi_anogan.export.runtime.engines import load_programs
from semi_anogan.export.runtime.search import Search
from semi_anogan.scoring.base_detector import BaseDetector, Preparation
from semi_anogan.scoring.calibration import Calibration


class EdgeDetection(NamedTuple):
    """Scores float32 [N], labels bool [N], maps: list of N float32 [H, W], each at its image's own size.

    EdgeDetector.regions makes the regions of labels and maps.
    """

    scores: np.ndarray
    labels: np.ndarray
    maps: list[np.ndarray]


class EdgeDetector(BaseDetector):
    """Scores images with an exported run, with numpy, Pillow and one engine.

    Args:
      bundle: folder that `python -m semi_anogan.export` wrote.
      engine: "onnx", "tflite" or "tensorrt".
      precision: one that was exported for the engine: "float32", "float16", "int8" (TFLite: 8-bit weights) or
        "int8_full".
      batch: images searched at once, one of the exported sizes; None for the largest. It does not change the
        scores.
      threads: of the CPU engines; None for all cores.
      budget_ms: time for one image, from its decoded pixels to its components. The search ends early where it
        must.
      providers: execution providers of ONNX Runtime; None for the CPU's.
      product: which one of a bundle of several products.

    Attributes:
      bundle.
      threshold: an image is abnormal if its score is above. pixel_threshold: as in BaseDetector.
      search_steps: the steps that the search of each measured image took (the fewest of its tiles). Who reads
        them takes them away.

    Raises: BundleError naming the file that is damaged or missing, or what the bundle does not have.
    """

    def __init__(
        self,
        bundle,
        engine: str,
        precision: str = "float32",
        batch: int | None = None,
        threads: int | None = None,
        budget_ms: float | None = None,
        providers=None,
        product: str | None = None,
    ):
        self.bundle = bundle if isinstance(bundle, Bundle) else Bundle(bundle, product)
        values = self.bundle.values
        if batch is None:
            batch = max(self.bundle.batches(engine, precision), default=1)
        if budget_ms is not None and budget_ms <= 0:
            raise BundleError(f"budget_ms must be above 0, got {budget_ms!r}")
        preparation = Preparation.of_bundle(values["images"])
        calibration = Calibration.from_dict(values["calibration"])
        super().__init__(preparation, batch, values["map"]["sigma_px"], calibration)
        self.scale = Scale(values["images"].get("white"), values["images"].get("black"))
        if mask := values["images"].get("ignore"):
            self.ignore = ignore.of_png(self.bundle.read(mask))
        self.kinds = tuple(values.get("kinds", ()))  # a bundle of before has none
        self.budget_ms = budget_ms
        self.exact = precision == "float32" and (budget_ms is None or values["search"] is None)
        self.programs = load_programs(self.bundle, engine, precision, batch, threads, providers)
        # Of a bundle of before there is none.
        self.summarises = "summary" in getattr(self.programs["score"], "outputs", ())
        self.search = None
        if values["search"] is not None:
            self.search = Search(self.programs["encode"], self.programs["search_step"], values["search"])
        self.search_steps: collections.deque[int] = collections.deque()
        # Of its image's budget, for each tile that waits.
        self._shares: collections.deque[float] = collections.deque()
        self._budget = self._score_seconds = 0.0
        if budget_ms is not None:
            self._warm_up()

    def _warm_up(self):
        """So that the first images do not pay for what engines do once, and the time of a step is known."""
        budget, self.budget_ms = self.budget_ms, None
        images = np.zeros((self.batch_size, *self.image_shape, self.channels), np.float32)
        for _ in range(2):
            self._measure_batch(images)
        self.budget_ms = budget

    def __call__(self, images: Iterable[np.ndarray]) -> EdgeDetection:
        """Scores images, each [H, W, C] or [H, W], uint8 or float in [-1, 1], of any size."""
        images = self._several(images)
        results = [self.judge(m) for m in self.measure(images, combined=True, pictures=False)]
        self.search_steps.clear()
        values, labels, maps = zip(*results, strict=True) if results else ((), (), ())
        return EdgeDetection(np.array(values, np.float32), np.array(labels, bool), list(maps))

    def _with_kinds(self, images):
        yield from super()._with_kinds(images)
        self.search_steps.clear()

    def _several(self, images) -> list[np.ndarray]:
        """The images of a call; ValueError for a single one, whose rows would be taken as images."""
        shape = getattr(images, "shape", ())
        if len(shape) == 2 or len(shape) == 3 and shape[-1] in (1, 3):
            raise ValueError(
                f"images must be several, got one of shape {tuple(shape)}; of a single image give image[None]"
            )
        images = list(images)
        self.tell_of_range(images)
        return images

    def _combined(self, layers: np.ndarray) -> np.ndarray:
        return layers[..., 0]  # the exported graph has combined them

    def _measure_batch(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        """Components [B, K], the map before its smoothing [B, h, w, 1] and what else BaseDetector says."""
        return self._measured(images, [])

    def _measure_kinds(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        return self._measured(images, ["kinds"])

    def _measured(self, images: np.ndarray, more: list[str]) -> tuple[np.ndarray, ...]:
        begun, inputs = time.perf_counter(), {"images": images}
        self._steps = np.zeros(len(images), np.int64)
        if self.search is not None:
            deadline = None if self.budget_ms is None else begun + self._budget - 1.2 * self._score_seconds
            inputs["latents"], self._steps = self.search(images, deadline)
        before = time.perf_counter()
        out = self.programs["score"](inputs)
        self._score_seconds = time.perf_counter() - before
        more = [*(["summary"] if self.summarises else []), *more]
        more += ["reconstruction"] if self.search is not None else []
        return out["components"], out["raw_map"][..., None], *(out[name] for name in more)

    def _prepare(self, image):
        size, working_size, parts = super()._prepare(image)
        self._shares.extend([1 / len(parts)] * len(parts))
        return size, working_size, parts

    def _run(self, images, kinds=False):
        shares = sum(self._shares.popleft() for _ in images)
        self._budget = 0.0 if self.budget_ms is None else shares * self.budget_ms / 1000
        rows = super()._run(images, kinds)
        # Not strict: the steps are those of a whole batch, which the images may not fill.
        return [(*row, steps) for row, steps in zip(rows, self._steps, strict=False)]

    def _add(self, assembly, row):
        *row, steps = row
        assembly.steps = min(steps, getattr(assembly, "steps", steps))
        super()._add(assembly, row)

    def _closed(self, assembly):
        self.search_steps.append(int(assembly.steps))
        return super()._closed(assembly)
