"""CSV manifests, folder layouts and the inputs of the score command."""

import json
import os
import re

import numpy as np
import pytest
from PIL import Image

from semi_anogan import train
from semi_anogan.config import default_config
from semi_anogan.data import catalog, ignore_files
from semi_anogan.data.dataset import Example
from semi_anogan.data.listing import list_inputs
from semi_anogan.data.notes import Notes
from semi_anogan.data.sources.folder import load as load_folder
from semi_anogan.data.sources.manifest import load as load_manifest
from semi_anogan.data.splits import Splits
from semi_anogan.errors import DataError


def write_image(path, value=0, size=(6, 5)):
    """A grey image of size (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)


@pytest.fixture
def folder(tmp_path):
    for i in range(4):
        write_image(tmp_path / f"img/{i}.png", 51 * i)
    mask = Image.new("L", (6, 5), 0)
    mask.putpixel((4, 1), 255)
    mask.save(tmp_path / "img/mask.png")
    return tmp_path


def manifest(folder, text, name="list.csv", encoding="utf-8"):
    (folder / name).write_bytes(text.encode(encoding))
    return folder / name


GOOD = """path,split,label,mask
img/0.png,train,normal,
img/1.png,train,abnormal,
img/2.png,test,normal,
img/3.png,test,abnormal,img/mask.png
"""


def test_manifest_is_read(folder):
    dataset = load_manifest(1, manifest(folder, GOOD))
    assert dataset.examples == (
        Example("img/0.png", "train", "normal"),
        Example("img/1.png", "train", "abnormal"),
        Example("img/2.png", "test", "normal"),
        Example("img/3.png", "test", "abnormal", "img/mask.png"),
    )
    image = dataset.read_image(dataset.examples[3])
    np.testing.assert_allclose(image, np.full((5, 6, 1), 153 / 127.5 - 1), atol=1e-6)
    assert np.argwhere(dataset.read_mask(dataset.examples[3])).tolist() == [[1, 4]]
    assert dataset.read_mask(dataset.examples[2]) is None
    assert load_manifest(3, folder / "list.csv").read_image(dataset.examples[0]).shape == (5, 6, 3)


def test_manifest_of_a_spreadsheet(folder):
    """Byte order mark, CRLF, quotes, spaces, blank rows, further columns, another order, no mask column."""
    text = (
        'note,label, split ,path\r\n"a, ""b""\nc",normal,train, img/0.png \r\n,,,\r\n\r\n'
        ",abnormal,test,img/1.png\r\n"
    )
    dataset = load_manifest(1, manifest(folder, text, encoding="utf-8-sig"))
    assert dataset.examples == (
        Example("img/0.png", "train", "normal"),
        Example("img/1.png", "test", "abnormal"),
    )
    assert dataset.notes.lines() == [
        f"{folder}/list.csv: columns that are not used: note (used: path, split, label, mask, kind, ignore)"
    ]


@pytest.mark.parametrize("by", [";", "\t"])
def test_what_separates_values_is_found_and_told(folder, by):
    text = '\n"path",label,split,kind\nimg/0.png,normal,train,\nimg/1.png,bad,test,"a,b"\n'.replace(",", by)
    dataset = load_manifest(1, manifest(folder, text))
    assert [(e.path, e.label, e.kind) for e in dataset.examples] == [
        ("img/0.png", "normal", None),
        ("img/1.png", "abnormal", "a,b".replace(",", by)),
    ]
    assert dataset.notes.lines()[0] == f"{folder}/list.csv: values are separated by {by!r}, and not by ','"
    with pytest.raises(DataError, match="not UTF-8 text; save it as CSV UTF-8"):
        load_manifest(1, manifest(folder, text, encoding="utf-16"))


def test_masks_of_a_manifest_may_be_several_or_shared(folder):
    """A folder is several masks of an image; one file for two images is told."""
    (folder / "both").mkdir()
    for x in (1, 3):
        values = np.zeros((5, 6), np.uint8)
        values[2, x] = 255
        Image.fromarray(values).save(folder / f"both/{x}.png")
    text = "path,split,label,mask\nimg/0.png,train,normal,\n"
    masks = {1: "both", 2: "img/mask.png", 3: "./img/mask.png"}
    text += "".join(f"img/{i}.png,test,abnormal,{mask}\n" for i, mask in masks.items())
    dataset = load_manifest(1, manifest(folder, text))
    assert np.argwhere(dataset.read_mask(dataset.examples[1])).tolist() == [[2, 1], [2, 3]]
    assert dataset.notes.lines() == ["2 images share their mask with others, such as img/2.png: img/mask.png"]


def test_a_file_of_coco_has_the_masks_of_many_images(folder):
    images = [{"id": i, "file_name": f"{i}.png", "height": 5, "width": 6} for i in range(4)]
    boxes = [{"image_id": i, "bbox": [i, 0, 1, 2]} for i in (2, 3)]
    (folder / "coco.json").write_text(json.dumps({"images": images, "annotations": boxes}))
    text = "path,split,label,mask\nimg/0.png,train,normal,\n"
    text += "".join(f"img/{i}.png,test,abnormal,coco.json\n" for i in (2, 3))
    dataset = load_manifest(1, manifest(folder, text))
    for example, x in zip(dataset.select("test"), (2, 3), strict=True):
        assert np.argwhere(dataset.read_mask(example)).tolist() == [[0, x], [1, x]]
    assert dataset.notes.lines() == []


def test_names_of_columns_count_without_case_and_others_are_told(folder):
    text = "Path,Split,LABEL,Mask,masks\nimg/0.png,train,normal,,\nimg/1.png,test,abnormal,img/mask.png,x\n"
    dataset = load_manifest(1, manifest(folder, text))
    assert dataset.examples[1].mask == "img/mask.png"
    assert "columns that are not used: masks (used: path" in dataset.notes.lines()[0]
    notes = Notes()
    list_inputs(str(manifest(folder, "path,ignored\nimg/0.png,mask.png\n")), notes=notes)
    assert "columns that are not used: ignored (used: path" in notes.lines()[0]
    with pytest.raises(DataError, match="row 1: the column mask is there twice"):
        load_manifest(1, manifest(folder, text.replace("masks", "mask")))


@pytest.mark.parametrize("name", ["image", "Image_Path", "file name", "filename"])
def test_the_column_of_images_has_the_names_of_others_too(folder, name):
    """As lists of VisA have it: object,split,label,image,mask."""
    text = (
        f"object,split,label,{name},mask\nx,train,normal,img/0.png,\nx,test,anomaly,img/1.png,img/mask.png\n"
    )
    dataset = load_manifest(1, manifest(folder, text))
    assert [(e.path, e.label, e.mask) for e in dataset.examples] == [
        ("img/0.png", "normal", None),
        ("img/1.png", "abnormal", "img/mask.png"),
    ]
    lines = dataset.notes.lines()
    assert lines[0].endswith(f": the column {name} is taken as path")
    assert "columns that are not used: object (used: path" in lines[1]
    # Its own name comes first, and of two that could be meant none is.
    both = manifest(folder, f"path,split,label,{name}\nimg/0.png,train,normal,img/1.png\n")
    dataset = load_manifest(1, both)
    assert dataset.examples[0].path == "img/0.png"
    assert f"columns that are not used: {name} (used: path" in dataset.notes.lines()[0]
    with pytest.raises(DataError, match="row 1: no column path; the columns are"):
        load_manifest(1, manifest(folder, f"file,split,label,{name}\nimg/0.png,train,normal,img/1.png\n"))


def test_what_separates_values_is_known_where_a_column_is_missing(folder):
    wanted = r"row 1: no column split; the columns are \['filename', 'label'\]"
    with pytest.raises(DataError, match=wanted):
        load_manifest(1, manifest(folder, "filename;label\nimg/0.png;normal\n"))


def test_root_and_absolute_paths(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    path = manifest(elsewhere, f"path,split,label\n0.png,train,normal\n{folder}/img/1.png,train,normal\n")
    dataset = load_manifest(1, path, root=folder / "img")
    assert [dataset.read_image(e)[0, 0, 0] for e in dataset.examples] == pytest.approx([-1, 51 / 127.5 - 1])
    with pytest.raises(DataError, match="data.root: 'nowhere' is not a folder"):
        load_manifest(1, path, root="nowhere")


def test_relative_manifest_in_the_current_folder(folder, monkeypatch):
    manifest(folder, GOOD)
    monkeypatch.chdir(folder)
    dataset = load_manifest(1, "list.csv")
    assert dataset.read_image(dataset.examples[0]).shape == (5, 6, 1)


def test_labels_and_splits_as_others_spell_them(folder):
    rows = ["Training,OK", "train,ok", "testing,OK", "test,NG"]
    text = "path,split,label\n" + "".join(f"img/{i}.png,{row}\n" for i, row in enumerate(rows))
    dataset = load_manifest(1, manifest(folder, text))
    assert [(e.split, e.label) for e in dataset.examples] == [
        ("train", "normal"),
        ("train", "normal"),
        ("test", "normal"),
        ("test", "abnormal"),
    ]
    where = folder / "list.csv"
    assert dataset.notes.lines() == [
        f"split 'Training' is read as train: 1 rows, {where}: row 2 first",
        f"label 'OK' is read as normal: 2 rows, {where}: row 2 first",
        f"label 'ok' is read as normal: 1 rows, {where}: row 3 first",
        f"split 'testing' is read as test: 1 rows, {where}: row 4 first",
        f"label 'NG' is read as abnormal: 1 rows, {where}: row 5 first",
    ]


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "row 1: no column path, split, label"),
        (
            "\n\npath|split|label\n",
            "row 3: no column path, split, label; the columns are ['path|split|label'], separated by",
        ),
        ("path,split\nimg/0.png,train\n", "row 1: no column label"),
        ("path,split,label\n", "no rows"),
        (
            "path,split,label\nimg/0.png,train,normal\nimg/1.png,valid,normal\n",
            "row 3: split 'valid' is not one of train",
        ),
        (
            'path,split,label,note\nimg/0.png,train,normal,"two\nlines"\n\nimg/1.png,train,pass,\n',
            "row 5: label 'pass' is not one of normal, abnormal",
        ),
        ("path,split,label\n,train,normal\n", "row 2: the path is empty"),
        ("path,split,label\na\0.png,train,normal\n", "row 2: not text: it holds a zero byte"),
        ("path,split,label\nimg/0.png\n", "row 2: 1 values for 3 columns: ['img/0.png']"),
        ("path,split,label\nimg/0.png,train,good,x\n", "row 2: 4 values for 3 columns: "),
        (
            "path,split,label\nimg/0.png,train,normal\nimg/../img/0.png,test,normal\n",
            "row 3: path 'img/../img/0.png' is already in row 2",
        ),
        (
            "path,split,label,mask\nimg/0.png,train,normal,img/mask.png\n",
            "row 2: mask 'img/mask.png' on a normal image",
        ),
        (
            "path,split,label,kind\nimg/0.png,train,abnormal,OK\n",
            "row 2: kind 'OK' on an abnormal image; name the defect, or label the row normal",
        ),
        (
            "path,split,label,mask\nimg/0.png,train,normal,\nimg/1.png,test,abnormal,img/../img/0.png\n",
            "row 3: mask 'img/../img/0.png' is itself an image, in row 2",
        ),
        ("path,split,label\nimg/0.png,train,abnormal\nimg/1.png,test,normal\n", "no normal training images"),
        ('path,split,label\n"img/0.png,train,normal\n', "row 2: not CSV"),
    ],
)
def test_manifest_errors_name_file_row_and_value(folder, text, words):
    path = manifest(folder, text)
    with pytest.raises(DataError) as error:
        load_manifest(1, path)
    assert str(error.value).startswith(str(path)) and words in str(error.value)


def test_missing_files_are_collected(folder):
    rows = "".join(f"gone{i}.png,train,normal,\n" for i in range(6))
    rows += "img/1.png,test,abnormal,gone-mask.png\n"
    with pytest.raises(DataError) as error:
        load_manifest(1, manifest(folder, "path,split,label,mask\n" + rows))
    lines = str(error.value).splitlines()
    assert "7 files do not exist" in lines[0]
    assert lines[1:] == [f"  row {i + 2}: gone{i}.png" for i in range(5)] + ["  ..."]
    with pytest.raises(DataError, match=r"1 files do not exist .*separated by /(.|\n)*row 2: img\\9.png"):
        load_manifest(1, manifest(folder, "path,split,label\nimg\\9.png,train,normal\n"))


def test_paths_that_windows_wrote_are_found_and_told(folder):
    dataset = load_manifest(1, manifest(folder, GOOD.replace("/", "\\")))
    assert dataset.examples == load_manifest(1, manifest(folder, GOOD)).examples
    assert "5 paths are read with / for \\, such as img/0.png" in dataset.notes.lines()
    notes = Notes()
    listed = list_inputs(manifest(folder, "path\nimg\\0.png\nimg\\9.png\n"), notes=notes)
    assert listed == [str(folder / "img/0.png"), str(folder / "img\\9.png")]
    assert notes.lines() == ["1 paths are read with / for \\, such as img/0.png"]


def test_what_windows_wrote_is_ignored_in_the_same_images(folder):
    text = "path,ignore\nimg/0.png,img/mask.png\n"
    masks = [ignore_files._of_csv(manifest(folder, t)) for t in (text, text.replace("/", "\\"))]
    assert masks == [{str(folder / "img/0.png"): str(folder / "img/mask.png")}] * 2


def test_a_file_with_a_backslash_in_its_name_is_itself(folder):
    write_image(folder / "img\\0.png", value=9)
    dataset = load_manifest(1, manifest(folder, GOOD.replace("img/0", "img\\0")))
    assert dataset.examples[0].path == "img\\0.png"


def test_unreadable_manifests(folder):
    for path, words in (
        (folder / "none.csv", "No such file"),
        (folder, "Is a directory"),
        (manifest(folder, "path,ä\n", encoding="latin-1"), "not UTF-8"),
    ):
        with pytest.raises(DataError, match=words):
            load_manifest(1, path)


def test_mask_must_fit_its_image(folder):
    write_image(folder / "img/3.png", size=(5, 6))
    dataset = load_manifest(1, manifest(folder, GOOD))
    words = "mask.png: the mask has 6 x 5 pixels, but its image .*3.png has 5 x 6"
    with pytest.raises(DataError, match=words):
        dataset.read_mask(dataset.examples[3])


@pytest.mark.parametrize("count, known", [(None, ["1", "3"]), (0, []), (1, ["1"]), (2, ["1", "3"])])
def test_abnormal_count_takes_the_first_rows(folder, count, known):
    path = manifest(
        folder,
        "path,split,label\nimg/1.png,train,abnormal\nimg/0.png,train,normal\n"
        "img/2.png,test,abnormal\nimg/3.png,train,abnormal\n",
    )
    dataset = load_manifest(1, path, abnormal_count=count)
    assert [e.path for e in dataset.select("train", "abnormal")] == [f"img/{name}.png" for name in known]
    assert len(dataset.select("train", "normal")) == len(dataset.select("test")) == 1


@pytest.mark.parametrize("count", [3, -1])
def test_abnormal_count_out_of_range(folder, count):
    path = manifest(folder, GOOD)
    words = f"data.abnormal_count: {count}, but .* has 1 known abnormal training images"
    with pytest.raises(DataError, match=words):
        load_manifest(1, path, abnormal_count=count)


HIDDEN = "path,split,label,mask\n" + "".join(
    f"{name}.png,{split},{label},{mask}\n"
    for name, split, label, mask in [
        *((f"n{i}", "train", "normal", "") for i in range(6)),
        *((f"a{i}", "train", "abnormal", "m.png") for i in range(4)),
        ("t", "test", "abnormal", "m.png"),
    ]
)


@pytest.fixture
def hidden(tmp_path):
    for name in [*(f"n{i}" for i in range(6)), *(f"a{i}" for i in range(4)), "t", "m"]:
        write_image(tmp_path / f"{name}.png")
    return manifest(tmp_path, HIDDEN)


@pytest.mark.parametrize("count, known", [(None, "a0 a1"), (1, "a0"), (0, "")])
def test_contamination_hides_the_last_abnormal_training_images(hidden, count, known):
    """A quarter of 6 + 2 images given as normal; they bring no masks."""
    dataset = load_manifest(1, hidden, abnormal_count=count, contamination=0.25)
    assert [e.path for e in dataset.select("train", "abnormal")] == [f"{n}.png" for n in known.split()]
    normal = dataset.select("train", "normal")
    assert len(normal) == 8
    assert [e.path for e in normal if e.mislabelled] == ["a2.png", "a3.png"]
    assert all(e.mask is None for e in normal)
    assert [e.mask for e in dataset.select("test")] == ["m.png"]


@pytest.mark.parametrize(
    "contamination, count, words",
    [
        (0.5, None, "data.contamination: 0.5 takes 6 of the abnormal training images, but .*list.csv has 4"),
        (0.25, 3, "data.abnormal_count: 3, but .* has 4 .*images, less 2 that data.contamination takes"),
        (1.0, None, r"data.contamination: 1.0 is not in \[0, 1\)"),
        (-0.1, None, r"data.contamination: -0.1 is not in \[0, 1\)"),
    ],
)
def test_contamination_that_cannot_be_met(hidden, contamination, count, words):
    with pytest.raises(DataError, match=words):
        load_manifest(1, hidden, abnormal_count=count, contamination=contamination)


def test_contamination_of_a_folder(mvtec):
    """Half of what is given as normal: beside two normal images, the last two known ones in their turn."""
    dataset = load_folder(1, mvtec, contamination=0.5)
    hidden = [e.path for e in dataset.select("train", "normal") if e.mislabelled]
    assert hidden == ["train/hole/0.png", "train/cut/1.png"]
    assert [e.path for e in dataset.select("train", "abnormal")] == ["train/cut/0.png"]


@pytest.fixture
def mvtec(tmp_path):
    for name in (
        "train/good/10.png",
        "train/good/9.PNG",
        "train/good/.9.png",
        "train/cut/0.png",
        "train/cut/1.png",
        "train/hole/0.png",
        "test/good/0.png",
        "test/cut/0.png",
        "test/cut/1.png",
        "test/hole/a.jpg",
        "ground_truth/cut/0_mask.png",
        "ground_truth/cut/1.png",
    ):
        if "/." not in name:
            write_image(tmp_path / name)
        else:
            (tmp_path / name).write_bytes(b"")
    (tmp_path / "train/good/Thumbs.db").write_bytes(b"x")
    return tmp_path


def test_mvtec_layout(mvtec):
    dataset = load_folder(1, mvtec)
    assert [(e.path, e.label, e.mask) for e in dataset.select("train")] == [
        ("train/good/9.PNG", "normal", None),
        ("train/good/10.png", "normal", None),
        ("train/cut/0.png", "abnormal", None),
        ("train/hole/0.png", "abnormal", None),
        ("train/cut/1.png", "abnormal", None),
    ]
    assert [(e.path, e.label, e.mask) for e in dataset.select("test")] == [
        ("test/good/0.png", "normal", None),
        ("test/cut/0.png", "abnormal", "ground_truth/cut/0_mask.png"),
        ("test/cut/1.png", "abnormal", "ground_truth/cut/1.png"),
        ("test/hole/a.jpg", "abnormal", None),
    ]
    assert dataset.read_mask(dataset.select("test")[1]).shape == (5, 6)
    few = load_folder(1, mvtec, abnormal_count=2).select("train", "abnormal")
    assert [e.path for e in few] == ["train/cut/0.png", "train/hole/0.png"]


def test_mvtec_layout_with_a_mask_missing(mvtec):
    (mvtec / "ground_truth/cut/1.png").unlink()
    found = {"test/cut/0.png": "ground_truth/cut/0_mask.png", "test/cut/1.png": None, "test/hole/a.jpg": None}
    assert masks_by_path(load_folder(1, mvtec), "test") == found
    # Beside a mask of no image it is rather a name that was mistyped.
    write_image(mvtec / "ground_truth/cut/l.png")
    words = (
        "no mask for 1 images, the first is test/cut/1.png; 1 masks there are of no image, such as .*/l.png"
    )
    with pytest.raises(DataError, match=words):
        load_folder(1, mvtec)


def notes_of(dataset):
    """The notes, but for that of the hidden file."""
    hidden, *others = dataset.notes.lines()
    assert hidden.startswith("1 hidden files are left out, such as ") and hidden.endswith("train/good/.9.png")
    return others


def masks_by_path(dataset, split):
    return {e.path: e.mask for e in dataset.select(split, "abnormal")}


def test_masks_of_training_defects(mvtec):
    """hole/0 stands in train alone; cut/0 and cut/1 stand in both, and their masks are the test images'."""
    write_image(mvtec / "ground_truth/hole/0_mask.png", 255)
    (mvtec / "test/hole/a.jpg").unlink()
    dataset = load_folder(1, mvtec)
    assert masks_by_path(dataset, "train") == {
        "train/cut/0.png": None,
        "train/hole/0.png": "ground_truth/hole/0_mask.png",
        "train/cut/1.png": None,
    }
    assert masks_by_path(dataset, "test")["test/cut/0.png"] == "ground_truth/cut/0_mask.png"
    assert dataset.read_mask(dataset.select("train", "abnormal")[1]).sum() == 30
    assert notes_of(dataset) == [
        f"1 folders hold no images, such as {mvtec}/test/hole: not used",
        f"{mvtec}: ground_truth/cut/0_mask.png is taken as the mask of test/cut, not of train/cut/0.png, "
        "which has the same name (2 such masks); those of train/cut belong in ground_truth/train/cut",
    ]


