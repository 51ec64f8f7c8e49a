"""Each modality's input: what it holds as a raw value, and as it is typed in a command."""

from pathlib import Path

import pytest

from polymodal.cli.generate import raw_value
from polymodal.modalities import Audio, Image, Label, Molecule, Points, Series, Text, Vector, Video
from polymodal.studio.widgets import find_widget

MODALITIES = {
    "Textbox": [Text(), Vector(size=2), Molecule()],
    "Dropdown": [Label(names=["a", "b"])],
    "Image": [Image()],
    "Audio": [Audio()],
    "Video": [Video()],
    "File": [Points(), Series(channels=1)],
}
CASES = [(component, modality) for component, modalities in MODALITIES.items() for modality in modalities]


@pytest.mark.parametrize(("component", "modality"), CASES, ids=lambda case: type(case).__name__)
def test_the_command_reads_what_the_page_gives(component, modality):
    widget = find_widget(modality)
    assert widget.component == component
    for value in ("a", "@a", "@@a", "it's\na", "-", "\\-", "\\\\-", "-5"):
        typed = widget.typed(value)
        assert widget.raw(value) == (value if modality.inline else Path(value))
        if modality.inline or value[0] not in "@-":
            assert raw_value(typed, modality) == widget.raw(value)
    for nothing in (None, ""):
        assert widget.raw(nothing) is None
        assert widget.typed(nothing) is None


def test_microphone_and_webcam_are_inputs():
    assert "microphone" in find_widget(Audio()).settings()["sources"]
    assert "webcam" in find_widget(Image()).settings()["sources"]
    assert "webcam" in find_widget(Video()).settings()["sources"]


def test_classes_are_choices():
    assert find_widget(Label(names=["a", "b"])).settings()["choices"] == ["", "a", "b"]
