"""What a person said of images after a look at them: labels, kinds and masks, in a CSV file."""

import dataclasses
import os
from collections.abc import Mapping

from semi_anogan.data import ignore_files
from semi_anogan.data.dataset import ABNORMAL, NORMAL, Dataset, Example
from semi_anogan.data.listing import csv_rows
from semi_anogan.data.sources.folder_names import GOOD, plain
from semi_anogan.errors import DataError

# Where an image was when it was looked at: `scored` ones are no part of the data, and join it.
ORIGINS = TRAINING, TEST, SCORED = ("training", "test", "scored")
COLUMNS = ("path", "label", "kind", "mask", "origin", "who", "when")


@dataclasses.dataclass(frozen=True)
class Review:
    """What a person said of one image.

    Attributes:
      label: "normal" or "abnormal".
      kind: of the defect, or None.
      mask: absolute path of the file of its pixels, or None.
      origin: one of ORIGINS, or "" where the file does not say it.
      row: of the file, for errors.
    """

    label: str
    kind: str | None = None
    mask: str | None = None
    origin: str = ""
    row: int = 0


def read(path) -> dict[str, Review]:
    """Path -> Review, of the rows of a CSV file that have a label.

    The file may be a run's suspicious.csv, say, filled in. Columns: path, label, and optionally kind, mask (a
    file, relative to the CSV file's folder) and origin; who and when are for people.

    Raises: DataError naming the file, the row and the value.
    """
    path = os.fspath(path)
    found = {}
    for line, row in csv_rows(path, ("path", "label"), errors="surrogateescape"):
        name, label = row["path"], row["label"]
        where = f"{path}: row {line}"
        if label not in ("", NORMAL, ABNORMAL):
            raise DataError(
                f"{where}: label {label!r} is not {NORMAL} or {ABNORMAL}, nor empty for an image "
                "not looked at"
            )
        if not label:
            continue
        review = _of_row(where, row, label, os.path.dirname(path), line)
        before = found.setdefault(name, review)
        if before.label != label:
            raise DataError(f"{where}: {name!r} is {label}, but {before.label} in row {before.row}")
        if (before.kind, before.mask) != (review.kind, review.mask):
            raise DataError(f"{where}: {name!r} has another kind or mask than in row {before.row}")
    return found


def _of_row(where: str, row: Mapping[str, str], label: str, folder: str, line: int) -> Review:
    kind, mask, origin = (row.get(column) or "" for column in ("kind", "mask", "origin"))
    if origin and origin not in ORIGINS:
        raise DataError(f"{where}: origin {origin!r} is not one of {', '.join(ORIGINS)}")
    if label == NORMAL and (kind or mask):
        raise DataError(
            f"{where}: {'mask' if mask else 'kind'} {mask or kind!r} on a normal image; leave it empty, or "
            "label the row abnormal"
        )
    if kind and plain(kind) in GOOD:
        raise DataError(
            f"{where}: kind {kind!r} on an abnormal image; name the defect, or label the row normal"
        )
    if mask:
        mask = os.path.abspath(os.path.join(folder, mask))  # else it would count from the root of the data
        if not os.path.isfile(mask):
            raise DataError(f"{where}: the mask {mask} is not there")
    return Review(label, kind or None, mask or None, origin, line)


def examples_added(
    dataset: Dataset, reviews: Mapping[str, Review], path
) -> tuple[list[Example], dict[str, Review]]:
    """(training examples of the images that are no part of the data, reviews of those that are).

    An image is none of the data's where its path is absolute and is not the file of one. Of test images
    nothing is learned, so that the test says what it said before: a note tells how many there are.

    Raises: DataError for a file that is not there, or where the data are no files.
    """
    if dataset.files is None:
        outside = [name for name, review in reviews.items() if review.origin == SCORED]
        if outside:
            raise DataError(
                f"{path}: row {reviews[outside[0]].row}: {outside[0]!r} is no image of this data, and as its "
                "images are no files, none can join"
            )
        files = {}
    else:
        files = {os.path.abspath(dataset.files.path(e)): e for e in dataset.examples}
    tests = {e.path for e in dataset.select("test")}
    added, inside, of_test = [], {}, []
    for name, review in reviews.items():
        own = files.get(os.path.abspath(name)) if os.path.isabs(name) else None
        if own is not None:
            name = own.path
        if name in tests and (review.origin or own is not None):
            of_test.append(name)
        elif own is None and os.path.isabs(name) and dataset.files is not None:
            if not os.path.isfile(name):
                raise DataError(
                    f"{path}: row {review.row}: {name} is not there; put it back, or empty the row's label"
                )
            added.append(
                Example(
                    name,
                    "train",
                    review.label,
                    review.mask,
                    reviewed=True,
                    ignore=ignore_files.of_input(name)(name),
                    kind=review.kind,
                )
            )
        elif inside.setdefault(name, review) is not review:
            raise DataError(f"{path}: row {review.row}: {name!r} is in row {inside[name].row} too")
    for name in of_test:
        dataset.notes.add("{n} test images were reviewed, such as {first}: nothing is learned of them", name)
    return added, inside


def with_masks(dataset: Dataset, reviews: Mapping[str, Review]) -> Dataset:
    """The Dataset whose masks of reviewed images are those that a person drew, where images are no files."""
    from semi_anogan.data import masks

    drawn = {name: review.mask for name, review in reviews.items() if review.mask}
    if not drawn or dataset.files is not None:  # of files the mask's path says it all
        return dataset

    def read_mask(example: Example):
        file = drawn.get(example.path)
        if file is None or not example.reviewed:
            return dataset.read_mask(example)
        mask, _ = masks.read(file)
        masks.check_size(file, mask, example.path, dataset.size_of(example))
        return mask

    return dataclasses.replace(dataset, read_mask=read_mask)


def reviewed(example: Example, review: Review) -> Example:
    """An example as a person found it; what he left out of an abnormal one stays as it was."""
    abnormal = review.label == ABNORMAL
    return dataclasses.replace(
        example,
        label=review.label,
        mask=(review.mask or example.mask) if abnormal else None,
        kind=(review.kind or example.kind) if abnormal else None,
        mislabelled=False,
        reviewed=True,
    )
