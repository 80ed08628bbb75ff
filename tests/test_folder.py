"""What names of folders mean: labels, splits, masks; and what of a folder is left out or taken as unusual."""

import itertools
import json
import os
import shlex
import shutil
import unicodedata

import numpy as np
import pytest
from PIL import Image

from semi_anogan.data import record
from semi_anogan.data.check_files import read_all
from semi_anogan.data.sources import folder_names
from semi_anogan.data.sources.folder import load
from semi_anogan.data.splits import Splits
from semi_anogan.errors import DataError

_numbers = itertools.count()


def write(path, count=1, size=(6, 5)):
    """Grey images 0.png, 1.png ... in a folder, or one image where the path has a suffix; all different."""
    paths = [path] if path.suffix else [path / f"{i}.png" for i in range(count)]
    for file in paths:
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", size, next(_numbers) % 200).save(file)


def tree(root, **folders):
    """A folder of images: {folder with __ for /: number of images}."""
    for name, count in folders.items():
        write(root / name.replace("__", "/"), count)
    return root


def write_noise(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (5, 6), np.uint8)).save(path)


def labels(dataset, split):
    """{folder: label} of a split."""
    return {e.path.rpartition("/")[0]: e.label for e in dataset.select(split)}


@pytest.mark.parametrize(
    "good", ["good", "ok", "OK", "Good", "normal", "Normal", "okay", "O-K", "nor_mal", "GOOD "]
)
def test_known_spellings_of_good_are_normal_in_both_splits(tmp_path, good):
    tree(tmp_path, **{f"train__{good}": 3, f"test__{good}": 2, "test__cut": 1, "train__cut": 1})
    dataset = load(1, tmp_path)
    assert labels(dataset, "train") == {f"train/{good}": "normal", "train/cut": "abnormal"}
    assert labels(dataset, "test") == {f"test/{good}": "normal", "test/cut": "abnormal"}
    assert dataset.notes.lines() == []


PERHAPS = (
    "pass passed fine io gut healthy clean negative nodefect nodefects no_defects defectfree Defect-Free "
    "faultfree "
    "nondefective undamaged anomalyfree intact accepted 0 ok_front good_parts frontOK OK2 goood godo "
    "noraml nomal i.O. fehlerfrei ohne_Fehler 合格 images unlabeled unsure to_check New-Folder "
    "MT_Free NODefect_images healthy_leaf clean-parts golden_samples gut_1 accepted_lot3 true positive "
    "正常品 良品2 非缺陷"
).split()
DEFECTS = (
    "not_good nok NOK abnormal no_good not_ok bad ng KO cut hole color broken_large crack faulty_imprint "
    "glue poke "
    "hook stroke thread logical_anomalies scratch metal_contamination 1 defective anomaly gray_stroke "
    "unnormal n.i.O. fine_scratch clean_crack 不良品 不合格品 非正常"
).split()


@pytest.mark.parametrize("name", PERHAPS)
def test_what_could_be_meant_as_good_is_asked_for(tmp_path, name):
    tree(tmp_path, **{"train__good": 3, f"test__{name}": 7, "test__cut": 1})
    with pytest.raises(DataError) as error:
        load(1, tmp_path)
    told = str(error.value)
    assert "\n" not in told and f"test/{name} (7 images)" in told
    assert shlex.quote(f"good,{name}") + " takes them as normal" in told
    assert "--config.data.good=good as abnormal" in told
    assert labels(load(1, tmp_path, good=f"good,{name}"), "test")[f"test/{name}"] == "normal"
    as_abnormal = load(1, tmp_path, good="good")
    assert labels(as_abnormal, "test")[f"test/{name}"] == "abnormal"
    assert any(f"test/{name} are taken as abnormal" in line for line in as_abnormal.notes.lines())


@pytest.mark.parametrize("name", DEFECTS)
def test_defects_are_not_asked_for(tmp_path, name):
    assert not folder_names.is_perhaps_good(name)
    tree(tmp_path, **{"train__good": 3, "test__good": 1, f"test__{name}": 1})
    assert labels(load(1, tmp_path), "test") == {"test/good": "normal", f"test/{name}": "abnormal"}


@pytest.mark.parametrize("name", ["trainset", "train_data", "Training 2", "learn"])
def test_what_could_be_meant_as_training_is_asked_for(tmp_path, name):
    tree(tmp_path, **{f"{name}__good": 3, "test__good": 2, "test__cut": 1})
    with pytest.raises(DataError) as error:
        load(1, tmp_path)
    asked = f"no folder train, but {name} (3 images): are these the training images? Name their folder train"
    assert str(error.value) == f"{tmp_path}: {asked}"


def test_kinds_within_a_folder_of_all_defects(tmp_path):
    """NG says no kind, so folders within it do. Lots, and folders within one of a kind, are no kinds."""
    tree(tmp_path, train__good=3, train__NG__hole=1, test__good=1, test__ng__AK=2, test__ng__BK=1)
    tree(tmp_path, test__ng__lot2=1, test__ng=1, test__cut__left=1, test__ng__images=1)
    tree(tmp_path, ground_truth__ng__AK=2)
    dataset = load(1, tmp_path)
    assert {e.path.rpartition("/")[0]: e.kind for e in dataset.examples if e.abnormal} == {
        "train/NG/hole": "hole",
        "test/ng/AK": "AK",
        "test/ng/BK": "BK",
        "test/ng/lot2": "ng",
        "test/ng/images": "ng",
        "test/ng": "ng",
        "test/cut/left": "cut",
    }
    assert sum(e.mask is not None for e in dataset.examples) == 2
    told = dataset.notes.lines()
    start = "images in folders within"
    assert f"3 {start} test/ng are of the kinds that these are named after, such as test/ng/AK/0.png" in told
    assert f"3 {start} those of a kind are read as of this kind, such as test/cut/left/0.png" in told


