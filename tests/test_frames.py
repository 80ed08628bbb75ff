"""A watched folder: files written slowly, used again or broken; restarts; memory over many images."""

import collections
import csv
import dataclasses
import io
import json
import os
import pathlib
import shutil
import signal
import sys
import threading
import time
import tracemalloc
import types

import numpy as np
import pytest
from PIL import Image

from helpers.trained import CALIBRATION, StandInDetector
from semi_anogan.data.images import Reader
from semi_anogan.errors import DataError, RunError
from semi_anogan.export.runtime import __main__ as runtime
from semi_anogan.export.runtime import frames, products
from semi_anogan.scoring import files as score_files
from semi_anogan.scoring.files import NotYet, Scored
from semi_anogan.scoring.outputs import Outputs


@pytest.fixture
def clock(monkeypatch):
    """The time that frames.py sees, in seconds; what `at` holds for a time is done when that has come.

    Only frames.py sees it: threads that other tests left behind (MQTT clients) sleep by the real clock.
    """
    found = types.SimpleNamespace(now=0.0, at={}, most=1000)

    def sleep(seconds):
        found.now += max(seconds, 0.1)
        assert found.now < found.most, "waited too long"
        for when in sorted(t for t in found.at if t <= found.now):
            found.at.pop(when)()

    told = types.SimpleNamespace(monotonic=lambda: found.now, sleep=sleep)
    monkeypatch.setattr(frames, "time", told)
    return found


