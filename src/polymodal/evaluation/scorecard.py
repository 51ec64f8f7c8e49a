"""The scorecard: how good a model is in each direction, beside what real values score and what chance gives."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table

from polymodal.data import Rows
from polymodal.errors import ConfigError, DataError, unknown
from polymodal.evaluation.judge import Judge
from polymodal.evaluation.measures import Examiner, Outcome
from polymodal.evaluation.metrics import bootstrap_interval
from polymodal.generation import check_fields, generate_rows, write
from polymodal.model import Model
from polymodal.nn.random import make_keys
from polymodal.types import Batch, Field

Direction = tuple[Sequence[str], str]
"""Fields that are given, and the one that is generated."""


@dataclass(frozen=True)
class Score:
    """One metric in one direction.

    Attributes:
        inputs: Fields that were given.
        output: Field that was generated.
        metric: Its name; a judge's name is part of it.
        value: Over the rows.
        low: Lower end of its 95 % bootstrap interval.
        high: Upper end.
        ceiling: What the real values score or, if that is less, what the best function of the inputs could.
        chance: What a model scores that does not look at its input.
        rows: That were scored.
        higher_is_better: Whether it is.
        seconds: That the direction took, generation included. The only part that differs from run to run.
    """

    inputs: tuple[str, ...]
    output: str
    metric: str
    value: float
    low: float
    high: float
    ceiling: float | None
    chance: float | None
    rows: int
    higher_is_better: bool
    seconds: float = field(compare=False)

    @property
    def direction(self) -> str:
        return direction_name(self.inputs, self.output)


@dataclass(frozen=True)
class Sample:
    """One generated value, to look at.

    Attributes:
        given: The inputs as objects, by field.
        made: What was generated.
        truth: The row's real value.
        right: Whether the direction's first metric calls it right; None if that is no matter of right and wrong.
        remark: What the judges made of it.
    """

    given: dict[str, Any]
    made: Any
    truth: Any
    right: bool | None
    remark: str = ""


@dataclass(frozen=True)
class Scorecard:
    """Scores and samples of one model on one set of rows.

    Attributes:
        title: Of the rows, such as ``test``.
        scores: In the order of the directions.
        samples: By direction, failures first.
        facts: What they depend on: data, seed, judges, options, recipe.
        notes: What a reader should know: rows or names that were left out, and why.
    """

    title: str
    scores: list[Score]
    samples: dict[str, list[Sample]]
    facts: dict[str, Any]
    notes: list[str]

    def score(self, inputs: str | Sequence[str], output: str, metric: str | None = None) -> Score:
        """The score of a direction: its first metric, or the one whose name starts with ``metric``.

        Raises:
            ConfigError: It was not scored.
        """
        name = direction_name([inputs] if isinstance(inputs, str) else inputs, output)
        for score in self.scores:
            if score.direction == name and score.metric.startswith(metric or ""):
                return score
        known = {score.direction for score in self.scores}
        raise ConfigError(unknown("scorecard", f"{name}{f' ({metric})' if metric else ''}", known))

    def to_json(self, path: str | Path | None = None) -> str:
        """Scores, facts and notes as JSON, without the seconds: the same run gives the same text."""
        scores = [{name: value for name, value in asdict(score).items() if name != "seconds"} for score in self.scores]
        document = {"title": self.title, "scores": scores, "notes": self.notes, "facts": self.facts}
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def table(self) -> Table:
        """For the terminal."""
        table = Table(title=self.title, title_justify="left", box=None, pad_edge=False)
        for name in ("direction", "metric"):
            table.add_column(name, overflow="fold")
        for name in ("score", "95 % interval", "real", "chance", "rows", "s"):
            table.add_column(name, justify="right", no_wrap=True)
        for score in self.scores:
            interval = f"{number(score.low)}–{number(score.high)}"
            values = (number(score.value), interval, number(score.ceiling), number(score.chance))
            table.add_row(score.direction, score.metric, *values, str(score.rows), f"{score.seconds:.0f}")
        return table


def number(value: float | None) -> str:
    """A score as text.

    >>> number(0.8412), number(None)
    ('0.841', '–')
    """
    return "–" if value is None else f"{value:.3f}"


def direction_name(inputs: Sequence[str], output: str) -> str:
    """
    >>> direction_name(["name", "style"], "picture")
    'name + style → picture'
    """
    return f"{' + '.join(inputs)} → {output}"


def single_directions(model: Model) -> list[Direction]:
    """Every field alone -> every other."""
    return [((source,), target) for source in model.encoders for target in model.heads if source != target]


def evaluate(
    model: Model,
    rows: Rows,
    *,
    judge: Judge | None = None,
    training: Rows | None = None,
    directions: Sequence[Direction] | None = None,
    n_rows: int = 200,
    seed: int = 0,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    samples: int = 12,
    title: str = "test",
    progress: Callable[[int, int, str], None] | None = None,
) -> Scorecard:
    """Scores a model on rows, one direction after the other.

    Text is compared with the row's own, greedily decoded. What pictures and speech show or say is named by a judge
    that was trained on real rows, among all names in the data; speech also by ``pocketsphinx``, if it is installed.
    Each distinct input is used once.

    Args:
        model: Any.
        rows: To score on, with the model's fields.
        judge: Names pictures and speech; without one, only text, labels and vectors are scored.
        training: Rows that the judge learned from; if given, its score on values that are not among them is reported.
        directions: Inputs and output of each; every field alone to every other if not given.
        n_rows: Most rows of a direction.
        seed: Of the choice of rows, of the samples and of the intervals.
        options: Of the heads, by field.
        samples: Most samples of a direction that are kept to be looked at.
        title: Of the rows.
        progress: Called before each direction with its number from 0, their count and its name.

    Raises:
        ConfigError: A direction, an option or a field is wrong.
        DataError: No direction has a row.
    """
    chosen = single_directions(model) if directions is None else [(tuple(given), to) for given, to in directions]
    options = _greedy(model) | {name: dict(given) for name, given in (options or {}).items()}
    for given, to in chosen:
        check_fields(model, dict.fromkeys(given), [to], {to: options.get(to, {})})
        for name in (*given, to):
            if name not in rows.fields:
                raise ConfigError(f"{direction_name(given, to)}: the data has no field '{name}'")
    rows = rows.written_by(model.modalities)
    examiner = Examiner(rows, judge)
    scores: list[Score] = []
    shown: dict[str, list[Sample]] = {}
    for place, (given, to) in enumerate(chosen):
        name = direction_name(given, to)
        if progress:
            progress(place, len(chosen), name)
        start = time.perf_counter()
        index = _choose(rows, [*given, to], given, n_rows, seed)
        if not len(index):
            examiner.notes.append(f"{name}: not scored, no row has all of its fields.")
            continue
        own = rows.select(index)
        batch = own.decode(own.only(*dict.fromkeys([*given, to])).batch(np.arange(len(own))))
        made = _generate(model, batch, given, to, seed, options)
        outcomes = examiner.measure(own, given, to, batch, made)
        seconds = time.perf_counter() - start
        scores += [_score(outcome, given, to, seed, seconds) for outcome in outcomes]
        if outcomes:
            shown[name] = _samples(rows, batch, made, given, to, outcomes, samples)
    if not scores:
        raise DataError(f"evaluate: nothing could be scored on these rows; {' '.join(examiner.notes)}".strip())
    facts = {
        "rows": len(rows),
        "rows_of_a_direction": n_rows,
        "data": rows.fingerprint,
        "seed": seed,
        "options": {name: given for name, given in options.items() if given},
        "judge": judge and judge.facts(rows, training),
        "recipe": model.recipe.model_dump(mode="json", exclude_defaults=True),
    }
    return Scorecard(title, scores, shown, facts, list(dict.fromkeys(examiner.notes)))


def _greedy(model: Model) -> dict[str, dict[str, Any]]:
    """Heads that have a temperature decode without chance."""
    return {
        name: {"temperature": 0.0} if "temperature" in signature(head.sample).parameters else {}
        for name, head in model.heads.items()
    }


def _choose(rows: Rows, needed: Sequence[str], given: Sequence[str], most: int, seed: int) -> np.ndarray:
    """Row numbers, in order: at most ``most`` rows with every needed field, each with another input."""
    order = np.random.default_rng(seed).permutation(len(rows))
    there = np.logical_and.reduce([rows.present[name] for name in needed])
    order = order[there[order]]
    slots = np.stack([rows.columns[name].slots[order] for name in given], axis=1)
    _, first = np.unique(slots, axis=0, return_index=True)
    return np.sort(order[np.sort(first)[:most]])


def _generate(
    model: Model, batch: Batch, given: Sequence[str], to: str, seed: int, options: Mapping[str, Mapping[str, Any]]
) -> Field:
    rows = len(batch[to])
    everywhere = torch.ones(rows, dtype=torch.bool)
    inputs = {name: batch[name] for name in given}
    wanted = {to: everywhere}
    made = generate_rows(
        model, inputs, dict.fromkeys(given, everywhere), wanted, make_keys(seed, rows), {to: options.get(to, {})}
    )
    return made[to]


def _score(outcome: Outcome, given: Sequence[str], to: str, seed: int, seconds: float) -> Score:
    weights = np.ones(len(outcome.values)) if outcome.weights is None else outcome.weights
    low, high = bootstrap_interval(outcome.values, weights, seed=seed)
    return Score(
        tuple(given),
        to,
        outcome.metric,
        float(outcome.values.sum() / max(weights.sum(), 1e-12)),
        low,
        high,
        outcome.ceiling,
        outcome.chance,
        len(outcome.values),
        outcome.higher_is_better,
        seconds,
    )


def _samples(
    rows: Rows,
    batch: Batch,
    made: Field,
    given: Sequence[str],
    to: str,
    outcomes: Sequence[Outcome],
    count: int,
) -> list[Sample]:
    """Failures first, at most two thirds of the samples unless nothing else is left."""
    first = outcomes[0]
    right = {row: bool(value) for row, value in zip(first.rows, first.values, strict=True)} if first.is_right else {}
    wrong = [row for row in range(len(made)) if right.get(row) is False]
    rest = [row for row in range(len(made)) if right.get(row) is not False]
    kept = min(len(wrong), max(count * 2 // 3, count - len(rest)))
    picked = [*_spread(wrong, kept), *_spread(rest, count - kept)]
    index = torch.tensor(picked, dtype=torch.int64)
    objects = {name: write(rows.fields[name], batch[name].rows(index)) for name in (*given, to)}
    outputs = write(rows.fields[to], made.rows(index))
    remarks = [" · ".join(text for o in outcomes if (text := o.remarks.get(row))) for row in picked]
    return [
        Sample({name: objects[name][i] for name in given}, outputs[i], objects[to][i], right.get(row), remarks[i])
        for i, row in enumerate(picked)
    ]


def _spread(places: Sequence[int], count: int) -> list[int]:
    """At most ``count`` of the places, evenly apart: neighbours in the data are often alike."""
    step = max(1.0, len(places) / max(count, 1))
    return [places[int(i * step)] for i in range(min(count, len(places)))]
