"""Images and maps as arrays: channels, range of values, size, smoothing."""

import numpy as np
from PIL import Image

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
COLOUR = 0.02  # mean difference of the channels, as a share of the range, from which on there is colour


def to_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """[H, W, 1 or 3] -> float32 [H, W, channels]: grey by ITU-R BT.601 luma, or grey repeated; same range."""
    have = image.shape[-1]
    if image.ndim != 3 or have not in (1, 3) or channels not in (1, 3):
        raise ValueError(
            f"cannot turn an image of shape {image.shape} into {channels!r} channels: 1 and 3 are known"
        )
    if have == channels:
        return image.astype(np.float32, copy=False)
    if channels == 1:
        return np.asarray(image @ LUMA, np.float32)[..., None]  # [H, W, 3] -> [H, W, 1]
    return np.repeat(image.astype(np.float32, copy=False), 3, axis=-1)


def in_colour(image: np.ndarray) -> bool:
    """Whether the channels of an image [H, W, 3] in [-1, 1] differ by more than COLOUR."""
    one, two, three = (image[..., i] for i in range(3))  # np.ptp over three values takes thirty times as long
    apart = np.maximum(np.maximum(one, two), three) - np.minimum(np.minimum(one, two), three)
    return float(apart.mean()) > 2 * COLOUR


def from_uint8(image: np.ndarray) -> np.ndarray:
    """uint8 0..255 -> float32 [-1, 1]; the inverse of `to_uint8`."""
    return image.astype(np.float32) / np.float32(127.5) - np.float32(1.0)


def to_uint8(image: np.ndarray) -> np.ndarray:
    """[-1, 1] -> uint8 0..255, rounded; values outside the range are clipped."""
    return np.clip(np.rint((np.asarray(image, np.float32) + 1.0) * 127.5), 0, 255).astype(np.uint8)


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resizes [H, W, C] (any C) to float32 [height, width, C].

    Each axis on its own: enlarged bilinearly (half-pixel centres), reduced by a whole factor through block
    means, which is what the networks' own downscaling does, and reduced otherwise by an antialiased triangle
    filter. The values stay exactly the same if the size does.
    """
    return _resize(image, height, width, block_means=True)


def resize_map(anomaly_map: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resizes [H, W] to float32 [height, width] bilinearly (antialiased where it is reduced)."""
    return _resize(anomaly_map[..., None], height, width, block_means=False)[..., 0]


def gaussian(sigma_px: float) -> np.ndarray:
    """Weights of a Gaussian at -reach .. reach pixels, reach = 3 sigma rounded up; float32, sum 1."""
    reach = max(1, int(np.ceil(3 * sigma_px)))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_px) ** 2).astype(np.float32)
    return kernel / kernel.sum()


def smooth_map(anomaly_map: np.ndarray, sigma_px: float) -> np.ndarray:
    """Gaussian smoothing of [H, W]; at the border only pixels inside the image count.

    The same as scoring.maps.smooth, without Keras.
    """
    if sigma_px <= 0:
        return anomaly_map
    kernel = gaussian(sigma_px)

    def blur(x):
        """x [n, m] blurred along its columns; some columns at a time, as maps can be large."""
        out = np.empty_like(x, order="C")
        for start in range(0, x.shape[1], 512):
            padded = np.pad(x[:, start : start + 512], ((len(kernel) // 2,) * 2, (0, 0)))
            out[:, start : start + 512] = sum(
                weight * padded[i : i + len(x)] for i, weight in enumerate(kernel)
            )
        return out

    out = blur(np.asarray(anomaly_map, np.float32))
    for start in range(0, len(out), 512):
        out[start : start + 512] = blur(out[start : start + 512].T).T
    for axis, length in enumerate(out.shape):
        inside = blur(np.ones((length, 1), np.float32))
        out /= inside if axis == 0 else inside.T
    return out


def _resize(image: np.ndarray, height: int, width: int, block_means: bool) -> np.ndarray:
    image = np.asarray(image, np.float32)
    if image.shape[:2] == (height, width):
        return image

    def filter_for(old: int, new: int) -> Image.Resampling:
        return Image.Resampling.BOX if block_means and old % new == 0 else Image.Resampling.BILINEAR

    old_height, old_width, channels = image.shape
    out = np.empty((height, width, channels), np.float32)
    for c in range(channels):
        plane = Image.fromarray(np.ascontiguousarray(image[..., c]))  # Pillow mode F: no rounding to 8 bits
        plane = plane.resize((width, old_height), filter_for(old_width, width))
        out[..., c] = np.asarray(plane.resize((width, height), filter_for(old_height, height)))
    return out
