"""Results of the test images by a stand-in detector: a score is the image's mean, a map the image itself."""

import dataclasses
import weakref

import numpy as np

from helpers.evaluated import dataset_of
from helpers.trained import StandInDetector
from semi_anogan.evaluation.results import DIFFERENCE_EDGES, score_test_images


def test_pixel_differences_are_counted_by_label():
    dataset = dataset_of({"n": 0.1, "abnormal1": 0.9, "abnormal2": 0.9})
    found = score_test_images(StandInDetector(), dataset, dataset.select("test"))
    edges = DIFFERENCE_EDGES
    for label, value, count in (("normal", 0.1, 64), ("abnormal", 0.9, 128)):
        histogram = found.pixel_differences[label]
        assert histogram.sum() == count
        at = int(np.flatnonzero(histogram)[0])
        assert histogram[at] == count and edges[at] - 1e-6 <= value <= edges[at + 1] + 1e-6
    beyond = score_test_images(StandInDetector(lambda x: x + 5), dataset, dataset.select("test"))
    assert beyond.pixel_differences["normal"][-1] == 64  # more than the last edge counts with the last


def test_images_are_read_one_by_one():
    """Of 200 test images never more than a batch and a few are held."""
    alive, most = weakref.WeakSet(), [0]

    class Picture(np.ndarray):
        __hash__ = object.__hash__

    def image(example):
        picture = np.zeros((8, 8, 1), np.float32).view(Picture)
        alive.add(picture)
        most[0] = max(most[0], len(alive))
        return picture

    dataset = dataclasses.replace(dataset_of({f"n{i}": 0.0 for i in range(200)}), read_image=image)
    found = score_test_images(StandInDetector(batch_size=8), dataset, dataset.select("test"))
    assert len(found.scores) == 200 and most[0] <= 8 + 3
