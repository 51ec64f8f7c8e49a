"""The scorecard: how good a model is in each direction, beside what real values score and what chance gives."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from polymodal.data import Rows
from polymodal.errors import ConfigError, DataError, unknown
from polymodal.evaluation.judges.embedder import Embedder
from polymodal.evaluation.metrics import bootstrap_interval
from polymodal.evaluation.scorecard.agreement import Aspect, MetricResult, direction_name
from polymodal.evaluation.scorecard.evaluator import DirectionResult, Evaluator, model_hash
from polymodal.evaluation.scorecard.faults import Fault
from polymodal.evaluation.scorecard.workers import measure_all
from polymodal.files import write_file
from polymodal.generation import check_fields, write
from polymodal.model import Model

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
        higher_is_better: Whether it is; None where it is best to be as real values are.
        seconds: That the direction took, generation included. The only part that differs from run to run.
        aspect: What the metric tells of; see ``measures.Aspect``.
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
    higher_is_better: bool | None
    seconds: float = field(compare=False)
    aspect: Aspect = "coherence"

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
        nearest: The training value that is nearest to it, if that was asked.
        ratio: How near, over the mean distance of the next nearest.
    """

    given: dict[str, Any]
    made: Any
    truth: Any
    right: bool | None
    remark: str = ""
    nearest: Any = None
    ratio: float | None = None


@dataclass(frozen=True)
class Scorecard:
    """Scores and samples of one model on one set of rows.

    Attributes:
        title: Of the rows, such as ``test``.
        scores: In the order of the directions.
        samples: By direction, failures first.
        facts: What they depend on: data, seed, judges, options, recipe.
        notes: What a reader should know: rows or names that were left out, and why.
        faults: What is wrong with the samples, by name.
        parts: Scores of the model's parts: what codecs keep.
        files: By direction: the name of the file that holds its results row by row.
    """

    title: str
    scores: list[Score]
    samples: dict[str, list[Sample]]
    facts: dict[str, Any]
    notes: list[str]
    faults: list[Fault] = field(default_factory=list)
    parts: list[Score] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict, repr=False)

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
        document = {
            "title": self.title,
            "scores": [_timeless(score) for score in self.scores],
            "faults": [asdict(fault) for fault in self.faults],
            "parts": [_timeless(score) for score in self.parts],
            "notes": self.notes,
            "facts": self.facts,
        }
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        if path is not None:
            write_file(Path(path), text)
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


def _timeless(score: Score) -> dict[str, Any]:
    return {name: value for name, value in asdict(score).items() if name != "seconds"}


def number(value: float | None) -> str:
    """A score as text.

    >>> number(0.8412), number(None)
    ('0.841', '–')
    """
    return "–" if value is None else f"{value:.3f}"


def single_directions(model: Model) -> list[Direction]:
    """Every field alone -> every other."""
    return [((source,), target) for source in model.encoders for target in model.heads if source != target]


def all_directions(model: Model, most: int = 24, seed: int = 0) -> list[Direction]:
    """Every subset of the other fields -> every field, small subsets first.

    Args:
        model: Any.
        most: Subsets of a target. Where there are more, single inputs come first, then all inputs, then pairs; of a
            size that does not fit, some are drawn.
        seed: Of the draw.
    """
    directions: list[Direction] = []
    for place, target in enumerate(model.heads):
        sources = [name for name in model.encoders if name != target]
        sizes = dict.fromkeys(size for size in (1, len(sources), *range(2, len(sources))) if size)
        chosen: list[tuple[str, ...]] = []
        for size in sizes:
            subsets = list(combinations(sources, size))
            drawn = np.random.default_rng([seed, place, size]).permutation(len(subsets))[: most - len(chosen)]
            chosen += [subsets[i] for i in sorted(drawn)]
        directions += [(subset, target) for subset in sorted(chosen, key=len)]
    return directions


