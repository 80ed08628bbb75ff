"""The same ONNX model in operators that engines have fast code for; tf2onnx takes TensorFlow's graph as it is."""

import numpy as np
import onnx
from onnx import helper, numpy_helper


def simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which

    - a transposed convolution of stride 1 with a constant kernel, the gradient of a convolution, is a convolution with the kernel
      turned by 180 degrees, its inputs and outputs exchanged;
    - min(max(x, a), b) with constants a and b is Clip, which ONNX Runtime computes inside the convolution before it.
    """
    model = onnx.ModelProto.FromString(model.SerializeToString())
    graph = model.graph
    constants = {t.name: t for t in graph.initializer}
    constants |= {n.output[0]: n.attribute[0].t for n in graph.node if n.op_type == "Constant" and n.attribute[0].name == "value"}
    readers, makers, kept = {}, {o: n for n in graph.node for o in n.output}, {o.name for o in graph.output}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    nodes, dropped = [], set()
    for node in graph.node:
        if node.op_type == "ConvTranspose" and _is_plain(node, constants):
            kernel = numpy_helper.to_array(constants[node.input[1]])  # [inputs, outputs, H, W]
            name = f"{node.input[1]}__turned"
            if name not in constants:
                turned = np.ascontiguousarray(kernel[:, :, ::-1, ::-1].transpose(1, 0, 2, 3))
                constants[name] = numpy_helper.from_array(turned, name)
                graph.initializer.append(constants[name])
            pads = _attributes(node).get("pads", [0, 0, 0, 0])
            sides = [*kernel.shape[2:]] * 2
            pads = [side - 1 - pad for side, pad in zip(sides, pads, strict=True)]
            inputs = [node.input[0], name, *node.input[2:]]
            node = helper.make_node("Conv", inputs, list(node.output), node.name, kernel_shape=kernel.shape[2:], pads=pads)
        elif node.op_type == "Min" and (clipped := _clipped(node, makers, readers, constants, kept)):
            inner, bounds = clipped
            dropped.add(inner.output[0])
            bounds = [_scalar(name, constants, graph) for name in bounds]
            node = helper.make_node("Clip", [next(n for n in inner.input if n not in constants), *bounds], list(node.output), node.name)
        nodes.append(node)
    nodes = [n for n in nodes if not set(n.output) & dropped]
    used = {name for node in nodes for name in node.input}
    initializers = [t for t in graph.initializer if t.name in used]
    for field, values in ((graph.node, nodes), (graph.initializer, initializers)):
        values = [type(v).FromString(v.SerializeToString()) for v in values]
        del field[:]
        field.extend(values)
    return model


def _scalar(name: str, constants, graph) -> str:
    """The name of a constant of one value as a tensor without dimensions, as Clip wants its bounds."""
    if not constants[name].dims:
        return name
    scalar = f"{name}__scalar"
    if scalar not in constants:
        constants[scalar] = numpy_helper.from_array(numpy_helper.to_array(constants[name]).reshape(()), scalar)
        graph.initializer.append(constants[scalar])
    return scalar


def _attributes(node) -> dict:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def _is_plain(node, constants) -> bool:
    """Whether a transposed convolution is the gradient of a convolution of stride 1, with a kernel that is known."""
    a = _attributes(node)
    ones = [*a.get("strides", [1]), *a.get("dilations", [1]), a.get("group", 1)]
    padded = a.get("auto_pad", b"NOTSET") == b"NOTSET" and not any(a.get("output_padding", [])) and "output_shape" not in a
    return node.input[1] in constants and set(ones) == {1} and padded


def _clipped(node, makers, readers, constants, kept):
    """(the Max node inside, (lower, upper) as names) where a Min is the upper end of a clip that nothing else reads; else None."""
    inner = [makers[n] for n in node.input if n in makers and makers[n].op_type == "Max"]
    upper = [n for n in node.input if n in constants]
    if len(node.input) != 2 or len(inner) != 1 or len(upper) != 1 or inner[0].output[0] in kept:
        return None
    lower = [n for n in inner[0].input if n in constants]
    single = len(readers[inner[0].output[0]]) == 1 and len(inner[0].input) == 2 and len(lower) == 1
    scalar = all(set(constants[n].dims) <= {1} for n in (*upper, *lower))
    return (inner[0], (lower[0], upper[0])) if single and scalar else None