def test_masks_of_a_split_of_their_own(mvtec):
    """ground_truth/train/cut has one mask of the two, and one of no image; ground_truth/cut is the test's."""
    write_image(mvtec / "ground_truth/train/cut/1_mask.png")
    write_image(mvtec / "ground_truth/train/cut/7.png")
    dataset = load_folder(1, mvtec)
    found = {"train/cut/0.png": None, "train/cut/1.png": "ground_truth/train/cut/1_mask.png"}
    assert masks_by_path(dataset, "train") == {**found, "train/hole/0.png": None}
    assert masks_by_path(dataset, "test")["test/cut/1.png"] == "ground_truth/cut/1.png"
    assert notes_of(dataset) == ["1 masks are of no image, such as ground_truth/train/cut/7.png: not used"]
    # Where the test has a folder of its own, what lies above it is the training's.
    (mvtec / "ground_truth/train").rename(mvtec / "ground_truth/test")
    write_image(mvtec / "ground_truth/test/cut/0.png")
    dataset = load_folder(1, mvtec)
    assert masks_by_path(dataset, "train")["train/cut/0.png"] == "ground_truth/cut/0_mask.png"
    assert masks_by_path(dataset, "test")["test/cut/1.png"] == "ground_truth/test/cut/1_mask.png"
    assert notes_of(dataset) == ["1 masks are of no image, such as ground_truth/test/cut/7.png: not used"]
    write_image(mvtec / "ground_truth/train/cut/0.png")
    assert "ground_truth/cut is not used" in notes_of(load_folder(1, mvtec))[0]


