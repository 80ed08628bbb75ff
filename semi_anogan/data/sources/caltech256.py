"""Caltech-256 (Griffin et al. 2007): a few of its categories are normal, clutter is abnormal.

The set-up is that of R-graph (You et al. 2017) and ALOCC (Sabokrou et al. 2018), which Kimura & Yanagihara
(2018) follow: 1, 3 or 5 inlier categories, the first 150 images of each, and outliers from category
257.clutter that make up half of the images under test. That set-up holds no inliers back from learning. Here
they are divided: the first images of each category are for training and the others for testing, so that
figures are not comparable one to one.
"""

import os

import numpy as np

from semi_anogan.data.dataset import ABNORMAL, NORMAL, Dataset, Example
from semi_anogan.data.listing import image_names
from semi_anogan.data.sources.classes import parse_classes
from semi_anogan.data.sources.files import file_dataset
from semi_anogan.errors import DataError

CLUTTER = "clutter"


def load(
    channels: int,
    root: str,
    normal_classes=None,
    inlier_count: int = 1,
    abnormal_count: int | None = 0,
    contamination: float = 0.0,
    outlier_share: float = 0.5,
    train_share: float = 0.5,
    images_per_class: int = 150,
    seed: int = 0,
) -> Dataset:
    """Loads the images from the folder layout of the official archive.

    Test outliers, known abnormal and contaminating images are different clutter images, dealt out in this
    order from one seeded shuffle: the test set does not depend on the other two.

    Args:
      channels: 1 or 3.
      root: folder 256_ObjectCategories (with 001.ak47 ... 257.clutter), or the one around it.
      normal_classes: inlier categories by name ("ak47") or number (1): one, a list, or a string with commas.
      inlier_count: without normal_classes: how many to choose at random among those with `images_per_class`
        images.
      abnormal_count: how many known abnormal images training gets; None: all clutter images not used
        otherwise.
      contamination: share in [0, 1) of the images given to training as normal that are clutter in truth.
      outlier_share: share in [0, 1) of the test images that are outliers.
      train_share: share in (0, 1) of each category's images that is for training.
      images_per_class: only the first ones of each category are used, at least 2; those named in
        `normal_classes` may have fewer.
      seed: of the choice of categories and of the shuffle.

    Raises:
      DataError: folder not as expected, or more images asked for than there are.
    """
    shares = {"contamination": contamination, "outlier_share": outlier_share, "train_share": train_share}
    for name, share in shares.items():
        if not 0.0 <= share < 1.0:
            raise DataError(f"data.{name}: {share!r} is not in [0, 1)")
    if images_per_class < 2:
        raise DataError(
            f"data.images_per_class: {images_per_class!r} is not at least 2, for training and test"
        )
    root, folders = _category_folders(os.fspath(root))
    chosen = _chosen(root, folders, normal_classes, inlier_count, images_per_class, seed)
    train, test = [], []
    for folder in chosen:
        files = [f"{folder}/{name}" for name in image_names(os.path.join(root, folder))[:images_per_class]]
        cut = round(train_share * len(files))
        train, test = train + files[:cut], test + files[cut:]
    if not train or not test:
        raise DataError(
            f"{root}: {', '.join(chosen)} give {len(train)} training and {len(test)} test images; "
            "both must be more than none"
        )
    outlier_count = round(outlier_share / (1 - outlier_share) * len(test))
    hidden_count = round(contamination / (1 - contamination) * len(train))
    outliers, known, hidden = _dealt_clutter(
        root, folders[CLUTTER], outlier_count, abnormal_count, hidden_count, seed
    )
    # Shuffled, so that the contaminating images do not all stand at the end.
    shuffled = np.random.default_rng([seed, 2]).permutation(train + sorted(hidden)).tolist()
    hidden = set(hidden)
    examples = [Example(name, "train", NORMAL, mislabelled=name in hidden) for name in shuffled]
    examples += [Example(name, "train", ABNORMAL) for name in known]
    examples += [Example(name, "test", NORMAL) for name in test]
    examples += [Example(name, "test", ABNORMAL) for name in outliers]
    return file_dataset("caltech256", root, examples, channels)


def _dealt_clutter(
    root: str, folder: str, outlier_count: int, abnormal_count: int | None, hidden_count: int, seed: int
) -> tuple[list[str], list[str], list[str]]:
    """Clutter images for testing, known ones and contaminating ones, from one seeded shuffle."""
    clutter = [f"{folder}/{name}" for name in image_names(os.path.join(root, folder))]
    clutter = np.random.default_rng([seed, 1]).permutation(clutter).tolist()
    known_count = len(clutter) - outlier_count - hidden_count if abnormal_count is None else abnormal_count
    if known_count < 0 or outlier_count + known_count + hidden_count > len(clutter):
        raise DataError(
            f"{root}: {folder} has {len(clutter)} images; testing takes {outlier_count}, "
            f"data.contamination {hidden_count}, and data.abnormal_count is {abnormal_count!r}"
        )
    outliers, rest = clutter[:outlier_count], clutter[outlier_count:]
    return outliers, rest[:known_count], rest[known_count : known_count + hidden_count]


def _category_folders(root: str) -> tuple[str, dict[str, str]]:
    """The folder of the categories, and {"ak47": "001.ak47", ...} in the order of their numbers."""
    inner = os.path.join(root, "256_ObjectCategories")
    root = inner if os.path.isdir(inner) else root
    names = sorted(os.listdir(root)) if os.path.isdir(root) else []
    numbered = [name for name in names if name[:3].isdecimal() and name[3:4] == "." and len(name) > 4]
    folders = {name[4:]: name for name in numbered if os.path.isdir(os.path.join(root, name))}
    if CLUTTER not in folders:
        raise DataError(
            f"{root}: no folder 257.{CLUTTER}; data.root must be the folder 256_ObjectCategories of the "
            f"Caltech-256 archive (folders found: {len(folders)} such as 001.ak47)"
        )
    return root, folders


def _chosen(
    root: str, folders: dict[str, str], normal_classes, inlier_count: int, images_per_class: int, seed: int
) -> list[str]:
    """Folders of the inlier categories."""
    names = [name for name in folders if name != CLUTTER]
    if normal_classes is not None:
        by_number = {int(folders[name][:3]): name for name in names}
        return [folders[by_number[number]] for number in parse_classes(normal_classes, by_number)]
    full = [name for name in names if len(image_names(os.path.join(root, folders[name]))) >= images_per_class]
    if not 1 <= inlier_count <= len(full):
        raise DataError(
            f"data.inlier_count: {inlier_count!r}, but {root} has {len(full)} categories of at least "
            f"{images_per_class} images besides {CLUTTER}"
        )
    picked = np.random.default_rng([seed, 0]).choice(full, inlier_count, replace=False).tolist()
    return sorted(folders[name] for name in picked)
