"""Reads labels of other programs: COCO, labelme, a tree of folders, a CSV file."""

import collections
import functools
import os
from collections.abc import Iterable, Iterator

import numpy as np

from semi_anogan.data import mask_names, masks, polygons, review
from semi_anogan.data.dataset import ABNORMAL, NORMAL
from semi_anogan.data.image_files import MAX_PIXELS
from semi_anogan.data.listing import images_below
from semi_anogan.data.sources import folder_names
from semi_anogan.data.sources.folder_names import BAD_LABELS, GOOD, TEST, TRAIN, plain
from semi_anogan.errors import DataError
from semi_anogan.review.labels import Labelled


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


# Of what is ignored a pixel more does no harm; a defect's mask has its own pixels alone.
_of_shapes = functools.partial(polygons.of_labelme, touched=False)
of_annotations = functools.partial(polygons.of_annotations, touched=False)


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
        drawn = (of_annotations(path, image, [a], max_pixels) for a in annotations)
        largest = _largest(zip(kinds, drawn, strict=True))
        read_mask = functools.partial(of_annotations, path, image, annotations, max_pixels)
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
