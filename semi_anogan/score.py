"""python -m semi_anogan.score: scores new images with a finished run and writes scores.csv and maps/."""

import pathlib
import time

from absl import flags

from semi_anogan import cli
from semi_anogan.scoring import files as score_files


def main(argv) -> int:
    """Scores new images: python -m semi_anogan.score --workdir=DIR --input=FILE|FOLDER|CSV --output=DIR

    --output gets scores.csv (path, score, label, status, error) and maps/ with NAME.npy and NAME.png. An
    image that cannot be read becomes a row with status "error"; the exit code is then 3.
    """
    del argv
    from semi_anogan.data.image_files import MAX_PIXELS
    from semi_anogan.data.listing import list_inputs
    from semi_anogan.data.notes import Notes

    notes = Notes()
    inputs = list_inputs(flags.FLAGS.input, notes=notes)
    cli.load_framework()
    from semi_anogan.scoring.detector import Detector

    detector = Detector.load(flags.FLAGS.workdir).pruned()
    most = flags.FLAGS.max_pixels or MAX_PIXELS
    output = pathlib.Path(flags.FLAGS.output)
    failed = score(detector, inputs, output, maps=flags.FLAGS.maps, notes=notes, max_pixels=most)
    for line in notes.lines():
        print(f"note: {line}")
    written = pathlib.Path(flags.FLAGS.output) / "scores.csv"
    print(f"{len(inputs) - failed} images scored, {failed} with errors: {written}")
    return 3 if failed else 0


def score(
    detector, paths, output: pathlib.Path, maps: bool = True, notes=None, max_pixels: int | None = None
) -> int:
    """Scores image files one batch after the other; returns how many had errors.

    Args: detector: reads files by its `scale`; notes: a Notes that gets a line for each kind of what is
      unusual in the files; max_pixels: images with more are errors; None: 100 million.

    Rows are in the order of `paths` and written as they come, so what is done is not lost when the process
    ends early. Memory does not grow with the number of images. Raises RunError when the output cannot be
    written.
    """
    from semi_anogan.data.image_files import MAX_PIXELS
    from semi_anogan.data.images import Reader
    from semi_anogan.data.notes import Notes
    from semi_anogan.errors import RunError
    from semi_anogan.files import told_writing
    from semi_anogan.progress import shown

    times = []

    def timed(outcomes):
        for outcome in outcomes:
            times.append(time.monotonic())
            yield outcome

    read = Reader(
        detector.scale, max_pixels or MAX_PIXELS, Notes() if notes is None else notes, min(detector.shape)
    )
    outcomes = score_files.scored(detector, shown(paths, len(paths), "score"), read, overlap=True)
    with told_writing(output, RunError):
        failed = score_files.write(timed(outcomes), output, maps)
    first = detector.batch_size  # images that wait for the compilation
    if len(times) >= 4 * first:
        print(f"{(len(times) - first) / (times[-1] - times[first - 1]):.1f} images/s after the first {first}")
    return failed


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "run folder of a finished training", required=True)
    flags.DEFINE_string(
        "input", None, "an image, a folder of images, or a CSV with a column `path`", required=True
    )
    flags.DEFINE_string("output", None, "folder for scores.csv and maps/", required=True)
    flags.DEFINE_bool("maps", True, "write the maps")
    flags.DEFINE_integer(
        "max_pixels", None, "images with more are errors; default 100 million", lower_bound=16
    )
    cli.run(main)
