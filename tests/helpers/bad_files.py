"""Writes image files that a camera, a copy or a careless export may leave behind, good ones and bad ones."""

import os
import pathlib
import struct
import zlib

import numpy as np
from PIL import Image


def write_all(folder: str | os.PathLike) -> dict[str, tuple[pathlib.Path, str]]:
    """Writes the files into `folder` (made if need be).

    Returns:
      {kind: (path, expected)}, expected being "ok" or "error". The good ones show 16 x 12 pixels (width x
      height), except "exif_rotated", which is stored like that and shows 12 x 16.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    ramp = np.tile(np.linspace(0, 255, 16).astype(np.uint8), (12, 1))  # [12, 16], black at the left
    rgb = np.stack([ramp, ramp[:, ::-1], np.full_like(ramp, 128)], axis=-1)
    files = {}

    def add(kind: str, name: str, expected: str) -> pathlib.Path:
        files[kind] = (folder / name, expected)
        return folder / name

    add("good", "good.png", "ok")
    Image.fromarray(rgb).save(folder / "good.png")
    content = (folder / "good.png").read_bytes()
    add("empty", "empty.png", "error").write_bytes(b"")
    add("truncated", "truncated.png", "error").write_bytes(content[: len(content) * 2 // 3])
    add("text", "text.png", "error").write_text("This is not an image.\n")
    add("one_pixel", "one_pixel.png", "error").write_bytes(png(1, 1, b"\0\0"))
    add("no_pixels", "no_pixels.png", "error").write_bytes(png(0, 0, b""))
    add("huge", "huge.png", "error").write_bytes(png(30_000, 30_000, b"\0" * 100))
    Image.fromarray(ramp.astype(np.uint16) * 257).save(add("16_bit", "16_bit.png", "ok"))
    Image.fromarray(rgb).convert("CMYK").save(add("cmyk", "cmyk.jpg", "ok"))
    frames = [Image.fromarray(ramp), Image.fromarray(255 - ramp)]
    frames[0].save(add("animated", "animated.gif", "ok"), save_all=True, append_images=frames[1:])
    Image.fromarray(rgb).quantize(16).save(add("palette", "palette.png", "ok"))
    Image.fromarray(np.dstack([rgb, ramp])).save(add("alpha", "alpha.png", "ok"))
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: to be shown turned by 90 degrees, clockwise
    Image.fromarray(ramp).save(add("exif_rotated", "exif_rotated.jpg", "ok"), exif=exif, quality=95)
    _write_unreadable(add("unreadable", "unreadable.png", "error"), content)
    return files


def png(width: int, height: int, pixels: bytes) -> bytes:
    """An 8-bit grey PNG file with a header and checksums in order, whatever the pixel data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def _write_unreadable(path: pathlib.Path, content: bytes) -> None:
    """A file without read permission; for those who may read everything (root), a link that leads nowhere."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    path.chmod(0)
    if os.access(path, os.R_OK):
        path.unlink()
        path.symlink_to("nowhere.png")
