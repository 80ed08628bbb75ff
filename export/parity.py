"""Whether every exported format says what the Keras model says, on the same images and latents.

The model's own values are computed once, at the export, and travel with the bundle (parity.npz). So a bundle
can be checked again where TensorFlow is not installed, on the device itself.
"""

import io

import numpy as np

from semi_anogan.export.runtime.bundle import Bundle
from semi_anogan.export.runtime.engines import load_programs
from semi_anogan.export.runtime.search import COMPARED, Search
from semi_anogan.whole_batches import batch_rows, in_whole_batches

FILE = "parity.npz"
COUNT = 8  # images
# Steps before the one that is compared: at the very first, Adam takes the sign of gradients that may be 0 but
# for rounding.
WARM = 3
BETA_1 = 0.9  # of LatentSearch's Adam

# Largest difference allowed, relative in the root mean square over all values, by precision.
#   start: latents where the search starts, and features.
#   step: all that search_step returns.
#   gradient: of one step, computed back from the moment.
#   score: score and components, with the same latents.
#   map: maps, reconstruction, summary and the likeness to kinds, likewise.
#   search: score after the full search of the format's own, of seven in eight images.
# Gradient and map allow more in float32: a gradient changes with the sign of differences that may be 0 but
# for rounding, and a map divides by the spread of normal pixels, which is tiny where a background never
# changes. For 8 bits these bounds only catch a file that is broken; what 8 bits cost is the AUROC, which
# `--check --workdir` compares (export/auroc.py).
TOLERANCES = {
    "float32": {"start": 1e-4, "step": 1e-4, "gradient": 1e-3, "score": 1e-4, "map": 1e-3, "search": 1e-3},
    "float16": {"start": 1e-2, "step": 3e-2, "gradient": 1e-1, "score": 2e-2, "map": 5e-2, "search": 0.15},
    "int8": {"start": 0.2, "step": 0.2, "gradient": 0.6, "score": 0.3, "map": 0.5, "search": 0.5},
    "int8_full": {"start": 0.6, "step": 1e-4, "gradient": 1e-3, "score": 1.5, "map": 1.5, "search": 1.5},
}


def reference(detector, images: np.ndarray) -> dict[str, np.ndarray]:
    """Inputs and what the Keras model makes of them, by "function/in|out/name", for images [M, H, W, C]."""
    from semi_anogan.backend import compile_function
    from semi_anogan.export.functions import exported

    functions = exported(detector, len(images))
    calls = {name: compile_function(f.call, detector.model) for name, f in functions.items()}
    values = {}

    def run(name: str, inputs: dict) -> dict[str, np.ndarray]:
        outputs = {k: np.asarray(v) for k, v in calls[name](*inputs.values()).items()}
        values.update({f"{name}/in/{k}": np.asarray(v) for k, v in inputs.items()})
        values.update({f"{name}/out/{k}": v for k, v in outputs.items()})
        return outputs

    if detector.search is None:
        run("score", {"images": images})
        return values
    start = run("encode", {"images": images})
    given = {"images": images, **start}
    fixed = {name: given[name] for name in COMPARED if name in functions["search_step"].inputs}
    state = {"latents": start["latents"][:, 0]}
    state |= {name: np.zeros_like(state["latents"]) for name in ("moment", "velocity")}
    for index in range(WARM + 1):
        out = run("search_step", {**fixed, **state, "step": np.float32([index])})
        state = {name: out[f"new_{name}"] for name in state}
    latents = in_whole_batches(detector.search_of, detector.batch_size, images)
    values["search/out/score"] = run("score", {"images": images, "latents": latents})["score"]
    return values


def check(bundle: Bundle) -> list[dict]:
    """Every format and precision of a bundle against the model's values.

    Returns: a list of {"format", "precision", "batch", "what", "difference", "tolerance", "passed"}. Where an
      engine cannot run here, passed is None, and "note" says why.
    """
    with np.load(io.BytesIO(bundle.read(FILE)), allow_pickle=False) as file:
        values = {name: file[name] for name in file.files}
    results = _saved_model(bundle, values) if bundle.place("saved_model").is_dir() else []
    programs = bundle.values["programs"]
    for engine, precision, batch in dict.fromkeys(
        (p["format"], p["precision"], p["batch"]) for p in programs
    ):
        row = {"format": engine, "precision": precision, "batch": batch}
        if reason := why_not_here(engine):
            results.append({**row, "what": "all", "passed": None, "note": reason})
            continue
        differences = _differences_of_engine(bundle, values, engine, precision, batch)
        results += [_judged(row, what, difference) for what, difference in differences.items()]
    return results


def why_not_here(engine: str) -> str | None:
    """Why an engine cannot run on this machine; None where it can.

    Asked of TensorRT only: the others need no more than a package, whose absence load_programs tells.
    """
    if engine != "tensorrt":
        return None
    from semi_anogan.export.runtime import tensorrt

    return tensorrt.why_not()


