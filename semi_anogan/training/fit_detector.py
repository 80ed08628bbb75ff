"""From a trained model to its detector, all from training images.

Sample patches -> suspicion -> defects (known, or what stands in) -> parts -> detector -> calibrate -> save.
"""

import functools
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from semi_anogan.components import names_where
from semi_anogan.config import words
from semi_anogan.data.dataset import Example
from semi_anogan.data.image_arrays import resize, to_channels
from semi_anogan.data.splits import TRAINED
from semi_anogan.data.synthetic import calibration_kinds
from semi_anogan.progress import shown
from semi_anogan.runs import folder as run_folder
from semi_anogan.runs import remembered, suspicious_csv
from semi_anogan.scoring.classifier import Classifier
from semi_anogan.scoring.detector import Detector
from semi_anogan.scoring.feature_reader import FeatureReader
from semi_anogan.scoring.fit_calibration import HeldOut
from semi_anogan.scoring.parts import PARTS, write_parts
from semi_anogan.scoring.segmentation import Segmentation
from semi_anogan.training import suspicion
from semi_anogan.training.defects import Defects, find_defects, known_weigh, synthesised
from semi_anogan.training.events import EventWriter
from semi_anogan.training.memory import RELIT, fit_memory, varied
from semi_anogan.training.monitor import picture
from semi_anogan.training.segmentation import fit_segmentation
from semi_anogan.training.suspicion import Samples


def fit_detector(
    config, folder, model, dataset, splits, step: int | None = None, segmentation: Segmentation | None = None
) -> Detector:
    """The detector of a trained model, fitted on normal training images, calibrated on held-out ones.

    step: of the checkpoint that the model has; segmentation: of the run's former detector, which is trained
    on.

    Writes detector.json, a file for each part, evidence.npz and suspicious.csv, in which the "normal"
    training images stand that look most abnormal.
    """
    folder = pathlib.Path(folder)
    read = reading(dataset)
    wanted = wanted_parts(config)
    reader = FeatureReader(model, config.images.tile, config.score.batch_size) if wanted else None

    samples = Samples.none()
    if {"memory", "likeness"} & wanted:
        samples = suspicion.sample_patches(reader, read, splits, config.seed)
    defects = find_defects(config, model, dataset, splits, read, reader, samples, "likeness" in wanted)
    remember = functools.partial(fit_memory, dataset, model, reader, splits, samples, defects, config.seed)
    segment = functools.partial(fit_segmentation, config, model, dataset, splits, former=segmentation)
    parts = fit_parts(wanted, read, reader, splits, defects, remember, segment, **config.parts)
    detector = Detector.of_config(config, model, **parts)
    detector = detector.calibrate(
        held_out_images(config, dataset, splits, detector, read, reader),
        config.calibration.false_alarm_rate,
        base_components(config),
    )
    save(folder, detector, defects, splits.normal, step)
    if detector.search is not None:
        examples = splits.held_out_normal[:8] + splits.held_out_abnormal[:8]
        write_reconstructions(folder, detector, [dataset.read_image(e) for e in examples])
    return detector


def reading(dataset):
    """A function of (examples, what is shown) -> their images one by one, under a progress bar."""
    return lambda examples, what: shown((dataset.read_image(e) for e in examples), len(examples), what)


def wanted_parts(config) -> set[str]:
    """Which of the parts the settings ask for."""
    chosen = words(config.score.components)
    if not config.features.name:
        return set()
    return {name for name in PARTS if config.parts[name] and (not chosen or name in chosen)}


def fit_parts(
    wanted: set[str],
    read,
    reader: FeatureReader | None,
    splits,
    defects: Defects,
    remember: Callable,
    segment: Callable,
    memory: int,
    memory_doubt: float,
    likeness: bool,
    classifier: bool,
    segmentation: int,
) -> dict:
    """What is fitted to the pretrained features, by its name among the arguments of Detector.

    Args: remember: (most patches, doubt) -> Memory; segment: (normal images to leave out, batches) ->
      Segmentation or None; memory, memory_doubt, likeness, classifier, segmentation: the section `parts` of
      the configuration; `wanted` says which of them the score has a use for.
    """
    parts = {"likeness": defects.likeness} if "likeness" in wanted else {}
    if "memory" in wanted:
        parts["memory"] = remember(memory, memory_doubt)
    # Of few known defects it learns little, and none are held out that would say how much it is worth.
    if "classifier" in wanted and splits.held_out_abnormal:
        trimmed = set(defects.trimmed)
        normal = [e for e in splits.normal if e not in trimmed]
        of_normal = reader.pooled(read(normal, "features of normal"))
        parts["classifier"] = Classifier.fit(
            of_normal, reader.pooled(read(splits.abnormal, "features of known abnormal"))
        )
    if "segmentation" in wanted:
        parts["segmentation"] = segment(defects.trimmed, segmentation)
    return {name: part for name, part in parts.items() if part is not None}


