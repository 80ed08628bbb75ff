"""python -m semi_anogan.inspect: looks at the images of a data set before anything is trained."""

import csv
import dataclasses
import pathlib
import statistics

import numpy as np
from absl import flags

from semi_anogan import cli
from semi_anogan.config import check_ranges
from semi_anogan.errors import DataError, RunError
from semi_anogan.image_shape import smallest_and_largest

PAGE, TABLE = "inspect.html", "inspect.csv"
COLUMNS = (
    *("path", "split", "label", "kind", "use", "width", "height", "depth", "colour"),
    *("brightness", "contrast", "sharpness", "defect_share", "error"),
)
ON_SHEET = 24  # images of each group
SHOWN = 20  # lines on single files
TOLD = 5  # outliers told on the terminal


def main(argv):
    """Tells what a folder or a CSV file of images holds, what would be used how, and what looks wrong.

    python -m semi_anogan.inspect --config.data.root=FOLDER [--config=configs/NAME.py]
      [--config.KEY=VALUE ...] [--output=DIR]

    Reads every file once. Files that cannot be used are named, and are no reason to stop.
    """
    del argv
    config = cli.config_of(CONFIG_FLAG)
    for section in ("data", "images", "model", "features", "calibration"):  # what is used here
        check_ranges(section, **config[section])
    run(config, pathlib.Path(flags.FLAGS.output))


def run(config, output: pathlib.Path) -> dict[str, list[str]]:
    """Looks at the data of a configuration; returns heading -> lines, as on the page.

    Raises: DataError where the folder cannot be understood; RunError where the page cannot be written.
    """
    from semi_anogan.data import catalog, check_files, ignore, images, survey
    from semi_anogan.data.image_files import MAX_PIXELS
    from semi_anogan.files import told_writing
    from semi_anogan.runs import aspect, depth, proposals

    dataset = catalog.load(channels=config.model.channels, **config.data)
    if dataset.files is None:
        raise DataError(
            f"data.name: the source {config.data.name!r} reads no image files; --config.data.root=FOLDER "
            "names a folder of them"
        )
    dataset = ignore.without_hidden(depth.resolve(config, dataset))
    aspect.resolve(config, dataset)
    dataset, uses, used = _uses(config, dataset)
    max_pixels, examples = config.data.max_pixels or MAX_PIXELS, dataset.examples
    looks = survey.survey(dataset, max_pixels)
    usable = [(e, look) for e, look in zip(examples, looks, strict=True) if not isinstance(look, str)]
    for note in (check_files.note_grey, check_files.note_apart, check_files.note_two_valued):
        note(dataset.notes, *([pair[i] for pair in usable] for i in (0, 1)))
    seen = aspect.features_side(config) or config.model.resolution
    for example, figures in usable:
        images.note_small(dataset.notes, example.path, figures.found.size, seen)
    check_files.note_without_mask(dataset.notes, examples)
    check_files.note_names(dataset.notes, examples)
    check_files.note_equal(dataset, examples)
    if dataset.ignore is not None:
        used.append(ignore.told(dataset.ignore, config.data.ignore))
    far = survey.outliers(examples, looks)
    bad = [look for look in looks if isinstance(look, str)]
    shapes = aspect.told(config, dataset)
    lines = {
        "What would be used how": used,
        "Files that cannot be used": bad[:SHOWN] + _more(bad),
        "Sizes and depths": [*_sizes(looks), survey.depths(looks) or "no file can be read", *shapes],
        "What is unusual": dataset.notes.lines(),
        "What lies apart": survey.groups_apart(examples, looks) + _far(far),
        "Settings that fit": proposals.proposed(config, examples, looks),
    }
    table = _table(survey.counts(examples, looks))
    _print(dataset, table, lines)
    with told_writing(output, RunError):
        output.mkdir(parents=True, exist_ok=True)
        _write_csv(output / TABLE, examples, looks, uses)
        _write_page(output / PAGE, config, dataset, table, lines, looks, far, max_pixels)
    print(f"page: {output / PAGE}; a row for each file: {output / TABLE}")
    return lines


def _uses(config, dataset):
    """(dataset with the labels that a person gave, path -> what an image would be used for, lines on it)."""
    from semi_anogan.data.splits import split

    try:
        splits = split(dataset, config.calibration.hold_out_share, config.seed)
    except DataError as error:
        return dataset, {}, [f"nothing can be trained: {error}"]
    parts = {
        "train": splits.normal,
        "held out": splits.held_out_normal,
        "known defect": splits.abnormal,
        "held-out known defect": splits.held_out_abnormal,
        "test": splits.test,
    }
    uses = {e.path: use for use, part in parts.items() for e in part}
    labelled = {e.path: e for e in splits.training}
    examples = tuple(labelled.get(e.path, e) for e in dataset.examples)
    known = splits.abnormal + splits.held_out_abnormal
    abnormal = sum(e.abnormal for e in splits.test)
    masks = sum(e.mask is not None for e in splits.test if e.abnormal)
    lines = [
        f"{len(splits.normal)} normal images train the networks, {len(splits.held_out_normal)} are held out "
        "for weights and threshold",
        f"{len(known)} known defects, {len(splits.held_out_abnormal)} of them held out; "
        f"{sum(e.mask is not None for e in known)} have a mask",
        f"{len(splits.test)} test images, {abnormal} of them abnormal, {masks} of these with a mask"
        if splits.test
        else "there are no test images: the report will have no figures of a test",
    ]
    if reviewed := [e for e in splits.training if e.reviewed]:
        said = sum(e.abnormal for e in reviewed)
        lines.append(f"{config.data.reviewed}: {len(reviewed)} images reviewed, {said} of them abnormal")
    return dataclasses.replace(dataset, examples=examples), uses, lines


