"""The simplified ONNX model: the same values in other operators."""

import collections

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from semi_anogan.export.onnx_rewrite.simplify import simplified
from semi_anogan.networks import layers

node_of = helper.make_node


def model_of(nodes, shape, constants, outputs=("y",)):
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * len(shape)) for name in outputs],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def converted(call, *shape):
    """A function of one array as tf2onnx writes it."""
    import tensorflow as tf
    import tf2onnx

    model, _ = tf2onnx.convert.from_function(
        tf.function(call, autograph=False), [tf.TensorSpec(shape, tf.float32, "x")], opset=17
    )
    return model


def slope(call):
    """The gradient of a function of one array, weighted so that each pixel has another one."""
    import tensorflow as tf

    def gradient(x):
        x = tf.reshape(x, x.shape)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = call(x)
            weights = np.sin(np.arange(np.prod(y.shape[1:]), dtype=np.float32)).reshape(1, *y.shape[1:])
            loss = tf.reduce_sum(y * y * weights)
        return tape.gradient(loss, x)

    return gradient


def assert_same(model, x, **kwargs):
    """Simplifies a model; the new one is valid and has the same values. Returns it."""
    new = simplified(model)
    onnx.checker.check_model(new, full_check=True)
    for got, wanted in zip(values_of(new, x), values_of(model, x), strict=True):
        np.testing.assert_allclose(got, wanted, **{"rtol": 1e-5, "atol": 1e-6, **kwargs})
    return new


def values_of(model, x):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})


def operators(model):
    return dict(collections.Counter(node.op_type for node in model.graph.node))


@pytest.mark.parametrize(
    ("size", "pads"), [(3, [1, 1, 1, 1]), (5, [2, 2, 2, 2]), (1, [0, 0, 0, 0]), (3, [0, 1, 2, 1])]
)
def test_the_gradient_of_a_convolution_is_a_convolution(size, pads):
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=(4, 6, size, size)), rng.normal(size=6)
    node = helper.make_node(
        "ConvTranspose", ["x", "k", "b"], ["y"], kernel_shape=[size, size], pads=pads, strides=[1, 1]
    )
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
        helper.make_node("Max", ["zero", "x"], ["m"]),
        helper.make_node("Min", ["m", "six"], ["y"]),
        helper.make_node("Max", ["x", "zero"], ["m2"]),
        helper.make_node("Min", ["m2", "six"], ["z"]),
        helper.make_node("Neg", ["m2"], ["w"]),
    ]
    model = model_of(nodes, [5], {"zero": 0.0, "six": [6.0]}, ("y", "z", "w"))
    new = simplified(model)
    assert operators(new) == {"Clip": 1, "Max": 1, "Min": 1, "Neg": 1}
    x = np.float32([-1, 0, 3, 6, 8])
    for got, wanted in zip(
        values_of(new, x), ([0, 0, 3, 6, 6], [0, 0, 3, 6, 6], [0, 0, -3, -6, -8]), strict=True
    ):
        np.testing.assert_array_equal(got, np.float32(wanted))


@pytest.mark.parametrize(
    ("call", "operator", "transposes"),
    [
        (layers.downscale, "AveragePool", 2),
        (layers.upscale, "Resize", 2),
        (slope(layers.downscale), "Resize", 3),
        (slope(layers.upscale), "AveragePool", 3),
    ],
)
@pytest.mark.parametrize("shape", [(1, 8, 4, 3), (2, 4, 4, 1), (2, 4, 10, 1)])
def test_halving_and_doubling_are_pooling_and_resizing(call, operator, transposes, shape):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    new = operators(assert_same(converted(call, *shape), x))
    assert operator in new and not set(new) & {"ReduceSum", "Tile", "Concat", "Slice"}
    assert new.get("Transpose", 0) <= transposes and new.get("Reshape", 0) <= 1  # the values' own


def test_pooling_is_the_mean_of_four_pixels_and_resizing_repeats_them():
    x = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    (halved,) = values_of(simplified(converted(layers.downscale, 1, 4, 4, 1)), x)
    np.testing.assert_array_equal(halved[0, :, :, 0], [[2.5, 4.5], [10.5, 12.5]])
    (doubled,) = values_of(simplified(converted(layers.upscale, 1, 2, 2, 1)), x[:, :2, :2])
    np.testing.assert_array_equal(
        doubled[0, :, :, 0], [[0, 0, 1, 1], [0, 0, 1, 1], [4, 4, 5, 5], [4, 4, 5, 5]]
    )


