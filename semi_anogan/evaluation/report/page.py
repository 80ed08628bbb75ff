"""One self-contained HTML report of an evaluation, with its figures also as PNG files."""

import io
import json
import pathlib
import re
import shlex

import numpy as np

from semi_anogan.evaluation import metrics
from semi_anogan.evaluation.report import figures, pictures
from semi_anogan.evaluation.report.contents import GROUPS, SORTED, Report, SortItem

# The modules that the page holds, each after those that it takes from. The review page has the first two.
SCRIPTS = ("basics.js", "scores.js", "report.js")

# (key in the metrics, name, form, what it means) of the figures at the top of the page.
HEADLINES = (
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
        "Share of the {abnormals} abnormal images that raise an alarm. The threshold was fitted on training "
        "images.",
    ),
    (
        "image_false_alarm_rate",
        "false-alarm rate at the threshold",
        "{:.1%}",
        "Share of the {normals} normal images that raise an alarm at the same threshold.{promise}",
    ),
    (
        "image_average_precision",
        "average precision",
        "{:.3f}",
        "Mean share of true defects among the alarms, over all recalls. Guessing gives {share:.2f}.",
    ),
    (
        "image_f1_max",
        "best F1",
        "{:.3f}",
        "Largest balance of precision and recall over all thresholds: a hindsight figure, for comparison "
        "only.",
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
        "Mean share of each defect that is covered, over pixel false-alarm rates up to 30%. All defects "
        "count alike.",
    ),
    (
        "region_recall",
        "defects that a region touches",
        "{:.1%}",
        "Of all connected defects in the masks. A normal image has {false_regions:.2f} regions on the mean; "
        "the pixels of all regions have an F1 of {region_pixel_f1:.3f}.",
    ),
)


def write_report(folder: str | pathlib.Path, report: Report) -> pathlib.Path:
    """Writes report.html and plots/*.png into the folder (made if missing); returns the path of report.html.

    Raises:
      ValueError: lengths differ, a score is not finite, or a gallery group is unknown.
    """
    abnormal, scores = np.asarray(report.abnormal, bool), np.asarray(report.scores, np.float64)
    if len(report.paths) != len(scores):
        raise ValueError(f"{len(report.paths)} paths but {len(scores)} scores")
    metrics.image_metrics(abnormal, scores)  # refuses different lengths and scores that are not finite
    unknown = {item.group for item in report.gallery} - set(GROUPS)
    if unknown:
        raise ValueError(f"unknown gallery groups {sorted(unknown)}, expected some of {list(GROUPS)}")
    folder = pathlib.Path(folder)
    plots_folder = folder / "plots"
    plots_folder.mkdir(parents=True, exist_ok=True)
    gallery = sorted(report.gallery, key=lambda item: list(GROUPS).index(item.group))
    rows, heat_ends = pictures.gallery_rows(gallery)
    for name in figures.FIGURES:  # of an earlier evaluation, which may have had more parts
        (plots_folder / f"{name}.png").unlink(missing_ok=True)
    plots = {}
    for name, figure in figures.draw(report, abnormal, scores, rows).items():
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=160)
        (plots_folder / f"{name}.png").write_bytes(png.getvalue())
        plots[name] = pictures.data_uri(png.getvalue())
    path = folder / "report.html"
    # A file's name need not be text.
    page = _page(report, abnormal, scores, plots, rows, heat_ends)
    path.write_text(page, encoding="utf-8", errors="surrogateescape")
    return path


def _page(report: Report, abnormal, scores, plots: dict[str, str], rows, heat_ends) -> str:
    """The HTML.

    Args: abnormal, scores: the report's, as bool and float arrays; plots: name -> data URI; rows, heat_ends:
      of the gallery.
    """
    import importlib.resources

    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = importlib.resources.files("semi_anogan.evaluation.report").joinpath("template.html")
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        report=report,
        plots=plots,
        normal_count=int((~abnormal).sum()),
        abnormal_count=int(abnormal.sum()),
        headlines=_headlines(report.metrics, abnormal),
        confusion=_confusion(abnormal, scores, report.threshold),
        components=_component_rows(report, abnormal),
        groups=[(text, [row for row in rows if row.item.group == group]) for group, text in GROUPS.items()],
        kinds=_kind_rows(report.metrics.get("kinds", {})),
        nearest=report.metrics.get("nearest_known_kinds", {}),
        worst=_worst(report),
        heat_scale=pictures.heat_scale(),
        heat_ends=[_text(end, 3) for end in heat_ends],
        suspicious=[
            (s, pictures.thumbnail(s.image, 192) if s.image is not None else None) for s in report.suspicious
        ],
        synthetic=[pictures.thumbnail(image) for image in report.synthetic],
        metric_rows=_flat(report.metrics),
        config_rows=_flat(report.config),
        number=_text,
        groups_of_scores=_score_groups(report, abnormal, scores),
        to_sort=_sorted(report),
        held=_held(report, abnormal, scores),
        script=_script(),
        run=shlex.quote(report.run),
        said={"normal": "labelled normal", "abnormal": "labelled abnormal", "": ""},
    )


