"""The defects that a detector learns from: known ones, stand-ins, and what a person found."""

import dataclasses
import types

import numpy as np
import pytest

from helpers import strange as made_up
from helpers.strange import example
from semi_anogan.data.review import Review
from semi_anogan.data.splits import Splits, apply_labels
from semi_anogan.scoring.feature_reader import FeatureReader
from semi_anogan.scoring.likeness import Likeness
from semi_anogan.training import defects, suspicion
from semi_anogan.training.defects import find_defects, how_alike, known_weigh
from semi_anogan.training.fit_detector import reading


@pytest.fixture(scope="module")
def strange():
    return made_up.make()


@pytest.fixture(scope="module")
def find(strange):
    """A function of splits and settings by key -> (Defects, Samples); one reader for all."""
    config, model, dataset, _ = strange
    read = reading(dataset)
    reader = FeatureReader(model, tile=False, batch_size=8)

    def found(splits, wants_likeness=True, **settings):
        changed = config.copy_and_resolve_references()
        changed.update_from_flattened_dict({k.replace("__", "."): v for k, v in settings.items()})
        samples = suspicion.sample_patches(reader, read, splits, config.seed)
        arguments = (changed, model, dataset, splits, read, reader, samples, wants_likeness)
        return find_defects(*arguments), samples

    return found


def hidden_in(splits) -> list:
    return [e for e in splits.normal if e.mislabelled]


def test_with_known_defects_nothing_stands_in(strange, find):
    """The hidden ones are ranked first all the same, and are trimmed where a share is."""
    splits = dataclasses.replace(strange[-1], abnormal=made_up.of_known(3))
    of_known, samples = find(splits, objective__trim_share=0.05)
    assert of_known.stand_ins == of_known.found == []
    assert of_known.likeness.left_out.shape == (3,)
    # Every image that is labelled normal, held out or not; round(0.05 * 96) of those to train are trimmed.
    ranked = [e for e, _ in of_known.ranked]
    assert set(ranked) == {*splits.normal, *splits.held_out_normal} and len(ranked) == 120
    assert set(ranked[:4]) == set(hidden_in(splits))
    assert len(of_known.trimmed) == 5 and set(of_known.trimmed) > set(hidden_in(splits))
    assert of_known.trimmed == [e for e in ranked if e in set(splits.normal)][:5]
    assert list(samples.drawn) == splits.normal and set(samples.isolation) == set(ranked)


def test_without_known_defects_the_hidden_ones_stand_in(strange, find):
    splits = strange[-1]
    of_hidden, _ = find(splits)
    assert set(of_hidden.stand_ins) == set(hidden_in(splits)) and of_hidden.found == []
    assert of_hidden.stand_ins == [e for e, _ in of_hidden.ranked[:4]]
    assert of_hidden.likeness.left_out.shape == (4,)
    assert of_hidden.trimmed == []  # an untrained model's own estimate
    # Doubt does not rest on the likeness to what stands in: it rests on the same as without one.
    alone, _ = find(splits, wants_likeness=False)
    pairs = [(of_hidden.unaided[e], alone.unaided[e]) for e in alone.unaided]
    np.testing.assert_allclose(*zip(*pairs, strict=True), atol=1e-3)
    assert of_hidden.unaided != dict(of_hidden.ranked)


def test_what_a_person_found_stands_in_first_and_what_is_normal_neither_stands_in_nor_is_trimmed(
    strange, find
):
    """Two of the four hidden ones are found abnormal; one more is said to be normal, stripe and all."""
    splits = strange[-1]
    hidden = hidden_in(splits)
    normal = dataclasses.replace(hidden[2], reviewed=True)
    reviewed = apply_labels(splits, {e.path: Review("abnormal") for e in hidden[:2]}, "s.csv")
    reviewed = dataclasses.replace(
        reviewed, normal=[normal if e == hidden[2] else e for e in reviewed.normal]
    )
    of_review, _ = find(reviewed, objective__trim_share=0.05)
    assert of_review.found == reviewed.abnormal and [e.path for e in of_review.found] == [
        e.path for e in hidden[:2]
    ]
    # Of 93 doubtful images 93 // 20 more stand in: the fourth hidden one first.
    assert of_review.stand_ins[:2] == of_review.found and len(of_review.stand_ins) == 2 + 4
    assert of_review.stand_ins[2] == hidden[3] and normal not in of_review.stand_ins
    # It is as suspicious as it looks, but not trimmed: round(0.05 * 94) others are.
    ranked = [e for e, _ in of_review.ranked]
    assert normal in ranked[:3] and normal not in of_review.trimmed and len(of_review.trimmed) == 5
    assert not {*of_review.found} & {*ranked} and len(ranked) == 118


