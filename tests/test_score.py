"""The score command: every file gets its row, bad ones an error; nothing done is lost, and memory does not
grow.
"""

import csv
import dataclasses
import errno
import json
import os
import pathlib
import re
import shutil
import time
import tracemalloc
import types
import weakref

import numpy as np
import pytest
from PIL import Image

from helpers import bad_files
from helpers.processes import command
from helpers.trained import CALIBRATION, StandInDetector
from semi_anogan import cli, score
from semi_anogan.data import ignore_files, image_arrays
from semi_anogan.data import images as image_io
from semi_anogan.data.image_files import ImageError
from semi_anogan.data.notes import Notes
from semi_anogan.errors import RunError
from semi_anogan.scoring import files as score_files
from semi_anogan.scoring import resume
from semi_anogan.scoring.chosen import Chosen
from semi_anogan.scoring.outputs import COLUMNS, Outputs, claimed, picture_name


def rows_of(output) -> list[dict[str, str]]:
    with open(output / "scores.csv", newline="", encoding="utf-8", errors="surrogateescape") as file:
        reader = csv.DictReader(file)
        assert tuple(reader.fieldnames) == COLUMNS
        return list(reader)


@pytest.fixture(scope="module")
def odd_folder(tmp_path_factory, test_images):
    """The odd files, and in a folder beside them two of the data's own."""
    folder = tmp_path_factory.mktemp("odd")
    files = bad_files.write_all(folder)
    (folder / "sub").mkdir()
    for number in (2, 10):
        Image.fromarray(image_arrays.to_uint8(test_images[number, ..., 0])).save(
            folder / "sub" / f"part{number}.png"
        )
    (folder / "notes.txt").write_text("no image by its name")
    return folder, files


@pytest.fixture(scope="module")
def scored(smoke_run, odd_folder, tmp_path_factory):
    """What the command made of that folder: (result, output folder, rows)."""
    output = tmp_path_factory.mktemp("scored") / "new" / "folder"
    result = command(
        "score", f"--workdir={smoke_run}", f"--input={odd_folder[0]}", f"--output={output}", "--maps"
    )
    return result, output, rows_of(output)


def test_bad_files_give_exit_code_3_and_no_traceback(scored, odd_folder):
    result, output, rows = scored
    bad = [path for path, expected in odd_folder[1].values() if expected == "error"]
    assert result.returncode == 3, result.stderr
    assert "Traceback" not in result.stderr
    assert (
        f"{len(rows) - len(bad)} images scored, {len(bad)} with errors: {output}/scores.csv" in result.stdout
    )
    for path in bad:
        assert f"error: {path}: " in result.stderr


def test_every_file_has_its_row_in_order(scored, odd_folder):
    folder, files = odd_folder
    names = [str(path.relative_to(folder)) for path, _ in files.values()] + [
        "sub/part2.png",
        "sub/part10.png",
    ]
    names.sort(key=lambda name: name.replace("part2", "part02"))  # numbers by value
    assert [row["path"] for row in scored[2]] == [f"{folder}/{name}" for name in names]


def test_rows_say_ok_or_name_file_and_reason(scored, odd_folder):
    folder, files = odd_folder
    rows = {row["path"]: row for row in scored[2]}
    reasons = {
        "empty": "empty file",
        "one_pixel": "1 x 1",
        "huge": "too many pixels",
        "text": "This is not",
        "truncated": "truncated",
    }
    for kind, (path, expected) in files.items():
        row = rows[str(path)]
        assert row["status"] == expected, kind
        if expected == "ok":
            assert (
                np.isfinite(float(row["score"]))
                and row["label"] in ("normal", "abnormal")
                and row["error"] == ""
            )
        else:
            assert row["score"] == row["label"] == "" and row["error"].startswith(f"{path}: ")
            assert reasons.get(kind, "") in row["error"]


def test_scores_are_those_of_each_image_alone(scored, odd_folder, smoke_detector):
    for row in scored[2]:
        if row["status"] == "ok":
            alone = smoke_detector(image_io.read_image(row["path"], 1)[None])
            assert float(row["score"]) == pytest.approx(alone.scores[0], rel=2e-5, abs=2e-5)
            assert row["label"] == ("abnormal" if alone.labels[0] else "normal")


def test_maps_have_the_images_own_size(scored, odd_folder, smoke_detector):
    _, output, rows = scored
    good = [row for row in rows if row["status"] == "ok"]
    names = [os.path.relpath(row["path"], odd_folder[0]) for row in good]  # the folders' names too
    assert sorted(str(p.relative_to(output / "maps")) for p in (output / "maps").rglob("*.*")) == sorted(
        name + end for name in names for end in (".npy", ".png")
    )
    for name, row in zip(names, good, strict=True):
        image = image_io.read_image(row["path"], 1)
        anomaly_map = np.load(output / "maps" / f"{name}.npy", allow_pickle=False)
        assert anomaly_map.shape == image.shape[:2] and anomaly_map.dtype == np.float32
        assert np.isfinite(anomaly_map).all()
        np.testing.assert_allclose(anomaly_map, smoke_detector(image[None]).maps[0], rtol=1e-4, atol=1e-3)
        with Image.open(output / "maps" / f"{name}.png") as picture:
            assert (picture.mode, picture.size) == ("L", image.shape[1::-1])
    rotated = np.load(output / "maps" / "exif_rotated.jpg.npy")
    assert rotated.shape == (16, 12)  # stored as 12 x 16, shown upright


# In this process: main and score with one detector for all


