"""The training loop: schedule, batches, train_step, checkpoints, and going back once when it diverges.

Resume is exact because a step depends on nothing but the checkpoint's variables and two numbers, images seen
and attempt: batches, augmentation and latents are pure functions of those and of the seed (see
data/batches.py).
"""

import contextlib
import dataclasses
import pathlib
import signal
import time

import numpy as np

from semi_anogan.backend import Trainer, make_strategy, set_deterministic
from semi_anogan.config import words
from semi_anogan.data.batches import Batches
from semi_anogan.data.synthetic import training_kinds
from semi_anogan.errors import RunError
from semi_anogan.networks.augmentation import DRAWS
from semi_anogan.networks.schedule import Schedule, Stage
from semi_anogan.runs import build, checkpoint
from semi_anogan.runs import folder as run_folder
from semi_anogan.training.feature_cache import FeatureCache
from semi_anogan.training.monitor import Monitor


def make_schedule(config, first: int = 4) -> Schedule:
    """The schedule of a configuration; a model without a patch discriminator trains none.

    first: the first resolution of the generator, which a large grid of latents raises.
    """
    schedule = Schedule(config.model.resolution, aspect=config.model.aspect, **config.schedule)
    start = max(schedule.start_resolution, first)
    schedule = dataclasses.replace(schedule, start_resolution=start)
    if config.features.name and config.features.patch_discriminator:
        return schedule
    return dataclasses.replace(schedule, patch_kimages=0.0)


def compiled_model(config):
    """An untrained SemiAnoGAN with the config's objective and Keras' Adam as in Karras et al. 2017."""
    import keras

    model = build.build_model(config)
    optimizer = keras.optimizers.Adam(config.schedule.learning_rate, beta_1=0.0, beta_2=0.99)
    model.compile(optimizer, **config.objective)
    return model


def make_batches(config, splits, store, latent_size: int) -> Batches:
    """The batches of a configuration's training."""
    synthetic = config.objective.synthetic_weight > 0
    # With alpha 1 the known abnormal images count for nothing: do not spend time on them.
    abnormal = splits.abnormal if config.objective.alpha < 1 else []
    settings = config.batches.to_dict()
    settings["synthetic_share"] *= synthetic
    settings["synthetic_kinds"] = training_kinds(words(config.batches.synthetic_kinds))
    settings["masks"] &= bool(abnormal) or synthetic
    return Batches(
        store,
        splits.normal,
        abnormal,
        latent_size,
        seed=config.seed,
        augment_draws=DRAWS if config.objective.augment else 0,
        **settings,
    )


