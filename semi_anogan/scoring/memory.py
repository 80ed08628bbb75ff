"""Memory of normal patches, at several sizes of the image: how far each patch is from the nearest.

Roth et al. 2022 (PatchCore), at several sizes, with distances less how isolated a normal patch is.
"""

import functools
from collections.abc import Sequence

import numpy as np
from keras import ops

from semi_anogan.image_shape import map_size
from semi_anogan.networks.losses import top_mean
from semi_anogan.scoring.isolation import FAR, SUPPORT, TOP_SHARE, by_image, isolation_of_patches

PRINCIPAL_COMPONENTS = 128  # principal components kept, at most
LEAST_VARIANCE = (
    0.1  # added to that of each component (of standardised features), so that noise is not blown up
)
# Distances that are computed of an image at one size, at most: of a large size fewer patches are kept.
MOST_DISTANCES = 2**21
# A remembered patch that is more isolated than this share of them may be a defect that nobody has labelled:
# it counts as if it were no more isolated.
ISOLATION_SHARE = 0.7
# Of more patches than are kept, one that is isolated twice as much is 2 ** RARITY times as likely to be kept:
# plain background, of which there are many alike, is known by a few.
RARITY = 4.0
COMPARED = 4000  # patches that say how isolated those are that may be kept
LEAST_SPREAD = 0.01  # of whitened distances, which are about 1: of two images, say, that are the same
ARRAYS = ("patches", "radii", "center", "projection", "middle", "upper", "owner", "doubts", "support")


