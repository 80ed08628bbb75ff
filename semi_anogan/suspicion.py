"""Which of the "normal" training images look most abnormal to the trained discriminators, for a person to check."""

import csv
import pathlib

import numpy as np

from semi_anogan.data.dataset import Example


def rank(config, model, read, splits) -> list[tuple[Example, float]]:
    """All images labelled normal, training and held-out ones, the most suspicious first, each with its suspicion.

    The suspicion is the mean of the discriminators' scores, in robust standard deviations over the images of its part: the
    training ones score lower as a whole, since the discriminators know them.

    Args: read: (examples, what is shown) -> images; splits: data.splits.Splits.
    """
    from semi_anogan import runs

    components = ["discriminator"] + (["patches"] if model.patches is not None else [])
    detector = runs.build_detector(config, model, components=components)
    ranked = []
    for examples, what in ((splits.normal, "normal"), (splits.held_out_normal, "held-out normal")):
        found = np.stack([m.components for m in detector.measure(read(examples, f"suspicion of {what}"))])
        median = np.median(found, axis=0)
        spread = 1.4826 * np.median(np.abs(found - median), axis=0) + 1e-6
        ranked += zip(examples, ((found - median) / spread).mean(axis=1).tolist(), strict=True)
    return sorted(ranked, key=lambda pair: -pair[1])


def without_suspicious(ranked, normal: list[Example], share: float, seed: int) -> list[Example]:
    """The normal training images in random order, without the most suspicious `share` of them."""
    mine = set(normal)
    kept = [example for example, _ in ranked if example in mine][round(share * len(normal)) :]
    return [kept[i] for i in np.random.default_rng([seed, 2]).permutation(len(kept))]


def write(path, ranked):
    """suspicious.csv: path and suspicion, the highest first. RunError when it cannot be written."""
    from semi_anogan.runs import RunError

    try:
        with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            writer = csv.writer(file)
            writer.writerow(["path", "suspicion"])
            writer.writerows([example.path, f"{value:.6g}"] for example, value in ranked)
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror or error}") from error


def read_highest(path, count: int) -> list[tuple[str, float]]:
    """The first `count` rows of suspicious.csv; none where there is no such file (a run of an earlier version)."""
    if not pathlib.Path(path).exists():
        return []
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        return [(row["path"], float(row["suspicion"])) for row, _ in zip(csv.DictReader(file), range(count), strict=False)]
