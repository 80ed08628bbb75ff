"""Labels of images from other programs and for them: COCO, labelme, a tree of folders, a CSV file."""

import collections
import csv
import dataclasses
import functools
import itertools
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from PIL import Image

from semi_anogan.data import mask_names, masks, polygons, review
from semi_anogan.data.dataset import ABNORMAL, NORMAL
from semi_anogan.data.image_files import MAX_PIXELS
from semi_anogan.data.listing import images_below, is_image_name
from semi_anogan.data.sources import folder_names
from semi_anogan.data.sources.folder_names import BAD_LABELS, GOOD, TEST, TRAIN, plain
from semi_anogan.errors import DataError, RunError
from semi_anogan.files import atomically, told_writing
from semi_anogan.scoring import outputs, regions

FORMATS = ("coco", "labelme", "folder", "csv")
JOINED = "__"  # stands between folders in a path that is written as one name


@dataclasses.dataclass(frozen=True)
class Labelled:
    """An image and what was said of it.

    Attributes:
      name: as the other program names it, or as it is to be named: relative, with forward slashes.
      label: "normal" or "abnormal". kind: of the defect, or "".
      mask: gives bool [H, W] of the image's own size, True where abnormal; None without one.
      file: the image file; "" where only its name is known.
      where: the place that errors name.
    """

    name: str
    label: str
    kind: str = ""
    mask: Callable[[], np.ndarray] | None = None
    file: str = ""
    where: str = ""


def read(path: str | os.PathLike, max_pixels: int = MAX_PIXELS) -> list[Labelled]:
    """The labels in a file or folder, whose format is told by what it is.

    - A JSON file of COCO: an image without annotations is normal; the kind is the category that covers most.
    - A JSON file of labelme, or a folder with some: an image without shapes is normal; likewise.
    - A folder of folders of images, named as normal ones are (good, ok, normal) or by the kind of defect;
      also as `write` makes one, with train/ above them and masks in ground_truth/.
    - A CSV file, as data/review.py reads it.

    Categories and folders named as abnormal ones in general (`defect`, `ng`) name no kind.

    Raises: DataError naming the file and what is wrong, also where there is no label.
    """
    path = os.fspath(path)
    if os.path.isdir(path):
        files = sorted(name for name in os.listdir(path) if name.lower().endswith(".json"))
        if files:
            found = [one for name in files for one in _of_json(os.path.join(path, name), max_pixels)]
        else:
            found = _of_folder(path, max_pixels)
    elif path.lower().endswith(".json"):
        found = _of_json(path, max_pixels)
    elif path.lower().endswith(".csv"):
        found = _of_csv(path, max_pixels)
    else:
        raise DataError(
            f"{path}: labels are read from a JSON file (COCO, labelme), a CSV file, or a folder of labelme "
            "files or of folders of images"
        )
    if not found:
        raise DataError(f"{path}: has no labels")
    return found


def matched(found: Iterable[Labelled], paths: Iterable[str]) -> list[tuple[Labelled, str]]:
    """Each with the path of its image among `paths`: the one that ends as its name does.

    A relative name must fit as far as both go: `a/1.png` is `parts/a/1.png`, and so is `1.png` where no other
    folder has one; `a__1.png` may be `a/1.png` too. Of an absolute name, as of another machine, and of one
    that begins with `../`, two parts must fit, and more that fit decide.

    Raises: DataError for one that is none of them or could be several, and for two that are the same.
    """
    by_base: dict[str, list[str]] = {}
    for path in dict.fromkeys(paths):
        by_base.setdefault(_parts(path)[-1], []).append(path)
    pairs, owner, unknown = [], {}, []
    for one in found:
        given = _parts(one.name)
        parts = list(itertools.dropwhile(lambda part: part in (".", ".."), given)) or given
        elsewhere = parts[0] == "" or parts[0].endswith(":") or ".." in given
        alike = _alike(parts, by_base, elsewhere)
        if not alike and JOINED in parts[-1]:
            alike = _alike_joined(parts[-1], by_base)
        if not alike:
            unknown.append(one)
            continue
        best = [path for path, same in alike.items() if same == max(alike.values())]
        if len(best) > 1:
            raise DataError(f"{one.where}: {one.name!r} could be {best[0]} or {best[1]}; name its folder too")
        if best[0] in owner:
            raise DataError(f"{one.where}: {one.name!r} and {owner[best[0]]!r} are both {best[0]}")
        owner[best[0]] = one.name
        pairs.append((one, best[0]))
    if unknown:
        raise DataError(
            f"{unknown[0].where}: {unknown[0].name!r} is none of the images here "
            f"({len(unknown)} of {len(unknown) + len(pairs)} are not)"
        )
    return pairs


