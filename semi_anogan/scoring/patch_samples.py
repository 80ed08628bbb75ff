"""Random patches of the normal training images: for memory and likeness, and to see unlike images."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from semi_anogan.scoring import isolation as of_images
from semi_anogan.scoring import likeness, memory
from semi_anogan.scoring.robust import robust_z

POOL = 40000  # patches drawn of all images together, about, for each size


class PatchSamples(NamedTuple):
    """Patches of one image, float32 [n, D] each.

    memory: as the memory embeds them, for each of its sizes. likeness: as the likeness does.
    """

    memory: tuple[np.ndarray, ...]
    likeness: np.ndarray


def draw(images: Iterable[Sequence], seed: int, pool: int = POOL) -> list[PatchSamples]:
    """Patches of each image, drawn at random, `pool` of all images together and of each the same number.

    images: for each image, for each of its tiles (the network's features, list of [h, w, C], finest first;
      the memory's views, list of [h, w, D], one a size).
    """
    rng, drawn = np.random.default_rng(seed), []
    for tiles in images:
        most = max(1, pool // (len(drawn) + 1))  # no more than can be kept, however many images follow
        of_memory = of_views([views for _, views in tiles], rng, most)
        of_likeness = np.concatenate([likeness.patches_of(features) for features, _ in tiles])
        drawn.append(PatchSamples(of_memory, of_likeness[rng.permutation(len(of_likeness))[:most]]))
    most = max(1, pool // max(1, len(drawn)))
    # Copies: a view would keep all that were drawn of the first images, several times as much as is wanted.
    return [PatchSamples(tuple(p[:most].copy() for p in d.memory), d.likeness[:most].copy()) for d in drawn]


def of_views(tiles: Sequence, rng: np.random.Generator, most: int) -> tuple[np.ndarray, ...]:
    """Of each of the memory's sizes at most `most` patches [n, D] of an image: tiles of views [h, w, D]."""
    found = [np.concatenate([v.reshape(-1, v.shape[-1]) for v in view]) for view in zip(*tiles, strict=True)]
    return tuple(p[rng.permutation(len(p))[:most]] for p in found)


def isolation(drawn: Sequence[PatchSamples], others: Sequence[PatchSamples] | None = None) -> np.ndarray:
    """How far each image is from all of `others`, float64 [N].

    At each of the memory's sizes it is the mean of its farthest patches' distances, in robust standard
    deviations of these images; of all sizes the mean. Which size shows a defect depends on the defect.

    others: of the normal images; None: the same images, each compared with all but itself.
    """
    compared = drawn if others is None else others
    if others is None and len(drawn) < 2:
        return np.zeros(len(drawn))
    found = [_at_size(size, drawn, others) for size in range(len(compared[0].memory))]
    return np.mean([robust_z(values) for values in found], axis=0)


def _at_size(size: int, drawn: Sequence[PatchSamples], others: Sequence[PatchSamples] | None) -> np.ndarray:
    center, projection = memory.whitening(
        np.concatenate([p.memory[size] for p in (drawn if others is None else others)]),
        memory.PRINCIPAL_COMPONENTS,
    )

    def whitened(samples):
        return [(p.memory[size] - center) @ projection for p in samples]

    return of_images.isolation(whitened(drawn), None if others is None else whitened(others))
