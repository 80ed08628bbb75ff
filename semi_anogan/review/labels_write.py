"""Writes labels for other programs: COCO, labelme, a tree of folders, a CSV file."""

import csv
import itertools
import json
import os
import pathlib
import shutil
from collections.abc import Iterable

import numpy as np
from PIL import Image

from semi_anogan.data import masks
from semi_anogan.data.dataset import ABNORMAL, NORMAL
from semi_anogan.data.image_files import MAX_PIXELS
from semi_anogan.data.listing import is_image_name
from semi_anogan.data.sources.folder_names import GOOD, plain
from semi_anogan.errors import DataError, RunError
from semi_anogan.files import atomically, told_writing
from semi_anogan.review.labels import JOINED, Labelled, parts_of
from semi_anogan.review.labels_read import of_annotations
from semi_anogan.scoring import outputs, regions

FORMATS = ("coco", "labelme", "folder", "csv")


def write(path: str | os.PathLike, form: str, items: Iterable[Labelled]) -> int:
    """Writes labels, and returns of how many images. Nothing is written over.

    - coco: one JSON file. What an outline cannot say exactly, as a mask with a hole, are run lengths.
    - labelme: a folder with a JSON file for each image. It has no holes: they are filled.
    - folder: copies of the images, as data.name=folder reads them: train/good, train/KIND and
      ground_truth/KIND.
    - csv: the file, and a folder of masks of its name.

    What fails leaves nothing there.

    Args: items: have a file, and a mask of its size or none.
    Raises: DataError for a format that is none; RunError where it cannot be written, or something is there.
    """
    if form not in FORMATS:
        raise DataError(f"format {form!r} is not one of {', '.join(FORMATS)}")
    path = pathlib.Path(path)
    if path.exists():
        raise RunError(f"{path}: is there already; labels are written to a new file or folder")
    items = list(items)
    for item in items:
        if not item.file:
            raise RunError(
                f"{item.name}: is no image file, so its label cannot be written for other programs"
            )
    writers = {"coco": _write_coco, "labelme": _write_labelme, "folder": _write_folder, "csv": _write_csv}
    made = [place for place in (path, _masks_folder(path)) if not place.exists()]
    try:
        with told_writing(path, RunError):
            path.parent.mkdir(parents=True, exist_ok=True)
            writers[form](path, items)
    except BaseException:  # a part of the labels could be taken for all of them
        for place in made:
            shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
        raise
    return len(items)


def _masks_folder(path: pathlib.Path) -> pathlib.Path:
    """The folder of masks of a CSV file of labels."""
    return path.with_suffix("") if path.suffix else path.with_name(f"{path.name}_masks")


def _size(item: Labelled) -> tuple[int, int]:
    """(height, width) of an image as it is read, turned as its EXIF orientation says."""
    from semi_anogan.data import images

    return images.image_size(item.file, MAX_PIXELS)


def _mask_of(item: Labelled) -> np.ndarray | None:
    """The mask, None without or where it is empty."""
    mask = item.mask() if item.mask is not None else None
    if mask is None or not mask.any():
        return None
    masks.check_size(item.where or item.name, mask, item.file, _size(item))
    return mask


def _outlines(mask: np.ndarray) -> list[list[list[int]]]:
    """The outer edges of the connected parts of a mask, as regions.polygon gives them."""
    labels, count = regions.connected(mask)
    found = []
    for number in range(1, count + 1):
        inside = labels == number
        (rows,), (columns,) = np.nonzero(inside.any(1)), np.nonzero(inside.any(0))
        top, left = int(rows[0]), int(columns[0])
        part = inside[top : rows[-1] + 1, left : columns[-1] + 1]
        box = (left, top, part.shape[1], part.shape[0])
        found.append(regions.polygon(regions.Region(*box, int(part.sum()), 0, 0, 0, 0, True, part)))
    return found


def _write_json(path: pathlib.Path, values):
    with atomically(path, RunError) as temporary, open(temporary, "w", encoding="utf-8") as file:
        json.dump(values, file)


