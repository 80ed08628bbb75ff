"""python -m semi_anogan.score: scores new images with a finished run and writes scores.csv and maps/."""

import csv
import pathlib
import sys

import numpy as np
from absl import flags

from semi_anogan import cli

COLUMNS = ("path", "score", "label", "status", "error")


def main(argv) -> int:
    """Scores new images: python -m semi_anogan.score --workdir=DIR --input=FILE|FOLDER|CSV --output=DIR

    --output gets scores.csv (path, score, label, status, error) and maps/ with NAME.npy and NAME.png. An image that cannot be
    read becomes a row with status "error"; the exit code is then 3.
    """
    del argv
    from semi_anogan.data.manifest import list_inputs

    inputs = list_inputs(flags.FLAGS.input)
    cli.load_framework()
    from semi_anogan.detector import Detector

    detector = Detector.load(flags.FLAGS.workdir)
    failed = score(detector, inputs, pathlib.Path(flags.FLAGS.output), maps=flags.FLAGS.maps)
    print(f"{len(inputs) - failed} images scored, {failed} with errors: {pathlib.Path(flags.FLAGS.output) / 'scores.csv'}")
    return 3 if failed else 0


def score(detector, paths, output: pathlib.Path, maps: bool = True) -> int:
    """Scores image files one batch after the other; returns how many had errors.

    Rows are in the order of `paths` and written as they come, so what is done is not lost when the process ends early.
    Memory does not grow with the number of images. Raises RunError when the output cannot be written.
    """
    from semi_anogan.data.dataset import DataError
    from semi_anogan.data.images import read_image
    from semi_anogan.progress import shown
    from semi_anogan.runs import RunError

    outcomes: list[tuple[str, str | None]] = []  # of images read and not yet written: (path, error)

    def readable():
        for path in shown(paths, len(paths), "score"):
            try:
                image = read_image(path, detector.channels)
            except DataError as error:
                outcomes.append((path, str(error)))
                continue
            outcomes.append((path, None))
            yield image

    failed = 0

    def error_rows(writer):
        count = 0
        while outcomes and outcomes[0][1] is not None:
            path, error = outcomes.pop(0)
            print(f"error: {error}", file=sys.stderr)
            writer.writerow([path, "", "", "error", error])
            count += 1
        return count

    try:
        (output / "maps" if maps else output).mkdir(parents=True, exist_ok=True)
        # surrogateescape: file names that are not UTF-8 come out as they are
        with open(output / "scores.csv", "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            names = MapNames()
            for measurement in detector.measure(readable()):
                failed += error_rows(writer)
                path, _ = outcomes.pop(0)
                value, abnormal, anomaly_map = detector.judge(measurement)
                if maps:
                    write_map(output / "maps" / names.unique(path), anomaly_map)
                writer.writerow([path, f"{value:.6g}", "abnormal" if abnormal else "normal", "ok", ""])
                file.flush()
            failed += error_rows(writer)
    except OSError as error:
        raise RunError(f"{error.filename or output}: cannot be written: {error.strerror or error}") from error
    return failed


class MapNames:
    """File names of maps: the image's own, numbered where two folders hold the same name."""

    def __init__(self):
        self._taken: dict[str, int] = {}

    def unique(self, path: str) -> str:
        name = pathlib.Path(path).name
        self._taken[name] = number = self._taken.get(name, 0) + 1
        return name if number == 1 else f"{name}.{number}"


def write_map(stem: pathlib.Path, anomaly_map: np.ndarray):
    """Writes STEM.npy (float32 [H, W]) and STEM.png (grey, 0 to 10 standard deviations of a normal pixel)."""
    from PIL import Image

    np.save(stem.with_name(stem.name + ".npy"), anomaly_map.astype(np.float32))
    grey = np.clip(anomaly_map * 25.5, 0, 255).astype(np.uint8)
    Image.fromarray(grey).save(stem.with_name(stem.name + ".png"))


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "run folder of a finished training", required=True)
    flags.DEFINE_string("input", None, "an image, a folder of images, or a CSV with a column `path`", required=True)
    flags.DEFINE_string("output", None, "folder for scores.csv and maps/", required=True)
    flags.DEFINE_bool("maps", True, "write the maps")
    cli.run(main)