@pytest.mark.parametrize("name", ["unsure", "to_check", "true", "images"])
def test_names_that_say_nothing_beside_good_are_asked_for(tmp_path, name):
    tree(tmp_path, **{"good": 9, "cut": 4, name: 3})
    with pytest.raises(DataError, match=f"are the images in {name} .3 images. normal"):
        load(1, tmp_path)
    assert {e.kind for e in load(1, tmp_path, good="good").examples} == {None, "cut", name}


@pytest.mark.parametrize("name", ["anno", "Masken", "gts", "defect-annot"])
def test_masks_in_folders_spelt_otherwise(tmp_path, name):
    """Within the test's folder and within that of a kind they were defects themselves."""
    for place in (f"test/{name}/cut", f"test/hole/{name}"):
        tree(tmp_path, train__good=3, test__good=1, test__cut=2, test__hole=2)
        for i in range(2):
            path = tmp_path / place / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.eye(5, 6, dtype=np.uint8) * 255).save(path)
    abnormal = load(1, tmp_path).select("test", "abnormal")
    assert [e.path for e in abnormal] == [f"test/{k}/{i}.png" for k in ("cut", "hole") for i in range(2)]
    assert all(e.mask for e in abnormal)


def test_what_a_question_advises_is_taken(tmp_path):
    tree(tmp_path, train__Passed=3, test__Passed=1, test__cut=1)
    with pytest.raises(DataError, match="normal. --config.data.good=Passed takes them as normal, else it na"):
        load(1, tmp_path)
    assert labels(load(1, tmp_path, good="Passed"), "test") == {
        "test/Passed": "normal",
        "test/cut": "abnormal",
    }


def test_a_folder_without_images_that_are_read_says_what_there_is(tmp_path):
    tree(tmp_path, test__good=1)
    (tmp_path / "train/good").mkdir(parents=True)
    (tmp_path / "train/good/0.heic").touch()
    with pytest.raises(
        DataError, match="train/good: no normal training images, none that is read; 1 files of"
    ):
        load(1, tmp_path)


@pytest.mark.parametrize(
    "name, bad", [("old_rejects", True), ("bad 2", True), ("lot1", False), ("hole_1", False)]
)
def test_folders_named_as_defects_within_good(tmp_path, name, bad):
    tree(tmp_path, **{"train__good": 2, f"train__good__{name}": 1})
    if bad:
        with pytest.raises(DataError, match=f"{name}: named as a folder of abnormal images, but within"):
            load(1, tmp_path)
    else:
        assert len(load(1, tmp_path).select("train", "normal")) == 3


def test_a_kind_spelt_otherwise_in_the_test_has_its_masks(tmp_path):
    tree(tmp_path, train__good=2, train__hole=1, ground_truth__hole=2)
    write(tmp_path / "test/Hole/1.png")
    dataset = load(1, tmp_path)
    found = {e.path: e.mask for e in dataset.examples if e.abnormal}
    assert found == {
        "train/hole/0.png": "ground_truth/hole/0.png",
        "test/Hole/1.png": "ground_truth/hole/1.png",
    }
    assert dataset.notes.lines() == []


@pytest.mark.parametrize("name, inside", [("public_test", "good"), ("unseen", "ok"), ("tst", "no_defect")])
def test_a_folder_of_labels_could_be_the_test(tmp_path, name, inside):
    tree(tmp_path, train__good=3, **{f"{name}__{inside}": 2, f"{name}__cut": 1, "masks__good": 1})
    with pytest.raises(DataError, match=f"no folder test, but {name} .3 images.: are these the test images"):
        load(1, tmp_path)
    assert not load(1, tmp_path, test_folder="").select("test")


def test_a_layout_one_folder_lower_is_named(tmp_path):
    tree(tmp_path, Scans__Normal=3, Scans__Anomaly=2, Masks__Anomaly=2)
    with pytest.raises(
        DataError, match=f"one of them is in {tmp_path}/Scans: --config.data.root={tmp_path}/Scans, from "
    ) as error:
        load(1, tmp_path)
    assert "/Scans, from where the masks in Masks are not found; named images, it " in str(error.value)
    (tmp_path / "Scans").rename(tmp_path / "images")
    assert len(load(1, tmp_path).examples) == 5
    shutil.rmtree(tmp_path / "images")
    tree(tmp_path / "all", data__bottle__train__good=2, data__bottle__test=1)
    with pytest.raises(DataError, match=f"one of them is in {tmp_path}/all/data/bottle: --config"):
        load(1, tmp_path / "all")
    with pytest.raises(DataError, match=f"one of them is in {tmp_path}/all/data/bottle: --config"):
        load(1, tmp_path / "all/data/bottle/train/good")
    assert load(1, tmp_path / "all/data/bottle/train", test_share=0.0).notes.lines()[0] == (
        f"{tmp_path}/all/data/bottle/train: is part of a folder with training images of its own; "
        f"--config.data.root={tmp_path}/all/data/bottle takes these, and test images beside them"
    )


