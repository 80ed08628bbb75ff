"""Fits the memory: to normal training images, and to some of them as they may be in other light, or turned.

What is compared with is then not only the few images at hand. An orientation counts where held-out normal
images say that it is normal.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from semi_anogan.data.dataset import Example
from semi_anogan.data.orientation import ORIENTATIONS, oriented
from semi_anogan.data.relit import relit
from semi_anogan.progress import shown
from semi_anogan.scoring.memory import Memory
from semi_anogan.scoring.robust import robust_spread
from semi_anogan.scoring.views import places_of
from semi_anogan.training import suspicion
from semi_anogan.training.defects import Defects
from semi_anogan.training.suspicion import Samples

TESTED = 40  # held-out normal images that say which orientations are normal
# An orientation is normal if it makes held-out normal images look no more abnormal, on the median, than by
# this share of their spread.
MOST_CHANGE = 0.3
SECOND = 300  # normal training images that are remembered a second time
RELIT = 60  # held-out normal images that judge the sizes in other light too


def fit_memory(
    dataset, model, reader, splits, samples: Samples, defects: Defects, seed: int, most: int, doubt: float
) -> Memory:
    """The Memory of a run.

    Args: samples: patches of the normal training images; defects: which of these are left out, and the
      suspicion of the others; most, doubt: `parts.memory` and `parts.memory_doubt`.
    """
    # What looks abnormal is not remembered, and what may be is in doubt: a hidden defect that is remembered
    # is never found again.
    trimmed = set(defects.trimmed)
    examples = [e for e in samples.drawn if e not in trimmed]
    patches = [samples.drawn[e].memory for e in examples]
    upright = [[len(p) for p in sizes] for sizes in patches]
    doubts = doubt * suspicion.doubts(defects.unaided, examples)
    number = {example: i for i, example in enumerate(splits.normal)}

    def fitted(patches) -> Memory:
        found = Memory.fit(model.memory_sizes, patches, places_of(model), most, seed, doubts, upright)
        return found.owned_by([number[e] for e in examples])

    held_out = splits.held_out_normal
    orientations = normal_orientations(fitted(patches), reader, dataset.read_image, held_out[:TESTED])
    if orientations:
        print(
            f"memory: held-out normal images look as normal {', '.join(orientations)}; so it knows them, too"
        )
    # Some images once more.
    rows = np.sort(np.random.default_rng([seed, 8]).permutation(len(examples))[:SECOND])
    again = varied([examples[i] for i in rows], dataset.read_image, orientations, [seed, 7])
    each = max((len(p[0]) for p in patches), default=1)
    second = reader.memory_samples(shown(again, len(rows), "memory, varied"), each, seed)
    for row, more in zip(rows, second, strict=True):
        patches[row] = tuple(np.concatenate(pair) for pair in zip(patches[row], more, strict=True))
    memory = fitted(patches)
    in_light = varied(held_out[:RELIT], dataset.read_image, (), [seed, 6])
    images = itertools.chain(map(dataset.read_image, held_out), in_light)
    count = len(held_out) + len(held_out[:RELIT])
    return memory.judged_by(reader.memory_values(memory, shown(images, count, "memory of held-out normal")))


def normal_orientations(memory: Memory, reader, read_image, held_out: Sequence[Example]) -> tuple[str, ...]:
    """Those of ORIENTATIONS in which held-out normal images are as near to the memory as they are upright.

    read_image: Example -> image.
    """

    shapes = set()

    def images(name: str):
        for image in map(read_image, held_out):
            shapes.add(image.shape[:2])
            yield oriented(image, name) if name else image

    def values(name: str) -> np.ndarray:
        return reader.memory_values(memory, images(name))

    upright = values("")
    judged = memory.judged_by(upright)
    spread = robust_spread(judged.joined(upright), np.median(judged.joined(upright)))
    square = all(height == width for height, width in shapes)
    found = []
    for name in ORIENTATIONS:
        if square or name != "turned by a quarter":
            change = np.median(judged.joined(values(name)) - judged.joined(upright))
            found += [name] if change < MOST_CHANGE * spread else []
    return tuple(found)


def varied(examples: Sequence[Example], read_image, orientations: Sequence[str], seed: Sequence[int]):
    """Each example's image in other light, and in one of the orientations or upright, drawn at random."""
    for index, example in enumerate(examples):
        rng = np.random.default_rng([*seed, index])
        image = relit(read_image(example), rng)
        name = rng.choice(["", *orientations])
        yield oriented(image, name) if name else image
