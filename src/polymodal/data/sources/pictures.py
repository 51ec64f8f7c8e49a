"""A folder of pictures, whose folders name classes and, above them, maybe splits."""

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from polymodal.data.sources.base import Record, Rejection, Source
from polymodal.data.splits import is_split_column
from polymodal.modalities import Image


class PictureFolder(Source):
    """``[split/]class/picture.png`` -> columns ``image``, ``label``, ``split`` and ``__key__``, the path.

    A picture directly in the folder has no label. Hidden files are skipped; any other file that is no picture by its
    ending is set aside.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder), folder)
        self.folder = folder

    def records(self, columns: Collection[str]) -> Iterator[Record | Rejection]:
        with_splits = is_split_column(child.name for child in self.folder.iterdir() if child.is_dir())
        for number, path in enumerate(_walk(self.folder), 1):
            file = path.relative_to(self.folder).as_posix()
            if path.suffix.lower() not in Image.suffixes:
                yield Rejection(file, number, None, f"'{path.suffix}' is no ending of a picture")
                continue
            folders = file.split("/")[:-1]
            split = folders.pop(0) if with_splits and folders else None
            yield Record(file, number, {"image": file, "label": "/".join(folders), "__key__": file, "split": split})


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent) / name for name in sorted(files) if not name.startswith("."))
