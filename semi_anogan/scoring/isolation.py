"""How far patches, and images, are from those of other images. numpy only."""

from collections.abc import Sequence

import numpy as np

TOP_SHARE = 0.1  # of the places of an image that count, its farthest
NEIGHBOURS = 5  # other images that must be near, for a patch not to be isolated
# A patch is as normal as it is near to the nearest image and to the next one. What a single image says is no
# proof: it may be a hidden defect.
SUPPORT = 2
FAR = 1e9  # a squared distance that no patch has, but that float32 adds to others without loss of its order
BLOCK = 128  # patches that are compared at once: what is between stays in a core's cache


def by_image(
    patches: np.ndarray, added: np.ndarray, owner: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The images' m-th patches, float32 [m, n, P], what is added to the distance of each, [m, n], and owners.

    Images come last: a minimum over the patches of each is then one of whole rows, which is faster.

    Args: patches: [K, P]; added: [K]; owner: int [K], of which image each is. Images of fewer patches are
      filled up with some that are FAR. Owners are int32 [n], in order.
    """
    order = np.argsort(owner, kind="stable")
    owners, column, counts = np.unique(owner[order], return_inverse=True, return_counts=True)
    row = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    found = np.zeros((counts.max(), len(counts), patches.shape[1]), np.float32)
    filled = np.full(found.shape[:2], FAR, np.float32)
    found[row, column], filled[row, column] = patches[order], added[order]
    return found, filled, owners.astype(np.int32)


class _Compared:
    """Patches of images that others are compared with: [K, P], and of which image each is, int [K]."""

    def __init__(self, patches: np.ndarray, owner: np.ndarray):
        own, lengths, self.owners = by_image(patches, np.sum(np.square(patches), axis=1), owner)
        # |x - m|^2 is |x|^2 + (x, 1) (-2 m, |m|^2): one product, without a further pass over all pairs.
        self._weights = np.concatenate([-2.0 * own, lengths[..., None]], axis=2).reshape(-1, own.shape[2] + 1)
        self._shape = lengths.shape

    def squared(self, x: np.ndarray) -> np.ndarray:
        """Of patches [B, P] the squared distance to the nearest of each image, less |x|^2: [B, n]."""
        with_one = np.concatenate([x, np.ones((len(x), 1), np.float32)], axis=1)
        found = (with_one @ self._weights.T).reshape(len(x), *self._shape)
        while found.shape[1] > 1:
            half, last = found.shape[1] // 2, found[:, -1]
            odd = found.shape[1] % 2
            found = np.minimum(found[:, :half], found[:, half : 2 * half])
            if odd:
                np.minimum(found[:, 0], last, out=found[:, 0])
        return found[:, 0]


def isolation_of_patches(
    patches: np.ndarray, owner: np.ndarray, among: np.ndarray | None = None, block: int = BLOCK
) -> np.ndarray:
    """How far each patch is from those of other images, float32 [K]: 0 where there is no other image.

    It is the distance, over sqrt(P), to the nearest patch of the image that is the NEIGHBOURS-th nearest;
    of fewer other images, of the last.

    Args: patches: float32 [K, P]; owner: int [K], of which image each is, in order; among: rows of the
      patches that are compared with, in order; None: all.
    """
    others = slice(None) if among is None else among
    compared = _Compared(patches[others], owner[others])
    neighbour = min(NEIGHBOURS, len(compared.owners) - 1) - 1
    found = np.zeros(len(patches), np.float32)
    if neighbour < 0:
        return found
    for begin in range(0, len(patches), block):
        x = patches[begin : begin + block]
        nearest = compared.squared(x)
        nearest[owner[begin : begin + block, None] == compared.owners] = np.inf
        squared = np.partition(nearest, neighbour, axis=1)[:, neighbour] + np.sum(x**2, axis=1)
        found[begin : begin + block] = np.sqrt(np.maximum(squared, 0.0) / patches.shape[1])
    return found


def isolation(
    patches: Sequence[np.ndarray], others: Sequence[np.ndarray] | None = None, pool: int = 8000
) -> np.ndarray:
    """How far each image is from all of `others`, float64 [N].

    It is the mean of its farthest patches' distances to the nearest of theirs, and of the next image's: the
    root of the mean square of both. Two hidden defects alike are still far from a third image.

    Args: patches: of each of N images some, whitened: float32 [n, P], drawn at random; others: likewise;
      None: the same images, each compared with all but itself; pool: about how many patches of all the others
      are compared with.
    """
    compared = patches if others is None else others
    each = pool // len(compared) + 1
    owner = np.repeat(np.arange(len(compared)), [len(p[:each]) for p in compared])
    known = _Compared(np.concatenate([p[:each] for p in compared]), owner)
    count = min(SUPPORT, len(compared) - (others is None))
    found = np.zeros(len(patches))
    for i, own in enumerate(patches):
        squared = known.squared(own) + np.sum(np.square(own), axis=1, keepdims=True)
        nearest = np.maximum(squared, 0.0)
        if others is None:
            nearest[:, i] = np.inf
        nearest = np.partition(nearest, count - 1, axis=1)[:, :count]
        found[i] = _of_farthest(np.sqrt(nearest.mean(axis=1)))
    return found


def _of_farthest(distances: np.ndarray) -> float:
    """Mean of an image's farthest patches."""
    return float(np.sort(distances)[-max(1, round(TOP_SHARE * len(distances))) :].mean())
