"""The simplified ONNX model: the same values in other operators."""

import collections

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from semi_anogan.export.simplify import simplified


def model_of(nodes, shape, constants, outputs=("y",)):
    graph = helper.make_graph(
        nodes, "test", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * len(shape)) for name in outputs],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def values_of(model, x):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})


def operators(model):
    return dict(collections.Counter(node.op_type for node in model.graph.node))


@pytest.mark.parametrize(("size", "pads"), [(3, [1, 1, 1, 1]), (5, [2, 2, 2, 2]), (1, [0, 0, 0, 0]), (3, [0, 1, 2, 1])])
def test_the_gradient_of_a_convolution_is_a_convolution(size, pads):
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=(4, 6, size, size)), rng.normal(size=6)
    node = helper.make_node("ConvTranspose", ["x", "k", "b"], ["y"], kernel_shape=[size, size], pads=pads, strides=[1, 1])
    model = model_of([node], [2, 4, 9, 7], {"k": kernel, "b": bias})
    x = rng.normal(size=(2, 4, 9, 7)).astype(np.float32)
    new = simplified(model)
    assert operators(new) == {"Conv": 1} and operators(model) == {"ConvTranspose": 1}
    onnx.checker.check_model(new, full_check=True)
    np.testing.assert_allclose(values_of(new, x)[0], values_of(model, x)[0], rtol=1e-4, atol=1e-5)


def test_a_strided_transposed_convolution_stays():
    node = helper.make_node("ConvTranspose", ["x", "k"], ["y"], kernel_shape=[3, 3], strides=[2, 2])
    model = model_of([node], [1, 2, 4, 4], {"k": np.ones((2, 2, 3, 3))})
    assert operators(simplified(model)) == {"ConvTranspose": 1}


def test_min_of_max_is_a_clip_where_nothing_else_reads_the_max():
    nodes = [
        helper.make_node("Max", ["zero", "x"], ["m"]), helper.make_node("Min", ["m", "six"], ["y"]),
        helper.make_node("Max", ["x", "zero"], ["m2"]), helper.make_node("Min", ["m2", "six"], ["z"]), helper.make_node("Neg", ["m2"], ["w"]),
    ]
    model = model_of(nodes, [5], {"zero": 0.0, "six": [6.0]}, ("y", "z", "w"))
    new = simplified(model)
    assert operators(new) == {"Clip": 1, "Max": 1, "Min": 1, "Neg": 1}
    x = np.float32([-1, 0, 3, 6, 8])
    for got, wanted in zip(values_of(new, x), ([0, 0, 3, 6, 6], [0, 0, 3, 6, 6], [0, 0, -3, -6, -8]), strict=True):
        np.testing.assert_array_equal(got, np.float32(wanted))
