"""Which files a run's images are and what each is used for: recorded, and compared with the files of now.

An image keeps its use for as long as the run lives. Files that came later join what is held out by a hash of
their name, so that it depends on no other file.
"""

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Sequence

from semi_anogan.data import masks
from semi_anogan.data.dataset import ABNORMAL, NORMAL, Dataset, Example
from semi_anogan.data.splits import MAX_HELD_OUT_ABNORMAL, MIN_HELD_OUT_ABNORMAL, Splits
from semi_anogan.errors import DataError
from semi_anogan.progress import in_threads

TRAIN, HELD_OUT, TEST = USES = ("train", "held out", "test")
NOT_RECORDED = "-"  # in place of a digest: as in runs of before, so nothing is known to have changed


@dataclasses.dataclass(frozen=True)
class Row:
    """One file of a run.

    Attributes:
      path, label, mask: as of the Example, by the source's own label; mask is "" without.
      use: one of USES.
      size: bytes. sha256, mask_sha256: hex digests of the files; the latter is "" without a mask.
      hidden: whether the source hid an abnormal image among the normal ones.
      ignore, ignore_size, ignore_sha256: the same of the file with what is ignored of it; the digest is
        NOT_RECORDED in a record of before.
      gone: whether it was a training image once and is none any more: the networks know it all the same.
    """

    path: str
    use: str
    label: str
    size: int
    sha256: str
    mask: str = ""
    mask_sha256: str = ""
    hidden: bool = False
    gone: bool = False
    ignore: str = ""
    ignore_size: int = 0
    ignore_sha256: str = ""


@dataclasses.dataclass(frozen=True)
class Changes:
    """How the files of one split differ from those recorded.

    Attributes:
      new: examples without a row. missing: rows without a file, or that the source names no more.
      changed: (row, what of it has changed). renamed: path of the row -> its example of another path.
    """

    new: Sequence[Example] = ()
    missing: Sequence[Row] = ()
    changed: Sequence[tuple[Row, str]] = ()
    renamed: dict[str, Example] = dataclasses.field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.new or self.missing or self.changed)

    def lines(self, what: str) -> list[str]:
        """A line for each kind of difference, with its count and an example; what: "training" or "test"."""
        found = []
        if self.new:
            abnormal = sum(e.abnormal for e in self.new)
            found.append(
                f"{len(self.new)} {what} images are new ({len(self.new) - abnormal} normal, {abnormal} "
                f"abnormal), such as {self.new[0].path}"
            )
        if self.missing:
            found.append(
                f"{len(self.missing)} {what} images of the run are missing, such as {self.missing[0].path}"
            )
        if self.changed:
            row, how = self.changed[0]
            found.append(
                f"{len(self.changed)} {what} images of the run have changed, such as {row.path} ({how})"
            )
        if self.renamed:
            old, example = next(iter(self.renamed.items()))
            found.append(
                f"{len(self.renamed)} {what} images of the run have another name, such as {old}, now "
                f"{example.path}: taken as the same"
            )
        return found


def rows_of(dataset: Dataset, splits: Splits) -> list[Row]:
    """The rows of all images of a split, by their files of now: of each use the normal ones first.

    splits: with the labels of the source.
    """
    uses = [
        (TRAIN, splits.normal + splits.abnormal),
        (HELD_OUT, splits.held_out_normal + splits.held_out_abnormal),
        (TEST, splits.test),
    ]
    digests = _digests(dataset, splits.training + splits.test)
    return [
        Row(
            e.path,
            use,
            e.label,
            os.path.getsize(_file(dataset, e.path)),
            digests[e.path],
            e.mask or "",
            digests[e.mask] if e.mask else "",
            e.mislabelled,
            ignore=e.ignore or "",
            ignore_size=os.path.getsize(_file(dataset, e.ignore)) if e.ignore else 0,
            ignore_sha256=digests[e.ignore] if e.ignore else "",
        )
        for use, examples in uses
        for e in examples
    ]


