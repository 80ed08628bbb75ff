"""Which settings a data set asks for, and why: from what a look at its files has found."""

import math
import statistics
from collections.abc import Sequence

from semi_anogan.data.dataset import ABNORMAL, NORMAL, Example
from semi_anogan.data.images import EIGHT_BITS
from semi_anogan.data.splits import TRAINED
from semi_anogan.data.survey import Figures
from semi_anogan.image_shape import shape_of, stretch
from semi_anogan.runs.aspect import MUCH

SMALL = 8  # pixels: side of a defect in what the features see, below which it is easily lost
LARGE = 1024  # short side from which on it is worth a word where no mask says how large defects are
FEW = 100  # normal training images
NARROW = 0.25  # share of black to white that the values of deep files span, below which it is worth a word
STRETCHED = 0.2  # share of the images, above which tiles are worth a word


def proposed(config, examples: Sequence[Example], looks: Sequence[Figures | str]) -> list[str]:
    """Lines of settings with their reasons. config: resolved, as a training without them would have it."""
    pairs = [(e, f) for e, f in zip(examples, looks, strict=True) if not isinstance(f, str)]
    normal = [f for e, f in pairs if (e.split, e.label) == ("train", NORMAL)]
    if not normal:
        return []
    lines = []
    colour = sum(f.found.colour for f in normal)
    if config.model.channels == 1 and 2 * colour >= len(normal):
        lines.append(
            f"--config.model.channels=3: {colour} of {len(normal)} normal training images are in colour"
        )
    lines += _for_depth(config, normal)
    lines += _for_size(config, pairs, normal) or _for_shape(config, normal)
    held_out = max(2, round(len(normal) * config.calibration.hold_out_share))
    judged = min(len(normal), held_out + TRAINED)
    lowest = 1 / (judged + 1)
    if lowest > config.calibration.false_alarm_rate:
        rate = math.ceil(100 * lowest) / 100
        lines.append(
            f"--config.calibration.false_alarm_rate={rate:g}: {judged} normal images set the threshold and "
            f"show no lower rate; {config.calibration.false_alarm_rate:g} is extrapolated"
        )
    if len(normal) < FEW and not config.batches.flips:
        lines.append(
            f"--config.batches.flips=hv, if a mirrored part is as good: {len(normal)} normal images are few"
        )
    if not any(e.label == ABNORMAL and e.split == "train" for e, _ in pairs):
        lines.append(
            "three known defects in a folder of their own, if there are any: none is known, and they help "
            "more than any setting"
        )
    return lines


def _for_depth(config, normal) -> list[str]:
    """A line where the values of deep files span a small part of the range, as a thermal camera's do."""
    deep = [f.found for f in normal if f.found.kind != EIGHT_BITS and not f.found.other_scale]
    if 2 * len(deep) < len(normal) or not config.data.white:
        return []
    low, high = min(found.lowest for found in deep), max(found.highest for found in deep)
    share = (high - low) / (config.data.white - (config.data.black or 0.0))
    if not 0 < share < NARROW:
        return []
    return [
        f"--config.data.black={low:g} --config.data.white={high:g}, or a little wider: values lie from "
        f"{low:g} to {high:g}, which is {share:.0%} of what is now black to white"
    ]


def _for_shape(config, normal) -> list[str]:
    """A line where many images are not of the shape that all are brought to."""
    if config.images.tile:
        return []
    shape = shape_of(config.model.resolution, config.model.aspect)
    stretched = sum(stretch(f.found.size, shape) > MUCH for f in normal)
    if stretched <= STRETCHED * len(normal):
        return []
    return [
        f"--config.images.tile=True, which takes longer: {stretched} of {len(normal)} normal training images "
        f"are stretched by more than a factor of {MUCH} without"
    ]


def _for_size(config, pairs, normal) -> list[str]:
    """Lines on what is lost where images are reduced."""
    if config.images.tile or not config.features.name:
        return []
    short = statistics.median(min(f.found.size) for f in normal)
    seen = max(config.model.resolution, config.features.resolution)
    sides = [
        math.sqrt(f.defect * f.found.size[0] * f.found.size[1]) * min(1.0, seen / min(f.found.size))
        for _, f in pairs
        if f.defect
    ]
    if sides:
        side = statistics.median(sides)
        why = (
            f"of the {len(sides)} defects with a mask half are at most {side:.1f} pixels wide in what the "
            f"features see, {seen} pixels of the {short:g} of an image"
        )
        if side >= SMALL or short <= seen:
            return []
    elif short >= LARGE:
        side = None
        why = (
            f"images have {short:g} pixels on the short side and the features see {seen}: what is smaller "
            f"than {SMALL * short / seen:.0f} pixels is easily lost"
        )
    else:
        return []
    larger = f"--config.features.resolution={2 * seen}"
    if side is None:
        return [f"{larger} or --config.images.tile=True, if defects are that small: {why}"]
    if 2 * side >= SMALL and 2 * seen <= short:
        return [f"{larger}: {why}"]
    return [f"--config.images.tile=True, which takes longer: {why}"]
