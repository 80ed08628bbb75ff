"""Which of the "normal" training images look most abnormal: to be checked, or to stand in."""

from typing import NamedTuple

import numpy as np

from semi_anogan.data.dataset import Example
from semi_anogan.scoring import patch_samples
from semi_anogan.scoring.detector import Detector
from semi_anogan.scoring.patch_samples import PatchSamples
from semi_anogan.scoring.robust import robust_z

MOST = 10.0  # robust standard deviations that one judgement may count
# In robust standard deviations of the suspicion: where doubt begins, and the most of it. Many hidden defects
# are less suspicious than some normal images. So nothing is left out: what is doubtful counts less.
DOUBT_FROM, MOST_DOUBT = 1.5, 5.0


class Samples(NamedTuple):
    """What patches say of the normal images.

    Attributes:
      drawn: {training example: its PatchSamples}.
      isolation: {example, held-out ones too: how far it is from all others}.
    """

    drawn: dict[Example, PatchSamples]
    isolation: dict[Example, float]

    @classmethod
    def none(cls) -> "Samples":
        """Of a model without pretrained features."""
        return cls({}, {})


def sample_patches(reader, read, splits, seed: int) -> Samples:
    """Patches of the normal training images, and the isolation of each image from the training ones."""
    drawn = reader.patch_samples(read(splits.normal, "patches of normal"), seed)
    held_out = reader.patch_samples(read(splits.held_out_normal, "patches of held-out normal"), seed)
    isolation = dict(zip(splits.normal, patch_samples.isolation(drawn), strict=True))
    isolation |= zip(splits.held_out_normal, patch_samples.isolation(held_out, drawn), strict=True)
    return Samples(dict(zip(splits.normal, drawn, strict=True)), isolation)


class Ranking(NamedTuple):
    """How suspicious the images labelled normal are, held-out ones too.

    Attributes:
      ranked: (example, suspicion), the most suspicious first.
      unaided: {example: its suspicion without the likeness to stand-ins that no person has found}. These may
        be unusual normal images: then all that look like them are suspicious.
    """

    ranked: list[tuple[Example, float]]
    unaided: dict[Example, float]


def rank(config, model, read, splits, isolation=None, likeness=None, stand_ins=()) -> Ranking:
    """Ranks all images labelled normal by their suspicion.

    The suspicion is the mean of up to four judgements: the scores of the discriminators that known abnormal
    images trained, the isolation, the feature residual (of the encoder's latents, without a search), and the
    likeness. Each is in robust standard deviations over the images of its part (the training ones score lower
    as a whole, since the networks know them).

    Args:
      read: (examples, what is shown) -> images; splits: data.splits.Splits.
      isolation: of each example how unlike the others it is, or None.
      likeness: the Likeness to the known defects, or to the stand_ins; of each of these counts what the
        others' discriminant says.
    """
    of_networks = ["discriminator"] + (["patches"] if model.patch_discriminator is not None else [])
    # Those that a review has found may have come after the training.
    trained = any(not e.reviewed for e in splits.abnormal)
    components = of_networks if trained or not isolation else []
    components = components + (["likeness"] if likeness is not None else [])
    components = components + (["feature_residual"] if model.feature_generator is not None else [])
    detector = None
    if components:
        settings = {"components": components, "likeness": likeness, "search": {"iterations": 0}}
        detector = Detector.of_config(config, model, **settings)
    # There are none of one or of very many.
    left_out = dict(zip(stand_ins, likeness.left_out, strict=False)) if likeness is not None else {}
    ranked, unaided = [], {}
    for examples, what in ((splits.normal, "normal"), (splits.held_out_normal, "held-out normal")):
        judgements = [[isolation[e] for e in examples]] if isolation else []
        of_likeness = []
        if detector is not None:
            images = read(examples, f"suspicion of {what}")
            measured = np.stack([m.components for m in detector.measure(images, overlap=True)])
            found = dict(zip(detector.names, measured.T, strict=True))
            if "likeness" in found:
                pairs = zip(examples, found["likeness"], strict=True)
                of_likeness.append([left_out.get(e, value) for e, value in pairs])
            if "feature_residual" in found:
                judgements.append(found["feature_residual"])
            if "discriminator" in found:
                judgements.append(np.mean([robust_z(found[name]) for name in of_networks], axis=0))
        suspicion = _joined(judgements + of_likeness)
        alone = _joined(judgements) if judgements and not all(e.reviewed for e in stand_ins) else suspicion
        ranked += zip(examples, suspicion.tolist(), strict=True)
        unaided |= zip(examples, alone.tolist(), strict=True)
    return Ranking(sorted(ranked, key=lambda pair: -pair[1]), unaided)


def _joined(judgements) -> np.ndarray:
    return np.mean([np.clip(robust_z(j), -MOST, MOST) for j in judgements], axis=0)


def doubts(suspicions: dict[Example, float], normal: list[Example]) -> np.ndarray:
    """Of each of the normal training images how doubtful it is that it is normal: float64 [N], 0 or more.

    It is 0 of most, and of those that a person has found normal.
    """
    z = robust_z([suspicions[e] for e in normal]) if normal else np.zeros(0)
    found = np.clip(z - DOUBT_FROM, 0.0, MOST_DOUBT)
    found[[i for i, e in enumerate(normal) if e.reviewed]] = 0.0
    return found


def highest(values: dict[Example, float], examples: list[Example], count: int) -> list[Example]:
    """The `count` examples of the highest values, the highest first."""
    return sorted(examples, key=lambda e: -values[e])[:count]
