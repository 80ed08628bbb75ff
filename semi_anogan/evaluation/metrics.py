"""How well scores and maps separate abnormal from normal images and pixels, and regions find defects."""

import numpy as np

from semi_anogan.scoring.regions import connected

KEYS = 1 << 16  # number of float16 bit patterns
HALF_MAX = float(np.finfo(np.float16).max)


def image_metrics(
    abnormal: np.ndarray, scores: np.ndarray, threshold: float | None = None
) -> dict[str, float | None]:
    """Metrics of one score per image.

    Args:
      abnormal: bool [N], the truth.
      scores: [N], higher = more abnormal; finite.
      threshold: where given, an image is labelled abnormal if score > threshold.

    Returns:
      image_auroc: chance that an abnormal image scores above a normal one, ties half.
      image_average_precision.
      image_f1_max: largest F1 over all thresholds, a hindsight figure.
      With a threshold also threshold, image_false_alarm_rate (share of the normal images labelled abnormal)
      and image_recall (share of the abnormal images labelled abnormal).
      All but the threshold in [0, 1]; None where the images of a class it needs are missing.

    Raises:
      ValueError: lengths differ, or a score is not finite (the message names its index).
    """
    abnormal, scores = _checked(abnormal, scores)
    result: dict[str, float | None] = {
        "image_auroc": None,
        "image_average_precision": None,
        "image_f1_max": None,
    }
    if abnormal.any() and not abnormal.all():
        from sklearn import metrics

        precision, recall, _ = metrics.precision_recall_curve(abnormal, scores)
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        result = {
            "image_auroc": float(metrics.roc_auc_score(abnormal, scores)),
            "image_average_precision": float(metrics.average_precision_score(abnormal, scores)),
            "image_f1_max": float(f1.max()),
        }
    if threshold is not None:
        labels = scores > threshold
        result["threshold"] = float(threshold)
        result["image_false_alarm_rate"] = _share(labels[~abnormal])
        result["image_recall"] = _share(labels[abnormal])
    return result


def unavailable(values: dict, normal: int, abnormal: int) -> dict[str, str]:
    """Key -> why it has no value, of the metrics that so many normal and abnormal images do not give."""
    without = [name for name, count in (("normal", normal), ("abnormal", abnormal)) if not count]
    if not without:
        return {}
    why = "there are no test images" if len(without) == 2 else f"there are no {without[0]} test images"
    found = values.get("components") or {}
    keys = [key for key in values if key.startswith(("image_", "pixel_")) and values[key] is None]
    keys += ["components"] if found and all(value is None for value in found.values()) else []
    return dict.fromkeys(keys, why)


def component_auroc(
    names: list[str], components: np.ndarray, abnormal: np.ndarray
) -> dict[str, float | None]:
    """AUROC of each score component on its own.

    Args:
      names: K names.
      components: [N, K], higher = more abnormal; finite.
      abnormal: bool [N].

    Returns:
      name -> AUROC in [0, 1], or None where a class is missing.
    """
    components = np.asarray(components, np.float64)
    if components.shape != (len(abnormal), len(names)):
        raise ValueError(f"components have shape {components.shape}, expected {(len(abnormal), len(names))}")
    return {name: image_metrics(abnormal, components[:, k])["image_auroc"] for k, name in enumerate(names)}