def test_masks_that_are_only_of_training_defects(mvtec):
    """They ask for none of the test images, as long as none of these has the same name."""
    (mvtec / "test/cut/0.png").rename(mvtec / "test/cut/8.png")
    (mvtec / "test/cut/1.png").rename(mvtec / "test/cut/9.png")
    dataset = load_folder(1, mvtec)
    assert masks_by_path(dataset, "train")["train/cut/1.png"] == "ground_truth/cut/1.png"
    assert masks_by_path(dataset, "test")["test/cut/8.png"] is None and notes_of(dataset) == []
    (mvtec / "test/cut/9.png").rename(mvtec / "test/cut/1.png")
    assert masks_by_path(load_folder(1, mvtec), "test") == {
        "test/cut/1.png": "ground_truth/cut/1.png",
        "test/cut/8.png": None,
        "test/hole/a.jpg": None,
    }


def test_two_masks_of_one_name(mvtec):
    write_image(mvtec / "ground_truth/cut/0.bmp")
    words = "ground_truth/cut/0.bmp and ground_truth/cut/0_mask.png are masks of the same image"
    with pytest.raises(DataError, match=words):
        load_folder(1, mvtec)


def test_masks_of_known_defects_are_counted(mvtec, capsys):
    write_image(mvtec / "ground_truth/hole/0_mask.png", 255)
    (mvtec / "test/hole/a.jpg").unlink()
    dataset = load_folder(1, mvtec)
    examples = dataset.select("train")
    splits = Splits(examples[:1], examples[2:], examples[1:2], [], dataset.select("test"))
    train._tell(default_config(), dataset, splits)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "folder: masks of 1 of the 3 known abnormal training images found"
    assert lines[2] == "folder: kinds of defects among the known images: cut (2), hole (1)"
    assert len(lines) == 4


