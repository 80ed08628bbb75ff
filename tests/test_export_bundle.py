"""A bundle that is not what was exported is refused, by the file's name and before an engine reads it."""

import json
import os
import re

import pytest

from helpers import processes
from helpers.exported import BATCH
from semi_anogan.export.runtime import Bundle, BundleError, EdgeDetector, engines
from semi_anogan.export.runtime.bundle import digest_of
from semi_anogan.export.runtime.tensorrt import add_engines

STEP, SCORE = f"onnx/search_step_b{BATCH}.onnx", "tflite/score_b3.tflite"


@pytest.fixture(autouse=True)
def no_engine(monkeypatch):
    """An engine that reads anything fails the test."""
    monkeypatch.setattr(engines, "OnnxProgram", lambda *a: pytest.fail("an engine read the file"))


def refused(folder, text: str):
    with pytest.raises(BundleError, match=text) as caught:
        EdgeDetector(folder, "onnx")
    return str(caught.value)


def changed(folder, digest=True, **values):
    """Writes other values to bundle.json, with a digest that fits unless told otherwise."""
    path = folder / "bundle.json"
    values = {**json.loads(path.read_text()), **values}
    path.write_text(json.dumps({**values, "digest": digest_of(values)} if digest else values))


def test_one_byte(copied):
    for file in [p for p in sorted(copied.rglob("*")) if p.is_file()]:
        original = file.read_bytes()
        data = bytearray(original)
        middle = len(data) // 2
        data[middle] ^= 1
        file.write_bytes(data)
        refused(copied, re.escape(str(file)))
        file.write_bytes(original)
    Bundle(copied)


def test_truncated(copied):
    (copied / STEP).write_bytes((copied / STEP).read_bytes()[:-1])
    refused(copied, f"{STEP}: has .* bytes, bundle.json says")
    (copied / "bundle.json").write_text((copied / "bundle.json").read_text()[:-100])
    refused(copied, "bundle.json: cannot be read")


def test_swapped(copied):
    a, b = copied / STEP, copied / f"onnx/score_b{BATCH}.onnx"
    a.rename(copied / "x")
    b.rename(a)
    (copied / "x").rename(b)
    refused(copied, "onnx/(search_step|score)_b6.onnx: has")


def test_missing(copied):
    (copied / SCORE).unlink()
    refused(copied, f"{SCORE}: missing")
    (copied / "bundle.json").unlink()
    refused(copied, "bundle.json: no such file")


def test_another_shape(copied):
    values = json.loads((copied / "bundle.json").read_text())
    program = next(p for p in values["programs"] if p["path"] == STEP)
    program["inputs"]["latents"] = [BATCH, 17]
    changed(copied, digest=False, programs=values["programs"])
    refused(copied, "bundle.json: was changed after the export")


def test_another_shape_with_a_digest_that_fits(copied, monkeypatch):
    """Then the file itself says otherwise."""
    monkeypatch.undo()
    values = json.loads((copied / "bundle.json").read_text())
    for program in values["programs"]:
        if program["function"] == "encode":
            program["outputs"]["latents"] = [BATCH, 1, 17]
    changed(copied, programs=values["programs"])
    for engine, images in (("onnx", BATCH), ("tflite", 3)):
        with pytest.raises(BundleError, match=rf"{engine}/encode_b{images}.{engine}: has the outputs .*17"):
            EdgeDetector(copied, engine)


@pytest.mark.parametrize("part", [4, 0, -3, "3"])
def test_parts_that_do_not_make_up_a_batch(copied, monkeypatch, part):
    monkeypatch.undo()
    values = json.loads((copied / "bundle.json").read_text())
    for program in values["programs"]:
        program.get("file_batch") and program.update(file_batch=part)
    changed(copied, programs=values["programs"])
    with pytest.raises(
        BundleError, match=f"encode_b3.tflite: bundle.json says that it takes {part!r} of 6 images"
    ):
        EdgeDetector(copied, "tflite")


