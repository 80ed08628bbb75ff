"""The review page without a browser: labels, masks, threshold, who may ask, and lists of many images."""

import csv
import io
import json
import math
import os
import sys
import threading

import numpy as np
import pytest
from PIL import Image

from helpers.processes import command
from helpers.reviewed import picture, table, write_run
from semi_anogan.data import review as data_review
from semi_anogan.errors import ConfigError, DataError, RunError
from semi_anogan.review import __main__ as page_command
from semi_anogan.review import figures, reviewed_csv, state
from semi_anogan.review.app import make_app
from semi_anogan.review.guard import Guard
from semi_anogan.review.pictures import Cache, ScoredPictures, shrunk
from semi_anogan.review.refit import Refit, train_command
from semi_anogan.review.state import Review
from semi_anogan.review.why import NotNow
from semi_anogan.runs import replacement
from semi_anogan.scoring import chosen
from semi_anogan.scoring.outputs import picture_name

pytestmark = pytest.mark.filterwarnings("ignore:Using `httpx` with")


def client_of(review, token=None, host="127.0.0.1:8010"):
    from fastapi.testclient import TestClient

    app = make_app(review)
    app.add_middleware(Guard, token=token, max_bytes=1 << 20)
    return TestClient(app, base_url=f"http://{host}", follow_redirects=False)


@pytest.fixture
def base(tmp_path):
    write_run(tmp_path)
    return tmp_path


@pytest.fixture
def review(base):
    opened = Review(base / "run", base / "scored", "ann")
    yield opened
    opened.close()


@pytest.fixture
def client(review):
    return client_of(review)


def listed(client, name, **asked):
    return client.get(f"/api/list/{name}", params=asked).json()


def rows_of(folder):
    with open(folder / "reviewed.csv", newline="") as file:
        return list(csv.DictReader(file))


def labels_in(path):
    return {name: found.label for name, found in data_review.read(path).items()}


def say(client, item, label, **more):
    return client.put(f"/api/label/{item['id']}", json={"revision": item["revision"], "label": label, **more})


def png(mask, mode="L") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).convert(mode).save(stream, "PNG")
    return stream.getvalue()


def draw(client, item, content, kind="image/png"):
    return client.put(
        f"/api/mask/{item['id']}?revision={item['revision']}&who=bob",
        content=content,
        headers={"content-type": kind},
    )


# Lists


def test_lists_hold_what_their_name_says(client):
    def names(name):
        return [item["path"].rsplit("/", 2)[-2:] for item in listed(client, name)["items"]]

    assert [n[1] for n in names("suspicious")] == [f"{i}.png" for i in range(6)]
    assert names("misses") == [["cut", "0.png"]] and names("false_alarms") == [["good", "1.png"]]
    # |score - 0.5|: 0.1, 0.2, 0.4, 0.4
    assert names("near") == [["cut", "0.png"], ["good", "1.png"], ["good", "0.png"], ["cut", "1.png"]]
    assert names("scored") == [["new", "2.png"], ["new", "1.png"], ["new", "0.png"]]
    assert names("worth")[0] == ["new", "1.png"] and len(names("worth")) == 3
    assert names("labelled") == []
    state = client.get("/api/state").json()
    assert [part["count"] for part in state["lists"]] == [6, 1, 1, 4, 3, 3, 0]
    assert state["kinds"] == ["cut", "dent"] and state["threshold"] == 0.5
    assert state["notes"] == [f"{state['scored']}/scores.csv: 1 images could not be scored, and are left out"]


def test_many_images_come_in_pages(tmp_path):
    run, _ = write_run(tmp_path, training=50_000, files=False)
    picture(tmp_path / "parts/train/good/41234.png", 7)
    review = Review(run)
    client = client_of(review)
    found = listed(client, "suspicious", start=41_200, count=50)
    assert (found["total"], len(found["items"])) == (50_000, 50)
    assert found["items"][34]["path"] == "train/good/41234.png"
    assert listed(client, "suspicious", start=49_990)["items"][-1]["path"] == "train/good/49999.png"
    assert client.get("/api/list/suspicious?count=501").status_code == 422
    assert client.get(f"/api/thumb/{found['items'][34]['id']}").status_code == 200
    item = found["items"][34]
    assert say(client, item, "normal").json()["label"] == "normal"
    assert say(client, found["items"][0], "abnormal", kind="cut").status_code == 200
    assert len(rows_of(run)) == 2
    gone = client.get(f"/api/picture/{found['items'][0]['id']}")
    assert gone.status_code == 422 and "train/good/41200.png" in gone.json()["detail"]
    review.close()


def test_the_order_stays_while_labels_come(client):
    """Pages of a list must not shift: it is sorted again when it is opened again."""
    first = listed(client, "worth")["items"]
    say(client, first[0], "normal")
    assert [i["id"] for i in listed(client, "worth")["items"]] == [i["id"] for i in first]
    assert [i["id"] for i in listed(client, "worth", fresh=True)["items"]] == [i["id"] for i in first[1:]]


@pytest.mark.parametrize(
    "name, rows, told",
    [
        (
            "scores.csv",
            [("a.png", "good", 0.1, "")],
            r"scores.csv: row 2: truth 'good' is not normal or abnormal",
        ),
        ("scores.csv", [("a.png", "normal", "nan", "")], r"row 2: score 'nan' is not a finite number"),
        ("scores.csv", [("a.png", "normal", "", "")], r"row 2: score is empty"),
    ],
)
def test_a_wrong_table_is_named(base, name, rows, told):
    table(base / "run" / name, ["path", "truth", "score", "label"], rows)
    with pytest.raises(RunError, match=told):
        Review(base / "run")