def test_plain_layout_splits_by_name(tmp_path):
    for i in range(200):
        write_image(tmp_path / f"normal/{i}.png")
    for i in range(60):
        write_image(tmp_path / f"abnormal/crack/{i}.png")
    before = load_folder(1, tmp_path).examples
    assert {e.path: e.label for e in before}["abnormal/crack/7.png"] == "abnormal"
    assert 40 < sum(e.split == "test" and not e.abnormal for e in before) < 80  # 30 % of 200
    assert 8 < sum(e.split == "test" and e.abnormal for e in before) < 28  # 30 % of 60
    write_image(tmp_path / "normal/0a.png")
    after = {e.path: e.split for e in load_folder(1, tmp_path).examples}
    assert len(after) == 261 and all(after[e.path] == e.split for e in before)
    assert {e.path: e.split for e in load_folder(1, tmp_path, seed=1).examples} != after
    assert not [e for e in load_folder(1, tmp_path, test_share=0.0).examples if e.split == "test"]


def test_unknown_layouts(tmp_path):
    (tmp_path / "pictures").mkdir()
    with pytest.raises(DataError, match=r"folders found: pictures(.|\n)*train/good/(.|\n)*normal/"):
        load_folder(1, tmp_path)
    (tmp_path / "train/good").mkdir(parents=True)
    with pytest.raises(DataError, match="no normal training images"):
        load_folder(1, tmp_path)
    with pytest.raises(DataError, match="not a folder"):
        load_folder(1, tmp_path / "none")


