"""Memory of normal patches: how far each patch is from the nearest normal ones (Roth et al. 2022)."""

from collections.abc import Sequence

import numpy as np
from keras import ops

from semi_anogan.networks.layers import resized

TOP_SHARE = 0.05
PRINCIPAL_COMPONENTS = 128  # principal components kept, at most
LEAST_VARIANCE = (
    0.1  # added to that of each component (of standardised features), so that noise is not blown up
)


class Memory:
    """Nearest-patch distances in the features of the last two scales of a pretrained network.

    A patch is a position of the finer scale: its features there and, beside them, those of the coarser scale,
    both averaged over their 3 x 3 neighbourhood, standardised and whitened: reduced to their principal
    components, each divided by its spread, so that directions in which normal patches hardly vary count as
    much as those in which they vary most.

    Args:
      patches: float32 [K, P], the whitened patches kept.
      center: float32 [D] and projection: float32 [D, P], of the whitening: (features - center) @ projection.
    """

    def __init__(self, patches, center, projection):
        self.patches, self.center, self.projection = (
            np.asarray(a, np.float32) for a in (patches, center, projection)
        )
        shapes = self.patches.shape, self.center.shape, self.projection.shape
        if [len(s) for s in shapes] != [2, 1, 2] or shapes[2] != (*shapes[1], shapes[0][1]):
            raise ValueError(
                f"patches {shapes[0]}, center {shapes[1]} and projection {shapes[2]} do not fit together"
            )

    @classmethod
    def fit(
        cls,
        patches: Sequence[np.ndarray],
        size: int,
        seed: int,
        trim_share: float = 0.0,
        checked: Sequence[bool] = (),
    ) -> "Memory":
        """Chooses `size` patches of normal images, each the farthest from those before it (greedy coreset).

        Args:
          patches: of each image some, float32 [n, D], drawn at random from all of them (`patches_of`).
          trim_share: of the images left out, in [0, 1), those least like all others: a defect that is
            remembered is never found again.
          checked: of each image whether it is normal for certain, and so stays; none by default.
        """
        if not len(patches):
            raise ValueError("a memory needs at least one normal image, got none")
        rng = np.random.default_rng(seed)
        center, projection = whitening(np.concatenate(patches), PRINCIPAL_COMPONENTS)
        patches = [(p - center) @ projection for p in patches]
        trimmed = min(round(trim_share * len(patches)), len(patches) - sum(checked))
        if trimmed:
            strange = isolation(patches)
            strange[np.flatnonzero(checked)] = -np.inf
            patches = [patches[i] for i in sorted(np.argsort(strange, kind="stable")[:-trimmed])]
        patches = np.concatenate(patches)
        return cls(patches[_farthest(patches, min(size, len(patches)), rng)], center, projection)

    def distances(self, features):
        """Distance of each patch to the nearest kept one, over sqrt(P): [N, h, w, C] each -> [N, h, w, 1]."""
        embedded = ops.matmul(embed(features) - self.center, self.projection)
        _, height, width, depth = embedded.shape
        x = ops.reshape(embedded, (-1, depth))
        kept = ops.convert_to_tensor(self.patches)
        squared = ops.sum(ops.square(kept), axis=1) - 2.0 * ops.matmul(x, ops.transpose(kept))
        nearest = ops.maximum(ops.min(squared, axis=1) + ops.sum(ops.square(x), axis=1), 0.0)
        return ops.reshape(ops.sqrt(nearest / depth), (-1, height, width, 1))

    def arrays(self) -> dict[str, np.ndarray]:
        """What the constructor takes."""
        return {"patches": self.patches, "center": self.center, "projection": self.projection}


def embed(features):
    """Features of the last two scales as patches of the finer one: list of [N, h, w, C] -> [N, h', w', D]."""
    fine, coarse = (ops.convert_to_tensor(f) for f in (features[-2], features[-1]))
    return ops.concatenate(
        [neighbourhood_mean(fine), resized(neighbourhood_mean(coarse), fine.shape[1:3])], axis=-1
    )


def patches_of(features: list[np.ndarray]) -> np.ndarray:
    """All patches of one image's features, list of [h, w, C], finest first: float32 [n, D]."""
    embedded = np.asarray(embed([f[None] for f in features]), np.float32)
    return embedded.reshape(-1, embedded.shape[-1])


def whitening(patches: np.ndarray, components: int) -> tuple[np.ndarray, np.ndarray]:
    """(center [D], projection [D, P]) that make patches [N, D] about white: (patches - center) @ projection.

    P is at most `components`.
    """
    center, scale = patches.mean(axis=0), patches.std(axis=0) + 1e-6
    standardised = (patches - center) / scale
    variances, directions = np.linalg.eigh(standardised.T @ standardised / len(patches))
    kept = slice(-min(components, len(variances)), None)
    directions = directions[:, kept] / np.sqrt(np.maximum(variances[kept], 0.0) + LEAST_VARIANCE)
    return center, (directions / scale[:, None]).astype(np.float32)


def neighbourhood_mean(x):
    """Mean over 3 x 3; at the border over what is inside."""
    return ops.average_pool(x, 3, strides=1, padding="same", data_format="channels_last")


def isolation(
    patches: Sequence[np.ndarray], others: Sequence[np.ndarray] | None = None, pool: int = 8000
) -> np.ndarray:
    """How far each image is from all of `others`, float64 [N].

    It is the mean of its worst patches' distances to the nearest of theirs.

    Args: patches: of each of N images some, whitened: [n, P], drawn at random; others: likewise; None: the
      same images, each compared with all but itself; pool: about how many patches of all the others are
      compared with.
    """
    compared = patches if others is None else others
    each = pool // len(compared) + 1
    owner = np.repeat(np.arange(len(compared)), [len(p[:each]) for p in compared])
    compared = np.concatenate([p[:each] for p in compared])
    lengths = np.sum(compared**2, axis=1)
    found = np.zeros(len(patches))
    for i, own in enumerate(patches):
        squared = np.sum(own**2, axis=1, keepdims=True) - 2.0 * own @ compared.T + lengths
        if others is None:
            squared[:, owner == i] = np.inf
        nearest = np.sqrt(np.maximum(squared.min(axis=1), 0.0))
        found[i] = np.sort(nearest)[-max(1, round(TOP_SHARE * len(nearest))) :].mean()
    return found


def _farthest(points: np.ndarray, count: int, rng, projected: int = 64) -> np.ndarray:
    """Indices of `count` points, each the farthest from those before (Roth et al. 2022, section 3.2).

    Distances are taken in a random projection.
    """
    if points.shape[1] > projected:
        points = points @ (rng.standard_normal((points.shape[1], projected)) / projected**0.5).astype(
            np.float32
        )
    chosen = np.zeros(count, np.int64)
    chosen[0] = rng.integers(len(points))
    squared = np.sum(points**2, axis=1)
    nearest = np.full(len(points), np.inf, np.float32)
    for i in range(1, count):
        last = chosen[i - 1]
        np.minimum(nearest, squared - 2.0 * (points @ points[last]) + squared[last], out=nearest)
        nearest[last] = -np.inf
        chosen[i] = int(np.argmax(nearest))
    return chosen
