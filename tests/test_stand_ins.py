"""Which "normal" training images are suspicious, and which of them stand in for the known defects where there
are none.
"""

import collections
import dataclasses

import numpy as np
import pytest

from semi_anogan.config import default_config
from semi_anogan.data import review
from semi_anogan.data.dataset import Dataset, Example
from semi_anogan.data.splits import Splits
from semi_anogan.data.synthetic import synthesise
from semi_anogan.runs import suspicious_csv
from semi_anogan.training import suspicion
from semi_anogan.training.fit_detector import _highest, fit_detector


def example(name, **kwargs):
    return Example(name, "train", kwargs.pop("label", "normal"), **kwargs)


def test_the_highest_are_so_many_or_one_in_so_many_and_never_one_alone():
    examples = [example(str(i)) for i in range(100)]
    values = {e: -abs(50 - i) for i, e in enumerate(examples)}  # the fiftieth is the highest
    assert [e.path for e in _highest(values, examples, 3, 10)] == ["50", "49", "51"]
    assert len(_highest(values, examples, 10, 20)) == 5
    assert _highest(values, examples, 10, 100) == []


@pytest.fixture(scope="module")
def strange():
    """A model that is not trained, and 96 noise images to train of which four have a bright stripe, 24 held
    out, and what reads them.

    The stripe is where the pretrained features see it at any brightness; the model knows nothing.
    """
    from semi_anogan.runs import build

    config = default_config()
    config.model.resolution, config.model.filters_base, config.model.filters_cap, config.model.latent_size = (
        16,
        64,
        8,
        8,
    )
    config.features.resolution, config.features.memory, config.features.trainable_blocks = 64, 200, 0
    config.search.iterations, config.search.batch_size = 1, 8
    model = build.build_model(config)
    hidden = {5, 33, 60, 90}
    examples = [example(f"train/{i}", mislabelled=i in hidden) for i in range(120)]

    def read_image(e):
        number = int(e.path.split("/")[1])
        image = 0.2 * np.random.default_rng(number).standard_normal((64, 64, 1)).astype(np.float32)
        if e.mislabelled or e.abnormal:
            image[24:34, 8:56] = 0.9
        return np.clip(image, -1, 1)

    splits = Splits(examples[:96], [], examples[96:], [], [])
    return config, model, Dataset("strange", tuple(examples), read_image), splits


def recognised(monkeypatch) -> list:
    """[(number of normal images, the abnormal ones with their masks)] of each likeness that is made from now
    on.
    """
    from semi_anogan.scoring.detector import Detector

    given, recognise = [], Detector.recognise

    def note(self, normal, abnormal):
        abnormal = list(abnormal)
        given.append((len(normal), abnormal))
        return recognise(self, normal, abnormal)

    monkeypatch.setattr(Detector, "recognise", note)
    return given


def test_without_known_defects_the_strange_training_images_stand_in(strange, tmp_path, monkeypatch):
    """They are listed first, the likeness finds another such defect, and the memory has not learned it."""
    from semi_anogan.scoring.detector import Detector

    config, model, dataset, splits = strange
    given = collections.defaultdict(list)
    recognise, remember = Detector.recognise, Detector.remember

    def note_recognise(self, normal, abnormal):
        abnormal = list(abnormal)
        given["abnormal"].append([image for image, mask in abnormal])
        given["normal"].append(len(normal))
        given["pairs"] += abnormal
        return recognise(self, normal, abnormal)

    monkeypatch.setattr(Detector, "recognise", note_recognise)
    monkeypatch.setattr(
        Detector,
        "remember",
        lambda self, normal, *args: given["memory"].append(len(normal)) or remember(self, normal, *args),
    )
    detector = fit_detector(config, tmp_path, model, dataset, splits)
    listed = suspicious_csv.read_highest(tmp_path / "suspicious.csv", 4)
    assert {path for path, _ in listed} == {e.path for e in splits.normal if e.mislabelled}
    # 96 // 40 at first, 96 // 20 then: the four hidden ones, and nothing else.
    assert all(mask is None for _, mask in given["pairs"])
    assert (
        [len(images) for images in given["abnormal"]] == [2, 4]
        and given["normal"] == [94, 92]
        and given["memory"] == [92]
    )
    assert all(image[24:34, 8:56].mean() > 0.8 for images in given["abnormal"] for image in images)
    new = [dataset.read_image(example(f"new/{1000 + i}", mislabelled=i < 6)) for i in range(12)]
    found = np.stack([m.components for m in detector.measure(new)])
    for name in ("memory", "likeness"):
        values = found[:, detector.names.index(name)]
        assert values[:6].min() > values[6:].max(), name
    # The likeness is trusted: it weighs three quarters of the memory at least, which is the other group alone
    # with itself.
    weights = dict(zip(detector.names, detector.calibration.weights, strict=True))
    assert (
        detector.calibration.trusted == ("likeness",)
        and weights["likeness"] >= 0.75 * weights["memory"] - 1e-9
    )


