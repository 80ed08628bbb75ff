"""Which operations survive export with their gradient, with the installed versions.

The networks avoid those that do not.
"""

import contextlib
import io
import logging

import numpy as np
import pytest
import tensorflow as tf

onnxruntime = pytest.importorskip("onnxruntime")

SHAPE = (2, 8, 8, 4)
RNG = np.random.default_rng(0)


def weights(*shape):
    return RNG.standard_normal(shape).astype(np.float32) * np.float32(0.3)


CONV, ROWS, VECTOR, DEPTHWISE = weights(3, 3, 4, 6), weights(4, 5), weights(4), weights(3, 3, 4, 1)
GROUPED = weights(3, 3, 2, 4)


def positive(x):
    return tf.square(x) + 0.5


def paired_mean(x):
    return tf.reduce_mean(tf.reshape(x, (2, 4, 2, 4, 2, 4)), axis=(2, 4))


def doubled(x):
    x = tf.reshape(tf.concat([x, x], -1), (2, 8, 64))
    return tf.reshape(tf.concat([x, x], -1), (2, 16, 16, 4))


def normalised(x):
    mean = tf.reduce_mean(x, (0, 1, 2))
    return (x - mean) * tf.pow(tf.reduce_mean(tf.square(x - mean), (0, 1, 2)) + 1e-3, -0.5) * VECTOR


# name -> (f, whether its gradient survives in ONNX, in TFLite)
OPERATIONS = {
    "conv": (lambda x: tf.nn.conv2d(x, CONV, 1, "SAME"), True, True),
    "conv stride 2": (lambda x: tf.nn.conv2d(x, CONV, 2, "SAME"), True, True),
    "conv dilated": (lambda x: tf.nn.conv2d(x, CONV, 1, "SAME", dilations=2), True, False),
    "conv grouped": (lambda x: tf.nn.conv2d(x, GROUPED, 1, "SAME"), False, False),
    "depthwise conv": (lambda x: tf.nn.depthwise_conv2d(x, DEPTHWISE, (1, 1, 1, 1), "SAME"), False, False),
    "conv_transpose": (
        lambda x: tf.nn.conv2d_transpose(x, weights(3, 3, 6, 4), (2, 16, 16, 6), 2),
        True,
        True,
    ),
    "matmul": (lambda x: tf.matmul(tf.reshape(x, (-1, 4)), ROWS), True, True),
    "average pooling": (lambda x: tf.nn.avg_pool2d(x, 2, 2, "SAME"), False, False),
    "max pooling": (lambda x: tf.nn.max_pool2d(x, 2, 2, "SAME"), False, False),
    "mean of reshaped": (paired_mean, True, True),
    "resize nearest": (lambda x: tf.image.resize(x, (16, 16), "nearest"), False, False),
    "resize bilinear": (lambda x: tf.image.resize(x, (16, 16)), False, False),
    "repeat": (lambda x: tf.repeat(x, 2, axis=1), True, False),
    "concatenate and reshape": (doubled, True, True),
    "depth to space": (lambda x: tf.nn.depth_to_space(x, 2), True, True),
    "slice": (lambda x: x[:, 1:5], False, False),
    "gather": (lambda x: tf.gather(x, [0, 2, 3], axis=1), True, True),
    "transpose": (lambda x: tf.transpose(x, (0, 3, 1, 2)), True, True),
    "relu": (tf.nn.relu, False, False),
    "leaky relu": (tf.nn.leaky_relu, False, False),
    "maximum": (lambda x: tf.maximum(x, 0.2 * x), True, True),
    "where": (lambda x: tf.where(x > 0, x, 0.5 * x), True, True),
    "tanh": (tf.tanh, False, True),
    "sigmoid": (tf.sigmoid, False, True),
    "written sigmoid": (lambda x: 1 / (1 + tf.exp(-x)), True, True),
    "softplus": (tf.nn.softplus, True, True),
    "sqrt": (lambda x: tf.sqrt(positive(x)), False, True),
    "rsqrt": (lambda x: tf.math.rsqrt(positive(x)), False, True),
    "power": (lambda x: tf.pow(positive(x), -0.5), True, True),
    "abs": (tf.abs, True, True),
    "exp and log": (lambda x: tf.math.log(positive(x)) + tf.exp(x), True, True),
    "softmax": (tf.nn.softmax, True, True),
    "normalisation written out": (normalised, True, True),
    "maximum of an axis": (lambda x: tf.reduce_max(x, axis=-1), True, True),
    "top k": (lambda x: tf.math.top_k(x, 2).values, True, True),
    "pad with zeros": (lambda x: tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), True, True),
    "reflect pad": (lambda x: tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT"), False, False),
}


def gradient_of(f):
    """tf.function: x -> d/dx of sum(W * f(x)^2), W fixed."""
    values = RNG.standard_normal(f(tf.zeros(SHAPE)).shape).astype(np.float32)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec(SHAPE, tf.float32, "x")])
    def gradient(x):
        x = tf.reshape(x, SHAPE)
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(values * tf.square(f(x)))
        return {"gradient": tf.identity(tape.gradient(loss, x))}

    return gradient


def by_onnx(function, x):
    import onnx
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    with contextlib.redirect_stdout(io.StringIO()):
        model, _ = tf2onnx.convert.from_function(function, input_signature=function.input_signature, opset=17)
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def by_tflite(function, x):
    from ai_edge_litert.interpreter import Interpreter

    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    interpreter = Interpreter(model_content=converter.convert())
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def survives(convert_and_run, function, x, expected) -> bool:
    try:
        found = convert_and_run(function, x)
    except Exception:  # each converter and engine has kinds of its own
        return False
    return np.linalg.norm(found - expected) <= 2e-6 * np.linalg.norm(expected)


@pytest.mark.parametrize("name", OPERATIONS)
def test_which_gradients_survive(name):
    f, in_onnx, in_tflite = OPERATIONS[name]
    function = gradient_of(f)
    x = np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)
    expected = function(x)["gradient"].numpy()
    found = survives(by_onnx, function, x, expected), survives(by_tflite, function, x, expected)
    assert found == (in_onnx, in_tflite)
