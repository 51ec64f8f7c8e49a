"""Scored cells: how sure a model looks of what it generates, and whether it is right.

Scores lie in [0, 1]. Of ids whose head can tell, it is the likelihood of what was decoded: the joint probability of all
of its ids. Of anything else it is how well several samples agree: the share of samples that are the same, or how near
they lie in a judge's space, and there also how near what was given lies.

What right means: text and labels are the row's own, letter by letter; of a picture or sound a judge, trained on real
rows apart from the generator, names the row's own name or, without names, finds its own value nearest; a vector has at
most ``TOLERANCE`` of its field's variance as its squared error.
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
from polymodal.evaluation.judges.contrastive import Judge, texts
from polymodal.evaluation.metrics import exact_match
from polymodal.generation import CHUNK, generate_rows, write
from polymodal.modalities import Modality
from polymodal.model import Model
from polymodal.nn.random import fold, make_keys
from polymodal.types import Batch, Field

SAMPLES = 4
"""Samples, beside the cell's own, of which the agreement is taken."""
TOLERANCE = 0.1
MOST_REPEATS = 20
"""Times that a row is drawn, at most: it tells less each time."""
PART = 256
"""Rows that are generated before they are scored."""

_AGREEMENT = 3000
"""Stream of the keys of further samples."""