def picture(value=0) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((8, 8), value, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def watched(folder, output, settle=1.0, append=True):
    output.mkdir(exist_ok=True)
    return frames.WatchedFolder(str(folder), frames.Seen(output, append), settle)


def taken(watching, clock, until) -> list[tuple[str, str, float]]:
    """(name, "ok" or the error, when) of what is read up to a time."""
    found, clock.most = [], until
    with pytest.raises(AssertionError, match="waited too long"):
        for path in watching:
            try:
                watching.read(path, 1, Reader())
                told = "ok"
            except NotYet:
                continue
            except DataError as error:
                told = str(error)
            found.append((os.path.basename(path), told, round(clock.now, 1)))
            watching.done()
    return found


def test_a_file_is_read_when_it_rests(tmp_path, clock):
    """Half a file is written at 2 s and the other at 2.5 s: it is read a second later, and once."""
    folder, data = tmp_path / "in", picture()
    folder.mkdir()
    (folder / "first.png").write_bytes(data)
    clock.at[2.0] = lambda: (folder / "slow.png").write_bytes(data[:40])
    clock.at[2.5] = lambda: (folder / "slow.png").write_bytes(data)
    found = taken(watched(folder, tmp_path / "out"), clock, 8)
    assert [row[:2] for row in found] == [("first.png", "ok"), ("slow.png", "ok")]
    assert 1.0 <= found[0][2] <= 1.3 and 3.5 <= found[1][2] <= 3.8


def test_what_cannot_be_read_is_tried_three_times_and_again_when_it_changes(tmp_path, clock):
    """A copy that rests half done for 1.5 s is whole when it is tried again; one that stays is an error."""
    folder, data = tmp_path / "in", picture()
    folder.mkdir()
    (folder / "half.png").write_bytes(data[:40])
    (folder / "broken.png").write_bytes(data[:40])
    (folder / "empty.png").write_bytes(b"")
    clock.at[1.5] = lambda: (folder / "half.png").write_bytes(data)
    clock.at[9.0] = lambda: (folder / "broken.png").write_bytes(data)
    found = taken(watched(folder, tmp_path / "out"), clock, 14)
    assert [row[0] for row in found] == ["half.png", "broken.png", "empty.png", "broken.png"]
    assert [row[1] == "ok" for row in found] == [True, False, False, True]
    assert 2.4 <= found[0][2] <= 2.9 and 3.0 <= found[1][2] <= 3.6 and 10.0 <= found[3][2] <= 10.4


def test_a_name_with_another_size_or_time_is_new(tmp_path, clock):
    folder = tmp_path / "in"
    folder.mkdir()
    path = folder / "camera.png"
    path.write_bytes(picture(1))
    clock.at[3.0] = lambda: path.write_bytes(picture(255) + b" ")
    clock.at[6.0] = lambda: os.utime(path, (1, 1))
    clock.at[9.0] = lambda: path.unlink()
    clock.at[12.0] = lambda: path.write_bytes(picture(3))
    clock.at[14.0] = lambda: (folder / "gone.png").write_bytes(picture())
    clock.at[14.5] = lambda: (folder / "gone.png").unlink()
    watching = watched(folder, tmp_path / "out")
    found = taken(watching, clock, 16)
    told = f"1 files were gone before they could be read, such as {folder}/gone.png"
    assert watching._notes.lines() == [told]
    assert [row[1] for row in found] == ["ok"] * 4 and [int(row[2]) for row in found] == [1, 4, 7, 13]


def test_a_restart_goes_on(tmp_path, clock, capsys):
    """What has been scored is not again; it is where scores.csv is gone, or replaced."""
    folder, output = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(picture())
    assert len(taken(watched(folder, output), clock, 3)) == 2
    (output / "scores.csv").write_text("path\n")  # as the writer of the rows has made it
    (folder / "c.png").write_bytes(picture())
    clock.now = 0
    assert [row[0] for row in taken(watched(folder, output), clock, 3)] == ["c.png"]
    told = f"note: 2 images in {folder} have been scored before, and are not again; --no-append begins anew\n"
    assert capsys.readouterr().out == told
    for begin_anew in (lambda: (output / "scores.csv").unlink(), lambda: None):
        begin_anew()
        clock.now = 0
        assert len(taken(watched(folder, output, append=False), clock, 3)) == 3
    (output / frames.SEEN).write_text("no database" * 100)
    (output / "scores.csv").write_text("path\n")
    with pytest.raises(RunError, match=f"{output / frames.SEEN}: cannot be used: .*scored again"):
        next(iter(watched(folder, output)))


def test_what_could_not_be_read_is_new_with_other_rights(tmp_path, clock, monkeypatch):
    """Neither size nor time change with them. One that was read is not new, nor either after a restart."""
    folder, really = tmp_path / "in", Reader.__call__
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(picture())
    locked = [folder / "b.png"]

    def refused(reader, path, channels):
        if pathlib.Path(path) in locked:
            raise DataError(f"{path}: permission denied")  # who runs the tests may read all
        return really(reader, path, channels)

    monkeypatch.setattr(Reader, "__call__", refused)

    def unlock():
        locked.clear()
        for name in ("a.png", "b.png"):
            (folder / name).chmod(0o640)

    clock.at[8.0] = unlock
    found = taken(watched(folder, tmp_path / "out"), clock, 12)
    assert [(name, told == "ok") for name, told, _ in found] == [
        ("a.png", True),
        ("b.png", False),
        ("b.png", True),
    ]
    assert found[2][2] >= 9.0
    (tmp_path / "out/scores.csv").write_text("path\n")
    clock.now = 0
    assert taken(watched(folder, tmp_path / "out"), clock, 3) == []


def test_masks_of_images_that_are_there_are_left_out(tmp_path, clock, capsys):
    """Also after a restart, when the image is gone, and when an image is copied more slowly than its mask."""
    folder, photo, mask = tmp_path / "in", io.BytesIO(), np.zeros((8, 8), np.uint8)
    (folder / "masks").mkdir(parents=True)
    values = np.random.default_rng(0).integers(0, 256, (8, 8, 3))
    Image.fromarray(np.uint8(values)).save(photo, "JPEG")
    mask[2:4, 2:6] = 255
    for name in ("a.jpg", "b.JPG", "c.jpg"):
        (folder / name).write_bytes(photo.getvalue())
    for name in ("a_mask.png", "b.png", "masks/a.png", "alone.png", "d.png"):
        Image.fromarray(mask).save(folder / name)
    Image.fromarray(mask[:6]).save(folder / "c.png")
    (folder / "d.jpg").write_bytes(photo.getvalue()[:60])
    clock.at[2.3] = lambda: (folder / "d.jpg").write_bytes(photo.getvalue())
    watching = watched(folder, tmp_path / "out")
    found = taken(watching, clock, 8)
    assert sorted(row[:2] for row in found) == [
        (name, "ok") for name in ("a.jpg", "alone.png", "b.JPG", "c.jpg", "c.png", "d.jpg")
    ]
    told = capsys.readouterr().out.splitlines()
    assert sorted(told) == [
        f"{folder}/{n}: left out, as a mask" for n in ("a_mask.png", "b.png", "d.png", "masks/a.png")
    ]
    assert sorted(line.split(", such")[0] for line in watching._notes.lines()) == [
        "1 files look like masks and are named after images beside them",
        "1 masks in folders of masks are left out",
        "1 masks, named as masks of images beside them, are left out",
        "2 files have the name of an image beside them, and the look of its mask",
    ]
    (folder / "a.jpg").unlink()
    (tmp_path / "out/scores.csv").write_text("path\n")
    clock.now = 0
    assert taken(watched(folder, tmp_path / "out"), clock, 3) == []
    assert capsys.readouterr().out.startswith("note: 5 images in ")


def test_an_output_inside_is_left_out(tmp_path, clock):
    folder = tmp_path / "in"
    (folder / ".hidden").mkdir(parents=True)
    (folder / "sub").mkdir()
    (folder / "link").symlink_to(folder)  # a circle
    for name in ("a.png", "sub/b.png", ".hidden/c.png", ".d.png"):
        (folder / name).write_bytes(picture())
    (folder / "e.txt").write_text("no image")
    output = folder / "out"
    (output / "overlays" / "sub").mkdir(parents=True)
    (output / "scores.csv").write_text("path,score,label,status\n")
    (output / "overlays/sub/a.png.png").write_bytes(picture())
    (output / "overlays/sub/a.png.npy").write_bytes(b"")
    watching = watched(folder, output)
    found = taken(watching, clock, 5)
    assert sorted(row[0] for row in found) == ["a.png", "b.png"]
    assert sorted(watching._notes.lines()) == [
        f"1 folders of maps and overlays that were written here are left out, such as {output}/overlays",
        f"1 hidden files are left out, such as {folder}/.d.png",
        f"1 hidden folders are left out, such as {folder}/.hidden",
    ]
    with pytest.raises(DataError, match="nowhere.*cannot be listed"):
        next(iter(watched(tmp_path / "nowhere", tmp_path / "new")))


# The whole command, with a stand-in for the bundle


class Edge(StandInDetector):
    """What the command needs of an EdgeDetector besides."""

    search, budget_ms, batch = None, None, 1

    def __init__(self, *arguments):

        located = dataclasses.replace(CALIBRATION, pixel_threshold=0.6, normal_scores=(0.1, 0.2, 0.3))
        super().__init__(calibration=located, batch_size=self.batch)
        self.search_steps = collections.deque()

    def _closed(self, *arguments):
        self.search_steps.append(0)
        return super()._closed(*arguments)


@pytest.fixture
def command(monkeypatch, tmp_path):
    """command(input, *options) -> exit code."""
    monkeypatch.setattr(runtime, "EdgeDetector", Edge)
    monkeypatch.setattr(runtime, "products_of", lambda folder: ())

    def run(source, *options, output="out"):
        return runtime.main(
            ["--bundle=x", "--engine=onnx", f"--input={source}", f"--output={tmp_path / output}", *options]
        )

    return run


def rows_of(output) -> list[dict]:
    with open(output / "scores.csv", newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def test_what_is_left_out_is_told_when_it_is_found(tmp_path, clock, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.png").write_bytes(picture())
    (folder / "first.heic").write_bytes(b"1")
    watching = watched(folder, tmp_path / "out")

    def come(*names):
        for name in names:
            (folder / name).write_bytes(picture())

    clock.at[2.0] = lambda: come("b", "c", "d.heic", "e.dcm")
    taken(watching, clock, 4)
    notes = [line.split(" are ")[0] for line in capsys.readouterr().out.splitlines()]
    assert notes == ["note: 1 files of formats that"] + ["note: 1 files", "note: 1 files of formats that"]
    first, second = watching._notes.lines()
    assert first.startswith("2 files of formats") and first.count("first.heic") == 1
    assert second.startswith("1 files are images, but not by their names")


def test_any_name_passes(command, tmp_path, monkeypatch, clock):
    """Bytes that are no text, and names as long as a file system takes, printed where only ASCII can be."""
    folder = tmp_path / "in"
    folder.mkdir()
    names = ["ä" + "b" * 248 + ".png", "\udce4.png", "zeile\n2.png", "ラベル.png"]
    for name in names:
        try:
            (folder / name).write_bytes(picture(255))
        except OSError:
            pytest.skip("file system refuses such names")
    assert len(os.fsencode(names[0])) == 254
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    options = ("--watch", "--limit=4", "--maps", "--settle=0", "--overlay_format=jpeg")
    assert command(folder, *options) == 0
    stream.flush()
    assert b"\\udce4.png: 1 abnormal\n" in stream.buffer.getvalue()
    assert sorted(os.path.basename(row["path"]) for row in rows_of(tmp_path / "out")) == sorted(names)
    for kind in ("maps/*.npy", "maps/*.png", "overlays/*.jpg"):
        assert len(list((tmp_path / "out").glob(kind))) == 4


def test_an_error_is_told_before_the_next_image_comes(tmp_path):
    """Of a line that stands still, or ends with it, it would never be."""
    (tmp_path / "bad.png").write_bytes(b"none")
    (tmp_path / "good.png").write_bytes(picture())
    come = []

    def items():
        for name in ("good.png", "bad.png", "bad.png", "good.png"):
            come.append(name)
            yield tmp_path / name

    told = [(found.error is None, len(come)) for found in score_files.scored(Edge(), items())]
    assert told == [(True, 1), (False, 2), (False, 3), (True, 4)]


def test_a_last_image_does_not_wait_for_its_batch(command, tmp_path, monkeypatch, clock):
    """Of batches of four: a lone image, and an error beside one, in a folder that gets no others."""
    monkeypatch.setattr(Edge, "batch", 4)
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.png").write_bytes(picture(255))

    def come():
        (folder / "b.png").write_bytes(picture(254))
        (folder / "bad.png").write_bytes(b"none")

    clock.at[3.0] = come

    def interrupt():
        raise KeyboardInterrupt

    clock.at[30.0] = interrupt
    assert command(folder, "--watch", "--batch=4", "--settle=0.5") == 3
    assert [os.path.basename(row["path"]) for row in rows_of(tmp_path / "out")] == [
        "a.png",
        "b.png",
        "bad.png",
    ]


def test_after_a_pause_images_of_products_are_scored(tmp_path, monkeypatch):
    monkeypatch.setattr(Edge, "batch", 4)
    come = []

    def items():
        for item in (
            "in/a/1.png",
            score_files.PAUSE,
            "in/a/2.png",
            "in/b/3.png",
            score_files.PAUSE,
            "in/a/4.png",
        ):
            come.append(item)
            yield item

    def read_of(product):
        return lambda path, channels: np.zeros((8, 8, 1), np.float32)

    found = products.scored({"a": Edge(), "b": Edge()}, items(), read_of, str, "in")
    told = [(outcome.path[3:], outcome.product, len(come)) for outcome in found]
    assert told == [("a/1.png", "a", 2), ("a/2.png", "a", 4), ("b/3.png", "b", 5), ("a/4.png", "a", 6)]


def test_pauses_of_a_stream():
    """A pause comes once, when nothing has come for a while; errors come through, in their place."""
    go = threading.Event()

    def items():
        yield 1
        yield 2
        assert go.wait(20)
        yield 3
        raise DataError("frame 4")

    found, coming = [], frames.with_pauses(items(), 0.05)
    while score_files.PAUSE not in found:
        found.append(next(coming))
    go.set()
    with pytest.raises(DataError, match="frame 4"):
        for item in coming:
            found.append(item)
    assert [item for item in found if item is not score_files.PAUSE] == [1, 2, 3]
    assert list(frames.with_pauses(iter([5]), 20)) == [5]


def test_a_frame_does_not_wait_for_its_batch(command, tmp_path, monkeypatch):
    """The second frame comes when the first one has its row."""
    monkeypatch.setattr(Edge, "batch", 4)
    reading, writing = os.pipe()
    frame, scores = b"P5 8 8 255\n" + bytes([255] * 64), tmp_path / "out/scores.csv"

    def send():
        with open(writing, "wb") as stream:
            stream.write(frame)
            stream.flush()
            end = time.monotonic() + 20
            while not (scores.exists() and len(rows_of(tmp_path / "out")) == 1) and time.monotonic() < end:
                time.sleep(0.05)
            counts.append(len(rows_of(tmp_path / "out")))
            stream.write(frame)

    counts, sender = [], threading.Thread(target=send)
    with open(reading, "rb") as stream:
        monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=stream))
        sender.start()
        assert command("-", "--watch", "--batch=4", "--settle=0.1") == 0
    sender.join()
    assert counts == [1] and len(rows_of(tmp_path / "out")) == 2


def test_watching_twice_continues_the_tables(command, tmp_path, clock, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.png").write_bytes(picture(255))
    assert command(folder, "--watch", "--limit=1") == 0
    (folder / "b.png").write_bytes(picture(254))
    assert command(folder, "--watch", "--limit=1") == 0
    rows = rows_of(tmp_path / "out")
    assert [os.path.basename(row["path"]) for row in rows] == ["a.png", "b.png"]
    assert len((tmp_path / "out/regions.jsonl").read_text().splitlines()) == 2
    assert "1 images in" in capsys.readouterr().out
    assert command(folder, "--watch", "--limit=1", "--coco") == 1
    assert "coco.json is of one call" in capsys.readouterr().err
    assert command(folder, "--watch", "--limit=1", "--no-append", "--coco") == 0
    assert len(rows_of(tmp_path / "out")) == 1 and (tmp_path / "out/coco.json").exists()


def test_a_call_that_was_interrupted_goes_on(command, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.png").write_bytes(picture(255))
    assert command(folder, "--limit=2") == 0
    assert command(folder, "--resume") == 0
    assert f"resume: 2 of 3 images are in {tmp_path}/out/scores.csv\n" in capsys.readouterr().out
    assert [os.path.basename(row["path"]) for row in rows_of(tmp_path / "out")] == ["a.png", "b.png", "c.png"]
    assert command(folder, "--resume") == 0 and len(rows_of(tmp_path / "out")) == 3
    assert command(folder, "--resume", "--threshold=9") == 1
    assert "row 2: was judged with the threshold" in capsys.readouterr().err
    for options in (["--watch"], []):
        with pytest.raises(SystemExit):
            command(folder if options else "-", "--resume", *options)
        assert "--watch goes on by itself" in capsys.readouterr().err


@pytest.mark.parametrize("since", ["nothing", "another call"])
def test_a_process_that_ends_between_row_and_done_doubles_nothing(
    command, tmp_path, clock, monkeypatch, capsys, since
):
    """As by kill -9: the row is there, that the image is done is not. Another call's rows are not touched."""
    folder, output, add = tmp_path / "in", tmp_path / "out", frames.Seen.add
    folder.mkdir()
    for name in ("a.png", "b\n.png"):
        (folder / name).write_bytes(picture(255))

    def killed(self, path, size, time_ns):
        if path.endswith("b\n.png"):
            raise KeyboardInterrupt
        add(self, path, size, time_ns)

    monkeypatch.setattr(frames.Seen, "add", killed)
    assert command(folder, "--watch") == 0
    a, b = (str(folder / name) for name in ("a.png", "b\n.png"))
    assert [row["path"] for row in rows_of(output)] == [a, b]
    if since == "another call":
        assert command(folder / "a.png", "--append") == 0
    monkeypatch.setattr(frames.Seen, "add", add)
    capsys.readouterr()
    assert command(folder, "--watch", "--limit=1") == 0
    told = (
        f"note: {b}: was being written when the process ended, and is scored again\n"
        in capsys.readouterr().out
    )
    expected = [a, b] if since == "nothing" else [a, b, a, b]
    assert told == (since == "nothing") and [row["path"] for row in rows_of(output)] == expected
    lines = [json.loads(line)["path"] for line in (output / "regions.jsonl").read_text().splitlines()]
    with open(output / "regions.csv", newline="") as file:
        assert lines == expected == [row["path"] for row in csv.DictReader(file)]


def test_an_image_that_was_begun_keeps_its_id(tmp_path):
    for _ in range(2):
        (tmp_path / "scores.csv").write_text("path\n")
        seen = frames.Seen(tmp_path, append=True)
        seen.open()
        found = [seen.begin("a\udcff.png")]  # and no `add`
    seen = frames.Seen(tmp_path, append=True)
    seen.open()
    assert seen.begin("b.png") != seen.begin("a\udcff.png") == found[0]
    seen.add("a\udcff.png", 1, 2)
    assert ("a\udcff.png", 1, 2) in seen and seen.begin("a\udcff.png") != found[0]


def test_interrupted_it_keeps_what_it_has(command, tmp_path, clock, monkeypatch, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.png").write_bytes(picture(255))

    def interrupt():
        raise KeyboardInterrupt

    clock.at[3.0] = interrupt
    assert command(folder, "--watch", "--no-append", "--coco") == 0
    assert "interrupted; what was scored is written\n" in capsys.readouterr().err
    assert len(rows_of(tmp_path / "out")) == 1
    assert '"file_name": "a.png"' in (tmp_path / "out/coco.json").read_text()


def test_a_cut_frame_costs_no_whole_one(command, tmp_path, monkeypatch, capsys):
    """Two whole frames wait for a batch of four when the stream ends within the third."""
    monkeypatch.setattr(Edge, "batch", 4)
    frame = b"P5 8 8 255\n" + bytes([255] * 64)
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(frame * 2 + frame[:40])))
    assert command("-", "--batch=4", "--coco") == 1
    assert capsys.readouterr().err == "error: frame_000003: the stream ended after 29 of its 64 bytes\n"
    assert [row["path"] for row in rows_of(tmp_path / "out")] == ["frame_000001", "frame_000002"]
    images = json.loads((tmp_path / "out/coco.json").read_text())["images"]
    assert [image["file_name"] for image in images] == ["frame_000001", "frame_000002"]


def test_a_service_manager_ends_it_as_ctrl_c_does(command, tmp_path, monkeypatch, capsys):
    for name in ("a", "b", "c"):
        (tmp_path / f"in/{name}.png").parent.mkdir(exist_ok=True)
        (tmp_path / f"in/{name}.png").write_bytes(picture(255))
    before, read = signal.getsignal(signal.SIGTERM), runtime.Reader.__call__

    def terminated(self, path, channels):
        if str(path).endswith("b.png"):
            os.kill(os.getpid(), signal.SIGTERM)
        return read(self, path, channels)

    monkeypatch.setattr(runtime.Reader, "__call__", terminated)
    assert command(tmp_path / "in", "--coco") == 130  # not 0: c.png is missing
    assert "interrupted; what was scored is written; --resume goes on\n" in capsys.readouterr().err
    assert [os.path.basename(row["path"]) for row in rows_of(tmp_path / "out")] == ["a.png"]
    assert len(json.loads((tmp_path / "out/coco.json").read_text())["images"]) == 1
    assert signal.getsignal(signal.SIGTERM) == before


def test_frames_have_rows_of_their_own_after_a_restart(command, tmp_path, monkeypatch):
    frame = b"P5 8 8 255\n" + bytes([255] * 64)
    for _ in range(2):
        monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(frame * 2)))
        assert command("-", "--watch") == 0
    rows = rows_of(tmp_path / "out")
    assert [row["path"] for row in rows] == ["frame_000001", "frame_000002"] * 2
    pictures = {path.name for path in (tmp_path / "out/overlays").iterdir()}
    assert len(pictures) == 4 and {"frame_000001.png", "frame_000002.png"} < pictures


