"""python -m semi_anogan.export.runtime: scores images with a bundle, on a device without TensorFlow.

  --input=FILE|FOLDER|CSV    scores these and ends
  --input=FOLDER --watch     also each image that appears in the folder later, until interrupted
  --input=- [--watch]        frames of a camera: PGM or PPM images, one after the other, on standard input

--output gets scores.csv, regions.csv, regions.jsonl, overlays/ and what is asked for, as `python -m
semi_anogan.score` writes them. With --watch they are continued. The exit code is 3 where an image could not
be read, and 130 where it was interrupted before the last one.
"""

import argparse
import collections
import contextlib
import functools
import math
import os
import pathlib
import sys
from collections.abc import Sequence

import numpy as np

from semi_anogan import files
from semi_anogan.data import ignore, ignore_files
from semi_anogan.data.image_files import MAX_PIXELS
from semi_anogan.data.images import Reader, read_image
from semi_anogan.data.notes import Notes
from semi_anogan.errors import DataError, RunError, UserError
from semi_anogan.export.runtime import frames, products
from semi_anogan.export.runtime.bundle import products_of
from semi_anogan.export.runtime.delivery import Delivery, sender
from semi_anogan.export.runtime.detector import EdgeDetector
from semi_anogan.export.runtime.engines import ENGINES
from semi_anogan.scoring import files as score_files
from semi_anogan.scoring import outputs as output_files
from semi_anogan.scoring import resume
from semi_anogan.scoring.calibration import NORMAL
from semi_anogan.scoring.judging import Judging
from semi_anogan.scoring.outputs import Outputs
from semi_anogan.scoring.regions import MISSING

INTERRUPTED = 130  # exit code, as a shell has it
LATEST = 10_000  # images whose latency is told: memory does not grow with all of them


def main(arguments=None) -> int:
    """Runs the command; returns its exit code."""
    options = _options(arguments)
    output_files.print_any_name()
    try:
        judging = Judging.of_options(options.threshold, options.false_alarm_rate, options.review_band)
        outputs = _outputs(options)
        if options.notify:
            sender(options.notify)  # an address that cannot be is told before anything is loaded
        notes = Notes()
        inputs, name = _source(options, outputs, notes)
        names = _products(options)
        detectors = {}
        for product in _used(names, inputs, outputs.root):
            detectors[product], lines = judging.applied(_detector(options, product))
            for line in lines:
                print(f"note: {score_files.of_product(product, line)}")
        if options.resume:
            thresholds = [detector.threshold for detector in detectors.values()]
            inputs, line = resume.left(inputs, pathlib.Path(options.output), thresholds)
            print(f"resume: {line}")
        with files.told_writing(options.output, RunError), output_files.terminated_as_interrupted():
            return _score(_Detectors(detectors, names, notes, options), inputs, name, outputs, options)
    except (UserError, OSError) as error:  # OSError: an engine's library that cannot be loaded
        print(f"error: {error}", file=sys.stderr)
    except KeyboardInterrupt:  # before the first image, or a second one
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return 1


def _outputs(options) -> Outputs:
    return Outputs(
        options.maps,
        options.overlays,
        options.overlay_format,
        options.coco,
        options.min_area,
        options.resume or (options.watch if options.append is None else options.append),
        "" if options.input == "-" else output_files.root_of(options.input),
        options.resume,
    )


def _products(options) -> tuple[str, ...]:
    """The names of the products that images are told apart by; none where all are of one."""
    names = () if options.product else products_of(options.bundle)
    one = "--input=-" if options.input == "-" else "--threshold" if options.threshold is not None else None
    if names and one:
        raise RunError(f"{one} is for one product, {options.bundle} has {', '.join(names)}: give --product")
    return names


def _used(names: Sequence[str], inputs, root: str) -> list[str | None]:
    """The products whose detectors are needed: of a folder that is watched all."""
    if not names:
        return [None]
    found = set(names)
    if isinstance(inputs, list):
        found = set()
        for path in inputs:
            with contextlib.suppress(DataError):
                found.add(products.product_of(path, root, names))
    return [name for name in names if name in found] or [names[0]]


