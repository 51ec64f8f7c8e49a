"""Fill: every missing cell of a table, from the other cells of its row."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from polymodal.checkpoint import digest_of
from polymodal.data import Rejection
from polymodal.data.cells import resolve
from polymodal.errors import CheckpointError, ConfigError, DataError, unknown
from polymodal.files import atomic_file, write_file
from polymodal.generation import generate_rows, read, write
from polymodal.model import Model
from polymodal.nn.random import make_keys
from polymodal.tables import Changes, Shard, open_table
from polymodal.types import Batch, Field

if TYPE_CHECKING:
    from polymodal.evaluation.calibration import Calibration


@dataclass(frozen=True)
class Filled:
    """What ``fill`` did.

    Attributes:
        path: Of the table that was written.
        rows: Their number.
        filled: Cells that were filled, by field.
        unsure: Cells that were left empty for want of confidence, by field.
        rejected: Rows that could not be read and were copied as they are.
    """

    path: Path
    rows: int
    filled: dict[str, int]
    rejected: list[Rejection]
    unsure: dict[str, int] = field(default_factory=dict)


def fill(
    model: Model,
    table: str | Path,
    output: str | Path,
    *,
    columns: Sequence[str] | None = None,
    seed: int = 0,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    overwrite: bool = False,
    calibration: Calibration | None = None,
    min_confidence: float | None = None,
) -> Filled:
    """Fills the missing cells of a table; everything else stays as it is, in the same order.

    Shards of rows are kept in ``OUTPUT.partial`` as they are done. Stopped and called again, it goes on after the last
    one, and the result is the same: what is drawn for a row depends on the seed and the row's number alone.

    Args:
        model: Any.
        table: A ``.parquet``, ``.jsonl`` or ``.csv`` file, of any size.
        output: A file of the same ending. Parquet embeds pictures, sound and other files; the others name
            files in a folder ``OUTPUT.files`` beside it.
        columns: Fields to fill, whose columns are added where the table lacks them. None: all that it has.
        seed: Of what is drawn.
        options: Of the heads by field, such as ``{"picture": {"steps": 10}}``.
        overwrite: Replace an older output, and begin anew.
        calibration: Of this model with these options. With it, a column ``COLUMN_confidence`` is added for each
            column, with the probability in [0, 1] that a filled cell is right.
        min_confidence: Leave cells of which the model is less sure empty.

    Raises:
        ConfigError: A field is unknown, or cannot be generated or is not calibrated; or the output cannot be written
            there.
        DataError: The table cannot be read.
        CheckpointError: There is an output, or a part of one that was begun with other settings.
    """
    job = _Job(model, Path(table), Path(output), columns, seed, options, calibration, min_confidence)
    return job.run(overwrite)


@dataclass(frozen=True)
class _Made:
    """An object that was made for a cell, and the probability that it is right, if that was asked for."""

    thing: Any
    confidence: float | None


class _Job:
    def __init__(
        self,
        model: Model,
        source: Path,
        output: Path,
        columns: Sequence[str] | None,
        seed: int,
        options: Mapping[str, Mapping[str, Any]] | None,
        calibration: Calibration | None,
        min_confidence: float | None,
    ):
        self.model, self.output, self.seed, self.options = model, output, seed, options
        self.calibration, self.min_confidence = calibration, min_confidence
        self.names = {name: field.column or name for name, field in model.recipe.fields.items()}
        self.table = open_table(source)
        if output.suffix.lower() != source.suffix.lower():
            raise ConfigError(f"{output}: the output's ending must be the table's, '{source.suffix}'")
        if output.resolve() == source.resolve():
            raise ConfigError(f"{output}: the output is the table itself; write another file")
        self.wanted = self._wanted(columns)
        self._check_calibration()
        columns_wanted = [self.names[name] for name in self.wanted]
        if calibration:
            confidences = [_confidence_column(column) for column in columns_wanted]
            for column in confidences:
                if column in self.table.columns:
                    raise ConfigError(f"{source.name}: has a column '{column}' already; rename it, or leave it out")
            columns_wanted += confidences
        self.table.added = [column for column in columns_wanted if column not in self.table.columns]
        for name in self.wanted:
            modality = model.modalities[name]
            zeros = Field.absent(modality.space, 1).value[0]
            self.table.prepare(self.names[name], modality.cell(modality.write(zeros)) if modality.inline else b"")
            if calibration:
                self.table.prepare(_confidence_column(self.names[name]), 0.0)
        self.partial = output.with_name(output.name + ".partial")
        self.files = output.with_name(output.name + ".files")

    def _wanted(self, columns: Sequence[str] | None) -> list[str]:
        heads = list(self.model.heads)
        if columns is None:
            wanted = [name for name in heads if self.names[name] in self.table.columns]
            if not wanted:
                known = ", ".join(self.names[name] for name in heads)
                raise ConfigError(f"{self.table.path.name}: has no column that the model can fill; it can fill {known}")
            return wanted
        for name in columns:
            if name not in self.model.modalities:
                raise ConfigError(unknown("columns", name, self.model.modalities))
            if name not in heads:
                raise ConfigError(f"columns: '{name}' is an input only; choose among {', '.join(heads)}")
        return [name for name in heads if name in columns]

    def _check_calibration(self) -> None:
        """Makes sure that the calibration, if there is one, covers all fields to fill."""
        if self.calibration is None:
            if self.min_confidence is not None:
                raise ConfigError("min_confidence: needs a calibration; `polymodal calibrate` makes one")
            return
        if self.min_confidence is not None and not 0 <= self.min_confidence <= 1:
            raise ConfigError(f"min_confidence: {self.min_confidence} is not in [0, 1]")
        if not self.calibration.fits(self.model, self.options):
            raise ConfigError("calibration: is of another model, or of other options of its heads; calibrate again")
        for name in self.wanted:
            if name not in self.calibration.calibrators:
                known = ", ".join(self.calibration.calibrators)
                raise ConfigError(f"calibration: '{name}' is not calibrated; {known} are; name the columns to fill")

    def run(self, overwrite: bool) -> Filled:
        if overwrite:
            self.output.unlink(missing_ok=True)
            shutil.rmtree(self.partial, ignore_errors=True)
            shutil.rmtree(self.files, ignore_errors=True)
        if self.output.exists():
            raise CheckpointError(f"{self.output}: is there already; choose another file, or overwrite it")
        self._claim()
        console = Console(stderr=True)
        notes, first = [], 0
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("Filling", total=None)
            for number, shard in enumerate(self.table.shards()):
                note = self._shard(number, shard, first)
                notes.append(note)
                first += len(shard.rows)
                progress.update(task, description=f"Filling: {first:,} rows")
        parts = [self._part(number) for number in range(len(notes))]
        with atomic_file(self.output) as joined:
            self.table.join(parts, joined)
        shutil.rmtree(self.partial)
        counts, unsure = (
            {name: sum(note.get(kind, {}).get(name, 0) for note in notes) for name in self.wanted}
            for kind in ("filled", "unsure")
        )
        rejected = [Rejection(*fields) for note in notes for fields in note["rejected"]]
        return Filled(self.output, first, counts, rejected, unsure)

    def _claim(self) -> None:
        """Begins the partial folder, or makes sure that it was begun by the same call."""
        status = self.table.path.stat()
        plan = {
            "table": [str(self.table.path.resolve()), status.st_size, status.st_mtime_ns],
            "model": digest_of(self.model),
            "columns": self.wanted,
            "seed": self.seed,
            "options": {name: dict(values) for name, values in (self.options or {}).items()},
            "calibration": self.calibration.digest if self.calibration else None,
            "min_confidence": self.min_confidence,
        }
        file = self.partial / "plan.json"
        if file.exists() and any(self.partial.glob("shard-*.json")):
            begun = json.loads(file.read_text(encoding="utf-8"))
            for key, value in plan.items():
                if begun.get(key) != json.loads(json.dumps(value)):
                    raise CheckpointError(
                        f"{self.partial}: holds a part that was begun with another {key}; overwrite it, or delete it"
                    )
            return
        write_file(file, json.dumps(plan))

    def _part(self, number: int) -> Path:
        return self.partial / f"shard-{number:06d}{self.output.suffix}"

    def _shard(self, number: int, shard: Shard, first: int) -> dict[str, Any]:
        """Fills a shard, if that is not done yet; gives the note that is kept of it."""
        note_file = self.partial / f"shard-{number:06d}.json"
        if note_file.exists():
            return json.loads(note_file.read_text(encoding="utf-8"))
        changes, rejected, unsure = self._changes(shard, first)
        with atomic_file(self._part(number)) as part:
            self.table.write(part, shard, changes)
        filled = {name: len(changes[self.names[name]]) for name in self.wanted}
        note = {"filled": filled, "unsure": unsure, "rejected": [[r.file, r.row, r.field, r.reason] for r in rejected]}
        write_file(note_file, json.dumps(note))  # comes last: what is noted is done
        return note

    def _changes(self, shard: Shard, first: int) -> tuple[Changes, list[Rejection], dict[str, int]]:
        """New cells by column, rows that cannot be read, and how many cells of each field were left empty."""
        given: dict[str, dict[int, Field]] = {name: {} for name in self.model.modalities}
        rejected, places = [], []
        for place, row in enumerate(shard.rows):
            try:
                fields = self._read(row)
            except DataError as error:
                field, _, reason = str(error).partition(": ")
                rejected.append(Rejection(self.table.path.name, first + place + 1, field or None, reason))
                continue
            if any(name not in fields for name in self.wanted):
                places.append(place)
                for name, value in fields.items():
                    given[name][place] = value
        changes: dict[str, dict[int, Any]] = {self.names[name]: {} for name in self.wanted}
        unsure = dict.fromkeys(self.wanted, 0)
        for name, cells in (self._generate(given, places, first) if places else {}).items():
            column, least = self.names[name], self.min_confidence or 0.0
            sure = {place: cell for place, cell in cells.items() if cell.confidence is None or cell.confidence >= least}
            unsure[name] = len(cells) - len(sure)
            changes[column] = {place: self._cell(name, cell.thing, first + place) for place, cell in sure.items()}
            if self.calibration:
                changes[_confidence_column(column)] = {place: cell.confidence for place, cell in sure.items()}
        return changes, rejected, unsure

    def _read(self, row: dict[str, Any] | str) -> dict[str, Field]:
        """The fields that a row has.

        Raises:
            DataError: ``field: reason``, the field empty if it is the row.
        """
        if isinstance(row, str):
            raise DataError(f": {row}")
        fields = {}
        for name, modality in self.model.modalities.items():
            try:
                raw = resolve(row.get(self.names[name]), modality, self.table.path.parent)
            except DataError as error:
                raise DataError(f"{name}: {error}") from None
            if isinstance(raw, Path) and self.output.parent.resolve() != self.table.path.parent.resolve():
                raise ConfigError(
                    f"{self.output}: cells of '{self.names[name]}' are paths from the table's folder; write the output "
                    f"there, such as {self.table.path.with_name(self.output.name)}"
                )
            if raw is not None:
                fields[name] = read(name, modality, raw)
        if not fields:
            raise DataError(f": no field is present ({', '.join(self.names.values())})")
        return fields

    def _generate(
        self, given: Mapping[str, Mapping[int, Field]], places: list[int], first: int
    ) -> dict[str, dict[int, _Made]]:
        """By field: what was made, by place in the shard."""
        batch: Batch = {}
        for name, modality in self.model.modalities.items():
            absent = Field.absent(modality.space, 1)
            batch[name] = Field.stack([given[name].get(place, absent) for place in places])
        visible = {name: batch[name].present for name in self.model.encoders}
        to = {name: ~batch[name].present for name in self.wanted}
        keys = make_keys(self.seed, places[-1] + 1, start=first)[torch.tensor(places)]
        made = generate_rows(self.model, batch, visible, to, keys, self.options)
        confidences: dict[str, np.ndarray] = {}
        if self.calibration:
            confidences = self.calibration.confidences(self.model, batch, visible, made, keys)
        result = {}
        for name, mask in to.items():
            index: Tensor = mask.nonzero()[:, 0]
            things = write(self.model.modalities[name], made[name].pick(index)) if len(index) else []
            result[name] = {
                places[i]: _Made(thing, round(float(confidences[name][i]), 4) if self.calibration else None)
                for i, thing in zip(index.tolist(), things, strict=True)
            }
        return result

    def _cell(self, name: str, thing: Any, row: int) -> Any:
        modality, column = self.model.modalities[name], self.names[name]
        if modality.inline:
            return self.table.cell(column, modality.cell(thing))
        if self.table.embeds:
            return self.table.cell(column, modality.encode(thing))
        file = self.files / f"{column.replace('/', '_')}-{row + 1:08d}{modality.suffix}"
        write_file(file, modality.encode(thing))
        return f"{self.files.name}/{file.name}"


def _confidence_column(column: str) -> str:
    return f"{column}_confidence"
