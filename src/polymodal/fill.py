"""Fill: every missing cell of a table, from the other cells of its row."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from polymodal import stopping
from polymodal.cell_filler import CellFiller, Filling
from polymodal.checkpoint import digest_of
from polymodal.data import Rejection
from polymodal.data.paths import Files
from polymodal.errors import CheckpointError, ConfigError
from polymodal.files import atomic_file, file_name, file_sha256, naming, read_json, remove_partials, write_file
from polymodal.model import Model
from polymodal.progress import Progress
from polymodal.tables import FileTable, Frame, Shard, is_frame, open_frame, open_table

_JOINED = "joined"
"""In the folder of shards: the digest of the whole output, by which it is known again."""
_MADE = ".made"
"""In the folder of files beside an output: names of those that were made, one a line."""


@dataclass(frozen=True)
class Filled:
    """What ``fill`` did.

    Attributes:
        path: Path of the table that was written; of many files, path or URL of their folder.
        rows: Their number.
        filled: Cells that were filled, by field.
        rejected: Cells, and rows, that could not be read and stay as they are.
        unsure: Cells that were left empty for want of confidence, by field.
        copied: Files that cells name, which were copied to the output's folder.
        unlisted: Further cells and rows that could not be read, which are not in ``rejected``.
    """

    path: Path | str
    rows: int
    filled: dict[str, int]
    rejected: list[Rejection]
    unsure: dict[str, int] = field(default_factory=dict)
    copied: int = 0
    unlisted: int = 0


def fill(
    model: Model,
    table: Any,
    output: str | Path | None = None,
    *,
    overwrite: bool = False,
    root: str | Path | None = None,
    encoding: str | None = None,
    print_progress: bool = True,
    **filling: Any,
) -> Any:
    """Fills the missing cells of a table; everything else stays as it is, in the same order.

    Of a file, shards of rows are kept in ``OUTPUT.partial`` as they are done. Stopped and called again, it goes on
    after the last one that is whole, and the result is the same.

    Args:
        model: Any.
        table: A .parquet, .jsonl, .ndjson, .csv, .tsv or .tab file, of any size; or a data frame of pandas or polars,
            or an Arrow table.
        output: A file of the same ending, for a table in a file. Parquet embeds pictures, sound and other files; the
            others name files in a folder ``OUTPUT.files`` beside it. In another folder than the table's, files that
            cells name are copied to the same places.
        overwrite: Replace an older output, and begin anew.
        root: A folder that paths in cells may start from and lead to, besides the table's.
        encoding: Encoding of delimited text that is neither UTF-8 nor says what it is.
        print_progress: Whether to tell how far it is.
        filling: How cells are filled; see ``polymodal.cell_filler.Filling``.

    Returns:
        ``Filled``, or, of a table in memory, the same table filled, of the same kind.

    Raises:
        ConfigError: A field is unknown, or cannot be generated or is not calibrated; or the output cannot be written
            there.
        DataError: The table cannot be read.
        CheckpointError: There is an output, or a part of one that was begun with other settings.
    """
    how = Filling(**filling)
    if is_frame(table):
        if output is not None:
            raise ConfigError(
                "output: a table in memory is returned; give no output, or the path of a file as the table"
            )
        return _fill_frame(model, open_frame(table), how, Files(None, root), print_progress)
    if not isinstance(table, str | Path):
        raise ConfigError(
            f"table: a {type(table).__name__} cannot be filled; the path of a file, a data frame and an Arrow table can"
        )
    if output is None:
        raise ConfigError(f"output: {table} is a file; name the file to write")
    files = Files(Path(table).parent, root)
    return _Job(model, open_table(Path(table), encoding), Path(output), how, files, print_progress).run(overwrite)


def _fill_frame(model: Model, frame: Frame, filling: Filling, files: Files, print_progress: bool) -> Any:
    filler = CellFiller(model, frame, filling, files=files)
    everything: dict[str, dict[int, Any]] = {}
    with Progress("filling", shown=print_progress) as bar:
        first = 0
        for shard in frame.shards():
            for column, cells in filler.changes(shard, first)[0].items():
                everything.setdefault(column, {}).update({first + place: cell for place, cell in cells.items()})
            first += len(shard.rows)
            bar.at(*share_done(first, frame.size))
    return frame.filled(everything)


def share_done(rows: int, size: int | None) -> tuple[float, str]:
    """The share that so many rows are, and what to say of them."""
    return (rows / size, f"{rows:,} of {size:,} rows") if size else (0.0, f"{rows:,} rows")


class _Job:
    """A table in a file that is filled to another one."""

    def __init__(
        self, model: Model, table: FileTable, output: Path, filling: Filling, files: Files, print_progress: bool
    ):
        self.print_progress = print_progress
        self.model, self.table, self.output, self.filling, source = model, table, output, filling, table.path
        if output.suffix.lower() != source.suffix.lower():
            raise ConfigError(f"{output}: the output's ending must be the table's, '{source.suffix}'")
        if output.resolve() == source.resolve():
            raise ConfigError(f"{output}: the output is the table itself; write another file")
        self.partial = output.with_name(output.name + ".partial")
        self.files = output.with_name(output.name + ".files")
        place = None if self.table.embeds else self._place_file
        self.filler = CellFiller(model, table, filling, place, files)
        self.elsewhere = output.parent.resolve() != source.parent.resolve()
        self.made: dict[str, bytes] = {}  # files of the shard in work
        self.copied: set[str] = set()
        self.cleared: set[Path] = set()  # folders of copies without what a killed call left in them

    def run(self, overwrite: bool) -> Filled:
        if self.output.exists() and not overwrite and not self._is_joined():
            raise CheckpointError(f"{self.output}: is there already; choose another file, or overwrite it")
        older = self._older_files()
        self.partial.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.partial / "lock", timeout=0):
                return self._run(overwrite, older)
        except Timeout:
            raise CheckpointError(f"{self.output}: another process is filling it; wait for it, or stop it") from None

    def _run(self, overwrite: bool, older: set[str]) -> Filled:
        if overwrite:
            self._clear()
        for folder in (self.partial, self.files, self.output.parent):
            remove_partials(folder)
        self._claim()
        notes, first = [], 0
        with Progress("filling", shown=self.print_progress) as bar, stopping.finishing():
            for number, shard in enumerate(self.table.shards()):
                notes.append(self._shard(number, shard, first))
                first += len(shard.rows)
                bar.at(*share_done(first, self.table.size))
                stopping.stop_if_asked()
        parts = [self._part(number) for number in range(len(notes))]
        with atomic_file(self.output) as joined:
            self.table.join(parts, joined)
            write_file(self.partial / _JOINED, file_sha256(joined))
        names = list(dict.fromkeys(name for note in notes for name in note["files"]))
        for name in older.difference(names):
            (self.files / name).unlink(missing_ok=True)
        if names or (self.files / _MADE).exists():  # shards that were begun twice have listed theirs twice
            write_file(self.files / _MADE, "".join(f"{name}\n" for name in names))
        self._clear()
        for name in ("lock", _JOINED):  # the latter comes last: without it, the output is taken for another's
            (self.partial / name).unlink(missing_ok=True)
        with suppress(OSError):  # something of the user's is in it
            self.partial.rmdir()
        counts, unsure = (
            {name: sum(note[kind][name] for note in notes) for name in self.filler.wanted}
            for kind in ("filled", "unsure")
        )
        rejected = [Rejection(*fields) for note in notes for fields in note["rejected"]]
        copied = len({name for note in notes for name in note["copied"]})
        return Filled(self.output, first, counts, rejected, unsure, copied)

    def _is_joined(self) -> bool:
        """Whether the output is that of this call, which was killed before it had cleared its shards away."""
        note = self.partial / _JOINED
        return note.is_file() and note.read_text(encoding="utf-8") == file_sha256(self.output)

    def _older_files(self) -> set[str]:
        """Names of the files that an earlier call made beside the output."""
        made = self.files / _MADE
        if made.is_file():
            return set(made.read_text(encoding="utf-8", errors="replace").splitlines()) - {""}
        if self.files.exists() and any(self.files.iterdir()) and not self.table.embeds:
            raise CheckpointError(
                f"{self.files}: is there already, and nothing that `fill` made; choose another output"
            )
        return set()

    def _clear(self) -> None:
        """Removes what this program keeps in the partial folder."""
        for left in [*self.partial.glob("shard-[0-9]*"), self.partial / "plan.json"]:
            left.unlink(missing_ok=True)

    def _claim(self) -> None:
        """Begins the partial folder, or makes sure that it was begun by the same call."""
        status = self.table.path.stat()
        plan = {
            "table": [str(self.table.path.resolve()), status.st_size, status.st_mtime_ns],
            "model": digest_of(self.model),
            "columns": self.filler.wanted,
            **self.filling.plan(),
        }
        file = self.partial / "plan.json"
        if file.exists() and any(self.partial.glob("shard-*.json")):
            begun = read_json(file)
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
        if (note := self.share_done(note_file, self._part(number))) is not None:
            return note
        self.made, self.filler.paths = {}, {}
        changes, rejected, filled, unsure = self.filler.changes(shard, first)
        copied = self._copy_files() if self.elsewhere else []
        self._write_files()
        with atomic_file(self._part(number)) as part:
            self.table.write(part, shard, changes)
        note = {
            "filled": filled,
            "unsure": unsure,
            "rejected": [[r.file, r.row, r.field, r.reason] for r in rejected],
            "files": {name: file_sha256(self.files / name) for name in self.made},
            "copied": copied,
            "digest": file_sha256(self._part(number)),
        }
        write_file(note_file, json.dumps(note))  # comes last: what is noted is done
        return note

    def share_done(self, note_file: Path, part: Path) -> dict[str, Any] | None:
        """The note of a shard that is whole, with all of its files; else it is made again."""
        try:
            note = read_json(note_file)
            files = {part: note["digest"]} | {self.files / name: digest for name, digest in note["files"].items()}
            whole = all(file_sha256(file) == digest for file, digest in files.items())
            return note if whole and all((self.output.parent / name).is_file() for name in note["copied"]) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _place_file(self, column: str, row: int, suffix: str, content: bytes) -> str:
        name = f"{file_name(column)}-{row + 1:08d}{suffix}"
        self.made[name] = content
        return f"{self.files.name}/{name}"

    def _write_files(self) -> None:
        if not self.made:
            return
        self.files.mkdir(parents=True, exist_ok=True)
        listed = self.files / _MADE
        torn = listed.is_file() and listed.read_bytes()[-1:] not in (b"", b"\n")
        with naming(listed), listed.open("a", encoding="utf-8") as made:  # before there is anything to account for
            made.write("\n" * torn)
            made.writelines(f"{name}\n" for name in self.made)
        for name, content in self.made.items():
            write_file(self.files / name, content)

    def _copy_files(self) -> list[str]:
        """Copies the files that the shard's cells name, so that the same paths mean them in the output's folder."""
        copied = []
        for text, path in self.filler.paths.items():
            name = Path(text)
            folder = self.filler.files.folder
            if name.is_absolute() or ".." in name.parts or folder is None or not path.is_relative_to(folder):
                continue
            copy = self.output.parent / name
            if copy.parent not in self.cleared:
                remove_partials(copy.parent)
                self.cleared.add(copy.parent)
            if not copy.exists():
                with atomic_file(copy) as partial:
                    shutil.copyfile(path, partial)
                self.copied.add(text)
            elif text not in self.copied and file_sha256(copy) != file_sha256(path):
                raise ConfigError(
                    f"{copy}: is there already, and not the file that cells of {self.table.path.name} name; write the "
                    "output to an empty folder, or beside the table"
                )
            copied.append(text)
        return copied
