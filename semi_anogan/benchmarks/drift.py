"""After how many images a change of light, focus or position is told, and how often one is told that is none.

No network: what is watched here are the images as a whole.
"""

import pathlib

import numpy as np
from PIL import Image, ImageFilter

from semi_anogan.benchmarks.results import table
from semi_anogan.data.look import Look, look
from semi_anogan.data.splits import TRAINED
from semi_anogan.runs import build, places
from semi_anogan.runs import folder as run_folder
from semi_anogan.scoring.drift import PER_IMAGES, Drift, Usual

REPEATS = 20  # of each row, the images in another order
MOST = 2000  # images after which a change counts as not told
HEADER = ["run", "change", "told in", "images until then: median, most", "told first"]


class Watched:
    """What Drift takes of a calibration, without scores."""

    normal_scores, threshold, false_alarm_rate = (), 0.0, 0.01

    def __init__(self, usual: Usual):
        self.usual = usual


def run(folders: list[str], repeats: int = REPEATS, per_images: int = PER_IMAGES) -> str:
    """Markdown of run folders: their held-out and trained normal images are usual, and test images come."""
    rows = []
    for folder in folders:
        config = run_folder.load_config(folder)
        places.find(config, folder)
        dataset, splits, _ = build.load_data(config, folder)
        trained = splits.normal[:TRAINED]
        usual = Usual.of([look(dataset.read_image(e)) for e in [*splits.held_out_normal, *trained]])
        coming = [dataset.read_image(e) for e in splits.test if not e.abnormal]
        name = pathlib.Path(folder).name
        for change, changed in CHANGES.items():
            looks = [look(changed(image)) for image in coming]
            rows.append([name, change, *_told(usual, looks, repeats, MOST)])
        # Other images of those that are usual: new ones of a test may really differ.
        unseen = [look(dataset.read_image(e)) for e in splits.normal[TRAINED:]]
        looks = unseen or [look(image) for image in coming]
        what = f"none, {per_images} images" + ("" if unseen else " of the test")
        rows.append([name, what, *_told(usual, looks, repeats, per_images)])
    return table(HEADER, rows)


def _told(usual: Usual, looks: list[Look], repeats: int, most: int) -> tuple[str, str, str]:
    counts, names = [], []
    for seed in range(repeats):
        drift = Drift(Watched(usual))
        for index in np.random.default_rng(seed).integers(len(looks), size=most):
            if drift.add(looks[index], False):
                counts.append(drift.count)
                names.append(next(iter(drift.warned)))
                break
    until = f"{np.median(counts):.0f}, {max(counts)}" if counts else "–"
    first = max(sorted(set(names)), key=names.count) if names else "–"
    return f"{len(counts)} of {repeats}", until, first


def _times(factor: float):
    return lambda image: np.clip((image + 1) * factor - 1, -1, 1)


def _blurred(image: np.ndarray) -> np.ndarray:
    planes = [Image.fromarray(np.uint8((plane + 1) * 127.5)) for plane in np.moveaxis(image, -1, 0)]
    planes = [np.asarray(plane.filter(ImageFilter.GaussianBlur(2))) for plane in planes]
    return np.stack(planes, axis=-1).astype(np.float32) / 127.5 - 1


def _shifted(image: np.ndarray) -> np.ndarray:
    by = round(0.05 * image.shape[1])
    return np.concatenate([np.repeat(image[:, :1], by, axis=1), image[:, :-by]], axis=1)


CHANGES = {
    "0.7 times as bright": _times(0.7),
    "0.9 times as bright": _times(0.9),
    "1.3 times as bright": _times(1.3),
    "blurred, sigma 2 pixels": _blurred,
    "shifted by 5 % of the width": _shifted,
    "turned by half a turn": lambda image: image[::-1, ::-1],
    "another kind: negative": lambda image: -image,
}
