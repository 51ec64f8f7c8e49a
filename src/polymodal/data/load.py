"""Load: a source and typed fields -> rows in three splits."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from html import escape
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.data.cache import build_column, cache_folder
from polymodal.data.cells import Digests, is_absent
from polymodal.data.columns import Column
from polymodal.data.fields import parse_fields
from polymodal.data.infer import Fields, fields_of
from polymodal.data.places import place_of, remember
from polymodal.data.rows import Rows
from polymodal.data.scans import KeptScan, Scan
from polymodal.data.sources import Record, Rejection, Source, open_source
from polymodal.data.sources.reading import check_rows
from polymodal.data.splits import SPLITS, assign_splits, check_fractions, group_keys, is_split_column, split_name
from polymodal.errors import ConfigError, DataError, printable
from polymodal.files import digest
from polymodal.modalities import Modality

_MOST_KNOWN = 4096
"""Texts of a field whose contents' names are remembered, as classes come again and again."""


@dataclass(frozen=True, repr=False)
class Data:
    """A data set: typed fields, rows in three splits, and the rows that were set aside.

    Attributes:
        source: Its name.
        fields: Modalities by name.
        train: Rows to learn from.
        validation: Rows to watch training with.
        test: Rows to score with.
        rejected: Rows that were set aside, each with its reason.
        notes: What to know of how the source was read, in sentences: what was recognised, and what was left out.
        settings: What ``load`` was given, to read it again: ``source`` (None if it was no place), ``key``, ...
        bad_cells: Cells of the other rows that are missing because they could not be read, each with its reason.
    """

    source: str
    fields: dict[str, Modality]
    train: Rows
    validation: Rows
    test: Rows
    rejected: list[Rejection]
    notes: list[str]
    settings: dict[str, Any]
    bad_cells: list[Rejection] = field(default_factory=list)

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(rows):,} {name}" for name, rows in self.splits.items())
        fields = "".join(f"\n    {name}: {modality!r}" for name, modality in self.fields.items())
        lost = f"{len(self.rejected):,} rows and {len(self.bad_cells):,} cells set aside"
        return f"Data({self.source}: rows: {counts}; {lost}{fields})"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(repr(self))}</pre>{self.train._repr_html_()}"

    @property
    def splits(self) -> dict[str, Rows]:
        """Rows by the split's name."""
        return {name: getattr(self, name) for name in SPLITS}

    @property
    def in_memory(self) -> "Data":
        """The same data, of whose training rows in shards there is a sample."""
        return replace(self, train=self.train.in_memory)

    @property
    def rows(self) -> Rows:
        """Those of all splits, in the order of the source."""
        together = self.train
        for rows in (self.validation, self.test):
            together = together.and_then(rows)
        return together.select(np.argsort(together.index, kind="stable"))


