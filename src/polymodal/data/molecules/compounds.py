"""The compounds of the package ``chemicals``: names, formulas, SMILES, and the points that were measured of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

SOURCES = {
    "OPEN_NTBKM": "Open Notebook melting points",
    "WIKIDATA": "Wikidata",
    "CRC_ORG": "CRC Handbook, organic compounds",
    "COMMON_CHEMISTRY": "CAS Common Chemistry",
    "WEBBOOK": "NIST Chemistry WebBook",
    "YAWS": "Yaws' boiling points",
}
"""Of measurements, those that come first are taken first. What is predicted by a method, such as Joback's, is none."""

_LONGEST_NAME = 63
"""Bytes; a longer name is left out."""


@dataclass(frozen=True)
class Compound:
    """One compound.

    Attributes:
        cas: Registry number, such as ``64-17-5``.
        name: Common name, or the systematic one where there is none; None if both are long.
        formula: Molecular formula.
        smiles: As the package has it.
        melting: Melting point at ambient pressure, in kelvin, and its source; None where not measured.
        boiling: Boiling point at ambient pressure, in kelvin, and its source; None where not measured.
    """

    cas: str
    name: str | None
    formula: str
    smiles: str
    melting: tuple[float, str] | None
    boiling: tuple[float, str] | None


@cache
def load_compounds() -> tuple[Compound, ...]:
    """All that are one molecule with a structure, in the order of their registry numbers."""
    from chemicals import phase_change
    from chemicals.identifiers import pubchem_db

    pubchem_db.autoload_main_db()
    phase_change._load_phase_change_constants()  # the tables have no public name; the functions read one cell a time
    melting = _measured(phase_change.Tm_sources, "Tm")
    boiling = _measured(phase_change.Tb_sources, "Tb")
    found = []
    for number, entry in sorted(pubchem_db.CAS_index.items()):
        if not entry.smiles or "." in entry.smiles:
            continue
        names = [name for name in (entry.common_name, entry.iupac_name) if name]
        short = [name for name in names if len(name.encode()) <= _LONGEST_NAME]
        points = melting.get(number), boiling.get(number)
        found.append(Compound(entry.CASs, short[0] if short else None, entry.formula, entry.smiles, *points))
    return tuple(found)


def _measured(tables: Mapping[str, Any], column: str) -> dict[int, tuple[float, str]]:
    """The first measurement of each compound by its registry number without dashes, in kelvin, with its source."""
    found: dict[int, tuple[float, str]] = {}
    for source in SOURCES:
        if source not in tables:
            continue
        values = tables[source][column].dropna()
        for number, kelvin in zip(values.index, values.tolist(), strict=True):
            if kelvin > 0:
                found.setdefault(int(str(number).replace("-", "")), (float(kelvin), source))
    return found