class Training:
    """One run's training, from wherever its newest checkpoint left off.

    Args: config; folder: the run folder, locked by the caller; splits, store: as build.load_data gives; say:
      told what happens.
    """

    def __init__(self, config, folder, splits, store, say=print):
        set_deterministic(config.seed)
        self.config, self.say = config, say
        self.checkpoints = pathlib.Path(folder) / run_folder.CHECKPOINTS
        try:
            self.strategy, self.worker, self.workers = make_strategy(config.train.distribution)
            with self.strategy.scope():
                self.model = compiled_model(config)
            self.schedule = make_schedule(config, self.model.generator.first)
            self.batches = make_batches(config, splits, store, self.model.latent_size)
        except ValueError as error:
            raise RunError(f"bad setting: {error}") from error
        self.trainer = Trainer(self.model, self.strategy)
        self.features = None
        if self.model.feature_generator is not None and config.objective.reconstruction_weight:
            # Crops and shifted images hardly ever come again: kept features would only fill the memory.
            again = not (config.images.tile or config.batches.shift_px)
            self.features = FeatureCache(self.model, config.images.cache_megabytes if again else 0)
        self.progress = checkpoint.restore_latest(self.checkpoints, self.model)
        if self.progress is None:
            self.progress = {"step": 0, "images_seen": 0, "attempt": 0, "seconds": 0.0, "history": {}}
            self.save()  # so that there always is one to go back to
        elif self.progress["images_seen"] >= self.schedule.total_images:
            say("trained already; going on with the detector")
        elif self.progress["images_seen"]:
            say(f"going on at {self.progress['images_seen']} of {self.schedule.total_images} images")
        self.monitor = Monitor(folder, self.schedule.total_images, self.progress, self.worker == 0)

    def run(self):
        """Trains to the end of the schedule and returns the model.

        Raises: RunError when it diverges a second time; KeyboardInterrupt, after saving, on SIGINT or
          SIGTERM; CheckpointError when a checkpoint cannot be written.
        """
        progress, config = self.progress, self.config.train
        with self.monitor, _asked_to_stop() as stop:
            while progress["images_seen"] < self.schedule.total_images and not stop:
                started = time.monotonic()
                stage = self.schedule.stage(progress["images_seen"])
                logs = self.step(stage)
                saving = stop or self._checkpoint_due(stage)
                if saving or progress["step"] % config.log_steps == 0:
                    logs = {name: float(value) for name, value in logs.items()}
                    trouble = self._trouble(logs, saving)
                    if trouble:
                        self.go_back(trouble)
                        continue
                    self.monitor.log(logs, stage)
                progress["seconds"] += time.monotonic() - started
                self.monitor.advance(progress)
                if saving:
                    self.save()
                    self.monitor.samples(self.model, stage)
        if stop:
            self.say(f"stopped at {progress['images_seen']} images; the same command goes on from there")
            raise KeyboardInterrupt
        return self.model

    def step(self, stage: Stage) -> dict:
        """One training step; returns the losses, not yet computed perhaps."""
        progress = self.progress
        if (stage.resolution, stage.trains) != (self.model.stage_resolution, self.model.trains):
            self.trainer.sync()
            self.model.grow(stage.resolution, stage.trains)
        self.model.fade.assign(stage.fade)
        self.model.optimizer.learning_rate.assign(stage.learning_rate * 0.5 ** progress["attempt"])
        batch = self.batches.batch(progress["images_seen"], stage.batch_size, progress["attempt"])
        batch = {name: value[self.worker :: self.workers] for name, value in batch.items()}
        if self.features is not None and stage.trains == "gan":
            # Synthetic images, the last ones, are judged only: each is new, and its features would cost most.
            batch |= self.features(batch["images"][batch["labels"] < 1.5])
        logs = self.trainer(batch)
        progress["images_seen"] += stage.batch_size
        progress["step"] += 1
        return logs

    def save(self):
        self.trainer.sync()
        if self.worker == 0:
            checkpoint.save(self.checkpoints, self.model, self.progress)

    def _trouble(self, logs: dict, saving: bool) -> str:
        """What has diverged; empty if nothing has.

        Losses are from before the step's update: a checkpoint needs more.
        """
        most = self.config.train.divergence_loss
        bad = [f"{k} {v:g}" for k, v in logs.items() if not abs(v) < most]  # NaN compares false
        if saving and not bad:
            self.trainer.sync()
            if not all(np.isfinite(np.asarray(v)).all() for v in self.model.variables):
                bad = ["weights that are not finite"]
        return ", ".join(bad)

    def go_back(self, trouble: str):
        """Returns to the last checkpoint, with half the learning rate; RunError the second time."""
        what = f"diverged at {self.progress['images_seen']} images: {trouble}"
        if self.progress["attempt"]:
            raise RunError(
                f"{self.checkpoints.parent}: {what}, for the second time; try a lower schedule.learning_rate"
            )
        self.trainer.sync()
        self.progress.update(checkpoint.restore_latest(self.checkpoints, self.model), attempt=1)
        self.monitor.rewind(self.progress)
        self.say(f"{what}; going on from {self.progress['images_seen']} images with half the learning rate")

    def _checkpoint_due(self, stage: Stage) -> bool:
        seen, every = self.progress["images_seen"], max(1, round(self.config.train.checkpoint_kimages * 1000))
        return seen // every > (seen - stage.batch_size) // every or seen >= self.schedule.total_images


@contextlib.contextmanager
def _asked_to_stop():
    """A list that is empty until SIGINT or SIGTERM arrives; a second one stops at once.

    So a step is never cut in two.
    """
    asked: list[int] = []

    def note(number, frame):
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    try:
        before = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread: whoever runs us there handles the signals
        yield asked
        return
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
