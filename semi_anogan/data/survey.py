"""A look at every file of a data set, before anything is trained: figures of each, and what stands out."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from semi_anogan.data import image_arrays, images, masks
from semi_anogan.data.check_files import is_grey, note_file
from semi_anogan.data.dataset import NORMAL, Dataset, Example, Look
from semi_anogan.data.image_files import Header, decoded
from semi_anogan.data.images import EIGHT_BITS, Found, Scale
from semi_anogan.data.look import SAMPLED, light, middle, sharpness
from semi_anogan.errors import DataError
from semi_anogan.progress import in_threads

FAR = 6.0  # robust standard deviations of normal training images: farther out a file stands out
APART = 2.0  # so many between the medians of two groups are told
PALE = 0.01  # contrast below which images show next to nothing
LEAST = 8  # images, below which a spread says nothing
MEASURED = ("brightness", "contrast", "sharpness")  # figures whose spread is looked at


@dataclasses.dataclass(frozen=True)
class Figures:
    """What was found in the file of an example.

    Attributes:
      found: as images.read gives it.
      brightness, contrast, sharpness: as in look.Look.
      defect: share of the pixels that the mask marks; None without a mask.
      mask_reading, mask_format: as in dataset.Look.
      ignored: share of the pixels that is ignored.
    """

    found: Found
    brightness: float
    contrast: float
    sharpness: float
    defect: float | None = None
    mask_reading: str | None = None
    mask_format: str = ""
    ignored: float = 0.0


class Task(NamedTuple):
    """A file to be looked at, with its mask or None."""

    path: str
    mask: str | None
    scale: Scale
    max_pixels: int


def survey(dataset: Dataset, max_pixels: int) -> list[Figures | str]:
    """Of each example in order its Figures, or what is wrong with its files; notes get what is unusual."""
    files = dataset.files

    def mask_of(example: Example) -> str | None:
        return files.path(dataclasses.replace(example, path=example.mask)) if example.mask else None

    def look_at(example: Example) -> Figures | str:
        found = look(Task(files.path(example), mask_of(example), files.scale, max_pixels))
        if isinstance(found, str):
            return found
        try:
            ignored = dataset.ignored(example)
        except DataError as error:
            return str(error)
        return found if ignored is None else dataclasses.replace(found, ignored=float(ignored.mean()))

    looks = in_threads(look_at, dataset.examples, "files looked at")
    for example, found in zip(dataset.examples, looks, strict=True):
        if not isinstance(found, str):
            share = found.defect or 0.0
            note_file(
                dataset,
                example,
                Look(found.found, found.mask_reading, share, found.mask_format, found.ignored),
            )
    return looks


def look(task: Task) -> Figures | str:
    """Reads a file once; what is wrong with it, in words, where it cannot be used."""
    try:
        figures = _of_eight_bits(task)
        if figures is None:
            figures = _measured(*images.read(task.path, 3, task.scale, task.max_pixels))
        found = figures.found
        if task.mask is None:
            return figures
        mask, reading = masks.read(task.mask, task.max_pixels, task.path)
        masks.check_size(task.mask, mask, task.path, found.size)
        form = masks.format_of(task.mask, task.max_pixels)
        return dataclasses.replace(figures, defect=float(mask.mean()), mask_reading=reading, mask_format=form)
    except DataError as error:
        return str(error)


def _of_eight_bits(task: Task) -> Figures | None:
    """The Figures of an ordinary file of 8 bits, which takes a third of the time; None of any other."""
    with decoded(task.path, task.max_pixels) as (image, header):
        plain = image.mode in ("L", "RGB") and not header.deep_colour and not image.has_transparency_data
        if not plain or task.scale.ends(EIGHT_BITS, 255.0) != (0.0, 255.0) or task.scale.white != 255:
            return None
        width, height = image.size
        step = max(1, min(width, height) // SAMPLED)
        values = np.asarray(image.convert("L"))
        colour = False
        if image.mode == "RGB":
            # As image_arrays.in_colour, of values of 8 bits.
            red, green, blue = np.moveaxis(np.asarray(image)[::step, ::step], -1, 0)
            high = np.maximum(np.maximum(red, green), blue)
            low = np.minimum(np.minimum(red, green), blue)
            colour = float((high - low).mean()) > image_arrays.COLOUR * 255
        levels = images.levels_of(values)
        found = Found(header, EIGHT_BITS, 255.0, (height, width), levels=levels, colour=colour)
    sampled = values[::step, ::step] / np.float32(255)
    return _figures(found, sampled, middle(values).astype(np.int16), 255 / 2)


def _measured(pixels: np.ndarray, found: Found) -> Figures:
    step = max(1, min(pixels.shape[:2]) // SAMPLED)
    sampled = pixels[::step, ::step]
    values = (image_arrays.to_channels(sampled, 1)[..., 0] + 1) / 2
    inner = image_arrays.to_channels(middle(pixels), 1)[..., 0]
    return _figures(found, values, inner, 1.0)


def _figures(found: Found, values: np.ndarray, inner: np.ndarray, unit: float) -> Figures:
    """Args: values: [H, W] in [0, 1]; inner: [H, W], whose range is twice `unit`."""
    return Figures(found, *light(values), sharpness(inner, unit))


class Outlier(NamedTuple):
    """An example whose figure of this name lies far from those of the normal training images."""

    example: Example
    name: str
    value: float
    deviations: float  # robust standard deviations from the median


def outliers(examples: Sequence[Example], looks: Sequence[Figures | str]) -> list[Outlier]:
    """The images that stand out in a figure, the farthest first."""
    found = []
    for name, (median, spread) in reference(examples, looks).items():
        for example, figures in zip(examples, looks, strict=True):
            if not isinstance(figures, str):
                value = getattr(figures, name)
                deviations = (value - median) / spread
                found += [Outlier(example, name, value, deviations)] if abs(deviations) > FAR else []
    return sorted(found, key=lambda o: -abs(o.deviations))


def reference(examples, looks) -> dict[str, tuple[float, float]]:
    """Name of a figure -> (median, robust standard deviation) of the normal training images, if enough."""
    found = {}
    for name in MEASURED:
        values = _values(examples, looks, name, "train", NORMAL)
        if len(values) >= LEAST:
            median = float(np.median(values))
            spread = 1.4826 * float(np.median(np.abs(values - median)))
            found[name] = median, max(spread, 0.004, 0.02 * abs(median))  # of equal images it is 0
    return found


def groups_apart(examples, looks) -> list[str]:
    """Lines on groups of images whose figures as a whole lie apart from normal training images.

    And on these, where they show next to nothing.
    """
    lines = []
    light, contrast = (_values(examples, looks, n, "train", NORMAL) for n in ("brightness", "contrast"))
    if len(contrast) and np.median(contrast) < PALE:
        lines.append(
            f"normal training images show little: their contrast is {np.median(contrast):.2g} of the range "
            f"on the median, their brightness {np.median(light):.2g}; where white is another value than was "
            "taken, data.white and data.black say so"
        )
    groups = [("train", "abnormal"), ("test", "normal"), ("test", "abnormal")]
    for name, (median, spread) in reference(examples, looks).items():
        for split, label in groups:
            values = _values(examples, looks, name, split, label)
            if len(values) >= LEAST and abs(np.median(values) - median) > APART * spread:
                so = "expect false alarms" if label == NORMAL else "that may be all that is learned"
                what = "test" if split == "test" else "known"
                lines.append(
                    f"{what} {label} images have another {name} than normal training images: "
                    f"{np.median(values):.2g} against {median:.2g} on the median; {so}"
                )
    return lines


def _values(examples, looks, name: str, split: str, label: str) -> np.ndarray:
    return np.array(
        [
            getattr(figures, name)
            for example, figures in zip(examples, looks, strict=True)
            if not isinstance(figures, str) and (example.split, example.label) == (split, label)
        ]
    )


def counts(
    examples: Sequence[Example], looks: Sequence[Figures | str]
) -> Mapping[tuple[str, str, str], list[Figures | str]]:
    """(split, label, kind or "") -> what was found in its files, in the order of their first."""
    found: dict[tuple[str, str, str], list] = {}
    for example, figures in zip(examples, looks, strict=True):
        found.setdefault((example.split, example.label, example.kind or ""), []).append(figures)
    return found


def depths(looks: Sequence[Figures | str]) -> str:
    """The formats and depths of the files in words: "PNG 8 bits grey (30), JPEG 8 bits colour (2)"."""
    found: dict[str, int] = {}
    for figures in looks:
        if not isinstance(figures, str):
            header = figures.found.header
            name = f"{header.format if header else 'frame'} {figures.found.kind} {_colours(header, figures)}"
            found[name] = found.get(name, 0) + 1
    return ", ".join(f"{name} ({n})" for name, n in sorted(found.items(), key=lambda item: -item[1]))


def _colours(header: Header | None, figures: Figures) -> str:
    if header is not None and is_grey(header.mode):
        return "grey"
    return "colour" if figures.found.colour else "grey in a file of colours"
