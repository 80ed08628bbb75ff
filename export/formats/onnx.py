"""ONNX: operators that TensorRT's parser takes, a file for each function, batch size and precision."""

import contextlib
import importlib.resources
import io
import logging
import pathlib

import numpy as np
import onnx
import onnxruntime
import tensorflow as tf

from semi_anogan.export import functions
from semi_anogan.export.onnx_rewrite.simplify import simplified

OPSET = 17
# Operators that do the bulk of the work, and so are worth doing in float16.
_PRODUCTS = ("Conv", "ConvTranspose", "MatMul", "Gemm")


def write(detector, batches, precisions, folder: pathlib.Path) -> list[dict]:
    """Writes FOLDER/NAME_bN[_float16].onnx; returns their entries for bundle.json.

    precisions: of "float32" and "float16". RuntimeError where a file has operators it must not have.
    """
    folder.mkdir(parents=True)
    entries = []
    for batch in batches:
        for name, function in functions.exported(detector, batch).items():
            model = convert(function, batch)
            for precision in precisions:
                path = folder / f"{name}_b{batch}{'' if precision == 'float32' else '_' + precision}.onnx"
                data = (model if precision == "float32" else with_float16(model)).SerializeToString()
                operators = check(data, path.name)
                path.write_bytes(data)
                entry = {"format": "onnx", "precision": precision, "function": name, "batch": batch}
                entry |= {"path": f"{folder.name}/{path.name}", **function.shapes(batch)}
                entries.append({**entry, "opset": OPSET, "operators": operators})
    return entries


def convert(function, batch: int) -> onnx.ModelProto:
    """One function for a batch size as an ONNX model in float32."""
    import tf2onnx

    specs = [tf.TensorSpec(s, tf.float32, n) for n, s in function.shapes(batch)["inputs"].items()]
    graph = tf.function(function.call, autograph=False)
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what `check` finds too
        model, _ = tf2onnx.convert.from_function(graph, input_signature=specs, opset=OPSET)
    return simplified(model)


def check(data: bytes, where: str) -> list[str]:
    """The operators of a serialized model.

    Raises: RuntimeError if it is not valid, cannot be loaded, or TensorRT would not take it.
    """
    model = onnx.load_from_string(data)
    operators = sorted({node.op_type for node in model.graph.node})
    foreign = sorted(
        {f"{node.domain}.{node.op_type}" for node in model.graph.node if node.domain not in ("", "ai.onnx")}
    )
    strange = sorted(set(operators) - tensorrt_operators())
    if foreign or strange:
        raise RuntimeError(
            f"{where}: has operators that TensorRT's parser does not take: {', '.join(foreign + strange)}"
        )
    try:
        onnx.checker.check_model(model, full_check=True)
        onnxruntime.InferenceSession(data, _quiet(), providers=["CPUExecutionProvider"])
    except Exception as error:
        raise RuntimeError(f"{where}: is not a valid ONNX model: {error}") from error
    return operators


def tensorrt_operators() -> set[str]:
    """The operators in tensorrt_operators.txt."""
    folder = importlib.resources.files("semi_anogan.export.formats")
    text = folder.joinpath("tensorrt_operators.txt").read_text()
    return {word for line in text.splitlines() if not line.startswith("#") for word in line.split()}


def with_float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose convolutions and matrix products are float16, weights included; the rest stays float32.

    Losses, Adam and the small differences that anomalies are need more than float16 has; the products are the
    time. The types stand in the file, as TensorRT 11 wants them; inputs and outputs are float32.
    """
    model = onnx.ModelProto.FromString(model.SerializeToString())
    graph = model.graph
    constants = _constants(graph)
    halves, nodes = {}, []  # name -> its float16 name

    def half(name: str) -> str:
        if name not in halves:
            halves[name] = f"{name}__float16"
            if name in constants:
                value = onnx.numpy_helper.to_array(constants[name]).astype(np.float16)
                graph.initializer.append(onnx.numpy_helper.from_array(value, halves[name]))
            else:
                nodes.append(_cast(name, halves[name], onnx.TensorProto.FLOAT16))
        return halves[name]

    for node in graph.node:
        if node.op_type in _PRODUCTS:
            inputs = [half(name) if name else name for name in node.input]
            output, product = node.output[0], f"{node.output[0]}__product"
            node.input[:], node.output[:] = inputs, [product]
            nodes += [node, _cast(product, output, onnx.TensorProto.FLOAT)]
        else:
            nodes.append(node)
    _replace(graph, nodes)
    return model


def _constants(graph) -> dict[str, onnx.TensorProto]:
    constants = {t.name: t for t in graph.initializer}
    return constants | {
        n.output[0]: n.attribute[0].t
        for n in graph.node
        if n.op_type == "Constant" and n.attribute[0].name == "value"
    }


def _cast(name: str, to: str, kind: int) -> onnx.NodeProto:
    return onnx.helper.make_node("Cast", [name], [to], to=kind)


def _replace(graph, nodes: list):
    """Gives a graph these nodes, without the constants that none of them reads."""
    used = {name for node in nodes for name in node.input}
    kept_nodes = [
        onnx.NodeProto.FromString(n.SerializeToString())
        for n in nodes
        if n.op_type != "Constant" or n.output[0] in used
    ]
    kept = [onnx.TensorProto.FromString(t.SerializeToString()) for t in graph.initializer if t.name in used]
    for field, values in ((graph.node, kept_nodes), (graph.initializer, kept)):
        del field[:]
        field.extend(values)
    del graph.value_info[:]  # said the types from before


def _quiet() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return options