@dataclass(frozen=True)
class ScoredCells:
    """Scored cells of one field.

    Attributes:
        scores: (n, F).
        right: (n,) 1 or 0.
        given: (n,) the fields that each was generated from; see ``pattern``.
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
    examiner = _Examiner(model, rows, judge)
    random = np.random.default_rng(seed)
    cells = min(cells, MOST_REPEATS * len(rows))
    index = np.concatenate([random.permutation(len(rows)) for _ in range(-(-cells // len(rows)))])[:cells]
    keys = make_keys(seed, cells)
    found: dict[str, list[ScoredCells]] = {name: [] for name in model.heads}
    for start in range(0, len(index), PART):
        part = index[start : start + PART]
        own = rows.select(part)
        batch = own.decode(own.batch(np.arange(len(own))))
        visible, to = _draw(model, batch, random)
        own_keys = keys[start : start + len(part)]
        made = generate_rows(model, batch, visible, to, own_keys, options)
        given = patterns(visible, len(part))
        for name, scores in score_cells(model, judge, batch, visible, made, own_keys, options).items():
            known = np.flatnonzero((to[name] & batch[name].present).numpy())
            values = (field.pick(torch.from_numpy(known)) for field in (batch[name], made[name]))
            right = examiner.right(name, own.select(known), *values)
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
    """Scores (B, F) in [0, 1] of what ``generate_rows`` made, by field; fields that have none are left out.

    Args:
        model: That made it.
        judge: Of pictures and sound.
        batch: As of ``generate_rows``, likewise ``visible``, ``keys`` and ``options``.
        made: What it gave.
    """
    wanted = [name for name, value in made.items() if value.present.any()]
    scores = {name: value[:, None] for name, value in _likelihoods(model, batch, visible, made, keys).items()}
    rest = [name for name in wanted if name not in scores and _comparable(model, name, judge)]
    if not rest:
        return scores
    for name in rest:
        samples = _again(model, name, batch, visible, made, keys, options)
        if judge and model.modalities[name].space.grid and model.modalities[name].space.kind == "continuous":
            scores[name] = _judged(judge, name, batch, visible, made[name], samples)
        else:
            scores[name] = _agreement(model.modalities[name], made[name], samples)[:, None]
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
    """Probabilities (B,) of fields of ids whose head can tell."""
    found: dict[str, np.ndarray] = {}
    for part in torch.arange(len(keys)).split(CHUNK):
        told = model.log_likelihood(
            {name: value.pick(part).to(model.device) for name, value in batch.items()},
            {name: mask[part] for name, mask in visible.items()},
            {name: value.pick(part).to(model.device) for name, value in made.items()},
            keys[part].to(model.device),
        )
        for name, value in told.items():
            found.setdefault(name, np.zeros(len(keys)))[part.numpy()] = value.cpu().double().exp().numpy()
    return found


def _again(
    model: Model,
    name: str,
    batch: Batch,
    visible: Mapping[str, Tensor],
    made: Batch,
    keys: Tensor,
    options: Mapping[str, Mapping[str, Any]] | None,
) -> list[Field]:
    """Further samples of a field, each conditioned on what it was conditioned on."""
    condition = model.condition(batch, visible, keys)
    for earlier, value in itertools.takewhile(lambda item: item[0] != name, made.items()):
        condition = condition.give(earlier, value)
    to, own = {name: made[name].present}, {name: (options or {}).get(name, {})}
    streams = (fold(keys, _AGREEMENT + i) for i in range(SAMPLES))
    return [generate_rows(model, condition.batch, condition.visible, to, stream, own)[name] for stream in streams]


def _comparable(model: Model, name: str, judge: Judge | None) -> bool:
    space = model.modalities[name].space
    return space.kind == "discrete" or not space.grid or (judge is not None and name in judge.modalities)


def _agreement(modality: Modality, made: Field, samples: Sequence[Field]) -> np.ndarray:
    """(B,) how alike samples are to what was made: the share that is the same, or falling with the squared distance."""
    index = made.present.nonzero()[:, 0]
    result = np.full(len(made), np.nan)
    if modality.space.kind == "discrete":
        own = write(modality, made.pick(index))
        alike = [exact_match(own, write(modality, sample.pick(index))) for sample in samples]
    else:
        alike = [(-(sample.value - made.value)[index].square().mean(1)).exp().double().numpy() for sample in samples]
    result[index.numpy()] = np.mean(alike, axis=0)
    return result


def _judged(
    judge: Judge, name: str, batch: Batch, visible: Mapping[str, Tensor], made: Field, samples: Sequence[Field]
) -> np.ndarray:
    """(B, 2) how near samples, and what was given, lie to what was made; NaN where nothing can be compared."""
    index = made.present.nonzero()[:, 0]
    own = torch.zeros(len(made), judge.settings["width"])
    own[index] = judge.embed(name, made.pick(index))
    near = [(own[index] * judge.embed(name, sample.pick(index))).sum(1) for sample in samples]
    agreement = torch.full((len(made),), torch.nan)
    agreement[index] = torch.stack(near).mean(0)
    total, count = torch.zeros(len(made)), torch.zeros(len(made))
    for other in judge.modalities:
        both = (visible[other] & made.present).nonzero()[:, 0] if other in visible and other != name else index[:0]
        if len(both):
            total[both] += (own[both] * judge.embed(other, batch[other].pick(both))).sum(1)
            count[both] += 1
    return ((1 + torch.stack([agreement, total / count], dim=1)) / 2).double().numpy()


class _Examiner:
    """Tells whether generated values are right."""

    def __init__(self, model: Model, rows: Rows, judge: Judge | None):
        self.rows, self.judge, self.modalities = rows, judge, model.modalities
        self._known: dict[str, tuple[np.ndarray, Tensor]] = {}
        self.names: list[str] = []
        if judge and judge.naming in rows.fields:
            self.names = sorted({*judge.names, *texts(rows, str(judge.naming))})

    def right(self, name: str, own: Rows, real: Field, made: Field) -> np.ndarray:
        """(n,) 1 or 0; NaN where it cannot be said."""
        modality = self.modalities[name]
        if not len(own):
            return np.empty(0)
        if modality.space.kind == "discrete":
            return exact_match(write(modality, real), write(modality, made))
        if not modality.space.grid:
            return ((made.value - real.value).square().mean(1) <= TOLERANCE).double().numpy()
        assert self.judge is not None, "what no judge knows has no scores"
        if not self.names:
            if name not in self._known:
                values = self.rows.unique(name).only(name)
                vectors = self.judge.embed(name, values.decode(values.batch(np.arange(len(values))))[name])
                self._known[name] = values.columns[name].slots, vectors
            slots, vectors = self._known[name]
            nearest = (self.judge.embed(name, made) @ vectors.T).argmax(1).numpy()
            return (slots[nearest] == own.columns[name].slots).astype(float)
        naming = str(self.judge.naming)
        named, result = own.present[naming], np.full(len(own), np.nan)
        index = torch.from_numpy(np.flatnonzero(named))
        if len(index):
            found = [self.names[i] for i in self.judge.name(name, made.pick(index), self.names).tolist()]
            result[named] = exact_match(texts(own, naming), found)
        return result


def _draw(model: Model, batch: Batch, random: np.random.Generator) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What is given and what is asked for, by field (B,): half of the rows are given one field, others each with even
    odds; half are asked for one field, others for all that they are not given."""
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
