"""From a trained model to its detector: memory, likeness, classifier, weights and threshold, all from
training images.
"""

import functools
import pathlib

import numpy as np

from semi_anogan.config import words
from semi_anogan.data.images import resize, to_channels
from semi_anogan.data.synthetic import calibration_kinds, synthesise, training_kinds
from semi_anogan.errors import RunError
from semi_anogan.progress import shown
from semi_anogan.runs import folder as run_folder
from semi_anogan.runs import suspicious_csv
from semi_anogan.scoring import patch_samples as normal_patches
from semi_anogan.scoring.detector import build_detector
from semi_anogan.training import suspicion
from semi_anogan.training.events import EventWriter
from semi_anogan.training.monitor import picture

# Where no defect is known the most suspicious normal training images stand in for them: so many at first, by
# their isolation alone, then by what the likeness to these says too; of few images at most one in 40, one in
# 20. Hidden defects recognise each other, images that are merely unusual hardly do: the discriminant of the
# others puts a stand-in this many robust standard deviations above held-out normal images on the mean, or
# synthetic defects are taken instead. Chosen on training images (docs/experiments.md, "No known defects").
FIRST_STAND_INS, STAND_INS = (10, 40), (20, 20)
ALIKE = 5.0
# Of these a person has found abnormal so many are needed to go without the others.
ENOUGH_FOUND = 3


def fit_detector(config, folder, model, dataset, splits):
    """The detector of a trained model, with its memory of the normal training images, fitted on the held-out
    ones.

    Writes detector.json, memory.npz, likeness.npz, classifier.npz and suspicious.csv, in which the "normal"
    training images stand that look most abnormal.
    """
    folder = pathlib.Path(folder)

    def read(examples, what):
        return shown((dataset.read_image(e) for e in examples), len(examples), what)

    for name in (
        run_folder.MEMORY,
        run_folder.LIKENESS,
        run_folder.CLASSIFIER,
    ):  # of an earlier end of this run
        (folder / name).unlink(missing_ok=True)
    detector = build_detector(config, model)
    wants_memory, wants_likeness = detector.wants("memory"), detector.wants("likeness")
    drawn, isolation = {}, {}
    if wants_memory or wants_likeness:
        drawn, isolation = draw(config, splits, detector, read)
    likeness_to = functools.partial(recognise, config, detector, dataset, drawn)
    doubtful = [e for e in splits.normal if not e.reviewed]
    found = [e for e in splits.abnormal + splits.held_out_abnormal if e.reviewed]
    known = splits.abnormal if weighs(splits) else []
    first = []
    if wants_likeness and not known:
        first = (
            found if len(found) >= ENOUGH_FOUND else found + _highest(isolation, doubtful, *FIRST_STAND_INS)
        )
    if wants_likeness and (known or first):
        likeness_to(known or first)
    ranked = suspicion.rank(config, model, read, splits, isolation, detector.likeness, first)
    suspicious_csv.write(folder / run_folder.SUSPICIOUS, ranked, found)
    stand_ins = []
    if wants_likeness and not known:
        stand_ins = found + _highest(dict(ranked), doubtful, max(0, STAND_INS[0] - len(found)), STAND_INS[1])
        if len(stand_ins) > 1 and stand_ins != first:
            likeness_to(stand_ins)
        if (
            len(stand_ins) < 2
            or how_alike(config, model, read, splits.held_out_normal, detector.likeness) < ALIKE
        ):
            stand_ins = found if len(found) >= ENOUGH_FOUND else []
            likeness_to(stand_ins)
    trimmed = set(
        suspicion.highest(dict(ranked), doubtful, round(_trim_share(config, model) * len(splits.normal)))
    )
    if wants_memory:
        left_out = {*trimmed, *stand_ins}
        remember(config, detector, {e: patches for e, patches in drawn.items() if e not in left_out})
        run_folder.write_arrays(folder / run_folder.MEMORY, detector.memory.arrays())
    if detector.likeness is not None:
        run_folder.write_arrays(folder / run_folder.LIKENESS, detector.likeness.arrays())
    # Of few known defects it learns little, and none are held out that would say how much it is worth.
    if detector.wants("classifier") and splits.held_out_abnormal:
        normal = [e for e in splits.normal if e not in trimmed]
        detector.tell_apart(
            read(normal, "features of normal"), read(splits.abnormal, "features of known abnormal")
        )
        run_folder.write_arrays(folder / run_folder.CLASSIFIER, detector.classifier.arrays())
    if not detector.names:
        raise RunError(
            f"score.components: {config.score.components} needs known abnormal images, and none are given"
        )
    images = calibration_images(config, dataset, splits, detector, read)
    # What learned from defects of the kinds that are expected finds what the memory may not; so does the
    # likeness to stand-ins that recognise each other, which are hidden defects.
    expected = config.objective.synthetic_weight and config.objective.synthetic_kinds
    trusted = ("patches", "likeness") if expected else ("likeness",) if stand_ins else ()
    checked = [e.reviewed for e in splits.held_out_normal]
    detector.calibrate(
        false_alarm_rate=config.calibration.false_alarm_rate, trusted=trusted, checked=checked, **images
    )
    run_folder.write_json(folder / run_folder.DETECTOR, detector.state())
    examples = splits.held_out_normal[:8] + splits.held_out_abnormal[:8]
    if detector.search is not None:
        write_reconstructions(folder, detector, [dataset.read_image(e) for e in examples])
    return detector


