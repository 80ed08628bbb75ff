"""How suspicious the "normal" training images are, by hand."""

import types

import numpy as np
import pytest

from helpers.strange import example
from semi_anogan.config import default_config
from semi_anogan.data.splits import Splits
from semi_anogan.training import suspicion

NORMAL, HELD_OUT = [example(f"a{i}") for i in range(5)], [example(f"b{i}") for i in range(3)]
SPLITS = Splits(NORMAL, [], HELD_OUT, [], [])
ISOLATION = dict(zip(NORMAL + HELD_OUT, [1.0, 2.0, 3.0, 4.0, 1000.0, 7.0, 8.0, 9.0], strict=True))
# In robust standard deviations: median 3, median absolute deviation 1; of the held-out ones 8 and 1.
OF_ISOLATION = np.array([-2.0, -1.0, 0.0, 1.0, np.inf, -1.0, 0.0, 1.0]) / 1.4826


@pytest.fixture
def found(monkeypatch) -> dict:
    """{name: values of the training images, then of the held-out ones} that stand-in detectors find."""
    found = {}

    class StandIn:
        def __init__(self, names):
            self.names = tuple(names)

        def measure(self, images, overlap):
            for index in images:
                components = np.array([found[name][index] for name in self.names])
                yield types.SimpleNamespace(components=components)

    def of_config(config, model, components, likeness, search):
        assert ("likeness" in components) == (likeness is not None) and search == {"iterations": 0}
        return StandIn(components)

    monkeypatch.setattr(suspicion.Detector, "of_config", of_config)
    return found


def ranked(splits=SPLITS, draws_features=False, **arguments) -> dict[str, float]:
    """{path: suspicion}, the highest first; an image is read as its number."""
    numbers = {e.path: index for index, e in enumerate(NORMAL + HELD_OUT)}
    generator = object() if draws_features else None
    model = types.SimpleNamespace(patch_discriminator=object(), feature_generator=generator)

    def read(examples, what):
        return [numbers[e.path] for e in examples]

    pairs, unaided = suspicion.rank(default_config(), model, read, splits, **arguments)
    values = [value for _, value in pairs]
    assert values == sorted(values, reverse=True) and len(pairs) == 8
    if all(e.reviewed for e in arguments.get("stand_ins", ())):
        assert unaided == dict(pairs)
    else:
        assert {e.path: value for e, value in unaided.items()} == expected([OF_ISOLATION])
    return {e.path: value for e, value in pairs}


def expected(judgements) -> dict[str, float]:
    """{path: mean of the judgements [., 8], of which each counts up to 10}."""
    values = np.mean(np.clip(judgements, -10, 10), axis=0)
    return {e.path: pytest.approx(v, abs=1e-4) for e, v in zip(NORMAL + HELD_OUT, values, strict=True)}


def test_of_isolation_alone_it_is_the_distance_in_robust_deviations_at_most_ten():
    suspicions = ranked(isolation=ISOLATION)
    assert suspicions == expected([OF_ISOLATION]) and next(iter(suspicions)) == "a4"
    assert [e.path for e in suspicion.highest(ISOLATION, NORMAL, 2)] == ["a4", "a3"]


def test_the_likeness_judges_too_and_its_own_images_by_what_the_others_say(found):
    """Of a0, which stands in, 5 counts instead of 90: median 2, median absolute deviation 1."""
    found["likeness"] = [90.0, 1.0, 2.0, 3.0, 1.0, 0.0, 4.0, 2.0]
    likeness = types.SimpleNamespace(left_out=[5.0])
    suspicions = ranked(isolation=ISOLATION, likeness=likeness, stand_ins=[NORMAL[0]])
    of_likeness = np.array([3.0, -1.0, 0.0, 1.0, -1.0, -1.0, 1.0, 0.0])
    # Of the held-out ones the median is 2, the median absolute deviation 2.
    assert suspicions == expected([OF_ISOLATION, of_likeness / 1.4826])


def test_the_likeness_to_what_a_person_found_is_no_matter_of_doubt(found):
    """It counts in `unaided` too, which the helper `ranked` asserts."""
    found["likeness"] = [90.0, 1.0, 2.0, 3.0, 1.0, 0.0, 4.0, 2.0]
    seen = example("found", label="abnormal", reviewed=True)
    ranked(isolation=ISOLATION, likeness=types.SimpleNamespace(left_out=[5.0]), stand_ins=[seen])


def test_what_cannot_be_drawn_again_is_suspicious(found):
    """Median 2, median absolute deviation 1; of the held-out ones 4 and 2."""
    found["feature_residual"] = [1.0, 2.0, 3.0, 0.0, 50.0, 2.0, 4.0, 7.0]
    suspicions = ranked(isolation=ISOLATION, draws_features=True)
    of_residual = np.array([-1.0, 0.0, 1.0, -2.0, 48.0, -1.0, 0.0, 1.5]) / 1.4826
    assert suspicions == expected([OF_ISOLATION, of_residual])


def test_the_discriminators_judge_together_where_known_abnormal_images_trained_them(found):
    """Their mean counts as one judgement; images that only a review has found did not train them."""
    found["discriminator"] = [0.0, 1.0, 2.0, 3.0, 4.0, 0.0, 1.0, 2.0]
    found["patches"] = [3.0, 1.0, 5.0, 3.0, 9.0, 0.0, 4.0, 1.0]
    # Medians 2 and 3, median absolute deviations 1 and 2: on the mean -1, -1, 0.5, 0.5 and 2.5, of which the
    # median is 0.5 and the median absolute deviation 1.5. Of the held-out ones 1 and 1, 1 and 1: -1, 1.5 and
    # 0.5, of which they are 0.5 and 1.
    of_both = np.array([-1.0, -1.0, 0.0, 0.0, 4 / 3, -1.5, 1.0, 0.0]) / 1.4826
    known = Splits(NORMAL, [example("known", label="abnormal")], HELD_OUT, [], [])
    assert ranked(known, isolation=ISOLATION) == expected([OF_ISOLATION, of_both])
    reviewed = Splits(NORMAL, [example("found", label="abnormal", reviewed=True)], HELD_OUT, [], [])
    assert ranked(reviewed, isolation=ISOLATION) == expected([OF_ISOLATION])


def test_without_isolation_the_discriminators_judge_alone(found):
    found["discriminator"] = found["patches"] = [1.0, 2.0, 3.0, 4.0, 5.0, 0.0, 1.0, 2.0]
    of_both = np.array([-2.0, -1.0, 0.0, 1.0, 2.0, -1.0, 0.0, 1.0]) / 1.4826
    # Median 0 and median absolute deviation 1 / 1.4826 once more: it stays what it is.
    assert ranked() == expected([of_both])


def test_doubt_begins_at_one_and_a_half_deviations_and_ends_at_five_more():
    examples = [example(f"d{i}", reviewed=i == 7) for i in range(8)]
    suspicions = dict(zip(examples, [0.0, 1.0, 2.0, 2.0, 2.0, 6.0, 50.0, 50.0], strict=True))
    # Median 2; absolute deviations 2, 1, 0, 0, 0, 4, 48, 48: median 1.5, of which 1.4826 times.
    expected = [0, 0, 0, 0, 0, 4 / (1.5 * 1.4826) - 1.5, 5, 0]
    np.testing.assert_allclose(suspicion.doubts(suspicions, examples), expected, atol=1e-4)
    assert suspicion.doubts({}, []).shape == (0,)
