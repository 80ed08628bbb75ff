"""Which known kind of defect a region is most alike to: what the likeness keeps for it, and says. numpy only.

A kind's direction is the mean of those of its known defects, in whitened features of normal patches, which
say how patches vary. A patch is as alike to a kind as the cosine of the two is high.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from semi_anogan.data import tiles
from semi_anogan.scoring.regions import Region

# Principal components that tell kinds apart best (docs/experiments.md, "The kind of a region").
PRINCIPAL_COMPONENTS = 64
LEAST_LENGTH = 1e-2  # of a whitened patch, about sqrt(P) long: below, its direction is rounding


class KnownKinds(NamedTuple):
    """The kinds of the known defects.

    Attributes:
      names: K of them, different.
      projection: float32 [D, P] and offset: float32 [P] whiten patches: patch @ projection + offset.
      directions: float32 [P, K], of length 1.
    """

    names: tuple[str, ...]
    projection: np.ndarray
    offset: np.ndarray
    directions: np.ndarray

    @classmethod
    def fit(cls, worst: Sequence[np.ndarray], kinds: Sequence[str | None], center, projection):
        """Of the mean of each known defect's worst patches, [P] each, and its kind; None without any kind.

        Args: worst: whitened; kinds: None or "" is not known; center: [D], projection: [D, P], of whitening.
        """
        names = tuple(sorted({kind for kind in kinds if kind}))
        if not names:
            return None
        unit = [_unit(np.asarray(w, np.float64)) for w in worst]
        means = [
            np.mean([u for u, k in zip(unit, kinds, strict=True) if k == name], axis=0) for name in names
        ]
        directions = np.stack([_unit(mean) for mean in means], axis=-1)
        return cls(
            names, *(np.asarray(a, np.float32) for a in (projection, -center @ projection, directions))
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Named arrays, from which `of_arrays` makes the same."""
        return {
            "kind_names": np.array(self.names),
            **{f"kind_{name}": getattr(self, name) for name in self._fields[1:]},
        }

    @classmethod
    def of_arrays(cls, kind_names, kind_projection, kind_offset, kind_directions) -> "KnownKinds":
        """The inverse of `arrays`; ValueError where they do not fit together."""
        names = tuple(str(name) for name in np.asarray(kind_names).tolist())
        arrays = [np.asarray(a, np.float32) for a in (kind_projection, kind_offset, kind_directions)]
        shapes = [a.shape for a in arrays]
        width = shapes[1][0] if len(shapes[1]) == 1 else None
        fits = len(shapes[0]) == 2 and shapes[0][1] == width and shapes[2] == (width, len(names))
        if not fits or not names or len(set(names)) != len(names) or "" in names:
            raise ValueError(f"kinds {names} have projection, offset and directions of the shapes {shapes}")
        return cls(names, *arrays)


class KindMap(NamedTuple):
    """How alike to each known kind an image is, place by place.

    Attributes:
      values: float32 [T, h, w, K], of each of its tiles or, of an image that is none, of the whole: cosines.
      working_size: (height, width) of the image where it is cut; tile_shape: of a tile.
    """

    values: np.ndarray
    working_size: tuple[int, int]
    tile_shape: tuple[int, int]

    def of_region(self, region: Region, size: tuple[int, int]) -> np.ndarray:
        """[K], the mean over a region's pixels, each in every tile that it lies in; size: the image's own."""
        cells = self.values.shape[1:3]
        rows, columns = (
            list(_along(*axis))
            for axis in zip(
                (region.top, region.left),
                region.mask.shape,
                size,
                self.working_size,
                self.tile_shape,
                cells,
                strict=True,
            )
        )
        total, count = np.zeros(self.values.shape[-1]), 0
        in_a_row = len(tiles.positions(self.working_size[1], self.tile_shape[1]))
        for row, inside_rows, cell_rows in rows:
            for column, inside_columns, cell_columns in columns:
                inside, pixels = region.mask[inside_rows, inside_columns], np.zeros(cells)
                np.add.at(pixels, np.ix_(cell_rows, cell_columns), inside)
                total += np.tensordot(pixels, self.values[row * in_a_row + column], 2)
                count += np.count_nonzero(inside)
        return total / count


def named(
    regions: Sequence[Region], found: KindMap | None, size: tuple[int, int], names: Sequence[str]
) -> list[Region]:
    """The regions of an image of `size`, each with the kind it is most alike to; None: as they are."""
    if found is None:
        return list(regions)
    told = []
    for region in regions:
        values = found.of_region(region, size)
        best = int(np.argmax(values))
        told.append(region._replace(kind=names[best], kind_likeness=float(np.clip(values[best], -1, 1))))
    return told


def _along(begin: int, length: int, own: int, working: int, side: int, cells: int):
    """Along an axis, of each tile that a region reaches: (its place, the pixels in it, the cell of each).

    Args: begin, length: of the region's box; own, working: sides of the image, as it is and where it is cut;
      side: of a tile, which has so many `cells`.
    """
    middles = (np.arange(length) + begin + 0.5) * (working / own)
    for place, start in enumerate(tiles.positions(working, side)):
        first, end = np.searchsorted(middles, (start, start + side))
        if first < end:
            cell = ((middles[first:end] - start) * (cells / side)).astype(int)
            yield place, slice(first, end), np.minimum(cell, cells - 1)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.maximum(np.linalg.norm(vector), 1e-12)
