"""Rows in shards that no disk need hold: what is known of all, and the values of those that are wanted now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.data.columns import Column
from polymodal.data.order import Order
from polymodal.data.rows import Derive, Rows
from polymodal.data.shards import ShardCache
from polymodal.errors import DataError, unknown
from polymodal.files import digest
from polymodal.modalities import Modality
from polymodal.types import Batch, Field


@dataclass(frozen=True)
class ShardStore:
    """What all rows of a data set in shards have in common.

    Attributes:
        sample: Some of the training rows, in memory.
        cache: Decodes shards.
        bytes: (S,) of each shard, decoded.
        contents: (S,) names of what each shard holds.
        window: Shards whose rows are mixed with each other.
    """

    sample: Rows
    cache: ShardCache
    bytes: np.ndarray
    contents: Sequence[str]
    window: int


class ShardedRows(Rows):
    """Rows of which only some are decoded at a time, those that are wanted and those that will be soon.

    Training reads them in their own order, shard by shard; what looks at the values of a whole column, as the training
    of a codec does, sees those of ``store.sample``.

    Args:
        store: Of the data set.
        shard: (N,) each row's shard.
        local: (N,) each row's number in its shard.
        present: By column, (N,) whether each row has it.
        index: (N,) each row's number in the source.
    """

    def __init__(
        self,
        store: ShardStore,
        shard: np.ndarray,
        local: np.ndarray,
        present: Mapping[str, np.ndarray],
        index: np.ndarray,
    ) -> None:
        begins = np.flatnonzero(np.concatenate([[True], np.diff(shard) != 0])) if len(shard) else np.zeros(0, np.int64)
        order, sample = Order(np.diff(np.append(begins, len(shard))), store.window), store.sample
        super().__init__(sample.fields, {}, sample.source, index, sample.names, order)
        self.store, self.shard, self.local, self._present = store, shard, local, dict(present)

    @property
    def ahead(self) -> int:  # type: ignore[override]
        return self.order.rows_of_window

    @property
    def present(self) -> dict[str, np.ndarray]:
        return dict(self._present)

    @property
    def fingerprint(self) -> str:
        parts = [f"{name} ".encode() + np.packbits(present).tobytes() for name, present in self._present.items()]
        return digest(*map(str.encode, self.store.contents), self.index.tobytes(), *parts).hex()

    def __getitem__(self, i: int) -> dict[str, Any]:
        i = range(len(self))[i]
        batch = self.decode(self.batch(np.array([i])))
        return {name: self._object(name, batch[name]) for name in self.fields if name in self._present}

    def batch(self, indices: np.ndarray | Tensor) -> Batch:
        rows = indices.numpy() if isinstance(indices, Tensor) else np.asarray(indices)
        shards, parts, places = self.shard[rows], [], []
        for shard in np.unique(shards).tolist():
            here = np.flatnonzero(shards == shard)
            own = self.store.cache.rows(shard).columns
            parts.append({name: own[name].batch(self.local[rows[here]]) for name in self._present})
            places.append(here)
        if not parts:
            return {
                name: column.batch(rows) for name, column in self.store.sample.columns.items() if name in self._present
            }
        back = torch.from_numpy(np.argsort(np.concatenate(places), kind="stable"))
        return {name: Field.stack([part[name] for part in parts]).pick(back) for name in self._present}

    @property
    def in_memory(self) -> Rows:
        return self.store.sample

    def expect(self, indices: Tensor) -> None:
        shards, first = np.unique(self.shard[indices.numpy()], return_index=True)
        self.store.cache.expect(shards[np.argsort(first)].tolist(), self.store.bytes)

    def select(self, indices: np.ndarray | Tensor) -> Rows:
        rows = indices.numpy() if isinstance(indices, Tensor) else np.asarray(indices)
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)
        present = {name: has[rows] for name, has in self._present.items()}
        return self._of(self.shard[rows], self.local[rows], present, self.index[rows])

    def unique(self, field: str) -> Rows:
        """The first row of each distinct value of a field in the sample."""
        return self.store.sample.unique(field)

    def only(self, *names: str) -> Rows:
        if missing := [name for name in names if name not in self._present]:
            raise DataError(unknown("field", missing[0], self._present))
        return self._of(self.shard, self.local, {name: self._present[name] for name in names}, self.index)

    def with_derived(self, name: str, derive: Derive, folder: Path) -> Rows:
        """These rows with one more column, which is made of each shard's and lies beside them in the cache."""
        self.store.cache.with_derived(name, derive)
        present = self._present | {name: self._present[name.partition(".")[0]]}
        return self._of(self.shard, self.local, present, self.index)

    def and_then(self, others: Rows) -> Rows:
        raise DataError("rows in shards cannot be put behind others; name all shards as one source")

    def with_column(self, name: str, column: Column) -> Rows:
        raise DataError(f"column '{name}': rows in shards have no columns; take their .in_memory")

    def without(self, field: str, where: np.ndarray) -> Rows:
        raise DataError(f"field '{field}': cells of rows in shards cannot be left out; take their .in_memory")

    def written_by(self, modalities: Mapping[str, Modality]) -> Rows:
        made = self._of(self.shard, self.local, self._present, self.index)
        made.fields = {name: modalities.get(name, modality) for name, modality in self.fields.items()}
        return made

    def _of(self, shard: np.ndarray, local: np.ndarray, present: Mapping[str, np.ndarray], index: np.ndarray) -> Rows:
        return ShardedRows(self.store, shard, local, present, index)
