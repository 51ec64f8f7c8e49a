"""Familiarity: how near what is given lies to what a model learned from, measured by values that it did not see.

A value's distance is that to the nearest training value, in the encoder's space, or of numbers as they are. The share
of held-out values that lie at least as far away says how unusual that is: it is a p-value of the hypothesis that the
value comes from where the data come from. A text is as unfamiliar as its words if they are more unusual than its
distance. Source: Bates et al., "Testing for outliers with conformal p-values", 2023.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from polymodal.checkpoint import digest_of
from polymodal.data import Rows
from polymodal.embedding import CHUNK, encode, read_columns
from polymodal.errors import ConfigError, unknown
from polymodal.files import atomic_file, write_tensors
from polymodal.generation import read, write
from polymodal.modalities.base import Modality
from polymodal.model import Model
from polymodal.types import Batch, Field, Space

FILE = "familiarity.safetensors"
"""In a run's folder."""
UNFAMILIAR = 0.02
"""Share of held-out values that lie as far away, at or below which a value is called unfamiliar."""
_FORMAT = "1"
_MOST_VALUES, _FEWEST_VALUES, _MOST_NUMBERS = 1024, 128, 2**23
"""Training values that distances are measured to: so many at most, and of large ones fewer, but not too few."""
_ROUNDING = 1e-4
"""By which distances of equal values differ, as a value is encoded alone and beside others."""
_TENSORS, _ARRAYS = ("values", "mean", "scale"), ("distances", "unknown", "least")
_MOST_TEXTS = 1 << 14
"""Training values whose words are known, at most."""


@dataclass(frozen=True)
class Familiarity:
    """How familiar one value is to a model.

    Attributes:
        share: Of the held-out values, those that lie at least as far from the training values: 1 for a value that was
            seen, about 1/2 for a usual one, 0 for one that is further away than all.
        unknown_words: Of a text, those that no training text has.
    """

    share: float
    unknown_words: tuple[str, ...] = ()

    @property
    def unfamiliar(self) -> bool:
        """Whether hardly any held-out value is as unusual."""
        return self.share <= UNFAMILIAR

    def sentence(self, name: str) -> str:
        """What a user should know of the value of the field ``name``."""
        words = f" (unknown: {', '.join(self.unknown_words)})" if self.unknown_words else ""
        return (
            f"'{name}' is unlike what the model learned from{words}: {self.share:.1%} of held-out values are as far "
            "away; what is generated from it may be wrong"
        )


@dataclass(frozen=True)
class _Known:
    """What is known of a field.

    Attributes:
        values: (K, D) training values, standardised.
        mean: (D,) that was subtracted.
        scale: (D,) by which was divided.
        distances: (n,) of held-out values, ascending.
        unknown: (n,) shares of unknown words of held-out texts, ascending; zeros of other values.
        least: (n,) the lesser of both shares of each held-out value, ascending.
        words: Of training texts.
    """

    values: Tensor
    mean: Tensor
    scale: Tensor
    distances: np.ndarray
    unknown: np.ndarray
    least: np.ndarray
    words: frozenset[str]

    def fits(self, model: Model, name: str) -> bool:
        """Whether it can be of this field, as what is in a file need not be."""
        space = model.modalities[name].space
        size = space.channels if _is_numbers(space) else model.recipe.width
        shapes = [getattr(self, part).shape for part in _ARRAYS]
        alike = self.values.shape[1:] == self.mean.shape == self.scale.shape == (size,)
        return alike and len(self.values) > 0 and shapes == [(len(self.least),)] * 3 and len(self.least) > 0

    def distance(self, values: Tensor) -> np.ndarray:
        """(B, D) as ``_numbers`` gives them -> (B,) distances to the nearest training value."""
        standard, exact = (values - self.mean) / self.scale, "donot_use_mm_for_euclid_dist"
        nearest = torch.cdist(standard, self.values, compute_mode=exact).amin(1)  # by products, 0 is 0.0005
        return (nearest / self.values.shape[1] ** 0.5).numpy()

    def lesser_share(self, distance: np.ndarray, unknown_words: np.ndarray) -> np.ndarray:
        """(B,) the share of held-out values as far away, or with as many unknown words, whichever is less."""
        return np.minimum(_share_above(self.distances, distance - _ROUNDING), _share_above(self.unknown, unknown_words))


