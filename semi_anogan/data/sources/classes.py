"""Classification data for anomaly detection: some classes are normal, the rest abnormal."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from semi_anogan.data import image_arrays
from semi_anogan.data.dataset import ABNORMAL, NORMAL, Dataset, Example
from semi_anogan.errors import DataError


def class_dataset(
    name: str,
    train: tuple[Sequence[np.ndarray], np.ndarray],
    test: tuple[Sequence[np.ndarray], np.ndarray],
    channels: int,
    *,
    normal_classes,
    contamination: float,
    abnormal_count: int | None,
    seed: int,
    class_names: Sequence[str],
    prepare: Callable[[np.ndarray], np.ndarray] = lambda image: image,
) -> Dataset:
    """A Dataset over labelled images in memory.

    Args:
      name: name of the source; the examples are called "<name>/train/000123".
      train: (images, labels): uint8 [H, W, 1 or 3] each (sizes may differ), and integers [N].
      test: likewise.
      channels: 1 or 3.
      normal_classes: see `parse_classes`.
      contamination: share in [0, 1) of the images given to training as normal that are of another class in
        truth.
      abnormal_count: how many known abnormal images training gets; see `split_classes`.
      seed: chooses the contaminating and the known abnormal images.
      class_names: name of each class, in label order.
      prepare: applied to the uint8 image when it is read (padding, say).

    Raises:
      DataError: a setting that cannot be met.
    """
    normal = parse_classes(normal_classes, dict(enumerate(class_names)))
    if len(normal) == len(class_names):
        raise DataError(f"data.normal_classes: {normal_classes!r} are all classes, so that none is abnormal")
    examples = split_classes(name, train[1], test[1], normal, contamination, abnormal_count, seed)
    arrays = {"train": train[0], "test": test[0]}

    def read_image(example: Example) -> np.ndarray:
        return image_arrays.to_channels(
            image_arrays.from_uint8(prepare(arrays[example.split][example.key])), channels
        )

    return Dataset(name, tuple(examples), read_image)


def split_classes(
    name: str,
    train_labels: np.ndarray,
    test_labels: np.ndarray,
    normal: Sequence[int],
    contamination: float,
    abnormal_count: int | None,
    seed: int,
) -> list[Example]:
    """Chooses the examples.

    Training gets the n training images of the normal classes. Hidden among them (`mislabelled`, in index
    order like the rest) are round(c / (1 - c) * n) images of the other classes, so that these make up the
    share c = contamination. The known abnormal images are other ones, spread evenly over the other classes.
    With the same seed a smaller abnormal_count chooses the first of a larger one, so that runs can be
    compared. The test split is used whole.

    Args:
      name: prefix of the paths.
      train_labels: integers [N].
      test_labels: integers [M].
      normal: labels of the normal classes.
      contamination: in [0, 1).
      abnormal_count: number of known abnormal images; None: all that are left.
      seed: of both choices.

    Raises:
      DataError: more images asked for than there are.
    """
    if not 0.0 <= contamination < 1.0:
        raise DataError(f"data.contamination: {contamination!r} is not in [0, 1)")
    inside = np.isin(train_labels, normal)
    inliers, others = np.flatnonzero(inside), np.flatnonzero(~inside)
    if not len(inliers):
        raise DataError(f"{name}: no training images of the normal classes {list(normal)}")
    hidden_count = round(contamination / (1 - contamination) * len(inliers))
    known_count = len(others) - hidden_count if abnormal_count is None else abnormal_count
    if known_count < 0 or hidden_count + known_count > len(others):
        raise DataError(
            f"{name}: data.contamination {contamination!r} takes {hidden_count} images of the other "
            f"classes and data.abnormal_count is {abnormal_count!r}, but there are {len(others)}"
        )
    known = _spread(others, train_labels, np.random.default_rng([seed, 0]))[:known_count]
    left = np.random.default_rng([seed, 1]).permutation(others)
    hidden = set(left[~np.isin(left, known)][:hidden_count].tolist())

    def example(split: str, index: int, label: str) -> Example:
        return Example(
            f"{name}/{split}/{index:06d}",
            split,
            label,
            key=int(index),
            mislabelled=split == "train" and index in hidden,
        )

    examples = [example("train", i, NORMAL) for i in sorted([*inliers.tolist(), *hidden])]
    examples += [example("train", i, ABNORMAL) for i in known.tolist()]
    is_normal = np.isin(test_labels, normal)
    return examples + [
        example("test", i, NORMAL if ok else ABNORMAL) for i, ok in enumerate(is_normal.tolist())
    ]


def parse_classes(normal_classes, names: Mapping[int, str]) -> list[int]:
    """Numbers of the classes that a setting means.

    A string that is the name of a class means that class, whatever its number.

    Args:
      normal_classes: a number, a name, a string such as "0,4" or "cat,dog", or a list of these.
      names: number and name of every class.

    Raises:
      DataError: an unknown class, or none at all.
    """
    numbers = {name: number for number, name in names.items()}
    if isinstance(normal_classes, str):
        normal_classes = (
            [normal_classes] if normal_classes in numbers else normal_classes.strip("()[] ").split(",")
        )
    elif not isinstance(normal_classes, Sequence):
        normal_classes = [normal_classes]
    chosen = []
    for value in normal_classes:
        text = str(value).strip(" '\"")
        if isinstance(value, str) and text in numbers:
            chosen.append(numbers[text])
        elif text.isdecimal() and int(text) in names:
            chosen.append(int(text))
        elif text:  # an empty text stands behind the comma of "(0,)"
            shown = ", ".join([name if str(i) == name else f"{i} {name}" for i, name in names.items()][:20])
            raise DataError(
                f"data.normal_classes: {value!r} is not a class; there are {len(names)}: {shown}"
                + ", ..." * (len(names) > 20)
            )
    if not chosen:
        raise DataError(f"data.normal_classes: {normal_classes!r} names no class")
    return sorted(set(chosen))


def _spread(indices: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shuffles indices so that the first n hold each class equally often, as far as it has images."""
    shuffled = rng.permutation(indices)
    turn = np.empty(len(shuffled), np.int64)  # 0 for the first image of its class, 1 for the second, ...
    for label in np.unique(labels[shuffled]):
        members = np.flatnonzero(labels[shuffled] == label)
        turn[members] = np.arange(len(members))
    return shuffled[np.argsort(turn, kind="stable")]
