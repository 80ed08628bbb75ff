"""What a look at the most suspicious training images is worth.

The source's truth stands in for the person, and the detector is fitted anew.
"""

import pathlib
import tempfile

from semi_anogan.benchmarks.results import machine, table
from semi_anogan.errors import RunError
from semi_anogan.runs import build, places
from semi_anogan.runs import folder as run_folder
from semi_anogan.scoring.detector import Detector

HEADER = [
    "run",
    "looked at",
    "found abnormal",
    "image AUROC",
    "false alarms",
    "recall",
    "pixel AUROC",
    "AUPRO",
]
KEYS = ("image_auroc", "image_false_alarm_rate", "image_recall", "pixel_auroc", "pixel_aupro")


def run(folders: list[str], rounds: int, count: int) -> str:
    """Markdown: of each finished run the figures on its test images, before and after each round.

    In a round the first `count` of its suspicious.csv that have no label yet get the true one. The networks
    stay as they are; nothing is written to the run folders.

    Raises: RunError for a folder without a finished run, or of data whose source does not know what it hid.
    """
    rows = []
    for folder in folders:
        name = pathlib.Path(folder).name
        for looked_at, found, values in reviewed(folder, rounds, count):
            figures = (values.get(key) for key in KEYS)
            cells = ("–" if figure is None else float(figure) for figure in figures)
            rows.append([name, looked_at, found, *cells])
    return f"Machine: {machine()}.\n\n{table(HEADER, rows)}"


def reviewed(folder, rounds: int, count: int):
    """Yields (images looked at, abnormal ones among them, metrics on the test images), at first with none."""
    from semi_anogan.data.review import Review
    from semi_anogan.data.splits import apply_labels
    from semi_anogan.evaluation.results import metrics_of, score_test_images
    from semi_anogan.runs import suspicious_csv
    from semi_anogan.training.fit_detector import fit_detector

    config, model = run_folder.load_config(folder), Detector.load(folder).model
    places.find(config, folder)
    dataset, splits, _ = build.load_data(config, folder)
    truth = {e.path: "abnormal" if e.mislabelled else e.label for e in dataset.examples if e.split == "train"}
    if not any(e.mislabelled for e in dataset.examples):
        raise RunError(
            f"{folder}: the source {config.data.name!r} does not know which of its normal training images "
            "are abnormal"
        )
    progress, labels = run_folder.read_progress(folder), {}
    with tempfile.TemporaryDirectory() as temporary:
        for done in range(rounds + 1):
            now = apply_labels(splits, labels, run_folder.SUSPICIOUS)
            detector = fit_detector(config, temporary, model, dataset, now)
            values = metrics_of(detector, score_test_images(detector, dataset, now.test), now, progress)
            yield len(labels), sum(each.label == "abnormal" for each in labels.values()), values
            if done < rounds:
                file = pathlib.Path(temporary) / run_folder.SUSPICIOUS
                found = suspicious_csv.read_highest(file, count)
                labels |= {path: Review(truth[path]) for path, _ in found}
