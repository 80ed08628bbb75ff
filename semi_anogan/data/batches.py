"""Training batches, a pure function of (seed, images seen): a run resumes exactly from two numbers."""

import numpy as np

from semi_anogan.config import check_ranges, default
from semi_anogan.data import image_arrays
from semi_anogan.data import masks as mask_io
from semi_anogan.data.dataset import Dataset, Example
from semi_anogan.data.synthetic import TRAINING_KINDS, paste, synthesise
from semi_anogan.image_shape import at_size, shape_of

TRIES = 100  # to find a crop that is not ignored all over


class ImageStore:
    """Reads images at the size that the model needs and keeps them in memory up to a limit.

    Args:
      dataset: where the images come from.
      resolution: short side of the generator's images.
      tile: keep images at their own size (at least that of a crop), to be cut into crops; else resize.
      cache_megabytes: most memory for decoded images; what does not fit is read again each time.
      image_size: short side of the images that the model takes, `resolution` or more; crops are enlarged to
        it.
      aspect: width / height of the images; None is 1.
      view_size: short side of the images that the detector takes, `image_size` or more: images go through it,
        so that those of training and of scoring are alike to the last bit.

    Attributes:
      shape, image_shape: (height, width) of the generator's images, which crops have, and of the model's.
    """

    def __init__(
        self,
        dataset: Dataset,
        resolution: int,
        tile: bool = False,
        cache_megabytes: int = 2048,
        image_size: int | None = None,
        aspect: float | None = None,
        view_size: int | None = None,
    ):
        self.dataset = dataset
        self.shape = shape_of(resolution, aspect or 1.0)
        self.image_shape = at_size(self.shape, image_size or resolution)
        self.view_shape = at_size(self.shape, view_size) if view_size else self.image_shape
        self.tile = tile
        self._left = cache_megabytes * 2**20
        self._images: dict[Example, np.ndarray] = {}
        self._masks: dict[Example, np.ndarray | None] = {}
        self._ignored: dict[Example, np.ndarray | None] = {}

    def image(self, example: Example) -> np.ndarray:
        """float32 [H, W, C] in [-1, 1]; [*image_shape, C] unless tiled."""
        if example in self._images:
            return self._images[example]
        image = self.dataset.read_image(example)
        if self.tile:
            image = image_arrays.resize(image, *np.maximum(image.shape[:2], self.shape).tolist())
        else:
            image = image_arrays.resize(image_arrays.resize(image, *self.view_shape), *self.image_shape)
        if image.nbytes <= self._left:
            self._left -= image.nbytes
            self._images[example] = image
        return image

    def mask(self, example: Example) -> np.ndarray | None:
        """bool [H, W] at the size of `image`, as masks.resized makes it, or None where there is no mask."""
        if example not in self._masks:
            mask = self.dataset.read_mask(example)
            if mask is not None:
                height, width = self.image(example).shape[:2]
                mask = mask_io.resized(mask, height, width)
            self._masks[example] = mask
        return self._masks[example]

    def ignored(self, example: Example) -> np.ndarray | None:
        """What of `image` is ignored, bool [H, W], as masks.resized makes it, or None for nothing."""
        if example not in self._ignored:
            ignored = self.dataset.ignored(example)
            if ignored is not None:
                ignored = mask_io.resized(ignored, *self.image(example).shape[:2])
            self._ignored[example] = ignored
        return self._ignored[example]


