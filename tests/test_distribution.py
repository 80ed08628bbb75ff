"""Training on several devices and by several processes, on CPU devices."""

import json
import socket
import subprocess
import sys

import numpy as np
import pytest

from helpers.processes import ONE_THREAD, ROOT, finish, start
from helpers.tiny_runs import newest_checkpoint, train_command
from semi_anogan.runs import folder as run_folder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What distribution_worker.py computes."""
    output = tmp_path_factory.mktemp("mirrored") / "results.npz"
    command = [sys.executable, str(ROOT / "tests/helpers/distribution_worker.py"), str(output)]
    done = subprocess.run(command, env=ONE_THREAD, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    with np.load(output) as file:
        return {name: file[name] for name in file.files}


def variables(results, name) -> list[np.ndarray]:
    return [results[key] for key in sorted(results) if key.startswith(f"{name}/")]


def test_two_replicas_make_the_mean_of_two_single_steps(results):
    """Every loss term is a mean over the replica's own examples, as is the minibatch statistic.

    So with gradient descent the step on both halves is the mean of the steps on each; this holds for weights,
    moving averages and the running statistic.
    """
    parts = [
        variables(results, name) for name in ("before", "single_a", "single_b", "mirrored", "mirrored_other")
    ]
    moved = 0
    for before, a, b, mirrored, other in zip(*parts, strict=True):
        np.testing.assert_allclose(mirrored, (a.astype(np.float64) + b) / 2, atol=1e-6, rtol=1e-5)
        np.testing.assert_array_equal(mirrored, other)
        moved += np.abs(a - b).max() > 1e-5 and np.abs(a - before).max() > 1e-5
    assert moved > 20  # the halves ask for different steps


def test_losses_are_means_over_the_replicas(results):
    names = [key.removeprefix("loss/mirrored/") for key in results if key.startswith("loss/mirrored/")]
    assert {"discriminator_loss", "generator_loss", "penalty", "abnormal_logit"} <= set(names)
    for name in names:
        a, b, both = (results[f"loss/{which}/{name}"] for which in ("single_a", "single_b", "mirrored"))
        np.testing.assert_allclose(both, (a + b) / 2, atol=1e-5, rtol=1e-5)


def test_fit_on_two_replicas(results):
    for name in ("discriminator_loss", "generator_loss"):
        assert results[f"fit/{name}"].shape == (2,) and np.isfinite(results[f"fit/{name}"]).all()
        assert (results[f"fit/{name}"] != 0).all()
    assert results["fit_replicas"].max() == 2
    assert results["fit_replica_difference"] == 0 and results["fit_change"] > 1e-4


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def test_two_processes_train_one_run(tmp_path):
    """The command twice, told apart by TF_CONFIG only: both keep the same weights, one writes the run."""
    folder = tmp_path / "run"
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    changes = {
        "train.distribution": "multi_worker",
        "schedule.total_kimages": 0.2,
        "train.checkpoint_kimages": 0.08,
        "schedule.start_resolution": 8,
    }
    processes = []
    for index in range(2):
        program = (str(ROOT / "tests/helpers/worker_weights.py"), str(tmp_path / f"weights_{index}.npz"))
        environment = {
            "TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        }
        processes.append(
            start(train_command(folder, changes, program), tmp_path / f"{index}.log", **environment)
        )
    codes = [finish(p) for p in processes]
    logs = [(tmp_path / f"{index}.log").read_text() for index in range(2)]
    assert codes == [0, 0], "\n".join(logs)

    kept = []
    for index in range(2):
        with np.load(tmp_path / f"weights_{index}.npz") as file:
            assert (file["worker"], file["workers"]) == (index, 2)
            kept.append([file[name] for name in file.files if name.startswith("arr_")])
    for a, b in zip(*kept, strict=True):
        np.testing.assert_array_equal(a, b)
    saved = newest_checkpoint(folder)
    for index, value in enumerate(kept[0]):
        np.testing.assert_array_equal(saved[f"model/{index:04d}"], value)
    progress = json.loads(saved["progress"].tobytes())
    assert progress["images_seen"] == 200 and progress["step"] == 25
    assert np.isfinite(list(progress["history"].values())).all()

    assert "report: " in logs[0] and "report: " not in logs[1]
    assert {int(path.name.rsplit(".", 1)[1]) for path in folder.glob("events/*")} == {processes[0].pid}
    assert 0 <= run_folder.read_json(folder / "metrics.json")["image_auroc"] <= 1
