"""A bundle of several products: each scores to the bit as its own bundle, what is equal is stored once."""

import asyncio
import csv
import hashlib
import io
import json
import pathlib
import shutil
import urllib.parse

import numpy as np
import pytest
from PIL import Image

from helpers import processes, trained
from helpers.exported import PRODUCTS as NAMES
from helpers.exported import noise as images
from semi_anogan.errors import ConfigError, DataError
from semi_anogan.export.products import ProductsError, cut, named
from semi_anogan.export.runtime import Bundle, BundleError, EdgeDetector, products_of
from semi_anogan.export.runtime.__main__ import main as runtime
from semi_anogan.export.runtime.bundle import assembled
from semi_anogan.export.runtime.products import product_of
from semi_anogan.export.runtime.take import main as take
from semi_anogan.scoring import chosen
from semi_anogan.serve.answers import Job, answer_each, measured_each, read_each
from semi_anogan.serve.app import make_app
from semi_anogan.serve.queue import ScoringQueue
from semi_anogan.serve.worker import Settings, Worker


@pytest.fixture
def made(product_bundles) -> pathlib.Path:
    return product_bundles


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> pathlib.Path:
    """Three images in a folder of each product, one of them deeper, and one of no product."""
    root = tmp_path_factory.mktemp("parts")
    for seed, name in enumerate(NAMES):
        for number, image in enumerate(images(seed, 3)):
            place = root / name / "line 1" if number == 2 else root / name
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).resize((9 + seed, 12)).save(place / f"{number}.png")
    (root / "others").mkdir()
    Image.fromarray(images(9, 1)[0]).save(root / "others/0.png")
    return root


def rows(folder) -> list[dict]:
    with open(pathlib.Path(folder) / "scores.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("engine", ["onnx", "tflite"])
def test_each_product_scores_to_the_bit_as_its_own_bundle(made, engine):
    assert products_of(made / "joined") == NAMES and products_of(made / "rings") == ()
    found = []
    for name in NAMES:
        joined, own = EdgeDetector(made / "joined", engine, product=name), EdgeDetector(made / name, engine)
        assert joined.bundle.values["programs"] == own.bundle.values["programs"]
        for file in own.bundle.values["files"]:
            assert joined.bundle.read(file["path"]) == (made / name / file["path"]).read_bytes()
        (scores, labels, maps), others = joined(images(7)), own(images(7))
        np.testing.assert_array_equal(scores, others.scores)
        np.testing.assert_array_equal(labels, others.labels)
        np.testing.assert_array_equal(maps, others.maps)
        assert (joined.threshold, joined.pixel_threshold) == (own.threshold, own.pixel_threshold)
        found.append(scores.tolist())
    assert len({tuple(scores) for scores in found}) == 3


def test_what_is_equal_is_stored_once(made):
    """The weights of bolts and nuts are the same in ONNX, and in TFLite; those of rings are others."""
    joined = made / "joined"
    files = list((joined / "shared").iterdir())
    assert {path.name for path in joined.iterdir()} == {"bundle.json", "shared"}
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == path.name for path in files)
    values = json.loads((joined / "bundle.json").read_text())
    assert {f"shared/{path.name}" for path in files} == {file["path"] for file in values["files"]}
    for suffix in ("onnx", "tflite"):
        bolts, nuts, rings = (
            {path for f in of["files"] if f["path"].endswith(suffix) for _, path in f.get("weights", ())}
            for of in values["products"].values()
        )
        assert bolts == nuts and len(bolts) == len(rings) == 4 and not rings & bolts
    stored = sum(path.stat().st_size for path in files)
    alone = {name: sum(file["bytes"] for file in values["products"][name]["files"]) for name in NAMES}
    assert stored < sum(alone.values()) - 0.5 * alone["nuts"]