HERE = "this is 0.2, which reads format 3: export the run again"
OLDER = "is read by semi_anogan 0.1; " + HERE + ", or install that version"


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (1, f"format 1 {OLDER}"),
        (2, f"format 2 {OLDER}"),
        (4, f"format 4 is newer than this version reads; {HERE}, or install a newer version"),
        (None, f"has no format number, as no version of semi_anogan writes it; {HERE}"),
        ("3", f"has format '3', as no version of semi_anogan writes it; {HERE}"),
        (3.0, f"has format 3.0, as no version of semi_anogan writes it; {HERE}"),
    ],
)
def test_another_format(tmp_path, number, told):
    """Refused in one line wherever a bundle is read, and before its files are."""
    path = tmp_path / "bundle.json"
    path.write_text(json.dumps({} if number is None else {"format": number}))
    for read in (Bundle, lambda f: EdgeDetector(f, "onnx"), lambda f: add_engines(f, "10.3", "SM87")):
        with pytest.raises(BundleError) as caught:
            read(tmp_path)
        assert str(caught.value) == f"{path}: {told}"


def test_the_commands_refuse_another_format(tmp_path):
    path = tmp_path / "bundle.json"
    path.write_text(json.dumps({"format": 2}))
    picture = tmp_path / "picture.png"
    picture.touch()
    arguments = (f"--bundle={tmp_path}", "--engine=onnx", f"--input={picture}", f"--output={tmp_path}/s")
    for command in (("export.runtime", *arguments), ("export", f"--check={tmp_path}")):
        done = processes.command(*command)
        assert done.stderr == f"error: {path}: format 2 {OLDER}\n" and done.stdout == ""
        assert done.returncode != 0
    assert set(tmp_path.iterdir()) == {path, picture}


def test_the_number_is_written(bundle_folder):
    assert json.loads((bundle_folder / "bundle.json").read_text())["format"] == 3


@pytest.mark.parametrize("path", ["../outside.onnx", "/etc/hostname", "onnx/../../outside.onnx", ""])
def test_a_path_outside(copied, path):
    (copied.parent / "outside.onnx").write_bytes(b"x")
    values = json.loads((copied / "bundle.json").read_text())
    values["files"][0]["path"] = path
    changed(copied, files=values["files"])
    refused(copied, f"bundle.json: file {path!r} is not a path inside the bundle")


def test_a_link_that_leads_out(copied):
    target = copied.parent / "outside"
    (copied / STEP).rename(target)
    os.symlink(target, copied / STEP)
    refused(copied, f"bundle.json: file '{STEP}' leads out of the bundle")


def test_a_program_that_is_not_listed(copied):
    values = json.loads((copied / "bundle.json").read_text())
    changed(copied, files=[f for f in values["files"] if f["path"] != STEP])
    refused(copied, f"bundle.json: '{STEP}' of search_step .* is not among its files")


def test_changed_between_check_and_use(copied):
    bundle = Bundle(copied)
    (copied / STEP).write_bytes(b"another")
    with pytest.raises(BundleError, match=STEP):
        bundle.read(STEP)


def test_engines_built_on_the_device_are_added(copied):
    with pytest.raises(BundleError, match="tensorrt: holds no engines"):
        add_engines(copied, "10.3", "SM87")
    (copied / f"tensorrt/score_b{BATCH}_float16.engine").write_bytes(b"an engine")
    onnx = Bundle(copied).program("onnx", "float16", "score", BATCH)
    assert add_engines(copied, "10.3", "SM87") == [f"tensorrt/score_b{BATCH}_float16.engine"]
    entry = Bundle(copied).program("tensorrt", "float16", "score", BATCH, "tensorrt")
    assert entry == {
        "format": "tensorrt",
        **{key: onnx[key] for key in ("precision", "function", "batch", "inputs", "outputs")},
        "path": f"tensorrt/score_b{BATCH}_float16.engine",
        "flavour": "tensorrt",
        "version": "10.3",
        "compute_capabilities": ["SM87"],
        "onnx": f"onnx/score_b{BATCH}_float16.onnx",
    }
    assert Bundle(copied).read(entry["path"]) == b"an engine"


def test_what_is_not_there_is_told_with_what_is(bundle_folder):
    with pytest.raises(
        BundleError, match=r"no encode for onnx float32 batch 3; it has .*onnx float16 batch 6"
    ):
        EdgeDetector(bundle_folder, "onnx", batch=3)
    with pytest.raises(BundleError, match="engine must be one of onnx, tflite, tensorrt, got 'torch'"):
        EdgeDetector(bundle_folder, "torch")
    with pytest.raises(BundleError, match="budget_ms must be above 0, got -1"):
        EdgeDetector(bundle_folder, "onnx", budget_ms=-1)
