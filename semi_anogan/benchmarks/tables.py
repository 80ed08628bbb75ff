"""Tables of what is there already: finished runs, and what trivial scores reach on the same data."""

import pathlib

import numpy as np

from semi_anogan.benchmarks.results import machine, table
from semi_anogan.runs import folder as run_folder

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
    metrics = [run_folder.read_json(pathlib.Path(f) / run_folder.METRICS) for f in folders]
    names = [name for name, _ in FIGURES if metrics[0].get(name) is not None]
    parts = [name for name in metrics[0]["components"] if all(name in m["components"] for m in metrics)]
    rows = [
        [
            pathlib.Path(folder).name,
            *(m[n] for n in names),
            *(m["components"][n] for n in parts),
            m["train_seconds"],
        ]
        for folder, m in zip(folders, metrics, strict=True)
    ]
    if len(rows) > 1:
        rows.append(["mean", *np.mean([row[1:] for row in rows], axis=0).tolist()])
    header = ["run", *(dict(FIGURES)[n] for n in names), *(f"{name} alone" for name in parts), "training, s"]
    return f"Machine: {machine()}.\n\n" + table(header, rows)


def baselines(config) -> str:
    """Markdown table of the image AUROC of trivial scores at the model's resolution, on the config's test
    images.
    """
    from semi_anogan.benchmarks.baselines.classical import trivial_aurocs
    from semi_anogan.benchmarks.baselines.comparison import Images

    images = Images(config)
    normal, _, test = images.model_sized
    found = trivial_aurocs(normal, test, images.truth)
    return table(["trivial score", "image AUROC"], [[name, value] for name, value in found.items()])


def comparison(config, names: list[str], folder, steps: int) -> str:
    """Markdown table of baselines (names of comparison.METHODS) on the config's test images; see
    comparison.run.
    """
    from semi_anogan.benchmarks.baselines import comparison as measured

    found = measured.run(config, names, folder, steps)
    rows = [[name, v["image_auroc"], v["image_f1_max"], v["seconds"]] for name, v in found.items() if v]
    return f"Machine: {machine()}.\n\n" + table(
        ["method", "image AUROC", "F1 max", "training and scoring, s"], rows
    )