def test_a_row_with_more_values_than_columns_is_an_error_unless_they_are_empty(folder):
    path = manifest(folder, "path\nimg/0.png,\nimg/1.png, ,\n")
    assert len(list_inputs(str(path))) == 2
    path = manifest(folder, "path\nimg/0.png\nimg/1.png,2\n")
    with pytest.raises(DataError, match=re.escape(f"{path}: row 3: 2 values for 1 columns")):
        list_inputs(str(path))


def test_list_inputs(folder):
    write_image(folder / "img/deep/x10.tif")
    write_image(folder / "img/deep/x9.tif")
    write_image(folder / "img/.hidden/y.png")
    (folder / "img/notes.txt").write_text("no")
    # Listed: that it leads nowhere is for the score's status.
    (folder / "img/link.png").symlink_to("nowhere.png")
    names = ["0.png", "1.png", "2.png", "3.png", "deep/x9.tif", "deep/x10.tif", "link.png", "mask.png"]
    assert list_inputs(folder / "img") == [os.path.join(folder, "img", name) for name in names]
    assert list_inputs(folder / "img/notes.txt") == [str(folder / "img/notes.txt")]
    path = manifest(folder, "id,path\n1,img/0.png\n2,gone.png\n")
    assert list_inputs(path) == [str(folder / "img/0.png"), str(folder / "gone.png")]
    assert list_inputs(path, root="/r") == ["/r/img/0.png", "/r/gone.png"]