def _alike(parts: list[str], by_base: dict[str, list[str]], elsewhere: bool = False) -> dict[str, int]:
    """Path -> how many last parts it has in common with a name, of the paths that the name may mean."""
    found = {}
    for path in by_base.get(parts[-1], []):
        length, same = min(len(parts), len(_parts(path))), _same_end(parts, _parts(path))
        if same >= (min(2, length) if elsewhere else length):
            found[path] = same
    return found


def _alike_joined(name: str, by_base: dict[str, list[str]]) -> dict[str, int]:
    """Path -> how much of a name fits, of the paths that it may be with their folders in one name.

    Folders and files may have JOINED in their own names.
    """
    found, pieces = {}, name.split(JOINED)
    for start in range(len(pieces)):
        for path in by_base.get(JOINED.join(pieces[start:]), []):
            one, other = sorted((JOINED + name, JOINED + JOINED.join(_parts(path))), key=len)
            if other.endswith(one):
                found[path] = len(one)
    return found


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


def _parts(name: str) -> list[str]:
    return name.replace("\\", "/").split("/")


def _same_end(one: list[str], other: list[str]) -> int:
    """How many last parts are the same."""
    count = 0
    for a, b in zip(reversed(one), reversed(other), strict=False):
        if a != b:
            break
        count += 1
    return count


# Of what is ignored a pixel more does no harm; a defect's mask has its own pixels alone.
_of_shapes = functools.partial(polygons.of_labelme, touched=False)
_of_annotations = functools.partial(polygons.of_annotations, touched=False)


def _kind_of(name: str) -> str:
    """The kind that a category or folder names; "" where it says no more than abnormal."""
    return "" if plain(name) in BAD_LABELS else name.strip()


def _of_json(path: str, max_pixels: int) -> list[Labelled]:
    values = polygons.load(path)
    try:
        if "shapes" in values:
            return [_of_labelme(path, values, max_pixels)]
        return list(_of_coco(path, values, max_pixels))
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: not as labelme or COCO write it: {type(error).__name__}: {error}") from None


def _name(path: str, value) -> str:
    """The name of an image in a file of labels; DataError where it is none."""
    if not isinstance(value, str) or not value:
        raise DataError(f"{path}: the name of an image must be a text, got {value!r}")
    return value


def _of_labelme(path: str, values: dict, max_pixels: int) -> Labelled:
    name, shapes = _name(path, values["imagePath"]), values["shapes"]
    if not shapes:
        return Labelled(name, NORMAL, where=path)
    largest = _largest(
        (str(shape.get("label") or ""), _of_shapes(path, values | {"shapes": [shape]}, max_pixels))
        for shape in shapes
    )
    read_mask = functools.partial(_of_shapes, path, values, max_pixels)
    return Labelled(name, ABNORMAL, _kind_of(largest), read_mask, where=path)


def _of_coco(path: str, values: dict, max_pixels: int) -> Iterator[Labelled]:
    names = {c["id"]: str(c["name"]) for c in values.get("categories", [])}
    own: dict = {}
    for image in values["images"]:
        if image["id"] in own:
            raise DataError(f"{path}: two images have the id {image['id']!r}")
        own[image["id"]] = []
    for annotation in values["annotations"]:
        if annotation["image_id"] not in own:
            raise DataError(f"{path}: an annotation is of image {annotation['image_id']}, which is not there")
        category = annotation.get("category_id")
        if names and category is not None and category not in names:
            raise DataError(f"{path}: an annotation is of category {category!r}, which is not there")
        own[annotation["image_id"]].append(annotation)
    for image in values["images"]:
        annotations, name = own[image["id"]], _name(path, image["file_name"])
        if not annotations:
            yield Labelled(name, NORMAL, where=path)
            continue
        kinds = (names.get(a.get("category_id"), "") for a in annotations)
        drawn = (_of_annotations(path, image, [a], max_pixels) for a in annotations)
        largest = _largest(zip(kinds, drawn, strict=True))
        read_mask = functools.partial(_of_annotations, path, image, annotations, max_pixels)
        yield Labelled(name, ABNORMAL, _kind_of(largest), read_mask, where=path)


