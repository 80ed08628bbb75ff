"""Metrics against hand-computed cases and straightforward references."""

import numpy as np
import pytest

from semi_anogan.evaluation.metrics import (
    PixelMetrics,
    RegionMetrics,
    component_auroc,
    image_metrics,
    ordered_keys,
)


def test_image_metrics_by_hand():
    # Order by score: abnormal .9, normal .8, abnormal .7, normal .1. Of the 4 pairs 3 are in the right order.
    # Precision at the two recalls: 1/1 and 2/3 -> average precision (1 + 2/3) / 2. F1: 2/3, 1/2, 4/5, 2/3 ->
    # 4/5.
    result = image_metrics(
        np.array([True, False, True, False]), np.array([0.9, 0.8, 0.7, 0.1]), threshold=0.7
    )
    assert result["image_auroc"] == pytest.approx(0.75)
    assert result["image_average_precision"] == pytest.approx(5 / 6)
    assert result["image_f1_max"] == pytest.approx(0.8)
    assert result["threshold"] == 0.7
    assert result["image_false_alarm_rate"] == 0.5
    assert result["image_recall"] == 0.5  # 0.7 is not above the threshold


def test_without_threshold_there_are_no_threshold_figures():
    assert set(image_metrics(np.array([True, False]), np.array([1.0, 0.0]))) == {
        "image_auroc",
        "image_average_precision",
        "image_f1_max",
    }


@pytest.mark.parametrize(
    "abnormal, recall, alarms", [([True, True], 0.5, None), ([False, False], None, 0.5), ([], None, None)]
)
def test_one_class_gives_none(abnormal, recall, alarms):
    result = image_metrics(np.array(abnormal, bool), np.array([0.2, 0.8][: len(abnormal)]), threshold=0.5)
    assert result["image_auroc"] is None and result["image_average_precision"] is None
    assert result["image_f1_max"] is None
    assert result["image_recall"] == recall and result["image_false_alarm_rate"] == alarms


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_score_is_named(bad):
    with pytest.raises(ValueError, match=r"score 2 is"):
        image_metrics(np.array([True, False, True]), np.array([0.0, 1.0, bad]))


def test_lengths_must_agree():
    with pytest.raises(ValueError, match=r"\(2,\).*\(3,\)"):
        image_metrics(np.array([True, False]), np.zeros(3))


def test_component_auroc():
    components = np.array([[1.0, 4.0], [2.0, 3.0], [3.0, 2.0], [4.0, 1.0]])
    abnormal = np.array([False, False, True, True])
    assert component_auroc(["up", "down"], components, abnormal) == {"up": 1.0, "down": 0.0}
    with pytest.raises(ValueError, match="shape"):
        component_auroc(["up"], components, abnormal)


def test_keys_keep_order_and_rounding():
    values = np.concatenate(
        [
            np.random.default_rng(0).normal(size=5000) * 10.0 ** np.arange(-9, 1).repeat(500),
            [0.0, -0.0, 1e9, -1e9, 65504.0],
        ]
    ).astype(np.float32)
    rounded = np.clip(values, -65504, 65504).astype(np.float16).astype(np.float64)
    _, rank = np.unique(rounded, return_inverse=True)
    _, key_rank = np.unique(ordered_keys(values), return_inverse=True)
    np.testing.assert_array_equal(key_rank, rank)


def test_pixel_metrics_by_hand():
    # Row 0 is one region of two pixels (values 4 and 2), the corner below right one of one pixel (value 3);
    # the six others are normal with values 5, 1, 1, 1, 1, 0.
    anomaly_map = np.array([[4, 2, 5], [1, 1, 1], [1, 0, 3]], np.float32)
    mask = np.array([[1, 1, 0], [0, 0, 0], [0, 0, 1]], bool)
    metrics = PixelMetrics()
    metrics.update(anomaly_map, mask)
    assert metrics.regions == 2
    # AUROC: each of the three abnormal pixels beats 5 of the 6 normal ones.
    assert metrics.result()["pixel_auroc"] == pytest.approx(5 / 6)
    # PRO, from threshold 5 down: fpr 1/6 pro 0; then at fpr 1/6: 4 -> 1/4, 3 -> 3/4, 2 -> 1; flat at 1 from
    # there. Area to 0.3: nothing up to 1/6, then (0.3 - 1/6) * 1.
    assert metrics.result()["pixel_aupro"] == pytest.approx((0.3 - 1 / 6) / 0.3)


def test_aupro_interpolates_at_the_limit():
    # One abnormal pixel tied with one of two normal pixels: the curve runs straight from (0, 0) to (1/2, 1).
    metrics = PixelMetrics()
    metrics.update(np.array([[1, 1, 0]], np.float32), np.array([[True, False, False]]))
    # Area up to 0.3 below the line pro = 2 fpr: 0.3^2; normalised 0.3.
    assert metrics.result()["pixel_aupro"] == pytest.approx(0.3)
    assert metrics.result()["pixel_auroc"] == pytest.approx(0.75)


