"""Images seen -> stage: the growing of the GAN (Karras et al. 2017), then the patch discriminator."""

import dataclasses
import math

from semi_anogan.config import SECTIONS, check_ranges, default
from semi_anogan.errors import ConfigError
from semi_anogan.image_shape import shape_of


@dataclasses.dataclass(frozen=True)
class Stage:
    """What one training step runs with.

    fade: 0 (previous resolution) to 1 (this one). trains: "gan" or "patch_discriminator".
    """

    resolution: int
    fade: float
    batch_size: int
    learning_rate: float
    trains: str = "gan"


@dataclasses.dataclass(frozen=True)
class Schedule:
    """A schedule by the number of normal images seen.

    Attributes:
      resolution: the last resolution, the short side of the images.
      total_kimages: length of the GAN's training in thousands of normal images.
      start_resolution: the first resolution.
      growing_share: share of the training spent below full resolution or fading into it. The stages share it
        equally; each begins by fading in for half of its time (the first has nothing to fade from).
      batch_size: normal images a step, lowered to what fits batch_pixels at large resolutions.
      batch_pixels: most pixels of a batch.
      learning_rate: Adam's, constant until the last `decay_share` of the training, then falling linearly to a
        tenth.
      patch_kimages, patch_batch_size, patch_learning_rate: of the patch discriminator's training, which
        follows; 0 for none. Its learning rate rises over the first tenth and then falls to nothing along a
        half cosine.
      aspect: of the images, width / height; None is 1.
    """

    resolution: int
    total_kimages: float = default("schedule.total_kimages")
    start_resolution: int = default("schedule.start_resolution")
    growing_share: float = default("schedule.growing_share")
    batch_size: int = default("schedule.batch_size")
    batch_pixels: int = default("schedule.batch_pixels")
    learning_rate: float = default("schedule.learning_rate")
    decay_share: float = default("schedule.decay_share")
    patch_kimages: float = 0.0
    patch_batch_size: int = default("schedule.patch_batch_size")
    patch_learning_rate: float = default("schedule.patch_learning_rate")
    aspect: float | None = None

    def __post_init__(self):
        check_ranges("schedule", **{name: getattr(self, name) for name in SECTIONS["schedule"]})
        if not 4 <= self.start_resolution <= self.resolution or self.start_resolution.bit_count() != 1:
            raise ConfigError(
                f"schedule.start_resolution must be a power of two from 4 to {self.resolution}, "
                f"got {self.start_resolution!r}"
            )

    @property
    def gan_images(self) -> int:
        return round(self.total_kimages * 1000)

    @property
    def total_images(self) -> int:
        """Normal images seen by the end of both trainings."""
        return self.gan_images + round(self.patch_kimages * 1000)

    def resolutions(self) -> list[int]:
        """The stages' resolutions, first to last."""
        return [2**k for k in range(self.start_resolution.bit_length() - 1, self.resolution.bit_length())]

    def stage(self, images_seen: int) -> Stage:
        """The stage of the step that begins when `images_seen` normal images have been seen."""
        if images_seen >= self.gan_images and self.patch_kimages:
            rate = self.patch_learning_rate * self._patch_rate(images_seen)
            return Stage(self.resolution, 1.0, self.patch_batch_size, rate, "patch_discriminator")
        resolutions = self.resolutions()
        # The growing share holds the lower stages whole and the last one's fading, which is half a stage.
        length = self.growing_share * self.gan_images / (len(resolutions) - 0.5)
        index = min(int(images_seen / length), len(resolutions) - 1) if length else len(resolutions) - 1
        fade = 1.0
        if index and length:
            fade = min(1.0, (images_seen - index * length) / (length / 2))
        resolution = resolutions[index]
        return Stage(resolution, fade, self._batch_size(resolution), self._learning_rate(images_seen))

    def _batch_size(self, resolution: int) -> int:
        height, width = shape_of(resolution, self.aspect or 1.0)
        return max(1, min(self.batch_size, self.batch_pixels // (height * width)))

    def _learning_rate(self, images_seen: int) -> float:
        left = 1.0 - images_seen / self.gan_images
        if not self.decay_share or left >= self.decay_share:
            return self.learning_rate
        return self.learning_rate * max(0.1, left / self.decay_share)

    def _patch_rate(self, images_seen: int) -> float:
        done = (images_seen - self.gan_images) / (self.total_images - self.gan_images)
        step = self.patch_batch_size / (self.total_images - self.gan_images)
        return min(1.0, (done + step) / 0.1) * 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0)))