def _detector(options, product: str | None) -> EdgeDetector:
    one_by_one = options.watch or options.budget_ms or options.input == "-"
    return EdgeDetector(
        options.bundle,
        options.engine,
        options.precision,
        options.batch or (1 if one_by_one else None),
        options.threads,
        options.budget_ms,
        options.providers.split(",") if options.providers else None,
        product or options.product,
    )


class _Detectors(dict):
    """{product: its detector}, of one product {None: it}, and what reads images for each.

    Args: detectors; names: of all products that there are; notes: get what is unusual in the files.
    """

    def __init__(self, detectors: dict, names: Sequence[str], notes: Notes, options):
        super().__init__(detectors)
        self.names, self.notes = names, notes
        self.first = next(iter(detectors.values()))
        self._root = output_files.root_of(options.input)
        most = options.max_pixels or MAX_PIXELS
        mask_of = (lambda path: None) if options.input == "-" else ignore_files.of_input(options.input)
        self._masked = {}
        for product, detector in detectors.items():
            shape = None if detector.tile else detector.shape
            reader = Reader(detector.scale, most, notes, min(detector.shape), shape)
            self._masked[product] = ignore_files.MaskedReader(reader, detector.ignore, mask_of)
            if detector.ignore is not None:
                told = ignore.told(detector.ignore, detector.bundle.title(ignore.NAME))
                print(score_files.of_product(product, told))

    def of(self, outcome: score_files.Scored) -> EdgeDetector:
        """By which an image was scored."""
        return self[outcome.product]

    def read_of(self, product: str | None, inputs):
        """What reads the images of a product, as score_files.scored takes it; see products.scored."""
        masked = self._masked.get(product)

        def none(path, channels):
            products.product_of(str(path), self._root, self.names)
            raise AssertionError(path)

        def read(item, channels):
            if isinstance(item, frames.Frame):
                return masked.masked(item.image(channels, masked.reader), item.name)
            reader = masked or none
            watched = isinstance(inputs, frames.WatchedFolder)
            return inputs.read(item, channels, reader) if watched else reader(item, channels)

        return read

    def again(self, outcome: score_files.Scored):
        """The image of an outcome once more, for its overlay."""
        detector, reader = self.of(outcome), self._masked[outcome.product].reader
        return read_image(outcome.path, detector.channels, reader.max_pixels, detector.scale)


def _source(options, outputs: Outputs, notes: Notes):
    """(items, item -> path) of --input; notes: get what is left out of a folder."""
    if options.input == "-":
        found = frames.of_stream(sys.stdin.buffer, options.max_pixels or MAX_PIXELS)
        if (options.batch or 1) > 1:  # a frame must not wait for its batch for ever
            found = frames.with_pauses(found, options.settle)
        return found, lambda frame: frame.name
    if options.watch:
        seen = frames.Seen(pathlib.Path(options.output), outputs.append)
        most = options.max_pixels or MAX_PIXELS
        return frames.WatchedFolder(options.input, seen, options.settle, notes, most), str
    from semi_anogan.data.listing import list_inputs

    found = list_inputs(options.input, notes=notes, max_pixels=options.max_pixels or MAX_PIXELS)
    return output_files.without_pictures(found, notes), str


