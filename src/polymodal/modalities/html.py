"""Values on a page: HTML that holds their files, so that it needs no network."""

from base64 import b64encode
from io import BytesIO

from markupsafe import Markup
from PIL import Image as PILImage


def data_address(media_type: str, content: bytes) -> str:
    """The content of a file, of a type such as ``image/png``, as an address."""
    return f"data:{media_type};base64,{b64encode(content).decode()}"


def picture_html(picture: PILImage.Image) -> Markup:
    """A picture, pixel by pixel."""
    file = BytesIO()
    picture.save(file, "PNG", optimize=True)
    address = data_address("image/png", file.getvalue())
    return Markup('<img alt="" width="{}" height="{}" src="{}">').format(*picture.size, address)
