"""The record of a run's files: what has changed, who keeps its use, and how new files join."""

import dataclasses
import pathlib

import numpy as np
import pytest
from PIL import Image

from semi_anogan.config import default_config
from semi_anogan.data import catalog, record
from semi_anogan.data.record import HELD_OUT, TEST, TRAIN
from semi_anogan.data.splits import split
from semi_anogan.errors import DataError, RunError
from semi_anogan.runs import files_csv, places
from semi_anogan.runs import folder as run_folder


def image(path, value):
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8), value, np.uint8)).save(path)


@pytest.fixture
def parts(tmp_path):
    """20 normal and 3 known abnormal training images, the first with a mask; 2 test images."""
    root = tmp_path / "parts"
    for i in range(20):
        image(root / f"train/good/{i}.png", i)
    for i in range(3):
        image(root / f"train/cut/{i}.png", 100 + i)
    image(root / "ground_truth/cut/0.png", 255)
    image(root / "test/good/0.png", 200)
    image(root / "test/hole/0.png", 201)
    return root


def listed(root, **options):
    return catalog.load("folder", 1, root=str(root), **options)


def names(examples):
    return [e.path for e in examples]


def test_a_record_is_read_as_it_was_written(parts, tmp_path):
    dataset = listed(parts)
    splits = split(dataset, 0.2, 0)
    rows = record.rows_of(dataset, splits)
    rows.append(dataclasses.replace(rows[0], path="m\udcfc,nze.png", gone=True, hidden=True))
    files_csv.write(tmp_path / "files.csv", rows)
    assert files_csv.read(tmp_path / "files.csv") == rows
    uses = [(row.use, row.label) for row in rows[:-1]]
    assert [uses.count(u) for u in ((TRAIN, "normal"), (TRAIN, "abnormal"), (HELD_OUT, "normal"))] == [
        16,
        3,
        4,
    ]
    assert uses.count((TEST, "normal")) == uses.count((TEST, "abnormal")) == 1
    (masked,) = [row for row in rows if row.mask]
    assert masked.path == "train/cut/0.png" and len(masked.mask_sha256) == 64
    assert masked.size == (parts / masked.path).stat().st_size
    assert files_csv.read(tmp_path / "none.csv") is None
    assert record.recorded(dataset, rows[:-1]) == splits
    for damage in ("train/good/1.png,train,normal,many,x", "train/good/1.png,train,good,1," + 64 * "a"):
        (tmp_path / "files.csv").write_text(",".join(files_csv.COLUMNS) + f"\n{damage},,,,\n")
        with pytest.raises(RunError, match="files.csv: row 2: cannot be read"):
            files_csv.read(tmp_path / "files.csv")


def test_every_kind_of_change_is_told_with_count_and_example(parts):
    before = listed(parts)
    splits = split(before, 0.2, 0)
    rows = record.rows_of(before, splits)
    assert not record.compare(before, rows, "train") and not record.compare(before, rows, "test")
    image(parts / "train/good/20.png", 20)
    image(parts / "train/good/21.png", 21)
    image(parts / "train/cut/9.png", 109)
    (parts / "train/good/3.png").unlink()
    image(parts / "train/good/4.png", 44)  # of the same size perhaps
    image(parts / "ground_truth/cut/0.png", 254)
    (parts / "train/good/5.png").rename(parts / "train/good/five.png")
    image(parts / "test/good/1.png", 210)
    now = listed(parts)
    changes = record.compare(now, rows, "train")
    assert names(changes.new) == ["train/good/20.png", "train/good/21.png", "train/cut/9.png"]
    assert changes.lines("training") == [
        "3 training images are new (2 normal, 1 abnormal), such as train/good/20.png",
        "1 training images of the run are missing, such as train/good/3.png",
        "2 training images of the run have changed, such as train/cut/0.png (its mask)",
        "1 training images of the run have another name, such as train/good/5.png, now "
        "train/good/five.png: taken as the same",
    ]
    assert {(row.path, how) for row, how in changes.changed} == {
        ("train/good/4.png", "its content"),
        ("train/cut/0.png", "its mask"),
    }
    assert record.compare(now, rows, "test").lines("test") == [
        "1 test images are new (1 normal, 0 abnormal), such as test/good/1.png"
    ]
    # The recorded split, new files left out; the renamed one stands in its place.
    (parts / "train/good/five.png").rename(parts / "train/good/5.png")
    again = record.recorded(listed(parts), rows)
    assert names(again.training) == names(splits.training) and len(again.test) == 3
    five = record.recorded(now, rows, changes.renamed)
    assert names(five.training) == [
        "train/good/five.png" if path == "train/good/5.png" else path for path in names(splits.training)
    ]