@pytest.mark.parametrize("above", ["", "Data/"])
@pytest.mark.parametrize(
    "images, masks", [("Images", "Masks"), ("imgs", "ground_truth"), ("image", "Label"), ("data", "GT")]
)
def test_a_folder_of_images_beside_that_of_masks(tmp_path, above, images, masks):
    """As in VisA, whose masks have the value 1."""
    tree(tmp_path / above, **{f"{images}__Normal": 6, f"{images}__Anomaly": 4, f"{masks}__readme": 0})
    for i in range(4):
        write_mask(tmp_path / above / masks / f"Anomaly/{i}.png", 1)
    write(tmp_path / above / "other/0.png")
    write(tmp_path / above / images / "0.png")
    dataset = load(1, tmp_path, test_share=0.5)
    assert sum(not e.abnormal for e in dataset.examples) == 6
    assert {e.path: e.mask for e in dataset.examples if e.abnormal} == {
        f"{above}{images}/Anomaly/{i}.png": f"{above}{masks}/Anomaly/{i}.png" for i in range(4)
    }
    assert {e.kind for e in dataset.examples} == {None, "Anomaly"}
    assert {int(dataset.read_mask(e).sum()) for e in dataset.examples if e.abnormal} == {4}
    assert dataset.notes.lines() == [
        f"1 folders of images are read as the ones that they lie in, such as {above}{images}",
        f"1 images lie directly in {above}{images}/ and are left out, such as {above}{images}/0.png; put "
        "them into a folder of their kind",
        f"{tmp_path}: 1 images in the folder {above}other are not used",
        f"{tmp_path}: {above}{images}/Normal (6 images) taken as normal, as kinds of defects: Anomaly (4); "
        "each is split into training and test images",
    ]


@pytest.mark.parametrize("masks", ["masks", "GroundTruth", "labels"])
def test_splits_in_a_folder_of_images_beside_that_of_masks(tmp_path, masks):
    for split in ("train", "test"):
        tree(tmp_path, **{f"images__{split}__good": 3, f"images__{split}__bad": 2})
        for i in range(2):
            write_mask(tmp_path / masks / split / f"bad/{i}.png", 255)
    dataset = load(1, tmp_path)
    assert labels(dataset, "test") == {"images/test/good": "normal", "images/test/bad": "abnormal"}
    assert {e.path: e.mask for e in dataset.examples if e.abnormal} == {
        f"images/{split}/bad/{i}.png": f"{masks}/{split}/bad/{i}.png"
        for split in ("train", "test")
        for i in range(2)
    }
    assert dataset.notes.lines() == [
        "1 folders of images are read as the ones that they lie in, such as images"
    ]
    assert load(1, tmp_path / "images").notes.lines() == [
        f"{tmp_path}/images: masks lie in a folder beside it; --config.data.root={tmp_path} takes them too"
    ]
    told = load(1, tmp_path / "images/train", test_share=0.0).notes.lines()[0]
    assert told.endswith(f"; --config.data.root={tmp_path} takes these, and test images beside them")
    (tmp_path / "images/test").rename(tmp_path / "images/val")
    (tmp_path / masks / "test").rename(tmp_path / masks / "val")
    with pytest.raises(DataError, match="no folder test, but images/val .* --config.data.test_folder=val t"):
        load(1, tmp_path)
    dataset = load(1, tmp_path, test_folder="val")
    assert [e.mask for e in dataset.select("test", "abnormal")] == [
        f"{masks}/val/bad/{i}.png" for i in range(2)
    ]


def test_questions_on_folders_in_that_of_the_images(tmp_path):
    tree(tmp_path, images__pass=3, images__cut=2, masks__cut=2)
    with pytest.raises(
        DataError, match="are the images in images/pass .3 images. normal. --config.data.good=pass"
    ):
        load(1, tmp_path)
    dataset = load(1, tmp_path, good="pass")
    assert sum(e.mask is not None for e in dataset.examples) == 2
    with pytest.raises(DataError, match="'fine' is no folder in .*folders found: images, masks"):
        load(1, tmp_path, good="fine")


@pytest.mark.parametrize("images", ["", "images"])
def test_masks_of_images_that_lie_directly_in_splits(tmp_path, images):
    """images/train/1.png and masks/train/1.png: as tools for segmentation have them."""
    for split, marked in (("train", 3), ("test", 0)):
        write(tmp_path / images / split, 4)
        for i in range(4):
            write_mask(tmp_path / f"masks/{split}/{i}.png", 255 * (i == marked))
    with pytest.raises(DataError, match="as normal, but for those whose mask marks something; a folder"):
        load(1, tmp_path)
    dataset = load(1, tmp_path, good=".")
    train, test = os.path.join(images, "train/3.png"), os.path.join(images, "test/0.png")
    assert {e.path: e.mask for e in dataset.examples if e.abnormal} == {
        train: "masks/train/3.png",
        test: "masks/test/0.png",
    }
    assert len(dataset.examples) == 8


def test_several_data_sets_in_one_folder(tmp_path):
    tree(tmp_path, candle__Data__Images__Normal=1, candle__Data__Images__Anomaly=1, pcb__train__good=1)
    with pytest.raises(DataError, match="neither of the known layouts") as error:
        load(1, tmp_path)
    assert (
        f"one of them is in {tmp_path}/pcb: --config.data.root={tmp_path}/pcb; 1 more folders have one, such "
        f"as {tmp_path}/candle: each is trained on its own. They are"
    ) in str(error.value)


def test_images_at_the_end_of_a_name_does_not_count(tmp_path):
    tree(tmp_path, train_images__good_images=3, test_images__ok=2, test_images__cut_images=1)
    write_mask(tmp_path / "mask_images/cut/0.png", 255)
    dataset = load(1, tmp_path)
    assert len(dataset.select("train", "normal")) == 3 and len(dataset.select("test", "normal")) == 2
    assert [e.mask for e in dataset.select("test", "abnormal")] == ["mask_images/cut/0.png"]
    assert dataset.notes.lines() == []


