"""Load shards: one pass finds out what is in them; a small manifest of each keeps it, and values come when wanted.

What a modality has to learn of the rows, and what codecs learn from, is a sample of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polymodal.data.cache import cache_folder
from polymodal.data.columns import Column, ColumnWriter
from polymodal.data.fields import describe_fields, parse_fields
from polymodal.data.passes import Pass
from polymodal.data.places import place_of, remember
from polymodal.data.rows import Rows
from polymodal.data.shard_groups import Groups, settle
from polymodal.data.sharded_rows import ShardedRows, ShardStore
from polymodal.data.shards import FETCHERS, Shard, ShardCache, ShardSource, bytes_of, find_shards, open_columns
from polymodal.data.sources import Record, Rejection
from polymodal.data.splits import SPLITS, is_split_column, split_in_path, split_name
from polymodal.errors import ConfigError, DataError, printable
from polymodal.files import atomic_file, atomic_folder, digest, short_digest, write_file
from polymodal.modalities import Modality
from polymodal.nn.random import fold, make_keys, uniform

FORMAT = 2
"""Of the manifests and of what lies beside them."""
_MOST_REJECTIONS = 20
"""Of each shard, that are kept with their reasons."""


@dataclass(frozen=True)
class Manifest:
    """What is known of a shard without its values.

    Attributes:
        present: (F, N) which row has which field.
        split: (N,) place of each row's split in ``SPLITS``.
        index: (N,) each row's number among the shard's records.
        records: Number of these.
        keys: Names of the contents of the F columns.
        bytes: Size of the decoded values.
        content: Names what the rows hold.
        rejected: Some of the rows that were set aside: file, row, field and reason.
        bad_cells: Some of the cells that are missing as they cannot be read: file, row, field and reason.
        lost: Number of rows and of cells that were set aside.
        groups: Which rows share something that tells which row it is; None where rows are not grouped.
    """

    present: np.ndarray
    split: np.ndarray
    index: np.ndarray
    records: int
    keys: list[str]
    bytes: int
    content: str
    rejected: list[list[Any]]
    bad_cells: list[list[Any]]
    lost: tuple[int, int]
    groups: Groups | None = None

    def write(self, file: Path) -> None:
        arrays = {"present": np.packbits(self.present, axis=1), "split": self.split, "index": self.index}
        known = {name: value for name, value in vars(self).items() if name not in arrays and name != "groups"}
        arrays |= self.groups.arrays() if self.groups is not None else {}
        with atomic_file(file) as partial:
            np.savez(partial, known=np.array(json.dumps(known)), **arrays)  # type: ignore[arg-type]

    @classmethod
    def read(cls, file: Path) -> Manifest | None:
        """None if there is none that is whole."""
        try:
            with np.load(file) as arrays:
                known, count = json.loads(str(arrays["known"])), len(arrays["index"])
                present = np.unpackbits(arrays["present"], axis=1, count=count).astype(bool)
                groups = Groups.read(arrays) if "groups_group" in arrays else None
                return cls(present=present, split=arrays["split"], index=arrays["index"], groups=groups, **known)
        except (OSError, ValueError, KeyError, TypeError, EOFError):
            return None


class _Loader:
    """Reads the shards of one data set.

    Args:
        shards: In order.
        fields: Prepared modalities and columns, by name.
        settings: Of ``load``, for every shard.
        opener: Of ``open_source``.
        base: Folder of the cache for shards.
        load: ``load`` of one file.
    """

    def __init__(
        self,
        shards: list[Shard],
        fields: Mapping[str, tuple[Modality, str]],
        settings: dict[str, Any],
        opener: dict[str, Any],
        base: Path,
        load: Callable[..., Any],
    ) -> None:
        self.shards, self.fields, self.settings, self.opener, self.base = shards, fields, settings, opener, base
        self.load = load
        self.modalities = {name: modality for name, (modality, _) in fields.items()}
        told = describe_fields(self.modalities, {name: column for name, (_, column) in fields.items()})
        how = json.dumps([FORMAT, told, settings, opener], sort_keys=True)
        self.keys = [short_digest(f"{how} {shard.name} {shard.stamp}", 16) for shard in shards]
        self.source = ShardSource(shards, base / "fetched", opener)
        named = [split_in_path(shard.name) for shard in shards]
        self.named = named if len({*named}) > 1 else [None] * len(shards)

    def manifest(self, shard: int) -> Manifest | None:
        return Manifest.read(self._file(shard))

    def _file(self, shard: int) -> Path:
        return self.base / "manifests" / f"{self.keys[shard]}.npz"

    def decode(self, shard: int, folder: Path) -> Rows:
        """Reads a shard; its values lie in the folder, what is known of it in a manifest."""
        settings, named = dict(self.settings), self.named[shard]
        if named:
            settings |= {"test": 0.0} | ({"validation": 0.0} if "validation" in self.named else {})
        with self.shards[shard].fetched(self.base / "fetched") as path:
            fields = {
                name: {"modality": modality, "column": column} for name, (modality, column) in self.fields.items()
            }
            passes: list[Pass] = []
            data = self.load(str(path), fields, cache=folder, part=passes.append, **settings, **self.opener)
            with ExitStack() as stack:
                origin = stack.enter_context(self.source.opened(replace(self.shards[shard], name=str(path))))
                records = sum(isinstance(found, Record) for found in origin.records(()))
        rows = data.rows
        split = np.zeros(len(rows), dtype=np.uint8)
        for place, name in enumerate(SPLITS):
            split[np.isin(rows.index, data.splits[name].index)] = place
        if named in SPLITS[1:]:
            split[:] = SPLITS.index(named)
        groups = None
        if settings["group"]:
            shared, said = ([its[i] for i in rows.index.tolist()] for its in (passes[0].shared, passes[0].named))
            said = [named] * len(rows) if named in SPLITS[1:] else said
            groups = Groups.of(shared, said, settings["validation"], settings["test"])
        rejected, bad_cells = (
            [list(vars(each).values()) for each in some[:_MOST_REJECTIONS]] for some in (data.rejected, data.bad_cells)
        )
        Manifest(
            np.stack([rows.columns[name].present for name in self.fields]), split, rows.index, records,
            [rows.columns[name].key for name in self.fields], bytes_of(folder), rows.fingerprint, rejected,
            bad_cells, (len(data.rejected), len(data.bad_cells)), groups,
        ).write(self._file(shard))  # fmt: skip
        return rows

    def reopen(self, shard: int, folder: Path, slots: np.ndarray) -> Rows:
        """The same rows from what lies in the folder.

        Raises:
            ValueError: They are not all there.
        """
        manifest = self.manifest(shard)
        if manifest is None:
            raise ValueError("there is no manifest")
        columns = open_columns(folder, slots, manifest.keys, self.modalities)
        names = {name: column for name, (_, column) in self.fields.items()}
        return Rows(self.modalities, columns, self.source, manifest.index, names)


def load_shards(
    source: Any,
    fields: Mapping[str, Any] | None,
    load: Callable[..., Any],
    make_data: Callable[..., Any],
    *,
    key: str | None,
    group: bool,
    split: str | None,
    validation: float,
    test: float,
    cache: str | Path | None,
    strict: bool,
    encoding: str | None,
    window: int = 8,
    cache_megabytes: float = 4096.0,
    sample_rows: int = 10_000,
    held_out: int = 2_000,
) -> Any:
    """``Data`` whose training rows are fetched from shards as they are wanted; arguments as of ``load``.

    Raises:
        DataError: A shard is not there, cannot be read, or holds no row that can be used.
        ConfigError: The cache is too small for the shards of a window.
    """
    folder, opener = cache_folder(cache), {"encoding": encoding}
    base, shards = folder / "shards", find_shards(source)
    order = uniform(fold(make_keys(0, 1), torch.arange(len(shards)))).argsort(stable=True).tolist()
    settings = {"key": key, "group": group, "split": split, "validation": validation, "test": test, "strict": strict}
    typed, settings, notes, sampled = _prepared(
        [shards[place] for place in order], fields, settings, opener, base, load, sample_rows
    )
    loader = _Loader(shards, typed, settings, opener, base, load)
    here = base / "decoded" / short_digest("".join(loader.keys))
    store_cache = ShardCache(here, loader.keys, loader.decode, loader.reopen, 1e6 * cache_megabytes)

    def known(shard: int) -> Manifest:
        manifest = loader.manifest(shard)
        if manifest is None:
            store_cache.rows(shard)
            manifest = loader.manifest(shard)
        if manifest is None:
            raise DataError(f"{shards[shard].name}: its manifest in {base} cannot be written or read")
        return manifest

    with ThreadPoolExecutor(FETCHERS) as pool:
        manifests = list(pool.map(known, range(len(shards))))
    sizes = np.array([manifest.bytes for manifest in manifests])
    if cache_megabytes * 1e6 < (window + 1) * sizes.max():
        raise ConfigError(
            f"data.shards.cache_megabytes: {cache_megabytes:g} are too few for a window of {window} shards and "
            f"the next, of {sizes.max() / 1e6:.3g} MB each; raise it to {1.01e-6 * (window + 1) * sizes.max():.3g}, or "
            "make data.shards.window or the shards smaller"
        )
    counts = np.array([len(manifest.index) for manifest in manifests])
    offsets = np.cumsum([0, *(manifest.records for manifest in manifests[:-1])])
    shard = np.repeat(np.arange(len(shards), dtype=np.int32), counts)
    local = np.concatenate([np.arange(count, dtype=np.int32) for count in counts])
    index = np.concatenate([m.index + offset for m, offset in zip(manifests, offsets, strict=True)])
    codes = np.concatenate([manifest.split for manifest in manifests])
    if groups := [manifest.groups for manifest in manifests if manifest.groups is not None]:
        codes, large = settle(groups, codes)
        if large:
            notes.append(
                f"{large:,} of {len(codes):,} rows are one group, as they share pictures, sounds or long texts, and "
                "are trained on where no split is named for them; data.group: false takes them apart"
            )
    present = dict(zip(typed, np.concatenate([manifest.present for manifest in manifests], axis=1), strict=True))
    visited = np.empty(len(shards), dtype=np.int64)
    visited[order] = np.arange(len(shards))

    def in_memory(split_place: int, most: int) -> Rows:
        chosen = np.flatnonzero(codes == split_place)
        chosen = chosen[np.argsort(visited[shard[chosen]], kind="stable")][:most]
        chosen = np.sort(chosen)
        name = short_digest(f"{FORMAT} {here.name} {split_place} {most}")
        columns = _gathered(base / "kept" / name, loader.modalities, store_cache, shard[chosen], local[chosen])
        names = {name: column for name, (_, column) in typed.items()}
        return Rows(loader.modalities, columns, loader.source, index[chosen], names)

    train, held = in_memory(0, sample_rows), [in_memory(place, held_out) for place in (1, 2)]
    store = ShardStore(train, store_cache, sizes, [manifest.content for manifest in manifests], window)
    rows = ShardedRows(store, shard, local, present, index).select(codes == 0)
    lost = np.array([manifest.lost for manifest in manifests]).sum(0)
    notes += [
        f"{len(shards):,} shards of {sizes.sum() / 1e6:,.3g} MB decoded, of which {cache_megabytes:,g} MB are kept; an "
        f"epoch mixes the rows of {window} shards at a time (data.shards)",
        f"what fields, codecs and vocoders learn of the rows is learned from {len(train):,} of {len(rows):,} training "
        f"rows, in {sampled:,} shards (data.shards.sample_rows)",
    ]
    for name, some, place in zip(SPLITS[1:], held, (1, 2), strict=True):
        if (total := int((codes == place).sum())) > len(some):
            notes.append(f"{len(some):,} of {total:,} rows for {name} are looked at (data.shards.held_out)")
    if lost.any():
        notes.append(f"{lost[0]:,} rows and {lost[1]:,} cells could not be read; some are listed")
    remember(source, folder)
    given = {"window": window, "cache_megabytes": cache_megabytes, "sample_rows": sample_rows, "held_out": held_out}
    return make_data(
        printable(loader.source.name),
        loader.modalities,
        train=rows,
        validation=held[0],
        test=held[1],
        rejected=[Rejection(*each) for manifest in manifests for each in manifest.rejected],
        bad_cells=[Rejection(*each) for manifest in manifests for each in manifest.bad_cells],
        notes=[printable(note) for note in notes],
        settings={
            "key": key, "group": group, "split": split, "validation": validation, "test": test, "limit": None,
            "root": None, "follow_links": False, "encoding": encoding, "shards": given, "source": place_of(source),
        },
    )  # fmt: skip


def _prepared(
    shards: list[Shard],
    fields: Mapping[str, Any] | None,
    settings: dict[str, Any],
    opener: dict[str, Any],
    base: Path,
    load: Callable[..., Any],
    sample_rows: int,
) -> tuple[dict[str, tuple[Modality, str]], dict[str, Any], list[str], int]:
    """Fields that have learned from the first rows of the first shards, and settings by which those name splits.

    Returns:
        Modalities and columns by name, settings, notes, and the number of shards that were looked at.
    """
    told = None if fields is None else describe_fields(fields)
    stamps = [f"{shard.name} {shard.stamp}" for shard in shards]
    name = short_digest(json.dumps([FORMAT, told, settings, opener, sample_rows, stamps], sort_keys=True, default=str))
    file = base / "prepared" / f"{name}.json"
    try:
        known = json.loads(file.read_bytes())
        return parse_fields(known["fields"]), known["settings"], known["notes"], known["shards"]
    except (OSError, ValueError, KeyError):
        pass
    with ExitStack() as stack:
        local: list[Shard] = []
        rows, column, names = 0, settings["split"] or "split", []
        for shard in shards:
            path = stack.enter_context(shard.fetched(base / "fetched"))
            local.append(replace(shard, name=str(path)))
            found = [r for r in ShardSource(local[-1:], base, opener).records([column]) if isinstance(r, Record)]
            names += [record.cells.get(column) for record in found]
            rows += len(found)
            if rows >= sample_rows:
                break
        settings = dict(settings)
        if settings["split"] is not None or is_split_column(names):
            said = {split_name(cell) for cell in names if cell is not None}
            settings |= {name: 0.0 for name in SPLITS[1:] if name in said}
        data = load(ShardSource(local, base, opener), fields, cache=base / "sample", limit=sample_rows, **settings)
    typed = {name: (modality, data.train.names[name]) for name, modality in data.fields.items()}
    tree = describe_fields(data.fields, data.train.names)
    known = {"fields": tree, "settings": settings, "notes": data.notes, "shards": len(local)}
    write_file(file, json.dumps(known))
    return typed, settings, list(data.notes), len(local)


def _gathered(
    folder: Path, fields: Mapping[str, Modality], cache: ShardCache, shard: np.ndarray, local: np.ndarray
) -> dict[str, Column]:
    """Columns of some rows of some shards, in a folder of their own, each distinct value once."""
    if not (folder / "slots.npy").exists():
        with atomic_folder(folder, replace=True) as partial:
            slots = np.stack(
                [_gather(partial / str(p), n, m, cache, shard, local) for p, (n, m) in enumerate(fields.items())]
            )
            np.save(partial / "slots.npy", slots)
    slots = np.load(folder / "slots.npy")
    return {
        name: Column.open(folder / str(place), slots[place], f"{folder.name} {place}", modality.space.varies)
        for place, (name, modality) in enumerate(fields.items())
    }


def _gather(
    folder: Path, name: str, modality: Modality, cache: ShardCache, shard: np.ndarray, local: np.ndarray
) -> np.ndarray:
    """(n,) the slots of the rows' values of one field, which are written to a folder."""
    folder.mkdir()
    places: dict[bytes, int] = {}
    slots = np.full(len(shard), -1)
    with ColumnWriter(folder) as writer:
        writer.write(np.empty((0, *modality.space.rest), modality.dtype), [] if modality.space.variable else None)
        for number in np.unique(shard).tolist():
            here = np.flatnonzero(shard == number)
            column = cache.rows(number).columns[name]
            own = column.slots[local[here]]
            for slot in np.unique(own[own >= 0]).tolist():
                bounds = (slot, slot + 1) if column.offsets is None else column.offsets[slot : slot + 2]
                value = np.asarray(column.values[slice(*bounds)])
                content = digest(value.tobytes())
                if content not in places:
                    places[content] = len(places)
                    writer.write(value, None if column.offsets is None else [len(value)])
                slots[here[own == slot]] = places[content]
    return slots
