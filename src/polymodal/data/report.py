"""Inspect: what a data set holds, what it lacks, and what was set aside."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from polymodal.data.load import Data
from polymodal.data.sources import Rejection
from polymodal.modalities import kind_of

_MOST_REJECTIONS = 20


@dataclass(frozen=True)
class FieldReport:
    """One field of a data set.

    Attributes:
        name: Of the field.
        modality: Its kind.
        present: Rows that have it.
        distinct: Distinct values.
        shape: Of one value, at its longest.
        vocab: Number of ids, 0 if continuous.
        lengths: (shortest, median, longest) in positions; None if no length varies or no row has the field.
    """

    name: str
    modality: str
    present: int
    distinct: int
    shape: tuple[int, ...]
    vocab: int
    lengths: tuple[int, int, int] | None


@dataclass(frozen=True)
class Report:
    """What ``inspect`` found; rich prints it as tables.

    Attributes:
        source: Name of the data.
        rows: Usable rows by split.
        fields: Each field.
        combinations: Rows that have exactly these fields, the most frequent first.
        rejected: Rows that were set aside.
        notes: What to know of how the source was read, in sentences.
    """

    source: str
    rows: dict[str, int]
    fields: list[FieldReport]
    combinations: list[tuple[tuple[str, ...], int]]
    rejected: list[Rejection]
    notes: list[str]

    def __rich__(self) -> RenderableType:
        tables = [self._rows(), self._fields(), self._combinations()]
        return Group(*tables, *([self._rejected()] if self.rejected else []), *map(escape, self.notes))

    def _rows(self) -> Table:
        table = Table("split", title=self.source, title_justify="left")
        table.add_column("rows", justify="right")
        for name, count in self.rows.items():
            table.add_row(name, f"{count:,}")
        table.add_row("set aside", f"{len(self.rejected):,}")
        return table

    def _fields(self) -> Table:
        total = sum(self.rows.values())
        table = Table("field", "modality", title="Fields (length: shortest, median, longest)", title_justify="left")
        for title in ("rows", "%", "distinct", "shape", "ids", "length"):
            table.add_column(title, justify="right")
        for field in self.fields:
            table.add_row(
                field.name,
                field.modality,
                f"{field.present:,}",
                _percent(field.present, total),
                f"{field.distinct:,}",
                "x".join(map(str, field.shape)),
                f"{field.vocab:,}" if field.vocab else "",
                ", ".join(map(str, field.lengths)) if field.lengths else "",
            )
        return table

    def _combinations(self) -> Table:
        total = sum(self.rows.values())
        table = Table("fields", title="Rows by the fields they have", title_justify="left")
        table.add_column("rows", justify="right")
        table.add_column("%", justify="right")
        for names, count in self.combinations:
            every = len(names) == len(self.fields) > 1
            table.add_row(escape("all" if every else ", ".join(names)), f"{count:,}", _percent(count, total))
        return table

    def _rejected(self) -> Table:
        table = Table("file", "row", "field", "reason", title="Rows set aside", title_justify="left")
        for rejection in self.rejected[:_MOST_REJECTIONS]:
            table.add_row(*map(escape, (rejection.file, str(rejection.row), rejection.field or "", rejection.reason)))
        if len(self.rejected) > _MOST_REJECTIONS:
            table.add_row("", "", "", f"and {len(self.rejected) - _MOST_REJECTIONS:,} more")
        return table


def inspect(data: Data) -> Report:
    """Count rows, presence per field and per combination of fields, sizes and lengths."""
    splits = list(data.splits.values())
    present = {name: np.concatenate([rows.present[name] for rows in splits]) for name in data.fields}
    patterns = Counter(map(tuple, np.stack(list(present.values()), axis=1).tolist()))
    combinations = [
        (tuple(name for name, has in zip(data.fields, pattern, strict=True) if has), count)
        for pattern, count in patterns.most_common()
    ]
    fields = []
    for name, modality in data.fields.items():
        columns = [rows.columns[name] for rows in splits]
        slots = np.concatenate([column.slots for column in columns])
        lengths = np.concatenate([column.lengths for column in columns])[present[name]]
        variable = modality.space.variable and len(lengths) > 0
        fields.append(
            FieldReport(
                name=name,
                modality=kind_of(modality),
                present=int(present[name].sum()),
                distinct=len(np.unique(slots[slots >= 0])),
                shape=modality.space.shape,
                vocab=modality.space.vocab,
                lengths=(int(lengths.min()), int(np.median(lengths)), int(lengths.max())) if variable else None,
            )
        )
    rows = {name: len(rows) for name, rows in data.splits.items()}
    return Report(data.source, rows, fields, combinations, data.rejected, data.notes)


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / max(1, whole):.1f}"
