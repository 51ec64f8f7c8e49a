"""Values on a page: HTML that holds their files, so that it needs no network."""

from base64 import b64encode
from collections.abc import Iterable, Sequence
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


def table_html(columns: Sequence[str], rows: Iterable[Sequence[Markup | None]], more: int = 0) -> str:
    """A table of values as HTML, as notebooks show it.

    Args:
        columns: Names.
        rows: Their cells; None where there is no value.
        more: Rows that are left out.
    """
    head = Markup("").join(Markup("<th>{}</th>").format(name) for name in columns)
    lines = [
        Markup("<tr>{}</tr>").format(
            Markup("").join(Markup("<td>{}</td>").format(Markup("") if cell is None else cell) for cell in row)
        )
        for row in rows
    ]
    rest = Markup("<p>and {} more</p>").format(f"{more:,}") if more > 0 else Markup("")
    return str(Markup("<table><tr>{}</tr>{}</table>{}").format(head, Markup("").join(lines), rest))
