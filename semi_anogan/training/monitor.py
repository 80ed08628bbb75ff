"""What a person sees of a training: progress bar, loss history, TensorBoard events."""

import pathlib

import numpy as np

from semi_anogan.data.image_arrays import to_uint8
from semi_anogan.networks.schedule import Stage
from semi_anogan.runs import folder as run_folder

SAMPLES = 32


class Monitor:
    """Progress bar on stderr and TensorBoard events in the run folder.

    The history lives in `progress`, and so in the checkpoint.
    """

    def __init__(self, folder, total_images: int, progress: dict, enabled: bool = True):
        self.folder = pathlib.Path(folder)
        self.total_images = total_images
        self.progress = progress
        self.enabled = enabled
        self.bar = self.events = None

    def __enter__(self):
        if self.enabled:
            from tqdm import tqdm

            from semi_anogan.training.events import EventWriter

            self.events = EventWriter(self.folder / run_folder.EVENTS)
            self.bar = tqdm(
                total=self.total_images,
                initial=self.progress["images_seen"],
                unit="img",
                mininterval=1.0,
                dynamic_ncols=True,
            )
        return self

    def __exit__(self, *exception):
        if self.enabled:
            self.bar.close()
            self.events.close()

    def log(self, logs: dict[str, float], stage: Stage):
        """Adds one row to the history and the events."""
        row = {
            "images_seen": self.progress["images_seen"],
            "resolution": stage.resolution,
            "fade": stage.fade,
            **logs,
        }
        history = self.progress["history"]
        rows = len(history.get("images_seen", ()))
        for name in {**history, **row}:  # None where a stage has no such figure
            history.setdefault(name, [None] * rows).append(
                round(float(row[name]), 6) if name in row else None
            )
        if self.enabled:
            self.events.scalars(
                row["images_seen"], {**logs, "fade": stage.fade, "learning_rate": stage.learning_rate}
            )
            names = (
                {"discriminator_loss": "D", "generator_loss": "G"}
                if stage.trains == "gan"
                else {"patch_loss": "patches"}
            )
            shown = [f"{short} {logs[name]:.3f}" for name, short in names.items()]
            self.bar.set_postfix_str(", ".join([f"{stage.resolution} px", *shown]), refresh=False)

    def advance(self, progress: dict):
        if self.enabled:
            self.bar.update(progress["images_seen"] - self.bar.n)

    def rewind(self, progress: dict):
        """After going back to a checkpoint."""
        self.progress = progress
        if self.enabled:
            self.bar.n = progress["images_seen"]

    def samples(self, model, stage: Stage):
        """Images of the averaged generator from fixed latents, as one picture in TensorBoard."""
        if self.enabled:
            latents = np.random.default_rng(0).uniform(-1, 1, (SAMPLES, model.latent_size))
            images = np.asarray(
                model.generator_average(latents.astype(np.float32), resolution=stage.resolution)
            )
            self.events.image(self.progress["images_seen"], "generated", picture(images, 8))
            self.events.flush()


def picture(images, columns: int) -> np.ndarray:
    """N images [H, W, C] in [-1, 1], clipped, -> one uint8 picture [rows H, columns W(, 3)]."""
    images = np.clip(np.stack(images), -1, 1)
    count, height, width, channels = images.shape
    rows = -(-count // columns)
    filled = np.full((rows * columns, height, width, channels), -1.0, np.float32)
    filled[:count] = images
    tiled = filled.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    tiled = to_uint8(tiled.reshape(rows * height, columns * width, channels))
    return tiled[..., 0] if channels == 1 else tiled
