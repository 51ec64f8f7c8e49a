"""Fields in a YAML file, which a user may correct by hand."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polymodal.data.fields import describe_fields
from polymodal.data.infer import Fields
from polymodal.files import write_file


def write_fields(path: Path, fields: Mapping[str, Any]) -> None:
    """Writes fields, as ``load`` takes them, as YAML for ``--fields``; with why other columns are none."""
    import yaml

    notes = fields.notes if isinstance(fields, Fields) else []
    comments = "".join(f"# {' '.join(note.split())}\n" for note in notes)
    text = yaml.safe_dump(describe_fields(fields), sort_keys=False, allow_unicode=True, default_flow_style=None)
    write_file(path, comments + text)