def trained_sample(normal: Sequence[Example], seed: int, most: int = TRAINED) -> list[int]:
    """Places of `most` normal training images, drawn at random; all that a person found normal are there."""
    order = np.random.default_rng([seed, 5]).permutation(len(normal))
    chosen = sorted(order.tolist(), key=lambda i: not normal[i].reviewed)
    return sorted(chosen[: max(most, sum(e.reviewed for e in normal))])


def held_out_images(config, dataset, splits, detector, read, reader: FeatureReader | None) -> HeldOut:
    """The images that Detector.calibrate takes.

    read: (examples, what is shown) -> images; reader: of the detector's model, where it has a memory.
    """
    weigh = known_weigh(splits)
    # With few known abnormal images none are held out; each is then judged by the likeness to the others.
    few = bool(splits.abnormal) and detector.likeness is not None and not splits.held_out_abnormal and weigh
    numbers, of_memory = trained_sample(splits.normal, config.seed), ()
    if detector.memory is not None:
        if any(memory.owner is None for memory in detector.memory.sizes.values()):  # of a run of before
            numbers = []
        images = read([splits.normal[i] for i in numbers], "memory of normal")
        of_memory = reader.memory_left_out(detector.memory, images, numbers)
    trained = [splits.normal[i] for i in numbers]

    def read_masked(examples, what):  # of these the maps count, too
        return shown(map(dataset.masked, examples), len(examples), what)

    return HeldOut(
        normal=read_masked(splits.held_out_normal, "held-out normal"),
        abnormal=read(splits.held_out_abnormal, "held-out abnormal"),
        synthetic=() if weigh or detector.likeness is None else read_synthetic(config, dataset, splits),
        relit=varied(splits.held_out_normal[:RELIT], dataset.read_image, (), [config.seed, 6]),
        known=read(splits.abnormal, "known abnormal") if few else (),
        checked=[e.reviewed for e in splits.held_out_normal + trained],
        tested=("likeness",),
        trained=read_masked(trained, "normal"),
        trained_memory=of_memory,
        mislabelled_share=config.calibration.mislabelled_share,
    )


def read_synthetic(config, dataset, splits, most: int = 100):
    """Held-out normal images with synthetic defects of kinds that training does not draw.

    They show whether a likeness that knows synthetic or hidden defects alone is worth anything on this data.
    """
    kinds = calibration_kinds(words(config.batches.synthetic_kinds))
    drawn = synthesised(dataset, splits.held_out_normal[:most], kinds, [config.seed, 3])
    yield from (image for image, _ in drawn)


def base_components(config) -> tuple[str, ...]:
    """What counts without known defects: what needs none, and what learned from kinds that a person named."""
    named = bool(config.objective.synthetic_weight and config.batches.synthetic_kinds)
    return names_where(unlabelled=True) + (("patches", "likeness") if named else ())


def save(folder: pathlib.Path, detector: Detector, defects: Defects, normal: Sequence[Example], step):
    """Writes what was fitted; detector.json, without which a run is not finished, comes last."""
    (folder / run_folder.DETECTOR).unlink(missing_ok=True)
    write_parts(folder, {name: getattr(detector, name) for name in PARTS})
    remembered.write(folder, None if detector.memory is None else [e.path for e in normal])
    run_folder.write_arrays(folder / run_folder.EVIDENCE, detector.rests_on.arrays())
    suspicious_csv.write(folder / run_folder.SUSPICIOUS, defects.ranked, defects.found)
    run_folder.write_json(folder / run_folder.DETECTOR, {**detector.state(), "step": step})


def write_reconstructions(folder, detector, images):
    """Adds images (upper row) and their reconstructions (lower row) to the TensorBoard events."""
    shape = detector.shape
    upper = [resize(to_channels(image, detector.channels), *shape) for image in images]
    lower = [resize(m.reconstruction, *shape) for m in detector.measure(images)]
    events = EventWriter(pathlib.Path(folder) / run_folder.EVENTS)
    events.image(0, "reconstructions", picture(upper + lower, len(images)))
    events.close()
