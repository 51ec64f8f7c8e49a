"""Worker: does groups of rows, each to a file of its own, beside other workers that do the same."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import torch

from polymodal.bulk.leases import SECONDS, Leases
from polymodal.bulk.plan import InputFile, Plan, RowGroup
from polymodal.bulk.storage import Storage, file_system
from polymodal.errors import CheckpointError
from polymodal.files import file_sha256
from polymodal.model import Model
from polymodal.tables import read_rows

Write = Callable[[RowGroup, Path], dict[str, Any]]
"""Writes the file of a group of rows; what is to be noted of it, ``rows`` and ``rejected`` among it."""


class Work(Protocol):
    """Groups of rows that any process does by their numbers, with a model. It can be sent to others."""

    @property
    def threads(self) -> int:
        """That compute a group: sums depend on how many share them, and the result must not."""

    def start(self, model: Model) -> Callable[[int], bool]:
        """What sees that a group is done, wherever that is; False if another process is at it.

        Raises:
            ConfigError: It cannot be done by this model or on these tables.
            DataError: The tables cannot be read.
        """


class Task(Protocol):
    """What is done with every group of rows. It can be sent to workers."""

    @property
    def kept(self) -> str:
        """In the output's folder, hidden from those that read its tables: the manifest, and notes and leases."""

    def settings(self) -> dict[str, Any]:
        """What the output depends on besides the model and the plan, as JSON."""

    def writer(self, model: Model, job: "Job") -> Write:
        """Does it, by a model.

        Raises:
            ConfigError: It cannot be done by this model or on these tables.
            DataError: The tables cannot be read.
        """


@dataclass(frozen=True)
class Job:
    """What all workers have in common: the ``Work`` of writing a file for each group of rows.

    Attributes:
        plan: Groups of rows.
        output: URL of the folder for their files, or its local path.
        task: What is done with them.
        root: A folder that paths in cells may start from and lead to, besides that of the tables.
        lease_seconds: Without a sign of life, after which what a worker had begun is taken over.
    """

    plan: Plan
    output: str
    task: Task
    root: str | None = None
    lease_seconds: float = SECONDS
    threads = 1  # so that the bytes of a file are the same wherever it is made

    def start(self, model: Model) -> Callable[[int], bool]:
        """See ``Work``."""
        return Worker(model, self).do

    @property
    def notes(self) -> str:
        """The folder of the notes in that of the output."""
        return f"{self.task.kept}/notes"

    @property
    def leases(self) -> str:
        """The folder of the leases in that of the output."""
        return f"{self.task.kept}/leases"

    def note_of(self, storage: Storage, number: int) -> dict[str, Any] | None:
        """What was noted of a group that is done, and whose file is there; else None."""
        content = storage.read(f"{self.notes}/{self.plan.part(number)}.json")
        note = None if content is None else json.loads(content)
        return note if note and storage.size(self.plan.part(number)) == note["bytes"] else None

    def clear(self, storage: Storage) -> None:
        """Removes all that was done.

        Raises:
            CheckpointError: Another process may be at it.
        """
        if busy := storage.names(self.leases):
            raise CheckpointError(
                f"{storage.url}: {len(busy)} groups are being done, or their worker was killed; stop it, and delete "
                "the folder"
            )
        for folder, names in {self.notes: storage.names(self.notes), "": storage.names() - {self.task.kept}}.items():
            storage.remove(*(f"{folder}/{name}".lstrip("/") for name in names if name.startswith("part-")))

    def remove_leases(self, storage: Storage) -> None:
        """Removes what killed workers still hold, when all is done."""
        storage.remove(*(f"{self.leases}/{name}" for name in storage.names(self.leases)))

    def remove_torn(self, storage: Storage) -> None:
        """Removes what killed processes of this machine left half written."""
        storage.remove_torn("", self.task.kept, self.notes, self.leases)


class Worker:
    """Does groups of rows.

    Args:
        model: Any.
        job: What to do.

    Raises:
        ConfigError: It cannot be done by this model or on these tables.
        DataError: The tables cannot be read.
    """

    def __init__(self, model: Model, job: Job):
        self.job, self.storage = job, Storage(job.output)
        self._leases = Leases(self.storage, job.lease_seconds)
        self._write = job.task.writer(model, job)

    def do(self, number: int) -> bool:
        """Sees that a group is done; False if another worker is at it.

        Raises:
            DataError: The table cannot be read.
            Stopped: A signal came; the group is left as it was.
        """
        if self.job.note_of(self.storage, number):
            return True
        part = self.job.plan.part(number)
        with self._leases.hold(f"{self.job.leases}/{part}") as held:
            if held and not self.job.note_of(self.storage, number):  # else another has just finished it
                with computing_threads(self.job.threads), self.storage.writing(part) as partial:
                    note = self._write(self.job.plan[number], partial)
                    note |= {"bytes": partial.stat().st_size, "sha256": file_sha256(partial)}
                # It comes last: what is noted is done.
                self.storage.write(f"{self.job.notes}/{part}.json", json.dumps(note).encode())
        return held


def read_file_rows(file: InputFile, start: int, rows: int, whole_groups: bool = False) -> Iterator[pa.Table]:
    """Rows of a planned file; see ``tables.read_rows``."""
    files, path = file_system(file.url)
    return read_rows(file.name, file.size, lambda: files.open(path, "rb"), start, rows, whole_groups=whole_groups)


@contextmanager
def computing_threads(count: int) -> Iterator[None]:
    """So many threads compute: sums depend on how many share them, and the result must not."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