# Labels


def test_a_label_is_written_at_once_and_read_again(base, review, client):
    item = listed(client, "suspicious")["items"][2]
    said = say(client, item, "abnormal", kind=" deep  cut ", who="bob").json()
    assert (said["label"], said["kind"], said["who"]) == ("abnormal", "deep cut", "bob")
    (row,) = rows_of(base / "run")
    assert list(row) == ["path", "label", "kind", "mask", "origin", "who", "when"]
    assert row.pop("when").endswith("Z")
    assert row == {
        **{"path": "train/good/2.png", "label": "abnormal", "kind": "deep cut", "mask": ""},
        **{"origin": "training", "who": "bob"},
    }
    assert labels_in(base / "run/reviewed.csv") == {"train/good/2.png": "abnormal"}
    assert client.get("/api/state").json()["kinds"] == ["cut", "dent", "deep cut"]
    new = listed(client, "scored")["items"][0]
    assert say(client, new, "normal", kind="cut").json()["kind"] == ""  # a normal image has none
    assert rows_of(base / "run")[1]["path"] == str(base / "new/2.png")
    assert rows_of(base / "run")[1]["who"] == "ann"
    # undone: looked at, without a label
    assert say(client, said, "").json()["label"] == ""
    assert rows_of(base / "run")[0]["label"] == ""
    review.close()
    again = Review(base / "run", base / "scored")
    assert [again.item(e)["label"] for e in again.listed("labelled")] == ["normal"]
    again.close()


def test_a_change_of_a_state_that_is_past_is_refused(base, client):
    item = listed(client, "suspicious")["items"][0]
    first = say(client, item, "abnormal", who="bob").json()
    late = say(client, item, "normal", who="ann")
    assert late.status_code == 409 and late.json()["item"] == first
    assert draw(client, item, png(np.ones((12, 16), bool))).status_code == 409
    assert rows_of(base / "run")[0]["label"] == "abnormal"
    assert say(client, first, "normal").json()["label"] == "normal"
    # The same label as before is another state all the same.
    third = say(client, listed(client, "suspicious")["items"][0], "abnormal", who="bob").json()
    assert third["revision"] != first["revision"]


