"""Pictures for who has not run anything.

Of a run's report: figures, scores, ROC and some gallery rows. Of what was scored: images and their overlays.
"""

import csv
import json
import pathlib

import numpy as np

from semi_anogan.data.image_arrays import to_channels, to_uint8
from semi_anogan.data.images import read_image
from semi_anogan.errors import RunError
from semi_anogan.files import told_writing
from semi_anogan.runs import folder as run_folder
from semi_anogan.scoring.outputs import OVERLAYS, REGION_LINES, SCORES

WIDTH = 900
ROC_WIDTH = 400  # the figures stand beside it
GALLERY_HEIGHT = 560  # at most
ROWS = 3  # of the gallery
GAP = 12  # between the parts, in pixels
HEADLINES = (
    ("image_auroc", "{:.3f}", "image AUROC"),
    ("image_recall", "{:.1%}", "recall, abnormal test images"),
    ("image_false_alarm_rate", "{:.1%}", "false alarms, normal test images"),
)
PALETTES = (256, 128, 64, 32, 16)  # numbers of colours; the first that keeps within MOST_BYTES is taken
MOST_BYTES = 250_000
COLUMNS, CAPTION, TEXT = 2, 40, 14  # of the overlays: images, height and size of what is written above them
MOST_BYTES_OF_OVERLAYS = 150_000


def run(folder: str, output: str) -> str:
    """Composes the picture of a finished run's report from its plots/ and metrics.json, as a PNG file.

    Returns: a line about the file.
    Raises: RunError where the run lacks something of it, or the file cannot be written.
    """
    return _written(compose(pathlib.Path(folder)), output, MOST_BYTES)


def of_overlays(folder: str, output: str) -> str:
    """Composes a picture of what was scored, as a PNG file: images above, their overlays below.

    They are the first ones of COLUMNS kinds, or just the first ones, in which something was found.

    Args: folder: what `score` wrote, of images that can still be read.
    Returns: a line about the file.
    Raises: RunError where there is nothing to show, or the file cannot be written; ImageError.
    """
    from PIL import Image, ImageDraw

    width, shown = (WIDTH - (COLUMNS - 1) * GAP) // COLUMNS, []
    for path, regions in _chosen(pathlib.Path(folder)):
        with Image.open(_overlay_of(pathlib.Path(folder), path)) as found:
            overlay = _within(found.convert("RGB"), width)
        image = Image.fromarray(to_uint8(to_channels(read_image(path, 3), 3)))
        lines = "/".join(pathlib.Path(path).parts[-3:]), _of_region(regions[0])
        shown.append((lines, image.resize(overlay.size, Image.Resampling.BICUBIC), overlay))
    height = max(overlay.height for _, _, overlay in shown)
    picture = Image.new("RGB", (WIDTH, CAPTION + 2 * height + GAP), "white")
    draw = ImageDraw.Draw(picture)
    for column, (lines, image, overlay) in enumerate(shown):
        left = column * (width + GAP)
        picture.paste(image, (left, CAPTION))
        picture.paste(overlay, (left, CAPTION + height + GAP))
        for number, line in enumerate(lines):
            draw.text((left, number * (TEXT + 3)), line, "black", font_size=TEXT)
    return _written(picture, output, MOST_BYTES_OF_OVERLAYS)


def _of_region(region: dict) -> str:
    told, kind = f"region 1: {region['area']} pixels", region["kind"]
    return told if kind is None else f"{told}, like a {kind} ({region['kind_likeness']:.2f})"


def _chosen(folder: pathlib.Path) -> list[tuple[str, list[dict]]]:
    """(path, regions) of the images to show, of different kinds where there are enough of them."""
    try:
        lines = (folder / REGION_LINES).read_text().splitlines()
        with open(folder / SCORES, newline="", encoding="utf-8", errors="surrogateescape") as file:
            paths = [row["path"] for row in csv.DictReader(file)]
    except FileNotFoundError as error:
        raise RunError(f"{error.filename}: no such file; is {folder} what score wrote?") from None
    found: dict[str, list[dict]] = {}
    for region in map(json.loads, lines):
        found.setdefault(region["path"], []).append(region)
    shown = [path for path in paths if path in found]
    if not shown:
        raise RunError(f"{folder / REGION_LINES}: no image has a region, so there is nothing to show")
    kinds = [found[path][0]["kind"] for path in shown]
    first = [path for i, path in enumerate(shown) if kinds.index(kinds[i]) == i]
    chosen = [*first, *(path for path in shown if path not in first)][:COLUMNS]
    return [(path, found[path]) for path in sorted(chosen, key=shown.index)]