def _score_groups(report: Report, abnormal: np.ndarray, scores: np.ndarray) -> list[dict]:
    """What the slider moves over, as the review page has it; empty without a threshold."""
    if report.threshold is None:
        return []
    groups = {
        "held_out": ("normal, for the threshold", report.normal_scores),
        "test_normal": ("test, normal", scores[~abnormal]),
        "test_abnormal": ("test, abnormal", scores[abnormal]),
    }
    return [
        {"name": name, "words": words, "scores": [float(s) for s in values]}
        for name, (words, values) in groups.items()
        if len(values)
    ]


def _sorted(report: Report) -> list[tuple[str, int, list[tuple[SortItem, str | None]]]]:
    """(words, how many are left out, [(item, its picture)]) of each group that has images."""
    found = []
    for group, words in SORTED.items():
        items = [item for item in report.to_sort if item.group == group]
        pairs = [(item, item.jpeg and pictures.jpeg_uri(item.jpeg)) for item in items]
        if pairs:
            found.append((words, report.left_out.get(group, 0), pairs))
    return found


def _held(report: Report, abnormal: np.ndarray, scores: np.ndarray) -> str:
    """What the scripts of the page read: JSON in ASCII, in which no tag can end."""
    items = [item for group in SORTED for item in report.to_sort if item.group == group]
    held = {
        "run": report.run,
        "threshold": report.threshold,
        "groups": _score_groups(report, abnormal, scores),
        "items": [{"path": item.path, "origin": item.origin} for item in items],
    }
    text = json.dumps(held, allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _script() -> str:
    """The modules as one: what they take from each other is there already."""
    import importlib.resources

    folder = importlib.resources.files("semi_anogan.evaluation.report")
    whole = "\n".join((folder / name).read_text(encoding="utf-8") for name in SCRIPTS)
    return re.sub(r"^export ", "", re.sub(r"^import .*\n", "", whole, flags=re.M), flags=re.M)


def _headlines(values: dict, abnormal: np.ndarray) -> list[tuple[str, str, str]]:
    """(value, name, what it means) of each of HEADLINES that is there."""
    normals, abnormals = int((~abnormal).sum()), int(abnormal.sum())
    counts = {"normals": normals, "abnormals": abnormals, "share": abnormals / max(normals + abnormals, 1)}
    counts["false_regions"] = values.get("regions_per_normal_image") or 0.0
    counts["region_pixel_f1"] = values.get("region_pixel_f1") or 0.0
    promise = ""
    if values.get("false_alarm_interval"):
        low, high = values["false_alarm_interval"]
        promise = (
            f" {values['false_alarm_rate_asked']:.1%} was asked for; the training images say that it lies "
            f"between {low:.1%} and {high:.1%}, with a probability of 90%."
        )
    return [
        (
            form.format(values[key]),
            name,
            meaning.format(**counts, promise=promise),
        )
        for key, name, form, meaning in HEADLINES
        if values.get(key) is not None
    ]


def _confusion(abnormal: np.ndarray, scores: np.ndarray, threshold: float | None) -> dict | None:
    """(abnormal, alarm) -> number of images; None without a threshold."""
    if threshold is None:
        return None
    alarm = scores > threshold
    return {
        (truth, label): int(np.sum((abnormal == truth) & (alarm == label)))
        for truth in (False, True)
        for label in (False, True)
    }


def _kind_rows(kinds: dict) -> list[tuple[str, int, list[str]]]:
    """(kind, number of images, texts of recall, AUROC and AUPRO with their intervals) of each kind."""

    def text(values: dict, key: str, form: str) -> str:
        if values.get(key) is None:
            return "not available"
        low, high = values[f"{key}_interval"]
        return f"{form.format(values[key])} ({form.format(low)} to {form.format(high)})"

    forms = {"image_recall": "{:.0%}", "image_auroc": "{:.3f}", "pixel_aupro": "{:.2f}"}
    return [
        (kind, values["count"], [text(values, key, form) for key, form in forms.items()])
        for kind, values in kinds.items()
    ]


def _worst(report: Report) -> list[tuple[str, list[tuple]]]:
    """(kind, [(WorstImage, its picture)]) of each kind."""
    found: dict[str, list[tuple]] = {}
    for item in report.worst:
        found.setdefault(item.kind, []).append((item, pictures.thumbnail(item.image, 192, item.mask)))
    return list(found.items())


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
