"""Reads structures and computes their properties: the worker of the molecules build.

``python -m polymodal.data.molecules.cells TASKS OUT``, TASKS a list of [registry number, SMILES].
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from polymodal.data.build_dataset import write_cells
from polymodal.errors import DataError
from polymodal.modalities import chemistry

ELEMENTS = frozenset(("H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Se", "Br", "I"))
MOST_SYMBOLS = 63
"""Of a molecule in SELFIES."""


def describe(smiles: str) -> dict[str, object] | None:
    """Canonical SMILES, scaffold, properties; None of what is no small organic molecule that RDKit and SELFIES know."""
    try:
        molecule = chemistry.parse(smiles)
        canonical = chemistry.chemistry().MolToSmiles(molecule)
        symbols = chemistry.split_symbols(canonical, "selfies")
    except DataError:
        return None
    atoms = molecule.GetAtoms()
    elements = {atom.GetSymbol() for atom in atoms}
    if "C" not in elements or not elements <= ELEMENTS or len(symbols) > MOST_SYMBOLS:
        return None
    if sum(atom.GetFormalCharge() for atom in atoms) or any(
        atom.GetIsotope() or atom.GetNumRadicalElectrons() for atom in atoms
    ):
        return None
    values = dict(zip(chemistry.PROPERTIES, chemistry.properties(molecule), strict=True))
    return {"structure": canonical, "scaffold": chemistry.scaffold(molecule), **values}


def main() -> None:
    tasks_file, out_file = sys.argv[1:]

    def cells() -> Iterator[tuple[str, bytes]]:
        for cas, smiles in json.loads(Path(tasks_file).read_text("utf-8")):
            if (described := describe(smiles)) is not None:
                yield cas, json.dumps(described).encode()

    write_cells(cells(), out_file)


if __name__ == "__main__":
    main()
