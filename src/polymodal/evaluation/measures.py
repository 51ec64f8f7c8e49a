"""What is measured of each kind of field: outcomes per row, with their ceiling and chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from polymodal.data import Rows
from polymodal.errors import ConfigError
from polymodal.evaluation import recogniser
from polymodal.evaluation.judge import Judge, texts
from polymodal.evaluation.metrics import best_function_share, character_errors, exact_match, most_frequent_share
from polymodal.generation import write
from polymodal.modalities import Audio, Label, Text
from polymodal.modalities.audio import Waveform
from polymodal.types import Batch, Field


@dataclass(frozen=True)
class Outcome:
    """One metric of some rows of a direction.

    Attributes:
        metric: Its name.
        rows: (n,) places, among the direction's rows, that could be measured.
        values: (n,) numerators.
        weights: (n,) denominators; 1 each if None.
        ceiling: See ``Score``.
        chance: See ``Score``.
        remarks: By row, what a judge made of it.
        is_right: The values are 1 for right and 0 for wrong.
        higher_is_better: Whether it is.
    """

    metric: str
    rows: np.ndarray
    values: np.ndarray
    weights: np.ndarray | None = None
    ceiling: float | None = None
    chance: float | None = None
    remarks: dict[int, str] = field(default_factory=dict)
    is_right: bool = True
    higher_is_better: bool = True


class Examiner:
    """Measures generated values against the rows that they were made for.

    Args:
        rows: All rows that are scored on.
        judge: Names pictures and speech, if there is one.

    Attributes:
        notes: What could not be measured, and why.
    """

    def __init__(self, rows: Rows, judge: Judge | None):
        self.rows, self.judge, self.notes = rows, judge, list[str]()
        self.naming = judge.naming if judge and judge.naming in rows.fields else None
        self.names: list[str] = []
        if judge and self.naming:
            self.names = sorted({*judge.names, *texts(rows, self.naming)})
            self.name_vectors = judge.embed_names(self.names)
        self.recogniser: recogniser.Recogniser | None = None
        self._heard: dict[tuple[str, int], str | None] = {}  # by field and slot: what real speech is heard as
        hears = any(isinstance(modality, Audio) for modality in rows.fields.values())
        if hears and self.naming and isinstance(rows.fields[self.naming], Text):
            self._start_recogniser()

    def _start_recogniser(self) -> None:
        if not recogniser.available():
            self.notes.append("Speech is not scored by pocketsphinx: the package is not installed.")
            return
        if not any(map(recogniser.words_of, self.names)):
            return
        try:
            self.recogniser = recogniser.Recogniser(self.names)
        except ConfigError as error:  # names of another language are no mistake; speech is then for the judge alone
            self.notes.append(f"pocketsphinx does not score speech: {error}")
            return
        if left_out := self.recogniser.left_out:
            few = ", ".join(left_out[:5]) + (", ..." if len(left_out) > 5 else "")
            self.notes.append(
                f"pocketsphinx scores speech on {len(self.recogniser.sayable)} of {len(self.names)} names; "
                f"{len(left_out)} have a word that its dictionary lacks: {few}."
            )

    def measure(self, own: Rows, given: Sequence[str], to: str, batch: Batch, made: Field) -> list[Outcome]:
        """Every metric of a direction.

        Args:
            own: The rows of the direction.
            given: Fields that were given.
            to: Field that was generated.
            batch: Real values of these fields in model form.
            made: Generated values.
        """
        modality = own.fields[to]
        if isinstance(modality, Text | Label):
            return self._text(own, given, to, batch, made)
        if not modality.space.grid:
            return [self._vector(batch[to], made)]
        if self.judge is None or to not in self.judge.modalities:
            self.notes.append(f"{to}: not scored, there is no judge of it.")
            return []
        if self.naming is None:
            return self._retrieved(given, to, batch, made)
        return self._named(own, given, to, batch, made)

    def _text(self, own: Rows, given: Sequence[str], to: str, batch: Batch, made: Field) -> list[Outcome]:
        modality, every = own.fields[to], np.arange(len(own))
        references, outputs = write(modality, batch[to]), write(modality, made)
        label, slots = isinstance(modality, Label), self.rows.columns[to].slots
        exact = Outcome(
            "accuracy" if label else "exact match",
            every,
            exact_match(references, outputs),
            ceiling=self._best(own, given, to),
            chance=most_frequent_share(slots[slots >= 0]),
        )
        if label:
            return [exact]
        errors, lengths = character_errors(references, outputs)
        others, other_lengths = character_errors(references, references[1:] + references[:1])
        chance = float(others.sum() / max(other_lengths.sum(), 1))
        rate = Outcome(
            "character error rate",
            every,
            errors,
            lengths,
            ceiling=0.0 if exact.ceiling == 1 else None,
            chance=chance,
            is_right=False,
            higher_is_better=False,
        )
        return [exact, rate]

    def _vector(self, real: Field, made: Field) -> Outcome:
        """Mean square of the error, in units of the field's variance."""
        errors = (made.value - real.value).square().mean(1).double().numpy()
        chance = float((real.value - real.value.mean(0)).square().mean())
        every = np.arange(len(errors))
        return Outcome("squared error", every, errors, None, 0.0, chance, is_right=False, higher_is_better=False)

    def _named(self, own: Rows, given: Sequence[str], to: str, batch: Batch, made: Field) -> list[Outcome]:
        """Whether a judge finds the row's name in what was generated."""
        assert self.judge is not None
        assert self.naming is not None
        rows = np.flatnonzero(own.present[self.naming])
        if not len(rows):
            self.notes.append(f"{' + '.join(given)} → {to}: not scored, its rows have no {self.naming}.")
            return []
        truth = texts(own, self.naming)
        best, index = self._best(own, given, self.naming), torch.from_numpy(rows)
        found = [self.names[i] for i in self._nearest(to, made.rows(index))]
        real = [self.names[i] for i in self._nearest(to, batch[to].rows(index))]
        judged = Outcome(
            "judge's top-1",
            rows,
            exact_match(truth, found),
            ceiling=min(best, float(exact_match(truth, real).mean())),
            chance=1 / len(self.names),
            remarks={int(row): f"judge: {name}" for row, name in zip(rows, found, strict=True)},
        )
        if self.recogniser is None or not isinstance(own.fields[to], Audio):
            return [judged]
        sayable = self.recogniser.sayable
        kept = [i for i, name in enumerate(truth) if name in sayable]
        if not kept:
            return [judged]
        said, rows = [sayable[truth[i]] for i in kept], rows[kept]
        heard = [text or "" for text in self.recogniser.recognise(self._sound(to, made, rows))]
        heard_real = [text or "" for text in self._hear_real(own, to, batch[to], rows)]
        recognised = Outcome(
            "pocketsphinx's top-1",
            rows,
            exact_match(said, heard),
            ceiling=min(best, float(exact_match(said, heard_real).mean())),
            chance=1 / len(set(sayable.values())),
            remarks={int(r): f"pocketsphinx: {text or 'nothing'}" for r, text in zip(rows, heard, strict=True)},
        )
        return [judged, recognised]

    def _nearest(self, name: str, values: Field) -> list[int]:
        assert self.judge is not None
        return (self.judge.embed(name, values) @ self.name_vectors.T).argmax(1).tolist()

    def _sound(self, name: str, values: Field, rows: np.ndarray) -> list[Waveform]:
        return write(self.rows.fields[name], values.rows(torch.from_numpy(rows)))

    def _hear_real(self, own: Rows, name: str, values: Field, rows: np.ndarray) -> list[str | None]:
        """What real speech is heard as, after the same way through the spectrogram that generated speech takes."""
        assert self.recogniser is not None
        slots = own.columns[name].slots
        new = np.array([row for row in rows if (name, int(slots[row])) not in self._heard], dtype=np.int64)
        if len(new):
            heard = self.recogniser.recognise(self._sound(name, values, new))
            self._heard |= {(name, int(slots[row])): text for row, text in zip(new, heard, strict=True)}
        return [self._heard[name, int(slots[row])] for row in rows]

    def _retrieved(self, given: Sequence[str], to: str, batch: Batch, made: Field) -> list[Outcome]:
        """Without names: whether what was generated finds its own row among the others."""
        assert self.judge is not None
        sources = [name for name in given if name in self.judge.modalities]
        if not sources:
            self.notes.append(f"{' + '.join(given)} → {to}: not scored, the judge knows none of its inputs.")
            return []
        rows = np.arange(len(made))
        keys = torch.stack([self.judge.embed(name, batch[name]) for name in sources]).mean(0)

        def right(values: Field) -> np.ndarray:
            assert self.judge is not None
            return ((self.judge.embed(to, values) @ keys.T).argmax(1).numpy() == rows).astype(float)

        real = float(right(batch[to]).mean())
        return [Outcome("judge's retrieval", rows, right(made), None, real, 1 / len(rows))]

    def _best(self, own: Rows, given: Sequence[str], to: str) -> float:
        """How often the best function of the given fields could be right."""
        rows = self.rows
        there = np.logical_and.reduce([rows.present[name] for name in (*given, to)])
        slots = np.stack([rows.columns[name].slots[there] for name in given], axis=1)
        mine = np.stack([own.columns[name].slots for name in given], axis=1)[own.present[to]]
        _, ids = np.unique(np.concatenate([slots, mine]), axis=0, return_inverse=True)
        ids = ids.reshape(-1)
        return best_function_share(ids[: len(slots)], rows.columns[to].slots[there], ids[len(slots) :])