def test_diagonal_pixels_are_one_region():
    metrics = PixelMetrics()
    metrics.update(np.zeros((3, 3), np.float32), np.eye(3, dtype=bool))
    assert metrics.regions == 1


def test_perfect_and_inverted_maps():
    mask = np.zeros((8, 8), bool)
    mask[2:4, 2:5] = True
    for sign, expected in ((1, 1.0), (-1, 0.0)):
        metrics = PixelMetrics()
        metrics.update(sign * mask.astype(np.float32), mask)
        assert metrics.result() == {"pixel_auroc": expected, "pixel_aupro": pytest.approx(expected)}


def test_pixel_metrics_against_references():
    from scipy import ndimage
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(3)
    maps, masks, metrics = [], [], PixelMetrics()
    for index in range(6):
        mask = ndimage.gaussian_filter(rng.normal(size=(40, 50)), 3) > 0.12
        if index < 2:
            mask[:] = False  # normal images
        anomaly_map = (rng.normal(size=mask.shape) + 1.2 * mask).astype(np.float32)
        metrics.update(anomaly_map, mask)
        maps.append(anomaly_map), masks.append(mask)
    result = metrics.result()

    everything, truth = np.concatenate([m.ravel() for m in maps]), np.concatenate([m.ravel() for m in masks])
    assert result["pixel_auroc"] == pytest.approx(roc_auc_score(truth, everything), abs=1e-4)

    regions = []
    for anomaly_map, mask in zip(maps, masks, strict=True):
        labels, count = ndimage.label(mask, np.ones((3, 3)))
        regions += [np.sort(anomaly_map[labels == k + 1]) for k in range(count)]
    assert metrics.regions == len(regions) > 5
    normal = np.sort(everything[~truth])
    thresholds = np.sort(everything)[::-1]
    fpr = np.array([1 - np.searchsorted(normal, t) / len(normal) for t in thresholds])
    pro = np.array([np.mean([1 - np.searchsorted(r, t) / len(r) for r in regions]) for t in thresholds])
    grid = np.linspace(0, 0.3, 20001)
    assert result["pixel_aupro"] == pytest.approx(
        np.trapezoid(np.interp(grid, fpr, pro), grid) / 0.3, abs=1e-3
    )


def test_values_outside_the_half_range_keep_their_end():
    metrics = PixelMetrics()
    metrics.update(np.array([[1e8, -1e8, 1.0, -1.0]], np.float32), np.array([[True, False, False, False]]))
    assert metrics.result()["pixel_auroc"] == 1.0


def test_missing_pixels_give_none():
    metrics = PixelMetrics()
    assert metrics.result() == {"pixel_auroc": None, "pixel_aupro": None}
    metrics.update(np.zeros((4, 4), np.float32), np.zeros((4, 4), bool))
    assert metrics.result() == {"pixel_auroc": None, "pixel_aupro": None}


@pytest.mark.parametrize(
    "anomaly_map, mask, message",
    [
        (np.zeros((2, 2)), np.zeros((2, 3), bool), r"\(2, 2\).*\(2, 3\)"),
        (np.zeros((2, 2)), np.zeros((2, 2), np.uint8), "uint8"),
        (np.array([[0.0, np.nan]]), np.zeros((1, 2), bool), r"\(0, 1\)"),
    ],
)
def test_bad_updates(anomaly_map, mask, message):
    with pytest.raises(ValueError, match=message):
        PixelMetrics().update(anomaly_map, mask)


def test_region_metrics_by_hand():
    """Two defects of 1 and 2 pixels, the first touched by a region of 2; two normal images, one with two."""
    metrics = RegionMetrics()
    assert metrics.result() == dict.fromkeys(("region_recall", "regions_per_normal_image", "region_pixel_f1"))
    mask = np.array([[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]], bool)
    regions = np.array([[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], bool)
    metrics.update(regions, mask, True)
    assert metrics.result()["regions_per_normal_image"] is None
    metrics.update(np.array([[1, 0, 1]], bool), np.zeros((1, 3), bool), False)
    metrics.update(np.zeros((1, 3), bool), np.zeros((1, 3), bool), False)
    metrics.update(
        np.zeros((1, 3), bool), np.zeros((1, 3), bool), True
    )  # no normal image, though without mask
    expected = {"region_recall": 1 / 2, "regions_per_normal_image": 1.0, "region_pixel_f1": 2 * 1 / (4 + 3)}
    assert metrics.result() == expected
    with pytest.raises(ValueError, match=r"bool of one shape \[H, W\], got bool \(1, 2\) and bool \(1, 3\)"):
        metrics.update(np.zeros((1, 2), bool), np.zeros((1, 3), bool), False)
