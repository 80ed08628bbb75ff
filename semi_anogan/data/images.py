"""Images as arrays: the only module that knows the ranges of pixels.

Inside the package an image is float32 [H, W, C] in [-1, 1] with C = 1 (grey) or 3 (RGB), and -1 is black.
What a file holds comes to that as follows:

- 8 bits a channel: x / 127.5 - 1. 16-bit grey: x / 32767.5 - 1, always the full scale, whatever values occur.
- Float TIFF: values in [0, 1], else an error; a range is never guessed from the values.
- Palette, CMYK, YCbCr and 1-bit images are converted to RGB or grey. Pillow reduces 16-bit RGB PNG to 8 bits.
- Transparency is composited over black.
- EXIF orientation is applied. Of several frames or pages (GIF, TIFF) the first is taken.
"""

import os

import numpy as np
from PIL import Image

from semi_anogan.data.image_files import MAX_PIXELS, ImageError, decoded, opened

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
_SWAPPED_ORIENTATIONS = (5, 6, 7, 8)  # EXIF values for images stored on their side
_EXIF_ORIENTATION = 0x0112


def read_image(path: str | os.PathLike, channels: int, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Reads an image file.

    Args:
      path: the file; its content decides the format, not its name.
      channels: 1 (colour becomes grey by luma) or 3 (grey is repeated).
      max_pixels: refuse images with more pixels than this, before decoding them.

    Returns:
      float32 [H, W, channels] in [-1, 1].

    Raises:
      ImageError: missing, unreadable, empty, truncated, not an image, smaller than 4 x 4 or too large.
    """
    with decoded(path, max_pixels) as image:
        pixels = _values(image, path)
    pixels = to_channels(pixels, channels)
    # Rounding may have left the range. In place, as images can be large.
    return np.clip(pixels, -1.0, 1.0, out=pixels)


def read_values(path: str | os.PathLike, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Reads the values of a mask file as they stand in it: the brightest channel of each pixel, 0 is black.

    Returns:
      [H, W], uint8, or of 16-bit, integer and float files as they are.

    Raises:
      ImageError: as in `read_image`, or values that are negative or no numbers.
    """
    with decoded(path, max_pixels) as image:
        if not _is_deep(image):
            return to_uint8(_values(image, path)).max(axis=-1)
        values = np.asarray(image)
        low, high = values.min(), values.max()
        if not 0 <= low <= high < np.inf:  # written so that NaN fails too
            raise ImageError(f"{os.fspath(path)}: values from {low} to {high}; a mask's are 0 or more")
        return values


def image_size(path: str | os.PathLike) -> tuple[int, int]:
    """(height, width) that `read_image` would return, from the header alone.

    Raises:
      ImageError: as in `read_image`, as far as the header tells.
    """
    with opened(path, MAX_PIXELS) as image:
        width, height = image.size
        # Pillow gives the size of a TIFF as already turned upright.
        on_its_side = (
            image.format != "TIFF" and image.getexif().get(_EXIF_ORIENTATION) in _SWAPPED_ORIENTATIONS
        )
    return (width, height) if on_its_side else (height, width)


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
        return np.asarray(image @ _LUMA, np.float32)[..., None]  # [H, W, 3] -> [H, W, 1]
    return np.repeat(image.astype(np.float32, copy=False), 3, axis=-1)


def in_colour(image: np.ndarray, least: float = 0.02) -> bool:
    """Whether the channels of an image [H, W, 3] in [-1, 1] differ.

    least: by how much on the mean over the pixels, as a share of the range.
    """
    return float(np.ptp(image, axis=-1).mean()) > 2 * least


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
        for _ in range(2):  # down the columns, and after turning along the rows
            padded = np.pad(x, ((len(kernel) // 2,) * 2, (0, 0)))
            x = sum(weight * padded[i : i + len(x)] for i, weight in enumerate(kernel)).T
        return x

    return (blur(anomaly_map) / blur(np.ones_like(anomaly_map))).astype(np.float32)


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


def _is_deep(image: Image.Image) -> bool:
    """Whether a pixel is one number of more than 8 bits (modes I;16 and its byte orders, I and F)."""
    return image.mode[0] in "IF"


def _values(image: Image.Image, path: str | os.PathLike) -> np.ndarray:
    """float32 [H, W, 1 or 3] in [-1, 1]."""
    if _is_deep(image):
        raw = np.asarray(image)
        top = 1.0 if image.mode == "F" else 65535.0
        low, high = raw.min(), raw.max()
        if not (low >= 0 and high <= top):  # written so that NaN fails too
            wanted = "float values must lie in [0, 1]"
            if image.mode != "F":
                wanted = "integer values must lie in [0, 65535]"
            raise ImageError(f"{os.fspath(path)}: pixel values from {low} to {high}; {wanted}")
        return (raw.astype(np.float32) / np.float32(top / 2) - np.float32(1.0))[..., None]
    if image.has_transparency_data:
        rgba = np.asarray(image.convert("RGBA"), np.float32)
        return rgba[..., :3] * (rgba[..., 3:] / np.float32(255 * 127.5)) - np.float32(1.0)
    grey = image.mode in ("1", "L")
    pixels = from_uint8(np.asarray(image.convert("L" if grey else "RGB")))
    return pixels[..., None] if grey else pixels
