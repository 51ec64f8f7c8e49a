"""What every modality is: raw objects <-> tensors, and all else that is particular to one kind of value."""

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from inspect import signature
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from markupsafe import Markup
from PIL import Image as PILImage
from torch import Tensor, nn

from polymodal.errors import ConfigError, DataError, quote
from polymodal.files import digest
from polymodal.modalities.html import picture_html
from polymodal.modalities.identity import content_name
from polymodal.modalities.mel import MelTransform
from polymodal.types import Space

_PREVIEW_PIXELS = 256

Stored = tuple[np.ndarray, Sequence[int] | None]
"""Stored values: (n, *space.shape) and None; where an axis varies (sum of lengths, *space.rest) and the n lengths."""


@dataclass(frozen=True)
class ColumnSample:
    """Cells of a source's column, evenly spread over it, by which a modality recognises its own kind.

    Attributes:
        cells: Those that hold something, as the source has them; at least one.
        files: Of each cell, the path of the file that it names and that is there, or the bytes that it embeds, or None.
        lengths: Bytes, in UTF-8, of every text of the whole column.
        notes: What a modality decided that its user should know, in sentences; ``recognise`` adds to them.
    """

    cells: Sequence[Any]
    files: Sequence[Path | bytes | None]
    lengths: Sequence[int] = ()
    notes: list[str] = field(default_factory=list)

    def mostly(self, *kinds: type) -> bool:
        """Whether more than half of the cells are of these types."""
        return 2 * sum(isinstance(cell, kinds) for cell in self.cells) > len(self.cells)

    def mostly_files(self, suffixes: Collection[str]) -> bool:
        """Whether at least half of the cells are files with these endings, lower case with the dot."""
        return 2 * sum(self._suffix(place) in suffixes for place in range(len(self.cells))) >= len(self.cells)

    @cached_property
    def first(self) -> Any:
        """The first cell; a list if it is one in JSON."""
        first = self.cells[0]
        if isinstance(first, str) and first.startswith("["):
            with suppress(ValueError, RecursionError):  # a text that begins with a bracket
                return json.loads(first)
        return first

    @property
    def suffix(self) -> str:
        """Ending that at least half of the cells have, all of them files; empty if there is none."""
        suffix, _ = Counter(map(self._suffix, range(len(self.cells)))).most_common(1)[0]
        return suffix if self.mostly_files({suffix}) else ""

    @property
    def content(self) -> bytes | None:
        """The bytes of the first file that is embedded."""
        return next((file for file in self.files if isinstance(file, bytes)), None)

    def _suffix(self, place: int) -> str:
        file, cell = self.files[place], self.cells[place]
        if isinstance(cell, dict) and isinstance(cell.get("path"), str):  # a file, even if it is not there
            file = Path(cell["path"])
        return suffix_of(file) if isinstance(file, Path) else ""


def suffix_of(path: Path) -> str:
    """A file's ending, lower case with the dot: ``.png``, and ``.nii.gz`` of what is packed."""
    return "".join(path.suffixes[-2:] if path.suffix.lower() == ".gz" else path.suffixes[-1:]).lower()


def usual_limit(lengths: np.ndarray, short: float) -> float:
    """A limit for lengths: the longest one, but for those that are more than twice as long as 99 % of all.

    Args:
        lengths: At least one.
        short: No length up to this is beyond the limit.
    """
    if len(lengths) < 10:
        return float(lengths.max())
    usual = np.quantile(lengths, 0.99, method="lower")
    return float(lengths[lengths <= max(short, 2 * usual)].max())


def read_finite(modality: "Modality", raw: Any) -> np.ndarray:
    """What a modality reads, whose numbers are all finite; every value that comes in is read by this.

    Raises:
        DataError: It cannot be read, or a number is not finite as it is stored.
    """
    with np.errstate(all="ignore"):
        stored = np.asarray(modality.read(raw))
    if stored.dtype.kind == "f" and not np.isfinite(stored).all():
        raise DataError(f"holds numbers that are not finite in {8 * stored.dtype.itemsize} bits")
    return stored


