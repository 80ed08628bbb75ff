"""The HTML report: self-contained, the right numbers, escaped text, a sentence where a part is missing."""

import base64
import html
import html.parser
import io
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from helpers.evaluated import NASTY, SCORES, full_report, gallery_item
from semi_anogan.evaluation.report.contents import Report, SortItem, choose_to_sort
from semi_anogan.evaluation.report.figures import FIGURES
from semi_anogan.evaluation.report.page import write_report
from semi_anogan.evaluation.report.pictures import small_jpeg


class _Page(html.parser.HTMLParser):
    """Sources of everything a page would load, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.sources, self.words = [], [], []
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.sources += [
            value for name, value in attributes if name in ("src", "href", "srcset", "data", "action")
        ]

    def handle_data(self, data):
        if self.tags and self.tags[-1] != "style" or data.strip() and "{" not in data:
            self.words.append(data)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    path = write_report(folder, full_report())
    assert path == folder / "report.html"
    return folder, path.read_text(encoding="utf-8")


def test_page_is_self_contained(full):
    folder, text = full
    page = _Page(text)
    assert len(page.sources) > 10 and all(s.startswith("data:image/") for s in page.sources)
    assert not {"link", "iframe", "object"} & set(page.tags) and page.tags.count("script") == 2
    assert "default-src 'none'" in text and "import " not in text.split("<script")[2]
    # The one address names what SVG is.
    text = text.replace('"http://www.w3.org/2000/svg"', "")
    assert "http:" not in text and "https:" not in text and "url(" not in text and "@import" not in text
    for source in page.sources:
        Image.open(io.BytesIO(base64.b64decode(source.split(",")[1]))).load()


def test_what_the_training_images_say_of_the_false_alarm_rate_is_told(full, tmp_path):
    assert "was asked for" not in full[1]  # by a run that does not know
    report = full_report()
    report.metrics |= {"false_alarm_rate_asked": 0.01, "false_alarm_interval": [0.0042, 0.0187]}
    text = _Page(write_report(tmp_path, report).read_text(encoding="utf-8")).text
    assert (
        "raise an alarm at the same threshold. 1.0% was asked for; the training images say that it lies "
        "between 0.4% and 1.9%, with a probability of 90%." in text
    )


def test_plots_are_written_and_embedded(full):
    folder, text = full
    assert {p.stem for p in (folder / "plots").iterdir()} == set(FIGURES) - {"held_out"}
    for name in ("scores", "roc", "precision_recall", "pixel_differences", "history"):
        assert base64.b64encode((folder / "plots" / f"{name}.png").read_bytes()).decode() in text


def test_numbers_are_those_given(full):
    text = _Page(full[1]).text
    for words in (
        "0.917 image AUROC",
        "66.7% recall at the threshold",
        "25.0% false-alarm rate at the threshold",
        "0.900 average precision",
        "0.800 best F1",
        "0.987 pixel AUROC",
        "0.876 pixel AUPRO",
        "4 normal and 3 abnormal test images",
        "Guessing gives 0.43",
        "image_auroc 0.91666",
        "components.residual 0.75",
        "train_seconds 12.5",
        "data.name folder",
        "data.root not available",
        "schedule.batch_sizes 16, 8",
        "seed 3",
        "43% of the images",
    ):
        assert words in text, words
    # Confusion at 1.0: normal 3 passed, 1 alarm; abnormal 1 passed, 2 alarms.
    assert re.search(r"normal\s+3 1\s+abnormal 1 2", text)
    # 12 pairs: 0.4 loses only to 2.5 -> 11/12; 1/12 for the component that runs the other way. Best first.
    assert re.search(r"residual 0\.917 0\.25 3 inverse 0\.083 -0\.25 -3", text)


def test_texts_are_escaped(full):
    page = full[1]
    assert page.count("<script") == 2 and "<script>alert" not in page and NASTY not in page
    assert NASTY in html.unescape(page)
    assert "Parts &lt;A&gt; &amp; B" in page and "few images &lt;60&gt;" in page


def test_suspicious_training_images(full):
    text = _Page(full[1]).text
    assert "1 of the 3 are known to be mislabelled, out of 4 abnormal images hidden" in text
    assert (
        "train/7.png suspicion 5.25 abnormal in truth" in text
        and "train/8.png suspicion 5 normal in truth" in text
    )
    assert text.count("in truth") == 2
    picture = re.search(r'<img src="data:image/png;base64,([^"]+)" alt="train/7.png">', full[1]).group(1)
    size = Image.open(io.BytesIO(base64.b64decode(picture))).size
    assert size == (96, 192)  # of 100 x 200: large enough to judge by


def test_synthetic_defects_are_shown_with_their_kinds(full):
    page = full[1]
    assert "Of the kinds crack, shade, as training draws them" in _Page(page).text
    assert page.count('alt="synthetic defect"') == 2


def test_gallery_rows_come_in_group_order(full):
    text = _Page(full[1]).text
    assert text.index("Misses:") < text.index("Typical normal images")
    assert "False alarms:" not in text  # no such image, no heading
    assert "The green line" in text


@pytest.mark.parametrize(
    ("search", "mask", "columns"), [(True, True, 5), (True, False, 4), (False, True, 3), (False, False, 2)]
)
def test_gallery_pictures_stand_in_one_row(tmp_path, search, mask, columns):
    item = gallery_item(mask=np.eye(8, dtype=bool) if mask else None)
    if not search:
        item.reconstruction = item.difference = None
    report = Report("Rows", {}, ["a.png", "b.png"], [True, False], [0.4, 0.2], threshold=0.5, gallery=[item])
    text = write_report(tmp_path, report).read_text(encoding="utf-8")
    assert re.search(r"grid-template-columns: repeat\(var\(--columns\),", text)
    rows = re.findall(r'<div class="tiles( heads)?" style="--columns: (\d)">(.*?)</div>\s*<', text, re.DOTALL)
    assert [int(row[1]) for row in rows] == [columns, columns]
    assert rows[1][2].count("<img") == columns


def test_only_scores(tmp_path):
    path = write_report(tmp_path, Report("Bare", {}, ["a", "b"], [False, False], [1.0, 2.0]))
    text = _Page(path.read_text(encoding="utf-8")).text
    for words in (
        "The test images hold no abnormal one",
        "No threshold was given",
        "not given in components",
        "no image was reconstructed",
        "No images were chosen",
        "No training history",
        "No metrics were given",
        "No configuration was given",
    ):
        assert words in text, words
    assert "Read this first" not in text and "Suspicious" not in text and "dashed" not in text
    assert [p.stem for p in (tmp_path / "plots").iterdir()] == ["scores"]


def test_only_abnormal_images_and_none_metrics(tmp_path):
    report = Report(
        "One class",
        {"image_auroc": None, "image_recall": 0.5},
        ["a", "b"],
        [True, True],
        [1.0, 2.0],
        threshold=1.5,
        components=np.zeros((2, 1)),
        component_names=["residual"],
    )
    text = _Page(write_report(tmp_path, report).read_text(encoding="utf-8")).text
    assert "The test images hold no normal one" in text and "50.0% recall" in text
    assert "image_auroc not available" in text and "residual not available not available 0" in text


def test_no_image_at_all(tmp_path):
    text = _Page(write_report(tmp_path, Report("Empty", {}, [], [], [])).read_text(encoding="utf-8")).text
    assert "There are no scored images" in text


def test_gallery_without_masks(tmp_path):
    report = Report("No masks", {}, ["a"], [True], [1.0], gallery=[gallery_item()])
    text = _Page(write_report(tmp_path, report).read_text(encoding="utf-8")).text
    assert "No pixel masks were given" in text and "green line" not in text


def test_abnormal_image_without_mask_beside_one_with(tmp_path):
    mask = np.eye(8, dtype=bool)
    report = Report(
        "Masks",
        {},
        ["a"],
        [True],
        [1.0],
        gallery=[gallery_item(mask=mask), gallery_item(), gallery_item("false alarm", abnormal=False)],
    )
    text = _Page(write_report(tmp_path, report).read_text(encoding="utf-8")).text
    assert text.count("no mask given") == 1 and text.count("no defect") == 1


def test_a_second_report_leaves_no_plot_of_the_first(tmp_path):
    write_report(tmp_path, full_report())
    write_report(tmp_path, Report("Bare", {}, ["a"], [False], [1.0]))
    assert [p.stem for p in (tmp_path / "plots").iterdir()] == ["scores"]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"paths": ["a"]}, "1 paths but 7 scores"),
        ({"scores": np.where(np.arange(7) == 3, np.nan, SCORES)}, "score 3 is nan"),
        ({"gallery": [gallery_item("nice")]}, "nice"),
    ],
)
def test_bad_reports(tmp_path, change, message):
    report = full_report()
    for name, value in change.items():
        setattr(report, name, value)
    with pytest.raises(ValueError, match=message):
        write_report(tmp_path, report)


def test_no_pyplot_state_and_no_heavy_import(tmp_path):
    code = (
        "import sys, numpy as np\n"
        "from semi_anogan.evaluation import metrics, results\n"
        "from semi_anogan.scoring import fit_calibration\n"
        "from semi_anogan.training import events\n"
        "from semi_anogan.evaluation.report.contents import Report\n"
        "from semi_anogan.evaluation.report.page import write_report\n"
        "heavy = {'matplotlib', 'sklearn', 'scipy', 'jinja2', 'tensorboard', 'tensorflow', 'keras', 'PIL'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        f"write_report({str(tmp_path)!r}, Report('t', {{}}, ['a', 'b'], [False, True], [0.0, 1.0]))\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_the_live_parts_hold_what_they_are_given(tmp_path):
    report = full_report()
    report.run = "runs/a b"
    report.to_sort = [
        SortItem(NASTY, "test", "miss", 0.4, "abnormal"),
        SortItem("train/\udce4.png", "training", "suspicious", 5.25, jpeg=small_jpeg(np.zeros((4, 8, 1)), 6)),
    ]
    report.left_out, report.normal_scores = {"miss": 12}, (0.5, 0.25)
    page = write_report(tmp_path, report).read_bytes().decode("utf-8", "surrogateescape")
    held = json.loads(re.search(r'id="report-data">(.*?)</script>', page, re.DOTALL).group(1))
    assert held["run"] == "runs/a b" and held["threshold"] == 1.0
    assert [(g["name"], g["scores"]) for g in held["groups"]] == [
        ("held_out", [0.5, 0.25]),
        ("test_normal", [0.1, 0.2, 0.3, 2.5]),
        ("test_abnormal", [0.4, 3.0, 4.0]),
    ]
    # In the order of the page: suspicious images are before misses.
    assert held["items"] == [
        {"path": "train/\udce4.png", "origin": "training"},
        {"path": NASTY, "origin": "test"},
    ]
    text = _Page(page).text
    assert "Misses of the test, the lowest score first. 12 more are left out." in text
    assert "--workdir='runs/a b' --refit --config.data.reviewed=reviewed.csv" in text
    assert "suspicion 5.25" in text and "score 0.4, labelled abnormal" in text
    jpeg = base64.b64decode(re.search(r'src="data:image/jpeg;base64,([^"]+)"', page).group(1))
    assert Image.open(io.BytesIO(jpeg)).size == (6, 3)


def test_without_anything_live_there_is_no_script(tmp_path):
    page = write_report(tmp_path, Report("Bare", {}, ["a", "b"], [False, False], [1.0, 2.0])).read_text()
    assert "<script" not in page and "Another threshold" not in page and "Label images" not in page


def test_images_to_sort_by_hand():
    # index      0    1    2    3    4    5    6    7
    scores = [0.1, 0.9, 2.5, 1.5, 1.2, 0.4, 0.2, 3.0]
    abnormal = [0, 0, 0, 0, 0, 1, 1, 1]
    # Misses 6, 5; false alarms 2, 3, 4, of which the nearest to 1.0 is left out; near are 1 (0.1), 4 (0.2).
    assert choose_to_sort(abnormal, scores, 1.0, 2) == (
        [(6, "miss"), (5, "miss"), (2, "false alarm"), (3, "false alarm"), (1, "near")],
        {"false alarm": 1},
    )
    assert choose_to_sort(abnormal, scores, 1.0, 4)[0][5:] == [(1, "near"), (0, "near")]
    assert choose_to_sort([], [], 1.0, 4) == ([], {})
