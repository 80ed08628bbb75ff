"""The same ONNX model in operators that engines have fast code for.

tf2onnx takes TensorFlow's graph as it is.
"""

import math

import numpy as np
import onnx

from semi_anogan.export.onnx_rewrite import channels_first, image_sizes
from semi_anogan.export.onnx_rewrite.channels_first import TO_FIRST, TO_LAST
from semi_anogan.export.onnx_rewrite.graph import Graph, attributes

# Times a number, clipped: its sign, at the price of two quick operators. Wrong only for numbers below 1e-30.
_HUGE = 1e30
_MODERATE = 1e-2, 1e2  # factors that may go into a kernel: it stays in the range of float16
# Operators whose values are 0 or 1.
_TRUTHS = ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not")


def simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with the same values up to rounding, from the rules below.

    Its element-wise operators have channels first where convolutions are near, so that there is nothing to
    transpose between them.
    """
    graph = Graph(model)
    rules = (
        image_sizes.mean_of_pixels,
        image_sizes.repeated_pixels,
        image_sizes.sum_of_pixels,
        _without_zero,
        _uniform_constant,
        _without_tile,
        _product_of_constants,
        _scale_of_scaled,
        _scale_of_smaller,
        _turned_convolution,
        _scaled_kernel,
        _scaled_input,
        _clip,
        _root,
        _sign,
        _without_change,
    )
    graph.apply(*rules)
    channels_first.move(graph)
    graph.apply(*rules)
    return graph.model


# Products with constants.


def _without_zero(graph, node):
    """x of x + 0, also where the 0 is a constant 0 times a truth value.

    The gradients of `maximum` are full of them.
    """
    if node.op_type not in ("Add", "Sum") or len(node.input) != 2:
        return None
    for zero, x in (node.input, node.input[::-1]):
        factors = graph.makers[zero].input if graph.maker(zero, "Mul") else []
        zeros = [f for f in (zero, *factors) if f in graph.constants and not graph.constants[f].any()]
        finite = all(
            f in zeros or graph.maker((graph.chain(f, "Cast") or [""])[-1], *_TRUTHS) for f in factors
        )
        if zeros and finite and graph.shape(x) is not None and graph.shape(x) == graph.shape(node.output[0]):
            return x
    return None


def _uniform_constant(graph, node):
    """Of a constant with the same value everywhere, one is enough."""
    shape = graph.shape(node.output[0])
    if node.op_type not in ("Add", "Div", "Mul", "Sub") or shape is None:
        return None
    for i, (name, other) in enumerate((node.input, node.input[::-1])):
        value = graph.constants.get(name)
        if value is None or not value.ndim or not value.size:
            continue
        if (value == value.flat[0]).all() and graph.shape(other) == shape:
            inputs = list(node.input)
            inputs[i] = value.flat[0].reshape(())
            return graph.add(node.op_type, *inputs)
    return None


def _without_tile(graph, node):
    """A product repeats what it must by itself; before, a factor goes to where there are fewer values."""
    if node.op_type != "Mul":
        return None
    scale, x = graph.scaled(node)
    if scale is not None and graph.maker(x, "Tile"):
        small, repeats = graph.makers[x].input
        return graph.add("Tile", graph.add("Mul", small, np.float32(scale)), repeats)
    for tiled, x in (node.input, node.input[::-1]):
        small = graph.makers[tiled].input[0] if graph.maker(tiled, "Tile") else None
        sizes, shape = graph.shape(small) if small else None, graph.shape(x)
        if not sizes or not shape or shape != graph.shape(node.output[0]):
            continue
        if all(s in (1, t) for s, t in zip(sizes, graph.shape(tiled), strict=True)):
            return graph.add("Mul", small, x)
    return None


def _product_of_constants(graph, node):
    of_constants = set(node.input) <= set(graph.constants)
    if node.op_type != "Mul" or not of_constants or node.output[0] in graph.outputs:
        return None
    a, b = (graph.constants[name] for name in node.input)
    return graph.constant(a * b) if (a * b).size == max(a.size, b.size) else None


def _scale_of_scaled(graph, node):
    """Two factors are one."""
    outer, name = graph.scaled(node)
    inner, x = graph.scaled(graph.makers.get(name))
    if inner is None or not graph.alone(name) or abs(outer * inner) > 1e38:
        return None
    return graph.add("Mul", x, np.float32(outer * inner))


def _scale_of_smaller(graph, node):
    """small * (c * large): the c goes to where there are fewer values."""
    if node.op_type != "Mul":
        return None
    for small, name in (node.input, node.input[::-1]):
        c, x = graph.scaled(graph.makers.get(name))
        sizes = graph.shape(small), graph.shape(x)
        if c is None or small in graph.constants or None in sizes:
            continue
        if math.prod(sizes[0]) < math.prod(sizes[1]):
            return graph.add("Mul", graph.add("Mul", small, np.float32(c)), x)
    return None


# Convolutions.


def _turned_convolution(graph, node):
    """The gradient of a convolution of stride 1, a transposed one, as a convolution.

    Its kernel is turned by 180 degrees, with inputs and outputs exchanged.
    """
    if node.op_type != "ConvTranspose" or node.input[1] not in graph.constants:
        return None
    a, kernel = attributes(node), graph.constants[node.input[1]]  # [inputs, outputs, H, W]
    ones = [*a.get("strides", [1]), *a.get("dilations", [1]), a.get("group", 1)]
    if set(ones) != {1} or a.get("auto_pad", b"NOTSET") != b"NOTSET":
        return None
    if any(a.get("output_padding", [])) or "output_shape" in a:
        return None
    sides = kernel.shape[2:]
    pads = [side - 1 - pad for side, pad in zip([*sides] * 2, a.get("pads", [0, 0, 0, 0]), strict=True)]
    if min(pads) < 0:
        return None
    turned = np.ascontiguousarray(kernel[:, :, ::-1, ::-1].transpose(1, 0, 2, 3))
    return graph.add("Conv", node.input[0], turned, *node.input[2:], kernel_shape=sides, pads=pads)


def _scaled_kernel(graph, node):
    """c times a convolution: a convolution with c times the kernel."""
    c, name = graph.scaled(node)
    made = graph.maker(name, "Conv")
    if made is None or not _MODERATE[0] <= abs(c) <= _MODERATE[1]:
        return None
    if not graph.alone(name) or not set(made.input[1:]) <= set(graph.constants):
        return None
    weights = [graph.constants[w] * np.float32(c) for w in made.input[1:]]
    return graph.add("Conv", made.input[0], *weights, **attributes(made))


def _scaled_input(graph, node):
    """A convolution of c * x: one of x with c times the kernel."""
    c, x = graph.scaled(graph.makers.get(node.input[0])) if node.op_type == "Conv" else (None, "")
    if c is None or not _MODERATE[0] <= abs(c) <= _MODERATE[1] or node.input[1] not in graph.constants:
        return None
    kernel = graph.constants[node.input[1]] * np.float32(c)
    return graph.add("Conv", x, kernel, *node.input[2:], **attributes(node))


def _clip(graph, node):
    """min(max(x, a), b) with constants a and b: Clip.

    ONNX Runtime computes it inside the convolution before it.
    """
    if node.op_type != "Min" or len(node.input) != 2:
        return None
    for name, upper in (node.input, node.input[::-1]):
        inner = graph.maker(name, "Max")
        if inner is None or len(inner.input) != 2 or not graph.alone(name) or graph.scalar(upper) is None:
            continue
        for x, lower in (inner.input, inner.input[::-1]):
            if graph.scalar(lower) is not None and x not in graph.constants:
                bounds = [np.reshape(graph.constants[bound], ()) for bound in (lower, upper)]
                return graph.add("Clip", x, *bounds)
    return None


# Functions that cost more than they must.


def _root(graph, node):
    """x^-1/2 and x^-3/2 by a square root: Pow is slow."""
    power = graph.scalar(node.input[1]) if node.op_type == "Pow" and node.output[0] in graph.floats else None
    if power not in (-0.5, -1.5):
        return None
    root = graph.add("Sqrt", node.input[0])
    return graph.add("Div", np.float32(1), root if power == -0.5 else graph.add("Mul", root, node.input[0]))


def _sign(graph, node):
    """c * sign(x): c0 of x times very much, clipped, as Sign is slow in ONNX Runtime."""
    c, name = graph.scaled(node)
    sign = graph.maker(name, "Sign")
    if sign is None or not graph.alone(name):
        return None
    huge = graph.add("Mul", sign.input[0], np.float32(np.copysign(_HUGE, c)))
    return graph.add("Clip", huge, np.float32(-abs(c)), np.float32(abs(c)))


def _without_change(graph, node):
    """A Reshape to the same shape and two layout changes that cancel are nothing."""
    shape = graph.shape(node.output[0])
    if node.op_type == "Reshape" and shape is not None and graph.shape(node.input[0]) == shape:
        return node.input[0]
    change = channels_first.layout_change(graph, node)
    before = graph.makers.get(node.input[0]) if change else None
    if before is None:
        return None
    changes = sorted([change, channels_first.layout_change(graph, before) or []])
    return before.input[0] if changes == [TO_LAST, TO_FIRST] else None
