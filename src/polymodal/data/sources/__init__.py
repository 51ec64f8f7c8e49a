"""Where rows come from."""

from pathlib import Path
from typing import Any

from polymodal.data.sources import builtin, hugging_face, shards
from polymodal.data.sources.base import Record, Rejection, Source
from polymodal.data.sources.builtin import BUILTIN
from polymodal.data.sources.manifests import Csv, JsonLines, Manifest, Memory, Parquet
from polymodal.data.sources.pictures import PictureFolder
from polymodal.data.sources.shards import WebDataset
from polymodal.errors import DataError

__all__ = ["BUILTIN", "MANIFESTS", "Record", "Rejection", "Source", "open_source"]

MANIFESTS: dict[str, type[Manifest]] = {".parquet": Parquet, ".jsonl": JsonLines, ".csv": Csv}


def open_source(source: Any, cache: Path) -> Source:
    """The source that a user named.

    Args:
        source: A manifest, tar shard or folder; a list of shards such as ``s-{000..009}.tar``; ``hf:owner/name``; the
            name of a built-in data set; or a list of mappings.
        cache: Folder in which what must be written is written.

    Raises:
        DataError: There is no such source, or nothing in it is known.
    """
    if isinstance(source, Source):
        return source
    if not isinstance(source, str | Path):
        return Memory(source)
    text = str(source)
    if isinstance(source, str):
        if text.startswith("hf:"):
            return hugging_face.open_hub(text.removeprefix("hf:"), cache)
        if (folder := builtin.build(text, cache)) is not None:
            return _open_folder(folder)
    paths = [Path(name).expanduser() for name in shards.expand(text)] if "{" in text else [Path(source).expanduser()]
    for path in paths:
        if not path.exists():
            known = ", ".join(BUILTIN)
            raise DataError(f"{path}: no such file or folder (built in: {known}; from the hub: hf:owner/name)")
    if paths[0].is_dir():
        return _open_folder(paths[0])
    if paths[0].name.lower().endswith(shards.SUFFIXES):
        return WebDataset(paths)
    if paths[0].suffix.lower() in MANIFESTS:
        return MANIFESTS[paths[0].suffix.lower()](paths)
    endings = ", ".join([*MANIFESTS, *shards.SUFFIXES])
    raise DataError(f"{source}: '{paths[0].suffix}' is no ending of a source; {endings} are")


def _open_folder(folder: Path) -> Source:
    """A saved data set, else manifests, else shards, else pictures."""
    if hugging_face.is_saved(folder):
        return hugging_face.open_saved(folder)
    for suffix, manifest in MANIFESTS.items():
        if paths := sorted(folder.glob(f"*{suffix}")):
            return manifest(paths)
    if paths := sorted(path for path in folder.iterdir() if path.name.lower().endswith(shards.SUFFIXES)):
        return WebDataset(paths)
    if any(folder.iterdir()):
        return PictureFolder(folder)
    raise DataError(f"{folder}: the folder is empty")
