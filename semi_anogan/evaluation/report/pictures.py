"""The report's images: the gallery's rows, thumbnails and the heat scale, as PNG files and data URIs."""

import base64
import dataclasses
import io
from collections.abc import Sequence

import numpy as np

from semi_anogan.evaluation.report.contents import GalleryItem
from semi_anogan.scoring.regions import LINE, outline

GALLERY_SIDE = 256  # largest side of a gallery picture, in pixels
HEAT = "plasma"
GREEN = (0, 220, 120)  # around the mask


@dataclasses.dataclass
class GalleryRow:
    """An image of the gallery and what was found in it, as pictures of one size.

    Attributes:
      arrays: name -> uint8 [h, w, 3], or None for a mask without a defect.
      pictures: name -> data URI of the same, or None.
      pixelated: whether to enlarge them without smoothing.
    """

    item: GalleryItem
    arrays: dict[str, np.ndarray | None]
    pictures: dict[str, str | None]
    pixelated: bool


def gallery_rows(gallery: Sequence[GalleryItem]) -> tuple[list[GalleryRow], tuple[float, float]]:
    """One row per item, and the two ends of the heat scale which all maps share."""
    if not gallery:
        return [], (0.0, 1.0)
    # From the median of all pixels, so that the ordinary level is no colour, to the highest of the maps'
    # 99.9% quantiles: a few wild pixels do not darken every map, and a defect of a few pixels still counts.
    low = float(np.median(np.concatenate([np.ravel(item.anomaly_map) for item in gallery])))
    high = max(max(float(np.quantile(item.anomaly_map, 0.999)) for item in gallery), low + 1e-12)
    found = [float(np.quantile(item.difference, 0.999)) for item in gallery if item.difference is not None]
    difference_limit = max([*found, 1e-12]) if found else None
    masks = any(item.mask is not None for item in gallery)
    rows = []
    for item in gallery:
        arrays = _arrays(item, (low, high), difference_limit, masks)
        pictures = {name: None if a is None else data_uri(_png(a)) for name, a in arrays.items()}
        rows.append(GalleryRow(item, arrays, pictures, pixelated=max(arrays["input"].shape[:2]) < 128))
    return rows, (low, high)


def _arrays(
    item: GalleryItem, heat_ends: tuple[float, float], difference_limit: float | None, masks: bool
) -> dict[str, np.ndarray | None]:
    """The arrays of an item's row, in order.

    Args: heat_ends: of the map's scale; difference_limit: upper end of the differences' scale, None without a
      search; masks: whether any item has a mask.
    """
    low, high = heat_ends
    shape = _shrunk(item.input, GALLERY_SIDE)
    image = _rgb(item.input, shape)
    arrays = {"input": image}
    if difference_limit is not None:
        difference = np.maximum(_resized(item.difference, shape) / difference_limit, 0)
        arrays["reconstruction"] = _rgb(item.reconstruction, shape)
        arrays["difference"] = _colored(np.sqrt(difference), "gray")  # root: faint ones show
    heat = (_resized(item.anomaly_map, shape) - low) / (high - low)
    strength = np.clip(3 * heat, 0, 0.85)[..., None]  # 0: the image shows through
    heated = np.uint8(np.round((1 - strength) * image + strength * _colored(heat, HEAT)))
    arrays["anomaly map"] = heated if item.regions is None else _outlined(heated, item.regions, LINE)
    if masks:
        arrays["mask"] = (
            None if item.mask is None or not item.mask.any() else _outlined(image, item.mask, GREEN)
        )
    return arrays


def heat_scale() -> str:
    """The colours of the heat scale from left to right, as a data URI."""
    return data_uri(_png(_colored(np.linspace(0, 1, 256)[None].repeat(8, 0), HEAT)))


def thumbnail(image: np.ndarray, side: int = 96, mask: np.ndarray | None = None) -> str:
    """An image, float [H, W, C] in [-1, 1], as a data URI; at most `side` pixels on its longer side.

    mask: bool [H, W], where a line is drawn around the defect.
    """
    picture = _rgb(image, _shrunk(image, side))
    return data_uri(_png(picture if mask is None else _outlined(picture, mask, GREEN)))


def small_jpeg(image: np.ndarray, side: int) -> bytes:
    """An image, float [H, W, C] in [-1, 1], as a JPEG file of at most `side` pixels on its longer side."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(_rgb(image, _shrunk(image, side))).save(stream, format="JPEG", quality=82)
    return stream.getvalue()


def jpeg_uri(jpeg: bytes) -> str:
    """A JPEG file as the src of an HTML image."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def data_uri(png: bytes) -> str:
    """A PNG file as the src of an HTML image."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _png(image: np.ndarray) -> bytes:
    from PIL import Image

    png = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(png, format="PNG")
    return png.getvalue()


def _shrunk(image: np.ndarray, side: int) -> tuple[int, int]:
    """(height, width) of an image with at most `side` pixels on its longer side."""
    height, width = image.shape[:2]
    scale = min(1.0, side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _resized(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """float [H, W] -> float [shape], bilinear, averaging where it shrinks."""
    from PIL import Image

    values = np.asarray(values, np.float32)
    if values.shape == shape:
        return values
    return np.asarray(Image.fromarray(values).resize(shape[::-1], Image.Resampling.BILINEAR))


def _rgb(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """float [H, W, 1 or 3] in [-1, 1], clipped, as a reconstruction may lie outside -> uint8 [shape, 3]."""
    image = np.asarray(image, np.float32)
    if image.ndim != 3 or image.shape[2] not in (1, 3):
        raise ValueError(f"expected an image [H, W, 1 or 3], got shape {image.shape}")
    channels = [_resized(image[..., c], shape) for c in range(image.shape[2])]
    stacked = np.stack(channels * (3 // len(channels)), axis=-1)
    return np.uint8(np.round(np.clip((stacked + 1) * 127.5, 0, 255)))


def _colored(values: np.ndarray, colormap: str) -> np.ndarray:
    """float [H, W] -> uint8 [H, W, 3]; 0 and 1 are the colormap's ends."""
    import matplotlib

    return matplotlib.colormaps[colormap](np.clip(values, 0, 1), bytes=True)[..., :3]


def _outlined(image: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """The image with a line just outside the mask, so that even a defect of one pixel stays visible."""
    inside = _resized(np.asarray(mask, np.float32), image.shape[:2]) > 0
    return np.where(outline(inside)[..., None], np.uint8(colour), image)
