"""python -m semi_anogan.evaluate: scores a run's test images again.

Writes metrics.json, scores.csv, report.html and plots/.
"""

import csv
import dataclasses
import pathlib
from collections.abc import Sequence

from absl import flags

from semi_anogan import cli
from semi_anogan.errors import RunError
from semi_anogan.evaluation import nearest_kind
from semi_anogan.evaluation.metrics import unavailable
from semi_anogan.evaluation.report import page
from semi_anogan.evaluation.results import metrics_of, no_results, score_test_images
from semi_anogan.files import told_writing


def main(argv):
    """Evaluates a finished run again: python -m semi_anogan.evaluate --workdir=DIR [--data_root=DIR]"""
    del argv
    from semi_anogan.runs import folder as run_folder
    from semi_anogan.runs import places

    folder = pathlib.Path(flags.FLAGS.workdir)
    run_folder.check_format(folder)  # before Keras, which takes seconds
    config = run_folder.load_config(folder)
    places.find(config, folder, flags.FLAGS.data_root)
    cli.load_framework()
    from semi_anogan.data.check_files import read_all
    from semi_anogan.runs import aspect, build
    from semi_anogan.scoring.detector import Detector

    detector = Detector.load(folder)
    dataset, splits, _ = build.load_data(config, folder)
    notes = []
    if dataset.files is not None:  # they need not be those that the training has read
        read_all(dataset, splits.test, resolution=aspect.features_side(config) or config.model.resolution)
        notes = dataset.notes.lines()
        for line in notes:
            print(f"note: {line}")
    evaluate(config, folder, detector, dataset, splits, run_folder.read_progress(folder), notes)
    if flags.FLAGS.data_root is not None:
        places.remember(folder, config)


def evaluate(config, folder, detector, dataset, splits, progress, notes: Sequence[str] = ()) -> dict:
    """Scores the test images and writes what a run folder holds of them; returns the metrics.

    Without test images the report shows the held-out training images instead, without figures of them.

    Args: config; folder: the run folder; detector: calibrated; dataset, splits: as build.load_data gives;
      progress: the checkpoint's, for training time and loss history; notes: on the test images, for the
      report where they are others than those of the training.
    """
    from semi_anogan.evaluation.report.gather import report_of_run
    from semi_anogan.runs import folder as run_folder
    from semi_anogan.runs import known_files

    folder, held_out = pathlib.Path(folder), None
    if splits.test:
        results = score_test_images(detector, dataset, splits.test)
    else:
        results = no_results(detector)
        held_out = score_test_images(detector, dataset, splits.held_out_normal + splits.held_out_abnormal)
    metrics = metrics_of(detector, results, splits, progress)
    if detector.chosen is not None:  # no rate was asked of it
        metrics |= {"false_alarm_rate_asked": None, "threshold_chosen": detector.chosen._asdict()}
    nearest = nearest_kind.of_run(config, detector, dataset, splits)
    if nearest:
        metrics["nearest_known_kinds"] = nearest
    counts = metrics["counts"]
    missing = unavailable(metrics, counts["test_normal"], counts["test_abnormal"])
    if not splits.test:
        metrics = {key: value for key, value in metrics.items() if key not in missing}
    if missing:
        metrics["not_available"] = missing
    run_folder.write_json(folder / run_folder.METRICS, metrics)
    with told_writing(folder, RunError):
        _write_scores(folder / run_folder.SCORES, splits.test, results, detector)
    differing = known_files.evaluated(folder, dataset, splits)
    told = [*differing, *(f"of the test images of now: {line}" for line in notes if differing)]
    report = report_of_run(config, folder, detector, dataset, splits, progress["history"], results, metrics)
    report = dataclasses.replace(
        report,
        held_out=held_out and (held_out.abnormal, held_out.scores),
        warnings=[*([detector.chosen.told()] if detector.chosen else []), *report.warnings],
        data_notes=run_folder.data_notes(folder, dataset.notes.lines(), go_on=True) + told,
    )
    with told_writing(folder, RunError):
        path = page.write_report(folder, report)
    _print_summary(metrics, path, held_out)
    for warning in [*report.warnings, *differing]:
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


def _print_summary(values: dict, path, held_out):
    """Prints the main figures; held_out: Results of held-out images, where there are no test images."""

    def text(name, form="{:.3f}"):
        return "none" if values.get(name) is None else form.format(values[name])

    if held_out is not None:
        normal = held_out.scores[~held_out.abnormal]
        print(
            f"no test images; at threshold {text('threshold')}: {(normal > values['threshold']).sum()} of "
            f"{len(normal)} held-out normal images are above"
        )
    else:
        print(
            f"image AUROC {text('image_auroc')}; at threshold {text('threshold')}: false alarms "
            f"{text('image_false_alarm_rate', '{:.1%}')}, recall {text('image_recall', '{:.1%}')}"
        )
    for why in sorted(set(values.get("not_available", {}).values())) if held_out is None else ():
        print(f"what is none cannot be had: {why}")
    for kind, found in values.get("kinds", {}).items():
        low, high = found["image_recall_interval"]
        print(
            f"{kind}: {found['count']} images, recall {found['image_recall']:.1%} ({low:.0%} to {high:.0%})"
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
    flags.DEFINE_string("data_root", None, "folder of the images, where they were moved")
    cli.run(main)
