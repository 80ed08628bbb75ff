"""An ONNX graph whose nodes are replaced by rules."""

import collections

import numpy as np
import onnx
from onnx import helper, numpy_helper


class Graph:
    """A copy of a model of static shapes.

    A rule is a function of (graph, node) that gives None, or the name of a value that the node's only output
    is to be replaced by, made with `add`. What nothing reads any more is removed, so a rule may match nodes
    that others read too.

    Attributes:
      model.
      constants: name -> array.
      makers, readers: name -> the node that makes it, those that read it.
      outputs: names of the model's outputs.
      floats: names of float32 values.
    """

    def __init__(self, model: onnx.ModelProto):
        self.model = onnx.ModelProto.FromString(model.SerializeToString())
        self.constants = {t.name: numpy_helper.to_array(t) for t in self.model.graph.initializer}
        for node in self.model.graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        self.outputs = {o.name for o in self.model.graph.output}
        self._names, self._added = set(self.constants), []
        self._index()

    def apply(self, *rules, once: bool = False):
        """The first rule that fits, at every node in order, until none fits any more.

        once: goes through the nodes once only.
        """
        changed = True
        while changed:
            changed, nodes, renamed = False, [], {}
            for node in list(self.model.graph.node):
                node.input[:] = [renamed.get(name, name) for name in node.input]
                if any(self._applied(rule, node, renamed) for rule in rules):
                    nodes.extend(self._added)
                    changed = True
                else:
                    nodes.append(node)
            self._replace(nodes)
            changed = changed and not once

    def _applied(self, rule, node, renamed: dict[str, str]) -> bool:
        """Whether a rule replaces a node: by the nodes in _added, or by a value that is there (`renamed`)."""
        self._added = []
        value = rule(self, node)
        if value is None:
            return False
        output = node.output[0]
        if self._added and self._added[-1].output[0] == value:
            self._added[-1].output[0] = output
            self.makers[output] = self._added[-1]
        elif output in self.outputs:  # must keep its name
            return False
        else:
            renamed[output] = value
        return True

    def add(self, operator: str, *inputs, **attributes) -> str:
        """Another node, for the rule that runs; returns the name of its output.

        inputs: names, or arrays that become constants.
        """
        name = self._unique(operator)
        names = [i if isinstance(i, str) else self.constant(i) for i in inputs]
        self._added.append(helper.make_node(operator, names, [name], name, **attributes))
        self.makers[name] = self._added[-1]
        self._read(self._added[-1])
        return name

    def constant(self, value) -> str:
        name = self._unique("constant")
        self.constants[name] = np.asarray(value)
        return name

    def scalar(self, name: str) -> float | None:
        """The value of a constant of one value."""
        value = self.constants.get(name)
        return float(value.reshape(())) if value is not None and value.size == 1 else None

    def scaled(self, node) -> tuple[float | None, str]:
        """(c, x) where a node is c * x in float32 with a constant number c, else (None, "")."""
        if node is None or node.output[0] not in self.floats:
            return None, ""
        if node.op_type == "Neg":
            return -1.0, node.input[0]
        if node.op_type == "Mul":
            shape = self.shape(node.output[0])
            for c, x in (node.input, node.input[::-1]):
                is_factor = self.scalar(c) is not None and x not in self.constants
                if is_factor and shape is not None and self.shape(x) == shape:
                    return self.scalar(c), x
        return None, ""

    def maker(self, name: str, *operators):
        """The node that makes a value, if it is one of these operators."""
        node = self.makers.get(name)
        return node if node is not None and node.op_type in operators else None

    def chain(self, name: str, *operators) -> list[str] | None:
        """[name, first input of its maker, first input of that one's maker, ...].

        None where the makers are not these operators.
        """
        names = [name]
        for operator in operators:
            node = self.maker(names[-1], operator)
            if node is None:
                return None
            names.append(node.input[0])
        return names

    def shape(self, name: str) -> tuple | None:
        return self.constants[name].shape if name in self.constants else self._shapes.get(name)

    def alone(self, name: str) -> bool:
        """Whether one node reads it, and nothing outside."""
        return len(self.readers[name]) == 1 and name not in self.outputs

    def _unique(self, stem: str) -> str:
        numbers = range(len(self._names), len(self._names) * 2 + 2)
        name = next(n for i in numbers if (n := f"{stem}__{i}") not in self._names)
        self._names.add(name)
        return name

    def _read(self, node):
        for name in node.input:
            self.readers[name].append(node)

    def _replace(self, nodes):
        """With these nodes, less those that no output depends on."""
        needed, kept = set(self.outputs), []
        for node in reversed(nodes):
            if needed & set(node.output):
                needed |= set(node.input)
                if node.op_type != "Constant" or node.output[0] not in self.constants:
                    kept.append(onnx.NodeProto.FromString(node.SerializeToString()))
        graph = self.model.graph
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(reversed(kept))
        graph.initializer.extend(
            numpy_helper.from_array(v, name) for name, v in self.constants.items() if name in needed
        )
        self.constants = {name: v for name, v in self.constants.items() if name in needed}
        self._index()

    def _index(self):
        graph = self.model.graph
        self.makers = {o: n for n in graph.node for o in n.output}
        self.readers = collections.defaultdict(list)
        for node in graph.node:
            self._read(node)
        self._names |= set(self.makers) | {v.name for v in (*graph.input, *graph.node)}
        inferred = onnx.shape_inference.infer_shapes(self.model, data_prop=True).graph
        values = [*inferred.value_info, *inferred.input, *inferred.output]
        sizes = {
            v.name: [d.dim_value if d.HasField("dim_value") else -1 for d in v.type.tensor_type.shape.dim]
            for v in values
        }
        self.floats = {v.name for v in values if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
        self._shapes = {name: tuple(shape) for name, shape in sizes.items() if -1 not in shape}


def attributes(node) -> dict:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}
