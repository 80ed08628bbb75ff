"""The report's pictures and figures show the data."""

import numpy as np
import pytest

from helpers.evaluated import ABNORMAL, SCORES, full_report, gallery_item
from semi_anogan.evaluation.report import figures
from semi_anogan.evaluation.report.contents import choose_gallery
from semi_anogan.evaluation.report.pictures import gallery_rows


def test_choose_gallery_by_hand():
    # index      0    1    2    3    4    5    6    7    8    9
    scores = [0.1, 0.2, 0.3, 0.9, 2.5, 1.5, 0.4, 0.0, 3.0, 5.0]
    abnormal = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 1], bool)
    # Normal passed: 0..3, median 0.25, nearest 1 (0.05) and 2 (0.05). Alarms 4, 5. Misses 7, 6.
    # Found 8, 9: median 4.
    assert choose_gallery(abnormal, scores, 1.0, count=2) == [
        (7, "miss"),
        (6, "miss"),
        (4, "false alarm"),
        (5, "false alarm"),
        (8, "typical abnormal"),
        (9, "typical abnormal"),
        (1, "typical normal"),
        (2, "typical normal"),
    ]
    assert choose_gallery(abnormal, scores, 1.0, count=1)[0] == (7, "miss")
    only_normal = choose_gallery(np.zeros(3, bool), np.zeros(3), 1.0, count=2)
    assert only_normal == [(0, "typical normal"), (1, "typical normal")]
    assert choose_gallery(np.zeros(0, bool), np.zeros(0), 1.0) == []


def test_gallery_pictures():
    mask = np.zeros((8, 8), bool)
    mask[2, 3] = True
    faint = gallery_item(map_value=0.25)
    rows, (low, high) = gallery_rows([gallery_item(mask=mask), faint])
    assert low == 0.0 and high == pytest.approx(np.quantile(gallery_item().anomaly_map, 0.999))
    strong, weak = rows[0].arrays, rows[1].arrays
    assert (strong["input"] == 128).all()  # 0 of [-1, 1]
    # Where the map is at its median the image shows through unchanged; the defect of each has its own colour.
    assert (np.delete(strong["anomaly map"].reshape(64, 3), 2 * 8 + 3, axis=0) == 128).all()
    assert not np.array_equal(strong["anomaly map"][2, 3], weak["anomaly map"][2, 3])
    # The two share one difference scale: 255 at the top, a quarter of it at 255 * sqrt(1/4).
    assert strong["difference"][2, 3, 0] == 255
    assert abs(int(weak["difference"][2, 3, 0]) - 255 * np.sqrt(0.25 / high)) < 2
    # The outline surrounds the defect pixel and leaves it as it was.
    outline = (strong["mask"] == [0, 220, 120]).all(-1)
    assert outline[1:4, 2:5].sum() == 8 and outline.sum() == 8 and not outline[2, 3]
    assert weak["mask"] is None


def test_regions_are_outlined_in_the_map():
    regions = np.zeros((8, 8), bool)
    regions[2, 3] = True
    item, plain = gallery_item(), gallery_item()
    item.regions = regions
    (row, other), _ = gallery_rows([item, plain])
    line = (row.arrays["anomaly map"] == [0, 255, 255]).all(-1)
    assert line[1:4, 2:5].sum() == 8 and line.sum() == 8 and not line[2, 3]
    assert not (other.arrays["anomaly map"] == [0, 255, 255]).all(-1).any()


def test_large_pictures_shrink_and_keep_a_small_defect_outlined():
    mask = np.zeros((1024, 512), bool)
    mask[700, 300] = True
    item = gallery_item(size=8)
    item.input = item.reconstruction = np.full((1024, 512, 3), -1.0, np.float32)
    item.mask = mask
    (row,), _ = gallery_rows([item])
    assert {a.shape for a in row.arrays.values()} == {(256, 128, 3)}
    assert (row.arrays["mask"] == [0, 220, 120]).all(-1)[170:180, 70:80].any()


def test_figures_draw_the_data():
    drawn = figures.draw(full_report(), ABNORMAL, SCORES, [])
    roc = drawn["roc"].axes[0].lines
    assert [len(line.get_xdata()) for line in roc][1] > 2
    np.testing.assert_allclose([roc[2].get_xdata()[0], roc[2].get_ydata()[0]], [0.25, 2 / 3])
    point = drawn["precision_recall"].axes[0].lines[2]
    np.testing.assert_allclose([point.get_xdata()[0], point.get_ydata()[0]], [2 / 3, 2 / 3])
    assert drawn["scores"].axes[0].lines[0].get_xdata() == [1.0, 1.0]  # the threshold
    shares = [patch.get_data().values for patch in drawn["pixel_differences"].axes[0].patches]
    np.testing.assert_allclose(shares, [[0.9, 0.1, 0.0], [0.5, 0.3, 0.2]])
    assert drawn["pixel_differences"].axes[0].get_yscale() == "log"
