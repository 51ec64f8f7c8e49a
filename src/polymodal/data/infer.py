"""Infer fields: what a source's columns seem to hold, where the user names no fields."""

import re
from collections.abc import Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from polymodal.data.cache import cache_folder
from polymodal.data.cells import is_absent
from polymodal.data.load import parse_fields, reserved
from polymodal.data.sources import Record, builtin, open_source
from polymodal.data.splits import is_split_column
from polymodal.errors import DataError
from polymodal.modalities import MODALITIES, ColumnSample, Modality

_PEEK_ROWS = 1000


def infer_fields(source: Any, cache: str | Path | None = None) -> dict[str, Any]:
    """Fields of a source by its first rows, with default settings; those of a built-in data set are known.

    A column whose name cannot be a field's, such as ``type`` or ``meta.title``, gives ``type_`` or ``meta_title``.

    Each modality is asked whether it recognises a column, the last of ``MODALITIES`` first. Columns that none
    recognises, splits, and names that begin with ``__`` are left out.

    Raises:
        DataError: There is no such source, or nothing in it is known.
    """
    if isinstance(source, str) and (module := builtin.find(source)):
        return {name: modality for name, (modality, _) in parse_fields(module.FIELDS).items()}
    origin = open_source(source, cache_folder(cache))
    names = [name for name in origin.columns() if not name.startswith("__")]
    fields: dict[str, Any] = {}
    peek = [found for found in islice(origin.records(names), _PEEK_ROWS) if isinstance(found, Record)]
    for name in names:
        cells = [record.cells.get(name) for record in peek]
        cells = [cell for cell in cells if not is_absent(cell)]
        if cells and not (name == "split" and is_split_column(cells)):
            modality = _recognised(ColumnSample(cells, partial(origin.column, name)))
            if modality is not None and (free := _field_name(name, names)) != name:
                fields[free] = {"modality": modality, "column": name}
            elif modality is not None:
                fields[name] = modality
    if not fields:
        known = ", ".join(sorted(MODALITIES))
        raise DataError(f"{origin.name}: no column holds values of a known kind, {known} ({', '.join(names)})")
    return fields


def _field_name(column: str, columns: Sequence[str]) -> str:
    """What the field of a column is called: its name, unless no field may have it."""
    name = re.sub(r"[./\\]", "_", column) or "_"
    while reserved(name) or (name != column and name in columns):
        name += "_"
    return name


def _recognised(sample: ColumnSample) -> Modality | None:
    found = (kind.recognise(sample) for kind in reversed(MODALITIES.values()))
    return next((modality for modality in found if modality is not None), None)
