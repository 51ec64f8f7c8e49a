"""Data sets of the ``datasets`` library: a saved folder, or one of the hub.

Cells are taken from Arrow as they are. Its Image and Audio features would decode them through torchcodec, which needs
ffmpeg and one certain torch; here the field's modality decodes the bytes.
"""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polymodal.data.sources.base import Record, Rejection, Source, from_arrow
from polymodal.errors import DataError

if TYPE_CHECKING:
    import datasets

_BATCH_ROWS = 256


class HuggingFace(Source):
    """A ``Dataset``, or a ``DatasetDict``, whose keys become the column ``split``."""

    def __init__(self, name: str, data: "datasets.Dataset | datasets.DatasetDict", root: Path | None = None) -> None:
        super().__init__(name, root)
        self.parts: dict[str | None, Any] = dict(data) if isinstance(data, dict) else {None: data}

    def columns(self) -> list[str]:
        names = dict.fromkeys(name for part in self.parts.values() for name in part.column_names)
        return list(names if None in self.parts else {**names, "split": None})

    def records(self, columns: Collection[str]) -> Iterator[Record | Rejection]:
        for split, part in self.parts.items():
            classes = {name: kind.names for name, kind in part.features.items() if hasattr(kind, "int2str")}
            wanted = [name for name in part.column_names if name in columns]
            if not wanted:  # a table without columns would have no rows
                wanted = part.column_names[:1]
            batches = part.select_columns(wanted).with_format("arrow").iter(_BATCH_ROWS)
            for record in from_arrow(split or self.name, batches, classes):
                if split is not None:
                    record.cells["split"] = split
                yield record


def is_saved(folder: Path) -> bool:
    """Whether ``save_to_disk`` wrote this folder."""
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def open_saved(folder: Path) -> HuggingFace:
    """What ``save_to_disk`` wrote, memory-mapped.

    Raises:
        DataError: The folder is broken.
    """
    import datasets

    try:
        return HuggingFace(str(folder), datasets.load_from_disk(str(folder)), folder)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{folder}: cannot be read as a saved data set: {error}") from error


def open_hub(name: str, cache: Path) -> HuggingFace:
    """A data set of the hub, kept in ``cache``: ``owner/name`` or ``owner/name:configuration``.

    Raises:
        DataError: There is no such data set, or the hub cannot be reached and the cache does not have it.
    """
    import datasets

    path, _, configuration = name.partition(":")
    try:
        data = datasets.load_dataset(path, configuration or None, cache_dir=str(cache / "hub"))
    except (OSError, ValueError, ConnectionError) as error:
        raise DataError(f"hf:{name}: {' '.join(str(error).split())}") from error
    return HuggingFace(f"hf:{name}", data)