@pytest.fixture
def main(monkeypatch, smoke_detector, smoke_run, tmp_path):
    """main(input=..., output=...) -> exit code, as the command does it, errors told on stderr."""
    from semi_anogan.scoring.detector import Detector

    monkeypatch.setattr(cli, "load_framework", lambda: None, raising=False)
    load = Detector.load
    monkeypatch.setattr(
        Detector, "load", lambda folder: smoke_detector if folder == smoke_run else load(folder)
    )

    def run(**values):
        fixed = {"workdir": smoke_run, "output": tmp_path / "output", "maps": False, "overlays": "abnormal"}
        fixed |= {"threshold": None, "false_alarm_rate": None, "review_band": None, "overlay_format": "png"}
        fixed |= {"coco": False, "min_area": 0, "append": False, "resume": False, "max_pixels": None}
        values = {**fixed, **values}
        monkeypatch.setattr(score.flags, "FLAGS", types.SimpleNamespace(**values))
        try:
            with cli.told_errors():
                return score.main([])
        except SystemExit as error:
            return error.code

    return run


def test_good_files_give_exit_code_0(main, odd_folder, tmp_path, smoke_detector, test_images, capsys):
    assert main(input=odd_folder[0] / "sub") == 0
    rows = rows_of(tmp_path / "output")
    alone = smoke_detector(image_arrays.from_uint8(image_arrays.to_uint8(test_images[[2, 10]])))
    np.testing.assert_allclose([float(row["score"]) for row in rows], alone.scores, rtol=2e-5, atol=2e-5)
    assert "2 images scored, 0 with errors" in capsys.readouterr().out


def test_an_interrupted_command_says_how_to_go_on(main, odd_folder, tmp_path, monkeypatch, capsys):
    write = score_files.write

    def interrupted(outcomes, *arguments, **named):
        def first():
            yield next(outcomes)
            raise KeyboardInterrupt

        return write(first(), *arguments, **named)

    monkeypatch.setattr(score_files, "write", interrupted)
    assert main(input=odd_folder[0] / "sub") == 130
    assert "interrupted; what was scored is written; --resume goes on\n" in capsys.readouterr().err
    monkeypatch.setattr(score_files, "write", write)
    assert main(input=odd_folder[0] / "sub", resume=True) == 0
    told = capsys.readouterr().out
    assert f"resume: 1 of 2 images are in {tmp_path}/output/scores.csv\n" in told
    assert "1 images scored, 0 with errors" in told and len(rows_of(tmp_path / "output")) == 2


def test_single_file(main, odd_folder, tmp_path):
    path = odd_folder[1]["good"][0]
    assert main(input=path, maps=True) == 0
    (row,) = rows_of(tmp_path / "output")
    assert (row["path"], row["status"]) == (str(path), "ok")
    assert np.load(tmp_path / "output/maps/good.png.npy").shape == (12, 16)


def test_single_bad_file(main, odd_folder, tmp_path):
    assert main(input=odd_folder[1]["empty"][0]) == 3
    (row,) = rows_of(tmp_path / "output")
    assert row["status"] == "error" and "empty file" in row["error"]


def test_csv_input(main, odd_folder, tmp_path):
    folder = odd_folder[0]
    (folder / "list.csv").write_text(
        "label,path\n1,sub/part10.png\n2,missing.png\n3,good.png\n4,sub/part10.png\n"
    )
    assert main(input=folder / "list.csv", maps=True) == 3
    rows = rows_of(tmp_path / "output")
    names = ("sub/part10.png", "missing.png", "good.png", "sub/part10.png")
    assert [row["path"] for row in rows] == [str(folder / name) for name in names]
    assert [row["status"] for row in rows] == ["ok", "error", "ok", "ok"]
    assert rows[1]["error"] == f"{folder}/missing.png: no such file"
    assert rows[0]["score"] == rows[3]["score"]
    maps = {str(p.relative_to(tmp_path / "output/maps")) for p in (tmp_path / "output/maps").rglob("*.npy")}
    assert maps == {"good.png.npy", "sub/part10.png.npy"}


def test_no_pictures_where_none_are_wanted(main, odd_folder, tmp_path):
    assert main(input=odd_folder[0] / "sub", overlays="none", threshold=-1e9) == 0
    assert {p.name for p in (tmp_path / "output").iterdir()} == {"scores.csv", "regions.csv", "regions.jsonl"}


def test_a_second_time_replaces_the_first(main, odd_folder, tmp_path):
    main(input=odd_folder[0] / "sub")
    main(input=odd_folder[1]["good"][0])
    assert [row["path"] for row in rows_of(tmp_path / "output")] == [str(odd_folder[1]["good"][0])]


