"""Gradients, compilation and devices with TensorFlow."""

import contextlib
import functools
import json
import logging
import os

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import rewriter_config_pb2
from tensorflow.python.eager import context

# A GPU is shared: with what scores beside a training, or another program of a line. Without this TensorFlow
# takes nearly all of its memory at once.
for _gpu in tf.config.list_physical_devices("GPU"):
    with contextlib.suppress(RuntimeError):  # the program that imports us has used it already
        tf.config.experimental.set_memory_growth(_gpu, True)


def _is_news(record: logging.LogRecord) -> bool:
    """All but the advice against compiling again: each size that grows, and each detector, is once."""
    return "triggered tf.function retracing" not in record.getMessage()


tf.get_logger().addFilter(_is_news)


def input_gradients(function, x):
    """(function(x), gradient of its sum with respect to x); differentiable itself."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        values = function(x)
    return values, tape.gradient(values, x)


def compile_function(function, model):
    """`function` of tensors as one tf.function; it reads the variables of `model` as they are when called.

    XLA only where there is a GPU: on CPU it is several times slower than plain graphs. Several threads may
    call it at once.
    """
    del model  # tf.function captures variables by reference
    return _whatever_memory_is_free(
        tf.function(
            function, autograph=False, jit_compile=bool(tf.config.list_physical_devices("GPU")) or None
        )
    )


def _whatever_memory_is_free(compiled):
    """The tf.function without Grappler's memory optimizer, whose graph depends on the free memory.

    Where that is little, the optimizer writes sums of gradients into temporary variables, and two calls of
    one function at the same time share those: one fails with "Resource ... tmp_var ... already exists".
    TensorFlow has no public switch for it.
    """

    def call(*arguments):
        current = context.context()
        former = current.function_call_options
        config = _no_memory_optimizer(former.config_proto_serialized)
        current.function_call_options = context.FunctionCallOptions(former.executor_type, config)
        try:
            return compiled(*arguments)
        finally:
            current.function_call_options = former

    return call


@functools.cache
def _no_memory_optimizer(serialized: bytes):
    config = tf.compat.v1.ConfigProto.FromString(serialized)
    config.graph_options.rewrite_options.memory_optimization = rewriter_config_pb2.RewriterConfig.NO_MEM_OPT
    return config


def is_symbolic(x) -> bool:
    """Whether x is a tensor of a graph being traced (a tf.data map, say), which has no values yet."""
    return isinstance(x, tf.Tensor) and not tf.executing_eagerly()


class TrainStep:
    """`train_step` of a model with `losses` and `update_averages`.

    Its `generating_variables` are the first of the trainable ones, `discriminating_variables` the others.
    """

    def train_step(self, data):
        batch = self.unpack(data)
        generating = self.generating_variables
        discriminating = self.discriminating_variables
        # A tape that sees all variables would trace the discriminator's gradient through the generator too.
        with _tape_of(discriminating) as discriminator_tape, _tape_of(generating) as generator_tape:
            discriminator_loss, generator_loss, logs = self.losses(batch)
            # The optimizer sums the gradients of the replicas; so each brings its share of the mean.
            replicas = tf.distribute.get_strategy().num_replicas_in_sync
            generator_share, discriminator_share = generator_loss / replicas, discriminator_loss / replicas
        gradients = _gradients(generator_tape, generator_share, generating)
        gradients += _gradients(discriminator_tape, discriminator_share, discriminating)
        # Each variable is read several times, and not every read is needed for that variable's own gradient.
        # TensorFlow's dependency optimizer drops the edges that keep an update after the other reads, and
        # then a step's result depends on the timing; these edges it keeps.
        with tf.control_dependencies([*gradients, discriminator_loss, generator_loss]):
            self.optimizer.apply(gradients, [*generating, *discriminating])
            self.update_averages()
        return logs


@contextlib.contextmanager
def _tape_of(variables):
    """A GradientTape that records what depends on these variables alone."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        for variable in variables:
            tape.watch(variable.value)
        yield tape


def _gradients(tape, loss, variables):
    """Gradients of a loss; zeros for the layers that the stage does not use."""
    gradients = tape.gradient(loss, [v.value for v in variables])
    return [tf.zeros(v.shape, v.dtype) if g is None else g for g, v in zip(gradients, variables, strict=True)]


