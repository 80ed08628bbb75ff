"""One train step and one fit on two logical CPU devices, in a process of its own.

Devices are set before TensorFlow starts. python distribution_worker.py OUTPUT.npz writes:

- before/NNNN: the variables before a step;
- single_a/NNNN, single_b/NNNN, mirrored/NNNN: after one step on half a, on half b, on both halves at once;
- mirrored_other/NNNN: the same of the second replica;
- loss/...: the returned losses;
- fit/...: the history of `fit`; fit_replicas, fit_replica_difference, fit_change.
"""

import sys

import keras
import numpy as np
import tensorflow as tf

from semi_anogan.backend import Trainer, make_strategy, set_deterministic
from semi_anogan.networks.model import SemiAnoGAN


def make_model(resolution):
    keras.utils.set_random_seed(0)
    model = SemiAnoGAN(resolution=resolution, latent_channels=8, filters_base=64, filters_cap=8)
    # Plain gradient descent: the update is linear in the gradients, which Adam's is not.
    objective = {"average_decay": 0.995, "synthetic_weight": 0.0, "trim_share": 0.0}
    model.compile(keras.optimizers.SGD(0.01), alpha=0.5, penalty_share=1.0, **objective)
    model.fade.assign(0.5)
    return model


def make_half(seed):
    rng = np.random.default_rng(seed)
    return {
        "images": rng.uniform(-1, 1, (6, 8, 8, 1)).astype(np.float32),
        "labels": np.float32([0, 0, 0, 0, 1, 1]),
        "latents": rng.uniform(-1, 1, (4, 8)).astype(np.float32),
        "mix": rng.random((4, 1, 1, 1), dtype=np.float32),
    }


def replicas(variable):
    return [np.asarray(v) for v in tf.distribute.get_strategy().experimental_local_results(variable.value)]


def step(name, strategy, batch, results):
    with strategy.scope():
        model = make_model(8)
        before = [np.asarray(v) for v in model.variables]
        logs = Trainer(model, strategy)(batch)
        values = [replicas(v) for v in model.variables]
    for index, (old, new) in enumerate(zip(before, values, strict=True)):
        results[f"before/{index:04d}"] = old
        results[f"{name}/{index:04d}"] = new[0]
        results[f"{name}_other/{index:04d}"] = new[-1]
    results |= {f"loss/{name}/{key}": np.asarray(value) for key, value in logs.items()}


def fit(strategy, results):
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (32, 4, 4, 1)).astype(np.float32)
    with strategy.scope():
        model = make_model(4)
        before = np.asarray(model.generator.enter.kernel)
    history = model.fit(
        images, (np.arange(32) % 4 == 0).astype(np.float32), batch_size=8, epochs=2, verbose=0
    ).history
    results |= {f"fit/{key}": np.array(values) for key, values in history.items()}
    with strategy.scope():
        values = [replicas(v) for v in model.variables]
    results["fit_replicas"] = np.array([len(v) for v in values])
    results["fit_replica_difference"] = max(np.abs(v[0] - v[-1]).max() for v in values)
    results["fit_change"] = np.abs(np.asarray(model.generator.enter.kernel) - before).max()


def main(output):
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    set_deterministic(0)
    results = {}
    halves = [make_half(1), make_half(2)]
    one, _, _ = make_strategy("one_device")
    step("single_a", one, halves[0], results)
    step("single_b", one, halves[1], results)
    mirrored, index, count = make_strategy("mirrored")
    assert (mirrored.num_replicas_in_sync, index, count) == (2, 0, 1)
    # Replica i gets every second example from the i-th on.
    both = {}
    for name, a in halves[0].items():
        both[name] = np.stack([a, halves[1][name]], axis=1).reshape(-1, *a.shape[1:])
    step("mirrored", mirrored, both, results)
    fit(mirrored, results)
    np.savez(output, **results)


if __name__ == "__main__":
    main(sys.argv[1])
