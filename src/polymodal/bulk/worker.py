"""Worker: fills groups of rows, each to a file of its own, beside other workers that do the same."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import torch

from polymodal import stopping
from polymodal.bulk.leases import SECONDS, Leases
from polymodal.bulk.plan import InputFile, Plan, RowGroup
from polymodal.bulk.storage import Storage, file_system
from polymodal.cell_filler import CellFiller, Filling
from polymodal.data.paths import Files
from polymodal.errors import CheckpointError
from polymodal.files import file_sha256
from polymodal.model import Model
from polymodal.tables import ParquetFiles, read_rows

KEPT = ".fill"
"""In the output's folder, hidden from those that read its tables: the manifest, and notes and leases of the groups."""
NOTES, _LEASES = f"{KEPT}/notes", f"{KEPT}/leases"


@dataclass(frozen=True)
class Job:
    """What all workers have in common, and can be sent to them.

    Attributes:
        plan: Groups of rows.
        output: URL of the folder for their files, or its local path.
        filling: How cells are filled.
        root: A folder that paths in cells may start from and lead to, besides that of the tables.
        lease_seconds: Without a sign of life, after which what a worker had begun is taken over.
    """

    plan: Plan
    output: str
    filling: Filling
    root: str | None = None
    lease_seconds: float = SECONDS

    def note_of(self, storage: Storage, number: int) -> dict[str, Any] | None:
        """What was noted of a group that is done, and whose file is there; else None."""
        content = storage.read(f"{NOTES}/{self.plan.part(number)}.json")
        note = None if content is None else json.loads(content)
        return note if note and storage.size(self.plan.part(number)) == note["bytes"] else None

    def clear(self, storage: Storage) -> None:
        """Removes all that was done.

        Raises:
            CheckpointError: Another process may be at it.
        """
        if busy := storage.names(_LEASES):
            raise CheckpointError(
                f"{storage.url}: {len(busy)} groups are being filled, or their worker was killed; stop it, and delete "
                "the folder"
            )
        for folder, names in {NOTES: storage.names(NOTES), "": storage.names() - {KEPT}}.items():
            storage.remove(*(f"{folder}/{name}".lstrip("/") for name in names if name.startswith("part-")))

    def remove_leases(self, storage: Storage) -> None:
        """Removes what killed workers still hold, when all is done."""
        storage.remove(*(f"{_LEASES}/{name}" for name in storage.names(_LEASES)))

    def remove_torn(self, storage: Storage) -> None:
        """Removes what killed processes of this machine left half written."""
        storage.remove_torn("", KEPT, NOTES, _LEASES)


class Worker:
    """Fills groups of rows.

    Args:
        model: Any.
        job: What to do.

    Raises:
        ConfigError: A field is unknown, or cannot be generated or is not calibrated; or a column is in the way.
        DataError: The tables cannot be read.
    """

    def __init__(self, model: Model, job: Job):
        plan = job.plan
        self.job, self.storage = job, Storage(job.output)
        self._leases = Leases(self.storage, job.lease_seconds)
        self._table = ParquetFiles(plan.files[0].name, plan.schema, self._sample)
        self.filler = CellFiller(model, self._table, job.filling, files=Files(plan.folder, job.root))

    def do(self, number: int) -> bool:
        """Sees that a group is done; False if another worker is at it.

        Raises:
            DataError: The table cannot be read.
            Stopped: A signal came; the group is left as it was.
        """
        if self.job.note_of(self.storage, number):
            return True
        with self._leases.hold(f"{_LEASES}/{self.job.plan.part(number)}") as held:
            if held and not self.job.note_of(self.storage, number):  # else another has just finished it
                with one_thread():
                    self._fill(self.job.plan[number])
        return held

    def _fill(self, group: RowGroup) -> None:
        file, part = group.file, self.job.plan.part(group.number)
        note: dict[str, Any] = {"rows": group.rows, "filled": {}, "unsure": {}, "rejected": []}
        self.filler.table_file = file.name

        def changed() -> Iterator[pa.Table]:
            first = file.first + group.start
            for rows in self._read(file, group.start, group.rows):
                shard = self._table.shard(rows)
                changes, rejected, filled, unsure = self.filler.changes(shard, first)
                first += len(rows)
                for kind, counts in (("filled", filled), ("unsure", unsure)):
                    note[kind] = {name: note[kind].get(name, 0) + count for name, count in counts.items()}
                note["rejected"] += [[file.name, r.row - file.first, r.field, r.reason] for r in rejected]
                yield self._table.changed(shard, changes)
                stopping.stop_if_asked()

        with self.storage.writing(part) as partial:
            self._table.write(partial, changed())
            note |= {"bytes": partial.stat().st_size, "sha256": file_sha256(partial)}
        self.storage.write(f"{NOTES}/{part}.json", json.dumps(note).encode())  # comes last: what is noted is done

    def _sample(self) -> Iterator[pa.Table]:
        for file, start, rows in self.job.plan.sample():
            yield from self._read(file, start, rows, whole_groups=True)

    def _read(self, file: InputFile, start: int, rows: int, whole_groups: bool = False) -> Iterator[pa.Table]:
        files, path = file_system(file.url)
        return read_rows(file.name, file.size, lambda: files.open(path, "rb"), start, rows, whole_groups=whole_groups)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread computes: sums depend on how many threads share them, and the result must not."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