def weighs(splits) -> bool:
    """Whether the known abnormal images may weigh the components of the score.

    Those that a person found among the most suspicious training images look the way the components say, so by
    them memory and likeness
    would seem perfect; without any other, unless there are enough to hold out, they stand in as hidden
    defects do.
    """
    return bool(splits.held_out_abnormal) or any(not e.reviewed for e in splits.abnormal)


def draw(config, splits, detector, read) -> tuple[dict, dict]:
    """(patches of each normal training image; isolation of each, and of each held-out one, from the training
    ones), by example.
    """
    drawn = detector.draw(read(splits.normal, "patches of normal"), config.seed)
    held_out = detector.draw(read(splits.held_out_normal, "patches of held-out normal"), config.seed)
    isolation = dict(zip(splits.normal, normal_patches.isolation(drawn), strict=True))
    isolation |= zip(splits.held_out_normal, normal_patches.isolation(held_out, drawn), strict=True)
    return dict(zip(splits.normal, drawn, strict=True)), isolation


def remember(config, detector, drawn):
    """Makes the detector's memory of normal training images; drawn: {example: its patches}. Reviewed ones are
    remembered whatever they look like.
    """
    checked = [e.reviewed for e in drawn]
    detector.remember(
        list(drawn.values()), config.features.memory, config.seed, config.features.memory_trim, checked
    )


def recognise(config, detector, dataset, drawn, examples, most: int = 100):
    """Makes the detector's likeness, to known abnormal images with their masks, or to normal ones that stand
    in for them.

    Without examples it is to synthetic defects, of kinds that training draws, in `most` normal images, if it
    draws any.
    """
    if not examples and not config.objective.synthetic_weight:
        return
    left_out = set(examples)
    masks = config.objective.masks and all(e.abnormal for e in examples)
    abnormal = ((dataset.read_image(e), dataset.read_mask(e) if masks else None) for e in examples)
    if not examples:
        abnormal = synthesised(
            dataset,
            list(drawn)[:most],
            training_kinds(words(config.objective.synthetic_kinds)),
            [config.seed, 4],
        )
    detector.recognise([patches for e, patches in drawn.items() if e not in left_out], abnormal)


def how_alike(config, model, read, held_out, likeness) -> float:
    """By how many robust standard deviations of held-out normal images the likeness's own images exceed them,
    on the mean, each judged
    by the discriminant of the others.
    """
    detector = build_detector(config, model, components=("likeness",), likeness=likeness)
    if not len(likeness.left_out):  # of more images than are judged one by one
        return np.inf
    normal = np.stack([m.components[0] for m in detector.measure(read(held_out, "stand-ins"), overlap=True)])
    median = np.median(normal)
    return float((likeness.left_out.mean() - median) / (1.4826 * np.median(np.abs(normal - median)) + 1e-6))


def _highest(values: dict, examples, most: int, one_in: int) -> list:
    """Those of the highest values among the examples: `most`, or of few examples one in `one_in`, and none
    rather than one alone.
    """
    count = min(most, len(examples) // one_in)
    return suspicion.highest(values, examples, count) if count > 1 else []


def calibration_images(config, dataset, splits, detector, read) -> dict:
    """The images that Detector.calibrate takes, by its arguments' names; read: (examples, what is shown) ->
    images.
    """
    # With few known abnormal images none are held out; each is then judged by the likeness to the others.
    few = (
        bool(splits.abnormal)
        and detector.likeness is not None
        and not splits.held_out_abnormal
        and weighs(splits)
    )
    return {
        "normal": read(splits.held_out_normal, "held-out normal"),
        "abnormal": read(splits.held_out_abnormal, "held-out abnormal"),
        "synthetic": read_synthetic(config, dataset, splits) if weighs(splits) and not few else (),
        "known": read(splits.abnormal, "known abnormal") if few else (),
    }


def read_synthetic(config, dataset, splits, most: int = 100):
    """Held-out normal images with synthetic defects of kinds that training does not draw, where the objective
    knows such.

    None without known abnormal images: what was then trained on synthetic defects alone finds the other
      synthetic kinds easily, whatever
    it finds of real ones, and would get the weight (docs/experiments.md, "No known defects").
    """
    if config.objective.synthetic_weight and splits.abnormal:
        kinds = calibration_kinds(words(config.objective.synthetic_kinds))
        drawn = synthesised(dataset, splits.held_out_normal[:most], kinds, [config.seed, 3])
        yield from (image for image, _ in drawn)


def synthesised(dataset, examples, kinds, seed: list[int]):
    """(image, mask) of each example with synthetic defects, whose foreign texture is that of the example
    before.
    """
    for index, example in enumerate(examples):
        image, other = dataset.read_image(example), dataset.read_image(examples[index - 1])
        if other.shape != image.shape:
            other = resize(other, *image.shape[:2])
        yield synthesise(image, other, np.random.default_rng([*seed, index]), kinds)


def _trim_share(config, model) -> float:
    share = config.objective.trim_share
    return (
        float(np.asarray(model.trim_rate)) if share is None else share
    )  # asarray: under a strategy it is a variable of each replica


def write_reconstructions(folder, detector, images):
    """Adds a picture to the TensorBoard events: images in the upper row, their reconstructions in the lower
    one.
    """
    side = detector.resolution
    upper = [resize(to_channels(image, detector.channels), side, side) for image in images]
    lower = [resize(m.reconstruction, side, side) for m in detector.measure(images)]
    events = EventWriter(pathlib.Path(folder) / run_folder.EVENTS)
    events.image(0, "reconstructions", picture(upper + lower, len(images)))
    events.close()