def test_a_product_is_taken_out_as_a_bundle_of_its_own(made, tmp_path, capsys):
    """With the files that it was exported with, and the scripts that build TensorRT engines of them."""
    asked = [f"--bundle={made / 'joined'}", f"--output={tmp_path / 'a b/nuts'}"]
    assert take([*asked, "--product=nuts"]) == 0
    taken, own = tmp_path / "a b/nuts", made / "nuts"
    assert [path.name for path in taken.parent.iterdir()] == ["nuts"] and products_of(taken) == ()
    for path in (p.relative_to(own) for p in own.rglob("*") if p.is_file() and p.name != "bundle.json"):
        assert (taken / path).read_bytes() == (own / path).read_bytes(), path
    scripts = sorted((taken / "tensorrt").iterdir())
    assert [path.name for path in scripts] == ["build_tensorrt_10.sh", "build_tensorrt_11.sh"]
    assert "--onnx=onnx/score_b2.onnx" in scripts[0].read_text() and scripts[0].stat().st_mode & 0o100
    (scores, *_), others = EdgeDetector(taken, "onnx")(images(7)), EdgeDetector(own, "onnx")(images(7))
    np.testing.assert_array_equal(scores, others.scores)

    capsys.readouterr()
    assert take([*asked, "--product=nuts"]) == 1
    assert capsys.readouterr().err == f"error: {taken}: is there already; give another --output\n"
    asked[1] = f"--output={tmp_path / 'other'}"
    assert take([*asked, "--product=bolt"]) == 1 and "there is no 'bolt'" in capsys.readouterr().err
    assert take([f"--bundle={own}", asked[1], "--product=nuts"]) == 1
    assert "is of one product" in capsys.readouterr().err and not (tmp_path / "other").exists()
    (tmp_path / "file").touch()
    assert take([asked[0], f"--output={tmp_path / 'file/nuts'}", "--product=nuts"]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_a_file_is_cut_at_its_weights_and_put_together():
    first, second = b"A" * 1024, b"B" * 2000
    data = b"head" + first + b"-" + second + b"tail"
    places = [(1029, 3029), (4, 1028), (4, 1028), (0, 3)]  # in any order, once each, none that is short
    assert cut(data, places) == (b"head-tail", [(4, first), (1029, second)])
    assert assembled(b"head-tail", [(4, first), (1029, second)]) == data
    assert cut(data, []) == (data, []) and assembled(data, []) == data
    assert cut(data, [(4, 1028), (500, 3029)]) == (data[:4] + data[1028:], [(4, first)])  # one within another


def test_names():
    assert named(["runs/a", "runs/b/"]) == {"a": "runs/a", "b": "runs/b/"}
    assert named(["runs/a", "old/a"], ["new", "old"]) == {"new": "runs/a", "old": "old/a"}
    for workdirs, names, told in (
        (["runs/a", "old/a"], [], "runs/a and old/a: two runs of product 'a'; --products=a,b names them"),
        (["runs/a", "runs/A"], [], "runs/a and runs/A: two runs of product 'A'; --products=a,b names them"),
        (["a", "b"], ["x"], "--products names 1, --workdirs 2: give one for each"),
        (["a"], ["x/y"], r"product 'x/y': must be the name of a folder, without / \ : and commas"),
        (["a"], [".."], r"product '..': must be the name of a folder, without / \ : and commas"),
        (["a"], [""], r"product '': must be the name of a folder, without / \ : and commas"),
    ):
        with pytest.raises(ProductsError) as caught:
            named(workdirs, names)
        assert str(caught.value) == told


def test_the_product_of_an_image(tmp_path, monkeypatch):
    assert product_of("parts/a/x.png", "parts", ["a", "b"]) == "a"
    assert product_of("parts/b/night/x.png", "parts", ["a", "b"]) == "b"
    assert product_of("parts/a/x.png", "parts/a", ["a", "b"]) == "a"  # the folder of --input itself
    assert product_of("elsewhere/b/x.png", "parts/a", ["a", "b"]) == "b"  # as a CSV file may say
    assert product_of("a/a/x.png", "", ["a", "b"]) == "a"
    (tmp_path / "b").mkdir()
    monkeypatch.chdir(tmp_path / "b")
    assert product_of("x.png", "", ["a", "b"]) == "b"
    for path, root, told in (
        ("a/b/x.png", "a", "a/b/x.png: of which product? It lies in folders of several: a, b; products are "),
        ("c/x.png", "c", "c/x.png: of which product? It lies in a folder of none; products are a, b; see "),
        ("b/c/x.png", "a", "b/c/x.png: of which product? It lies in a folder of none; products are a, b"),
    ):
        with pytest.raises(DataError) as caught:
            product_of(path, root, ["a", "b"])
        assert str(caught.value).startswith(told)


def test_a_product_that_there_is_not(made, capsys, tmp_path):
    joined = made / "joined"
    told = f"{joined / 'bundle.json'}: is of several products: {{}}; they are bolts, nuts, rings"
    for product, asked in ((None, "name one"), ("screws", "there is no 'screws'")):
        with pytest.raises(BundleError) as caught:
            EdgeDetector(joined, "onnx", product=product)
        assert str(caught.value) == told.format(asked)
    with pytest.raises(BundleError, match="is of one product, which has no name; got product 'rings'"):
        Bundle(made / "rings", "rings")
    command = [f"--bundle={joined}", "--engine=onnx", f"--input={tmp_path}", f"--output={tmp_path}/out"]
    Image.fromarray(images(0, 1)[0]).save(tmp_path / "x.png")
    has = f"is for one product, {joined} has bolts, nuts, rings: give --product\n"
    for options, error in (
        (["--product=screws"], told.format("there is no 'screws'") + "\n"),
        (["--threshold=3"], f"--threshold {has}"),
        (["--input=-"], f"--input=- {has}"),
    ):
        assert runtime([*command, *options]) == 1
        assert capsys.readouterr().err == f"error: {error}"


def test_files_that_were_changed_are_refused(made, tmp_path):
    """Each stored file by its own name, by the products that it belongs to; so is one of the right parts."""
    joined = pathlib.Path(shutil.copytree(made / "joined", tmp_path / "joined"))
    values = json.loads((joined / "bundle.json").read_text())
    of_rings = {part for file in values["products"]["rings"]["files"] for _, part in file.get("weights", ())}
    others = {part for file in values["products"]["nuts"]["files"] for _, part in file.get("weights", ())}
    path = joined / sorted(of_rings - others)[0]
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(BundleError, match=f"^{path}: is not the file that was exported"):
        Bundle(joined, "rings")
    assert Bundle(joined, "nuts").values["threshold"] == values["products"]["nuts"]["threshold"]
    path.unlink()
    with pytest.raises(BundleError, match=f"^{path}: missing, but listed"):
        Bundle(joined, "rings")
    path.write_bytes(data)
    bundle = Bundle(joined, "rings")
    file = next(file for file in bundle.values["files"] if len(file.get("weights", ())) > 1)
    file["weights"][0][0] += 1  # bundle.json is as it was: what is put together is compared too
    with pytest.raises(BundleError, match=f"{file['path']} of product rings: is not the file that was"):
        bundle.read(file["path"])
    file["weights"][0][1] = "shared/none"
    with pytest.raises(BundleError, match="'shared/none' of .* is not among its files"):
        bundle.read(file["path"])


@pytest.mark.parametrize("engine", ["onnx", "tflite"])
def test_the_runtime_scores_each_image_by_its_folder(made, pictures, tmp_path, capsys, engine):
    options = [f"--engine={engine}", "--maps", "--overlays=all"]
    scored = [*options, f"--input={pictures}", f"--output={tmp_path / 'all'}", "--false_alarm_rate=0.2"]
    assert runtime([f"--bundle={made / 'joined'}", *scored]) == 3
    said = capsys.readouterr()
    assert "9 images scored, 1 with errors" in said.out and "note: product nuts: threshold" in said.out
    found = {row["path"]: row for row in rows(tmp_path / "all")}
    assert list(found) == sorted(found)  # the order of the folder's listing
    wrong = found.pop(str(pictures / "others/0.png"))
    assert (wrong["status"], wrong["threshold"], wrong["product"]) == ("error", "", "")
    assert wrong["error"].endswith(
        "It lies in a folder of none; products are bolts, nuts, rings; see --product"
    )
    for name in NAMES:
        own, one = tmp_path / f"own {name}", tmp_path / f"one {name}"
        again = [*options, f"--input={pictures / name}", "--false_alarm_rate=0.2"]
        assert runtime([f"--bundle={made / name}", *again, f"--output={own}"]) == 0
        assert runtime([f"--bundle={made / 'joined'}", f"--product={name}", *again, f"--output={one}"]) == 0
        assert len(rows(own)) == 3 and "product" not in rows(own)[0]
        for row, same in zip(rows(own), rows(one), strict=True):
            row["product"] = name
            for other in (found.pop(row["path"]), same):
                assert {**other, "time": row["time"]} == row
        maps = sorted((own / "maps").rglob("*.npy"))
        assert len(maps) == 3 and len(list((own / "overlays").rglob("*.png"))) == 3
        for path in [*maps, *(own / "overlays").rglob("*.png")]:
            inside = path.relative_to(own)
            same = tmp_path / "all" / inside.parts[0] / name / pathlib.Path(*inside.parts[1:])
            assert same.read_bytes() == path.read_bytes()
    assert not found


def test_a_watched_folder_of_several_products(made, pictures, tmp_path, capsys):
    """What lies in no product's folder is an error there too, after the tries that a file has."""
    options = ["--engine=onnx", "--watch", "--settle=0", "--limit=10"]
    assert (
        runtime([f"--bundle={made / 'joined'}", *options, f"--input={pictures}", f"--output={tmp_path}"]) == 3
    )
    assert "9 images scored, 1 with errors" in capsys.readouterr().out
    found = rows(tmp_path)
    assert [row["product"] for row in found if row["status"] == "error"] == [""]
    assert all(row["product"] in row["path"] for row in found) and len(found) == 10


def asked(app, method: str, path: str, content: bytes = b"", **options) -> tuple[int, dict]:
    """(status, answer) of an ASGI application to one request."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": content}

    async def send(message):
        sent.append(message)

    query = urllib.parse.urlencode(options).encode()
    scope = {"type": "http", "method": method, "path": path, "query_string": query, "headers": []}
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], json.loads(b"".join(message.get("body", b"") for message in sent[1:]))


def test_the_service_asks_for_the_product(made, pictures):
    """As the runtime scores them; names that there are not are told before an image is decoded."""
    queue = ScoringQueue(lambda: Worker(Settings(str(made / "joined"), "onnx", threads=1)), 20, 20.0)
    app, content = make_app(queue, 20.0, "joined"), (pictures / "nuts/0.png").read_bytes()
    assert asked(app, "GET", "/health")[1]["products"] == list(NAMES)
    for name in NAMES:
        status, answer = asked(app, "POST", "/score", content, product=name)
        own = EdgeDetector(made / name, "onnx")
        with Image.open(io.BytesIO(content)) as picture:
            expected = own(np.asarray(picture)[None]).scores[0]
        assert (status, answer["score"]) == (200, float(f"{expected:.6g}"))
        assert answer["threshold"] == float(f"{own.threshold:.6g}")
    for options, told in (
        ({}, "product: name one; they are bolts, nuts, rings"),
        ({"product": "screws"}, "product: there is no 'screws'; they are bolts, nuts, rings"),
    ):
        assert asked(app, "POST", "/score", content, **options) == (422, {"detail": told})
    assert {name.split(":")[0] for name in queue.drift[0]["quantities"]} <= set(NAMES)
    assert queue.drift[0]["images"] == 3
    queue.close()
    with pytest.raises(ConfigError, match="--threshold is for one product, .* has bolts, nuts, rings"):
        Settings(str(made / "joined"), "onnx", threshold=1.0).detector()
    one, _ = Settings(str(made / "joined"), "onnx", product="rings").detector()
    assert one.bundle.product == "rings"


def test_answers_of_several_products_are_in_the_order_of_the_images():
    """Stand-ins whose score is the image's mean, of nuts twice that."""
    detectors = {
        "bolts": trained.StandInDetector(),
        "nuts": trained.StandInDetector(components=lambda x: np.repeat(2 * x.mean((1, 2)), 4, axis=1)),
    }
    stream = io.BytesIO()
    Image.fromarray(np.full((8, 8), 255, np.uint8)).save(stream, "PNG")
    jobs = [Job(stream.getvalue(), product=p) for p in ("nuts", "bolts", None, "nuts")]
    read = list(read_each(detectors, jobs, 10_000))
    found = answer_each(detectors, read, measured_each(detectors, read), dict.fromkeys(detectors))
    assert [a.get("score") for a in found] == [2.0, 1.0, None, 2.0]
    assert found[2] == {"error": "no product None"}


def test_runs_that_cannot_be_in_one_bundle(tmp_path):
    """In one line and before Keras, as are options that do not go together."""
    for name, config in (("new/a", {"format": 2}), ("new/b", {"format": 9}), ("old/a", {"format": 2})):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").write_text(json.dumps(config))
    a, b, same = tmp_path / "new/a", tmp_path / "new/b", tmp_path / "old/a"
    out = f"--output={tmp_path / 'out'}"
    for arguments, told in (
        ([f"--workdirs={a},{same}"], f"{a} and {same}: two runs of product 'a'; --products=a,b names them"),
        (
            [f"--workdirs={a},{b}", "--formats=tflite,tensorrt"],
            "--formats=tensorrt: its engines are built in",
        ),
        ([f"--workdirs={b},{a}"], f"{b / 'config.json'}: format 9 is newer than this version reads"),
        ([f"--workdirs={a}", f"--workdir={b}"], "--workdir is of one run"),
        ([f"--workdir={a}", "--products=x"], "--products names what --workdirs"),
    ):
        done = processes.command("export", *arguments, out)
        assert done.returncode != 0 and done.stdout == ""
        assert done.stderr.startswith(f"error: {told}") and done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_command_exports_and_checks_several_runs(smoke_run, tmp_path):
    """Each product is the run's: the check with the run finds the threshold and the AUROC of its own."""
    other = shutil.copytree(smoke_run, tmp_path / "other")
    chosen.write(other, 9.0)
    arguments = [f"--workdirs={smoke_run},{other},{smoke_run}", "--products=one,two,three"]
    out = tmp_path / "out/bundle"
    formats = "--formats=saved_model,onnx"
    done = processes.command("export", *arguments, formats, "--batch=2", f"--output={out}")
    assert done.returncode == 0, done.stderr
    assert "3 products: one, two, three\n" in done.stdout and f"bundle: {out}\n" in done.stdout
    assert [path.name for path in out.parent.iterdir()] == ["bundle"]
    assert {path.name for path in out.iterdir()} == {"bundle.json", "products", "shared"}
    values = {name: Bundle(out, name).values for name in ("one", "two", "three")}
    assert values["one"]["threshold"] == values["three"]["threshold"] != values["two"]["threshold"] == 9.0
    done = processes.command("export", f"--check={out}")
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("product")] == [
        "product one",
        "product two",
        "product three",
    ]
    done = processes.command("export", f"--check={out}", f"--workdir={smoke_run}", "--products=three")
    assert done.returncode == 0 and "image AUROC" in done.stdout, done.stderr
