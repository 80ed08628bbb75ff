"""python -m semi_anogan.export: writes a finished run as a bundle for devices and servers, or checks one."""

from absl import flags

from semi_anogan import cli
from semi_anogan.errors import UserError
from semi_anogan.export import write
from semi_anogan.files import told_writing


def main(argv) -> int:
    """Writes a bundle, or checks one.

    python -m semi_anogan.export --workdir=RUN --formats=saved_model,onnx,tflite,tensorrt --output=BUNDLE
    python -m semi_anogan.export --check=BUNDLE [--workdir=RUN]

    With the run, the check also compares the AUROC on the run's test images with every format. The exit code
    is 1 where something differs by more than the tolerance.
    """
    del argv
    return _check() if flags.FLAGS.check else _export()


def _export() -> int:
    for name in ("workdir", "output"):
        if not getattr(flags.FLAGS, name):
            cli.refuse(f"--{name} is needed; --help lists the options")
    formats, precisions = _among("formats", write.FORMATS), _among("precision", write.PRECISIONS)
    if "float32" not in precisions:
        cli.refuse(
            f"--precision must name float32, got {','.join(precisions)}: the others are held against it"
        )
    batches = _batches()
    from semi_anogan.runs import folder as run_folder

    run_folder.read_settings(flags.FLAGS.workdir)  # before Keras, which takes seconds
    cli.load_framework()
    from semi_anogan.export import images
    from semi_anogan.scoring.detector import Detector

    _needs_tensorflow()
    detector = Detector.load(flags.FLAGS.workdir, batch_size=min(batches))
    if detector.chosen is not None:
        print(f"note: {detector.chosen.told()}")
    if flags.FLAGS.prune:
        detector = detector.pruned()
    config = run_folder.load_config(flags.FLAGS.workdir)
    pictures = images.representative(
        detector,
        config,
        flags.FLAGS.images,
        flags.FLAGS.workdir,
        flags.FLAGS.data_root,
        "int8_full" in precisions,
    )
    output = flags.FLAGS.output
    with cli.quiet(UserError), told_writing(output, write.ExportError):
        lines = write.export(detector, config.to_dict(), pictures, output, formats, batches, precisions)
    print("\n".join([*lines, f"bundle: {output}"]))
    return 0


def _check() -> int:
    from semi_anogan.export import parity
    from semi_anogan.export.runtime.bundle import Bundle
    from semi_anogan.runs import folder as run_folder

    bundle = Bundle(flags.FLAGS.check)  # before Keras, which takes seconds
    if flags.FLAGS.workdir:
        run_folder.read_settings(flags.FLAGS.workdir)  # what cannot be compared is told before the check
    cli.load_framework()
    with cli.quiet(UserError):
        results = parity.check(bundle)
    print(parity.table(results))
    if flags.FLAGS.workdir:
        from semi_anogan.export import auroc

        compared = auroc.compare(bundle, flags.FLAGS.workdir, flags.FLAGS.data_root)
        print(auroc.table(compared))
        results += compared
    failed = sum(r["passed"] is False for r in results)
    verdict = f"{failed} of {len(results)} checks failed" if failed else "all checks passed"
    print(f"{flags.FLAGS.check}: {verdict}")
    return int(failed > 0)


def _among(flag: str, known: tuple) -> list[str]:
    values = getattr(flags.FLAGS, flag)
    unknown = [v for v in values if v not in known]
    if unknown or not values:
        cli.refuse(f"--{flag} must be among {','.join(known)}, got {','.join(values)!r}")
    return [v for v in known if v in values]


def _batches() -> list[int]:
    try:
        batches = sorted({int(b) for b in flags.FLAGS.batch})
    except ValueError:
        batches = []
    if not batches or batches[0] < 1:
        cli.refuse(f"--batch must be sizes of at least 1, as in 1,8; got {','.join(flags.FLAGS.batch)!r}")
    return batches


def _needs_tensorflow():
    import keras

    found = keras.backend.backend()
    if found != "tensorflow":
        cli.refuse(f"export needs KERAS_BACKEND=tensorflow, got {found}; checkpoints are the same for both")


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "run folder of a finished training")
    flags.DEFINE_string("output", None, "folder of the bundle; one that is there is replaced")
    flags.DEFINE_list("formats", list(write.FORMATS), f"what to write, of {','.join(write.FORMATS)}")
    flags.DEFINE_list("batch", ["1", "8"], "batch sizes that ONNX, TFLite and TensorRT are written for")
    flags.DEFINE_list(
        "precision",
        ["float32"],
        "float32, and where wanted float16 (ONNX, TFLite, TensorRT), int8 (TFLite: weights) "
        "and int8_full (TFLite: all)",
    )
    flags.DEFINE_bool(
        "prune",
        False,
        "leave out what has no weight in the score, the search too where none of its components has; "
        "scores stay the same",
    )
    flags.DEFINE_string(
        "images",
        None,
        "image, folder or CSV for the 8-bit ranges and the check; default the run's training images",
    )
    flags.DEFINE_string("data_root", None, "folder of the run's images, where they were moved")
    flags.DEFINE_string("check", None, "bundle to check instead of exporting one")
    cli.run(main)
