"""SavedModel: encode, search_step and score for any batch, and detect with the whole search.

tf.saved_model.load alone is enough to run it.
"""

import pathlib

import tensorflow as tf

from semi_anogan.export import functions


def write(detector, folder: pathlib.Path) -> list[str]:
    """Writes FOLDER with the signatures encode, search_step, score and detect, the default one.

    detect_uint8 and detect_bytes take images of any size; a run with tiles has them not. Nor has one whose
    tiles are ignored in part the signature detect.

    Returns: lines that say what is not there.
    """
    concrete = {name: f.concrete(None) for name, f in functions.exported(detector, None).items()}
    notes = []
    if detector.tile:
        notes.append("saved_model: no detect_uint8 and detect_bytes, since the run cuts images into tiles")
    else:
        concrete["detect_uint8"] = functions.detect_uint8(detector).get_concrete_function()
        concrete["detect_bytes"] = functions.detect_bytes(detector).get_concrete_function()
    if detector.tile and detector.ignore is not None:
        notes.append("saved_model: no detect, since a tile does not tell what of it is ignored")
    else:
        concrete["detect"] = functions.detect(detector).get_concrete_function()
    save(concrete, folder, default="detect" if "detect" in concrete else "score")
    return notes


def save(concrete: dict, folder: pathlib.Path, default: str | None = None):
    """Saves concrete functions as signatures by name."""
    module = tf.Module()
    variables = {v.ref(): v for function in concrete.values() for v in function.variables}
    module.kept = list(variables.values())  # what the functions read must hang on the module
    signatures = {**concrete, "serving_default": concrete[default]} if default else concrete
    tf.saved_model.save(module, str(folder), signatures=signatures)