def test_missing_input_and_run_folder_are_one_line_each(main, odd_folder, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.csv").write_text("")
    cases = [
        ({"input": tmp_path / "nowhere"}, f"{tmp_path}/nowhere: no such file"),
        ({"input": tmp_path / "empty"}, f"{tmp_path}/empty: no image files"),
        ({"input": tmp_path / "empty.csv"}, f"{tmp_path}/empty.csv: row 1: no column path"),
        ({"input": tmp_path / "nowhere.csv"}, f"{tmp_path}/nowhere.csv: cannot be read"),
        (
            {"input": odd_folder[0], "workdir": tmp_path / "norun"},
            f"{tmp_path}/norun/config.json: no such file",
        ),
        (
            {"input": odd_folder[0], "workdir": tmp_path / "empty"},
            f"{tmp_path}/empty/config.json: no such file",
        ),
    ]
    for values, message in cases:
        assert main(**values) == 1
        stderr = capsys.readouterr().err
        assert stderr.startswith(f"error: {message}") and len(stderr.splitlines()) == 1, stderr
    assert not (tmp_path / "output").exists()


def test_missing_flags_are_named():
    result = command("score", "--input=x")
    assert result.returncode != 0 and "Traceback" not in result.stderr
    assert "--workdir" in result.stderr


# With stand-in networks


def write_images(folder, count):
    paths = []
    for index in range(count):
        paths.append(str(folder / f"{index:03d}.png"))
        Image.fromarray(np.full((8, 8), index, np.uint8)).save(paths[-1])
    return paths


def test_output_that_is_a_file_is_named(tmp_path):
    (tmp_path / "output").write_text("")
    for output in (tmp_path / "output", tmp_path / "output" / "below"):
        with pytest.raises(RunError, match=f"{tmp_path}/output.*cannot be written"):
            score.score(StandInDetector(), write_images(tmp_path, 1), output)


def test_a_table_that_is_no_output_of_it_is_not_replaced(tmp_path):
    """A run folder has one: of its test images. What a full disk left of a header is no such table."""
    paths, path = write_images(tmp_path, 1), tmp_path / "run/scores.csv"
    path.parent.mkdir()
    for content in ("path,truth,score\na.png,normal,1\n", "my,table\n"):
        path.write_text(content)
        for append in (False, True):
            with pytest.raises(RunError, match="run/scores.csv: .*give another --output"):
                score.score(StandInDetector(), paths, path.parent, Outputs(append=append))
        assert path.read_text() == content
    assert [p.name for p in path.parent.iterdir()] == ["scores.csv"]
    for content in ("path,sc", "path,score,label,status\nb.png,1,normal,ok\n"):
        path.write_text(content)
        assert score.score(StandInDetector(), paths, path.parent) == 0
        assert [row["path"] for row in rows_of(path.parent)] == paths


def test_rows_done_before_the_disk_was_full_are_kept(tmp_path, monkeypatch):
    paths = write_images(tmp_path, 12)
    write_map, written = score_files.write_map, []

    def on_a_small_disk(stem, anomaly_map):
        if len(written) == 7:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(stem))
        written.append(stem)
        write_map(stem, anomaly_map)

    monkeypatch.setattr(score_files, "write_map", on_a_small_disk)
    with pytest.raises(RunError, match="007.png: cannot be written: No space left on device"):
        score.score(StandInDetector(), paths, tmp_path / "output", Outputs(maps=True, root=str(tmp_path)))
    rows = rows_of(tmp_path / "output")
    assert [row["path"] for row in rows] == paths[:7]
    assert [float(row["score"]) for row in rows] == pytest.approx([max(0, n / 127.5 - 1) for n in range(7)])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_scores_csv_on_a_full_disk_is_a_run_error(tmp_path):
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "scores.csv").symlink_to("/dev/full")
    with pytest.raises(RunError, match="cannot be written: No space left on device"):
        score.score(StandInDetector(), write_images(tmp_path, 3), tmp_path / "output")


def test_rows_are_on_disk_as_soon_as_they_are_known(tmp_path):
    """While a batch of 4 is measured, the rows of all but the one before it are there; that one's are being
    written.
    """
    paths, seen = write_images(tmp_path, 12), []

    def watching(images):
        if (tmp_path / "output" / "scores.csv").exists():
            seen.append(len((tmp_path / "output" / "scores.csv").read_text().splitlines()[1:]))
        return np.zeros((len(images), 4), np.float32)

    detector = StandInDetector(components=watching, batch_size=4)
    score.score(detector, paths, tmp_path / "output")
    assert len(seen) == 3 and all(4 * (i - 1) <= rows <= 4 * i for i, rows in enumerate(seen)), seen


def test_errors_stay_at_their_places(tmp_path):
    """Bad files at the beginning, in a row, and at the end; order and count are kept with any batch size."""
    good = write_images(tmp_path, 7)
    (tmp_path / "bad.png").write_bytes(b"")
    bad = str(tmp_path / "bad.png")
    paths = [bad, bad, *good[:3], bad, *good[3:6], bad, bad, good[6], bad]
    for batch_size in (1, 2, 4, 100):
        assert score.score(StandInDetector(batch_size=batch_size), paths, tmp_path / "output") == 6
        rows = rows_of(tmp_path / "output")
        assert [row["path"] for row in rows] == paths
        assert [row["status"] == "error" for row in rows] == [p == bad for p in paths]
    assert score.score(StandInDetector(), [bad] * 3, tmp_path / "output") == 3
    assert [row["status"] for row in rows_of(tmp_path / "output")] == ["error"] * 3


def test_odd_file_names_come_out_as_they_are(tmp_path):
    """Commas, quotes, line breaks, other alphabets, and bytes that are not UTF-8."""
    (original,) = write_images(tmp_path, 1)
    names = ['a,"b".png', "zeile\n2.png", "ラベル.png", "b\udce4d.png"]
    paths = [os.path.join(tmp_path, name) for name in names]
    for path in paths:
        try:
            pathlib.Path(path).write_bytes(pathlib.Path(original).read_bytes())
        except OSError:  # a file system that takes UTF-8 only
            pytest.skip("file system refuses such names")
    outputs = Outputs(maps=True, root=str(tmp_path))
    assert score.score(StandInDetector(), paths, tmp_path / "output", outputs) == 0
    assert [row["path"] for row in rows_of(tmp_path / "output")] == paths
    assert b"b\xe4d.png" in (tmp_path / "output" / "scores.csv").read_bytes()
    assert (tmp_path / "output" / "maps" / "b\udce4d.png.npy").exists()


