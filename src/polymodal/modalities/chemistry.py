"""Molecules in chemists' notations, by the optional packages RDKit and selfies, which are imported when needed."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np

from polymodal.errors import DataError, quote

PROPERTIES = ("logp", "mass", "tpsa", "rings", "donors")
"""What ``properties`` gives: octanol-water partition coefficient, g/mol, square angstroms, and two counts."""

MOST_CHARACTERS = 1 << 16
_SELFIES = re.compile(r"(\[[^\[\]]+\]|\.)+")
_SELFIES_SYMBOL = re.compile(
    r"\[([=#/\\]{0,2}(Branch|Ring)\d|[=#/\\]?\d*[A-Z][a-z]?@{0,2}(H\d)?([+-]\d+)?|nop|epsilon)\]"
)
_SMILES_SYMBOL = re.compile(r"\[[^\]]+\]|Br|Cl|%\d\d|.")
"""Source: Schwaller et al., "Molecular transformer", 2019."""
_MOL_BLOCK = re.compile(r"V[23]000\s*$", re.MULTILINE)


def chemistry() -> ModuleType:
    """``rdkit.Chem``.

    Raises:
        DataError: A package is missing.
    """
    try:
        import selfies  # noqa: F401
        from rdkit import Chem
    except ImportError as error:
        raise DataError(f"molecules need the package {error.name}: pip install 'polymodal[molecules]'") from error
    return Chem


@contextmanager
def silent() -> Iterator[None]:
    """RDKit prints nothing of what it refuses."""
    from rdkit import rdBase

    blocked = rdBase.BlockLogs()
    try:
        yield
    finally:
        del blocked


def parse(text: str) -> Any:
    """SMILES, SELFIES, InChI or a mol block -> RDKit's molecule.

    Raises:
        DataError: It is none, or one that RDKit refuses; says why.
    """
    chem = chemistry()
    if len(text) > MOST_CHARACTERS:
        raise DataError(f"a molecule of {len(text):,} characters; at most {MOST_CHARACTERS:,} are read")
    with silent():
        if _MOL_BLOCK.search(text):
            kind, found = "mol block", chem.MolFromMolBlock(text.partition("$$$$")[0], sanitize=False)
        elif text.lstrip().startswith("InChI="):
            kind, found = "InChI", chem.MolFromInchi(text.strip(), sanitize=False)
        else:
            smiles = text.strip()
            kind = "SMILES"
            if is_selfies(smiles):
                kind, smiles = "SELFIES", _from_selfies(smiles)
            found = chem.MolFromSmiles(smiles, sanitize=False) if smiles else None
        if found is None or not found.GetNumAtoms():
            raise DataError(f"{_short(text)} is no {kind} that RDKit can parse")
        if problems := chem.DetectChemistryProblems(found):
            raise DataError(f"RDKit refuses {_short(text)}: {problems[0].Message()}")
        chem.SanitizeMol(found)
        chem.AssignStereochemistry(found, cleanIt=True, force=True)
        return chem.RemoveHs(found)


def is_selfies(text: str) -> bool:
    """Whether a text is SELFIES; symbols in brackets may be SMILES as well, which writes ``[Na+]`` for ``[Na+1]``."""
    if not _SELFIES.fullmatch(text):
        return False
    return all(_SELFIES_SYMBOL.fullmatch(symbol) for symbol in re.findall(r"\[[^\[\]]+\]", text))


def _from_selfies(text: str) -> str:
    import selfies

    try:
        return selfies.decoder(text)
    except selfies.DecoderError as error:
        raise DataError(f"{_short(text)} is no SELFIES: {_line(error)}") from error


@lru_cache(maxsize=1 << 16)
def canonical(text: str) -> str:
    """The canonical, isomeric SMILES of a molecule.

    Raises:
        DataError: It is none; see ``parse``.
    """
    return chemistry().MolToSmiles(parse(text))


def canonical_or_none(text: str) -> str | None:
    """The canonical SMILES of what may be a molecule."""
    try:
        return canonical(text)
    except DataError:
        return None


def split_symbols(smiles: str, notation: str) -> list[str]:
    """The symbols of a canonical SMILES in a notation, ``selfies`` or ``smiles``.

    Raises:
        DataError: The notation cannot say the molecule.
    """
    if notation == "smiles":
        return _SMILES_SYMBOL.findall(smiles)
    import selfies

    try:
        return list(selfies.split_selfies(selfies.encoder(smiles)))
    except selfies.EncoderError as error:
        raise DataError(f"SELFIES cannot say {_short(smiles)}: {_line(error)}") from error


def join_symbols(symbols: list[str], notation: str) -> str:
    """Symbols of a notation -> canonical SMILES; as they are, or empty, where RDKit refuses the molecule."""
    text = "".join(symbols)
    if not text:
        return ""
    if notation == "selfies":
        try:
            text = _from_selfies(text)
        except DataError:
            return text
    return canonical_or_none(text) or text


def properties(molecule: Any) -> list[float]:
    """``PROPERTIES`` of RDKit's molecule.

    Source: logP by Wildman and Crippen, "Prediction of physicochemical parameters by atomic contributions", 1999; TPSA
    by Ertl, Rohde and Selzer, "Fast calculation of molecular polar surface area", 2000; as RDKit computes them.
    """
    from rdkit.Chem import Crippen, Descriptors, rdMolDescriptors

    return [
        float(Crippen.MolLogP(molecule)),  # type: ignore[attr-defined]
        float(Descriptors.MolWt(molecule)),  # type: ignore[attr-defined]
        float(rdMolDescriptors.CalcTPSA(molecule)),
        float(rdMolDescriptors.CalcNumRings(molecule)),
        float(rdMolDescriptors.CalcNumHBD(molecule)),
    ]


def fingerprints(molecules: list[Any], size: int = 2048, radius: int = 2) -> np.ndarray:
    """(n, size) bits of the Morgan fingerprints of molecules.

    Source: Rogers and Hahn, "Extended-connectivity fingerprints", 2010.
    """
    from rdkit.Chem import rdFingerprintGenerator

    generator = rdFingerprintGenerator.GetMorganGenerator(radius=radius, fpSize=size)
    return np.stack([generator.GetFingerprintAsNumPy(molecule) for molecule in molecules])


def scaffold(molecule: Any) -> str:
    """SMILES of the Bemis-Murcko scaffold, without stereochemistry; empty for a molecule without rings.

    Source: Bemis and Murcko, "The properties of known drugs. 1. Molecular frameworks", 1996.
    """
    from rdkit.Chem.Scaffolds import MurckoScaffold

    return MurckoScaffold.MurckoScaffoldSmiles(mol=molecule, includeChirality=False)


def draw(molecule: Any, side: int) -> bytes:
    """The bytes of a PNG of ``side`` x ``side`` pixels."""
    from rdkit.Chem.Draw import rdMolDraw2D

    drawer = rdMolDraw2D.MolDraw2DCairo(side, side)
    rdMolDraw2D.PrepareAndDrawMolecule(drawer, molecule)
    drawer.FinishDrawing()
    return drawer.GetDrawingText()


def mol_block(molecule: Any) -> str:
    """The molecule in the plane, as a mol block."""
    from rdkit.Chem import rdDepictor

    chem = chemistry()
    flat = chem.Mol(molecule)
    rdDepictor.Compute2DCoords(flat)
    return chem.MolToMolBlock(flat)


def _short(text: str) -> str:
    line = text.strip().splitlines()[0] if text.strip() else ""
    return quote(line)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
