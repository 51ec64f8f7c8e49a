"""The evaluator: everything that is measured of one direction, kept in a file so that it is measured once."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from polymodal.data import Rows
from polymodal.evaluation.judges import recogniser
from polymodal.evaluation.judges.embedder import Embedder
from polymodal.evaluation.scorecard.agreement import Examiner, MetricResult, direction_name
from polymodal.evaluation.scorecard.distribution_metrics import DistributionMetrics
from polymodal.evaluation.scorecard.faults import Fault, find_faults
from polymodal.evaluation.scorecard.likelihood import likelihood, reconstruction
from polymodal.evaluation.scorecard.memorisation import Nearest, TrainingSet, near_copies
from polymodal.files import short_digest, write_file
from polymodal.generation import generate_rows
from polymodal.model import Model
from polymodal.nn.random import fold, make_keys
from polymodal.types import Batch, Field

FORMAT = 1
"""Of the files. Raise it when anything that is measured changes."""


@dataclass(frozen=True)
class Pick:
    """A sample that is shown.

    Attributes:
        row: Its row in the data that are scored on.
        right: See ``Sample``.
        remark: See ``Sample``.
        nearest: The training row that is nearest to it, if that was asked.
        ratio: See ``Nearest``.
    """

    row: int
    right: bool | None
    remark: str
    nearest: int | None = None
    ratio: float | None = None


@dataclass(frozen=True)
class DirectionResult:
    """What was measured of one direction.

    Attributes:
        inputs: Fields that were given; none where a codec's reconstructions were measured.
        output: Field that was generated.
        rows: Of the data that are scored on.
        outcomes: All metrics, those of coherence first. Values are means over a row's samples.
        faults: What is wrong with the samples.
        notes: What could not be measured.
        picks: Samples to look at, failures first.
        made: Their values.
        seconds: That it took.
    """

    inputs: tuple[str, ...]
    output: str
    rows: list[int]
    outcomes: list[MetricResult]
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    picks: list[Pick] = field(default_factory=list)
    made: Field | None = None
    seconds: float = 0.0

    @property
    def name(self) -> str:
        return direction_name(self.inputs, self.output)

    def save(self, path: Path) -> None:
        """Writes ``path`` and, for samples, a file of tensors beside it, which comes first: what is there is whole."""
        document = asdict(replace(self, outcomes=[], made=None)) | {"outcomes": [_to_json(o) for o in self.outcomes]}
        document["varies"] = None if self.made is None else self.made.varies
        if self.made is not None:
            tensors = {name: getattr(self.made, name).contiguous() for name in ("value", "mask", "present")}
            write_file(path.with_suffix(".safetensors"), save(tensors))
        write_file(path, json.dumps(document, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> DirectionResult | None:
        """What ``save`` wrote; None if it is not there or not whole."""
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            tensors = load(path.with_suffix(".safetensors").read_bytes()) if document["picks"] else None
            return cls(
                tuple(document["inputs"]),
                document["output"],
                document["rows"],
                [_from_json(entry) for entry in document["outcomes"]],
                [Fault(**entry) for entry in document["faults"]],
                document["notes"],
                [Pick(**entry) for entry in document["picks"]],
                Field(**tensors, varies=document["varies"]) if tensors else None,
                document["seconds"],
            )
        except (OSError, ValueError, KeyError, TypeError, SafetensorError):
            return None


def _to_json(outcome: MetricResult) -> dict[str, Any]:
    arrays = {name: value.tolist() for name, value in vars(outcome).items() if isinstance(value, np.ndarray)}
    return vars(outcome) | arrays | {"remarks": {}}  # the samples have theirs


def _from_json(entry: dict[str, Any]) -> MetricResult:
    arrays = {name: np.array(entry[name]) for name in ("rows", "values", "weights") if entry[name] is not None}
    return MetricResult(**(entry | arrays | {"whole": tuple(entry["whole"]) if entry["whole"] else None}))


class Evaluator:
    """Measures cells of one model on one set of rows.

    Args:
        model: Any.
        rows: To score on.
        training: Real rows that it learned from, if they are known.
        judge: If there is one.
        n_rows: Most rows of a direction.
        n_samples: Of each input, from heads that draw.
        shown: Most samples to look at.
        seed: Of everything that is random.
        options: Of the heads, by field.
        thorough: Whether more than the agreement with the inputs is measured.
    """

    def __init__(
        self,
        model: Model,
        rows: Rows,
        training: Rows | None,
        judge: Embedder | None,
        *,
        n_rows: int,
        n_samples: int,
        shown: int,
        seed: int,
        options: Mapping[str, Mapping[str, Any]],
        thorough: bool = True,
    ):
        self.thorough = thorough
        self.model, self.rows, self.judge, self.training = model, rows, judge, training
        self.n_rows, self.n_samples, self.shown, self.seed, self.options = n_rows, n_samples, shown, seed, options
        self._examiner: Examiner | None = None

    @property
    def examiner(self) -> Examiner:
        """Made when it is first asked for: what is cached needs none."""
        if self._examiner is None:
            self._examiner = Examiner(self.rows, self.judge)
            self.general_notes = list(self._examiner.notes)
            self.memory = TrainingSet(self.training, self._examiner) if self.training is not None else None
            self.population = DistributionMetrics(self._examiner, self.memory, most=self.n_rows, seed=self.seed)
        return self._examiner

    def facts(self) -> dict[str, Any]:
        """What every cell depends on."""
        return {
            "format": FORMAT,
            "model": model_hash(self.model),
            "data": self.rows.fingerprint,
            "training": None if self.training is None else self.training.fingerprint,
            "judge": self.judge and self.judge.hash,
            "recogniser": recogniser.available(),
            "thorough": self.thorough,
            "rows": self.n_rows,
            "samples": self.n_samples,
            "shown": self.shown,
            "seed": self.seed,
        }

    def key(self, facts: Mapping[str, Any], inputs: Sequence[str], output: str) -> str:
        """Names a cell by all that it depends on."""
        own = [facts, list(inputs), output, dict(self.options.get(output, {}))]
        return short_digest(json.dumps(own, sort_keys=True), size=12)

    def measure(self, inputs: Sequence[str], output: str) -> DirectionResult:
        """One direction, or without inputs the reconstructions of a codec."""
        examiner, start = self.examiner, perf_counter()
        examiner.notes.clear()
        cell = self._direction(inputs, output) if inputs else self._codec(output)
        notes = list(dict.fromkeys(self.general_notes + examiner.notes))
        return replace(cell, notes=notes, seconds=perf_counter() - start)

    def _codec(self, name: str) -> DirectionResult:
        index = _choose(self.rows, [name], [name], self.n_rows, self.seed)
        own = self.rows.select(index)
        outcomes = reconstruction(self.model, name, own, self.examiner) if len(own) else []
        return DirectionResult((), name, index.tolist(), outcomes)

    def _direction(self, given: Sequence[str], to: str) -> DirectionResult:
        examiner, name = self.examiner, direction_name(given, to)
        index = _choose(self.rows, [*given, to], given, self.n_rows, self.seed)
        if not len(index):
            examiner.notes.append(f"{name}: not scored, no row has all of its fields.")
            return DirectionResult(tuple(given), to, [], [])
        own = self.rows.select(index)
        batch = own.decode(own.only(*dict.fromkeys([*given, to])).batch(np.arange(len(own))))
        samples = self._generate(batch, given, to)
        made = samples[0]
        measured = [examiner.measure(own, given, to, batch, sample) for sample in samples]
        outcomes = [_mean(of_one) for of_one in zip(*measured, strict=True)]
        faults, nearest = [], None
        if self.thorough:
            outcomes += self.population.measure(own, to, batch[to], samples)
            copies, nearest = near_copies(self.memory, to, batch[to], made) if self.memory is not None else ([], None)
            outcomes += copies + likelihood(self.model, given, to, batch, self.seed)
            faults = find_faults(examiner, given, to, batch, made, outcomes, name, self.seed)
        picked = _pick(measured[0], len(made), self.shown)
        picks = [self._describe(place, int(index[place]), measured[0], nearest) for place in picked]
        shown = made.pick(torch.tensor(picked, dtype=torch.int64))
        return DirectionResult(tuple(given), to, index.tolist(), outcomes, faults, [], picks, shown)

    def _generate(self, batch: Batch, given: Sequence[str], to: str) -> list[Field]:
        """A field for each sample of the inputs; one where nothing is drawn, as all would be the same."""
        options = self.options.get(to, {})
        everywhere, keys = torch.ones(len(batch[to]), dtype=torch.bool), make_keys(self.seed, len(batch[to]))
        inputs, visible = {name: batch[name] for name in given}, dict.fromkeys(given, everywhere)
        certain = options.get("temperature") == 0 and not self.model.fusion.joint
        count = 1 if certain else self.n_samples
        return [
            generate_rows(self.model, inputs, visible, {to: everywhere}, own, {to: options})[to]
            for number in range(count)
            for own in [fold(keys, number) if number else keys]
        ]

    @staticmethod
    def _describe(place: int, row: int, outcomes: Sequence[MetricResult], nearest: Nearest | None) -> Pick:
        remark = " · ".join(text for outcome in outcomes if (text := outcome.remarks.get(place)))
        right = _right(outcomes).get(place)
        if nearest is None:
            return Pick(row, right, remark)
        return Pick(row, right, remark, int(nearest.rows[place]), float(nearest.ratios[place]))


def model_hash(model: Model) -> str:
    """Names the weights and the recipe."""
    recipe = json.dumps(model.recipe.model_dump(mode="json"), sort_keys=True).encode()
    weights = (
        name.encode() + tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        for name, tensor in model.state_dict().items()
    )
    return short_digest(itertools.chain([recipe], weights), size=12)


def _choose(rows: Rows, needed: Sequence[str], given: Sequence[str], most: int, seed: int) -> np.ndarray:
    """Row numbers, in order: at most ``most`` rows with every needed field, each with another input."""
    order = np.random.default_rng(seed).permutation(len(rows))
    there = np.logical_and.reduce([rows.present[name] for name in needed])
    order = order[there[order]]
    slots = np.stack([rows.columns[name].slots[order] for name in given], axis=1)
    _, first = np.unique(slots, axis=0, return_index=True)
    return np.sort(order[np.sort(first)[:most]])


def _mean(outcomes: Sequence[MetricResult]) -> MetricResult:
    """One metric of several samples of the same rows: the mean of each row's values."""
    first = outcomes[0]
    whole = None
    if first.whole is not None:
        value, low, high = np.array([outcome.whole for outcome in outcomes]).mean(0).tolist()
        whole = (value, low, high)
    values = np.mean([outcome.values for outcome in outcomes], axis=0)
    return replace(first, values=values, whole=whole)


def _right(outcomes: Sequence[MetricResult]) -> dict[int, bool]:
    """By row: whether the direction's first metric calls it right."""
    if not outcomes or not outcomes[0].is_right:
        return {}
    return {int(row): bool(value) for row, value in zip(outcomes[0].rows, outcomes[0].values, strict=True)}


def _pick(outcomes: Sequence[MetricResult], rows: int, count: int) -> list[int]:
    """Failures first, at most two thirds of the samples unless nothing else is left."""
    right = _right(outcomes)
    wrong = [row for row in range(rows) if right.get(row) is False]
    rest = [row for row in range(rows) if right.get(row) is not False]
    kept = min(len(wrong), max(count * 2 // 3, count - len(rest)))
    return [*_spread(wrong, kept), *_spread(rest, count - kept)]


def _spread(places: Sequence[int], count: int) -> list[int]:
    """At most ``count`` of the places, evenly apart: neighbours in the data are often alike."""
    step = max(1.0, len(places) / max(count, 1))
    return [places[int(i * step)] for i in range(min(count, len(places)))]
