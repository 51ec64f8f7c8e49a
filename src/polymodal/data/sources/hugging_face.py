"""Data sets of the ``datasets`` library: objects, a saved folder, or one of the hub.

Their Image, Audio and Video features would decode cells through torchcodec, which needs ffmpeg and one certain torch;
here cells are taken from Arrow, and the field's modality decodes the bytes.
"""

import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from polymodal.data.paths import Files
from polymodal.data.sources.arrow import BATCH_ROWS, ArrowTable
from polymodal.data.sources.base import Block, Source, Splits
from polymodal.errors import DataError


class DatasetTable(ArrowTable):
    """A ``Dataset``, or an ``IterableDataset``, which is read into memory.

    Args:
        name: For messages.
        data: Data of the ``datasets`` library.
        files: Those that paths in cells may mean.
        trusted: The features Image, Audio and Video may name any file, as the program that made the data set may.
    """

    def __init__(self, name: str, data: Any, files: Files, trusted: bool) -> None:
        features = data.features or {}
        names = {column: list(kind.names) for column, kind in features.items() if hasattr(kind, "int2str")}
        if hasattr(data, "select_columns") and hasattr(data, "__len__"):
            columns = data.column_names

            def batches(wanted: list[str]) -> Iterable[pa.Table]:
                return data.select_columns(wanted).with_format("arrow").iter(BATCH_ROWS)
        else:
            table = pa.concat_tables(data.with_format("arrow").iter(BATCH_ROWS), promote_options="permissive")
            columns = table.column_names

            def batches(wanted: list[str]) -> Iterable[pa.Table]:
                return table.select(wanted).to_batches(BATCH_ROWS)

        super().__init__(name, columns, batches, names, files)
        media = ("Image", "Audio", "Video")
        self._media = [name for name, kind in features.items() if trusted and type(kind).__name__ in media]
        self._anywhere = Files(Path("/"))

    def blocks(self, columns: Collection[str]) -> Iterator[Block]:
        for block in super().blocks(columns):
            for name in {*self._media} & {*block.cells}:
                block.cells[name] = [self._file(cell) for cell in block.cells[name]]
            yield block

    def _file(self, cell: Any) -> Any:
        path = cell.get("path") if isinstance(cell, dict) and cell.get("bytes") is None else None
        if not path:
            return cell
        try:
            return self._anywhere.find(os.path.abspath(path))
        except DataError as error:
            return error


def open_object(name: str, data: Any, files: Files, trusted: bool = True) -> Source:
    """A data set, or a mapping of them by split."""
    if isinstance(data, dict):
        return Splits(
            name, {str(split): DatasetTable(name, part, files, trusted) for split, part in data.items()}, files
        )
    return DatasetTable(name, data, files, trusted)


def is_saved(folder: Path) -> bool:
    """Whether ``save_to_disk`` wrote this folder."""
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def open_saved(folder: Path, files: Files) -> Source:
    """What ``save_to_disk`` wrote, memory-mapped.

    Raises:
        DataError: The folder is broken.
    """
    import datasets

    try:
        return open_object(str(folder), datasets.load_from_disk(str(folder)), files, trusted=False)
    except Exception as error:  # the library raises nearly every kind on broken folders
        raise DataError(f"{folder}: cannot be read as a saved data set: {error}") from error


def open_hub(name: str, cache: Path, files: Files) -> Source:
    """A data set of the hub, kept in ``cache``: ``owner/name`` or ``owner/name:configuration``.

    Raises:
        DataError: There is no such data set, or the hub cannot be reached and the cache does not have it.
    """
    import datasets

    path, _, configuration = name.partition(":")
    try:
        data = datasets.load_dataset(path, configuration or None, cache_dir=str(cache / "hub"))
    except Exception as error:  # the library raises nearly every kind
        raise DataError(f"hf:{name}: {' '.join(str(error).split())}") from error
    return open_object(f"hf:{name}", data, files, trusted=False)
