"""The picture of a report: of plots drawn by hand, each part is where it belongs; and of a real run."""

import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from semi_anogan.benchmarks import picture
from semi_anogan.config import default_config
from semi_anogan.errors import RunError
from semi_anogan.runs import folder as run_folder

BLUE, ORANGE, GREEN = (0, 114, 178), (213, 94, 0), (0, 220, 120)
METRICS = {"image_auroc": 0.97, "image_recall": 0.9, "image_false_alarm_rate": 0.1}


def write_run(folder, gallery_rows=7, metrics=METRICS):
    """A run folder whose ROC is blue and whose score plot is orange.

    The gallery is 300 pixels wide: black titles of 10 lines, then rows of 60 lines, row i grey 20 * i with a
    green dot; 10 white lines below each.
    """
    (folder / "plots").mkdir(parents=True)
    run_folder.claim(folder, default_config())
    (folder / "metrics.json").write_text(json.dumps(metrics))
    Image.new("RGB", (800, 576), BLUE).save(folder / "plots/roc.png")
    Image.new("RGBA", (1600, 512), ORANGE).save(folder / "plots/scores.png")
    bands = [np.zeros((10, 300, 3), np.uint8)]
    for i in range(gallery_rows):
        row = np.full((60, 300, 3), 20 * i, np.uint8)
        row[20:40, 140:160] = GREEN
        bands.append(row)
    white = np.full((10, 300, 3), 255, np.uint8)
    gallery = np.concatenate([part for band in bands for part in (band, white)])
    Image.fromarray(gallery).save(folder / "plots/gallery.png")
    return folder


def test_parts_are_where_they_belong(tmp_path):
    found = np.asarray(picture.compose(write_run(tmp_path)))
    # The ROC is 400 x 288, the score plot 900 x 288. Of the gallery three rows are left, 230 lines, which
    # fit 560 by a scale of 560 / 230: 730 pixels wide, 85 from the left.
    assert found.shape == (288 + 12 + 288 + 12 + 560, 900, 3)
    assert (found[:288, 500:] == BLUE).all() and (found[300:588] == ORANGE).all()
    assert (found[288:300] == 255).all() and (found[588:600] == 255).all()
    gallery, scale = found[600:, 85:815], 560 / 230
    assert (found[600:, :85] == 255).all() and (found[600:, 815:] == 255).all()
    for place, row in enumerate((0, 3, 6)):  # the first, the middle and the last one
        top = 20 + 70 * place
        assert (gallery[round(scale * (top + 5)), 10] == 20 * row).all()
        assert (gallery[round(scale * (top + 30)), 365] == GREEN).all()
        assert (gallery[round(scale * (top + 65))] == 255).all()
    assert (gallery[round(scale * 5)] == 0).all()  # the titles


def test_fewer_rows_are_all_shown(tmp_path):
    found = np.asarray(picture.compose(write_run(tmp_path, gallery_rows=2)))
    # 160 lines: a scale of 3 makes 900 x 480.
    assert found.shape == (600 + 480, 900, 3)
    assert (found[600 + 3 * 25, 10] == 0).all() and (found[600 + 3 * 95, 10] == 20).all()


def test_headlines_are_the_figures_of_the_metrics(tmp_path):
    runs = {
        "run": METRICS,
        "recall": METRICS | {"image_recall": 0.2},
        "two": {"image_auroc": 0.97, "image_recall": 0.9, "image_false_alarm_rate": None},
    }
    parts = {
        name: np.asarray(picture.compose(write_run(tmp_path / name, metrics=metrics)))[:288, :500]
        for name, metrics in runs.items()
    }
    dark = {name: [(third < 128).sum() for third in np.split(p, 3)] for name, p in parts.items()}
    assert min(dark["run"]) > 500  # three lines of text
    same = [(a == b).all() for a, b in zip(*(np.split(parts[n], 3) for n in ("run", "recall")), strict=True)]
    assert same == [True, False, True]
    assert sum(dark["two"]) < sum(dark["run"])
    assert (parts["run"][:, -5:] == 255).all()  # nothing is cut off


def test_the_file_is_small_and_of_few_colours(tmp_path):
    run = write_run(tmp_path / "run")
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (210, 300, 1), np.uint8).repeat(3, axis=2)
    gallery = np.asarray(Image.open(run / "plots/gallery.png")).copy()
    gallery[20:230][:, 160:] = noise[:, 160:]  # no white line, which makes it one row
    Image.fromarray(gallery).save(run / "plots/gallery.png")
    text = picture.run(str(run), str(tmp_path / "docs/report.png"))
    path = tmp_path / "docs/report.png"
    found = Image.open(path)
    assert text == f"{path}: 900 x {found.height} pixels, {path.stat().st_size / 1000:.0f} kB\n"
    assert found.mode == "P" and path.stat().st_size <= 250_000
    colors = np.asarray(found.convert("RGB"), int)
    assert (abs(colors - GREEN).max(axis=-1) < 40).any()  # the rare colour is there still


