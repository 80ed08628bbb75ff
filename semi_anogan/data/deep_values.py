"""The values of image files of more than 8 bits, as they stand in the file."""

import importlib
import os

import numpy as np
from PIL import Image

from semi_anogan.data import pnm
from semi_anogan.data.image_files import Header, ImageError


def is_deep(image: Image.Image) -> bool:
    """Whether a pixel is one number of more than 8 bits (modes I;16 and its byte orders, I and F)."""
    return image.mode[0] in "IF"


def deep_values(path, image: Image.Image, header: Header) -> np.ndarray | None:
    """[H, W, 1 or 3] of a file of more than 8 bits, upright, as they stand in it; None for one of 8 bits."""
    if header.format == "PPM" and header.most > 255:
        return _pnm_values(path)
    in_full = header.deep_colour and header.mode != "CMYK"
    if in_full and header.format == "PNG":
        return _upright(_over_black(_png_values(path)), header.orientation)
    if in_full and header.format == "TIFF":
        return _upright(_over_black(_tiff_values(path)), header.orientation)
    return np.asarray(image)[..., None] if is_deep(image) else None


def _pnm_values(path) -> np.ndarray:
    try:
        with open(path, "rb") as file:
            return pnm.read_pixels(file, pnm.read_header(file))
    except ValueError as error:
        raise ImageError(f"{os.fspath(path)}: {error}") from None


def _png_values(path) -> np.ndarray:
    png = _package("png", "pypng", path)
    width, height, rows, _ = png.Reader(os.fspath(path)).asDirect()
    return np.vstack([np.asarray(row, np.uint16) for row in rows]).reshape(height, width, -1)


def _tiff_values(path) -> np.ndarray:
    tifffile = _package("tifffile", "tifffile", path)
    try:
        with tifffile.TiffFile(os.fspath(path)) as file:
            page = file.pages[0]
            values = page.asarray()
            planar = page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and values.ndim == 3
            transparency = any(int(extra) > 0 for extra in page.extrasamples)  # 0: of unknown meaning
    except KeyError as error:  # of a compression that needs another package
        raise ImageError(
            f"{os.fspath(path)}: {' '.join(str(error.args[0]).split())}: pip install imagecodecs, or save it "
            "with another compression"
        ) from None
    values = np.moveaxis(values, 0, -1) if planar else values
    return values if transparency else values[..., :3]


def _package(module: str, name: str, path):
    """A module that only colours of 16 bits need: a device may lack it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ImageError(
            f"{os.fspath(path)}: 16 bits a colour need the package {name}: pip install {name}"
        ) from None


def _over_black(values: np.ndarray) -> np.ndarray:
    """[H, W, 1 to 4] -> [H, W, 1 or 3]: what is transparent becomes black."""
    if values.shape[-1] in (1, 3):
        return values
    colours, alpha = values[..., :-1], values[..., -1:]
    return np.rint(colours * (alpha / np.float64(np.iinfo(values.dtype).max))).astype(values.dtype)


def _upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """[H, W, C] of a file as it is to be shown by its EXIF orientation."""
    turned = {
        2: lambda x: x[:, ::-1],
        3: lambda x: x[::-1, ::-1],
        4: lambda x: x[::-1],
        5: lambda x: x.swapaxes(0, 1),
        6: lambda x: np.rot90(x, -1),
        7: lambda x: np.rot90(x, 2).swapaxes(0, 1),
        8: np.rot90,
    }
    return turned.get(orientation, lambda x: x)(values)