class PixelMetrics:
    """Pixel AUROC and AUPRO over any number of anomaly maps in constant memory.

    A map is rounded to float16 (11 significant bits), whose 65,536 bit patterns, put in numeric order, are
    the bins of the histograms kept here. So both figures are exact for the rounded maps: there is no bin
    width to choose, and no range to know before the first map. Values outside +-65,504 are clipped. Maps
    should start near 0: with a large offset (all values near 1,000, say) the rounding would tie unlike
    pixels.

    AUPRO: Bergmann et al. 2021 (The MVTec Anomaly Detection Dataset, IJCV), per-region overlap averaged over
    the connected regions (8 neighbours) of all masks, integrated over pixel false-positive rates from 0 to
    `fpr_limit` and divided by it. Every pixel outside a mask, those of normal images too, counts as normal.
    """

    def __init__(self, fpr_limit: float = 0.3):
        if not 0 < fpr_limit <= 1:
            raise ValueError(f"fpr_limit must be in (0, 1], got {fpr_limit}")
        self.fpr_limit = fpr_limit
        self.regions = 0
        self._normal = np.zeros(KEYS, np.int64)
        self._abnormal = np.zeros(KEYS, np.int64)
        # Summed over regions: (region's pixels in the bin) / (its pixels).
        self._overlap = np.zeros(KEYS, np.float64)

    def update(self, anomaly_map: np.ndarray, mask: np.ndarray, ignored: np.ndarray | None = None) -> None:
        """Adds one image.

        Args:
          anomaly_map: float [H, W], higher = more abnormal.
          mask: bool [H, W], True where the pixel is abnormal; all False for a normal image.
          ignored: bool [H, W], pixels that do not count; None for none. The mask is False there.

        Raises:
          ValueError: shapes differ, the mask is not bool, or a map value is not finite.
        """
        anomaly_map, mask = np.asarray(anomaly_map), np.asarray(mask)
        if anomaly_map.ndim != 2 or anomaly_map.shape != mask.shape:
            raise ValueError(f"map {anomaly_map.shape} and mask {mask.shape} must have the same shape [H, W]")
        if mask.dtype != bool:
            raise ValueError(f"mask must be bool, got {mask.dtype}")
        if not np.isfinite(anomaly_map).all():
            where = tuple(np.argwhere(~np.isfinite(anomaly_map))[0].tolist())
            raise ValueError(f"anomaly map is {anomaly_map[where]} at {where}, expected finite values")
        keys = ordered_keys(anomaly_map)
        normal = ~mask if ignored is None else ~(mask | ignored)
        self._normal += np.bincount(keys[normal], minlength=KEYS)
        if not mask.any():
            return
        labels, count = connected(mask)
        labels = labels[mask]
        sizes = np.bincount(labels, minlength=count + 1)
        self._abnormal += np.bincount(keys[mask], minlength=KEYS)
        self._overlap += np.bincount(keys[mask], weights=1.0 / sizes[labels], minlength=KEYS)
        self.regions += count

    def result(self) -> dict[str, float | None]:
        """pixel_auroc and pixel_aupro, both in [0, 1]; None without a normal and an abnormal pixel."""
        if not self._normal.any() or not self._abnormal.any():
            return {"pixel_auroc": None, "pixel_aupro": None}
        return {"pixel_auroc": self._auroc(), "pixel_aupro": self._aupro()}

    def areas_of_keys(self) -> np.ndarray:
        """What a pixel of each key adds to the share of its defect that AUPRO integrates: float64 [KEYS].

        AUPRO is the mean over the defects of the mean of this over a defect's pixels: from its key down a
        pixel counts, at the rates of the normal pixels of all images.
        """
        used = np.flatnonzero(self._normal + self._abnormal)[::-1]
        rates = np.cumsum(self._normal[used]) / self._normal.sum()
        before = np.concatenate([[0.0], rates[:-1]])
        step = np.maximum(rates - before, 1e-300)
        whole = self.fpr_limit - (before + rates) / 2
        part = (self.fpr_limit - before) ** 2 / (2 * step)  # of a step that the limit cuts
        areas = np.where(rates <= self.fpr_limit, whole, np.where(before < self.fpr_limit, part, 0.0))
        found = np.zeros(KEYS)
        found[used] = areas / self.fpr_limit
        return found

    def _auroc(self) -> float:
        from sklearn import metrics

        normal, abnormal = np.flatnonzero(self._normal), np.flatnonzero(self._abnormal)
        fpr, tpr, _ = metrics.roc_curve(
            np.concatenate([np.zeros(len(normal)), np.ones(len(abnormal))]),
            np.concatenate([normal, abnormal]),
            sample_weight=np.concatenate([self._normal[normal], self._abnormal[abnormal]]),
        )
        return float(metrics.auc(fpr, tpr))

    def _aupro(self) -> float:
        # The rates at threshold t count the pixels at or above t: sums from the highest bin down, one point
        # per bin in use, after the point (0, 0) of a threshold above everything.
        used = np.flatnonzero(self._normal + self._abnormal)[::-1]
        fpr = np.concatenate([[0.0], np.cumsum(self._normal[used]) / self._normal.sum()])
        pro = np.concatenate([[0.0], np.cumsum(self._overlap[used]) / self.regions])
        inside = fpr <= self.fpr_limit
        # Where fpr repeats (a vertical step), interpolation must start from the last, the highest, of the
        # repeated points.
        after = np.count_nonzero(inside)
        area = np.trapezoid(pro[inside], fpr[inside])
        if after < len(fpr):
            part = (self.fpr_limit - fpr[after - 1]) / (fpr[after] - fpr[after - 1])
            at_limit = pro[after - 1] + part * (pro[after] - pro[after - 1])
            area += (self.fpr_limit - fpr[after - 1]) * (pro[after - 1] + at_limit) / 2
        return float(area / self.fpr_limit)


