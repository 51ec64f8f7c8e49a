"""The examiner: whether generated values agree with the rows that they were made for, and by which metrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from polymodal.data import Rows
from polymodal.evaluation.judges import recogniser
from polymodal.evaluation.judges.embedder import Embedder, names_of
from polymodal.evaluation.kinds import find_kind
from polymodal.evaluation.metrics import best_function_share, exact_match, most_frequent_share, ranks, recall_at_k
from polymodal.evaluation.metrics.result import MetricResult
from polymodal.generation import write
from polymodal.types import Batch, Field


def direction_name(inputs: Sequence[str], output: str) -> str:
    """
    >>> direction_name(["name", "style"], "picture")
    'name + style → picture'
    """
    return f"{' + '.join(inputs)} → {output}"


class Examiner:
    """Compares generated values with the rows that they were made for.

    Args:
        rows: All rows that are evaluated.
        judge: Names pictures, sound and others of which nothing else can say whether they are right.
        languages: By field, the language that a recipe states.

    Attributes:
        kinds: What evaluation adds to the modality of each field.
        naming: The field of the names that the judge chooses among; None if there are none.
        names: These names, of the judge's training rows and of ``rows``.
        notes: What could not be measured, and why.
        tell: Called with how far a part that takes long is.
    """

    def __init__(self, rows: Rows, judge: Embedder | None, languages: Mapping[str, str | None] | None = None):
        self.rows, self.judge, self.notes, self.languages = rows, judge, list[str](), languages or {}
        self.tell: Callable[[str], None] = lambda text: None
        self.kinds = {name: find_kind(modality) for name, modality in rows.fields.items()}
        self.naming, self.names = None, list[str]()
        if judge and judge.naming in rows.fields:
            self.names = sorted({*judge.names, *names_of(rows, judge.naming)})
            self.naming = judge.naming if self.names else None
        self._heard: dict[tuple[str, int], str | None] = {}  # by field and slot: what real speech is heard as
        self._distinct: dict[str, tuple[np.ndarray, Tensor]] = {}

    def knows(self, name: str) -> bool:
        """Whether the judge can embed a field."""
        return self.judge is not None and name in self.judge.modalities

    @cached_property
    def recogniser(self) -> recogniser.Recogniser | None:
        """Listens for the names, where there are speech, names and the package; notes what it cannot hear."""
        spoken = [name for name, kind in self.kinds.items() if kind.speech]
        if not spoken or self.naming is None or not self.kinds[self.naming].sayable:
            return None
        language = next((self.languages[name] for name in (*spoken, self.naming) if self.languages.get(name)), None)
        listener, note = recogniser.choose_recogniser(self.names, language)
        if note:
            self.notes.append(note)
        return listener

    def measure(self, rows: Rows, given: Sequence[str], to: str, batch: Batch, made: Field) -> list[MetricResult]:
        """Every metric of the agreement of generated values with their inputs.

        Args:
            rows: The n rows of the direction.
            given: Fields that were given.
            to: Field that was generated.
            batch: Real values of these fields in model form.
            made: Generated values, one for each row.
        """
        kind = self.kinds[to]
        if not kind.judged:
            chance = most_frequent_share(rows.columns[to].slots)
            return kind.compare(batch[to], made, ceiling=self._best_share(rows, given, to), chance=chance)
        own = kind.against(batch[to], made)
        if not self.knows(to):
            self.notes.append(f"{to}: not scored, there is no judge of it.")
            return own
        return [*own, *self._named(rows, given, to, batch[to], made), *self._retrieved(rows, given, to, batch, made)]

    def right(self, name: str, rows: Rows, real: Field, made: Field) -> np.ndarray:
        """(n,) 1 where a generated value is right, else 0, and NaN where that cannot be said.

        What only a judge can tell is right if the judge finds the row's name in it or, without names, if the row's own
        value is the nearest of all real values.

        Args:
            name: Name of the field.
            rows: The n rows.
            real: Their values of the field.
            made: What was generated for them.
        """
        if not len(rows):
            return np.empty(0)
        if not self.kinds[name].judged:
            return self.kinds[name].right(real, made)
        assert self.judge is not None, "what no judge knows has no scores"
        result = np.full(len(rows), np.nan)
        if self.naming is None:
            if name not in self._distinct:
                values = self.rows.unique(name).only(name)
                vectors = self.judge.embed(name, values.decode(values.batch(np.arange(len(values))))[name])
                self._distinct[name] = values.columns[name].slots, vectors
            slots, vectors = self._distinct[name]
            nearest = (self.judge.embed(name, made) @ vectors.T).argmax(1).numpy()
            return (slots[nearest] == rows.columns[name].slots).astype(float)
        named = np.flatnonzero(rows.present[self.naming])
        if len(named):
            found = self._names_in(name, made.pick(torch.from_numpy(named)))
            result[named] = exact_match(names_of(rows, self.naming), found)
        return result

    def embed_inputs(self, given: Sequence[str], batch: Batch) -> Tensor | None:
        """(n, D) the mean of the inputs that the judge knows, in its space; None if it knows none."""
        if self.judge is None or not (known := [name for name in given if self.knows(name)]):
            return None
        return torch.stack([self.judge.embed(name, batch[name]) for name in known]).mean(0)

    def features(self, name: str, field: Field) -> Tensor | None:
        """(n, F) numbers in which sets of values are compared: the judge's or their own; None if there are none."""
        if self.judge is not None and self.knows(name):
            return self.judge.embed(name, field)
        return self.kinds[name].features(field)

    def _named(self, rows: Rows, given: Sequence[str], to: str, real: Field, made: Field) -> list[MetricResult]:
        """Whether a judge, and a speech recogniser, find the row's name in what was generated."""
        if self.naming is None:
            return []
        named = np.flatnonzero(rows.present[self.naming])
        if not len(named):
            self.notes.append(f"{direction_name(given, to)}: not scored, its rows have no {self.naming}.")
            return []
        truth, best, index = (
            names_of(rows, self.naming),
            self._best_share(rows, given, self.naming),
            torch.tensor(named),
        )
        found = self._names_in(to, made.pick(index))
        of_real = float(exact_match(truth, self._names_in(to, real.pick(index))).mean())
        results = [
            MetricResult(
                "judge's top-1", exact_match(truth, found), rows=named, ceiling=min(best, of_real),
                chance=most_frequent_share(np.array(truth)), is_right=True,
                remarks={int(row): f"judge: {name}" for row, name in zip(named, found, strict=True)},
            )
        ]  # fmt: skip
        if self.recogniser is None or not self.kinds[to].speech:
            return results
        words = self.recogniser.sayable
        kept = [i for i, name in enumerate(truth) if name in words]
        if not kept:
            return results
        spoken, named = [words[truth[i]] for i in kept], named[kept]
        heard = [
            text or ""
            for text in self.recogniser.recognise(write(rows.fields[to], made.pick(torch.tensor(named))), self.tell)
        ]
        of_real = float(exact_match(spoken, self._hear_real(rows, to, real, named)).mean())
        return [
            *results,
            MetricResult(
                "pocketsphinx's top-1", exact_match(spoken, heard), rows=named, ceiling=min(best, of_real),
                chance=most_frequent_share(np.array(spoken)), is_right=True,
                remarks={int(r): f"pocketsphinx: {text or 'nothing'}" for r, text in zip(named, heard, strict=True)},
            ),
        ]  # fmt: skip

    def _names_in(self, name: str, values: Field) -> list[str]:
        """The name that the judge finds in each value."""
        assert self.judge is not None
        return [self.names[i] for i in (self.judge.embed(name, values) @ self._name_vectors.T).argmax(1).tolist()]

    @cached_property
    def _name_vectors(self) -> Tensor:
        assert self.judge is not None
        return self.judge.embed_names(self.names)

    def _hear_real(self, rows: Rows, name: str, values: Field, places: np.ndarray) -> list[str]:
        """What real speech is heard as, after the same way through the spectrogram that generated speech takes."""
        assert self.recogniser is not None
        slots = [(name, int(rows.columns[name].slots[place])) for place in places]
        new = [i for i, slot in enumerate(slots) if slot not in self._heard]
        if new:
            sound = write(rows.fields[name], values.pick(torch.tensor(places[new])))
            self._heard |= zip([slots[i] for i in new], self.recogniser.recognise(sound, self.tell), strict=True)
        return [self._heard[slot] or "" for slot in slots]

    def _retrieved(self, rows: Rows, given: Sequence[str], to: str, batch: Batch, made: Field) -> list[MetricResult]:
        """Whether what was generated finds its own row's inputs among the distinct ones, in the judge's space."""
        assert self.judge is not None
        inputs = self.embed_inputs(given, batch)
        if inputs is None:
            if self.naming is None:
                self.notes.append(f"{direction_name(given, to)}: not scored, the judge knows none of its inputs.")
            return []
        slots = np.stack([rows.columns[name].slots for name in given if self.knows(name)], axis=1)
        _, first, own = np.unique(slots, axis=0, return_index=True, return_inverse=True)
        count, right = len(first), torch.from_numpy(own.reshape(-1))
        similar, real = (self.judge.embed(to, values) @ inputs[first].T for values in (made, batch[to]))
        results = [
            MetricResult(
                f"judge's recall@{k}", recall_at_k(similar, k, right).numpy(),
                ceiling=float(recall_at_k(real, k, right).mean()), chance=k / count, is_right=True,
            )
            for k in (1, 5)
            if k < count
        ]  # fmt: skip
        if count > 1:
            ours, theirs = (ranks(x, right).double().numpy() for x in (similar, real))
            rank = MetricResult.of_set(
                "judge's median rank", lambda index: float(np.median(ours[index])), len(ours), bounds=(1, math.inf),
                resampling="bootstrap",
                ceiling=float(np.median(theirs)), chance=(count + 1) / 2, higher_is_better=False,
            )  # fmt: skip
            results.append(rank)
        return results

    def _best_share(self, rows: Rows, given: Sequence[str], to: str) -> float:
        """How often the best function of the given fields could give the rows' own value of a field."""
        complete = np.logical_and.reduce([self.rows.present[name] for name in (*given, to)])
        slots = np.stack([self.rows.columns[name].slots[complete] for name in given], axis=1)
        scored = np.stack([rows.columns[name].slots for name in given], axis=1)[rows.present[to]]
        _, ids = np.unique(np.concatenate([slots, scored]), axis=0, return_inverse=True)
        ids = ids.reshape(-1)
        return best_function_share(ids[: len(slots)], self.rows.columns[to].slots[complete], ids[len(slots) :])