def evaluate(
    model: Model,
    rows: Rows,
    *,
    judge: Embedder | None = None,
    training: Rows | None = None,
    directions: Sequence[Direction] | None = None,
    n_rows: int = 200,
    n_samples: int = 1,
    seed: int = 0,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    samples: int = 12,
    codecs: bool = False,
    thorough: bool = True,
    title: str = "test",
    folder: str | Path | None = None,
    workers: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
) -> Scorecard:
    """Scores a model on rows, one direction after the other.

    Text is compared with the row's own, greedily decoded. What pictures and speech show or say is named by a judge
    that was trained on real rows, among all names in the data; speech also by ``pocketsphinx``, if it is installed.
    Each distinct input is used once. Beside this agreement with the inputs, quality and diversity are measured of the
    samples as a set, in the judge's features, and how near they come to single training rows.

    Args:
        model: Any.
        rows: To score on, with the model's fields.
        judge: Names pictures and speech; without one, only text, labels and vectors are scored.
        training: Rows that model and judge learned from; real values to compare with, and what may have been copied.
        directions: Inputs and output of each; every field alone to every other if not given.
        n_rows: Most rows of a direction.
        n_samples: Of each input, from heads that draw.
        seed: Of the choice of rows, of the samples and of the intervals.
        options: Of the heads, by field.
        samples: Most samples of a direction that are kept to be looked at.
        codecs: Whether the codecs' reconstructions and latents are measured too.
        thorough: Whether quality, diversity, likelihood, nearness to training rows and faults are measured beside the
            agreement with the inputs.
        title: Of the rows.
        folder: Where every direction's results are kept under a name of all that they depend on; what is there is not
            measured again, so that a call that was stopped goes on.
        workers: Processes that share the directions; 0 for this one alone.
        progress: Called before each direction with its number from 0, their count and its name.

    Raises:
        ConfigError: A direction, an option or a field is wrong.
        DataError: No direction has a row.
    """
    chosen = single_directions(model) if directions is None else [(tuple(given), to) for given, to in directions]
    options = _greedy(model) | {name: dict(given) for name, given in (options or {}).items()}
    for given, to in chosen:
        if not given:
            raise ConfigError(f"directions: '{to}' has no inputs; name at least one field")
        check_fields(model, dict.fromkeys(given), [to], {to: options.get(to, {})})
        for name in (*given, to):
            if name not in rows.fields:
                raise ConfigError(f"{direction_name(given, to)}: the data has no field '{name}'")
    if n_samples < 1:
        raise ConfigError(f"n_samples: {n_samples} is not at least 1")
    rows = rows.written_by(model.modalities)
    bench = Evaluator(
        model, rows, training, judge,
        n_rows=n_rows, n_samples=n_samples, shown=samples, seed=seed, options=options, thorough=thorough,
    )  # fmt: skip
    wanted = [*chosen, *(((), name) for name in model.codecs if codecs and name in rows.fields)]
    cells, files = measure_all(bench, wanted, Path(folder) if folder else None, workers, progress)
    notes = list(dict.fromkeys(note for cell in cells for note in cell.notes))
    if judge is not None and training is not None and not judge.learned_from(training):
        notes.append("The judge learned from other rows than the model; those that are scored may be among them.")
    scores = [_score(outcome, cell, seed) for cell in cells if cell.inputs for outcome in cell.outcomes]
    if not scores:
        raise DataError(f"evaluate: nothing could be scored on these rows; {' '.join(notes)}".strip())
    facts = {
        "rows": len(rows),
        "rows_of_a_direction": n_rows,
        "samples_of_an_input": n_samples,
        "data": rows.fingerprint,
        "training": None if training is None else training.fingerprint,
        "model": model_hash(model),
        "seed": seed,
        "options": {name: given for name, given in options.items() if given},
        "judge": judge and judge.facts(rows, training),
        "recipe": model.recipe.model_dump(mode="json", exclude_defaults=True),
    }
    shown = {cell.name: _samples(rows, training, cell) for cell in cells if cell.inputs and cell.outcomes}
    parts = [_score(outcome, cell, seed) for cell in cells if not cell.inputs for outcome in cell.outcomes]
    faults = [fault for cell in cells for fault in cell.faults]
    return Scorecard(title, scores, shown, facts, notes, faults, parts, files)


def _greedy(model: Model) -> dict[str, dict[str, Any]]:
    """Heads that have a temperature decode without chance."""
    return {
        name: {"temperature": 0.0} if "temperature" in head.option_names else {} for name, head in model.heads.items()
    }


def _score(outcome: MetricResult, cell: DirectionResult, seed: int) -> Score:
    if outcome.whole is not None:
        value, low, high = outcome.whole
    else:
        weights = np.ones(len(outcome.values)) if outcome.weights is None else outcome.weights
        value = float(outcome.values.sum() / max(weights.sum(), 1e-12))
        low, high = bootstrap_interval(outcome.values, weights, seed=seed)
    return Score(
        cell.inputs or (cell.output,),
        cell.output,
        outcome.metric,
        value,
        low,
        high,
        outcome.ceiling,
        outcome.chance,
        len(outcome.rows),
        outcome.higher_is_better,
        cell.seconds,
        outcome.aspect,
    )


def _samples(rows: Rows, training: Rows | None, cell: DirectionResult) -> list[Sample]:
    """The samples of a cell as objects."""
    if cell.made is None:
        return []
    index = np.array([pick.row for pick in cell.picks])
    batch = rows.decode(rows.only(*dict.fromkeys([*cell.inputs, cell.output])).batch(index))
    objects = {name: write(rows.fields[name], field) for name, field in batch.items()}
    outputs = write(rows.fields[cell.output], cell.made)
    near = training.written_by(rows.fields).only(cell.output) if training is not None else None
    return [
        Sample(
            {name: objects[name][i] for name in cell.inputs},
            outputs[i],
            objects[cell.output][i],
            pick.right,
            pick.remark,
            near[pick.nearest][cell.output] if near is not None and pick.nearest is not None else None,
            pick.ratio,
        )
        for i, pick in enumerate(cell.picks)
    ]