def test_images_that_do_not_recognise_each_other_do_not_stand_in(strange, tmp_path, monkeypatch):
    """Clean training images: the likeness is then to synthetic defects, each with its mask, and no image is
    kept from the memory.

    Where training draws no synthetic defects, kinds that are named all the same make nothing trusted.
    """
    config, model, dataset, splits = strange
    splits = dataclasses.replace(splits, normal=[e for e in splits.normal if not e.mislabelled])
    given = recognised(monkeypatch)
    detector = fit_detector(config, tmp_path, model, dataset, splits)
    assert detector.calibration.trusted == ()
    assert [(normals, len(abnormal)) for normals, abnormal in given] == [(90, 2), (88, 4), (92, 92)]
    assert all(mask.any() for _, mask in given[-1][1])
    config = config.copy_and_resolve_references()
    config.objective.synthetic_weight, config.objective.synthetic_kinds = 0.0, "crack"
    assert fit_detector(config, tmp_path, model, dataset, splits).calibration.trusted == ()


def test_images_that_a_person_found_normal_do_not_stand_in_and_are_remembered(strange, tmp_path):
    """Nothing is kept from the memory then, and what looks like them is near to it."""
    config, model, dataset, splits = strange
    plain = fit_detector(config, tmp_path, model, dataset, splits)
    labels = {e.path: "normal" for e in splits.normal if e.mislabelled}
    reviewed = review.apply(splits, labels, "s.csv")
    shown = {e.path: e for e in splits.normal}
    dataset = dataclasses.replace(dataset, read_image=lambda e: strange[2].read_image(shown.get(e.path, e)))
    detector = fit_detector(config, tmp_path, model, dataset, reviewed)
    assert plain.calibration.trusted == ("likeness",) and detector.calibration.trusted == ()
    striped = [dataset.read_image(example(f"new/{1000 + i}", mislabelled=True)) for i in range(6)]
    memory = detector.names.index("memory")
    before, after = (np.stack([m.components[memory] for m in d.measure(striped)]) for d in (plain, detector))
    assert after.max() < 0.8 * before.min()
    assert not {path for path, _ in suspicious_csv.read_highest(tmp_path / "suspicious.csv", 120)} & set(
        labels
    )


@pytest.mark.parametrize("count", [1, 3])
def test_images_that_a_person_found_abnormal_stand_in_with_the_next_most_suspicious(
    strange, tmp_path, monkeypatch, count
):
    """They do not weigh the components, since these chose them. The fourth hidden one is the first to look at
    now, and stands in too.
    """
    config, model, dataset, splits = strange
    found = [e for e in splits.normal if e.mislabelled][:count]
    given = recognised(monkeypatch)
    detector = fit_detector(
        config, tmp_path, model, dataset, review.apply(splits, {e.path: "abnormal" for e in found}, "s.csv")
    )
    assert detector.calibration.method == "robust_z_sum" and detector.calibration.trusted == ("likeness",)
    assert all(len(abnormal) >= count and abnormal[0][0][24:34, 8:56].mean() > 0.8 for _, abnormal in given)
    assert len(given[0][1]) == 3  # one and the two most isolated; three are enough
    striped = [image[24:34, 8:56].mean() > 0.8 for image, _ in given[1][1]]
    assert len(striped) == count + (96 - count) // 20 and sum(striped) == 4
    rows = (tmp_path / "suspicious.csv").read_text().splitlines()
    assert rows[-count:] == [f"{e.path},,abnormal" for e in found]
    listed = suspicious_csv.read_highest(tmp_path / "suspicious.csv", 4 - count)
    assert {path for path, _ in listed} == {e.path for e in splits.normal if e.mislabelled} - {
        e.path for e in found
    }


