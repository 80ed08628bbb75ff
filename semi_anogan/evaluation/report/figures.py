"""The report's figures and image tiles."""

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from semi_anogan.evaluation.report.page import GalleryItem, Report

COLORS = {"normal": "#0072B2", "abnormal": "#D55E00"}  # Okabe and Ito: told apart by colour-blind readers too
OTHER_COLORS = ("#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#555555")
FIGURES = ("scores", "roc", "precision_recall", "pixel_differences", "history", "gallery")
TILE = 256  # largest side of a gallery tile, in pixels
HEAT = "plasma"


def figures(report: "Report", abnormal: np.ndarray, scores: np.ndarray, rows: list[dict]) -> dict:
    """name -> matplotlib Figure of each figure that can be drawn from what is there."""
    drawn = {}
    if len(scores):
        drawn["scores"] = _score_figure(abnormal, scores, report.threshold)
    if abnormal.any() and not abnormal.all():
        drawn["roc"], drawn["precision_recall"] = _curve_figures(abnormal, scores, report.threshold)
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


def _curve_figures(abnormal: np.ndarray, scores: np.ndarray, threshold: float | None):
    from sklearn.metrics import precision_recall_curve, roc_curve

    roc, [[axes]] = _axes()
    fpr, tpr, _ = roc_curve(abnormal, scores, drop_intermediate=False)
    axes.plot([0, 1], [0, 1], color="#999999", linestyle=":", linewidth=1, label="guessing")
    axes.plot(fpr, tpr, color=COLORS["normal"], linewidth=1.8)
    axes.set(xlabel="false-alarm rate", ylabel="recall", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    curve, [[axes_pr]] = _axes()
    precision, recall, _ = precision_recall_curve(abnormal, scores)
    axes_pr.axhline(abnormal.mean(), color="#999999", linestyle=":", linewidth=1, label="guessing")
    axes_pr.plot(recall, precision, color=COLORS["normal"], linewidth=1.8, drawstyle="steps-pre")
    axes_pr.set(xlabel="recall", ylabel="precision", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    if threshold is not None:
        alarm = scores > threshold
        style = {
            "color": "black",
            "marker": "o",
            "markersize": 6,
            "linestyle": "none",
            "label": "at the threshold",
        }
        axes.plot(alarm[~abnormal].mean(), alarm[abnormal].mean(), **style)
        if alarm.any():
            axes_pr.plot(alarm[abnormal].mean(), abnormal[alarm].mean(), **style)
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    axes_pr.legend(frameon=False, fontsize=9, loc="lower left")
    return roc, curve


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
    for axes, (name, (positions, values)) in zip(grid.flat, history.items()):
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


def _gallery_figure(rows: list[dict]):
    names = list(rows[0]["arrays"])
    figure, grid = _axes(1.7 * len(names) + 0.5, 1.75 * len(rows), len(rows), len(names))
    for axes_row, row in zip(grid, rows):
        for axes, name in zip(axes_row, names):
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
            axes.spines[:].set_visible(False)
            if row["arrays"][name] is not None:
                axes.imshow(
                    row["arrays"][name], interpolation="nearest" if row["pixelated"] else "antialiased"
                )
        axes_row[0].set_ylabel(f"{row['item'].group}\n{row['item'].score:.3g}", fontsize=9)
    for axes, name in zip(grid[0], names):
        axes.set_title(name, fontsize=10)
    return figure


def gallery_rows(gallery: Sequence["GalleryItem"]) -> tuple[list[dict], tuple[float, float]]:
    """One dict per item, and the two ends of the heat scale which all maps share.

    A dict holds the item, its arrays (name -> uint8 [h, w, 3], or None for a mask without a defect), the same
    as tiles
    (name -> data URI) and whether to enlarge them without smoothing.
    """
    if not gallery:
        return [], (0.0, 1.0)
    # From the median of all pixels, so that the ordinary level is no colour, to the highest of the maps' 99.9
    # % quantiles: a few wild pixels do not darken every map, and a defect of a few pixels still counts.
    low = float(np.median(np.concatenate([np.ravel(item.anomaly_map) for item in gallery])))
    high = max(max(float(np.quantile(item.anomaly_map, 0.999)) for item in gallery), low + 1e-12)
    found = [float(np.quantile(item.difference, 0.999)) for item in gallery if item.difference is not None]
    difference_limit = max([*found, 1e-12])
    masks = any(item.mask is not None for item in gallery)
    rows = []
    for item in gallery:
        height, width = item.input.shape[:2]
        scale = min(1.0, TILE / max(height, width))
        shape = max(1, round(height * scale)), max(1, round(width * scale))
        image = _rgb(item.input, shape)
        heat = (_resized(item.anomaly_map, shape) - low) / (high - low)
        strength = np.clip(3 * heat, 0, 0.85)[..., None]  # 0: the image shows through
        arrays = {"input": image}
        if found:
            difference = np.maximum(_resized(item.difference, shape) / difference_limit, 0)
            arrays["reconstruction"] = _rgb(item.reconstruction, shape)
            arrays["difference"] = _colored(np.sqrt(difference), 1.0, "gray")  # root: faint ones show
        arrays["anomaly map"] = np.uint8(
            np.round((1 - strength) * image + strength * _colored(heat, 1.0, HEAT))
        )
        if masks:
            arrays["mask"] = None if item.mask is None or not item.mask.any() else _outlined(image, item.mask)
        rows.append(
            {
                "item": item,
                "arrays": arrays,
                "pixelated": max(shape) < 128,
                "tiles": {name: None if a is None else data_uri(_png(a)) for name, a in arrays.items()},
            }
        )
    return rows, (low, high)


def _resized(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """float [H, W] -> float [shape], bilinear, averaging where it shrinks."""
    from PIL import Image

    values = np.asarray(values, np.float32)
    if values.shape == shape:
        return values
    return np.asarray(Image.fromarray(values).resize(shape[::-1], Image.Resampling.BILINEAR))


def _rgb(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """float [H, W, 1 or 3] in [-1, 1] -> uint8 [shape, 3]; a reconstruction may lie outside and is clipped."""
    image = np.asarray(image, np.float32)
    if image.ndim != 3 or image.shape[2] not in (1, 3):
        raise ValueError(f"expected an image [H, W, 1 or 3], got shape {image.shape}")
    channels = [_resized(image[..., c], shape) for c in range(image.shape[2])]
    stacked = np.stack(channels * (3 // len(channels)), axis=-1)
    return np.uint8(np.round(np.clip((stacked + 1) * 127.5, 0, 255)))


def _colored(values: np.ndarray, limit: float, colormap: str) -> np.ndarray:
    import matplotlib

    return matplotlib.colormaps[colormap](np.clip(values / limit, 0, 1), bytes=True)[..., :3]


def _outlined(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The image with a line just outside the mask, so that even a defect of one pixel stays visible."""
    inside = np.pad(_resized(np.asarray(mask, np.float32), image.shape[:2]) > 0, 1)
    around = np.zeros_like(inside)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            around |= np.roll(inside, (dy, dx), (0, 1))
    return np.where((around & ~inside)[1:-1, 1:-1, None], np.uint8([0, 220, 120]), image)


def heat_scale() -> str:
    """The colours of the heat scale from left to right, as a data URI."""
    return data_uri(_png(_colored(np.linspace(0, 1, 256)[None].repeat(8, 0), 1.0, HEAT)))


def tile(image: np.ndarray, side: int = 96) -> str:
    """An image, float [H, W, C] in [-1, 1], as a data URI; at most `side` pixels on its longer side."""
    scale = min(1.0, side / max(image.shape[:2]))
    return data_uri(
        _png(_rgb(image, (max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale)))))
    )


def _png(image: np.ndarray) -> bytes:
    from PIL import Image

    png = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(png, format="PNG", optimize=True)
    return png.getvalue()


def data_uri(png: bytes) -> str:
    """A PNG file as the src of an HTML image."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
