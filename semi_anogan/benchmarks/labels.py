"""What labels of newly scored images are worth, those chosen by review/worth.py beside others at random.

Half of a run's test images come in from the line, few of them abnormal; the truth stands in for the person.
The detector is fitted again as `--refit` does, without training the networks, and judges the other half.
"""

import copy
import dataclasses
import pathlib
import tempfile
import time
from collections.abc import Iterator, Sequence

import numpy as np

from semi_anogan.benchmarks.results import machine, table
from semi_anogan.data import record
from semi_anogan.data.dataset import Example
from semi_anogan.data.look import look
from semi_anogan.data.splits import Splits
from semi_anogan.review import worth
from semi_anogan.runs import build, places
from semi_anogan.runs import folder as run_folder
from semi_anogan.scoring.detector import Detector
from semi_anogan.scoring.parts import read_parts

ABNORMAL_SHARE = 0.1  # of what comes in
HEADER = [
    "run",
    "order",
    "labels",
    "abnormal ones",
    "image AUROC",
    "false alarms",
    "recall",
    "AUPRO",
    "fit, s",
]
KEYS = ("image_auroc", "image_false_alarm_rate", "image_recall", "pixel_aupro")


def run(folders: Sequence[str], counts: Sequence[int], anew: bool = False, seed: int = 0) -> str:
    """Markdown: of each finished run the figures after so many labels; nothing is written to its folder.

    anew: beside the fit after the most labels also a whole training with them.
    """
    rows = []
    for folder in folders:
        rows += [[pathlib.Path(folder).name, *row] for row in _rows(folder, counts, seed, anew)]
    return f"Machine: {machine()}.\n\n{table(HEADER, rows)}"


def _rows(folder, counts: Sequence[int], seed: int, anew: bool = False) -> Iterator[list]:
    from semi_anogan.evaluation.results import metrics_of, score_test_images
    from semi_anogan.training.fit_detector import fit_detector

    config, detector = run_folder.load_config(folder), Detector.load(folder)
    places.find(config, folder)
    dataset, splits, _ = build.load_data(config, folder)
    incoming, test = halves(splits.test, seed)
    splits = dataclasses.replace(splits, test=test)
    scores = [detector.judge(m)[0] for m in detector.measure(map(dataset.masked, incoming), pictures=False)]
    progress = run_folder.read_progress(folder)
    former = read_parts(pathlib.Path(folder), ["segmentation"])

    def figures(judge, what: str, labelled: Sequence[Example], seconds):
        values = metrics_of(judge, score_test_images(judge, dataset, test), splits, progress)
        cells = ("–" if values.get(key) is None else float(values[key]) for key in KEYS)
        return [what, len(labelled), sum(e.abnormal for e in labelled), *cells, seconds]

    yield figures(detector, "–", (), "–")
    described = worth.order(
        scores, detector.threshold, lambda i: look(dataset.read_image(incoming[i])).picture
    )
    orders = {"worth": described, "random": np.random.default_rng(seed).permutation(len(incoming))}
    for name, order in orders.items():
        for count in counts:
            labelled = [incoming[i] for i in order[:count]]
            started = time.perf_counter()
            with tempfile.TemporaryDirectory() as temporary:
                now = joined(config, dataset, splits, labelled)
                fitted = fit_detector(config, temporary, detector.model, dataset, now, **former)
            seconds = time.perf_counter() - started
            yield figures(fitted, name, labelled, round(seconds))
        if anew and name == "worth":
            started = time.perf_counter()
            fitted = _trained_anew(config, dataset, joined(config, dataset, splits, labelled))
            yield figures(fitted, "worth, trained anew", labelled, round(time.perf_counter() - started))


def _trained_anew(config, dataset, splits: Splits) -> Detector:
    """The detector of networks that are trained with these splits from the beginning."""
    from semi_anogan.training.fit_detector import fit_detector
    from semi_anogan.training.loop import Training

    config = copy.deepcopy(config)
    config.features.trainable_blocks = None  # it follows from how many are known now
    build.resolve(config, len(splits.abnormal))
    with tempfile.TemporaryDirectory() as temporary:
        model = Training(config, temporary, splits, build.image_store(config, dataset)).run()
        return fit_detector(config, temporary, model, dataset, splits)


def halves(test: Sequence[Example], seed: int) -> tuple[list[Example], list[Example]]:
    """(what comes in, what is judged) of test images: half of the normal ones each.

    Of the abnormal ones as many come in that they are ABNORMAL_SHARE of it, half at most; the rest is judged.
    """
    rng = np.random.default_rng(seed)
    normal, abnormal = ([e for e in test if e.abnormal == which] for which in (False, True))
    normal, abnormal = ([part[i] for i in rng.permutation(len(part))] for part in (normal, abnormal))
    half = len(normal) // 2
    few = min(len(abnormal) // 2, round(ABNORMAL_SHARE / (1 - ABNORMAL_SHARE) * half))
    incoming = normal[:half] + abnormal[:few]
    return [incoming[i] for i in rng.permutation(len(incoming))], normal[half:] + abnormal[few:]


def joined(config, dataset, splits: Splits, labelled: Sequence[Example]) -> Splits:
    """The splits with labelled images, as `--refit` takes them in."""
    parts = [
        (record.TRAIN, splits.normal + splits.abnormal),
        (record.HELD_OUT, splits.held_out_normal + splits.held_out_abnormal),
    ]
    rows = [record.Row(e.path, use, e.label, 0, "") for use, part in parts for e in part]
    new = [dataclasses.replace(e, reviewed=True) for e in labelled]
    found = record.joined(
        dataset, rows, record.Changes(new=new), config.calibration.hold_out_share, config.seed
    )
    return dataclasses.replace(build.labelled(dataset, found), test=splits.test)
