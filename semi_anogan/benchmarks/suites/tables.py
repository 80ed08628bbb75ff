"""What the runs of a suite come to: a table per case and a bar chart."""

import csv
import dataclasses
import pathlib
import sys
from collections.abc import Iterable, Mapping

import numpy as np

from semi_anogan.benchmarks.baselines import comparison
from semi_anogan.benchmarks.results import machine, table
from semi_anogan.benchmarks.suites.jobs import BASELINES, Job
from semi_anogan.benchmarks.suites.protocols import Suite
from semi_anogan.errors import RunError
from semi_anogan.evaluation import metrics
from semi_anogan.runs import folder as run_folder

# Column, its key in metrics.json, digits; the first two and the seconds are the baselines' too.
COLUMNS = (
    ("image AUROC", "image_auroc", 3),
    ("F1 max", "image_f1_max", 3),
    ("false alarms at threshold", "image_false_alarm_rate", 3),
    ("recall at threshold", "image_recall", 3),
    ("pixel AUROC", "pixel_auroc", 3),
    ("AUPRO", "pixel_aupro", 3),
    ("training, s", "train_seconds", 0),
    ("test images/s", "search_images_per_second", 1),
)
NO_VALUE = "–"
PER_LINE = 3  # charts beside each other, of a suite with one table
TRANSDUCTIVE = "learns from the test images"
COLORS = {"published": "#999999", "baseline": "#E69F00", "ours": "#0072B2"}


@dataclasses.dataclass(frozen=True)
class Row:
    """A method on a case.

    Attributes:
      name: of the method.
      kind: "published", "baseline" or "ours".
      values: {key: [value of a seed, ...]}, each the mean over the parts that there are.
      found, wanted: runs.
      transductive: whether it learns from the test images, without their labels.
    """

    name: str
    kind: str
    values: Mapping[str, list[float]]
    found: int
    wanted: int
    transductive: bool = False

    def mean_and_deviation(self, key: str) -> tuple[float, float] | None:
        """Mean and standard deviation (of the population) over the seeds; None without a value."""
        values = self.values.get(key)
        return (float(np.mean(values)), float(np.std(values))) if values else None

    def cell(self, key: str, digits: int) -> str:
        """The figure as text; with its deviation where there are several seeds and three digits."""
        figure = self.mean_and_deviation(key)
        if figure is None:
            return NO_VALUE
        several = digits == 3 and len(self.values.get(key, ())) > 1
        return f"{figure[0]:.{digits}f}" + (f" ± {figure[1]:.{digits}f}" if several else "")

    @property
    def title(self) -> str:
        if self.kind == "published":
            return f"{self.name} (published)"
        return self.name + (f" ({self.found} of {self.wanted} runs)" if self.found < self.wanted else "")


def rows_of(suite: Suite, methods: Iterable[str], jobs: Iterable[Job]) -> dict[str, list[Row]]:
    """{case: rows}: published figures, baselines, then our variants.

    A method without a run in a case is left out.
    """
    cases = {}
    for case in suite.cases:
        own = [job for job in jobs if job.case == case]
        published = suite.published.get(case, {})
        rows = [
            Row(name, "published", {"image_f1_max": [f1]}, 1, 1, _transductive(name))
            for name, f1 in published.items()
        ]
        read = {job: comparison.read(job.folder) for job in own if job.row == BASELINES}
        for name in methods:
            values = {job: _baseline(v[name]) if name in v else {} for job, v in read.items()}
            rows.append(_row(name, "baseline", values, _transductive(name)))
        for name, variant in suite.variants.items():
            values = {job: of_run(job.folder, variant.score) for job in own if job.row == variant.folder}
            rows.append(_row(name, "ours", values))
        cases[case] = [row for row in rows if row.wanted]
    return cases


def of_run(folder, score: str = "fused") -> dict[str, float]:
    """The figures of a run folder by their key in metrics.json; empty where it is not finished.

    score: as in Variant. Of another than "fused", from scores.csv, there is no threshold and no map.
    """
    folder = pathlib.Path(folder)
    if not (folder / run_folder.METRICS).exists():
        return {}
    found = run_folder.read_metrics(folder)
    if score != "fused":
        speed = {key: found.get(key) for key in ("train_seconds", "search_images_per_second")}
        try:
            found = {**metrics.image_metrics(*_alone(folder, score)), **speed}
        except RunError as error:
            print(f"left out: {error}", file=sys.stderr)
            return {}
    return {key: found[key] for _, key, _ in COLUMNS if found.get(key) is not None}


