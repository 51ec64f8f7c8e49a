"""Inspect: what a data set holds, what it lacks, and what was set aside."""

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from polymodal.data.load import Data
from polymodal.data.overlap import overlap
from polymodal.data.sources import Rejection
from polymodal.errors import printable
from polymodal.modalities import kind_of

_MOST_REASONS = 20
_MOST_COMBINATIONS = 12
_VARIES = re.compile(r"'[^']*'|[\d.,]+|\(.*\)")
"""Parts of a reason that differ from cell to cell."""


@dataclass(frozen=True)
class FieldReport:
    """One field of a data set.

    Attributes:
        name: Name of the field.
        modality: Name of its modality, such as ``image``.
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
        bad_cells: Cells of the other rows that could not be read.
        overlap: By split that is held out, and by field, the share of values that training rows have as well.
    """

    source: str
    rows: dict[str, int]
    fields: list[FieldReport]
    combinations: list[tuple[tuple[str, ...], int]]
    rejected: list[Rejection]
    notes: list[str]
    bad_cells: list[Rejection]
    overlap: dict[str, dict[str, float]]

    def __rich__(self) -> RenderableType:
        tables = [self._rows(), self._fields(), self._combinations()]
        if self.overlap:
            tables.append(self._overlap())
        if self.rejected:
            tables.append(_by_reason("Rows set aside", self.rejected))
        if self.bad_cells:
            tables.append(_by_reason("Cells that are missing because they could not be read", self.bad_cells))
        return Group(*tables, *map(_plain, self.notes))

    def _rows(self) -> Table:
        table = Table("split", title=_plain(self.source), title_justify="left")
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
                _plain(field.name),
                field.modality,
                f"{field.present:,}",
                _percent(field.present, total),
                f"{field.distinct:,}",
                "x".join(map(str, field.shape)),
                f"{field.vocab:,}" if field.vocab else "",
                ", ".join(map(str, field.lengths)) if field.lengths else "",
            )
        return table

    def _overlap(self) -> Table:
        table = Table("field", title="Values of held-out rows that training rows have as well", title_justify="left")
        for split in self.overlap:
            table.add_column(f"{split}, %", justify="right")
        for field in self.fields:
            shares = [by_field.get(field.name) for by_field in self.overlap.values()]
            table.add_row(_plain(field.name), *("" if share is None else _percent(share, 1) for share in shares))
        return table

    def _combinations(self) -> Table:
        total = sum(self.rows.values())
        table = Table("fields", title="Rows by the fields they have", title_justify="left")
        table.add_column("rows", justify="right")
        table.add_column("%", justify="right")
        for names, count in self.combinations[:_MOST_COMBINATIONS]:
            every = len(names) == len(self.fields) > 1
            table.add_row(_plain("all" if every else ", ".join(names)), f"{count:,}", _percent(count, total))
        if rest := self.combinations[_MOST_COMBINATIONS:]:
            count = sum(count for _, count in rest)
            table.add_row(f"{len(rest):,} other combinations", f"{count:,}", _percent(count, total))
        return table


def _plain(text: str) -> Text:
    """A text as it is, without markup."""
    return Text(printable(text))


def _by_reason(title: str, found: list[Rejection]) -> Table:
    """How often each reason was given, with the first row of each."""
    groups: dict[tuple[str, str], list[Rejection]] = {}
    for rejection in found:
        kind = _VARIES.sub("", rejection.reason)
        groups.setdefault((rejection.field or "", kind), []).append(rejection)
    table = Table("number", "field", "reason", "first in", title=title, title_justify="left")
    table.columns[0].justify = "right"
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    for (field, _), group in ordered[:_MOST_REASONS]:
        first = group[0]
        table.add_row(*map(_plain, (f"{len(group):,}", field, first.reason, f"{first.file}, row {first.row:,}")))
    if len(ordered) > _MOST_REASONS:
        rest = sum(len(group) for _, group in ordered[_MOST_REASONS:])
        table.add_row(f"{rest:,}", "", f"{len(ordered) - _MOST_REASONS:,} more reasons", "")
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
    shared = {name: overlap(held_out, data.train) for name, held_out in data.splits.items() if name != "train"}
    shared = {name: by_field for name, by_field in shared.items() if by_field}
    return Report(data.source, rows, fields, combinations, data.rejected, data.notes, data.bad_cells, shared)


def _percent(part: float, whole: int) -> str:
    return f"{100 * part / max(1, whole):.1f}"
