"""One self-contained page of what a look at a folder of images has found, with some images of each kind."""

import base64
import html
import io
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

from semi_anogan.data import image_arrays

SIDE = 128  # longer side of a picture, in pixels
_STYLE = """
body { margin: 0 auto; max-width: 1040px; padding: 32px 24px; color: #1b1f24;
       font: 15px/1.5 system-ui, "Segoe UI", Roboto, Arial, sans-serif; }
h1 { font-size: 26px; } h2 { font-size: 19px; margin-top: 36px; border-bottom: 1px solid #d8dee4; }
h3 { font-size: 15px; } table { border-collapse: collapse; }
th, td { text-align: left; padding: 4px 14px 4px 0; border-bottom: 1px solid #d8dee4; }
li, td { overflow-wrap: anywhere; } .bad { color: #b84f00; }
.thumbs { display: grid; gap: 10px; grid-template-columns: repeat(auto-fill, minmax(136px, 1fr)); }
.thumbs div { font-size: 12px; line-height: 1.3; overflow-wrap: anywhere; }
.thumbs img { display: block; max-width: 128px; height: auto; margin-bottom: 2px; }
code { background: #f6f8fa; padding: 1px 4px; }
"""


def page(
    title: str,
    table: Sequence[Sequence],
    sections: Sequence[tuple[str, Sequence[str]]],
    sheets: Iterable[tuple[str, Sequence[tuple[np.ndarray, str]]]],
) -> str:
    """The HTML.

    Args: table: rows of cells, the first the header; sections: (heading, lines), those without lines are left
      out; sheets: (heading, [(image float [H, W, C] in [-1, 1], caption)]).
    """
    parts = [f"<h1>{html.escape(title)}</h1>", _table(table)]
    for heading, lines in sections:
        if lines:
            items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
            parts.append(f"<h2>{html.escape(heading)}</h2><ul>{items}</ul>")
    for heading, pictures in sheets:
        thumbs = "".join(
            f'<div><img src="{_picture(image)}" alt="">{html.escape(caption)}</div>'
            for image, caption in pictures
        )
        if thumbs:
            parts.append(f'<h2>{html.escape(heading)}</h2><div class="thumbs">{thumbs}</div>')
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def _table(rows: Sequence[Sequence]) -> str:
    def line(cells, tag):
        return "<tr>" + "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"

    return f"<table>{line(rows[0], 'th')}{''.join(line(row, 'td') for row in rows[1:])}</table>"


def _picture(image: np.ndarray) -> str:
    """A data URI."""
    height, width = image.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    values = image_arrays.to_uint8(image)
    picture = Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values)
    picture.thumbnail((max(1, round(width * scale)), max(1, round(height * scale))))
    file = io.BytesIO()
    picture.save(file, format="JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")
