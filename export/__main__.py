"""python -m semi_anogan.export: writes a finished run as a bundle for an edge device or a server, or checks
one.
"""

import sys

from absl import flags

from semi_anogan import cli
from semi_anogan.export.write import FORMATS, PRECISIONS


def main(argv) -> int:
    """Exports a run: python -m semi_anogan.export --workdir=RUN --formats=saved_model,onnx,tflite,tensorrt
    --output=BUNDLE

    Checks a bundle again: python -m semi_anogan.export --check=BUNDLE [--workdir=RUN]; with the run, also its
      AUROC on the
    run's test images with every format. The exit code is 1 where something differs by more than the
    tolerance.
    """
    del argv
    if flags.FLAGS.check:
        return _check()
    for name in ("workdir", "output"):
        if not getattr(flags.FLAGS, name):
            _refuse(f"--{name} is needed; --help lists the options")
    formats, precisions = _among("formats", FORMATS), _among("precision", PRECISIONS)
    if "float32" not in precisions:
        _refuse(f"--precision must name float32, got {','.join(precisions)}: the others are held against it")
    batches = _batches()
    cli.load_framework()
    from semi_anogan.errors import RunError
    from semi_anogan.export import images, write
    from semi_anogan.export.runtime.bundle import BundleError
    from semi_anogan.runs import folder as run_folder
    from semi_anogan.scoring.detector import load_detector

    _needs_tensorflow()
    detector = load_detector(flags.FLAGS.workdir, batch_size=min(batches))
    if flags.FLAGS.prune:
        detector = detector.pruned()
    config = run_folder.load_config(flags.FLAGS.workdir)
    pictures = images.representative(detector, config, flags.FLAGS.images)
    try:
        with cli.quiet(write.ExportError, BundleError, OSError):
            output = flags.FLAGS.output
            lines = write.export(detector, config.to_dict(), pictures, output, formats, batches, precisions)
    except OSError as error:
        raise RunError(str(error)) from error
    print("\n".join([*lines, f"bundle: {flags.FLAGS.output}"]))
    return 0


def _check() -> int:
    cli.load_framework()
    from semi_anogan.export import parity
    from semi_anogan.export.runtime.bundle import Bundle, BundleError

    bundle = Bundle(flags.FLAGS.check)
    with cli.quiet(BundleError):
        results = parity.check(bundle)
    print(parity.table(results))
    if flags.FLAGS.workdir:
        from semi_anogan.export import auroc

        compared = auroc.compare(bundle, flags.FLAGS.workdir)
        print(auroc.table(compared))
        results += compared
    failed = sum(r["passed"] is False for r in results)
    print(
        f"{flags.FLAGS.check}: {failed} of {len(results)} checks failed"
        if failed
        else f"{flags.FLAGS.check}: all checks passed"
    )
    return int(failed > 0)


def _among(flag: str, known: tuple) -> list[str]:
    values = getattr(flags.FLAGS, flag)
    unknown = [v for v in values if v not in known]
    if unknown or not values:
        _refuse(f"--{flag} must be among {','.join(known)}, got {','.join(values)!r}")
    return [v for v in known if v in values]


def _batches() -> list[int]:
    try:
        batches = sorted({int(b) for b in flags.FLAGS.batch})
    except ValueError:
        batches = []
    if not batches or batches[0] < 1:
        _refuse(f"--batch must be sizes of at least 1, as in 1,8; got {','.join(flags.FLAGS.batch)!r}")
    return batches


def _needs_tensorflow():
    import keras

    if keras.backend.backend() != "tensorflow":
        _refuse(
            f"export needs KERAS_BACKEND=tensorflow, got {keras.backend.backend()}; checkpoints are the same for both"
        )


def _refuse(text: str):
    print(f"error: {text}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "run folder of a finished training")
    flags.DEFINE_string("output", None, "folder of the bundle; one that is there is replaced")
    flags.DEFINE_list("formats", list(FORMATS), f"what to write, of {','.join(FORMATS)}")
    flags.DEFINE_list("batch", ["1", "8"], "batch sizes that ONNX, TFLite and TensorRT are written for")
    flags.DEFINE_list(
        "precision",
        ["float32"],
        "float32, and where wanted float16 (ONNX, TFLite, TensorRT), int8 (TFLite: weights) and int8_full (TFLite: all)",
    )
    flags.DEFINE_bool(
        "prune",
        False,
        "leave out what has no weight in the score, the search too where none of its components has; scores stay the same",
    )
    flags.DEFINE_string(
        "images",
        None,
        "image, folder or CSV for the 8-bit ranges and the check; default the run's training images",
    )
    flags.DEFINE_string("check", None, "bundle to check instead of exporting one")
    cli.run(main)
