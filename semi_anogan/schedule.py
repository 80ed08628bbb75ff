"""Images seen -> stage of the progressive growing: resolution, fade, batch size, learning rate (Karras et al. 2017)."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Stage:
    """What one training step runs with; `fade` is 0 (previous resolution) to 1 (this resolution)."""

    resolution: int
    fade: float
    batch_size: int
    learning_rate: float


@dataclasses.dataclass(frozen=True)
class Schedule:
    """A schedule by the number of normal images seen.

    Attributes:
      resolution: the last resolution.
      total_kimages: length of the training in thousands of normal images.
      start_resolution: the first resolution.
      growing_share: share of the training spent below full resolution or fading into it; the stages share it equally, and
        each begins by fading in for half of its time (the first has nothing to fade from).
      batch_size: normal images a step, lowered to what fits batch_pixels at large resolutions.
      batch_pixels: most pixels of a batch.
      learning_rate: Adam's, constant until the last `decay_share` of the training, then falling linearly to a tenth.
    """

    resolution: int
    total_kimages: float
    start_resolution: int = 4
    growing_share: float = 0.4
    batch_size: int = 32
    batch_pixels: int = 524288
    learning_rate: float = 0.001
    decay_share: float = 0.3

    def __post_init__(self):
        if self.total_images < 1:
            raise ValueError(f"schedule.total_kimages must be at least 0.001, got {self.total_kimages!r}")
        if self.learning_rate <= 0:
            raise ValueError(f"schedule.learning_rate must be positive, got {self.learning_rate!r}")
        if not 0 <= self.decay_share <= 1:
            raise ValueError(f"schedule.decay_share must be in [0, 1], got {self.decay_share!r}")
        if self.batch_pixels < 1:
            raise ValueError(f"schedule.batch_pixels must be at least 1, got {self.batch_pixels!r}")
        if not 0 <= self.growing_share < 1:
            raise ValueError(f"schedule.growing_share must be in [0, 1), got {self.growing_share!r}")
        if not 4 <= self.start_resolution <= self.resolution or self.start_resolution.bit_count() != 1:
            raise ValueError(
                f"schedule.start_resolution must be a power of two from 4 to {self.resolution}, got {self.start_resolution!r}"
            )
        if self.batch_size < 1:
            raise ValueError(f"schedule.batch_size must be at least 1, got {self.batch_size!r}")

    @property
    def total_images(self) -> int:
        return round(self.total_kimages * 1000)

    def resolutions(self) -> list[int]:
        """The stages' resolutions, first to last."""
        return [2**k for k in range(self.start_resolution.bit_length() - 1, self.resolution.bit_length())]

    def stage(self, images_seen: int) -> Stage:
        """The stage of the step that begins when `images_seen` normal images have been seen."""
        resolutions = self.resolutions()
        # The growing share holds the lower stages whole and the last one's fading, which is half a stage.
        length = self.growing_share * self.total_images / (len(resolutions) - 0.5)
        index = min(int(images_seen / length), len(resolutions) - 1) if length else len(resolutions) - 1
        fade = 1.0
        if index and length:
            fade = min(1.0, (images_seen - index * length) / (length / 2))
        resolution = resolutions[index]
        return Stage(resolution, fade, self._batch_size(resolution), self._learning_rate(images_seen))

    def _batch_size(self, resolution: int) -> int:
        return max(1, min(self.batch_size, self.batch_pixels // resolution**2))

    def _learning_rate(self, images_seen: int) -> float:
        left = 1.0 - images_seen / self.total_images
        if not self.decay_share or left >= self.decay_share:
            return self.learning_rate
        return self.learning_rate * max(0.1, left / self.decay_share)
