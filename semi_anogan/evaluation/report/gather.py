"""Gathers what the report of a run shows."""

import os

import numpy as np

from semi_anogan.config import words
from semi_anogan.data import image_arrays
from semi_anogan.data.batches import Batches
from semi_anogan.data.review import TEST, TRAINING
from semi_anogan.data.synthetic import training_kinds
from semi_anogan.errors import DataError
from semi_anogan.evaluation.report.contents import (
    GalleryItem,
    Report,
    SortItem,
    SuspiciousImage,
    WorstImage,
    choose_gallery,
    choose_to_sort,
    choose_worst,
)
from semi_anogan.evaluation.report.pictures import small_jpeg
from semi_anogan.evaluation.results import DIFFERENCE_EDGES, Results
from semi_anogan.evaluation.threshold_notes import threshold_notes
from semi_anogan.runs import build, suspicious_csv
from semi_anogan.runs import folder as run_folder
from semi_anogan.scoring.regions import union

SHOWN = ("penalty", "variety", "reconstruction", "feature_residual")  # of the history, beside the losses
LEAST_VARIETY = 0.3  # of the generated images, below which the report warns
MOST_TO_SORT = 60  # images of a group that may be labelled in the report
SORT_SIDE = 160  # pixels of the long side of their pictures
# Of the residual of normal images, in units of that to their mean image, above which it warns.
MOST_RECONSTRUCTION = 0.9


def report_of_run(
    config, folder, detector, dataset, splits, history: dict, results: Results, metrics: dict
) -> Report:
    """The report of a run's test images.

    Args: config, folder, detector, dataset, splits: of the run; history: the training's; results: of the test
      images; metrics: of the results.
    """
    searched = detector.search is not None
    chosen = choose_gallery(results.abnormal, results.scores, detector.threshold)
    kinds = training_kinds(words(config.batches.synthetic_kinds))
    to_sort, left_out = images_to_sort(
        folder / run_folder.SUSPICIOUS, dataset, splits.test, results, detector.threshold
    )
    return Report(
        title=f"{config.name}: {dataset.name}",
        metrics=metrics,
        paths=[e.path for e in splits.test],
        abnormal=results.abnormal,
        scores=results.scores,
        threshold=detector.threshold,
        config=config.to_dict(),
        components=results.components,
        component_names=detector.names,
        pixel_differences=results.pixel_differences if searched else {},
        pixel_difference_edges=DIFFERENCE_EDGES,
        gallery=gallery_items(detector, dataset, [(splits.test[i], group) for i, group in chosen]),
        worst=worst_images(dataset, splits.test, results),
        suspicious=suspicious_images(folder / run_folder.SUSPICIOUS, dataset),
        history=curves(history),
        synthetic=synthetic_images(config, dataset, splits.normal, kinds),
        synthetic_kinds=kinds,
        hidden_abnormal=sum(e.mislabelled for e in splits.normal + splits.held_out_normal) or None,
        warnings=[
            *detector.calibration.warnings,
            *_of_threshold(detector, results),
            *(generator_warnings(history) if searched else []),
        ],
        run=os.fspath(folder),
        normal_scores=detector.calibrated.normal_scores,
        to_sort=to_sort,
        left_out=left_out,
        kinds=sorted({e.kind for e in splits.training if e.kind}),
    )


def gallery_items(detector, dataset, chosen) -> list[GalleryItem]:
    """The items of (example, group) pairs, searched together: one alone costs as much as a batch."""
    items = []
    images = (dataset.masked(example) for example, _ in chosen)
    measured = detector.measure(images, combined=True)
    for (example, group), measurement in zip(chosen, measured, strict=True):
        score, label, anomaly_map = detector.judge(measurement)
        regions = None
        if detector.pixel_threshold is not None:
            (found,) = detector.regions([label], [anomaly_map])
            regions = union(found, anomaly_map.shape)
        items.append(
            GalleryItem(
                path=example.path,
                abnormal=example.abnormal,
                score=score,
                group=group,
                input=image_arrays.to_channels(dataset.read_image(example), detector.channels),
                reconstruction=measurement.reconstruction,
                difference=measurement.difference,
                anomaly_map=np.maximum(anomaly_map, 0.0),
                mask=dataset.read_mask(example),
                regions=regions,
            )
        )
    return items


