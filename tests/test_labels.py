"""Labels from other programs and for them: what is read by hand-made files, and what comes back."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from semi_anogan.data import catalog, review
from semi_anogan.errors import DataError, RunError
from semi_anogan.review import labels, labels_read, labels_write
from semi_anogan.review.labels import Labelled

SQUARE = np.zeros((6, 8), bool)
SQUARE[1:4, 2:7] = True
RING = SQUARE.copy()
RING[2, 4] = False


def said(found):
    return [
        (one.name, one.label, one.kind, None if one.mask is None else one.mask().tolist()) for one in found
    ]


def write(path, values):
    path.write_text(json.dumps(values))
    return path


def coco(**changes):
    values = {
        "images": [
            {"id": 3, "file_name": "a/1.png", "width": 8, "height": 6},
            {"id": 5, "file_name": "2.png", "width": 8, "height": 6},
        ],
        "annotations": [
            {"id": 1, "image_id": 3, "category_id": 1, "bbox": [0, 0, 1, 1]},
            {"id": 2, "image_id": 3, "category_id": 2, "segmentation": [[2, 1, 7, 1, 7, 4, 2, 4]]},
        ],
        "categories": [{"id": 1, "name": "dirt"}, {"id": 2, "name": "scratch"}],
    }
    return values | changes


def labelme(name, shapes):
    return {"imagePath": name, "imageHeight": 6, "imageWidth": 8, "shapes": shapes}


def shape(label, points):
    return {"label": label, "points": points, "shape_type": "polygon"}


def test_coco_is_read_with_the_kind_that_covers_most(tmp_path):
    mask = SQUARE.copy()
    mask[0, 0] = True
    found = labels_read.read(write(tmp_path / "c.json", coco()))
    assert said(found) == [("a/1.png", "abnormal", "scratch", mask.tolist()), ("2.png", "normal", "", None)]


def test_labelme_is_read_from_a_folder(tmp_path):
    outline = [[2, 1], [7, 1], [7, 4], [2, 4]]
    write(tmp_path / "1.json", labelme("1.png", [shape("Defect", outline)]))
    write(tmp_path / "2.json", labelme("2.png", []))
    assert said(labels_read.read(tmp_path)) == [
        ("1.png", "abnormal", "", SQUARE.tolist()),
        ("2.png", "normal", "", None),
    ]


def test_folders_are_read_by_their_names(tmp_path):
    for name in ("OK/1.png", "scratch/x/2.png", "NG/3.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (2, 2)).save(tmp_path / name)
    assert said(labels_read.read(tmp_path)) == [
        ("3.png", "abnormal", "", None),
        ("1.png", "normal", "", None),
        ("x/2.png", "abnormal", "scratch", None),
    ]
    for name, told in (
        ("passed/5.png", "'passed', which may mean normal"),
        ("train/6.png", "lies in 'train', "),
    ):
        (tmp_path / name).parent.mkdir()
        Image.new("L", (2, 2)).save(tmp_path / name)
        with pytest.raises(DataError, match=told):
            labels_read.read(tmp_path)
        shutil.rmtree((tmp_path / name).parent)
    (tmp_path / "mask/OK").mkdir(parents=True)
    for name, told in (
        ("none", "1 masks are of no image there, such as "),
        ("1", "'OK', which has no defect"),
    ):
        Image.new("L", (2, 2), 255).save(tmp_path / f"mask/OK/{name}.png")
        with pytest.raises(DataError, match=told):
            labels_read.read(tmp_path)
        (tmp_path / f"mask/OK/{name}.png").unlink()
    Image.new("L", (2, 2)).save(tmp_path / "4.png")
    with pytest.raises(DataError, match="1 images lie in no folder that says what they are: 4.png"):
        labels_read.read(tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "neither polygons of labelme"),
        (coco(annotations=[{"image_id": 9}]), "an annotation is of image 9, which is not there"),
        (coco(annotations=[{"image_id": 3, "bbox": [0, 0]}]), "not as labelme or COCO write it"),
        (coco(annotations=[], images=[]), "has no labels"),
        (labelme("1.png", [shape("x", [[0, 0]])]), "shape 1 is a polygon of 1 points"),
        ({"shapes": []}, "not as labelme or COCO write it: KeyError: 'imagePath'"),
        (labelme(None, []), "the name of an image must be a text, got None"),
        (coco(annotations=[], images=[{"id": 1, "file_name": 5}]), "an image must be a text, got 5"),
        (coco(annotations=[], images=[{"id": 1, "file_name": "a"}, {"id": 1}]), "two images have the id 1"),
        (coco(annotations=[{"image_id": 3, "category_id": 77}]), "is of category 77, which is not there"),
        (coco(annotations=[{"id": 8, "image_id": 3}]), "annotation 8: has neither a segmentation nor a bbox"),
        (coco(annotations=[{"id": 8, "image_id": 3, "segmentation": [[1, 2, 3]]}]), "8: a polygon has 3 num"),
        (coco(annotations=[{"image_id": 3, "segmentation": [[]]}]), "annotation 1: a polygon has 0 numbers"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, values, message):
    with pytest.raises(DataError, match=message) as error:
        labels_read.read(write(tmp_path / "c.json", values))
    assert str(tmp_path / "c.json") in str(error.value)


def test_compressed_run_lengths_are_read(tmp_path):
    """Texts that pycocotools wrote of these masks."""
    rows, columns = np.mgrid[:40, :37]
    cases = {
        "R85P16K4M2N2N2O0O2O000O2O00000001N10001N101N2N2N3L5JQ7": (rows - 20) ** 2 + (columns - 18) ** 2
        < 150,
        "X^1": np.zeros((40, 37), bool),
        "0X^1": np.ones((40, 37), bool),
    }
    image = {"id": 3, "file_name": "a.png", "height": 40, "width": 37}
    for text, expected in cases.items():
        segmentation = {"size": [40, 37], "counts": text}
        found = {"images": [image], "annotations": [{"image_id": 3, "segmentation": segmentation}]}
        (one,) = labels_read.read(write(tmp_path / "c.json", found))
        np.testing.assert_array_equal(one.mask(), expected)
    for text, told in (
        ("X^1 ", "' ' is none of the characters"),
        ("X^", "are cut off"),
        ("Y^1", "do not fit"),
    ):
        segmentation["counts"] = text
        with pytest.raises(DataError, match=f"c.json: annotation 1: .*{told}"):
            labels_read.read(write(tmp_path / "c.json", found))


def test_a_file_that_is_nested_too_deep_is_named(tmp_path):
    (tmp_path / "c.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match="c.json: is no JSON"):
        labels_read.read(tmp_path / "c.json")


def test_other_files_are_refused(tmp_path):
    (tmp_path / "labels.txt").touch()
    with pytest.raises(DataError, match="labels.txt: labels are read from a JSON file"):
        labels_read.read(tmp_path / "labels.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: has no labels"):
        labels_read.read(tmp_path / "empty")


def test_names_are_matched_by_as_many_last_parts_as_fit():
    one = Labelled("a/1.png", "normal", where="c.json")
    assert labels.matched([one], ["x/b/1.png", "x/a/1.png", "2.png"]) == [(one, "x/a/1.png")]
    windows = Labelled("C:\\parts\\a\\1.png", "normal", where="c.json")
    assert labels.matched([windows], ["x/b/1.png", "x/a/1.png"])[0][1] == "x/a/1.png"
    with pytest.raises(DataError, match="'a/1.png' is none of the images here"):
        labels.matched([one], ["x/b/1.png"])  # of another folder
    plain = Labelled("1.png", "normal", where="c.json")
    assert labels.matched([plain], ["x/b/1.png"]) == [(plain, "x/b/1.png")]
    with pytest.raises(DataError, match="c.json: '1.png' could be x/1.png or y/1.png; name its folder too"):
        labels.matched([plain], ["x/1.png", "y/1.png"])
    with pytest.raises(DataError, match=r"c.json: 'a/1.png' is none of the images here \(1 of 2 are not\)"):
        labels.matched([one, Labelled("2.png", "normal")], ["2.png"])
    with pytest.raises(DataError, match="'1.png' and 'a/1.png' are both x/a/1.png"):
        labels.matched([one, Labelled("1.png", "normal", where="c.json")], ["x/a/1.png"])


def test_names_with_their_folders_in_them_may_have_what_joins_them():
    def path_of(name, *paths):
        return labels.matched([Labelled(name, "normal", where="c.json")], paths)[0][1]

    assert path_of("a__part__1.png", "x/a/part__1.png", "x/b/part__1.png") == "x/a/part__1.png"
    assert path_of("x__a__part__1.png", "a/part__1.png", "x/a/1.png") == "a/part__1.png"
    assert path_of("part__1.png", "x/part__1.png", "part/1.png") == "x/part__1.png"  # its own name first
    with pytest.raises(DataError, match="'a__b__1.png' could be a/b__1.png or a__b/1.png; name its folder"):
        path_of("a__b__1.png", "a/b__1.png", "a__b/1.png")
    with pytest.raises(DataError, match="'a__part__1.png' is none of the images here"):
        path_of("a__part__1.png", "b/part__1.png", "xa/part__1.png")


@pytest.fixture
def items(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    found = [("1", "normal", "", None), ("2", "abnormal", "scratch", SQUARE), ("3", "abnormal", "", RING)]
    found.append(("4", "abnormal", "spots", rng.random((6, 8)) < 0.4))
    found.append(("5", "abnormal", "scratch", None))
    out = []
    for name, label, kind, mask in found:
        file = tmp_path / f"images/{name}.png"
        Image.fromarray(rng.integers(0, 256, (6, 8)).astype(np.uint8)).save(file)
        out.append(Labelled(f"x/{name}.png", label, kind, None if mask is None else mask.copy, str(file)))
    return out


def test_labelme_finds_the_images_from_its_files_on(items, tmp_path):
    labels_write.write(tmp_path / "out", "labelme", items[:2])
    values = json.loads((tmp_path / "out/x__2.json").read_text())
    assert values["imagePath"] == "../images/2.png" and (tmp_path / "out" / values["imagePath"]).is_file()
    paths = ["2.png", str(tmp_path / "images/1.png")]  # of the data, and one that joins it
    assert {one.label: path for one, path in labels.matched(labels_read.read(tmp_path / "out"), paths)} == {
        "normal": paths[1],
        "abnormal": paths[0],
    }


@pytest.mark.parametrize("form", ["coco", "labelme", "csv"])
def test_what_is_written_comes_back(items, tmp_path, form):
    path = tmp_path / {"coco": "out/l.json", "labelme": "out", "csv": "out/l.csv"}[form]
    assert labels_write.write(path, form, items) == 5
    expected = {name: (label, kind, mask) for name, label, kind, mask in said(items)}
    # Without a mask all of an image is marked, since an image without a shape would be normal.
    if form != "csv":
        expected["x/5.png"] = ("abnormal", "scratch", np.ones((6, 8), bool).tolist())
    if form == "labelme":  # it has no holes
        expected["x/3.png"] = ("abnormal", "", SQUARE.tolist())
        del expected["x/4.png"]
    if form == "labelme":  # it names the files
        expected = {name.replace("x/", "../images/"): value for name, value in expected.items()}
    found = {name: (label, kind, mask) for name, label, kind, mask in said(labels_read.read(path))}
    assert {name: found[name] for name in expected} == expected and len(found) == 5
    with pytest.raises(RunError, match="is there already"):
        labels_write.write(path, form, items)


def test_coco_has_outlines_where_they_say_all_and_run_lengths_elsewhere(items, tmp_path):
    labels_write.write(tmp_path / "l.json", "coco", items[:3])
    values = json.loads((tmp_path / "l.json").read_text())
    square, ring = values["annotations"]
    assert square["segmentation"] == [[2, 1, 7, 1, 7, 4, 2, 4]] and square["bbox"] == [2, 1, 5, 3]
    assert square["area"] == 15 and square["iscrowd"] == 0
    # Column by column: 2 columns of 6 outside, and the first pixel of the third; then 3 inside, 3 outside.
    assert ring["segmentation"]["counts"] == [13, 3, 3, 3, 3, 1, 1, 1, 3, 3, 3, 3, 8] and ring["iscrowd"] == 1
    assert [c["name"] for c in values["categories"]] == ["abnormal", "scratch"]
    labels_write.write(
        tmp_path / "whole.json", "coco", items[4:]
    )  # a label without a mask: readers need an outline
    (whole,) = json.loads((tmp_path / "whole.json").read_text())["annotations"]
    assert whole["segmentation"] == [[0, 0, 8, 0, 8, 6, 0, 6]] and whole["bbox"] == [0, 0, 8, 6]


def test_folders_that_are_written_are_data(items, tmp_path):
    labels_write.write(tmp_path / "parts", "folder", items)
    dataset = catalog.load("folder", 1, root=str(tmp_path / "parts"))
    found = {e.path: (e.label, e.kind, bool(e.mask)) for e in dataset.examples}
    assert found["train/good/x__1.png"] == ("normal", None, False)
    assert found["train/scratch/x__2.png"] == ("abnormal", "scratch", True)
    assert found["train/scratch/x__5.png"] == ("abnormal", "scratch", False) and len(found) == 5
    example = next(e for e in dataset.examples if e.path == "train/scratch/x__2.png")
    np.testing.assert_array_equal(dataset.read_mask(example), SQUARE)
    # Taken back they say the same, of the same images.
    back = labels.matched(
        labels_read.read(tmp_path / "parts"), ["y/1.png", *(f"x/{i}.png" for i in range(1, 6))]
    )
    expected = {name: (label, kind, mask) for name, label, kind, mask in said(items)}
    assert {path: said([one])[0][1:] for one, path in back} == expected
    # And the CSV file is what data.reviewed reads.
    labels_write.write(tmp_path / "r.csv", "csv", items)
    assert review.read(tmp_path / "r.csv")["x/2.png"].mask == str(tmp_path / "r/x__2.png")


@pytest.mark.parametrize("form", labels_write.FORMATS)
def test_what_fails_leaves_no_part_of_the_labels(items, tmp_path, form):
    """It would be taken for all of them; the same call can be given again."""
    path, others = tmp_path / ("l.csv" if form == "csv" else "l"), set(tmp_path.iterdir())

    def gone():
        raise DataError("gone")

    broken = dataclasses.replace(items[1], name="x/9.png", mask=gone)
    with pytest.raises(DataError, match="gone"):
        labels_write.write(path, form, [*items, broken])
    assert set(tmp_path.iterdir()) == others
    assert labels_write.write(path, form, items) == 5
    if form == "csv":  # its folder of masks is another's
        path.unlink()
        with pytest.raises(RunError, match="is there already"):
            labels_write.write(path, form, items)
        assert len(list((tmp_path / "l").iterdir())) == 3


def test_images_that_differ_in_their_suffix_keep_their_own_labels(items, tmp_path):
    """x/2.png and x/2.bmp, with masks of their own. A tree of folders cannot tell these apart."""
    Image.open(items[1].file).save(tmp_path / "images/2.bmp")
    other = dataclasses.replace(
        items[1], name="x/2.bmp", file=str(tmp_path / "images/2.bmp"), mask=lambda: ~SQUARE
    )
    for form in ("labelme", "csv"):
        path = tmp_path / form / ("out.csv" if form == "csv" else "out")
        assert labels_write.write(path, form, [items[1], other]) == 2
        found = {one.name.rpartition("/")[2]: one.mask() for one in labels_read.read(path)}
        np.testing.assert_array_equal(found["2.png"], SQUARE)
        if form == "csv":  # labelme has no holes
            np.testing.assert_array_equal(found["2.bmp"], ~SQUARE)
    with pytest.raises(RunError, match="x__2_mask.png: two images would have this mask"):
        labels_write.write(tmp_path / "tree", "folder", [items[1], other])
    assert (
        labels_write.write(tmp_path / "tree", "folder", [items[1], dataclasses.replace(other, mask=None)])
        == 2
    )
    with pytest.raises(DataError, match="x__2_mask.png: could be of 2 images, such as x__2.bmp"):
        labels_read.read(tmp_path / "tree")
    (tmp_path / "tree/train/scratch/x__2.bmp").unlink()
    mask = tmp_path / "tree/ground_truth/scratch/x__2_mask.png"
    shutil.copy(mask, mask.with_name("x__2.png"))
    with pytest.raises(DataError, match="x__2_mask.png: is of the same image as .*x__2.png"):
        labels_read.read(tmp_path / "tree")


def test_names_that_are_too_long_for_a_file_are_cut(items, tmp_path):
    long = dataclasses.replace(items[1], name=f"x/{'a' * 250}.png")
    for form in ("labelme", "folder", "csv"):
        labels_write.write(tmp_path / form, form, [long])
    (found,) = labels_read.read(tmp_path / "labelme")
    assert labels.matched([found], ["2.png"]) == [(found, "2.png")]


def test_what_cannot_be_written_is_named(items, tmp_path):
    with pytest.raises(DataError, match="format 'yolo' is not one of coco, labelme, folder, csv"):
        labels_write.write(tmp_path / "out", "yolo", items)
    with pytest.raises(RunError, match="surface/train/1: is no image file"):
        labels_write.write(tmp_path / "out", "coco", [Labelled("surface/train/1", "normal")])
    wrong = Labelled(
        "1.png", "abnormal", "", lambda: np.ones((2, 2), bool), items[0].file, "reviewed.csv: row 2"
    )
    with pytest.raises(DataError, match="reviewed.csv: row 2: the mask has 2 x 2 pixels"):
        labels_write.write(tmp_path / "out.json", "coco", [wrong])


def test_names_of_images_elsewhere_are_cut_to_what_differs():
    assert labels.names({"train/a.png": "", "/in/x/1.png": "", "/in/y/2.png": ""}) == {
        "train/a.png": "train/a.png",
        "/in/x/1.png": "in/x/1.png",
        "/in/y/2.png": "in/y/2.png",
    }