def compare(
    dataset: Dataset, rows: Sequence[Row], split: str, chosen: bool = False, contents: bool = True
) -> Changes:
    """How the files of a split, "train" or "test", differ from those recorded.

    Args: rows: of the record, all of them; chosen: whether the source uses some of the known defects only,
      so that others are not listed; contents: whether files are read, or only looked for; new ones are read,
      where others are missing, to find those that have another name.
    """
    rows = [row for row in rows if (row.use == TEST) == (split == "test") and not row.gone]
    listed = {e.path: e for e in dataset.select(split)}
    elsewhere = {e.path for e in dataset.examples if e.split != split}
    known = {row.path for row in rows}
    new = [e for path, e in listed.items() if path not in known]
    there = [row for row in rows if os.path.isfile(_file(dataset, row.path))]
    same_size = [row for row in there if os.path.getsize(_file(dataset, row.path)) == row.size]
    digests = {}
    if contents:
        names = [Example(row.path, split, row.label, row.mask or None) for row in same_size]
        digests = _digests(dataset, [*names, *new, *(listed[r.path] for r in there if r.path in listed)])
    missing, changed = [], []
    for row in rows:
        example = listed.get(row.path)
        how = ""
        if row not in there:
            missing.append(row)
        elif example is None and row.path in elsewhere:
            how = "now a test image" if split == "train" else "now a training image"
        elif example is None and not (chosen and row.label == ABNORMAL):
            missing.append(row)
        elif row not in same_size or contents and digests[row.path] != row.sha256:
            how = "its content"
        elif example is not None and not chosen and example.label != row.label:
            how = f"{row.label} before, now {example.label}"
        elif example is not None and example.label == ABNORMAL and _mask_differs(row, example, digests):
            how = "its mask"
        elif example is not None and _ignore_differs(dataset, row, example, digests):
            how = "what is ignored of it"
        changed += [(row, how)] if how else []
    if not contents and missing:
        digests = _digests(dataset, new)
    renamed = _renamed(dataset, missing, new, digests) if missing else {}
    taken = set(renamed.values())
    return Changes(
        [e for e in new if e not in taken],
        [row for row in missing if row.path not in renamed],
        changed,
        renamed,
    )


def recorded(dataset: Dataset, rows: Sequence[Row], renamed: dict[str, Example] | None = None) -> Splits:
    """The split that was recorded, in the same order, and the test images that there are now.

    renamed: as in Changes.
    """
    training = {e.path: e for e in dataset.select("train")}
    parts = {(use, label): [] for use in (TRAIN, HELD_OUT) for label in (NORMAL, ABNORMAL)}
    for row in rows:
        if row.use != TEST and not row.gone:
            found = (renamed or {}).get(row.path)
            example = found or training.get(row.path) or _example(row)
            mask = found.mask if found else row.mask or None
            parts[row.use, row.label].append(
                dataclasses.replace(example, label=row.label, mask=mask, mislabelled=row.hidden)
            )
    return _splits(parts, dataset.select("test"))


def joined(
    dataset: Dataset,
    rows: Sequence[Row],
    changes: Changes,
    share: float,
    seed: int,
    most_known: int | None = None,
) -> Splits:
    """The split of the files of now: what was recorded keeps its use, new files join.

    A new normal image is held out where the hash of its name is below `share`. Known defects are held out as
    far as `split` would hold out of so many in all: the new ones of the lowest hashes, beside those that are.

    Args: changes: of the training images; share: calibration.hold_out_share; most_known: data.abnormal_count.

    Raises: DataError where too few normal images are left.
    """
    training = {e.path: e for e in dataset.select("train")}
    lost = {row.path for row in changes.missing}
    parts = {(use, label): [] for use in (TRAIN, HELD_OUT) for label in (NORMAL, ABNORMAL)}
    before = {row.path: row.use for row in rows if row.gone}
    for row in rows:
        example = changes.renamed.get(row.path) or training.get(row.path)
        if example is None and row.label == ABNORMAL and most_known is not None:
            example = _example(row)
        if row.use != TEST and not row.gone and row.path not in lost and example is not None:
            parts[row.use, example.label].append(example)
    fresh = [e for e in changes.new if not e.abnormal]
    for example in fresh:
        out = hash_of(example.path, seed) < share
        use = before.get(example.path) or (HELD_OUT if out else TRAIN)
        parts[use, NORMAL].append(example)
    known, held = parts[TRAIN, ABNORMAL], parts[HELD_OUT, ABNORMAL]
    new = [e for e in changes.new if e.abnormal]
    if most_known is not None:
        # What a person has found beside the data is not chosen among the data's, and does not count there.
        room = max(0, most_known - sum(not e.reviewed for e in known + held))
        new = [e for e in new if not e.reviewed][:room] + [e for e in new if e.reviewed]
    wanted = min(round((len(known) + len(held) + len(new)) * share), MAX_HELD_OUT_ABNORMAL)
    unseen = sorted((e for e in new if e.path not in before), key=lambda e: hash_of(e.path, seed))
    more = set(unseen[: max(0, wanted - len(held))])
    if len(held) + len(more) < MIN_HELD_OUT_ABNORMAL:
        more = set()
    held += [e for e in new if e in more]
    known += [e for e in new if e not in more]
    if len(held) < MIN_HELD_OUT_ABNORMAL:  # they say too little
        known += held
        held.clear()
    known += held[MAX_HELD_OUT_ABNORMAL:]
    del held[MAX_HELD_OUT_ABNORMAL:]
    splits = _splits(parts, dataset.select("test"))
    if len(splits.normal) < 2 or len(splits.held_out_normal) < 2:
        raise DataError(
            f"{dataset.name}: {len(splits.normal)} normal images to train with and "
            f"{len(splits.held_out_normal)} held out are left; 2 each are needed"
        )
    return splits


