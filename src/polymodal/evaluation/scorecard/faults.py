"""Faults that scores hide: copies of the training set, one value for all inputs, inputs that are ignored, blur."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from polymodal.evaluation.examiner import Examiner, direction_name
from polymodal.evaluation.kinds import Kind
from polymodal.evaluation.metrics import bootstrap_interval
from polymodal.evaluation.metrics.result import MetricResult
from polymodal.types import Batch, Field

COPIES = "copies its training set"
IGNORES = "ignores its input"
SAME = "always gives the same"
BLURRED = "blurred"

LEAST_CLUSTERS = 6
"""Fewer clusters of rows show nothing."""
MORE_COPIES = 0.2
"""Share of near-copies, beyond that among real rows, from which samples count as copies."""
SAME_SPREAD = 0.1
"""Distance between samples, over that between real values, below which they are all the same."""
USED_INPUT = 0.5
"""Share of what real values reveal of the input that samples must certainly miss to be said to ignore it."""
KNOWABLE = 0.2
"""Least distance of the ceiling from chance for a metric to show whether the input is used."""
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
    results: Sequence[MetricResult],
    clusters: np.ndarray,
    seed: int,
) -> list[Fault]:
    """What is wrong with the samples of a direction beyond doubt: the whole 95 % interval is beyond a threshold.

    A generator ignores its input if it cannot be told from one that does, while real values easily can.

    Args:
        examiner: Has the judge, if there is one.
        given: Fields that were given.
        to: Field that was generated.
        batch: Real values of these fields.
        made: One sample for each row.
        results: All that was measured of the samples.
        clusters: (n,) the cluster of each row, see ``clusters_of``.
        seed: Seed of the intervals.
    """
    if len(np.unique(clusters)) < LEAST_CLUSTERS:
        return []
    found = {result.metric: result for result in results}
    evidence = {SAME: _same(batch[to], made, clusters, seed)}
    if not evidence[SAME]:  # a single value says nothing of copying, and ignores the input in any case
        evidence[COPIES] = _copies(found.get("near-copies of training rows"), seed)
        inputs = examiner.embed_inputs(given, batch)
        if inputs is not None and examiner.judge is not None and examiner.knows(to):
            ours, real = (examiner.judge.embed(to, values) for values in (made, batch[to]))
            evidence[IGNORES] = _far_from_inputs(ours, real, inputs, clusters, seed)
        else:
            evidence[IGNORES] = _at_chance(examiner.kinds[to], results[0] if results else None, seed)
        evidence[BLURRED] = _blurred(found.get("sharpness"), seed)
    return [Fault(name, direction_name(given, to), text) for name, text in evidence.items() if text]


def _copies(result: MetricResult | None, seed: int) -> str | None:
    if result is None or result.ceiling is None:
        return None
    share, low, _ = result.interval(seed)
    if low - result.ceiling <= MORE_COPIES:
        return None
    return (
        f"{share:.0%} of the samples are near-copies of a training row; "
        f"of the real held-out rows, {result.ceiling:.0%}."
    )


def _same(real: Field, made: Field, clusters: np.ndarray, seed: int) -> str | None:
    true, ours = (torch.cdist(x, x).mean(1).numpy() for x in (as_vectors(real, real), as_vectors(made, real)))
    if true.mean() < 1e-6:
        return None
    _, high = bootstrap_interval(ours, true, clusters, seed=seed)
    if high >= SAME_SPREAD:
        return None
    return f"Samples of different inputs lie {ours.mean() / true.mean():.1%} as far apart as the real values do."


def _far_from_inputs(ours: Tensor, real: Tensor, inputs: Tensor, clusters: np.ndarray, seed: int) -> str | None:
    """Of vectors (n, D) in a judge's space."""
    samples, values = (_nearer(x, inputs) for x in (ours, real))
    knowable, _ = bootstrap_interval(values, None, clusters, seed=seed)
    low, high = bootstrap_interval(samples, None, clusters, seed=seed)
    if knowable <= 0 or low > 0 or high >= USED_INPUT * values.mean():
        return None
    return (
        f"Samples are {samples.mean():+.3f} nearer to their own input than to others in the judge's space; "
        f"real values are {values.mean():+.3f}."
    )


def _at_chance(kind: Kind, first: MetricResult | None, seed: int) -> str | None:
    """Of a direction's first metric."""
    if first is None or not first.is_right or first.ceiling is None or first.chance is None:
        return None
    # Of values that are put together of many ids, hardly one is right, whether the input is used or not.
    if not (kind.judged or kind.classes) or first.ceiling - first.chance < KNOWABLE:
        return None
    value, low, high = first.interval(seed)
    if low > first.chance or high - first.chance >= USED_INPUT * (first.ceiling - first.chance):
        return None
    return f"Its {first.metric} is {value:.3f}; without looking at the input it is {first.chance:.3f}."


def _nearer(values: Tensor, inputs: Tensor) -> np.ndarray:
    """(n,) how much more similar each value is to its own input than, in the mean, to those that differ from it."""
    distinct, own = torch.unique(inputs, dim=0, return_inverse=True)
    similarity = values @ distinct.T
    right = similarity.gather(1, own[:, None])[:, 0]
    return (right - (similarity.sum(1) - right) / max(len(distinct) - 1, 1)).double().numpy()


def _blurred(result: MetricResult | None, seed: int) -> str | None:
    if result is None:
        return None
    ratio, _, high = result.interval(seed)
    real = min(1.0, result.ceiling or 1.0)
    if high >= DETAIL * real:
        return None
    return f"Samples have {ratio:.0%} of the fine detail of their rows' real values; other real values have {real:.0%}."


def as_vectors(field: Field, like: Field) -> Tensor:
    """(n, F): numbers as they are, as long as those of ``like``; for ids, how often each of them comes."""
    if field.value.is_floating_point():
        length = like.mask.shape[1]
        return field.trim(length).pad(length).value.flatten(1).double()
    vocab = int(max(field.value.max(), like.value.max())) + 1
    real = field.mask.expand_as(field.value).double()
    return torch.zeros(len(field), vocab, dtype=torch.float64).scatter_add_(1, field.value.long(), real)
