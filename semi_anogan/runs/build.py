"""What is built from a configuration: its data and its model."""

import dataclasses
import pathlib

from semi_anogan.data import record
from semi_anogan.data.splits import apply_labels, split
from semi_anogan.errors import RunError
from semi_anogan.runs import aspect, checkpoint, depth, files_csv
from semi_anogan.runs import folder as run_folder
from semi_anogan.runs.folder import CHECKPOINTS


def load_data(config, folder=None):
    """(Dataset, Splits, ImageStore) of a config, which runs.aspect and runs.depth resolve.

    folder: of a run that may have begun: what it found in its data stays so, and is not looked for again;
      and its images keep the use that files.csv records.
    """
    dataset, store = load_dataset(config, folder)
    rows = recorded_rows(dataset, folder) if folder is not None else None
    splits = draw(config, dataset) if rows is None else record.recorded(dataset, rows)
    return dataset, labelled(dataset, splits), store


def load_dataset(config, folder=None):
    """(Dataset, ImageStore) of a config, as in `load_data`."""
    from semi_anogan.data import catalog, ignore

    dataset = catalog.load(channels=config.model.channels, **config.data)
    if folder is not None:
        run_folder.inherit(config, folder)
    if dataset.ignore is not None:
        config.data.ignore_digest = ignore.digest_of(dataset.ignore)
    dataset = ignore.without_hidden(depth.resolve(config, dataset))
    aspect.resolve(config, dataset)
    return dataset, image_store(config, dataset)


def recorded_rows(dataset, folder) -> list[record.Row] | None:
    """The record of a run's files; None without one, or where its images are no files."""
    return files_csv.read(pathlib.Path(folder) / run_folder.FILES) if dataset.files is not None else None


def draw(config, dataset):
    """The Splits of a run that begins, with the labels of the source."""
    unlabelled = dataclasses.replace(dataset, labels={}, labels_file="")
    return split(unlabelled, config.calibration.hold_out_share, config.seed)


def labelled(dataset, splits):
    """The splits with the labels that a person gave, if any."""
    return apply_labels(splits, dataset.labels, dataset.labels_file) if dataset.labels_file else splits


def image_store(config, dataset, image_size: int | None = None, **changes):
    """The ImageStore of a config that runs.aspect has resolved.

    image_size: short side of its images; None: of those that the model takes; changes: of the section
      `images`.
    """
    from semi_anogan.data.batches import ImageStore

    return ImageStore(
        dataset,
        config.model.resolution,
        image_size=image_size or aspect.features_side(config),
        aspect=config.model.aspect,
        view_size=aspect.view_side(config),
        **{**config.images, **changes},
    )


def resolve(config, known: int, folder=None):
    """Fills in the settings that follow from the data: how much of the pretrained network is fine-tuned.

    known: number of known abnormal images to train with. With 10 of them fine-tuning overfits, with 128 it
      gains most.
    folder: of a run that may have begun, with what was then known: it goes on with that.
    """
    if config.features.trainable_blocks is not None:
        return
    if folder is not None:
        run_folder.inherit(config, folder)
    if config.features.trainable_blocks is not None:
        return
    embedded = config.features.name == "efficientnet_lite0"
    config.features.trainable_blocks = min(6, known // 16) if embedded and config.objective.alpha < 1 else 0


def build_model(config):
    """An untrained SemiAnoGAN, not compiled; RunError for settings that do not fit together."""
    import keras

    from semi_anogan.networks.model import SemiAnoGAN

    keras.utils.set_random_seed(config.seed)
    try:
        return SemiAnoGAN(**config.model, features=config.features.to_dict(), seed=config.seed)
    except ValueError as error:
        raise RunError(f"bad setting: {error}") from error


def load_model(folder, config, step: int | None = None):
    """The SemiAnoGAN of a run folder's checkpoint of a step, or of its newest.

    Raises: RunError where there is none; CheckpointError where that of the step is missing or damaged: what
      was fitted to it would be wrong for another.
    """
    model = build_model(config)
    if step is not None and checkpoint.steps(pathlib.Path(folder) / CHECKPOINTS):
        checkpoint.restore_step(pathlib.Path(folder) / CHECKPOINTS, step, model)
        return model
    if checkpoint.restore_latest(pathlib.Path(folder) / CHECKPOINTS, model) is None:
        raise RunError(f"{pathlib.Path(folder) / CHECKPOINTS}: holds no checkpoint")
    return model


def search_settings(config, **changes) -> dict:
    """The keyword arguments of LatentSearch.of_model that a config says, with changes."""
    return {**config.search, "seed": config.seed, **changes}
