"""python -m semi_anogan.score: scores new images with a finished run and writes scores.csv and regions."""

import pathlib
import sys
import time

from absl import flags

from semi_anogan import cli
from semi_anogan.scoring import files as score_files
from semi_anogan.scoring import outputs as output_files
from semi_anogan.scoring import resume
from semi_anogan.scoring.judging import Judging
from semi_anogan.scoring.outputs import Outputs
from semi_anogan.scoring.regions import MISSING

MANY_TILES = 100  # of an image, so that it is shown how far it has come with them


def main(argv) -> int:
    """Scores new images: python -m semi_anogan.score --workdir=DIR --input=FILE|FOLDER|CSV --output=DIR

    --output gets scores.csv (path, score, label, status, error, regions, threshold, p_value, time),
    regions.csv, regions.jsonl, and overlays/ of the abnormal images. With --maps also maps/ with NAME.npy and
    NAME.png, with --coco coco.json. An image that cannot be read becomes a row with status "error"; the exit
    code is then 3.
    """
    del argv
    from semi_anogan.data import ignore, ignore_files
    from semi_anogan.data.image_files import MAX_PIXELS
    from semi_anogan.data.listing import list_inputs
    from semi_anogan.data.notes import Notes
    from semi_anogan.errors import RunError
    from semi_anogan.runs import folder as run_folder

    values = flags.FLAGS
    if not values.output:
        raise RunError("--output names no folder")
    output_files.print_any_name()
    judging = Judging.of_options(values.threshold, values.false_alarm_rate, values.review_band)
    outputs = Outputs(
        values.maps,
        values.overlays,
        values.overlay_format,
        values.coco,
        values.min_area,
        values.append or values.resume,
        output_files.root_of(values.input),
        values.resume,
    )
    notes = Notes()
    most = values.max_pixels or MAX_PIXELS
    found = list_inputs(values.input, notes=notes, max_pixels=most)
    inputs = output_files.without_pictures(found, notes)
    mask_of = ignore_files.of_input(values.input)
    run_folder.check_format(values.workdir)  # before Keras, which takes seconds
    cli.load_framework()
    from semi_anogan.scoring.detector import Detector

    detector = Detector.load(values.workdir).pruned()
    if detector.chosen is not None:
        print(f"note: {detector.chosen.told()}")
    detector, lines = judging.applied(detector)
    for line in lines:
        print(f"note: {line}")
    output = pathlib.Path(values.output)
    if detector.ignore is not None:
        print(ignore.told(detector.ignore, pathlib.Path(values.workdir) / run_folder.IGNORE))
    if values.resume:
        inputs, line = resume.left(inputs, output, [detector.threshold])
        print(f"resume: {line}")
    try:
        failed = score(detector, inputs, output, outputs, notes, most, mask_of)
    except KeyboardInterrupt:
        print("interrupted; what was scored is written; --resume goes on", file=sys.stderr)
        return 130
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
    outputs: Outputs | None = None,
    notes=None,
    max_pixels: int | None = None,
    mask_of=lambda path: None,
) -> int:
    """Scores image files one batch after the other; returns how many had errors.

    Args: detector: reads files by its `scale`; outputs: what is written besides the tables; notes: a Notes
      that gets a line for each kind of what is unusual in the files; max_pixels: images with more are errors;
      None: 100 million; mask_of: path of an image -> that of its own mask of what is ignored, or None.

    Rows are in the order of `paths` and written as they come, so what is done is not lost when the process
    ends early. Memory does not grow with the number of images. Raises RunError when the output cannot be
    written, or another process writes there.
    """
    from semi_anogan.data.ignore_files import MaskedReader
    from semi_anogan.data.image_files import MAX_PIXELS
    from semi_anogan.data.images import Reader, read_image
    from semi_anogan.data.notes import Notes
    from semi_anogan.errors import RunError
    from semi_anogan.files import told_writing
    from semi_anogan.progress import shown

    outputs, notes = outputs or Outputs(), Notes() if notes is None else notes
    first = detector.batch_size  # images that wait for the compilation
    count, begun = 0, 0.0

    def timed(outcomes):
        nonlocal count, begun
        for outcome in outcomes:
            count += 1
            if count == first:
                begun = time.monotonic()
            yield outcome

    shape = None if detector.tile else detector.shape
    reader = Reader(detector.scale, max_pixels or MAX_PIXELS, notes, min(detector.shape), shape)
    read = MaskedReader(reader, detector.ignore, mask_of)
    detector.show_parts = lambda parts: (
        shown(parts, len(parts), "tiles of an image", "tile") if len(parts) >= MANY_TILES else parts
    )
    found = score_files.scored(
        detector,
        paths,
        read,
        overlap=True,
        keep_images=0 if outputs.overlays == output_files.NONE else score_files.SMALL,
    )

    def again(outcome):
        return read_image(outcome.path, detector.channels, max_pixels or MAX_PIXELS, detector.scale)

    with told_writing(output, RunError), output_files.terminated_as_interrupted():
        failed = score_files.write(
            timed(shown(found, len(paths), "score")), output, detector, outputs, notes=notes, read=again
        )
    if count >= 4 * first:
        print(f"{(count - first) / (time.monotonic() - begun):.1f} images/s after the first {first}")
    return failed


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "run folder of a finished training", required=True)
    flags.DEFINE_string(
        "input", None, "an image, a folder of images, or a CSV with a column `path`", required=True
    )
    flags.DEFINE_string("output", None, "folder for scores.csv, regions and pictures", required=True)
    flags.DEFINE_float("threshold", None, "images are abnormal above this score, not the run's threshold")
    flags.DEFINE_float("false_alarm_rate", None, "or above the threshold for this rate, in (0, 1)")
    flags.DEFINE_string(
        "review_band",
        None,
        'or LOW,HIGH, such as 0.001,0.05: abnormal above the threshold for the rate LOW, "look" above that '
        "for HIGH",
    )
    flags.DEFINE_enum("overlays", "abnormal", output_files.OVERLAYS_OF, "which images to draw regions into")
    flags.DEFINE_enum("overlay_format", "png", list(output_files.SUFFIXES), "of these pictures")
    flags.DEFINE_bool("maps", False, "write the maps")
    flags.DEFINE_bool("coco", False, "write coco.json")
    flags.DEFINE_integer("min_area", 0, "leave out regions of fewer pixels", lower_bound=0)
    flags.DEFINE_bool("append", False, "continue what is in --output, instead of replacing it")
    flags.DEFINE_bool("resume", False, "go on with a call that was interrupted: leave out what it has scored")
    flags.DEFINE_integer(
        "max_pixels", None, "images with more are errors; default 100 million", lower_bound=16
    )
    cli.run(main)
