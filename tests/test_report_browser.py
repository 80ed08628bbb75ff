"""The live parts of the report in a real browser, from a file: the threshold, and labels that are saved."""

import time

import numpy as np
import pytest

from helpers.browser import CONTRAST, THERE, driven
from helpers.evaluated import NASTY, full_report
from semi_anogan.data import review
from semi_anogan.evaluation.report.contents import SortItem
from semi_anogan.evaluation.report.page import write_report
from semi_anogan.evaluation.report.pictures import small_jpeg

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not THERE, reason="there is no Chromium with its driver"),
]
# What a file may be called: no text in UTF-8, and what a CSV file quotes.
PATHS = ["train/good/\udce4.png", 'train/good/a, "b".png', "train/good/2.png", "train/good/\u00e9\n.png"]


@pytest.fixture
def report(tmp_path):
    found = full_report()
    found.normal_scores, found.run = (0.5, 0.25), "runs/a b"
    jpeg = small_jpeg(np.zeros((40, 60, 1)), 160)
    found.to_sort = [SortItem(p, "training", "suspicious", 5.0, jpeg=jpeg) for p in PATHS]
    found.to_sort.append(SortItem(NASTY, "test", "miss", 0.4, "abnormal", jpeg))
    return write_report(tmp_path / "run", found)


def test_a_person_moves_the_threshold_and_saves_labels(report, tmp_path):
    from selenium.webdriver.common.keys import Keys

    with driven(downloads=tmp_path) as driver:
        driver.get(report.as_uri())

        def text(name):
            return driver.find_element("id", name).text

        def rows():
            found = driver.find_elements("css selector", "#figures tr")
            return [[cell.text for cell in row.find_elements("css selector", "td")] for row in found][1:]

        # At 1.0: of 0.1, 0.2, 0.3, 2.5 one is above, of 0.4, 3, 4 one is not.
        assert rows() == [
            ["normal, for the threshold", "2", "0", "0.0 %", ""],
            ["test, normal", "4", "1", "25.0 %", "1 false alarms"],
            ["test, abnormal", "3", "2", "66.7 %", "1 misses"],
        ]
        assert text("cost").startswith("Cost 11: 1 false alarms x 1 + 1 misses x 10 + 3 test images")
        assert text("take-over").endswith(
            "--workdir='runs/a b' --input=NEW_IMAGES --output=SCORED --threshold=1"
        )
        value = driver.find_element("id", "value")
        value.clear()
        value.send_keys("0.25", Keys.TAB)  # 0.25 itself is not above
        assert [row[2] for row in rows()] == ["1", "2", "3"]
        price = driver.find_element("id", "price-look")
        price.clear()
        price.send_keys("0.5")
        assert text("cost").startswith("Cost 4.5: 2 false alarms x 1 + 0 misses x 10 + 5 test images")
        slider = driver.find_element("id", "slider")
        slider.send_keys(Keys.ARROW_RIGHT * 20)
        moved = float(value.get_attribute("value"))
        step = (4.0 - 0.1) * 1.05 / 1000
        assert moved == pytest.approx(0.25 + 20 * step, abs=1.1 * step)
        assert text("take-over").endswith(f"--threshold={moved:g}")
        driver.find_element("id", "back").click()
        assert [row[2] for row in rows()] == ["0", "1", "2"]

        # Labels, by keys and by a click
        assert not driver.find_element("id", "save-labels").is_enabled()
        driver.find_element("id", "who").send_keys("ann")
        driver.find_element("id", "kind").send_keys("pit")
        cards = driver.find_elements("css selector", ".judge")
        assert [card.get_attribute("tabindex") for card in cards] == ["0", "-1", "-1", "-1", "-1"]
        driver.execute_script("arguments[0].focus()", cards[0])
        for key in ("n", "a", "a", Keys.ARROW_LEFT, "u", Keys.ARROW_RIGHT):
            driver.switch_to.active_element.send_keys(key)
        assert driver.switch_to.active_element == cards[3]
        driver.find_element("id", "kind").clear()
        for place in (3, 4):
            cards[place].find_element("css selector", "button.abnormal").click()
        assert text("labels-told") == "1 normal and 3 abnormal of 5 images."
        assert driver.execute_script(CONTRAST) == []
        driver.find_element("id", "save-labels").click()
        saved = tmp_path / "reviewed.csv"
        until = time.monotonic() + 30
        while not saved.exists() and time.monotonic() < until:
            time.sleep(0.1)
        assert "are saved as reviewed.csv" in text("labels-told")
        assert [line["message"] for line in driver.get_log("browser")] == []
    found = review.read(saved)
    assert {path: (r.label, r.kind, r.origin) for path, r in found.items()} == {
        PATHS[0]: ("normal", None, "training"),
        PATHS[1]: ("abnormal", "pit", "training"),
        PATHS[3]: ("abnormal", None, "training"),
        NASTY: ("abnormal", None, "test"),
    }
    header, first = saved.read_bytes().split(b"\r\n")[:2]
    assert header.decode() == ",".join(review.COLUMNS)
    assert first.startswith(b"train/good/\xe4.png,normal,,,training,ann,20") and first.endswith(b"Z")
