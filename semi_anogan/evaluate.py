"""python -m semi_anogan.evaluate: scores a run's test images again.

Writes metrics.json, scores.csv, report.html and plots/.
"""

import csv
import pathlib

from absl import flags

from semi_anogan import cli
from semi_anogan.errors import DataError, RunError
from semi_anogan.evaluation.report import page
from semi_anogan.evaluation.results import metrics_of, score_test_images
from semi_anogan.files import told_writing


def main(argv):
    """Evaluates a finished run again: python -m semi_anogan.evaluate --workdir=DIR"""
    del argv
    from semi_anogan.runs import folder as run_folder

    folder = pathlib.Path(flags.FLAGS.workdir)
    run_folder.check_format(folder)  # before Keras, which takes seconds
    cli.load_framework()
    from semi_anogan.runs import build
    from semi_anogan.scoring.detector import Detector

    config = run_folder.load_config(folder)
    detector = Detector.load(folder)
    dataset, splits, _ = build.load_data(config)
    evaluate(config, folder, detector, dataset, splits, run_folder.read_progress(folder))


def evaluate(config, folder, detector, dataset, splits, progress) -> dict:
    """Scores the test images and writes what a run folder holds of them; returns the metrics.

    Args: config; folder: the run folder; detector: calibrated; dataset, splits: as build.load_data gives;
      progress: the checkpoint's, for training time and loss history.
    """
    from semi_anogan.evaluation.report.gather import report_of_run
    from semi_anogan.runs import folder as run_folder

    if not splits.test:
        raise DataError(f"data source {dataset.name}: has no test images to evaluate on")
    folder = pathlib.Path(folder)
    results = score_test_images(detector, dataset, splits.test)
    metrics = metrics_of(detector, results, splits, progress)
    run_folder.write_json(folder / run_folder.METRICS, metrics)
    with told_writing(folder, RunError):
        _write_scores(folder / run_folder.SCORES, splits.test, results, detector)
    report = report_of_run(config, folder, detector, dataset, splits, progress["history"], results, metrics)
    with told_writing(folder, RunError):
        path = page.write_report(folder, report)
    _print_summary(metrics, path)
    for warning in report.warnings:
        print(f"note: {warning}")
    return metrics


def _write_scores(path, examples, results, detector):
    # surrogateescape: file names that are not UTF-8 come out as they are
    with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "truth", "score", "label", *detector.names])
        for example, score, components in zip(examples, results.scores, results.components, strict=True):
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
    if values.get("region_recall") is not None:
        print(
            f"regions touch {text('region_recall', '{:.1%}')} of the defects, pixel F1 "
            f"{text('region_pixel_f1')}; {text('regions_per_normal_image', '{:.3f}')} in a normal image"
        )
    print(f"report: {path}")


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "run folder of a finished training", required=True)
    cli.run(main)
