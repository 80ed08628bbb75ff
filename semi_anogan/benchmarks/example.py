"""A folder of rendered surfaces as image files, to try the commands on: as a person's own would lie there."""

import pathlib

import numpy as np

from semi_anogan.data.image_arrays import to_uint8
from semi_anogan.data.sources.surface import render
from semi_anogan.data.sources.surface_defects import DEFECTS
from semi_anogan.errors import RunError
from semi_anogan.files import told_writing

# A piece of a rendered surface, so that defects are as large as in a picture taken from near.
SIZE, PIECE, FINISH, SEED = 256, 128, "brushed", 1
NORMAL = {"train": 120, "test": 12}
OF_A_KIND = {"train": 6, "test": 4}


def run(output: str) -> str:
    """Writes layout A: train/ and test/ with good/ and a folder a kind of defect, and ground_truth/.

    Returns: a line about the folder.
    Raises: RunError where there is something already, or the folder cannot be written.
    """
    folder = pathlib.Path(output)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError(f"{folder}: exists already; give another --output")
    count = 0
    with told_writing(folder, RunError):
        for split in NORMAL:
            names = [(None, i) for i in range(NORMAL[split])]
            names += [(kind, i) for kind in DEFECTS for i in range(OF_A_KIND[split])]
            for kind, number in names:
                image, mask = _piece(*render(SEED, count, SIZE, FINISH, kind), count)
                count += 1
                _write(folder / split / (kind or "good") / f"{number:03d}.png", to_uint8(image[..., 0]))
                if kind is not None:
                    path = folder / "ground_truth" / split / kind / f"{number:03d}_mask.png"
                    _write(path, np.where(mask, np.uint8(255), np.uint8(0)))
    kinds = ", ".join(DEFECTS)
    return f"{folder}: {count} images of {PIECE} x {PIECE} pixels, {kinds} among them, with masks\n"


def _piece(image: np.ndarray, mask: np.ndarray, index: int) -> tuple[np.ndarray, np.ndarray]:
    """A piece that holds the defect, anywhere in it, and its mask."""
    rng, window = np.random.default_rng([SEED, index]), []
    for axis in (1, 0):
        places = np.flatnonzero(mask.any(axis)) if mask.any() else np.array([SIZE // 2])
        low = max(0, int(places[-1]) + 1 - PIECE)
        start = int(rng.integers(low, max(low, min(int(places[0]), SIZE - PIECE)) + 1))
        window.append(slice(start, start + PIECE))
    return image[tuple(window)], mask[tuple(window)]


def _write(path: pathlib.Path, pixels: np.ndarray):
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
