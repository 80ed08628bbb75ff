"""Any image classification set of TensorFlow Datasets, by name, of which some classes are normal."""

import numpy as np

from semi_anogan.data.dataset import Dataset
from semi_anogan.data.sources.classes import class_dataset
from semi_anogan.errors import DataError


def load(
    channels: int,
    dataset: str,
    normal_classes,
    contamination: float = 0.0,
    abnormal_count: int | None = 0,
    seed: int = 0,
    root: str | None = None,
    train_split: str = "train",
    test_split: str = "test",
) -> Dataset:
    """Loads a data set into memory, as uint8.

    Where that is too much, take "train[:10000]", say, as the split.

    Args:
      channels: 1 or 3.
      dataset: name in TensorFlow Datasets, such as "fashion_mnist" or "cifar10", with the version or config
        if wanted.
      normal_classes: names or numbers of the normal classes: one, a list, or a string such as "0,4".
      contamination: share in [0, 1) of the images given to training as normal that are of another class in
        truth.
      abnormal_count: how many known abnormal images training gets, spread evenly over the other classes;
        None: all.
      seed: chooses the contaminating and the known abnormal images.
      root: folder where the data set is kept or goes to; by default that of TensorFlow Datasets.
      train_split: split, or a part of one in the notation of TensorFlow Datasets.
      test_split: likewise.

    Raises:
      DataError: unknown or unavailable data set, not an image classification one, or a setting that cannot be
        met.
    """
    train, test, class_names = load_arrays(dataset, root, train_split, test_split)
    return class_dataset(
        dataset,
        train,
        test,
        channels,
        normal_classes=normal_classes,
        contamination=contamination,
        abnormal_count=abnormal_count,
        seed=seed,
        class_names=class_names,
    )


def load_arrays(
    dataset: str, root: str | None, train_split: str = "train", test_split: str = "test", hint: str = ""
) -> tuple[tuple, tuple, list[str]]:
    """Reads both splits.

    Returns:
      ((images, labels) of training, the same of testing, class names); images are lists of uint8 [H, W, C].

    Raises:
      DataError: as in `load`; `hint` is added where the data cannot be had.
    """
    tensorflow_datasets, builder = _prepared(dataset, root, hint)
    image_key, label_key = builder.info.supervised_keys or ("image", "label")
    features = dict(builder.info.features)
    names = getattr(features.get(label_key), "names", None)
    if not isinstance(features.get(image_key), tensorflow_datasets.features.Image) or not names:
        raise DataError(
            f"{dataset}: not an image classification data set; its features are {sorted(features)}"
        )

    def read(split: str) -> tuple[list[np.ndarray], np.ndarray]:
        try:
            # Only these two: other features (masks, boxes, file names) may be large.
            rows = list(tensorflow_datasets.as_numpy(builder.as_dataset(split=split, as_supervised=True)))
        except ValueError as error:
            raise DataError(
                f"{dataset}: split {split!r}: {error} (splits: {', '.join(builder.info.splits)})"
            ) from None
        for image, label in rows:
            if image.dtype != np.uint8 or image.shape[-1] not in (1, 3) or label < 0:
                raise DataError(
                    f"{dataset}: split {split!r} holds an image of type {image.dtype}, shape {image.shape} "
                    f"and label {label}; wanted uint8 with 1 or 3 channels, and a label"
                )
        return [image for image, _ in rows], np.array([label for _, label in rows], np.int64)

    return read(train_split), read(test_split), list(names)


def _prepared(dataset: str, root: str | None, hint: str) -> tuple:
    """(the package tensorflow_datasets, the builder of the data set, which is now on disk)."""
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise DataError(
            f"{dataset}: needs tensorflow-datasets, which cannot be imported: {error}. {hint}"
        ) from error
    try:
        builder = tensorflow_datasets.builder(dataset, data_dir=root)
        builder.download_and_prepare()
    except Exception as error:  # anything from a wrong name to no network
        reason = str(error).strip().split("\n")[0]
        raise DataError(
            f"{dataset}: TensorFlow Datasets cannot provide it: {type(error).__name__}: "
            f"{reason.rstrip('.')}. {hint}".strip()
        ) from error
    return tensorflow_datasets, builder