def _overlay_of(folder: pathlib.Path, path: str) -> pathlib.Path:
    """The overlay of an image, which lies as the image does below the folder that was scored."""
    parts = pathlib.Path(path).parts
    for start in range(len(parts)):
        found = folder.joinpath(OVERLAYS, *parts[start:])
        found = found.with_name(f"{found.name}.png")
        if parts[start] != "/" and found.exists():
            return found
    raise RunError(f"{folder / OVERLAYS}: has no picture of {path}; score it with --overlays=all")


def _written(picture, output: str, most: int) -> str:
    """Writes a picture as a PNG file of so few colours that it has at most so many bytes; a line about it."""
    from PIL import Image

    # Keeps colours that few pixels have, such as the line around a mask.
    settings = {"method": Image.Quantize.MAXCOVERAGE, "kmeans": 2, "dither": Image.Dither.NONE}
    output = pathlib.Path(output)
    with told_writing(output, RunError):
        output.parent.mkdir(parents=True, exist_ok=True)
        for colors in PALETTES:
            picture.quantize(colors, **settings).save(output, format="PNG", optimize=True)
            if output.stat().st_size <= most:
                break
    return f"{output}: {picture.width} x {picture.height} pixels, {output.stat().st_size / 1000:.0f} kB\n"


def compose(folder: pathlib.Path):
    """The picture, RGB and WIDTH pixels wide: figures beside the ROC, the scores below, then the gallery."""
    from PIL import Image

    metrics = run_folder.read_metrics(folder)
    roc = _within(_plot(folder, "roc"), ROC_WIDTH)
    scores = _within(_plot(folder, "scores"), WIDTH)
    gallery = _within(_some_rows(_plot(folder, "gallery")), WIDTH, GALLERY_HEIGHT)
    scores_top = roc.height + GAP
    gallery_top = scores_top + scores.height + GAP
    picture = Image.new("RGB", (WIDTH, gallery_top + gallery.height), "white")
    picture.paste(_headlines(metrics, WIDTH - roc.width, roc.height), (0, 0))
    picture.paste(roc, (WIDTH - roc.width, 0))
    picture.paste(scores, (0, scores_top))
    picture.paste(gallery, ((WIDTH - gallery.width) // 2, gallery_top))
    return picture


def _plot(folder: pathlib.Path, name: str):
    from PIL import Image

    path = folder / "plots" / f"{name}.png"
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except FileNotFoundError:
        raise RunError(
            f"{path}: no such file; the picture needs a finished run with normal and abnormal test images"
        ) from None
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error}") from error


def _within(image, width: int, height: float = np.inf):
    """The image as large as it can be within these sides."""
    from PIL import Image

    scale = min(width / image.width, height / image.height)
    size = round(image.width * scale), round(image.height * scale)
    return image.resize(size, Image.Resampling.LANCZOS)


def _some_rows(gallery):
    """The gallery's titles and ROWS of its rows, evenly from the first to the last: of several groups."""
    from PIL import Image

    array = np.asarray(gallery)
    titles, *rows = _bands(array)
    if len(rows) > ROWS:
        rows = [rows[i] for i in np.linspace(0, len(rows) - 1, ROWS).round().astype(int)]
    return Image.fromarray(np.concatenate([array[band] for band in (titles, *rows)]))


def _bands(array: np.ndarray) -> list[slice]:
    """The parts of an image [H, W, 3] that white lines divide, each with the white below it."""
    written = (array < 255).any(axis=(1, 2))
    starts = np.flatnonzero(written & ~np.concatenate([[False], written[:-1]]))
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], len(array)], strict=True)]


def _headlines(metrics: dict, width: int, height: int):
    """The figures of HEADLINES that there are, large and one below the other, as an image of that size."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    known = [(key, form, text) for key, form, text in HEADLINES if metrics.get(key) is not None]
    for i, (key, form, text) in enumerate(known):
        y = 1 - (i + 0.5) / len(known)
        figure.text(0.06, y, form.format(metrics[key]), fontsize=26, weight="bold", va="center")
        figure.text(0.38, y, text, fontsize=13, color="#555555", va="center")
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
