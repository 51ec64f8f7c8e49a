"""The evaluator: everything that is measured of one direction."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from polymodal.data import Rows
from polymodal.errors import ConfigError
from polymodal.evaluation.examiner import Examiner, direction_name
from polymodal.evaluation.judges import recogniser
from polymodal.evaluation.judges.embedder import Embedder
from polymodal.evaluation.metrics.result import MetricResult
from polymodal.evaluation.scorecard.direction_result import DirectionResult, Pick
from polymodal.evaluation.scorecard.distribution_metrics import DistributionMetrics
from polymodal.evaluation.scorecard.drawn_groups import Direction, DrawnGroup, DrawWork, batch_of, group_ranges
from polymodal.evaluation.scorecard.faults import find_faults
from polymodal.evaluation.scorecard.likelihood import likelihood
from polymodal.evaluation.scorecard.memorisation import Nearest, TrainingSet, near_copies
from polymodal.evaluation.scorecard.reconstruction import reconstruction
from polymodal.evaluation.scorecard.row_choice import choose_rows, clusters_of
from polymodal.files import short_digest
from polymodal.model import Model
from polymodal.types import Batch, Field

FORMAT = 3
"""Of what is measured. Raise it when anything that is measured changes: results in files are then measured again."""


class Evaluator:
    """Measures directions of one model on one set of rows.

    Args:
        model: To be evaluated.
        rows: On which it is evaluated.
        training: Real rows that it learned from, if they are known.
        judge: If there is one.
        n_rows: Most rows of a direction.
        n_samples: Samples of each input, from heads that draw.
        shown: Most samples of a direction that are shown.
        seed: Seed of everything that is random.
        options: Sampling options of the heads, by field.
        thorough: Whether more than the agreement with the inputs is measured.
        drawn: Folder of samples that other processes may have drawn, which are not drawn again.
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
        drawn: Path | None = None,
    ):
        self.thorough, self.drawn = thorough, drawn
        self.model, self.rows, self.judge, self.training = model, rows, judge, training
        self.n_rows, self.n_samples, self.shown, self.seed, self.options = n_rows, n_samples, shown, seed, options
        self._general_notes: list[str] = []
        self.tell: Callable[[str], None] = lambda text: None

    @cached_property
    def examiner(self) -> Examiner:
        """Made when it is first needed: what is read from files needs none."""
        languages = {name: field.language for name, field in self.model.recipe.fields.items()}
        examiner = Examiner(self.rows, self.judge, languages)
        examiner.tell = lambda text: self.tell(text)
        examiner.recogniser  # noqa: B018  # its notes are of all directions
        self._general_notes = list(examiner.notes)
        return examiner

    @cached_property
    def training_set(self) -> TrainingSet | None:
        return None if self.training is None else TrainingSet(self.training, self.examiner)

    @cached_property
    def distribution_metrics(self) -> DistributionMetrics:
        return DistributionMetrics(self.examiner, seed=self.seed)

    @cached_property
    def _facts(self) -> dict[str, Any]:
        """What every result depends on."""
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

    def key(self, inputs: Sequence[str], output: str) -> str:
        """A digest of all that a direction's result depends on, by which its file is named."""
        parts = [self._facts, list(inputs), output, dict(self.options.get(output, {}))]
        return short_digest(json.dumps(parts, sort_keys=True), size=12)

    def measure(self, inputs: Sequence[str], output: str) -> DirectionResult:
        """One direction or, without inputs, the reconstructions of a codec."""
        examiner, start = self.examiner, perf_counter()
        examiner.notes.clear()
        result = self._direction(inputs, output) if inputs else self._codec(output)
        notes = list(dict.fromkeys(self._general_notes + examiner.notes))
        return replace(result, notes=notes, seconds=perf_counter() - start)

    def answer_options(self, to: str) -> dict[str, Any]:
        """Options of a head where one answer is asked for, and right or wrong: what is likeliest, of ids."""
        options = dict(self.options.get(to, {}))
        if self.model.modalities[to].space.kind == "discrete" and "temperature" in self.model.heads[to].option_names:
            return {"temperature": 0.0} | options
        return options

    def _codec(self, name: str) -> DirectionResult:
        index = choose_rows(self.rows, [name], self.n_rows, self.seed)
        if not len(index):
            return DirectionResult((), name, [], [])
        results = reconstruction(self.model, name, self.rows.select(index), self.examiner)
        clusters = clusters_of(self.examiner, index, [name])
        return DirectionResult((), name, index.tolist(), [result.in_clusters(clusters) for result in results])

    def _direction(self, given: Sequence[str], to: str) -> DirectionResult:
        examiner, name = self.examiner, direction_name(given, to)
        index = choose_rows(self.rows, [*given, to], self.n_rows, self.seed)
        if not len(index):
            examiner.notes.append(f"{name}: not scored, no row has all of its fields.")
            return DirectionResult(tuple(given), to, [], [])
        rows, clusters = self.rows.select(index), clusters_of(examiner, index, [*given, to])
        batch = batch_of(rows, given, to)
        options, answer = dict(self.options.get(to, {})), self.answer_options(to)
        self.tell(f"generates {len(rows):,} values")
        answers = self._generate(batch, given, to, answer)
        self.tell("scores them")
        made = answers[0]
        measured = [examiner.measure(rows, given, to, batch, sample) for sample in answers]
        results = [MetricResult.mean(of_samples).in_clusters(clusters) for of_samples in zip(*measured, strict=True)]
        faults, nearest = [], None
        if self.thorough:
            samples = answers if answer == options else self._generate(batch, given, to, options)
            results += self.distribution_metrics.measure(given, to, batch[to], samples, clusters)
            if self.training_set is not None:
                copies, nearest = near_copies(self.training_set, to, batch[to], samples[0])
                results += [result.in_clusters(clusters) for result in copies]
            results += likelihood(self.model, rows, given, to, batch, clusters, self.seed)
            faults = find_faults(examiner, given, to, batch, samples[0], results, clusters, self.seed)
        picked = _pick(measured[0], len(made), self.shown)
        picks = [_describe(place, int(index[place]), measured[0], nearest) for place in picked]
        shown = made.pick(torch.tensor(picked, dtype=torch.int64))
        return DirectionResult(tuple(given), to, index.tolist(), results, faults, [], picks, shown)

    def draw_work(self, directions: Sequence[Direction]) -> DrawWork:
        """Drawing the samples by which directions are scored, which processes share.

        Raises:
            ConfigError: There is no folder to keep them in.
        """
        if self.drawn is None:
            raise ConfigError("bulk: what others draw is kept in the folder of a run; this model is of none")
        chosen: dict[Direction, np.ndarray] = {
            (tuple(inputs), output): choose_rows(self.rows, [*inputs, output], self.n_rows, self.seed)
            for inputs, output in directions
        }
        rows = np.unique(np.concatenate([*chosen.values(), np.zeros(0, np.int64)]))
        groups = [
            group
            for (inputs, output), index in chosen.items()
            for how in self._ways(output)
            for of_sample in self._groups(inputs, output, how, len(index))
            for group in of_sample
        ]
        fields = dict.fromkeys(name for inputs, output in chosen for name in (*inputs, output))
        places = {direction: np.searchsorted(rows, index) for direction, index in chosen.items()}
        columns = self.rows.only(*fields).select(rows).columns
        return DrawWork(groups, columns, places, self.drawn.absolute(), self.seed, torch.get_num_threads())

    def _ways(self, output: str) -> list[dict[str, Any]]:
        """Options by which a field is drawn: for its answers, and for what is measured of samples as a set."""
        options, answer = dict(self.options.get(output, {})), self.answer_options(output)
        return [answer, *([options] if self.thorough and options != answer else [])]

    def forget(self, inputs: Sequence[str], output: str) -> None:
        """Removes samples that were kept of a direction, which has been measured."""
        for file in self.drawn.glob(f"{self._drawn_key(inputs, output)}-*.safetensors") if self.drawn else ():
            file.unlink(missing_ok=True)

    def _drawn_key(self, inputs: Sequence[str], output: str) -> str:
        """A digest of what the samples of a direction depend on besides their options; their files begin with it."""
        facts = {name: self._facts[name] for name in ("model", "data", "rows", "seed")}
        return short_digest(json.dumps([FORMAT, facts, list(inputs), output], sort_keys=True), size=12)

    def _groups(
        self, inputs: Sequence[str], output: str, options: Mapping[str, Any], rows: int
    ) -> list[list[DrawnGroup]]:
        """Groups of rows, for each sample of the inputs."""
        how = short_digest(json.dumps(dict(options), sort_keys=True), size=4)
        key = self._drawn_key(inputs, output) if self.drawn else ""
        return [
            [
                DrawnGroup(f"{key}-{how}-{number}-{start}", inputs, output, options, number, start, end)
                for start, end in group_ranges(rows)
            ]
            for number in range(self._count(options))
        ]

    def _count(self, options: Mapping[str, Any]) -> int:
        """Samples of each input; only one where nothing is drawn, as all would be the same."""
        return 1 if options.get("temperature") == 0 and not self.model.fusion.joint else self.n_samples

    def _generate(self, batch: Batch, given: Sequence[str], to: str, options: Mapping[str, Any]) -> list[Field]:
        """A field for each sample of the inputs."""
        made = []
        for groups in self._groups(given, to, options, len(batch[to])):
            kept = [group.read(self.drawn, self.model) if self.drawn else None for group in groups]
            parts = [
                group.draw(self.model, batch, self.seed) if part is None else part
                for group, part in zip(groups, kept, strict=True)
            ]
            made.append(Field.stack(parts))
        return made


