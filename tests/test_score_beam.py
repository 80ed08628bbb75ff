"""Scoring with Apache Beam: the runtime's scores to the bit, nothing lost or doubled, any file system."""

import concurrent.futures
import csv
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("apache_beam")

from apache_beam.io.filesystems import FileSystems
from apache_beam.io.localfilesystem import LocalFileSystem
from apache_beam.options.pipeline_options import (
    DirectOptions,
    FlinkRunnerOptions,
    GoogleCloudOptions,
    StandardOptions,
    WorkerOptions,
)

from helpers import processes
from helpers.exported import BATCH, PRODUCTS, noise
from semi_anogan import score_beam
from semi_anogan.beam import pipeline as steps
from semi_anogan.beam.scorer import Scorer, Settings
from semi_anogan.data.notes import Notes
from semi_anogan.errors import RunError
from semi_anogan.export.runtime import EdgeDetector
from semi_anogan.export.runtime.__main__ import main as runtime

TWO = ["--direct_num_workers=2", "--direct_running_mode=multi_processing"]


class Remote(LocalFileSystem):
    """A file system of another scheme: remote://PATH is the local /PATH."""

    opened = 0

    @classmethod
    def scheme(cls):
        return "remote"

    def join(self, basepath, *paths):
        return "/".join([basepath.rstrip("/"), *paths])

    def split(self, path):
        head, _, tail = path.rpartition("/")
        return head, tail

    def mkdirs(self, path):
        os.makedirs(_local(path), exist_ok=True)

    def has_dirs(self):
        return True

    def _list(self, dir_or_prefix):
        for found in super()._list(_local(dir_or_prefix)):
            yield found._replace(path=_remote(found.path)) if hasattr(found, "_replace") else _renamed(found)

    def create(self, path, *args, **options):
        return super().create(_local(path), *args, **options)

    def open(self, path, *args, **options):
        Remote.opened += 1
        return super().open(_local(path), *args, **options)

    def rename(self, sources, destinations):
        return super().rename([_local(p) for p in sources], [_local(p) for p in destinations])

    def exists(self, path):
        return super().exists(_local(path))

    def delete(self, paths):
        return super().delete([_local(p) for p in paths])


def _local(path: str) -> str:
    return "/" + path.removeprefix("remote://").lstrip("/")


def _remote(path: str) -> str:
    return "remote://" + path.lstrip("/")


def _renamed(found):
    found.path = _remote(found.path)
    return found


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> pathlib.Path:
    """140 images of other sizes in two folders of bolts, and two files that are none."""
    root = tmp_path_factory.mktemp("parts")
    for number, image in enumerate(noise(5, 140)):
        place = root / "bolts" / f"tray {number % 2}"
        place.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(image).resize((9 + number % 3, 12))
        if number in (7, 110):
            picture.putalpha(100)
        picture.save(place / f"{number:03d}.png")
    (root / "bolts/empty.png").touch()
    (root / "bolts/no image, but a text.png").write_text("x")
    return root


def table(place, name="scores") -> list[list[str]]:
    """The rows of all shards, sorted, without the time."""
    found = []
    for path in sorted(pathlib.Path(place).glob(f"{name}-*.csv")):
        with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
            header, *rows = csv.reader(file)
            at = header.index("time")
            found += [row[:at] + row[at + 1 :] for row in rows]
    return sorted(found)


def plain(place) -> tuple[list[list[str]], dict[str, str]]:
    """(rows of scored images, {path: error}) of a scores.csv, without the time."""
    path = pathlib.Path(place) / "scores.csv"
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = list(csv.DictReader(file))
    errors = {row["path"]: row["error"] for row in rows if row["status"] == "error"}
    rows = [[v for k, v in row.items() if k != "time"] for row in rows if row["status"] == "ok"]
    return sorted(rows), errors