def test_a_data_root_is_remembered_or_it_is_said_why_not(tmp_path, monkeypatch, capsys):
    run, elsewhere, config = tmp_path / "run", tmp_path / "elsewhere", default_config()
    run.mkdir()
    elsewhere.mkdir()
    config.data.root = str(tmp_path / "gone")
    with pytest.raises(DataError, match="--data_root=DIR says where the images are now"):
        places.find(config, run)
    places.find(config, run, str(elsewhere))
    places.remember(run, config)
    assert capsys.readouterr().out == f"note: {run}: its images are in {elsewhere} from now on\n"
    config.data.root = str(tmp_path / "gone")
    places.find(config, run)
    assert config.data.root == str(elsewhere)

    def full(path, values):
        raise RunError(f"{path}: cannot be written: no space left")

    monkeypatch.setattr(run_folder, "write_json", full)
    config.data.root = str(tmp_path)
    places.remember(run, config)
    told = f"note: --data_root is not remembered: {run / 'data.json'}: cannot be written: no space left\n"
    assert capsys.readouterr().out == told


def test_what_is_ignored_of_an_image_is_recorded_and_a_change_is_told(parts, tmp_path):
    """A changed, a lost and a new mask; of a record of before nothing is known."""
    mask = np.zeros((8, 8), np.uint8)
    mask[:2] = 255
    for name in ("train/good/1", "train/good/2", "train/cut/1", "test/good/0"):
        path = parts / f"ignore/{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(path)
    before = listed(parts)
    rows = record.rows_of(before, split(before, 0.2, 0))
    files_csv.write(tmp_path / "files.csv", rows)
    assert files_csv.read(tmp_path / "files.csv") == rows
    first = next(row for row in rows if row.path == "train/good/1.png")
    size = (parts / "ignore/train/good/1.png").stat().st_size
    assert (first.ignore, first.ignore_size) == ("ignore/train/good/1.png", size)
    assert len(first.ignore_sha256) == 64 and sum(bool(row.ignore) for row in rows) == 4
    assert not record.compare(before, rows, "train") and not record.compare(before, rows, "test")

    mask[5] = 255
    Image.fromarray(mask).save(parts / "ignore/train/good/1.png")
    (parts / "ignore/train/cut/1.png").unlink()
    (parts / "ignore/test/good/0.png").rename(parts / "ignore/train/good/3.png")
    now = listed(parts)
    changes = record.compare(now, rows, "train")
    assert changes.lines("training") == [
        "3 training images of the run have changed, such as train/good/1.png (what is ignored of it)"
    ]
    assert {row.path for row, _ in changes.changed} == {
        f"train/{n}.png" for n in ("good/1", "good/3", "cut/1")
    }
    assert record.compare(now, rows, "test").lines("test") == [
        "1 test images of the run have changed, such as test/good/0.png (what is ignored of it)"
    ]
    # Where training images are looked for but not read, a mask of another size is noticed.
    seen = record.compare(now, rows, "train", chosen=True, contents=False)
    bigger = size != (parts / "ignore/train/good/1.png").stat().st_size
    assert len(seen.changed) == 2 + bigger
    # A renamed image keeps its name in the record if its mask went with it.
    for name in ("", "ignore/"):
        (parts / f"{name}train/good/2.png").rename(parts / f"{name}train/good/two.png")
    for contents in (True, False):
        moved = record.compare(listed(parts), rows, "train", contents=contents)
        assert list(moved.renamed) == ["train/good/2.png"] and not moved.missing and not moved.new

    lines = (tmp_path / "files.csv").read_text().splitlines()
    (tmp_path / "files.csv").write_text("\n".join(line.rsplit(",", 3)[0] for line in lines))
    old = files_csv.read(tmp_path / "files.csv")
    assert {row.ignore_sha256 for row in old} == {record.NOT_RECORDED}
    assert not record.compare(now, old, "train").changed and not record.compare(now, old, "test")
    files_csv.write(tmp_path / "files.csv", old)
    assert files_csv.read(tmp_path / "files.csv") == old


