"""Where rows come from."""

import os
from pathlib import Path
from typing import Any

from polymodal.data.paths import Files
from polymodal.data.sources import builtin, folders, hugging_face, memory, shards, tables
from polymodal.data.sources.base import Block, Record, Rejection, Source
from polymodal.data.sources.builtin import BUILTIN
from polymodal.errors import DataError

__all__ = ["BUILTIN", "Block", "Record", "Rejection", "Source", "open_source"]


def open_source(
    source: Any,
    cache: Path,
    *,
    root: str | Path | None = None,
    follow_links: bool = False,
    encoding: str | None = None,
) -> Source:
    """The source that a user named.

    Args:
        source: A table, tar shard or folder; several of them, such as ``s-{000..009}.tar``; ``hf:owner/name``; the name
            of a built-in data set; or rows in memory, as ``memory.open_object`` takes them.
        cache: Folder in which what must be written is written.
        root: A folder that paths in cells may start from and lead to, besides the source's own.
        follow_links: Links in folders may lead out of them.
        encoding: Encoding of delimited text that is neither UTF-8 nor says what it is.

    Raises:
        DataError: There is no such source, or nothing in it is known.
    """
    if isinstance(source, Source):
        return source
    if not isinstance(source, str | Path):
        return memory.open_object(source, Files(None, root, follow_links))
    text = os.path.expanduser(source)
    if isinstance(source, str):
        if text.startswith("hf:"):
            return hugging_face.open_hub(text.removeprefix("hf:"), cache, Files(None, root, follow_links))
        if (folder := builtin.build(text, cache)) is not None:
            return folders.open_folder(Files(folder, root, follow_links))
    if os.path.isdir(text):
        return folders.open_folder(Files(Path(text), root, follow_links), encoding)
    paths = [_file(name) for name in ([text] if os.path.exists(text) else shards.expand(text))]
    above = Path(os.path.commonpath([path.parent for path in paths]))
    if len(paths) > 1 and above == Path(above.anchor):
        raise DataError(f"{source}: these files have no folder in common")
    named = {path.relative_to(above).as_posix(): path for path in paths}
    if all(path.name.lower().endswith(shards.ENDINGS) for path in paths):
        return shards.WebDataset(named, paths[0].name if len(paths) == 1 else str(above))
    for path in paths:
        if not path.name.lower().endswith(tables.ENDINGS):
            endings = ", ".join([*tables.ENDINGS, *shards.ENDINGS])
            raise DataError(f"{source}: '{path.suffix}' is no ending of a source; {endings} are{_remedy(path)}")
    return tables.Tables(named, Files(above, root, follow_links), encoding)


_REMEDIES = {
    (".zip", ".7z", ".rar", ".bz2", ".xz", ".zst", ".lz4"): "unpack it, and give what is in it",
    (".xlsx", ".xls", ".ods"): "save it as CSV, or give the frame that pandas.read_excel gives",
    (".feather", ".arrow", ".ipc"): "give the table that pyarrow.feather.read_table gives, or write it as Parquet",
    (
        ".txt",
    ): "name it .csv or .tsv if its lines are cells under a header, or give the folder if it is one text of many",
    (".db", ".sqlite", ".pkl", ".npz", ".npy", ".h5", ".hdf5", ".mat"): "read it, and give its rows or its columns",
}
"""By endings of files in which data often are: what to do with them."""


def _remedy(path: Path) -> str:
    known = (remedy for endings, remedy in _REMEDIES.items() if path.suffix.lower() in endings)
    return "".join(f"; {remedy}" for remedy in known)


def _file(name: str) -> Path:
    """A file that is there, in a folder named without links."""
    if not os.path.isfile(name):
        if "://" in name:
            raise DataError(f"{name}: addresses are not fetched; download it, and give the file (or hf:owner/name)")
        known = ", ".join(BUILTIN)
        raise DataError(f"{name}: no such file or folder (built in: {known}; from the hub: hf:owner/name)")
    return Path(os.path.realpath(os.path.dirname(name)), os.path.basename(name))
