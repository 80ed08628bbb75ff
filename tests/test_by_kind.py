"""The figures of each kind of defect and their intervals, by hand; and the nearest known kind."""

import numpy as np
import pytest

from helpers.evaluated import full_report
from semi_anogan.data import catalog
from semi_anogan.errors import DataError
from semi_anogan.evaluation import by_kind
from semi_anogan.evaluation.by_kind import RegionOverlaps, auroc_interval, figures, mean_interval, wilson
from semi_anogan.evaluation.metrics import PixelMetrics
from semi_anogan.evaluation.nearest_kind import confusion, nearest_kinds
from semi_anogan.evaluation.report import page
from semi_anogan.evaluation.report.contents import WorstImage, choose_worst


def test_wilson_by_hand():
    # 2.706 = 1.645 ** 2: (0 + 1.353) / (1 + 2.706 / 3) +- ... of 0 in 3.
    assert wilson(0.0, 3) == pytest.approx([0.0, 2.7055 / 5.7055], abs=1e-4)
    assert wilson(1.0, 3) == pytest.approx([3 / 5.7055, 1.0], abs=1e-4)
    low, high = wilson(0.5, 100)
    assert low + high == pytest.approx(1.0) and high - low == pytest.approx(2 * 0.0812, abs=1e-3)


def test_figures_by_hand():
    kinds = [None, None, None, "cut", "cut", "hole", None]
    abnormal = np.array([0, 0, 0, 1, 1, 1, 1], bool)
    scores = np.array([1.0, 2.0, 3.0, 2.5, 4.0, 0.5, 9.0])
    found = figures(kinds, abnormal, scores, 2.75)
    assert list(found) == ["cut", "hole"]
    assert found["cut"]["count"] == 2 and found["cut"]["image_recall"] == 0.5
    assert found["cut"]["image_auroc"] == pytest.approx(5 / 6)  # 2 of 3 and 3 of 3 normal images are below
    assert found["hole"]["image_recall"] == 0.0 and found["hole"]["image_auroc"] == 0.0
    assert found["hole"]["image_recall_interval"] == wilson(0.0, 1)
    assert found["hole"]["image_auroc_interval"] == wilson(0.0, 1)  # one image: from 0 to 0.73
    assert "pixel_aupro" not in found["cut"]
    assert figures([None] * 7, abnormal, scores, 1.0) == {}
    alone = figures(["cut"], np.array([True]), np.array([1.0]), 0.5)["cut"]
    assert alone["image_auroc"] is None and alone["image_auroc_interval"] is None


def test_intervals_cover_the_truth_and_are_wide_of_few():
    """AUROC 0.76 of unit normal scores one apart: the 90 % interval misses it about once in ten times."""
    rng, missed, widths = np.random.default_rng(0), 0, {12: [], 100: []}
    for _ in range(40):
        for n in widths:
            low, high = auroc_interval(rng.normal(1, 1, n), rng.normal(0, 1, 200))
            widths[n].append(high - low)
            missed += not low <= 0.7602 <= high
    assert missed <= 18  # 8 expected of 80; a bootstrap of 12 is a little narrow
    assert np.mean(widths[12]) > 2 * np.mean(widths[100])
    # All above: a bootstrap would say exactly 1, whatever their number.
    assert auroc_interval(np.full(20, 9.0), np.arange(5.0)) == wilson(1.0, 20)
    assert auroc_interval(np.array([9.0, 1.5]), np.arange(4.0)) == wilson(0.75, 2)


def test_equal_scores_count_half_and_the_seed_is_fixed():
    scores = np.random.default_rng(1).integers(0, 4, (2, 25)).astype(float)
    assert auroc_interval(*scores) == auroc_interval(*scores)
    low, high = auroc_interval(*scores)
    auroc = np.mean((scores[0][:, None] > scores[1]) + 0.5 * (scores[0][:, None] == scores[1]))
    assert low < auroc < high