def test_regions_csv_says_where(tmp_path):
    """Of 8 x 8 pixels, shown by 16 x 16: abnormal above 0.5 on the mean, a pixel above 0.6."""
    paths = write_images(tmp_path, 4)
    picture = np.full((16, 16), 200, np.uint8)  # 0.57
    picture[4:8, 12:16] = 255
    Image.fromarray(picture).save(paths[1])
    Image.fromarray(np.full((16, 16), 200, np.uint8)).save(paths[3])
    pathlib.Path(paths[2]).write_bytes(b"")
    calibration = dataclasses.replace(CALIBRATION, pixel_threshold=0.6)
    detector = StandInDetector(calibration=calibration)
    outputs = Outputs(overlays="all", root=str(tmp_path))
    assert score.score(detector, paths, tmp_path / "output", outputs) == 1
    rows = rows_of(tmp_path / "output")
    assert [row["label"] for row in rows] == ["normal", "abnormal", "", "abnormal"]
    assert [row["regions"] for row in rows] == ["0", "1", "", "1"]
    with open(tmp_path / "output" / "regions.csv", newline="") as file:
        certain, uncertain = csv.DictReader(file)
    assert (certain["path"], certain["number"], certain["certain"]) == (paths[1], "1", "yes")
    assert (certain["peak"], certain["left"], certain["area"]) == ("1", "0", "256")  # all above half of 0.6
    assert (uncertain["path"], uncertain["certain"], uncertain["peak"]) == (paths[3], "no", "0.568627")
    assert (uncertain["left"], uncertain["top"], uncertain["width"], uncertain["height"]) == (
        "0",
        "0",
        "16",
        "16",
    )
    assert (uncertain["x"], uncertain["y"]) == ("7.5", "7.5")
    names = [pathlib.Path(paths[i]).name + ".png" for i in (0, 1, 3)]
    assert sorted(p.name for p in (tmp_path / "output" / "overlays").iterdir()) == names


def test_a_run_of_before_has_no_regions_and_says_so(
    main, odd_folder, tmp_path, smoke_detector, capsys, monkeypatch
):
    assert smoke_detector.pixel_threshold is not None
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "regions.csv").write_text("of another run")
    before = dataclasses.replace(smoke_detector.calibration, pixel_threshold=None)
    monkeypatch.setattr(smoke_detector, "calibration", before)
    (tmp_path / "output" / "coco.json").write_text("of another run")
    assert main(input=odd_folder[0] / "sub", overlays="all", coco=True, maps=True) == 0
    assert [row["regions"] for row in rows_of(tmp_path / "output")] == ["", ""]
    assert {p.name for p in (tmp_path / "output").iterdir()} == {"scores.csv", "maps"}
    assert (
        "note: no regions, since the run was calibrated before maps were made as they are now"
        in capsys.readouterr().out
    )


def test_map_png_shows_0_to_10_deviations(tmp_path):
    score_files.write_map(tmp_path / "x.png", np.array([[-3.0, 0.0, 2.0, 10.0, 50.0]]))
    with Image.open(tmp_path / "x.png.png") as picture:
        assert np.asarray(picture).tolist() == [[0, 0, 51, 255, 255]]
    assert np.load(tmp_path / "x.png.npy").tolist() == [[-3.0, 0.0, 2.0, 10.0, 50.0]]


@pytest.mark.parametrize("suffix", [".npy", ".png", ".jpg"])
def test_a_full_disk_leaves_no_half_picture(tmp_path, monkeypatch, suffix):
    """What was there stays; else a call with --append would keep the half beside a whole one."""
    path = tmp_path / f"x.png{suffix}"
    path.write_bytes(b"former")

    def half(picture, file, *arguments, **options):
        (picture if suffix == ".npy" else file).write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "save", half)
    monkeypatch.setattr(Image.Image, "save", half)
    anomaly_map = np.zeros((6, 8), np.float32)
    outcome = score_files.Scored("x.png", 0.0, "normal", anomaly_map, None, 0.0, [], np.zeros((6, 8, 1)))
    with pytest.raises(OSError):
        if suffix == ".npy":
            score_files.write_map(tmp_path / "x.png", anomaly_map)
        else:
            score_files.write_overlay(path, outcome, 1.0)
    assert path.read_bytes() == b"former" and [p.name for p in tmp_path.iterdir()] == [path.name]


def test_pictures_have_the_names_and_folders_of_their_images():
    assert picture_name("in/a/x.png", "in") == "a/x.png" == picture_name("in/./a/x.png", "in/")
    assert picture_name("x.png", "") == "x.png" and picture_name("frame_000001", "") == "frame_000001"
    # Elsewhere: the same name in two folders makes two.
    one, two = picture_name("/b/x.png", "in"), picture_name("/c/x.png", "in")
    assert one != two and one[:6] == two[:6] == "x.png." and "/" not in one
    assert picture_name("in/../x.png", "in").startswith("x.png.")


