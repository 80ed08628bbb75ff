import logging
import subprocess
import sys

import pytest
import tensorflow as tf

from helpers.processes import ENVIRONMENT, ROOT
from semi_anogan.backend import compile_function


def with_a_large_sum(x, count):
    """x; a loop that never runs holds a sum that is larger than any machine's memory."""

    def body(index, total):
        large = tf.broadcast_to(total, [2**20, 2**20])
        return index + 1, tf.reduce_mean(tf.add_n([tf.exp(large), tf.sin(large), tf.cos(large)]))

    return tf.while_loop(lambda index, total: index < count, body, (0, x))[1]


def test_short_memory_does_not_change_a_compiled_function():
    """TensorFlow would put the sum into a variable, which calls at the same time share: one of them then
    fails.
    """
    x, count = tf.constant(3.0), tf.constant(0)
    assert compile_function(with_a_large_sum, None)(x, count) == 3.0
    with pytest.raises(tf.errors.OpError, match="tmp_var"):  # or the test shows nothing with this version
        tf.function(with_a_large_sum)(x, count)


def test_compiling_again_is_no_warning_but_others_are_shown():
    """A size that grows or a second detector is compiled again, as it must be: nobody can act on that."""
    seen = []
    handler = logging.Handler()
    handler.emit = lambda record: seen.append(record.getMessage())
    logger = tf.get_logger()
    logger.addHandler(handler)
    try:
        compiled = tf.function(lambda x: x, autograph=False)
        for i in range(10):
            compiled(i)  # a new graph for each number
        logger.warning("something else")
    finally:
        logger.removeHandler(handler)
    assert compiled.experimental_get_tracing_count() == 10
    assert seen == ["something else"]


@pytest.mark.parametrize("given, used", [(None, "false"), ("true", "true")])
def test_jax_shares_a_gpu(given, used):
    """A second scoring found no memory. JAX reads the setting when it first uses a device."""
    told = "os.environ['XLA_PYTHON_CLIENT_PREALLOCATE'], xla_bridge.backends_are_initialized()"
    code = f"import os, semi_anogan.backend; from jax._src import xla_bridge; print({told})"
    setting = {} if given is None else {"XLA_PYTHON_CLIENT_PREALLOCATE": given}
    environment = {**ENVIRONMENT, "KERAS_BACKEND": "jax", **setting}
    printed = subprocess.check_output([sys.executable, "-c", code], env=environment, cwd=ROOT, text=True)
    assert printed.split() == [used, "False"]
