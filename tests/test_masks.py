"""Which pixels of a mask file are abnormal, and masks at other sizes; areas by hand."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from semi_anogan.data import images, masks
from semi_anogan.data.check_files import read_all
from semi_anogan.data.dataset import Example
from semi_anogan.data.image_files import ImageError
from semi_anogan.data.masks import EMPTY, FULL, GREY, LABELS, PLAIN
from semi_anogan.data.sources.files import file_dataset

RECTANGLE = np.pad(np.ones((3, 4), np.uint8), ((2, 5), (1, 7)))  # 3 x 4 of 10 x 12 pixels


def saved(tmp_path, array, name="mask.png"):
    Image.fromarray(np.asarray(array)).save(tmp_path / name)
    return tmp_path / name


@pytest.mark.parametrize(
    "name, array",
    [
        ("one.png", RECTANGLE),
        ("full_scale.png", RECTANGLE * 255),
        ("faint.png", RECTANGLE * 40),
        ("bit.png", RECTANGLE > 0),
        ("one_of_16_bit.png", RECTANGLE.astype(np.uint16)),
        ("deep.png", RECTANGLE.astype(np.uint16) * 65535),
        ("int.tif", RECTANGLE.astype(np.int32) * 70000),
        ("float.tif", RECTANGLE.astype(np.float32)),
        ("large_float.tif", RECTANGLE.astype(np.float32) * 255),
        ("green.png", np.stack([RECTANGLE * 0, RECTANGLE * 255, RECTANGLE * 0], -1)),
        ("dark_blue.png", np.stack([RECTANGLE * 0, RECTANGLE * 0, RECTANGLE], -1)),
        ("opaque.png", np.stack([RECTANGLE * 255] * 3 + [RECTANGLE * 0 + 255], -1)),
        ("alpha.png", np.stack([RECTANGLE * 0 + 255] * 3 + [RECTANGLE * 255], -1)),
    ],
)
def test_two_values_are_plain(tmp_path, name, array):
    mask, reading = masks.read(saved(tmp_path, array, name))
    assert mask.dtype == bool and reading == PLAIN
    np.testing.assert_array_equal(mask, RECTANGLE > 0)


def test_a_mask_of_several_pages_is_refused(tmp_path):
    """The second would be left out: of these two it alone marks something."""
    pages = [Image.fromarray(RECTANGLE * value) for value in (0, 255)]
    pages[0].save(tmp_path / "mask.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(ImageError, match="mask.tif: a mask of 2 frames or pages; save it as one"):
        masks.read(tmp_path / "mask.tif")


def test_masks_of_one_value():
    found, reading = masks.of_values(np.zeros((4, 5), np.uint8))
    assert reading == EMPTY and not found.any()
    found, reading = masks.of_values(np.full((4, 5), 7, np.uint8))
    assert reading == FULL and found.sum() == 20


def test_palette_masks_go_by_colour(tmp_path):
    """Colour 0 is white and colour 1 black; then dark red and dark green, two kinds of defects."""
    mask = Image.new("P", (6, 5), 1)
    mask.putpalette([255, 255, 255, 0, 0, 0, 128, 0, 0, 0, 64, 0])
    mask.putpixel((2, 1), 0)
    mask.save(tmp_path / "mask.png")
    found, reading = masks.read(tmp_path / "mask.png")
    assert np.argwhere(found).tolist() == [[1, 2]] and reading == PLAIN
    for x in range(3, 6):
        mask.putpixel((x, 3), 2)
        mask.putpixel((x, 4), 3)
    mask.save(tmp_path / "mask.png")
    found, reading = masks.read(tmp_path / "mask.png")
    assert found.sum() == 7 and found[3:, 3:].all() and reading == LABELS


def test_an_antialiased_mask_counts_from_half_on():
    """A rectangle of 7 x 9 pixels at odd places, reduced by two: borders of 128, corners of 64."""
    large = np.zeros((20, 24), np.uint8)
    large[3:10, 5:14] = 255
    values = np.asarray(Image.fromarray(large).resize((12, 10), Image.Resampling.BOX))
    assert np.unique(values).tolist() == [0, 64, 128, 255]
    found, reading = masks.of_values(values)
    # Rows 1 (half) and 2 to 4, columns 2 (half) and 3 to 6; their corner, a quarter, does not count.
    expected = np.zeros((10, 12), bool)
    expected[1:5, 2:7] = True
    expected[1, 2] = False
    np.testing.assert_array_equal(found, expected)
    assert reading == GREY and found.sum() == 19 and (values > 0).sum() == 20
    # The same in 16 bits, as shares, and faint: the brightest value is the measure.
    for other in (values.astype(np.uint16) * 257, values / np.float32(255), values // 2):
        np.testing.assert_array_equal(masks.of_values(other)[0], expected)
    assert masks.of_values(np.array([[0, 127, 255], [0, 128, 255]], np.uint8))[0].sum() == 3


@pytest.mark.parametrize("kind, quality", [(k, q) for k in ("ellipse", "rectangle") for q in (30, 75, 95)])
def test_jpeg_scatter_does_not_count(kind, quality):
    """Also once it was saved as PNG: it is told by its values, not by the format."""
    drawn = Image.new("L", (128, 96))
    getattr(ImageDraw.Draw(drawn), kind)((30, 20, 85, 70), fill=255)
    file = io.BytesIO()
    drawn.save(file, "JPEG", quality=quality)
    values, area = np.asarray(Image.open(file)), np.asarray(drawn) > 0
    found, reading = masks.of_values(values)
    assert reading == GREY and (values > 0).sum() > area.sum() + 20
    np.testing.assert_array_equal(found, area)


def test_every_kind_of_defect_counts():
    """Classes 1 to 3 beside each other: 2 x 3, 2 x 4 and 1 x 5 pixels; so do greys and colours as labels."""
    values = np.zeros((12, 12), np.uint8)
    values[1:3, 1:4], values[3:5, 1:5], values[8, 2:7] = 1, 3, 2
    colours = np.array([[0, 0, 0], [128, 0, 0], [0, 64, 0], [192, 128, 0]], np.uint8)
    for labels in (
        values,
        values.astype(np.uint16),
        values * 85,
        values.astype(np.uint16) * 20000,
        values / 4,
    ):
        found, reading = masks.of_values(labels)
        assert reading == LABELS and found.sum() == 6 + 8 + 5
    found, reading = masks.of_values(colours[values].max(axis=-1))
    assert reading == LABELS and found.sum() == 19
    # Up to 31 kinds in numbers, however thin; of more, those below half would be a border's grey.
    rows = np.repeat(np.arange(0, 32, dtype=np.uint8)[:, None], 3, axis=0) * np.ones((1, 6), np.uint8)
    rows[::3] = 0
    assert masks.of_values(rows)[0].sum() == 31 * 2 * 6
    assert masks.of_values(np.minimum(rows + rows // 31, 32))[1] == GREY


@pytest.mark.parametrize("numbers", [(1, 2, 3, 255), (1, 128, 255), (1, 2, 3, 4, 40), (1, 7, 700)])
def test_numbers_of_any_size_count_where_they_fill_areas(numbers):
    """Numbers of single defects, or 255 for what nobody was sure of, beside numbers of kinds."""
    values = np.zeros((10 * len(numbers), 20), np.uint16)
    for i, number in enumerate(numbers):
        values[10 * i : 10 * i + 6, 3:9] = number
    found, reading = masks.of_values(values)
    assert reading == LABELS and found.sum() == 36 * len(numbers)


def test_without_black_grey_counts_from_half_on():
    found, reading = masks.of_values(np.array([[10, 10, 245], [10, 130, 245]], np.uint8))
    assert found.tolist() == [[False, False, True], [False, True, True]] and reading == GREY


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_values_that_are_no_masks(tmp_path, value):
    values = np.zeros((4, 5), np.float32)
    values[1, 1] = value
    with pytest.raises(ImageError, match="bad.tif: values from .*; a mask's are 0 or more"):
        masks.read(saved(tmp_path, values, "bad.tif"))
    with pytest.raises(ImageError, match="no such file"):
        images.read_values(tmp_path / "none.png")


def test_reduced_a_pixel_is_abnormal_if_any_under_it_is():
    mask = np.zeros((6, 10), bool)
    mask[0, 0] = mask[5, 6] = True
    found = masks.resized(mask, 2, 5)
    assert np.argwhere(found).tolist() == [[0, 0], [1, 3]]
    # 10 pixels under 4: cells of 2.5, so the middle of pixel 6, at 6.5, lies in the third.
    assert np.argwhere(masks.resized(mask, 6, 4)).tolist() == [[0, 0], [5, 2]]
    large = np.zeros((3000, 2000), bool)
    large[1234, 777] = True
    assert np.argwhere(masks.resized(large, 3, 4)).tolist() == [[1, 1]]
    assert masks.resized(mask, 6, 10) is mask


def test_enlarged_a_pixel_becomes_a_rectangle():
    mask = np.array([[False, True, False], [False, False, False]])
    expected = np.zeros((4, 9), bool)
    expected[:2, 3:6] = True
    np.testing.assert_array_equal(masks.resized(mask, 4, 9), expected)


def test_what_was_read_is_counted(tmp_path):
    values = {
        "plain": RECTANGLE,
        "empty": RECTANGLE * 0,
        "labels": RECTANGLE + (np.arange(12) < 3) * RECTANGLE,
    }
    assert masks.of_values(values["labels"])[1] == PLAIN  # 1 is half of 2
    values["labels"] = values["labels"] + (RECTANGLE * (np.arange(12) < 2)).astype(np.uint8)
    for name, array in values.items():
        saved(tmp_path, array, f"{name}.png")
    examples = [Example(f"{name}.png", "test", "abnormal", f"{name}.png") for name in values]
    dataset = file_dataset("files", str(tmp_path), examples, 1)
    assert dataset.notes.lines() == []
    assert [int(dataset.read_mask(example).sum()) for example in examples] == [12, 0, 12]
    read_all(dataset, examples)
    # The images are these files, too, and are told of as such.
    assert [line for line in dataset.notes.lines() if " masks are " in line] == [
        "1 masks are black all over, such as empty.png: they show no defect; look whether their images have "
        "one",
        "1 masks are of several values, taken as kinds of defects, such as labels.png: all but black counts "
        "as abnormal",
    ]
