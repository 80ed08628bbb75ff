"""Which mask belongs to which image of the folder layout with train/, test/ and ground_truth/."""

import os

from semi_anogan.data.listing import image_names
from semi_anogan.errors import DataError


def masks_of(
    root: str, kind: str, train: list[str], test: list[str]
) -> tuple[dict[str, str | None], list[str]]:
    """The masks of the images of one kind of defect.

    The mask of NAME.png is NAME_mask.png or NAME.png in ground_truth/train/KIND or ground_truth/test/KIND, by
    its split. A split without such a folder looks in ground_truth/KIND. There a mask that fits an image of
    either split is the test image's, as in MVTec AD; the training image then counts as without one.

    Args:
      root: the folder of the data.
      kind: name of the defect, a folder of train/ or test/.
      train, test: the kind's images, relative to root.

    Returns:
      ({image: mask or None}, lines that tell of masks which are not used).

    Raises:
      DataError: two masks of one name, or masks for some of the test images only: half of them would silently
        give half of the pixel metrics.
    """
    shared, own_train, own_test = (
        _by_stem(root, f"ground_truth/{place}{kind}") for place in ("", "train/", "test/")
    )
    notes = []
    if shared and own_train and own_test:
        notes.append(
            f"{root}: ground_truth/{kind} is not used, as ground_truth/train/{kind} and ground_truth/test/"
            f"{kind} are there"
        )
    of_test = own_test or shared
    of_train = own_train or shared
    if shared and not own_train and not own_test:
        twice = [path for path in train if _stem(path) in shared and _stem(path) in set(map(_stem, test))]
        of_train = {stem: mask for stem, mask in shared.items() if stem not in set(map(_stem, twice))}
        if twice:
            first = twice[0]
            notes.append(
                f"{root}: {shared[_stem(first)]} is taken as the mask of test/{kind}, not of {first}, which "
                f"has the same name ({len(twice)} such masks); those of train/{kind} belong in ground_truth/"
                f"train/{kind}"
            )
    if own_train:
        strange = sorted(set(own_train) - set(map(_stem, train)))
        if strange:
            notes.append(
                f"{root}: {len(strange)} masks in ground_truth/train/{kind} are of no image in train/{kind}, "
                f"the first is {own_train[strange[0]]}"
            )
    masks = {path: of_train.get(_stem(path)) for path in train}
    others = set() if own_test else set(map(_stem, train))  # whose masks may stand in the same folder
    masks |= _of_test(root, kind, test, of_test, others)
    return masks, notes


def _of_test(
    root: str, kind: str, test: list[str], by_stem: dict[str, str], others: set[str]
) -> dict[str, str | None]:
    """{test image: mask}, or None for all where the data has none; others: stems of training images."""
    masks = {path: by_stem.get(_stem(path)) for path in test}
    without = [path for path, mask in masks.items() if mask is None]
    if without and (len(without) < len(masks) or set(by_stem) - others):
        place = os.path.dirname(next(iter(by_stem.values())))
        hint = f" (masks of train/{kind} belong in ground_truth/train/{kind})" if others else ""
        raise DataError(
            f"{root}: {place} has no mask for {len(without)} images, the first is {without[0]}{hint}"
        )
    return masks


def _by_stem(root: str, folder: str) -> dict[str, str]:
    """{name without suffix and _mask: path relative to root} of a folder's masks; none without it."""
    found: dict[str, str] = {}
    for name in image_names(os.path.join(root, folder)):
        stem = os.path.splitext(name)[0].removesuffix("_mask")
        if stem in found:
            raise DataError(f"{root}: {found[stem]} and {folder}/{name} are masks of the same image")
        found[stem] = f"{folder}/{name}"
    return found


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]
