"""The review page in a real browser: a person labels, draws, moves the threshold, refits and undoes.

docs/review.png comes from here, too, of a run and what was scored with it:

  SEMI_ANOGAN_PICTURE=docs/review.png SEMI_ANOGAN_RUN=runs/parts SEMI_ANOGAN_SCORED=scored \\
    python -m pytest -n 0 -m slow tests/test_review_browser.py -k picture
"""

import base64
import contextlib
import csv
import io
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image, ImageDraw

from helpers.browser import CONTRAST, THERE, driven
from helpers.processes import ENVIRONMENT, ROOT
from helpers.reviewed import picture, write_run
from helpers.tiny_runs import tiny_config
from semi_anogan.errors import RunError
from semi_anogan.review.state import Review

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not THERE, reason="there is no Chromium with its driver"),
]
SECONDS = 60  # that the page may take for anything but a refit
OF_SURFACES = ("size", "train_normal", "train_abnormal", "test_normal", "test_abnormal")


def part(rng, defect: str = "") -> Image.Image:
    """A brushed surface, 96 x 96, with a defect or without."""
    lines = 120 + 12 * rng.standard_normal((96, 1)) + 5 * rng.standard_normal((96, 96))
    image = Image.fromarray(np.clip(lines, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    x, y = rng.integers(20, 60, 2).tolist()
    if defect == "pit":
        draw.ellipse((x, y, x + 14, y + 11), 40)
    if defect == "scratch":
        draw.line((x, y, x + 30, y + 9), 220, 2)
    return image


def write_parts(root: pathlib.Path):
    rng = np.random.default_rng(0)
    counts = {
        "train/good": 30,
        "train/pit": 2,
        "train/scratch": 2,
        "test/good": 6,
        "test/pit": 3,
        "test/scratch": 3,
    }
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True)
        for i in range(count):
            defect = folder.split("/")[1]
            part(rng, "" if defect == "good" else defect).save(root / folder / f"{i:02}.png")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of parts, and a folder with scores of its test images as `score` writes them."""
    from semi_anogan import score, train
    from semi_anogan.scoring.detector import Detector
    from semi_anogan.scoring.outputs import Outputs

    base = tmp_path_factory.mktemp("review")
    write_parts(base / "parts")
    changes = {f"data__{name}": None for name in OF_SURFACES}
    short = {
        "model__resolution": 16,
        "schedule__start_resolution": 16,
        "schedule__total_kimages": 0.064,
        "train__checkpoint_kimages": 0.016,
        "score__components": "discriminator",
    }
    train.run(
        tiny_config(name="parts", data__name="folder", data__root=str(base / "parts"), **changes, **short),
        base / "run",
    )
    paths = sorted(map(str, (base / "parts/test").rglob("*.png")))
    outputs = Outputs(overlays="all", root=str(base / "parts/test"))
    score.score(Detector.load(base / "run"), paths, base / "scored", outputs)
    return base


@contextlib.contextmanager
def opened(*arguments, size=(1280, 900)):
    """The page of a command in a browser; both end afterwards, the command with exit code 0."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "semi_anogan.review", *arguments, f"--port={port}", "--who=ann"],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        while not (line := process.stdout.readline()).startswith("open "):
            assert line, "the command has ended"
        with driven(size) as driver:
            driver.get(line.split()[1])
            yield Page(driver)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


class Page:
    """What a person does and sees."""

    def __init__(self, driver):
        self.driver = driver

    def keys(self, *keys):
        self.driver.switch_to.active_element.send_keys(*keys)

    def text(self, name: str) -> str:
        return self.driver.find_element("id", name).text

    def value(self, script: str):
        return self.driver.execute_script(f"return {script}")

    def click(self, name: str):
        self.driver.find_element("id", name).click()

    def until(self, holds, what: str, seconds=SECONDS):
        end = time.monotonic() + seconds
        while not (found := holds()):
            assert time.monotonic() < end, f"{what}: {self.text('toast')} {self.text('refit-told')}"
            time.sleep(0.1)
        return found

    def shown(self):
        """Waits for the picture of the image that is selected."""
        self.until(lambda: self.value("document.getElementById('picture').naturalWidth > 0"), "a picture")

    def contrast(self) -> list:
        """Texts of less than 4.5 to 1 against the nearest background that is not transparent."""
        return self.driver.execute_script(CONTRAST)


def rows_of(run):
    path = run / "run/reviewed.csv"
    if not path.exists():
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_person_reviews_a_run(run):
    with opened(f"--workdir={run / 'run'}", f"--scored={run / 'scored'}") as browser:
        _label(run, browser)
        _draw(run, browser)
        _meet_another(run, browser)
        _move_the_threshold(run, browser)
        _refit(run, browser)
        errors = [line["message"] for line in browser.driver.get_log("browser") if line["level"] == "SEVERE"]
        assert [line for line in errors if "409" not in line] == []


def test_images_that_are_scored_meanwhile_are_told(run, tmp_path):
    for name in ("run", "scored"):
        shutil.copytree(run / name, tmp_path / name)
    scores = tmp_path / "scored/scores.csv"
    with opened(f"--workdir={tmp_path / 'run'}", f"--scored={tmp_path / 'scored'}") as browser:
        browser.keys("llll")
        browser.until(lambda: browser.text("list-told") == "1 of 12", "the scored images")
        row = scores.read_text().splitlines()[-1]
        shutil.copy(run / "parts/test/pit/00.png", tmp_path / "added.png")
        with open(scores, "a") as file:  # as `score --watch` does
            file.write(row.replace(row.split(",")[0], str(tmp_path / "added.png")) + "\n")
        browser.until(lambda: browser.text("list-more") == "1 more", "the image that was added")
        browser.keys("r")
        browser.until(lambda: browser.text("list-told") == "1 of 13", "the list anew")
        assert browser.text("list-more") == "Refresh" and browser.contrast() == []


def _label(run, browser):
    from selenium.webdriver.common.keys import Keys

    browser.shown()
    assert browser.contrast() == []

    # Twenty labels by keys alone
    assert browser.text("list-told") == "1 of 30"
    for i in range(20):
        browser.keys("1" if i == 0 else "k" if i == 1 else "n")
        if i == 1:  # the field of a new kind has the focus
            browser.keys("burn", Keys.ENTER)
        browser.until(lambda i=i: len(rows_of(run)) == i + 1, f"label {i}")
        browser.until(lambda i=i: browser.text("list-told") == f"{i + 2} of 30", "the next image")
    rows = rows_of(run)
    assert [(row["label"], row["kind"]) for row in rows[:3]] == [
        ("abnormal", "pit"),
        ("abnormal", "burn"),
        ("normal", ""),
    ]
    assert {row["label"] for row in rows[2:]} == {"normal"} and {row["who"] for row in rows} == {"ann"}
    browser.keys("u")
    browser.until(lambda: rows_of(run)[19]["label"] == "", "an undone label")
    browser.until(lambda: browser.text("list-told") == "20 of 30", "the image that was undone")


def _draw(run, browser):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    # A box by keys: a quarter of 96 pixels, moved by one to the right and made one lower
    browser.keys(Keys.HOME)
    browser.until(lambda: browser.text("label-now") == "Abnormal: pit", "the first image")
    browser.shown()
    time.sleep(0.5)
    browser.keys("x")
    ActionChains(browser.driver).key_down(Keys.CONTROL).send_keys(Keys.ARROW_RIGHT).key_up(
        Keys.CONTROL
    ).perform()
    both = ActionChains(browser.driver).key_down(Keys.CONTROL).key_down(Keys.SHIFT)
    both.send_keys(Keys.ARROW_DOWN).key_up(Keys.SHIFT).key_up(Keys.CONTROL).perform()
    browser.keys(Keys.ENTER)
    browser.until(lambda: rows_of(run)[0]["mask"], "a mask")
    boxed = np.asarray(Image.open(run / "run" / rows_of(run)[0]["mask"]))
    wanted = np.zeros((96, 96), np.uint8)
    wanted[36:61, 37:61] = 255
    assert (boxed == wanted).all()
    # A stroke with the mouse adds to it
    browser.keys(Keys.ESCAPE, "b")
    canvas = browser.driver.find_element("id", "mask")
    drag = ActionChains(browser.driver).move_to_element_with_offset(canvas, -150, -150)
    drag.click_and_hold().move_by_offset(60, 10).release().perform()
    browser.until(lambda: np.asarray(mask_of(run)).sum() > boxed.sum(), "a stroke")
    assert rows_of(run)[0]["kind"] == "pit"
    browser.keys("u")
    browser.until(lambda: (np.asarray(mask_of(run)) == boxed).all(), "an undone stroke")
    browser.keys(Keys.ESCAPE)


def _meet_another(run, browser):
    from selenium.webdriver.common.keys import Keys

    # Another browser has said something meanwhile
    second = browser.value(
        "fetch('/api/list/suspicious?start=1&count=1').then((a) => a.json()).then((a) => a.items[0])"
    )
    browser.keys(Keys.ARROW_DOWN)
    browser.until(lambda: browser.text("label-now") == "Abnormal: burn", "the second image")
    said = {"revision": second["revision"], "label": "normal", "who": "bob"}
    browser.driver.execute_script(
        "return fetch(arguments[0], {method: 'PUT', body: arguments[1], headers: "
        "{'content-type': 'application/json'}}).then((a) => a.status)",
        f"/api/label/{second['id']}",
        json.dumps(said),
    )
    browser.keys("a")
    browser.until(lambda: "was changed meanwhile by bob" in browser.text("toast"), "a conflict")
    assert browser.text("label-now") == "Normal" and rows_of(run)[1]["label"] == "normal"
    browser.keys("a")
    browser.until(lambda: rows_of(run)[1]["label"] == "abnormal", "the label after all")


def _move_the_threshold(run, browser):
    from selenium.webdriver.common.keys import Keys

    browser.click("tab-threshold")
    browser.until(
        lambda: browser.value("document.querySelectorAll('#histogram rect').length > 3"), "a histogram"
    )
    assert browser.contrast() == []
    before = browser.value("Number(document.getElementById('value').value)")
    browser.driver.find_element("id", "slider").send_keys(Keys.ARROW_RIGHT * 40)
    moved = browser.value("Number(document.getElementById('value').value)")
    assert moved > before and "false alarms x 1 + " in browser.text("cost")
    browser.click("use")
    browser.until(lambda: "is in use now" in browser.text("threshold-done"), "the threshold")
    kept = json.loads((run / "run/detector.json").read_text())["chosen_threshold"]
    assert kept["threshold"] == pytest.approx(moved, rel=1e-5) and kept["who"] == "ann"
    browser.click("calibrated")
    browser.until(
        lambda: "chosen_threshold" not in (run / "run/detector.json").read_text(), "the calibrated one"
    )


def _refit(run, browser):
    former = (run / "run/detector.json").read_bytes()
    browser.click("tab-refit")
    browser.until(lambda: browser.driver.find_element("id", "refit-begin").is_enabled(), "the button")
    assert browser.contrast() == []
    browser.click("refit-begin")
    browser.until(lambda: browser.text("refit-told").startswith(("Done", "Not done")), "a refit", 600)
    assert browser.text("refit-told").startswith("Done"), browser.text("refit-told")
    assert (run / "run/detector.json").read_bytes() != former
    metrics = json.loads((run / "run/metrics.json").read_text())
    assert metrics["counts"]["train_abnormal"] == 4 + 2
    browser.until(lambda: "Before and after" in browser.text("compared"), "the comparison")
    compared = browser.text("compared")
    assert "Known defects 4 6" in compared and "Newly scored images that change sides" in compared
    assert browser.contrast() == []
    browser.click("refit-undo")
    browser.until(lambda: (run / "run/detector.json").read_bytes() == former, "the former detector")
    browser.until(lambda: not (run / "run/before_refit").exists(), "the end of it")
    assert rows_of(run)[1]["label"] == "abnormal"


def mask_of(run) -> Image.Image:
    name = rows_of(run)[0]["mask"]
    return Image.open(run / "run" / name) if name else Image.new("L", (96, 96))


class Reasons:
    """A stand-in for the process that says why; test_run_with_features.py has the real answers."""

    running = False

    def __init__(self):
        self.asked = []

    def ask(self, question):
        self.asked.append(question)
        if question.path.endswith("2.png"):
            raise RunError("run/memory.npz: cannot be read")
        if question.drawn:
            return {"reconstruction": CROP, "difference": CROP, "notes": ["drawn"]}
        crop = {"crop": CROP, "inner": [3, 4, 6, 8, 12, 16], "size": [60, 80]}
        y, x = question.place or (30, 40)
        row, column = int(y // 15), int(x // 20)
        places = ((1, [0, 0, 15, 20]), (2, [0, 20, 15, 20]))
        of = [{"path": f"train/good/{i}.png", "distance": i + 0.5, "box": box} for i, box in places]
        return {
            "size": [60, 80],
            "clicked": question.place is not None,
            "place": [y, x],
            "box": [15 * row, 20 * column, 15, 20],
            **crop,
            "distance": 2.5,
            "support": 2,
            "usual": [0.5, 0.75],
            "normal": [
                {**of[0], **crop, "how": "found again"},
                {**of[1], **crop, "how": "remembered in other light"},
            ],
            "known": [{**of[0], **crop, "kind": "cut", "masked": False, "path": "train/cut/0.png"}],
            "known_count": 3,
            "notes": ["a note"],
        }

    def end(self):
        pass


def inline(size) -> str:
    stream = io.BytesIO()
    Image.new("L", size).save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


CROP = inline((16, 12))


@contextlib.contextmanager
def served(review):
    """The page of a Review in a browser, from a thread of this process."""
    import uvicorn

    from semi_anogan.review.app import make_app

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(make_app(review), port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.05)
        with driven() as driver:
            driver.get(f"http://127.0.0.1:{port}/")
            yield Page(driver)
    finally:
        server.should_exit = True
        thread.join()


def test_a_person_asks_why_and_enlarges(tmp_path):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    folder, scored = write_run(tmp_path)
    for i in range(6):
        picture(tmp_path / f"parts/train/good/{i}.png", 10 * i, (60, 80))
    wide = np.zeros((100, 4000), np.uint8)
    wide[:, ::2] = 255
    Image.fromarray(wide).save(tmp_path / "new/0.png")
    review = Review(folder, scored, "ann")
    review.why = Reasons()
    with served(review) as browser:

        def box_of(selector):
            found = f"document.querySelector('{selector}').getBoundingClientRect()"
            return browser.value(f"(({{left, top, width, height}}) => [left, top, width, height])({found})")

        browser.shown()
        browser.keys("w")
        browser.until(lambda: "difference" in browser.text("why-found"), "all of why")
        assert browser.text("why-told") == (
            "Marked where the map is highest: the memory's distance is 2.5, the mean of two images. Of "
            "held-out normal images the farthest tenth has 0.5 on the median, 0.75 at 80 %."
        )
        assert browser.text("why-found").split("\n") == [
            *("Here", "Nearest normal patches", "1.png", "distance 1.5", "2.png", "distance 2.5"),
            *("remembered in other light", "Nearest known defects", "0.png", "cut, distance 1.5"),
            *("no mask: its least normal places", "What the generator makes of it", "reconstruction"),
            *("difference, white: large", "a note; drawn"),
        ]
        assert browser.contrast() == []
        left, top, width, height = box_of("#picture")
        marked = box_of("#own .place")
        assert marked == pytest.approx([left + width / 2, top + height / 2, width / 4, height / 4], abs=1)
        # Another place: of 60 x 80 pixels the one at a quarter and a half
        image = browser.driver.find_element("id", "picture")
        ActionChains(browser.driver).move_to_element_with_offset(image, -width / 4, 0).click().perform()
        browser.until(
            lambda: "at the place that was clicked" in browser.text("why-told"), "the clicked place"
        )
        assert review.why.asked[-1].place == pytest.approx((30, 20), abs=0.4)
        # The whole of a near image, with the place in it
        browser.driver.find_elements("css selector", "#why-found button.crop")[1].click()
        browser.until(
            lambda: browser.value("document.getElementById('whole-picture').naturalWidth") == 80, "it"
        )
        shown, place = box_of("#whole-picture"), box_of("#whole-place")
        assert place == pytest.approx([shown[0] + shown[2] / 4, shown[1], shown[2] / 4, shown[3] / 4], abs=1)
        browser.keys(Keys.ESCAPE)
        # Enlarged by the wheel: what is below the mouse stays there, and pixels are whole ones
        turned = "{deltaY: -9, clientX: arguments[0], clientY: arguments[1], bubbles: true}"
        for _ in range(9):
            browser.driver.execute_script(
                f"document.getElementById('picture').dispatchEvent(new WheelEvent('wheel', {turned}))",
                left + width / 4,
                top + height / 2,
            )
        now = box_of("#picture")
        assert now[2] / 80 == round(now[2] / 80) > 2 * width / 80
        assert (left + width / 4 - now[0]) / now[2] == pytest.approx(0.25, abs=0.01)
        style = "getComputedStyle(document.getElementById('picture'))"
        assert browser.value(f"{style}.imageRendering") == "pixelated"
        assert browser.text("zoom-told") == f"{100 * round(now[2] / 80)} % of its pixels"
        # A drag moves it, and asks nothing; so do Shift and arrows; 0 shows the whole again
        asked = len(review.why.asked)
        frame = browser.driver.find_element("css selector", "#own .frame")
        ActionChains(browser.driver).drag_and_drop_by_offset(frame, 40, 20).perform()
        moved = box_of("#picture")
        assert moved[:2] == pytest.approx([now[0] + 40, now[1] + 20], abs=1)
        assert len(review.why.asked) == asked
        right = ActionChains(browser.driver).key_down(Keys.SHIFT).send_keys(Keys.ARROW_RIGHT)
        right.key_up(Keys.SHIFT).perform()
        assert box_of("#picture")[0] == pytest.approx(moved[0] - 80, abs=1)
        assert browser.text("list-told") == "1 of 6"
        browser.keys("0")
        assert box_of("#picture") == pytest.approx([left, top, width, height], abs=1)
        # An error in a line, and the next image; then without
        browser.keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN)
        browser.until(lambda: browser.text("why-told") == "run/memory.npz: cannot be read", "the error")
        browser.keys("w")
        assert not browser.driver.find_element("id", "why").is_displayed()
        # A picture of 4000 pixels is shown with 2048: enlarged, those that are seen are its own
        browser.driver.execute_script(
            "const list = document.getElementById('list'); list.value = 'scored';"
            "list.dispatchEvent(new Event('change'))"
        )
        browser.until(lambda: browser.text("list-told") == "1 of 3", "the list")
        browser.keys(Keys.END)
        browser.until(lambda: "4000 x 100 pixels" in browser.text("path"), "the wide image")
        browser.keys(*"+++++")
        browser.until(
            lambda: browser.value("document.getElementById('detail').naturalWidth > 0"), "its pixels"
        )
        detail = box_of("#detail")
        source = browser.value("document.getElementById('detail').getAttribute('src')")
        columns = int(source.split("width=")[1])
        assert browser.value("document.getElementById('detail').naturalWidth") == columns
        assert detail[2] / columns == pytest.approx(box_of("#picture")[2] / 4000, rel=0.01)
        errors = [line["message"] for line in browser.driver.get_log("browser") if line["level"] == "SEVERE"]
        assert [line for line in errors if "422" not in line] == []


def test_of_fifty_thousand_images_only_those_in_sight_are_there(tmp_path):
    from selenium.webdriver.common.keys import Keys

    folder, _ = write_run(tmp_path, training=50_000, files=False)
    for name in (0, 49_999):
        picture(tmp_path / f"parts/train/good/{name}.png", 90)
    with opened(f"--workdir={folder}") as browser:
        browser.shown()
        assert browser.text("list-told") == "1 of 50000"
        browser.keys(Keys.END)
        browser.until(lambda: browser.text("list-told") == "50000 of 50000", "the last image")
        browser.until(lambda: browser.text("path").startswith("train/good/49999.png"), "its name")
        browser.shown()
        assert browser.value("document.querySelectorAll('.strip .item').length") < 40
        browser.keys(Keys.ARROW_UP)
        browser.until(lambda: "train/good/49998.png" in browser.text("picture-error"), "a missing file told")


def test_the_list_that_was_asked_for_last_is_shown(tmp_path):
    folder, scored = write_run(tmp_path)
    for i in range(6):
        picture(tmp_path / f"parts/train/good/{i}.png", 10 * i, (60, 80))
    with opened(f"--workdir={folder}", f"--scored={scored}") as browser:
        browser.shown()
        lists = browser.value("[...document.getElementById('list').options].map(o => o.value)")
        # Of all lists but the last one that is asked for the answer comes a second late.
        browser.driver.execute_script(
            "const asked = window.fetch; window.late = 0; window.fetch = async (path, ...more) => {"
            "  const answer = await asked(path, ...more);"
            "  if (path.includes('/api/list/') && !path.includes(arguments[0])) {"
            "    await new Promise((done) => setTimeout(done, 1000)); window.late += 1; }"
            "  return answer; };".replace("arguments[0]", json.dumps(f"/api/list/{lists[4]}"))
        )
        browser.keys("llll")
        browser.until(lambda: browser.value("window.late") == 3, "the late answers")
        time.sleep(0.5)
        assert browser.value("document.getElementById('list').value") == lists[4] == "scored"
        option = "document.getElementById('list').selectedOptions[0].text"
        assert browser.value(option) == "Newly scored images (3)"
        assert browser.text("list-told") == "1 of 3" and "new/" in browser.text("path")


@pytest.mark.skipif("SEMI_ANOGAN_PICTURE" not in os.environ, reason="no picture is asked for")
def test_picture(tmp_path):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    path, run, scored = (pathlib.Path(os.environ[f"SEMI_ANOGAN_{n}"]) for n in ("PICTURE", "RUN", "SCORED"))
    copy = tmp_path / "runs" / run.resolve().name  # which gets labels
    copy.mkdir(parents=True)
    for file in run.iterdir():
        if file.suffix in (".json", ".csv", ".npz"):
            shutil.copy(file, copy)
    shutil.copytree(run / "checkpoints", copy / "checkpoints")
    with opened(f"--workdir={copy}", f"--scored={scored.resolve()}", size=(1280, 960)) as browser:
        browser.keys("llll")  # the list of newly scored images
        browser.until(lambda: browser.text("found-words"), "a map")
        for i, key in enumerate("223"):
            browser.keys(key)
            browser.until(lambda i=i: browser.text("list-told").startswith(f"{i + 2} of"), "the next image")
        browser.keys(Keys.HOME, "b")
        browser.until(lambda: browser.text("list-told").startswith("1 of"), "the first image")
        browser.shown()
        time.sleep(1)
        canvas = browser.driver.find_element("id", "mask")
        drag = ActionChains(browser.driver).move_to_element_with_offset(canvas, 95, 32).click_and_hold()
        drag.move_by_offset(25, -5).move_by_offset(0, 22).move_by_offset(-14, 4).release().perform()
        browser.until(lambda: "with a mask" in browser.text("label-by"), "a mask")
        browser.until(lambda: browser.value("document.getElementById('overlay').naturalWidth > 0"), "a map")
        browser.keys(Keys.ESCAPE, "w")
        browser.until(lambda: "Nearest known defects" in browser.text("why-found"), "why", 300)
        time.sleep(1.5)  # thumbnails
        browser.driver.save_screenshot(str(path))
    Image.open(path).convert("RGB").quantize(200).save(path, optimize=True)
    assert path.stat().st_size < 300_000
