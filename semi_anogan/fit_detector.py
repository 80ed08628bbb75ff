"""From a trained model to its detector: memory, likeness, weights and threshold, all from training images."""

import pathlib

import numpy as np

from semi_anogan import runs, suspicion
from semi_anogan.data.images import resize, to_channels
from semi_anogan.data.synthetic import CALIBRATION_KINDS, TRAINING_KINDS, synthesise
from semi_anogan.events import EventWriter
from semi_anogan.monitor import picture
from semi_anogan.progress import shown


def fit_detector(config, folder, model, dataset, splits):
    """The detector of a trained model, with its memory of the normal training images, fitted on the held-out ones.

    Writes detector.json, memory.npz, likeness.npz and suspicious.csv, in which the "normal" training images stand that look most abnormal.
    """
    folder = pathlib.Path(folder)

    def read(examples, what):
        return shown((dataset.read_image(e) for e in examples), len(examples), what)

    for name in (runs.MEMORY, runs.LIKENESS):  # of an earlier end of this run
        (folder / name).unlink(missing_ok=True)
    ranked = suspicion.rank(config, model, read, splits)
    suspicion.write(folder / runs.SUSPICIOUS, ranked)
    detector = runs.build_detector(config, model)
    normal = suspicion.without_suspicious(ranked, splits.normal, _trim_share(config, model), config.seed)
    if detector.wants("memory"):
        detector.remember(read(normal, "memory"), config.features.memory, config.seed, config.features.memory_trim)
        runs.write_arrays(folder / runs.MEMORY, detector.memory.arrays())
    if detector.wants("likeness") and (splits.abnormal or config.objective.synthetic_weight):
        detector.recognise(read(normal[:500], "likeness"), defects(config, dataset, splits.abnormal, normal), config.seed)
        runs.write_arrays(folder / runs.LIKENESS, detector.likeness.arrays())
    if not detector.names:
        raise runs.RunError(f"score.components: {config.score.components} needs known abnormal images, and none are given")
    images = calibration_images(config, dataset, splits, detector, read)
    detector.calibrate(false_alarm_rate=config.calibration.false_alarm_rate, **images)
    runs.write_json(folder / runs.DETECTOR, detector.state())
    examples = splits.held_out_normal[:8] + splits.held_out_abnormal[:8]
    if detector.search is not None:
        write_reconstructions(folder, detector, [dataset.read_image(e) for e in examples])
    return detector


def defects(config, dataset, known, normal, most: int = 100):
    """Abnormal images with their masks (None where not known), for the likeness: the known ones; without any, normal training images
    with synthetic defects, `most` of them.
    """
    if known:
        for example in known:
            yield dataset.read_image(example), dataset.read_mask(example) if config.objective.masks else None
        return
    yield from _synthesised(dataset, normal[:most], TRAINING_KINDS, [config.seed, 4])


def calibration_images(config, dataset, splits, detector, read) -> dict:
    """The images that Detector.calibrate takes, by its arguments' names; read: (examples, what is shown) -> images."""
    # With few known abnormal images none are held out; each is then judged by the likeness to the others.
    few = bool(splits.abnormal) and detector.likeness is not None and not splits.held_out_abnormal
    return {
        "normal": read(splits.held_out_normal, "held-out normal"),
        "abnormal": read(splits.held_out_abnormal, "held-out abnormal"),
        "synthetic": () if few else read_synthetic(config, dataset, splits),
        "known": read(splits.abnormal, "known abnormal") if few else (),
    }


def read_synthetic(config, dataset, splits, most: int = 100):
    """Held-out normal images with synthetic defects of kinds that training does not draw, where the objective knows such.

    None without known abnormal images: what was then trained on synthetic defects alone finds the other synthetic kinds easily, whatever
    it finds of real ones, and would get the weight (docs/results.md, "No known defects").
    """
    if config.objective.synthetic_weight and splits.abnormal:
        drawn = _synthesised(dataset, splits.held_out_normal[:most], CALIBRATION_KINDS, [config.seed, 3])
        yield from (image for image, _ in drawn)


def _synthesised(dataset, examples, kinds, seed: list[int]):
    """(image, mask) of each example with synthetic defects, whose foreign texture is that of the example before."""
    for index, example in enumerate(examples):
        image, other = dataset.read_image(example), dataset.read_image(examples[index - 1])
        if other.shape != image.shape:
            other = resize(other, *image.shape[:2])
        yield synthesise(image, other, np.random.default_rng([*seed, index]), kinds)


def _trim_share(config, model) -> float:
    share = config.objective.trim_share
    return float(np.asarray(model.trim_rate)) if share is None else share  # asarray: under a strategy it is a variable of each replica


def write_reconstructions(folder, detector, images):
    """Adds a picture to the TensorBoard events: images in the upper row, their reconstructions in the lower one."""
    side = detector.resolution
    upper = [resize(to_channels(image, detector.channels), side, side) for image in images]
    lower = [resize(m.reconstruction, side, side) for m in detector.measure(images)]
    events = EventWriter(pathlib.Path(folder) / runs.EVENTS)
    events.image(0, "reconstructions", picture(upper + lower, len(images)))
    events.close()
