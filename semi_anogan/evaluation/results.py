"""What a detector says of the test images, and the metrics of it."""

import dataclasses
import time

import numpy as np

from semi_anogan.evaluation import by_kind, metrics
from semi_anogan.evaluation.by_kind import RegionOverlaps
from semi_anogan.progress import shown
from semi_anogan.scoring.regions import union

DIFFERENCE_EDGES = np.linspace(0.0, 2.0, 81)  # |x - G(z*)| of values in [-1, 1]


@dataclasses.dataclass(frozen=True)
class Results:
    """What was found in N test images.

    Attributes:
      abnormal: bool [N], the truth.
      scores: float [N].
      components: float [N, K], in the order of Detector.names.
      pixel_metrics: as metrics.PixelMetrics and, with a pixel threshold, RegionMetrics give them; empty where
        no image has a mask.
      pixel_differences: label -> counts of the pixels' differences over DIFFERENCE_EDGES, the largest with
        the last; all 0 without a search.
      images_per_second: that were scored.
      region_areas: image -> what each of its defects brings to the AUPRO; None without masks.
    """

    abnormal: np.ndarray
    scores: np.ndarray
    components: np.ndarray
    pixel_metrics: dict[str, float | None]
    pixel_differences: dict[str, np.ndarray]
    images_per_second: float
    region_areas: dict[int, np.ndarray] | None = None


def score_test_images(detector, dataset, examples) -> Results:
    """Scores examples in order; maps are reduced to their statistics at once, so memory does not grow."""
    pixels = metrics.PixelMetrics() if _have_masks(dataset, examples) else None
    regions = metrics.RegionMetrics() if pixels and detector.pixel_threshold is not None else None
    overlaps = RegionOverlaps()
    differences = {label: np.zeros(len(DIFFERENCE_EDGES) - 1, np.int64) for label in ("normal", "abnormal")}
    scores, components = [], []
    # The first image compiles the detector, which is no part of the images per second.
    list(detector.measure([dataset.read_image(examples[0])]))
    started = time.monotonic()
    measured = detector.measure(map(dataset.masked, examples), overlap=True, combined=True)
    for example, measurement in shown(zip(examples, measured, strict=True), len(examples), "test"):
        score, label, anomaly_map = detector.judge(measurement)
        scores.append(score)
        components.append(measurement.components)
        if measurement.difference is not None:
            largest = DIFFERENCE_EDGES[-1]
            counts, _ = np.histogram(np.minimum(measurement.difference, largest), DIFFERENCE_EDGES)
            differences[example.label] += counts
        mask = _mask(dataset, example, anomaly_map.shape) if pixels else None
        if mask is not None:
            pixels.update(anomaly_map, mask, measurement.ignored)
            overlaps.update(len(scores) - 1, anomaly_map, mask)
            if regions:
                (found,) = detector.regions([label], [anomaly_map])
                regions.update(union(found, mask.shape), mask, example.abnormal)
    seconds = time.monotonic() - started
    return Results(
        abnormal=np.array([e.abnormal for e in examples]),
        scores=np.array(scores),
        components=np.stack(components),
        pixel_metrics={k: v for part in (pixels, regions) if part for k, v in part.result().items()},
        pixel_differences=differences,
        images_per_second=len(scores) / max(seconds, 1e-9),
        region_areas=overlaps.areas(pixels) if pixels else None,
    )


def no_results(detector) -> Results:
    """The Results where there are no test images."""
    none = np.zeros(0)
    return Results(none.astype(bool), none, np.zeros((0, len(detector.names))), {}, {}, 0.0)


def metrics_of(detector, results: Results, splits, progress) -> dict:
    """What metrics.json holds.

    Args: detector: the one that scored; splits: of the run, whose test images the results are of; progress:
      the checkpoint's, for the training time.
    """
    abnormal = results.abnormal
    kinds = by_kind.figures(
        [e.kind for e in splits.test], abnormal, results.scores, detector.threshold, results.region_areas
    )
    return {
        **metrics.image_metrics(abnormal, results.scores, detector.threshold),
        "pixel_threshold": detector.pixel_threshold,
        "false_alarm_rate_asked": detector.calibrated.false_alarm_rate,
        "false_alarm_interval": list(detector.calibrated.false_alarm_interval) or None,
        "components": metrics.component_auroc(list(detector.names), results.components, abnormal),
        **results.pixel_metrics,
        **({"kinds": kinds} if kinds else {}),
        "counts": {
            "train_normal": len(splits.normal),
            "train_abnormal": len(splits.abnormal),
            "held_out_normal": len(splits.held_out_normal),
            "held_out_abnormal": len(splits.held_out_abnormal),
            "test_normal": int((~abnormal).sum()),
            "test_abnormal": int(abnormal.sum()),
        },
        "train_seconds": round(progress["seconds"], 1),
        "search_images_per_second": round(results.images_per_second, 2),
    }


def _have_masks(dataset, examples) -> bool:
    """Whether a mask shows a defect in any of the abnormal examples."""
    masks = (dataset.read_mask(e) for e in examples if e.abnormal)
    return any(mask is not None and mask.any() for mask in masks)


def _mask(dataset, example, shape) -> np.ndarray | None:
    """The example's mask: that of a normal image is empty, that of an abnormal one may not be known."""
    mask = dataset.read_mask(example)
    if mask is None and not example.abnormal:
        mask = np.zeros(shape, bool)
    return mask
