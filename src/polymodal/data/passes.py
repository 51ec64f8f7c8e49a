"""Passes: what one reading of a source finds out, and the values of its cells, which are read once more when wanted."""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.data.cache import build_column
from polymodal.data.cells import Digests, is_absent
from polymodal.data.columns import Column
from polymodal.data.sources import Block, Rejection, Source
from polymodal.data.sources.reading import check_rows
from polymodal.data.splits import SPLITS, assign_splits, group_keys, is_split_column, split_name
from polymodal.errors import DataError
from polymodal.files import digest
from polymodal.modalities import Modality

_MOST_KNOWN = 4096
"""Texts of a field whose contents' names are remembered, as classes come again and again."""


class Pass:
    """What one pass over the source finds: the content of every cell by name, no cell itself."""

    def __init__(self, origin: Source, typed: Mapping[str, tuple[Modality, str]]) -> None:
        self.origin, self.typed = origin, typed
        self.records: list[tuple[str, int]] = []
        self.ids = {name: array("i") for name in typed}  # number of each cell's content, -1 if absent
        self.contents: dict[str, dict[bytes, int]] = {name: {} for name in typed}  # number of each distinct content
        self.firsts: dict[str, list[int]] = {name: [] for name in typed}  # record where each content is first seen
        self.known: dict[str, dict[str, bytes]] = {name: {} for name in typed}  # contents of texts that come again
        self.keys: list[bytes] = []
        self.shared: list[Sequence[bytes]] = []  # contents of each record that tell which row it is, as a picture does
        self.split_cells: list[Any] = []
        self.named_splits: list[str | None] = []  # by files and folders
        self.named: list[str | None] = []  # splits that are named for the records, in whatever way
        self.splits = np.empty(0, dtype=object)
        self.notes: list[str] = []
        self.faults: dict[int, tuple[str | None, str]] = {}  # field and reason of rows that are set aside, by record
        self.unread: list[tuple[int, str, str]] = []  # record, field and reason of cells that cannot be read
        self.unparsed: list[tuple[int, Rejection]] = []  # with the number of the next record
        self.names_files = False

    def run(self, digests: Digests, key: str | None, split: str, limit: int | None, strict: bool) -> None:
        """Read the whole source once."""
        for area in self.origin.files.areas:
            digests.recall(area)
        columns = {column for _, column in self.typed.values()} | {split} | ({key} if key else set())
        blocks, left = self.origin.blocks(columns), limit
        while left != 0 and (found := next(blocks, None)) is not None:
            if isinstance(found, Rejection):
                self.unparsed.append((len(self.records), found))
                left = left and left - 1
            else:
                block = found if left is None else found.head(left)
                self._add(block, digests, key, split)
                left = left and left - len(block)
            if strict:
                self.raise_first()
            if limit is None and self.origin.size is not None:
                check_rows(self.origin.name, self.origin.size, len(self.records))
        digests.save()

    def _add(self, block: Block, digests: Digests, key: str | None, split: str) -> None:
        shared: dict[int, list[bytes]] = {}
        contents = [self._contents(name, block, digests, shared) for name in self.typed]
        if key is None:
            self.keys += [digest(*row) for row in zip(*contents, strict=True)]
        else:
            cells = enumerate(block.column(key), len(self.records))
            self.keys += [self._key(number, key, cell, digests) for number, cell in cells]
        self.records += block.places
        self.shared += [shared.get(place, ()) for place in range(len(block))]
        self.split_cells += block.column(split)
        self.named_splits += block.splits

    def _contents(self, name: str, block: Block, digests: Digests, shared: dict[int, list[bytes]]) -> list[bytes]:
        """The name of each cell of a field, empty if it is absent; those that tell which row it is go to ``shared``."""
        modality, column = self.typed[name]
        known, start, contents = self.known[name], len(self.records), []
        for place, cell in enumerate(block.column(column)):
            content = known.get(cell) if isinstance(cell, str) else None
            if content is None:
                content = b""
                try:
                    raw = self.origin.raw_of(cell, modality, block.places[place][0])
                    if raw is not None:
                        self.names_files = self.names_files or isinstance(raw, Path)
                        content = digests.of(raw, modality)
                        if modality.groups(raw):
                            shared.setdefault(place, []).append(content)
                        elif raw is cell and isinstance(cell, str) and len(known) < _MOST_KNOWN:
                            known[cell] = content
                except DataError as error:
                    self.unread.append((start + place, name, str(error)))
            contents.append(content)
        numbers, firsts = self.contents[name], self.firsts[name]
        for place, content in enumerate(contents):
            if content not in numbers and content:
                numbers[content] = len(numbers)
                firsts.append(start + place)
        self.ids[name].extend(numbers.get(content, -1) for content in contents)
        return contents

    def _key(self, number: int, column: str, cell: Any, digests: Digests) -> bytes:
        """The name of what a record's key column holds."""
        if is_absent(cell):
            self.reject(number, None, f"the key column '{column}' is empty")
            return b""
        modality = next((modality for modality, its in self.typed.values() if its == column), Modality)
        try:
            return digests.of(cell, modality)
        except DataError as error:
            self.reject(number, None, f"the key column '{column}': {error}")
            return b""

    def assign_splits(self, explicit: bool, validation: float, test: float, group: bool, *, fill: bool) -> None:
        """Give every record a split: by its cell if that names one, else by its file's name, else by its key."""
        names: list[str | None] = [None] * len(self.records)
        if len(set(self.named_splits)) > 1:  # what is the same for all rows tells nothing
            names = list(self.named_splits)
            self.notes.append("the splits are those that files and folders are named after")
        if explicit or (is_split_column(self.split_cells) and self.split_cells != self.named_splits):
            for number, cell in enumerate(self.split_cells):
                if explicit or not is_absent(cell):
                    try:
                        names[number] = split_name(cell)
                    except DataError as error:
                        self.reject(number, None, str(error))
        self.named = names
        keys: list[bytes | None] = group_keys(self.keys, self.shared) if group else [*self.keys]
        if (count := keys.count(None)) and validation + test > 0:
            self.notes.append(
                f"{count:,} of {len(keys):,} rows are one group, as they share pictures, sounds or long texts, and are "
                "trained on where no split is named for them; data.group: false takes them apart"
            )
        self.splits = np.array(assign_splits(keys, names, validation, test, fill=fill), dtype=object)

    def note_empty(self, splits: np.ndarray, fractions: Mapping[str, float], *, grouped: bool) -> None:
        """Says which split has no rows although a share of them was to be in it, which few groups may lead to."""
        rows = len(self.records)
        empty = [
            name
            for name, fraction in fractions.items()
            if fraction * rows >= 1 and not (splits == SPLITS.index(name)).any()
        ]
        if empty:
            taken = "; rows that share files or long texts are kept together, which data.group: false changes"
            self.notes.append(f"there are no rows in {' and '.join(empty)}{taken if grouped else ''}")

    def prepare(self, name: str) -> None:
        """Let a field's modality learn what it needs."""
        modality, _ = self.typed[name]
        ids = np.array(self.ids[name], dtype=np.int32)
        seen = ids >= 0
        seen[list(self.faults)] = False
        rows = np.flatnonzero(seen if modality.prepares_on == "all" else seen & (self.splits == "train"))
        if modality.prepares_on != "train":
            rows = np.sort(rows[np.unique(ids[rows], return_index=True)[1]])
        modality.prepare(raw for raw in self._raws(name, rows) if not isinstance(raw, DataError))

    def read(self, name: str, cache: Path) -> Column:
        """A field's stored values; those of cells that cannot be read are absent."""
        firsts = np.array(self.firsts[name], dtype=np.int64)
        modality, _ = self.typed[name]
        values, failures = build_column(cache, modality, list(self.contents[name]), lambda: self._raws(name, firsts))
        ids = np.array(self.ids[name], dtype=np.int32)
        if failures:
            bad = np.flatnonzero(np.isin(ids, list(failures)))
            self.unread += [
                (number, name, failures[content])
                for number, content in zip(bad.tolist(), ids[bad].tolist(), strict=True)
            ]
        return replace(
            values, slots=np.append(values.slots, -1).astype(np.int32)[ids]
        )  # content -1 reads the appended -1

    def _raws(self, name: str, rows: np.ndarray) -> Iterator[Any]:
        """The raw values of a field in some records, whose numbers rise; an error where a file has gone since."""
        modality, column = self.typed[name]
        start = done = 0
        for block in self.origin.blocks([column]) if len(rows) else ():
            if isinstance(block, Rejection):
                continue
            cells, here = block.column(column), int(np.searchsorted(rows, start + len(block)))
            for place in (rows[done:here] - start).tolist():
                try:
                    yield self.origin.raw_of(cells[place], modality, block.places[place][0])
                except DataError as error:
                    yield error
            start, done = start + len(block), here
            if done == len(rows):
                return

    def reject(self, number: int, name: str | None, reason: str) -> None:
        self.faults.setdefault(number, (name, reason))

    def set_aside_empty(self, columns: Mapping[str, Column]) -> None:
        """Reject every record that has no field, for the reason of its first bad cell if it has one."""
        first: dict[int, tuple[str, str]] = {}
        for number, name, reason in self.unread:
            first.setdefault(number, (name, reason))
        nothing = (None, f"no field is present ({', '.join(self.typed)})")
        empty = ~np.any([column.present for column in columns.values()], axis=0)
        for number in np.flatnonzero(empty).tolist():
            self.reject(number, *first.get(number, nothing))

    @property
    def rejected(self) -> list[Rejection]:
        """Every row that is set aside so far, in the order of the source."""
        faulty = [(number, Rejection(*self.records[number], *fault)) for number, fault in self.faults.items()]
        return [rejection for _, rejection in sorted([*self.unparsed, *faulty], key=lambda found: found[0])]

    @property
    def bad(self) -> list[Rejection]:
        """Every cell of the other rows that cannot be read, in the order of the source."""
        kept = sorted((cell for cell in self.unread if cell[0] not in self.faults), key=lambda cell: cell[0])
        return [Rejection(*self.records[number], name, reason) for number, name, reason in kept]

    def raise_first(self) -> None:
        """Refuse the first bad cell or row."""
        if self.faults or self.unparsed or self.unread:
            cells = [(number, Rejection(*self.records[number], *found)) for number, *found in self.unread]
            faulty = [(number, Rejection(*self.records[number], *fault)) for number, fault in self.faults.items()]
            raise DataError(str(min([*self.unparsed, *cells, *faulty], key=lambda found: found[0])[1]))
