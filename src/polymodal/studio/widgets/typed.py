"""Inputs of words."""

from typing import Any

from polymodal.studio.widgets.base import Widget


class TextInput(Widget):
    """A text of several lines."""

    def settings(self) -> dict[str, Any]:
        return {"lines": 2}


class ChoiceInput(Widget):
    """One of the classes that the run knows, or none."""

    @property
    def component(self) -> str:
        return "Dropdown"

    def settings(self) -> dict[str, Any]:
        return {"choices": ["", *self.modality.state()["names"]], "value": ""}
