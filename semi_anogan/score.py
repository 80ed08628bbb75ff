"""python -m semi_anogan.score: scores new images with a finished run and writes scores.csv and maps/."""

import pathlib
import time

from absl import flags

from semi_anogan import cli
from semi_anogan.scoring import files as score_files
from semi_anogan.scoring.regions import MISSING


def main(argv) -> int:
    """Scores new images: python -m semi_anogan.score --workdir=DIR --input=FILE|FOLDER|CSV --output=DIR

    --output gets scores.csv (path, score, label, status, error, regions), regions.csv, and maps/ with
    NAME.npy and NAME.png; with --overlays also overlays/ with NAME.png. An image that cannot be read becomes
    a row with status "error"; the exit code is then 3.
    """
    del argv
    from semi_anogan.data import ignore, ignore_files
    from semi_anogan.data.image_files import MAX_PIXELS
    from semi_anogan.data.listing import list_inputs
    from semi_anogan.data.notes import Notes
    from semi_anogan.runs import folder as run_folder

    notes = Notes()
    inputs = list_inputs(flags.FLAGS.input, notes=notes)
    mask_of = ignore_files.of_input(flags.FLAGS.input)
    run_folder.check_format(flags.FLAGS.workdir)  # before Keras, which takes seconds
    cli.load_framework()
    from semi_anogan.scoring.detector import Detector

    detector = Detector.load(flags.FLAGS.workdir).pruned()
    most = flags.FLAGS.max_pixels or MAX_PIXELS
    output = pathlib.Path(flags.FLAGS.output)
    if detector.ignore is not None:
        print(ignore.told(detector.ignore, pathlib.Path(flags.FLAGS.workdir) / run_folder.IGNORE))
    failed = score(detector, inputs, output, flags.FLAGS.maps, flags.FLAGS.overlays, notes, most, mask_of)
    for line in notes.lines():
        print(f"note: {line}")
    print(f"{len(inputs) - failed} images scored, {failed} with errors: {output / 'scores.csv'}")
    if detector.pixel_threshold is None:
        print(f"note: {MISSING}")
    return 3 if failed else 0


def score(
    detector,
    paths,
    output: pathlib.Path,
    maps: bool = True,
    overlays: bool = False,
    notes=None,
    max_pixels: int | None = None,
    mask_of=lambda path: None,
) -> int:
    """Scores image files one batch after the other; returns how many had errors.

    Args: detector: reads files by its `scale`; notes: a Notes that gets a line for each kind of what is
      unusual in the files; max_pixels: images with more are errors; None: 100 million; mask_of: path of an
      image -> that of its own mask of what is ignored, or None.

    Rows are in the order of `paths` and written as they come, so what is done is not lost when the process
    ends early. Memory does not grow with the number of images. Raises RunError when the output cannot be
    written.
    """
    from semi_anogan.data.ignore_files import MaskedReader
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

    reader = Reader(
        detector.scale, max_pixels or MAX_PIXELS, Notes() if notes is None else notes, min(detector.shape)
    )
    read = MaskedReader(reader, detector.ignore, mask_of)
    found = score_files.scored(
        detector, shown(paths, len(paths), "score"), read, overlap=True, keep_images=overlays
    )
    with told_writing(output, RunError):
        failed = score_files.write(
            timed(found), output, maps, pixel_threshold=detector.pixel_threshold, overlays=overlays
        )
    first = detector.batch_size  # images that wait for the compilation
    if len(times) >= 4 * first:
        print(f"{(len(times) - first) / (times[-1] - times[first - 1]):.1f} images/s after the first {first}")
    return failed


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "run folder of a finished training", required=True)
    flags.DEFINE_string(
        "input", None, "an image, a folder of images, or a CSV with a column `path`", required=True
    )
    flags.DEFINE_string("output", None, "folder for scores.csv, regions.csv and maps/", required=True)
    flags.DEFINE_bool("maps", True, "write the maps")
    flags.DEFINE_bool("overlays", False, "write the images with their maps and regions drawn into them")
    flags.DEFINE_integer(
        "max_pixels", None, "images with more are errors; default 100 million", lower_bound=16
    )
    cli.run(main)
