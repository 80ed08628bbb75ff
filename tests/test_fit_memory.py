"""What the memory of a run is fitted to: images in other light, and orientations that are normal."""

import numpy as np
import pytest

from semi_anogan.data.dataset import Example
from semi_anogan.data.orientation import ORIENTATIONS, oriented
from semi_anogan.scoring.memory import Memory, SizeMemory
from semi_anogan.training.memory import normal_orientations, varied

IMAGE = np.arange(6, dtype=np.float32).reshape(2, 3, 1) / 10


def test_orientations_by_hand():
    expected = {
        "mirrored": [[0.2, 0.1, 0.0], [0.5, 0.4, 0.3]],
        "upside down": [[0.3, 0.4, 0.5], [0.0, 0.1, 0.2]],
        "turned by a half": [[0.5, 0.4, 0.3], [0.2, 0.1, 0.0]],
        "turned by a quarter": [[0.0, 0.1, 0.2], [0.3, 0.4, 0.5]],  # not square: as it is
    }
    assert set(expected) == set(ORIENTATIONS)
    for name, values in expected.items():
        np.testing.assert_allclose(oriented(IMAGE, name)[..., 0], values, atol=1e-6)
    square = oriented(IMAGE[:, :2], "turned by a quarter")
    np.testing.assert_allclose(square[..., 0], [[0.1, 0.4], [0.0, 0.3]], atol=1e-6)


def test_images_vary_in_light_and_in_the_orientations_that_are_given():
    examples = [Example(f"{i}.png", "train", "normal") for i in range(60)]
    upright = [*varied(examples, lambda e: IMAGE, (), [0, 1])]
    # Light keeps the order of values; each image has its own.
    assert all((np.diff(image.ravel()) > 0).all() for image in upright)
    assert len({float(image.mean()) for image in upright}) == 60
    mirrored = [(i[0, 0, 0] > i[0, 2, 0]) for i in varied(examples, lambda e: IMAGE, ["mirrored"], [0, 1])]
    assert 18 < sum(mirrored) < 42  # each of two has a chance of a half
    again = [*varied(examples, lambda e: IMAGE, (), [0, 1])]
    np.testing.assert_array_equal(again, upright)


class Reader:
    """Its value of an image at the one size is the top left pixel, and a little noise."""

    def memory_values(self, memory, images):
        rng = np.random.default_rng(0)
        return np.array([[float(image[0, 0, 0]) + 0.1 * rng.standard_normal()] for image in images])


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        # The corners say how abnormal each orientation looks; below is the one of a quarter turn.
        ([[0.0, 0.0], [0.0, 0.0]], tuple(ORIENTATIONS)),
        ([[0.0, 1.0], [0.0, 0.0]], ("upside down", "turned by a half")),
        ([[0.0, 0.0], [1.0, 0.0]], ("mirrored", "turned by a half", "turned by a quarter")),
        ([[0.0, 0.0], [0.0, 1.0]], ("mirrored", "upside down", "turned by a quarter")),
        ([[1.0, 0.0], [0.0, 0.0]], tuple(ORIENTATIONS)),  # less abnormal than upright
        ([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], ("mirrored", "upside down", "turned by a half")),
    ],
)
def test_an_orientation_is_normal_where_held_out_images_look_so(image, expected):
    image = np.float32(image)[..., None]
    arrays = SizeMemory(np.zeros((1, 1)), np.zeros(1), np.zeros(1), np.ones((1, 1)))
    memory, held_out = Memory({32: arrays}), [Example(f"{i}.png", "train", "normal") for i in range(20)]
    assert normal_orientations(memory, Reader(), lambda e: image, held_out) == expected
