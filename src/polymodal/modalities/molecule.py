"""Molecules: SMILES, SELFIES, InChI and mol blocks <-> ids of the symbols of a notation."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from markupsafe import Markup
from PIL import Image as PILImage
from torch import Tensor

from polymodal.errors import ConfigError, DataError, quote
from polymodal.files import digest, write_file
from polymodal.modalities import chemistry
from polymodal.modalities.base import ColumnSample, Modality, usual_limit
from polymodal.modalities.html import picture_html
from polymodal.modalities.text import decode_text, shown
from polymodal.types import Space

_SHORT = 64
"""Symbols of a molecule that is no burden, however short the others are."""
_TRIED = 100
"""Cells of a column that are parsed to recognise it."""
_STRUCTURE = frozenset("()[]=#123456789@/\\")
"""What SMILES have and words have not."""
_PREVIEW_PIXELS, _LEAST_PIXELS = 200, 64


class Structure(str):
    """A molecule as SMILES, canonical where RDKit knows the molecule, with ``save``."""

    def save(self, path: str | Path) -> None:
        """Write a ``.smi`` file, ``.sdf`` or ``.mol`` with coordinates in the plane, or a drawing as ``.png``.

        Raises:
            DataError: The ending is another one, or RDKit does not know the molecule.
        """
        path, suffix = Path(path), Path(path).suffix.lower()
        if suffix == ".smi":
            write_file(path, f"{self}\n")
        elif suffix in (".sdf", ".mol"):
            block = chemistry.mol_block(chemistry.parse(self))
            write_file(path, block + ("$$$$\n" if suffix == ".sdf" else ""))
        elif suffix == ".png":
            write_file(path, chemistry.draw(chemistry.parse(self), 400))
        else:
            raise DataError(f"{path}: cannot write a molecule as '{suffix}'; write .smi, .sdf, .mol or .png")


class Molecule(Modality):
    """Molecules as sequences of symbols, always of the canonical form.

    Space: discrete (max_length,), of varying length. Ids: 0 pads, 1 ends, 2 begins, the rest are symbols. Every
    sequence of SELFIES' symbols is a molecule; in SMILES, brackets and rings have to match.

    A symbol that no training row has is unknown, and its molecule is refused: it could be neither learned nor written.

    Args:
        notation: ``selfies`` or ``smiles``.
        max_length: Most symbols of a molecule, its end included. A longer one is refused, never cut.
        symbols: In the order of their ids. None: those of the training rows, sorted.

    Raises:
        ConfigError: An argument is out of range.

    Source: Krenn et al., "Self-referencing embedded strings (SELFIES)", 2020; Weininger, "SMILES", 1988.
    """

    END: ClassVar[int] = 1
    SHIFT: ClassVar[int] = 3
    """Id of the first symbol."""

    dtype = np.int32
    suffix = ".smi"
    suffixes = (".smi", ".sdf", ".mol")
    inline = True
    prepares_on = "distinct"

    def __init__(
        self,
        notation: Literal["selfies", "smiles"] = "selfies",
        max_length: int = 64,
        symbols: Sequence[str] | None = None,
    ) -> None:
        if notation not in ("selfies", "smiles"):
            raise ConfigError(f"notation: {quote(notation)} is neither 'selfies' nor 'smiles'")
        if max_length < 2:
            raise ConfigError(f"max_length: {max_length} leaves no room for a molecule and its end; 2 or more does")
        if symbols is not None and not all(isinstance(symbol, str) for symbol in symbols):
            raise ConfigError(f"symbols: {quote(list(symbols))} are not all texts")
        if symbols is not None and (not symbols or len(set(symbols)) < len(symbols)):
            raise ConfigError(f"symbols: {quote(list(symbols))} must be at least one, each named once")
        self.notation, self.max_length = notation, max_length
        self.symbols = None if symbols is None else list(symbols)
        self._ids = {symbol: place for place, symbol in enumerate(self.symbols or (), self.SHIFT)}
        self.space = Space("discrete", (max_length,), vocab=self.SHIFT + len(self._ids), varies=0)

    def prepare(self, raws: Iterable[Any]) -> None:
        if self.symbols is None:
            found: set[str] = set()
            for raw in raws:
                with suppress(DataError):  # read() refuses the same cell, and says so with its row
                    found.update(self._symbols(raw))
            self.__init__(self.notation, self.max_length, sorted(found) or None)  # type: ignore[misc]

    def read(self, raw: Any) -> np.ndarray:
        """SMILES, SELFIES, InChI or a mol block; a path or bytes of a file of one; RDKit's molecule -> ids (length,).

        Of a file with several molecules, the first is read.
        """
        symbols = self._symbols(raw)
        if unknown := [symbol for symbol in symbols if symbol not in self._ids]:
            raise DataError(f"the molecule's symbol '{unknown[0]}' is in no training row")
        return np.array([*(self._ids[symbol] for symbol in symbols), self.END], dtype=self.dtype)

    def _symbols(self, raw: Any) -> list[str]:
        symbols = chemistry.split_symbols(_canonical(raw), self.notation)
        if len(symbols) >= self.max_length:
            raise DataError(
                f"the molecule has {len(symbols)} symbols; max_length {self.max_length} holds {self.max_length - 1}"
            )
        return symbols

    def to_model(self, stored: Tensor) -> Tensor:
        return stored.to(torch.int64)

    def write(self, value: Tensor) -> Structure:
        """Ids (length,) -> SMILES of the symbols up to the first end."""
        ids = value.detach().reshape(-1).tolist()
        ids = ids[: ids.index(self.END)] if self.END in ids else ids
        return Structure(chemistry.join_symbols([s for s in map(self.symbol, ids) if s], self.notation))

    def symbol(self, number: int) -> str:
        """The symbol of an id; empty for the ids that are none."""
        return (self.symbols or [])[number - self.SHIFT] if number >= self.SHIFT else ""

    def portable(self) -> dict[str, Any]:
        return {"form": "symbols", "symbols": self.symbols, "shift": self.SHIFT, "notation": self.notation}

    @classmethod
    def recognise(cls, sample: ColumnSample) -> Self | None:
        """SMILES, SELFIES, InChI and files of molecules, where the packages are there to be sure of it."""
        if sample.mostly_files(cls.suffixes):
            return cls()
        texts = [cell for cell in sample.cells if isinstance(cell, str)]
        if len(texts) < len(sample.cells) or not all(map(_may_be, texts[:: 1 + len(texts) // _TRIED])):
            return None
        tried = list(dict.fromkeys(texts))
        tried = tried[:: 1 + len(tried) // _TRIED]
        if 2 * sum(len(text) > 4 and bool(_STRUCTURE & {*text}) for text in tried) <= len(tried):
            return None
        lengths = []
        for text in tried:
            with suppress(DataError):
                lengths.append(len(chemistry.split_symbols(_canonical(text), "selfies")))
        if 10 * len(lengths) < 9 * len(tried):
            return None
        return cls(max_length=max(_SHORT, 8 * (int(usual_limit(np.array(lengths), _SHORT)) // 8 + 1)))

    @classmethod
    def identity(cls, raw: Any) -> bytes:
        """Of RDKit's molecule, by its own bytes."""
        return digest(b"molecule", raw.ToBinary()) if hasattr(raw, "ToBinary") else super().identity(raw)

    @classmethod
    def names_file(cls, text: str) -> bool:
        """Texts that end as files of molecules do."""
        return text.lower().endswith(cls.suffixes)

    def cell(self, thing: Structure) -> str:
        return str(thing)

    def preview(self, thing: Structure) -> Markup:
        """The drawing and the SMILES."""
        text = Markup('<code class="text">{}</code>').format(str(thing) or Markup("<i>nothing</i>"))
        picture = self.thumbnail(thing, _PREVIEW_PIXELS)
        return picture_html(picture) + text if picture else text

    def thumbnail(self, thing: Structure, side: int) -> PILImage.Image | None:
        try:
            content = chemistry.draw(chemistry.parse(thing), max(side, _LEAST_PIXELS))
        except DataError:
            return None
        return PILImage.open(BytesIO(content)).convert("RGB").resize((side, side), PILImage.Resampling.LANCZOS)


def _canonical(raw: Any) -> str:
    """Raw -> canonical SMILES."""
    chem = chemistry.chemistry()
    if isinstance(raw, chem.Mol):
        return chemistry.canonical(chem.MolToSmiles(raw))
    if not isinstance(raw, str | bytes | Path):
        raise DataError(f"{shown(raw)} is not a molecule")
    text = decode_text(raw)
    if isinstance(raw, str) or "\n" in text.strip():
        return chemistry.canonical(text)
    return chemistry.canonical((text.split() or [""])[0])  # a .smi file has a name after the SMILES


def _may_be(text: str) -> bool:
    """Whether a text has the form of a notation; names and sentences have spaces."""
    return len(text) <= chemistry.MOST_CHARACTERS and not any(map(str.isspace, text.strip()))


__all__ = ["Molecule", "Structure"]
