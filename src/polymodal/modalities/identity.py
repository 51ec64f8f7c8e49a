"""Names of contents: 16 bytes that two values share only if all that they are made of is the same."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from types import NoneType
from typing import Any
from uuid import UUID

import numpy as np
import torch
from torch import Tensor

from polymodal.errors import DataError
from polymodal.files import digest

_PLAIN = frozenset((NoneType, bool, int, float, complex, str, bytes))
_EXACT = (np.number, np.bool_, Decimal, Fraction, UUID, date, time, timedelta)


def content_name(raw: Any, inner: Callable[[Any], bytes]) -> bytes:
    """The name of a value's content, by its types, shapes and bytes.

    Args:
        raw: A string, number, date, ``bytes``, path of a file, array or tensor, or a list, tuple, dictionary or data
            class of these.
        inner: Names a value inside ``raw``.

    Raises:
        DataError: It is of another type, or a file that cannot be read.
    """
    if isinstance(raw, str):
        return digest(b"text", raw.encode(errors="surrogatepass"))
    if isinstance(raw, bytes):
        return digest(b"file", raw)
    if isinstance(raw, Path):
        try:
            return digest(b"file", raw.read_bytes())
        except OSError as error:
            raise DataError(f"cannot read the file: {error.strerror}") from error
    if type(raw) is np.ndarray:  # before what is slower to ask
        return _of_array(raw, inner)
    if _is_written_out(raw):
        return digest(b"value", repr(raw).encode(errors="surrogatepass"))
    if isinstance(raw, np.ndarray | np.generic):
        return _of_array(np.asarray(raw), inner)
    kind = f"{type(raw).__module__}.{type(raw).__qualname__}".encode()
    if isinstance(raw, Tensor) and raw.layout is torch.strided:
        values = raw.detach().cpu().resolve_conj().resolve_neg().contiguous()
        return digest(b"tensor", repr((raw.dtype, tuple(raw.shape))).encode(), _bytes_of(values))
    if isinstance(raw, int | float | complex):  # an enumeration, for one
        number = next(base for base in (int, float, complex) if isinstance(raw, base))
        return digest(kind, number.__repr__(raw).encode())
    if isinstance(raw, list | tuple):
        return digest(kind, *map(inner, raw))
    if isinstance(raw, dict):
        return digest(kind, *(inner(part) for item in raw.items() for part in item))
    if is_dataclass(raw) and not isinstance(raw, type):
        return digest(kind, inner({field.name: getattr(raw, field.name) for field in fields(raw)}))
    raise DataError(
        f"a {kind.decode()} cannot be told from another by its content; give a string, number, bytes, path, array or "
        "tensor, or a list, tuple, dictionary or data class of these; or let the modality's identity() name it"
    )


def _is_written_out(raw: Any) -> bool:
    """Whether a value's text says all that it is, as that of a cell of JSON does; their names have always been so."""
    if type(raw) in (list, tuple):
        return _PLAIN.issuperset(map(type, raw)) or all(map(_is_written_out, raw))
    if type(raw) is dict:
        return all(map(_is_written_out, raw)) and all(map(_is_written_out, raw.values()))
    return type(raw) in _PLAIN or isinstance(raw, _EXACT)


def _of_array(array: np.ndarray, inner: Callable[[Any], bytes]) -> bytes:
    if array.dtype.kind in "biuf":  # most are
        return digest(b"array", _form(array.dtype.str, array.shape), array.tobytes())
    shape = repr(array.shape).encode()
    if array.dtype.names:
        return digest(b"record", shape, inner({name: array[name] for name in array.dtype.names}))
    if array.dtype.kind in "OT":  # references to objects, or to strings of any length
        return digest(b"objects", shape, *map(inner, array.flat))
    kind = array.dtype.name if array.dtype.kind == "V" else array.dtype.str  # kinds that NumPy does not know are all V
    return digest(b"array", _form(kind, array.shape), array.tobytes())


@lru_cache(maxsize=256)
def _form(kind: str, shape: tuple[int, ...]) -> bytes:
    return repr((kind, shape)).encode()


def _bytes_of(tensor: Tensor) -> bytes:
    return tensor.reshape(-1).view(torch.uint8).numpy().tobytes()
