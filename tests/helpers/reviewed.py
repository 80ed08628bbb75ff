"""The files of a finished run, written without any training, for the review page."""

import csv
import dataclasses
import json
import pathlib

import numpy as np
from PIL import Image

from helpers.trained import CALIBRATION
from semi_anogan.config import default_config
from semi_anogan.runs import folder as run_folder

THRESHOLD = CALIBRATION.threshold  # 0.5


def picture(path, level: int, size=(12, 16)):
    """A grey PNG of one level; size: (height, width)."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size, level, np.uint8)).save(path)


def table(path, columns, rows):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def write_run(base: pathlib.Path, training=6, files=True) -> tuple[pathlib.Path, pathlib.Path]:
    """(run folder, folder that `score` wrote) of a data set of tiny images.

    Test images: two normal ones with scores 0.1 and 0.7, two abnormal ones with 0.4 and 0.9; so there is a
    false alarm and a miss. Newly scored: new/0.png to new/2.png with 0.2, 0.55, 2.
    """
    run, scored, parts = base / "run", base / "scored", base / "parts"
    run.mkdir()
    (scored / "overlays").mkdir(parents=True)
    names = [f"train/good/{i}.png" for i in range(training)]
    if files:
        for i, name in enumerate(names):
            picture(parts / name, 10 * i)
        for name in ("good/0", "good/1", "cut/0", "cut/1"):
            picture(parts / "test" / f"{name}.png", 100)
        for i in range(3):
            picture(base / "new" / f"{i}.png", 200)
        picture(scored / "overlays" / "2.png.png", 50)
    config = default_config()
    config.data.name, config.data.root, config.model.aspect = "folder", str(parts), 1.0
    run_folder.write_settings(run, config)
    calibration = dataclasses.replace(CALIBRATION, normal_scores=tuple(np.linspace(0, 0.4, 9).tolist()))
    state = {"calibration": calibration.to_dict(), "map_center": [0.0], "map_scale": [1.0], "step": 1}
    run_folder.write_json(run / run_folder.DETECTOR, state)
    kinds = {"kinds": {"cut": {}, "dent": {}}}
    metrics = {"image_auroc": 0.75, "counts": {"train_abnormal": 3, "held_out_abnormal": 0}}
    run_folder.write_json(run / run_folder.METRICS, metrics | kinds)
    table(
        run / "suspicious.csv", ["path", "suspicion", "label"], [(n, 9 - i, "") for i, n in enumerate(names)]
    )
    rows = [
        ("test/good/0.png", "normal", 0.1, "normal"),
        ("test/good/1.png", "normal", 0.7, "abnormal"),
        ("test/cut/0.png", "abnormal", 0.4, "normal"),
        ("test/cut/1.png", "abnormal", 0.9, "abnormal"),
    ]
    table(run / "scores.csv", ["path", "truth", "score", "label"], rows)
    new = [
        (str(base / "new" / f"{i}.png"), s, "", "ok", "", THRESHOLD) for i, s in enumerate((0.2, 0.55, 2.0))
    ]
    bad = (str(base / "new" / "bad.png"), "", "", "error", "no image", THRESHOLD)
    table(scored / "scores.csv", ["path", "score", "label", "status", "error", "threshold"], [*new, bad])
    region = {"path": new[2][0], "number": 1, "box": [1, 2, 3, 4], "kind": "dent", "kind_likeness": 0.8}
    (scored / "regions.jsonl").write_text(json.dumps({**region, "peak": 5.0, "polygon": [[1, 2]]}) + "\n")
    return run, scored
