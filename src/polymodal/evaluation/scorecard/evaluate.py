"""Evaluation of a model on rows, one direction after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.bulk import share
from polymodal.data import Rows, overlap, overlap_notes
from polymodal.errors import ConfigError, DataError
from polymodal.evaluation.examiner import direction_name
from polymodal.evaluation.judges.embedder import Embedder
from polymodal.evaluation.metrics.result import MetricResult
from polymodal.evaluation.scorecard.direction_result import DirectionResult
from polymodal.evaluation.scorecard.drawn_groups import Direction
from polymodal.evaluation.scorecard.evaluator import Evaluator, model_hash
from polymodal.evaluation.scorecard.scorecard import Sample, Score, Scorecard
from polymodal.evaluation.scorecard.workers import measure_all
from polymodal.generation import check_fields, write
from polymodal.model import Model

DRAWN = "drawn"
"""In the folder of results: samples that were drawn to be scored."""


def single_directions(model: Model) -> list[Direction]:
    """Each field alone -> every other field."""
    return [((source,), target) for source in model.encoders for target in model.heads if source != target]


def all_directions(model: Model, most: int = 24, seed: int = 0) -> list[Direction]:
    """Every subset of the other fields -> every field, small subsets first.

    Args:
        model: Whose fields they are.
        most: Most subsets of a target. Where there are more, single inputs come first, then all inputs, then pairs and
            so on; of the last size that fits, some are drawn.
        seed: Seed of the draw.
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
    run: str | Path | None = None,
    bulk: Mapping[str, Any] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Scorecard:
    """Scores a model on rows, one direction after the other.

    Everything is sampled as ``generate`` samples. Only where texts and labels are compared with the rows' own, and one
    answer is asked for, it is the likeliest. A judge that was trained on real rows names, among all names in the data,
    what pictures and sound show; speech is named by ``pocketsphinx`` as well, if it is installed. Besides this
    agreement with the inputs, the quality and diversity of the samples as a set are measured in the judge's features,
    and how near they come to single training rows. Rows that share an input, an output or a name are resampled
    together.

    Args:
        model: To be evaluated.
        rows: On which it is evaluated, with the model's fields.
        judge: Without one, only text, labels and vectors are compared with the inputs.
        training: Rows from which model and judge learned: real values to compare with, and what may have been copied.
        directions: Inputs and output of each; by default each field alone to every other field.
        n_rows: Most rows of a direction.
        n_samples: Samples of each input, from heads that draw.
        seed: Seed of the choice of rows, of the samples and of the intervals.
        options: Sampling options of the heads, by field.
        samples: Most samples of a direction that are kept to be shown.
        codecs: Whether the codecs' reconstructions and latents are measured too.
        thorough: Whether quality, diversity, likelihood, nearness to training rows and faults are measured besides the
            agreement with the inputs.
        title: Title of the rows.
        folder: Where the results of each direction are kept, in a file named by all that they depend on. What is there
            is not measured again, so that a call that was stopped goes on.
        workers: Processes that share the directions; 0 for this one alone.
        run: Folder that the model is from, which actors of Ray load it from.
        bulk: Who draws the samples before they are scored here, such as ``{"engine": "ray", "workers": 4}``; see
            ``polymodal.bulk.share``. None draws them here.
        progress: Called before each direction with its number from 0, the count of all and its name; and again, with
            what is being done behind the name. Before that, where others draw, after each group of rows.

    Raises:
        ConfigError: A direction, an option or a field is wrong, or nobody can draw.
        DataError: No direction has a row.
    """
    options = {name: dict(given) for name, given in (options or {}).items()}
    chosen = _checked(model, rows, directions, options, n_rows=n_rows, n_samples=n_samples, samples=samples)
    rows = rows.written_by(model.modalities)
    evaluator = Evaluator(
        model, rows, training, judge, n_rows=n_rows, n_samples=n_samples, shown=samples, seed=seed, options=options,
        thorough=thorough, drawn=Path(folder) / DRAWN if folder else None,
    )  # fmt: skip
    wanted = [*chosen, *(((), name) for name in model.codecs if codecs and name in rows.fields)]
    draw = partial(_draw, evaluator, run, bulk, progress) if bulk else None
    results, files = measure_all(evaluator, wanted, Path(folder) if folder else None, workers, progress, draw)
    notes = list(dict.fromkeys(note for result in results for note in result.notes))
    if judge is not None and training is not None and not judge.learned_from(training):
        notes.append("The judge learned from other rows than the model; those that are scored may be among them.")
    if training is not None:
        notes += overlap_notes(rows, training)
    scores = [_score(metric, result, seed) for result in results if result.inputs for metric in result.results]
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
        "greedy": [name for name in model.heads if evaluator.answer_options(name) != options.get(name, {})],
        "overlap": {} if training is None else overlap(rows, training),
        "judge": judge and judge.facts(rows, training),
        "recipe": model.recipe.model_dump(mode="json", exclude_defaults=True),
    }
    shown = {result.name: _samples(rows, training, result) for result in results if result.inputs and result.results}
    parts = [_score(metric, result, seed) for result in results if not result.inputs for metric in result.results]
    faults = [fault for result in results for fault in result.faults]
    return Scorecard(title, scores, shown, rows.fields, facts, notes, faults, parts, files)


