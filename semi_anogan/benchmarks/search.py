"""What a longer search brings: AUROC of each of its components after few and many steps, by its start."""

import time

import numpy as np
from sklearn.metrics import roc_auc_score

from semi_anogan.benchmarks.results import machine, table
from semi_anogan.components import names_where
from semi_anogan.runs import build, places
from semi_anogan.runs import folder as run_folder
from semi_anogan.scoring.detector import Detector

COMPONENTS = names_where(needs_search=True)


def run(folder: str, iterations: list[int], most_images: int) -> str:
    """Markdown: a row for each start and number of iterations, without early stop, on a run's test images.

    Args:
      folder: of the finished run.
      iterations: numbers of steps.
      most_images: of the test images, half of them normal where there are so many; drawn at random, the same
        for all rows.

    Raises: RunError for a folder without a finished run, or one that does not search.
    """
    config = run_folder.load_config(folder)
    model = build.load_model(folder, config)
    places.find(config, folder)
    dataset, splits, _ = build.load_data(config, folder)
    chosen = choose([e.abnormal for e in splits.test], most_images, config.seed)
    images = [dataset.read_image(splits.test[i]) for i in chosen]
    abnormal = np.array([splits.test[i].abnormal for i in chosen])
    rows = []
    for start in ("encoder", "candidates"):
        for count in iterations:
            figures = figures_of(config, model, start, count, images, abnormal)
            rows.append([start, count, *figures.values()])
            told = ", ".join(f"{name} {value:.3f}" for name, value in figures.items() if name in COMPONENTS)
            print(f"{start}, {count} iterations: AUROC of {told}", flush=True)
    about = (
        f"{np.count_nonzero(~abnormal)} normal and {np.count_nonzero(abnormal)} abnormal test images; "
        f"lambda = {config.search.feature_weight}, mu = {config.search.pretrained_weight}, "
        f"nu = {config.search.image_weight}; "
        "image AUROC of each component"
    )
    header = ["start", "iterations", *figures]
    return f"Machine: {machine()}. {about}.\n\n{table(header, rows)}"


def figures_of(config, model, start: str, iterations: int, images: list, abnormal) -> dict[str, float]:
    """AUROC of each component of the search that the model has, by name, and "images/s"."""
    search = {"init": start, "iterations": iterations, "patience": 0}
    detector = Detector.of_config(config, model, components=COMPONENTS, search=search)
    list(detector.measure(images[:1]))  # compiles
    begun = time.monotonic()
    values = np.stack([m.components for m in detector.measure(images, overlap=True)])
    rate = len(images) / (time.monotonic() - begun)
    by_name = zip(detector.names, values.T, strict=True)
    return {**{name: float(roc_auc_score(abnormal, v)) for name, v in by_name}, "images/s": rate}


def choose(abnormal: list[bool], most: int, seed: int) -> np.ndarray:
    """Indices in order of at most `most` images, half of them normal where there are so many of both."""
    abnormal = np.asarray(abnormal, bool)
    order = np.random.default_rng(seed).permutation(len(abnormal))
    normal, other = order[~abnormal[order]], order[abnormal[order]]
    normals = min(len(normal), max(most // 2, most - len(other)))
    return np.sort(np.concatenate([normal[:normals], other[: most - normals]]))
