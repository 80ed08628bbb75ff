"""Differentiable augmentation of all that the discriminator sees, for few images (Zhao et al. 2020).

Normal, generated and abnormal images alike are changed at random before the discriminator judges them, and
the generator learns through the change. So the discriminator cannot learn few images by heart, and the
generator does not learn to draw the changes.
"""

from keras import ops

DRAWS = 7  # uniform numbers for each image: brightness, saturation, contrast, translation (2), cutout (2)
TRANSLATION = 0.125  # of the side: the most an image moves, each way
CUTOUT = 0.5  # of the side: that of the square which is painted over


def augment(images, draws, kinds, masks=None):
    """Changes each image in its own way; differentiable with respect to the images.

    Args:
      images: [N, H, W, C] in [-1, 1]; the result may leave that range.
      draws: [N, DRAWS] in [0, 1), which decide all.
      kinds: "color" (brightness by up to 0.5, contrast by up to half and, with three channels, saturation),
        "translation" and "cutout"; what comes in from outside or is painted over is 0, mid-grey.
      masks: [N, H, W, 1] of 0 and 1, or None. Where nothing would be left of an image's mask, the image stays
        where it is.

    Returns: (images, masks) in the same shapes.
    """
    if "color" in kinds:
        images = _colored(images, ops.reshape(draws[:, :3], (-1, 3, 1, 1, 1)))
    moved, moved_masks = images, masks
    if "translation" in kinds:
        rows, columns = (_shifts(draws[:, 3 + axis], images.shape[1 + axis]) for axis in (0, 1))
        moved = _translated(moved, rows, columns)
        moved_masks = None if masks is None else _translated(masks, rows, columns)
    if "cutout" in kinds:
        rows, columns = (_inside(draws[:, 5 + axis], images.shape[1 + axis]) for axis in (0, 1))
        kept = 1.0 - rows[:, :, None, None] * columns[:, None, :, None]
        moved = moved * kept
        moved_masks = None if masks is None else moved_masks * kept
    if masks is None:
        return moved, None
    left = ops.max(moved_masks, axis=(1, 2, 3), keepdims=True) > 0.5
    return ops.where(left, moved, images), ops.where(left, moved_masks, masks)


def _colored(images, draws):
    """draws [N, 3, 1, 1, 1]: brightness, saturation, contrast."""
    images = images + draws[:, 0] - 0.5
    if images.shape[-1] == 3:
        grey = ops.mean(images, axis=-1, keepdims=True)
        images = grey + (images - grey) * 2.0 * draws[:, 1]
    mean = ops.mean(images, axis=(1, 2, 3), keepdims=True)
    return mean + (images - mean) * (draws[:, 2] + 0.5)


def _shifts(draws, side: int):
    """Matrices that move what they are multiplied with by -most to +most pixels: float32 [N, side, side]."""
    most = int(TRANSLATION * side + 0.5)
    shift = ops.floor(draws * (2 * most + 1)) - most
    to, source = (
        ops.arange(side, dtype="float32")[None, :, None],
        ops.arange(side, dtype="float32")[None, None, :],
    )
    return ops.cast(ops.abs(to - source - shift[:, None, None]) < 0.5, "float32")


def _translated(x, rows, columns):
    return ops.einsum("nij,njwc->niwc", rows, ops.einsum("nwj,nhjc->nhwc", columns, x))


def _inside(draws, side: int):
    """float32 [N, side]: 1 within the square, whose middle is anywhere in the image."""
    size = int(CUTOUT * side + 0.5)
    first = ops.floor(draws * (side + 1)) - size // 2
    distance = ops.arange(side, dtype="float32")[None, :] - first[:, None]
    return ops.cast((distance > -0.5) & (distance < size - 0.5), "float32")
