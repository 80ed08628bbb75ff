"""Training batches as a pure function of (seed, images seen): so a run resumes exactly from two numbers."""

import numpy as np

from semi_anogan.data import images as image_io
from semi_anogan.data.dataset import Dataset, Example


class ImageStore:
    """Reads images at the size that the model needs and keeps them in memory up to a limit.

    Args:
      dataset: where the images come from.
      resolution: side of the model's images.
      tile: keep images at their own size (at least `resolution` on each side), to be cut into crops; else resize.
      cache_megabytes: most memory for decoded images; what does not fit is read again each time.
    """

    def __init__(self, dataset: Dataset, resolution: int, tile: bool = False, cache_megabytes: int = 2048):
        self.dataset = dataset
        self.resolution = resolution
        self.tile = tile
        self._left = cache_megabytes * 2**20
        self._images: dict[Example, np.ndarray] = {}
        self._masks: dict[Example, np.ndarray | None] = {}

    def image(self, example: Example) -> np.ndarray:
        """float32 [H, W, C] in [-1, 1]; [resolution, resolution, C] unless tiled."""
        if example in self._images:
            return self._images[example]
        image = self.dataset.read_image(example)
        height, width = image.shape[:2]
        if self.tile:
            height, width = max(height, self.resolution), max(width, self.resolution)
        else:
            height = width = self.resolution
        image = image_io.resize(image, height, width)
        if image.nbytes <= self._left:
            self._left -= image.nbytes
            self._images[example] = image
        return image

    def mask(self, example: Example) -> np.ndarray | None:
        """bool [H, W] at the size of `image`, or None where there is no mask."""
        if example not in self._masks:
            mask = self.dataset.read_mask(example)
            if mask is not None:
                height, width = self.image(example).shape[:2]
                if mask.shape != (height, width):
                    mask = image_io.resize_map(mask.astype(np.float32), height, width) > 0
            self._masks[example] = mask
        return self._masks[example]


class Batches:
    """Seeded batches of normal and known abnormal images.

    Args:
      store: reads the images.
      normal, abnormal: the training examples; abnormal may be empty.
      latent_size: of the latents that come with each batch.
      abnormal_share: known abnormal images per normal one in a batch.
      flips: mirror images at random: "" never, "h" left-right, "v" top-bottom, "hv" both.
      shift_px: move images at random by up to this many pixels each way; the border is repeated.
      seed: of order, crops, flips and latents.
    """

    def __init__(self, store, normal, abnormal, latent_size, abnormal_share=0.25, flips="", shift_px=0, seed=0):
        if not normal:
            raise ValueError("training needs at least one normal image")
        if set(flips) - set("hv"):
            raise ValueError(f'data.flips must be "", "h", "v" or "hv", got {flips!r}')
        self.store = store
        self.normal = list(normal)
        self.abnormal = list(abnormal)
        self.latent_size = latent_size
        self.abnormal_share = abnormal_share
        self.flips = flips
        self.shift_px = shift_px
        self.seed = seed

    def abnormal_size(self, batch_size: int) -> int:
        """Known abnormal images in a batch of this many normal ones."""
        return max(1, round(batch_size * self.abnormal_share)) if self.abnormal else 0

    def batch(self, images_seen: int, batch_size: int, attempt: int = 0) -> dict[str, np.ndarray]:
        """The batch that begins when `images_seen` normal images have been seen.

        Returns: images float32 [N + A, H, W, C], the normal ones first; labels [N + A], 1 for known abnormal;
        latents [N, latent_size] from N(0, 1); mix [N, 1, 1, 1] from U(0, 1). `attempt` changes all but the order.
        """
        rng = np.random.default_rng([self.seed, attempt, images_seen])
        count = self.abnormal_size(batch_size)
        normal = _draw(self.normal, images_seen, batch_size, [self.seed, 0])
        abnormal = _draw(self.abnormal, round(images_seen * self.abnormal_share), count, [self.seed, 1])
        return {
            "images": np.stack([self._augment(e, rng) for e in normal + abnormal]),
            "labels": np.repeat(np.float32([0, 1]), [batch_size, count]),
            "latents": rng.standard_normal((batch_size, self.latent_size), dtype=np.float32),
            "mix": rng.random((batch_size, 1, 1, 1), dtype=np.float32),
        }

    def _augment(self, example: Example, rng) -> np.ndarray:
        image = self.store.image(example)
        if self.store.tile:
            image = self._crop(example, image, rng)
        if self.shift_px:
            side = self.store.resolution
            padded = np.pad(image, [(self.shift_px, self.shift_px)] * 2 + [(0, 0)], mode="edge")
            top, left = rng.integers(0, 2 * self.shift_px + 1, size=2)
            image = padded[top : top + side, left : left + side]
        for axis, name in enumerate("vh"):
            if name in self.flips and rng.random() < 0.5:
                image = np.flip(image, axis)
        return image

    def _crop(self, example: Example, image: np.ndarray, rng) -> np.ndarray:
        """A random crop; around an abnormal pixel where an abnormal example has a mask."""
        side = self.store.resolution
        room = np.array(image.shape[:2]) - side
        low, high = np.zeros(2, int), room
        mask = self.store.mask(example) if example.abnormal else None
        if mask is not None and mask.any():
            pixels = np.argwhere(mask)
            pixel = pixels[rng.integers(len(pixels))]
            low, high = np.clip(pixel - side + 1, 0, room), np.clip(pixel, 0, room)
        top, left = rng.integers(low, high + 1)
        return image[top : top + side, left : left + side]


def _draw(examples: list[Example], position: int, count: int, seed: list[int]) -> list[Example]:
    """`count` examples from `position` on in an endless sequence of shuffled epochs."""
    orders: dict[int, np.ndarray] = {}
    drawn = []
    for p in range(position, position + count):
        epoch, index = divmod(p, len(examples))
        if epoch not in orders:
            orders[epoch] = np.random.default_rng([*seed, epoch]).permutation(len(examples))
        drawn.append(examples[orders[epoch][index]])
    return drawn
