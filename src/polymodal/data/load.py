"""Load: a source and typed fields -> rows in three splits."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.data.cache import cache_folder
from polymodal.data.cells import Digests
from polymodal.data.fields import parse_fields
from polymodal.data.infer import Fields, fields_of
from polymodal.data.passes import Pass
from polymodal.data.places import place_of, remember
from polymodal.data.rows import Rows
from polymodal.data.scans import KeptScan, Scan
from polymodal.data.sources import Rejection, Source, open_source
from polymodal.data.splits import SPLITS, check_fractions
from polymodal.errors import ConfigError, DataError, printable
from polymodal.modalities import Modality


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
    part: Callable[[Pass], Any] | None = None,
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
            the disk: training rows are fetched as they are wanted. Attributes of ``config.ShardsConfig``. All rows are
            used.
        part: Given where the source is a part of more rows, as a shard is: a split may then be left empty, and this is
            called with what was found.

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
            source, fields, load, Data, key=key, group=group and key is None, split=split, validation=validation,
            test=test, cache=cache, strict=strict, encoding=encoding, **shards,
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
    passed = settings | {"part": part is not None}
    kept = KeptScan(folder, origin, typed, passed)
    scan = kept.open()
    if scan is None or (strict and (scan.rejected or scan.bad_cells)):
        scan = _scan(origin, typed, folder, strict, kept, **passed | {"part": part})
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
    part: Callable[[Pass], Any] | None,
    **_: Any,
) -> Scan:
    """What one pass over the source finds, with its cells decoded; kept for the next time if it may be."""
    for name, (_modality, column) in typed.items():
        origin.check(column, f"fields.{name}.column")
    if key is not None:
        origin.check(key, "key column")
    if split is not None:
        origin.check(split, "split column")
    scan = Pass(origin, typed)
    scan.run(Digests(cache), key, split or "split", limit, strict)
    passing = bool(scan.unread) or scan.names_files
    scan.assign_splits(split is not None, validation, test, group and key is None, fill=part is None)
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
    if part is not None:  # whoever asked for it keeps what is known of it
        part(scan)
    elif not passing:
        kept.keep(found)
    return found


def _untrained(training: Rows) -> Iterator[str]:
    """Fields of which nothing can be learned."""
    for name, present in training.present.items():
        if len(training) and not present.any():
            yield f"fields.{name}: none of the {len(training):,} training rows has a value"
