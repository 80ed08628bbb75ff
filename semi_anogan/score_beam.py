"""python -m semi_anogan.score_beam: scores images with Apache Beam, on one machine or on many.

  --bundle=BUNDLE --engine=onnx --input='parts/**.png' --output=SCORED \\
    --direct_num_workers=2 --direct_running_mode=multi_processing
  --bundle=gs://B/bundle --engine=onnx --input=gs://B/parts.csv --output=gs://B/scored \\
    --runner=DataflowRunner --project=P --region=R --temp_location=gs://B/temp

--output gets scores-*-of-*.csv with the columns of `score`; errors-*-of-*.csv (path, error, time) of what
could not be scored; regions-*-of-*.jsonl, notes-*-of-*.txt and what is asked for. Options of Beam and runners
are given as they are; those that only a runner elsewhere knows come after --. The exit code is 3 where an
image could not be scored.
"""

import argparse
import logging
import os
import sys
import traceback

from semi_anogan.errors import RunError, UserError

RUNNER = "FnApiRunner"  # Beam's own on this machine; its DirectRunner may download another program first

AGAIN = "its tables are not there, or not all; give the command again, which replaces them"


def main(arguments=None) -> int:
    """Runs the command; returns its exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    options, flags, elsewhere = _options(arguments)
    try:
        try:
            logging.getLogger().setLevel(logging.ERROR)  # it warns of what is missing for other uses
            import apache_beam  # noqa: F401
        except ImportError as error:
            raise RunError(f"Apache Beam is not installed ({error}): install the extra beam") from error
        finally:
            logging.getLogger().setLevel(logging.WARNING)
        return _run(options, _pipeline_options(flags, elsewhere))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
    return 1


def _run(options, pipeline_options) -> int:
    import apache_beam as beam
    from apache_beam.io.filesystems import FileSystems

    from semi_anogan.beam import pipeline as steps
    from semi_anogan.beam import storage

    settings, inputs, written = _described(options)
    try:
        pipeline = beam.Pipeline(options=pipeline_options)
    except Exception as error:  # of a runner that there is not, or that wants other options
        raise RunError(f"no pipeline can be made of these options: {error}") from error
    if old := list(steps.earlier(written.output)):
        print(f"note: {len(old)} files of an earlier call are replaced, such as {old[0]}")
        FileSystems.delete(old)
    steps.build(pipeline, settings, inputs, written)
    try:
        result = pipeline.run()
        state = result.wait_until_finish()
    except Exception as error:  # whatever a runner raises
        traceback.print_exc()
        told = (str(error).splitlines() or [type(error).__name__])[0]
        raise RunError(f"the pipeline failed: {told}; {AGAIN}") from error
    if state not in (None, "DONE"):
        raise RunError(f"the pipeline ended as {state}; {AGAIN}")
    counted = {name: 0 for name in steps.COUNTERS}
    for counter in result.metrics().query()["counters"]:
        if counter.key.metric.namespace == steps.NAMESPACE:
            counted[counter.key.metric.name] += counter.committed or counter.attempted or 0
    scored, failed = sum(counted[label] for label in steps.LABELS), counted[steps.ERRORS]
    if left_out := counted[steps.LEFT_OUT]:
        print(f"note: {left_out} files are left out: masks of what is ignored, or written here")
    for path in storage.listed(f"{written.output}/{steps.NOTES}-*-of-*"):
        for line in storage.begin_of(path).decode("utf-8", "replace").splitlines():
            print(f"note: {line}")
    labels = ", ".join(f"{counted[label]} {label}" for label in steps.LABELS if counted[label])
    labels = f" ({labels})" if labels else ""
    print(f"{scored} images scored{labels}, {failed} with errors: {written.output}/{steps.SCORES}-*")
    return 3 if failed else 0


def _described(options):
    """(Settings, Inputs, Written) of the options; UserError for what cannot be, before a pipeline begins."""
    from semi_anogan.beam import pipeline as steps
    from semi_anogan.beam import storage
    from semi_anogan.beam.scorer import Settings
    from semi_anogan.data.image_files import MAX_PIXELS

    _check_name("output", options.output)  # else all is scored before Beam does not find what it has written
    products = _checked_model(options)
    output, inputs = options.output.rstrip("/"), _inputs(options.input)
    masked = inputs.root or "." if inputs.pattern is not None and storage.is_local(inputs.root) else None
    settings = Settings(
        options.workdir,
        options.bundle,
        options.engine,
        inputs.root,
        masked,
        options.precision,
        options.batch,
        options.threads,
        options.product,
        options.threshold,
        options.false_alarm_rate,
        options.review_band,
        options.max_pixels or MAX_PIXELS,
        options.overlays != "none",
    )
    _ = settings.judging
    if products and options.threshold is not None:
        names = ", ".join(products)
        raise RunError(f"--threshold is for one product, {options.bundle} has {names}: give --product")
    written = steps.Written(
        output,
        steps.columns_of(settings, products),
        options.format == "parquet",
        options.shards,
        options.maps,
        options.overlays,
        options.overlay_format,
        options.min_area,
    )
    return settings, inputs, written


def _checked_model(options) -> tuple[str, ...]:
    """The products of the bundle that images are told apart by; UserError for what cannot be scored with."""
    from semi_anogan.beam import storage

    address = options.workdir or options.bundle
    if not storage.is_local(address) and not storage.listed(f"{address.rstrip('/')}/*.json", 1):
        raise RunError(f"{address}: holds neither a run nor a bundle")
    if options.workdir:
        if storage.is_local(address):
            from semi_anogan.runs import folder as run_folder

            run_folder.read_settings(address)
        return ()
    from semi_anogan.export.runtime.bundle import Bundle, products_of

    with storage.local_folder(address) as folder:
        products = () if options.product else products_of(folder)
        for product in products or (options.product,):
            bundle = Bundle(folder, product)
            names = ["score"] if bundle.values["search"] is None else ["encode", "search_step", "score"]
            batch = options.batch or max(bundle.batches(options.engine, options.precision), default=1)
            for name in names if options.engine != "tensorrt" else ():
                bundle.program(options.engine, options.precision, name, batch)
    return products


def _check_name(option: str, name: str):
    """RunError where Beam would take a name for a pattern."""
    if found := [character for character in "*?[" if character in name]:
        raise RunError(f"--{option}={name}: must have no {found[0]}, which Beam takes for a pattern's")


def _inputs(given: str):
    from semi_anogan.beam import storage
    from semi_anogan.beam.pipeline import Inputs, checked_header

    if given.lower().endswith(".csv"):
        _check_name("input", given)
        header, delimiter = checked_header(given)
        return Inputs(given.rpartition("/")[0], manifest=given, header=header, delimiter=delimiter)
    if storage.is_local(given) and os.path.isdir(given) or given.endswith("/"):
        raise RunError(f"{given}: is a folder; give a pattern, such as '{given.rstrip('/')}/**.png'")
    if not storage.listed(given, 1):
        raise RunError(f"{given}: matches no file; * is any part of a name, ** also of folders")
    folders = given.split("/")[:-1]
    plain = next((i for i, name in enumerate(folders) if any(c in name for c in "*?[")), len(folders))
    root = "/".join(folders[:plain])
    if not storage.is_local(given) and storage.listed(f"{root}/ignore/**", 1):
        raise RunError(f"{root}/ignore: masks are found here only; give a manifest with a column ignore")
    return Inputs(root, pattern=given)


def _pipeline_options(flags: list[str], elsewhere: list[str]):
    """Beam's options; UserError for flags that neither it nor this command has."""
    from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

    parsers = []
    PipelineOptions(flags).get_all_options(add_extra_args_fn=parsers.append)
    _, unknown = parsers[0].parse_known_args(flags)
    if unknown:
        raise RunError(
            f"{unknown[0]}: neither this command nor Beam has such an option; --help lists those of the "
            "command, and what only a runner elsewhere knows goes after --"
        )
    found = PipelineOptions([*flags, *elsewhere])
    if found.view_as(StandardOptions).runner is None:
        found.view_as(StandardOptions).runner = RUNNER
    return found


