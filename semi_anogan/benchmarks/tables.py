"""Tables of what is there already: finished runs, and what trivial scores reach on the same data."""

import pathlib

import numpy as np

from semi_anogan import runs
from semi_anogan.benchmarks.results import machine, table

FIGURES = (
    ("image_auroc", "image AUROC (fused)"),
    ("image_f1_max", "F1 max"),
    ("image_false_alarm_rate", "false alarms at threshold"),
    ("image_recall", "recall at threshold"),
    ("pixel_auroc", "pixel AUROC"),
    ("pixel_aupro", "AUPRO"),
)


def of_runs(folders: list[str]) -> str:
    """Markdown table of the metrics of finished run folders, with the mean over them where there are several."""
    metrics = [runs.read_json(pathlib.Path(f) / runs.METRICS) for f in folders]
    names = [name for name, _ in FIGURES if metrics[0].get(name) is not None]
    rows = [
        [pathlib.Path(folder).name, *(m[n] for n in names), *m["components"].values(), m["train_seconds"]]
        for folder, m in zip(folders, metrics, strict=True)
    ]
    if len(rows) > 1:
        rows.append(["mean", *np.mean([row[1:] for row in rows], axis=0).tolist()])
    header = ["run", *(dict(FIGURES)[n] for n in names), *(f"{c} alone" for c in metrics[0]["components"]), "training, s"]
    return f"Machine: {machine()}.\n\n" + table(header, rows)


def baselines(config) -> str:
    """Markdown table of the image AUROC of trivial scores at the model's resolution, on the config's test images."""
    from semi_anogan.baselines import trivial_aurocs

    _, splits, store = runs.load_data(config)
    normal = splits.normal + splits.held_out_normal
    found = trivial_aurocs(
        np.stack([store.image(e) for e in normal]),
        np.stack([store.image(e) for e in splits.test]),
        np.array([e.abnormal for e in splits.test]),
    )
    return table(["trivial score", "image AUROC"], [[name, value] for name, value in found.items()])