def model_hash(model: Model) -> str:
    """A digest of the weights and the recipe."""
    recipe = json.dumps(model.recipe.model_dump(mode="json"), sort_keys=True).encode()
    weights = (
        name.encode() + tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        for name, tensor in model.state_dict().items()
    )
    return short_digest(itertools.chain([recipe], weights), size=12)


def _right(results: Sequence[MetricResult]) -> dict[int, bool]:
    """Whether a direction's first metric calls the sample of a row right, by row."""
    if not results or not results[0].is_right:
        return {}
    return {int(row): bool(value) for row, value in zip(results[0].rows, results[0].values, strict=True)}


def _describe(place: int, row: int, results: Sequence[MetricResult], nearest: Nearest | None) -> Pick:
    remark = " · ".join(text for result in results if (text := result.remarks.get(place)))
    right = _right(results).get(place)
    if nearest is None:
        return Pick(row, right, remark)
    return Pick(row, right, remark, int(nearest.rows[place]), float(nearest.ratios[place]))


def _pick(results: Sequence[MetricResult], rows: int, count: int) -> list[int]:
    """Places of the samples that are shown: failures first, at most two thirds unless nothing else is left."""
    right = _right(results)
    wrong = [row for row in range(rows) if right.get(row) is False]
    rest = [row for row in range(rows) if right.get(row) is not False]
    kept = min(len(wrong), max(count * 2 // 3, count - len(rest)))
    return [*_evenly(wrong, kept), *_evenly(rest, count - kept)]


def _evenly(places: Sequence[int], count: int) -> list[int]:
    """At most ``count`` of the places, evenly apart, as neighbours in the data are often alike."""
    step = max(1.0, len(places) / max(count, 1))
    return [places[int(i * step)] for i in range(min(count, len(places)))]
