"""Labels that a person gave after a look at training images, which replace those of the source."""

import dataclasses
import os

from semi_anogan.data.dataset import ABNORMAL, NORMAL, Example
from semi_anogan.data.listing import csv_rows
from semi_anogan.data.splits import MAX_HELD_OUT_ABNORMAL, MIN_HELD_OUT_ABNORMAL, Splits
from semi_anogan.errors import DataError


def read(path) -> dict[str, str]:
    """Path -> "normal" or "abnormal", of the rows of a CSV file that have a label.

    The file may be a run's suspicious.csv, say, filled in.

    Raises: DataError naming the file, the row and the value.
    """
    path = os.fspath(path)
    labels, first_row = {}, {}
    for line, row in csv_rows(path, ("path", "label"), errors="surrogateescape"):
        name, label = row["path"], row["label"]
        if label not in ("", NORMAL, ABNORMAL):
            raise DataError(
                f"{path}: row {line}: label {label!r} is not {NORMAL} or {ABNORMAL}, "
                "nor empty for an image not looked at"
            )
        if label and labels.setdefault(name, label) != label:
            raise DataError(
                f"{path}: row {line}: {name!r} is {label}, but {labels[name]} in row {first_row[name]}"
            )
        if label:
            first_row.setdefault(name, line)
    return labels


def apply(splits: Splits, labels: dict[str, str], path) -> Splits:
    """The splits with the labels of `read`; labelled images are `reviewed`.

    What was held out stays held out, so that a finished training still fits. Abnormal images are the
    exception: of those held out, the ones beyond what `split` would hold out train as known ones, and all of
    them do where they are too few to hold out.

    Args:
      splits: with the labels of the source.
      labels: of some of the training images.
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
        return [_reviewed(e, labels[e.path]) if e.path in labels else e for e in examples]

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


def _reviewed(example: Example, label: str) -> Example:
    return dataclasses.replace(
        example,
        label=label,
        mask=example.mask if label == ABNORMAL else None,
        mislabelled=False,
        reviewed=True,
    )
