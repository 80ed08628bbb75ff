"""Noise images of which some have a bright stripe: a training that does not know its defects."""

import numpy as np

from semi_anogan.config import default_config
from semi_anogan.data.dataset import Dataset, Example
from semi_anogan.data.splits import Splits

HIDDEN = (5, 33, 60, 90)  # numbers of the 96 "normal" training images that have a stripe
SETTINGS = {
    "model.resolution": 16,
    "model.filters_base": 64,
    "model.filters_cap": 8,
    "model.latent_channels": 8,
    "features.resolution": 64,
    "features.trainable_blocks": 0,
    "parts.memory": 200,
    "score.batch_size": 8,
    "score.components": "discriminator,patches,memory,likeness",  # without the search, which is slow
}


def example(name, **kwargs) -> Example:
    """A training image, normal unless another label is given."""
    return Example(name, "train", kwargs.pop("label", "normal"), **kwargs)


def read_image(e: Example) -> np.ndarray:
    """Noise that follows from the number in the path, with a stripe where the image is no normal one."""
    number = int(e.path.split("/")[1])
    image = 0.2 * np.random.default_rng(number).standard_normal((64, 64, 1)).astype(np.float32)
    if e.mislabelled or e.abnormal:
        image[24:34, 8:56] = 0.9
    return np.clip(image, -1, 1)


def striped(image) -> bool:
    """Whether an image has the stripe."""
    return image[24:34, 8:56].mean() > 0.8


def of_known(count: int) -> list[Example]:
    """Known abnormal images, each with a stripe."""
    return [example(f"known/{2000 + i}", label="abnormal") for i in range(count)]


def make() -> tuple:
    """(config, model that is not trained, Dataset, Splits with 96 images to train and 24 held out).

    The stripe is where the pretrained features see it at any brightness; the model knows nothing.
    """
    from semi_anogan.runs import build

    config = default_config()
    config.update_from_flattened_dict(SETTINGS)
    examples = [example(f"train/{i}", mislabelled=i in HIDDEN) for i in range(120)]
    splits = Splits(examples[:96], [], examples[96:], [], [])
    return config, build.build_model(config), Dataset("strange", tuple(examples), read_image), splits
