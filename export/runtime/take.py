"""python -m semi_anogan.export.runtime.take: one product of a bundle of several, as a bundle of its own.

  python -m semi_anogan.export.runtime.take --bundle=LINE --product=bolts --output=BOLTS

Its files are whole, for programs that read no shared ones: TensorRT's builder, tools for ONNX and TFLite.
Scripts that build TensorRT engines of its ONNX files are written beside them.
"""

import argparse
import pathlib
import shutil
import sys

from semi_anogan.errors import UserError
from semi_anogan.export.runtime.bundle import NAME, Bundle, BundleError, file_entries, write_values
from semi_anogan.files import told_writing


def take(folder, product: str, output) -> pathlib.Path:
    """Writes a product's bundle to a folder that is not there, or is empty; returns the folder.

    Raises: BundleError for a bundle or product that cannot be used, and for an output that cannot be written.
    """
    bundle, output = Bundle(folder, product), pathlib.Path(output).absolute()
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise BundleError(f"{output}: is there already; give another --output")
    begun = output.with_name(output.name + ".tmp")
    try:
        with told_writing(output, BundleError):
            shutil.rmtree(begun, ignore_errors=True)
            for file in bundle.values["files"]:
                path = begun / file["path"]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(bundle.read(file["path"]))
            _write_scripts(begun, bundle.values["programs"])
            write_values(begun / NAME, {**bundle.values, "files": file_entries(begun)})
            begun.replace(output)
    finally:
        shutil.rmtree(begun, ignore_errors=True)
    return output


def _write_scripts(folder: pathlib.Path, programs: list[dict]):
    from semi_anogan.export.formats import tensorrt

    if found := [program for program in programs if program["format"] == "onnx"]:
        (folder / "tensorrt").mkdir(exist_ok=True)
        tensorrt.write_scripts(folder, found)


def main(arguments=None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m semi_anogan.export.runtime.take",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bundle", required=True, help="of several products")
    parser.add_argument("--product", required=True, help="which one")
    parser.add_argument("--output", required=True, help="folder of the bundle of one, which is not there yet")
    options = parser.parse_args(arguments)
    try:
        print(f"bundle: {take(options.bundle, options.product, options.output)}")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