def draw_samples(
    model: Model,
    rows: Rows,
    folder: Path,
    *,
    bulk: Mapping[str, Any],
    run: str | Path | None = None,
    directions: Sequence[Direction] | None = None,
    n_rows: int = 200,
    n_samples: int = 1,
    seed: int = 0,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    thorough: bool = True,
    progress: Callable[[int, int, str], None] | None = None,
) -> tuple[int, int]:
    """Draws the samples that ``evaluate`` scores, of a share of the groups of rows, and keeps them for it.

    Args:
        model: To be evaluated.
        rows: On which it is evaluated, with the model's fields.
        folder: Where ``evaluate`` keeps results.
        bulk: Which share, and who draws it, such as ``{"shard": (1, 16)}``; see ``polymodal.bulk.share``.
        run: Folder that the model is from, which actors of Ray load it from.
        directions: Inputs and output of each; by default each field alone to every other field.
        n_rows: Most rows of a direction.
        n_samples: Samples of each input, from heads that draw.
        seed: Seed of the choice of rows and of the samples.
        options: Sampling options of the heads, by field.
        thorough: Whether what only thorough scores need is drawn too.
        progress: Called after each group with how many are drawn, the count of all of the share and the direction.

    Returns:
        Number of groups of this share, which are there now, and of all groups.

    Raises:
        ConfigError: A direction, an option or a field is wrong, the shard is none, or nobody can draw.
    """
    options = {name: dict(given) for name, given in (options or {}).items()}
    chosen = _checked(model, rows, directions, options, n_rows=n_rows, n_samples=n_samples)
    evaluator = Evaluator(
        model, rows.written_by(model.modalities), None, None, n_rows=n_rows, n_samples=n_samples, shown=1, seed=seed,
        options=options, thorough=thorough, drawn=folder / DRAWN,
    )  # fmt: skip
    return _draw(evaluator, run, bulk, progress, chosen)


def _draw(
    evaluator: Evaluator,
    run: str | Path | None,
    bulk: Mapping[str, Any],
    progress: Callable[[int, int, str], None] | None,
    directions: Sequence[Direction],
) -> tuple[int, int]:
    """Has the samples of directions drawn, and kept; numbers of groups as of ``draw_samples``."""
    work = evaluator.draw_work(directions)
    own, each = share(evaluator.model, work, len(work.groups), run=run, **bulk)
    for done, number in enumerate(each, 1):
        if progress:
            group = work.groups[number]
            progress(done, len(own), f"{direction_name(group.inputs, group.output)}: drawn")
    return len(own), len(work.groups)


def _checked(
    model: Model,
    rows: Rows,
    directions: Sequence[Direction] | None,
    options: Mapping[str, Mapping[str, Any]],
    **counts: int,
) -> list[Direction]:
    """The directions.

    Raises:
        ConfigError: One is wrong, or an option, a field or a number.
    """
    chosen: list[Direction] = single_directions(model)
    if directions is not None:
        chosen = [(tuple(given), to) for given, to in directions]
    for given, to in chosen:
        if not given:
            raise ConfigError(f"directions: '{to}' has no inputs; name at least one field")
        check_fields(model, dict.fromkeys(given), [to], {to: options.get(to, {})})
        for name in (*given, to):
            if name not in rows.fields:
                raise ConfigError(f"{direction_name(given, to)}: the data has no field '{name}'")
    for what, number in counts.items():
        if number < 1:
            raise ConfigError(f"{what}: {number} is not at least 1")
    return chosen


def _score(metric: MetricResult, result: DirectionResult, seed: int) -> Score:
    return Score(
        result.inputs or (result.output,),
        result.output,
        metric.metric,
        *metric.interval(seed),
        metric.ceiling,
        metric.chance,
        len(metric.rows),
        metric.higher_is_better,
        result.seconds,
        metric.aspect,
        len(metric.rows) if metric.clusters is None else len(np.unique(metric.clusters)),
    )


def _samples(rows: Rows, training: Rows | None, result: DirectionResult) -> list[Sample]:
    """The samples of a direction as objects."""
    if result.made is None:
        return []
    index = np.array([pick.row for pick in result.picks])
    batch = rows.decode(rows.only(*dict.fromkeys([*result.inputs, result.output])).batch(index))
    objects = {name: write(rows.fields[name], field) for name, field in batch.items()}
    made = write(rows.fields[result.output], result.made)
    known = training.written_by(rows.fields).only(result.output) if training is not None else None
    return [
        Sample(
            {name: objects[name][i] for name in result.inputs},
            made[i],
            objects[result.output][i],
            pick.right,
            pick.remark,
            known[pick.nearest][result.output] if known is not None and pick.nearest is not None else None,
            pick.ratio,
        )
        for i, pick in enumerate(result.picks)
    ]
