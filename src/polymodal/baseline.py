"""Whether a model's best guess of a field beats the trivial answer: the most frequent value, or the mean."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polymodal.checkpoint import digest_of
from polymodal.data import Data, Rows
from polymodal.data.cells import is_absent
from polymodal.errors import ConfigError, DataError
from polymodal.files import read_json, write_file
from polymodal.generation import write
from polymodal.guess import DRAWS, guess_rows
from polymodal.modalities.base import Modality
from polymodal.model import Model
from polymodal.nn.random import make_keys
from polymodal.tables import ColumnStyle, NumberStyle
from polymodal.types import Field

FILE = "baseline.json"
"""In a run's folder."""
CELLS = 200
"""Held-out cells of a field that are guessed, at most."""
_PART = 4096
"""Training values that the mean and the deviation are taken of, at most."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Comparison:
    """Scores of one field on held-out cells.

    Attributes:
        cells: Their number.
        score: Score of the best guess: the share that is right, or the root mean square error in standard deviations.
        trivial: Score of the most frequent training value, or of the training mean.
        error: Whether the scores are errors.
    """

    cells: int
    score: float
    trivial: float
    error: bool

    @property
    def worse(self) -> bool:
        """Whether the guess is worse than the trivial answer."""
        return self.score > self.trivial if self.error else self.score < self.trivial

    def sentence(self, name: str) -> str:
        """What a user of ``fill`` should know."""
        what, trivial = ("error", "the mean's") if self.error else ("share right", "the most frequent value's")
        return (
            f"'{name}' is guessed worse than trivially: {what} {self.score:.3g}, {trivial} {self.trivial:.3g}, on "
            f"{self.cells} held-out cells; train longer, or leave it out of columns"
        )


@dataclass(frozen=True)
class Baseline:
    """What ``fill`` knows of a run from its data: how good its guesses are, and what its numbers look like.

    Attributes:
        weights: Names the model's weights.
        settings: ``draws`` and ``options``, with which it was measured.
        comparisons: By field.
        numbers: By field of numbers, those of the training rows.
    """

    weights: str
    settings: dict[str, Any]
    comparisons: dict[str, Comparison]
    numbers: dict[str, NumberStyle]

    @classmethod
    def measure(cls, model: Model, training: Rows, held_out: Rows, settings: Mapping[str, Any]) -> Baseline:
        """Compares a model's guesses with trivial ones on held-out rows, and reads the numbers of the training rows."""
        numbers = {}
        for name in model.heads:
            space = model.modalities[name].space
            if space.kind == "continuous" and not space.grid and name in training.columns:
                style = ColumnStyle(space.shape[0])
                for cell in training.column(name):
                    if not is_absent(cell):
                        style.add(cell)
                numbers[name] = style.numbers
        return cls(digest_of(model), _plain(settings), compare(model, training, held_out, **settings), numbers)

    def warn(self, columns: Sequence[str] | None) -> None:
        """Logs a warning of each of these fields, or of all, that is guessed worse than trivially."""
        for name, comparison in self.comparisons.items():
            if comparison.worse and (columns is None or name in columns):
                _log.warning("fill: %s", comparison.sentence(name))

    def save(self, file: Path) -> None:
        """Writes a JSON file, if that can be written."""
        with suppress(OSError):
            write_file(file, json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, file: Path, model: Model, settings: Mapping[str, Any]) -> Baseline | None:
        """What ``save`` wrote of this model with these settings; None if that is not there."""
        try:
            known = read_json(file)
            comparisons = {name: Comparison(**fields) for name, fields in known["comparisons"].items()}
            numbers = {name: NumberStyle(**fields) for name, fields in known["numbers"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        there = cls(known["weights"], known["settings"], comparisons, numbers)
        return there if (there.weights, there.settings) == (digest_of(model), _plain(settings)) else None


def recall(model: Model, filling: Mapping[str, Any], run: Path | None, data: Callable[[], Data]) -> Baseline | None:
    """What is known of a run, from its folder or measured now; None if its data are not at hand.

    Args:
        model: Model of the run.
        filling: Of which ``draws`` and ``options`` count.
        run: Its folder.
        data: Loads the data that it was trained on.
    """
    settings = {name: filling[name] for name in ("draws", "options") if filling.get(name) is not None}
    there = Baseline.load(run / FILE, model, settings) if run else None
    if there is None and model.recipe.data.source is not None:
        try:
            loaded = data()
        except (DataError, ConfigError) as error:
            _log.warning("fill: guesses are not compared with trivial ones: %s", error)
        else:
            there = Baseline.measure(model, loaded.train, loaded.validation, settings)
            if run:
                there.save(run / FILE)
    return there


def _numbers(modality: Modality, field: Field) -> np.ndarray:
    """Values as a user sees them, (n, size)."""
    return np.array([np.ravel(modality.cell(thing)) for thing in write(modality, field)], np.float64)


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON gives them back."""
    options = {name: dict(values) for name, values in (settings.get("options") or {}).items()}
    return json.loads(json.dumps({"draws": settings.get("draws", DRAWS), "options": options}))


def compare(
    model: Model,
    training: Rows,
    held_out: Rows,
    *,
    draws: int = DRAWS,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    seed: int = 0,
) -> dict[str, Comparison]:
    """Compares the best guess of each field, all others given, with the trivial answer.

    Args:
        model: Any.
        training: Rows that it learned from.
        held_out: Rows that it did not learn from.
        draws: That a guess is made of; 1 takes one draw of each vector.
        options: Options of the heads by field.
        seed: Seed of the cells that are chosen, and of the draws.

    Returns:
        By field, but for those of which there is no such answer (pictures, sound, long texts have none that is right)
        and those that no held-out row has beside another.
    """
    random, found = np.random.default_rng(seed), {}
    for name in model.heads:
        space = model.modalities[name].space
        if (space.kind == "continuous" and space.grid) or name not in training.columns:
            continue
        others = [held_out.columns[other].present for other in model.encoders if other != name]
        index = np.flatnonzero(held_out.columns[name].present & np.any(others, axis=0)) if others else np.array([])
        index = np.sort(random.permutation(index)[:CELLS])
        known = np.flatnonzero(training.columns[name].present)
        if not len(index) or not len(known):
            continue
        batch = held_out.decode(held_out.batch(index))
        visible = {other: batch[other].present for other in model.encoders if other != name}
        everywhere = {name: torch.ones(len(index), dtype=torch.bool)}
        made = guess_rows(model, batch, visible, everywhere, make_keys(seed, len(index)), options, draws)[name]
        if space.kind == "discrete":
            slots = training.columns[name].slots[known]
            top = known[np.flatnonzero(slots == np.bincount(slots).argmax())[0]]
            (most,) = write(
                model.modalities[name], training.only(name).decode(training.only(name).batch(np.array([top])))[name]
            )
            real, guessed = (write(model.modalities[name], field) for field in (batch[name], made))
            right, trivial = (
                np.mean([r == g for r, g in zip(real, to, strict=True)]) for to in (guessed, [most] * len(real))
            )
            found[name] = Comparison(len(index), float(right), float(trivial), error=False)
        else:
            rows, some = training.only(name), known[:: -(-len(known) // _PART)]
            seen = rows.decode(rows.batch(some))[name]
            learned, numbers, best = (_numbers(model.modalities[name], field) for field in (seen, batch[name], made))
            deviation = np.where(learned.std(0) > 0, learned.std(0), 1.0)
            error, trivial_error = (
                float(np.sqrt(np.square((numbers - guess) / deviation).mean())) for guess in (best, learned.mean(0))
            )
            found[name] = Comparison(len(index), error, trivial_error, error=True)
    return found
