"""Shard groups: rows of several shards that share a picture, a sound, another file or a long text are in one split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from polymodal.data.splits import SPLITS, joined, split_by_hash

_KEY_BYTES = 16


@dataclass(frozen=True)
class Groups:
    """The groups of a shard's rows.

    Attributes:
        group: (N,) number of each row's group; -1 for a row that has nothing to share.
        names: (C,) the contents that rows may share, as the first 64 bits of their names.
        owner: (C,) the group of each content.
        least: (G, 16) the least name of a content of each group, which decides its split.
        named: (N,) place in ``SPLITS`` of the split that is named for each row; behind them where none is.
        fractions: (2,) of rows to validate and to test with, where the key decides.
    """

    group: np.ndarray
    names: np.ndarray
    owner: np.ndarray
    least: np.ndarray
    named: np.ndarray
    fractions: np.ndarray

    @classmethod
    def of(
        cls, contents: Sequence[Sequence[bytes]], named: Sequence[str | None], validation: float, test: float
    ) -> Groups:
        """Those of rows by the names of the contents that each may share, and by the splits that are named for them."""
        names = sorted({name for its in contents for name in its})
        number = {name: place for place, name in enumerate(names)}
        rows = np.array([row for row, its in enumerate(contents) for _ in its], dtype=np.int64)
        values = np.array([number[name] for its in contents for name in its], dtype=np.int64)
        group = np.full(len(contents), -1)
        sharing, place = np.unique(rows, return_inverse=True)
        group[sharing] = joined(place, values, len(sharing))
        owner = np.empty(len(names), dtype=np.int64)
        owner[values] = group[rows]
        first = np.unique(owner, return_index=True)[1]  # names are sorted
        bytes_of = np.frombuffer(b"".join(names), dtype=np.uint8).reshape(-1, _KEY_BYTES)
        return cls(
            group.astype(np.int32),
            np.ascontiguousarray(bytes_of[:, :8]).view(np.uint64).reshape(-1),
            owner.astype(np.int32),
            bytes_of[first],
            np.array([len(SPLITS) if name is None else SPLITS.index(name) for name in named], dtype=np.uint8),
            np.array([0.0 if "validation" in named else validation, 0.0 if "test" in named else test]),
        )

    def arrays(self) -> dict[str, Any]:
        """As ``numpy.savez`` takes it."""
        return {f"groups_{each.name}": getattr(self, each.name) for each in fields(self)}

    @classmethod
    def read(cls, arrays: Any) -> Groups:
        """What was written of ``arrays``."""
        return cls(**{each.name: arrays[f"groups_{each.name}"] for each in fields(cls)})


def settle(shards: Sequence[Groups], splits: np.ndarray) -> tuple[np.ndarray, int]:
    """The splits of all rows, those of groups that are in several shards decided by the least name of the whole group.

    A group of more than half of all rows is trained on, as ``group_keys`` has it.

    Args:
        shards: The groups of each shard.
        splits: (N,) place in ``SPLITS`` of each row's split, as its shard alone has it.

    Returns:
        The splits, and the number of rows of a group that is trained on for its size, or 0.
    """
    counts = [len(shard.group) for shard in shards]
    offsets = np.cumsum([0, *(len(shard.least) for shard in shards)])
    group = np.concatenate(
        [np.where(shard.group < 0, -1, shard.group + first) for shard, first in zip(shards, offsets, strict=False)]
    )
    owner = np.concatenate([shard.owner + first for shard, first in zip(shards, offsets, strict=False)])
    _, content = np.unique(np.concatenate([shard.names for shard in shards]), return_inverse=True)
    whole = joined(owner, content.reshape(-1), int(offsets[-1]))
    sharing = group >= 0
    sizes = np.bincount(whole[group[sharing]], minlength=int(whole.max(initial=-1)) + 1)
    # What a shard alone cannot know: groups that others have a part of, and those that may be most of it, not of all.
    in_shard = np.bincount(group[sharing], minlength=int(offsets[-1]))[group[sharing]]
    part_of_shard = 4 * in_shard > np.repeat(counts, counts)[sharing]
    anew = np.zeros(len(group), dtype=bool)
    anew[sharing] = (np.bincount(whole, minlength=len(sizes)) > 1)[whole[group[sharing]]] | part_of_shard
    least, keys = np.concatenate([shard.least for shard in shards]), dict[int, bytes]()
    for place in np.flatnonzero(np.isin(whole, whole[group[anew]])).tolist():
        its, key = int(whole[place]), least[place].tobytes()
        keys[its] = min(key, keys.get(its, key))
    named = np.concatenate([shard.named for shard in shards])
    shard_of = np.repeat(np.arange(len(shards)), counts)
    settled, large = splits.copy(), 0
    for row in np.flatnonzero(anew & ((named == len(SPLITS)) | (named == 0))).tolist():
        its = int(whole[group[row]])
        if 2 * sizes[its] > max(len(group), 2):
            settled[row], large = 0, int(sizes[its])
            continue
        validation, test = shards[shard_of[row]].fractions.tolist()
        settled[row] = SPLITS.index(split_by_hash(keys[its], validation, test if named[row] else 0.0))
    return settled, large
