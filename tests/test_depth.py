"""Depth of image files: which values are white, found in training, kept with run and bundle."""

import io

import numpy as np
import png
import pytest
import tifffile
from PIL import Image

from semi_anogan.config import default_config
from semi_anogan.data import images
from semi_anogan.data.image_files import ImageError
from semi_anogan.data.images import Reader, Scale, read_image
from semi_anogan.errors import DataError
from semi_anogan.export.runtime import frames
from semi_anogan.runs import build

RAMP = np.linspace(0, 1, 48).reshape(6, 8)  # of white


def ramp(white):
    """uint16 [6, 8] from 0 to white."""
    return np.rint(RAMP * white).astype(np.uint16)


def write_png(path, values):
    """A PNG of 16 bits, of values [H, W] or [H, W, C]."""
    values = values if values.ndim == 3 else values[..., None]
    height, width, channels = values.shape
    writer = png.Writer(width, height, greyscale=channels < 3, alpha=channels in (2, 4), bitdepth=16)
    with open(path, "wb") as file:
        writer.write(file, values.reshape(height, -1))


def pnm(values, most):
    """The bytes of a binary PGM or PPM of 16 bits."""
    magic = "P5" if values.ndim == 2 else "P6"
    header = f"{magic}\n# a comment\n{values.shape[1]} {values.shape[0]}\n{most}\n".encode()
    return header + values.astype(">u2").tobytes()


def folder_of(tmp_path, write, arrays):
    """config of a folder whose training images are the arrays."""
    for i, values in enumerate(arrays):
        (tmp_path / "train/good").mkdir(parents=True, exist_ok=True)
        write(tmp_path / f"train/good/{i}.png", values)
    config = default_config()
    config.data.name, config.data.root = "folder", str(tmp_path)
    return config