def _score(detectors: _Detectors, inputs, name, outputs: Outputs, options) -> int:
    """Scores the inputs into the output folder and tells what was done; returns the exit code."""
    output, watched = pathlib.Path(options.output), isinstance(inputs, frames.WatchedFolder)
    told = _Told(detectors, options)
    extra = {}
    if detectors.names or options.product:  # so that outputs of one bundle have the same columns
        extra["product"] = lambda outcome: outcome.product or options.product or ""
    if searched := options.budget_ms and any(d.search for d in detectors.values()):
        # Asked in the order of the outcomes; one without an image has no steps.
        extra["search_steps"] = lambda outcome: "" if outcome.error is not None else told.steps

    deliveries, changed = [], []

    def followed(outcomes):
        # Begun here, where the output is ours alone.
        deliveries.extend([Delivery(options.notify, output)] if options.notify else [])
        for count, outcome in enumerate(outcomes, 1):
            told.add(outcome)
            own = {"id": inputs.begin()} if watched else {}
            yield outcome
            if changed:
                own["drift"] = list(changed)
                changed.clear()
            told_of = outcome.label != NORMAL or options.notify_of == "all" or "drift" in own
            for delivery in deliveries if told_of else ():
                delivery.add(_message(outcome, detectors.get(outcome.product), outputs.min_area) | own)
            if watched:
                inputs.done()
            if count == options.limit:
                return

    interrupted = False
    try:
        # A frame cannot be read again, and a watched file may be gone.
        passing = watched or options.input == "-"
        keep = 0 if outputs.overlays == output_files.NONE else math.inf if passing else score_files.SMALL
        if detectors.names:
            read_of = functools.partial(detectors.read_of, inputs=inputs)
            outcomes = products.scored(detectors, inputs, read_of, name, outputs.root, keep)
        else:
            read = detectors.read_of(None, inputs)
            outcomes = score_files.scored(detectors.first, inputs, read, name, keep_images=keep)
        score_files.write(
            followed(outcomes),
            output,
            detectors,
            outputs,
            extra,
            detectors.notes,
            detectors.again,
            changed.append,
        )
    except KeyboardInterrupt:
        more = "; --resume goes on" if isinstance(inputs, list) else ""
        print(f"interrupted; what was scored is written{more}", file=sys.stderr)
        interrupted = not options.watch  # which ends no other way
    finally:
        for delivery in deliveries:
            delivery.close()
    print(f"{told.count} images scored, {told.failed} with errors: {output / 'scores.csv'}")
    for product, detector in detectors.items():
        if detector.pixel_threshold is None:
            print(f"note: {score_files.of_product(product, MISSING)}")
    for line in detectors.notes.lines():
        print(f"note: {line}")
    told.latency()
    if searched:
        told.budget()
    return INTERRUPTED if interrupted else 3 if told.failed else 0


def _message(outcome: score_files.Scored, detector: EdgeDetector | None, min_area: int) -> dict:
    """What is delivered of an image: its values as in scores.csv and regions.jsonl."""
    regions = None
    if outcome.regions is not None:
        kept = [region for region in outcome.regions if region.area >= min_area]
        shape = outcome.anomaly_map.shape
        lines = [output_files.region_line(outcome.path, i, r, shape) for i, r in enumerate(kept, 1)]
        regions = [{k: v for k, v in line.items() if k != "path"} for line in lines]
    threshold = None if detector is None else detector.threshold  # an image of no product has none
    values = {"score": outcome.score, "p_value": outcome.p_value, "threshold": threshold}
    values = {k: None if v is None else output_files.short(v) for k, v in values.items()}
    return {
        "path": outcome.path,
        **({} if outcome.product is None else {"product": outcome.product}),
        "label": outcome.label,
        **values,
        "regions": regions,
        "error": outcome.error,
        "time": output_files.now(),
    }