class Trainer:
    """Runs `train_step` on one batch at a time under a tf.distribute strategy, compiled once per stage.

    A batch is split over the replicas of this process; each worker process of a MultiWorkerMirroredStrategy
    brings its own.
    """

    def __init__(self, model, strategy):
        self.model = model
        self.strategy = strategy
        self._functions = {}

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, float]:
        """One step on {"images", "labels", "latents", "mix"}; returns the losses (mean over the replicas)."""
        key = (self.model.stage_resolution, self.model.trains, batch["images"].shape[0])
        if key not in self._functions:
            self._functions[key] = _whatever_memory_is_free(tf.function(self._step, autograph=False))
        return self._functions[key](self._distribute(batch))

    def _step(self, batch):
        logs = self.strategy.run(self.model.train_step, args=(batch,))
        if self.strategy.num_replicas_in_sync == 1:
            return logs
        return {name: self.strategy.reduce("MEAN", value, axis=None) for name, value in logs.items()}

    def _distribute(self, batch):
        replicas = len(self.strategy.extended.worker_devices)  # of this process
        if self.strategy.num_replicas_in_sync == 1:
            return {name: tf.convert_to_tensor(value) for name, value in batch.items()}

        def part(context):
            index = context.replica_id_in_sync_group % replicas
            return {name: tf.convert_to_tensor(value[index::replicas]) for name, value in batch.items()}

        return self.strategy.experimental_distribute_values_from_function(part)

    def cost(self, batch: dict[str, np.ndarray]) -> tuple[int, None]:
        """(floating-point operations of a step, None): TensorFlow does not tell the memory before it runs."""
        names = list(batch)
        values = [batch[name] for name in names]
        return count_flops(lambda *v: self._step(dict(zip(names, v, strict=True))), *values), None

    def sync(self):
        """Brings the model's variables up to date (they always are under TensorFlow)."""


def worker_count() -> int:
    """Number of worker processes by TF_CONFIG; 1 without it."""
    return len(json.loads(os.environ.get("TF_CONFIG", "{}")).get("cluster", {}).get("worker", [])) or 1


def worker_index(name: str) -> int:
    """This process' index among a distribution's workers (see make_strategy); 0 writes the run folder."""
    if name not in ("auto", "multi_worker") or worker_count() == 1:
        return 0
    return int(json.loads(os.environ.get("TF_CONFIG", "{}")).get("task", {}).get("index", 0))


def make_strategy(name: str):
    """(strategy, this process' index, number of processes) of one of config.DISTRIBUTIONS.

    "auto" is multi_worker where TF_CONFIG names several workers, mirrored where there are several GPUs, else
    one device.
    """
    gpus = tf.config.list_logical_devices("GPU") if worker_count() == 1 else []
    if name == "auto":
        name = "multi_worker" if worker_count() > 1 else "mirrored" if len(gpus) > 1 else "one_device"
    if name in ("multi_worker", "mirrored"):
        tf.get_logger().setLevel("WARNING")  # or each collective operation is logged, hundreds of lines
    if name == "multi_worker":
        return tf.distribute.MultiWorkerMirroredStrategy(), worker_index(name), worker_count()
    if name == "mirrored":
        devices = [d.name for d in gpus or tf.config.list_logical_devices("CPU")]
        return tf.distribute.MirroredStrategy(devices), 0, 1
    if name == "one_device":
        return tf.distribute.OneDeviceStrategy("/gpu:0" if gpus else "/cpu:0"), 0, 1
    raise ValueError(f"distribution must be auto, one_device, mirrored or multi_worker, got {name!r}")


def set_deterministic(seed: int):
    """Makes every operation give the same bits in each run with the same thread setting."""
    tf.random.set_seed(seed)
    with contextlib.suppress(RuntimeError):
        tf.config.experimental.enable_op_determinism()


def count_flops(function, *arguments) -> int:
    """Floating-point operations of one call, as TensorFlow's profiler counts them in the graph."""
    concrete = tf.function(function, autograph=False).get_concrete_function(
        *[tf.TensorSpec(np.shape(a), tf.convert_to_tensor(a).dtype) for a in arguments]
    )
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    return tf.compat.v1.profiler.profile(concrete.graph, options=options).total_float_ops