def _write_coco(path: pathlib.Path, items: list[Labelled]):
    kinds = sorted({item.kind or ABNORMAL for item in items if item.label == ABNORMAL})
    numbers = {kind: i for i, kind in enumerate(kinds, 1)}
    images, annotations = [], []
    for number, item in enumerate(items, 1):
        height, width = _size(item)
        images.append({"id": number, "file_name": item.name, "width": width, "height": height})
        if item.label == NORMAL:
            continue
        mask = _mask_of(item)
        # Without a mask all of the image is marked: an annotation there must be, or it would be normal.
        shown = np.ones((height, width), bool) if mask is None else mask
        (rows,), (columns,) = np.nonzero(shown.any(1)), np.nonzero(shown.any(0))
        box = [int(v) for v in (columns[0], rows[0], np.ptp(columns) + 1, np.ptp(rows) + 1)]
        one = {
            "id": len(annotations) + 1,
            "image_id": number,
            "category_id": numbers[item.kind or ABNORMAL],
            "bbox": box,
            "area": int(shown.sum()),
            "iscrowd": 0,
        }
        one["segmentation"] = [sum(outline, []) for outline in _outlines(shown)]
        if not np.array_equal(of_annotations("", images[-1], [one], MAX_PIXELS), shown):
            one |= {"segmentation": _runs(shown), "iscrowd": 1}
        annotations.append(one)
    categories = [{"id": i, "name": kind, "supercategory": ABNORMAL} for kind, i in numbers.items()]
    _write_json(path, {"images": images, "annotations": annotations, "categories": categories})


def _runs(mask: np.ndarray) -> dict:
    """Run lengths as COCO has them: column by column, the first of pixels outside."""
    flat = mask.T.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if flat[0] else counts}


def _write_labelme(path: pathlib.Path, items: list[Labelled]):
    path.mkdir()
    for item in items:
        height, width = _size(item)
        outlines = []
        if item.label == ABNORMAL:
            mask = _mask_of(item)
            whole = [[0, 0], [width, 0], [width, height], [0, height]]
            outlines = [whole] if mask is None else _outlines(mask)
        shapes = [
            {
                "label": item.kind or ABNORMAL,
                "points": outline,
                "shape_type": "polygon",
                "group_id": None,
                "flags": {},
            }
            for outline in outlines
        ]
        file = _free(path / (_flat(item.name) + ".json"))
        values = {
            "version": "5.0.0",
            "flags": {},
            "shapes": shapes,
            "imagePath": _from(path, item.file) or item.name,  # labelme opens it, from the JSON file on
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        _write_json(file, values)


def _from(folder: pathlib.Path, file: str) -> str | None:
    """The path of a file from a folder on, with forward slashes; None on another drive."""
    try:
        return os.path.relpath(os.path.realpath(file), os.path.realpath(folder)).replace(os.sep, "/")
    except ValueError:
        return None


def _write_folder(path: pathlib.Path, items: list[Labelled]):
    for item in items:
        kind = "good" if item.label == NORMAL else _folder_name(item.kind or "defect")
        name = _flat(item.name)
        if not is_image_name(item.file):
            raise RunError(f"{item.file}: is named as no image, and would not be found in a folder")
        target = path / "train" / kind / (name + pathlib.Path(item.file).suffix)
        if target.exists():
            raise RunError(f"{target}: two images would have this name")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(item.file, target)
        mask = _mask_of(item) if item.label == ABNORMAL else None
        if mask is not None:
            drawn = path / "ground_truth" / kind / f"{name}_mask.png"
            if drawn.exists():  # masks there are found by the names of images without their suffixes
                raise RunError(f"{drawn}: two images would have this mask")
            _save_mask(drawn, mask)


def _write_csv(path: pathlib.Path, items: list[Labelled]):
    folder = _masks_folder(path)
    if folder.exists():
        raise RunError(f"{folder}: is there already; the masks would go there")
    rows = []
    for item in items:
        mask = _mask_of(item) if item.label == ABNORMAL else None
        name = ""
        if mask is not None:
            file = _free(folder / (_flat(item.name) + ".png"))
            name = f"{folder.name}/{file.name}"
            _save_mask(file, mask)
        rows.append([item.name, item.label, item.kind, name])
    with (
        atomically(path, RunError) as temporary,
        open(temporary, "w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["path", "label", "kind", "mask"])
        writer.writerows(rows)


def _save_mask(path: pathlib.Path, mask: np.ndarray):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.where(mask, np.uint8(255), np.uint8(0))).save(path)


def _free(path: pathlib.Path) -> pathlib.Path:
    """A path that is not there: this one, or with a number, as images may differ in their suffix only."""
    named = (path.with_name(f"{path.stem}{JOINED}{number}{path.suffix}") for number in itertools.count(2))
    return next(found for found in itertools.chain([path], named) if not found.exists())


def _flat(name: str) -> str:
    """A path as one name without its suffix: no two images of different folders get the same."""
    parts = (part for part in parts_of(os.path.splitext(name)[0]) if part not in ("", ".", ".."))
    return outputs.picture_name(JOINED.join(parts), "")  # which cuts what is too long for a file system


def _folder_name(kind: str) -> str:
    """A kind as the name of a folder."""
    found = "".join(c if c.isalnum() or c in " -_" else "_" for c in kind).strip()
    return found if found and plain(found) not in GOOD else f"defect_{found}"
