"""Faults that scores hide, each by its name: a copier, a constant, a generator that does not listen, one that blurs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from polymodal.evaluation.metrics import bootstrap_interval
from polymodal.evaluation.scorecard.agreement import Examiner, MetricResult
from polymodal.modalities import Text
from polymodal.types import Batch, Field

COPIES = "copies its training set"
IGNORES = "ignores its input"
SAME = "always gives the same"
BLURRED = "blurred"

LEAST_ROWS = 6
"""Fewer rows show nothing."""
MORE_COPIES = 0.2
"""Share of near-copies above the real rows' own from which samples are copies."""
SAME_SPREAD = 0.1
"""Distance between samples, over that between real values, below which they are all the same."""
HEARD = 0.5
"""Share of what real values tell of the input that samples certainly miss if they are said to tell nothing of it."""
DETAIL = 0.5
"""Share of real values' fine detail below which samples are blurred."""


@dataclass(frozen=True)
class Fault:
    """A fault of one direction.

    Attributes:
        name: One of this module's names.
        direction: Such as ``name → picture``.
        evidence: A sentence with the figures that show it.
    """

    name: str
    direction: str
    evidence: str


def find_faults(
    examiner: Examiner,
    given: Sequence[str],
    to: str,
    batch: Batch,
    made: Field,
    outcomes: Sequence[MetricResult],
    direction: str,
    seed: int,
) -> list[Fault]:
    """What is wrong with the samples of a direction, beyond doubt: the whole 95 % interval is beyond the threshold.

    A generator ignores its input if it cannot be told from one that does, while real values easily can.

    Args:
        examiner: Has the judge.
        given: Fields that were given.
        to: Field that was generated.
        batch: Real values of these fields.
        made: One sample for each row.
        outcomes: All that was measured of them.
        direction: Its name.
        seed: Of the intervals.
    """
    if len(made) < LEAST_ROWS:
        return []
    found = {outcome.metric: outcome for outcome in outcomes}
    faults = []

    def report(name: str, evidence: str | None) -> None:
        if evidence:
            faults.append(Fault(name, direction, evidence))

    same = _same(batch[to], made, seed)
    report(SAME, same)
    if not same:  # one value tells nothing of copying, and that it ignores the input need not be said
        report(COPIES, _copies(found.get("near-copies of training rows"), seed))
        report(IGNORES, _ignores(examiner, given, to, batch, made, outcomes, seed))
        report(BLURRED, _blurred(found.get("sharpness"), seed))
    return faults


def _copies(outcome: MetricResult | None, seed: int) -> str | None:
    if outcome is None or outcome.ceiling is None:
        return None
    low, _ = bootstrap_interval(outcome.values, seed=seed)
    if low - outcome.ceiling <= MORE_COPIES:
        return None
    share = outcome.values.mean()
    real = outcome.ceiling
    return f"{share:.0%} of the samples are near-copies of a training row; of the real held-out rows, {real:.0%}."


def _same(real: Field, made: Field, seed: int) -> str | None:
    true, ours = (torch.cdist(x, x).mean(1).numpy() for x in (_plain(real, real), _plain(made, real)))
    if true.mean() < 1e-6:
        return None
    _, high = bootstrap_interval(ours, true, seed=seed)
    if high >= SAME_SPREAD:
        return None
    return f"Samples of different inputs lie {ours.mean() / true.mean():.1%} as far apart as the real values do."


def _ignores(
    examiner: Examiner,
    given: Sequence[str],
    to: str,
    batch: Batch,
    made: Field,
    outcomes: Sequence[MetricResult],
    seed: int,
) -> str | None:
    keys = examiner.keys(given, batch)
    if keys is not None and examiner.judge and to in examiner.judge.modalities:
        ours, real = (_told(examiner.judge.embed(to, values) @ keys.T) for values in (made, batch[to]))
        knowable, _ = bootstrap_interval(real, seed=seed)
        low, high = bootstrap_interval(ours, seed=seed)
        if knowable <= 0 or low > 0 or high >= HEARD * real.mean():
            return None
        return (
            f"Samples are {ours.mean():+.3f} nearer to their own input than to others in the judge's space; "
            f"real values are {real.mean():+.3f}."
        )
    first = outcomes[0] if outcomes else None
    if first is None or not first.is_right or first.ceiling is None or first.chance is None:
        return None
    if isinstance(examiner.rows.fields[to], Text) or first.ceiling - first.chance < 0.2:
        return None
    low, high = bootstrap_interval(first.values, first.weights, seed=seed)
    if low > first.chance or high - first.chance >= HEARD * (first.ceiling - first.chance):
        return None
    return f"Its {first.metric} is {first.values.mean():.3f}; without looking at the input it is {first.chance:.3f}."


def _told(similarity: Tensor) -> np.ndarray:
    """(n,) how much more similar each row is to its own column than to the others."""
    own = similarity.diagonal()
    return (own - (similarity.sum(1) - own) / (len(own) - 1)).double().numpy()


def _blurred(outcome: MetricResult | None, seed: int) -> str | None:
    if outcome is None:
        return None
    assert outcome.weights is not None
    _, high = bootstrap_interval(outcome.values, outcome.weights, seed=seed)
    real = min(1.0, outcome.ceiling or 1.0)
    if high >= DETAIL * real:
        return None
    ratio = outcome.values.sum() / outcome.weights.sum()
    return f"Samples have {ratio:.0%} of the fine detail of their rows' real values; other real values have {real:.0%}."


def _plain(field: Field, like: Field) -> Tensor:
    """(n, F): numbers as they are, padded or cut to the length of ``like``; of ids, how often each comes."""
    if field.value.is_floating_point():
        length = like.value.shape[-1]
        value = field.value[..., :length]
        value = torch.nn.functional.pad(value, (0, length - value.shape[-1]))
        return value.flatten(1).double()
    vocab = int(max(field.value.max(), like.value.max())) + 1
    real = field.mask.expand_as(field.value).double()
    return torch.zeros(len(field), vocab, dtype=torch.float64).scatter_add_(1, field.value.long(), real)