def test_long_names_of_pictures_are_cut_and_stay_different():
    for letter, width in (("a", 1), ("é", 2), ("\udce4", 1)):
        whole = letter * (250 // width)
        names = {picture_name(f"in/sub/{whole}{end}.png", "in") for end in "12"}
        assert len(names) == 2
        for name in names:
            assert name.startswith("sub/") and len(os.fsencode(name)) < 4 + 225
    deep = "/".join(["d" * 200] * 6)
    assert "/" not in picture_name(f"in/{deep}/x.png", "in")


@pytest.fixture
def generated(monkeypatch):
    """Images that exist only while someone holds them: how many at once, counted as they are read."""
    alive, most = weakref.WeakSet(), [0]

    class Picture(np.ndarray):
        __hash__ = object.__hash__

    def read(path, channels):
        if path.endswith("bad"):
            raise ImageError(f"{path}: empty file (0 bytes)")
        image = np.full((32, 32, channels), 0.25, np.float32).view(Picture)
        alive.add(image)
        most[0] = max(most[0], len(alive))
        return image

    monkeypatch.setattr(image_io.Reader, "__call__", lambda self, path, channels: read(path, channels))
    return most


def test_at_most_a_batch_of_images_is_in_memory(generated, tmp_path):
    detector = StandInDetector(batch_size=8, resolution=32)
    paths = [f"{n}" for n in range(500)]
    assert score.score(detector, paths, tmp_path / "output", Outputs(overlays="none")) == 0
    assert len(rows_of(tmp_path / "output")) == 500
    assert 1 <= generated[0] <= 8 + 3
    assert score.score(detector, paths, tmp_path / "output") == 0
    assert generated[0] <= 2 * 8 + 3  # those of the batch that is scored, for their overlays


def test_memory_does_not_grow_with_the_number_of_images(generated, tmp_path, capsys):
    """Peak of what Python and NumPy allocate: 300 images (4 kB each, a third of the files bad) take what 60
    take.
    """

    def peak(count):
        detector = StandInDetector(batch_size=8, resolution=32)
        paths = [f"{n}{'bad' if n % 3 == 0 else ''}" for n in range(count)]
        tracemalloc.start()
        try:
            score.score(detector, paths, tmp_path / "output")
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(30)  # what is imported and cached on first use
    # 160 images more would be 650 kB, and several times that with their maps. How threads meet is some.
    assert peak(300) - peak(60) < 300_000


@pytest.mark.parametrize("count, told", [(16, True), (15, False)])
def test_rate_is_told_where_there_are_enough_images(tmp_path, capsys, count, told):
    paths = [tmp_path / f"{i:02d}.png" for i in range(count)]
    for path in paths:
        Image.fromarray(np.full((8, 8), 100, np.uint8)).save(path)
    assert score.score(StandInDetector(batch_size=4), paths, tmp_path / "output") == 0
    assert bool(re.search(r"^\d+\.\d images/s after the first 4$", capsys.readouterr().out, re.M)) == told
    assert len(rows_of(tmp_path / "output")) == count


# What is found in the images


LOCATING = dataclasses.replace(
    CALIBRATION, pixel_threshold=0.6, normal_scores=(0.1, 0.2, 0.3, 0.4), normal_highest=(0.2, 0.3, 0.5, 0.55)
)


def write_parts(folder):
    """Four images of 16 x 16: black, two bright squares, bright all over but for a corner, and no image."""
    black = np.zeros((16, 16), np.uint8)
    squares, bright = black + 180, black + 230
    squares[0:8, 0:8] = squares[8:16, 12:16] = 255
    bright[:2, :2] = 0
    (folder / "sub").mkdir(parents=True)
    names = ("a.png", "b.png", "sub/c.png", "d.png")
    for name, picture in zip(names, (black, squares, bright), strict=False):
        Image.fromarray(picture).save(folder / name)
    (folder / "d.png").write_bytes(b"")
    return [str(folder / name) for name in names]


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_regions_of_two_images_in_all_files(tmp_path):
    paths, output = write_parts(tmp_path / "in"), tmp_path / "output"
    detector = StandInDetector(calibration=LOCATING, resolution=16)
    outputs = Outputs(coco=True, overlay_format="jpeg", root=str(tmp_path / "in"))
    assert score.score(detector, paths, output, outputs) == 1
    rows = rows_of(output)
    assert [row["label"] for row in rows] == ["normal", "abnormal", "abnormal", ""]
    assert {row["threshold"] for row in rows} == {"0.5"}
    assert [row["p_value"] for row in rows] == ["1", "0.2", "0.2", ""]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", row["time"]) for row in rows)
    assert {str(p.relative_to(output / "overlays")) for p in (output / "overlays").rglob("*.*")} == {
        "b.png.jpg",
        "sub/c.png.jpg",
    }
    with Image.open(output / "overlays/b.png.jpg") as picture:
        assert (picture.format, picture.size) == ("JPEG", (512, 512))
    first, second, third = found = read_lines(output / "regions.jsonl")
    with open(output / "regions.csv", newline="") as file:
        table = list(csv.DictReader(file))
    for line, row in zip(found, table, strict=True):
        assert [line["path"], str(line["number"]), *map(str, line["box"]), str(line["area"])] == [
            row[name] for name in ("path", "number", "left", "top", "width", "height", "area")
        ]
        assert (f"{line['peak']:.6g}", f"{line['mean']:.6g}") == (row["peak"], row["mean"])
    assert (first["path"], first["box"], first["share"], first["certain"]) == (
        paths[1],
        [0, 0, 8, 8],
        0.25,
        True,
    )
    assert first["polygon"] == [[0, 0], [8, 0], [8, 8], [0, 8]]
    assert second["box"] == [12, 8, 4, 8] and second["share"] == 0.125
    assert third["polygon"] == [[2, 0], [16, 0], [16, 16], [0, 16], [0, 2], [2, 2]] and third["area"] == 252
    assert {(line["kind"], line["kind_likeness"]) for line in found} == {(None, None)}
    assert {(row["kind"], row["kind_likeness"]) for row in table} == {("", "")}
    check_coco(output / "coco.json", found)


def test_regions_have_the_known_kind_that_they_are_most_alike_to(tmp_path):
    """Of 4 x 4 places, "cut" is the image's left half, "dent" its lower quarter: 0.75 and 0.5 alike."""
    paths, output = write_parts(tmp_path / "in"), tmp_path / "output"
    alike = np.full((4, 4, 2), -0.5, np.float32)
    alike[:, :2, 0], alike[3, :, 1] = 0.75, 0.5

    class Knowing(StandInDetector):
        kinds = ("cut", "dent")

        def _measure_kinds(self, images):
            components, layers, *pictures = self._measure_batch(images)
            return components, layers, np.repeat(alike[None], len(images), axis=0), *pictures

    outputs = Outputs(coco=True, root=str(tmp_path / "in"))
    assert score.score(Knowing(calibration=LOCATING, resolution=16), paths, output, outputs) == 1
    first, second, third = found = read_lines(output / "regions.jsonl")
    assert (first["kind"], first["kind_likeness"]) == ("cut", 0.75)  # columns and rows 0 to 7
    # Columns 12 to 15 and rows 8 to 15: of the places in rows 2 and 3 the lower is alike to a dent.
    assert (second["kind"], second["kind_likeness"]) == ("dent", 0.0)
    # All but 2 x 2 pixels in the upper left corner: 124 are alike to a cut, 128 are not.
    assert third["kind"] == "cut" and third["kind_likeness"] == pytest.approx(
        (124 * 0.75 - 128 * 0.5) / 252, rel=1e-5
    )
    with open(output / "regions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["kind"], row["kind_likeness"]) for row in rows] == [
        (line["kind"], f"{line['kind_likeness']:.6g}") for line in found
    ]
    check_coco(output / "coco.json", found)


def check_coco(path, regions):
    """What pycocotools and annotation programs expect, and that it says what regions.jsonl says."""
    values = json.loads(path.read_text())
    assert set(values) == {"info", "images", "annotations", "categories"}
    assert values["categories"] == [{"id": 1, "name": "abnormal", "supercategory": "abnormal"}]
    assert [(i["id"], i["file_name"], i["width"], i["height"]) for i in values["images"]] == [
        (1, "a.png", 16, 16),
        (2, "b.png", 16, 16),
        (3, "sub/c.png", 16, 16),
    ]
    assert [i["label"] for i in values["images"]] == ["normal", "abnormal", "abnormal"]
    assert [a["id"] for a in values["annotations"]] == [1, 2, 3]
    assert [a["image_id"] for a in values["annotations"]] == [2, 2, 3]
    for annotation, region in zip(values["annotations"], regions, strict=True):
        assert (annotation["bbox"], annotation["area"]) == (region["box"], region["area"])
        assert (annotation["category_id"], annotation["iscrowd"]) == (1, 0)
        assert annotation["score"] == region["peak"]
        assert all(annotation[name] == region[name] for name in ("kind", "kind_likeness"))
        (corners,) = annotation["segmentation"]
        assert len(corners) >= 6 and [corners[::2], corners[1::2]] == np.transpose(region["polygon"]).tolist()
    try:
        from pycocotools.coco import COCO
    except ImportError:
        return
    loaded = COCO(str(path))
    masks = [loaded.annToMask(annotation) for annotation in loaded.loadAnns(loaded.getAnnIds())]
    assert [int(mask.sum()) for mask in masks] == [region["area"] for region in regions]


def test_overlays_show_what_is_ignored(tmp_path):
    """By the run's mask and by the image's own; the picture is 32 times as large."""
    paths, output = write_parts(tmp_path / "in")[1:3], tmp_path / "output"
    own = np.zeros((16, 16), np.uint8)
    own[:4, :4] = 255
    (tmp_path / "in/ignore").mkdir()
    Image.fromarray(own).save(tmp_path / "in/ignore/b.png")
    detector = StandInDetector(calibration=LOCATING, resolution=16)
    detector.ignore = np.zeros((16, 16), bool)
    detector.ignore[12:] = True
    mask_of = ignore_files.of_input(str(tmp_path / "in"))
    outputs = Outputs(overlays="all", root=str(tmp_path / "in"))
    assert score.score(detector, paths, output, outputs, mask_of=mask_of) == 0
    first, second = (
        np.asarray(Image.open(output / f"overlays/{name}.png")) for name in ("b.png", "sub/c.png")
    )
    hatch = {72, 200}  # lines of what is ignored
    assert all(hatch < set(np.unique(picture[400, 100:200])) for picture in (first, second))
    assert hatch < set(np.unique(first[60, :120])) and not hatch & set(np.unique(second[60, :120]))


def test_small_regions_are_left_out_and_counted(tmp_path):
    paths, output, notes = write_parts(tmp_path / "in"), tmp_path / "output", Notes()
    detector = StandInDetector(calibration=LOCATING, resolution=16)
    score.score(detector, paths, output, Outputs(min_area=33, coco=True), notes)
    assert [row["regions"] for row in rows_of(output)] == ["0", "1", "1", ""]
    assert [line["number"] for line in read_lines(output / "regions.jsonl")] == [1, 1]
    assert len(json.loads((output / "coco.json").read_text())["annotations"]) == 2
    assert notes.lines()[-1] == f"1 regions of less than 33 pixels are left out, as in {paths[1]}"
    score.score(detector, paths, output, Outputs(min_area=1000), notes)
    assert [row["label"] for row in rows_of(output)][:3] == ["normal", "abnormal", "abnormal"]
    assert read_lines(output / "regions.jsonl") == [] and not (output / "coco.json").exists()


def test_an_image_to_look_at_has_a_region_and_an_overlay(tmp_path):
    paths, output = write_parts(tmp_path / "in")[:3], tmp_path / "output"
    band = dataclasses.replace(LOCATING, threshold=0.7, look_threshold=0.5)
    detector = StandInDetector(calibration=band, resolution=16)
    score.score(detector, paths, output, Outputs(root=str(tmp_path / "in")))
    with open(output / "scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [*COLUMNS, "look_threshold"]
    assert [row["label"] for row in rows] == ["normal", "look", "abnormal"]
    assert {(row["threshold"], row["look_threshold"]) for row in rows} == {("0.7", "0.5")}
    assert [row["regions"] for row in rows] == ["0", "2", "1"]
    assert (output / "overlays/b.png.png").exists() and not (output / "overlays/a.png.png").exists()


def test_a_large_image_is_read_again_for_its_overlay(tmp_path, monkeypatch):
    paths, output, notes = write_parts(tmp_path / "in"), tmp_path / "output", Notes()
    monkeypatch.setattr(score_files, "SMALL", 0)
    detector = StandInDetector(calibration=LOCATING, resolution=16)
    score.score(detector, paths, output, Outputs(root=str(tmp_path / "in")), notes)
    assert (output / "overlays/b.png.png").exists()
    assert not any("overlays are missing" in line for line in notes.lines())

    def gone(path, *more):
        raise ImageError(f"{path}: no such file")

    monkeypatch.setattr(image_io, "read_image", gone)
    score.score(detector, paths, output, Outputs(root=str(tmp_path / "in")), notes)
    assert [row["status"] for row in rows_of(output)] == ["ok", "ok", "ok", "error"]
    missing = "2 overlays are missing, since the image could not be read again, such as"
    assert f"{missing} {paths[1]}: no such file" in notes.lines()
    assert list((output / "overlays").rglob("*.png")) == []


# Calls after calls


def test_a_second_call_replaces_tables_and_pictures_and_says_so(tmp_path, capsys):
    paths, output = write_parts(tmp_path / "in"), tmp_path / "output"
    detector, root = StandInDetector(calibration=LOCATING, resolution=16), str(tmp_path / "in")
    score.score(detector, paths, output, Outputs(overlays="all", maps=True, coco=True, root=root))
    assert "replaced" not in capsys.readouterr().out
    score.score(detector.at(threshold=0.7), paths[:2], output, Outputs(root=root))
    assert (
        f"note: {output}/scores.csv of an earlier call is replaced; pictures of other images stay in maps/ "
        "and overlays/; --append continues it, --resume one that was interrupted\n"
    ) in capsys.readouterr().out
    assert len(rows_of(output)) == 2 and not (output / "coco.json").exists()
    # b.png is normal by this threshold: its overlay of before is gone, that of another image is not.
    assert [p.name for p in (output / "overlays").rglob("*.png")] == ["c.png.png"]
    assert {p.name for p in (output / "maps").rglob("*.npy")} == {"c.png.npy"}


def test_append_continues_all_files(tmp_path, capsys):
    paths, output = write_parts(tmp_path / "in"), tmp_path / "output"
    detector, root = StandInDetector(calibration=LOCATING, resolution=16), str(tmp_path / "in")
    outputs = Outputs(append=True, root=root)
    score.score(detector, paths[:2], output, outputs)
    # A line that was written in part, as by a full disk.
    for name in ("scores.csv", "regions.csv", "regions.jsonl"):
        with open(output / name, "a") as file:
            file.write("in/x.png,0.1")
    score.score(detector, paths[1:], output, outputs)
    rows = rows_of(output)
    assert [row["path"] for row in rows] == [*paths[:2], *paths[1:]]
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)
    assert [line["path"] for line in read_lines(output / "regions.jsonl")] == [paths[1]] * 4 + [paths[2]]
    told = capsys.readouterr().out
    assert "replaced" not in told and told.count("its last line was written in part, and is taken away") == 3
    # The second picture of a name has the time of its row.
    stamp = rows[2]["time"].replace("-", "").replace(":", "")
    assert {p.name for p in (output / "overlays").rglob("b.*")} == {"b.png.png", f"b.png.{stamp}.png"}
    with pytest.raises(
        RunError, match="cannot be continued: it has the columns path,.*give another --output"
    ):
        band = dataclasses.replace(LOCATING, look_threshold=0.2)
        score.score(StandInDetector(calibration=band, resolution=16), paths, output, outputs)
    assert len(rows_of(output)) == 5
    with pytest.raises(RunError, match="coco.json is of one call and cannot be continued"):
        Outputs(coco=True, append=True)


def killed(output):
    """What a process that was killed in the middle of c.png has left: half a line, an overlay and no row."""
    rows = (output / "scores.csv").read_text().splitlines(keepends=True)
    (output / "scores.csv").write_text("".join(rows[:3]) + rows[3][:20])


def test_an_interrupted_call_goes_on_where_it_stopped(tmp_path, capsys):
    """The tables are those of a call that was not interrupted."""
    paths, output = write_parts(tmp_path / "in")[:3], tmp_path / "output"
    detector, root = StandInDetector(calibration=LOCATING, resolution=16), str(tmp_path / "in")
    outputs = Outputs(append=True, root=root, resume=True)
    assert resume.left(paths, output, [0.5]) == (
        paths,
        f"{output}/scores.csv: is not there, so all images are scored",
    )
    score.score(detector, paths, output, outputs)
    names = "scores.csv", "regions.csv", "regions.jsonl"
    whole = [re.sub(r"20\d\d-[^,\n]*Z", "", (output / name).read_text()) for name in names]
    killed(output)
    left, line = resume.left(paths, output, [0.5])
    assert left == paths[2:] and line == f"2 of 3 images are in {output}/scores.csv"
    assert [line["path"] for line in read_lines(output / "regions.jsonl")] == [paths[1]] * 2
    assert (output / "regions.csv").read_text().count(str(paths[2])) == 0
    score.score(detector, left, output, outputs)
    assert [re.sub(r"20\d\d-[^,\n]*Z", "", (output / name).read_text()) for name in names] == whole
    # The overlay that was there is of this image: it is replaced.
    assert [p.name for p in (output / "overlays").rglob("c.*")] == ["c.png.png"]
    assert resume.left(paths, output, [0.5])[0] == []
    assert read_lines(output / "regions.jsonl")[-1]["path"] == paths[2]


def test_to_go_on_looks_at_what_has_changed(tmp_path):
    paths, output = write_parts(tmp_path / "in"), tmp_path / "output"
    detector, root = StandInDetector(calibration=LOCATING, resolution=16), str(tmp_path / "in")
    score.score(detector, paths, output, Outputs(root=root))
    # d.png could not be read; b.png is another one since.
    later = time.time() + 60
    os.utime(paths[1], (later, later))
    left, line = resume.left(paths, output, [0.5])
    assert left == [paths[1], paths[3]]
    assert line == (
        f"2 of 4 images are in {output}/scores.csv; 2 have changed since or could not be read, and are "
        "scored again"
    )
    # A name that is no row of the tables' is taken whole; one with a line break and a quote too.
    odd = str(tmp_path / 'in/e\n".png')
    Image.fromarray(np.full((16, 16), 230, np.uint8)).save(odd)
    score.score(detector, [odd], output, Outputs(append=True, root=root))
    assert resume.left([odd], output, [0.5])[0] == []
    rows = rows_of(output)
    with open(output / "scores.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([COLUMNS, *(list(row.values()) for row in rows if row["path"] != odd)])
    assert resume.left([odd], output, [0.5])[0] == [odd]
    for name in ("regions.csv", "regions.jsonl"):
        assert "e\n" not in (output / name).read_text() and paths[2] in (output / name).read_text()


def test_to_go_on_by_another_detector_is_refused(tmp_path):
    paths, output = write_parts(tmp_path / "in"), tmp_path / "output"
    detector = StandInDetector(calibration=LOCATING, resolution=16)
    score.score(detector, paths, output, Outputs())
    before = (output / "scores.csv").read_bytes()
    with pytest.raises(RunError, match="row 2: was judged with the threshold 0.5, which is 0.75 now, of"):
        resume.left(paths, output, [0.75])
    assert resume.left(paths, output, [0.75, 0.5])[0] == [paths[3]]  # of two products
    assert (output / "scores.csv").read_bytes() == before
    (output / "scores.csv").write_text("path,truth,score,label\na.png,normal,1,normal\n")
    with pytest.raises(RunError, match="scores.csv: is not of scored images"):
        resume.left(paths, output, [0.5])


def test_of_two_processes_the_second_is_refused(tmp_path):
    paths, output = write_parts(tmp_path / "in"), tmp_path / "output"
    detector = StandInDetector(calibration=LOCATING, resolution=16)
    with claimed(output):
        (output / "scores.csv").write_text("path,score,label,of the first")
        for append in (False, True):
            with pytest.raises(RunError, match=f"{output}: another process writes its scores there"):
                score.score(detector, paths, output, Outputs(append=append))
        assert (output / "scores.csv").read_text() == "path,score,label,of the first"
    assert score.score(detector, paths, output) == 1


def test_pictures_of_an_output_inside_the_input_are_left_out(main, odd_folder, tmp_path, capsys):
    folder = tmp_path / "in"
    shutil.copytree(odd_folder[0] / "sub", folder)
    outputs = [folder / "scored", folder / "again"]
    for output in (*outputs, outputs[0]):
        assert main(input=folder, output=output, maps=True, overlays="all") == 0
        assert [os.path.basename(row["path"]) for row in rows_of(output)] == ["part2.png", "part10.png"]
    told = "note: 8 images in folders that a command here has written are left out, such as those in "
    assert capsys.readouterr().out.count(told) == 1
    # Folders of these names that nothing has written are images as others.
    shutil.copytree(odd_folder[0] / "sub", folder / "maps")
    assert main(input=folder, output=tmp_path / "output") == 0
    assert len(rows_of(tmp_path / "output")) == 4


def test_a_threshold_that_a_person_chose_is_told(main, odd_folder, capsys, smoke_detector, monkeypatch):
    chosen = Chosen(0.25, "ann", "2026-01-31T12:00:00Z", 0.5, smoke_detector.threshold)
    monkeypatch.setattr(smoke_detector, "chosen", chosen)
    assert main(input=odd_folder[0] / "sub") == 0
    told = "note: threshold 0.25, chosen by ann on 2026-01-31T12:00:00Z, is used; calibrated is "
    assert f"{told}{smoke_detector.threshold:.6g} (before: 0.5)" in capsys.readouterr().out


def test_thresholds_of_the_command_are_told(main, odd_folder, tmp_path, capsys, smoke_detector):
    own = smoke_detector.threshold
    assert main(input=odd_folder[0] / "sub", false_alarm_rate=0.01) == 0
    assert {row["threshold"] for row in rows_of(tmp_path / "output")} == {f"{own:.6g}"}
    told = f"note: threshold {own:.6g} for a false-alarm rate of 0.01 (the run's own is {own:.6g}, for 0.01)"
    assert told in capsys.readouterr().out
    assert main(input=odd_folder[0] / "sub", review_band="0.001,0.9") == 0
    assert 'to be looked at ("look") above' in capsys.readouterr().out
    for values, message in (
        ({"threshold": 1.0, "false_alarm_rate": 0.1}, "--threshold and --false_alarm_rate: give only one"),
        ({"threshold": float("nan")}, "threshold must be a finite number, got nan"),
        ({"false_alarm_rate": 1.5}, "false_alarm_rate must be in (0, 1), got 1.5"),
        ({"review_band": "0.5"}, "review_band must be two false-alarm rates"),
        ({"append": True, "coco": True}, "coco.json is of one call"),
    ):
        assert main(input=odd_folder[0] / "sub", **values) == 1
        stderr = capsys.readouterr().err
        assert stderr.startswith(f"error: {message}") and len(stderr.splitlines()) == 1