# A sum is not the mean; with two rows, the wrong axis has the same shape.
@pytest.mark.parametrize(("axis", "scale"), [(2, 0.5), (1, 0.25)])
def test_other_sums_of_pixels_stay(axis, scale):
    nodes = [
        node_of("Reshape", ["x", "rows"], ["a"]),
        node_of("ReduceSum", ["a", "axis"], ["b"], keepdims=0),
        node_of("Reshape", ["b", "columns"], ["c"]),
        node_of("ReduceSum", ["c", "two"], ["d"], keepdims=0),
        node_of("Reshape", ["d", "image"], ["e"]),
        node_of("Mul", ["e", "scale"], ["y"]),
    ]
    model = model_of(nodes, [1, 4, 4, 3], {"scale": scale})
    integers = {
        "rows": [1, 2, 2, 12],
        "axis": [axis],
        "columns": [2, 2, 2, 3],
        "two": [2],
        "image": [1, 2, 2, 3],
    }
    model.graph.initializer.extend(numpy_helper.from_array(np.int64(v), name) for name, v in integers.items())
    x = np.random.default_rng(0).normal(size=(1, 4, 4, 3)).astype(np.float32)
    assert "AveragePool" not in operators(assert_same(model, x))


def network(x):
    """The layers of the generator and, halved again, of the discriminator."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    kernels = [(rng.normal(size=(3, 3, a, b)) / 6).astype(np.float32) for a, b in ((4, 8), (8, 8), (8, 4))]
    for i, kernel in enumerate(kernels):
        x = layers.leaky_relu(
            tf.nn.conv2d(x, kernel, 1, "SAME") + np.full(kernel.shape[-1], 0.1 * i, np.float32)
        )
        x = (layers.pixel_norm, lambda x: layers.upscale(layers.pixel_norm(x)), layers.downscale)[i](x)
    return x


def test_the_gradient_of_a_network_has_no_layout_changes_masks_or_tiles_between_its_convolutions():
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 4)).astype(np.float32)
    model = converted(slope(network), *x.shape)
    new = operators(assert_same(model, x, rtol=1e-4, atol=1e-5))
    assert operators(model)["Transpose"] > 10 and "Tile" in operators(model)
    assert new["Transpose"] <= 3 and not set(new) & {
        "Cast",
        "Not",
        "GreaterOrEqual",
        "Tile",
        "ConvTranspose",
        "Slice",
        "Concat",
        "Pow",
    }
    assert new["Conv"] == 6


def test_the_slope_of_the_leaky_relu_is_one_at_zero_and_its_factor_below():
    # d sum (y + 1)^2 w / dx = 2 (y + 1) w slope
    model = converted(slope(lambda x: layers.leaky_relu(x) + 1), 1, 6)
    x = np.float32([[-1e20, -2, -1e-20, 0, 1e-20, 3]])
    new = assert_same(model, x)
    assert {"Clip", "LeakyRelu"} <= set(operators(new)) and not {"Max", "Min"} & set(operators(new))


def test_a_constant_zero_times_a_truth_value_is_nothing_but_times_a_number_it_stays():
    nodes = [
        node_of("Greater", ["x", "one"], ["m"]),
        node_of("Cast", ["m"], ["f"], to=TensorProto.FLOAT),
        node_of("Mul", ["f", "zeros"], ["a"]),
        node_of("Sqrt", ["x"], ["n"]),
        node_of("Add", ["a", "n"], ["s"]),
        node_of("Abs", ["s"], ["y"]),
        node_of("Cast", ["x"], ["c"], to=TensorProto.FLOAT),
        node_of("Mul", ["c", "zeros"], ["b"]),
        node_of("Add", ["b", "n"], ["z"]),
    ]
    new = simplified(model_of(nodes, [3], {"one": 1.0, "zeros": np.zeros(3)}, ("y", "z")))
    assert operators(new) == {"Sqrt": 1, "Abs": 1, "Cast": 1, "Mul": 1, "Add": 1}
    np.testing.assert_array_equal(
        values_of(new, np.float32([1, 4, np.inf])), [[1, 2, np.inf], [1, 2, np.nan]]
    )


def test_whole_numbers_stay_whole_numbers():
    nodes = [
        node_of("Cast", ["x"], ["i"], to=TensorProto.INT32),
        node_of("Neg", ["i"], ["n"]),
        node_of("Mul", ["n", "three"], ["t"]),
        node_of("Mul", ["t", "three"], ["u"]),
        node_of("Cast", ["u"], ["y"], to=TensorProto.FLOAT),
    ]
    model = model_of(nodes, [2], {})
    model.graph.initializer.append(numpy_helper.from_array(np.int32(3), "three"))
    np.testing.assert_array_equal(
        values_of(assert_same(model, np.float32([2, -1])), np.float32([2, -1])), [[-18, 9]]
    )


def test_constant_factors_go_into_the_kernels():
    rng = np.random.default_rng(0)
    nodes = [
        node_of("Mul", ["x", "two"], ["a"]),
        node_of("Mul", ["half", "a"], ["b"]),
        node_of("Conv", ["b", "k", "b1"], ["c"], kernel_shape=[1, 1]),
        node_of("Mul", ["c", "three"], ["y"]),
    ]
    constants = {
        "two": 2.0,
        "half": np.full((1, 2, 3, 3), -0.5),
        "three": 3.0,
        "k": rng.normal(size=(4, 2, 1, 1)),
        "b1": rng.normal(size=4),
    }
    x = rng.normal(size=(1, 2, 3, 3)).astype(np.float32)
    assert operators(assert_same(model_of(nodes, x.shape, constants), x)) == {"Conv": 1}
    too_large = model_of(nodes, x.shape, {**constants, "three": 3e4})  # for float16
    assert operators(assert_same(too_large, x)) == {"Conv": 1, "Mul": 1}
    read_elsewhere = model_of(nodes, x.shape, constants, ("y", "c"))
    assert operators(assert_same(read_elsewhere, x)) == {"Conv": 1, "Mul": 1}


def test_factors_go_where_there_are_fewer_values_and_products_repeat_them():
    nodes = [
        node_of("ReduceMean", ["x"], ["m"], axes=[1]),
        node_of("Tile", ["m", "repeats"], ["t"]),
        node_of("Mul", ["t", "c"], ["s"]),
        node_of("Mul", ["x", "c"], ["d"]),
        node_of("Mul", ["s", "d"], ["y"]),
    ]
    model = model_of(nodes, [2, 3], {"c": 0.5})
    model.graph.initializer.append(numpy_helper.from_array(np.int64([1, 3]), "repeats"))
    new = simplified(model)
    assert operators(new) == {"ReduceMean": 1, "Mul": 2}
    np.testing.assert_allclose(
        values_of(new, np.float32([[1, 2, 3], [4, 4, 4]]))[0], [[0.5, 1, 1.5], [4, 4, 4]]
    )


def test_powers_of_half_are_square_roots_and_others_stay():
    nodes = [node_of("Pow", ["x", name], [f"y{name}"]) for name in "abc"]
    model = model_of(nodes, [3], {"a": -0.5, "b": -1.5, "c": 2.5}, ("ya", "yb", "yc"))
    new = simplified(model)
    assert operators(new) == {"Sqrt": 2, "Mul": 1, "Div": 2, "Pow": 1}
    for got, wanted in zip(
        values_of(new, np.float32([0.25, 1, 4])), ([2, 1, 0.5], [8, 1, 0.125], [1 / 32, 1, 32]), strict=True
    ):
        np.testing.assert_allclose(got, wanted, rtol=1e-6)


@pytest.mark.parametrize("factor", [0.5, -3.0])
def test_a_scaled_sign_is_a_clip(factor):
    model = model_of([node_of("Sign", ["x"], ["s"]), node_of("Mul", ["s", "c"], ["y"])], [5], {"c": factor})
    new = simplified(model)
    assert operators(new) == {"Mul": 1, "Clip": 1}
    np.testing.assert_array_equal(
        values_of(new, np.float32([-1e20, -1e-20, 0, 1e-20, 1e20]))[0], factor * np.float32([-1, -1, 0, 1, 1])
    )


def test_what_follows_a_convolution_is_computed_with_channels_first():
    to_last, to_first = {"perm": [0, 2, 3, 1]}, {"perm": [0, 3, 1, 2]}
    nodes = [
        node_of("Transpose", ["x"], ["l"], **to_last),
        node_of("Mul", ["l", "channel"], ["a"]),
        node_of("Add", ["a", "image"], ["b"]),
        node_of("ReduceMax", ["b"], ["c"], axes=[-1]),
        node_of("Sub", ["b", "c"], ["d"]),
        node_of("Concat", ["d", "l"], ["e"], axis=3),
        node_of("Slice", ["e", "begin", "end"], ["f"]),
        node_of("Transpose", ["f"], ["g"], **to_first),
        node_of("Exp", ["g"], ["y"]),
        node_of("ReduceMean", ["b"], ["z"], axes=[1, 2, 3], keepdims=0),
        node_of("ReduceMean", ["b"], ["w"], axes=[3], keepdims=0),
    ]
    rng = np.random.default_rng(0)
    model = model_of(
        nodes,
        [2, 3, 4, 5],
        {"channel": rng.normal(size=3), "image": rng.normal(size=(1, 4, 5, 3))},
        ("y", "z", "w"),
    )
    for output, shape in zip(model.graph.output, ((2, 4, 4, 5), (2,), (2, 4, 5)), strict=True):
        output.CopyFrom(helper.make_tensor_value_info(output.name, TensorProto.FLOAT, shape))
    model.graph.initializer.extend(
        numpy_helper.from_array(np.int64(v), name)
        for name, v in {"begin": [0, 0, 0, 1], "end": [2, 4, 5, 5]}.items()
    )
    new = assert_same(model, rng.normal(size=(2, 3, 4, 5)).astype(np.float32))
    assert operators(new)["Transpose"] == 1  # for w, whose axes would come in another order
