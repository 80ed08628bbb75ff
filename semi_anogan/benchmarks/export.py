"""Speed of a bundle's formats beside the trained model's own tf.function, one after the other in one process.

What is timed is one search step (without search: one score) and a whole image.
"""

import numpy as np

from semi_anogan.benchmarks.results import machine, table
from semi_anogan.benchmarks.speed import best
from semi_anogan.errors import RunError
from semi_anogan.image_shape import in_words
from semi_anogan.runs import build, places
from semi_anogan.runs import folder as run_folder
from semi_anogan.scoring.detector import Detector

ROUNDS = 20  # of a search step or a score; the shortest counts
HEADER = [
    "batch",
    "engine",
    "precision",
    "{program}: ms",
    "times as fast",
    "whole image: ms",
    "times as fast",
]


def run(bundle_folder, workdir) -> str:
    """Markdown: for each batch size of the bundle the trained model in TensorFlow and every CPU engine.

    A whole image is timed with its preparation, search, fusion and map.

    Raises: RunError where the run cannot be used or is not what the bundle was exported from; BundleError
      where the bundle cannot be used.
    """
    from semi_anogan.export.runtime.bundle import Bundle

    bundle = Bundle(bundle_folder)
    if bundle.values["threshold"] != Detector.load(workdir).threshold:
        raise RunError(f"{bundle_folder}: was not exported from {workdir}, its threshold is another one")
    rows = _rows(bundle, workdir)
    search = bundle.values["search"]
    header = [h.format(program="one search step" if search else "score") for h in HEADER]
    iterations = f"at most {search['iterations']} iterations of search" if search else "no search"
    size = bundle.values["images"]
    return (
        f"Machine: {machine()}{_versions()}. Model of {in_words(size['shape'])}, "
        f"images taken at {in_words(size['image_shape'])}, {iterations}; "
        f"the shortest of several timings.\n\n{table(header, rows)}"
    )


def _rows(bundle, workdir) -> list[list]:
    """The rows of the table: of each batch size TensorFlow first, then each engine and precision."""
    config = run_folder.load_config(workdir)
    places.find(config, workdir)
    dataset, splits, _ = build.load_data(config, workdir)
    programs = [p for p in bundle.values["programs"] if p["format"] in ("onnx", "tflite")]
    rows = []
    for batch in sorted({p["batch"] for p in programs}):
        images = [dataset.read_image(e) for e in splits.test[: max(8, 2 * batch)]]
        images = images[: max(len(images) // batch, 1) * batch]  # whole batches
        detector = Detector.load(workdir, batch_size=batch)
        own = _tensorflow_step(detector, batch), _whole(detector, images)
        rows.append([batch, "TensorFlow", "float32", *_beside(own, own)])
        kinds = dict.fromkeys((p["format"], p["precision"]) for p in programs if p["batch"] == batch)
        for engine, precision in kinds:
            seconds = _engine(bundle, engine, precision, batch, images)
            rows.append([batch, engine, precision, *_beside(seconds, own)])
    return rows


def _tensorflow_step(detector, batch: int) -> float:
    """Seconds of one search step of a batch (without search: one score) as a tf.function.

    The arrays stay tensors.
    """
    from keras import ops

    from semi_anogan.export.functions import exported

    functions = exported(detector, batch)
    function = functions["score" if detector.search is None else "search_step"]
    compiled = function.concrete(batch)
    inputs = [ops.convert_to_tensor(v) for v in _inputs(function.shapes(batch)["inputs"]).values()]
    output = "score" if detector.search is None else "loss"
    return best(lambda: np.asarray(compiled(*inputs)[output]), ROUNDS)


def _engine(bundle, engine: str, precision: str, batch: int, images) -> tuple[float, float]:
    """Seconds of one program call and of a whole image."""
    from semi_anogan.export.runtime.detector import EdgeDetector

    edge = EdgeDetector(bundle, engine, precision, batch)
    program = edge.programs["search_step" if edge.search else "score"]
    inputs = _inputs(program.inputs)
    return best(lambda: program(inputs), ROUNDS), _whole(edge, images)


def _whole(detector, images) -> float:
    """Seconds of an image from its pixels to score, label and map."""
    return best(lambda: [detector.judge(m) for m in detector.measure(images)], 3) / len(images)


def _inputs(shapes: dict) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.uniform(0, 1, shape).astype(np.float32) for name, shape in shapes.items()}


def _beside(seconds: tuple, own: tuple) -> list[float]:
    """The cells of a row: milliseconds, and how many times as fast as TensorFlow's own."""
    return [figure for s, o in zip(seconds, own, strict=True) for figure in (1e3 * s, o / s)]


def _versions() -> str:
    import importlib.metadata

    found = []
    for name in ("onnxruntime", "ai-edge-litert"):
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return "".join(f", {f}" for f in found)
