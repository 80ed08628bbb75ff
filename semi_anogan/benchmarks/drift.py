"""After how many images a change is told, and how often one is told that is none."""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageFilter

from semi_anogan import components as table_of_components
from semi_anogan.benchmarks.results import table
from semi_anogan.data.splits import TRAINED
from semi_anogan.runs import build, places
from semi_anogan.runs import folder as run_folder
from semi_anogan.scoring.calibration import Calibration
from semi_anogan.scoring.drift import PER_IMAGES, Drift, Usual

REPEATS = 20  # of each row, the images in another order
MOST = 2000  # images after which a change counts as not told
MOST_IMAGES = 60  # normal test images of a run that are changed
HEADER = ["run", "change", "told in", "images until then: median, most", "told: in how many of these"]


def run(folders: list[str], repeats: int = REPEATS, per_images: int = PER_IMAGES) -> str:
    """Markdown of run folders: their held-out and trained normal images are usual, and test images come.

    They come changed, those of each other run as another kind, and as they are. A component that needs the
    search is left out where it has no weight, since the search takes long.
    """
    followed = [_Followed(folder) for folder in folders]
    rows = []
    for one in followed:
        few = one.coming[:MOST_IMAGES]
        changed = {name: [change(image) for image in few] for name, change in CHANGES.items()}
        others = [other for other in followed if other is not one]
        changed |= {f"normal images of {other.name}": other.coming[:MOST_IMAGES] for other in others}
        for name, images in changed.items():
            rows.append([one.name, name, *one.told(images, repeats, MOST)])
        rows.append([one.name, f"none, {per_images} images", *one.told(one.coming, repeats, per_images)])
    return table(HEADER, rows)


class _Followed:
    """A run: what was usual of it, and new normal images.

    Attributes: name; coming: normal test images.
    """

    def __init__(self, folder: str):
        from semi_anogan.scoring.detector import Detector

        self.name = pathlib.Path(folder).name
        config = run_folder.load_config(folder)
        places.find(config, folder)
        dataset, splits, _ = build.load_data(config, folder)
        calibration = Detector.load(folder).pruned().calibrated
        weights = dict(zip(calibration.names, calibration.weights, strict=True))
        names = [n for n in calibration.names if weights[n] or not table_of_components.searches([n])]
        self._detector = Detector.load(folder, components=names, calibration=None)
        # In the order of the detector's names; without the rest the score is the same.
        self._calibration = calibration.pruned(names)
        held_out = self._measured([dataset.read_image(e) for e in splits.held_out_normal])
        trained = self._measured([dataset.read_image(e) for e in splits.normal[:TRAINED]])
        usual = Usual.of_measured(held_out, trained, calibration.set_aside, self._calibration.names)
        self._calibration = dataclasses.replace(self._calibration, usual=usual)
        coming = [dataset.read_image(e) for e in splits.test if not e.abnormal]
        # In any order: those of one kind often follow each other.
        self.coming = [coming[i] for i in np.random.default_rng(0).permutation(len(coming))]

    def _measured(self, images):
        return list(self._detector.measure(images, overlap=True, pictures=False))

    def told(self, images, repeats: int, most: int) -> tuple[str, str, str]:
        """(in how many orders a change is told, after how many images, what is told)."""
        return told(self._calibration, self._measured(images), repeats, most)


def told(calibration: Calibration, measured: Sequence, repeats: int, most: int) -> tuple[str, str, str]:
    """(in how many orders a change is told, after how many images, what is told), of Measurements."""
    labels = [float(calibration.score(m.components[None])[0]) > calibration.threshold for m in measured]
    counts, names = [], []
    for seed in range(repeats):
        drift = Drift(calibration, measured[0].summary is not None, True)
        ended = None  # a little after the first line, for those that come with it
        for index in np.random.default_rng(seed).integers(len(measured), size=most):
            m = measured[index]
            if drift.add(m.look, labels[index], m.components, m.summary) and ended is None:
                counts.append(drift.count)
                ended = drift.count + 20
            if drift.count == ended:
                break
        names += drift.warned
    until = f"{np.median(counts):.0f}, {max(counts)}" if counts else "–"
    found = sorted(((names.count(name), name) for name in set(names)), key=lambda pair: (-pair[0], pair[1]))
    return f"{len(counts)} of {repeats}", until, ", ".join(f"{n} {c}" for c, n in found) or "–"


def _times(factor: float):
    return lambda image: np.clip((image + 1) * factor - 1, -1, 1)


def _blurred(image: np.ndarray) -> np.ndarray:
    planes = [Image.fromarray(np.uint8((plane + 1) * 127.5)) for plane in np.moveaxis(image, -1, 0)]
    planes = [np.asarray(plane.filter(ImageFilter.GaussianBlur(2))) for plane in planes]
    return np.stack(planes, axis=-1).astype(np.float32) / 127.5 - 1


def _shifted(image: np.ndarray) -> np.ndarray:
    by = round(0.05 * image.shape[1])
    return np.concatenate([np.repeat(image[:, :1], by, axis=1), image[:, :-by]], axis=1)


def _nearer(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    return image[height // 4 : height - height // 4, width // 4 : width - width // 4]


CHANGES = {
    "0.7 times as bright": _times(0.7),
    "0.9 times as bright": _times(0.9),
    "1.3 times as bright": _times(1.3),
    "blurred, sigma 2 pixels": _blurred,
    "shifted by 5 % of the width": _shifted,
    "twice as large: the middle half": _nearer,
    "turned by half a turn": lambda image: image[::-1, ::-1],
    "another kind: negative": lambda image: -image,
}
