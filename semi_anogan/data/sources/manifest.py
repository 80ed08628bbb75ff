"""Image files that a CSV file lists, with split, label and mask."""

import os

from semi_anogan.data.dataset import ABNORMAL, NORMAL, Dataset, Example
from semi_anogan.data.listing import csv_rows
from semi_anogan.data.masks import is_polygons
from semi_anogan.data.notes import Notes
from semi_anogan.data.sources.files import choose_training, file_dataset
from semi_anogan.data.sources.folder_names import GOOD, meant_by, plain
from semi_anogan.errors import DataError

# and "mask", "kind" and "ignore", which may be left out; other columns do not count
COLUMNS = ("path", "split", "label")


def load(
    channels: int,
    path: str,
    root: str | None = None,
    abnormal_count: int | None = None,
    contamination: float = 0.0,
) -> Dataset:
    """Loads the images listed in a CSV file.

    Args:
      channels: 1 or 3.
      path: CSV file (UTF-8, a header, values as csv_rows separates them) with the columns path, split
        ("train" or "test"), label ("normal" or "abnormal"; both as folder_names spells them, too) and
        optionally mask (a file, or a folder of several of the image, read as data/masks.py says), kind (a
        word for the kind of defect) and ignore (a mask of what does not count, an image file or polygons).
      root: folder the paths are relative to; by default that of the CSV file. Absolute paths are taken as
        they are. Backslashes of Windows are read as slashes where only that exists.
      abnormal_count, contamination: as in `choose_training`, by the order of the rows.

    Raises:
      DataError: naming the file, the row (line as an editor counts them) and the value.
    """
    path = os.fspath(path)
    root = os.path.dirname(path) if root is None else os.fspath(root)
    if root and not os.path.isdir(root):
        raise DataError(f"data.root: {root!r} is not a folder")
    notes = Notes()
    examples, rows, first_row, missing = [], csv_rows(path, COLUMNS, notes=notes, root=root), {}, []
    masks = {}  # file -> (row, path) of the images whose mask it is
    for line, row in rows:
        example = _example(f"{path}: row {line}", row, notes)
        file = os.path.normpath(os.path.join(root, example.path))
        if file in first_row:
            raise DataError(f"{path}: row {line}: path {example.path!r} is already in row {first_row[file]}")
        first_row[file] = line
        missing += [
            f"row {line}: {name}"
            for name in (example.path, example.mask, example.ignore)
            if name and not _is_there(os.path.join(root, name), name == example.mask)
        ]
        if example.mask:
            of = masks.setdefault(os.path.normpath(os.path.join(root, example.mask)), [])
            of.append((line, example.path, example.mask))
        examples.append(example)
    for file, of in masks.items():
        line, image, mask = of[0]
        if file in first_row:
            raise DataError(f"{path}: row {line}: mask {mask!r} is itself an image, in row {first_row[file]}")
        if len(of) > 1 and not is_polygons(file):  # one of COCO has the masks of many
            notes.add("{n} images share their mask with others, such as {first}", f"{image}: {mask}", len(of))
    if missing:
        shown = "\n  ".join(missing[:5] + ["..."] * (len(missing) > 5))
        hint = " (folders are separated by /)" if "\\" in shown and os.sep == "/" else ""
        raise DataError(f"{path}: {len(missing)} files do not exist under {root or '.'!r}{hint}:\n  {shown}")
    examples = choose_training(examples, abnormal_count, contamination, path)
    return file_dataset("manifest", root, examples, channels, notes)


def _is_there(path: str, is_mask: bool) -> bool:
    """Whether a file is there; a folder may hold several masks of one image."""
    return os.path.isfile(path) or is_mask and os.path.isdir(path)


def _example(where: str, row: dict[str, str], notes: Notes) -> Example:
    """The example of one row of a manifest; `where` names the row in errors."""
    row = dict(row)
    for column, allowed in (("split", ("train", "test")), ("label", (NORMAL, ABNORMAL))):
        given = row[column]
        if given not in allowed:
            row[column] = meant_by(given)
            if row[column] not in allowed:
                raise DataError(f"{where}: {column} {given!r} is not one of {', '.join(allowed)}")
            notes.add(f"{column} {given!r} is read as {row[column]}: {{n}} rows, {{first}} first", where)
    mask = row.get("mask") or None
    if mask and row["label"] == NORMAL:
        raise DataError(
            f"{where}: mask {mask!r} on a normal image; leave the mask empty or label the row abnormal"
        )
    kind = row.get("kind") or None
    if kind and row["label"] == NORMAL:
        if plain(kind) not in GOOD:
            raise DataError(
                f"{where}: kind {kind!r} on a normal image; leave the kind empty or label the row abnormal"
            )
        kind = None
    if kind and plain(kind) in GOOD:
        raise DataError(
            f"{where}: kind {kind!r} on an abnormal image; name the defect, or label the row normal"
        )
    return Example(row["path"], row["split"], row["label"], mask, kind=kind, ignore=row.get("ignore") or None)