def contents(place) -> dict[str, bytes]:
    """The pictures of an output."""
    place, found = pathlib.Path(place), {}
    for name in ("maps", "overlays"):
        for path in (place / name).rglob("*.*"):
            found[str(path.relative_to(place))] = path.read_bytes()
    return found


@pytest.fixture(scope="module")
def expected(product_bundles, pictures, tmp_path_factory):
    """Of the runtime: rows, errors and pictures of all bolts."""
    place = tmp_path_factory.mktemp("plain")
    model = [f"--bundle={product_bundles / 'bolts'}", "--engine=onnx", "--threads=1"]
    assert runtime([*model, f"--input={pictures}", f"--output={place}", "--maps", "--overlays=all"]) == 3
    return (*plain(place), contents(place))


@pytest.mark.parametrize("at_once, shards", [(64, 0), (5, 3)])
def test_scores_and_pictures_are_those_of_the_runtime(
    product_bundles, pictures, expected, tmp_path, monkeypatch, capsys, at_once, shards
):
    """However they are put together, to the last bit of the maps; what cannot be read has its reason."""
    monkeypatch.setattr(steps, "AT_ONCE", at_once)
    arguments = [f"--bundle={product_bundles / 'bolts'}", "--engine=onnx", f"--input={pictures}/**.png"]
    out = tmp_path / "out"
    options = ["--maps", "--overlays=all", f"--shards={shards}"]
    assert score_beam.main([*arguments, f"--output={out}", *options]) == 3
    assert table(out) == expected[0] and len(expected[0]) == 140
    assert {row[0]: row[1] for row in table(out, "errors")} == expected[1] and len(expected[1]) == 2
    assert contents(out) == expected[2] and len(expected[2]) == 3 * 140
    assert "140 images scored" in capsys.readouterr().out
    assert len(list(out.glob("scores-*"))) == (shards or 1) and not list(out.glob("beam-temp-*/*"))
    lines = [json.loads(line) for path in out.glob("regions-*") for line in path.read_text().splitlines()]
    counted = {row[0]: row[5] for row in table(out)}
    assert all(int(counted[line["path"]]) >= line["number"] >= 1 for line in lines)


