"""Reads every image of a job once: tells what cannot be read before time is spent, notes what is unusual."""

import collections
import hashlib
import os
from collections.abc import Sequence

from semi_anogan.data import ignore, images, masks
from semi_anogan.data.dataset import Dataset, Example, Look
from semi_anogan.data.notes import Notes
from semi_anogan.data.sources import folder_names
from semi_anogan.errors import DataError
from semi_anogan.image_shape import smallest_and_largest
from semi_anogan.progress import in_threads

GREY_MODES = ("1", "L", "LA", "I", "F")  # of Pillow, with those that begin with I;


def read_all(dataset: Dataset, examples: Sequence[Example], most: int = 20, resolution: int = 0):
    """Reads image and mask of each example, under a progress bar, and adds to the dataset's notes.

    Args: dataset: has `files`; most: bad files that are told one by one; resolution: short side of what the
      model sees, to tell of images that are much smaller; 0 to tell of none.

    Raises: DataError that says what is wrong with each bad file, the first `most` of them, and how many there
      are.
    """
    looks = in_threads(lambda example: _look(dataset, example), examples, "files checked")
    problems = [look for look in looks if isinstance(look, str)]
    if len(problems) == 1:
        raise DataError(problems[0])
    if problems:
        told = "".join(f"\n  {problem}" for problem in problems[:most])
        rest = f"\n  and {len(problems) - most} more" if len(problems) > most else ""
        raise DataError(f"{len(problems)} of {len(examples)} images cannot be used:{told}{rest}")
    for example, look in zip(examples, looks, strict=True):
        note_file(dataset, example, look)
    _note_differences(dataset.notes, examples, looks)
    for example, look in zip(examples, looks, strict=True):
        images.note_small(dataset.notes, example.path, look.found.size, resolution)
    note_without_mask(dataset.notes, examples)
    note_names(dataset.notes, examples)
    note_equal(dataset, examples)


def note_file(dataset: Dataset, example: Example, look: Look):
    """Tells of what is unusual in the files of an example."""
    images.note(dataset.notes, example.path, look.found, dataset.files.scale)
    if look.mask_reading is not None:
        masks.note(dataset.notes, example.mask, look.mask_reading, look.mask_share, look.mask_format)
    if example.ignore is not None and not look.ignored_share:
        dataset.notes.add("{n} masks of what is ignored mark nothing, such as {first}", example.ignore)
    elif example.ignore is not None:
        dataset.notes.add(
            "{n} images have a mask of their own of what is ignored, such as {first}", example.ignore
        )
        ignore.note_share(dataset.notes, example.path, look.ignored_share)


def _look(dataset: Dataset, example: Example) -> Look | str:
    """What is found in an example's files, or what is wrong with them."""
    try:
        return dataset.files.look(example)
    except DataError as error:
        return str(error)


def _note_differences(notes: Notes, examples: Sequence[Example], looks: Sequence[Look]):
    """Tells of images of several sizes, and as `note_grey`."""
    sizes = collections.Counter(look.found.size for look in looks)
    if len(sizes) > 1:
        (height, width), count = sizes.most_common(1)[0]
        low, high = smallest_and_largest(sizes)
        notes.add(
            f"images have {len(sizes)} sizes, from {low[1]} x {low[0]} to {high[1]} x {high[0]} (width x "
            f"height), {count} of {len(looks)} are {width} x {height}: all are brought to one size and shape"
        )
    note_grey(notes, examples, looks)
    note_apart(notes, examples, looks)
    note_two_valued(notes, examples, looks)


def note_two_valued(notes: Notes, examples: Sequence[Example], looks: Sequence):
    """Tells of images that have two values among those that have more: they may be masks; looks: as below."""
    found = [(e.path, look.found) for e, look in zip(examples, looks, strict=True)]
    two = [path for path, file in found if file.levels == 2 and not file.clipped]
    if len(two) < len(looks):
        notes.add(
            "{n} images have two values alone, as masks have, such as {first}: taken as images; masks belong "
            "into a folder masks",
            (two or [""])[0],
            len(two),
        )


def note_grey(notes: Notes, examples: Sequence[Example], looks: Sequence):
    """Tells of grey files among those that show colour; looks: what has a `found`, as Look has."""
    grey = [e.path for e, look in zip(examples, looks, strict=True) if is_grey(look.found.header.mode)]
    coloured = sum(look.found.colour for look in looks)
    if grey and coloured:
        notes.add(
            f"{{n}} of {len(looks)} files are grey, such as {{first}}, and {coloured} show colour; where "
            "that goes with the label, it is all that is learned",
            grey[0],
            len(grey),
        )


def note_apart(notes: Notes, examples: Sequence[Example], looks: Sequence):
    """Tells where files of one label, or of one split, differ from all others in form; looks: as above."""
    found = list(zip(examples, looks, strict=True))
    normal = [pair for pair in found if not pair[0].abnormal]
    labels = ("normal", normal), ("abnormal", [pair for pair in found if pair[0].abnormal])
    train, test = ([pair for pair in normal if pair[0].split == split] for split in ("train", "test"))
    splits = ("normal training images", train), ("normal test images", test)
    so = "that may be all that is learned"
    expect = "the test is of other images than were learned from"
    for what, form in _FORMS.items():
        for ((one, ones), (other, others)), meaning in ((labels, so), (splits, expect)):
            counts = [
                collections.Counter(form(look.found) for _, look in part).most_common()
                for part in (ones, others)
            ]
            if all(counts) and not dict(counts[0]).keys() & dict(counts[1]).keys():
                told = [_most(part) for part in counts]
                if all(told):
                    notes.add(f"{what}: {one} {told[0]}, {other} {told[1]}: {meaning}")


