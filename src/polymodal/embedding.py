"""Embeddings: values of aligned fields as unit vectors of one space, where those of a row lie near one another."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from polymodal.alignment import ALIGNMENTS, Alignment
from polymodal.condition import FEATURES
from polymodal.data import Rows
from polymodal.errors import ConfigError, DataError, unknown
from polymodal.model import Model
from polymodal.types import Batch, Field

CHUNK = 128
"""Values that are encoded together."""
STATISTICS_ROWS = 1024
"""Most rows of a field that its mean and variance are taken of."""


@dataclass(frozen=True)
class Moments:
    """Of a field's encodings: ``mean`` (D,) and ``variance`` (D,).

    In training those of the batch are taken. Here they must be the same for every value, so that a query's embedding
    depends on nothing but the query.
    """

    mean: Tensor
    variance: Tensor


class AlignedEmbedder:
    """Embeds values of the fields that a model's alignment has pulled together.

    Args:
        model: Trained with an alignment.
        moments: By field; see ``measure``.

    Raises:
        ConfigError: The model has no alignment, or one by which nothing can be found.
    """

    def __init__(self, model: Model, moments: Mapping[str, Moments]):
        self.model, self.alignment, self.moments = model, alignment_of(model), dict(moments)

    @classmethod
    def measure(cls, model: Model, rows: Rows) -> AlignedEmbedder:
        """An embedder with the moments of real rows, best those that the model was trained on.

        Raises:
            ConfigError: The model has no alignment, or one by which nothing can be found.
        """
        moments = {}
        for name in aligned_fields(model):
            own = np.flatnonzero(rows.present[name]) if name in rows.columns else np.empty(0, dtype=np.int64)
            if len(own) < 2:
                continue  # nothing varies, so that the field cannot be embedded
            some = own[np.linspace(0, len(own) - 1, min(len(own), STATISTICS_ROWS)).astype(np.int64)]
            encodings = encode_rows(model, name, rows.select(some))
            moments[name] = Moments(encodings.mean(0), encodings.var(0, correction=0))
        return cls(model, moments)

    @property
    def fields(self) -> list[str]:
        """That it can embed."""
        return list(self.moments)

    @property
    def size(self) -> int:
        """Numbers of a vector."""
        return len(next(self.alignment.project.matrices.parameters()))  # of a matrix from the width to it

    def check(self, names: Sequence[str], where: str) -> None:
        """Whether fields can be embedded.

        Raises:
            ConfigError: One cannot; the message starts with ``where``.
        """
        for name in names:
            if name not in self.model.modalities:
                raise ConfigError(unknown(where, name, self.model.modalities))
            if name not in self.moments:
                raise ConfigError(
                    f"{where}: '{name}' is not aligned with the other fields; {', '.join(self.fields)} are"
                )

    def embed(self, name: str, field: Field) -> Tensor:
        """Values (B, *) of a field in model form -> unit vectors (B, size) on the CPU."""
        return self._project(name, encode(self.model, name, {name: field}))

    def embed_rows(self, name: str, rows: Rows) -> Tensor:
        """Values of a field that all rows have -> unit vectors (N, size) on the CPU."""
        return self._project(name, encode_rows(self.model, name, rows))

    def embed_together(self, fields: Mapping[str, Field]) -> Tensor:
        """Several fields of the same rows -> the mean of their vectors, as a unit vector (B, size) each.

        Raises:
            DataError: No field is given.
        """
        if not fields:
            raise DataError(f"search: nothing is given; give at least one of {', '.join(self.fields)}")
        return normalize(torch.stack([self.embed(name, field) for name, field in fields.items()]).mean(0), dim=1)

    @torch.no_grad()
    def _project(self, name: str, encodings: Tensor) -> Tensor:
        moments = self.moments[name]
        values = (encodings, moments.mean, moments.variance)
        code = self.alignment.project.code(name, *(value.to(self.model.device) for value in values))
        return normalize(code, dim=1).cpu()


def alignment_of(model: Model) -> Alignment:
    """The alignment of a model.

    Raises:
        ConfigError: It has none, or one by which nothing can be found.
    """
    able = ", ".join(name for name, kind in ALIGNMENTS.items() if kind.searchable)
    if model.alignment is None and model.recipe.alignment is not None:
        raise ConfigError(
            "alignment: fewer than two of the run's fields tell rows apart, as texts, pictures, sound and vectors of "
            "several numbers do; search needs two"
        )
    if model.alignment is None:
        raise ConfigError(f"alignment: the run was trained without; search needs one that tells rows apart ({able})")
    if not model.alignment.searchable:
        kind = (model.recipe.alignment or {})["kind"]
        raise ConfigError(f"alignment: '{kind}' does not tell rows apart; search needs one that does ({able})")
    return model.alignment


def aligned_fields(model: Model) -> list[str]:
    """Names of the fields that a model's alignment pulls together.

    Raises:
        ConfigError: It has no alignment, or one by which nothing can be found.
    """
    return list(alignment_of(model).project.matrices)


@torch.no_grad()
def encode(model: Model, name: str, batch: Batch) -> Tensor:
    """A field's values in model form, or their features -> the mean of each one's tokens (B, D), on the CPU."""
    read = {column: batch[column] for column in read_columns(name, batch)}
    parts = torch.arange(len(read[name])).split(CHUNK)
    pieces = [{column: field.pick(part).to(model.device) for column, field in read.items()} for part in parts]
    return torch.cat([model.tokens(name, piece).mean.float().cpu() for piece in pieces])


def encode_rows(model: Model, name: str, rows: Rows) -> Tensor:
    """As ``encode``, of a field that all rows have; each distinct value is read and encoded once."""
    own = rows.only(*read_columns(name, rows.columns))
    _, first, inverse = np.unique(own.columns[name].slots, return_index=True, return_inverse=True)
    parts = [first[start : start + CHUNK] for start in range(0, len(first), CHUNK)]
    return torch.cat([encode(model, name, own.decode(own.batch(part))) for part in parts])[inverse]


def read_columns(name: str, columns: Container[str]) -> list[str]:
    """Of a field, its values and, where they are kept, what an encoder that does not learn has made of them."""
    return [name, name + FEATURES] if name + FEATURES in columns else [name]
