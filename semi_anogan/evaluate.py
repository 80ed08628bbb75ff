"""python -m semi_anogan.evaluate: scores a run's test images again and writes metrics.json, scores.csv,
report.html and plots/.
"""

import contextlib
import csv
import pathlib
import time

import numpy as np
from absl import flags

from semi_anogan import cli

LEAST_VARIETY = 0.3  # of the generated images, below which the report warns
DIFFERENCE_EDGES = np.linspace(0.0, 2.0, 81)  # |x - G(z*)| of values in [-1, 1]


def main(argv):
    """Evaluates a finished run again: python -m semi_anogan.evaluate --workdir=DIR"""
    del argv
    cli.load_framework()
    from semi_anogan.runs import build
    from semi_anogan.runs import folder as run_folder
    from semi_anogan.scoring.detector import Detector

    folder = pathlib.Path(flags.FLAGS.workdir)
    config = run_folder.load_config(folder)
    detector = Detector.load(folder)
    dataset, splits, _ = build.load_data(config)
    evaluate(config, folder, detector, dataset, splits, run_folder.read_progress(folder))


def evaluate(config, folder, detector, dataset, splits, progress) -> dict:
    """Scores the test images and writes what a run folder holds of them; returns the metrics.

    Args: config; folder: the run folder; detector: calibrated; dataset, splits: as build.load_data gives;
      progress: the
      checkpoint's, for training time and loss history.
    """
    from semi_anogan.config import words
    from semi_anogan.data.synthetic import training_kinds
    from semi_anogan.errors import DataError
    from semi_anogan.evaluation.report import page as report
    from semi_anogan.runs import folder as run_folder

    if not splits.test:
        raise DataError(f"data source {dataset.name}: has no test images to evaluate on")
    measured = measure(detector, dataset, splits.test)
    abnormal = np.array([e.abnormal for e in splits.test])
    values = metrics_of(detector, measured, splits, progress)
    collapse = _collapse(progress["history"]) if detector.search is not None else []
    warnings = [*detector.calibration.warnings, *collapse]
    kinds = training_kinds(words(config.objective.synthetic_kinds))
    folder = pathlib.Path(folder)
    run_folder.write_json(folder / run_folder.METRICS, values)
    with _writing(folder):
        _write_scores(folder / run_folder.SCORES, splits.test, measured, detector)
        chosen = report.choose_gallery(abnormal, measured.scores, detector.threshold)
        path = report.write_report(
            folder,
            report.Report(
                title=f"{config.name}: {dataset.name}",
                metrics=values,
                paths=[e.path for e in splits.test],
                abnormal=abnormal,
                scores=measured.scores,
                threshold=detector.threshold,
                config=config.to_dict(),
                components=measured.components,
                component_names=detector.names,
                pixel_differences=measured.pixel_differences if detector.search is not None else {},
                pixel_difference_edges=DIFFERENCE_EDGES,
                gallery=_gallery(detector, dataset, [(splits.test[i], group) for i, group in chosen]),
                suspicious=_suspicious(folder / run_folder.SUSPICIOUS, dataset),
                history=_history(progress["history"]),
                synthetic=_synthetic(config, dataset, splits.normal, kinds),
                synthetic_kinds=kinds,
                hidden_abnormal=sum(e.mislabelled for e in splits.normal + splits.held_out_normal) or None,
                warnings=warnings,
            ),
        )
    _print_summary(values, path)
    for warning in warnings:
        print(f"note: {warning}")
    return values


def metrics_of(detector, measured, splits, progress) -> dict:
    """What metrics.json holds; arguments as for evaluate, measured as `measure` gives it."""
    from semi_anogan.evaluation import metrics

    abnormal = np.array([e.abnormal for e in splits.test])
    return {
        **metrics.image_metrics(abnormal, measured.scores, detector.threshold),
        "components": metrics.component_auroc(list(detector.names), measured.components, abnormal),
        **measured.pixel_metrics,
        "counts": {
            "train_normal": len(splits.normal),
            "train_abnormal": len(splits.abnormal),
            "held_out_normal": len(splits.held_out_normal),
            "held_out_abnormal": len(splits.held_out_abnormal),
            "test_normal": int((~abnormal).sum()),
            "test_abnormal": int(abnormal.sum()),
        },
        "train_seconds": round(progress["seconds"], 1),
        "search_images_per_second": round(measured.images_per_second, 2),
    }


@contextlib.contextmanager
def _writing(folder):
    """Turns a full disk and its like into a RunError that names the file."""
    from semi_anogan.errors import RunError

    try:
        yield
    except OSError as error:
        raise RunError(f"{error.filename or folder}: cannot be written: {error.strerror or error}") from error


class Measured:
    """Figures of the test images, gathered one image at a time."""

    def __init__(self):
        from semi_anogan.evaluation.metrics import PixelMetrics

        self.pixels = PixelMetrics()
        self.has_masks = False
        self.pixel_differences = {
            name: np.zeros(len(DIFFERENCE_EDGES) - 1, np.int64) for name in ("normal", "abnormal")
        }

    def finish(self, scores, components, seconds):
        self.scores, self.components = np.array(scores), np.stack(components)
        self.images_per_second = len(scores) / max(seconds, 1e-9)
        self.pixel_metrics = self.pixels.result() if self.has_masks else {}
        return self


