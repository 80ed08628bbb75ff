"""Moves a graph from [N, H, W, C] to [N, C, H, W], the layout of ONNX's convolutions.

tf2onnx changes the layout before and after every convolution.
"""

import numpy as np

from semi_anogan.export.onnx_rewrite.graph import Graph, attributes

TO_FIRST, TO_LAST = [0, 3, 1, 2], [0, 2, 3, 1]
_ELEMENTWISE = frozenset(
    "Abs Add Cast Clip Div Equal Exp Greater GreaterOrEqual LeakyRelu Less LessOrEqual Log Max Min Mul Neg "
    "Not Pow Relu Sigmoid Sign Sqrt Sub Sum Tanh Where".split()
)
_REDUCTIONS = {"ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"}


def layout_change(graph: Graph, node) -> list[int] | None:
    """TO_FIRST or TO_LAST if a node does that; also a Reshape does where there is one channel."""
    if node.op_type == "Transpose":
        order = list(attributes(node).get("perm", []))
        return order if order in (TO_FIRST, TO_LAST) else None
    if node.op_type != "Reshape":
        return None
    before, after = graph.shape(node.input[0]), graph.shape(node.output[0])
    if before is None or after is None or len(before) != 4 or len(after) != 4 or before == after:
        return None
    found = [o for o in (TO_FIRST, TO_LAST) if after == tuple(before[i] for i in o)]
    return found[0] if found and (before[3] == 1 if found[0] == TO_FIRST else before[1] == 1) else None


def move(graph: Graph):
    """Computes everything after a convolution with channels first, as far as its operators allow.

    What lies before the first convolution stays as it is.
    """
    first = {}  # name of a value with channels last -> that of the same with channels first

    def rule(graph, node):
        if len(node.output) != 1:
            return None
        output = node.output[0]
        change = layout_change(graph, node)
        if change == TO_LAST:
            first[output] = node.input[0]
        if change == TO_FIRST:
            return first.get(node.input[0])
        if output in first or change is not None or not set(node.input) & set(first):
            return None
        new = _moved(graph, node, first)
        if new is None:
            return None
        if len(graph.shape(output)) < 4:
            return new
        back = graph.add("Transpose", new, perm=TO_LAST)
        first[output] = new
        return back

    graph.apply(rule, once=True)


def _moved(graph: Graph, node, first: dict) -> str | None:
    """The value of a node with channels first, of inputs with channels first.

    None where that is not known to be possible.
    """
    shape, settings = graph.shape(node.output[0]), attributes(node)
    if shape is None:
        return None
    if node.op_type in _REDUCTIONS:
        return _moved_reduction(graph, node, settings, first)
    if len(shape) != 4:
        return None
    if node.op_type in _ELEMENTWISE or node.op_type == "Concat":
        inputs = [_first(graph, name, first) for name in node.input]
        if any(i is None for i in inputs):
            return None
        if node.op_type == "Concat":
            settings = {"axis": TO_FIRST.index(settings["axis"] % 4)}
        return graph.add(node.op_type, *inputs, **settings)
    if node.op_type == "Slice" and len(node.input) == 3 and set(node.input[1:]) <= set(graph.constants):
        bounds = [graph.constants[name][TO_FIRST] for name in node.input[1:]]
        return graph.add("Slice", first[node.input[0]], *bounds)
    if node.op_type == "Tile" and node.input[1] in graph.constants:
        return graph.add("Tile", first[node.input[0]], graph.constants[node.input[1]][TO_FIRST])
    return None


def _moved_reduction(graph: Graph, node, settings: dict, first: dict) -> str | None:
    by_input = len(node.input) == 2
    axes = graph.constants.get(node.input[1]) if by_input else settings.get("axes")
    if axes is None or node.input[0] not in first:
        return None
    axes = sorted(TO_FIRST.index(axis % 4) for axis in axes)
    keeps = settings.get("keepdims", 1)
    if not axes or not keeps and axes != [1, 2, 3]:  # the order of the axes that stay would be another
        return None
    if by_input:
        return graph.add(node.op_type, first[node.input[0]], np.int64(axes), keepdims=keeps)
    return graph.add(node.op_type, first[node.input[0]], axes=axes, keepdims=keeps)


def _first(graph: Graph, name: str, first: dict) -> str | np.ndarray | None:
    """A value with channels first; None if its shape is unknown."""
    if name in first:
        return first[name]
    shape = graph.shape(name)
    if shape is None:
        return None
    if name in graph.constants:
        value = graph.constants[name]
        if value.size == 1:
            return value.reshape(())
        return np.ascontiguousarray(value.reshape((1,) * (4 - value.ndim) + shape).transpose(TO_FIRST))
    if set(shape[-3:]) <= {1}:  # one value for each image: the same in both layouts
        return name
    return graph.add("Transpose", name, perm=TO_FIRST) if len(shape) == 4 else None