class SizeMemory:
    """Normal patches of images of one size, in the features of the last two scales of a pretrained network.

    A patch is a position of the finer scale: its features there and, beside them, those of the coarser scale,
    both averaged over their 3 x 3 neighbourhood, standardised and whitened: reduced to their principal
    components, each divided by its spread, so that directions in which normal patches hardly vary count as
    much as those in which they vary most.

    The distance of a patch x from the remembered ones m of an image is a power distance (Aurenhammer 1987),
    and d is of the nearest images, `support` of them on the mean:

        d_i^2 = min over m of image i of |x - m|^2 / P - r(m)^2 + s(m)
        d^2 = mean of the `support` smallest d_i^2;      negative d^2 gives -|d|

    r(m) says how isolated m is among the patches of other images. What is rare among normal images is known
    to vary, and must be farther away to be abnormal. s(m) says how doubtful it is that the image of m is
    normal: a hidden defect that is remembered must not make others look normal.

    Args:
      patches: float32 [K, P], the whitened patches kept.
      radii: float32 [K], r.
      center: float32 [D] and projection: float32 [D, P], of the whitening: (features - center) @ projection.
      middle, upper: median and 80 % quantile of the values of held-out normal images: what they are judged
        by beside other sizes.
      owner: int32 [K], which image each patch is of; None where that is not known, as in runs of before.
      doubts: float32 [K], s; None is 0.
      support: 1 or 2; 2 needs `owner`. Runs of before have 1.
    """

    def __init__(
        self,
        patches,
        radii,
        center,
        projection,
        middle=0.0,
        upper=1.0,
        owner=None,
        doubts=None,
        support=1,
    ):
        self.patches, self.radii, self.center, self.projection = (
            np.asarray(a, np.float32) for a in (patches, radii, center, projection)
        )
        self.middle, self.upper = np.float32(middle), np.float32(upper)
        self.owner = None if owner is None else np.asarray(owner, np.int32)
        self.doubts = np.zeros_like(self.radii) if doubts is None else np.asarray(doubts, np.float32)
        self.support = np.int32(support)
        if self.support not in (1, SUPPORT) or (self.support > 1 and self.owner is None):
            raise ValueError(f"support is {self.support}, expected 1, or 2 with the owners of all patches")
        shapes = self.patches.shape, self.radii.shape, self.center.shape, self.projection.shape
        depths = [len(s) for s in shapes]
        if (
            depths != [2, 1, 1, 2]
            or shapes[3] != (*shapes[2], shapes[0][1])
            or not shapes[1] == self.doubts.shape == shapes[0][:1]
        ):
            raise ValueError(
                f"patches {shapes[0]}, radii {shapes[1]}, center {shapes[2]}, projection {shapes[3]} and "
                f"doubts {self.doubts.shape} do not fit together"
            )

    @classmethod
    def fit(
        cls,
        patches: Sequence[np.ndarray],
        most: int,
        seed: int,
        doubts: Sequence[float] = (),
        upright: Sequence[int] = (),
    ) -> "SizeMemory":
        """Keeps patches of normal images: of each image as many, those that are rare rather than those that
        have many alike.

        A greedy coreset (PatchCore) takes what is rarest, hidden defects before all. Here chance has a say,
        and no image has more of it than another.

        Args:
          patches: of each image some, float32 [n, D], drawn at random from all of them (`embed`).
          most: patches kept, about: of each image as many, of those that have so many.
          doubts: of each image how doubtful it is that it is normal, 0 or more: s; 0 of all by default.
          upright: of each image how many of its patches, the first, are of it as it is, not in other light
            or turned; all by default. Of either as large a share is kept.
        """
        if not len(patches):
            raise ValueError("a memory needs at least one normal image, got none")
        rng = np.random.default_rng(seed)
        drawn, owner = np.concatenate(patches), np.repeat(np.arange(len(patches)), [len(p) for p in patches])
        center, projection = whitening(drawn, PRINCIPAL_COMPONENTS)
        whitened = (drawn - center) @ projection
        doubts = np.asarray(doubts if len(doubts) else np.zeros(len(patches)), np.float32)[owner]

        place = np.concatenate([np.arange(len(p)) for p in patches])
        reading = 2 * owner + (place >= np.asarray(upright)[owner] if len(upright) else 0)

        def likely():
            # What is rare in an image in doubt may be its defect: of it patches are drawn alike.
            rare = np.where(doubts > 0, 1.0, _rarity(whitened, owner, rng))
            return rare * (np.bincount(reading) / np.maximum(np.bincount(reading, rare), 1e-30))[reading]

        kept = _drawn_alike(owner, most, rng, likely)
        owner, whitened, doubts = owner[kept], whitened[kept], doubts[kept]
        isolated = isolation_of_patches(whitened, owner)
        radii = np.minimum(isolated, np.quantile(isolated, ISOLATION_SHARE))
        return cls(whitened, radii, center, projection, owner=owner, doubts=doubts, support=SUPPORT)

    def distances(self, embedded, left_out=None):
        """Of each patch, of `embed`: [N, h, w, D] -> [N, h, w, 1].

        left_out: of each of the N images the one that it was fitted to, by its number among the owners, whose
          patches are not compared with: int [N]; None: all are. Of a memory of one image all are, too.
        """
        whitened = ops.matmul(embedded - self.center, self.projection)
        _, height, width, depth = whitened.shape
        x = ops.reshape(whitened, (-1, depth))
        patches, offsets, owners = self._by_image  # [m, n, P], [m, n], [n]
        found = ops.matmul(x, -2.0 * patches.reshape(-1, depth).T) + offsets.reshape(-1)
        nearest = ops.min(ops.reshape(found, (-1, *offsets.shape)), axis=1)
        images = len(owners)
        if left_out is not None:
            if self.owner is None:
                raise ValueError("this memory does not know whose its patches are: fit it again")
            if images > 1:
                own = ops.repeat(ops.convert_to_tensor(left_out, "int32"), height * width)[:, None] == owners
                nearest = ops.where(own, np.float32(FAR), nearest)
                images -= 1
        squared = _mean_of_smallest(nearest, min(self.support, images))
        squared = (squared + ops.sum(ops.square(x), axis=1)) / depth
        signed = ops.sign(squared) * ops.sqrt(ops.abs(squared))
        return ops.reshape(signed, (-1, height, width, 1))

    @functools.cached_property
    def _by_image(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As isolation.by_image, with what is added to -2 x m. Without owners all are one image's."""
        depth = self.patches.shape[1]
        offsets = np.sum(np.square(self.patches), axis=1) + depth * (self.doubts - np.square(self.radii))
        if self.owner is None:
            return self.patches[:, None], offsets[:, None], np.array([-1], np.int32)
        return by_image(self.patches, offsets, self.owner)

    def changed(self, **changes) -> "SizeMemory":
        """The same with other values of some of its arguments."""
        return SizeMemory(**{**{name: getattr(self, name) for name in ARRAYS}, **changes})

    def standardised(self, values):
        """A value of an image, or of a patch, beside those of held-out normal images."""
        return (values - self.upper) / np.maximum(self.upper - self.middle, LEAST_SPREAD)


class Memory:
    """The memories of several sizes: the two that say most count, whatever the size of a defect.

    Args: sizes: {short side of the image in pixels: SizeMemory}.
    """

    def __init__(self, sizes: dict[int, SizeMemory]):
        if not sizes:
            raise ValueError("a memory needs at least one size")
        self.sizes = dict(sorted(sizes.items()))
        self.map_size = map_size(self.sizes)

    @classmethod
    def fit(
        cls,
        sizes: Sequence[int],
        patches: Sequence[Sequence[np.ndarray]],
        places: Sequence[int],
        most: int,
        seed: int,
        doubts: Sequence[float] = (),
        upright: Sequence[Sequence[int]] = (),
    ) -> "Memory":
        """A memory for each size, not yet `judged_by` held-out images.

        Args: sizes: short sides; patches, upright: of each image, for each size, as in SizeMemory.fit;
          places: of each size how many patches a whole image has; most: patches kept of a size; others: as
          there.
        """
        if not len(patches):
            raise ValueError("a memory needs at least one normal image, got none")
        found = {}
        for i, size in enumerate(sizes):
            kept = max(1, min(most, MOST_DISTANCES // places[i]))
            found[size] = SizeMemory.fit([p[i] for p in patches], kept, seed, doubts, [n[i] for n in upright])
        return cls(found)

    def judged_by(self, values) -> "Memory":
        """The same, its sizes brought to one scale by the `values` [N, S] of held-out normal images."""
        values, judged = np.asarray(values, np.float64), {}
        for i, (size, memory) in enumerate(self.sizes.items()):
            middle, upper = np.quantile(values[:, i], [0.5, 0.8])
            judged[size] = memory.changed(middle=middle, upper=upper)
        return Memory(judged)

    def owned_by(self, images: Sequence[int]) -> "Memory":
        """The same, its patches owned by `images`: of each that it was fitted to, in order, its number."""
        numbered = {}
        for size, memory in self.sizes.items():
            numbered[size] = memory.changed(owner=np.asarray(images)[memory.owner])
        return Memory(numbered)

    def values(self, views):
        """Of each size the mean of the farthest places: views (`embed` of each size) -> [N, S]."""
        return ops.stack([top_mean(m, TOP_SHARE) for m in self._maps(views).values()], axis=-1)

    def measured(self, views, left_out=None):
        """(the component [N], its map [N, h, w, 1]) of views: `embed` of each size, the smallest first.

        left_out: as in SizeMemory.distances.
        """
        maps = self._maps(views, left_out)
        values = [self.sizes[size].standardised(top_mean(m, TOP_SHARE)) for size, m in maps.items()]
        return _mean_of_two_largest(values), self.sizes[self.map_size].standardised(maps[self.map_size])

    def joined(self, values) -> np.ndarray:
        """The component of images by their `values` [N, S], float64 [N]."""
        columns = zip(self.sizes.values(), np.asarray(values, np.float64).T, strict=True)
        return np.asarray(_mean_of_two_largest([m.standardised(column) for m, column in columns]))

    def _maps(self, views, left_out=None) -> dict:
        return {s: m.distances(v, left_out) for (s, m), v in zip(self.sizes.items(), views, strict=True)}

    def arrays(self) -> dict[str, np.ndarray]:
        """Named arrays, from which `of_arrays` makes the same memory."""
        found = {f"{name}_{size}": getattr(m, name) for size, m in self.sizes.items() for name in ARRAYS}
        return {name: value for name, value in found.items() if value is not None}

    @classmethod
    def of_arrays(cls, **arrays) -> "Memory":
        """The inverse of `arrays`."""
        sizes: dict[int, dict] = {}
        for name, value in arrays.items():
            what, _, size = name.rpartition("_")
            if not size.isdecimal():
                raise ValueError(f"has the array {name!r}, expected patches_64 and the like")
            sizes.setdefault(int(size), {})[what] = value
        return cls({size: SizeMemory(**values) for size, values in sizes.items()})


def _mean_of_smallest(values, count: int):
    """Of [N, n] the mean of the `count` smallest of each row, of 1 or 2: [N].

    Written with maxima and minima alone: every exported format has them. Columns are halved while many.
    """
    if count == 1:
        return ops.min(values, axis=1)
    halves = max(0, int(values.shape[1]).bit_length() - 3)
    missing = -values.shape[1] % 2**halves
    first = ops.pad(values, ((0, 0), (0, missing)), constant_values=FAR) if missing else values
    second = ops.full_like(first, FAR)
    for _ in range(halves):
        half = first.shape[1] // 2
        (a, b), (c, d) = ((x[:, :half], x[:, half:]) for x in (first, second))
        first, second = ops.minimum(a, b), ops.minimum(ops.maximum(a, b), ops.minimum(c, d))
    smallest, next_one = first[:, 0], second[:, 0]
    for i in range(1, first.shape[1]):
        next_one = ops.minimum(ops.minimum(next_one, second[:, i]), ops.maximum(smallest, first[:, i]))
        smallest = ops.minimum(smallest, first[:, i])
    return 0.5 * (smallest + next_one)


def _rarity(whitened: np.ndarray, owner: np.ndarray, rng) -> np.ndarray:
    """How likely each patch is to be drawn among those of its image, float64 [K]: not to one scale, > 0."""
    among = _drawn_alike(owner, COMPARED, rng)
    isolated = isolation_of_patches(whitened, owner, among).astype(np.float64)
    return np.maximum(isolated, 1e-3) ** RARITY


def _drawn_alike(owner: np.ndarray, most: int, rng, likely=None) -> np.ndarray:
    """Rows of the patches that are kept, in order: of each image as many, at random.

    Args: owner: int [K], of which image each is, in order; most: kept of all, where there are more images one
      each of some; likely: () -> how likely each is to be drawn among those of its image, > 0 [K]; None:
      alike. It is asked only where some are left out.
    """
    images, counts = np.unique(owner, return_counts=True)
    chosen = rng.permutation(len(images))[:most]
    each = max(1, most // max(1, len(chosen)))
    rows = np.flatnonzero(np.isin(owner, images[chosen]))
    if len(rows) == np.minimum(counts[chosen], each).sum():
        return rows
    # The first of an exponential race: without replacement, each as likely as it is (Efraimidis 2006).
    arrival = rng.standard_exponential(len(owner)) / (1.0 if likely is None else likely())
    order = rows[np.lexsort((arrival[rows], owner[rows]))]
    starts = np.flatnonzero(np.diff(owner[order], prepend=-1))
    rank = np.arange(len(order)) - np.repeat(starts, np.diff([*starts, len(order)]))
    return np.sort(order[rank < each])


def _mean_of_two_largest(values: list):
    """Of arrays [N] the mean of the two largest of each row; a single array itself."""
    if len(values) == 1:
        return values[0]
    # Written with maxima and minima alone: every exported format has them.
    largest, second = ops.maximum(values[0], values[1]), ops.minimum(values[0], values[1])
    for value in values[2:]:
        second = ops.maximum(second, ops.minimum(largest, value))
        largest = ops.maximum(largest, value)
    return 0.5 * (largest + second)


def embed(features):
    """Features of the last two scales as patches of the finer one: list of [N, h, w, C] -> [N, h', w', D]."""
    fine, coarse = (neighbourhood_mean(ops.convert_to_tensor(f)) for f in (features[-2], features[-1]))
    shape = tuple(fine.shape[1:3])
    coarse = ops.image.resize(coarse, shape, interpolation="bilinear", data_format="channels_last")
    return ops.concatenate([fine, coarse], axis=-1)


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