def test_folders_named_otherwise_whose_files_look_like_masks(tmp_path):
    """As in AITEX, and with a kind of defect of masks for the face."""
    tree(tmp_path, NODefect_images=6, mask_torn=2)
    for i in range(2):
        write_noise(tmp_path / f"mask_torn/{i}.png")
        write_mask(tmp_path / f"torn_annotations/mask_torn/{i}.png", 255)
    with pytest.raises(DataError, match="NODefect_images .6 images. normal. --config.data.good=NODefect_im"):
        load(1, tmp_path)
    dataset = load(1, tmp_path, good="NODefect_images")
    assert {e.path: e.mask for e in dataset.examples if e.abnormal} == {
        f"mask_torn/{i}.png": f"torn_annotations/mask_torn/{i}.png" for i in range(2)
    }
    assert dataset.notes.lines()[0] == (
        "1 folders are taken as those of masks, since their files look like masks and their names allow it, "
        "such as torn_annotations"
    )


def test_folders_of_masks_without_any_are_told(tmp_path):
    """As YOLO has them: images/train/0.jpg and labels/train/0.txt."""
    tree(tmp_path, images__train=3)
    (tmp_path / "labels/train").mkdir(parents=True)
    (tmp_path / "labels/train/0.txt").write_text("0 0.5 0.5 0.1 0.1")
    with pytest.raises(DataError, match="train: 3 images lie directly in it: .*takes them as normal; a fol"):
        load(1, tmp_path)
    line = load(1, tmp_path, good=".").notes.lines()[-1]
    assert line.startswith("1 folders of masks have none that is read, such as labels: masks are image fi")


def test_folders_of_images_within_those_of_splits(tmp_path):
    for split in ("train", "test"):
        tree(tmp_path / split, images__good=3, images__cut=2)
        for i in range(2):
            write_mask(tmp_path / split / f"masks/cut/{i}.png", 255)
    dataset = load(1, tmp_path)
    assert labels(dataset, "test") == {"test/images/good": "normal", "test/images/cut": "abnormal"}
    assert [e.mask for e in dataset.select("train", "abnormal")] == [
        f"train/masks/cut/{i}.png" for i in range(2)
    ]
    assert dataset.notes.lines() == [
        "2 folders of images are read as the ones that they lie in, such as train/images"
    ]
    write(tmp_path / "test/dent", 1)
    with pytest.raises(DataError, match="are the images in test/images .5 images. normal"):
        load(1, tmp_path)


def test_a_root_that_is_no_folder_says_what_may_be_meant(tmp_path):
    (tmp_path / "list.csv").touch()
    with pytest.raises(DataError, match="list.csv' is not a folder; lists of images are given as data.path"):
        load(1, tmp_path / "list.csv")
    with pytest.raises(DataError, match="'~/parts' is not a folder; the shell puts no folder for ~ there"):
        load(1, "~/parts")


def test_the_same_for_training(tmp_path):
    tree(tmp_path, train__pass=5, train__scratch=1, test__good=1)
    with pytest.raises(
        DataError, match=r"train/pass \(5 images\) normal\? --config.data.good=good,pass takes"
    ):
        load(1, tmp_path)
    dataset = load(1, tmp_path, good="good, PASS")
    assert labels(dataset, "train") == {"train/pass": "normal", "train/scratch": "abnormal"}
    with pytest.raises(DataError, match="'fine' is no folder in train or test .*pass, scratch, good"):
        load(1, tmp_path, good="good,pass,fine")
    with pytest.raises(
        DataError, match="no folder named good .folders found: pass, scratch.; --config.data.good=NAME"
    ):
        load(1, tmp_path, good="good")


def test_several_spellings_are_joined_and_told(tmp_path):
    tree(tmp_path, train__good=3, train__OK=2, test__normal=1, test__Good=1, test__Crack=1, test__crack=1)
    dataset = load(1, tmp_path)
    assert len(dataset.select("train", "normal")) == 5 and len(dataset.select("test", "normal")) == 2
    assert [e.path for e in dataset.select("test", "abnormal")] == ["test/Crack/0.png", "test/crack/0.png"]
    first, second = dataset.notes.lines()
    assert "train/OK (2 images), train/good (3 images)" in first and "read together" in second


@pytest.mark.parametrize("train, test", [("Train", "TEST"), ("training", "Testing"), ("TRAINING", "test")])
@pytest.mark.parametrize(
    "masks", ["ground_truth", "GroundTruth", "GT", "masks", "Mask", "labels", "ground-truth"]
)
def test_splits_and_masks_without_case(tmp_path, train, test, masks):
    tree(tmp_path, **{f"{train}__good": 3, f"{test}__ok": 1, f"{test}__cut": 2, f"{masks}__cut": 2})
    dataset = load(1, tmp_path)
    assert len(dataset.select("train", "normal")) == 3
    assert [e.mask for e in dataset.select("test", "abnormal")] == [f"{masks}/cut/{i}.png" for i in range(2)]
    assert dataset.notes.lines() == []


@pytest.mark.parametrize(
    "name", ["test_public", "validation", "val", "valid", "eval", "test_2", "Test-Private"]
)
def test_another_test_folder_is_asked_for(tmp_path, name):
    tree(
        tmp_path, **{"train__good": 3, f"{name}__good": 2, f"{name}__bad": 2, f"{name}__ground_truth__bad": 2}
    )
    with pytest.raises(DataError) as error:
        load(1, tmp_path)
    assert f"no folder test, but {name} (6 images)" in str(error.value) and "\n" not in str(error.value)
    assert f"--config.data.test_folder={name} takes them" in str(error.value)
    dataset = load(1, tmp_path, test_folder=name)
    assert labels(dataset, "test") == {f"{name}/good": "normal", f"{name}/bad": "abnormal"}
    masks = [f"{name}/ground_truth/bad/{i}.png" for i in range(2)]
    assert [e.mask for e in dataset.select("test", "abnormal")] == masks
    assert load(1, tmp_path, test_folder="").select("test") == []
    write(tmp_path / "test/good", 1)
    dataset = load(1, tmp_path)
    assert labels(dataset, "test") == {"test/good": "normal"}
    assert dataset.notes.lines() == [f"{tmp_path}: 6 images in the folder {name} are not used"]
    with pytest.raises(DataError, match="data.test_folder: .* has no folder 'none'"):
        load(1, tmp_path, test_folder="none")


