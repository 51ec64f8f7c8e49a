"""The built-in data set ``molecules``: structures, names, formulas, measured melting and boiling points, properties.

Assembled from the package ``chemicals``, which the extra ``molecules`` installs; nothing is downloaded. Melting and
boiling points are measurements, in kelvin; ``melting_source`` and ``boiling_source`` say whose. ``logp`` (octanol-water
partition coefficient), ``mass`` (g/mol), ``tpsa`` (polar surface, square angstroms), ``rings`` and ``donors`` (of
hydrogen bonds) are what RDKit computes of the structure.

Splits. Molecules with one Bemis-Murcko scaffold are in one split: those of ``test`` and ``validation`` have rings that
no training molecule has. Scaffolds that more than one row in a hundred has, and molecules without rings, are in
training. ``held_out`` says ``scaffold``.

Source: Bemis and Murcko, "The properties of known drugs. 1. Molecular frameworks", 1996; the split by scaffolds: Wu et
al., "MoleculeNet", 2018.
"""

import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from polymodal.data.build_dataset import assembled, check, fraction, identify, installed, make_cells
from polymodal.data.molecules.compounds import SOURCES, Compound, load_compounds
from polymodal.modalities.chemistry import PROPERTIES

__all__ = ["FIELDS", "build", "split_of"]

FIELDS = {
    "structure": {"modality": "molecule", "max_length": 64},
    "name": {"modality": "text", "max_length": 64},
    "formula": {"modality": "text", "max_length": 24},
    **{name: {"modality": "vector", "size": 1} for name in PROPERTIES},
    "melting_point": {"modality": "vector", "size": 1},
    "boiling_point": {"modality": "vector", "size": 1},
}
"""What the columns are made of, as a recipe would say it."""

CREDITS = {
    "chemicals": "names, formulas, structures and measurements: Caleb Bell and contributors, MIT",
    "rdkit": "canonical forms, scaffolds and computed properties: RDKit, BSD-3-Clause",
    "selfies": "notation: SELFIES, Apache-2.0",
}
_FORMAT = 1  # raise it when the same options give other rows
_TEST, _VALIDATION = 0.2, 0.05  # of the scaffolds that are not common
_COMMON = 0.01

_check = partial(check, "molecules")
_log = logging.getLogger(__name__)


def build(folder: Path, *, compounds: int | None = None, measured: bool = False, workers: int = 2) -> Path:
    """Builds the data set once and returns its folder.

    The folder has ``rows.parquet`` (the columns of ``FIELDS``, ``cas``, ``scaffold``, ``melting_source``,
    ``boiling_source``, ``split`` and ``held_out``) and ``credits.json`` (package, version, licence).

    Args:
        folder: Where built data sets are kept, one folder for each set of options and versions of packages.
        compounds: Take so many, evenly over all. None: all. Of these, the small organic molecules that RDKit and
            SELFIES know stay: elements of organic chemistry in their usual isotopes, no charge as a whole, no radicals,
            at most 63 symbols.
        measured: Take only those whose melting point was measured.
        workers: Processes that compute properties.

    Raises:
        DataError: A package is missing, an option is out of range, or a worker failed.
    """
    credits = installed("molecules", CREDITS, extra="molecules")
    _check("workers", workers >= 1, f"{workers}; at least 1")
    _check("compounds", compounds is None or compounds >= 100, f"{compounds}; at least 100")
    options = {"compounds": compounds, "measured": measured}
    target = folder / f"molecules-{compounds or 'all'}-{identify(_FORMAT, options, credits)}"
    if target.exists():
        return target
    known = [compound for compound in load_compounds() if compound.melting or not measured]
    if compounds is not None:
        _check("compounds", compounds <= len(known), f"{compounds}; from 100 to {len(known):,}")
        known = sorted(
            sorted(known, key=lambda one: fraction("compound", one.cas))[:compounds], key=lambda one: one.cas
        )
    with assembled(target) as (scratch, finished):
        _log.info("building the molecules data set: %d compounds", len(known))
        tasks = [[(one.cas, one.smiles) for one in known[worker::workers]] for worker in range(workers)]
        cells = make_cells("molecules", "polymodal.data.molecules.cells", tasks, scratch)
        notes = {"options": options, "packages": credits, "sources": SOURCES}
        (finished / "credits.json").write_text(json.dumps(notes, indent=2))
        _write(list(_rows(known, cells)), finished / "rows.parquet")
    return target


def split_of(scaffold: str, common: bool) -> str:
    """The split of all molecules with a scaffold."""
    if not scaffold or common:
        return "train"
    place = fraction("scaffold", scaffold)
    return "test" if place < _TEST else "validation" if place < _TEST + _VALIDATION else "train"


def _rows(compounds: Sequence[Compound], cells: Mapping[str, bytes]) -> Iterator[dict[str, Any]]:
    """The compounds that a worker could describe, each structure once, with its first measurements."""
    found: dict[str, dict[str, Any]] = {}
    for compound in compounds:
        if compound.cas not in cells:
            continue
        described = json.loads(cells[compound.cas])
        row = found.setdefault(
            described["structure"],
            {"cas": compound.cas, "name": compound.name, "formula": compound.formula, **described},
        )
        for point in ("melting", "boiling"):
            measured = getattr(compound, point)
            if measured and row.get(f"{point}_point") is None:
                row[f"{point}_point"], row[f"{point}_source"] = measured
    shares = Counter(row["scaffold"] for row in found.values())
    for row in found.values():
        split = split_of(row["scaffold"], shares[row["scaffold"]] > _COMMON * len(found))
        yield row | {"split": split, "held_out": None if split == "train" else "scaffold"}


def _write(rows: list[dict[str, Any]], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    numbers = (*PROPERTIES, "melting_point", "boiling_point")
    texts = (
        *("structure", "name", "formula", "cas", "scaffold"),
        *("melting_source", "boiling_source", "split", "held_out"),
    )
    schema = pa.schema({name: pa.string() for name in texts} | {name: pa.float64() for name in numbers})
    pq.write_table(pa.Table.from_pylist(rows, schema), path, compression="zstd")
