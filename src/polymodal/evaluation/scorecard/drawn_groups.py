"""Drawn groups: the samples of groups of rows, which are drawn anywhere, kept in files, and scored together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load

from polymodal.bulk.worker import computing_threads
from polymodal.data import Rows
from polymodal.data.columns import Column
from polymodal.files import atomic_file, write_tensors
from polymodal.generation import CHUNK, generate_rows
from polymodal.model import Model
from polymodal.nn.random import fold, make_keys
from polymodal.types import Batch, Field

Direction = tuple[Sequence[str], str]
"""Fields that are given, and the one that is generated."""

GROUP_ROWS = 4 * CHUNK
"""Rows whose samples are drawn together, by the same calls of the model wherever that is."""


@dataclass(frozen=True)
class DrawnGroup:
    """Rows of a direction whose samples are drawn together.

    Attributes:
        name: Name of the file that keeps the samples; it depends on all that they depend on.
        inputs: Fields that are given.
        output: The field that is generated.
        options: Sampling options of its head.
        number: Which sample of each row it is, from 0.
        start: The first row, of those of the direction.
        end: The one behind the last.
    """

    name: str
    inputs: Sequence[str]
    output: str
    options: Mapping[str, Any]
    number: int
    start: int
    end: int

    def draw(self, model: Model, batch: Batch, seed: int) -> Field:
        """The samples, of the rows of the direction in model form."""
        everywhere, some = torch.ones(self.end - self.start, dtype=torch.bool), torch.arange(self.start, self.end)
        keys = make_keys(seed, len(batch[self.output]))[some]
        inputs, visible = {name: batch[name].pick(some) for name in self.inputs}, dict.fromkeys(self.inputs, everywhere)
        stream = fold(keys, self.number) if self.number else keys
        options = {self.output: self.options}
        return generate_rows(model, inputs, visible, {self.output: everywhere}, stream, options)[self.output]

    def read(self, folder: Path, model: Model) -> Field | None:
        """The samples that a folder keeps; None if they are not there, or not whole."""
        try:
            tensors = load((folder / f"{self.name}.safetensors").read_bytes())
            return Field(**tensors, varies=model.modalities[self.output].space.varies)
        except (OSError, SafetensorError, TypeError):
            return None

    def write(self, folder: Path, made: Field) -> None:
        """Keeps the samples in a folder."""
        tensors = {part: getattr(made, part).contiguous() for part in ("value", "mask", "present")}
        with atomic_file(folder / f"{self.name}.safetensors") as partial:
            write_tensors(partial, tensors)


def group_ranges(rows: int) -> Iterator[tuple[int, int]]:
    """The first row of each group of a direction, and the one behind its last."""
    return ((start, min(start + GROUP_ROWS, rows)) for start in range(0, rows, GROUP_ROWS))


@dataclass(frozen=True)
class DrawWork:
    """Draws groups, and keeps them in a folder; see ``polymodal.bulk.worker.Work``.

    Attributes:
        groups: What is drawn.
        columns: Stored values of the rows that are drawn from, of every field.
        places: By direction, its rows among these.
        folder: Where samples are kept; every machine sees it.
        seed: Random seed of the samples.
        threads: That compute.
    """

    groups: Sequence[DrawnGroup]
    columns: Mapping[str, Column]
    places: Mapping[Direction, np.ndarray]
    folder: Path
    seed: int
    threads: int

    def __getstate__(self) -> dict[str, Any]:
        """What is sent: values of other rows, and of those that lie in files, stay where they are."""
        return self.__dict__ | {"columns": {name: column.compact() for name, column in self.columns.items()}}

    def start(self, model: Model) -> Callable[[int], bool]:
        """See ``polymodal.bulk.worker.Work``."""
        fields = {name: model.modalities[name] for name in self.columns}
        count = len(next(iter(self.columns.values()), ()))
        rows = Rows(fields, self.columns, None, np.arange(count), {})  # type: ignore[arg-type]  # of no source

        @lru_cache(maxsize=1)  # groups of a direction are neighbours
        def batch(inputs: Sequence[str], output: str) -> Batch:
            return batch_of(rows.select(self.places[inputs, output]), inputs, output)

        def do(number: int) -> bool:
            group = self.groups[number]
            if group.read(self.folder, model) is None:
                with computing_threads(self.threads):
                    made = group.draw(model, batch(group.inputs, group.output), self.seed)
                group.write(self.folder, made)
            return True

        return do


def batch_of(rows: Rows, inputs: Sequence[str], output: str) -> Batch:
    """The values of a direction's fields in model form."""
    return rows.decode(rows.only(*dict.fromkeys([*inputs, output])).batch(np.arange(len(rows))))
