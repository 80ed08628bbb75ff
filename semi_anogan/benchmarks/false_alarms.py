"""Whether a threshold gives the false-alarm rate it was asked for.

It is calibrated again and again on a part of what a run holds out, and the rest is counted.
"""

import functools

import numpy as np

from semi_anogan.benchmarks.results import machine, table
from semi_anogan.runs import build
from semi_anogan.runs import folder as run_folder
from semi_anogan.scoring.calibration import HeldOut
from semi_anogan.scoring.detector import Detector

CALIBRATING_SHARE = 2 / 3  # of the held-out normal images; the rest are counted
CALIBRATING = ("normal", "abnormal", "synthetic", "known", "trained")  # what calibrates
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
        detector, components = detector_and_components(folder)
        fuse = functools.partial(detector.fuse, base=detector.calibration.base)
        for rate in rates:
            figures = [observed(fuse, components, rate, seed) for seed in seeds]
            name, count = folder.rstrip("/").split("/")[-1], figures[0]["calibrated_on"]
            rows.append([name, rate, count, *_summary(figures)])
            everything[rate] += figures
    if len(folders) > 1:
        rows += [["all", rate, "", *_summary(figures)] for rate, figures in everything.items()]
    return f"Machine: {machine()}. {len(seeds)} draws each.\n\n{table(HEADER, rows)}"


def detector_and_components(folder) -> tuple:
    """(detector of a finished run, components [N, K] of its images by what they are).

    Those of CALIBRATING calibrate it; "test_normal" and "test_abnormal" are the test images. "mislabelled"
    and "checked" are bool [N]: which of the "normal" ones the source knows to be abnormal, and which a person
    found normal; "checked" goes on with the trained ones.
    """
    from semi_anogan.training.fit_detector import held_out_images

    config, detector = run_folder.load_config(folder), Detector.load(folder)
    dataset, splits, _ = build.load_data(config)

    def read(examples, what=""):
        return (dataset.read_image(example) for example in examples)

    held_out = held_out_images(config, dataset, splits, detector, read)
    images = {name: getattr(held_out, name) for name in CALIBRATING}
    images["test_normal"] = read([e for e in splits.test if not e.abnormal])
    images["test_abnormal"] = read([e for e in splits.test if e.abnormal])
    empty = np.zeros((0, len(detector.names)), np.float32)
    found = {what: [m.components for m in detector.measure(parts)] for what, parts in images.items()}
    components = {what: np.stack(rows) if rows else empty for what, rows in found.items()}
    if len(held_out.trained_memory):
        components["trained"][:, detector.names.index("memory")] = held_out.trained_memory
    return detector, {
        **components,
        "mislabelled": np.array([e.mislabelled for e in splits.held_out_normal]),
        "checked": np.array(held_out.checked),
    }


def observed(fuse, components: dict, rate: float, seed: int) -> dict[str, float]:
    """What a threshold gives that is fitted on a random CALIBRATING_SHARE of the held-out normal images.

    Args: fuse: as Detector.fuse; components: as detector_and_components gives them; rate: asked for; seed: of
      the draw.
    Returns: calibrated_on: how many images; held_out: rate among the rest of them; test, recall: among the
      test images.
    """
    normal = components["normal"]
    order = np.random.default_rng(seed).permutation(len(normal))
    count = round(CALIBRATING_SHARE * len(normal))
    checked = components["checked"]
    calibrating = HeldOut(
        normal=normal[order[:count]],
        checked=np.concatenate([checked[: len(normal)][order[:count]], checked[len(normal) :]]),
        **{name: components[name] for name in CALIBRATING[1:]},
    )
    fitted = fuse(calibrating, rate)

    def above(values):
        return float(np.mean(fitted.score(values) > fitted.threshold))

    return {
        "calibrated_on": count,
        "held_out": above(normal[order[count:]][~components["mislabelled"][order[count:]]]),
        "test": above(components["test_normal"]),
        "recall": above(components["test_abnormal"]),
    }


def _summary(figures: list[dict]) -> list:
    """The cells of a row: mean and range of the false alarms, held out and test, and the mean recall."""
    held_out, test = ([f[name] for f in figures] for name in ("held_out", "test"))
    cells = []
    for values in (held_out, test):
        cells += [float(np.mean(values)), f"{min(values):.3f} to {max(values):.3f}"]
    return [*cells, float(np.mean([f["recall"] for f in figures]))]
