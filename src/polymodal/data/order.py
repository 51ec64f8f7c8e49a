"""The order in which an epoch visits rows: a function of a key alone, so that any process can begin anywhere in it."""

import numpy as np
import torch
from torch import Tensor

from polymodal.nn.random import fold, uniform

_SHARDS = -1
"""Stream of the key that the order of the shards is drawn from; those of the rows are their numbers."""
_KEPT = 4
"""Windows whose order is kept, as a step's rows and those of the steps to come lie in few."""


class Order:
    """Shards in random order, some at a time, and the rows of these in random order.

    Rows in memory are one shard, so that their order is one permutation of all.

    Args:
        sizes: (S,) rows of each shard, which follow one another.
        window: Shards whose rows are mixed with each other.
    """

    def __init__(self, sizes: np.ndarray, window: int = 1) -> None:
        self.sizes, self.window = np.asarray(sizes, dtype=np.int64), window
        self.starts = np.concatenate([[0], np.cumsum(self.sizes)])
        self._shards: tuple[int, np.ndarray, np.ndarray] | None = None
        self._windows: dict[tuple[int, int], Tensor] = {}

    def __len__(self) -> int:
        return int(self.starts[-1])

    @property
    def rows_of_window(self) -> int:
        """Of the largest one, at most."""
        return int(self.window * self.sizes.max(initial=0))

    def at(self, key: Tensor, places: Tensor) -> Tensor:
        """The numbers of the rows at ``places`` (n,) of the order that a ``key`` (1,) gives."""
        shards, ends = self._order_of_shards(key)
        windows = torch.from_numpy(np.searchsorted(ends, places.numpy(), side="right"))
        rows = torch.empty_like(places)
        for window in windows.unique().tolist():
            here = windows == window
            begin = int(ends[window - 1]) if window else 0
            rows[here] = self._rows_of(key, window, shards)[places[here] - begin]
        return rows

    def _order_of_shards(self, key: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """(S,) the order of the shards; (W,) where each window of it ends, in rows."""
        if self._shards is None or self._shards[0] != int(key):
            count = len(self.sizes)
            keys = fold(fold(key, _SHARDS), torch.arange(count))
            shards = uniform(keys).argsort(stable=True).numpy() if count > 1 else np.arange(count)
            ends = np.cumsum(self.sizes[shards])[[*range(self.window - 1, count - 1, self.window), count - 1]]
            self._shards = int(key), shards, ends
        return self._shards[1:]

    def _rows_of(self, key: Tensor, window: int, shards: np.ndarray) -> Tensor:
        """The rows of a window in their order."""
        name = int(key), window
        if name not in self._windows:
            while len(self._windows) >= _KEPT:
                self._windows.pop(next(iter(self._windows)))
            chosen = np.sort(shards[window * self.window : (window + 1) * self.window])
            rows = torch.from_numpy(np.concatenate([np.arange(self.starts[s], self.starts[s + 1]) for s in chosen]))
            self._windows[name] = rows[uniform(fold(key, rows)).argsort(stable=True)]
        return self._windows[name]
