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


_TURN = """<canvas width="{}" height="{}" data-points="{}"></canvas><script>(function(){{
const canvas=document.currentScript.previousElementSibling,pen=canvas.getContext("2d");
const points=JSON.parse(canvas.dataset.points),side=canvas.width;let angle=0.5;
function draw(){{pen.fillStyle="#fff";pen.fillRect(0,0,side,side);const c=Math.cos(angle),s=Math.sin(angle);
for(let i=0;i<points.length;i+=3){{const x=points[i]/1000,y=points[i+1]/1000,z=points[i+2]/1000;
const across=c*x+s*z,near=c*z-s*x,up=0.94*y-0.34*near,grey=Math.round(130-80*near);
pen.fillStyle="rgb("+grey+","+grey+","+grey+")";
pen.fillRect((across*0.95+1)/2*side,(1-up*0.95)/2*side,2,2)}}
if(canvas.isConnected){{angle+=0.01;requestAnimationFrame(draw)}}}}draw()}})()</script><noscript>{}</noscript>"""


def turning_html(picture: PILImage.Image, numbers: str) -> Markup:
    """Points that turn about their upright axis, drawn by a script of the page itself.

    Args:
        picture: What is shown where there are no scripts; gives the side.
        numbers: Of the points, x, y and z one after another, in thousandths, within the unit ball; as JSON.
    """
    return Markup(_TURN).format(*picture.size, numbers, picture_html(picture))
