"""TFLite: builtin operators only, a file for each function and precision.

A file takes at most FILE_BATCH images; a larger batch runs it on its parts.
"""

import pathlib
import tempfile

import numpy as np
import tensorflow as tf

from semi_anogan.export import functions
from semi_anogan.export.formats.saved_model import save
from semi_anogan.whole_batches import batch_rows

# The search's gradients span many orders of magnitude, and a step is as good as the gradient's sign: 8 bits
# for all do not do.
FLOAT_IN_INT8_FULL = ("search_step",)
# LiteRT's kernels take as long for each image of a large batch as of a small one, and use several cores
# badly; parts of a batch, one on each core, use them well.
FILE_BATCH = 4


def write(
    detector, batches, precisions, folder: pathlib.Path, representative: dict[str, dict[str, np.ndarray]]
) -> list[dict]:
    """Writes FOLDER/NAME_bN[_PRECISION].tflite, N images each; several entries may share a file.

    Args:
      precisions: of "float32", "float16", "int8" (weights of 8 bits, activations as they come), "int8_full"
        (both, by the representative set).
      representative: function -> inputs by name [M, ...], for int8_full.

    Returns: the entries for bundle.json.
    """
    folder.mkdir(parents=True)
    entries = []
    for part in sorted({file_batch(batch) for batch in batches}):
        exported = functions.exported(detector, part)
        of_part = [batch for batch in batches if file_batch(batch) == part]
        with tempfile.TemporaryDirectory() as saved:
            for name, function in exported.items():  # apart: each conversion reads all that is in its folder
                save({name: function.concrete(part)}, pathlib.Path(saved) / name)
            for precision in precisions:
                for name, function in exported.items():
                    path = _write_file(f"{saved}/{name}", name, precision, part, folder, representative)
                    entry = {"format": "tflite", "precision": precision, "function": name, "path": path}
                    entries += [
                        {**entry, "batch": batch, "file_batch": part, **function.shapes(batch)}
                        for batch in of_part
                    ]
    return entries


def _write_file(
    saved: str, name: str, precision: str, part: int, folder: pathlib.Path, representative: dict
) -> str:
    """Writes the one function of a SavedModel, unless its file is there; returns the path in the bundle."""
    used = "float32" if precision == "int8_full" and name in FLOAT_IN_INT8_FULL else precision
    path = folder / f"{name}_b{part}{'' if used == 'float32' else '_' + used}.tflite"
    if not path.exists():
        path.write_bytes(convert(saved, name, used, samples(representative.get(name, {}), part)))
    return f"{folder.name}/{path.name}"


def file_batch(batch: int) -> int:
    """Images that a file takes of a batch of this size: the most up to FILE_BATCH that divide it."""
    return next(part for part in range(min(batch, FILE_BATCH), 0, -1) if batch % part == 0)


def convert(saved_model: str, signature: str, precision: str, representative=()) -> bytes:
    """One signature of a SavedModel as a TFLite file.

    Raises: RuntimeError where it needs more than the builtin operators.
    """
    converter = tf.lite.TFLiteConverter.from_saved_model(saved_model, signature_keys=[signature])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision == "int8_full":  # inputs and outputs stay float; so does what has no 8-bit kernel
        converter.representative_dataset = lambda: ((signature, sample) for sample in representative)
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.TFLITE_BUILTINS_INT8,
            tf.lite.OpsSet.TFLITE_BUILTINS,
        ]
    try:
        return converter.convert()
    except Exception as error:  # the converter has its own kinds, among them plain Exception
        raise RuntimeError(f"TFLite ({precision}) cannot represent {signature}: {error}") from error


def samples(arrays: dict[str, np.ndarray], batch: int) -> list[dict[str, np.ndarray]]:
    """Whole batches of arrays [M, ...] by name; the last one is filled up with what comes first."""
    count = len(next(iter(arrays.values()), ()))
    return [{name: array[rows] for name, array in arrays.items()} for rows in batch_rows(count, batch)]
