"""Drift: what is usual, the sequential test by hand, and changes that are told or not."""

import csv
import dataclasses

import numpy as np
import pytest

from helpers.trained import CALIBRATION, StandInDetector
from semi_anogan.benchmarks import drift as drift_benchmark
from semi_anogan.data.image_arrays import to_uint8
from semi_anogan.data.look import Look, look
from semi_anogan.scoring import drift as drifting
from semi_anogan.scoring import files as score_files
from semi_anogan.scoring.base_detector import Measurement
from semi_anogan.scoring.calibration import Calibration
from semi_anogan.scoring.drift import Drift, Usual, Watch, interval, reckoned
from semi_anogan.scoring.fit_calibration import HeldOut


def parts(count, seed=0, light=1.0, shift=0):
    """Images of a part: a bright disc on a dark ground, with noise, each a little brighter or darker."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:48, :48]
    disc = (rows - 24) ** 2 + (columns - 24 - shift) ** 2 < 200
    for _ in range(count):
        values = (0.2 + 0.5 * disc) * light * rng.uniform(0.95, 1.05) + rng.normal(0, 0.03, disc.shape)
        yield np.float32(2 * np.clip(values, 0, 1) - 1)[..., None]


def usual(count=200):
    return Usual.of([look(image) for image in parts(count)])


PLAIN = np.zeros((16, 16), np.float32)


def of_components(count=100, **changes):
    """A calibration of one component, `a`, held-out values 1/count to 1; looks and summaries vary."""
    rng = np.random.default_rng(0)
    looks = [Look(i / count, 0.5, 1.0, PLAIN) for i in rng.permutation(count)]
    summaries = [np.float32([i / count, 1.0]) for i in rng.permutation(count)]
    known = Usual.of(looks, summaries, {"a": np.arange(1, count + 1) / count})
    return dataclasses.replace(CALIBRATION, names=("a", "b"), usual=known, **changes)


def followed(calibration, components, abnormal=lambda i: False, summary=None):
    """A Drift that has followed images of these components, and what it told."""
    drift, lines, rng = Drift(calibration, True, True), [], np.random.default_rng(1)
    for i, a in enumerate(components):
        seen, given = Look(rng.uniform(), 0.5, 1.0, PLAIN), summary or (rng.uniform(), 1.0)
        lines += drift.add(seen, abnormal(i), np.float32([a, 0.0]), np.float32(given))
    return drift, lines


def watching(**changes) -> Drift:
    return Drift(dataclasses.replace(CALIBRATION, usual=usual(), **changes))


def test_a_look_by_hand():
    image = np.zeros((2, 2, 1), np.float32)
    image[0] = 1.0  # grey values 1 and 0.5
    seen = look(image)
    assert (seen.brightness, seen.contrast) == (0.75, 0.25)
    # steps of 1 downwards and 0 to the right; the spread of the values is 0.5
    assert seen.sharpness == pytest.approx((1 + 0) / 2 / 0.5)
    assert seen.picture.shape == (16, 16) and abs(seen.picture.mean()) < 1e-6
    assert np.allclose(look(np.zeros((9, 9, 1), np.float32)).picture, 0)


def test_what_is_usual_by_hand():
    """Of 300 values the third from either end is the last that is usual."""
    plain = np.zeros((16, 16), np.float32)
    found = Usual.of([Look(i / 300, 0.5, 1.0, plain) for i in range(300)])
    assert found.ranges["brightness"] == pytest.approx((2 / 300 - 0.002, 150 / 300, 297 / 300 + 0.002))
    assert found.ranges["picture"] == (-0.002, 0.0, 0.002) and found.count == 300
    assert Usual.from_dict(found.to_dict()) == found
    assert Usual.of([Look(0, 0, 0, plain)] * 19) is None


def test_pictures_are_judged_by_the_others():
    """As a new one is: else those of few images would all seem nearer than any new one."""
    rng = np.random.default_rng(0)
    looks = [Look(0, 0, 0, rng.normal(size=(16, 16))) for _ in range(20)]
    found = Usual.of(looks)
    new = [found.quantities(Look(0, 0, 0, rng.normal(size=(16, 16))))["picture"] for _ in range(500)]
    low, _, high = found.ranges["picture"]
    assert np.mean([low <= value <= high for value in new]) > 0.75


def test_rates_and_intervals_by_hand():
    # Of 100 values nothing is above the highest with Beta(1, 100): P(<= p) = 1 - (1 - p)^100.
    assert reckoned(100, 1) == pytest.approx(1 - 0.001**0.01)
    # 0 of 10: (1 - p)^10 = 0.05; 10 of 10 likewise.
    assert interval(0, 10) == (0.0, pytest.approx(1 - 0.05**0.1))
    assert interval(10, 10) == (pytest.approx(0.05**0.1), 1.0)
    low, high = interval(5, 50)  # Clopper-Pearson, as tables have it
    assert (round(low, 4), round(high, 4)) == (0.0402, 0.1988)


def test_the_sequential_test_by_hand():
    """Rates of 0.4 and, of what does not happen, 3/4, 1/2, 1/4 and 1/10 against 0.2."""
    watch = Watch(0.2, limit=3.0)
    assert [1 - 0.8 * f for f in (0.75, 0.5, 0.25, 0.1)] == pytest.approx([0.4, 0.6, 0.8, 0.92])
    # 0.4 is no less than the first of these, so it is not looked for twice.
    assert watch.add(True) and watch.statistic == pytest.approx((2 + 3 + 4 + 4.6) / 4)
    assert not watch.add(False)
    assert watch.statistic == pytest.approx((3 * 0.75 + 4 * 0.5 + 5 * 0.25 + 5.6 * 0.1) / 4)


@pytest.mark.parametrize(
    ("changed", "name", "most"),
    [
        (lambda: parts(60, 1, light=0.7), "brightness", 20),
        (lambda: parts(60, 1, light=1.3), "brightness", 20),
        (lambda: parts(60, 1, shift=5), "picture", 20),
        (lambda: (np.full((48, 48, 1), x.mean(), np.float32) for x in parts(60, 1)), "contrast", 20),
    ],
)
def test_a_change_is_told_once_and_soon(changed, name, most):
    drift, lines, when = watching(), [], None
    for image in changed():
        new = drift.add(look(image), False)
        if any(f" {name} " in line for line in new):
            when = drift.count
        lines += new
    assert when is not None and when <= most
    assert len(lines) == len(drift.warned) and drift.state()["quantities"][name]["changed"]


def test_alarms_are_told_with_their_interval():
    drift = watching(normal_scores=tuple(np.linspace(-1, 0.4, 200)))
    lines = [line for image in parts(100, 2) for line in drift.add(look(image), drift.count % 2 == 0)]
    (line,) = lines
    assert "are labelled abnormal (" in line and "where 10.00% of normal ones were asked for" in line


def test_nothing_is_told_without_a_change():
    """And none of a hundred sequences of images that nobody has seen: at most one in 20 is promised."""
    images = [look(image) for image in parts(300, 3)]
    known, told = usual(100), 0
    for seed in range(10):
        drift = Drift(dataclasses.replace(CALIBRATION, usual=known))
        order = np.random.default_rng(seed).integers(len(images), size=2000)
        told += any([drift.add(images[i], False) for i in order])
    assert told == 0


def test_the_promise_holds_for_the_highest_rate_reckoned_with():
    """1,000 sequences of 100: a warning in a tenth of them at most, where a tenth is promised."""
    rng, told = np.random.default_rng(0), 0
    for _ in range(1000):
        watch = Watch(0.05, limit=100 / 0.1)
        told += any([watch.add(x) for x in rng.random(100) < 0.05])
    assert told <= 100


def test_a_calibration_keeps_it_and_one_of_before_has_none():
    images = list(parts(30))
    detector = StandInDetector(resolution=16)
    assert [m.look.brightness for m in detector.measure(images)] == [look(i).brightness for i in images]
    found = dataclasses.replace(CALIBRATION, usual=Usual.of([look(i) for i in images]))
    assert Calibration.from_dict(found.to_dict()) == found
    values = found.to_dict()
    del values["usual"]
    assert Calibration.from_dict(values).usual is None
    drift = Drift(CALIBRATION)
    assert drift.add(look(images[0]), True) == [] and drift.state() == {"images": 1, "quantities": {}}


def test_scoring_tells_of_it(tmp_path, capsys):
    detector = StandInDetector(calibration=dataclasses.replace(CALIBRATION, usual=usual()))
    images = {f"{i}.png": to_uint8(image) for i, image in enumerate(parts(30, 1, light=0.6))}

    def read(name, channels):
        return images[name]

    score_files.write(score_files.scored(detector, images, read), tmp_path, detector)
    told = [line for line in capsys.readouterr().out.splitlines() if "drift after" in line]
    (line,) = (line for line in told if "brightness is" in line)
    assert "the light has changed. If that is meant to stay, add at least 20 new normal images" in line
    assert line.endswith("then: python -m semi_anogan.train --workdir=RUN --refit")
    with open(tmp_path / "drift.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [f"note: {row['change']}" for row in rows] == told
    count = next(int(line.split()[3]) for line in told)
    assert rows[0]["path"] == f"{count - 1}.png" and rows[0]["time"].endswith("Z")
    score_files.write(score_files.scored(detector, list(images)[:1], read), tmp_path, detector)
    assert not (tmp_path / "drift.csv").exists()  # it was of the images of before


def test_usual_components_and_summaries_by_hand():
    found = of_components().usual
    # The first of a hundred values from either end, and 2e-4 of the largest beyond, is the last usual one.
    assert found.components["a"] == pytest.approx((0.01 - 2e-4, 0.51, 1 + 2e-4), abs=2e-6)
    assert (found.held_out, found.count) == (100, 100)
    assert found.summary_mean == (0.495, 1.0)
    spread = np.std(np.arange(100) / 100) + 1e-3
    away = found.quantities(Look(0, 0, 0, PLAIN), np.float32([0.495 + spread, 1.002]))["features"]
    assert away == pytest.approx((1 + 2) / 2, rel=1e-3)
    assert Usual.from_dict(found.to_dict()) == found
    # Without its new keys it is what a version of before wrote; one of before does not see them.
    values = found.to_dict()
    assert set(values["ranges"]) == {"brightness", "contrast", "sharpness", "picture"}
    del values["components"], values["summary"]
    before = Usual.from_dict(values)
    assert not before.components and "features" not in before.ranges
    assert Usual.of([Look(0, 0, 0, PLAIN)] * 30, [None] * 30, {"a": [1.0] * 19}).components == {}


def test_the_component_that_changed_is_named():
    _, lines = followed(of_components(), np.full(60, 0.9))
    (line,) = lines
    assert "a is 0.9 on the median of the last" in line and "this component of the score has changed" in line
    assert "that are labelled normal, of normal images it was 0.51" in line


def test_features_that_changed_are_told():
    drift, lines = followed(of_components(), np.random.default_rng(2).uniform(size=60), summary=(2, 1))
    (line,) = lines
    assert "features is" in line and "the surface looks otherwise" in line
    assert list(drift.warned) == ["features"]


def test_defects_are_no_change_of_a_component_but_alarms_name_it():
    """Half of the images are defects, far out: no test but that of the alarms may see it."""
    rng = np.random.default_rng(3)
    values = [9.0 if i % 2 else rng.uniform() for i in range(400)]
    drift, lines = followed(of_components(), values, abnormal=lambda i: i % 2 == 1)
    assert lines == [] and drift.state()["quantities"]["a"]["of"] == 200
    scores = tuple(np.linspace(-1, 0.4, 200))
    drift, (line,) = followed(of_components(normal_scores=scores), values, abnormal=lambda i: i % 2 == 1)
    assert "are labelled abnormal" in line and ". Outside of what is usual: a in " in line


def test_rounding_is_no_change():
    """A component that is the same in all images, and one ten-thousandth more in an engine."""
    known = Usual.of([Look(i / 50, 0.5, 1.0, PLAIN) for i in range(50)], (), {"a": np.full(50, 2.0)})
    calibration = dataclasses.replace(CALIBRATION, names=("a", "b"), usual=known)
    _, lines = followed(calibration, np.full(300, 2.0002))
    assert lines == []
    _, lines = followed(calibration, np.full(300, 2.01))
    assert "a is 2.01" in lines[0]


def test_what_does_not_come_as_calibrated_is_not_followed():
    """Components of 8 bits, and what a bundle of before does not give."""
    detector = StandInDetector(calibration=of_components())
    assert {"a", "brightness"} <= set(Drift.of(detector).state()["quantities"])
    assert "features" not in Drift.of(detector).state()["quantities"]
    detector.summarises, detector.exact = True, True
    assert "features" in Drift.of(detector).state()["quantities"]
    detector.exact = False
    assert not {"a", "features"} & set(Drift.of(detector).state()["quantities"])
    # A pruned detector has fewer components than its calibration knew.
    detector.calibration = dataclasses.replace(of_components(), names=("b",))
    assert "a" not in Drift.of(detector).state()["quantities"]


def test_the_promise_holds_for_all_tests_together():
    """20 calibrations of 60 images, each followed by 500 others: 5 % may be told of, in 20,000 images."""
    told = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        looks = [Look(*rng.uniform(size=3), PLAIN) for _ in range(60)]
        held_out = {name: rng.uniform(size=60) for name in ("a", "b")}
        known = Usual.of(looks, rng.normal(size=(60, 8)), held_out)
        calibration = dataclasses.replace(CALIBRATION, names=("a", "b"), usual=known)
        drift = Drift(calibration, True, True)
        for _ in range(500):
            seen = Look(*rng.uniform(size=3), PLAIN)
            drift.add(seen, False, rng.uniform(size=2), rng.normal(size=8))
        told += bool(drift.warned)
    assert told <= 1


def test_the_benchmark_counts_what_is_told():
    """A component that is too high in each image is told in each order, the same without it in none."""
    two = {"center": (0.0, 0.0), "scale": (1.0, 1.0), "weights": (0.0, 0.0)}
    calibration, rng = of_components(threshold=1.0, **two), np.random.default_rng(0)

    def images(low):
        for _ in range(300):
            seen, a = Look(rng.uniform(), 0.5, 1.0, PLAIN), rng.uniform(low, 1)
            yield Measurement(np.float32([a, 0]), None, None, None, (8, 8), look=seen)

    told, until, what = drift_benchmark.told(calibration, list(images(0.8)), repeats=3, most=200)
    assert (told, what) == ("3 of 3", "a 3") and 5 < float(until.split(",")[0]) < 60
    assert drift_benchmark.told(calibration, list(images(0)), 3, 200) == ("0 of 3", "–", "–")


def test_tiles_have_one_summary():
    """The mean of its tiles'."""

    class Summarising(StandInDetector):
        summarises = True

        def _measure_batch(self, images):
            components, layers, *pictures = super()._measure_batch(images)
            return components, layers, images.mean(axis=(1, 2)), *pictures

    image = np.zeros((8, 16, 1), np.float32)
    image[:, 8:] = 0.6  # tiles from columns 0, 4 and 8 on
    (found,) = Summarising(tile=True).measure([image])
    assert found.summary == pytest.approx([0.3]) and found.difference is not None


def test_a_calibrated_detector_knows_what_is_usual():
    from helpers import trained
    from semi_anogan.scoring.detector import Detector

    detector = Detector(trained.tiny_model(), components=("discriminator",), batch_size=4)
    images = np.stack(list(parts(24)))
    held_out = HeldOut(images[: drifting.FEWEST], trained=images[drifting.FEWEST :])
    found = detector.calibrate(held_out, false_alarm_rate=0.1).calibrated
    # Looks of all images, components of those held out; there are no pretrained features.
    values = np.array([m.components[0] for m in detector.measure(held_out.normal)], np.float64)
    expected = Usual.of([look(image) for image in images], (), {"discriminator": values})
    assert found.set_aside == () and found.usual == expected
