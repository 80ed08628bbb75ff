"""Which "normal" training images stand in for known defects where there are none; the detector then."""

import dataclasses

import numpy as np
import pytest

from helpers import strange as made_up
from helpers.strange import example, striped
from semi_anogan.data.review import Review
from semi_anogan.data.splits import apply_labels
from semi_anogan.data.synthetic import synthesise
from semi_anogan.runs import suspicious_csv
from semi_anogan.scoring.feature_reader import FeatureReader
from semi_anogan.scoring.likeness import Likeness
from semi_anogan.scoring.memory import Memory
from semi_anogan.training import defects
from semi_anogan.training.fit_detector import fit_detector

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("readers_compiled_once")]


@pytest.fixture(scope="module")
def strange():
    return made_up.make()


@pytest.fixture
def given(monkeypatch) -> list:
    """[(number of normal images, the abnormal ones with their masks)] of each likeness fitted from now on."""
    given, waiting = [], []
    bags, fit = FeatureReader.bags, Likeness.fit

    def note_abnormal(self, abnormal):
        waiting.append(list(abnormal))
        return bags(self, waiting[-1])

    def note_normal(normal, abnormal, kinds):
        given.append((len(normal), waiting.pop()))
        return fit(normal, abnormal, kinds)

    monkeypatch.setattr(FeatureReader, "bags", note_abnormal)
    monkeypatch.setattr(Likeness, "fit", note_normal)
    return given


def test_the_highest_are_so_many_or_one_in_so_many_and_never_one_alone():
    examples = [example(str(i)) for i in range(100)]
    values = {e: -abs(50 - i) for i, e in enumerate(examples)}  # the fiftieth is the highest
    assert [e.path for e in defects._highest(values, examples, 3, 10)] == ["50", "49", "51"]
    assert len(defects._highest(values, examples, 10, 20)) == 5
    assert defects._highest(values, examples, 10, 100) == []


def test_without_known_defects_the_strange_training_images_stand_in(strange, tmp_path, monkeypatch, given):
    """They are listed first, the likeness finds another such defect, and the memory has not learned it."""
    config, model, dataset, splits = strange
    remembered, fit = [], Memory.fit
    monkeypatch.setattr(
        Memory, "fit", lambda sizes, of, *args: remembered.append(len(of)) or fit(sizes, of, *args)
    )
    detector = fit_detector(config, tmp_path, model, dataset, splits)
    listed = suspicious_csv.read_highest(tmp_path / "suspicious.csv", 4)
    assert {path for path, _ in listed} == {e.path for e in splits.normal if e.mislabelled}
    # 96 // 40 at first, 96 // 20 then: the four hidden ones, and nothing else.
    assert [(normals, len(abnormal)) for normals, abnormal in given] == [(94, 2), (92, 4)]
    assert all(striped(image) and mask is None for _, abnormal in given for image, mask in abnormal)
    assert remembered == [96, 96]  # as they are, and with some of them relit
    new = [dataset.read_image(example(f"new/{1000 + i}", mislabelled=i < 6)) for i in range(12)]
    found = np.stack([m.components for m in detector.measure(new)])
    for name in ("memory", "likeness"):
        values = found[:, detector.names.index(name)]
        assert values[:6].min() > values[6:].max(), name


def test_images_that_do_not_recognise_each_other_do_not_stand_in(strange, tmp_path, given):
    """Clean training images: the likeness is to synthetic defects, each with its mask."""
    config, model, dataset, splits = strange
    splits = dataclasses.replace(splits, normal=[e for e in splits.normal if not e.mislabelled])
    fit_detector(config, tmp_path, model, dataset, splits)
    assert [(normals, len(abnormal)) for normals, abnormal in given] == [(90, 2), (88, 4), (92, 92)]
    assert all(mask.any() for _, mask in given[-1][1])


def test_images_that_a_person_found_normal_do_not_stand_in_and_are_not_in_doubt(strange, tmp_path):
    config, model, dataset, splits = strange
    config = config.copy_and_resolve_references()
    config.parts.memory = 4000  # all patches, those of the images in other light too
    plain = fit_detector(config, tmp_path, model, dataset, splits)
    labels = {e.path: "normal" for e in splits.normal if e.mislabelled}
    reviewed = apply_labels(splits, {path: Review(label) for path, label in labels.items()}, "s.csv")
    # They keep their stripes, which a reviewed example no longer tells of.
    shown = {e.path: e for e in splits.normal}
    dataset = dataclasses.replace(dataset, read_image=lambda e: made_up.read_image(shown.get(e.path, e)))
    detector = fit_detector(config, tmp_path, model, dataset, reviewed)
    hidden = [made_up.read_image(e) for e in splits.normal if e.mislabelled]
    memory = detector.names.index("memory")
    before, after = (np.stack([m.components[memory] for m in d.measure(hidden)]) for d in (plain, detector))
    # Each patch of theirs is remembered, and those of the next striped image: nearer than where in doubt.
    assert (before - after > 0.5).all()
    listed = suspicious_csv.read_highest(tmp_path / "suspicious.csv", 120)
    assert not {path for path, _ in listed} & set(labels)


