"""Rules for halving and doubling images: pooling and resizing.

networks.layers writes them with reshapes, so that the gradients export.
"""

import numpy as np

from semi_anogan.export.onnx_rewrite.channels_first import TO_FIRST, TO_LAST
from semi_anogan.export.onnx_rewrite.graph import attributes


def mean_of_pixels(graph, node):
    """Halving, `layers.downscale`: an AveragePool."""
    scale, summed = graph.scaled(node)
    if scale != 0.25:
        return None
    names = graph.chain(summed, "Reshape", "ReduceSum", "Reshape", "ReduceSum", "Reshape")
    if names is None or not _is_image(graph, names[-1]):
        return None
    n, height, width, c = graph.shape(names[-1])
    h, w = height // 2, width // 2
    steps = [(n, h, w, c), (n * h, w, c), (n * h, w, 2, c), (n, h, width * c), (n, h, 2, width * c)]
    axes = [graph.constants.get(graph.makers[name].input[1]) for name in (names[1], names[3])]
    if [graph.shape(name) for name in names[:-1]] != steps:
        return None
    if any(a is None or a.tolist() != [2] for a in axes):
        return None
    return _in_first(graph, names[-1], _pool)


def repeated_pixels(graph, node):
    """Doubling, `layers.upscale`, and the gradient of halving: a Resize."""
    if node.op_type != "Reshape":
        return None
    small = _doubled_by_concat(graph, node.output[0]) or _doubled_by_tile(graph, node.output[0])
    return _in_first(graph, small, _resize) if small else None


def _doubled_by_concat(graph, name: str) -> str | None:
    """The image that `name` doubles, as `layers.upscale` does it; None where it is anything else."""
    names = graph.chain(name, "Reshape", "Concat", "Reshape", "Concat")
    if not names or not _is_image(graph, names[-1]):
        return None
    n, h, w, c = graph.shape(names[-1])
    steps = [(n, 2 * h, 2 * w, c), (n, h, 4 * w * c), (n, h, 2 * w * c), (n, h, w, 2 * c)]
    pairs = [list(graph.makers[name].input) for name in (names[1], names[3])]
    axes = [attributes(graph.makers[name])["axis"] for name in (names[1], names[3])]
    if [graph.shape(name) for name in names[:-1]] != steps or axes not in ([2, 3], [-1, -1]):
        return None
    return names[-1] if all(p == 2 * p[:1] for p in pairs) else None


def _doubled_by_tile(graph, name: str) -> str | None:
    """The image that `name` doubles, as the gradient of halving does it; None where it is anything else."""
    names = graph.chain(name, "Reshape", "Tile", "Reshape", "Tile", "Reshape")
    if not names or not _is_image(graph, names[-1]):
        return None
    n, h, w, c = graph.shape(names[-1])
    steps = [(n, 2 * h, 2 * w, c), (n, h, 2, 2 * w * c), (n, h, 1, 2 * w * c)]
    steps += [(n * h, w, 2, c), (n * h, w, 1, c)]
    return names[-1] if [graph.shape(name) for name in names[:-1]] == steps else None


def sum_of_pixels(graph, node):
    """The gradient of doubling: an AveragePool of four times the values."""
    columns = _sum_of_halves(graph, node)
    names = graph.chain(columns, "Reshape") if columns else None
    rows = _sum_of_halves(graph, graph.makers.get(names[-1])) if names else None
    names = graph.chain(rows, "Reshape") if rows else None
    if names is None or not _is_image(graph, names[-1]):
        return None
    n, height, width, c = graph.shape(names[-1])
    steps = [(n, height // 2, width // 2, 2 * c), (n, height // 2, 2 * width * c)]
    if [graph.shape(name) for name in (columns, rows)] != steps:
        return None
    return _in_first(graph, names[-1], lambda graph, x: _pool(graph, graph.add("Mul", x, np.float32(4))))


def _sum_of_halves(graph, node) -> str | None:
    """x where a node adds the two halves of x along its last axis."""
    if node is None or node.op_type not in ("Add", "Sum") or len(node.input) != 2:
        return None
    slices = [graph.maker(name, "Slice") for name in node.input]
    if None in slices or slices[0].input[0] != slices[1].input[0] or any(len(s.input) != 3 for s in slices):
        return None
    shape = graph.shape(slices[0].input[0])
    bounds = [[graph.constants.get(name) for name in s.input[1:]] for s in slices]
    if not shape or shape[-1] % 2 or any(b is None for pair in bounds for b in pair):
        return None
    begin, half = [0] * len(shape), shape[-1] // 2
    halves = [[begin, [*shape[:-1], half]], [[*begin[1:], half], [*shape]]]
    found = sorted([b.tolist() for b in pair] for pair in bounds)
    return slices[0].input[0] if found == halves else None


def _is_image(graph, name) -> bool:
    return len(graph.shape(name) or ()) == 4


def _in_first(graph, name, call):
    return graph.add("Transpose", call(graph, graph.add("Transpose", name, perm=TO_FIRST)), perm=TO_LAST)


def _pool(graph, x):
    return graph.add("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])


def _resize(graph, x):
    how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return graph.add("Resize", x, "", np.float32([1, 1, 2, 2]), **how)