@pytest.mark.slow
def test_images_that_are_not_alike_are_left_to_synthetic_defects(strange, find):
    """Without synthetic defects the likeness to the unlike images stays, and nothing stands in."""
    splits = strange[-1]
    clean = dataclasses.replace(splits, normal=[e for e in splits.normal if not e.mislabelled])
    synthetic, _ = find(clean)
    assert synthetic.stand_ins == [] and synthetic.likeness.left_out.size == 0  # of 92: too many to leave out
    unlike, _ = find(clean, objective__synthetic_weight=0.0)
    assert unlike.stand_ins == [] and unlike.likeness.left_out.shape == (4,)


def test_of_few_images_none_stand_in(strange, find):
    """Of 30 one in 40 are none, and one in 20 is one alone."""
    splits = strange[-1]
    few = dataclasses.replace(splits, normal=splits.normal[:30])
    of_few, _ = find(few, objective__synthetic_weight=0.0)
    assert of_few.stand_ins == [] and of_few.likeness is None and len(of_few.ranked) == 54
    synthetic, _ = find(few)
    assert synthetic.stand_ins == [] and synthetic.likeness.left_out.shape == (30,)


def test_where_no_likeness_is_wanted_isolation_and_feature_residual_rank_the_images(strange, find):
    splits = strange[-1]
    plain, samples = find(splits, wants_likeness=False)
    assert plain.likeness is None and plain.stand_ins == []
    config, model, dataset, _ = strange
    read = reading(dataset)
    assert (plain.ranked, plain.unaided) == suspicion.rank(config, model, read, splits, samples.isolation)
    assert plain.unaided == dict(plain.ranked)
    # Before any training the residual says little, and the isolation enough.
    of_training = [e for e, _ in plain.ranked if e in samples.drawn]
    assert set(of_training[:8]) >= set(hidden_in(splits))


def test_known_images_weigh_unless_a_review_has_found_them_all():
    normal, known = [example("n")], example("k", label="abnormal")
    found = dataclasses.replace(known, reviewed=True)
    assert not known_weigh(Splits(normal, [], [], [], []))
    assert not known_weigh(Splits(normal, [found], [], [], []))
    assert known_weigh(Splits(normal, [found, known], [], [], []))
    assert known_weigh(Splits(normal, [found], [], [found], []))


@pytest.mark.parametrize("count, exceed", [(5, 3.0), (0, np.inf)])
def test_how_far_stand_ins_exceed_normal_images_by_hand(monkeypatch, count, exceed):
    """Held-out normal images: median 2, median absolute deviation 1; the stand-ins are at 2 + 3 * 1.4826."""
    left_out = np.full(count, 2 + 3 * 1.4826)
    detector = types.SimpleNamespace(
        measure=lambda images, overlap: [types.SimpleNamespace(components=[float(i)]) for i in images]
    )
    monkeypatch.setattr(defects.Detector, "of_config", lambda *args, **kwargs: detector)
    likeness = Likeness([np.ones(2)], 0.0, left_out)
    found = how_alike(None, None, lambda examples, what: examples, [0, 1, 2, 3, 100], likeness)
    assert found == pytest.approx(exceed, rel=1e-5)


@pytest.mark.parametrize("masks", [True, False])
def test_masks_are_used_where_all_examples_are_abnormal_and_the_settings_say_so(strange, monkeypatch, masks):
    config, _, dataset, splits = strange
    config = config.copy_and_resolve_references()
    config.batches.masks = masks
    dataset = dataclasses.replace(dataset, read_mask=lambda e: f"mask of {e.path}")
    known = [dataclasses.replace(e, kind=k) for e, k in zip(made_up.of_known(2), ("cut", None), strict=True)]
    hidden = [dataclasses.replace(e, kind="cut") for e in hidden_in(splits)[:2]]
    drawn = {e: types.SimpleNamespace(likeness=e.path) for e in splits.normal}
    monkeypatch.setattr(Likeness, "fit", lambda normal, bags, kinds: (normal, bags, kinds))
    reader = types.SimpleNamespace(bags=lambda abnormal: [mask for _, mask in abnormal])
    normal, found, kinds = defects.fit_likeness(config, dataset, reader, drawn, known)
    assert found == (["mask of known/2000", "mask of known/2001"] if masks else [None, None])
    assert normal == [e.path for e in splits.normal] and kinds == ["cut", None]
    # Of a normal image that stands in nothing is known; it is none of the normal ones then.
    drawn = {e: drawn.get(e, types.SimpleNamespace(likeness=e.path)) for e in [*splits.normal, *hidden]}
    normal, found, kinds = defects.fit_likeness(config, dataset, reader, drawn, known + hidden)
    assert found == [None] * 4 and normal == [e.path for e in splits.normal]
    assert kinds == ["cut", None, None, None]