class RegionMetrics:
    """How well regions find the defects of masks, over any number of images in constant memory."""

    def __init__(self):
        self._defects = self._touched = self._normal_images = self._on_normal = 0
        self._both = self._of_regions = self._of_masks = 0  # pixels

    def update(self, regions: np.ndarray, mask: np.ndarray, abnormal: bool) -> None:
        """Adds one image.

        Args:
          regions: bool [H, W], the pixels of all its regions.
          mask: bool [H, W], all False for a normal image.
          abnormal: the truth; an abnormal image whose mask is empty counts with its pixels alone.

        Raises:
          ValueError: shapes differ, or one is not bool.
        """
        if regions.shape != mask.shape or regions.dtype != bool or mask.dtype != bool:
            found = f"{regions.dtype} {regions.shape} and {mask.dtype} {mask.shape}"
            raise ValueError(f"regions and mask must be bool of one shape [H, W], got {found}")
        if mask.any():
            defects, count = connected(mask)
            self._defects += count
            self._touched += len(np.unique(defects[regions & mask]))
        elif not abnormal:
            self._normal_images += 1
            self._on_normal += connected(regions)[1]
        self._both += int(np.count_nonzero(regions & mask))
        self._of_regions += int(np.count_nonzero(regions))
        self._of_masks += int(np.count_nonzero(mask))

    def result(self) -> dict[str, float | None]:
        """The figures, None without a mask or a normal image.

        region_recall: share of the defects (connected, 8 neighbours) that a region touches.
        regions_per_normal_image. region_pixel_f1: of the pixels of regions against those of masks.
        """
        pixels = self._of_regions + self._of_masks
        return {
            "region_recall": self._touched / self._defects if self._defects else None,
            "regions_per_normal_image": self._on_normal / self._normal_images
            if self._normal_images
            else None,
            "region_pixel_f1": 2 * self._both / pixels if self._of_masks else None,
        }


def ordered_keys(values: np.ndarray) -> np.ndarray:
    """uint16 keys in the order of the values rounded to float16.

    After rounding a < b exactly where key(a) < key(b).
    """
    clipped = np.clip(np.asarray(values, np.float32), -HALF_MAX, HALF_MAX)
    half = clipped.astype(np.float16) + np.float16(0)  # -0 -> 0
    bits = half.view(np.uint16)
    # IEEE 754: negative numbers sort backwards by their bits, so all of them are flipped; positive ones go
    # above.
    return np.where(bits & 0x8000, ~bits, bits | 0x8000).astype(np.uint16)


def _checked(abnormal: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    abnormal, scores = np.asarray(abnormal).astype(bool), np.asarray(scores, np.float64)
    if abnormal.ndim != 1 or abnormal.shape != scores.shape:
        raise ValueError(f"abnormal {abnormal.shape} and scores {scores.shape} must have the same shape [N]")
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise ValueError(
            f"score {int(bad[0])} is {scores[bad[0]]}, expected a finite number ({len(bad)} such scores)"
        )
    return abnormal, scores


def _share(labels: np.ndarray) -> float | None:
    return float(labels.mean()) if len(labels) else None