def test_of_many_changes_at_once_one_counts(base, review, client):
    item = listed(client, "suspicious")["items"][0]
    answers = []

    def change(i):
        answers.append(say(client_of(review), item, "abnormal", kind=f"kind {i}").status_code)

    threads = [threading.Thread(target=change, args=(i,)) for i in range(6)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert sorted(answers) == [200, *[409] * 5] and len(rows_of(base / "run")) == 1


def test_a_table_that_another_program_changed_is_read_again(base, client):
    first, second = listed(client, "suspicious")["items"][:2]
    say(client, first, "normal")
    with open(base / "run/reviewed.csv", "a", newline="") as file:
        csv.writer(file).writerow([second["path"], "abnormal", "dent", "", "training", "tool", ""])
    late = say(client, second, "normal")
    assert late.status_code == 409 and late.json()["item"]["who"] == "tool"
    third = listed(client, "suspicious")["items"][2]
    assert say(client, third, "normal").status_code == 200
    assert [row["label"] for row in rows_of(base / "run")] == ["normal", "abnormal", "normal"]


def test_a_table_of_which_a_person_took_all_rows_away(base, client):
    item = listed(client, "suspicious")["items"][0]
    say(client, item, "normal")
    (base / "run/reviewed.csv").write_text("path,label\n")
    assert say(client, item, "abnormal").status_code == 200  # of no label, as at first
    (base / "run/reviewed.csv").write_text("path,label\n")
    assert reviewed_csv.Reviewed(base / "run").counts()["training"] == {"normal": 0, "abnormal": 0}


def test_columns_of_a_person_stay(base):
    rows = [("train/good/1.png", "normal", "seen, twice"), ("elsewhere.png", "abnormal", "ask Bob")]
    table(base / "run/reviewed.csv", ["path", "label", "Comment"], rows)
    review = Review(base / "run")
    client = client_of(review)
    items = {item["path"]: item for item in listed(client, "suspicious")["items"]}
    assert say(client, items["train/good/1.png"], "abnormal").status_code == 200
    assert say(client, items["train/good/2.png"], "normal").status_code == 200
    review.close()
    found = {row["path"]: (row["label"], row["comment"]) for row in rows_of(base / "run")}
    assert found == {
        "train/good/1.png": ("abnormal", "seen, twice"),
        "elsewhere.png": ("abnormal", "ask Bob"),
        "train/good/2.png": ("normal", ""),
    }


def test_labels_that_cannot_be_given_are_told(base, capsys):
    wanted = [f"--workdir={base / 'run'}", f"--export_labels={base / 'l.csv'}", "--format=csv"]
    assert run_page(*wanted) == 1 and not (base / "l.csv").exists()
    assert "reviewed.csv: holds no label of an image that is here" in capsys.readouterr().err
    columns = ["path", "label", "mask"]
    rows = [("train/good/1.png", "normal", ""), ("elsewhere.png", "abnormal", "")]
    table(base / "run/reviewed.csv", columns, [*rows, ("train/good/2.png", "abnormal", "masks/none.png")])
    assert run_page(*wanted) == 1 and not (base / "l.csv").exists()
    assert "train/good/2.png: the mask masks/none.png is not there" in capsys.readouterr().err
    table(base / "run/reviewed.csv", columns, rows)
    assert run_page(*wanted) == 0
    assert "; 1 labels are of other images, and left out: newly" in capsys.readouterr().out


def test_rows_of_other_images_stay(base):
    """Such as those of a folder that was scored earlier; and a table of two columns does."""
    table(
        base / "run/reviewed.csv",
        ["path", "label"],
        [("elsewhere.png", "abnormal"), ("train/good/1.png", "normal")],
    )
    review = Review(base / "run")
    client = client_of(review)
    items = listed(client, "suspicious")["items"]
    assert items[1]["label"] == "normal"
    say(client, items[1], "abnormal")
    assert [(r["path"], r["label"]) for r in rows_of(base / "run")] == [
        ("elsewhere.png", "abnormal"),
        ("train/good/1.png", "abnormal"),
    ]
    review.close()


def test_a_test_image_that_was_scored_again_stays_one(base):
    """Else a label would bring it among the training images."""
    files = [base / "parts/test/cut/0.png", base / "link/good/0.png", base / "parts/train/good/3.png"]
    (base / "link").symlink_to(base / "parts/test")
    rows = [(str(path), score, "", "ok", "", 0.5) for path, score in zip(files, (3.0, 2.0, 1.0), strict=True)]
    table(base / "scored/scores.csv", ["path", "score", "label", "status", "error", "threshold"], rows)
    picture(base / "scored/overlays/test/cut/0.png.png", 1)
    review = Review(base / "run", base / "scored")
    assert review.notes == [
        "2 of the newly scored images are test images of the run, and count so",
        "1 of the newly scored images are training images of the run, and count so",
    ]
    client = client_of(review)
    for item, origin in zip(listed(client, "scored")["items"], ("test", "test", "training"), strict=True):
        assert say(client, item, "abnormal").json()["origin"] == origin
    assert [(row["path"], row["origin"]) for row in rows_of(base / "run")] == [
        ("test/cut/0.png", "test"),
        ("test/good/0.png", "test"),
        ("train/good/3.png", "training"),
    ]
    twin = listed(client, "near")["items"][0]
    assert (twin["path"], twin["label"]) == ("test/cut/0.png", "abnormal")
    assert client.get(f"/api/image/{twin['id']}").json()["overlay"]
    review.close()


def test_relative_paths_count_from_where_score_was_called(base, tmp_path_factory, monkeypatch):
    """The page was called elsewhere: no image could be seen."""
    picture(base / "line/2.png", 1)
    rows = [(path, score, "", "ok", "", 0.5) for path, score in (("line/1.png", 3.0), ("line/2.png", 2.0))]
    table(base / "scored/scores.csv", ["path", "score", "label", "status", "error", "threshold"], rows)
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    review = Review(base / "run", base / "scored")
    assert [entry.path for entry in review.entries.of("scored")] == [
        f"{base}/line/1.png",
        f"{base}/line/2.png",
    ]
    # The first was moved since, as a line does it.
    scores = base / "scored/scores.csv"
    assert review.notes == [
        f"{scores}: its relative paths are found from {base}",
        f"{scores}: 1 of the first 2 images are not there, such as {base}/line/1.png; they are shown without "
        "pictures",
    ]
    review.close()
    (base / "line/2.png").unlink()
    review = Review(base / "run", base / "scored")
    assert review.entries.of("scored")[0].path == os.path.abspath("line/1.png")
    review.close()
    monkeypatch.chdir(base)  # what is here comes first
    for name in ("line/1.png", "line/2.png"):
        picture(base / name, 1)
    picture(base / "scored/line/1.png", 1)
    review = Review(base / "run", base / "scored")
    assert review.entries.of("scored")[0].path == f"{base}/line/1.png" and not review.notes
    review.close()


def test_images_that_are_scored_meanwhile_join(base, monkeypatch):
    """`score --watch` adds to the table while the page is open."""
    monkeypatch.setattr(state, "FOLLOWED", 0.0)
    monkeypatch.setattr(state, "AS_LONG", 0.0)
    review = Review(base / "run", base / "scored")
    client = client_of(review)
    before = listed(client, "scored")["items"]
    say(client, before[0], "abnormal")
    scores = base / "scored/scores.csv"
    picture(base / "new/3.png", 200)
    half = f"{base}/new/3.png,1.0"
    with open(scores, "a") as file:  # the third column is not there yet
        file.write(half)
    told = client.get("/api/state").json()
    generation = told["generation"]
    assert told["notes"][-1].startswith(f"what was scored meanwhile cannot be read: {scores}: row 6: ")
    assert [item["id"] for item in listed(client, "scored")["items"]] == [item["id"] for item in before]
    with open(scores, "a") as file:
        file.write(",,ok,,0.5\n")
    told = client.get("/api/state").json()
    assert told["generation"] == generation  # the list that is shown stays until it is asked for afresh
    assert not any("meanwhile" in note for note in told["notes"])
    assert {i["name"]: i["count"] for i in told["lists"]}["scored"] == 4
    assert len(listed(client, "scored")["items"]) == 3
    items = listed(client, "scored", fresh=True)["items"]
    assert [(item["score"], item["label"]) for item in items] == [
        (2.0, "abnormal"),
        (1.0, ""),
        (0.55, ""),
        (0.2, ""),
    ]
    assert items[0]["id"] == before[0]["id"]
    say(client, items[1], "normal")
    assert labels_in(base / "run/reviewed.csv")[f"{base}/new/3.png"] == "normal"
    review.close()


def test_a_long_table_is_not_read_again_for_each_request(base, monkeypatch):
    review = Review(base / "run", base / "scored")
    read = []
    monkeypatch.setattr(review.entries, "read_scored", read.append)
    for i in range(3):
        os.utime(base / "scored/scores.csv", (i, i))
        review.told()
    assert read == [base / "scored"]  # the others came within FOLLOWED
    monkeypatch.setattr(review, "_look_after", 0.0)
    review.told()
    assert len(read) == 2
    review.close()


def test_labels_of_suspicious_csv_are_taken_over(base):
    rows = [
        ("train/good/0.png", 3, "abnormal"),
        ("train/good/1.png", 2, "normal"),
        ("train/good/2.png", 1, ""),
    ]
    table(base / "run/suspicious.csv", ["path", "suspicion", "label"], rows)
    table(base / "run/reviewed.csv", ["path", "label"], [("train/good/1.png", "abnormal")])
    review = Review(base / "run")
    assert review.notes == [
        "1 labels of suspicious.csv were taken over",
        "1 labels of suspicious.csv differ from those of reviewed.csv, which count",
    ]
    review.reviewed.save()
    assert labels_in(base / "run/reviewed.csv") == dict.fromkeys(
        ("train/good/0.png", "train/good/1.png"), "abnormal"
    )
    review.close()


def test_wrong_values_are_named(base, client):
    item = listed(client, "suspicious")["items"][0]
    answer = say(client, item, "maybe")
    assert answer.status_code == 422 and answer.json()["detail"].startswith("label 'maybe' is not normal or")
    assert "kind" in say(client, item, "abnormal", kind="x" * 81).json()["detail"]
    assert "kind 'Good' means a normal" in say(client, item, "abnormal", kind=" Good ").json()["detail"]
    assert "mask '../x.png' is none" in say(client, item, "abnormal", mask="../x.png").json()["detail"]
    assert (
        client.put(f"/api/label/{item['id']}", json={"label": "normal"})
        .json()["detail"]
        .startswith("revision: ")
    )
    assert not (base / "run/reviewed.csv").exists()


@pytest.mark.parametrize(
    "rows, told",
    [
        ([("a.png", "bad", "training")], "row 2: label 'bad' is not normal or abnormal"),
        ([("a.png", "normal", "train")], "row 2: origin 'train' is not one of training, test, scored"),
        ([("a.png", "normal", "test")] * 2, "row 3: 'a.png' is there twice"),
    ],
)
def test_a_wrong_reviewed_csv_is_named(base, rows, told):
    table(base / "run/reviewed.csv", ["path", "label", "origin"], rows)
    with pytest.raises(DataError, match=told):
        Review(base / "run")


def test_nothing_is_lost_where_the_disk_is_full(base, review, client, monkeypatch):
    first, second = listed(client, "suspicious")["items"][:2]
    say(client, first, "normal")
    before = (base / "run/reviewed.csv").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    answer = say(client, second, "abnormal")
    assert (
        answer.status_code == 422 and "reviewed.csv: cannot be written: No space" in answer.json()["detail"]
    )
    monkeypatch.undo()
    assert (base / "run/reviewed.csv").read_bytes() == before
    assert listed(client, "suspicious")["items"][1]["label"] == ""  # nor is it said to be kept


# Masks


def test_a_mask_is_written_at_the_image_s_size(base, client):
    item = listed(client, "suspicious")["items"][0]
    mask = np.zeros((12, 16), bool)
    mask[2:5, 3:9] = True
    said = draw(client, item, png(mask, "RGBA")).json()
    assert (said["label"], said["who"]) == ("abnormal", "bob")
    found = np.asarray(Image.open(base / "run" / said["mask"]))
    assert found.dtype == np.uint8 and (found == np.where(mask, 255, 0)).all()
    shown = np.asarray(Image.open(io.BytesIO(client.get(f"/api/mask/{item['id']}").content)))
    assert ((shown[..., 3] == 255) == mask).all()
    # A second stroke, then back to the first mask by its name, then none.
    other = draw(client, said, png(np.ones((12, 16), bool))).json()
    assert other["mask"] != said["mask"]
    back = say(client, other, "abnormal", mask=said["mask"]).json()
    assert back["mask"] == said["mask"]
    none = draw(client, back, png(np.zeros((12, 16), bool))).json()
    assert (none["mask"], none["label"]) == ("", "abnormal")
    assert client.get(f"/api/mask/{item['id']}").status_code == 404


def test_the_mask_of_a_large_image_is_enlarged(base, client):
    picture(base / "parts/train/good/0.png", 9, (1024, 4096))
    item = client.get(f"/api/image/{listed(client, 'suspicious')['items'][0]['id']}").json()
    assert (item["size"], item["view"]) == ([1024, 4096], [512, 2048])
    mask = np.zeros((512, 2048), bool)
    mask[100:102, 7] = True
    said = draw(client, item, png(mask)).json()
    found = np.asarray(Image.open(base / "run" / said["mask"])) == 255
    wanted = np.zeros((1024, 4096), bool)
    wanted[200:204, 14:16] = True
    assert (found == wanted).all()


def test_a_wrong_mask_is_named(base, client):
    item = listed(client, "suspicious")["items"][0]
    answer = draw(client, item, png(np.ones((12, 15), bool)))
    assert answer.status_code == 422
    told = "the mask has 15 x 12 pixels, the picture of train/good/0.png has 16 x 12"
    assert answer.json()["detail"] == told
    assert draw(client, item, b"GIF89a").json()["detail"] == "the mask is no PNG image"
    stream = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(stream, "PNG")
    answer = draw(client, item, stream.getvalue())
    assert answer.status_code == 422 and "(400000000 pixels) exceeds limit" in answer.json()["detail"]
    assert draw(client, item, b"x", "text/plain").status_code == 415
    assert draw(client, item, b"x" * (2 << 20)).status_code == 413
    assert not (base / "run/reviewed.csv").exists()


# What can be reached


def test_only_images_of_the_run_can_be_reached(base, client):
    (base / "secret.png").write_bytes(png(np.ones((8, 8), bool)))
    for path in (
        "/api/picture/..%2f..%2fsecret.png",
        "/api/picture/../../secret.png",
        "/api/picture/-1",
        "/api/picture/99",
        "/page/../state.py",
        "/page/..%2fstate.py",
        "/page/%2e%2e/state.py",
        "/secret.png",
        "/api/list/../../secret.png",
        "/docs",
        "/openapi.json",
    ):
        assert client.get(path).status_code in (404, 422), path
    assert client.get("/page/main.js").headers["content-type"].startswith("text/javascript")
    assert client.get("/").headers["content-security-policy"].startswith("default-src 'self'")


def test_a_mask_path_outside_the_run_is_not_read(base):
    (base / "secret.png").write_bytes(png(np.ones((12, 16), bool)))
    columns = ["path", "label", "mask"]
    table(base / "run/reviewed.csv", columns, [("train/good/0.png", "abnormal", "../secret.png")])
    review = Review(base / "run")
    assert client_of(review).get("/api/mask/0").status_code == 404
    review.close()


def test_overlays_and_regions_are_those_that_score_wrote(base, client):
    item = client.get(f"/api/image/{listed(client, 'scored')['items'][0]['id']}").json()
    assert (item["overlay"], item["map"]) == (True, False)
    region = {"number": 1, "box": [1, 2, 3, 4], "kind": "dent", "kind_likeness": 0.8, "peak": 5.0}
    assert item["regions"] == [region]
    assert (
        client.get(f"/api/overlay/{item['id']}").content == (base / "scored/overlays/2.png.png").read_bytes()
    )
    other = listed(client, "scored")["items"][1]
    assert client.get(f"/api/overlay/{other['id']}").status_code == 404


def test_known_defects_of_a_kind_are_shown(base, client):
    """They are in no list, but can be looked at."""
    for i in range(9):
        picture(base / f"parts/train/dent/{i}.png", 60)
    items = client.get("/api/known?kind=dent").json()["items"]
    assert [item["path"] for item in items] == [f"train/dent/{i}.png" for i in range(8)]
    assert client.get(f"/api/thumb/{items[7]['id']}").status_code == 200
    assert client.get("/api/known?kind=pit").json()["items"] == []
    assert client.get("/api/state").json()["lists"][0]["count"] == 6


class Reasons:
    """A stand-in for the process that says why; see test_nearest.py."""

    running = False

    def __init__(self):
        self.asked = []

    def ask(self, question):
        self.asked.append(question)
        if len(self.asked) > 2:
            raise NotNow("too many wait for an answer: ask again in a moment")
        return {
            "normal": [{"path": "train/good/4.png"}, {"path": ""}],
            "known": [{"path": "train/cut/1.png"}],
        }

    def end(self):
        pass


def test_why_is_asked_of_an_image_by_its_index(base, review, client):
    review.why.end()
    review.why = Reasons()
    first = listed(client, "suspicious")["items"][0]
    found = client.get(f"/api/why/{first['id']}?y=11.5&x=3").json()
    assert found["normal"][0]["id"] == listed(client, "suspicious")["items"][4]["id"]
    assert "id" not in found["normal"][1]  # it is not known which image that is
    assert review.entry(found["known"][0]["id"]).path == "train/cut/1.png"
    new = listed(client, "scored")["items"][0]
    assert client.get(f"/api/why/{new['id']}?drawn=true").status_code == 200
    path = str(base / "new/2.png")
    assert review.why.asked == [
        ("training", "train/good/0.png", (11.5, 3.0), False),
        ("scored", path, None, True),
    ]
    busy = client.get(f"/api/why/{new['id']}")
    assert busy.status_code == 503 and busy.json()["detail"].startswith("too many wait")
    for wrong, told in {
        "?y=3": "x and y belong together",
        "?y=12&x=3": "train/good/0.png has 16 x 12 pixels, so none at x 3, y 12",
        "?y=-1&x=3": "greater than or equal to 0",
        "?y=nan&x=3": "finite",
    }.items():
        answer = client.get(f"/api/why/{first['id']}{wrong}")
        assert answer.status_code == 422 and told in answer.json()["detail"], wrong
    assert client.get("/api/why/999").status_code == 404
    assert len(review.why.asked) == 3


def test_parts_of_a_picture_are_its_own_pixels(base, client):
    pixels = np.arange(3000 * 20, dtype=np.uint32).reshape(20, 3000).astype(np.uint8)
    Image.fromarray(pixels).save(base / "new/0.png")
    item = next(i for i in listed(client, "scored")["items"] if i["path"].endswith("0.png"))
    assert client.get(f"/api/image/{item['id']}").json()["view"] == [14, 2048]  # which is shown reduced
    for _ in range(2):  # read, and kept
        answer = client.get(f"/api/part/{item['id']}?top=3&left=2900&height=5&width=200")
        assert (np.asarray(Image.open(io.BytesIO(answer.content)))[..., 0] == pixels[3:8, 2900:]).all()
    outside = client.get(f"/api/part/{item['id']}?top=20&left=0&height=5&width=200")
    assert outside.status_code == 422 and "no pixels at x 0, y 20" in outside.json()["detail"]
    assert client.get(f"/api/part/{item['id']}?top=0&left=0&height=5&width=2049").status_code == 422
    small = listed(client, "suspicious")["items"][0]
    answer = client.get(f"/api/part/{small['id']}?top=0&left=0&height=2&width=2")
    assert Image.open(io.BytesIO(answer.content)).size == (2, 2)


def test_pictures_of_images_in_no_input_are_found(tmp_path):
    """Those of a CSV file with images elsewhere have a hash of the path in their name."""
    name = picture_name("/in/a/0.png", "/lists")
    picture(tmp_path / "out/overlays" / f"{name}.png", 0)
    found = ScoredPictures(tmp_path / "out", ["/in/a/0.png", "/in/a/1.png"])
    assert found.path("/in/a/0.png", "overlays") == tmp_path / "out/overlays" / f"{name}.png"


def test_the_root_of_overlays_is_the_one_most_are_found_by(tmp_path):
    for name in ("a/0.png", "b/0.png", "b/1.png"):
        picture(tmp_path / "out/overlays" / f"{name}.png", 0)
    found = ScoredPictures(tmp_path / "out", ["in/a/0.png", "in/b/0.png", "in/b/1.png", "in/b/9.png"])
    assert found.path("in/b/1.png", "overlays") == tmp_path / "out/overlays/b/1.png.png"
    assert found.path("in/b/9.png", "overlays") is None
    assert found.path("../../etc/passwd", "overlays") is None
    assert ScoredPictures(tmp_path / "none", ["in/a/0.png"]).path("in/a/0.png", "overlays") is None


def test_a_token_is_asked_for(review):
    client = client_of(review, token="s3cret", host="box:8010")
    assert client.get("/api/state").status_code == 401
    assert client.get("/?token=wrong").status_code == 401
    answer = client.get("/?token=s3cret")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert client.get("/api/state").status_code == 200


def test_pages_of_other_sites_can_ask_nothing(review):
    assert client_of(review, host="evil.example:8010").get("/api/state").status_code == 403
    client = client_of(review)
    item = listed(client, "suspicious")["items"][0]
    said = {"revision": item["revision"], "label": "normal"}
    answer = client.put("/api/label/0", json=said, headers={"origin": "http://evil.example"})
    assert answer.status_code == 403
    answer = client.put("/api/label/0", json=said, headers={"origin": "http://127.0.0.1:8010"})
    assert answer.status_code == 200


def test_a_second_page_on_the_run_is_refused(base, review):
    with pytest.raises(RunError, match="another review page is open on this run"):
        Review(base / "run")


def test_the_cache_is_bounded():
    cache, made = Cache(10), []

    def make(key):
        made.append(key)
        return b"1234"

    for key in "abac":  # c takes the place of b, which was not asked for since
        cache.get(key, lambda key=key: make(key))
    assert cache.held == 8
    cache.get("a", lambda: make("a"))
    cache.get("b", lambda: make("b"))
    assert made == ["a", "b", "c", "b"]
    assert shrunk((1000, 4000), 2048) == (512, 2048) and shrunk((3, 4), 2048) == (3, 4)


# Threshold


def test_scores_are_grouped_by_what_is_known(client):
    groups = {g["name"]: g["scores"] for g in client.get("/api/scores").json()["groups"]}
    assert groups["test_normal"] == [0.1, 0.7] and groups["test_abnormal"] == [0.4, 0.9]
    assert groups["scored"] == [0.2, 0.55, 2.0] and len(groups["held_out"]) == 9


def test_a_threshold_is_chosen_and_given_back(base, review, client):
    before = json.loads((base / "run/detector.json").read_text())
    state = client.put("/api/threshold", json={"threshold": 0.35, "who": "bob"}).json()
    assert (state["threshold"], state["calibrated"]) == (0.35, 0.5)
    assert (state["chosen"]["who"], state["chosen"]["former"]) == ("bob", 0.5)
    assert [part["count"] for part in state["lists"]][1:3] == [0, 1]  # no miss any more
    found = chosen.read(base / "run")
    assert found.told().startswith("threshold 0.35, chosen by bob on 20")
    assert found.told().endswith("is used; calibrated is 0.5 (before: 0.5)")
    state = client.put("/api/threshold", json={"threshold": 0.8}).json()
    assert (state["chosen"]["former"], state["chosen"]["who"]) == (0.35, "ann")
    assert [part["count"] for part in state["lists"]][1:3] == [1, 0]
    assert json.loads((base / "run/detector.json").read_text())["calibration"] == before["calibration"]
    assert client.delete("/api/threshold").json()["chosen"] is None
    assert json.loads((base / "run/detector.json").read_text()) == before
    answer = client.put("/api/threshold", json={"threshold": 0.8, "who": "b" * 81})
    assert answer.status_code == 422 and "who 'bbb" in answer.json()["detail"]
    content = '{"threshold": NaN}'
    answer = client.put("/api/threshold", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 422 and answer.json()["detail"].startswith("threshold: ")
    with pytest.raises(ConfigError, match="threshold must be a finite number, got inf"):
        chosen.write(base / "run", math.inf)


def test_a_damaged_choice_is_named(base):
    path = base / "run/detector.json"
    state = json.loads(path.read_text())
    path.write_text(json.dumps({**state, "chosen_threshold": {"threshold": "x"}}))
    with pytest.raises(RunError, match="detector.json: chosen_threshold: "):
        chosen.read(base / "run")


def test_scores_of_another_detector_are_doubted(base):
    rows = [(str(base / "new/0.png"), 0.2, "normal", "ok", "", 7.5)]
    table(base / "scored/scores.csv", ["path", "score", "label", "status", "error", "threshold"], rows)
    review = Review(base / "run", base / "scored")
    assert "was written with the threshold 7.5, the run's is 0.5" in review.notes[0]
    review.close()


# Refit


def test_what_a_refit_changed_is_told(base):
    run, before = base / "run", base / "before"
    before.mkdir()
    for name in ("detector.json", "metrics.json", "scores.csv"):
        (before / name).write_bytes((run / name).read_bytes())
    rows = [
        ("test/good/0.png", "normal", 0.1, ""),
        ("test/good/1.png", "normal", 0.3, ""),
        ("test/cut/0.png", "abnormal", 0.45, ""),
        ("test/cut/2.png", "abnormal", 0.9, ""),
    ]
    table(run / "scores.csv", ["path", "truth", "score", "label"], rows)
    chosen.write(run, 0.25)
    first, second = figures.summary(before), figures.summary(run)
    assert (first["recall"], first["false_alarm_rate"], first["threshold"]) == (0.5, 0.5, 0.5)
    assert (second["recall"], second["false_alarm_rate"], second["threshold"]) == (1.0, 0.5, 0.25)
    assert (first["auroc"], first["known"]) == (0.75, 3)
    tables = (figures.test_rows(place / "scores.csv") for place in (before, run))
    found = figures.changed(*tables, 0.5, 0.25)
    assert (found["count"], found["of"], found["only_one"]) == (1, 3, 2)
    assert found["images"] == [
        {"path": "test/cut/0.png", "truth": "abnormal", "before": 0.4, "now": 0.45, "becomes": "abnormal"}
    ]


def test_a_former_detector_comes_back_as_a_whole(base):
    run = base / "run"
    (run / "plots").mkdir()
    (run / "plots/a.png").write_bytes(b"old")
    (run / "report.html").write_text("old")
    names = ("detector.json", "metrics.json", "scores.csv", "report.html", "config.json", "suspicious.csv")
    before = {name: (run / name).read_bytes() for name in names}
    with pytest.raises(RunError, match="holds no detector, so there is nothing to go back to"):
        replacement.undo(run)
    replacement.keep(run)
    for name in names:
        (run / name).write_text("new")
    (run / "memory.npz").write_bytes(b"new")
    (run / "plots/a.png").write_bytes(b"new")
    replacement.undo(run)
    assert {name: (run / name).read_bytes() for name in names} == before
    assert (run / "plots/a.png").read_bytes() == b"old"
    assert not (run / "memory.npz").exists() and not (run / "before_refit").exists()


def test_a_refit_needs_files_and_labels(base, client):
    assert client.get("/api/state").json()["why_no_refit"].startswith(f"{base / 'run'}: has no files.csv")
    assert client.post("/api/refit").status_code == 422
    (base / "run/files.csv").write_text("path,use,label,size,sha256,mask,mask_sha256,hidden,gone\n")
    assert client.get("/api/state").json()["why_no_refit"].startswith("no training image and no newly")
    say(client, listed(client, "near")["items"][0], "normal")  # a test image: never trained on
    assert client.get("/api/state").json()["why_no_refit"].startswith("no training image and no newly")
    say(client, listed(client, "suspicious")["items"][0], "normal")
    assert client.get("/api/state").json()["why_no_refit"] == ""
    wanted = f"python -m semi_anogan.train --workdir={base / 'run'} --refit "
    wanted += f"--config.data.reviewed={base / 'run/reviewed.csv'}"
    assert client.get("/api/state").json()["command"] == wanted
    assert train_command("R", "L", "D")[1:] == [
        *("-m", "semi_anogan.train", "--workdir=R", "--refit", "--config.data.reviewed=L", "--data_root=D")
    ]


def test_progress_and_errors_of_commands_are_told(tmp_path):
    ended = []
    refit = Refit(tmp_path / "log", lambda: ended.append(1))
    code = "import sys\nfor i in range(3): sys.stderr.write(f'bar {i}\\r')\nprint('\\ndone')"
    assert refit.start([("counting", [sys.executable, "-c", code], (0,))])
    refit._thread.join(20)
    told = refit.told()
    assert (told["state"], told["lines"], ended) == ("done", ["bar 2", "done"], [1])
    fail = [sys.executable, "-c", "import sys; print('error: no such run'); sys.exit(1)"]
    refit.start([("failing", fail, (0,)), ("never", ["/nowhere"], (0,))])
    refit._thread.join(20)
    assert (refit.told()["state"], refit.told()["error"]) == ("failed", "error: no such run")
    refit.start([("failing", ["/nowhere"], (0,))])
    refit._thread.join(20)
    assert refit.told()["state"] == "failed" and "/nowhere" in refit.told()["error"]
    refit.start([("waiting", [sys.executable, "-c", "import time; time.sleep(60)"], (0,))])
    assert not refit.start([])
    refit.stop()
    assert refit.told()["state"] == "stopped" and len(ended) == 4


# The command


def test_the_command_names_what_is_wrong(base, tmp_path):
    def told(*arguments):
        done = command("review", *arguments)
        assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
        return done.stderr

    assert "nowhere" in told("--workdir=nowhere")
    assert f"--scored: {base}/scores.csv: no such file" in told(
        f"--workdir={base / 'run'}", f"--scored={base}"
    )
    (base / "parts").rename(base / "moved")
    assert "--data_root=DIR says where the images are now" in told(f"--workdir={base / 'run'}")
    review = Review(base / "run", data_root=str(base / "moved"))
    assert client_of(review).get("/api/picture/0").status_code == 200
    review.close()


def test_all_of_the_page_is_installed():
    """What index.html asks for is what the server has; nothing comes from elsewhere."""
    import importlib.resources
    import re

    from semi_anogan.review.app import FILES, SHARED

    page = importlib.resources.files("semi_anogan.review") / "page"
    assert {path.name for path in page.iterdir()} == set(FILES) - set(SHARED)
    shared = importlib.resources.files("semi_anogan.evaluation.report")
    texts = {name: ((shared if name in SHARED else page) / name).read_text() for name in FILES}
    asked = {name for text in texts.values() for name in re.findall(r'"/page/([\w.]+)"', text)}
    assert asked == set(FILES) - {"index.html"}
    assert [
        name for name, text in texts.items() if re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    ] == []
    assert reviewed_csv.NAME == "reviewed.csv"


# Labels of other programs


def run_page(*arguments):
    return page_command.main([str(a) for a in arguments])


def test_labels_are_given_to_other_programs_and_taken_back(base, review, client, capsys):
    run = base / "run"
    items = {i["path"]: i for name in ("suspicious", "scored") for i in listed(client, name)["items"]}
    training = next(p for p in items if p.endswith("train/good/2.png") or p == "train/good/2.png")
    scored = next(p for p in items if p.endswith("new/1.png"))
    assert say(client, items[training], "abnormal", kind="dent").status_code == 200
    assert say(client, items[scored], "normal").status_code == 200
    (tested, *_) = listed(client, "misses")["items"]
    assert say(client, tested, "abnormal").status_code == 200
    review.close()
    assert run_page(f"--workdir={run}", f"--export_labels={base / 'all.csv'}", "--format=csv") == 0
    told = capsys.readouterr().out.splitlines()[-1]
    assert told.endswith(
        "; 1 are test images: a run that learns of them cannot be tested on them"
        "; 1 labels are of other images, and left out: newly scored ones need --scored"
    )
    (run / "reviewed.csv").write_text(
        "".join(line for line in (run / "reviewed.csv").open() if ",test," not in line)
    )
    assert (
        run_page(f"--workdir={run}", f"--scored={base / 'scored'}", f"--export_labels={base / 'l.json'}") == 0
    )
    assert capsys.readouterr().out.splitlines()[-1] == f"labels of 2 images written: {base / 'l.json'}"
    (run / "reviewed.csv").unlink()
    assert (
        run_page(f"--workdir={run}", f"--scored={base / 'scored'}", f"--import_labels={base / 'l.json'}") == 0
    )
    told = capsys.readouterr().out.splitlines()[-1]
    assert told.startswith(f"2 labels taken from {base / 'l.json'} (1 abnormal, 0 with a mask): ")
    assert labels_in(run / "reviewed.csv") == {training: "abnormal", scored: "normal"}
    # Without a mask the box of COCO is all of the image, which says no more than that it is abnormal.
    found = data_review.read(run / "reviewed.csv")[training]
    assert found.kind == "dent" and found.mask is None
    (base / "l.json").write_text((base / "l.json").read_text().replace("2.png", "none.png"))
    before = (run / "reviewed.csv").read_bytes()
    assert (
        run_page(f"--workdir={run}", f"--scored={base / 'scored'}", f"--import_labels={base / 'l.json'}") == 1
    )
    assert "none.png' is none of the images here" in capsys.readouterr().err
    assert (run / "reviewed.csv").read_bytes() == before
    text = (base / "l.json").read_text().replace("none.png", "2.png")
    for kind, message in (("OK", "kind 'OK' means a normal image"), ("x" * 81, "must be at most 80 char")):
        (base / "l.json").write_text(text.replace("dent", kind))
        assert run_page(
            f"--workdir={run}", f"--scored={base / 'scored'}", f"--import_labels={base / 'l.json'}"
        )
        told = capsys.readouterr().err
        assert f"{base / 'l.json'}: kind '{kind[:80]}' " in told and message in told
    assert (run / "reviewed.csv").read_bytes() == before
