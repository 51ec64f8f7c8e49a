"""Drawn groups: the samples of groups of rows, which are drawn anywhere, kept in files, and scored together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load

from polymodal.files import atomic_file, write_tensors
from polymodal.generation import CHUNK
from polymodal.types import Field

GROUP_ROWS = 4 * CHUNK
"""Rows whose samples are drawn together, by the same calls of the model wherever that is."""


class DrawnGroups:
    """Samples of the rows of directions, group by group.

    Args:
        folder: Where the files are kept; None keeps none.
        shard: ``(i, n)``: of the groups that ``draw`` is asked for, every n-th from the i-th on is this process's.
    """

    def __init__(self, folder: Path | None = None, shard: tuple[int, int] = (1, 1)) -> None:
        self.folder, self.shard = folder, shard
        self.asked = self.done = 0

    def ranges(self, rows: int) -> Iterator[tuple[int, int]]:
        """The first row of each group, and the one behind its last."""
        return ((start, min(start + GROUP_ROWS, rows)) for start in range(0, rows, GROUP_ROWS))

    def read(self, name: str, varies: int | None) -> Field | None:
        """The samples of a group; None if they are not there, or not whole."""
        if self.folder is None:
            return None
        try:
            return Field(**load((self.folder / f"{name}.safetensors").read_bytes()), varies=varies)
        except (OSError, SafetensorError, TypeError):
            return None

    def draw(self, name: str, make: Callable[[], Field], varies: int | None) -> None:
        """Draws a group and keeps it, if it is this process's and not there yet."""
        self.asked += 1
        if (self.asked - self.shard[0]) % self.shard[1] or self.folder is None:
            return
        if self.read(name, varies) is None:
            made = make()
            tensors = {part: getattr(made, part).contiguous() for part in ("value", "mask", "present")}
            with atomic_file(self.folder / f"{name}.safetensors") as partial:
                write_tensors(partial, tensors)
        self.done += 1

    def forget(self, direction: str) -> None:
        """Removes the samples of a direction, which has been measured."""
        for file in self.folder.glob(f"{direction}-*.safetensors") if self.folder is not None else ():
            file.unlink(missing_ok=True)