def test_images_that_a_person_found_abnormal_stand_in_alone_where_the_others_do_not_resemble_them(
    strange, tmp_path, monkeypatch
):
    import semi_anogan.training.fit_detector as module

    config, model, dataset, splits = strange
    monkeypatch.setattr(module, "how_alike", lambda *args: 4.9)
    given = recognised(monkeypatch)
    for count, last in ((3, 3), (2, 92)):  # two are not enough: synthetic defects in all normal images
        found = [e for e in splits.normal if e.mislabelled][:count]
        left = [e for e in splits.normal if not e.mislabelled]
        reviewed = dataclasses.replace(
            splits,
            normal=left,
            abnormal=[dataclasses.replace(e, label="abnormal", reviewed=True) for e in found],
        )
        detector = fit_detector(config, tmp_path, model, dataset, reviewed)
        assert len(given[-1][1]) == last and detector.calibration.trusted == (
            ("likeness",) if count == 3 else ()
        )


def test_images_found_abnormal_beside_known_ones_are_known_ones(strange, tmp_path, monkeypatch):
    config, model, dataset, splits = strange
    known = [example(f"known/{2000 + i}", label="abnormal") for i in range(2)]
    found = next(e for e in splits.normal if e.mislabelled)
    given = recognised(monkeypatch)
    reviewed = review.apply(dataclasses.replace(splits, abnormal=known), {found.path: "abnormal"}, "s.csv")
    detector = fit_detector(config, tmp_path, model, dataset, reviewed)
    assert [(normals, len(abnormal)) for normals, abnormal in given] == [(95, 3)]
    assert len(detector.likeness.left_out) == 3 and detector.calibration.method == "logistic_regression"


def test_what_learned_from_kinds_that_were_named_is_trusted(strange, tmp_path, monkeypatch):
    """With objective.synthetic_kinds patches and likeness weigh three quarters of the memory at least, with
    or without stand-ins.
    """
    import semi_anogan.training.fit_detector as module

    config, model, dataset, splits = strange
    splits = dataclasses.replace(splits, normal=[e for e in splits.normal if not e.mislabelled])
    config, drawn = config.copy_and_resolve_references(), []
    config.objective.synthetic_kinds = "crack,shade"
    monkeypatch.setattr(
        module,
        "synthesise",
        lambda image, other, rng, kinds: drawn.append(kinds) or synthesise(image, other, rng, kinds),
    )
    detector = fit_detector(config, tmp_path, model, dataset, splits)
    weights = dict(zip(detector.names, detector.calibration.weights, strict=True))
    assert detector.calibration.trusted == ("patches", "likeness") and set(drawn) == {("crack", "shade")}
    assert weights["likeness"] >= 0.75 * weights["memory"] - 1e-9
    assert weights["patches"] >= 0.75 * weights["memory"] - 1e-9 and weights["discriminator"] == 0


def test_with_known_defects_the_likeness_is_to_them_alone(strange, tmp_path, monkeypatch):
    config, model, dataset, splits = strange
    known = [example(f"known/{2000 + i}", label="abnormal") for i in range(3)]
    splits = dataclasses.replace(splits, abnormal=known)
    given = recognised(monkeypatch)
    fit_detector(config, tmp_path, model, dataset, splits)
    ((normals, abnormal),) = given
    assert normals == 96
    for (image, mask), e in zip(abnormal, known, strict=True):
        np.testing.assert_array_equal(image, dataset.read_image(e))
        assert mask is None  # this source has none


def test_suspicion_is_the_mean_of_what_can_be_judged():
    """By hand, with isolation alone: robust standard deviations, over the images of each part, at most ten."""
    config = default_config()
    normal, held_out = [example(f"a{i}") for i in range(5)], [example(f"b{i}") for i in range(3)]
    isolation = dict(zip(normal + held_out, [1.0, 2.0, 3.0, 4.0, 1000.0, 7.0, 8.0, 9.0], strict=True))
    model = type("Model", (), {"patches": None})
    ranked = suspicion.rank(config, model, None, Splits(normal, [], held_out, [], []), isolation)
    found = {e.path: value for e, value in ranked}
    assert ranked[0][0].path == "a4" and found["a4"] == 10.0
    # Median 3, median absolute deviation 1; of the held-out ones 8 and 1.
    np.testing.assert_allclose(
        [found["a0"], found["a2"], found["b2"]], [-2 / 1.4826, 0, 1 / 1.4826], rtol=1e-5
    )
    assert [e.path for e in suspicion.highest(dict(ranked), normal, 2)] == ["a4", "a3"]