@pytest.mark.parametrize(
    "highest, white",
    [
        (200, 255),
        (255, 255),
        (256, 1023),
        (1023, 1023),
        (4000, 4095),
        (4096, 16383),
        (16384, 65535),
        (65535, 65535),
    ],
)
def test_white_is_the_smallest_usual_depth_that_holds_all(tmp_path, highest, white):
    config = folder_of(tmp_path, write_png, [ramp(highest // 2)] * 5 + [ramp(highest)])
    dataset, _, _ = build.load_data(config)
    assert (config.data.white, config.data.black) == (white, 0)
    image = dataset.read_image(dataset.examples[-1])
    np.testing.assert_allclose(image[..., 0], ramp(highest) / white * 2 - 1, atol=1e-6)
    assert dataset.notes.lines()[0] == (
        f"6 of 6 training images have more than 8 bits, values up to {highest}: white is {white} (data.white)"
    )


def test_images_that_one_bright_pixel_of_another_makes_dark_are_told(tmp_path):
    hot = ramp(4000)
    hot[0, 0] = 65535
    config = folder_of(tmp_path, write_png, [ramp(3900), ramp(4000), hot] * 2)
    dataset, _, _ = build.load_data(config)
    assert config.data.white == 65535
    assert dataset.notes.lines()[:2] == [
        "6 of 6 training images have more than 8 bits, values up to 65535: white is 65535 (data.white)",
        "4 of these stay at 4000 or below: nearly black beside the others; where these are wrong in a few "
        "pixels, --config.data.white=4095 is meant",
    ]


def test_8_bit_files_stay_as_they_are(tmp_path):
    values = np.arange(48, dtype=np.uint8).reshape(6, 8)  # dark, and yet 255 is white
    config = folder_of(tmp_path, lambda path, v: Image.fromarray(v).save(path), [values] * 6)
    dataset, _, _ = build.load_data(config)
    assert config.data.white == 255 and not any("white" in line for line in dataset.notes.lines())
    np.testing.assert_array_equal(
        dataset.read_image(dataset.examples[0])[..., 0], values / np.float32(127.5) - np.float32(1)
    )


def test_given_white_and_black_are_used_as_they_are(tmp_path):
    config = folder_of(tmp_path, write_png, [ramp(3000)] * 6)
    config.data.white, config.data.black = 2000, 100
    dataset, _, _ = build.load_data(config)
    assert config.data.white == 2000
    expected = np.clip((ramp(3000) - 100.0) / 1900 * 2 - 1, -1, 1)
    np.testing.assert_allclose(dataset.read_image(dataset.examples[0])[..., 0], expected, atol=1e-6)
    config.data.black = 2000
    with pytest.raises(DataError, match="data.black: 2000.0 is not below data.white 2000.0"):
        build.load_data(config)
    for white, black, words in (
        (None, 4095, "data.black: 4095 is not below data.white, which is 4095"),  # as it is found
        (float("inf"), 0, "data.black: 0 is not below data.white, which is inf"),
    ):
        config.data.white, config.data.black = white, black
        with pytest.raises(DataError, match=words):
            build.load_data(config)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_of_16_bits_is_read_in_full(tmp_path, channels):
    values = np.random.default_rng(0).integers(0, 4096, (6, 8, channels)).astype(np.uint16)
    if channels in (2, 4):
        values[..., -1] = 65535  # opaque
    write_png(tmp_path / "a.png", values)
    colours = values[..., :1] if channels < 3 else values[..., :3]
    expected = np.broadcast_to(colours / 4095 * 2 - 1, (6, 8, 3))
    np.testing.assert_allclose(read_image(tmp_path / "a.png", 3, scale=Scale(4095)), expected, atol=1e-6)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_tiff_of_16_bits_a_colour_is_read_in_full(tmp_path, compression, planar):
    values = np.random.default_rng(0).integers(0, 4096, (6, 8, 3)).astype(np.uint16)
    stored = values if planar == "contig" else np.moveaxis(values, -1, 0)
    options = {"photometric": "rgb", "compression": compression, "planarconfig": planar}
    tifffile.imwrite(tmp_path / "a.tif", stored, **options)
    image = read_image(tmp_path / "a.tif", 3, scale=Scale(4095))
    np.testing.assert_allclose(image, values / 4095 * 2 - 1, atol=1e-6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_16_bits_a_colour_are_turned_as_8_bits_are(tmp_path, orientation):
    values = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(values).save(tmp_path / "8.png", exif=exif)
    with open(tmp_path / "8.png", "rb") as file:
        chunks = [chunk for chunk in png.Reader(file=file).chunks() if chunk[0] == b"eXIf"]
    write_png(tmp_path / "plain.png", values.astype(np.uint16) * 257)
    with open(tmp_path / "plain.png", "rb") as file:
        parts = list(png.Reader(file=file).chunks())
    with open(tmp_path / "16.png", "wb") as file:
        png.write_chunks(file, parts[:1] + chunks + parts[1:])
    np.testing.assert_allclose(
        read_image(tmp_path / "16.png", 3), read_image(tmp_path / "8.png", 3), atol=1e-6
    )
    assert images.image_size(tmp_path / "16.png") == read_image(tmp_path / "16.png", 3).shape[:2]


@pytest.mark.parametrize(
    "most, scale", [(4095, Scale()), (4095, Scale(4095)), (65535, Scale(4095)), (4095, Scale(65535))]
)
@pytest.mark.parametrize("colours", [False, True])
def test_file_and_camera_agree(tmp_path, most, scale, colours):
    values = ramp(4095)
    values = np.stack([values, values[::-1], values // 2], -1) if colours else values
    (tmp_path / "a.pgm").write_bytes(pnm(values, most))
    (frame,) = frames.of_stream(io.BytesIO(pnm(values, most)))
    image = read_image(tmp_path / "a.pgm", 3, scale=scale)
    np.testing.assert_array_equal(frame.image(3, Reader(scale)), image)
    expected = values if colours else np.repeat(values[..., None], 3, -1)
    np.testing.assert_allclose(image, expected / 4095 * 2 - 1, atol=1e-6)


def test_pnm_as_text(tmp_path):
    text = "P2 # grey\n8 6\n4095\n" + " ".join(str(v) for v in ramp(4095).ravel())
    (tmp_path / "a.pgm").write_text(text)
    image = read_image(tmp_path / "a.pgm", 1, scale=Scale(4095))
    np.testing.assert_allclose(image[..., 0], ramp(4095) / 4095 * 2 - 1, atol=1e-6)


def test_a_dark_pgm_has_the_white_of_its_header(tmp_path):
    config = folder_of(tmp_path, lambda path, v: path.write_bytes(pnm(v, 4095)), [ramp(700)] * 6)
    build.load_data(config)
    assert config.data.white == 4095


def test_float_images_by_the_given_range(tmp_path):
    values = (RAMP * 1200).astype(np.float32)
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match=r"float values must lie in \[0, 1\], or data.white"):
        read_image(tmp_path / "a.tif", 1)
    image = read_image(tmp_path / "a.tif", 1, scale=Scale(1200, 200))
    np.testing.assert_allclose(image[..., 0], np.clip((values - 200) / 500 - 1, -1, 1), atol=1e-5)
    Image.fromarray(values / 1200 * 2 - 1).save(tmp_path / "b.tif")  # from -1 to 1
    image = read_image(tmp_path / "b.tif", 1, scale=Scale(1, -1))
    np.testing.assert_allclose(image[..., 0], RAMP * 2 - 1, atol=1e-5)


def test_values_above_white_are_clipped_and_counted(tmp_path):
    for i, highest in enumerate((4095, 5000, 9000)):
        write_png(tmp_path / f"{i}.png", ramp(highest))
    reader = Reader(Scale(4095, 0))
    found = [reader(tmp_path / f"{i}.png", 1).max() for i in range(3)]
    assert found == [1, 1, 1]
    (line,) = reader.notes.lines()
    assert line.startswith("2 images have values above white (4095) or below black (0), such as ")
    assert "1.png: clipped" in line


def test_files_of_another_depth_than_the_runs(tmp_path):
    """Deep files in a run of 8 bits, 8 bits in one of 12, float in both: each at its own full scale."""
    write_png(tmp_path / "deep.png", ramp(65535))
    Image.fromarray((RAMP * 255).round().astype(np.uint8)).save(tmp_path / "8.png")
    Image.fromarray(RAMP.astype(np.float32)).save(tmp_path / "float.tif")
    for name, white in (
        ("deep.png", 255),
        ("8.png", 4095),
        ("float.tif", 255),
        ("float.tif", 4095),
        ("8.png", 1),
    ):
        reader = Reader(Scale(white, 0))
        np.testing.assert_allclose(reader(tmp_path / name, 1)[..., 0], RAMP * 2 - 1, atol=5e-3)
        assert "of another depth than white" in reader.notes.lines()[0]


@pytest.mark.parametrize(
    "white, highest, dark", [(65535, 4095, True), (65535, 16383, False), (4095, 255, True), (255, 255, False)]
)
def test_new_images_of_fewer_bits_are_told(tmp_path, white, highest, dark):
    """12 bits in a run of 16 are nearly black; what a PGM file says is white is white."""
    write_png(tmp_path / "new.png", ramp(highest))
    (tmp_path / "new.pgm").write_bytes(pnm(ramp(max(highest, 256)), max(highest, 256)))
    reader = Reader(Scale(white, 0))
    for name in ("new.png", "new.pgm"):
        reader(tmp_path / name, 1)
    told = [line for line in reader.notes.lines() if "nearly black" in line]
    assert [line.startswith("1 images of more than 8 bits stay below 1/8 of white") for line in told] == (
        [True] if dark else []
    )


def test_a_run_of_before_is_read_as_it_was(tmp_path):
    config = folder_of(tmp_path, write_png, [ramp(4095)] * 6)
    config.data.white, config.data.black = 65535, 0
    dataset, _, _ = build.load_data(config)
    image = dataset.read_image(dataset.examples[0])
    np.testing.assert_allclose(image[..., 0], ramp(4095) / 32767.5 - 1, atol=1e-6)


def test_white_of_16_bits_fits_all_depths(tmp_path):
    Image.fromarray((RAMP * 255).round().astype(np.uint8)).save(tmp_path / "8.png")
    Image.fromarray(RAMP.astype(np.float32)).save(tmp_path / "float.tif")
    reader = Reader(Scale(65535, 0))
    for name in ("8.png", "float.tif"):
        np.testing.assert_allclose(reader(tmp_path / name, 1)[..., 0], RAMP * 2 - 1, atol=5e-3)
    assert reader.notes.lines() == []
