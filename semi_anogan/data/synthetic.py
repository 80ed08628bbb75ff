"""Synthetic abnormal images: defects drawn into normal images, where few or no abnormal ones are known."""

import functools
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from semi_anogan.data.image_arrays import resize
from semi_anogan.data.synthetic_kinds import DRAW, strong_blob

KINDS = tuple(DRAW)
TRAINING_KINDS = ("cut_paste", "scratch", "blob")  # where the config names none
# Training does not see these, or what it learned would weigh too much in the score.
CALIBRATION_KINDS = ("scar", "perlin")
MIN_SIDE = 8
MASK_CHANGE = 0.02  # a pixel is in the mask if a channel changes by more than this (of a range of 2)
MIN_CONTRAST = 0.05  # at least MIN_PIXELS pixels change by this much or more
MIN_PIXELS = 3
PASTED_AROUND = 2  # pixels around a known defect that are pasted with it
MAX_SHARE = 0.5  # of the pixels; what would change more is drawn again


def training_kinds(chosen: Sequence[str]) -> tuple[str, ...]:
    """The kinds that training draws where the config names these, or none."""
    return tuple(chosen) or TRAINING_KINDS


def calibration_kinds(chosen: Sequence[str]) -> tuple[str, ...]:
    """The kinds that weigh the components: CALIBRATION_KINDS, as far as training does not draw them."""
    return tuple(kind for kind in CALIBRATION_KINDS if kind not in chosen) or CALIBRATION_KINDS


def synthesise(
    image: np.ndarray,
    other: np.ndarray,
    rng: np.random.Generator,
    kinds: tuple[str, ...] = KINDS,
    ignored: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Draws one to three defects into a normal image: a pure function of its arguments.

    A defect that does not show (black on black, say) is drawn up to ten times and then left out; should that
    leave no defect at all, a blob of strong contrast is drawn.

    Args:
      image: float32 [H, W, C] in [-1, 1], C = 1 or 3, H and W at least MIN_SIDE; not modified.
      other: another normal image of the same shape, the source of foreign texture; may be `image` itself.
      rng: decides everything random.
      kinds: the kinds of defect to choose from, of KINDS; all are equally likely.
      ignored: bool [H, W], where nothing is drawn, not True everywhere; what a defect has there is cut off.

    Returns:
      The image with its defects, float32 [H, W, C] in [-1, 1], and the mask, bool [H, W]: True on MIN_PIXELS
      pixels or more, at most on the share MAX_SHARE. In the mask every pixel differs from `image` by more
      than MASK_CHANGE in some channel, and MIN_PIXELS of them by MIN_CONTRAST or more; all other pixels are
      those of `image`.

    Raises:
      ValueError: an unknown kind or none, or images of the wrong shape.
    """
    kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    _check(image, other, kinds)
    image, other = np.asarray(image, np.float32), np.asarray(other, np.float32)
    drawn = image
    for _ in range(rng.integers(1, 4)):
        drawn = _with_one_more(drawn, image, other, rng, kinds, ignored)
    if drawn is image:
        drawn = _cut(strong_blob(image, rng, ignored), image, ignored)
    mask = _change(image, drawn) > MASK_CHANGE
    return np.where(mask[..., None], drawn, image), mask


def paste(
    image: np.ndarray, abnormal: np.ndarray, mask: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Pastes one defect of a known abnormal image into a normal one: a pure function of its arguments.

    The defect is a connected region of the mask, turned by right angles, mirrored and made up to 1.5 times as
    large or as small, at a random place. Every other time it is made darker or brighter, as its surroundings
    are there.

    Args:
      image: float32 [H, W, C] in [-1, 1]; not modified.
      abnormal: the known image, of the same shape, and its mask, bool [H, W]; True somewhere.
      rng: decides everything random.

    Returns: as `synthesise`; the mask holds the pixels of the defect.
    """
    labels, count = ndimage.label(ndimage.binary_dilation(mask, iterations=PASTED_AROUND))
    region = labels == 1 + rng.integers(count)
    window = ndimage.find_objects(region.astype(np.uint8))[0]
    defect, around, piece = (mask & region)[window], region[window], abnormal[window]
    normal = piece[~mask[window]]
    level = np.median(normal if len(normal) else abnormal.reshape(-1, image.shape[2]), axis=0)
    layers = np.concatenate([piece, defect[..., None], around[..., None]], axis=-1).astype(np.float32)
    layers = np.rot90(layers[::-1] if rng.random() < 0.5 else layers, rng.integers(4))
    scale = 1.5 ** rng.uniform(-1, 1)
    height, width = (
        min(most, max(1, round(scale * side)))
        for side, most in zip(layers.shape[:2], image.shape, strict=False)
    )
    layers = resize(np.ascontiguousarray(layers), height, width)
    top, left = (
        rng.integers(most - side + 1) for most, side in zip(image.shape, (height, width), strict=False)
    )
    here = np.s_[top : top + height, left : left + width]
    shift = rng.integers(2) * (np.median(image[here], axis=(0, 1)) - level)
    drawn, found = image.copy(), np.zeros(image.shape[:2], bool)
    opacity = ndimage.uniform_filter(layers[..., -1], 3)[..., None]
    drawn[here] += opacity * (layers[..., :-2] + shift - drawn[here])
    found[here] = layers[..., -2] > 0.5
    return np.clip(drawn, -1, 1), found


def _check(image, other, kinds):
    """ValueError where `synthesise` cannot take its arguments."""
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        raise ValueError(
            f"kinds must be one or more of {', '.join(KINDS)}, got {unknown[0] if unknown else kinds!r}"
        )
    if np.ndim(image) != 3 or np.shape(image)[2] not in (1, 3) or min(np.shape(image)[:2]) < MIN_SIDE:
        raise ValueError(
            f"image must be [H, W, 1 or 3], H and W at least {MIN_SIDE}, got shape {np.shape(image)}"
        )
    if np.shape(other) != np.shape(image):
        raise ValueError(
            f"other must have the shape of image, {np.shape(image)}, got shape {np.shape(other)}"
        )


def _with_one_more(drawn, image, other, rng, kinds, ignored):
    """`drawn`, the image with its defects so far, with one more; `drawn` itself where none would do."""
    for _ in range(10):
        draw = DRAW[kinds[rng.integers(len(kinds))]]
        trial = _cut(np.clip(draw(drawn, other, rng), -1, 1), image, ignored)
        total = _change(image, trial)
        # The total has to show too: a defect may happen to cover an earlier one with what was there before.
        if _shows(_change(drawn, trial)) and _shows(total) and (total > MASK_CHANGE).mean() <= MAX_SHARE:
            return trial
    return drawn


def _cut(drawn, image, ignored):
    """`drawn` with the image's own pixels where it is ignored."""
    return drawn if ignored is None else np.where(ignored[..., None], image, drawn)


def _change(before, after):
    """[H, W]: the largest change of a channel."""
    # .max(-1) is many times slower.
    return functools.reduce(np.maximum, np.moveaxis(np.abs(after - before), -1, 0))


def _shows(change):
    return np.count_nonzero(change >= MIN_CONTRAST) >= MIN_PIXELS
