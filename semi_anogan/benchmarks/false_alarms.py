"""Whether a threshold gives the false-alarm rate it was asked for.

It is calibrated again and again on a part of what a run holds out, and the rest is counted.
"""

import dataclasses

import numpy as np

from semi_anogan.benchmarks.recorded import Recorded
from semi_anogan.benchmarks.results import machine, table

CALIBRATING_SHARE = 2 / 3  # of the held-out normal images; the rest are counted
HEADER = [
    "run",
    "asked",
    "calibrated on",
    "held out: mean",
    "lowest to highest",
    "test: mean",
    "lowest to highest",
    "recall",
]


def run(folders: list[str], rates: list[float], seeds: list[int]) -> str:
    """Markdown: for each finished run and rate the false alarms over the draws of `seeds`.

    They are counted among held-out normal images that the threshold did not see, and among the test images.
    Weights and threshold are fitted anew each time; the networks stay. Images that the source itself hid
    among the normal ones help to calibrate, as in a training, but are not counted. Of several runs the last
    rows are over all.

    Raises: RunError for a folder without a finished run.
    """
    rows, everything = [], {rate: [] for rate in rates}
    for folder in folders:
        recorded = Recorded.of_run(folder)
        for rate in rates:
            figures = [observed(recorded, rate, seed) for seed in seeds]
            name, count = folder.rstrip("/").split("/")[-1], figures[0]["calibrated_on"]
            rows.append([name, rate, count, *_summary(figures)])
            everything[rate] += figures
    if len(folders) > 1:
        rows += [["all", rate, "", *_summary(figures)] for rate, figures in everything.items()]
    return f"Machine: {machine()}. {len(seeds)} draws each.\n\n{table(HEADER, rows)}"


def observed(recorded: Recorded, rate: float, seed: int) -> dict[str, float]:
    """What a threshold gives that is fitted on a random CALIBRATING_SHARE of the held-out normal images.

    Args: rate: asked for; seed: of the draw.
    Returns: calibrated_on: how many images; held_out: rate among the rest of them; test, recall: among the
      test images.
    """
    held_out = recorded.evidence.held_out
    normal, checked = (
        np.asarray(held_out.normal),
        np.zeros(len(held_out.normal) + len(held_out.trained), bool),
    )
    checked[np.flatnonzero(held_out.checked)] = True
    order = np.random.default_rng(seed).permutation(len(normal))
    count = round(CALIBRATING_SHARE * len(normal))
    drawn = dataclasses.replace(
        held_out,
        normal=normal[order[:count]],
        checked=np.concatenate([checked[: len(normal)][order[:count]], checked[len(normal) :]]),
    )
    fitted = dataclasses.replace(recorded.evidence, held_out=drawn).calibration(rate)

    def above(values):
        return float(np.mean(fitted.score(values) > fitted.threshold))

    return {
        "calibrated_on": count,
        "held_out": above(normal[order[count:]][~recorded.mislabelled[order[count:]]]),
        "test": above(recorded.test[~recorded.abnormal]),
        "recall": above(recorded.test[recorded.abnormal]),
    }


def _summary(figures: list[dict]) -> list:
    """The cells of a row: mean and range of the false alarms, held out and test, and the mean recall."""
    held_out, test = ([f[name] for f in figures] for name in ("held_out", "test"))
    cells = []
    for values in (held_out, test):
        cells += [float(np.mean(values)), f"{min(values):.3f} to {max(values):.3f}"]
    return [*cells, float(np.mean([f["recall"] for f in figures]))]
