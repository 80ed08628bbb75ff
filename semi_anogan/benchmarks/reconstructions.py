"""A page of reconstructions: normal and abnormal test images of finished runs, each above its redrawing.

As figure 4 of Kimura & Yanagihara (2018): a normal image is drawn again, an abnormal one as a normal image.
"""

import pathlib

import numpy as np

from semi_anogan.data.image_arrays import resize, to_channels, to_uint8
from semi_anogan.errors import RunError
from semi_anogan.files import told_writing
from semi_anogan.runs import build, places
from semi_anogan.runs import folder as run_folder
from semi_anogan.scoring.detector import Detector

EACH = 3  # normal and abnormal images of a run
HEIGHT = 96  # of an image on the page, in pixels
GAP = 6
TITLE = 18


def run(folders: list[str], output: str) -> str:
    """Draws the page, a row of images and one of reconstructions for each run, as a PNG file.

    Returns: a line about the file.
    Raises: RunError for a folder without a finished run, or whose run does not search.
    """
    from PIL import Image

    rows = [row_of(pathlib.Path(folder)) for folder in folders]
    width = max(row.shape[1] for row in rows)
    rows = [np.pad(r, ((0, GAP), (0, width - r.shape[1]), (0, 0)), constant_values=255) for r in rows]
    page = np.concatenate(rows)
    output = pathlib.Path(output)
    with told_writing(output, RunError):
        output.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(page).save(output, format="PNG", optimize=True)
    return f"{output}: {page.shape[1]} x {page.shape[0]} pixels; left normal, right abnormal\n"


def row_of(folder: pathlib.Path) -> np.ndarray:
    """uint8 [h, w, 3]: the run's name, its images, and their reconstructions below."""
    config = run_folder.load_config(folder)
    detector = Detector.load(folder)
    if detector.search is None:
        raise RunError(f"{folder}: its score needs no search, so it draws no reconstructions")
    places.find(config, folder)
    dataset, splits, _ = build.load_data(config, folder)
    examples = chosen([e.abnormal for e in splits.test], config.seed)
    images = [dataset.read_image(splits.test[i]) for i in examples]
    pairs = [
        (to_channels(image, detector.channels), measured.reconstruction)
        for image, measured in zip(images, detector.measure(images), strict=True)
    ]
    # Both in the shape that the model sees: images may have any.
    columns = [np.concatenate([_shown(part, y.shape) for part in (x, y)]) for x, y in pairs]
    gap = np.full((columns[0].shape[0], GAP, 3), 255, np.uint8)
    row = np.concatenate([part for column in columns for part in (column, gap)], axis=1)
    return np.concatenate([_title(f"{folder.name}: {dataset.name}", row.shape[1]), row])


def chosen(abnormal: list[bool], seed: int) -> list[int]:
    """EACH normal and then EACH abnormal images, drawn at random; fewer where there are fewer."""
    rng = np.random.default_rng([seed, 5])
    found = []
    for kind in (False, True):
        members = np.flatnonzero(np.array(abnormal) == kind)
        found += sorted(rng.permutation(members)[:EACH].tolist())
    return found


def _shown(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """[h, w, C] in [-1, 1] -> uint8 [HEIGHT, W, 3], its sides as those of a shape; W at most twice HEIGHT."""
    height, width = shape[:2]
    width = min(2 * HEIGHT, max(1, round(width * HEIGHT / height)))
    pixels = to_uint8(resize(np.clip(image, -1, 1), HEIGHT, width))
    return np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels


def _title(text: str, width: int) -> np.ndarray:
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (width, TITLE), "white")
    ImageDraw.Draw(picture).text((2, 3), text, fill="black")
    return np.asarray(picture)
