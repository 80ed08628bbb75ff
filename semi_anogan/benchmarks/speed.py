"""How fast training and search are, and how near the search comes to what the machine can multiply."""

import time

import numpy as np

from semi_anogan.benchmarks.results import machine, table
from semi_anogan.image_shape import in_words
from semi_anogan.runs import build
from semi_anogan.scoring.detector import Detector
from semi_anogan.training.loop import compiled_model, make_schedule

KNOWN = 128  # known abnormal images where the configuration does not say


def run(config, iterations: list[int], train_steps: int = 10) -> str:
    """Markdown with training images/s, search images/s, share of the matrix-product peak and peak memory."""
    from semi_anogan.backend import Trainer, make_strategy

    rng = np.random.default_rng(config.seed)
    build.resolve(config, config.data.abnormal_count or KNOWN)
    model = compiled_model(config)
    channels, batch_size = config.model.channels, _last_batch_size(config, model)
    batch = _random_batch(rng, config, model, batch_size)
    trainer = Trainer(model, make_strategy("auto")[0])
    train_seconds = best(lambda: float(trainer(batch)["penalty"]), train_steps)
    trainer.sync()

    others = len(batch["labels"]) - batch_size  # known and synthetic
    sizes = f"batch {batch_size} normal + {others} abnormal"
    peak = matrix_peak()
    images = rng.uniform(-1, 1, (config.score.batch_size, *model.view_shape, channels)).astype(np.float32)
    flops, seconds = search_step(config, model, images)
    speeds = [[count, search_speed(config, model, images, count)] for count in iterations]
    memory = _peak_gigabytes()
    figures = [
        [f"training of the GAN, full resolution, {sizes}: images/s", batch_size / train_seconds],
        ["matrix product of 2048 x 2048 float32 (peak): GFLOP/s", peak / 1e9],
        [f"one search step, batch {len(images)}: ms", seconds * 1e3],
        ["one search step: MFLOP per image", flops / len(images) / 1e6],
        ["one search step: share of the peak", f"{flops / seconds / peak:.0%}"],
        ["peak memory of the process: GiB", memory],
    ]
    filters = f"{config.model.filters_base} / {config.model.filters_cap}"
    return (
        f"Machine: {machine()}. Model: {in_words(model.shape)}, {channels} channel(s), filters {filters}, "
        f"latents {' x '.join(map(str, model.latent_shape))}.\n\n"
        f"{table(['measurement', 'value'], figures)}\n"
        f"{table(['search iterations (no early stop)', 'images/s'], speeds)}"
    )


def matrix_peak(size: int = 2048) -> float:
    """FLOP/s of the best of several matrix products in the framework in use."""
    import keras

    from semi_anogan.backend import compile_function

    a = keras.ops.convert_to_tensor(np.random.default_rng(0).random((size, size), dtype=np.float32))
    product = compile_function(keras.ops.matmul, keras.Model())
    return 2 * size**3 / best(lambda: np.asarray(product(a, a))[0, 0], 8)


def search_step(config, model, images) -> tuple[int, float]:
    """(floating-point operations, seconds) of one search step of a batch."""
    from semi_anogan.backend import compile_function, count_flops

    graph = Detector.of_config(config, model).graph
    latents = np.zeros((len(images), model.latent_size), np.float32)

    # What the images are compared by is computed once a search, not once a step.
    targets = compile_function(lambda x: graph.start(x)[1], model)(images)
    small = compile_function(graph.small, model)(images)

    def bare(latents, *targets):
        return graph.search.search_step(small, list(targets), latents, latents, latents, 0.0)

    compiled = compile_function(bare, model)
    seconds = best(lambda: np.asarray(compiled(latents, *targets)[3]), 8)
    return count_flops(bare, latents, *targets), seconds


def search_speed(config, model, images, iterations: int) -> float:
    """Images per second of whole detections with that many iterations."""
    detector = Detector.of_config(config, model, search={"iterations": iterations, "patience": 0})
    return len(images) / best(lambda: list(detector.measure(images)), 1 if iterations > 100 else 2)


