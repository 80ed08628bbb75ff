"""Reading image files: pixel ranges, odd files, resizing."""

import os
import tracemalloc

import numpy as np
import pytest
import tifffile
from PIL import Image

from helpers import bad_files
from semi_anogan.data import image_arrays, images
from semi_anogan.data.image_files import ImageError
from semi_anogan.data.images import read_image, read_values
from semi_anogan.errors import DataError


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    return bad_files.write_all(tmp_path_factory.mktemp("odd"))


def saved(tmp_path, array, name="image.png"):
    Image.fromarray(np.asarray(array)).save(tmp_path / name)
    return tmp_path / name


def test_odd_files_read_or_fail_as_expected(odd):
    for kind, (path, expected) in odd.items():
        for channels in (1, 3):
            if expected == "error":
                with pytest.raises(ImageError) as error:
                    read_image(path, channels)
                assert str(error.value).startswith(str(path)), kind
            else:
                image = read_image(path, channels)
                size = (16, 12) if kind == "exif_rotated" else (12, 16)
                assert image.shape == (*size, channels) and image.dtype == np.float32, kind
                assert -1 <= image.min() < image.max() <= 1, kind


@pytest.mark.parametrize(
    "kind, reason",
    [
        ("empty", "empty file (0 bytes)"),
        ("truncated", "truncated"),
        ("text", "begins with b'This is not"),
        ("one_pixel", "1 x 1 pixels, smaller than 4 x 4"),
        ("no_pixels", "not a readable"),
        ("huge", "too many pixels"),
    ],
)
def test_errors_say_why(odd, kind, reason):
    for read in (lambda path: read_image(path, 1), read_values):
        with pytest.raises(DataError) as error:
            read(odd[kind][0])
        assert reason in str(error.value)