_FORMS = {
    "format of the files": lambda found: found.header.format,
    "depth of the files": lambda found: found.kind,
    "size of the images": lambda found: f"{found.size[1]} x {found.size[0]}",
}


def _most(counts: Sequence[tuple[str, int]]) -> str:
    """What at least half of the files have, in words; "" where there is no such thing."""
    (first, count), every = counts[0], sum(n for _, n in counts)
    if len(counts) == 1:
        return f"all {first} ({every})"
    return f"mostly {first} ({count} of {every})" if 2 * count >= every else ""


def is_grey(mode: str) -> bool:
    """Whether files of a mode, as Pillow names it, hold grey values."""
    return mode in GREY_MODES or mode.startswith("I;")


def note_without_mask(notes: Notes, examples: Sequence[Example]):
    """Tells where some abnormal test images have masks, and others have none."""
    abnormal = [e for e in examples if e.split == "test" and e.abnormal]
    without = [e.path for e in abnormal if e.mask is None]
    if len(without) < len(abnormal):
        notes.add(
            f"{{n}} of {len(abnormal)} abnormal test images have no mask, such as {{first}}: figures of "
            "pixels and regions are of the others",
            (without or [""])[0],
            len(without),
        )


def note_names(notes: Notes, examples: Sequence[Example]):
    """Tells of normal images that are named as defects, of the other way, and as `note_same_name`."""
    for abnormal, is_other, told in (
        (False, folder_names.is_bad, "{n} normal images are named as defects, such as {first}"),
        (True, folder_names.has_good, "{n} abnormal images are named as good ones, such as {first}"),
    ):
        own = [e.path for e in examples if e.abnormal == abnormal]
        other = [path for path in own if is_other(os.path.splitext(os.path.basename(path))[0])]
        if len(other) < len(own):  # else the name means something else
            notes.add(f"{told}: look whether they are", (other or [""])[0], len(other))
    note_same_name(notes, examples)


def note_same_name(notes: Notes, examples: Sequence[Example]):
    """Tells of files whose paths differ by the suffix alone: copies in another format, maybe."""
    by_stem = collections.defaultdict(list)
    for example in examples:
        by_stem[os.path.splitext(example.path)[0]].append(example.path)
    twice = [paths for paths in by_stem.values() if len(paths) > 1]
    notes.add(
        "{n} images are there under one name with several suffixes, such as {first}; of copies keep one "
        "each, since the threshold is too low for others where one is held out; name masks NAME_mask",
        " and ".join(twice[0][:2]) if twice else "",
        len(twice),
    )


def note_equal(dataset: Dataset, examples: Sequence[Example]):
    """Tells of files that are equal byte for byte: in training and test, with two labels, or twice."""
    both, labels, test_labels, again, test_again = [], [], [], [], []
    for group in equal_files(dataset, examples):
        train, test = ([e for e in group if e.split == split] for split in ("train", "test"))
        if train and test:
            both += [(test_one, train[0]) for test_one in test]
        for part, found, twice in ((train, labels, again), (test, test_labels, test_again)):
            by_label = {e.label: e for e in reversed(part)}
            twice += [(e, by_label[e.label]) for e in part if e is not by_label[e.label]]
            if len(by_label) > 1:
                found.append((by_label["normal"], by_label["abnormal"]))
    if both:
        abnormal = sum(test.abnormal for test, _ in both)
        other = sum(test.label != train.label for test, train in both)
        differ = f", {other} of them with another label there" if other else ""
        test, train = both[0]
        dataset.notes.add(
            f"{{n}} test images ({len(both) - abnormal} normal, {abnormal} abnormal) are training images "
            f"too, byte for byte{differ}, such as {{first}}: figures of the test are too good; take them out "
            "of one of both",
            f"{test.path} = {train.path}",
            len(both),
        )
    for found, what in ((labels, "training"), (test_labels, "test")):
        if found:
            normal, abnormal = found[0]
            dataset.notes.add(
                f"{{n}} {what} images are there as normal and as abnormal, byte for byte, such as {{first}}: "
                "one of the labels is wrong",
                f"{normal.path} = {abnormal.path}",
                len(found),
            )
    so = "; where one of them is held out, the threshold is too low for others"
    for found, what in ((again, f"training images{{}}{so}"), (test_again, "test images{}")):
        if found:
            second, first = found[0]
            told = " are there more than once, byte for byte, such as {first}"
            dataset.notes.add("{n} " + what.format(told), f"{second.path} = {first.path}", len(found))


def equal_files(dataset: Dataset, examples: Sequence[Example]) -> list[list[Example]]:
    """The groups of examples whose files are equal; only files of one size are read."""
    by_size = collections.defaultdict(list)
    for example in examples:
        try:
            by_size[os.stat(dataset.files.path(example)).st_size].append(example)
        except OSError:
            continue
    groups = []
    for same in by_size.values():
        if len(same) > 1:
            by_digest = collections.defaultdict(list)
            for example in same:
                try:
                    with open(dataset.files.path(example), "rb") as file:
                        by_digest[hashlib.file_digest(file, "sha256").digest()].append(example)
                except OSError:
                    continue
            groups += [group for group in by_digest.values() if len(group) > 1]
    order = {example: i for i, example in enumerate(examples)}
    return sorted(groups, key=lambda group: order[group[0]])
