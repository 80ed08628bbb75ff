"""What a report is made of, and which test images its gallery shows."""

import dataclasses
from collections.abc import Sequence

import numpy as np

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
      input, reconstruction: float [H, W, C] in [-1, 1].
      difference: float [H, W], >= 0. Without a search it and the reconstruction are None in all items.
      anomaly_map: float [H, W], higher = more abnormal; finite, as all arrays.
      mask: bool [H, W] or None.
      regions: bool [H, W], the pixels of the regions; None where there are no regions to tell of.
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
    regions: np.ndarray | None = None


@dataclasses.dataclass
class SuspiciousImage:
    """A training image labelled normal that looks abnormal.

    Attributes:
      score: its suspicion.
      mislabelled: the truth, or None where it is not known.
      image: float [H, W, C] in [-1, 1].
    """

    path: str
    score: float
    mislabelled: bool | None = None
    image: np.ndarray | None = None


@dataclasses.dataclass
class WorstImage:
    """An abnormal test image of a kind of defect with one of its lowest scores.

    Attributes: image: float [H, W, C] in [-1, 1]; mask: bool [H, W] or None.
    """

    path: str
    kind: str
    score: float
    image: np.ndarray
    mask: np.ndarray | None = None


# Groups of images that a person may label in the report; no image is in two, the first counts.
SORTED = {
    "suspicious": "Suspicious training images, the most suspicious first.",
    "miss": "Misses of the test, the lowest score first.",
    "false alarm": "False alarms of the test, the highest score first.",
    "near": "Test images near the threshold.",
}


@dataclasses.dataclass
class SortItem:
    """An image that a person may label in the report.

    Attributes:
      path, origin: as reviewed.csv has them (data/review.py).
      group: a key of SORTED.
      figure: its score, or its suspicion.
      truth: "normal" or "abnormal" of a test image, "" of a training image.
      jpeg: a small picture, None where the image cannot be read.
    """

    path: str
    origin: str
    group: str
    figure: float
    truth: str = ""
    jpeg: bytes | None = None


@dataclasses.dataclass
class Report:
    """What the report is made of; every part but the first five may be missing.

    Attributes:
      metrics: as in metrics.json.
      paths, abnormal, scores: [N] test images.
      threshold: None where there is none.
      components: [N, K] with K component_names.
      pixel_differences: label -> counts [B] over pixel_difference_edges [B + 1].
      history: name -> (positions, values) of equal length; history_unit says what a position counts.
      synthetic: normal training images with synthetic defects of the kinds synthetic_kinds, float [H, W, C]
        in [-1, 1].
      held_out: labels and scores, as abnormal and scores, of held-out training images; None where there are
        test images.
      data_notes: lines on how the data were found and read.
      worst: images of each kind of defect, by kind, the lowest score first.
      hidden_abnormal: number of abnormal images known to be hidden among the normal training images.
      run: the run folder, for the commands that are told.
      normal_scores: scores of the normal images that the threshold rests on.
      to_sort: images that a person may label; left_out: group of SORTED -> how many more there are.
      kinds: of known defects, by name.
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
    held_out: tuple[np.ndarray, np.ndarray] | None = None
    data_notes: Sequence[str] = ()
    worst: Sequence[WorstImage] = ()
    run: str = "RUN"
    normal_scores: Sequence[float] = ()
    to_sort: Sequence[SortItem] = ()
    left_out: dict[str, int] = dataclasses.field(default_factory=dict)
    kinds: Sequence[str] = ()


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


def choose_worst(
    kinds: Sequence[str | None], abnormal: np.ndarray, scores: np.ndarray, count: int = 4
) -> list[int]:
    """Up to `count` abnormal images of each kind, by the kind's name, the lowest score first."""
    order = np.argsort(np.asarray(scores, np.float64), kind="stable")
    of_kind = {kind: [] for kind in sorted({k for k in kinds if k is not None})}
    for index in order.tolist():
        if abnormal[index] and kinds[index] is not None:
            of_kind[kinds[index]].append(index)
    return [index for chosen in of_kind.values() for index in chosen[:count]]


def choose_to_sort(
    abnormal: np.ndarray, scores: np.ndarray, threshold: float, most: int
) -> tuple[list[tuple[int, str]], dict[str, int]]:
    """((index, group) of test images that a person may label, how many more of a group there are).

    Of each group but "suspicious" at most `most`; near the threshold is the half of `most` nearest to it.
    """
    abnormal, scores = np.asarray(abnormal, bool), np.asarray(scores, np.float64)
    alarm = scores > threshold
    keys = {"miss": (abnormal & ~alarm, scores), "false alarm": (~abnormal & alarm, -scores)}
    chosen, left_out = [], {}
    for group, (members, key) in keys.items():
        index = np.flatnonzero(members)
        index = index[np.argsort(key[index], kind="stable")].tolist()
        chosen += [(i, group) for i in index[:most]]
        if len(index) > most:
            left_out[group] = len(index) - most
    taken = {i for i, _ in chosen}
    near = np.argsort(np.abs(scores - threshold), kind="stable").tolist()
    chosen += [(i, "near") for i in [i for i in near if i not in taken][: most // 2]]
    return chosen, left_out