def _options(arguments):
    """(options of the command, flags for Beam, flags that only a runner knows)."""
    parser = argparse.ArgumentParser(
        prog="python -m semi_anogan.score_beam",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--workdir", help="run folder of a finished training; needs its framework")
    model.add_argument("--bundle", help="or folder that the export command wrote; needs --engine alone")
    parser.add_argument("--engine", choices=("onnx", "tflite", "tensorrt"), help="of the bundle")
    parser.add_argument("--precision", default="float32", help="of the bundle, as exported")
    parser.add_argument("--batch", type=int, help="of the bundle, as exported; default the largest")
    parser.add_argument("--threads", type=int, default=1, help="of the engine in each worker; default 1")
    parser.add_argument("--product", help="of a bundle of several; else an image's folder names its own")
    parser.add_argument("--input", required=True, help="a pattern of files, or a CSV file with a column path")
    parser.add_argument("--output", required=True, help="what the names of all that is written begin with")
    parser.add_argument("--format", choices=("csv", "parquet"), default="csv", help="of the scores")
    parser.add_argument("--shards", type=int, default=0, help="of each table; default as the runner likes")
    parser.add_argument("--maps", action="store_true", help="write the maps, to OUTPUT/maps")
    parser.add_argument(
        "--overlays",
        choices=("all", "abnormal", "none"),
        default="none",
        help="of which images to write pictures, to OUTPUT/overlays; default none",
    )
    parser.add_argument("--overlay_format", choices=("png", "jpeg"), default="png")
    parser.add_argument("--min_area", type=int, default=0, help="leave out regions of fewer pixels")
    parser.add_argument("--max_pixels", type=int, help="images with more are errors; default 100 million")
    parser.add_argument("--threshold", type=float, help="abnormal above this score, not the run's threshold")
    parser.add_argument("--false_alarm_rate", type=float, help="or above the threshold for this rate")
    parser.add_argument("--review_band", help='or LOW,HIGH: "look" between the thresholds for two rates')
    given = list(sys.argv[1:] if arguments is None else arguments)
    cut = given.index("--") if "--" in given else len(given)
    options, flags = parser.parse_known_args(given[:cut])
    if options.bundle and not options.engine:
        parser.error("--bundle needs --engine")
    for name in ("engine", "product", "batch"):
        if options.workdir and getattr(options, name):
            parser.error(f"--{name} is of a bundle; it does not go with --workdir")
    if not options.output.strip("/"):
        parser.error("--output names no place")
    least = {"batch": 1, "threads": 1, "shards": 0, "min_area": 0, "max_pixels": 16}
    for name, low in least.items():
        if (value := getattr(options, name)) is not None and value < low:
            parser.error(f"--{name} must be at least {low}, got {value}")
    return options, flags, given[cut + 1 :]


if __name__ == "__main__":
    sys.exit(main())
