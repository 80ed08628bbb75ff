"""Holds out training images for score statistics and threshold, so that test images decide nothing."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from semi_anogan.config import check_ranges
from semi_anogan.data import review
from semi_anogan.data.dataset import ABNORMAL, NORMAL, Dataset, Example
from semi_anogan.errors import DataError

# Held-out known abnormal images: fewer say too little about the components' weights, and more would help the
# weights less than they help training.
MIN_HELD_OUT_ABNORMAL, MAX_HELD_OUT_ABNORMAL = 8, 12
# Normal training images that help to set the threshold: each costs a search, and distances to all patches.
TRAINED = 200


@dataclasses.dataclass(frozen=True)
class Splits:
    """The examples by use; the held-out ones are training images that the networks never see."""

    normal: list[Example]
    abnormal: list[Example]
    held_out_normal: list[Example]
    held_out_abnormal: list[Example]
    test: list[Example]

    @property
    def training(self) -> list[Example]:
        """All training images, the held-out ones too."""
        return self.normal + self.abnormal + self.held_out_normal + self.held_out_abnormal


def split(dataset: Dataset, hold_out_share: float, seed: int) -> Splits:
    """Seeded split of the training examples.

    `hold_out_share` of the normal images is held out. Of the known abnormal ones the same share is, but at
    most 12; where that would be fewer than 8, all of them train.

    Raises:
      DataError: hold_out_share out of range, or too few normal images.
    """
    check_ranges("calibration", hold_out_share=hold_out_share)
    normal, abnormal = dataset.select("train", NORMAL), dataset.select("train", ABNORMAL)
    count = max(2, round(len(normal) * hold_out_share))
    if len(normal) < count + 2:
        raise DataError(
            f"{dataset.name}: {len(normal)} normal training images are too few; {count + 2} are needed at "
            f"calibration.hold_out_share {hold_out_share}"
        )
    held_normal, normal = _part(normal, count, [seed, 0])
    count = min(round(len(abnormal) * hold_out_share), MAX_HELD_OUT_ABNORMAL)
    held_abnormal, abnormal = _part(abnormal, count if count >= MIN_HELD_OUT_ABNORMAL else 0, [seed, 1])
    splits = Splits(normal, abnormal, held_normal, held_abnormal, dataset.select("test"))
    return apply_labels(splits, dataset.labels, dataset.labels_file) if dataset.labels_file else splits


def _part(examples: list[Example], count: int, seed: list[int]) -> tuple[list[Example], list[Example]]:
    chosen = set(np.random.default_rng(seed).permutation(len(examples))[:count].tolist())
    return (
        [e for i, e in enumerate(examples) if i in chosen],
        [e for i, e in enumerate(examples) if i not in chosen],
    )


def apply_labels(splits: Splits, labels: Mapping[str, review.Review], path) -> Splits:
    """The splits with what a person said of images, by their paths; these are `reviewed`.

    What was held out stays held out, so that a finished training still fits. Abnormal images are the
    exception: of those held out, the ones beyond what `split` would hold out train as known ones, and all of
    them do where they are too few to hold out.

    Args:
      splits: with the labels of the source.
      labels: of some of the training images; what they leave out stays as it was.
      path: the file that errors name.

    Raises:
      DataError: a path that is no training image, or too few normal images left.
    """
    trained, held_out = splits.normal + splits.abnormal, splits.held_out_normal + splits.held_out_abnormal
    unknown = sorted(set(labels) - {e.path for e in trained + held_out})
    if unknown:
        kind = "a test image" if unknown[0] in {e.path for e in splits.test} else "no image of this data"
        raise DataError(
            f"{path}: {unknown[0]!r} is {kind}; only training images can be reviewed "
            f"({len(unknown)} such paths)"
        )

    def labelled(examples: list[Example]) -> list[Example]:
        return [review.reviewed(e, labels[e.path]) if e.path in labels else e for e in examples]

    trained, held_out = labelled(trained), labelled(held_out)
    normal, held_out_normal = ([e for e in part if not e.abnormal] for part in (trained, held_out))
    abnormal, held_out_abnormal = ([e for e in part if e.abnormal] for part in (trained, held_out))
    if len(normal) < 2 or len(held_out_normal) < 2:
        raise DataError(
            f"{path}: leaves {len(normal)} normal images to train with and {len(held_out_normal)} held out; "
            "2 each are needed"
        )
    count = min(len(held_out_abnormal), MAX_HELD_OUT_ABNORMAL)
    count = count if count >= MIN_HELD_OUT_ABNORMAL else 0
    return Splits(
        normal, abnormal + held_out_abnormal[count:], held_out_normal, held_out_abnormal[:count], splits.test
    )
