"""Filling: the missing cells of groups of rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from polymodal import stopping
from polymodal.bulk.plan import RowGroup
from polymodal.bulk.worker import Job, Write, read_file_rows
from polymodal.cell_filler import CellFiller, Filling
from polymodal.data.paths import Files
from polymodal.model import Model
from polymodal.tables import ParquetFiles


@dataclass(frozen=True)
class FillTask:
    """Fills cells; see ``polymodal.bulk.worker.Task``.

    Attributes:
        filling: How.
    """

    filling: Filling
    kept: str = ".fill"

    def settings(self) -> dict[str, Any]:
        return {"columns": self.filling.columns, **self.filling.plan()}

    def writer(self, model: Model, job: Job) -> Write:
        plan = job.plan

        def sample() -> Iterator[pa.Table]:
            for file, start, rows in plan.sample():
                yield from read_file_rows(file, start, rows, whole_groups=True)

        table = ParquetFiles(plan.files[0].name, plan.schema, sample)
        filler = CellFiller(model, table, self.filling, files=Files(plan.folder, job.root))
        return lambda group, file: _fill(filler, table, group, file)


def _fill(filler: CellFiller, table: ParquetFiles, group: RowGroup, partial: Path) -> dict[str, Any]:
    file = group.file
    note: dict[str, Any] = {"rows": group.rows, "filled": {}, "unsure": {}, "rejected": []}
    filler.table_file = file.name

    def changed() -> Iterator[pa.Table]:
        first = file.first + group.start
        for rows in read_file_rows(file, group.start, group.rows):
            shard = table.shard(rows)
            changes, rejected, filled, unsure = filler.changes(shard, first)
            first += len(rows)
            for kind, counts in (("filled", filled), ("unsure", unsure)):
                note[kind] = {name: note[kind].get(name, 0) + count for name, count in counts.items()}
            note["rejected"] += [[file.name, r.row - file.first, r.field, r.reason] for r in rejected]
            yield table.changed(shard, changes)
            stopping.stop_if_asked()

    table.write(partial, changed())
    return note