def test_a_label_that_changes_and_an_image_that_moves_to_the_test(tmp_path):
    for i in range(8):
        image(tmp_path / f"{i}.png", i)
    lines = ["path,split,label", *(f"{i}.png,train,normal" for i in range(8))]
    (tmp_path / "parts.csv").write_text("\n".join(lines))
    before = catalog.load("manifest", 1, path=str(tmp_path / "parts.csv"))
    rows = record.rows_of(before, split(before, 0.25, 0))
    lines[1], lines[2] = "0.png,train,abnormal", "1.png,test,normal"
    (tmp_path / "parts.csv").write_text("\n".join(lines[:-1]))
    now = catalog.load("manifest", 1, path=str(tmp_path / "parts.csv"))
    changes = record.compare(now, rows, "train")
    assert {(row.path, how) for row, how in changes.changed} == {
        ("0.png", "normal before, now abnormal"),
        ("1.png", "now a test image"),
    }
    assert [row.path for row in changes.missing] == ["7.png"]  # its row, not its file
    joined = record.joined(now, rows, changes, 0.25, 0)
    assert set(names(joined.training)) == {f"{i}.png" for i in (0, 2, 3, 4, 5, 6)}
    assert names(joined.abnormal) == ["0.png"]
    left = record.gone(rows, joined)
    assert {row.path for row in left} == {"1.png", "7.png"} and all(row.gone for row in left)
    tests = [row for row in record.rows_of(now, joined) if row.use == TEST]
    ((test, trained),) = record.trained_on([*record.rows_of(now, joined), *left], tests)
    assert test.path == trained.path == "1.png"


def test_new_normal_images_join_by_the_hash_of_their_name_alone(parts):
    before = listed(parts)
    rows = record.rows_of(before, split(before, 0.2, 0))
    for i in range(100, 300):
        image(parts / f"train/good/{i}.png", i % 256)
    now = listed(parts)
    joined = record.joined(now, rows, record.compare(now, rows, "train"), 0.2, 0)
    held = set(names(joined.held_out_normal))
    for row in rows:
        if row.use != TEST:
            assert (row.path in held) == (row.use == HELD_OUT)
    new = [f"train/good/{i}.png" for i in range(100, 300)]
    assert [n in held for n in new] == [record.hash_of(n, 0) < 0.2 for n in new]
    assert 25 <= sum(n in held for n in new) <= 55  # 40 on the mean, 5.7 standard deviation
    # With fewer other files the same ones are held out.
    for i in range(150, 300):
        (parts / f"train/good/{i}.png").unlink()
    fewer = listed(parts)
    again = record.joined(fewer, rows, record.compare(fewer, rows, "train"), 0.2, 0)
    assert set(names(again.held_out_normal)) == held - set(new[50:])


def test_the_hash_is_not_the_one_that_splits_a_folder():
    """Of the second layout's training images none would else be held out: their hash is 0.3 or more."""
    from semi_anogan.data.sources.folder import _hash_of

    train = [name for i in range(300) if _hash_of(name := f"normal/{i}.png", 0) >= 0.3]
    held = sum(record.hash_of(name, 0) < 0.2 for name in train)
    assert len(train) > 180 and 0.1 < held / len(train) < 0.3


@pytest.mark.parametrize(
    ("before", "new", "held_before", "held"),
    [(10, 20, 0, 0), (30, 20, 0, 10), (40, 10, 8, 10), (60, 5, 12, 12)],
)
def test_new_known_defects_are_held_out_as_far_as_so_many_would_be(tmp_path, before, new, held_before, held):
    """A fifth, 8 to 12 or none; recorded ones keep their use."""
    for i in range(10):
        image(tmp_path / f"train/good/{i}.png", i)
    for i in range(before):
        image(tmp_path / f"train/cut/{i}.png", i)
    first = listed(tmp_path)
    splits = split(first, 0.2, 0)
    assert len(splits.held_out_abnormal) == held_before
    rows = record.rows_of(first, splits)
    for i in range(before, before + new):
        image(tmp_path / f"train/cut/{i}.png", i)
    now = listed(tmp_path)
    joined = record.joined(now, rows, record.compare(now, rows, "train"), 0.2, 0)
    assert len(joined.held_out_abnormal) == held and len(joined.abnormal) == before + new - held
    assert set(names(splits.held_out_abnormal)) <= set(names(joined.held_out_abnormal))
    assert set(names(splits.abnormal)) <= set(names(joined.abnormal))


