"""Bulk: more rows than one process fills. Groups of rows are done anywhere, and are the same wherever they were."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from polymodal import stopping
from polymodal.bulk import engines
from polymodal.bulk.engines import Engine
from polymodal.bulk.leases import SECONDS
from polymodal.bulk.plan import GROUP_ROWS, Plan, make_plan
from polymodal.bulk.storage import Storage
from polymodal.bulk.worker import KEPT, NOTES, Job
from polymodal.cell_filler import Filling
from polymodal.checkpoint import digest_of
from polymodal.data import Rejection
from polymodal.errors import CheckpointError, ConfigError
from polymodal.fill import Filled, share_done
from polymodal.model import Model
from polymodal.progress import Progress
from polymodal.tables import TABLES

__all__ = ["GROUP_ROWS", "Plan", "fill_many", "is_many", "make_plan"]

_MANIFEST, _SUMMARY = f"{KEPT}/manifest.json", f"{KEPT}/summary.json"
_MOST_LISTED = 1000
"""Of what could not be read."""


def is_many(table: Any, output: str | Path | None) -> bool:
    """Whether a table is filled in bulk: many files, a folder, a pattern or a URL, or to an output that is a folder."""
    if not isinstance(table, str | Path):
        return isinstance(table, Sequence) and all(isinstance(one, str | Path) for one in table)
    apart = "://" in str(table) or (any(sign in str(table) for sign in "*?[") and not Path(table).exists())
    folder = output is not None and Path(output).suffix.lower() not in TABLES
    return apart or Path(table).is_dir() or (folder and Path(table).suffix.lower() == ".parquet")


def fill_many(
    model: Model,
    tables: str | Path | Iterable[str | Path],
    output: str | Path | None,
    *,
    run: str | Path | None = None,
    engine: Engine = "local",
    address: str | None = None,
    workers: int | None = None,
    device: str | None = None,
    shard: tuple[int, int] = (1, 1),
    group_rows: int = GROUP_ROWS,
    lease_seconds: float = SECONDS,
    overwrite: bool = False,
    root: str | Path | None = None,
    print_progress: bool = True,
    **filling: Any,
) -> Filled:
    """Fills the missing cells of Parquet files, by any number of workers that come and go.

    A plan cuts all rows into groups by what the files' footers say. Each group becomes a file of the output's folder,
    whole or not at all. Whoever is called with the same arguments goes on with what is left, beside others that are at
    it; what was killed is taken over. The bytes are always the same on processors of one kind: a row is numbered among
    those of all files, and its sample depends on that number and the seed alone.

    Cells that are paths of files stay as they are, and what is made is embedded. What the cells of a column look like
    is learned from a sample of the rows.

    Args:
        model: Any.
        tables: Paths or URLs of Parquet files, of folders that have them, or patterns; see ``make_plan``.
        output: The folder for the files, or its URL.
        run: Folder that the model is from; of engine ``ray``, one that every machine sees.
        engine: ``local`` is this process; ``ray`` are actors on a cluster of Ray.
        address: Address of the cluster; None for one that is running here, or else that is begun here and now.
        workers: Actors; None for as many as the cluster has GPUs or cores.
        device: Where the actors compute, such as ``cuda``; None for GPUs if the cluster has any.
        shard: ``(i, n)`` does every n-th group from the i-th on, from 1, so that n calls on n machines do all.
        group_rows: Rows of a group.
        lease_seconds: Without a sign of life, after which what a worker had begun is taken over.
        overwrite: Replace an older output, and begin anew.
        root: A folder that paths in cells may start from and lead to, besides that of the tables.
        print_progress: Whether to tell how far it is.
        filling: How cells are filled; see ``polymodal.cell_filler.Filling``.

    Returns:
        What was done of the groups that this call was to see to, by whomever.

    Raises:
        ConfigError: An argument is wrong, a field is unknown, or cannot be generated or is not calibrated.
        DataError: The tables cannot be read, or have different columns.
        CheckpointError: The output's folder has something else in it, or was begun with other settings.
    """
    if filling.pop("encoding", None) is not None:
        raise ConfigError("encoding: Parquet files have none; it is for delimited text")
    how, (place, count) = Filling(**filling), shard
    if output is None:
        raise ConfigError("output: name the folder to write to")
    if Path(output).suffix.lower() in TABLES:
        raise ConfigError(f"output: {output} is a file; many tables are filled to a folder")
    if engine not in ("local", "ray"):
        raise ConfigError(f"engine: '{engine}' is neither 'local' nor 'ray'")
    if not 1 <= place <= count:
        raise ConfigError(f"shard: {place}/{count} is none; 1/{count} to {count}/{count} are")
    if overwrite and count > 1:
        raise ConfigError("overwrite: would take from the other shards what they have done; delete the folder before")
    plan = make_plan(tables, group_rows)
    storage, digest = Storage(str(output)), digest_of(model)
    place_of_output = storage.url if storage.local is None else str(storage.local)  # workers may have other folders
    job = Job(plan, place_of_output, how, None if root is None else str(Path(root).absolute()), lease_seconds)
    if engine == "ray":
        if run is None:
            raise ConfigError("engine: ray needs a run, whose folder every machine sees; this model is of none")
        do = engines.on_ray(model, str(Path(run).absolute()), job, device=device, address=address, workers=workers)
    else:
        do = engines.local(model, job)
    _claim(storage, job, digest, overwrite)
    own = range(place - 1, len(plan), count)
    rows = sum(plan[number].rows for number in own)
    # Actors have their groups alone, so that there is nothing to finish here.
    finishing = stopping.finishing() if engine == "local" else nullcontext()
    with Progress("filling", shown=print_progress) as bar, finishing:
        done = 0
        for number in engines.until_done(do, own):
            done += plan[number].rows
            bar.at(*share_done(done, rows))
            stopping.stop_if_asked()
    job.remove_torn(storage)
    filled = _sum(storage, job, own)
    if len(storage.names(NOTES)) == len(plan):
        everything = filled if count == 1 else _sum(storage, job, range(len(plan)))
        summary = {"rows": everything.rows, "filled": everything.filled, "unsure": everything.unsure}
        summary["unreadable"] = len(everything.rejected) + everything.unlisted
        storage.write(_SUMMARY, json.dumps(summary, indent=1).encode())
        job.remove_leases(storage)
    return filled


def _claim(storage: Storage, job: Job, digest: str, overwrite: bool) -> None:
    """Begins the output's folder, or makes sure that it was begun with the same settings.

    Raises:
        CheckpointError: It was not, or has something else in it.
    """
    plan = {"model": digest, **job.plan.note(), "columns": job.filling.columns, **job.filling.plan()}
    manifest = json.loads(json.dumps(plan))
    there = storage.read(_MANIFEST)
    if there is None:
        if storage.names():
            raise CheckpointError(f"{storage.url}: has something in it already; choose an empty folder")
        storage.write(_MANIFEST, json.dumps(manifest, indent=1).encode())
        return
    begun = json.loads(there)
    differ = [key for key, value in manifest.items() if begun.get(key) != value]
    if overwrite:
        job.clear(storage)
        storage.write(_MANIFEST, json.dumps(manifest, indent=1).encode())
    elif differ:
        raise CheckpointError(
            f"{storage.url}: was begun with another {differ[0]}; overwrite it, or choose another folder"
        )


def _sum(storage: Storage, job: Job, groups: Iterable[int]) -> Filled:
    """What the notes of groups say, added up."""
    rows, counts = 0, {"filled": Counter[str](), "unsure": Counter[str]()}
    rejected: list[Rejection] = []
    unlisted = 0
    for number in groups:
        note = job.note_of(storage, number)
        assert note is not None, f"group {number} is not done"
        rows += note["rows"]
        for kind, total in counts.items():
            total.update(note[kind])
        listed = note["rejected"][: max(0, _MOST_LISTED - len(rejected))]
        rejected += [Rejection(*fields) for fields in listed]
        unlisted += len(note["rejected"]) - len(listed)
    return Filled(storage.url, rows, dict(counts["filled"]), rejected, dict(counts["unsure"]), unlisted=unlisted)