def load(
    source: Any,
    fields: Mapping[str, Any] | None = None,
    *,
    key: str | None = None,
    group: bool = True,
    split: str | None = None,
    validation: float = 0.05,
    test: float = 0.1,
    cache: str | Path | None = None,
    strict: bool = False,
    limit: int | None = None,
    root: str | Path | None = None,
    follow_links: bool = False,
    encoding: str | None = None,
    shards: Mapping[str, Any] | None = None,
    part: bool = False,
) -> Data:
    """Load aligned rows; any cell may be missing.

    Cells are values, paths relative to the source's folder, or embedded files. A cell that cannot be read is missing,
    and listed in ``bad_cells``; a row that holds nothing else is set aside in ``rejected``. Nothing is ever changed.
    What is decoded is cached.

    Args:
        source: A table: ``.parquet``, ``.jsonl``, ``.json``, ``.csv``, ``.tsv``; WebDataset shards; several of either,
            such as ``s-{000..009}.tar``; a folder of tables or shards, or of pictures, sounds and texts, which belong
            together by name and are labelled by folder; a saved Hugging Face data set; ``hf:owner/name``; the name of a
            built-in data set (``emoji``, ``furniture``, ``fashion:option=value``); or rows in memory: a list of
            mappings, a mapping of columns, a data frame, an Arrow table, a ``Dataset``, or by split a mapping of these.
        fields: By name: a modality, or a mapping such as ``{"modality": "image", "size": 64}``, in which ``column``
            names the source's column if it is called otherwise. None: as ``infer_fields`` recognises them.
        key: Column whose value decides a row's split, so that rows that share it stay together. None: the row's
            content.
        group: Without a key, whether rows that share a picture, a sound, another file or a long text stay together, at
            any remove, so that no such value is in two splits.
        split: Column that names each row's split. None: the column ``split`` if it does, else the names of files and
            folders if they differ in that, else a hash of the key. Where no row is named to validate with, the hash
            takes some of those to train on.
        validation: Fraction of rows to validate with, where a hash decides.
        test: Fraction of rows to test with, where a hash decides.
        cache: Folder of the cache; see ``cache_folder``.
        strict: Raise at the first cell or row that cannot be read.
        limit: Use the first rows only.
        root: A folder that paths in cells may start from and lead to, besides the source's own, which they never leave
            otherwise.
        follow_links: Links in the source's folder may lead out of it.
        encoding: Encoding of ``.csv`` and ``.tsv`` files that are neither UTF-8 nor begin with a byte order mark.
        shards: Given, the source is tar or Parquet shards, here or anywhere that fsspec reaches, which need not fit on
            the disk: training rows are fetched as they are wanted. Attributes of ``config.ShardsConfig``. Rows are then
            not grouped, and all of them are used.
        part: Whether the source is a part of more rows, as a shard is: a split may then be left empty.

    Raises:
        DataError: The source, a column or (if strict) a row is wrong, or no row is left.
        ConfigError: A field is wrong.
    """
    check_fractions(validation, test)
    if shards is not None:
        from polymodal.data.load_shards import load_shards  # it loads each of them by this function

        if limit is not None or root is not None:
            raise ConfigError("data.limit, data.root: rows in shards are used all, and hold no paths; leave them out")
        return load_shards(
            source, fields, load, Data, key=key, split=split, validation=validation, test=test, cache=cache,
            strict=strict, encoding=encoding, **shards,
        )  # fmt: skip
    folder = cache_folder(cache)
    origin = open_source(source, folder, root=root, follow_links=follow_links, encoding=encoding)
    if fields is None:
        fields = fields_of(source, origin)
    typed = parse_fields(fields)
    settings: dict[str, Any] = {
        "key": key,
        "group": group,
        "split": split,
        "validation": validation,
        "test": test,
        "limit": limit,
    }
    settings |= {"root": None if root is None else place_of(root), "follow_links": follow_links, "encoding": encoding}
    passed = settings | {"part": part}
    kept = KeptScan(folder, origin, typed, passed)
    scan = kept.open()
    if scan is None or (strict and (scan.rejected or scan.bad_cells)):
        scan = _scan(origin, typed, folder, strict, kept, **passed)
    everything = Rows(
        scan.modalities, scan.columns, origin, np.arange(len(scan.splits)), {n: c for n, (_, c) in typed.items()}
    )
    splits = {name: everything.select(scan.splits == place) for place, name in enumerate(SPLITS)}
    settings["source"] = place_of(source)
    remember(source, folder)
    recognised = fields.notes if isinstance(fields, Fields) else ()
    notes = [*map(printable, [*recognised, *scan.notes, *_untrained(splits["train"])])]
    return Data(
        printable(origin.name),
        scan.modalities,
        **splits,
        rejected=scan.rejected,
        notes=notes,
        settings=settings,
        bad_cells=scan.bad_cells,
    )


def _scan(
    origin: Source,
    typed: Mapping[str, tuple[Modality, str]],
    cache: Path,
    strict: bool,
    kept: KeptScan,
    *,
    key: str | None,
    group: bool,
    split: str | None,
    validation: float,
    test: float,
    limit: int | None,
    part: bool,
    **_: Any,
) -> Scan:
    """What one pass over the source finds, with its cells decoded; kept for the next time if it may be."""
    for name, (_modality, column) in typed.items():
        origin.check(column, f"fields.{name}.column")
    if key is not None:
        origin.check(key, "key column")
    if split is not None:
        origin.check(split, "split column")
    scan = _Pass(origin, typed)
    scan.run(Digests(cache), key, split or "split", limit, strict)
    passing = bool(scan.unread) or scan.names_files
    scan.assign_splits(split is not None, validation, test, group and key is None, fill=not part)
    columns = {}
    for name in typed:
        scan.prepare(name)
        columns[name] = scan.read(name, cache)
    scan.set_aside_empty(columns)
    if strict:
        scan.raise_first()
    good = np.array([number not in scan.faults for number in range(len(scan.records))], dtype=bool)
    rows = len(good) + len(scan.unparsed)
    if not rows:
        raise DataError(f"{origin.name}: there are no rows")
    if not good.any():
        first = f"; the first: {scan.rejected[0]}" if scan.rejected else ""
        raise DataError(f"{origin.name}: none of its {rows} rows can be used{first}")
    splits = np.full(len(good), len(SPLITS), np.uint8)
    for place, name in enumerate(SPLITS):
        splits[good & (scan.splits == name)] = place
    scan.note_empty(splits, {"validation": validation, "test": test}, grouped=group and key is None)
    modalities = {name: modality for name, (modality, _) in typed.items()}
    found = Scan(modalities, columns, splits, scan.rejected, scan.bad, [*scan.notes, *origin.notes])
    if not (passing or part):  # of a shard its manifest is kept
        kept.keep(found)
    return found


