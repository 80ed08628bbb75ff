"""The defects a detector learns from: the known ones, or normal training images that stand in."""

import dataclasses

import numpy as np

from semi_anogan.config import words
from semi_anogan.data.dataset import Example
from semi_anogan.data.image_arrays import resize
from semi_anogan.data.synthetic import synthesise, training_kinds
from semi_anogan.scoring.detector import Detector
from semi_anogan.scoring.likeness import Likeness
from semi_anogan.scoring.robust import robust_spread
from semi_anogan.training import suspicion

# Where no defect is known the most suspicious normal training images stand in for them: so many at first, by
# their isolation alone, then by what the likeness to these says too; of few images at most one in 40, one in
# 20. Hidden defects recognise each other, images that are merely unusual hardly do: the discriminant of the
# others puts a stand-in this many robust standard deviations above held-out normal images on the mean, or
# synthetic defects are taken instead. Chosen on training images (docs/experiments.md, "No known defects").
FIRST_STAND_INS, STAND_INS = (10, 40), (20, 20)
ALIKE = 5.0
# Of these a person has found abnormal so many are needed to go without the others.
ENOUGH_FOUND = 3


@dataclasses.dataclass(frozen=True)
class Defects:
    """What is known of defects, before anything is fitted to the features.

    Attributes:
      ranked: (example, suspicion) of all images labelled normal, the most suspicious first.
      unaided: {example: suspicion} as in suspicion.Ranking, on which doubt rests.
      found: images that a person found abnormal.
      trimmed: normal training images that look most abnormal; nothing is learned from them.
      stand_ins: normal training images that stand in for known defects.
      likeness: the Likeness to the known defects, or to what stands in for them; None without.
    """

    ranked: list[tuple[Example, float]]
    unaided: dict[Example, float]
    found: list[Example]
    trimmed: list[Example]
    stand_ins: list[Example]
    likeness: Likeness | None


def find_defects(config, model, dataset, splits, read, reader, samples, wants_likeness: bool) -> Defects:
    """Ranks the normal training images, and finds the defects that a likeness can be fitted to."""

    def likeness_to(examples):
        return fit_likeness(config, dataset, reader, samples.drawn, examples)

    known = splits.abnormal if known_weigh(splits) else []
    found = [e for e in splits.abnormal + splits.held_out_abnormal if e.reviewed]
    doubtful = [e for e in splits.normal if not e.reviewed]
    standing_in = wants_likeness and not known
    # The first stand-ins: what a person found, with the images least like all others.
    first = []
    if standing_in:
        first = (
            found
            if len(found) >= ENOUGH_FOUND
            else found + _highest(samples.isolation, doubtful, *FIRST_STAND_INS)
        )
    likeness = likeness_to(known or first) if wants_likeness and (known or first) else None
    ranked, unaided = suspicion.rank(config, model, read, splits, samples.isolation, likeness, first)
    # The stand-ins proper: the most suspicious images, the likeness to the first ones among the judgements.
    stand_ins = []
    if standing_in:
        more = max(0, STAND_INS[0] - len(found))
        stand_ins = found + _highest(dict(ranked), doubtful, more, STAND_INS[1])
        if len(stand_ins) > 1 and stand_ins != first:
            likeness = likeness_to(stand_ins)
        if len(stand_ins) < 2 or how_alike(config, model, read, splits.held_out_normal, likeness) < ALIKE:
            stand_ins = found if len(found) >= ENOUGH_FOUND else []
            likeness = likeness_to(stand_ins) or likeness
    trimmed = suspicion.highest(
        dict(ranked), doubtful, round(_trim_share(config, model) * len(splits.normal))
    )
    return Defects(ranked, unaided, found, trimmed, stand_ins, likeness)


def known_weigh(splits) -> bool:
    """Whether the known abnormal images may weigh the components of the score.

    Those that a person found among the most suspicious training images look the way the components say, so by
    them memory and likeness would seem perfect. Without any other, unless there are enough to hold out, they
    stand in as hidden defects do.
    """
    return bool(splits.held_out_abnormal) or any(not e.reviewed for e in splits.abnormal)


def fit_likeness(config, dataset, reader, drawn, examples, most: int = 100) -> Likeness | None:
    """The likeness to known abnormal images with their masks, or to normal ones that stand in for them.

    Without examples it is to synthetic defects, of kinds that training draws, in `most` normal images; None
    if training draws none. drawn: {normal example: its PatchSamples}.
    """
    if examples:
        masks = config.batches.masks and all(e.abnormal for e in examples)
        abnormal = ((dataset.read_image(e), dataset.read_mask(e) if masks else None) for e in examples)
    elif config.objective.synthetic_weight:
        kinds = training_kinds(words(config.batches.synthetic_kinds))
        abnormal = synthesised(dataset, list(drawn)[:most], kinds, [config.seed, 4])
    else:
        return None
    left_out = set(examples)
    normal = [patches.likeness for e, patches in drawn.items() if e not in left_out]
    kinds = [e.kind if e.abnormal else None for e in examples]
    return Likeness.fit(normal, reader.bags(abnormal), kinds)


def how_alike(config, model, read, held_out, likeness) -> float:
    """How far the likeness's own images exceed held-out normal ones on the mean.

    Each is judged by the discriminant of the others; in robust standard deviations.
    """
    if not len(likeness.left_out):  # of more images than are judged one by one
        return np.inf
    detector = Detector.of_config(config, model, components=("likeness",), likeness=likeness)
    normal = np.stack([m.components[0] for m in detector.measure(read(held_out, "stand-ins"), overlap=True)])
    median = np.median(normal)
    return float((likeness.left_out.mean() - median) / (robust_spread(normal, median) + 1e-6))


def synthesised(dataset, examples, kinds, seed: list[int]):
    """(image, mask) of each example with synthetic defects; foreign texture is the example before."""
    for index, example in enumerate(examples):
        image, other = dataset.read_image(example), dataset.read_image(examples[index - 1])
        if other.shape != image.shape:
            other = resize(other, *image.shape[:2])
        rng = np.random.default_rng([*seed, index])
        yield synthesise(image, other, rng, kinds, dataset.ignored(example))


def _highest(values: dict, examples, most: int, one_in: int) -> list:
    """Those of the highest values: `most`, or of few one in `one_in`; none rather than one alone."""
    count = min(most, len(examples) // one_in)
    return suspicion.highest(values, examples, count) if count > 1 else []


def _trim_share(config, model) -> float:
    share = config.objective.trim_share
    # asarray: under a strategy it is a variable of each replica.
    return float(np.asarray(model.trim_rate)) if share is None else share
