"""The report's figures: the data as matplotlib draws it."""

import numpy as np

from semi_anogan.evaluation.report.contents import Report
from semi_anogan.evaluation.report.pictures import GalleryRow

COLORS = {"normal": "#0072B2", "abnormal": "#D55E00"}  # Okabe and Ito: told apart by colour-blind readers too
OTHER_COLORS = ("#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#555555")
FIGURES = ("scores", "held_out", "roc", "precision_recall", "pixel_differences", "history", "gallery")
GUESSING = {"color": "#999999", "linestyle": ":", "linewidth": 1, "label": "guessing"}
AT_THRESHOLD = {
    "color": "black",
    "marker": "o",
    "markersize": 6,
    "linestyle": "none",
    "label": "at the threshold",
}


def draw(report: Report, abnormal: np.ndarray, scores: np.ndarray, rows: list[GalleryRow]) -> dict:
    """name -> matplotlib Figure of each of FIGURES that can be drawn from what is there.

    Args: abnormal, scores: the report's, as bool and float arrays; rows: of the gallery.
    """
    drawn = {}
    if len(scores):
        drawn["scores"] = _score_figure(abnormal, scores, report.threshold)
    if report.held_out is not None:
        drawn["held_out"] = _score_figure(*report.held_out, report.threshold)
    if abnormal.any() and not abnormal.all():
        drawn["roc"] = _roc_figure(abnormal, scores, report.threshold)
        drawn["precision_recall"] = _precision_recall_figure(abnormal, scores, report.threshold)
    if report.pixel_differences and report.pixel_difference_edges is not None:
        drawn["pixel_differences"] = _difference_figure(
            report.pixel_differences, report.pixel_difference_edges
        )
    if report.history:
        drawn["history"] = _history_figure(report.history, report.history_unit)
    if rows:
        drawn["gallery"] = _gallery_figure(rows)
    return drawn


def _axes(width: float = 5.0, height: float = 3.6, rows: int = 1, columns: int = 1):
    """A figure without pyplot (no global state) and its axes [rows, columns], in the report's style."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e3e3e3", linewidth=0.7)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=9, color="#888888")
    return figure, grid


def _score_figure(abnormal: np.ndarray, scores: np.ndarray, threshold: float | None):
    figure, [[axes]] = _axes(10.0, 3.2)
    edges = np.histogram_bin_edges(scores, bins=60)
    for label, members in (("normal", ~abnormal), ("abnormal", abnormal)):
        if members.any():
            counts = np.histogram(scores[members], edges)[0] / members.sum()
            axes.stairs(100 * counts, edges, fill=True, alpha=0.45, color=COLORS[label])
            axes.stairs(100 * counts, edges, color=COLORS[label], label=f"{label} ({members.sum()} images)")
    if threshold is not None:
        axes.axvline(
            threshold, color="black", linestyle="--", linewidth=1.2, label=f"threshold {threshold:.4g}"
        )
    axes.set_xlabel("score (higher = more abnormal)")
    axes.set_ylabel("% of the class's images")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=9)
    return figure


def _roc_figure(abnormal: np.ndarray, scores: np.ndarray, threshold: float | None):
    from sklearn.metrics import roc_curve

    figure, [[axes]] = _axes()
    fpr, tpr, _ = roc_curve(abnormal, scores, drop_intermediate=False)
    axes.plot([0, 1], [0, 1], **GUESSING)
    axes.plot(fpr, tpr, color=COLORS["normal"], linewidth=1.8)
    axes.set(xlabel="false-alarm rate", ylabel="recall", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    if threshold is not None:
        alarm = scores > threshold
        axes.plot(alarm[~abnormal].mean(), alarm[abnormal].mean(), **AT_THRESHOLD)
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    return figure


def _precision_recall_figure(abnormal: np.ndarray, scores: np.ndarray, threshold: float | None):
    from sklearn.metrics import precision_recall_curve

    figure, [[axes]] = _axes()
    precision, recall, _ = precision_recall_curve(abnormal, scores)
    axes.axhline(abnormal.mean(), **GUESSING)
    axes.plot(recall, precision, color=COLORS["normal"], linewidth=1.8, drawstyle="steps-pre")
    axes.set(xlabel="recall", ylabel="precision", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    if threshold is not None:
        alarm = scores > threshold
        if alarm.any():  # else there is no precision
            axes.plot(alarm[abnormal].mean(), abnormal[alarm].mean(), **AT_THRESHOLD)
    axes.legend(frameon=False, fontsize=9, loc="lower left")
    return figure


def _difference_figure(histograms: dict[str, np.ndarray], edges: np.ndarray):
    figure, [[axes]] = _axes(10.0, 3.2)
    others = iter(OTHER_COLORS * len(histograms))
    lowest = 1.0
    for label, counts in histograms.items():
        counts = np.asarray(counts, np.float64)
        if counts.sum() > 0:
            share = counts / counts.sum()
            lowest = min(lowest, share[share > 0].min())
            color = COLORS.get(label) or next(others)
            axes.stairs(
                share, edges, color=color, linewidth=1.6, baseline=None, label=f"{label} images' pixels"
            )
    axes.set_yscale("log", nonpositive="clip")
    axes.set_ylim(bottom=lowest / 2)
    axes.set_xlabel("pixel difference |image - reconstruction|")
    axes.set_ylabel("share of the pixels")
    for text in axes.legend(frameon=False, fontsize=9).get_texts():
        text.set_parse_math(False)
    return figure


def _history_figure(history: dict, unit: str):
    from matplotlib.ticker import EngFormatter, MaxNLocator

    columns = 2 if len(history) == 4 else min(3, len(history))
    rows = -(-len(history) // columns)
    figure, grid = _axes(10.0, 0.4 + 2.2 * rows, rows, columns)
    for axes, (name, (positions, values)) in zip(grid.flat, history.items(), strict=False):
        positions, values = np.asarray(positions, np.float64), np.asarray(values, np.float64)
        window = len(values) // 50
        many = window > 1 and np.isfinite(values).all()
        axes.plot(
            positions,
            values,
            color=COLORS["normal"],
            linewidth=0.8 if many else 1.4,
            alpha=0.35 if many else 1,
        )
        if many:  # a running mean over 1/50 of the curve, so that noisy losses can be read
            mean = np.convolve(values, np.ones(window) / window, "valid")
            axes.plot(positions[window - 1 :], mean, color=COLORS["normal"], linewidth=1.6)
        axes.set_title(name.replace("_", " "), fontsize=10, parse_math=False)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    for axes in list(grid.flat)[len(history) :]:
        axes.set_visible(False)
    figure.supxlabel(unit, fontsize=10)
    return figure


def _gallery_figure(rows: list[GalleryRow]):
    names = list(rows[0].arrays)
    figure, grid = _axes(1.7 * len(names) + 0.5, 1.75 * len(rows), len(rows), len(names))
    for axes_row, row in zip(grid, rows, strict=True):
        for axes, name in zip(axes_row, names, strict=True):
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
            axes.spines[:].set_visible(False)
            if row.arrays[name] is not None:
                axes.imshow(row.arrays[name], interpolation="nearest" if row.pixelated else "antialiased")
        axes_row[0].set_ylabel(f"{row.item.group}\n{row.item.score:.3g}", fontsize=9)
    for axes, name in zip(grid[0], names, strict=True):
        axes.set_title(name, fontsize=10)
    return figure
