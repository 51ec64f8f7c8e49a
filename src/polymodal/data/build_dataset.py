"""How a built-in data set is assembled: once, by worker processes, in a folder that is whole or not there."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from polymodal.errors import DataError
from polymodal.files import atomic_folder, short_digest

_MOST_DISTINCT_BYTES = 2**30  # of a column that Parquet keeps each value of only once


def fraction(*parts: str) -> float:
    """A number in [0, 1) that depends on the parts alone: every choice of a data set is made by it."""
    digest = blake2b("\x1f".join(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def check(data_set: str, option: str, valid: bool, problem: str) -> None:
    """Refuse an option.

    Raises:
        DataError: It is not ``valid``.
    """
    if not valid:
        raise DataError(f"data set {data_set}: {option}={problem}")


def installed(data_set: str, credits: Mapping[str, str], extra: str = "demo") -> list[dict[str, str]]:
    """What the installed packages, by name, give to the data set, and their versions; ``extra`` installs them.

    Raises:
        DataError: A package is missing.
    """
    try:
        return [{"package": name, "version": version(name), "credit": credit} for name, credit in credits.items()]
    except PackageNotFoundError as error:
        raise DataError(
            f"data set {data_set}: the package {error.name} is missing; "
            f"install them all with: pip install 'polymodal[{extra}]'"
        ) from error


def identify(*parts: Any) -> str:
    """Eight digits that name what a data set is made of: its format, options and packages, as JSON takes them."""
    return short_digest(json.dumps(parts, sort_keys=True), size=4)


@contextmanager
def assembled(target: Path) -> Iterator[tuple[Path, Path]]:
    """A folder to work in and one to fill, which becomes ``target`` at the end; killed before, nothing is left of it.

    Yields:
        The folder to work in, which is removed, and the folder to fill.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{target.name}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=target.parent) as scratch, atomic_folder(target) as finished:
        yield Path(scratch), finished


def make_cells(data_set: str, module: str, tasks: Sequence[Any], scratch: Path) -> dict[str, bytes]:
    """The cells, by key, that processes ``python -m module TASKS OUT`` make, one for each of ``tasks``.

    Processes of their own need neither a fork nor a guarded main module, and keep what they load out of the user's.

    Raises:
        DataError: One failed.
    """
    import pyarrow.parquet as pq

    running = []
    try:
        for worker, task in enumerate(tasks):
            tasks_file, out_file = scratch / f"tasks-{worker}.json", scratch / f"cells-{worker}.parquet"
            tasks_file.write_text(json.dumps(task), "utf-8")
            command = [sys.executable, "-m", module, str(tasks_file), str(out_file)]
            running.append((subprocess.Popen(command, stderr=subprocess.PIPE, text=True), out_file))
        cells: dict[str, bytes] = {}
        for process, out_file in running:
            _, errors = process.communicate()
            if process.returncode:
                raise DataError(
                    f"data set {data_set}: a worker failed with status {process.returncode}: {errors[-2000:]}"
                )
            table = pq.read_table(out_file)
            cells.update(zip(table["key"].to_pylist(), table["data"].to_pylist(), strict=True))
    finally:
        for process, _ in running:
            if process.poll() is None:
                process.kill()
                process.wait()
    return cells


def write_cells(cells: Iterable[tuple[str, bytes]], out_file: str) -> None:
    """What a worker made, by key, for ``make_cells`` to read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = dict(cells)
    table = pa.table({"key": pa.array(made, pa.string()), "data": pa.array(made.values(), pa.binary())})
    pq.write_table(table, out_file, compression="none")


def write_table(
    path: Path, columns: Mapping[str, Sequence[Any]], *, files: Sequence[str], distinct: Sequence[str] = ()
) -> None:
    """The rows of a data set as Parquet, in one group, so that a value that many rows share is written once.

    Args:
        path: The file.
        columns: By name, the contents of files, or texts.
        files: Those that are files.
        distinct: Columns in which hardly any two rows share a value.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {True: pa.large_binary(), False: pa.string()}
    table = pa.table({name: pa.array(column, kinds[name in files]) for name, column in columns.items()})
    pq.write_table(
        table,
        path,
        compression="zstd",
        row_group_size=table.num_rows,
        use_dictionary=[name for name in table.column_names if name not in distinct],
        dictionary_pagesize_limit=_MOST_DISTINCT_BYTES,
    )
