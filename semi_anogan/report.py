"""One self-contained HTML report of an evaluation, with its figures also as PNG files."""

import base64
import dataclasses
import io
import pathlib
from collections.abc import Sequence

import numpy as np

from semi_anogan import metrics

GROUPS = {
    "miss": "Misses: abnormal images scored at or below the threshold, lowest score first.",
    "false alarm": "False alarms: normal images scored above the threshold, highest score first.",
    "typical abnormal": "Typical abnormal images: found, with scores nearest to the median of those found.",
    "typical normal": "Typical normal images: passed, with scores nearest to the median of those passed.",
}
COLORS = {"normal": "#0072B2", "abnormal": "#D55E00"}  # Okabe and Ito: told apart by colour-blind readers too
OTHER_COLORS = ("#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#555555")
TILE = 320  # largest side of a gallery tile, in pixels
HEAT = "inferno"


@dataclasses.dataclass
class GalleryItem:
    """One image of the gallery; the arrays may differ in size, and are shown at the size of the input.

    Attributes:
      group: a key of GROUPS.
      input, reconstruction: float [H, W, C] in [-1, 1].
      difference, anomaly_map: float [H, W], >= 0, higher = more abnormal.
      mask: bool [H, W] or None.
    """

    path: str
    abnormal: bool
    score: float
    group: str
    input: np.ndarray
    reconstruction: np.ndarray
    difference: np.ndarray
    anomaly_map: np.ndarray
    mask: np.ndarray | None = None


@dataclasses.dataclass
class SuspiciousImage:
    """A training image labelled normal that scores like an abnormal one; mislabelled: the truth where it is known."""

    path: str
    score: float
    mislabelled: bool | None = None
    image: np.ndarray | None = None  # float [H, W, C] in [-1, 1]


@dataclasses.dataclass
class Report:
    """What the report is made of; every part but the first five may be missing.

    Attributes:
      metrics: as in metrics.json. threshold: None where there is none.
      paths, abnormal, scores: [N] test images. components: [N, K] with K component_names.
      pixel_differences: label -> counts [B] over pixel_difference_edges [B + 1].
      history: name -> (positions, values) of equal length; history_unit says what a position counts.
      hidden_abnormal: how many abnormal images the data source is known to have hidden among the normal training images.
    """

    title: str
    metrics: dict
    paths: Sequence[str]
    abnormal: np.ndarray
    scores: np.ndarray
    threshold: float | None = None
    config: dict = dataclasses.field(default_factory=dict)
    components: np.ndarray | None = None
    component_names: Sequence[str] = ()
    pixel_differences: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    pixel_difference_edges: np.ndarray | None = None
    gallery: Sequence[GalleryItem] = ()
    history: dict[str, tuple[Sequence[float], Sequence[float]]] = dataclasses.field(default_factory=dict)
    history_unit: str = "training images seen"
    suspicious: Sequence[SuspiciousImage] = ()
    hidden_abnormal: int | None = None
    warnings: Sequence[str] = ()


def choose_gallery(abnormal: np.ndarray, scores: np.ndarray, threshold: float, count: int = 4) -> list[tuple[int, str]]:
    """Picks up to `count` images for each of GROUPS, in its order; returns (index, group), no index twice."""
    abnormal, scores = np.asarray(abnormal, bool), np.asarray(scores, np.float64)
    alarm = scores > threshold

    def first(members: np.ndarray, key: np.ndarray) -> list[int]:
        index = np.flatnonzero(members)
        return index[np.argsort(key[index], kind="stable")][:count].tolist()

    def typical(members: np.ndarray) -> list[int]:
        return first(members, np.abs(scores - np.median(scores[members]))) if members.any() else []

    chosen = {
        "miss": first(abnormal & ~alarm, scores),
        "false alarm": first(~abnormal & alarm, -scores),
        "typical abnormal": typical(abnormal & alarm),
        "typical normal": typical(~abnormal & ~alarm),
    }
    return [(index, group) for group in GROUPS for index in chosen[group]]


