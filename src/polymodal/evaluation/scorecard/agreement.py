"""What is measured of each kind of field: whether it agrees with the inputs, per row, with ceiling and chance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

from polymodal.data import Rows
from polymodal.errors import ConfigError
from polymodal.evaluation.judges import recogniser
from polymodal.evaluation.judges.embedder import Embedder, texts
from polymodal.evaluation.metrics import (
    best_function_share,
    bleu,
    character_errors,
    chrf,
    exact_match,
    median_rank,
    most_frequent_share,
    set_interval,
    word_errors,
)
from polymodal.evaluation.metrics.retrieval import recall_at_k
from polymodal.generation import write
from polymodal.modalities import Audio, Label, Text
from polymodal.modalities.audio import Waveform
from polymodal.types import Batch, Field

Aspect = Literal["coherence", "quality", "diversity", "likelihood", "memorisation", "reconstruction"]
"""What a metric tells of: agreement with the inputs, likeness to real data, variety, probability given to the real
value, likeness to single training rows, or what a codec keeps."""
LONG = 3
"""Mean words from which texts are compared by runs of words."""


def direction_name(inputs: Sequence[str], output: str) -> str:
    """
    >>> direction_name(["name", "style"], "picture")
    'name + style → picture'
    """
    return f"{' + '.join(inputs)} → {output}"


@dataclass(frozen=True)
class MetricResult:
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
        higher_is_better: Whether it is; None where it is best to be as real values are.
        aspect: What it tells of.
        whole: Value, low and high end of its 95 % interval, of a metric of the whole set, which has no values of rows.
    """

    metric: str
    rows: np.ndarray
    values: np.ndarray
    weights: np.ndarray | None = None
    ceiling: float | None = None
    chance: float | None = None
    remarks: dict[int, str] = field(default_factory=dict)
    is_right: bool = True
    higher_is_better: bool | None = True
    aspect: Aspect = "coherence"
    whole: tuple[float, float, float] | None = None


def of_the_set(
    metric: str,
    statistic: Callable[[np.ndarray], float],
    rows: int,
    *,
    ceiling: float | None = None,
    chance: float | None = None,
    higher_is_better: bool | None = True,
    aspect: Aspect = "coherence",
    least: float = -math.inf,
    most: float = math.inf,
    draws: int = 40,
    seed: int = 0,
) -> MetricResult:
    """An outcome without values of rows.

    Args:
        metric: Its name.
        statistic: Of the rows at places (n,), which may repeat.
        rows: Their number.
        ceiling: See ``Score``.
        chance: See ``Score``.
        higher_is_better: As of ``MetricResult``.
        aspect: What it tells of.
        least: That it can be.
        most: That it can be.
        draws: Of the interval.
        seed: Of the interval.
    """
    value = statistic(np.arange(rows))
    low, high = set_interval(statistic, value, rows, seed=seed, draws=draws)
    whole = (value, min(max(low, least), value), max(min(high, most), value))
    empty = np.zeros(0)
    return MetricResult(
        metric, np.arange(rows), empty, empty, ceiling, chance, {}, False, higher_is_better, aspect, whole
    )


