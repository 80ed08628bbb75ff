"""What test_jax.py needs of the JAX backend, in a process where TensorFlow cannot be imported.

python -m helpers.jax_worker FOLDER: reads FOLDER/given (checkpoint of TensorFlow) and FOLDER/inputs.npz;
writes FOLDER/run, a whole run, and FOLDER/results.npz. Its keys are:

- outputs/N: of the averaged networks of the given checkpoint;
- loss/NAME, step/NNNN: of one more step from it; bfloat16/NAME: losses of that step in bfloat16;
- augmented/N: images and masks;
- run_outputs/N: of the averaged networks of the run;
- fit/NAME, fit_change, fit_seed_change: of a `fit`.
"""

import os
import pathlib
import sys

os.environ["KERAS_BACKEND"] = "jax"


class Blocked:
    """Finder under which every import of TensorFlow fails."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] == "tensorflow":
            raise ImportError(f"{name} is blocked in this test")


sys.meta_path.insert(0, Blocked)

import keras  # noqa: E402
import numpy as np  # noqa: E402

from helpers.tiny_runs import AUGMENTED, augment_draws, averaged_outputs, tiny_config  # noqa: E402
from semi_anogan import train  # noqa: E402
from semi_anogan.backend import Trainer, make_strategy  # noqa: E402
from semi_anogan.config import AUGMENTATIONS  # noqa: E402
from semi_anogan.networks.augmentation import augment  # noqa: E402
from semi_anogan.runs import build, checkpoint  # noqa: E402
from semi_anogan.runs import folder as run_folder  # noqa: E402
from semi_anogan.training import loop as training  # noqa: E402


def load_and_step(folder, inputs, results):
    model = training.compiled_model(tiny_config())
    assert checkpoint.restore_latest(folder / "given", model) == {"step": 1}
    results |= {f"outputs/{i}": v for i, v in enumerate(averaged_outputs(model, inputs))}
    moved = augment(
        inputs["images"], augment_draws(inputs), AUGMENTATIONS, np.float32(inputs["images"] > 0.5)
    )
    results |= {f"augmented/{i}": np.asarray(v) for i, v in enumerate(moved)}
    trainer = Trainer(model, make_strategy("auto")[0])
    logs = trainer(inputs)
    trainer.sync()
    results |= {f"loss/{name}": np.asarray(value) for name, value in logs.items()}
    results |= {f"step/{index:04d}": np.asarray(v) for index, v in enumerate(model.variables)}
    model = training.compiled_model(tiny_config(model__precision="bfloat16"))
    checkpoint.restore_latest(folder / "given", model)
    logs = Trainer(model, make_strategy("auto")[0])(inputs)
    results |= {f"bfloat16/{name}": np.asarray(value) for name, value in logs.items()}


def whole_run(folder, inputs, results):
    # 40 images at 4 pixels, the others at 8.
    config = tiny_config(
        schedule__total_kimages=0.2, train__checkpoint_kimages=0.08, train__log_steps=5, **AUGMENTED
    )
    metrics = train.run(config, folder / "run")
    assert metrics == run_folder.read_json(folder / "run" / run_folder.METRICS)
    model = build.build_model(config)
    checkpoint.restore_latest(folder / "run" / run_folder.CHECKPOINTS, model)
    results |= {f"run_outputs/{i}": v for i, v in enumerate(averaged_outputs(model, inputs))}


def fit(results):
    config = tiny_config(model__resolution=4)
    model = training.compiled_model(config)
    before, seed = np.asarray(model.generator.enter.kernel), np.array(model.seed_generator.state)
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (32, 4, 4, 1)).astype(np.float32)
    history = model.fit(images, np.arange(32) % 4 == 0, batch_size=8, epochs=2, verbose=0).history
    results |= {f"fit/{name}": np.array(values) for name, values in history.items()}
    results["fit_seed_change"] = np.array(model.seed_generator.state) - seed
    results["fit_change"] = np.abs(np.asarray(model.generator.enter.kernel) - before).max()


def main(folder):
    assert keras.backend.backend() == "jax"
    with np.load(folder / "inputs.npz") as file:
        inputs = {name: file[name] for name in file.files}
    results = {}
    load_and_step(folder, inputs, results)
    whole_run(folder, inputs, results)
    fit(results)
    assert "tensorflow" not in sys.modules
    np.savez(folder / "results.npz", **results)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
