"""Cell filler: what a model makes for the missing cells of some rows of a table, as cells of that table."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from polymodal.data import Rejection
from polymodal.data.cells import embedded, resolve
from polymodal.data.paths import Files
from polymodal.errors import ConfigError, DataError, unknown
from polymodal.generation import generate_rows, read, write
from polymodal.guess import DRAWS, guess_rows
from polymodal.model import Model
from polymodal.nn.random import make_keys
from polymodal.tables import Changes, NumberStyle, Shard, Table
from polymodal.types import Batch, Field, Space

if TYPE_CHECKING:
    from polymodal.evaluation.calibration import Calibration

How = Literal["best", "draw"]


@dataclass(frozen=True)
class Filling:
    """How cells are filled.

    Attributes:
        columns: Fields to fill, whose columns are added where the table lacks them. None: all that it has.
        seed: Seed of what is drawn: for a row it depends on the seed and the row's number alone.
        options: Options of the heads by field, such as ``{"picture": {"steps": 10}}``.
        how: ``best`` takes what is likeliest of labels and texts, and of numbers the mean of ``draws`` draws;
            pictures, sound and the like are drawn. ``draw`` draws everything.
        draws: That a best guess is made of.
        mark: Add a column ``COLUMN_filled`` for each column: whether the cell was filled.
        calibration: Of this model with these options. With it, a column ``COLUMN_confidence`` is added for each
            column, with the probability in [0, 1] that a filled cell is right.
        min_confidence: Leave cells of which the model is less sure empty.
        numbers: What is known of the numbers of a field from elsewhere, such as the training rows. What is filled
            stays within their range and that of the table's own, and is as fine as they are.
    """

    columns: Sequence[str] | None = None
    seed: int = 0
    options: Mapping[str, Mapping[str, Any]] | None = None
    how: How = "best"
    draws: int = DRAWS
    mark: bool = False
    calibration: Calibration | None = None
    min_confidence: float | None = None
    numbers: Mapping[str, NumberStyle] | None = None

    @property
    def guessed(self) -> int:
        """Draws of the best guess; 0 where cells are drawn."""
        return self.draws if self.how == "best" else 0

    def plan(self) -> dict[str, Any]:
        """What the cells depend on, as JSON."""
        return {
            "seed": self.seed,
            "options": {name: dict(values) for name, values in (self.options or {}).items()},
            "how": self.how,
            "draws": self.draws,
            "mark": self.mark,
            "numbers": {name: vars(numbers) for name, numbers in (self.numbers or {}).items()},
            "calibration": self.calibration.digest if self.calibration else None,
            "min_confidence": self.min_confidence,
        }


@dataclass(frozen=True)
class _Made:
    """An object that was made for a cell, and the probability that it is right, if that was asked for."""

    thing: Any
    confidence: float | None


def _count(space: Space) -> int | None:
    """How many numbers a value has; None if it is made of something else."""
    return space.shape[0] if space.kind == "continuous" and not space.grid else None


class CellFiller:
    """Fills cells of a table by a model.

    Args:
        model: Any.
        table: Whose columns are prepared for what will be filled.
        filling: How.
        place_file: Writes a file that a cell names: column, number of the row from 0, ending, bytes -> the cell.
        files: Those that paths in cells may mean.

    Attributes:
        wanted: Fields to fill.
        names: Column of each field.
        paths: Paths that cells of the rows named.
        table_file: The file of a table in many that the rows are in, as a path from the data folder.

    Raises:
        ConfigError: A field is unknown, or cannot be generated or is not calibrated; or a column is in the way.
    """

    def __init__(
        self,
        model: Model,
        table: Table,
        filling: Filling,
        place_file: Callable[[str, int, str, bytes], str] | None = None,
        files: Files | None = None,
    ):
        self.model, self.table, self.filling, self.place_file = model, table, filling, place_file
        self.files, self.table_file = files or Files(), ""
        self.names = {name: field.column or name for name, field in model.recipe.fields.items()}
        if filling.how not in ("best", "draw"):
            raise ConfigError(f"how: '{filling.how}' is neither 'best' nor 'draw'")
        if filling.draws < 1:
            raise ConfigError(f"draws: {filling.draws} is not at least 1")
        self.wanted = self._wanted(filling.columns)
        for name in filling.options or {}:
            if name not in self.wanted:
                raise ConfigError(unknown("options", name, self.wanted))
        self._check_calibration()
        self.paths: dict[str, Path] = {}
        self._base64: dict[str, str] = {}  # what stands before base 64, by field whose cells are files as text
        self._prepare()

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
        calibration, least = self.filling.calibration, self.filling.min_confidence
        if calibration is None:
            if least is not None:
                raise ConfigError("min_confidence: needs a calibration; `polymodal calibrate` makes one")
            return
        if least is not None and not 0 <= least <= 1:
            raise ConfigError(f"min_confidence: {least} is not in [0, 1]")
        if not calibration.fits(self.model, self.filling.options, self.filling.guessed):
            raise ConfigError(
                "calibration: is of another model, other options of its heads, or other draws; calibrate again"
            )
        for name in self.wanted:
            if name not in calibration.calibrators:
                known = ", ".join(calibration.calibrators)
                raise ConfigError(f"calibration: '{name}' is not calibrated; {known} are; name the columns to fill")

    def _prepare(self) -> None:
        """Names the columns that are added, and makes all fit to hold what will be filled."""
        table, added = self.table, {self.names[name]: None for name in self.wanted}
        extras: dict[str, Any] = {"confidence": 0.0} if self.filling.calibration else {}
        extras |= {"filled": True} if self.filling.mark else {}
        for extra in extras:
            for name in self.wanted:
                column = f"{self.names[name]}_{extra}"
                if column in table.columns:
                    raise ConfigError(f"{table.path.name}: has a column '{column}' already; rename it, or leave it out")
                added[column] = None
        table.added = [column for column in added if column not in table.columns]
        inline = [name for name in self.wanted if self.model.modalities[name].inline]
        table.study({self.names[name]: _count(self.model.modalities[name].space) for name in inline})
        for name in self.wanted:
            modality, column = self.model.modalities[name], self.names[name]
            if name in inline and (self.filling.numbers or {}).get(name) is not None:
                table.style(column).numbers.merge((self.filling.numbers or {})[name])
            example: Any = b""
            if not modality.inline:
                first = table.first_text(column)
                if first is not None and embedded(first) is not None:
                    head, mark, _ = first.rpartition(";base64,")
                    self._base64[name], example = head + mark, ""
            else:
                example = modality.cell(modality.write(Field.absent(modality.space, 1).value[0]))
                if isinstance(example, list) and len(example) == 1 and not table.style(column).kinds:
                    example = example[0]
            table.prepare(column, example)
            for extra, value in extras.items():
                table.prepare(f"{column}_{extra}", value)
        table.reads = set(self.names.values())

    def changes(self, shard: Shard, first: int) -> tuple[Changes, list[Rejection], dict[str, int], dict[str, int]]:
        """Fills the cells of some rows.

        Args:
            shard: The rows.
            first: Number of the first, from 0.

        Returns:
            New cells by column; what could not be read and stays as it is; and by field how many cells were filled,
            and how many were left empty for want of confidence.
        """
        given: dict[str, dict[int, Field]] = {name: {} for name in self.model.modalities}
        gaps: dict[str, set[int]] = {name: set() for name in self.wanted}
        rejected: list[Rejection] = []
        for place, row in enumerate(shard.rows):
            for name, value in self._read(row, first + place, rejected).items():
                if value is not None:
                    given[name][place] = value
                elif name in gaps:
                    gaps[name].add(place)
        places = sorted(set().union(*gaps.values()))
        changes: dict[str, dict[int, Any]] = {self.names[name]: {} for name in self.wanted}
        unsure, filled = dict.fromkeys(self.wanted, 0), dict.fromkeys(self.wanted, 0)
        least = self.filling.min_confidence or 0.0
        for name, cells in (self._make(given, gaps, places, first) if places else {}).items():
            column = self.names[name]
            sure = {place: cell for place, cell in cells.items() if cell.confidence is None or cell.confidence >= least}
            filled[name], unsure[name] = len(sure), len(cells) - len(sure)
            changes[column] = {place: self._cell(name, cell.thing, first + place) for place, cell in sure.items()}
            if self.filling.calibration:
                extra = f"{column}_confidence"
                changes[extra] = {place: self.table.cell(extra, cell.confidence) for place, cell in sure.items()}
        if self.filling.mark:
            self._mark(changes, shard)
        return changes, rejected, filled, unsure

    def _mark(self, changes: dict[str, dict[int, Any]], shard: Shard) -> None:
        """Says of each row which cells were filled; of files of lines only where a line changes anyhow."""
        columns = [self.names[name] for name in self.wanted]
        rows = {place for place, row in enumerate(shard.rows) if isinstance(row, dict)}
        if self.table.keeps_lines:
            rows = set().union(*(changes[column] for column in columns))
        for column in columns:
            extra = f"{column}_filled"
            changes[extra] = {place: self.table.cell(extra, place in changes[column]) for place in sorted(rows)}

    def _read(self, row: dict[str, Any] | str, number: int, rejected: list[Rejection]) -> dict[str, Field | None]:
        """The fields of a row, None where a cell is missing; those that cannot be read are left out."""
        where = (self.table.path.name, number + 1)
        if isinstance(row, str):
            rejected.append(Rejection(*where, None, row))
            return {}
        fields: dict[str, Field | None] = {}
        for name, modality in self.model.modalities.items():
            try:
                cell = row.get(self.names[name])
                raw = resolve(cell, modality, self.files, self.table_file)
                if isinstance(raw, Path):
                    self.paths[cell["path"] if isinstance(cell, dict) else str(cell)] = raw
                fields[name] = None if raw is None else read(name, modality, raw)
            except DataError as error:
                rejected.append(Rejection(*where, name, str(error).removeprefix(f"{name}: ")))
        if not any(fields.values()):
            if len(fields) == len(self.model.modalities):
                rejected.append(Rejection(*where, None, f"no field is present ({', '.join(self.names.values())})"))
            return {}
        return fields

    def _make(
        self,
        given: Mapping[str, Mapping[int, Field]],
        gaps: Mapping[str, set[int]],
        places: list[int],
        first: int,
    ) -> dict[str, dict[int, _Made]]:
        """By field: what was made, by place in the shard."""
        model, filling = self.model, self.filling
        batch: Batch = {}
        for name, modality in model.modalities.items():
            absent = Field.absent(modality.space, 1)
            batch[name] = Field.stack([given[name].get(place, absent) for place in places])
        visible = {name: batch[name].present for name in model.encoders}
        to = {name: torch.tensor([place in gaps[name] for place in places]) for name in self.wanted}
        keys = make_keys(filling.seed, places[-1] + 1, start=first)[torch.tensor(places)]
        if filling.how == "best":
            made = guess_rows(model, batch, visible, to, keys, filling.options, filling.draws)
        else:
            made = generate_rows(model, batch, visible, to, keys, filling.options)
        confidences: dict[str, np.ndarray] = {}
        if filling.calibration:
            confidences = filling.calibration.confidences(model, batch, visible, made, keys)
        result = {}
        for name, mask in to.items():
            index: Tensor = mask.nonzero()[:, 0]
            things = write(model.modalities[name], made[name].pick(index)) if len(index) else []
            result[name] = {
                places[i]: _Made(thing, round(float(confidences[name][i]), 4) if filling.calibration else None)
                for i, thing in zip(index.tolist(), things, strict=True)
            }
        return result

    def _cell(self, name: str, thing: Any, row: int) -> Any:
        modality, column = self.model.modalities[name], self.names[name]
        if modality.inline:
            return self.table.cell(column, modality.cell(thing))
        if name in self._base64:
            return self.table.cell(column, self._base64[name] + b64encode(modality.encode(thing)).decode())
        if self.table.holds_objects(column):
            return thing
        if self.place_file is None:
            return self.table.cell(column, modality.encode(thing))
        return self.place_file(column, row, modality.suffix, modality.encode(thing))
