"""AUROC of every exported format on the test images of a run, beside that of the Keras model."""

import time

import numpy as np

from semi_anogan.errors import RunError
from semi_anogan.evaluation import metrics
from semi_anogan.export.parity import why_not_here
from semi_anogan.export.runtime.bundle import Bundle
from semi_anogan.export.runtime.detector import EdgeDetector
from semi_anogan.runs import build, places
from semi_anogan.runs import folder as run_folder
from semi_anogan.scoring.detector import Detector

# Most that the image AUROC may differ from the model's, by precision.
TOLERANCES = {"float32": 0.001, "float16": 0.005, "int8": 0.01, "int8_full": 0.01}


def compare(bundle: Bundle, workdir, data_root: str | None = None) -> list[dict]:
    """A row for the model and one for each format and precision: image AUROC and time per image.

    A format is taken at its largest batch; one whose engine cannot run here is left out. data_root: folder of
    the images, where they were moved.

    Raises: RunError where the run cannot be loaded, its test images are all of one kind, or the bundle is of
      another run, or of before a refit: what of the difference is the export's could not be said.
    """
    config = run_folder.load_config(workdir)
    places.find(config, workdir, data_root)
    detector = Detector.load(workdir)
    check_same(bundle, detector.threshold, workdir)
    dataset, splits, _ = build.load_data(config, workdir)
    abnormal = np.array([e.abnormal for e in splits.test])
    if abnormal.all() or not abnormal.any():
        raise RunError(f"{workdir}: its test images are all of one kind, which gives no AUROC")

    def scored(by) -> dict:
        """The scores of a detector, with their AUROC and the time they took."""
        begun = time.perf_counter()
        values = [by.judge(m)[0] for m in by.measure(map(dataset.masked, splits.test))]
        seconds, scores = (time.perf_counter() - begun) / len(values), np.array(values)
        auroc = metrics.image_metrics(abnormal, scores)["image_auroc"]
        return {"scores": scores, "auroc": auroc, "seconds": seconds, "batch": by.batch_size}

    own = scored(detector)
    if data_root is not None:
        places.remember(workdir, config)
    rows = [_row(own, own, {"format": "keras", "precision": "float32"}, 0.0)]
    for engine, precision in dict.fromkeys((p["format"], p["precision"]) for p in bundle.values["programs"]):
        if why_not_here(engine):
            continue
        found = scored(EdgeDetector(bundle, engine, precision))
        rows.append(_row(found, own, {"format": engine, "precision": precision}, TOLERANCES[precision]))
    return rows


def check_same(bundle: Bundle, threshold: float, workdir):
    """RunError where a bundle judges by another threshold than its run does: it is of another detector."""
    exported = bundle.values["calibration"]["threshold"]
    if exported != threshold:
        raise RunError(
            f"{bundle.folder}: has the threshold {exported:.6g}, {workdir} has {threshold:.6g}: it is of "
            "another run, or of before a refit or a choice of the threshold; export the run again"
        )


def _row(found: dict, own: dict, of: dict, tolerance: float) -> dict:
    """What was found with an engine beside what the model's own scores give."""
    difference = abs(found["auroc"] - own["auroc"])
    most = np.abs(found["scores"] - own["scores"]).max() / np.abs(own["scores"]).max()
    return {
        **of,
        "batch": found["batch"],
        "auroc": found["auroc"],
        "seconds": found["seconds"],
        "difference": difference,
        "score_difference": float(most),
        "tolerance": tolerance,
        "passed": bool(difference <= tolerance),
    }


def table(rows: list[dict]) -> str:
    """The rows as lines of text."""
    lines = [
        f"{'format':10} {'precision':10} {'batch':>5} {'image AUROC':>11} {'difference':>10} {'scores':>8} "
        f"{'ms/image':>8}"
    ]
    for r in rows:
        lines.append(
            f"{r['format']:10} {r['precision']:10} {r['batch']:5} {r['auroc']:11.4f} {r['difference']:10.4f} "
            f"{r['score_difference']:8.1e} {1000 * r['seconds']:8.1f}{'' if r['passed'] else ' FAILED'}"
        )
    return "\n".join(lines)