OUT_OF_RANGE = (
    "--settle=-1 --settle=nan --min_area=-1 --overlays=some --batch=0 --threads=0 --limit=0 --limit=-2 "
    "--max_pixels=0 --budget_ms=nan --output="
).split()


@pytest.mark.parametrize("option", OUT_OF_RANGE)
def test_options_out_of_range(command, tmp_path, option):
    with pytest.raises(SystemExit) as ended:
        command(tmp_path, "--watch", option)
    assert ended.value.code == 2


# Memory


def outcomes(count):
    """Images of ever new names: every tenth abnormal, every hundredth not readable."""
    anomaly_map = np.zeros((8, 8), np.float32)
    (region,) = StandInDetector(calibration=Edge().calibration).regions([True], [anomaly_map])[0]
    for number in range(count):
        path = f"line/{number:09d}.png"
        if number % 100 == 1:
            yield Scored(path, None, None, None, f"{path}: empty file", 0.1)
        elif number % 10 == 0:
            yield Scored(path, 0.9, "abnormal", anomaly_map, None, 0.1, [region], None, 0.1)
        else:
            yield Scored(path, 0.1, "normal", anomaly_map, None, 0.1, [], None, 0.9)


def peak(count, output) -> int:
    """Most memory that writing and telling of `count` images takes."""
    detector, told = Edge(), None
    options = types.SimpleNamespace(watch=False, engine="onnx", precision="float32")
    tracemalloc.start()
    try:
        told = runtime._Told({None: detector}, options)

        def followed():
            for outcome in outcomes(count):
                detector.search_steps.append(3)
                if outcome.error is None:
                    told.add(outcome)
                else:
                    detector.search_steps.pop()
                yield outcome

        score_files.write(followed(), output, detector, Outputs(overlays="none", coco=True))
        told.latency()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_images(tmp_path, monkeypatch, capsys):
    """SEMI_ANOGAN_MANY=1000000 measures a million. 8,000 more would be 1 MB, were their names kept alone."""
    monkeypatch.setattr(runtime, "LATEST", 500)
    many = int(os.environ.get("SEMI_ANOGAN_MANY", 12000))
    peak(4000, tmp_path / "first")  # what is imported on first use, or kept to be used again
    few, most = peak(4000, tmp_path / "few"), peak(many, tmp_path / "many")
    told = f"{few / 1e6:.2f} MB for 4000 images, {most / 1e6:.2f} MB for {many}"
    if "SEMI_ANOGAN_MANY" in os.environ:
        with capsys.disabled():
            print(told)
    assert most - few < max(200_000, many), told  # a byte an image: what is printed is caught, too
    assert len(rows_of(tmp_path / "few")) == 4000