def test_missing_folder_and_pipe(tmp_path):
    with pytest.raises(ImageError, match="no such file"):
        read_image(tmp_path / "none.png", 1)
    with pytest.raises(ImageError, match="is a folder"):
        read_image(tmp_path, 1)
    os.mkfifo(tmp_path / "pipe.png")  # opening it would wait for ever
    with pytest.raises(ImageError, match="not a regular file"):
        read_image(tmp_path / "pipe.png", 1)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_pixel_limit_is_checked_before_decoding(tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(bad_files.png(12_000, 12_000, b""))  # below Pillow's own limit, above ours
    tracemalloc.start()
    with pytest.raises(ImageError, match=r"12000 x 12000 pixels, more than the limit of 100000000"):
        read_image(path, 1)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    small = saved(tmp_path, np.zeros((10, 10), np.uint8))
    assert read_image(small, 1, max_pixels=100).shape == (10, 10, 1)
    with pytest.raises(ImageError, match="limit of 99 pixels"):
        read_image(small, 1, max_pixels=99)


def test_a_reader_tells_of_images_of_another_shape(tmp_path):
    """20 x 40 pixels seen as 16 x 32 are not stretched; 30 x 20 are, by 3, and 29 x 40 by 1.45."""
    read = images.Reader(resolution=0, shape=(32, 16))
    for name, shape in (("same.png", (40, 20)), ("wide.png", (20, 30)), ("less.png", (40, 29))):
        read(saved(tmp_path, np.indices(shape).sum(0).astype(np.uint8), name), 1)
    assert read.notes.lines() == [
        "1 images are stretched by more than a factor of 1.5 to be 16 x 32 (width x height), as the model "
        f"sees them, such as {tmp_path}/wide.png: they may look unlike those of the training"
    ]


def test_8_bit_values_round_trip_exactly(tmp_path):
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = read_image(saved(tmp_path, values), 1)
    assert image[0, 0, 0] == -1 and image[15, 15, 0] == 1
    assert image[3, 3, 0] == pytest.approx(51 / 127.5 - 1)
    np.testing.assert_array_equal(image_arrays.to_uint8(image)[..., 0], values)
    np.testing.assert_array_equal(image_arrays.from_uint8(values)[..., None], image)


def test_to_uint8_rounds_and_clips():
    values, expected = [-3.0, -1.0, 0.0, 0.998, 1.0, 7.0], [0, 0, 128, 255, 255, 255]
    # 0 is at 127.5, and rounds to even.
    np.testing.assert_array_equal(image_arrays.to_uint8(np.array(values)), expected)


def test_16_bit_uses_the_full_scale(tmp_path, odd):
    values = np.full((5, 6), 300, np.uint16)
    values[0, 0], values[0, 1] = 0, 65535
    image = read_image(saved(tmp_path, values), 1)[..., 0]
    assert image[0, 0] == -1 and image[0, 1] == 1 and image[2, 2] == pytest.approx(300 / 32767.5 - 1)
    Image.fromarray(values.astype(np.int32)).save(tmp_path / "int.tif")  # mode I
    np.testing.assert_array_equal(read_image(tmp_path / "int.tif", 3)[..., 2], image)
    with pytest.raises(ImageError, match="from 0 to 70000"):
        read_image(saved(tmp_path, np.array([[0, 70000]] * 4).repeat(4, 1).astype(np.int32), "wide.tif"), 1)
    expected = read_image(odd["good"][0], 3)[..., 0]  # its red channel is the same ramp at 8 bits
    np.testing.assert_allclose(read_image(odd["16_bit"][0], 1)[..., 0], expected, atol=1e-6)


def test_white_as_0_is_white_at_any_depth(tmp_path):
    for values, top in (
        (np.arange(48, dtype=np.uint8) * 5, 255),
        (np.arange(48, dtype=np.uint16) * 9, 65535),
    ):
        path, values = tmp_path / f"{top}.tif", values.reshape(6, 8)
        upright = [(274, 3, 1, 6, True)]  # on its side
        tifffile.imwrite(path, top - values, photometric="miniswhite", extratags=upright)
        found = np.rot90(read_image(path, 1)[..., 0])
        np.testing.assert_allclose(found, values / top * 2 - 1, atol=1e-5)
        np.testing.assert_array_equal(np.rot90(read_values(path)), values)
    tifffile.imwrite(path, np.zeros((6, 8), np.float32), photometric="miniswhite")
    with pytest.raises(ImageError, match="0 is white in it"):
        read_image(path, 1)


def test_kinds_of_tiff_that_are_not_read_and_channels_that_are_left_out(tmp_path):
    path = tmp_path / "a.tif"
    for values, how in ((np.zeros((6, 8)), {}), (np.zeros((6, 8, 5), np.uint16), {"planarconfig": "contig"})):
        tifffile.imwrite(path, values, photometric="minisblack", **how)
        with pytest.raises(ImageError, match="a.tif: a TIFF file of a kind that is not read; save it"):
            read_image(path, 1)
    values = np.full((6, 8, 4), 3000, np.uint16)
    values[..., 3] = 0  # infrared, and not transparency
    tifffile.imwrite(path, values, photometric="rgb", extrasamples=["unspecified"])
    assert read_image(path, 1) == pytest.approx(3000 / 32767.5 - 1)


def test_float_tiff_must_lie_in_0_to_1(tmp_path):
    values = np.linspace(0, 1, 20, dtype=np.float32).reshape(4, 5)
    image = read_image(saved(tmp_path, values, "a.tif"), 1)
    np.testing.assert_allclose(image[..., 0], values * 2 - 1, atol=1e-6)
    with pytest.raises(ImageError, match=r"0.0 to 255.0; float values must lie in \[0, 1\]"):
        read_image(saved(tmp_path, values * 255, "b.tif"), 1)
    values[1, 1] = np.nan
    with pytest.raises(ImageError, match="nan"):
        read_image(saved(tmp_path, values, "c.tif"), 1)


def test_alpha_is_composited_over_black(tmp_path):
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[..., 0], pixels[..., 3] = 200, 255
    pixels[0, 0, 3], pixels[0, 1, 3] = 0, 51
    image = read_image(saved(tmp_path, pixels), 3)
    np.testing.assert_allclose(image[0, 0], [-1, -1, -1], atol=1e-6)
    np.testing.assert_allclose(image[0, 1], [40 / 127.5 - 1, -1, -1], atol=1e-6)  # 200 * 51 / 255 = 40
    np.testing.assert_allclose(image[1, 1], [200 / 127.5 - 1, -1, -1], atol=1e-6)
    grey = Image.new("P", (5, 5), 1)
    grey.putpalette([255, 255, 255, 255, 0, 0])
    grey.putpixel((0, 0), 0)
    grey.save(tmp_path / "palette.png", transparency=0)
    image = read_image(tmp_path / "palette.png", 3)
    np.testing.assert_allclose(image[0, :2], [[-1, -1, -1], [1, -1, -1]], atol=1e-6)


def test_cmyk_palette_and_first_frame(odd):
    good = read_image(odd["good"][0], 3)
    assert np.abs(read_image(odd["cmyk"][0], 3) - good).mean() < 0.1  # JPEG is lossy
    assert np.abs(read_image(odd["palette"][0], 3) - good).mean() < 0.1
    frame = read_image(odd["animated"][0], 1)
    assert frame[0, 0, 0] < -0.9 and frame[0, 15, 0] > 0.9  # the second frame is the other way round


def test_exif_orientation_is_applied(odd, tmp_path):
    path = odd["exif_rotated"][0]  # the ramp's black left edge becomes the top one
    image = read_image(path, 1)
    assert image[0].max() < -0.9 and image[-1].min() > 0.9
    assert images.image_size(path) == (16, 12) and images.image_size(odd["good"][0]) == (12, 16)
    exif = Image.Exif()
    exif[0x0112] = 6
    values = np.arange(12 * 16, dtype=np.uint8).reshape(12, 16)
    for name, array in (
        ("turned.png", values),
        ("turned.tif", values),
        ("deep.tif", values.astype(np.uint16) * 257),
    ):
        Image.fromarray(array).save(tmp_path / name, exif=exif)
        image = read_image(tmp_path / name, 1)
        assert images.image_size(tmp_path / name) == image.shape[:2] == (16, 12), name
        np.testing.assert_array_equal(
            image_arrays.to_uint8(image)[..., 0], np.rot90(values, -1), err_msg=name
        )


def test_colour_is_told_from_grey_in_three_channels():
    grey = np.repeat(np.linspace(-1, 1, 64).reshape(8, 8, 1), 3, axis=-1)
    noisy = grey + 0.01 * np.array([0.0, 1.0, -1.0])  # as JPEG leaves it: 0.02 of the range 2, 1 %
    coloured = grey + 0.03 * np.array([0.0, 1.0, -1.0])
    assert (
        not image_arrays.in_colour(grey)
        and not image_arrays.in_colour(noisy)
        and image_arrays.in_colour(coloured)
    )


def test_to_channels_uses_601_luma():
    rgb = np.array([[[1, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, 1]]], np.float32)
    np.testing.assert_allclose(
        image_arrays.to_channels(rgb, 1)[0, :, 0], [2 * 0.299 - 1, 2 * 0.587 - 1, 2 * 0.114 - 1, 1], atol=1e-6
    )
    grey = np.array([[[0.25], [-0.5]]], np.float32)
    np.testing.assert_array_equal(image_arrays.to_channels(grey, 3), [[[0.25] * 3, [-0.5] * 3]])
    with pytest.raises(ValueError, match=r"\(2, 2, 4\)"):
        image_arrays.to_channels(np.zeros((2, 2, 4)), 3)


def test_resize_by_a_whole_factor_is_the_block_mean():
    image = np.arange(2 * 4 * 5, dtype=np.float32).reshape(4, 2, 5)
    expected = image.reshape(2, 2, 1, 2, 5).mean(axis=(1, 3))
    np.testing.assert_allclose(image_arrays.resize(image, 2, 1), expected, atol=1e-6)
    assert image_arrays.resize(image, 2, 1).dtype == np.float32


def test_resize_enlarges_bilinearly_at_half_pixel_centres():
    image = np.array([[0.0, 1.0]], np.float32)
    expected = [0, 0.25, 0.75, 1]
    np.testing.assert_allclose(image_arrays.resize(image[..., None], 1, 4)[0, :, 0], expected, atol=1e-6)
    np.testing.assert_allclose(image_arrays.resize_map(image, 3, 4), [expected] * 3, atol=1e-6)
    # One axis up, the other down.
    both = image_arrays.resize(np.array([[0.0, 1.0]] * 4, np.float32)[..., None], 2, 4)
    np.testing.assert_allclose(both[..., 0], [expected] * 2, atol=1e-6)


def test_resize_reduces_with_antialiasing_and_keeps_the_range():
    stripes = np.tile(np.array([-1.0, 1.0], np.float32), 50)[None, :, None].repeat(100, 0)
    # Sampling without a filter would give -1 and 1.
    assert np.abs(image_arrays.resize(stripes, 30, 30)).max() < 0.25
    np.testing.assert_allclose(image_arrays.resize(np.ones((7, 9, 1), np.float32), 4, 20), 1.0, atol=1e-6)


def test_resize_to_the_same_size_changes_nothing():
    image = np.random.default_rng(0).uniform(-1, 1, (5, 7, 3)).astype(np.float32)
    np.testing.assert_array_equal(image_arrays.resize(image, 5, 7), image)
    np.testing.assert_array_equal(image_arrays.resize_map(image[..., 0], 5, 7), image[..., 0])
