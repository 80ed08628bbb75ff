"""AUROC of every exported format on the test images of a run, beside that of the Keras model."""

import time

import numpy as np

from semi_anogan.errors import RunError
from semi_anogan.evaluation import metrics
from semi_anogan.export.runtime.bundle import Bundle
from semi_anogan.export.runtime.detector import EdgeDetector
from semi_anogan.runs import build
from semi_anogan.runs import folder as run_folder
from semi_anogan.scoring.detector import load_detector

# Most that the image AUROC may differ from the model's, by precision.
TOLERANCES = {"float32": 0.001, "float16": 0.005, "int8": 0.01, "int8_full": 0.01}


def compare(bundle: Bundle, workdir) -> list[dict]:
    """One row for each format and precision, at its largest batch: image AUROC, the model's, and time per
    image.

    Raises: RunError where the run cannot be loaded or its test images are all of one kind.
    """
    config = run_folder.load_config(workdir)
    dataset, splits, _ = build.load_data(config)
    detector = load_detector(workdir)
    abnormal = np.array([e.abnormal for e in splits.test])
    if abnormal.all() or not abnormal.any():
        raise RunError(f"{workdir}: its test images are all of one kind, which gives no AUROC")

    def scores(of) -> tuple[np.ndarray, float]:
        begun = time.perf_counter()
        values = [of.judge(m)[0] for m in of.measure(dataset.read_image(e) for e in splits.test)]
        return np.array(values), (time.perf_counter() - begun) / len(values)

    expected, seconds = scores(detector)
    own = metrics.image_metrics(abnormal, expected)["image_auroc"]
    rows = [
        {
            "format": "keras",
            "precision": "float32",
            "batch": detector.batch_size,
            "auroc": own,
            "seconds": seconds,
            "difference": 0.0,
            "score_difference": 0.0,
            "tolerance": 0.0,
            "passed": True,
        }
    ]
    for engine, precision in dict.fromkeys((p["format"], p["precision"]) for p in bundle.values["programs"]):
        if engine == "tensorrt" and _cannot_run():
            continue
        edge = EdgeDetector(bundle, engine, precision)
        found, seconds = scores(edge)
        auroc = metrics.image_metrics(abnormal, found)["image_auroc"]
        difference, tolerance = abs(auroc - own), TOLERANCES[precision]
        rows.append(
            {
                "format": engine,
                "precision": precision,
                "batch": edge.batch_size,
                "auroc": auroc,
                "seconds": seconds,
                "difference": difference,
                "score_difference": float(np.abs(found - expected).max() / np.abs(expected).max()),
                "tolerance": tolerance,
                "passed": bool(difference <= tolerance),
            }
        )
    return rows


def _cannot_run() -> str | None:
    from semi_anogan.export.runtime.tensorrt import why_not

    return why_not()


def table(rows: list[dict]) -> str:
    """The rows as lines of text."""
    lines = [
        f"{'format':10} {'precision':10} {'batch':>5} {'image AUROC':>11} {'difference':>10} {'scores':>8} {'ms/image':>8}"
    ]
    for r in rows:
        lines.append(
            f"{r['format']:10} {r['precision']:10} {r['batch']:5} {r['auroc']:11.4f} {r['difference']:10.4f} "
            f"{r['score_difference']:8.1e} {1000 * r['seconds']:8.1f}{'' if r['passed'] else ' FAILED'}"
        )
    return "\n".join(lines)