def measure(detector, dataset, examples) -> Measured:
    """Scores examples in order; maps are reduced to their statistics at once, so memory does not grow with
    them.
    """
    from semi_anogan.progress import shown

    measured, scores, components = Measured(), [], []
    masks = (dataset.read_mask(e) for e in examples if e.abnormal)
    measured.has_masks = any(mask is not None and mask.any() for mask in masks)
    images = (dataset.read_image(e) for e in examples)
    list(
        detector.measure([dataset.read_image(examples[0])])
    )  # compiles, which is no part of the images per second
    started = time.monotonic()
    found = detector.measure(images, overlap=True)
    for example, measurement in shown(zip(examples, found, strict=True), len(examples), "test"):
        score, _, anomaly_map = detector.judge(measurement)
        scores.append(score)
        components.append(measurement.components)
        if measurement.difference is not None:
            histogram = np.histogram(
                np.minimum(measurement.difference, DIFFERENCE_EDGES[-1]), DIFFERENCE_EDGES
            )[0]
            measured.pixel_differences[example.label] += histogram
        if measured.has_masks:
            mask = dataset.read_mask(example)
            if mask is None and not example.abnormal:
                mask = np.zeros(anomaly_map.shape, bool)
            if mask is not None:
                measured.pixels.update(anomaly_map, mask)
    return measured.finish(scores, components, time.monotonic() - started)


def _gallery(detector, dataset, chosen):
    """The gallery's items of (example, group) pairs, searched together: one alone costs as much as a batch."""
    from semi_anogan.data.images import to_channels
    from semi_anogan.evaluation.report.page import GalleryItem

    items = []
    images = (dataset.read_image(example) for example, _ in chosen)
    for (example, group), measurement in zip(chosen, detector.measure(images), strict=True):
        score, _, anomaly_map = detector.judge(measurement)
        items.append(
            GalleryItem(
                path=example.path,
                abnormal=example.abnormal,
                score=score,
                group=group,
                input=to_channels(dataset.read_image(example), detector.channels),
                reconstruction=measurement.reconstruction,
                difference=measurement.difference,
                anomaly_map=np.maximum(anomaly_map, 0.0),
                mask=dataset.read_mask(example),
            )
        )
    return items


def _suspicious(path, dataset, most: int = 20):
    """The "normal" training images that look most abnormal, for a person to check."""
    from semi_anogan.evaluation.report.page import SuspiciousImage
    from semi_anogan.runs import suspicious_csv

    examples = {e.path: e for e in dataset.examples}
    known = any(e.mislabelled for e in dataset.examples)  # else the source does not know the truth
    rows = [
        (examples[name], value) for name, value in suspicious_csv.read_highest(path, most) if name in examples
    ]
    return [
        SuspiciousImage(e.path, value, e.mislabelled if known else None, dataset.read_image(e))
        for e, value in rows
    ]


def _synthetic(config, dataset, normal, kinds, count: int = 7):
    """Normal training images with synthetic defects, as training draws them where it does."""
    from semi_anogan.data.batches import Batches, ImageStore
    from semi_anogan.runs import build

    if not config.objective.synthetic_weight:
        return []
    store = ImageStore(dataset, config.model.resolution, config.data.tile, 0, build.image_size(config))
    batches = Batches(
        store,
        normal,
        [],
        1,
        flips=config.data.flips,
        seed=config.seed,
        synthetic_share=1.0,
        synthetic_kinds=kinds,
    )
    return list(batches.batch(0, count)["images"][count:])


def _history(history: dict) -> dict:
    curves = {}
    for name, values in history.items():
        if name.endswith("_loss") or name in ("penalty", "variety"):
            pairs = [
                (seen, v) for seen, v in zip(history["images_seen"], values, strict=True) if v is not None
            ]
            curves[name] = tuple(zip(*pairs, strict=True))
    return curves


def _collapse(history: dict) -> list[str]:
    """A sentence where the generator draws nearly the same image whatever its latents, by the mean of the
    last figures of the training.
    """
    last = [v for v in history.get("variety", ()) if v is not None][-5:]
    if not last or np.mean(last) >= LEAST_VARIETY:
        return []
    return [
        f"the generator has collapsed: its images differ from each other by {np.mean(last):.0%} of what normal images do, so reconstructions, "
        "residual and search say little; train longer (schedule.total_kimages), or leave the search out (score.components)"
    ]


def _write_scores(path, examples, measured, detector):
    # surrogateescape: file names that are not UTF-8 come out as they are
    with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "truth", "score", "label", *detector.names])
        for example, score, components in zip(examples, measured.scores, measured.components, strict=True):
            label = "abnormal" if score > detector.threshold else "normal"
            writer.writerow(
                [example.path, example.label, f"{score:.6g}", label, *(f"{c:.6g}" for c in components)]
            )


def _print_summary(values: dict, path):
    def text(name, form="{:.3f}"):
        return "none" if values.get(name) is None else form.format(values[name])

    print(
        f"image AUROC {text('image_auroc')}; at threshold {text('threshold')}: false alarms "
        f"{text('image_false_alarm_rate', '{:.1%}')}, recall {text('image_recall', '{:.1%}')}"
    )
    if values.get("pixel_auroc") is not None:
        print(f"pixel AUROC {text('pixel_auroc')}, AUPRO {text('pixel_aupro')}")
    print(f"report: {path}")


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "run folder of a finished training", required=True)
    cli.run(main)