def worst_images(dataset, examples, results: Results) -> list[WorstImage]:
    """The abnormal test images of each kind of defect that look least abnormal."""
    chosen = choose_worst([e.kind for e in examples], results.abnormal, results.scores)
    return [
        WorstImage(e.path, e.kind, float(results.scores[i]), dataset.read_image(e), dataset.read_mask(e))
        for i, e in ((i, examples[i]) for i in chosen)
    ]


def suspicious_images(path, dataset, most: int = 20) -> list[SuspiciousImage]:
    """The "normal" training images that look most abnormal, for a person to check.

    path: of the run's suspicious.csv.
    """
    examples = {e.path: e for e in dataset.examples}
    known = any(e.mislabelled for e in dataset.examples)  # else the source does not know the truth
    rows = [
        (examples[name], value) for name, value in suspicious_csv.read_highest(path, most) if name in examples
    ]
    return [
        SuspiciousImage(e.path, value, e.mislabelled if known else None, dataset.read_image(e))
        for e, value in rows
    ]


def images_to_sort(
    path, dataset, tests, results: Results, threshold: float, most: int = MOST_TO_SORT
) -> tuple[list[SortItem], dict[str, int]]:
    """(images that a person may label in the report, how many more there are of a group).

    Args: path: of the run's suspicious.csv, of which images without a label are taken; tests: the test's
      examples; most: images of a group.
    """
    examples = {e.path: e for e in dataset.examples}
    chosen, left_out = choose_to_sort(results.abnormal, results.scores, threshold, most)
    rows = suspicious_csv.read_highest(path, None)
    listed = [(examples[name], value) for name, value in rows if name in examples]
    if len(listed) > most:
        left_out = {"suspicious": len(listed) - most, **left_out}
    items = [(e, SortItem(e.path, TRAINING, "suspicious", value)) for e, value in listed[:most]]
    for i, group in chosen:
        example = tests[i]
        items.append((example, SortItem(example.path, TEST, group, float(results.scores[i]), example.label)))
    for example, item in items:
        try:
            item.jpeg = small_jpeg(dataset.read_image(example), SORT_SIDE)
        except DataError:  # it is gone since the training
            continue
    return [item for _, item in items], left_out


def synthetic_images(config, dataset, normal, kinds, count: int = 7) -> list[np.ndarray]:
    """Normal training images with synthetic defects, as training draws them where it does."""
    if not config.objective.synthetic_weight:
        return []
    if dataset.files is not None:  # some may be gone since the training
        normal = [e for e in normal if os.path.exists(dataset.files.path(e))]
    if not normal:
        return []
    store = build.image_store(config, dataset, cache_megabytes=0)
    batches = Batches(
        store,
        normal,
        [],
        1,
        flips=config.batches.flips,
        seed=config.seed,
        synthetic_share=1.0,
        synthetic_kinds=kinds,
    )
    return list(batches.batch(0, count)["images"][count:])


def curves(history: dict) -> dict[str, tuple]:
    """name -> (images seen, values) of the training's losses and the generator's variety."""
    found = {}
    for name, values in history.items():
        if name.endswith("_loss") or name in SHOWN:
            pairs = [
                (seen, v) for seen, v in zip(history["images_seen"], values, strict=True) if v is not None
            ]
            found[name] = tuple(zip(*pairs, strict=True))
    return found


def _of_threshold(detector, results) -> list[str]:
    if detector.chosen is not None:  # by a person, who asked for no rate
        return []
    asked = detector.calibrated.false_alarm_rate
    return threshold_notes(results.abnormal, results.scores, detector.threshold, asked)


def generator_warnings(history: dict) -> list[str]:
    """Sentences where the generator draws nearly one image, or normal images no better than their mean.

    That goes by the means of the last figures of the training.
    """

    def last(name: str) -> float | None:
        values = [v for v in history.get(name, ()) if v is not None][-5:]
        return np.mean(values) if values else None

    so = (
        "so reconstructions, residual and search say little; train longer (schedule.total_kimages), or leave "
        "the search out (score.components)"
    )
    variety, reconstruction, found = last("variety"), last("reconstruction"), []
    if variety is not None and variety < LEAST_VARIETY:
        found.append(
            f"the generator has collapsed: its images differ from each other by {variety:.0%} of what "
            f"normal images do, {so}"
        )
    if reconstruction is not None and reconstruction > MOST_RECONSTRUCTION:
        found.append(
            "the generator hardly redraws normal images: their residual is "
            f"{reconstruction:.0%} of that to their mean image, {so}"
        )
    return found
