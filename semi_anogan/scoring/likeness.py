"""Likeness to the known defects: a linear discriminant of patches, from a single defect on."""

from collections.abc import Iterable, Sequence

import numpy as np
from keras import ops

from semi_anogan.networks.layers import resized
from semi_anogan.scoring import kinds as known_kinds
from semi_anogan.scoring.kinds import KnownKinds
from semi_anogan.scoring.memory import neighbourhood_mean, whitening

TOP_SHARE = 0.05  # of the places of an image that count, those most alike
PRINCIPAL_COMPONENTS = 512  # principal components kept, at most
REFINEMENTS = 1  # times the worst patches are chosen again, by the discriminant found
MOST_LEFT_OUT = 64  # with more abnormal images than this some are held out, and say more
CANDIDATES = 4  # times as many patches of an abnormal image are kept to choose from as count


class Likeness:
    """Fisher's linear discriminant (Fisher 1936) between normal patches and the worst of abnormal images.

    The direction is the difference of the two means in whitened features of normal patches, and nothing else
    is learned; so three known defects suffice, where a classifier overfits. Abnormal images are mostly
    normal, so only their worst patches count: at first the ones farthest from the mean of the normal ones,
    then the most alike to those of all images (multiple-instance learning). The features are those of all
    scales but the coarsest, where there are several: the memory has that one, and sees other defects.

    Args:
      weights: float32 [C], one for each scale used, finest first; bias: float. A patch's value is its
        features' product with the weights, plus the bias: in standard deviations of normal patches, 0 is
        their mean.
      left_out: float64 [K], of each known abnormal image what the discriminant of the others says; empty with
        one or more than MOST_LEFT_OUT.
      kinds: the KnownKinds of the defects; None where they have none, and in runs of before.
    """

    def __init__(self, weights: Sequence[np.ndarray], bias, left_out=(), kinds: KnownKinds | None = None):
        self.weights = [np.asarray(w, np.float32) for w in weights]
        self.bias = np.float32(bias)
        self.left_out = np.asarray(left_out, np.float64)
        self.kinds = kinds
        if (
            not self.weights
            or any(w.ndim != 1 for w in self.weights)
            or self.bias.shape != ()
            or self.left_out.ndim != 1
        ):
            raise ValueError(
                f"weights must be vectors, got shapes {[w.shape for w in self.weights]}, "
                f"bias {self.bias.shape}"
            )
        depth = sum(len(w) for w in self.weights)
        if kinds is not None and len(kinds.projection) != depth:
            raise ValueError(f"kinds are of {len(kinds.projection)} features, weights of {depth}")

    @classmethod
    def fit(
        cls, normal: Sequence[np.ndarray], abnormal: Iterable, kinds: Sequence[str | None] = ()
    ) -> "Likeness":
        """Finds the discriminant.

        Args:
          normal: of each normal image some patches, float32 [n, D], drawn at random from all of them
            (`patches_of`).
          abnormal: for each abnormal image a list of (features, where), one for each of its tiles: the
            network's features, list of [h, w, C], finest first, and `where`, bool [H, W], the pixels that are
            abnormal, or None where that is not known.
          kinds: of each abnormal image, or of more, the kind of its defect, None where that is not known;
            empty: of none.

        Raises: ValueError without normal or abnormal images.
        """
        if not len(normal):
            raise ValueError("a likeness needs at least one normal image, got none")
        center, projection = whitening(np.concatenate(normal), PRINCIPAL_COMPONENTS)
        channels = None
        bags = []
        for tiles in abnormal:
            channels = [f.shape[-1] for f in _used(tiles[0][0])]
            bags.append(_bag(tiles, center, projection))
        if not bags:
            raise ValueError("a likeness needs at least one abnormal image, got none")
        direction = _direction(bags)
        left_out = []
        if 1 < len(bags) <= MOST_LEFT_OUT:
            others = (_direction(bags[:i] + bags[i + 1 :]) for i in range(len(bags)))
            left_out = [
                _top(*bag, direction)[:, -1].mean() for bag, direction in zip(bags, others, strict=True)
            ]
        weights = projection @ direction
        told = None
        if len(kinds):
            # Principal components come in ascending order of their variance.
            first = slice(-known_kinds.PRINCIPAL_COMPONENTS, None)
            worst = [_top(*bag, direction)[:, :-1].mean(axis=0)[first] for bag in bags]
            told = KnownKinds.fit(worst, list(kinds)[: len(bags)], center, projection[:, first])
        return cls(np.split(weights, np.cumsum(channels)[:-1]), -center @ weights, left_out, told)

    def values(self, features):
        """Of each patch of the second finest scale, high = like the known defects: [N, h, w, 1]."""
        used, total = _used(features), float(self.bias)
        shape = _grid(used).shape[1:3]
        for x, weights in zip(used, self.weights, strict=True):
            # The mean of a product is the product of the mean, and has one channel instead of many.
            total = total + resized(neighbourhood_mean(ops.matmul(x, weights[:, None])), shape)
        return total

    def kind_values(self, features):
        """Of each patch, as in `values`, its cosine with each known kind: [N, h, w, K], in [-1, 1]."""
        used, white = _used(features), self.kinds.offset
        shape = _grid(used).shape[1:3]
        parts = np.split(self.kinds.projection, np.cumsum([len(w) for w in self.weights])[:-1])
        for x, projection in zip(used, parts, strict=True):
            white = white + resized(neighbourhood_mean(ops.matmul(x, projection)), shape)
        length = ops.sqrt(ops.sum(ops.square(white), axis=-1, keepdims=True))
        unit = white / ops.maximum(length, np.float32(known_kinds.LEAST_LENGTH))
        return ops.matmul(unit, self.kinds.directions)

    def arrays(self) -> dict[str, np.ndarray]:
        """Named arrays, from which `of_arrays` makes the same likeness."""
        return {
            "bias": self.bias,
            "left_out": self.left_out,
            **{f"weights{i}": w for i, w in enumerate(self.weights)},
            **({} if self.kinds is None else self.kinds.arrays()),
        }

    @classmethod
    def of_arrays(cls, bias, left_out, **others) -> "Likeness":
        """The inverse of `arrays`."""
        of_kinds = {name: array for name, array in others.items() if name.startswith("kind_")}
        weights = {name: array for name, array in others.items() if name not in of_kinds}
        if set(weights) != {f"weights{i}" for i in range(len(weights))}:
            raise ValueError(f"has the arrays {', '.join(sorted(weights))}, expected weights0, weights1, ...")
        kinds = KnownKinds.of_arrays(**of_kinds) if of_kinds else None
        return cls([weights[f"weights{i}"] for i in range(len(weights))], bias, left_out, kinds)