def _differences_of_engine(
    bundle: Bundle, values: dict, engine: str, precision: str, batch: int
) -> dict[str, float]:
    """Relative difference of each kind, for an engine's programs and for its own search."""
    programs = load_programs(bundle, engine, precision, batch)
    calls = {name: _in_chunks(program, batch) for name, program in programs.items()}
    differences = _differences(calls, values)
    if "search_step" in programs:
        search = Search(programs["encode"], programs["search_step"], bundle.values["search"])
        images = {"images": values["encode/in/images"]}
        latents = _in_chunks(lambda a: {"latents": search(a["images"])[0]}, batch)(images)
        found = calls["score"]({**images, **latents})["score"]
        differences["search"] = relative_of_most(found, values["search/out/score"])
    return differences


def _differences(calls: dict, values: dict) -> dict[str, float]:
    """Relative difference of each kind, for functions of all M images by name."""

    def of(kind: str, name: str) -> dict[str, np.ndarray]:
        prefix = f"{name}/{kind}/"
        return {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}

    found = {name: call(of("in", name)) for name, call in calls.items()}
    expected = {name: of("out", name) for name in calls}
    pairs = {
        "score": ("score", ["score", "components"]),
        "map": ("score", ["anomaly_map", "raw_map", "reconstruction", "summary", "kinds"]),
    }
    if "encode" in calls:
        moved = ["new_latents", "new_moment", "new_velocity", "loss"]
        pairs = {"start": ("encode", ["latents", "features"]), "step": ("search_step", moved), **pairs}
    differences = {
        what: max(relative(found[f][n], expected[f][n]) for n in names if n in expected[f])
        for what, (f, names) in pairs.items()
    }
    if "search_step" in calls:
        before = values["search_step/in/moment"]
        gradients = [
            (side["search_step"]["new_moment"] - BETA_1 * before) / (1 - BETA_1) for side in (found, expected)
        ]
        differences["gradient"] = relative(*gradients)
    return differences


def _saved_model(bundle: Bundle, values: dict) -> list[dict]:
    """The signatures of the SavedModel, detect among them."""
    import tensorflow as tf

    signatures = tf.saved_model.load(str(bundle.place("saved_model"))).signatures

    def call(name: str):
        function = signatures[name]
        return lambda inputs: {
            k: v.numpy() for k, v in function(**{n: tf.constant(a) for n, a in inputs.items()}).items()
        }

    names = ["score"] if bundle.values["search"] is None else ["encode", "search_step", "score"]
    differences = _differences({name: call(name) for name in names}, values)
    if "detect" in signatures:
        detected = call("detect")({"images": values["score/in/images"]})
        differences["search"] = relative_of_most(detected["score"], values["score/out/score"])
    row = {"format": "saved_model", "precision": "float32", "batch": 0}
    return [_judged(row, what, difference) for what, difference in differences.items()]


def _judged(row: dict, what: str, difference: float) -> dict:
    tolerance = TOLERANCES[row["precision"]][what]
    return {
        **row,
        "what": what,
        "difference": difference,
        "tolerance": tolerance,
        "passed": bool(difference <= tolerance),
    }


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    """Norm of the difference over the norm of what is expected; infinity where something is not finite."""
    if found.shape != expected.shape or not np.isfinite(found).all():
        return float("inf")
    return float(np.linalg.norm(found - expected) / max(np.linalg.norm(expected), 1e-12))


def relative_of_most(found: np.ndarray, expected: np.ndarray, left_out: float = 1 / 8) -> float:
    """`relative` without the share of the images that differ most.

    Adam's first steps have the size of the learning rate however small the gradient is. Where that is about
    0, rounding decides its sign, and the search of that image takes another way, as it does in TensorFlow
    with another number of threads.
    """
    if found.shape != expected.shape or not np.isfinite(found).all():
        return float("inf")
    most = np.argsort(np.abs(found - expected), kind="stable")[: len(found) - int(left_out * len(found))]
    return relative(found[most], expected[most])


def _in_chunks(program, batch: int):
    """A program of one batch size as a function of any number of inputs; `step` is the same for all."""

    def call(inputs: dict) -> dict[str, np.ndarray]:
        count = max(len(a) for name, a in inputs.items() if name != "step")
        outputs = [
            program({name: a if name == "step" else a[rows] for name, a in inputs.items()})
            for rows in batch_rows(count, batch)
        ]
        return {name: np.concatenate([o[name] for o in outputs])[:count] for name in outputs[0]}

    return call


def table(results: list[dict]) -> str:
    """The results as lines of text."""
    lines = [f"{'format':12} {'precision':10} {'batch':>5}  {'what':10} {'difference':>10} {'tolerance':>10}"]
    for r in results:
        head = f"{r['format']:12} {r['precision']:10} {r['batch'] or 'any':>5}  {r['what']:10}"
        if r["passed"] is None:
            lines.append(f"{head} not run: {r['note']}")
        else:
            verdict = "ok" if r["passed"] else "FAILED"
            lines.append(f"{head} {r['difference']:10.1e} {r['tolerance']:10.1e} {verdict}")
    return "\n".join(lines)
