"""Which of the "normal" training images look most abnormal: for a person to check, and to stand in where no
defect is known.
"""

import numpy as np

from semi_anogan.data.dataset import Example

MOST = 10.0  # robust standard deviations that one judgement may count


def rank(
    config, model, read, splits, isolation=None, likeness=None, stand_ins=()
) -> list[tuple[Example, float]]:
    """All images labelled normal, training and held-out ones, the most suspicious first, each with its
    suspicion.

    The suspicion is the mean of up to three judgements, each in robust standard deviations over the images of
    its part (the training
    ones score lower as a whole, since the networks know them): the scores of the discriminators that known
    abnormal images
    trained, the isolation, and the likeness.

    Args:
      read: (examples, what is shown) -> images; splits: data.splits.Splits.
      isolation: of each example how unlike the others it is, or None.
      likeness: the Likeness to the known defects, or to the stand_ins; of each of these counts what the
        others' discriminant says.
    """
    from semi_anogan.scoring.detector import build_detector

    of_networks = ["discriminator"] + (["patches"] if model.patches is not None else [])
    trained = any(
        not e.reviewed for e in splits.abnormal
    )  # those that a review has found may have come after the training
    components = of_networks if trained or not isolation else []
    components = components + (["likeness"] if likeness is not None else [])
    detector = build_detector(config, model, components=components, likeness=likeness) if components else None
    left_out = (
        dict(zip(stand_ins, likeness.left_out, strict=False)) if likeness is not None else {}
    )  # none of one or of very many
    ranked = []
    for examples, what in ((splits.normal, "normal"), (splits.held_out_normal, "held-out normal")):
        judgements = [[isolation[e] for e in examples]] if isolation else []
        if detector is not None:
            measured = detector.measure(read(examples, f"suspicion of {what}"), overlap=True)
            found = dict(zip(detector.names, np.stack([m.components for m in measured]).T, strict=True))
            if "likeness" in found:
                judgements.append(
                    [left_out.get(e, value) for e, value in zip(examples, found["likeness"], strict=True)]
                )
            if "discriminator" in found:
                judgements.append(np.mean([_standardised(found[name]) for name in of_networks], axis=0))
        suspicion = np.mean([np.clip(_standardised(j), -MOST, MOST) for j in judgements], axis=0)
        ranked += zip(examples, suspicion.tolist(), strict=True)
    return sorted(ranked, key=lambda pair: -pair[1])


def _standardised(values) -> np.ndarray:
    values = np.asarray(values, np.float64)
    median = np.median(values)
    return (values - median) / (1.4826 * np.median(np.abs(values - median)) + 1e-6)


def highest(values: dict[Example, float], examples: list[Example], count: int) -> list[Example]:
    """The `count` examples of the highest values, the highest first."""
    return sorted(examples, key=lambda e: -values[e])[:count]