@pytest.mark.parametrize("count", [1, 3])
def test_images_that_a_person_found_abnormal_stand_in_with_the_next_most_suspicious(
    strange, tmp_path, given, count
):
    """They do not weigh the components, since these chose them.

    The fourth hidden one is the first to look at now, and stands in too.
    """
    config, model, dataset, splits = strange
    hidden = [e for e in splits.normal if e.mislabelled]
    found, left = hidden[:count], hidden[count:]
    reviewed = apply_labels(splits, {e.path: Review("abnormal") for e in found}, "s.csv")
    detector = fit_detector(config, tmp_path, model, dataset, reviewed)
    assert detector.calibration.method == "robust_z_sum"
    assert all(len(abnormal) >= count and striped(abnormal[0][0]) for _, abnormal in given)
    assert len(given[0][1]) == 3  # one and the two most isolated; three are enough
    stripes = [striped(image) for image, _ in given[1][1]]
    assert len(stripes) == count + (96 - count) // 20 and sum(stripes) == 4
    rows = (tmp_path / "suspicious.csv").read_text().splitlines()
    assert rows[-count:] == [f"{e.path},,abnormal" for e in found]
    listed = suspicious_csv.read_highest(tmp_path / "suspicious.csv", len(left))
    assert {path for path, _ in listed} == {e.path for e in left}


def test_images_that_a_person_found_abnormal_stand_in_alone_where_the_others_do_not_resemble_them(
    strange, tmp_path, monkeypatch, given
):
    config, model, dataset, splits = strange
    monkeypatch.setattr(defects, "how_alike", lambda *args: 4.9)
    hidden = [e for e in splits.normal if e.mislabelled]
    left = [e for e in splits.normal if not e.mislabelled]
    for count, last in ((3, 3), (2, 92)):  # two are not enough: synthetic defects in all normal images
        found = [dataclasses.replace(e, label="abnormal", reviewed=True) for e in hidden[:count]]
        reviewed = dataclasses.replace(splits, normal=left, abnormal=found)
        fit_detector(config, tmp_path, model, dataset, reviewed)
        assert len(given[-1][1]) == last


def test_images_found_abnormal_beside_known_ones_are_known_ones(strange, tmp_path, given):
    config, model, dataset, splits = strange
    found = next(e for e in splits.normal if e.mislabelled)
    known = dataclasses.replace(splits, abnormal=made_up.of_known(2))
    reviewed = apply_labels(known, {found.path: Review("abnormal")}, "s.csv")
    detector = fit_detector(config, tmp_path, model, dataset, reviewed)
    assert [(normals, len(abnormal)) for normals, abnormal in given] == [(95, 3)]
    assert len(detector.likeness.left_out) == 3 and detector.calibration.method == "logistic_regression"


def test_what_learned_from_kinds_that_were_named_weighs_as_much_as_the_memory(strange, tmp_path, monkeypatch):
    """Patches and likeness, with batches.synthetic_kinds: a third each of the score."""
    config, model, dataset, splits = strange
    splits = dataclasses.replace(splits, normal=[e for e in splits.normal if not e.mislabelled])
    config, drawn = config.copy_and_resolve_references(), []
    config.batches.synthetic_kinds = "crack,shade"

    def note(image, other, rng, kinds, ignored):
        drawn.append(kinds)
        return synthesise(image, other, rng, kinds, ignored)

    monkeypatch.setattr(defects, "synthesise", note)
    detector = fit_detector(config, tmp_path, model, dataset, splits)
    weights = dict(zip(detector.names, detector.calibration.weights, strict=True))
    assert detector.calibration.base == ("patches", "memory", "likeness") and ("crack", "shade") in drawn
    found = {name: weight for name, weight in weights.items() if weight}
    assert found == pytest.approx(dict.fromkeys(("patches", "memory", "likeness"), 1 / 3))


def test_with_known_defects_the_likeness_is_to_them_alone(strange, tmp_path, given):
    config, model, dataset, splits = strange
    known = made_up.of_known(3)
    fit_detector(config, tmp_path, model, dataset, dataclasses.replace(splits, abnormal=known))
    ((normals, abnormal),) = given
    assert normals == 96
    for (image, mask), e in zip(abnormal, known, strict=True):
        np.testing.assert_array_equal(image, dataset.read_image(e))
        assert mask is None  # this source has none