def _table(counts) -> list[list]:
    """Rows of cells, the first the header."""
    rows = [["split", "label", "kind", "images", "masks", "cannot be used", "median size"]]
    for (split, label, kind), found in counts.items():
        good = [figures for figures in found if not isinstance(figures, str)]
        size = ""
        if good:
            height, width = (statistics.median(f.found.size[i] for f in good) for i in (0, 1))
            size = f"{width:g} x {height:g}"
        masks = sum(f.defect is not None for f in good)
        rows.append([split, label, kind, len(found), masks, len(found) - len(good), size])
    return rows


def _sizes(looks) -> list[str]:
    """Lines on the sizes of the images, and of their masks."""
    good = [look for look in looks if not isinstance(look, str)]
    sizes = {f.found.size for f in good}
    if not sizes:
        return []
    low, high = smallest_and_largest(sizes)
    lines = [f"all are {low[1]} x {low[0]} pixels (width x height)"]
    if len(sizes) > 1:
        lines = [f"{len(sizes)} sizes, from {low[1]} x {low[0]} to {high[1]} x {high[0]} (width x height)"]
    shares = [f.defect for f in good if f.defect]
    if shares:
        lines.append(
            f"masks mark {min(shares):.2%} to {max(shares):.2%} of their image, {np.median(shares):.2%} on "
            "the median"
        )
    return lines


def _far(far) -> list[str]:
    """Lines on the images that stand out, a line for each figure."""
    lines = []
    for name in dict.fromkeys(outlier.name for outlier in far):
        own = [outlier for outlier in far if outlier.name == name]
        first = "; ".join(f"{o.example.path} ({o.value:.2g})" for o in own[:TOLD])
        lines.append(
            f"{len(own)} images stand out by their {name} from the normal training images, such as {first}"
        )
    return lines


def _more(items) -> list[str]:
    return [f"and {len(items) - SHOWN} more, in {TABLE}"] if len(items) > SHOWN else []


def _print(dataset, table, lines):
    from semi_anogan.data.notes import in_one_line

    print(f"{dataset.name}: {len(dataset.examples)} images")
    table = [[in_one_line(str(cell)) for cell in row] for row in table]
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    for row in table:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for heading, found in lines.items():
        if found:
            print(f"{heading}:")
        for line in found:
            print(f"  {in_one_line(line)}")


def _write_csv(path, examples, looks, uses):
    with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for example, figures in zip(examples, looks, strict=True):
            row = [example.path, example.split, example.label, example.kind or "", uses.get(example.path, "")]
            if isinstance(figures, str):
                writer.writerow([*row, *[""] * (len(COLUMNS) - len(row) - 1), figures])
                continue
            height, width = figures.found.size
            numbers = (figures.brightness, figures.contrast, figures.sharpness)
            row += [width, height, figures.found.kind, "yes" if figures.found.colour else "no"]
            row += [f"{number:.4g}" for number in numbers]
            writer.writerow([*row, "" if figures.defect is None else f"{figures.defect:.4g}", ""])


def _write_page(path, config, dataset, table, lines, looks, far, max_pixels):
    from semi_anogan.data import contact_sheet, images

    def read(example):
        return images.read_image(dataset.files.path(example), 3, max_pixels, dataset.files.scale)

    usable = [e for e, look in zip(dataset.examples, looks, strict=True) if not isinstance(look, str)]
    groups: dict[str, list] = {}
    for example in usable:
        name = f"{example.split}, {example.label}" + (f", {example.kind}" if example.kind else "")
        groups.setdefault(name, []).append(example)

    def sheets():
        shown = dict.fromkeys(outlier.example for outlier in far)
        why = {o.example: f"{o.name} {o.value:.2g}" for o in reversed(far)}
        yield (
            "Images that stand out",
            [(read(e), f"{e.path}: {why[e]}") for e in list(shown)[:ON_SHEET]],
        )
        for name, members in groups.items():
            chosen = np.unique(np.linspace(0, len(members) - 1, ON_SHEET).astype(int))
            yield (
                f"{name}: {len(members)} images",
                [(read(members[i]), members[i].path) for i in chosen],
            )

    where = config.data.root or config.data.path
    text = contact_sheet.page(f"Images of {where}", table, list(lines.items()), sheets())
    path.write_text(text, encoding="utf-8", errors="surrogateescape")


if __name__ == "__main__":
    CONFIG_FLAG = cli.define_config("configuration file, such as configs/folder.py")
    flags.DEFINE_string("output", "inspected", "folder for inspect.html and inspect.csv")
    cli.run(main)
