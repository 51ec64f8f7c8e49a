"""Inspection: the numbers and the picture."""

from io import StringIO

import numpy as np
import pytest
from PIL import Image as PILImage
from rich.console import Console

import polymodal as pm
from polymodal.data import contact_sheet, inspect


@pytest.fixture
def data(tmp_path):
    rows = [
        {"picture": np.full((4, 4, 3), 40 * i, dtype=np.uint8), "name": "x" * i, "style": "ab"[i % 2]} for i in range(5)
    ]
    rows += [{"name": 5}, {"name": "only [bold]text"}, {"name": 6}]
    return pm.load(rows, {"picture": pm.Image(8), "name": pm.Text(), "style": pm.Label()}, cache=tmp_path, test=0.3)


def test_report(data):
    report = inspect(data)
    assert sum(report.rows.values()) == 6
    fields = {field.name: field for field in report.fields}
    assert fields["picture"].present == fields["picture"].distinct == 5
    assert fields["picture"].shape == (3, 8, 8)
    assert fields["picture"].lengths is None
    assert fields["name"].present == 5  # an empty text is absent
    assert fields["name"].lengths == (2, 4, 16)
    assert fields["style"].vocab == 2
    assert report.combinations == [
        (("picture", "name", "style"), 4),
        (("picture", "style"), 1),
        (("name",), 1),
    ]
    assert [rejection.row for rejection in report.rejected] == [6, 8]


def test_printed(data):
    console = Console(width=120, record=True, file=StringIO())
    console.print(inspect(data))
    text = console.export_text()
    for part in ("set aside", "3x8x8", "2, 4, 16", "5 (int) is not a string", "picture, style", "66.7"):
        assert part in text


def test_contact_sheet(data, tmp_path):
    path = contact_sheet(data, tmp_path / "sheet.png", columns=2)
    with PILImage.open(path) as sheet:
        assert sheet.width > 2 * 200
        colours = {colour for _, colour in sheet.convert("RGB").getcolors(100_000)}
    assert {(40, 40, 40), (160, 160, 160)} <= colours
