"""What is built from a configuration: its data and its model."""

import pathlib

from semi_anogan.errors import RunError
from semi_anogan.runs import checkpoint
from semi_anogan.runs.folder import CHECKPOINTS, CONFIG, load_config, searches

_SOURCE_FREE = (
    "name",
    "reviewed",
    "tile",
    "flips",
    "shift_px",
    "cache_megabytes",
)  # data keys that are not options of the source


def load_data(config):
    """(Dataset, Splits, ImageStore) of a config."""
    from semi_anogan.data import review
    from semi_anogan.data.batches import ImageStore
    from semi_anogan.data import catalog
    from semi_anogan.data.splits import split

    options = {k: v for k, v in config.data.to_dict().items() if k not in _SOURCE_FREE}
    dataset = catalog.load(config.data.name, config.model.channels, **options)
    store = ImageStore(
        dataset, config.model.resolution, config.data.tile, config.data.cache_megabytes, image_size(config)
    )
    splits = split(dataset, config.calibration.hold_out_share, config.seed)
    if config.data.reviewed:
        splits = review.apply(splits, review.read(config.data.reviewed), config.data.reviewed)
    return dataset, splits, store


def image_size(config) -> int:
    """Side of the images that the model of a config takes."""
    return max(config.model.resolution, config.features.resolution if config.features.name else 0)


def resolve(config, known: int, folder=None):
    """Fills in the settings that follow from the data: how much of the pretrained network is fine-tuned.

    known: number of known abnormal images to train with. With 10 of them fine-tuning overfits, with 128 it
      gains most. folder: of a run
    that may have begun, with what was then known: it goes on with that.
    """
    begun = folder is not None and config.data.reviewed and (pathlib.Path(folder) / CONFIG).exists()
    if begun and config.features.trainable_blocks is None:
        config.features.trainable_blocks = load_config(folder).features.trainable_blocks
    elif config.features.trainable_blocks is None:
        embedded = config.features.name == "efficientnet_lite0"
        config.features.trainable_blocks = (
            min(6, known // 16) if embedded and config.objective.alpha < 1 else 0
        )


def build_model(config):
    """An untrained SemiAnoGAN, not compiled."""
    import keras

    from semi_anogan.networks.model import SemiAnoGAN

    keras.utils.set_random_seed(config.seed)
    try:
        return SemiAnoGAN(
            **config.model,
            top_share=config.objective.top_share,
            features=config.features.to_dict(),
            encoder=config.search.init == "encoder" and searches(config.score.components),
            seed=config.seed,
        )
    except ValueError as error:
        raise RunError(f"bad setting: {error}") from error


def load_model(folder, config):
    """The SemiAnoGAN of a run folder's newest checkpoint; RunError where there is none."""
    model = build_model(config)
    if checkpoint.restore_latest(pathlib.Path(folder) / CHECKPOINTS, model) is None:
        raise RunError(f"{pathlib.Path(folder) / CHECKPOINTS}: holds no checkpoint")
    return model


def search_settings(config, **changes) -> dict:
    """The keyword arguments of LatentSearch that a config says, with changes."""
    return {
        **{k: v for k, v in config.search.items() if k not in ("batch_size", "init")},
        "seed": config.seed,
        **changes,
    }
