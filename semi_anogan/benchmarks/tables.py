"""Tables of finished runs, and of the baselines on the data of one configuration."""

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
    """Markdown table of the metrics of finished run folders, with their mean where there are several."""
    metrics = [run_folder.read_metrics(f) for f in folders]
    names = [name for name, _ in FIGURES if metrics[0].get(name) is not None]
    components = [name for name in metrics[0]["components"] if all(name in m["components"] for m in metrics)]
    rows = []
    for folder, m in zip(folders, metrics, strict=True):
        alone = (m["components"][name] for name in components)
        rows.append([pathlib.Path(folder).name, *(m[name] for name in names), *alone, m["train_seconds"]])
    if len(rows) > 1:
        rows.append(["mean", *np.mean([row[1:] for row in rows], axis=0).tolist()])
    columns = [dict(FIGURES)[name] for name in names] + [f"{name} alone" for name in components]
    return f"Machine: {machine()}.\n\n" + table(["run", *columns, "training, s"], rows)


def of_trivial_scores(config) -> str:
    """Markdown table of the image AUROC of trivial scores, at the model's resolution, on the test images."""
    from semi_anogan.benchmarks.baselines.classical import trivial_aurocs
    from semi_anogan.benchmarks.baselines.comparison import Images

    images = Images(config)
    found = trivial_aurocs(images.model_sized.normal, images.model_sized.test, images.truth)
    return table(["trivial score", "image AUROC"], [[name, value] for name, value in found.items()])


def of_baselines(config, names: list[str], folder, steps: int) -> str:
    """Markdown table of baselines on the config's test images; arguments as for comparison.run."""
    from semi_anogan.benchmarks.baselines import comparison

    found = comparison.run(config, names, folder, steps)
    rows = [[name, v["image_auroc"], v["image_f1_max"], v["seconds"]] for name, v in found.items() if v]
    header = ["method", "image AUROC", "F1 max", "training and scoring, s"]
    return f"Machine: {machine()}.\n\n" + table(header, rows)
