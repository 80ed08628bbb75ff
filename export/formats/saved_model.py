"""SavedModel: encode, search_step and score for any batch, and detect with the whole search.

tf.saved_model.load alone is enough to run it.
"""

import pathlib

import tensorflow as tf

from semi_anogan.export import functions


def write(detector, folder: pathlib.Path):
    """Writes FOLDER with the signatures encode, search_step, score and detect, the default one."""
    concrete = {name: f.concrete(None) for name, f in functions.exported(detector, None).items()}
    concrete["detect"] = functions.detect(detector).get_concrete_function()
    save(concrete, folder, default="detect")


def save(concrete: dict, folder: pathlib.Path, default: str | None = None):
    """Saves concrete functions as signatures by name."""
    module = tf.Module()
    variables = {v.ref(): v for function in concrete.values() for v in function.variables}
    module.kept = list(variables.values())  # what the functions read must hang on the module
    signatures = {**concrete, "serving_default": concrete[default]} if default else concrete
    tf.saved_model.save(module, str(folder), signatures=signatures)
