"""How masks are named: which image one is of, and which files are several masks of one image."""

import os
import re

from semi_anogan.data.image_files import SUFFIXES

_MASK = r"(?:masks?|gt|labels?|ground[-_ ]?truth|seg|segmentation|annotation)"
_ENDING = re.compile(rf"[-_. ]{_MASK}([-_. ]?\d+)?$", re.I)
# Not label: label_1 may be a picture of a label.
_BEGINNING = re.compile(r"^(?:masks?|gt|ground[-_ ]?truth)[-_. ]", re.I)
_LAST_WORD = re.compile(r"[\W_]+[^\W\d_]+$")
_FIRST_WORD = re.compile(r"^[^\W\d_]+[\W_]+(?=.)")
MOST_WORDS = 3  # after the name of an image
POLYGONS = ".json"  # of labelme or COCO


def is_mask_name(name: str) -> bool:
    """Whether a file among masks counts as one, by its name: an image or polygons."""
    return not name.startswith(".") and name.lower().endswith((*SUFFIXES, POLYGONS))


def without_ending(stem: str) -> str | None:
    """`part1` of `part1_mask`, `part1-GT`, `part1_mask_2` and the like; None without such an ending."""
    match = _ENDING.search(stem)
    return stem[: match.start()] if match and match.start() else None


def images_of(stem: str) -> list[str]:
    """What the image may be called of which a file is the mask by its name, without suffix, likeliest first.

    `part1` of `part1_mask`, of `part1_mask_2`, of `part1.jpg_mask` and of `mask_part1`; not the name itself.
    """
    folder, name = os.path.split(stem)
    found = []
    if ended := without_ending(stem):
        found += [ended, without_suffix(ended)]
    if match := _BEGINNING.match(name):
        found.append(os.path.join(folder, name[match.end() :]))
    return found


def perhaps_images_of(stem: str) -> list[tuple[str, str]]:
    """(what the image may be called, the word more) of a mask that is named by a word not known here.

    (`part1`, `_anno`) of `part1_anno` and of `part1_anno_2`, (`part1`, `(bw)`) of `part1(bw)`, (`part1`,
    `roi_`) of `roi_part1`. The words hold no digits: part1_2 is an image as part1 is.
    """
    folder, name = os.path.split(stem)
    found, rest = [], re.sub(r"[\W\d_]+$", "", name)
    after = name[len(rest) :].strip("0123456789-_. ")  # as a bracket
    for _ in range(MOST_WORDS):
        match = _LAST_WORD.search(rest)
        if match is None or not match.start():
            break
        after, rest = rest[match.start() :] + after, rest[: match.start()]
        found.append((os.path.join(folder, rest), after))
    if match := _FIRST_WORD.match(name):
        found.append((os.path.join(folder, name[match.end() :]), match[0]))
    return found


def without_suffix(stem: str) -> str:
    """`part1` of `part1.jpg`; names without a suffix of an image as they are."""
    bare, suffix = os.path.splitext(stem)
    return bare if suffix.lower() in SUFFIXES else stem


def bare(path: str) -> str:
    """`part1` of `part1.jpg`, `part1.png` and `part1.jpg.png`: the name that image and mask may share."""
    return without_suffix(os.path.splitext(path)[0])


def pattern(path: str) -> str:
    """`part1_mask*.png` of `part1_mask.png` and `part1_mask_2.png`: what masks of an image share."""
    stem, suffix = os.path.splitext(path)
    match = _ENDING.search(stem)
    return f"{stem[: match.start(1)] if match and match[1] else stem}*{suffix}"