def write_report(folder: str | pathlib.Path, report: Report) -> pathlib.Path:
    """Writes report.html and plots/*.png into the folder (made if missing); returns the path of report.html.

    Raises:
      ValueError: lengths differ, a score is not finite, or a gallery group is unknown.
    """
    import importlib.resources

    import jinja2

    abnormal, scores = np.asarray(report.abnormal, bool), np.asarray(report.scores, np.float64)
    if len(report.paths) != len(scores):
        raise ValueError(f"{len(report.paths)} paths but {len(scores)} scores")
    metrics.image_metrics(abnormal, scores)  # refuses different lengths and scores that are not finite
    unknown = {item.group for item in report.gallery} - set(GROUPS)
    if unknown:
        raise ValueError(f"unknown gallery groups {sorted(unknown)}, expected some of {list(GROUPS)}")
    folder = pathlib.Path(folder)
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    rows, heat_limit = _gallery_rows(report.gallery)
    plots = {}
    for name, figure in _figures(report, abnormal, scores, rows).items():
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=160)
        (folder / "plots" / f"{name}.png").write_bytes(png.getvalue())
        plots[name] = _data_uri(png.getvalue())
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
                                     lstrip_blocks=True)
    template = importlib.resources.files("semi_anogan").joinpath("report_template.html").read_text(encoding="utf-8")
    html = environment.from_string(template).render(
        report=report,
        plots=plots,
        normal_count=int((~abnormal).sum()),
        abnormal_count=int(abnormal.sum()),
        headlines=_headlines(report.metrics, abnormal),
        confusion=_confusion(abnormal, scores, report.threshold),
        components=_component_rows(report, abnormal),
        groups=[(text, [row for row in rows if row["item"].group == group]) for group, text in GROUPS.items()],
        heat_scale=_data_uri(_png(_colored(np.linspace(0, 1, 256)[None].repeat(8, 0), 1.0, HEAT))),
        heat_limit=_text(heat_limit, 3),
        suspicious=[(s, _tile(s.image) if s.image is not None else None) for s in report.suspicious],
        metric_rows=_flat(report.metrics),
        config_rows=_flat(report.config),
        number=_text,
    )
    path = folder / "report.html"
    path.write_text(html, encoding="utf-8")
    return path


def _headlines(values: dict, abnormal: np.ndarray) -> list[tuple[str, str, str]]:
    """(value, name, what it means) of each figure that is there."""
    normals, abnormals = int((~abnormal).sum()), int(abnormal.sum())
    share = f"{abnormals / max(normals + abnormals, 1):.2f}"
    known = [
        ("image_auroc", "image AUROC", "{:.3f}",
         "Chance that an abnormal image scores above a normal one. 0.5 is guessing, 1 is perfect."),
        ("image_recall", "recall at the threshold", "{:.1%}",
         f"Share of the {abnormals} abnormal images that raise an alarm. The threshold was fitted on training images."),
        ("image_false_alarm_rate", "false-alarm rate at the threshold", "{:.1%}",
         f"Share of the {normals} normal images that raise an alarm at the same threshold."),
        ("image_average_precision", "average precision", "{:.3f}",
         f"Mean share of true defects among the alarms, over all recalls. Guessing gives {share}."),
        ("image_f1_max", "best F1", "{:.3f}",
         "Largest balance of precision and recall over all thresholds: a hindsight figure, for comparison only."),
        ("pixel_auroc", "pixel AUROC", "{:.3f}",
         "Chance that a defect pixel has a higher map value than a normal pixel. Large defects dominate."),
        ("pixel_aupro", "pixel AUPRO", "{:.3f}",
         "Mean share of each defect that is covered, over pixel false-alarm rates up to 30 %. All defects count alike."),
    ]
    return [(form.format(values[key]), name, text) for key, name, form, text in known if values.get(key) is not None]


def _confusion(abnormal: np.ndarray, scores: np.ndarray, threshold: float | None) -> dict | None:
    if threshold is None:
        return None
    alarm = scores > threshold
    return {(truth, label): int(np.sum((abnormal == truth) & (alarm == label)))
            for truth in (False, True) for label in (False, True)}


def _component_rows(report: Report, abnormal: np.ndarray) -> list[tuple[str, float | None, str, str]]:
    """(name, AUROC, median of the normal images, median of the abnormal images) of each component."""
    if report.components is None or not len(report.component_names):
        return []
    components = np.asarray(report.components, np.float64)
    aurocs = metrics.component_auroc(list(report.component_names), components, abnormal)

    def median(members: np.ndarray, k: int) -> str:
        return _text(np.median(components[members, k]) if members.any() else None, 4)

    rows = [(name, aurocs[name], median(~abnormal, k), median(abnormal, k))
            for k, name in enumerate(report.component_names)]
    return sorted(rows, key=lambda row: -(row[1] or 0))


def _figures(report: Report, abnormal: np.ndarray, scores: np.ndarray, rows: list[dict]) -> dict:
    """name -> matplotlib Figure of each figure that can be drawn from what is there."""
    figures = {}
    if len(scores):
        figures["scores"] = _score_figure(abnormal, scores, report.threshold)
    if abnormal.any() and not abnormal.all():
        figures["roc"], figures["precision_recall"] = _curve_figures(abnormal, scores, report.threshold)
    if report.pixel_differences and report.pixel_difference_edges is not None:
        figures["pixel_differences"] = _difference_figure(report.pixel_differences, report.pixel_difference_edges)
    if report.history:
        figures["history"] = _history_figure(report.history, report.history_unit)
    if rows:
        figures["gallery"] = _gallery_figure(rows)
    return figures


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
        axes.axvline(threshold, color="black", linestyle="--", linewidth=1.2, label=f"threshold {threshold:.4g}")
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
        style = {"color": "black", "marker": "o", "markersize": 6, "linestyle": "none", "label": "at the threshold"}
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
            axes.stairs(share, edges, color=color, linewidth=1.6, baseline=None, label=f"{label} images' pixels")
    axes.set_yscale("log", nonpositive="clip")
    axes.set_ylim(bottom=lowest / 2)
    axes.set_xlabel("pixel difference |image - reconstruction|")
    axes.set_ylabel("share of the pixels")
    for text in axes.legend(frameon=False, fontsize=9).get_texts():
        text.set_parse_math(False)
    return figure


