"""The order of updates and reads of a variable in a training step, after TensorFlow's graph optimizers."""

import collections

import keras
import pytest

from helpers.tiny_runs import tiny_config

pytestmark = pytest.mark.slow

if keras.backend.backend() != "tensorflow":
    pytest.skip("the graphs are TensorFlow's", allow_module_level=True)

UPDATES = ("AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp")


def optimized_graph(trainer, batch):
    """The GraphDef that TensorFlow runs for one step."""
    from tensorflow.python.eager import context

    context.enable_run_metadata()
    try:
        trainer(batch)
        graphs = context.export_run_metadata().function_graphs
    finally:
        context.disable_run_metadata()
    return max(
        (g.post_optimization_graph for g in graphs), key=lambda graph: len(graph.node)
    )  # others are of single operations


def unordered(graph):
    """(pairs of an update and an access of one variable, neither of which waits for the other; updates)."""
    nodes = {node.name: node for node in graph.node}
    inputs = {name: [i.lstrip("^").split(":")[0] for i in node.input] for name, node in nodes.items()}
    before = {}  # name -> itself and all it waits for, as bits

    def waits_for(name):
        todo = [name]
        while todo:
            top = todo[-1]
            missing = [i for i in inputs[top] if i not in before]
            if missing:
                todo += missing
                continue
            bits = 1 << len(before)
            for i in inputs[top]:
                bits |= before[i][1]
            before.setdefault(top, (len(before), bits))
            todo.pop()
        return before[name]

    accesses = collections.defaultdict(list)
    for name, node in nodes.items():
        if node.op in (*UPDATES, "ReadVariableOp"):
            handle = inputs[name][0]
            while nodes[handle].op == "Identity":
                handle = inputs[handle][0]
            accesses[handle].append(name)
    pairs, updates = [], 0
    for names in accesses.values():
        for update in (n for n in names if nodes[n].op in UPDATES):
            updates += 1
            own_index, own_bits = waits_for(update)
            for other in names:
                index, bits = waits_for(other)
                if other != update and not (own_bits >> index) & 1 and not (bits >> own_index) & 1:
                    pairs.append((update, other))
    return pairs, updates


@pytest.mark.parametrize("features", ["", "efficientnet_lite0"])
def test_no_update_races_with_a_read(tmp_path, features):
    """Such a race made one run in some twenty differ: the penalty read biases before or after Adam's step."""
    from semi_anogan.runs import build
    from semi_anogan.training.loop import Training

    config = tiny_config(features__name=features, features__resolution=32)
    splits, store = build.load_data(config)[1:]
    build.resolve(config, len(splits.abnormal))
    training = Training(config, tmp_path, splits, store)
    stages = [(4, "gan"), (8, "gan"), *([(8, "patch_discriminator")] if features else [])]
    for resolution, trains in stages:
        training.model.grow(resolution, trains)
        pairs, updates = unordered(optimized_graph(training.trainer, training.batches.batch(0, 8, 0)))
        assert not pairs
        model = training.model
        trained = model.patch_discriminator if trains == "patch_discriminator" else model.generator
        assert updates > 3 * len(trained.trainable_variables)  # two moments, the weight and its average each


def test_an_unordered_read_is_found():
    import tensorflow as tf

    def step(ordered):
        with tf.Graph().as_default() as graph:
            handle = tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=())
            read = tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.float32)
            with tf.control_dependencies([read] if ordered else []):
                tf.raw_ops.AssignSubVariableOp(resource=handle, value=tf.constant(1.0))
        return unordered(graph.as_graph_def())

    assert step(True) == ([], 1)
    assert step(False) == ([("AssignSubVariableOp", "ReadVariableOp")], 1)