def test_what_of_a_folder_is_not_scored_is_told(folder):
    write_image(folder / "img/0_mask.png")
    write_image(folder / "img/.1.png")
    write_image(folder / "img/.hidden/y.png")
    (folder / "img/a.heic").write_bytes(b"x")
    notes = Notes()
    assert len(list_inputs(folder / "img", notes=notes)) == 5
    assert sorted(re.sub(", such as.*", "", line) for line in notes.lines()) == [
        "1 files of formats that are not read are left out",
        "1 hidden files are left out",
        "1 images in hidden folders are left out",
        "1 masks, named as masks of images beside them, are left out",
    ]


def test_list_inputs_finds_nothing(folder):
    (folder / "empty").mkdir()
    for path, words in (
        (folder / "empty", "no image files below"),
        (folder / "none.png", "no such file"),
        (folder / "none.csv", "No such file"),
        (manifest(folder, "name\na.png\n"), "no column path"),
        (manifest(folder, "path\n", "b.csv"), "no rows"),
    ):
        with pytest.raises(DataError, match=words):
            list_inputs(path)


def test_load_by_name(folder, mvtec):
    path = manifest(folder, GOOD)
    dataset = catalog.load("manifest", 3, path=path, root=None, abnormal_count=0, dataset=None)
    assert [e.label for e in dataset.examples] == ["normal", "normal", "abnormal"]
    assert len(catalog.load("folder", 1, root=str(mvtec)).examples) == 9
    for name, channels, options, words in (
        ("manifets", 1, {}, "data.name: 'manifets' is not a data source .did you mean 'manifest'"),
        ("manifest", 2, {"path": path}, "model.channels: 2"),
        ("manifest", 1, {}, "data.path: the source 'manifest' needs it"),
        (
            "manifest",
            1,
            {"path": path, "abnormal_cuont": 3},
            "data.abnormal_cuont: .*you mean 'abnormal_count'",
        ),
        (
            "folder",
            1,
            {"root": mvtec, "inlier_count": 1},
            "data.inlier_count: .*takes root, abnormal_count",
        ),
    ):
        with pytest.raises(DataError, match=words):
            catalog.load(name, channels, **options)