def text_of(
    suite: Suite, cases: Mapping[str, list[Row]], seeds: Iterable[int], failed: Iterable[Job], figure: str
) -> str:
    """Markdown: what was done, a table per case, the runs that failed, the figure."""
    parts = [name for name in suite.parts if name]
    averaged = f" Each figure is the mean over {', '.join(parts)}." if parts else ""
    seeds = [str(seed) for seed in seeds]
    told = (
        f"Seeds {', '.join(seeds)}: mean ± standard deviation over them."
        if len(seeds) > 1
        else f"Seed {seeds[0]}."
    )
    intro = (
        f"{suite.note}{averaged} {told} F1 max is over all thresholds, in hindsight. Training seconds of the "
        f"baselines include scoring. Machine that wrote the table: {machine()}.\n"
    )
    blocks = [intro]
    if suite.one_table:
        blocks.append(_table({(case, row.title): row for case, rows in cases.items() for row in rows}))
    else:
        for case, rows in cases.items():
            blocks.append(f"### {case}\n\n" + _table({(row.title,): row for row in rows}))
    names = [job.name for job in failed]
    if names:
        blocks.append(f"Failed and left out: {'; '.join(names)}.\n")
    return "\n".join([*blocks, f"![{suite.config}]({figure})\n"])


def draw(path, cases: Mapping[str, list[Row]], per_line: int | None = None):
    """A bar chart per case: image AUROC of each method, and F1 max beside published ones.

    per_line: so many side by side; None: all of them.
    """
    from matplotlib.figure import Figure

    rows = max(len(rows) for rows in cases.values())
    across = min(len(cases), per_line or len(cases))
    down = -(-len(cases) // across)
    figure = Figure(figsize=(1.6 + 3.6 * across, down * (1.2 + 0.3 * rows)), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False).flat
    for axis in list(axes)[len(cases) :]:
        axis.remove()
    for axis, (case, rows) in zip(axes, cases.items(), strict=False):
        published = any(row.kind == "published" for row in rows)
        key, label = ("image_f1_max", "F1 max") if published else ("image_auroc", "image AUROC")
        shown = [(row, row.mean_and_deviation(key)) for row in rows if row.mean_and_deviation(key)][::-1]
        colors = [COLORS[row.kind] for row, _ in shown]
        means, deviations = [f[0] for _, f in shown], [f[1] for _, f in shown]
        axis.barh([row.title for row, _ in shown], means, xerr=deviations, color=colors, capsize=2)
        axis.set(title=case, xlabel=label, xlim=(min([0.5, *means]) - 0.02, 1.0))
        axis.grid(axis="x", alpha=0.3)
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def _table(rows: Mapping[tuple[str, ...], Row]) -> str:
    """A Markdown table of rows, by their cells on the left: method, or case and method."""
    columns = [c for c in COLUMNS if any(row.mean_and_deviation(c[1]) for row in rows.values())]
    header = ["case", "method"][-len(next(iter(rows), ("",))) :]
    lines = [list(cells) for cells in rows]
    if any(row.transductive for row in rows.values()):
        header.append(TRANSDUCTIVE)
        for line, row in zip(lines, rows.values(), strict=True):
            line.append("yes" if row.transductive else "no")
    for line, row in zip(lines, rows.values(), strict=True):
        line += [row.cell(key, digits) for _, key, digits in columns]
    return table([*header, *(name for name, _, _ in columns)], lines)


def _transductive(name: str) -> bool:
    return name in comparison.ALL and comparison.ALL[name].transductive


def _row(name: str, kind: str, values: Mapping[Job, dict | None], transductive: bool = False) -> Row:
    """A row of the figures of its jobs: empty for a run that is missing, None for one that does not count."""
    values = {job: v for job, v in values.items() if v is not None}
    seeds, by_key = sorted({job.seed for job in values}), {}
    for _, key, _ in COLUMNS:
        of_seeds = [[v[key] for job, v in values.items() if job.seed == seed and key in v] for seed in seeds]
        by_key[key] = [float(np.mean(of_seed)) for of_seed in of_seeds if of_seed]
    return Row(name, kind, by_key, sum(bool(v) for v in values.values()), len(values), transductive)


def _baseline(values: Mapping | None) -> dict | None:
    """Figures of a baseline under our keys; None, as it comes, where it lacks known abnormal images."""
    if values is None:
        return None
    found = {
        "image_auroc": values["image_auroc"],
        "image_f1_max": values["image_f1_max"],
        "train_seconds": values["seconds"],
    }
    return {key: value for key, value in found.items() if value is not None}


def _alone(folder: pathlib.Path, score: str) -> tuple[np.ndarray, np.ndarray]:
    """(truth [N], a component or search loss [N]) of a run's test images.

    The search loss is (1 - lambda) residual + lambda feature_distance (Schlegl et al. 2017, eq. 6).

    Raises: RunError where the files do not hold them.
    """
    names = ("residual", "feature_distance") if score == "search_loss" else (score,)
    config = run_folder.read_settings(folder)
    try:
        weight = config["search"]["feature_weight"]
        weights = (1 - weight, weight) if score == "search_loss" else (1.0,)
        with open(folder / run_folder.SCORES, newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = list(csv.DictReader(file))
        found = [sum(w * float(row[n]) for w, n in zip(weights, names, strict=True)) for row in rows]
    except (OSError, KeyError, ValueError) as error:
        raise RunError(
            f"{folder / run_folder.SCORES}: no {' and '.join(names)} to be read: {error}"
        ) from error
    return np.array([r["truth"] == "abnormal" for r in rows]), np.array(found)