def test_a_number_of_known_defects_that_was_asked_for_stays(parts):
    before = listed(parts, abnormal_count=2)
    rows = record.rows_of(before, split(before, 0.2, 0))
    image(parts / "train/an_edge/0.png", 120)  # the first of a turn: 1.png is now beyond the count
    now = listed(parts, abnormal_count=2)
    changes = record.compare(now, rows, "train", chosen=True)
    assert not changes.missing and not changes.changed and len(changes.new) == 1
    joined = record.joined(now, rows, changes, 0.2, 0, most_known=2)
    assert names(joined.abnormal) == ["train/cut/0.png", "train/cut/1.png"]


def test_too_few_left_is_told(parts):
    before = listed(parts)
    splits = split(before, 0.2, 0)
    rows = record.rows_of(before, splits)
    for example in splits.held_out_normal[1:]:
        (parts / example.path).unlink()
    now = listed(parts)
    with pytest.raises(DataError, match="16 normal images to train with and 1 held out are left; 2 each"):
        record.joined(now, rows, record.compare(now, rows, "train"), 0.2, 0)


def test_places_are_found_from_elsewhere_and_after_a_move(tmp_path, monkeypatch):
    (tmp_path / "a/parts").mkdir(parents=True)
    (tmp_path / "a/runs/1").mkdir(parents=True)
    (tmp_path / "b/parts").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a")
    config = default_config()
    config.data.root = "parts"
    run_folder.keep_places("runs/1", places.kept("runs/1", config))

    def found(folder, data_root=None):
        now = default_config()
        now.data.root = "parts"
        places.find(now, folder, data_root)
        return pathlib.Path(now.data.root).resolve()

    monkeypatch.chdir(tmp_path / "b")  # where another folder has the same name
    assert found(tmp_path / "a/runs/1") == tmp_path / "a/parts"
    assert found(tmp_path / "a/runs/1", str(tmp_path / "b/parts")) == tmp_path / "b/parts"
    with pytest.raises(DataError, match="--data_root: 'nowhere' is not a folder"):
        found(tmp_path / "a/runs/1", "nowhere")
    (tmp_path / "a").rename(tmp_path / "c")
    monkeypatch.chdir(tmp_path)
    assert found("c/runs/1") == tmp_path / "c/parts"
    (tmp_path / "c/parts").rename(tmp_path / "gone")
    with pytest.raises(DataError, match=f"data.root: {tmp_path}/a/parts is not there; --data_root=DIR says"):
        found("c/runs/1")


def test_what_was_not_given_never_differs(tmp_path):
    """What followed from the data at first stays; what is given and differs is refused as ever."""
    config = default_config()
    found = {
        "data.white": 4095.0,
        "model.aspect": 2.0,
        "features.sizes": "64",
        "features.trainable_blocks": 2,
    }
    config.update_from_flattened_dict({**found, "data.black": 0.0})
    run_folder.claim(tmp_path, config)
    now = default_config()
    run_folder.inherit(now, tmp_path)
    assert run_folder.claim(tmp_path, now) == []
    now.features.trainable_blocks = 3
    run_folder.inherit(now, tmp_path)
    with pytest.raises(RunError, match="features.trainable_blocks was 2, now 3"):
        run_folder.claim(tmp_path, now)
    # Another place of the data is refused only where no record says that they are the same.
    now = config.copy_and_resolve_references()
    now.data.root = "/elsewhere"
    with pytest.raises(RunError, match="data.root was None, now '/elsewhere'"):
        run_folder.claim(tmp_path, now)
    files_csv.write(tmp_path / "files.csv", [])
    assert run_folder.claim(tmp_path, now) == ["data.root was None, now '/elsewhere'"]
