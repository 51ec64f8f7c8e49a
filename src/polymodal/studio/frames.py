"""Pages and values inside the studio's page."""

import mimetypes
from pathlib import Path

from markupsafe import Markup

from polymodal.modalities.html import data_address

_TAGS = {
    "image": Markup('<img alt="" src="{}">'),
    "audio": Markup('<audio controls src="{}"></audio>'),
    "video": Markup('<video controls loop muted src="{}"></video>'),
}
"""By the first part of a media type."""


def frame(page: Path) -> str:
    """A page in a frame as high as its contents; its scripts run, but see nothing outside of it."""
    height = (
        "<script>new ResizeObserver(() => parent.postMessage({polymodal: document.documentElement.scrollHeight}, '*'))"
        ".observe(document.body)</script>"
    )
    return Markup('<iframe class="page" sandbox="allow-scripts" srcdoc="{}"></iframe>').format(
        page.read_text(encoding="utf-8") + height
    )


FITTING = """
addEventListener("message", event => {
  if (!(event.data && event.data.polymodal)) return
  for (const frame of document.querySelectorAll("iframe.page"))
    if (frame.contentWindow === event.source) frame.style.height = Math.min(event.data.polymodal + 8, 6000) + "px"
})
"""
"""A script of the studio's page that gives frames the height that they ask for."""


def player(path: Path) -> Markup:
    """A file as HTML that shows or plays it; nothing for other files than pictures, sound and video."""
    kind = mimetypes.guess_type(path.name)[0] or ""
    tag = _TAGS.get(kind.split("/")[0])
    return Markup("") if tag is None else tag.format(data_address(kind, path.read_bytes()))
