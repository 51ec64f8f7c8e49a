"""Scans that are kept: what one pass over tables found, so that the next ``load`` of the same files does without it.

A scan is known again by the paths, sizes and times of the tables, by the fields and by all options. Only what depends
on nothing else is kept: not where a cell names a file, nor where one could not be read for a reason that may pass.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.data.cache import FORMAT, open_column
from polymodal.data.columns import Column
from polymodal.data.sources import Rejection, Source
from polymodal.files import atomic_folder, check_seal, read_json, seal, short_digest
from polymodal.modalities import Modality, kind_of

_log = logging.getLogger(__name__)
_NOTES, _SPLITS, _SLOTS = "scan.json", "splits.npy", "slots.npy"
_BROKEN = (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, EOFError, SyntaxError)


@dataclass(frozen=True)
class Scan:
    """What ``load`` found in a source.

    Attributes:
        modalities: Prepared, by field.
        columns: The stored values of each field, of all records.
        splits: (N,) of each record, its place in ``SPLITS``; behind them for one that is set aside.
        rejected: Rows that are set aside.
        bad_cells: Cells of the other rows that cannot be read.
        notes: What to know of how the source was read.
    """

    modalities: dict[str, Modality]
    columns: dict[str, Column]
    splits: np.ndarray
    rejected: list[Rejection]
    bad_cells: list[Rejection]
    notes: list[str]


class KeptScan:
    """Where the scan of a source with some fields and options is kept.

    Args:
        cache: Folder of the cache.
        origin: The source.
        typed: Modality, not prepared yet, and column of each field.
        options: All others of ``load``, as JSON.
    """

    def __init__(
        self, cache: Path, origin: Source, typed: Mapping[str, tuple[Modality, str]], options: Mapping[str, Any]
    ):
        fields = [[name, column, kind_of(each), each.state()] for name, (each, column) in typed.items()]
        self._cache, self._origin, self._typed, self._stamp = cache, origin, typed, origin.stamp()
        asked = json.dumps(
            [FORMAT, origin.name, fields, options, [file for file, *_ in self._stamp or ()]], default=str
        )
        self._folder = cache / "scans" / short_digest(asked, 16)

    def open(self) -> Scan | None:
        """The scan; None if there is none of these files as they are, or if it is broken."""
        if self._stamp is None or not self._folder.exists():
            return None
        try:
            check_seal(self._folder)
            notes = read_json(self._folder / _NOTES)
            if notes["stamp"] != self._stamp:
                return None
            slots = np.load(self._folder / _SLOTS, mmap_mode="r")
            modalities, columns = {}, {}
            for (name, (modality, _)), state, key, its in zip(
                self._typed.items(), notes["states"], notes["keys"], slots, strict=True
            ):
                modalities[name] = type(modality)(**state)
                columns[name] = open_column(self._cache, key, modalities[name], its.view(np.ndarray))
            rejected, bad = ([Rejection(*found) for found in notes[kind]] for kind in ("rejected", "bad_cells"))
            return Scan(modalities, columns, np.load(self._folder / _SPLITS), rejected, bad, notes["notes"])
        except _BROKEN as error:
            _log.warning("the cache's scan %s cannot be used (%s) and is made anew", self._folder.name, error)
            return None

    def keep(self, scan: Scan) -> None:
        """Keeps a scan, unless a file was changed since, or a moment before."""
        if self._stamp is None or self._origin.stamp() != self._stamp:
            return
        notes = {
            "stamp": self._stamp,
            "states": [modality.state() for modality in scan.modalities.values()],
            "keys": [column.key for column in scan.columns.values()],
            "rejected": [astuple(found) for found in scan.rejected],
            "bad_cells": [astuple(found) for found in scan.bad_cells],
            "notes": scan.notes,
        }
        try:
            written = json.dumps(notes)
        except (TypeError, ValueError):  # of a modality whose state is no JSON
            return
        with atomic_folder(self._folder, replace=True) as partial:
            (partial / _NOTES).write_text(written, "utf-8")
            np.save(partial / _SPLITS, scan.splits)
            np.save(partial / _SLOTS, np.stack([column.slots for column in scan.columns.values()]))
            seal(partial)
