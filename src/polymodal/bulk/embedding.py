"""Embedding: the aligned fields of groups of rows as vectors in tables of their own, which are searched."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import torch

from polymodal import stopping
from polymodal.bulk.plan import InputFile, Plan, RowGroup, make_plan
from polymodal.bulk.storage import Storage, file_system
from polymodal.bulk.worker import Job, Write, read_file_rows
from polymodal.checkpoint import digest_of
from polymodal.data.cells import resolve
from polymodal.data.paths import Files
from polymodal.embedding import CHUNK, AlignedEmbedder, Moments
from polymodal.errors import CheckpointError, ConfigError, DataError
from polymodal.generation import read
from polymodal.model import Model
from polymodal.search import Hit
from polymodal.tables.arrow import ArrowColumns
from polymodal.types import Field

_KEPT = ".embed"
MANIFEST, TABLES = f"{_KEPT}/manifest.json", f"{_KEPT}/tables.json"
ROW = "row"
"""The column of a row's number among those of all files, from 0."""


@dataclass(frozen=True)
class EmbedTask:
    """Embeds the fields of rows; see ``polymodal.bulk.worker.Task``.

    Attributes:
        moments: Mean and deviation of the encodings of each embedded field, for ``AlignedEmbedder``.
    """

    moments: Mapping[str, Moments]
    kept: str = _KEPT

    def settings(self) -> dict[str, Any]:
        moments = {name: [its.mean.tolist(), its.variance.tolist()] for name, its in self.moments.items()}
        return {"moments": moments}

    def writer(self, model: Model, job: Job) -> Write:
        embedder = AlignedEmbedder(model, self.moments)
        cells = _Cells(model, job.plan, job.root)
        if not any(cells.names[name] in job.plan.schema.names for name in embedder.fields):
            wanted = ", ".join(cells.names[name] for name in embedder.fields)
            raise ConfigError(f"{job.plan.files[0].name}: has no column that can be embedded ({wanted})")
        return lambda group, file: _embed(embedder, cells, group, file)


class _Cells:
    """The cells of planned files, as values of a model's fields."""

    def __init__(self, model: Model, plan: Plan, root: str | None) -> None:
        self.modalities, self.files = model.modalities, Files(plan.folder, root)
        self.names = {name: field.column or name for name, field in model.recipe.fields.items()}
        self._columns = ArrowColumns(plan.files[0].name, plan.schema)

    def rows(self, file: InputFile, start: int, count: int) -> Iterator[list[dict[str, Any]]]:
        """Rows as cells by column, some at a time."""
        for rows in read_file_rows(file, start, count):
            yield self._columns.rows(rows, {*self.names.values()})  # type: ignore[misc]  # Arrow reads every row

    def value(self, name: str, row: Mapping[str, Any], file: InputFile) -> Field | None:
        """A field of a row in model form; None where it is absent.

        Raises:
            DataError: It cannot be read.
        """
        raw = self.raw(name, row, file)
        return None if raw is None else read(name, self.modalities[name], raw)

    def raw(self, name: str, row: Mapping[str, Any], file: InputFile) -> Any:
        """The raw value of a field of a row; None where it is absent. As ``value``."""
        return resolve(row.get(self.names[name]), self.modalities[name], self.files, file.name)


def _embed(embedder: AlignedEmbedder, cells: _Cells, group: RowGroup, partial: Path) -> dict[str, Any]:
    file, place = group.file, group.start
    note: dict[str, Any] = {"rows": group.rows, "filled": dict.fromkeys(embedder.fields, 0), "rejected": []}
    sizes = dict.fromkeys(embedder.fields, embedder.size)
    kinds = [pa.field(ROW, pa.int64()), *(pa.field(name, pa.list_(pa.float32(), n)) for name, n in sizes.items())]
    with pa.parquet.ParquetWriter(partial, pa.schema(kinds)) as writer:
        for rows in cells.rows(file, group.start, group.rows):
            columns: list[Any] = [pa.array(np.arange(len(rows)) + file.first + place)]
            for name, size in sizes.items():
                there: dict[int, Field] = {}
                for number, row in enumerate(rows):
                    try:
                        if (value := cells.value(name, row, file)) is not None:
                            there[number] = value
                    except DataError as error:
                        reason = str(error).removeprefix(f"{name}: ")
                        note["rejected"].append([file.name, place + number + 1, name, reason])
                vectors = np.zeros((len(rows), size), np.float32)
                where = [*there]
                for chunk in (where[start : start + CHUNK] for start in range(0, len(where), CHUNK)):
                    vectors[chunk] = embedder.embed(name, Field.stack([there[number] for number in chunk])).numpy()
                absent = np.ones(len(rows), dtype=bool)
                absent[where] = False
                flat = pa.array(vectors.reshape(-1))
                columns.append(pa.FixedSizeListArray.from_arrays(flat, size, mask=pa.array(absent)))
                note["filled"][name] += len(where)
            writer.write_table(pa.table(columns, schema=pa.schema(kinds)))
            place += len(rows)
            stopping.stop_if_asked()
    return note