def read_file(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        DataError: It cannot be read, or has more than ``Modality.most_bytes``.
    """
    try:
        if (size := path.stat().st_size) > Modality.most_bytes:
            raise DataError(
                f"the file has {size:,} bytes; Modality.most_bytes = {Modality.most_bytes:,} can be set higher"
            )
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the file: {error.strerror}") from error


class Modality(ABC):
    """What a field is made of, and all that is particular to it: no other code asks which modality a field has.

    A value has three forms: *raw* (a path, bytes, or an object such as a PIL image), *stored* (a compact array, as
    the cache keeps it: bytes of pixels, ids of text) and *model* (a tensor in ``space``). What ``write`` makes of the
    model's form is raw again: ``read`` takes it. Constructors take plain keyword arguments, all of them configuration,
    and keep each as an attribute of the same name.

    A new modality has to define ``space``, ``dtype``, ``read``, ``to_model`` and ``write``. The other methods have
    defaults, which fit objects that are written out as a line of text.

    Attributes:
        space: Space of the model's form.
        dtype: Of the stored form. The axis that varies, if any, comes first in it: (length, *space.rest); otherwise
            its shape is ``space.shape``.
        suffix: Ending of the files that ``encode`` makes, lower case with the dot.
        suffixes: Endings of the files that ``read`` understands.
        inline: A cell of a table, or a word of a command, is the value itself; otherwise it is the path of a file. See
            ``names_file`` for exceptions.
        prepares_on: The rows that ``prepare`` sees: of ``train``, every one; ``distinct``, one for each value of these,
            where to read a value takes long; or one for each value of ``all``, if it learns no statistic.
        most_bytes: Larger files are not read into memory.
        comes_trained: Whether it knows what was learned elsewhere and came with the package.
        transform: Samples <-> log-mels, of sound.
        waveform_hz: Samples per second, where the model's form is sound itself, cut into frames (samples, frames), and
            not its standardised log-mel spectrogram (bands, frames).
    """

    space: Space
    dtype: ClassVar[Any]
    suffix: ClassVar[str] = ".txt"
    suffixes: ClassVar[tuple[str, ...]] = ()
    inline: ClassVar[bool] = False
    prepares_on: ClassVar[Literal["train", "distinct", "all"]] = "train"
    most_bytes: ClassVar[int] = 1 << 30
    comes_trained: bool = False
    transform: MelTransform | None = None
    waveform_hz: int | None = None

    @abstractmethod
    def read(self, raw: Any) -> np.ndarray:
        """Raw -> stored.

        Args:
            raw: A ``pathlib.Path`` to a file, ``bytes`` of a file, or an in-memory object of this modality.

        Raises:
            DataError: The value cannot be decoded or is not of this modality; says why in a few words.
        """

    def read_many(self, raws: Sequence[Any]) -> "Stored | None":
        """``read`` of many values at once, where that is quicker.

        Returns:
            The very numbers that ``read`` gives, or None: then each is read by itself. It is None wherever ``read``
            would refuse one.
        """
        return None

    @abstractmethod
    def to_model(self, stored: Tensor) -> Tensor:
        """Stored batch, (B, L, *rest) where an axis varies, -> values in ``space`` (B, *shape), on the same device."""

    @abstractmethod
    def write(self, value: Tensor) -> Any:
        """One value in ``space``, trimmed to its real length -> the object that a user expects, with ``save(path)``."""

    def prepare(self, raws: Iterable[Any]) -> None:
        """Learn from the rows what ``read`` needs (a vocabulary, class names), into arguments left unset."""

    def state(self) -> dict[str, Any]:
        """The arguments, as JSON, that build this modality again, what ``prepare`` learned included."""
        return {name: getattr(self, name) for name in signature(type(self).__init__).parameters if name != "self"}

    def __repr__(self) -> str:
        defaults = signature(type(self).__init__).parameters
        given = {name: value for name, value in self.state().items() if value != defaults[name].default}
        return f"{type(self).__name__}({', '.join(f'{name}={quote(value)}' for name, value in given.items())})"

    @classmethod
    def recognise(cls, sample: ColumnSample) -> Self | None:
        """The modality, with arguments that fit, of a column that seems to be of this kind; None if it is not."""
        return None

    @classmethod
    def identity(cls, raw: Any) -> bytes:
        """16 bytes that name a raw value's content: equal only where ``read`` cannot tell two values apart.

        Raises:
            DataError: The content of a value of this type has no name.
        """
        try:
            if isinstance(raw, Path) and (others := cls.companions(raw)):
                return digest(b"files", *(content_name(path, cls.identity) for path in (raw, *others)))
            return content_name(raw, cls.identity)
        except RecursionError:
            raise DataError(f"a {type(raw).__name__} that is nested too deeply") from None

    @classmethod
    def companions(cls, path: Path) -> Sequence[Path]:
        """Other files that ``read`` opens with a file, and that are part of its content."""
        return ()

    @classmethod
    def names_file(cls, text: str) -> bool:
        """Whether a text in a cell is the path of a file, and not the value itself."""
        return not cls.inline

    @classmethod
    def groups(cls, raw: Any) -> bool:
        """Whether rows that share a raw value belong in one split: it then tells which row it is, as a picture does."""
        return not cls.inline

    def encode(self, thing: Any) -> bytes:
        """What ``write`` made -> the bytes of a file that ends in ``suffix``, which ``read`` takes."""
        return f"{thing}\n".encode()

    def cell(self, thing: Any) -> Any:
        """What ``write`` made -> a cell of a table, where ``inline``: a string, a number, or a list of these."""
        return thing

    def preview(self, thing: Any) -> Markup:
        """What ``write`` made -> HTML that shows it, without a network."""
        picture = self.thumbnail(thing, _PREVIEW_PIXELS)
        if picture:
            return picture_html(picture)
        return Markup('<span class="text">{}</span>').format(str(thing) or Markup("<i>nothing</i>"))

    def thumbnail(self, thing: Any, side: int) -> PILImage.Image | None:
        """What ``write`` made -> an RGB picture of it of at most ``side`` x ``side`` pixels, or None if it has none."""
        return None

    def words(self, thing: Any) -> list[str]:
        """The words of what ``write`` made, in order; none of what has no words."""
        return []

    def mean_of(self, values: Tensor, weights: Tensor | None = None) -> Tensor:
        """The mean of what a user would see, (B, *shape) in model form, of values (V, B, *shape) in model form.

        Args:
            values: V of each of B rows.
            weights: (V, B), which sum to 1 over V; all alike if not given.
        """
        if weights is None:
            return values.mean(0)
        return (values * weights[(...,) + (None,) * (values.dim() - 2)]).sum(0)

    def portable(self) -> dict[str, Any]:
        """How a program that has NumPy alone turns raw values into the model's form and back, as JSON.

        ``form`` names what ``polymodal.export.runner`` does; of ``array`` it takes and gives the model's form itself.
        """
        return {"form": "array"}

    def with_vocoder(self, vocoder: nn.Module) -> Self:
        """A copy whose ``write`` makes sound by a vocoder.

        Raises:
            ConfigError: There is no spectrogram that it could be made of.
        """
        raise ConfigError(f"vocoder: makes sound of spectrograms, not of {self!r}")