def test_names_of_any_kind(product_bundles, tmp_path):
    """One with an end of line made two rows, one that is not UTF-8 ended the pipeline."""
    (tmp_path / "in").mkdir()
    names = (b"a\nb.png", b"c\rd.png", b"e\xff.png", b'f,"g.png', b"bad\xff.png", b"bad\n.png")
    for name, image in zip(names, noise(5, 4), strict=False):
        Image.fromarray(image).save(tmp_path / "in" / os.fsdecode(name), "PNG")
    for name in names[4:]:
        (tmp_path / "in" / os.fsdecode(name)).write_text("none")
    model = [f"--bundle={product_bundles / 'bolts'}", "--engine=onnx"]
    assert (
        runtime([*model, f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'plain'}", "--threads=1"]) == 3
    )
    rows, errors = plain(tmp_path / "plain")
    assert len(rows) == 4 and len(errors) == 2
    assert score_beam.main([*model, f"--input={tmp_path}/in/*", f"--output={tmp_path / 'out'}"]) == 3
    assert table(tmp_path / "out") == rows
    assert {row[0]: row[1] for row in table(tmp_path / "out", "errors")} == errors
    values = steps._values(["e\udcff.png", "1.5", "3"], ("path", "score", "regions"))
    assert values == {"path": "e\\xff.png", "score": 1.5, "regions": 3}  # of Parquet


def test_values_to_the_bit(product_bundles, pictures):
    """A worker's own, in batches that other images fill."""
    paths = [path for path in sorted(pictures.rglob("*.png")) if path.stem.isdigit()]
    items = [steps.Item(str(path)) for path in paths if path.stem not in ("007", "110")]
    detector = EdgeDetector(product_bundles / "bolts", "onnx", threads=1)
    scorer = Scorer(Settings(None, str(product_bundles / "bolts"), "onnx", str(pictures)))
    for chosen in (items[:7], items[6:7], items[3:]):
        found = list(scorer(chosen, Notes()))
        for item, outcome in zip(chosen, found, strict=True):
            with Image.open(item.path) as image:
                (score,), (label,), (anomaly_map,) = detector([np.asarray(image)])
            assert np.float32(outcome.score) == score and (outcome.label == "abnormal") == label
            np.testing.assert_array_equal(outcome.anomaly_map, anomaly_map)


def test_threads_share_a_detector(product_bundles, pictures):
    """Beam's workers have several: each gets its own images' values."""
    items = [steps.Item(str(path)) for path in sorted((pictures / "bolts/tray 1").glob("*.png"))]
    scorer = Scorer(Settings(None, str(product_bundles / "bolts"), "onnx", str(pictures)))

    def score(chosen):
        return [(outcome.path, outcome.score) for outcome in scorer(chosen, Notes())]

    alone = dict(score(items))
    parts = [items[start::7] for start in range(7)]
    with concurrent.futures.ThreadPoolExecutor(7) as pool:
        together = [pair for found in pool.map(score, parts) for pair in found]
    assert dict(together) == alone and len(together) == len(items) == 70
    assert [path for path, _ in together] == [item.path for part in parts for item in part]
    assert not scorer.detectors[None].search_steps  # which nobody reads: they would grow without end


def test_a_second_call_replaces_the_first(product_bundles, pictures, tmp_path, capsys):
    """Also where it writes fewer shards, and what a killed call had begun; nothing is there twice."""
    out = tmp_path / "out"
    (out / "beam-temp-scores-1").mkdir(parents=True)
    (out / "beam-temp-scores-1/half").write_text("path,")
    arguments = [f"--bundle={product_bundles / 'bolts'}", "--engine=onnx", f"--output={out}"]
    for shards, pattern, count in ((4, "tray*/*.png", 140), (2, "tray 0/*.png", 70)):
        given = [f"--input={pictures}/bolts/{pattern}", f"--shards={shards}"]
        assert score_beam.main([*arguments, *given]) == 0
        assert len(table(out)) == count and len(list(out.glob("scores-*"))) == shards
        assert table(out, "errors") == []
    said = capsys.readouterr().out
    assert "note: 1 files of an earlier call are replaced, such as" in said
    assert "note: 13 files of an earlier call are replaced" in said  # three tables of 4, and the notes
    assert not (out / "beam-temp-scores-1/half").exists()


def test_a_manifest_with_masks(product_bundles, pictures, tmp_path, capsys):
    """Paths are from its own folder on. A row that is none is told, and a mask that cannot be used."""
    bolts = pictures / "bolts/tray 0"
    Image.fromarray(np.uint8(np.arange(12 * 9).reshape(12, 9) % 9 < 4) * 255).save(tmp_path / "left.png")
    rows = [
        "\ufeffPath,Ignore",
        f"{bolts}/000.png,left.png",
        f"{bolts}/006.png,",
        "",
        f'"{bolts}/012.png",""',
        "absent.png,",
        f"{bolts}/018.png,no.png",
        "one",
        '"a quote,',
    ]
    (tmp_path / "list.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    model = [f"--bundle={product_bundles / 'bolts'}", "--engine=onnx", f"--input={tmp_path / 'list.csv'}"]
    assert score_beam.main([*model, f"--output={tmp_path}/out", "--maps"]) == 3
    found, errors = table(tmp_path / "out"), dict(table(tmp_path / "out", "errors"))
    assert [pathlib.Path(row[0]).name for row in found] == ["000.png", "006.png", "012.png"]
    assert set(errors) == {f"{tmp_path}/absent.png", f"{bolts}/018.png", "one", '"a quote,'}
    assert errors["one"] == f"{tmp_path}/list.csv: a row cannot be read: 1 values for 2 columns"
    assert "no.png" in errors[f"{bolts}/018.png"] and "unexpected end of data" in errors['"a quote,']
    (tmp_path / "whole.csv").write_text("\n".join(rows[:3] + rows[4:7]) + "\n", encoding="utf-8")
    given = f"--input={tmp_path / 'whole.csv'}"
    assert runtime([*model[:2], given, f"--output={tmp_path}/plain", "--threads=1", "--maps"]) == 3
    assert plain(tmp_path / "plain")[0] == found
    maps = {pathlib.Path(path).name: data for path, data in contents(tmp_path / "out").items()}
    others = {pathlib.Path(path).name: data for path, data in contents(tmp_path / "plain").items()}
    assert maps == {name: data for name, data in others.items() if name in maps} and len(maps) == 6


def test_a_manifest_of_another_spreadsheet_and_addresses_that_nothing_reads(
    product_bundles, pictures, tmp_path, capsys
):
    """Semicolons and carriage returns; an address of no known file system is an error of that row alone."""
    image = f"{pictures}/bolts/tray 0/000.png"
    lines = ["path;ignore", f"{image};", "http://127.0.0.1/x.png;", "none://b/x.png;", f"{image};;"]
    (tmp_path / "list.csv").write_bytes("\r\n".join(["\ufeff" + lines[0], *lines[1:], ""]).encode())
    model = [f"--bundle={product_bundles / 'bolts'}", "--engine=onnx"]
    given = [f"--input={tmp_path / 'list.csv'}", f"--output={tmp_path / 'out'}"]
    assert score_beam.main([*model, *given]) == 3
    assert [row[0] for row in table(tmp_path / "out")] == [image]
    errors = dict(table(tmp_path / "out", "errors"))
    assert set(errors) == {"http://127.0.0.1/x.png", "none://b/x.png", f"{image};;"}
    assert errors["none://b/x.png"].startswith("none://b/x.png: cannot be read: Unable to get filesystem")
    assert errors[f"{image};;"].endswith("a row cannot be read: 3 values for 2 columns")
    (tmp_path / "list.csv").write_text("path\n")
    assert score_beam.main([*model, *given]) == 0
    told = capsys.readouterr().out.splitlines()[-1]
    assert told == f"0 images scored, 0 with errors: {tmp_path / 'out'}/scores-*"


def test_masks_beside_the_images_are_found_and_are_no_images(product_bundles, pictures, tmp_path, capsys):
    (tmp_path / "parts/ignore/day").mkdir(parents=True)
    (tmp_path / "parts/day").mkdir()
    data = (pictures / "bolts/tray 0/000.png").read_bytes()
    for name in ("a", "b"):
        (tmp_path / f"parts/day/{name}.png").write_bytes(data)
    Image.fromarray(np.uint8(np.arange(12 * 9).reshape(12, 9) % 9 < 4) * 255).save(
        tmp_path / "parts/ignore/day/a.png"
    )
    model = [f"--bundle={product_bundles / 'bolts'}", "--engine=onnx"]
    out = tmp_path / "parts/out"  # what is written there is no input either
    for _ in range(2):
        given = [f"--input={tmp_path}/parts/**.png", f"--output={out}", "--overlays=all"]
        assert score_beam.main([*model, *given]) == 0
    said = capsys.readouterr().out
    assert "note: 1 files are left out" in said and "note: 3 files are left out" in said
    assert (
        runtime([*model, "--threads=1", f"--input={tmp_path}/parts/day", f"--output={tmp_path}/plain"]) == 0
    )
    assert table(out) == plain(tmp_path / "plain")[0]
    assert table(out)[0][1] != table(out)[1][1]


def test_masks_are_left_out_as_the_runtime_leaves_them_out(product_bundles, tmp_path, capsys):
    """Of local files; a manifest says what is meant, and of files elsewhere the names are told."""
    for number, image in enumerate(noise(3, 2)):
        for folder in ("day", "masks"):
            (tmp_path / f"parts/{folder}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / f"parts/day/{number}.png")
        mask = Image.fromarray(np.uint8(np.arange(64).reshape(8, 8) < 9) * 255)
        mask.save(tmp_path / f"parts/day/{number}_mask.png")
        mask.save(tmp_path / f"parts/masks/{number}.png")
    Image.fromarray(noise(4, 1)[0]).save(tmp_path / "parts/day/pair.bmp")
    mask.save(tmp_path / "parts/day/pair.png")
    model = [f"--bundle={product_bundles / 'bolts'}", "--engine=onnx"]
    out = tmp_path / "out"
    assert score_beam.main([*model, f"--input={tmp_path}/parts/**", f"--output={out}"]) == 0
    said = capsys.readouterr().out
    rest = [*model, "--threads=1", "--overlays=none", f"--output={tmp_path}/plain"]
    assert runtime([*rest, f"--input={tmp_path}/parts"]) == 0
    assert table(out) == plain(tmp_path / "plain")[0] and len(table(out)) == 3
    said, expected = (
        # Which comes first differs: workers divide the files.
        sorted(re.sub(r"\d_mask", "N_mask", line) for line in text.splitlines() if "left out" in line)
        for text in (said, capsys.readouterr().out)
    )
    assert len(said) == 3 and said == expected
    (tmp_path / "few.csv").write_text(f"path\n{tmp_path}/parts/day/0_mask.png\n")
    assert score_beam.main([*model, f"--input={tmp_path}/few.csv", f"--output={out}"]) == 0
    assert len(table(out)) == 1
    capsys.readouterr()
    remote = _remote(str(tmp_path / "parts"))
    assert score_beam.main([*model, f"--input={remote}/**", f"--output={out}"]) == 0
    assert len(table(out)) == 8
    assert f"note: 4 files are named as masks, such as {remote}/" in capsys.readouterr().out


def test_parquet(product_bundles, pictures, expected, tmp_path, capsys):
    """The values of the CSV file, numbers as numbers."""
    import pyarrow.parquet

    model = [f"--bundle={product_bundles / 'bolts'}", "--engine=onnx", "--review_band=0.01,0.2"]
    given = [
        f"--input={pictures}/bolts/tray*/*.png",
        f"--output={tmp_path}",
        "--format=parquet",
        "--shards=2",
    ]
    assert score_beam.main([*model, *given]) == 0
    found = [pyarrow.parquet.read_table(path) for path in sorted(tmp_path.glob("scores-*.parquet"))]
    assert len(found) == 2 and found[0].column_names[-1] == "look_threshold"
    rows = sorted((row for part in found for row in part.to_pylist()), key=lambda row: row["path"])
    assert [(row["path"], row["score"]) for row in rows] == [(row[0], float(row[1])) for row in expected[0]]
    assert {row["status"] for row in rows} == {"ok"} and {row["error"] for row in rows} == {None}
    assert all(row["look_threshold"] < row["threshold"] and row["regions"] >= 0 for row in rows)
    said = capsys.readouterr().out
    assert said.count('and to be looked at ("look") above') == 1  # as each worker found, told once


def test_products_by_folder(product_bundles, pictures, tmp_path):
    """As the runtime tells them apart."""
    for name in (*PRODUCTS, "others"):
        (tmp_path / "parts" / name).mkdir(parents=True)
        data = (pictures / "bolts/tray 0/000.png").read_bytes()
        (tmp_path / "parts" / name / "x.png").write_bytes(data)
    model = [f"--bundle={product_bundles / 'joined'}", "--engine=tflite"]
    assert score_beam.main([*model, f"--input={tmp_path}/parts/**.png", f"--output={tmp_path}/out"]) == 3
    given = [f"--input={tmp_path}/parts", f"--output={tmp_path}/plain", "--threads=1"]
    assert runtime([*model, *given]) == 3
    rows, errors = plain(tmp_path / "plain")
    assert table(tmp_path / "out") == rows and [row[-1] for row in rows] == list(PRODUCTS)
    assert dict(table(tmp_path / "out", "errors")) == errors and "of which product?" in str(errors)


@pytest.mark.slow
def test_another_file_system(product_bundles, pictures, expected, tmp_path):
    """Bundle, images and output are elsewhere: they are read and written by Beam's file systems alone."""
    assert FileSystems.get_scheme("remote://x") == "remote"
    out, opened = tmp_path / "out", Remote.opened
    model = [f"--bundle={_remote(str(product_bundles / 'bolts'))}", "--engine=onnx", "--maps"]
    given = [f"--input={_remote(str(pictures))}/**.png", f"--output={_remote(str(out))}", "--overlays=all"]
    assert score_beam.main([*model, *given]) == 3
    assert Remote.opened > opened + 140
    assert [[_local(row[0]), *row[1:]] for row in table(out)] == expected[0]
    errors = {_local(path): told.replace("remote://", "/") for path, told in table(out, "errors")}
    assert errors == expected[1]
    assert contents(out) == expected[2]
    (notes,) = out.glob("notes-*")
    (line,) = (line for line in notes.read_text().splitlines() if "transparen" in line)
    assert line.startswith("2 images") and _remote(f"{pictures}/bolts/tray 0/110.png") in line


def test_options_of_runners(capsys, tmp_path):
    """Command lines of Flink and Dataflow, as their documents write them."""
    flink = "--runner=FlinkRunner --flink_master=localhost:8081 --environment_type=LOOPBACK --parallelism=4"
    cloud = (
        "--runner=DataflowRunner --project=p --region=europe-west4 --temp_location=gs://b/temp --job_name=s "
        "--max_num_workers 20 --machine_type n2-standard-4 --sdk_container_image=r/semi_anogan "
        "--experiments=use_runner_v2"
    )
    model = "--bundle=b --engine=onnx --input=x.csv --output=o"

    def parsed(text: str):
        _, flags, elsewhere = score_beam._options(f"{model} {text}".split())
        return score_beam._pipeline_options(flags, elsewhere)

    found = parsed(flink)
    assert found.view_as(StandardOptions).runner == "FlinkRunner"
    assert found.view_as(FlinkRunnerOptions).flink_master == "localhost:8081"
    assert found.view_as(FlinkRunnerOptions).parallelism == 4
    found = parsed(cloud)
    assert found.view_as(GoogleCloudOptions).temp_location == "gs://b/temp"
    assert found.view_as(WorkerOptions).max_num_workers == 20
    assert parsed("").view_as(StandardOptions).runner == "FnApiRunner"
    assert parsed(" ".join(TWO)).view_as(DirectOptions).direct_num_workers == 2
    assert parsed("-- --of_the_job_server=3").get_all_options(retain_unknown_options=True)[
        "of_the_job_server"
    ]
    for wrong in ("--thresold=3", "--thresh=3"):  # nor is a beginning of a name taken for it
        assert score_beam.main(f"{model} {wrong}".split()) == 1
        told = f"error: {wrong}: neither this command nor Beam has such an option"
        assert capsys.readouterr().err.startswith(told)


def test_what_cannot_be_is_told_in_one_line(product_bundles, pictures, tmp_path, capsys):
    (tmp_path / "list.csv").write_text("file,label\nx,y\n")
    (tmp_path / "cr.csv").write_bytes(b"path\rx.png\r")
    (tmp_path / "two.csv").write_text("path,Path\nx.png,y.png\n")
    (tmp_path / "run").mkdir()
    joined, bolts = product_bundles / "joined", product_bundles / "bolts"
    has = "is of several products: there is no 'screws'; they are bolts, nuts, rings"
    for changes, told in (
        ({"input": pictures}, f"{pictures}: is a folder; give a pattern, such as '{pictures}/**.png'"),
        ({"input": f"{pictures}/*.tif"}, f"{pictures}/*.tif: matches no file; * is any part of a name"),
        ({"input": f"{tmp_path}/no.csv"}, f"{tmp_path}/no.csv: cannot be read: "),
        (
            {"input": f"{tmp_path}/list.csv"},
            f"{tmp_path}/list.csv: row 1: no column path; the columns are ['file",
        ),
        ({"input": f"{tmp_path}/cr.csv"}, f"{tmp_path}/cr.csv: row 1: ends in a carriage return alone"),
        ({"input": f"{tmp_path}/two.csv"}, f"{tmp_path}/two.csv: row 1: the column path is there twice"),
        ({"input": f"{tmp_path}/l[1].csv"}, f"--input={tmp_path}/l[1].csv: must have no [, which Beam takes"),
        ({"output": f"{tmp_path}/out?"}, f"--output={tmp_path}/out?: must have no ?, which Beam takes for"),
        ({"runner": "NoRunner"}, "no pipeline can be made of these options: Unexpected pipeline runner: NoR"),
        ({"input": "none://x/*.png"}, "none://x/*.png: cannot be listed: "),
        ({"bundle": tmp_path}, f"{tmp_path / 'bundle.json'}: no such file"),
        ({"bundle": "none://x"}, "none://x/*.json: cannot be listed: "),
        ({"precision": "int8"}, f"{bolts / 'bundle.json'}: has no score for onnx int8 batch 1; it has onnx "),
        ({"batch": 7}, f"{bolts / 'bundle.json'}: has no score for onnx float32 batch 7; it has onnx "),
        ({"bundle": joined, "product": "screws"}, f"{joined / 'bundle.json'}: {has}"),
        (
            {"bundle": joined, "threshold": 1},
            f"--threshold is for one product, {joined} has bolts, nuts, rings",
        ),
        ({"threshold": "nan"}, "threshold must be a finite number, got nan"),
        ({"bundle": None, "engine": None, "workdir": tmp_path / "run"}, f"{tmp_path / 'run'}"),
    ):
        values = {
            "bundle": bolts,
            "engine": "onnx",
            "input": f"{pictures}/**.png",
            "output": tmp_path / "out",
        }
        given = [f"--{k}={v}" for k, v in {**values, **changes}.items() if v is not None]
        assert score_beam.main(given) == 1
        error = capsys.readouterr().err
        assert error.startswith(f"error: {told}") and error.count("\n") == 1, error
    assert not (tmp_path / "out").exists()
    for given, told in (
        (["--bundle=b", "--input=i", "--output=o"], "--bundle needs --engine"),
        (["--workdir=w", "--input=i", "--output=o", "--batch=2"], "--batch is of a bundle"),
        (["--bundle=b", "--engine=onnx", "--input=i", "--output=/"], "--output names no place"),
        (
            ["--bundle=b", "--engine=onnx", "--input=i", "--output=o", "--shards=-1"],
            "--shards must be at least 0",
        ),
    ):
        with pytest.raises(SystemExit):
            score_beam.main(given)
        assert told in capsys.readouterr().err


def test_a_failed_pipeline_says_that_its_tables_are_not_there(
    product_bundles, pictures, tmp_path, capsys, monkeypatch
):
    """An error that no image has caused, as of a full disk."""
    monkeypatch.setattr(Scorer, "__call__", lambda *a: (_ for _ in ()).throw(OSError("no space left")))
    given = [f"--input={pictures}/**.png", f"--output={tmp_path / 'out'}"]
    assert score_beam.main([f"--bundle={product_bundles / 'bolts'}", "--engine=onnx", *given]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: the pipeline failed: ") and "give the command again" in last
    assert not list((tmp_path / "out").glob("scores-*"))


@pytest.mark.slow
def test_two_processes_and_a_killed_job(bundle_folder, test_images, tmp_path):
    """With the search, whose first steps rounding could turn: to the bit as in one process by the runtime.

    A job that is killed leaves no table; the same command then writes all of them. One whose worker is
    killed ends with an error, as Beam's local runner does not begin a worker again.
    """
    place, out = tmp_path / "images", tmp_path / "out"
    place.mkdir()
    for number in range(300):
        values = np.uint8(np.round(test_images[number % 20][..., 0] * 127.5 + 127.5))
        Image.fromarray(np.roll(values, number // 20, axis=1)).save(place / f"{number:03d}.png")
    model = [f"--bundle={bundle_folder}", "--engine=onnx", f"--batch={BATCH}"]
    given = [f"--input={place}/*.png", f"--output={out}", "--maps", *TWO]
    command = [sys.executable, "-m", "semi_anogan.score_beam", *model, *given]

    def killed(which):
        log = tmp_path / "log"
        shutil.rmtree(out / "maps", ignore_errors=True)  # new ones tell that it has begun
        with (
            open(log, "wb") as file,
            subprocess.Popen(
                command,
                stdout=file,
                stderr=file,
                env=processes.ONE_THREAD,
                cwd=processes.ROOT,
                start_new_session=True,
            ) as process,
        ):
            try:
                end = time.monotonic() + 200
                while len(list((out / "maps").glob("*.npy"))) < 20:
                    assert process.poll() is None and time.monotonic() < end, log.read_text()
                    time.sleep(0.05)
                which(process)
                return process.wait(100), log.read_text()
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)

    def below(pid) -> list[str]:
        found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()
        return found + [other for child in found for other in below(child)]

    def worker(process):
        """Kills one process that scores: those have no children."""
        workers = [pid for pid in below(process.pid) if not below(pid)]
        assert len(workers) == 2
        assert b"sdk_worker_main" in pathlib.Path(f"/proc/{workers[0]}/cmdline").read_bytes()
        os.kill(int(workers[0]), signal.SIGKILL)

    code, _ = killed(lambda process: os.killpg(process.pid, signal.SIGKILL))
    assert code == -signal.SIGKILL and not list(out.glob("scores-*"))
    code, log = killed(worker)
    assert code == 1 and "error: the pipeline failed" in log.splitlines()[-1], log
    assert not list(out.glob("scores-*"))
    done = processes.command("score_beam", *model, *given)
    assert done.returncode == 0, done.stderr
    plain_out = tmp_path / "plain"
    options = [f"--input={place}", f"--output={plain_out}", "--threads=1", "--maps", "--overlays=none"]
    assert runtime([*model, *options]) == 0
    assert table(out) == plain(plain_out)[0] and len(table(out)) == 300
    assert contents(out) == contents(plain_out)


@pytest.mark.slow
def test_a_run_is_scored_as_score_does(tiny_run, pictures, tmp_path):
    """Without a bundle, with the framework in the worker."""
    given = [
        f"--workdir={tiny_run}",
        f"--output={tmp_path / 'out'}",
        f"--input={pictures}/bolts/tray 0/*.png",
    ]
    done = processes.command("score_beam", *given, "--maps")
    assert done.returncode == 0, done.stderr
    given = [given[0], f"--output={tmp_path / 'plain'}", f"--input={pictures / 'bolts/tray 0'}"]
    done = processes.command("score", *given, "--maps", "--overlays=none")
    assert done.returncode == 0, done.stderr
    assert table(tmp_path / "out") == plain(tmp_path / "plain")[0]
    assert contents(tmp_path / "out") == contents(tmp_path / "plain")


def test_the_benchmark_counts_what_was_written(product_bundles, monkeypatch):
    """What it says of processes and rows; no time and no memory is asserted."""
    from semi_anogan.benchmarks import beam as benchmark

    text = benchmark.run(product_bundles / "bolts", "onnx", [70])
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines() if "| 70 |" in line]
    assert [row[1] for row in rows] == ["1", "2"]
    assert [len(row[5].split("; ")) for row in rows] == [1, 3]  # the caller; the caller and two workers
    monkeypatch.setattr(benchmark, "_rows", lambda output: 69)
    with pytest.raises(RunError, match="^score_beam wrote 69 rows of scores for 70 images$"):
        benchmark.run(product_bundles / "bolts", "onnx", [70])
