"""Scores by what is known of their images, and what a refit changed: from the files of a run alone."""

import csv
import json
import math
import pathlib

import numpy as np

from semi_anogan.data.dataset import ABNORMAL, NORMAL
from semi_anogan.data.review import SCORED, TEST
from semi_anogan.errors import RunError
from semi_anogan.review.entries import Entries
from semi_anogan.runs import folder as run_folder
from semi_anogan.scoring import chosen
from semi_anogan.scoring.calibration import Calibration
from semi_anogan.scoring.evidence import read_evidence

MOST_CHANGED = 200  # images named that changed sides


def calibration_of(folder: pathlib.Path) -> Calibration:
    """The calibration in detector.json; RunError where it is missing or damaged."""
    path = folder / run_folder.DETECTOR
    try:
        return Calibration.from_dict(run_folder.read_json(path)["calibration"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path}: {error}") from error


def threshold_of(folder: pathlib.Path) -> float:
    """The threshold that is used: the chosen one, else the calibrated one."""
    found = chosen.read(folder)
    return calibration_of(folder).threshold if found is None else found.threshold


def groups(folder: pathlib.Path, entries: Entries) -> list[dict]:
    """Scores to draw: name, what they are in words, and the scores; empty groups are left out."""
    calibration, found = calibration_of(folder), []
    if (folder / run_folder.EVIDENCE).exists():
        evidence = read_evidence(folder)
        if tuple(evidence.names) == calibration.names:
            for name, words, rows in (
                ("held_out", "held-out normal", evidence.held_out.normal),
                ("known", "known defects", evidence.held_out.abnormal),
            ):
                if len(rows):
                    found.append((name, words, calibration.score(np.asarray(rows))))
    if not found and calibration.normal_scores:
        found.append(("held_out", "normal, for the threshold", calibration.normal_scores))
    test, scored = entries.of(TEST), entries.of(SCORED)
    found.append(("test_normal", "test, normal", [e.score for e in test if e.truth == NORMAL]))
    found.append(("test_abnormal", "test, abnormal", [e.score for e in test if e.truth == ABNORMAL]))
    found.append(("scored", "newly scored", [e.score for e in scored]))
    return [
        {"name": name, "words": words, "scores": [float(f"{s:.6g}") for s in scores]}
        for name, words, scores in found
        if len(scores)
    ]


def summary(folder: pathlib.Path) -> dict:
    """What a detector's figures are: None where one cannot be had.

    folder: a run, or what replacement.keep has kept of one. Recall and false alarms are those of its
    scores.csv at the threshold in use.
    """
    threshold = threshold_of(folder)
    rows = test_rows(folder / run_folder.SCORES)
    normal = [score for truth, score in rows.values() if truth == NORMAL]
    abnormal = [score for truth, score in rows.values() if truth == ABNORMAL]
    path, metrics = folder / run_folder.METRICS, {}
    if path.exists():
        metrics = run_folder.read_json(path)
    return {
        "threshold": threshold,
        "auroc": metrics.get("image_auroc"),
        "aupro": metrics.get("pixel_aupro"),
        "recall": _share(abnormal, threshold),
        "false_alarm_rate": _share(normal, threshold),
        "test_normal": len(normal),
        "test_abnormal": len(abnormal),
        "known": sum(metrics.get("counts", {}).get(k, 0) for k in ("train_abnormal", "held_out_abnormal")),
    }


def changed(old: dict, new: dict, threshold: float, other_threshold: float) -> dict:
    """Which images of two tables are on another side of the threshold.

    Args: old, new: as `test_rows` gives them; threshold: of the first; other_threshold: of the second.
    Returns: count, of how many images that both have, how many only one has (only_one), and the first
      MOST_CHANGED images: path, truth, both scores, and what they become.
    """
    found = []
    for path in old.keys() & new.keys():
        (_, first), (truth, second) = old[path], new[path]
        if (first > threshold) != (second > other_threshold):
            side = ABNORMAL if second > other_threshold else NORMAL
            found.append({"path": path, "truth": truth, "before": first, "now": second, "becomes": side})
    found.sort(key=lambda row: row["path"])
    return {
        "count": len(found),
        "of": len(old.keys() & new.keys()),
        "only_one": len(old.keys() ^ new.keys()),
        "images": found[:MOST_CHANGED],
    }


def test_rows(path: pathlib.Path) -> dict[str, tuple[str, float]]:
    """path -> (truth or "", score) of a scores.csv; none where there is no such file."""
    if not path.exists():
        return {}
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = [row for row in csv.DictReader(file) if row.get("score")]
    try:
        return {row["path"]: (row.get("truth", ""), float(row["score"])) for row in rows}
    except (KeyError, ValueError) as error:
        raise RunError(f"{path}: {error}") from error


def regions_of(path: pathlib.Path) -> dict[str, list[dict]]:
    """path of an image -> its regions, less their outlines, as regions.jsonl has them; none without one."""
    found: dict[str, list[dict]] = {}
    if not path.exists():
        return found
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                values = json.loads(line)
                values.pop("polygon", None)
                found.setdefault(values.pop("path"), []).append(values)
            except (ValueError, KeyError, AttributeError, TypeError) as error:
                raise RunError(f"{path}: line {number}: {error!r}") from error
    return found


def known_kinds(folder: pathlib.Path) -> list[str]:
    """The kinds of defects that a run knows: those of its likeness, and of its test images."""
    names: list[str] = []
    path = folder / run_folder.LIKENESS
    if path.exists():
        names += run_folder.read_arrays(
            path, lambda **arrays: arrays.get("kind_names", np.array([]))
        ).tolist()
    path = folder / run_folder.METRICS
    if path.exists():
        names += list(run_folder.read_json(path).get("kinds", {}))
    return list(dict.fromkeys(str(name) for name in names))


def _share(scores: list[float], threshold: float) -> float | None:
    return sum(s > threshold for s in scores) / len(scores) if scores else None


def finite(values):
    """The same values with None for numbers that JSON has not."""
    if isinstance(values, dict):
        return {key: finite(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values
