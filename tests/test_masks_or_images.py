"""Masks that have the name of their image, but for the suffix: told by their pixels."""

import numpy as np
import pytest
from PIL import Image

from semi_anogan.data import catalog, masks_or_images
from semi_anogan.data.listing import list_inputs
from semi_anogan.data.notes import Notes
from semi_anogan.data.sources.folder import load
from semi_anogan.errors import DataError

RNG = np.random.default_rng(0)
SQUARE = np.zeros((48, 40), np.uint8)
SQUARE[10:20, 5:17] = 255


def photo(spread=12.0, size=(48, 40)):
    return RNG.normal(120, spread, (*size, 3)).clip(0, 255).astype(np.uint8)


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def pair(folder, stem, mask=SQUARE):
    """STEM.jpg and its mask STEM.png."""
    save(folder / f"{stem}.jpg", photo())
    save(folder / f"{stem}.png", mask)


def enlarged(mask):
    """With grey borders."""
    small = Image.fromarray(mask).resize((20, 24), Image.Resampling.BOX)
    return np.asarray(small.resize((40, 48), Image.Resampling.BICUBIC))


@pytest.mark.parametrize(
    "mask",
    [
        SQUARE,
        SQUARE // 255,
        255 - SQUARE,
        SQUARE * 0,
        SQUARE.astype(np.uint16) * 257,
        SQUARE // 255 * np.uint8(3) + np.roll(SQUARE, 20, 0) // 255,
        enlarged(SQUARE),
        np.stack([SQUARE, SQUARE // 2, SQUARE * 0], axis=-1),
        SQUARE > 0,
    ],
    ids=["white", "ones", "inverted", "empty", "16 bits", "labels", "grey border", "colour", "1 bit"],
)
def test_the_file_that_looks_like_a_mask_is_that_of_the_other(tmp_path, mask):
    pair(tmp_path, "a", mask)
    save(tmp_path / "a.jpg.png", mask)
    save(tmp_path / "b.jpg", photo())
    of_same_name = masks_or_images.of_same_name
    assert of_same_name(["a.jpg", "a.png", "b.jpg"], tmp_path) == ({"a.png": ["a.jpg"]}, [])
    assert of_same_name(["a.jpg.png", "a.jpg"], tmp_path) == ({"a.jpg.png": ["a.jpg"]}, [])


@pytest.mark.parametrize(
    "one, other",
    [
        (photo(), photo()),
        (SQUARE, SQUARE),
        (photo(spread=2), photo(spread=2)),  # of low contrast
        (photo(), SQUARE[:20]),  # of another size
    ],
    ids=["photos", "masks", "plain photos", "sizes"],
)
def test_where_it_is_not_clear_none_is_a_mask(tmp_path, one, other):
    save(tmp_path / "a.bmp", one)
    save(tmp_path / "a.png", other)
    pair = ["a.bmp", "a.png"]
    assert masks_or_images.of_same_name(pair, tmp_path) == ({}, [pair])
    (tmp_path / "a.bmp").write_bytes(b"no image")
    assert masks_or_images.of_same_name(pair, tmp_path) == ({}, [pair])
    notes = Notes()
    assert list_inputs(tmp_path, notes=notes) == [str(tmp_path / name) for name in pair]
    assert notes.lines() == [
        f"1 names are those of several files, such as {tmp_path}/a.bmp and {tmp_path}/a.png: all are taken "
        "as images; a mask is known by its look and the size of its image"
    ]


def test_files_without_a_pair_are_not_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(masks_or_images, "opened", None)
    assert masks_or_images.of_same_name([f"{i}.jpg" for i in range(99)], tmp_path) == ({}, [])


@pytest.mark.parametrize("large", [1, 10**9])
def test_files_up_to_the_limit_of_pixels_are_looked_at(tmp_path, monkeypatch, large):
    """By default 100 million; what is beyond it is told. Large ones are decoded one after the other."""
    monkeypatch.setattr(masks_or_images, "LARGE", large)
    pair(tmp_path / "new", "a")
    assert list_inputs(tmp_path / "new", max_pixels=48 * 40) == [str(tmp_path / "new/a.jpg")]
    notes = Notes()
    assert len(list_inputs(tmp_path / "new", notes=notes, max_pixels=48 * 40 - 1)) == 2
    assert "1 names are those of several files" in notes.lines()[0]
    pair(tmp_path / "parts/train/good", "a", SQUARE * 0)
    for limit, count in ((48 * 40, 1), (48 * 40 - 1, 2)):
        assert len(catalog.load("folder", 1, root=tmp_path / "parts", max_pixels=limit).examples) == count


def test_masks_in_layout_a(tmp_path):
    """Of normal images too; a folder of masks goes before."""
    for i in range(3):
        pair(tmp_path / "train/good", i, SQUARE * 0)
        pair(tmp_path / "train/cut", i)
        pair(tmp_path / "test/cut", i)
    save(tmp_path / "test/good/0.jpg", photo())
    dataset = load(1, tmp_path)
    assert all(e.path.endswith(".jpg") for e in dataset.examples) and len(dataset.examples) == 10
    assert {e.path: e.mask for e in dataset.examples if e.abnormal} == {
        f"{split}/cut/{i}.jpg": f"{split}/cut/{i}.png" for split in ("train", "test") for i in range(3)
    }
    assert dataset.read_mask(dataset.select("test", "abnormal")[0]).sum() == 120
    like = "files have the name of an image beside them, and the look of its mask"
    assert dataset.notes.lines() == [
        f"6 {like}, such as train/cut/0.png: taken as the masks of these",
        f"3 {like}, such as train/good/0.png: left out, as the images are normal",
    ]
    for i in range(3):
        save(tmp_path / f"ground_truth/test/cut/{i}_mask.png", SQUARE)
    dataset = load(1, tmp_path)
    assert dataset.select("test", "abnormal")[1].mask == "ground_truth/test/cut/1_mask.png"
    assert dataset.notes.lines()[2].startswith(
        "3 masks beside their images are not used, such as test/cut/0.png: a folder of masks has others"
    )


WORDS = ["_anno", "_segmentation_mask", "(bw)", "-maske", "_binary_1", "_ラベル", "roi_"]


@pytest.mark.parametrize("word", WORDS)
def test_masks_named_by_another_word(tmp_path, word):
    """Known by their look beside their image, in training, scoring and where files come one by one."""

    def name(stem):
        return f"{word}{stem}.png" if word.endswith("_") else f"{stem}{word}.png"

    for i in range(12):
        save(tmp_path / f"train/good/part {i}.png", photo())
        save(tmp_path / f"test/cut/part {i}.png", photo())
        save(tmp_path / "test/cut" / name(f"part {i}"), SQUARE)
        save(tmp_path / "train/good" / name(f"part {i}"), SQUARE if i == 11 else SQUARE * 0)
    dataset = load(1, tmp_path)
    assert len(dataset.examples) == 24
    assert {e.mask for e in dataset.select("test", "abnormal")} == {
        f"test/cut/{name(f'part {i}')}" for i in range(12)
    }
    notes, own = Notes(), Notes()
    assert len(list_inputs(tmp_path, notes=notes)) == 24
    (line,) = notes.lines()
    assert line.startswith("24 ")
    for file in tmp_path.glob("test/cut/*.png"):
        assert masks_or_images.is_mask(str(file), str(tmp_path), own) == (word in file.name)
    assert [found.split(" such")[0] for found in own.lines()] == [line.split(" such")[0].replace("24", "12")]


def test_black_images_of_another_view_are_no_masks(tmp_path):
    """A camera failed. Those of a word that is known are left out: masks of normal parts are black."""
    for i in range(12):
        save(tmp_path / f"{i}.png", photo())
        top = save(tmp_path / f"{i}_top.png", SQUARE * 0)
    notes = Notes()
    assert len(list_inputs(tmp_path, notes=notes)) == 24
    assert notes.lines()[0].startswith("12 files look like masks and are named after images beside them")
    assert not masks_or_images.is_mask(str(top), str(tmp_path), notes)
    for i in range(12):
        save(tmp_path / f"{i}_mask.png", SQUARE * 0)
    assert len(list_inputs(tmp_path)) == 24


def test_a_word_of_which_some_do_not_look_like_masks(tmp_path):
    """Other views of the parts, one of them a silhouette; and masks of another size: images, and told."""
    for i in range(12):
        for word in ("", "_top", "_01"):
            save(tmp_path / f"{i}{word}.png", photo())
        save(tmp_path / f"{i}_anno.png", SQUARE[:20])
    save(tmp_path / "3_top.png", SQUARE)
    notes = Notes()
    assert len(list_inputs(tmp_path, notes=notes)) == 48
    (line,) = notes.lines()
    assert line.startswith("13 files look like masks and are named after images beside them, such as ")


def test_masks_in_layout_b(tmp_path):
    """As Real-IAD has them, in folders within that of the kind."""
    for i in range(6):
        save(tmp_path / f"OK/S{i}/0.jpg", photo())
        pair(tmp_path / f"NG/AK/S{i}", 0)
    dataset = load(1, tmp_path, test_share=0.5)
    assert len(dataset.examples) == 12
    assert {e.path: e.mask for e in dataset.examples if e.abnormal} == {
        f"NG/AK/S{i}/0.jpg": f"NG/AK/S{i}/0.png" for i in range(6)
    }


def test_masks_of_images_that_lie_directly_say_which_are_abnormal(tmp_path):
    for i in range(4):
        pair(tmp_path / "train", i, SQUARE * (i == 3))
    with pytest.raises(DataError, match="train: 4 images lie directly in it: .*, but for those whose mask"):
        load(1, tmp_path)
    dataset = load(1, tmp_path, good=".")
    assert {e.path: (e.label, e.mask) for e in dataset.examples} == {
        **{f"train/{i}.jpg": ("normal", None) for i in range(3)},
        "train/3.jpg": ("abnormal", "train/3.png"),
    }


def test_masks_are_not_scored(tmp_path):
    for i in range(3):
        pair(tmp_path / "cut", i)
        save(tmp_path / f"good/{i}.png", photo())
        save(tmp_path / f"good/{i}_mask.png", SQUARE * 0)
        save(tmp_path / f"ground_truth/{i}.png", SQUARE)
    save(tmp_path / "good/0_label.png", photo())
    save(tmp_path / "labels/0.png", photo())
    save(tmp_path / "mask_torn/0.png", photo())
    for i in range(2):
        save(tmp_path / f"defect_masks/lot1/{i}.png", SQUARE)
    notes = Notes()
    assert [path[len(str(tmp_path)) + 1 :] for path in list_inputs(tmp_path, notes=notes)] == [
        *(f"cut/{i}.jpg" for i in range(3)),
        *("good/0.png", "good/0_label.png", "good/1.png", "good/2.png", "labels/0.png", "mask_torn/0.png"),
    ]
    masks, label, named, other, pairs = notes.lines()
    assert masks == (f"5 masks in folders of masks are left out, such as {tmp_path}/defect_masks/lot1/0.png")
    assert label == (
        f"1 files in folders named as those of masks, such as {tmp_path}/labels/0.png, do not look like "
        "masks: taken as images"
    )
    assert named == (
        f"3 masks, named as masks of images beside them, are left out, such as {tmp_path}/good/0_mask.png"
    )
    assert other.startswith("1 files are named as masks of images beside them, such as ")
    assert pairs == (
        "3 files have the name of an image beside them, and the look of its mask, such as "
        f"{tmp_path}/cut/0.png: left out"
    )
    # A folder that a person names is scored, whatever its name.
    assert len(list_inputs(tmp_path / "ground_truth")) == 3
    save(tmp_path / "only/masks/0.png", SQUARE)
    with pytest.raises(DataError, match="only: no image files below this folder, but 1 masks, as "):
        list_inputs(tmp_path / "only")
