"""python -m semi_anogan.export: writes a finished run as a bundle for devices and servers, or checks one."""

import pathlib
import shutil
import tempfile

from absl import flags

from semi_anogan import cli
from semi_anogan.errors import UserError
from semi_anogan.export import products, write
from semi_anogan.files import told_writing

TAKE = "python -m semi_anogan.export.runtime.take makes one of a bundle of several"


def main(argv) -> int:
    """Writes a bundle, or checks one.

    python -m semi_anogan.export --workdir=RUN --formats=saved_model,onnx,tflite,tensorrt --output=BUNDLE
    python -m semi_anogan.export --workdirs=RUN,RUN,RUN --formats=saved_model,onnx,tflite --output=BUNDLE
    python -m semi_anogan.export --check=BUNDLE [--workdir=RUN]

    Of several runs one bundle of several products is made. With the run, the check also compares the AUROC on
    the run's test images with every format. The exit code is 1 where something differs by more than the
    tolerance.
    """
    del argv
    return _check() if flags.FLAGS.check else _export()


def _export() -> int:
    several = flags.FLAGS.workdirs
    for name in ("workdirs" if several else "workdir", "output"):
        if not getattr(flags.FLAGS, name):
            cli.refuse(f"--{name} is needed; --help lists the options")
    if several:
        _refuse_of_several()
    elif flags.FLAGS.products:
        cli.refuse("--products names what --workdirs or --check are of; it does not go with --workdir")
    formats, precisions = _among("formats", write.FORMATS), _among("precision", write.PRECISIONS)
    if "float32" not in precisions:
        cli.refuse(
            f"--precision must name float32, got {','.join(precisions)}: the others are held against it"
        )
    batches = _batches()
    from semi_anogan.runs import folder as run_folder

    runs = products.named(several, flags.FLAGS.products) if several else {"": flags.FLAGS.workdir}
    for workdir in runs.values():
        run_folder.read_settings(workdir)  # before Keras, which takes seconds
    output = pathlib.Path(flags.FLAGS.output)
    write.check_output(output)
    cli.load_framework()
    _needs_tensorflow()
    if several and not flags.FLAGS["formats"].present:
        print(f"note: without tensorrt, whose engines are built in bundles of one product: {TAKE}")
    if not several:
        lines = _write(flags.FLAGS.workdir, output, formats, batches, precisions)
    else:
        lines = _write_products(runs, output, formats, batches, precisions)
    print("\n".join([*lines, f"bundle: {output}"]))
    return 0


def _refuse_of_several():
    for name in ("workdir", "data_root"):
        if getattr(flags.FLAGS, name):
            cli.refuse(f"--{name} is of one run; it does not go with --workdirs")
    if "tensorrt" in flags.FLAGS.formats:
        if flags.FLAGS["formats"].present:
            cli.refuse(f"--formats=tensorrt: its engines are built in bundles of one product: {TAKE}")
        flags.FLAGS.formats = [name for name in flags.FLAGS.formats if name != "tensorrt"]


def _write(workdir: str, output: pathlib.Path, formats, batches, precisions) -> list[str]:
    """Writes the bundle of one run; returns what write.export says."""
    from semi_anogan.export import images
    from semi_anogan.runs import folder as run_folder
    from semi_anogan.scoring.detector import Detector

    detector = Detector.load(workdir, batch_size=min(batches))
    if detector.chosen is not None:
        print(f"note: {detector.chosen.told()}")
    if flags.FLAGS.prune:
        detector = detector.pruned()
    config = run_folder.load_config(workdir)
    pictures = images.representative(
        detector,
        config,
        flags.FLAGS.images,
        workdir,
        flags.FLAGS.data_root,
        "int8_full" in precisions,
    )
    with cli.quiet(UserError), told_writing(output, write.ExportError):
        return write.export(detector, config.to_dict(), pictures, output, formats, batches, precisions)


def _write_products(runs: dict, output: pathlib.Path, formats, batches, precisions) -> list[str]:
    """Writes the bundle of several runs, {name: run folder}."""
    import keras

    with told_writing(output, write.ExportError):
        output.parent.mkdir(parents=True, exist_ok=True)
        # Those of one product each, and what they are joined to.
        place = pathlib.Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    try:
        parts, lines = {}, []
        for number, (name, workdir) in enumerate(runs.items()):
            parts[name] = place / str(number)
            print(f"product {name}: {workdir}", flush=True)
            try:
                lines += [f"product {name}", *_write(workdir, parts[name], formats, batches, precisions)]
            except write.ExportError as error:
                raise write.ExportError(f"product {name}: {_kept(error, parts[name], output)}") from error
            keras.backend.clear_session()
        with told_writing(output, write.ExportError):
            lines += products.join(parts, place / "joined")
            products.replace(place / "joined", output)
        return lines
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _kept(error, part: pathlib.Path, output: pathlib.Path) -> str:
    """The error's text, where a bundle that failed is kept beside the output."""
    failed, kept = (path.with_name(path.name + ".failed") for path in (part, output))
    if failed.exists():
        products.replace(failed, kept)
    return str(error).replace(str(failed), str(kept))


def _check() -> int:
    from semi_anogan.export import parity
    from semi_anogan.export.runtime.bundle import Bundle, products_of
    from semi_anogan.runs import folder as run_folder

    # Before Keras, which takes seconds. With the run only the product of its name is checked.
    found, names = products_of(flags.FLAGS.check), flags.FLAGS.products
    if found and flags.FLAGS.workdir and not names:
        names = [pathlib.Path(flags.FLAGS.workdir).resolve().name]
    bundles = [Bundle(flags.FLAGS.check, name) for name in names or found or [None]]
    if flags.FLAGS.workdir:
        if len(bundles) > 1:
            cli.refuse("--workdir is of one product; --products must name it alone")
        run_folder.read_settings(flags.FLAGS.workdir)  # what cannot be compared is told before the check
    cli.load_framework()
    results = []
    for bundle in bundles:
        with cli.quiet(UserError):
            checked = parity.check(bundle)
        print("".join(f"product {name}\n" for name in [bundle.product] if name) + parity.table(checked))
        results += checked
    if flags.FLAGS.workdir:
        from semi_anogan.export import auroc

        compared = auroc.compare(bundles[0], flags.FLAGS.workdir, flags.FLAGS.data_root)
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
    flags.DEFINE_list("workdirs", [], "or run folders of several products, for one bundle of them all")
    flags.DEFINE_list(
        "products", [], "their names, default those of the run folders; with --check: which ones"
    )
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
