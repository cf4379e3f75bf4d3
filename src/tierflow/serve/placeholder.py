"""The grey picture that stands where no thumbnail can be shown; it says why."""

from __future__ import annotations

import io
from functools import cache

from PIL import Image, ImageDraw, ImageFont

SIZE = (240, 180)
PAPER, INK = 222, 96


@cache
def placeholder(words: str) -> bytes:
    """Return a grey picture with a few words in it, as PNG.

    Args:
        words: What to say; a line break makes a new line.
    """
    image = Image.new("L", SIZE, PAPER)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, SIZE[0] - 1, SIZE[1] - 1), outline=PAPER - 30)
    centre = (SIZE[0] / 2, SIZE[1] / 2)
    draw.multiline_text(centre, words, fill=INK, font=ImageFont.load_default(18), anchor="mm", align="center")
    return png(image)


def png(image: Image.Image) -> bytes:
    """Return an image as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
