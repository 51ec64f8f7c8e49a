"""What every judge is: it embeds values of its fields in one space, and names them by what lies nearest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.data import Rows
from polymodal.errors import ConfigError, unknown
from polymodal.evaluation.kinds import find_kind
from polymodal.modalities import Modality, kind_of
from polymodal.types import Field


class Embedder(ABC):
    """Embeds values of any of its fields in one space, and names them by what lies nearest.

    Attributes:
        modalities: The modality of each field that it reads.
        naming: The field whose values name concepts, or None if the data has no such field.
        names: The distinct names in the training rows.
        settings: What the judge is made of.
        held_out: How well it names real values that it has not learned from, by field; see ``score``.
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
        """A digest of the weights and settings, by which reports name the judge."""

    def learned_from(self, training: Rows) -> bool:
        """Whether the judge learned from these rows, or was trained elsewhere on none of the data here."""
        data = self.settings.get("data")
        known = [name for name in self.modalities if name in training.columns]
        return data is None or data == training.only(*known).fingerprint

    def facts(self, rows: Rows, training: Rows | None = None) -> dict[str, Any]:
        """What a report says of the judge. If it has no held-out score yet, ``rows`` give it one, less ``training``."""
        held_out = self.held_out
        if not held_out and training is not None:
            held_out = self.score(rows, training)
        return {"hash": self.hash, "names": len(self.names), **self.settings, "held_out": held_out}

    def score(self, rows: Rows, training: Rows) -> dict[str, dict[str, float]]:
        """How often the judge finds the right name of real values that it did not learn from.

        Args:
            rows: Rows that may hold such values.
            training: Rows that it learned from.

        Returns:
            For each field but the naming one: ``top_1``, the accuracy among all names, and ``values``, their number.
            Fields without such values are left out.
        """
        scores = {}
        for name in self.modalities:
            if self.naming is None or name == self.naming or name not in rows.columns:
                continue
            new = ~np.isin(rows.columns[name].slots, training.columns[name].slots)
            unseen = rows.select(new & rows.present[name] & rows.present[self.naming]).unique(name)
            if not len(unseen):
                continue
            truth = names_of(unseen, self.naming)
            names = sorted({*self.names, *truth})
            field = unseen.decode(unseen.only(name).batch(np.arange(len(unseen))))[name]
            right = self.name(name, field, names).numpy() == np.array([names.index(text) for text in truth])
            scores[name] = {"top_1": float(right.mean()), "values": len(unseen)}
        return scores

    def embed_names(self, names: Sequence[str]) -> Tensor:
        """Names -> unit vectors (n, D).

        Raises:
            DataError: A name cannot be read.
        """
        assert self.naming is not None, "the judge has no names"
        modality = self.modalities[self.naming]
        values = (modality.to_model(torch.from_numpy(modality.read(name))[None]) for name in names)
        return self.embed(self.naming, Field.stack([Field.full(v, varies=modality.space.varies) for v in values]))

    def name(self, field_name: str, field: Field, candidates: Sequence[str] | None = None) -> Tensor:
        """(B,) index of the name, among the candidates, that is nearest to each value.

        Args:
            field_name: Name of the field.
            field: Its values in model form.
            candidates: Names to choose among; by default those of the training rows.
        """
        names = self.names if candidates is None else candidates
        return (self.embed(field_name, field) @ self.embed_names(names).T).argmax(1)


def naming_field(rows: Rows, wanted: str | None = None) -> str | None:
    """The field whose values name concepts: the wanted one, else the first text that any row has, else the first label.

    Raises:
        ConfigError: The wanted field is unknown, or its values are no names.
    """
    if wanted is not None:
        if wanted not in rows.fields:
            raise ConfigError(unknown("judge: field", wanted, rows.fields))
        if find_kind(rows.fields[wanted]).naming is None:
            raise ConfigError(f"judge: naming: '{wanted}' holds no names but {kind_of(rows.fields[wanted])}")
        return wanted
    present = rows.present
    places = [
        (place, name)
        for name, modality in rows.fields.items()
        if (place := find_kind(modality).naming) is not None and name in present and present[name].any()
    ]
    return min(places, key=lambda entry: entry[0])[1] if places else None


def names_of(rows: Rows, name: str) -> list[str]:
    """The values of a field of names in the rows that have one, in the order of the rows."""
    rows = rows.select(rows.present[name]).only(name)
    if not len(rows):
        return []
    column, modality = rows.columns[name], rows.fields[name]
    _, first, inverse = np.unique(column.slots, return_index=True, return_inverse=True)
    field = rows.decode(rows.batch(first))[name]
    names = [modality.write(value) for value in field.values()]
    return [names[i] for i in inverse]
