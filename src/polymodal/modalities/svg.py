"""Drawings: SVG -> PNG, by resvg, an optional package that runs no scripts and opens no network."""

import re

from polymodal.errors import DataError, quote

_MOST_BYTES = 1 << 24
_REFERENCE = re.compile(rb"""(href|src)\s*=\s*["']\s*(?!#|data:|https?:)[^"']""", re.IGNORECASE)


def is_svg(content: bytes) -> bool:
    """Whether a file seems to be a drawing."""
    head = content[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    return head.startswith(b"<") and b"<svg" in head


def draw_svg(content: bytes, width: int, height: int) -> bytes:
    """A drawing, as large as it fits in a box -> the bytes of a PNG with transparency.

    Raises:
        DataError: It cannot be drawn, refers to other files, or the package is missing.
    """
    try:
        import resvg_py
    except ImportError as error:
        raise DataError("an SVG needs the package resvg-py: pip install 'polymodal[svg]'") from error
    if len(content) > _MOST_BYTES:
        raise DataError(f"an SVG of {len(content):,} bytes; at most {_MOST_BYTES:,} are drawn")
    if found := _REFERENCE.search(content):
        place = content[found.start() : found.start() + 60].decode(errors="replace")
        raise DataError(f"the SVG refers to another file, which is not opened: {quote(place)}")
    try:
        text = content.decode("utf-8-sig")
        plain = b"<text" not in content  # to look for fonts takes longer than to draw
        return bytes(resvg_py.svg_to_bytes(svg_string=text, width=width, height=height, skip_system_fonts=plain))
    except Exception as error:
        raise DataError(f"cannot draw the SVG: {error}") from error
