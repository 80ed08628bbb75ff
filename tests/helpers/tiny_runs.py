"""The smallest run there is, as a config, a command and a process, for the tests of whole trainings."""

import os
import pathlib
import subprocess
import sys

import numpy as np

ROOT = pathlib.Path(__file__).parent.parent.parent
TINY = {
    "model.resolution": 8,
    "model.filters_base": 64,
    "model.filters_cap": 8,
    "model.latent_size": 8,
    "schedule.start_resolution": 4,
    "schedule.batch_size": 8,
    "schedule.total_kimages": 1.2,
    "train.checkpoint_kimages": 0.08,
    "search.iterations": 2,
    "search.candidates": 16,
    "score.batch_size": 10,
}
# One thread, so that sums are taken in the same order in each run; nothing inherited that changes the run.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
ENVIRONMENT = {**os.environ, **ONE_THREAD, "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
ENVIRONMENT.pop("TF_CONFIG", None)
AUGMENTED = {"objective__augment": "color,translation,cutout"}  # for tiny_config


def tiny_config(**changes):
    """configs/smoke.py with TINY and further changes: keys whose dot is written as __."""
    from semi_anogan.configs.smoke import get_config

    config = get_config()
    config.update_from_flattened_dict({**TINY, **{k.replace("__", "."): v for k, v in changes.items()}})
    return config


def train_command(workdir, changes=(), program=("-m", "semi_anogan.train")) -> list[str]:
    """python -m semi_anogan.train --config=configs/smoke.py with TINY and `changes`, which come last."""
    values = {**TINY, **dict(changes)}
    overrides = [f"--config.{key}={value}" for key, value in values.items()]
    return [
        sys.executable,
        *program,
        f"--config={ROOT / 'configs/smoke.py'}",
        *overrides,
        f"--workdir={workdir}",
    ]


def start(command, log, **environment) -> subprocess.Popen:
    """Starts a command whose output, both streams, is appended to the file `log`."""
    with open(log, "ab") as file:
        return subprocess.Popen(
            command, stdout=file, stderr=file, env={**ENVIRONMENT, **environment}, cwd=ROOT
        )


def finish(process: subprocess.Popen, timeout_s: float = 300) -> int:
    """Waits for a process, which is killed when it takes too long; its exit code."""
    try:
        return process.wait(timeout_s)
    finally:
        process.kill()


def steps_done(folder) -> int:
    """Step of the newest checkpoint file; -1 where there is none."""
    return max(
        (int(p.stem.split("_")[1]) for p in pathlib.Path(folder).glob("checkpoints/step_*.npz")), default=-1
    )


def newest_checkpoint(folder) -> dict[str, np.ndarray]:
    """The arrays of the newest checkpoint, `progress` (JSON as bytes) among them."""
    with np.load(max(pathlib.Path(folder).glob("checkpoints/step_*.npz")), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def augment_draws(inputs) -> np.ndarray:
    """Draws of the differentiable augmentation for inputs["images"]."""
    return np.random.default_rng(0).random((len(inputs["images"]), 7), dtype=np.float32)


def averaged_outputs(model, inputs) -> list[np.ndarray]:
    """Images, logits, features and evidence of the averaged networks, for the inputs' latents and images."""
    from semi_anogan.backend import compile_function

    def outputs(latents, images):
        logits, features, evidence = model.discriminator_average(images)
        return model.generator_average(latents), logits, *features, *evidence

    return [np.asarray(v) for v in compile_function(outputs, model)(inputs["latents"], inputs["images"])]
