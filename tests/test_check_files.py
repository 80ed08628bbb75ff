"""What is unusual in the files of a job is told once, with counts."""

import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image

from semi_anogan.data import record
from semi_anogan.data.catalog import load
from semi_anogan.data.check_files import read_all
from semi_anogan.data.splits import Splits
from semi_anogan.errors import DataError


def write(path, seed=0, size=(16, 12), mode="L"):
    """Noise of a size (width, height), as a file; the same seed is the same file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    image = Image.fromarray(pixels)
    (image.quantize(16) if mode == "P" else image.convert(mode)).save(path)
    return path


@pytest.fixture
def parts(tmp_path):
    """Three normal training images, and a test image of both labels, all different."""
    names = ("train/good/0", "train/good/1", "train/good/2", "test/good/0", "test/cut/0")
    for seed, name in enumerate(names):
        write(tmp_path / f"{name}.png", seed)
    return tmp_path


def told(parts, resolution=0):
    dataset = load("folder", 1, root=parts)
    read_all(dataset, dataset.examples, resolution=resolution)
    return dataset.notes.lines()


def test_nothing_unusual_is_nothing_told(parts):
    assert told(parts) == []


@pytest.mark.parametrize(
    "name, mode, words",
    [
        ("p.png", "P", "1 images have a palette, such as train/good/p.png: converted"),
        ("c.jpg", "CMYK", "1 images are CMYK or the like, such as train/good/c.jpg: converted"),
        ("a.png", "RGBA", "1 images have transparency, such as train/good/a.png"),
        ("a.png", "LA", "1 images have transparency, such as train/good/a.png"),
    ],
)
def test_converted_images(parts, name, mode, words):
    path = write(parts / f"train/good/{name}", 9, mode=mode)
    if mode.endswith("A"):
        image = Image.open(path)
        image.putpixel((3, 2), (9,) * (len(mode) - 1) + (254,))
        image.save(path)
    assert any(line.startswith(words) for line in told(parts))


def test_turned_images_and_channels_that_are_not_read(parts):
    exif = Image.Exif()
    exif[0x112] = 3  # a half turn: the size says nothing
    Image.open(parts / "train/good/0.png").save(parts / "train/good/turned.jpg", exif=exif)
    infrared = np.zeros((12, 16, 4), np.uint8)
    tifffile.imwrite(parts / "train/good/4.tif", infrared, photometric="rgb", extrasamples=["unspecified"])
    lines = told(parts)
    assert any(line.startswith("1 images are turned or mirrored as their EXIF") for line in lines)
    assert any(line.startswith("1 images have more channels than grey or red") for line in lines)


def test_images_that_are_not_named_as_such(parts):
    content = (parts / "train/good/0.png").read_bytes()
    for name in ("no_suffix", "copy.png.part", "1.png~"):
        (parts / "train/good" / name).write_bytes(content)
    (parts / "train/good/notes.txt").write_text("II, MM and BM are no images")
    (parts / "train/good/empty").touch()
    line, other = told(parts)
    assert other.startswith("2 files that are no images, by their names, are left out, such as ")
    assert line.startswith("3 files are images, but not by their names, and are left out, such as ")


@pytest.mark.parametrize("name", ["a.tif", "a.gif", "a.webp", "a.png"])
def test_frames_after_the_first(parts, name):
    frames = [Image.fromarray(np.full((12, 16), 80 * i, np.uint8)) for i in range(3)]
    frames[0].save(parts / f"train/good/{name}", save_all=True, append_images=frames[1:])
    line = f"1 images have several frames or pages, such as train/good/{name}: the first is used"
    assert any(found.startswith(line) for found in told(parts))


def test_sizes_colours_and_small_images(parts):
    write(parts / "train/good/5.png", 5, size=(20, 12))
    write(parts / "train/good/6.png", 6, mode="RGB")
    first, second, third = told(parts, resolution=24)
    assert first.startswith(
        "images have 2 sizes, from 16 x 12 to 20 x 12 (width x height), 6 of 7 are 16 x 12"
    )
    assert second.startswith("6 of 7 files are grey, such as train/good/0.png, and 1 show colour; where")
    assert third.startswith("7 images are at most half as large as what the model sees (24 pixels)")


def test_grey_files_beside_grey_pixels_of_files_in_colour_are_nothing_to_tell(parts):
    for name in ("test/good/0.png", "test/cut/0.png", "train/good/2.png"):
        Image.open(parts / name).convert("RGB").save(parts / name)
    assert told(parts) == []


def test_forms_that_go_with_the_label_or_the_split(parts):
    for i in (1, 2):
        write(parts / f"test/cut/{i}.png", 5 + i, size=(20, 12))
    for name in ("0", "1", "2"):
        path = parts / f"test/cut/{name}.png"
        Image.open(path).save(path.with_suffix(".bmp"))
        path.unlink()
    (parts / "test/good/0.png").unlink()
    Image.fromarray(np.arange(192, dtype=np.uint16).reshape(12, 16)).save(parts / "test/good/0.tif")
    forms = [line for line in told(parts) if line.startswith(("format", "depth", "size of"))]
    learned, test = "that may be all that is learned", "the test is of other images than were learned from"
    assert forms == [
        f"format of the files: normal mostly PNG (3 of 4), abnormal all BMP (3): {learned}",
        f"format of the files: normal training images all PNG (3), normal test images all TIFF (1): {test}",
        "depth of the files: normal training images all 8 bits (3), normal test images all more than 8 bits "
        f"(1): {test}",
    ]
    (parts / "test/cut/0.bmp").unlink()
    forms = [line for line in told(parts) if line.startswith("size of")]
    assert forms == [f"size of the images: normal all 16 x 12 (4), abnormal all 20 x 12 (2): {learned}"]


def test_signed_values_and_names_that_break_lines(parts):
    tifffile.imwrite(parts / "train/good/3.tif", np.full((12, 16), -1, np.int8))
    with pytest.raises(
        DataError, match="3.tif: signed values of 8 bits, which are not read; save it with 0 as bl"
    ):
        told(parts)
    (parts / "train/good/3.tif").unlink()
    (parts / "train/good/a\n\u2028.txt").touch()
    (line,) = told(parts)
    assert line.endswith(r"/train/good/a\n\u2028.txt")


def test_copies_in_another_format_and_alpha_of_nothing_transparent(parts):
    for name in ("train/good/0", "test/cut/0"):
        Image.open(parts / f"{name}.png").save(parts / f"{name}.bmp")
    Image.open(parts / "train/good/1.png").convert("LA").save(parts / "train/good/1.png")
    (line,) = told(parts)
    assert line.startswith(
        "2 images are there under one name with several suffixes, such as train/good/0.bmp and "
        "train/good/0.png; of copies keep one each"
    )


def test_file_names_that_say_another_label(parts):
    for i, name in enumerate(("good/NG_1", "good/no_defect", "cut/ok-1", "cut/not ok", "cut/okra")):
        write(parts / f"test/{name}.png", 5 + i)
    assert told(parts) == [
        "1 normal images are named as defects, such as test/good/NG_1.png: look whether they are",
        "1 abnormal images are named as good ones, such as test/cut/ok-1.png: look whether they are",
    ]
    for name in ("0", "not ok", "okra"):  # then all are, and it says nothing
        (parts / f"test/cut/{name}.png").unlink()
    assert [line for line in told(parts) if "good ones" in line] == []


def test_equal_files(parts):
    shutil.copy(parts / "train/good/0.png", parts / "test/good/8.png")
    shutil.copy(parts / "train/good/1.png", parts / "test/cut/9.png")
    (parts / "train/cut").mkdir()
    shutil.copy(parts / "train/good/2.png", parts / "train/cut/3.png")
    shutil.copy(parts / "test/good/0.png", parts / "test/cut/7.png")
    first, second, third = told(parts)
    assert first.startswith(
        "2 test images (1 normal, 1 abnormal) are training images too, byte for byte, 1 of them with another "
        "label there, such as test/good/8.png = train/good/0.png"
    )
    assert second.startswith(
        "1 training images are there as normal and as abnormal, byte for byte, such as train/good/2.png = "
        "train/cut/3.png"
    )
    assert third.startswith("1 test images are there as normal and as abnormal, byte for byte")


def test_files_of_one_size_that_differ_are_not_equal(parts):
    ramp = np.indices((12, 16)).sum(0).astype(np.uint8)
    for i in range(2):
        Image.fromarray(ramp + np.uint8(i)).save(parts / f"train/good/b{i}.bmp")
        Image.fromarray(ramp + np.uint8(10 + i)).save(parts / f"test/cut/b{i}.bmp")
    assert told(parts) == []


def test_files_that_are_there_twice(parts):
    for copy in ("8.png", "9.png"):
        shutil.copy(parts / "train/good/0.png", parts / "train/good" / copy)
    shutil.copy(parts / "test/cut/0.png", parts / "test/cut/9.png")
    assert told(parts) == [
        "2 training images are there more than once, byte for byte, such as train/good/8.png = "
        "train/good/0.png; where one of them is held out, the threshold is too low for others",
        "1 test images are there more than once, byte for byte, such as test/cut/9.png = test/cut/0.png",
    ]


def test_images_that_show_nothing_or_may_be_masks(parts):
    Image.new("L", (16, 12), 9).save(parts / "train/good/flat.png")
    Image.fromarray(np.eye(12, 16, dtype=np.uint8) * 255).save(parts / "train/good/two.png")
    assert told(parts) == [
        "1 images have one value all over, such as train/good/flat.png: they show nothing",
        "1 images have two values alone, as masks have, such as train/good/two.png: taken as images; "
        "masks belong into a folder masks",
    ]


def test_masks_beside_images_where_a_folder_has_others(parts):
    for name in ("test/cut/0_GT.png", "ground_truth/cut/0.png"):
        (parts / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.eye(12, 16, dtype=np.uint8)).save(parts / name)
    assert told(parts)[1] == (
        "1 masks beside their images are not used, such as test/cut/0_GT.png: a folder of masks has others"
    )


@pytest.mark.parametrize(
    "name, values, words",
    [
        (
            "0_mask.png",
            np.uint8([[0] * 16] * 12),
            "1 masks are black all over, such as ground_truth/cut/0_mask.png",
        ),
        ("0.png", np.uint8([[255] * 16] * 12), "1 masks are of one value without black"),
        (
            "0.png",
            np.uint8([[0] * 16] * 5 + [[0] * 8 + [255] * 8] + [[255] * 16] * 6),
            "1 masks mark more than 50% of their image, such as ground_truth/cut/0.png",
        ),
        ("0.jpg", np.uint8([[0] * 8 + [255] * 8] * 12), "1 masks are JPEG files, whose values scatter"),
    ],
)
def test_masks_that_look_wrong(parts, name, values, words):
    (parts / "ground_truth/cut").mkdir(parents=True)
    Image.fromarray(values).save(parts / f"ground_truth/cut/{name}")
    assert any(line.startswith(words) for line in told(parts))


def test_the_same_of_a_manifest(parts):
    shutil.copy(parts / "train/good/0.png", parts / "twin.png")
    write(parts / "p.png", 9, mode="P")
    names = {"train/good/0.png": "train", "train/good/1.png": "train", "p.png": "train", "twin.png": "test"}
    rows = "".join(f"{name},{split},normal\n" for name, split in names.items())
    (parts / "list.csv").write_text("path,split,label\n" + rows)
    dataset = load("manifest", 1, path=parts / "list.csv")
    read_all(dataset, dataset.examples)
    lines = dataset.notes.lines()
    assert any(line.startswith("1 images have a palette, such as p.png") for line in lines)
    assert any("such as twin.png = train/good/0.png" in line for line in lines)


def test_masks_that_are_not_read_and_test_images_without_one(parts):
    place = parts / "ground_truth/cut"
    place.mkdir(parents=True)
    (place / "0.xml").write_text("<annotation>")
    assert told(parts) == [
        f"1 files that are no images, by their names, are left out, such as {place}/0.xml",
        "1 folders of masks have none that is read, such as ground_truth/cut: masks are image files, or "
        "polygons of labelme in JSON files of their images' names",
    ]
    (place / "0.xml").unlink()
    Image.fromarray(np.eye(12, 16, dtype=np.uint8)).save(place / "0.png")
    assert told(parts) == []
    write(parts / "test/hole/0.png", 7)
    assert told(parts) == [
        "1 of 2 abnormal test images have no mask, such as test/hole/0.png: figures of pixels and regions "
        "are of the others"
    ]
    place.joinpath("0.png").unlink()


def test_several_masks_of_one_image_are_joined(parts):
    """As MVTec LOCO has them: a folder named as the image."""
    place = parts / "ground_truth/cut/0"
    place.mkdir(parents=True)
    one, two = np.zeros((2, 12, 16), np.uint8)
    one[2, 3], two[5, 6:8] = 255, 200
    Image.fromarray(one).save(place / "000.png")
    Image.fromarray(two).save(place / "001.png")
    assert told(parts) == [
        "1 images have several masks, such as ground_truth/cut/0: what any of them marks is abnormal"
    ]
    dataset = load("folder", 1, root=parts)
    example = next(e for e in dataset.examples if e.path == "test/cut/0.png")
    assert np.argwhere(dataset.read_mask(example)).tolist() == [[2, 3], [5, 6], [5, 7]]
    rows = record.rows_of(dataset, Splits([], [], [], [], [example]))
    Image.fromarray(two[:-1]).save(place / "001.png")
    with pytest.raises(
        DataError, match="001.png: has 16 x 11 pixels, but .*000.png, of the same image, has 16"
    ):
        dataset.read_mask(example)
    assert [how for _, how in record.compare(dataset, rows, "test").changed] == ["its mask"]
