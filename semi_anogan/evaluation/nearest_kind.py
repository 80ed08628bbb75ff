"""Which of the known kinds of defects an image looks most like, by its most defect-like patches."""

import collections
import os
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

LEAST_KINDS = 2
NORMAL_IMAGES = 30  # that say how patches vary
MOST_IMAGES = 50  # known ones of a kind
PRINCIPAL_COMPONENTS = 64


def confusion(kinds: Sequence[str], nearest: Sequence[str]) -> dict[str, dict[str, int]]:
    """Kind of the test images -> nearest known kind -> number of images, each in the order of its name."""
    counts = collections.Counter(zip(kinds, nearest, strict=True))
    columns = sorted(set(nearest))
    return {kind: {known: counts[kind, known] for known in columns} for kind in sorted(set(kinds))}


def nearest_kinds(
    descriptors: np.ndarray, known: Mapping[str, np.ndarray], center: np.ndarray, projection: np.ndarray
) -> list[str]:
    """Of each image the known kind whose mean has the direction most like its own, in white features.

    Args: descriptors: [N, D]; known: kind -> [K, D]; center [D], projection [D, P]: as `whitening` gives.
    """

    def directions(values):
        white = (np.asarray(values) - center) @ projection
        return white / np.maximum(np.linalg.norm(white, axis=-1, keepdims=True), 1e-12)

    names = list(known)
    means = np.stack([directions(known[name]).mean(axis=0) for name in names])
    return [names[i] for i in np.argmax(directions(descriptors) @ means.T, axis=1)]


def of_run(config, detector, dataset, splits) -> dict[str, dict[str, int]]:
    """The confusion of a run's abnormal test images; empty where fewer than two kinds are known.

    Args: detector: with a likeness, or else there is nothing to say; dataset, splits: of build.load_data.
    """
    known = collections.defaultdict(list)
    for example in splits.abnormal + splits.held_out_abnormal:
        if example.kind is not None and _there(dataset, example):
            known[example.kind].append(example)
    test = [e for e in splits.test if e.abnormal and e.kind is not None]
    normal = [e for e in splits.held_out_normal if _there(dataset, e)][:NORMAL_IMAGES]
    if len(known) < LEAST_KINDS or not test or not normal or detector.likeness is None:
        return {}
    from semi_anogan.scoring.feature_reader import FeatureReader
    from semi_anogan.scoring.likeness import patches_of
    from semi_anogan.scoring.memory import whitening

    reader = FeatureReader(detector.model, config.images.tile, config.score.batch_size)

    def patches(examples) -> Iterable[np.ndarray]:
        for tiles in reader.features(map(dataset.read_image, examples)):
            yield np.concatenate([patches_of(features) for features in tiles])

    def descriptors(examples):
        return np.stack([_most_alike(found, detector.likeness) for found in patches(examples)])

    center, projection = whitening(np.concatenate(list(patches(normal))), PRINCIPAL_COMPONENTS)
    of_known = {kind: descriptors(known[kind][:MOST_IMAGES]) for kind in sorted(known)}
    nearest = nearest_kinds(descriptors(test), of_known, center, projection)
    return confusion([e.kind for e in test], nearest)


def _most_alike(patches: np.ndarray, likeness) -> np.ndarray:
    """The mean of an image's patches [n, D] that are most like a known defect: [D]."""
    from semi_anogan.scoring.likeness import TOP_SHARE

    values = patches @ np.concatenate(likeness.weights)
    count = max(1, round(TOP_SHARE * len(patches)))
    return patches[np.argsort(-values, kind="stable")[:count]].mean(axis=0)


def _there(dataset, example) -> bool:
    """Whether an image can still be read: a training image may be gone."""
    return dataset.files is None or os.path.exists(dataset.files.path(example))
