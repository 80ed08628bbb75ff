"""Made-up test images and a made-up report of them."""

import numpy as np

from semi_anogan.data.dataset import Dataset, Example
from semi_anogan.evaluation.report.contents import GalleryItem, Report, SuspiciousImage

ABNORMAL = np.array([False, False, False, False, True, True, True])
SCORES = np.array([0.1, 0.2, 0.3, 2.5, 0.4, 3.0, 4.0])
NASTY = 'parts/<script>alert(1)</script>&"x".png'


def gallery_item(group="miss", path="a.png", abnormal=True, mask=None, size=8, map_value=1.0):
    """A grey item of the gallery, whose map and difference are map_value at [2, 3] and 0 elsewhere."""
    defect = np.zeros((size, size), np.float32)
    defect[2, 3] = map_value
    return GalleryItem(
        path,
        abnormal,
        0.4,
        group,
        np.zeros((size, size, 1), np.float32),
        np.zeros((size, size, 1), np.float32),
        defect,
        defect,
        mask,
    )


def full_report() -> Report:
    """A report with every part."""
    mask = np.zeros((8, 8), bool)
    mask[2, 3] = True
    steps = np.arange(0, 1000, 100)
    return Report(
        title="Parts <A> & B",
        metrics={
            "image_auroc": 0.91666,
            "image_average_precision": 0.9,
            "image_f1_max": 0.8,
            "threshold": 1.0,
            "image_false_alarm_rate": 0.25,
            "image_recall": 2 / 3,
            "pixel_auroc": 0.987,
            "pixel_aupro": 0.876,
            "components": {"residual": 0.75},
            "train_seconds": 12.5,
        },
        paths=[NASTY] * 7,
        abnormal=ABNORMAL,
        scores=SCORES,
        threshold=1.0,
        config={"data": {"name": "folder", "root": None}, "schedule": {"batch_sizes": (16, 8)}, "seed": 3},
        components=np.stack([SCORES, -SCORES], 1),
        component_names=["residual", "inverse"],
        pixel_differences={"normal": np.array([90, 10, 0]), "abnormal": np.array([50, 30, 20])},
        pixel_difference_edges=np.array([0, 0.5, 1, 2]),
        gallery=[gallery_item("typical normal", abnormal=False), gallery_item("miss", NASTY, mask=mask)],
        history={"generator_loss": (steps, np.exp(-steps / 500)), "odd $name_": (steps, np.full(10, np.nan))},
        suspicious=[
            SuspiciousImage("train/7.png", 5.25, True, np.zeros((200, 100, 3))),
            SuspiciousImage("train/8.png", 5.0, False),
            SuspiciousImage("train/9.png", 4.5),
        ],
        synthetic=[np.zeros((16, 16, 1)), np.ones((16, 16, 1))],
        synthetic_kinds=("crack", "shade"),
        hidden_abnormal=4,
        warnings=["few images <60>"],
    )


def dataset_of(values, masks=None):
    """Test images of one value each, {path: value}; abnormal where the path says so."""
    examples = [Example(p, "test", "abnormal" if "abnormal" in p else "normal") for p in values]
    training = [Example(f"train/{n}", "train", "normal", mislabelled=n == 0) for n in range(4)]

    def image(example):
        pixels = np.full((8, 8, 1), values.get(example.path, 0.0), np.float32)
        mask = (masks or {}).get(example.path)
        if mask is not None:  # the value is where the mask is
            pixels = np.where(mask[..., None], pixels, np.float32(0))
        return pixels

    return Dataset("made up", (*examples, *training), image, lambda e: (masks or {}).get(e.path))
