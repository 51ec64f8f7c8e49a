"""What every judge is: it embeds values of its fields in one space, and names them there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.data import Rows
from polymodal.modalities import Label, Modality, Text
from polymodal.types import Field


class Embedder(ABC):
    """Embeds values of any of its fields in one space, and names them.

    Attributes:
        modalities: By field.
        naming: The field whose values are the names of concepts, or None if the data has no such field.
        names: Distinct names in the training rows.
        settings: What the judge is made of.
        held_out: How well it names real values that it has not learned from, by field; see ``held_out_scores``.
    """

    modalities: Mapping[str, Modality]
    naming: str | None
    names: list[str]
    settings: dict[str, Any]
    held_out: dict[str, dict[str, float]]

    @abstractmethod
    def embed(self, name: str, field: Field) -> Tensor:
        """Values of a field in model form -> unit vectors (B, D).

        Raises:
            ConfigError: The judge does not know the field.
        """

    @property
    @abstractmethod
    def hash(self) -> str:
        """Names the weights and settings: equal where judges are equal."""

    def learned_from(self, training: Rows) -> bool:
        """Whether it learned from these rows, or from none of anybody's here."""
        data = self.settings.get("data")
        known = [name for name in self.modalities if name in training.columns]
        return data is None or data == training.only(*known).fingerprint

    def facts(self, rows: Rows, training: Rows | None = None) -> dict[str, Any]:
        """What a report says of the judge; ``rows`` that are not among ``training`` give its score if it has none."""
        held_out = self.held_out
        if not held_out and training is not None:
            held_out = self.score(rows, training)
        return {"hash": self.hash, "names": len(self.names), **self.settings, "held_out": held_out}

    def score(self, rows: Rows, training: Rows) -> dict[str, dict[str, float]]:
        """``held_out_scores`` as JSON."""
        found = self.held_out_scores(rows, training)
        return {name: {"top_1": score, "values": count} for name, (score, count) in found.items()}

    def embed_names(self, names: Sequence[str]) -> Tensor:
        """Names -> unit vectors (n, D).

        Raises:
            DataError: A name cannot be read.
        """
        assert self.naming is not None, "the judge has no names"
        modality = self.modalities[self.naming]
        return self.embed(self.naming, _as_field([modality.read(name) for name in names], modality))

    def name(self, field_name: str, field: Field, candidates: Sequence[str] | None = None) -> Tensor:
        """(B,) index of the name, among the candidates, that is nearest to each value.

        Args:
            field_name: Name of the field.
            field: Its values in model form.
            candidates: Names to choose among; those of the training rows if not given.
        """
        names = self.names if candidates is None else candidates
        return (self.embed(field_name, field) @ self.embed_names(names).T).argmax(1)

    def held_out_scores(self, rows: Rows, training: Rows) -> dict[str, tuple[float, int]]:
        """How often the judge names real values right that it did not learn from.

        Args:
            rows: That may hold such values.
            training: Rows that it learned from.

        Returns:
            By field that is not the naming one: top-1 among all names, and the number of values; fields without such
            values are left out.
        """
        scores = {}
        for name in self.modalities:
            if self.naming is None or name == self.naming or name not in rows.columns:
                continue
            new = ~np.isin(rows.columns[name].slots, training.columns[name].slots)
            own = rows.select(new & rows.present[name] & rows.present[self.naming]).unique(name)
            if not len(own):
                continue
            names = sorted({*self.names, *texts(own, self.naming)})
            truth = np.array([names.index(text) for text in texts(own, self.naming)])
            field = own.decode(own.only(name).batch(np.arange(len(own))))[name]
            scores[name] = (float((self.name(name, field, names).numpy() == truth).mean()), len(own))
        return scores


def naming_field(rows: Rows) -> str | None:
    """The first text field that any row has, else the first label."""
    for kind in (Text, Label):
        for name, modality in rows.fields.items():
            if isinstance(modality, kind) and rows.present[name].any():
                return name
    return None


def texts(rows: Rows, name: str) -> list[str]:
    """The strings of a text or label field, where present."""
    own = rows.select(rows.present[name]).only(name)
    if not len(own):
        return []
    column, modality = own.columns[name], own.fields[name]
    _, first, inverse = np.unique(column.slots, return_index=True, return_inverse=True)
    field = own.decode(own.batch(first))[name]
    texts = [modality.write(value) for value in field.values()]
    return [texts[i] for i in inverse]


def _as_field(stored: list[np.ndarray], modality: Modality) -> Field:
    """Stored values of a discrete field -> a field in model form."""
    values = (modality.to_model(torch.from_numpy(ids)[None]) for ids in stored)
    return Field.stack([Field.full(value, varies=modality.space.varies) for value in values])