@pytest.mark.parametrize("good", ["normal", "good", "OK"])
@pytest.mark.parametrize(
    "bad", ["abnormal", "defects", "defective", "bad", "NOK", "ng", "anomalous", "crack"]
)
def test_plain_layout_by_other_names(tmp_path, good, bad):
    tree(tmp_path, **{good: 9, bad: 4})
    dataset = load(1, tmp_path, test_share=0.5)
    found = {e.path.rpartition("/")[0]: e.label for e in dataset.examples}
    assert found == {good: "normal", bad: "abnormal"} and len(dataset.examples) == 13
    assert (dataset.notes.lines() == []) == ((good, bad) == ("normal", "abnormal"))
    if dataset.notes.lines():
        assert (
            f"{good} (9 images) taken as normal, as kinds of defects: {bad} (4)" in dataset.notes.lines()[0]
        )


def test_plain_layout_asks_and_takes_masks(tmp_path):
    tree(tmp_path, OK=9, scratch=4, masks__scratch=4, healthy=3)
    with pytest.raises(DataError, match=r"healthy \(3 images\) normal\? --config.data.good=ok,healthy"):
        load(1, tmp_path)
    dataset = load(1, tmp_path, good="ok,healthy", test_share=0.5)
    assert sum(not e.abnormal for e in dataset.examples) == 12
    assert {e.mask for e in dataset.examples if e.abnormal} == {f"masks/scratch/{i}.png" for i in range(4)}


def test_images_that_lie_directly_in_a_split(tmp_path):
    tree(tmp_path, train=5, test__good=1)
    with pytest.raises(DataError, match=r"train: 5 images lie directly in it: are they normal\?"):
        load(1, tmp_path)
    dataset = load(1, tmp_path, good="good,.")
    assert len(dataset.select("train", "normal")) == 5
    tree(tmp_path, train__good=2, **{"": 3})
    told = load(1, tmp_path).notes.lines()
    assert [line[:45] for line in told] == [
        "5 images lie directly in train/ and are left ",
        "3 images lie directly in the folder of the da",
    ]
    write(tmp_path / "only/0.png")
    with pytest.raises(
        DataError, match="1 images lie directly in it: put them into .*only/train/good"
    ) as error:
        load(1, tmp_path / "only")
    assert "--config.data.name=manifest --config.data.path=LIST.csv" in str(error.value)


def test_annotations_beside_images_that_lie_directly_are_told(tmp_path):
    tree(tmp_path, train=5)
    (tmp_path / "train/_annotations.coco.json").write_text("{}")
    with pytest.raises(
        DataError, match="as normal, whatever _annotations.coco.json beside them says; a folder"
    ):
        load(1, tmp_path)
    (line,) = load(1, tmp_path, good=".").notes.lines()
    assert line.startswith(f"1 JSON files are left out, such as {tmp_path}/train/_annotations.coco.json")


