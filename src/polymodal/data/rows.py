"""Rows: what training and evaluation read."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.data.columns import Column
from polymodal.data.order import Order
from polymodal.data.sources import Record, Source
from polymodal.errors import DataError, unknown
from polymodal.files import digest
from polymodal.modalities import Modality
from polymodal.modalities.html import table_html
from polymodal.types import Batch, Field

_SHOWN = 8
"""Rows that a notebook shows."""


class Rows:
    """Some rows of a data set, decoded and ready to be batched.

    Attributes:
        fields: Modalities by name, in order.
        columns: Stored values by name: the fields', and what ``with_column`` added.
        source: Where they come from.
        index: (N,) each row's number in its source, from 0.
        names: The source's column of each field.
        order: In which an epoch visits them.
        ahead: Rows that whoever visits them in order should tell of in advance, by ``expect``.
    """

    ahead = 0

    def __init__(
        self,
        fields: Mapping[str, Modality],
        columns: Mapping[str, Column],
        source: Source,
        index: np.ndarray,
        names: Mapping[str, str],
        order: Order | None = None,
    ) -> None:
        self.fields, self.columns, self.source, self.index = dict(fields), dict(columns), source, index
        self.names, self.order = dict(names), order or Order(np.array([len(index)]))

    def __len__(self) -> int:
        return len(self.index)

    def __repr__(self) -> str:
        name = "rows" if self.source is None else f"rows of {self.source.name}"
        counts = ", ".join(f"{name} {int(present.sum()):,}" for name, present in self.present.items())
        return f"Rows({len(self):,} {name}: {counts})"

    def _repr_html_(self) -> str:
        names = [name for name in self.fields if name in self.columns]
        shown = (self[i] for i in range(min(len(self), _SHOWN)))
        cells = ([None if row[n] is None else self.fields[n].preview(row[n]) for n in names] for row in shown)
        return table_html(names, cells, len(self) - _SHOWN)

    def __getitem__(self, i: int) -> dict[str, Any]:
        """Row ``i`` as objects that a user expects (pictures, strings, sound), None where absent."""
        i = range(len(self))[i]
        names = [name for name in self.fields if name in self.columns]
        batch = self.decode({name: self.columns[name].batch(np.array([i])) for name in names})
        return {name: self._object(name, batch[name]) for name in names}

    def _object(self, name: str, field: Field) -> Any:
        return self.fields[name].write(field.values()[0]) if field.present[0] else None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[i] for i in range(len(self)))

    def batch(self, indices: np.ndarray | Tensor) -> Batch:
        """Stored values of the rows at ``indices`` (B,), every column, on the CPU; zeros where absent."""
        rows = indices.numpy() if isinstance(indices, Tensor) else np.asarray(indices)
        return {name: column.batch(rows) for name, column in self.columns.items()}

    @property
    def in_memory(self) -> "Rows":
        """These rows, or as many of them as are known whole, for whoever looks at the values of a column."""
        return self

    def expect(self, indices: Tensor) -> None:
        """Says that the rows at ``indices`` will be asked for soon; what lies in memory has no need of it."""

    def decode(self, batch: Batch) -> Batch:
        """Stored values -> values in each field's space, on the device where they are; zeros where absent."""
        return {name: self._decode(name, field) for name, field in batch.items()}

    def _decode(self, name: str, field: Field) -> Field:
        modality = self.fields.get(name)
        if modality is not None:
            value = modality.to_model(field.value if field.varies is None else field.value.movedim(1 + field.varies, 1))
        else:
            value = field.value.to(torch.float32 if field.value.is_floating_point() else torch.int64)
        # On an accelerator the question would cost more than the filling.
        decoded = replace(field, value=value)
        if value.device.type != "cpu" or not field.mask.all():
            decoded = replace(decoded, value=value.masked_fill(~decoded.real, 0))
        return decoded

    @property
    def present(self) -> dict[str, np.ndarray]:
        """(N,) for each column, whether each row has it."""
        return {name: column.present for name, column in self.columns.items()}

    def column(self, name: str) -> list[Any]:
        """The cells of any column, as the source has them; None where absent.

        Raises:
            DataError: There is no such column.
        """
        cells = self.source.column(self.names.get(name, name))
        return [cells[i] for i in self.index]

    def raws(self, name: str) -> Iterator[Any]:
        """The raw values of a field, in order; None where absent.

        Raises:
            DataError: There is no such field, or a value can no longer be read.
        """
        column = self.names[name]
        records = [found for found in self.source.records([column]) if isinstance(found, Record)]
        return (self.source.raw(records[i], column, self.fields[name]) for i in self.index)

    def select(self, indices: np.ndarray | Tensor) -> "Rows":
        """The rows at ``indices`` (n,), which may repeat, or where a boolean mask (N,) is True."""
        rows = indices.numpy() if isinstance(indices, Tensor) else np.asarray(indices)
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)
        return self._with({name: column.take(rows) for name, column in self.columns.items()}, self.index[rows])

    def where(self, **equals: Any) -> "Rows":
        """The rows whose cells equal all of these, such as ``where(style="openmoji", held_out=True)``.

        Raises:
            DataError: There is no such column.
        """
        keep = np.ones(len(self), dtype=bool)
        for name, value in equals.items():
            keep &= np.fromiter((cell == value for cell in self.column(name)), dtype=bool, count=len(self))
        return self.select(keep)

    def unique(self, field: str) -> "Rows":
        """The first row of each distinct value of a field, in order; rows without it are left out.

        Raises:
            DataError: There is no such field.
        """
        if field not in self.columns:
            raise DataError(unknown("field", field, self.columns))
        slots, first = np.unique(self.columns[field].slots, return_index=True)
        return self.select(np.sort(first[slots >= 0]))

    def and_then(self, others: "Rows") -> "Rows":
        """These rows followed by others of the same data set."""
        columns = {
            name: replace(column, slots=np.concatenate([column.slots, others.columns[name].slots]))
            for name, column in self.columns.items()
        }
        return self._with(columns, np.concatenate([self.index, others.index]))

    def without(self, field: str, where: np.ndarray) -> "Rows":
        """These rows, of which the cells of a field are absent where a mask (N,) is True.

        Raises:
            DataError: There is no such field.
        """
        if field not in self.columns:
            raise DataError(unknown("field", field, self.columns))
        column = self.columns[field]
        return self.with_column(field, replace(column, slots=np.where(where, -1, column.slots)))

    def with_column(self, name: str, column: Column) -> "Rows":
        """These rows with one more column in every batch, such as cached latents.

        Raises:
            DataError: The column has another number of rows.
        """
        if len(column) != len(self):
            raise DataError(f"column '{name}' has {len(column)} rows, the data {len(self)}")
        return self._with({**self.columns, name: column}, self.index)

    def written_by(self, modalities: Mapping[str, Modality]) -> "Rows":
        """These rows, whose values are written by a model's modalities, so that its vocoder makes their sound."""
        fields = {name: modalities.get(name, modality) for name, modality in self.fields.items()}
        return Rows(fields, self.columns, self.source, self.index, self.names)

    def only(self, *names: str) -> "Rows":
        """These rows with no columns but these, which is then all that a batch reads."""
        return self._with({name: self.columns[name] for name in names}, self.index)

    def with_derived(self, name: str, derive: "Derive", folder: Path) -> "Rows":
        """These rows with one more column, which is made of the others and kept in a folder.

        Args:
            name: Of the column.
            derive: Makes it of some rows.
            folder: To keep it in, where these rows have none of their own.
        """
        return self.with_column(name, derive(self, folder))

    def _with(self, columns: Mapping[str, Column], index: np.ndarray) -> "Rows":
        order = self.order if len(index) == len(self) else None
        return Rows(self.fields, columns, self.source, index, self.names, order)

    @property
    def fingerprint(self) -> str:
        """Names the content: equal where every row of every column is."""
        return digest(
            *(
                f"{name} {column.key}".encode() + column.slots.astype(np.int64).tobytes()
                for name, column in self.columns.items()
            )
        ).hex()


Derive = Callable[[Rows, Path], Column]
"""(rows, folder) -> a column of these rows, whose values are kept in the folder."""