def _largest(named: Iterable[tuple[str, np.ndarray]]) -> str:
    """The name that covers most pixels."""
    areas: dict[str, int] = {}
    for name, mask in named:
        areas[name] = areas.get(name, 0) + int(mask.sum())
    return max(areas, key=areas.__getitem__)


def _of_folder(path: str, max_pixels: int) -> list[Labelled]:
    found, loose = [], []
    drawn = {}  # folder of a kind and stem -> mask
    for name in images_below(path):
        parts = name.split("/")
        is_mask = folder_names.is_masks(parts[0])
        parts = parts[1:] if is_mask else parts
        if len(parts) > 2 and plain(parts[0]) in TRAIN | TEST:
            parts = parts[1:]
        folder, *below = parts
        stem = "/".join([folder, *os.path.splitext("/".join(below))[:1]])
        if is_mask:
            key, mask = mask_names.without_ending(stem) or stem, os.path.join(path, name)
            if key in drawn:
                raise DataError(f"{mask}: is of the same image as {drawn[key]}")
            drawn[key] = mask
        elif not below:
            loose.append(name)
        elif plain(folder) not in GOOD and (folder_names.is_perhaps_good(folder) or _is_unclear(folder)):
            raise DataError(
                f"{path}: {name} lies in {folder!r}, which may mean normal or says nothing; name the folder "
                "good, or as the kind of defect"
            )
        else:
            found.append((stem, "/".join(below), folder))
    if loose:
        raise DataError(f"{path}: {len(loose)} images lie in no folder that says what they are: {loose[0]}")
    out, counts = [], collections.Counter(stem for stem, _, _ in found)
    for stem, name, folder in found:
        mask = drawn.pop(stem, None)
        if mask is not None and counts[stem] > 1:
            raise DataError(f"{mask}: could be of {counts[stem]} images, such as {name}")
        if plain(folder) in GOOD:
            if mask is not None:
                raise DataError(f"{mask}: is a mask of an image in {folder!r}, which has no defect")
            out.append(Labelled(name, NORMAL, where=path))
        else:
            read_mask = mask and functools.partial(_mask_file, mask, max_pixels)
            out.append(Labelled(name, ABNORMAL, _kind_of(folder), read_mask, where=path))
    if drawn:
        raise DataError(
            f"{path}: {len(drawn)} masks are of no image there, such as {next(iter(drawn.values()))}"
        )
    return out


def _is_unclear(folder: str) -> bool:
    """Whether the name of a folder says neither normal nor what the defect is."""
    return folder_names.says_nothing(folder) or plain(folder) in TRAIN | TEST | folder_names.PERHAPS_TEST


def _of_csv(path: str, max_pixels: int) -> list[Labelled]:
    return [
        Labelled(
            name,
            one.label,
            one.kind or "",
            one.mask and functools.partial(_mask_file, one.mask, max_pixels),
            where=f"{path}: row {one.row}",
        )
        for name, one in review.read(path).items()
    ]


def _mask_file(path: str, max_pixels: int) -> np.ndarray:
    return masks.read(path, max_pixels)[0]


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
        if not np.array_equal(_of_annotations("", images[-1], [one], MAX_PIXELS), shown):
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
    parts = (part for part in _parts(os.path.splitext(name)[0]) if part not in ("", ".", ".."))
    return outputs.picture_name(JOINED.join(parts), "")  # which cuts what is too long for a file system


def _folder_name(kind: str) -> str:
    """A kind as the name of a folder."""
    found = "".join(c if c.isalnum() or c in " -_" else "_" for c in kind).strip()
    return found if found and plain(found) not in GOOD else f"defect_{found}"


def names(paths: Iterable[str]) -> dict[str, str]:
    """Path -> the name to give it: of absolute ones it begins with the folder that holds them all."""
    paths = list(paths)
    absolute = [path for path in paths if os.path.isabs(path)]
    root = os.path.dirname(os.path.commonpath([os.path.dirname(p) for p in absolute])) if absolute else ""
    return {
        path: os.path.relpath(path, root).replace(os.sep, "/") if os.path.isabs(path) else path
        for path in paths
    }