class FamiliarityMeter:
    """Measures how familiar values are to one model.

    Args:
        model: Of whose inputs it tells.
        known: By field.
    """

    def __init__(self, model: Model, known: Mapping[str, _Known]):
        self.model, self._known = model, dict(known)

    @classmethod
    def learn(cls, model: Model, training: Rows, held_out: Rows) -> FamiliarityMeter:
        """Takes training values to measure distances to, and held-out ones to compare them with.

        Args:
            model: In evaluation mode.
            training: Rows that it learned from; where they have the features of encoders that do not learn, these
                are not called.
            held_out: Rows that it did not learn from. Of a field that none of them has, nothing can be told.
        """
        known = {}
        for name in model.encoders:
            if all(name in rows.columns and rows.present[name].any() for rows in (training, held_out)):
                known[name] = _learn(model, name, training, held_out)
        return cls(model, known)

    @property
    def fields(self) -> list[str]:
        """Of which it can tell."""
        return list(self._known)

    def __call__(self, given: Mapping[str, Any]) -> dict[str, Familiarity]:
        """How familiar raw values are, by field; of fields of which nothing is known, nothing.

        Raises:
            ConfigError: A field is unknown.
            DataError: A value cannot be read.
        """
        for name in given:
            if name not in self.model.modalities:
                raise ConfigError(unknown("given", name, self.model.modalities))
        return {
            name: self._of(name, read(name, self.model.modalities[name], raw))
            for name, raw in given.items()
            if raw is not None and name in self._known
        }

    def _of(self, name: str, field: Field) -> Familiarity:
        known = self._known[name]
        (words,) = _words(self.model.modalities[name], field)
        strange = tuple(dict.fromkeys(word for word in words if word not in known.words))
        share = known.lesser_share(
            known.distance(_numbers(self.model, name, {name: field})), _unknown([words], known.words)
        )
        return Familiarity(float((known.least <= share).mean()), strange)

    def save(self, run: Path) -> None:
        """Writes ``familiarity.safetensors`` to a run's folder."""
        tensors: dict[str, Tensor] = {}
        words: dict[str, list[str]] = {}
        for name, known in self._known.items():
            parts = {part: torch.as_tensor(getattr(known, part)) for part in (*_TENSORS, *_ARRAYS)}
            tensors |= {f"{name}.{part}": tensor for part, tensor in parts.items()}
            words[name] = sorted(known.words)
        about = {"format": _FORMAT, "weights": digest_of(self.model), "words": json.dumps(words)}
        with atomic_file(run / FILE) as partial:
            write_tensors(partial, tensors, about)

    @classmethod
    def load(cls, model: Model, run: Path) -> FamiliarityMeter | None:
        """What ``save`` wrote of this model; None if that is not there."""
        try:
            with safe_open(run / FILE, "pt") as file:
                about = file.metadata()
                if about["format"] != _FORMAT or about["weights"] != digest_of(model):
                    return None
                known = {}
                for name, words in json.loads(about["words"]).items():
                    parts = {part: file.get_tensor(f"{name}.{part}") for part in (*_TENSORS, *_ARRAYS)}
                    parts |= {part: parts[part].numpy() for part in _ARRAYS}
                    known[name] = _Known(**parts, words=frozenset(words))
                    if not known[name].fits(model, name):
                        return None
        except (OSError, ValueError, LookupError, TypeError, AttributeError, SafetensorError):
            return None
        return cls(model, known)


def _learn(model: Model, name: str, training: Rows, held_out: Rows) -> _Known:
    modality = model.modalities[name]
    most = max(_FEWEST_VALUES, min(_MOST_VALUES, _MOST_NUMBERS // prod(modality.space.shape)))
    values = torch.cat([_numbers(model, name, batch) for batch in _some(name, training, most)])
    mean, scale = values.mean(0), values.std(0, correction=0)
    scale = torch.where(scale > 1e-6, scale, scale.clamp(min=1e-6).max())
    most_texts = _MOST_TEXTS if modality.space.kind == "discrete" else 1
    told = _some(name, training, most_texts)
    words = frozenset(word for batch in told for text in _words(modality, batch[name]) for word in text)
    none = np.zeros(0)
    known = _Known((values - mean) / scale, mean, scale, none, none, none, words)
    unseen = _some(name, held_out, most)
    far = np.concatenate([known.distance(_numbers(model, name, batch)) for batch in unseen])
    strange = np.concatenate([_unknown(_words(modality, batch[name]), words) for batch in unseen])
    known = replace(known, distances=np.sort(far), unknown=np.sort(strange))
    return replace(known, least=np.sort(known.lesser_share(far, strange)))


def _some(name: str, rows: Rows, most: int) -> list[Batch]:
    """Distinct values of a field, evenly chosen, in model form, with their features where those are kept."""
    own = rows.unique(name).only(*read_columns(name, rows.columns))
    index = np.unique(np.linspace(0, len(own) - 1, min(len(own), most)).astype(np.int64))
    parts = np.array_split(index, -(-len(index) // CHUNK))
    return [own.decode(own.batch(part)) for part in parts]


def _numbers(model: Model, name: str, batch: Batch) -> Tensor:
    """(B, D) by which values are compared: the mean of their tokens, or numbers as they are."""
    return batch[name].value.float().cpu() if _is_numbers(model.modalities[name].space) else encode(model, name, batch)


def _is_numbers(space: Space) -> bool:
    return space.kind == "continuous" and not space.grid


def _words(modality: Modality, field: Field) -> list[list[str]]:
    """The words of each value; only what is ids of any number has some."""
    if modality.space.kind != "discrete" or not modality.space.variable:
        return [[] for _ in range(len(field))]
    return [modality.words(thing) for thing in write(modality, field)]


def _unknown(texts: list[list[str]], words: frozenset[str]) -> np.ndarray:
    """Of each text, the share of its words that are unknown."""
    return np.array([np.mean([word not in words for word in text]) if text else 0.0 for text in texts])


def _share_above(ascending: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(B,) the share of sorted numbers that are at least as great as each value."""
    return 1 - np.searchsorted(ascending, values, side="left") / max(1, len(ascending))
