"""The shape of the images that a model sees."""

import math

import pytest

from semi_anogan.errors import ConfigError
from semi_anogan.image_shape import MOST, aspect_of, enlarged, shape_of, smallest_and_largest, stretch


@pytest.mark.parametrize(
    ("resolution", "aspect", "image_size", "expected"),
    [
        (64, 500 / 1250, 128, (160, 64)),  # commutators: 500 wide, 1250 high
        (64, 1250 / 500, 128, (64, 160)),
        (64, 1250 / 500, None, (64, 160)),
        (128, 500 / 1250, 128, (320, 128)),
        (64, 1.0, 128, (64, 64)),
        (64, 1.124, None, (64, 64)),  # multiples of 16
        (64, 1.126, None, (64, 80)),
        (64, 1 / 1.126, None, (80, 64)),
        (64, 2.3, 64, (64, 160)),  # multiples of 32
        (64, 2.2, 64, (64, 128)),
        (8, 2.0, 128, (8, 16)),
        (8, 2.6, None, (8, 20)),  # multiples of 2
        (8, 2.0, 16, (8, 16)),  # a grid of stride 32 has whole cells from 16 on: a square, or that
        (8, 1.5, 16, (8, 8)),
        (8, 1.51, 16, (8, 16)),
        (4, 1.25, None, (4, 5)),
        (64, 8.0, 128, (64, 512)),
        (64, 1 / 8, 128, (512, 64)),
    ],
)
def test_shape(resolution, aspect, image_size, expected):
    assert shape_of(resolution, aspect, image_size) == expected


def test_grids_are_whole_and_the_shape_of_a_shape_is_itself():
    for resolution in (8, 16, 64, 256):
        for image_size in (None, resolution, 2 * resolution, 4 * resolution):
            for aspect in (1 / 8, 0.3, 0.4, 0.77, 1.0, 1.1, 1.3, 2.0, 3.14, 8.0):
                height, width = shape_of(resolution, aspect, image_size)
                assert min(height, width) == resolution
                assert (4 * height) % resolution == (4 * width) % resolution == 0
                if image_size:
                    long = max(enlarged((height, width), image_size))
                    assert long == image_size or long % 32 == 0
                assert shape_of(resolution, width / height, image_size) == (height, width)
                assert shape_of(resolution, width / height) == (height, width)
                assert shape_of(resolution, 1 / aspect, image_size) == (width, height)


@pytest.mark.parametrize("aspect", [0, -1.5, 0.1, 8.1, math.nan, math.inf])
def test_a_bad_aspect_is_an_error(aspect):
    with pytest.raises(ConfigError, match="model.aspect must be from 1/8 to 8, got"):
        shape_of(64, aspect)


def test_the_aspect_of_images_is_the_median():
    assert aspect_of([(1250, 500), (1240, 500), (1260, 500)]) == 0.4
    assert aspect_of([(100, 200), (100, 300), (100, 400), (100, 500)]) == 3.5
    assert aspect_of(iter([(40, 100)])) == 2.5
    assert aspect_of([(10, 1000)]) == MOST and aspect_of([(1000, 10)]) == 1 / MOST


def test_nearly_square_images_have_the_aspect_one():
    assert aspect_of([]) == 1.0
    assert aspect_of([(100, 110)]) == 1.0 and aspect_of([(100, 114)]) == 1.14
    assert aspect_of([(100, 120)], 64, 64) == 1.0  # the features' coarsest grid has but two cells a side
    assert aspect_of([(100, 130)], 64, 64) == 1.3


def test_enlarged():
    assert enlarged((64, 160), 128) == (128, 320) and enlarged((64, 64), 64) == (64, 64)


def test_stretch():
    assert stretch((50, 100), (32, 64)) == 1.0
    assert stretch((50, 100), (64, 64)) == stretch((100, 50), (64, 64)) == 2.0


def test_sizes_of_one_area_are_told_apart():
    assert smallest_and_largest({(80, 48), (48, 80)}) == [(48, 80), (80, 48)]
    assert smallest_and_largest([(9, 9), (1, 100), (2, 2)]) == [(2, 2), (1, 100)]
    assert smallest_and_largest([(3, 4)]) == [(3, 4), (3, 4)]
