"""TensorBoard event files without TensorFlow."""

import io
import os
import socket
import time

import numpy as np


class EventWriter:
    """Writes scalars and images to one event file which `tensorboard --logdir` shows.

    The `tensorboard` package's record writer is used on a plain file: its EventFileWriter would load
    TensorFlow wherever that is installed, and writes from a thread, so that the last events are lost in a
    crash.

    Args:
      folder: where the event file goes; made if missing. A resumed run adds a further file, which TensorBoard
        joins.
    """

    def __init__(self, folder: str | os.PathLike):
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        os.makedirs(folder, exist_ok=True)
        # TensorBoard takes the files whose names hold "tfevents", in the order of their names.
        name = f"events.out.tfevents.{time.time_ns() // 1000:016d}.{socket.gethostname()}.{os.getpid()}"
        self.path = os.path.join(folder, name)
        self._records = RecordWriter(open(self.path, "xb"))
        self._write(self._event(wall_time=time.time(), file_version="brain.Event:2"))
        self.flush()

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Writes one number per name (0-d arrays too) at the step, here the images seen."""
        summary = self._summary()
        for tag, value in values.items():
            summary.value.add(tag=tag, simple_value=float(value))
        self._add(step, summary)

    def image(self, step: int, tag: str, image: np.ndarray) -> None:
        """Writes a uint8 image, [H, W] grey or [H, W, 3] RGB; ValueError for anything else."""
        from PIL import Image

        image = np.asarray(image)
        if image.dtype != np.uint8 or not (image.ndim == 2 or image.ndim == 3 and image.shape[2] == 3):
            raise ValueError(
                f"image {tag!r}: expected uint8 [H, W] or [H, W, 3], got {image.dtype} {image.shape}"
            )
        encoded = io.BytesIO()
        Image.fromarray(image).save(encoded, format="PNG")
        summary = self._summary()
        summary.value.add(
            tag=tag,
            image=self._summary.Image(
                height=image.shape[0],
                width=image.shape[1],
                colorspace=1 if image.ndim == 2 else 3,
                encoded_image_string=encoded.getvalue(),
            ),
        )
        self._add(step, summary)

    def flush(self) -> None:
        """Hands what was written to the operating system, where a running TensorBoard sees it."""
        self._records.flush()

    def close(self) -> None:
        self._records.close()

    def _add(self, step: int, summary) -> None:
        self._write(self._event(wall_time=time.time(), step=int(step), summary=summary))

    def _write(self, event) -> None:
        self._records.write(event.SerializeToString())