def step(config) -> str:
    """Markdown: what one step of the GAN's training at full resolution takes; under JAX its memory too."""
    from semi_anogan.backend import Trainer, make_strategy

    build.resolve(config, config.data.abnormal_count or KNOWN)
    model = compiled_model(config)
    batch_size = _last_batch_size(config, model)
    batch = _random_batch(np.random.default_rng(config.seed), config, model, batch_size)
    trainer = Trainer(model, make_strategy("auto")[0])
    operations, memory = trainer.cost(batch)
    seconds = best(lambda: float(trainer(batch)["penalty"]), 1)
    steps = config.schedule.total_kimages * 1000 / batch_size
    rows = [
        ["GFLOP", operations / 1e9],
        ["TFLOP of all steps, if all were at full resolution", steps * operations / 1e12],
        ["memory, GiB", "not told by TensorFlow" if memory is None else memory / 2**30],
        [f"seconds on this machine ({machine()})", seconds],
    ]
    others = len(batch["labels"]) - batch_size
    title = f"a step: {batch_size} normal + {others} abnormal images, {in_words(model.shape)}"
    return table([title, config.model.precision], rows)


def large_step(resolution: int = 1024) -> str:
    """Markdown: seconds and peak memory of one step of training and of search, batch 1, few channels."""
    from semi_anogan.backend import Trainer, make_strategy
    from semi_anogan.config import default_config

    config = default_config()
    config.model.resolution, config.model.filters_base, config.model.filters_cap = resolution, 4096, 64
    config.score.batch_size, config.search.candidates = 1, 1
    config.schedule.batch_size = 1
    config.features.resolution = resolution
    build.resolve(config, 0)
    rng, model = np.random.default_rng(0), compiled_model(config)
    trainer = Trainer(model, make_strategy("auto")[0])
    batch = _random_batch(rng, config, model, 1)
    detector = Detector.of_config(config, model, search={"iterations": 1, "patience": 0})
    rows = []
    for what, act in (
        ("training step", lambda: float(trainer(batch)["penalty"])),
        ("search of one iteration, with score and map", lambda: list(detector.measure(batch["images"][:1]))),
    ):
        act()
        started = time.perf_counter()
        act()
        seconds = time.perf_counter() - started
        rows.append([what, seconds, _peak_gigabytes()])
    return table([f"{resolution} x {resolution}, batch 1", "seconds", "peak memory so far, GiB"], rows)


def _last_batch_size(config, model) -> int:
    """Normal images in a step at full resolution; the model is set to train its GAN there."""
    schedule = make_schedule(config, model.generator.first)
    last = schedule.stage(schedule.gan_images - 1)
    model.grow(last.resolution, "gan")
    return last.batch_size


def _random_batch(rng, config, model, batch_size: int) -> dict[str, np.ndarray]:
    """A batch of noise with as many normal, known and synthetic images as a training has, and features."""
    channels, objective = config.model.channels, config.objective
    counts = [batch_size, max(1, round(batch_size * config.batches.abnormal_share))]
    counts.append(
        max(1, round(batch_size * config.batches.synthetic_share)) if objective.synthetic_weight else 0
    )
    batch = {
        "images": rng.uniform(-1, 1, (sum(counts), *model.image_shape, channels)).astype(np.float32),
        "labels": np.repeat(np.float32([0, 1, 2]), counts),
        "latents": rng.uniform(-1, 1, (batch_size, model.latent_size)).astype(np.float32),
        "mix": rng.random((batch_size, 1, 1, 1), dtype=np.float32),
    }
    if model.feature_generator is not None and objective.reconstruction_weight:
        for i, shape in enumerate(model.feature_generator.shapes):
            batch[f"features_{i}"] = rng.standard_normal((sum(counts[:2]), *shape), dtype=np.float32)
    return batch


def best(act, count: int) -> float:
    """Shortest of `count` timings, after one call that compiles."""
    act()
    times = []
    for _ in range(count):
        started = time.perf_counter()
        act()
        times.append(time.perf_counter() - started)
    return min(times)


def _peak_gigabytes() -> float | str:
    """The most memory that this process had; not known on Windows."""
    try:
        import resource
    except ImportError:
        return "–"
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