def gone(rows: Iterable[Row], splits: Splits) -> list[Row]:
    """The rows of images that were training images and are none in a later split."""
    now = {e.path for e in splits.training}
    return [dataclasses.replace(row, gone=True) for row in rows if row.use != TEST and row.path not in now]


def trained_on(rows: Iterable[Row], tests: Iterable[Row]) -> list[tuple[Row, Row]]:
    """(test image, training image) of files that are equal byte for byte, those that are gone too."""
    of_training = {row.sha256: row for row in rows if row.use != TEST}
    return [(row, of_training[row.sha256]) for row in tests if row.sha256 in of_training]


def hash_of(name: str, seed: int) -> float:
    """In [0, 1), from the name of an image and the seed alone.

    Not the hash that splits a folder into training and test images: of its training images none is below 0.3.
    """
    digest = hashlib.sha256(f"hold out/{seed}/{name}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _splits(parts: dict, test: list[Example]) -> Splits:
    return Splits(
        parts[TRAIN, NORMAL], parts[TRAIN, ABNORMAL], parts[HELD_OUT, NORMAL], parts[HELD_OUT, ABNORMAL], test
    )


def _file(dataset: Dataset, name: str) -> str:
    """The file of a path as examples have it, of an image, a mask or what is ignored."""
    return dataset.files.path(Example(name, "train", NORMAL))


def _digests(dataset: Dataset, examples: Iterable[Example]) -> dict[str, str]:
    """{path of an image, a mask or what is ignored: SHA-256 of its file}; "" of one that cannot be read."""
    names = list(dict.fromkeys(name for e in examples for name in (e.path, e.mask, e.ignore) if name))

    def digest(name: str) -> str:
        path = _file(dataset, name)
        try:
            if not masks.is_several(path):
                with open(path, "rb") as file:
                    return hashlib.file_digest(file, "sha256").hexdigest()
            found = hashlib.sha256()
            for part in sorted(masks.files_of(path)):
                with open(part, "rb") as file:
                    part = os.fsencode(os.path.basename(part))
                    found.update(part + hashlib.file_digest(file, "sha256").digest())
            return found.hexdigest()
        except (OSError, DataError):
            return ""

    return dict(zip(names, in_threads(digest, names, "files compared"), strict=True))


def _mask_differs(row: Row, example: Example, digests: dict[str, str]) -> bool:
    if bool(row.mask) != bool(example.mask):
        return True
    return bool(example.mask and digests) and digests[example.mask] != row.mask_sha256


def _ignore_differs(dataset: Dataset, row: Row, example: Example, digests: dict[str, str]) -> bool:
    """By the file's content where that was read, else by its size."""
    if row.ignore_sha256 == NOT_RECORDED:
        return False
    if not row.ignore or not example.ignore:
        return bool(row.ignore) != bool(example.ignore)
    if digests:
        return digests[example.ignore] != row.ignore_sha256
    return os.path.getsize(_file(dataset, example.ignore)) != row.ignore_size


def _example(row: Row) -> Example:
    """A training image by its record alone."""
    return Example(row.path, "train", row.label, row.mask or None, ignore=row.ignore or None)


def _renamed(dataset: Dataset, missing: Sequence[Row], new: Sequence[Example], digests) -> dict[str, Example]:
    """Missing rows whose file there is under another name: one each, of the same label."""
    by_content: dict[tuple, list[Example]] = {}
    for example in new:
        by_content.setdefault((digests[example.path], example.label), []).append(example)
    found = {}
    for row in missing:
        alike = by_content.get((row.sha256, row.label))
        if not alike or _mask_differs(row, alike[0], digests):
            continue
        if not _ignore_differs(dataset, row, alike[0], digests):
            found[row.path] = alike.pop(0)
    return found
