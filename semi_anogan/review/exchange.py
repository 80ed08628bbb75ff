"""Labels of a run's images taken from other programs, and given to them."""

import functools

from semi_anogan.data import masks
from semi_anogan.data.dataset import ABNORMAL
from semi_anogan.data.review import TEST
from semi_anogan.errors import DataError, RunError
from semi_anogan.review import labels, labels_read, labels_write, reviewed_csv
from semi_anogan.review.labels import Labelled
from semi_anogan.review.state import Review


def exchange(options, who: str) -> int:
    """--import_labels or --export_labels of the command; returns its exit code."""
    review = Review(options.workdir, options.scored, who, options.data_root)
    try:
        if options.import_labels:
            print(take(review, options.import_labels))
        else:
            print(give(review, options.export_labels, options.format))
    finally:
        review.close()
    return 0


def take(review: Review, path) -> str:
    """Takes labels in, in place of those that there are; returns a line on it.

    Raises: DataError, before anything is changed, for labels that are wrong or of images that are not here.
    """
    entries = {entry.path: entry for entry in review.entries.all if entry.listed and entry.same is None}
    pairs = [(one, entries[name]) for one, name in labels.matched(labels_read.read(path), entries)]
    drawn = {}
    for one, entry in pairs:
        try:
            reviewed_csv.checked_kind(one.kind)
        except DataError as error:
            raise DataError(f"{one.where}: {error}") from None
        if one.mask is not None:
            mask = one.mask()
            masks.check_size(one.where, mask, entry.path, review.pictures.size(entry))
            if not mask.all():  # all of an image says no more than its label
                drawn[entry.index] = mask
    written = {i: review.reviewed.write_mask(review.entries.all[i], mask) for i, mask in drawn.items()}
    said = [(entry, one.label, one.kind, written.get(entry.index, "")) for one, entry in pairs]
    review.reviewed.change_all(said, review.who)
    abnormal = sum(one.label == ABNORMAL for one, _ in pairs)
    tests = sum(entry.origin == TEST for _, entry in pairs)
    told = f"; {tests} are test images, of which nothing is learned" if tests else ""
    return (
        f"{len(pairs)} labels taken from {path} ({abnormal} abnormal, {len(drawn)} with a mask): "
        f"{review.reviewed.path}{told}"
    )


def give(review: Review, path, form: str) -> str:
    """Writes the labels that there are, as labels_write.write does; returns a line on it."""
    found = [(e, review.reviewed.row(e)) for e in review.entries.all if e.same is None]
    found = [(entry, row) for entry, row in found if row.label]
    if not found:
        raise RunError(f"{review.reviewed.path}: holds no label of an image that is here: nothing to write")
    names = labels.names([entry.path for entry, _ in found])
    items = []
    for entry, row in found:
        mask = review.reviewed.mask_path(row)
        if row.mask and mask is None:
            raise DataError(f"{review.reviewed.path}: {row.path}: the mask {row.mask} is not there")
        read = None if mask is None else functools.partial(_read_mask, mask)
        file, where = review.pictures.file(entry) or "", f"{review.reviewed.path}: {row.path}"
        items.append(Labelled(names[entry.path], row.label, row.kind, read, file, where))
    count, tests = labels_write.write(path, form, items), sum(entry.origin == TEST for entry, _ in found)
    told = ""
    if tests:
        told = f"; {tests} are test images: a run that learns of them cannot be tested on them"
    labelled = sum(sum(counts.values()) for counts in review.reviewed.counts().values())
    if labelled > count:
        told += (
            f"; {labelled - count} labels are of other images, and left out: newly scored ones need --scored"
        )
    return f"labels of {count} images written: {path}{told}"


def _read_mask(path):
    return masks.read(path)[0]
