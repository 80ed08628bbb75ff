"""python -m semi_anogan.export.runtime: scores images with a bundle, on a device without TensorFlow.

  --input=FILE|FOLDER|CSV    scores these and ends
  --input=FOLDER --watch     also each image that appears in the folder later, until interrupted
  --input=- [--watch]        frames of a camera: PGM or PPM images, one after the other, on standard input

--output gets scores.csv, regions.csv, maps/ and, with --overlays, overlays/ as `python -m semi_anogan.score`
writes them. The exit code is 3 where an image could not be read.
"""

import argparse
import os
import pathlib
import sys

import numpy as np

from semi_anogan import files
from semi_anogan.data import ignore, ignore_files
from semi_anogan.data.image_files import MAX_PIXELS
from semi_anogan.data.images import Reader
from semi_anogan.data.notes import Notes
from semi_anogan.errors import RunError, UserError
from semi_anogan.export.runtime import frames
from semi_anogan.export.runtime.detector import EdgeDetector
from semi_anogan.export.runtime.engines import ENGINES
from semi_anogan.scoring import files as score_files
from semi_anogan.scoring.regions import MISSING


def main(arguments=None) -> int:
    """Runs the command; returns its exit code."""
    options = _options(arguments)
    try:
        notes = Notes()
        inputs, name = _source(options, notes)
        detector = _detector(options)
        reader = Reader(detector.scale, options.max_pixels or MAX_PIXELS, notes, min(detector.shape))
        if detector.ignore is not None:
            print(ignore.told(detector.ignore, os.path.join(options.bundle, ignore.NAME)))
        with files.told_writing(options.output, RunError):
            return _score(detector, inputs, name, reader, options)
    except (UserError, OSError) as error:  # OSError: an engine's library that cannot be loaded
        print(f"error: {error}", file=sys.stderr)
    return 1


def _detector(options) -> EdgeDetector:
    one_by_one = options.watch or options.budget_ms or options.input == "-"
    return EdgeDetector(
        options.bundle,
        options.engine,
        options.precision,
        options.batch or (1 if one_by_one else None),
        options.threads,
        options.budget_ms,
        options.providers.split(",") if options.providers else None,
    )


def _source(options, notes: Notes):
    """(items, item -> path) of --input; notes: get what is left out of a folder."""
    if options.input == "-":
        return frames.of_stream(sys.stdin.buffer, options.max_pixels or MAX_PIXELS), lambda frame: frame.name
    if options.watch:
        return frames.of_folder(options.input, notes), str
    from semi_anogan.data.listing import list_inputs

    return list_inputs(options.input, notes=notes), str


def _score(detector: EdgeDetector, inputs, name, reader: Reader, options) -> int:
    """Scores the inputs into the output folder and tells what was done; returns the exit code."""
    seconds, steps = [], []  # of the images that could be read
    extra = {}
    if detector.budget_ms and detector.search:
        # Asked in the order of the outcomes; one without an image has no steps.
        extra["search_steps"] = lambda outcome: "" if outcome.error is not None else steps[-1]

    def followed(outcomes):
        for count, outcome in enumerate(outcomes, 1):
            if outcome.error is None:
                seconds.append(outcome.seconds)
                steps.append(detector.search_steps.popleft())
            if options.watch:
                value = outcome.error or f"{outcome.score:.6g} {'abnormal' if outcome.abnormal else 'normal'}"
                print(f"{outcome.path}: {value}", flush=True)
            yield outcome
            if count == options.limit:
                return

    mask_of = (lambda path: None) if options.input == "-" else ignore_files.of_input(options.input)
    masked = ignore_files.MaskedReader(reader, detector.ignore, mask_of)

    def read(item, channels):
        if isinstance(item, frames.Frame):
            return masked.masked(item.image(channels, reader), item.name)
        return masked(item, channels)

    failed, output = 0, pathlib.Path(options.output)
    try:
        outcomes = score_files.scored(detector, inputs, read, name, keep_images=options.overlays)
        failed = score_files.write(
            followed(outcomes), output, options.maps, extra, detector.pixel_threshold, options.overlays
        )
    except KeyboardInterrupt:
        print("interrupted; what was scored is written", file=sys.stderr)
    print(f"{len(seconds)} images scored, {failed} with errors: {output / 'scores.csv'}")
    if detector.pixel_threshold is None:
        print(f"note: {MISSING}")
    for line in reader.notes.lines():
        print(f"note: {line}")
    if seconds:
        _tell_latency(detector, seconds, options)
    if seconds and extra:
        _tell_budget(detector, steps)
    return 3 if failed else 0


def _tell_latency(detector: EdgeDetector, seconds: list[float], options):
    p50, p95, p99 = np.percentile(np.array(seconds) * 1000, (50, 95, 99))
    what = f"{options.engine} {options.precision}, batch {detector.batch_size}"
    print(
        f"latency of an image, from reading it to its map ({what}): "
        f"p50 {p50:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms"
    )


def _tell_budget(detector: EdgeDetector, steps: list[int]):
    most = detector.search.iterations
    fewer = sum(taken < most for taken in steps)
    print(
        f"budget of {detector.budget_ms:g} ms: {fewer} of {len(steps)} images were searched with fewer than "
        f"{most} steps (column search_steps; median {np.median(steps):g}); "
        "their scores differ from those of the whole search"
    )


def _options(arguments):
    parser = argparse.ArgumentParser(
        prog="python -m semi_anogan.export.runtime",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bundle", required=True, help="folder that the export command wrote")
    parser.add_argument("--engine", required=True, choices=ENGINES)
    parser.add_argument(
        "--input", required=True, help="an image, a folder, a CSV with a column `path`, or - for frames"
    )
    parser.add_argument("--output", required=True, help="folder for scores.csv, regions.csv and maps/")
    parser.add_argument(
        "--precision", default="float32", help="float32, float16, int8 or int8_full, as exported"
    )
    parser.add_argument(
        "--batch",
        type=int,
        help="images at a time, as exported; default 1 with --watch or --budget_ms, else the largest",
    )
    parser.add_argument("--threads", type=int, help="of the CPU engines; default all cores")
    parser.add_argument(
        "--providers",
        help="execution providers of ONNX Runtime, as CUDAExecutionProvider,CPUExecutionProvider",
    )
    parser.add_argument(
        "--budget_ms",
        type=float,
        help="time for an image: its search ends early where it must, and the output says so",
    )
    parser.add_argument("--watch", action="store_true", help="go on with images as they come")
    parser.add_argument("--max_pixels", type=int, help="images with more are errors; default 100 million")
    parser.add_argument("--limit", type=int, help="end after this many images")
    parser.add_argument("--maps", action=argparse.BooleanOptionalAction, default=True, help="write the maps")
    parser.add_argument(
        "--overlays",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="write the images with their maps and regions drawn into them",
    )
    options = parser.parse_args(arguments)
    if options.watch and options.input != "-" and not os.path.isdir(options.input):
        parser.error(f"--watch needs a folder or - for --input, got {options.input!r}")
    return options


if __name__ == "__main__":
    sys.exit(main())