def write_mask(path, value):
    """A mask of which a corner has a value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.zeros((5, 6), np.uint8)
    values[:2, :2] = value
    Image.fromarray(values).save(path)


def test_masks_of_images_that_lie_directly_say_which_are_abnormal(tmp_path):
    """As in KolektorSDD2: train/1.png and train/1_GT.png, black where there is no defect."""
    tree(tmp_path, train=4, test=2)
    for split, marked in (("train", (2, 3)), ("test", (1,))):
        for image in sorted((tmp_path / split).glob("*.png")):
            write_mask(image.with_name(f"{image.stem}_GT.png"), 255 * (int(image.stem) in marked))
    with pytest.raises(DataError) as error:
        load(1, tmp_path)
    assert "train: 4 images lie directly in it: are they normal? --config.data.good=. takes" in str(
        error.value
    )
    assert "but for those whose mask marks something; a folder each" in str(error.value)
    dataset = load(1, tmp_path, good=".")
    found = {(e.path, e.label, e.mask, e.kind) for e in dataset.examples}
    assert found == {
        ("train/0.png", "normal", None, None),
        ("train/1.png", "normal", None, None),
        ("train/2.png", "abnormal", "train/2_GT.png", "defect"),
        ("train/3.png", "abnormal", "train/3_GT.png", "defect"),
        ("test/0.png", "normal", None, None),
        ("test/1.png", "abnormal", "test/1_GT.png", "defect"),
    }
    assert dataset.notes.lines() == [
        "6 masks lie beside their images, such as train/0_GT.png: no images",
        "2 images in train/ have a mask that marks something, such as train/2.png: taken as abnormal, of the "
        "kind defect",
        "1 images in test/ have a mask that marks something, such as test/1.png: taken as abnormal, of the "
        "kind defect",
    ]


def test_a_folder_of_masks_beside_images_that_lie_directly(tmp_path):
    """As in DAGM 2007: Train/1.png, and Train/Label/1_label.png of the defective ones alone."""
    tree(tmp_path, Train=4, Test__good=1)
    write_mask(tmp_path / "Train/Label/0_label.png", 255)
    with pytest.raises(DataError, match=r"Train: 4 images lie directly in it: are they normal\?") as error:
        load(1, tmp_path)
    assert "--config.data.good=good,. takes them as normal, but for" in str(error.value)
    assert "--config.data.good=good leaves them out" in str(error.value)
    dataset = load(1, tmp_path, good=".,good")
    assert [(e.path, e.label) for e in dataset.select("train")] == [
        *((f"Train/{i}.png", "normal") for i in (1, 2, 3)),
        ("Train/0.png", "abnormal"),
    ]
    assert {e.mask for e in dataset.examples if e.abnormal} == {"Train/Label/0_label.png"}


@pytest.mark.parametrize("splits", [("train", "test"), ("",)])
def test_images_and_masks_side_by_side(tmp_path, splits):
    """images/1.png and masks/1.png, black where there is no defect: as tools for segmentation have them."""
    for split in splits:
        for i in range(6):
            write(tmp_path / split / f"images/{i}.png")
            write_mask(tmp_path / split / f"masks/{i}.png", 255 * (i in (1, 4)))
    with pytest.raises(DataError, match="images .6 images.") as error:
        load(1, tmp_path)
    assert (
        "--config.data.good=images takes them as normal, but for those whose mask marks something, else"
        in (str(error.value))
    )
    dataset = load(1, tmp_path, good="images")
    assert {e.path: e.mask for e in dataset.examples if e.abnormal} == {
        os.path.join(split, f"images/{i}.png"): os.path.join(split, f"masks/{i}.png")
        for split in splits
        for i in (1, 4)
    }
    assert len(dataset.examples) == 6 * len(splits) and {e.kind for e in dataset.examples} == {None, "defect"}
    told = [line for line in dataset.notes.lines() if "each is split into" not in line]
    assert [line.split(" in ")[0] for line in told] == ["2 images"] * len(splits)


def test_names_count_however_their_accents_are_encoded(tmp_path):
    write(tmp_path / "train/good", 3)
    write(
        tmp_path
        / "test"
        / unicodedata.normalize("NFD", "Gr\u00e4te")
        / unicodedata.normalize("NFD", "\u00e4.png")
    )
    mask = tmp_path / unicodedata.normalize("NFC", "ground_truth/Gr\u00e4te/\u00e4_mask.png")
    write_mask(mask, 255)
    (example,) = load(1, tmp_path).select("test")
    assert example.mask == str(mask.relative_to(tmp_path))


@pytest.mark.parametrize(
    "train, test, alike",
    [
        ("scratch", "Scratches", True),
        ("crack", "cracks", True),
        ("hole_1", "hole_2", False),
        ("dent", "bent", False),
    ],
)
def test_kinds_that_are_named_nearly_alike_are_told(tmp_path, train, test, alike):
    tree(tmp_path, train__good=2, **{f"train__{train}": 1, f"test__{test}": 1})
    lines = load(1, tmp_path).notes.lines()
    told = f"{tmp_path}: train/{train} and test/{test} are taken as two kinds of defects; name both alike"
    assert [line.startswith(told) for line in lines] == [True] * alike


def test_folders_within_a_kind_are_read_and_told(tmp_path):
    tree(
        tmp_path,
        train__good__lot1=3,
        train__good=2,
        train__good__thumbnails=2,
        train__good__ignore=1,
    )
    write_mask(tmp_path / "train/good/masks/0.png", 255)
    tree(tmp_path, test__cut__a=1, test__cut__b=1, ground_truth__cut__a=1, ground_truth__cut__b=1)
    dataset = load(1, tmp_path)
    assert len(dataset.select("train")) == 5
    masks = {e.path: e.mask for e in dataset.select("test")}
    assert masks == {f"test/cut/{x}/0.png": f"ground_truth/cut/{x}/0.png" for x in "ab"}
    told = dataset.notes.lines()
    assert told[0].startswith(
        "4 images in folders named as those of masks, ignored regions or thumbnails are"
    )
    assert told[1].startswith("1 files named as masks of normal images mark something, such as train/good/ma")
    assert told[2].startswith("5 images in folders within those of a kind are read as of this kind")


@pytest.mark.parametrize(
    "inner, words", [("good/nok", "abnormal images"), ("station1/good", "normal images")]
)
def test_a_folder_of_the_other_label_within_one_is_refused(tmp_path, inner, words):
    tree(tmp_path, train__good=3, test__good=1, **{f"test__{inner.replace('/', '__')}": 2})
    with pytest.raises(DataError, match=f"test/{inner}: named as a folder of {words}"):
        load(1, tmp_path)


@pytest.mark.parametrize(
    "name", ["{}_GT.png", "{}_mask.png", "{}-label.png", "{}.mask.bmp", "{}_ground_truth.png"]
)
def test_masks_beside_their_images(tmp_path, name):
    tree(tmp_path, train__good=3, test__good=2, test__cut=2)
    for folder in ("train/good", "test/cut"):
        for i in range(2):
            write_mask(tmp_path / folder / name.format(i), 255)
    dataset = load(1, tmp_path)
    assert len(dataset.select("train")) == 3 and len(dataset.select("test")) == 4
    assert [e.mask for e in dataset.select("test", "abnormal")] == [
        f"test/cut/{name.format(i)}" for i in range(2)
    ]
    first, marked, second = dataset.notes.lines()
    assert first.startswith("2 masks lie beside their images, such as train/good/") and "left out" in first
    assert marked.startswith("2 files named as masks of normal images mark something, such as train/good/")
    assert second.endswith("taken as the masks of these")


@pytest.mark.parametrize(
    "name", ["mask_{}.png", "{}.png.bmp", "{}.png_mask.png", "{}_mask_0.png", "{}-GT2.png"]
)
def test_masks_by_other_names(tmp_path, name):
    tree(tmp_path, train__good=3, test__good=2, test__cut=2)
    for i in range(2):
        write_mask(tmp_path / "ground_truth/cut" / name.format(i), 255)
    dataset = load(1, tmp_path)
    assert [e.mask for e in dataset.select("test", "abnormal")] == [
        f"ground_truth/cut/{name.format(i)}" for i in range(2)
    ]
    assert dataset.notes.lines() == []


@pytest.mark.parametrize("place", ["test/cut", "ground_truth/cut"])
def test_numbered_masks_are_joined(tmp_path, place):
    tree(tmp_path, train__good=3, test__good=2, test__cut=2)
    for i in range(2):
        for j in (0, 10, 2):
            write_mask(tmp_path / place / f"{i}_mask_{j}.png", 255)
    values = np.zeros((5, 6), np.uint8)
    values[4, 5] = 1
    Image.fromarray(values).save(tmp_path / place / "0_mask_10.png")
    dataset = load(1, tmp_path)
    first, second = dataset.select("test", "abnormal")
    assert first.mask == f"{place}/0_mask*.png"
    assert np.argwhere(dataset.read_mask(first)).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1], [4, 5]]
    assert dataset.read_mask(second).sum() == 4
    *_, told = dataset.notes.lines()
    assert (
        told
        == f"2 images have several masks, such as {place}/0_mask*.png: what any of them marks is abnormal"
    )
    rows = record.rows_of(dataset, Splits([], [], [], [], [first, second]))
    assert not record.compare(dataset, rows, "test").changed
    write_mask(tmp_path / place / "1_mask_2.png", 0)
    assert [(row.path, how) for row, how in record.compare(dataset, rows, "test").changed] == [
        ("test/cut/1.png", "its mask")
    ]
    write_mask(tmp_path / place / "0_GT.png", 255)
    with pytest.raises(
        DataError, match=f"{place}/0_GT.png and {place}/0_mask_0.png are masks of the same image"
    ):
        load(1, tmp_path)


def test_masks_that_are_missing_name_those_of_no_image(tmp_path):
    tree(tmp_path, train__good=3, test__good=1, test__cut=2)
    for name in ("0_0", "0_1"):
        write_mask(tmp_path / f"ground_truth/cut/{name}.png", 255)
    with pytest.raises(
        DataError, match="for 2 images, the first is test/cut/0.png; 2 masks there are of no image"
    ):
        load(1, tmp_path)


def polygon(path, *points, size=(5, 6)):
    path.parent.mkdir(parents=True, exist_ok=True)
    shapes = [{"points": points, "shape_type": "polygon", "label": "cut"}] if points else []
    path.write_text(json.dumps({"shapes": shapes, "imageHeight": size[0], "imageWidth": size[1]}))


def test_polygons_of_labelme_are_masks(tmp_path):
    tree(tmp_path, train__good=3, test__good=1, test__cut=2, train__cut=1)
    place = tmp_path / "ground_truth/test/cut"
    polygon(place / "0.json", [0, 0], [3, 0], [3, 2], [0, 2])
    polygon(place / "1.json", [0, 0], [3, 0], [3, 2])
    write_mask(place / "1_mask.png", 255)
    polygon(tmp_path / "train/cut/0.json", [0, 0], [3, 0], [3, 2])
    dataset = load(1, tmp_path)
    first, second = dataset.select("test", "abnormal")
    assert np.argwhere(dataset.read_mask(first)).tolist() == [[y, x] for y in range(2) for x in range(3)]
    assert second.mask == "ground_truth/test/cut/1_mask.png"
    read_all(dataset, dataset.examples)
    lines = [line.split(":")[0].split(";")[0] for line in dataset.notes.lines()]
    assert [line for line in lines if "JSON" in line or "polygons" in line] == [
        f"1 JSON files are left out, such as {tmp_path}/train/cut/0.json",
        "1 JSON files are not used, such as ground_truth/test/cut/1.json",
        "1 masks are polygons, such as ground_truth/test/cut/0.json",
    ]
    polygon(place / "0.json", [0, 0], [3, 0], [3, 2], size=(6, 5))
    with pytest.raises(
        DataError, match="0.json: the mask has 5 x 6 pixels, but its image .*cut/0.png has 6 x 5"
    ):
        dataset.read_mask(first)


@pytest.mark.parametrize("masks, images", [("test/cut_mask", "test/cut"), ("cut-GT", "cut")])
def test_a_folder_named_as_masks_of_the_one_beside_it(tmp_path, masks, images):
    good = "test/good" if "/" in images else "good"
    tree(tmp_path, **({"train__good": 3} if "/" in images else {}), **{good.replace("/", "__"): 9})
    write(tmp_path / images, 2)
    for i in range(2):
        write_mask(tmp_path / masks / f"{i}.png", 255)
    write_mask(tmp_path / f"{good}_mask/0.png", 0)
    dataset = load(1, tmp_path)
    assert {e.path: e.mask for e in dataset.examples if e.abnormal} == {
        f"{images}/{i}.png": f"{masks}/{i}.png" for i in range(2)
    }
    assert dataset.notes.lines()[-1].startswith(
        f"1 masks lie in no folder of a kind of defect, such as {good}_m"
    )


@pytest.mark.parametrize("images, masks", [("", "masks"), ("images", "ground_truth"), ("", "GT/lot1")])
def test_masks_in_a_folder_within_that_of_their_images(tmp_path, images, masks):
    tree(tmp_path, train__good=3)
    lot = "lot1" if "lot1" in masks else ""
    for i in range(2):
        write(tmp_path / "test/cut" / images / lot / f"{i}.png")
        write_mask(tmp_path / "test/cut" / masks / f"{i}_mask.png", 255)
    write_mask(tmp_path / "test/cut" / masks / "7.png", 255)
    dataset = load(1, tmp_path)
    assert [e.mask for e in dataset.select("test")] == [f"test/cut/{masks}/{i}_mask.png" for i in range(2)]
    told = [line for line in dataset.notes.lines() if "mask" in line]
    assert told[0] == f"1 masks are of no image, such as test/cut/{masks}/7.png: not used"
    assert told[1].endswith("taken as the masks of these") and len(told) == 2


def test_a_label_may_be_what_is_missing(tmp_path):
    tree(tmp_path, train__good=3, test__missing=2, test__missing_label=2)
    write(tmp_path / "train/good/label_1.png")
    assert len(load(1, tmp_path).select("train")) == 4
    assert labels(load(1, tmp_path), "test") == dict.fromkeys(
        ("test/missing", "test/missing_label"), "abnormal"
    )


def test_masks_of_normal_images_that_mark_something_are_told(tmp_path):
    tree(tmp_path, train__good=3, test__good=3, test__cut=1)
    for place in ("ground_truth/good", "train/good", "test/good/masks"):
        for i in range(3):
            write_mask(tmp_path / place / f"{i}_mask.png", 255 * (i > 0))
    write_mask(tmp_path / "ground_truth/cut/0.png", 255)
    told = [line for line in load(1, tmp_path).notes.lines() if "mark something" in line]
    assert told == [
        "6 files named as masks of normal images mark something, such as train/good/1_mask.png: not used, "
        "and their images are taken as normal; look whether they are"
    ]


def test_masks_of_no_image_and_of_no_kind_are_told(tmp_path):
    tree(tmp_path, train__good=3, test__cut=1, test__good=1, ground_truth__cut=2, ground_truth__other=3)
    tree(tmp_path, ground_truth=1)
    assert load(1, tmp_path).notes.lines() == [
        "1 masks are of no image, such as ground_truth/cut/1.png: not used",
        "1 masks lie in no folder of a kind of defect, such as ground_truth/0.png: not used",
        "3 masks are in folders of no kind of defect, such as ground_truth/other: not used",
    ]


def test_masks_without_folders_are_those_of_the_only_kind(tmp_path):
    tree(tmp_path, train__good=3, test__bad=2, test__good=1, ground_truth=2)
    dataset = load(1, tmp_path)
    assert [e.mask for e in dataset.select("test", "abnormal")] == [f"ground_truth/{i}.png" for i in range(2)]


@pytest.mark.parametrize(
    "suffix", ["heic", "AVIF", "raw", "dng", "npy", "exr", "hdr", "dcm", "nef", "cr2", "heif"]
)
def test_files_that_could_be_images_are_told(tmp_path, suffix):
    tree(tmp_path, train__good=3, test__good=1)
    for i in range(2):
        (tmp_path / f"train/good/x{i}.{suffix}").write_bytes(b"x")
    (tmp_path / "train/good/notes.txt").write_text("no image")
    other, line = load(1, tmp_path).notes.lines()
    assert other.startswith("1 files that are no images, by their names, are left out") and "notes" in other
    assert (
        line.startswith("2 files of formats that are not read are left out, such as ")
        and f"x0.{suffix}" in line
    )


@pytest.mark.parametrize("suffix", ["jfif", "JPE", "tga", "dib", "pcx", "j2k"])
def test_more_suffixes_are_read(tmp_path, suffix):
    tree(tmp_path, train__good=3, test__good=1)
    path = tmp_path / f"train/good/x.{suffix}"
    Image.new("RGB", (6, 5), (255, 255, 255)).save(path)
    dataset = load(1, tmp_path)
    (example,) = [e for e in dataset.examples if e.path.endswith(suffix)]
    np.testing.assert_allclose(dataset.read_image(example), np.ones((5, 6, 1)), atol=0.02)


def test_links_to_folders_are_followed_once(tmp_path):
    tree(tmp_path, train__good=3, test__good=1, elsewhere=2)
    shutil.move(tmp_path / "elsewhere", tmp_path.parent / f"{tmp_path.name}_elsewhere")
    (tmp_path / "train/good/link").symlink_to(tmp_path.parent / f"{tmp_path.name}_elsewhere")
    (tmp_path / "train/good/loop").symlink_to(tmp_path / "train/good")
    assert len(load(1, tmp_path).select("train")) == 5


@pytest.mark.parametrize(
    "folders, name", [("ok__test ok__train", "ok"), ("train__good__val train__good", "good")]
)
def test_a_split_within_a_label_is_not_mixed_up(tmp_path, folders, name):
    tree(tmp_path, **dict.fromkeys(folders.split(), 3))
    inner = "ok/test" if name == "ok" else "train/good/val"
    with pytest.raises(
        DataError, match=f"{tmp_path}/{inner}: named as a folder of a split, but within "
    ) as error:
        load(1, tmp_path)
    assert f"--config.data.good={name} takes all images" in str(error.value)
    assert len(load(1, tmp_path, good=name).examples) == 6


def test_folders_without_images_are_told(tmp_path):
    tree(tmp_path, train__good=3, **{"train__.cache": 2})
    (tmp_path / "test/cut").mkdir(parents=True)
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/coco.json").touch()
    assert load(1, tmp_path).notes.lines() == [
        f"2 images in hidden folders are left out, such as those in {tmp_path}/train/.cache",
        f"2 folders hold no images, such as {tmp_path}/test/cut: not used",
    ]


def test_what_commands_have_written_among_the_images_is_left_out(tmp_path):
    """A run, a bundle and scores of these very images: their pictures are no kind of defect."""
    tree(
        tmp_path,
        normal=9,
        abnormal=3,
        run__plots=1,
        bundle__x=1,
        normal__overlays=2,
        scored__overlays__deep=2,
    )
    (tmp_path / "run/config.json").touch()
    (tmp_path / "run/checkpoints").mkdir()
    (tmp_path / "bundle/bundle.json").touch()
    for folder in ("normal", "scored"):
        (tmp_path / folder / "scores.csv").write_text("path,score,label,status\n")
    dataset = load(1, tmp_path)
    assert len(dataset.examples) == 12 and {e.kind for e in dataset.examples} == {None, "abnormal"}
    assert [line.split(", such")[0] for line in dataset.notes.lines()] == [
        "6 images in folders that a command here has written are left out",
        "2 files that are no images, by their names, are left out",
    ]