class Batches:
    """Seeded batches of normal, known abnormal and synthetic abnormal images.

    Args:
      store: reads the images.
      normal, abnormal: the training examples; abnormal may be empty.
      latent_size: of the latents that come with each batch.
      abnormal_share: known abnormal images per normal one in a batch.
      flips: mirror or turn images at random: "h" left-right, "v" top-bottom, "r" by a right angle, in any
        combination; "" never. An image that is not square would no longer fit, so "r" turns it by two.
      shift_px: move images at random by up to this many pixels of `store.shape` each way; the border is
        repeated.
      seed: of order, crops, flips and latents.
      synthetic_share: synthetic abnormal images (data/synthetic.py) per normal one.
      masks: whether the batch tells where abnormal images are abnormal.
      augment_draws: numbers that differentiable augmentation needs for each image; 0 without it.
      synthetic_kinds: of the synthetic images' defects (data/synthetic.py).
      pasted_share: how often a known abnormal image's defect is shown in a normal image instead (`paste`); it
        needs masks.
    """

    def __init__(
        self,
        store,
        normal,
        abnormal,
        latent_size,
        abnormal_share=default("batches.abnormal_share"),
        flips="",
        shift_px=0,
        seed=0,
        synthetic_share=0.0,
        masks=False,
        augment_draws=0,
        synthetic_kinds=TRAINING_KINDS,
        pasted_share=0.0,
    ):
        if not normal:
            raise ValueError("training needs at least one normal image")
        check_ranges("batches", flips=flips)
        self.store = store
        self.normal = list(normal)
        self.abnormal = list(abnormal)
        self.latent_size = latent_size
        self.abnormal_share = abnormal_share
        self.flips = flips
        self.shift_px = shift_px
        self.seed = seed
        self.synthetic_share = synthetic_share
        self.masks = masks
        self.augment_draws = augment_draws
        self.synthetic_kinds = tuple(synthetic_kinds)
        self.pasted_share = pasted_share

    def abnormal_size(self, batch_size: int) -> int:
        """Known abnormal images in a batch of this many normal ones."""
        return max(1, round(batch_size * self.abnormal_share)) if self.abnormal else 0

    def synthetic_size(self, batch_size: int) -> int:
        """Synthetic abnormal images in a batch of this many normal ones."""
        return max(1, round(batch_size * self.synthetic_share)) if self.synthetic_share else 0

    def batch(self, images_seen: int, batch_size: int, attempt: int = 0) -> dict[str, np.ndarray]:
        """The batch that begins when `images_seen` normal images have been seen.

        Another `attempt` changes everything random but the order of the images.

        Returns: what SemiAnoGAN.unpack takes, for N normal, A known abnormal and S synthetic images:
          images: float32 [N + A + S, H, W, C], in this order.
          labels: [N + A + S], 0, 1 and 2.
          latents: [N, latent_size] from U(-1, 1).
          mix: [N, 1, 1, 1] from U(0, 1).
          masks: if asked for, float32 [N + A + S, H, W, 1].
          augment, augment_generated: if asked for, [N + A + S, D] and [N, D] from U(0, 1).
        """
        rng = np.random.default_rng([self.seed, attempt, images_seen])
        counts = [batch_size, self.abnormal_size(batch_size), self.synthetic_size(batch_size)]
        normal = _draw(self.normal, images_seen, batch_size, [self.seed, 0])
        abnormal = _draw(self.abnormal, round(images_seen * self.abnormal_share), counts[1], [self.seed, 1])
        pairs = [self._augment(e, rng)[:2] for e in normal] + [self._known(e, rng) for e in abnormal]
        pairs += [self._synthetic(rng) for _ in range(counts[2])]
        batch = {
            "images": np.stack([image for image, _ in pairs]),
            "labels": np.repeat(np.float32([0, 1, 2]), counts),
            "latents": 2.0 * rng.random((batch_size, self.latent_size), dtype=np.float32) - 1.0,
            "mix": rng.random((batch_size, 1, 1, 1), dtype=np.float32),
        }
        if self.masks:
            batch["masks"] = np.stack([mask for _, mask in pairs])[..., None].astype(np.float32)
        if self.augment_draws:
            for name, count in (("augment", sum(counts)), ("augment_generated", batch_size)):
                batch[name] = rng.random((count, self.augment_draws), dtype=np.float32)
        return batch

    def normal_image(self, example: Example, rng) -> np.ndarray:
        """A normal image as a batch has it, float32 [H, W, C]; rng draws crop, shift and flips."""
        return self._augment(example, rng)[0]

    def _augment(self, example: Example, rng) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """(image [H, W, C], mask [H, W], what is ignored [H, W] or None) of an example.

        The mask is all True where the data has none.
        """
        image, shape = self.store.image(example), self.store.image_shape
        ignored = self.store.ignored(example)
        mask = self.store.mask(example) if example.abnormal and (self.masks or self.store.tile) else None
        if self.store.tile:
            corner = self._corner(image, mask, rng)
            image = image_arrays.resize(_window(image, corner, self.store.shape), *shape)
            mask, ignored = (
                m if m is None else mask_io.resized(_window(m, corner, self.store.shape), *shape)
                for m in (mask, ignored)
            )
        if mask is None or not mask.any():
            mask = np.ones(shape, bool)
        planes = [image, mask] + ([] if ignored is None else [ignored])
        if self.shift_px:
            planes = self._shift(planes, rng)
        for axis, name in enumerate("vh"):
            if name in self.flips and rng.random() < 0.5:
                planes = [np.flip(plane, axis) for plane in planes]
        if "r" in self.flips and rng.random() < 0.5:
            turns = 1 if shape[0] == shape[1] else 2
            planes = [np.rot90(plane, turns) for plane in planes]
        return tuple(planes) if len(planes) == 3 else (*planes, None)

    def _shift(self, planes: list[np.ndarray], rng) -> list[np.ndarray]:
        """Moves all at random, unless that would move the defect, of the second, out of the image."""
        shape = self.store.image_shape
        reach = self.shift_px * shape[0] // self.store.shape[0]
        corner = rng.integers(0, 2 * reach + 1, size=2)
        moved = [
            _window(np.pad(p, [(reach, reach)] * 2 + [(0, 0)] * (p.ndim - 2), mode="edge"), corner, shape)
            for p in planes
        ]
        return moved if moved[1].any() else planes

    def _known(self, example: Example, rng) -> tuple[np.ndarray, np.ndarray]:
        """As `_augment`, of a known abnormal image or of a normal one with its defect."""
        image, mask, _ = self._augment(example, rng)
        if not self.pasted_share or rng.random() >= self.pasted_share:
            return image, mask
        normal, ignored = self._any_normal(rng)
        pasted, found = paste(normal, image, mask, rng)
        if ignored is not None:  # as if it were painted over there
            pasted, found = np.where(ignored[..., None], normal, pasted), found & ~ignored
            if not found.any():
                return image, mask
        return pasted, found

    def _any_normal(self, rng) -> tuple[np.ndarray, np.ndarray | None]:
        """(image, what of it is ignored or None)."""
        image, _, ignored = self._augment(self.normal[rng.integers(len(self.normal))], rng)
        return image, ignored

    def _synthetic(self, rng) -> tuple[np.ndarray, np.ndarray]:
        """(image, mask) as from `_augment`, of a normal image with synthetic defects drawn in."""
        image, ignored = self._any_normal(rng)
        for _ in range(TRIES):  # a crop may be ignored all over
            if ignored is None or not ignored.all():
                break
            image, ignored = self._any_normal(rng)
        else:
            ignored = None
        other, _ = self._any_normal(rng)
        return synthesise(image, other, rng, self.synthetic_kinds, ignored)

    def _corner(self, image: np.ndarray, mask: np.ndarray | None, rng) -> np.ndarray:
        """(top, left) of a random crop; around an abnormal pixel where there is a mask."""
        shape = np.array(self.store.shape)
        room = np.array(image.shape[:2]) - shape
        low, high = np.zeros(2, int), room
        if mask is not None and mask.any():
            pixels = np.argwhere(mask)
            pixel = pixels[rng.integers(len(pixels))]
            low, high = np.clip(pixel - shape + 1, 0, room), np.clip(pixel, 0, room)
        return rng.integers(low, high + 1)


def _window(image: np.ndarray, corner, shape: tuple[int, int]) -> np.ndarray:
    """The rectangle of a shape, (height, width), whose first pixel is `corner`, (top, left)."""
    (top, left), (height, width) = corner, shape
    return image[top : top + height, left : left + width]


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
