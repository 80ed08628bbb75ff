"""Writes a bundle: the formats asked for, bundle.json, and the parity check that all of it must pass."""

import pathlib
import shutil

import numpy as np

import semi_anogan
from semi_anogan.data import ignore
from semi_anogan.errors import UserError
from semi_anogan.export import parity
from semi_anogan.export.runtime.bundle import NAME, Bundle, file_entries, write_values
from semi_anogan.whole_batches import in_whole_batches

FORMATS = ("saved_model", "onnx", "tflite", "tensorrt")
PRECISIONS = ("float32", "float16", "int8", "int8_full")


class ExportError(UserError, RuntimeError):
    """An export that cannot be done, or whose result differs from the model.

    The message says which file or value.
    """


def export(detector, config: dict, images: np.ndarray, output, formats, batches, precisions) -> list[str]:
    """Writes a calibrated Detector as a bundle and checks it.

    Args:
      detector: with batch_size = the smallest of `batches`.
      config: of its run, as a dict.
      images: [M, H, W, C] as the model takes them, for the parity check and the 8-bit ranges.
      output: folder; where there is one it must be empty or a bundle, which is replaced.
      formats, batches, precisions: among FORMATS; sizes; among PRECISIONS.

    Returns: lines that say what was written and checked.
    Raises: ExportError where the output cannot be used or a format differs from Keras by more than its
      tolerance; the files then stay in OUTPUT.failed.
    """
    output = pathlib.Path(output)
    check_output(output)
    folder = output.with_name(output.name + ".tmp")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    reference = parity.reference(detector, images[: parity.COUNT])
    np.savez(folder / parity.FILE, **reference)
    programs, notes = _write_formats(detector, images, folder, formats, batches, precisions)
    if detector.ignore is not None:
        (folder / ignore.NAME).write_bytes(ignore.png_of(detector.ignore))
    values = {**description(detector, config), "programs": programs, "notes": notes, "parity": []}
    write_values(folder / NAME, {**values, "files": file_entries(folder)})
    results = parity.check(Bundle(folder))
    write_values(folder / NAME, {**values, "parity": results, "files": file_entries(folder)})
    failed = [r for r in results if r["passed"] is False]
    final = output.with_name(output.name + ".failed") if failed else output
    shutil.rmtree(final, ignore_errors=True)
    folder.rename(final)
    if failed:
        raise ExportError(f"{final}: differs from the model\n" + parity.table(failed))
    return [*notes, parity.table(results)]


def check_output(output: pathlib.Path):
    """ExportError where there is something else than a bundle."""
    if output.exists() and (not output.is_dir() or any(output.iterdir()) and not (output / NAME).exists()):
        raise ExportError(f"{output}: exists and is not a bundle; give another --output")


def _write_formats(detector, images, folder, formats, batches, precisions) -> tuple[list[dict], list[str]]:
    """(entries of the programs, notes) of the formats; each writer is imported where it is asked for."""
    programs, notes = [], []
    if "saved_model" in formats:
        from semi_anogan.export.formats import saved_model

        notes += saved_model.write(detector, folder / "saved_model")
    if {"onnx", "tensorrt"} & set(formats):
        from semi_anogan.export.formats import onnx

        kinds = [p for p in precisions if not p.startswith("int8")]
        programs += onnx.write(detector, batches, kinds, folder / "onnx")
    if "tensorrt" in formats:
        from semi_anogan.export.formats import tensorrt

        entries, more = tensorrt.write(folder, programs)
        programs, notes = programs + entries, notes + more
    if "tflite" in formats:
        from semi_anogan.export.formats import tflite

        representative = _representative(detector, images)
        programs += tflite.write(detector, batches, precisions, folder / "tflite", representative)
    return programs, notes


def _representative(detector, images: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """What encode and score are given in use: images, and latents that their search found."""
    inputs = {"images": images}
    if detector.search is None:
        return {"score": inputs}
    latents = in_whole_batches(detector.search_of, detector.batch_size, images)
    return {"encode": inputs, "score": {**inputs, "latents": latents}}


def description(detector, config: dict) -> dict:
    """What bundle.json says of the model and how to use it."""
    search = None
    if detector.search is not None:
        names = ("iterations", "learning_rate", "patience", "restarts", "seed")
        names += ("image_weight", "feature_weight", "pretrained_weight")
        search = {**{n: getattr(detector.search, n) for n in names}, **detector.search.CONSTANTS}
    grey = detector.channels == 1
    return {
        "package_version": semi_anogan.__version__,
        "components": list(detector.names),
        "kinds": list(detector.kinds),
        "images": {
            "image_shape": list(detector.image_shape),
            "shape": list(detector.shape),
            "channels": detector.channels,
            "colour": "grey, ITU-R BT.601 luma of colour images" if grey else "RGB, grey images repeated",
            "dtype": "float32",
            "range": [-1.0, 1.0],
            "from_uint8": "x / 127.5 - 1",
            "white": detector.scale.white,
            "black": detector.scale.black,
            "from_files": "(x - black) / (white - black) * 2 - 1, clipped; files of 8 bits have 255 as "
            "white where it is more",
            "resize": "each axis: block means where the size is divided by a whole number, "
            "else antialiased bilinear",
            "tile": detector.tile,
            "tile_overlap": 0.5,
            # Of every image: painted over before it is resized, as data/ignore.py does.
            "ignore": None if detector.ignore is None else ignore.NAME,
        },
        "search": search,
        "calibration": detector.state()["calibration"],
        "threshold": detector.threshold,
        "pixel_threshold": detector.pixel_threshold,
        "map": {"sigma_px": detector.map_sigma_px},
        "config": config,
    }
