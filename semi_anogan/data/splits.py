"""Holds out training images for score statistics and threshold, so that test images decide nothing."""

import dataclasses

import numpy as np

from semi_anogan.data.dataset import ABNORMAL, NORMAL, Dataset, Example
from semi_anogan.errors import DataError

# Held-out known abnormal images: fewer say too little about the components' weights, and more would help the
# weights less than they help training.
MIN_HELD_OUT_ABNORMAL, MAX_HELD_OUT_ABNORMAL = 8, 12


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
    if not 0 < hold_out_share < 1:
        raise DataError(f"calibration.hold_out_share must be between 0 and 1, got {hold_out_share!r}")
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
    return Splits(normal, abnormal, held_normal, held_abnormal, dataset.select("test"))


def _part(examples: list[Example], count: int, seed: list[int]) -> tuple[list[Example], list[Example]]:
    chosen = set(np.random.default_rng(seed).permutation(len(examples))[:count].tolist())
    return (
        [e for i, e in enumerate(examples) if i in chosen],
        [e for i, e in enumerate(examples) if i not in chosen],
    )