class Examiner:
    """Measures generated values against the rows that they were made for.

    Args:
        rows: All rows that are scored on.
        judge: Names pictures and speech, if there is one.

    Attributes:
        notes: What could not be measured, and why.
    """

    def __init__(self, rows: Rows, judge: Embedder | None):
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

    def measure(self, own: Rows, given: Sequence[str], to: str, batch: Batch, made: Field) -> list[MetricResult]:
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
        return [*self._named(own, given, to, batch, made), *self._retrieved(given, to, batch, made, noted=False)]

    def _text(self, own: Rows, given: Sequence[str], to: str, batch: Batch, made: Field) -> list[MetricResult]:
        modality, every = own.fields[to], np.arange(len(own))
        references, outputs = write(modality, batch[to]), write(modality, made)
        label, slots = isinstance(modality, Label), self.rows.columns[to].slots
        exact = MetricResult(
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
        rate = MetricResult(
            "character error rate",
            every,
            errors,
            lengths,
            ceiling=0.0 if exact.ceiling == 1 else None,
            chance=chance,
            is_right=False,
            higher_is_better=False,
        )
        return [exact, rate, *self._long_text(references, outputs, exact.ceiling)]

    def _long_text(self, references: list[str], outputs: list[str], ceiling: float | None) -> list[MetricResult]:
        """What compares texts of several words."""
        n = len(references)
        others = references[1:] + references[:1]
        errors, lengths = word_errors(references, outputs)
        if not lengths.sum() or lengths.mean() < LONG:
            return []
        chance = float(word_errors(references, others)[0].sum() / lengths.sum())
        words = MetricResult(
            "word error rate",
            np.arange(n),
            errors,
            lengths,
            ceiling=0.0 if ceiling == 1 else None,
            chance=chance,
            is_right=False,
            higher_is_better=False,
        )
        best = 1.0 if ceiling == 1 else None
        found = [words]
        for name, metric in (("BLEU", bleu), ("chrF", chrf)):

            def statistic(rows: np.ndarray, metric: Callable[..., float] = metric) -> float:
                return metric([references[i] for i in rows], [outputs[i] for i in rows])

            found.append(
                of_the_set(name, statistic, n, ceiling=best, chance=metric(references, others), least=0.0, most=1.0)
            )
        return found

    def _vector(self, real: Field, made: Field) -> MetricResult:
        """Mean square of the error, in units of the field's variance."""
        errors = (made.value - real.value).square().mean(1).double().numpy()
        chance = float((real.value - real.value.mean(0)).square().mean())
        every = np.arange(len(errors))
        return MetricResult("squared error", every, errors, None, 0.0, chance, is_right=False, higher_is_better=False)

    def _named(self, own: Rows, given: Sequence[str], to: str, batch: Batch, made: Field) -> list[MetricResult]:
        """Whether a judge finds the row's name in what was generated."""
        assert self.judge is not None
        assert self.naming is not None
        rows = np.flatnonzero(own.present[self.naming])
        if not len(rows):
            self.notes.append(f"{direction_name(given, to)}: not scored, its rows have no {self.naming}.")
            return []
        truth = texts(own, self.naming)
        best, index = self._best(own, given, self.naming), torch.from_numpy(rows)
        found = [self.names[i] for i in self._nearest(to, made.pick(index))]
        real = [self.names[i] for i in self._nearest(to, batch[to].pick(index))]
        judged = MetricResult(
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
        recognised = MetricResult(
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
        return write(self.rows.fields[name], values.pick(torch.from_numpy(rows)))

    def _hear_real(self, own: Rows, name: str, values: Field, rows: np.ndarray) -> list[str | None]:
        """What real speech is heard as, after the same way through the spectrogram that generated speech takes."""
        assert self.recogniser is not None
        slots = own.columns[name].slots
        new = np.array([row for row in rows if (name, int(slots[row])) not in self._heard], dtype=np.int64)
        if len(new):
            heard = self.recogniser.recognise(self._sound(name, values, new))
            self._heard |= {(name, int(slots[row])): text for row, text in zip(new, heard, strict=True)}
        return [self._heard[name, int(slots[row])] for row in rows]

    def _retrieved(
        self, given: Sequence[str], to: str, batch: Batch, made: Field, *, noted: bool = True
    ) -> list[MetricResult]:
        """Whether what was generated finds its own row's inputs among those of the other rows."""
        assert self.judge is not None
        keys = self.keys(given, batch)
        if keys is None:
            if noted:
                self.notes.append(f"{direction_name(given, to)}: not scored, the judge knows none of its inputs.")
            return []
        n = len(made)
        rows, similar, real = np.arange(n), *(self.judge.embed(to, values) @ keys.T for values in (made, batch[to]))
        found = [
            MetricResult(f"judge's recall@{k}", rows, recall_at_k(similar, k).numpy(), None, ceiling, min(k, n) / n)
            for k in (1, 5)
            if k < n
            for ceiling in (float(recall_at_k(real, k).mean()),)
        ]
        if n > 1:
            rank = of_the_set(
                "judge's median rank",
                lambda index: median_rank(similar, torch.from_numpy(index)),
                n,
                ceiling=median_rank(real),
                chance=(n + 1) / 2,
                least=1.0,
                higher_is_better=False,
            )
            found.append(rank)
        return found

    def keys(self, given: Sequence[str], batch: Batch) -> torch.Tensor | None:
        """Inputs in the judge's space (n, D), the mean of those that it knows; None if it knows none."""
        known = [name for name in given if self.judge and name in self.judge.modalities]
        assert self.judge is not None or not known
        return torch.stack([self.judge.embed(name, batch[name]) for name in known]).mean(0) if known else None  # type: ignore[union-attr]

    def features(self, name: str, field: Field) -> torch.Tensor | None:
        """Values in which sets of them are compared (n, F): the judge's, or a vector's own; None if there are none."""
        if self.judge and name in self.judge.modalities:
            return self.judge.embed(name, field)
        return field.value if field.value.is_floating_point() and field.value.dim() == 2 else None

    def _best(self, own: Rows, given: Sequence[str], to: str) -> float:
        """How often the best function of the given fields could be right."""
        rows = self.rows
        there = np.logical_and.reduce([rows.present[name] for name in (*given, to)])
        slots = np.stack([rows.columns[name].slots[there] for name in given], axis=1)
        mine = np.stack([own.columns[name].slots for name in given], axis=1)[own.present[to]]
        _, ids = np.unique(np.concatenate([slots, mine]), axis=0, return_inverse=True)
        ids = ids.reshape(-1)
        return best_function_share(ids[: len(slots)], rows.columns[to].slots[there], ids[len(slots) :])