def _untrained(training: Rows) -> Iterator[str]:
    """Fields of which nothing can be learned."""
    for name, present in training.present.items():
        if len(training) and not present.any():
            yield f"fields.{name}: none of the {len(training):,} training rows has a value"


class _Pass:
    """What one pass over the source finds: the content of every cell by name, no cell itself."""

    def __init__(self, origin: Source, typed: Mapping[str, tuple[Modality, str]]) -> None:
        self.origin, self.typed = origin, typed
        self.records: list[tuple[str, int]] = []
        self.ids: dict[str, list[int]] = {name: [] for name in typed}  # number of each cell's content, -1 if absent
        self.contents: dict[str, dict[bytes, int]] = {name: {} for name in typed}  # number of each distinct content
        self.firsts: dict[str, list[int]] = {name: [] for name in typed}  # record where each content is first seen
        self.known: dict[str, dict[str, bytes]] = {
            name: {} for name in typed
        }  # contents of short texts that come again
        self.keys: list[bytes] = []
        self.shared: list[list[bytes]] = []  # contents of each record that tell which row it is, as a picture does
        self.split_cells: list[Any] = []
        self.named_splits: list[str | None] = []  # by files and folders
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
        for found in islice(self.origin.records(columns), limit):
            if isinstance(found, Rejection):
                self.unparsed.append((len(self.records), found))
            else:
                self._add(found, digests, key, split)
            if strict:
                self.raise_first()
            if limit is None and self.origin.size is not None:
                check_rows(self.origin.name, self.origin.size, len(self.records))
        digests.save()

    def _add(self, record: Record, digests: Digests, key: str | None, split: str) -> None:
        number = len(self.records)
        self.records.append((record.file, record.row))
        contents, shared = [], []
        for name, (modality, column) in self.typed.items():
            content, cell, known = b"", record.cells.get(column), self.known[name]
            if isinstance(cell, str) and cell in known:
                content = known[cell]
            else:
                try:
                    raw = self.origin.raw(record, column, modality)
                    self.names_files = self.names_files or isinstance(raw, Path)
                    content = b"" if raw is None else digests.of(raw, modality)
                    if content and modality.groups(raw):
                        shared.append(content)
                    elif raw is cell and isinstance(cell, str) and len(known) < _MOST_KNOWN:
                        known[cell] = content
                except DataError as error:
                    self.unread.append((number, name, str(error)))
            contents.append(content)
            numbers = self.contents[name]
            if content and content not in numbers:
                numbers[content] = len(numbers)
                self.firsts[name].append(number)
            self.ids[name].append(numbers[content] if content else -1)
        self.shared.append(shared)
        self.split_cells.append(record.cells.get(split))
        self.named_splits.append(record.split)
        self.keys.append(digest(*contents) if key is None else self._key(number, key, record.cells.get(key), digests))

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
        rows = np.flatnonzero(seen & (self.splits == "train"))
        if modality.prepares_on == "all":  # no statistic: each distinct value once is enough
            rows = np.flatnonzero(seen)
            rows = np.sort(rows[np.unique(ids[rows], return_index=True)[1]])
        modality.prepare(raw for raw in self._raws(name, rows.tolist()) if not isinstance(raw, DataError))

    def read(self, name: str, cache: Path) -> Column:
        """A field's stored values; those of cells that cannot be read are absent."""
        firsts = self.firsts[name]
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

    def _raws(self, name: str, rows: list[int]) -> Iterator[Any]:
        """The raw values of a field in some records, in order; an error where a file has gone since."""
        modality, column = self.typed[name]
        wanted = iter(rows)
        next_row = next(wanted, None)
        number = 0
        for record in self.origin.records([column]):
            if next_row is None:
                return
            if isinstance(record, Record):
                if number == next_row:
                    try:
                        yield self.origin.raw(record, column, modality)
                    except DataError as error:
                        yield error
                    next_row = next(wanted, None)
                number += 1

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