def test_seen_files_are_kept_on_disk(tmp_path):
    seen = frames.Seen(tmp_path, append=False)
    seen.open()
    tracemalloc.start()
    try:
        for number in range(3000):
            seen.add(f"/in/{number}.png", number, number)
        assert tracemalloc.get_traced_memory()[1] < 50_000
    finally:
        tracemalloc.stop()
    assert ("/in/2999.png", 2999, 2999) in seen and ("/in/2999.png", 2999, 3000) not in seen
    assert pathlib.Path(tmp_path / frames.SEEN).stat().st_size > 0
    shutil.rmtree(tmp_path)


def test_the_runtime_writes_what_score_writes(command, tmp_path):
    """Byte for byte where the maps are the same, but for the time in scores.csv."""
    from semi_anogan import score

    folder, ours, theirs = tmp_path / "in", tmp_path / "out", tmp_path / "score"
    (folder / "sub").mkdir(parents=True)
    square = np.full((16, 16), 100, np.uint8)
    square[2:9, 3:12] = 255
    (folder / "a.png").write_bytes(picture(255))
    Image.fromarray(square).save(folder / "sub/b.png")
    (folder / "broken.png").write_bytes(b"")
    options = ("--coco", "--maps", "--overlays=all", "--threshold=0.1")
    assert command(folder, *options) == 3
    paths = [str(folder / name) for name in ("a.png", "broken.png", "sub/b.png")]
    outputs = Outputs(maps=True, overlays="all", coco=True, root=str(folder))
    assert score.score(Edge().at(threshold=0.1), paths, theirs, outputs) == 1
    names = sorted(str(p.relative_to(ours)) for p in ours.rglob("*") if p.is_file())
    assert names == sorted(str(p.relative_to(theirs)) for p in theirs.rglob("*") if p.is_file())
    assert {"coco.json", "regions.csv", "regions.jsonl", "overlays/sub/b.png.png"} < set(names)
    for name in names:
        if name != "scores.csv":
            assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name
    for row, other in zip(rows_of(ours), rows_of(theirs), strict=True):
        assert {**row, "time": ""} == {**other, "time": ""}
