"""One self-contained HTML report of an evaluation, with its figures also as PNG files."""

import dataclasses
import io
import pathlib
from collections.abc import Sequence

import numpy as np

from semi_anogan.evaluation import metrics
from semi_anogan.evaluation.report import figures as report_plots

GROUPS = {
    "miss": "Misses: abnormal images scored at or below the threshold, lowest score first.",
    "false alarm": "False alarms: normal images scored above the threshold, highest score first.",
    "typical abnormal": "Typical abnormal images: found, with scores nearest to the median of those found.",
    "typical normal": "Typical normal images: passed, with scores nearest to the median of those passed.",
}


@dataclasses.dataclass
class GalleryItem:
    """One image of the gallery; the arrays may differ in size, and are shown at the size of the input.

    Attributes:
      group: a key of GROUPS.
      input, reconstruction: float [H, W, C] in [-1, 1]. difference: float [H, W], >= 0. Without a search the
        last two are None
        in all items. anomaly_map: float [H, W], higher = more abnormal. All finite.
      mask: bool [H, W] or None.
    """

    path: str
    abnormal: bool
    score: float
    group: str
    input: np.ndarray
    reconstruction: np.ndarray | None
    difference: np.ndarray | None
    anomaly_map: np.ndarray
    mask: np.ndarray | None = None


@dataclasses.dataclass
class SuspiciousImage:
    """A training image labelled normal that looks abnormal; score: its suspicion; mislabelled: the truth
    where it is known.
    """

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
      synthetic: normal training images with synthetic defects, float [H, W, C] in [-1, 1], of the kinds
        synthetic_kinds.
      hidden_abnormal: number of abnormal images known to be hidden among the normal training images.
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
    synthetic: Sequence[np.ndarray] = ()
    synthetic_kinds: Sequence[str] = ()
    hidden_abnormal: int | None = None
    warnings: Sequence[str] = ()


def choose_gallery(
    abnormal: np.ndarray, scores: np.ndarray, threshold: float, count: int = 4
) -> list[tuple[int, str]]:
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
    rows, heat_ends = report_plots.gallery_rows(
        sorted(report.gallery, key=lambda item: list(GROUPS).index(item.group))
    )
    for name in report_plots.FIGURES:  # of an earlier evaluation, which may have had more parts
        (folder / "plots" / f"{name}.png").unlink(missing_ok=True)
    plots = {}
    for name, figure in report_plots.figures(report, abnormal, scores, rows).items():
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=160)
        (folder / "plots" / f"{name}.png").write_bytes(png.getvalue())
        plots[name] = report_plots.data_uri(png.getvalue())
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = (
        importlib.resources.files("semi_anogan.evaluation.report")
        .joinpath("template.html")
        .read_text(encoding="utf-8")
    )
    html = environment.from_string(template).render(
        report=report,
        plots=plots,
        normal_count=int((~abnormal).sum()),
        abnormal_count=int(abnormal.sum()),
        headlines=_headlines(report.metrics, abnormal),
        confusion=_confusion(abnormal, scores, report.threshold),
        components=_component_rows(report, abnormal),
        groups=[
            (text, [row for row in rows if row["item"].group == group]) for group, text in GROUPS.items()
        ],
        heat_scale=report_plots.heat_scale(),
        heat_ends=[_text(end, 3) for end in heat_ends],
        suspicious=[
            (s, report_plots.tile(s.image, 192) if s.image is not None else None) for s in report.suspicious
        ],
        synthetic=[report_plots.tile(image) for image in report.synthetic],
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
        (
            "image_auroc",
            "image AUROC",
            "{:.3f}",
            "Chance that an abnormal image scores above a normal one. 0.5 is guessing, 1 is perfect.",
        ),
        (
            "image_recall",
            "recall at the threshold",
            "{:.1%}",
            f"Share of the {abnormals} abnormal images that raise an alarm. The threshold was fitted on training images.",
        ),
        (
            "image_false_alarm_rate",
            "false-alarm rate at the threshold",
            "{:.1%}",
            f"Share of the {normals} normal images that raise an alarm at the same threshold.",
        ),
        (
            "image_average_precision",
            "average precision",
            "{:.3f}",
            f"Mean share of true defects among the alarms, over all recalls. Guessing gives {share}.",
        ),
        (
            "image_f1_max",
            "best F1",
            "{:.3f}",
            "Largest balance of precision and recall over all thresholds: a hindsight figure, for comparison only.",
        ),
        (
            "pixel_auroc",
            "pixel AUROC",
            "{:.3f}",
            "Chance that a defect pixel has a higher map value than a normal pixel. Large defects dominate.",
        ),
        (
            "pixel_aupro",
            "pixel AUPRO",
            "{:.3f}",
            "Mean share of each defect that is covered, over pixel false-alarm rates up to 30%. All defects count alike.",
        ),
    ]
    return [
        (form.format(values[key]), name, text)
        for key, name, form, text in known
        if values.get(key) is not None
    ]


def _confusion(abnormal: np.ndarray, scores: np.ndarray, threshold: float | None) -> dict | None:
    if threshold is None:
        return None
    alarm = scores > threshold
    return {
        (truth, label): int(np.sum((abnormal == truth) & (alarm == label)))
        for truth in (False, True)
        for label in (False, True)
    }


def _component_rows(report: Report, abnormal: np.ndarray) -> list[tuple[str, float | None, str, str]]:
    """(name, AUROC, median of the normal images, median of the abnormal images) of each component."""
    if report.components is None or not len(report.component_names):
        return []
    components = np.asarray(report.components, np.float64)
    aurocs = metrics.component_auroc(list(report.component_names), components, abnormal)

    def median(members: np.ndarray, k: int) -> str:
        return _text(np.median(components[members, k]) if members.any() else None, 4)

    rows = [
        (name, aurocs[name], median(~abnormal, k), median(abnormal, k))
        for k, name in enumerate(report.component_names)
    ]
    return sorted(rows, key=lambda row: -(row[1] or 0))


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
