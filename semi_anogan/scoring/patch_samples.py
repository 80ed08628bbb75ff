"""Random patches of the normal training images: for memory and likeness, and to see unlike images."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from semi_anogan.scoring import likeness, memory

POOL = 60000  # patches drawn of all images together, about


class PatchSamples(NamedTuple):
    """Patches of one image, float32 [n, D] each: as the memory embeds them, and as the likeness does."""

    memory: np.ndarray
    likeness: np.ndarray


def draw(images: Iterable[Sequence[list[np.ndarray]]], seed: int, pool: int = POOL) -> list[PatchSamples]:
    """Patches of each image, drawn at random, `pool` of all images together and of each the same number.

    images: for each image, for each of its tiles the network's features, list of [h, w, C], finest first.
    """
    rng, drawn = np.random.default_rng(seed), []
    for tiles in images:
        most = max(1, pool // (len(drawn) + 1))  # no more than can be kept, however many images follow
        found = (
            np.concatenate([embed(features) for features in tiles])
            for embed in (memory.patches_of, likeness.patches_of)
        )
        drawn.append(PatchSamples(*(p[rng.permutation(len(p))[:most]] for p in found)))
    most = max(1, pool // max(1, len(drawn)))
    return [PatchSamples(*(p[:most] for p in patches)) for patches in drawn]


def isolation(drawn: Sequence[PatchSamples], others: Sequence[PatchSamples] | None = None) -> np.ndarray:
    """How far each image is from all of `others`, float64 [N].

    It is the mean of its worst patches' distances to the nearest of theirs.

    others: of the normal images; None: the same images, each compared with all but itself.
    """
    compared = drawn if others is None else others
    if others is None and len(drawn) < 2:
        return np.zeros(len(drawn))
    center, projection = memory.whitening(
        np.concatenate([p.memory for p in compared]), memory.PRINCIPAL_COMPONENTS
    )
    whitened = [(p.memory - center) @ projection for p in drawn]
    return memory.isolation(
        whitened, None if others is None else [(p.memory - center) @ projection for p in others]
    )
