"""The smallest run there is, as a config and as a command, and what such a run has made."""

import pathlib
import sys

import numpy as np

from helpers.processes import ROOT

TINY = {
    "model.resolution": 8,
    "model.filters_base": 64,
    "model.filters_cap": 8,
    "model.latent_channels": 8,
    "schedule.start_resolution": 4,
    "schedule.batch_size": 8,
    "schedule.total_kimages": 1.2,
    "train.checkpoint_kimages": 0.08,
    "search.iterations": 2,
    "search.candidates": 16,
    "score.batch_size": 10,
}
AUGMENTED = {"objective__augment": "color,translation,cutout"}  # for tiny_config


def tiny_config(**changes):
    """configs/smoke.py with TINY and further changes: model__resolution=4 sets model.resolution."""
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
    """Images, logits, features and evidence of the averaged networks.

    The images are for inputs["latents"], the rest is for inputs["images"].
    """
    from semi_anogan.backend import compile_function

    def outputs(latents, images):
        logits, features, evidence = model.discriminator_average(images)
        return model.generator_average(latents), logits, *features, *evidence

    return [np.asarray(v) for v in compile_function(outputs, model)(inputs["latents"], inputs["images"])]
