"""Image files on disk: a CSV manifest, and the two folder layouts."""

import dataclasses
import hashlib
import itertools
import os
from collections.abc import Sequence

from semi_anogan.data import images, masks
from semi_anogan.data.dataset import ABNORMAL, NORMAL, Dataset, Example
from semi_anogan.data.listing import csv_rows, image_names, images_below, subfolders
from semi_anogan.data.sources.folder_masks import masks_of
from semi_anogan.errors import DataError

COLUMNS = ("path", "split", "label")  # and "mask", which may be left out; further columns are ignored

LAYOUTS = """
  A  train/good/*.png              normal images to learn from
     train/<defect>/*.png          optional: known abnormal images to learn from
     test/good/*.png               normal test images
     test/<defect>/*.png           abnormal test images
     ground_truth/<defect>/*.png   optional: masks of both, <name>_mask.png or <name>.png for <name>.png;
                                   ground_truth/train/<defect>/ and ground_truth/test/<defect>/ where the
                                   same name is in train/<defect>/ and in test/<defect>/
  B  normal/*.png                  split by file name into training and test images
     abnormal/*.png                likewise; those that fall to training are the known abnormal ones"""


def load_manifest(
    channels: int,
    path: str,
    root: str | None = None,
    abnormal_count: int | None = None,
    contamination: float = 0.0,
) -> Dataset:
    """Loads the images listed in a CSV file.

    Args:
      channels: 1 or 3.
      path: CSV file (UTF-8, commas, a header) with the columns path, split ("train" or "test"), label
        ("normal" or "abnormal") and optionally mask (an image file, read as data/masks.py says).
      root: folder the paths are relative to; by default that of the CSV file. Absolute paths are taken as
        they are.
      abnormal_count, contamination: as in `choose_training`, by the order of the rows.

    Raises:
      DataError: naming the file, the row (line as an editor counts them) and the value.
    """
    path = os.fspath(path)
    root = os.path.dirname(path) if root is None else os.fspath(root)
    if root and not os.path.isdir(root):
        raise DataError(f"data.root: {root!r} is not a folder")
    examples, rows, first_row, missing = [], csv_rows(path, COLUMNS), {}, []
    for line, row in rows:
        example = _example(f"{path}: row {line}", row)
        file = os.path.normpath(os.path.join(root, example.path))
        if file in first_row:
            raise DataError(f"{path}: row {line}: path {example.path!r} is already in row {first_row[file]}")
        first_row[file] = line
        missing += [
            f"row {line}: {name}"
            for name in (example.path, example.mask)
            if name and not os.path.isfile(os.path.join(root, name))
        ]
        examples.append(example)
    if missing:
        shown = "\n  ".join(missing[:5] + ["..."] * (len(missing) > 5))
        hint = " (folders are separated by /)" if "\\" in shown and os.sep == "/" else ""
        raise DataError(f"{path}: {len(missing)} files do not exist under {root or '.'!r}{hint}:\n  {shown}")
    return file_dataset(
        "manifest", root, choose_training(examples, abnormal_count, contamination, path), channels
    )


def load_folder(
    channels: int,
    root: str,
    abnormal_count: int | None = None,
    test_share: float = 0.3,
    seed: int = 0,
    contamination: float = 0.0,
) -> Dataset:
    """Loads a folder laid out like MVTec AD, or one with the folders normal and abnormal (see `LAYOUTS`).

    Hidden files and files without an image suffix are left out; the order is by name, with numbers by value.
    In the first layout the known abnormal images of several defects take turns, so that a small
    abnormal_count has some of each. Masks are looked up for both splits, as in `folder_masks`.

    Args:
      channels: 1 or 3.
      root: the folder.
      abnormal_count, contamination: as in `choose_training`, in that order.
      test_share: second layout only: share of the images that becomes test images. An image's split depends
        on its name and the seed alone, so adding images never moves others from one split to the other.
      seed: seed of that split.

    Raises:
      DataError: neither layout found, no normal training images, masks missing.
    """
    root, notes = os.fspath(root), []
    if not os.path.isdir(root):
        raise DataError(f"data.root: {root!r} is not a folder")
    if os.path.isdir(os.path.join(root, "train", "good")):
        examples, notes = _mvtec_examples(root)
    elif os.path.isdir(os.path.join(root, NORMAL)):
        if not 0.0 <= test_share < 1.0:
            raise DataError(f"data.test_share: {test_share!r} is not in [0, 1)")
        examples = [
            Example(f"{label}/{name}", _hashed_split(f"{label}/{name}", test_share, seed), label)
            for label in (NORMAL, ABNORMAL)
            for name in images_below(os.path.join(root, label))
        ]
    else:
        found = ", ".join(subfolders(root)) or "none"
        raise DataError(f"{root}: neither of the known layouts (folders found: {found}). They are:{LAYOUTS}")
    return file_dataset(
        "folder", root, choose_training(examples, abnormal_count, contamination, root), channels, notes
    )