def moments_of(manifest: Mapping[str, Any]) -> dict[str, Moments]:
    """Those that tables were embedded with."""
    return {name: Moments(*map(torch.tensor, its)) for name, its in manifest["moments"].items()}


def is_embedded(folder: Any) -> bool:
    """Whether a folder, or what its URL names, holds tables that were embedded."""
    return isinstance(folder, str | Path) and Storage(str(folder)).read(MANIFEST) is not None


class EmbeddedTables:
    """Rows of Parquet files that were embedded group by group. A search reads the vectors from the disk, and no others.

    Args:
        model: The one that they were embedded by.
        folder: What ``embed_many`` has written, or its URL.
        root: A folder that paths in cells may start from and lead to, besides that of the tables.

    Raises:
        CheckpointError: Another model has embedded them, or some groups are not done yet.
        DataError: The tables are not there any more.
    """

    def __init__(self, model: Model, folder: str | Path, root: str | None = None) -> None:
        self.model, self.storage = model, Storage(str(folder))
        manifest = json.loads(self.storage.read(MANIFEST) or b"{}")
        if manifest.get("model") != digest_of(model):
            raise CheckpointError(f"{folder}: was embedded by another model; embed the tables again")
        self.plan = make_plan(json.loads(self.storage.read(TABLES) or b"[]"), manifest["group_rows"])
        if json.loads(json.dumps(self.plan.note()["files"])) != manifest["files"]:
            raise CheckpointError(f"{folder}: the tables have changed since they were embedded; embed them again")
        if missing := len(self.plan) - len(self.storage.names(f"{_KEPT}/notes")):
            raise CheckpointError(
                f"{folder}: {missing} of {len(self.plan)} groups are not embedded yet; embed them first"
            )
        self.embedder = AlignedEmbedder(model, moments_of(manifest))
        self._cells = _Cells(model, self.plan, root)

    @cached_property
    def _parts(self) -> list[str]:
        return [self.plan.part(number) for number in range(len(self.plan))]

    def search(self, given: Mapping[str, Any], to: str, *, k: int = 10) -> list[Hit]:
        """The rows whose field ``to`` is nearest to what is given, nearest first, each row by itself.

        Args:
            given: Raw values by field; the embeddings of several are averaged.
            to: Field to look in; it may be one that is given.
            k: Most rows to find.

        Raises:
            ConfigError: A field is unknown or not aligned.
            DataError: Nothing is given, a value cannot be read, or no row has ``to``.
        """
        if k < 1:
            raise ConfigError(f"k: {k} is not at least 1")
        given = {name: raw for name, raw in given.items() if raw is not None}
        self.embedder.check(list(given), "given")
        self.embedder.check([to], "to")
        fields = {name: read(name, self.model.modalities[name], raw) for name, raw in given.items()}
        query = self.embedder.embed_together(fields).numpy()[0]
        best, places = np.empty(0, np.float32), np.empty(0, np.int64)
        for rows, vectors in self._vectors(to):
            similarities = np.concatenate([best, vectors @ query])
            order = np.argsort(-similarities, kind="stable")[:k]
            best, places = similarities[order], np.concatenate([places, rows])[order]
        if not len(best):
            raise DataError(f"to: no row of the tables has '{to}'")
        return [
            self._hit(rank, float(similarity), place, to)
            for rank, (similarity, place) in enumerate(zip(best, places.tolist(), strict=True), 1)
        ]

    def paths(self, to: str, hits: Sequence[Hit]) -> list[str]:
        """The file of each value that was found; empty where it has none of its own, or that can no longer be read."""
        found = []
        for hit in hits:
            try:
                raw = self._cells.raw(to, *self._row(hit.row - 1))
            except DataError:
                raw = None
            found.append(str(raw) if isinstance(raw, Path) else "")
        return found

    def _row(self, place: int) -> tuple[dict[str, Any], InputFile]:
        """The cells of a row, and the file that has it."""
        file = next(file for file in reversed(self.plan.files) if file.first <= place)
        (row,) = next(self._cells.rows(file, place - file.first, 1))
        return row, file

    def _vectors(self, name: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Numbers (n,) and vectors (n, size) of the rows that have a field, group by group."""
        for part in self._parts:
            files, path = file_system(f"{self.storage.url.rstrip('/')}/{part}")
            with files.open(path, "rb") as content:
                table = pa.parquet.read_table(content, columns=[ROW, name])
            there = table.filter(pa.compute.is_valid(table[name]))
            vectors = there[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
            yield there[ROW].to_numpy(), vectors.reshape(len(there), -1)

    def _hit(self, rank: int, similarity: float, place: int, to: str) -> Hit:
        row, file = self._row(place)
        fields: dict[str, Any] = {}
        for name, modality in self.model.modalities.items():
            try:
                value = self._cells.value(name, row, file)
            except DataError:
                value = None
            fields[name] = None if value is None else modality.write(value.values()[0])
        return Hit(rank, similarity, place + 1, fields[to], fields)
