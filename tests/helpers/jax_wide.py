"""A wide model's losses and components, for a comparison of the backends.

python -m helpers.jax_wide FILE writes them as FILE (.npz), with the backend that KERAS_BACKEND names.
"""

import sys

import numpy as np

from helpers.trained import tiny_model


def computed() -> dict[str, np.ndarray]:
    """name -> array, of a training step and of a detector without the search."""
    from semi_anogan.backend import Trainer, make_strategy
    from semi_anogan.config import AUGMENTATIONS
    from semi_anogan.networks.augmentation import augment
    from semi_anogan.scoring.detector import Detector

    model = tiny_model(aspect=2.5)
    rng = np.random.default_rng(0)
    for variable in model.variables:  # the same under each backend
        if variable.dtype == "float32" and variable.ndim > 1:
            variable.assign(rng.standard_normal(variable.shape).astype(np.float32))
    # What is cut out is 0, where rounding decides the slope of a leaky ReLU.
    model.compile(augment="color")
    masks = np.zeros((6, 8, 20, 1), np.float32)
    masks[:, 2:5, 13:18] = 1
    batch = {
        "images": rng.uniform(-1, 1, (6, 8, 20, 1)).astype(np.float32),
        "labels": np.float32([0, 0, 0, 0, 1, 2]),
        "masks": masks,
        "latents": rng.standard_normal((4, 8), dtype=np.float32),
        "mix": rng.random((4, 1, 1, 1), dtype=np.float32),
        "augment": rng.random((6, 7), dtype=np.float32),
        "augment_generated": rng.random((4, 7), dtype=np.float32),
    }
    detector = Detector(model, components=("discriminator",), batch_size=6)
    measured = list(detector.measure(batch["images"]))
    found = {
        "components": np.stack([m.components for m in measured]),
        "layers": np.stack([m.layers for m in measured]),
    }
    moved = augment(batch["images"], batch["augment"], AUGMENTATIONS, masks)
    found |= {f"augmented/{i}": np.asarray(value) for i, value in enumerate(moved)}
    trainer = Trainer(model, make_strategy("one_device")[0])
    return found | {f"loss/{name}": np.asarray(value) for name, value in trainer(batch).items()}


if __name__ == "__main__":
    np.savez(sys.argv[1], **computed())
