"""Images of several products: each is scored by the detector of its own."""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping

from semi_anogan.errors import DataError
from semi_anogan.scoring import files as score_files
from semi_anogan.scoring.outputs import relative


def product_of(path: str, root: str, names: Iterable[str]) -> str:
    """The product that an image is of: the one whose name a folder has that it lies in, from `root` on.

    root: the folder of --input, whose own name counts too; of an image elsewhere only its own folder's does.

    Raises: DataError where no folder has the name of a product, or folders have those of several.
    """
    inside = relative(path, root)
    folders = [os.path.basename(os.path.dirname(os.path.abspath(path)))]
    if inside is not None:
        folders = [os.path.basename(os.path.abspath(root or ".")), *inside.split("/")[:-1]]
    names = list(names)
    found = [name for name in names if name in folders]
    if len(found) == 1:
        return found[0]
    told = f"lies in folders of several: {', '.join(found)}" if found else "lies in a folder of none"
    raise DataError(f"{path}: of which product? It {told}; products are {', '.join(names)}; see --product")


def scored(
    detectors: Mapping,
    items: Iterable,
    read_of: Callable[[str | None], Callable],
    name: Callable,
    root: str,
    keep_images: float = 0,
) -> Iterator[score_files.Scored]:
    """As scoring.files.scored, each image by the detector of its product, in the order of the items.

    Args:
      detectors: {product: detector}.
      read_of: product -> its `read`; of None: one that raises what `product_of` does.
      root: as in product_of.
    """

    last = None

    def product(item) -> str | None:
        nonlocal last
        if item is not score_files.PAUSE:  # which is for the images before it
            try:
                last = product_of(name(item), root, detectors)
            except DataError:
                last = None
        return last

    # Images of one product that follow each other share batches.
    for which, group in itertools.groupby(items, product):
        detector = detectors[which] if which is not None else next(iter(detectors.values()))
        for outcome in score_files.scored(detector, group, read_of(which), name, keep_images=keep_images):
            yield outcome._replace(product=which)
