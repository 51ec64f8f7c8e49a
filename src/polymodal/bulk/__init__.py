"""Bulk: more rows than one process does. Groups of rows are done anywhere, and are the same wherever they were."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from polymodal.bulk import embedding
from polymodal.bulk.embedding import EmbeddedTables, EmbedTask, is_embedded
from polymodal.bulk.engines import share
from polymodal.bulk.filling import FillTask
from polymodal.bulk.leases import SECONDS
from polymodal.bulk.plan import GROUP_ROWS, Plan, make_plan
from polymodal.bulk.storage import Storage
from polymodal.bulk.worker import Job, Task, computing_threads
from polymodal.cell_filler import Filling
from polymodal.checkpoint import digest_of
from polymodal.data import Rejection, Rows
from polymodal.embedding import AlignedEmbedder, alignment_of
from polymodal.errors import CheckpointError, ConfigError
from polymodal.fill import Filled, share_done
from polymodal.model import Model
from polymodal.progress import Progress
from polymodal.tables import TABLES

__all__ = [
    "GROUP_ROWS",
    "EmbeddedTables",
    "Plan",
    "embed_many",
    "fill_many",
    "is_embedded",
    "is_many",
    "make_plan",
    "share",
]

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
    overwrite: bool = False,
    root: str | Path | None = None,
    print_progress: bool = True,
    bulk: Mapping[str, Any] | None = None,
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
        overwrite: Replace an older output, and begin anew.
        root: A folder that paths in cells may start from and lead to, besides that of the tables.
        print_progress: Whether to tell how far it is.
        bulk: Who does it: arguments of ``do_groups``.
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
    job = _job(tables, output, FillTask(Filling(**filling)), root, bulk or {})
    return do_groups(
        model, job, run=run, overwrite=overwrite, print_progress=print_progress, title="filling", **_who(bulk or {})
    )


def embed_many(
    model: Model,
    tables: str | Path | Iterable[str | Path],
    output: str | Path | None,
    *,
    reference: Callable[[], Rows],
    run: str | Path | None = None,
    overwrite: bool = False,
    root: str | Path | None = None,
    print_progress: bool = True,
    bulk: Mapping[str, Any] | None = None,
) -> Filled:
    """Embeds the aligned fields of Parquet files, by any number of workers that come and go, as ``fill_many`` fills.

    Each group of rows becomes a Parquet file of the output's folder: the number of each row among those of all files,
    from 0, and the vector of each field, null where the cell is missing. ``EmbeddedTables`` searches it.

    Args:
        model: Trained with an alignment.
        tables: Paths or URLs of Parquet files, of folders that have them, or patterns; see ``make_plan``.
        output: The folder for the files, or its URL.
        run: Folder that the model is from; of engine ``ray``, one that every machine sees.
        overwrite: Replace an older output, and begin anew.
        root: A folder that paths in cells may start from and lead to, besides that of the tables.
        print_progress: Whether to tell how far it is.
        bulk: Who does it: arguments of ``do_groups``.
        reference: Gives the rows whose encodings are typical, best those of training; called by whoever begins.

    Returns:
        What was done: ``filled`` counts the cells that were embedded.

    Raises:
        ConfigError: An argument is wrong, or the model has no alignment that tells rows apart.
        DataError: The tables cannot be read, or have different columns.
        CheckpointError: The output's folder has something else in it, or was begun with other settings.
    """
    alignment_of(model)
    begun = None if output is None or overwrite else Storage(str(output)).read(embedding.MANIFEST)
    if begun is not None:  # as whoever began has measured: another processor would round otherwise
        moments = embedding.moments_of(json.loads(begun))
    else:
        with computing_threads(Job.threads):
            moments = AlignedEmbedder.measure(model, reference()).moments
    job = _job(tables, output, EmbedTask(moments), root, bulk or {})
    done = do_groups(
        model, job, run=run, overwrite=overwrite, print_progress=print_progress, title="embedding", **_who(bulk or {})
    )
    Storage(job.output).write(embedding.TABLES, json.dumps([file.url for file in job.plan.files]).encode())
    return done


def _who(bulk: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in bulk.items() if name not in ("group_rows", "lease_seconds")}


def _job(tables: Any, output: str | Path | None, task: Task, root: str | Path | None, bulk: Mapping[str, Any]) -> Job:
    """What is to be done, once the tables have been looked at.

    Raises:
        ConfigError: The output is no folder.
        DataError: The tables cannot be read, or have different columns.
    """
    if output is None:
        raise ConfigError("output: name the folder to write to")
    if Path(output).suffix.lower() in TABLES:
        raise ConfigError(f"output: {output} is a file; what is made of many tables is a folder")
    plan, storage = make_plan(tables, bulk.get("group_rows", GROUP_ROWS)), Storage(str(output))
    place = storage.url if storage.local is None else str(storage.local)  # workers may have other folders
    seconds = bulk.get("lease_seconds", SECONDS)
    return Job(plan, place, task, None if root is None else str(Path(root).absolute()), seconds)


def do_groups(
    model: Model,
    job: Job,
    *,
    title: str,
    overwrite: bool = False,
    print_progress: bool = True,
    shard: tuple[int, int] = (1, 1),
    **who: Any,
) -> Filled:
    """Sees that groups of rows are done, beside others that do the same.

    Args:
        model: Any.
        job: What to do.
        title: What the progress is called.
        overwrite: Replace an older output, and begin anew.
        print_progress: Whether to tell how far it is.
        shard: ``(i, n)`` does every n-th group from the i-th on, from 1, so that n calls on n machines do all.
        who: Who does it: further arguments of ``engines.share``.

    Raises:
        ConfigError: An argument is wrong, or the task cannot be done.
        DataError: The tables cannot be read.
        CheckpointError: The output's folder has something else in it, or was begun with other settings.
    """
    plan, storage = job.plan, Storage(job.output)
    if overwrite and shard[1] > 1:
        raise ConfigError("overwrite: would take from the other shards what they have done; delete the folder before")
    own, each = share(model, job, len(plan), shard=shard, **who)
    _claim(storage, job, digest_of(model), overwrite)
    rows = sum(plan[number].rows for number in own)
    with Progress(title, shown=print_progress) as bar:
        done = 0
        for number in each:
            done += plan[number].rows
            bar.at(*share_done(done, rows))
    job.remove_torn(storage)
    filled = _sum(storage, job, own)
    if len(storage.names(job.notes)) == len(plan):
        everything = filled if len(own) == len(plan) else _sum(storage, job, range(len(plan)))
        summary = {"rows": everything.rows, "filled": everything.filled, "unsure": everything.unsure}
        summary["unreadable"] = len(everything.rejected) + everything.unlisted
        storage.write(f"{job.task.kept}/summary.json", json.dumps(summary, indent=1).encode())
        job.remove_leases(storage)
    return filled


def _claim(storage: Storage, job: Job, digest: str, overwrite: bool) -> None:
    """Begins the output's folder, or makes sure that it was begun with the same settings.

    Raises:
        CheckpointError: It was not, or has something else in it.
    """
    manifest = json.loads(json.dumps({"model": digest, **job.plan.note(), **job.task.settings()}))
    name = f"{job.task.kept}/manifest.json"
    there = storage.read(name)
    if there is None:
        if storage.names():
            raise CheckpointError(f"{storage.url}: has something in it already; choose an empty folder")
        storage.write(name, json.dumps(manifest, indent=1).encode())
        return
    begun = json.loads(there)
    differ = [key for key, value in manifest.items() if begun.get(key) != value]
    if overwrite:
        job.clear(storage)
        storage.write(name, json.dumps(manifest, indent=1).encode())
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
            total.update(note.get(kind, {}))
        listed = note["rejected"][: max(0, _MOST_LISTED - len(rejected))]
        rejected += [Rejection(*fields) for fields in listed]
        unlisted += len(note["rejected"]) - len(listed)
    return Filled(storage.url, rows, dict(counts["filled"]), rejected, dict(counts["unsure"]), unlisted=unlisted)