def choose_training(
    examples: list[Example], abnormal_count: int | None, contamination: float, source: str
) -> list[Example]:
    """The examples with fewer known abnormal training images, or some of these hidden among the normal ones.

    To see what noise in the training data costs: hidden ones are given to training as normal, and are marked
    `mislabelled`.

    Args:
      abnormal_count: how many of the known abnormal training images to use, the first; None: all but those
        hidden.
      contamination: share in [0, 1) that hidden ones, the last, make up of the normal training images.
      source: named in errors.

    Raises:
      DataError: fewer than that are there, or there are no normal training images.
    """
    normal = sum(e.split == "train" and not e.abnormal for e in examples)
    if not normal:
        raise DataError(f"{source}: no normal training images, nothing to learn from")
    if not 0.0 <= contamination < 1.0:
        raise DataError(f"data.contamination: {contamination!r} is not in [0, 1)")
    known = [e for e in examples if e.split == "train" and e.abnormal]
    hidden = round(contamination / (1.0 - contamination) * normal)
    if hidden > len(known):
        raise DataError(
            f"data.contamination: {contamination!r} takes {hidden} of the abnormal training images, but "
            f"{source} has {len(known)}"
        )
    count = len(known) - hidden if abnormal_count is None else abnormal_count
    if not 0 <= count <= len(known) - hidden:
        less = f", less {hidden} that data.contamination takes" if hidden else ""
        raise DataError(
            f"data.abnormal_count: {abnormal_count!r}, but {source} has {len(known)} known abnormal "
            f"training images{less}"
        )
    mislabelled = {e.path for e in known[len(known) - hidden :]}
    dropped = {e.path for e in known[count:]} - mislabelled
    return [
        dataclasses.replace(e, label=NORMAL, mask=None, mislabelled=True) if e.path in mislabelled else e
        for e in examples
        if e.path not in dropped
    ]


def file_dataset(
    name: str, root: str, examples: list[Example], channels: int, notes: Sequence[str] = ()
) -> Dataset:
    """A Dataset over image files, whose `path` and `mask` are relative to `root`; notes: as in Dataset."""
    readings: dict[str, str] = {}  # of masks, which several threads may read

    def read_image(example: Example):
        return images.read_image(os.path.join(root, example.path), channels)

    def read_mask(example: Example):
        if example.mask is None:
            return None
        mask_file, image_file = os.path.join(root, example.mask), os.path.join(root, example.path)
        mask, readings[example.mask] = masks.read(mask_file)
        size = images.image_size(image_file)
        if mask.shape != size:
            raise DataError(
                f"{mask_file}: the mask has {mask.shape[1]} x {mask.shape[0]} pixels, but its image "
                f"{image_file} has {size[1]} x {size[0]}"
            )
        return mask

    def in_colour(example: Example):
        return images.in_colour(images.read_image(os.path.join(root, example.path), 3))

    def image_size(example: Example) -> tuple[int, int]:
        return images.image_size(os.path.join(root, example.path))

    return Dataset(
        name,
        tuple(examples),
        read_image,
        read_mask,
        in_colour,
        image_size,
        from_files=True,
        notes=tuple(notes),
        told_masks=lambda: masks.told(dict(readings)),
    )


def _example(where: str, row: dict[str, str]) -> Example:
    """The example of one row of a manifest; `where` names the row in errors."""
    for column, allowed in (("split", ("train", "test")), ("label", (NORMAL, ABNORMAL))):
        if row[column] not in allowed:
            raise DataError(f"{where}: {column} {row[column]!r} is not one of {', '.join(allowed)}")
    mask = row.get("mask") or None
    if mask and row["label"] == NORMAL:
        raise DataError(
            f"{where}: mask {mask!r} on a normal image; leave the mask empty or label the row abnormal"
        )
    return Example(row["path"], row["split"], row["label"], mask)


def _mvtec_examples(root: str) -> tuple[list[Example], list[str]]:
    """The examples of layout A, and lines about masks that are not used."""

    def listed(split: str, kind: str) -> list[str]:
        return [f"{split}/{kind}/{name}" for name in image_names(os.path.join(root, split, kind))]

    def defects(split: str) -> dict[str, list[str]]:
        kinds = subfolders(os.path.join(root, split))
        return {kind: listed(split, kind) for kind in kinds if kind != "good"}

    train, test = defects("train"), defects("test")
    mask_of, notes = {}, []
    for kind in sorted({*train, *test}):
        found, told = masks_of(root, kind, train.get(kind, []), test.get(kind, []))
        mask_of |= found
        notes += told
    in_turn = itertools.chain(*itertools.zip_longest(*train.values()))
    examples = [Example(path, "train", NORMAL) for path in listed("train", "good")]
    examples += [Example(path, "train", ABNORMAL, mask_of[path]) for path in in_turn if path]
    examples += [Example(path, "test", NORMAL) for path in listed("test", "good")]
    examples += [Example(path, "test", ABNORMAL, mask_of[path]) for path in itertools.chain(*test.values())]
    return examples, notes


def _hashed_split(name: str, test_share: float, seed: int) -> str:
    """The split that a hash of name and seed decides."""
    digest = hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogateescape")).digest()
    return "test" if int.from_bytes(digest[:8], "big") / 2**64 < test_share else "train"