def _used(features):
    return features[:-1] if len(features) > 1 else features


def _grid(used):
    """Of the scales used the one whose positions are the patches: the second finest."""
    return used[min(1, len(used) - 1)]


def patches_of(features: list[np.ndarray]) -> np.ndarray:
    """All patches of one image's features, list of [h, w, C], finest first: float32 [n, D].

    They are in the order of the second finest scale.
    """
    used = _used(features)
    shape = _grid(used).shape[:2]
    maps = [np.asarray(resized(neighbourhood_mean(ops.convert_to_tensor(f[None])), shape)) for f in used]
    return np.concatenate(maps, axis=-1).reshape(-1, sum(m.shape[-1] for m in maps)).astype(np.float32)


def _bag(tiles, center, projection) -> tuple[np.ndarray, int]:
    """(whitened patches [M, P] of an abnormal image, of which the worst count; how many count)."""
    found, abnormal = [], []
    for features, where in tiles:
        found.append(patches_of(features))
        height, width = _grid(_used(features)).shape[:2]
        inside = np.ones((height, width), bool)
        if where is not None:
            inside = where.reshape(height, where.shape[0] // height, width, -1).any(axis=(1, 3))
        abnormal.append(inside.reshape(-1))
    patches, abnormal = (np.concatenate(found) - center) @ projection, np.concatenate(abnormal)
    if abnormal.any():
        patches = patches[abnormal]
    count = min(max(1, round(TOP_SHARE * len(found[0]))), len(patches))
    squared = np.sum(np.square(patches), axis=1)
    return patches[np.argsort(-squared, kind="stable")[: CANDIDATES * count]], count


def _direction(bags) -> np.ndarray:
    """Unit vector from the normal mean, 0, to that of the abnormal images' worst patches: [P]."""
    direction = np.mean([patches[:count].mean(axis=0) for patches, count in bags], axis=0)
    for _ in range(REFINEMENTS):
        direction = np.mean(
            [_top(patches, count, direction)[:, :-1].mean(axis=0) for patches, count in bags], axis=0
        )
    return direction / np.maximum(np.linalg.norm(direction), 1e-12)


def _top(patches, count: int, direction) -> np.ndarray:
    """The patches of the highest products with the direction; these a last column: [count, P + 1]."""
    values = patches @ direction
    chosen = np.argsort(-values, kind="stable")[:count]
    return np.concatenate([patches[chosen], values[chosen, None]], axis=1)