class _Told:
    """What is told of the images scored; memory does not grow with their number.

    Attributes: count, failed: images scored, and those that could not be; steps: of the last one's search.
    """

    def __init__(self, detectors: dict, options):
        self._batch_size = next(iter(detectors.values())).batch_size
        self.count = self.failed = self.steps = 0
        self._detectors, self._options = detectors, options
        self._seconds = collections.deque(maxlen=LATEST)
        self._steps = collections.Counter()

    def add(self, outcome: score_files.Scored):
        """Counts an outcome; with --watch it is printed."""
        if outcome.error is None:
            self.count += 1
            self._seconds.append(outcome.seconds)
            self.steps = self._detectors[outcome.product].search_steps.popleft()
            self._steps[self.steps] += 1
        else:
            self.failed += 1
        if self._options.watch:
            value = outcome.error or f"{outcome.score:.6g} {outcome.label}"
            print(f"{outcome.path}: {value}", flush=True)

    def latency(self):
        """Prints the latency, of many images that of the last ones."""
        if not self.count:
            return
        p50, p95, p99 = np.percentile(np.array(self._seconds) * 1000, (50, 95, 99))
        what = f"{self._options.engine} {self._options.precision}, batch {self._batch_size}"
        what += f", the last {LATEST} images" if self.count > LATEST else ""
        print(
            f"latency of an image, from reading it to its map ({what}): "
            f"p50 {p50:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms"
        )

    def budget(self):
        """Prints how many searches ended early."""
        if not self.count:
            return
        most = max(d.search.iterations for d in self._detectors.values() if d.search)
        fewer = sum(count for taken, count in self._steps.items() if taken < most)
        steps = np.repeat(*np.array(sorted(self._steps.items())).T) if self.count <= LATEST else None
        median = "" if steps is None else f"; median {np.median(steps):g}"
        print(
            f"budget of {self._options.budget_ms:g} ms: {fewer} of {self.count} images were searched with "
            f"fewer than {most} steps (column search_steps{median}); "
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
        "--product",
        help="of a bundle of several, for all images; else the folder that an image lies in names its own",
    )
    parser.add_argument(
        "--input", required=True, help="an image, a folder, a CSV with a column `path`, or - for frames"
    )
    parser.add_argument("--output", required=True, help="folder for scores.csv, regions and pictures")
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
    parser.add_argument(
        "--notify",
        metavar="URL",
        help="tell of each image: http(s)://HOST/PATH gets JSON, or mqtt(s)://HOST/TOPIC; what cannot be "
        "delivered is kept in --output and delivered later",
    )
    parser.add_argument(
        "--notify_of", choices=("all", "abnormal"), default="all", help="of which images; default all"
    )
    parser.add_argument("--limit", type=int, help="end after this many images")
    parser.add_argument(
        "--threshold", type=float, help="images are abnormal above this score, not the run's threshold"
    )
    parser.add_argument(
        "--false_alarm_rate", type=float, help="or above the threshold for this rate, in (0, 1)"
    )
    parser.add_argument(
        "--review_band",
        help="or LOW,HIGH, such as 0.001,0.05: abnormal above the threshold for the rate LOW, "
        '"look" above that for HIGH',
    )
    parser.add_argument(
        "--overlays",
        choices=output_files.OVERLAYS_OF,
        default=output_files.OF_ABNORMAL,
        help="which images to draw regions into; default abnormal",
    )
    parser.add_argument(
        "--overlay_format", choices=list(output_files.SUFFIXES), default="png", help="of these pictures"
    )
    boolean = argparse.BooleanOptionalAction
    parser.add_argument("--maps", action=boolean, default=False, help="write the maps")
    parser.add_argument("--coco", action=boolean, default=False, help="write coco.json")
    parser.add_argument("--min_area", type=int, default=0, help="leave out regions of fewer pixels")
    parser.add_argument(
        "--append", action=boolean, help="continue what is in --output: default with --watch, else replace it"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with a call that was interrupted: leave out what it has scored, as --watch always does",
    )
    parser.add_argument(
        "--settle",
        type=float,
        default=1.0,
        help="seconds that a watched file must rest before it is read; with --batch also how long the last "
        "frames wait for others; default 1",
    )
    options = parser.parse_args(arguments)
    if options.watch and options.input != "-" and not os.path.isdir(options.input):
        parser.error(f"--watch needs a folder or - for --input, got {options.input!r}")
    if options.resume and (options.watch or options.input == "-"):
        parser.error("--resume is for a file, a folder or a CSV; --watch goes on by itself, and - has no end")
    if not options.output:
        parser.error("--output names no folder")
    for name, least in (("batch", 1), ("threads", 1), ("limit", 1), ("max_pixels", 16), ("budget_ms", 0)):
        value = getattr(options, name)
        if value is not None and not value >= least:  # written so that NaN fails too
            parser.error(f"--{name} must be at least {least}, got {value}")
    if not options.settle >= 0 or options.min_area < 0:
        parser.error(
            f"--settle and --min_area must be at least 0, got {options.settle} and {options.min_area}"
        )
    return options


if __name__ == "__main__":
    sys.exit(main())