def _history_figure(history: dict, unit: str):
    columns = min(3, len(history))
    rows = -(-len(history) // columns)
    figure, grid = _axes(10.0, 0.4 + 2.2 * rows, rows, columns)
    for axes, (name, (positions, values)) in zip(grid.flat, history.items()):
        positions, values = np.asarray(positions, np.float64), np.asarray(values, np.float64)
        window = len(values) // 50
        many = window > 1 and np.isfinite(values).all()
        axes.plot(positions, values, color=COLORS["normal"], linewidth=0.8 if many else 1.4, alpha=0.35 if many else 1)
        if many:  # a running mean over 1/50 of the curve, so that noisy losses can be read
            mean = np.convolve(values, np.ones(window) / window, "valid")
            axes.plot(positions[window - 1:], mean, color=COLORS["normal"], linewidth=1.6)
        axes.set_title(name.replace("_", " "), fontsize=10, parse_math=False)
        axes.xaxis.set_major_locator(_ticks(4))
        axes.xaxis.set_major_formatter(_thousands())
    for axes in list(grid.flat)[len(history):]:
        axes.set_visible(False)
    figure.supxlabel(unit, fontsize=10)
    return figure


def _ticks(count: int):
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(count)


def _thousands():
    from matplotlib.ticker import EngFormatter

    return EngFormatter(sep="")


def _gallery_figure(rows: list[dict]):
    names = list(rows[0]["arrays"])
    figure, grid = _axes(1.7 * len(names) + 0.5, 1.75 * len(rows), len(rows), len(names))
    for axes_row, row in zip(grid, rows):
        for axes, name in zip(axes_row, names):
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
            axes.spines[:].set_visible(False)
            if row["arrays"][name] is not None:
                axes.imshow(row["arrays"][name], interpolation="nearest" if row["pixelated"] else "antialiased")
        axes_row[0].set_ylabel(f"{row['item'].group}\n{row['item'].score:.3g}", fontsize=9)
    for axes, name in zip(grid[0], names):
        axes.set_title(name, fontsize=10)
    return figure


def _gallery_rows(gallery: Sequence[GalleryItem]) -> tuple[list[dict], float]:
    """One dict per item in the order of GROUPS, and the top of the heat scale which all maps share."""
    if not gallery:
        return [], 0.0
    # The top 0.1 % of the pixels may saturate, so that one wild pixel does not darken every map.
    heat_limit, difference_limit = (
        max(float(np.quantile(np.concatenate([np.ravel(getattr(i, name)) for i in gallery]), 0.999)), 1e-12)
        for name in ("anomaly_map", "difference"))
    masks = any(item.mask is not None for item in gallery)
    rows = []
    for item in sorted(gallery, key=lambda item: list(GROUPS).index(item.group)):
        height, width = item.input.shape[:2]
        scale = min(1.0, TILE / max(height, width))
        shape = max(1, round(height * scale)), max(1, round(width * scale))
        image = _rgb(item.input, shape)
        heat = _resized(item.anomaly_map, shape)
        strength = np.clip(1.4 * heat / heat_limit, 0, 0.85)[..., None]  # where nothing is wrong the image shows through
        arrays = {
            "input": image,
            "reconstruction": _rgb(item.reconstruction, shape),
            "difference": _colored(_resized(item.difference, shape), difference_limit, "gray"),
            "anomaly map": np.uint8(np.round((1 - strength) * image + strength * _colored(heat, heat_limit, HEAT))),
        }
        if masks:
            arrays["mask"] = None if item.mask is None or not item.mask.any() else _outlined(image, item.mask)
        rows.append({
            "item": item, "arrays": arrays, "pixelated": max(shape) < 128,
            "tiles": {name: None if a is None else _data_uri(_png(a)) for name, a in arrays.items()},
        })
    return rows, heat_limit


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


def _tile(image: np.ndarray) -> str:
    scale = min(1.0, 96 / max(image.shape[:2]))
    return _data_uri(_png(_rgb(image, (max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale))))))


def _png(image: np.ndarray) -> bytes:
    from PIL import Image

    png = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(png, format="PNG", optimize=True)
    return png.getvalue()


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _text(value, digits: int = 6) -> str:
    """A value as the tables show it."""
    if value is None:
        return "not available"
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (float, np.floating)):
        return f"{value:.{digits}g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(v, digits) for v in value) or "none"
    return str(value)


def _flat(values: dict, prefix: str = "") -> list[tuple[str, str]]:
    """Nested dicts -> (dotted key, text) in order."""
    rows = []
    for key, value in values.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", _text(value)))
    return rows
