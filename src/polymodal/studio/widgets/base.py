"""How a value of a field is given in the studio."""

import re
from pathlib import Path
from typing import Any

from polymodal.modalities import Modality


class Widget:
    """An input of a page: a line of text where a cell is the value itself, else the upload of a file.

    Args:
        modality: Modality of the field.
    """

    def __init__(self, modality: Modality):
        self.modality = modality

    @property
    def component(self) -> str:
        """Name of the class of Gradio."""
        return "Textbox" if self.modality.inline else "File"

    def settings(self) -> dict[str, Any]:
        """Arguments of that class."""
        if self.modality.inline:
            return {}
        return {"file_types": list(self.modality.suffixes)} if self.modality.suffixes else {}

    def raw(self, value: Any) -> Any:
        """What the component holds -> a raw value; None if nothing is given."""
        if value is None or value == "":
            return None
        return str(value) if self.modality.inline else Path(value)

    def typed(self, value: Any) -> str | None:
        """What the component holds -> what is typed for it in a command.

        There, ``@`` begins the name of a file and ``-`` is standard input, so that texts are escaped.
        """
        raw = self.raw(value)
        if isinstance(raw, str) and (raw.startswith("@") or re.fullmatch(r"\\*-", raw)):
            return ("@" if raw.startswith("@") else "\\") + raw
        return raw and str(raw)
