"""Scored cells: how sure a model looks of the cells of a table that it fills, and whether it is right.

Scores lie in [0, 1]. Where values are ids and the head knows their likelihood, the score is the joint probability of
all ids that were decoded. Otherwise it is how well several samples agree: how many are the same or, in a judge's space,
how near they lie; there a second score is how near the inputs lie. See ``Examiner.right`` for what is right.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.data import Rows
from polymodal.errors import ConfigError, DataError
from polymodal.evaluation.examiner import Examiner
from polymodal.evaluation.judges import Judge
from polymodal.evaluation.kinds import Kind, find_kind
from polymodal.generation import CHUNK, generate_rows
from polymodal.guess import guess_rows
from polymodal.model import Model
from polymodal.nn.random import fold, make_keys
from polymodal.types import Batch, Field

SAMPLES = 4
"""Further samples of a cell, whose agreement is measured."""
MOST_REPEATS = 20
"""Most times that a row is drawn, as it teaches less each time."""
PART = 256
"""Rows that are generated before they are scored."""

_AGREEMENT = 3000
"""Stream of the random keys of the further samples."""


@dataclass(frozen=True)
class ScoredCells:
    """Scored cells of one field.

    Attributes:
        scores: (n, F), NaN where a cell has no such score.
        right: (n,) 1 or 0.
        given: (n,) the fields that each cell was generated from; see ``patterns``.
        rows: (n,) number of the row.
    """

    scores: np.ndarray
    right: np.ndarray
    given: np.ndarray
    rows: np.ndarray


def collect(
    model: Model,
    rows: Rows,
    *,
    judge: Judge | None = None,
    cells: int = 2000,
    seed: int = 0,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    draws: int = 0,
) -> dict[str, ScoredCells]:
    """Scored cells by field; see ``calibrate``.

    Raises:
        ConfigError: The rows lack a field of the model.
        DataError: There are no rows, or no field of theirs can be scored.
    """
    for name in model.modalities:
        if name not in rows.columns:
            raise ConfigError(f"calibrate: the rows have no field '{name}'")
    if not len(rows):
        raise DataError("calibrate: there are no held-out rows; give data.validation or data.test a share")
    examiner = Examiner(rows.written_by(model.modalities), judge)
    random = np.random.default_rng(seed)
    cells = min(cells, MOST_REPEATS * len(rows))
    index = np.concatenate([random.permutation(len(rows)) for _ in range(-(-cells // len(rows)))])[:cells]
    keys = make_keys(seed, cells)
    found: dict[str, list[ScoredCells]] = {name: [] for name in model.heads}
    for start in range(0, len(index), PART):
        part = index[start : start + PART]
        drawn, part_keys = rows.select(part), keys[start : start + len(part)]
        batch = drawn.decode(drawn.batch(np.arange(len(drawn))))
        visible, to = _draw(model, batch, random)
        if draws:
            made = guess_rows(model, batch, visible, to, part_keys, options, draws)
        else:
            made = generate_rows(model, batch, visible, to, part_keys, options)
        given = patterns(visible, len(part))
        for name, scores in score_cells(model, judge, batch, visible, made, part_keys, options).items():
            known = np.flatnonzero((to[name] & batch[name].present).numpy())
            values = (field.pick(torch.from_numpy(known)) for field in (batch[name], made[name]))
            right = examiner.right(name, drawn.select(known), *values)
            sure = ~np.isnan(right)
            kept = known[sure]
            found[name].append(ScoredCells(scores[kept], right[sure], given[kept], part[kept]))
    result = {name: _joined(pieces) for name, pieces in found.items() if any(len(piece.right) for piece in pieces)}
    if not result:
        raise DataError("calibrate: no field of these rows can be scored")
    return result


def score_cells(
    model: Model,
    judge: Judge | None,
    batch: Batch,
    visible: Mapping[str, Tensor],
    made: Batch,
    keys: Tensor,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, np.ndarray]:
    """Scores (B, F) in [0, 1] of generated values, by field; fields that have none are left out.

    Args:
        model: That generated them.
        judge: Judge of pictures, sound and others of which nothing else can say whether they are right.
        batch: What ``generate_rows`` took.
        visible: What ``generate_rows`` took.
        made: What ``generate_rows`` gave.
        keys: What ``generate_rows`` took.
        options: What ``generate_rows`` took.
    """
    scores = {name: value[:, None] for name, value in _likelihoods(model, batch, visible, made, keys).items()}
    for name, field in made.items():
        kind = find_kind(model.modalities[name])
        judged = kind.judged and judge is not None and name in judge.modalities
        if name in scores or not field.present.any() or (kind.judged and not judged):
            continue
        samples = _further_samples(model, name, batch, visible, made, keys, options)
        if judge is not None and judged:
            scores[name] = _judged(judge, name, batch, visible, field, samples)
        else:
            scores[name] = _agreement(kind, field, samples)[:, None]
    return scores


def patterns(visible: Mapping[str, Tensor], rows: int) -> np.ndarray:
    """(B,) the names of the fields that are visible in each row, such as ``name + speech``."""
    matrix = np.stack([mask.numpy() for mask in visible.values()], axis=1)
    kinds, place = np.unique(matrix, axis=0, return_inverse=True)
    names = [" + ".join(name for name, seen in zip(visible, kind, strict=True) if seen) for kind in kinds]
    return np.array(names, dtype=object)[place.reshape(rows)]


def _likelihoods(
    model: Model, batch: Batch, visible: Mapping[str, Tensor], made: Batch, keys: Tensor
) -> dict[str, np.ndarray]:
    """Probabilities (B,) of the values of fields of ids whose head knows them."""
    found: dict[str, np.ndarray] = {}
    for part in torch.arange(len(keys)).split(CHUNK):
        log_likelihoods = model.log_likelihood(
            {name: value.pick(part).to(model.device) for name, value in batch.items()},
            {name: mask[part] for name, mask in visible.items()},
            {name: value.pick(part).to(model.device) for name, value in made.items()},
            keys[part].to(model.device),
        )
        for name, value in log_likelihoods.items():
            found.setdefault(name, np.zeros(len(keys)))[part.numpy()] = value.cpu().double().exp().numpy()
    return found


def _further_samples(
    model: Model,
    name: str,
    batch: Batch,
    visible: Mapping[str, Tensor],
    made: Batch,
    keys: Tensor,
    options: Mapping[str, Mapping[str, Any]] | None,
) -> list[Field]:
    """Samples of a field, conditioned as the generated value was."""
    condition = model.condition(batch, visible, keys)
    for earlier in itertools.takewhile(lambda earlier: earlier != name, model.in_order(made)):
        condition = condition.give(earlier, made[earlier])
    condition = condition.to_draw(name, made[name].present, visible)
    to, of_head = {name: made[name].present}, {name: (options or {}).get(name, {})}
    streams = (fold(keys, _AGREEMENT + i) for i in range(SAMPLES))
    return [generate_rows(model, condition.batch, condition.visible, to, stream, of_head)[name] for stream in streams]


def _agreement(kind: Kind, made: Field, samples: Sequence[Field]) -> np.ndarray:
    """(B,) how alike the samples are to what was made; NaN where nothing was."""
    index = made.present.nonzero()[:, 0]
    value, result = made.pick(index), np.full(len(made), np.nan)
    result[index.numpy()] = np.mean([kind.likeness(value, sample.pick(index)) for sample in samples], axis=0)
    return result


def _judged(
    judge: Judge, name: str, batch: Batch, visible: Mapping[str, Tensor], made: Field, samples: Sequence[Field]
) -> np.ndarray:
    """(B, 2) how near the samples, and the inputs, lie to what was made; NaN where nothing can be compared."""
    index = made.present.nonzero()[:, 0]
    vectors = torch.zeros(len(made), judge.settings["width"])
    vectors[index] = judge.embed(name, made.pick(index))
    near = [(vectors[index] * judge.embed(name, sample.pick(index))).sum(1) for sample in samples]
    agreement = torch.full((len(made),), torch.nan)
    agreement[index] = torch.stack(near).mean(0)
    total, count = torch.zeros(len(made)), torch.zeros(len(made))
    for other in judge.modalities:
        both = (visible[other] & made.present).nonzero()[:, 0] if other in visible and other != name else index[:0]
        if len(both):
            total[both] += (vectors[both] * judge.embed(other, batch[other].pick(both))).sum(1)
            count[both] += 1
    return ((1 + torch.stack([agreement, total / count], dim=1)) / 2).double().numpy()


def _draw(model: Model, batch: Batch, random: np.random.Generator) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Which fields of the rows are given and which are asked for, by field (B,).

    Half of the rows are given one field, the others each of their fields with even odds; half are asked for one field,
    the others for all that they are not given.
    """
    names = list(model.modalities)
    present = np.stack([batch[name].present.numpy() for name in names], axis=1)
    inputs, outputs = (np.array([name in part for name in names]) for part in (model.encoders, model.heads))
    rows = np.arange(len(present))

    def one_of(allowed: np.ndarray) -> np.ndarray:
        """One True in each row (B, fields), where any is allowed."""
        chosen = np.zeros_like(allowed)
        chosen[rows, np.where(allowed, random.random(allowed.shape), -1.0).argmax(1)] = True
        return chosen & allowed

    target = one_of(present & outputs)
    allowed = present & inputs & ~target
    single = one_of(allowed)
    some = allowed & (random.random(allowed.shape) < 0.5)
    several = (random.random(len(rows)) < 0.5)[:, None] & some.any(1, keepdims=True)
    given = np.where(several, some, single)
    asked = np.where((random.random(len(rows)) < 0.5)[:, None], ~given & outputs, target)
    asked &= given.any(1, keepdims=True) & target.any(1, keepdims=True)
    masks = {
        name: (torch.from_numpy(given[:, i].copy()), torch.from_numpy(asked[:, i].copy()))
        for i, name in enumerate(names)
    }
    return {name: masks[name][0] for name in model.encoders}, {name: masks[name][1] for name in model.heads}


def _joined(pieces: Sequence[ScoredCells]) -> ScoredCells:
    columns = zip(*(vars(piece).values() for piece in pieces), strict=True)
    return ScoredCells(*(np.concatenate(column) for column in columns))