def test_the_mean_of_the_defects_areas_is_aupro():
    rng, pixels, overlaps = np.random.default_rng(2), PixelMetrics(), RegionOverlaps()
    for index in range(12):
        mask = np.zeros((16, 16), bool)
        if index >= 2:
            mask[2:5, 2:6] = True
            mask[9 : 10 + index // 3, 10:13] = True
        values = rng.normal(0, 1, (16, 16)) + 1.5 * mask
        pixels.update(values, mask)
        overlaps.update(index, values, mask)
    areas = overlaps.areas(pixels)
    assert set(areas) == set(range(2, 12)) and all(len(a) == 2 for a in areas.values())
    everything = np.concatenate(list(areas.values()))
    assert everything.mean() == pytest.approx(pixels.result()["pixel_aupro"], abs=1e-9)
    low, high = mean_interval(list(areas.values()))
    assert low < everything.mean() < high
    assert mean_interval([np.array([0.5, 1.0])]) == wilson(0.75, 1)


@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_areas_where_the_limit_cuts_a_step(limit):
    """Few values, so that steps are large: the sum is AUPRO to the last digit."""
    rng, pixels, overlaps = np.random.default_rng(3), PixelMetrics(limit), RegionOverlaps()
    for index in range(4):
        mask = np.zeros((8, 8), bool)
        mask[index : index + 3, 2:5] = True
        values = rng.integers(0, 3, (8, 8)) + mask.astype(float)
        pixels.update(values, mask)
        overlaps.update(index, values, mask)
    found = np.concatenate(list(overlaps.areas(pixels).values())).mean()
    assert found == pytest.approx(pixels.result()["pixel_aupro"], abs=1e-9)


def test_a_kind_without_masks_has_no_aupro():
    found = figures(["a", "b", None], np.array([1, 1, 0], bool), np.arange(3.0), 1, {0: np.array([0.5, 0.7])})
    assert found["a"]["pixel_aupro"] == pytest.approx(0.6) and found["b"]["pixel_aupro"] is None
    assert found["b"]["pixel_aupro_interval"] is None


def test_nearest_kinds_by_hand():
    known = {"cut": np.array([[2.0, 0.1], [4.0, -0.1]]), "hole": np.array([[0.0, 3.0]])}
    center, projection = np.array([0.0, 0.0]), np.eye(2)
    assert nearest_kinds(np.array([[9.0, 1.0], [0.1, 0.2]]), known, center, projection) == ["cut", "hole"]
    # The center is that of normal patches: seen from there the first is a hole.
    assert nearest_kinds(np.array([[9.0, 1.0]]), known, np.array([9.0, 0.0]), projection) == ["hole"]
    assert confusion(["x", "cut", "cut"], ["hole", "cut", "hole"]) == {
        "cut": {"cut": 1, "hole": 1},
        "x": {"cut": 0, "hole": 1},
    }


def test_the_worst_of_each_kind_come_first():
    kinds = ["b", "a", None, "a", "a", None]
    abnormal = np.array([1, 1, 0, 1, 1, 1], bool)
    assert choose_worst(kinds, abnormal, [3.0, 5.0, 0.0, 4.0, 6.0, 1.0], count=2) == [3, 1, 0]


def test_the_page_shows_kinds_with_their_numbers(tmp_path):
    report = full_report()
    kinds = figures([None] * 4 + ["cut <1>", "cut <1>", "hole"], report.abnormal, report.scores, 1.0)
    report.metrics |= {"kinds": kinds, "nearest_known_kinds": {"hole": {"cut <1>": 1, "hole": 7}}}
    report.worst = [WorstImage("a/b.png", "hole", 0.4, np.zeros((8, 8, 1)), np.ones((8, 8), bool))]
    text = page.write_report(tmp_path, report).read_text()
    assert "By kind of defect" in text and "cut &lt;1&gt;" in text and "cut <1>" not in text
    assert '<td class="number">50% (12% to 88%)</td>' in text  # 1 of 2
    assert "hole: the lowest scores" in text and "missed" in text and "<b>7</b>" in text
    without = page.write_report(tmp_path / "without", full_report()).read_text()
    assert "By kind of defect" not in without and "Nearest known kind" not in without


def test_kinds_come_from_folders_and_the_manifest(tmp_path):
    from PIL import Image

    for name in ("train/good/a", "train/Deep Cut/a", "test/good/a", "test/deep_cut/b", "test/hole/c"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8)).save(tmp_path / f"{name}.png")
    dataset = catalog.load("folder", 1, root=str(tmp_path))
    assert [e.kind for e in dataset.examples] == [None, "Deep Cut", None, "Deep Cut", "hole"]
    rows = [("train/good/a", "train", "normal", ""), ("train/Deep Cut/a", "train", "abnormal", "cut")]
    rows += [("test/hole/c", "test", "abnormal", ""), ("test/good/a", "test", "normal", "good")]
    file = tmp_path / "parts.csv"

    def write(rows):
        lines = ["path,split,label,kind", *(f"{p}.png,{s},{label},{kind}" for p, s, label, kind in rows)]
        file.write_text("\n".join(lines))

    write(rows)
    manifest = catalog.load("manifest", 1, path=str(file))
    assert [e.kind for e in manifest.examples] == [None, "cut", None, None]
    write([("train/good/a", "train", "normal", "cut"), *rows[1:]])
    with pytest.raises(DataError, match="row 2: kind 'cut' on a normal image"):
        catalog.load("manifest", 1, path=str(file))
    assert by_kind.CONFIDENCE == 0.9
