import logging

import pytest
import tensorflow as tf

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