def test_missing_and_damaged_plots_are_named(tmp_path):
    run = write_run(tmp_path)
    (run / "plots/scores.png").write_bytes(b"no image")
    with pytest.raises(RunError, match=r"plots/scores.png: cannot be read"):
        picture.compose(run)
    (run / "plots/scores.png").unlink()
    with pytest.raises(RunError, match=r"plots/scores.png: no such file; the picture needs a finished run"):
        picture.compose(run)


def test_a_finished_runs_picture(smoke_run, tmp_path):
    picture.run(str(smoke_run), str(tmp_path / "report.png"))
    found = np.asarray(Image.open(tmp_path / "report.png").convert("RGB"), int)
    gallery = Image.open(smoke_run / "plots/gallery.png").convert("RGB")
    assert found.shape[1] == 900 and 800 < found.shape[0] < 1200
    assert (tmp_path / "report.png").stat().st_size <= 250_000
    # Under the scores stand the gallery's titles and its first row, without the white above them.
    top = int((np.asarray(gallery) < 255).any(axis=(1, 2)).argmax())
    gallery = gallery.crop((0, top, gallery.width, gallery.height))
    size = 900, round(gallery.height * 900 / gallery.width)
    expected = np.asarray(gallery.resize(size, Image.Resampling.LANCZOS), int)[:160]
    assert abs(found[600:760] - expected).mean() < 3 < abs(found[605:765] - expected).mean()


def scored(folder, monkeypatch):
    """What `score` would have written of four images of 20 x 10, whose overlays are 25 times as large."""
    monkeypatch.chdir(folder)
    lines, rows = [], ["path,score,label"]
    for number, kind in enumerate(("cut", "cut", "dent", None)):
        path = pathlib.Path(f"in/{kind or 'good'}/{number}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (20, 10), 60 * number).save(path)
        overlay = pathlib.Path(f"scored/overlays/{path.parent.name}/{number}.png.png")
        overlay.parent.mkdir(parents=True, exist_ok=True)
        found = Image.new("RGB", (500, 250), ORANGE)
        found.paste(GREEN, (400, 0, 500, 250))
        found.save(overlay)
        rows.append(f"{path},1,abnormal")
        region = {"path": str(path), "number": 1, "box": [16, 2, 4, 4], "area": 9, "kind": kind}
        lines.append({**region, "kind_likeness": None if kind is None else 0.5})
    pathlib.Path("scored/scores.csv").write_text("\n".join(rows))
    pathlib.Path("scored/regions.jsonl").write_text("\n".join(map(json.dumps, lines)))


def test_overlays_stand_below_their_images(tmp_path, monkeypatch):
    """The first image of two kinds, 0 and 2, each 444 wide; the right fifth of an overlay is green."""
    scored(tmp_path, monkeypatch)
    text = picture.of_overlays("scored", "docs/overlays.png")
    assert text.startswith("docs/overlays.png: 900 x 496 pixels, ")
    found = np.asarray(Image.open("docs/overlays.png").convert("RGB"), int)
    for column, grey in enumerate((0, 120)):
        left = column * 456
        assert abs(found[40:262, left : left + 444] - grey).max() <= 2
        below = found[274:496, left : left + 444]
        assert abs(below[:, :350] - ORANGE).max() <= 2 and abs(below[:, 360:] - GREEN).max() <= 2
        for line in (found[:17], found[17:36]):
            assert (line[:, left : left + 444] < 128).any()
    assert (found[262:274] == 255).all() and (found[40:, 444:456] == 255).all()


def test_what_is_no_scored_folder_is_told(tmp_path, monkeypatch):
    with pytest.raises(RunError, match=r"regions.jsonl: no such file; is .* what score wrote\?"):
        picture.of_overlays(str(tmp_path), str(tmp_path / "x.png"))
    scored(tmp_path, monkeypatch)
    pathlib.Path("scored/overlays/dent/2.png.png").unlink()
    with pytest.raises(RunError, match="has no picture of in/dent/2.png; score it with --overlays=all"):
        picture.of_overlays("scored", "x.png")
    pathlib.Path("scored/regions.jsonl").write_text("")
    with pytest.raises(RunError, match="no image has a region"):
        picture.of_overlays("scored", "x.png")
