"""The probability that heads give to values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from polymodal.data import Rows, connected
from polymodal.evaluation.metrics import bits_per_dimension, bootstrap_interval, other_rows, perplexity
from polymodal.evaluation.metrics.result import MetricResult
from polymodal.generation import CHUNK
from polymodal.model import Model
from polymodal.nn.random import fold, make_keys
from polymodal.types import Batch


def likelihood(
    model: Model, rows: Rows, given: Sequence[str], to: str, batch: Batch, clusters: np.ndarray, seed: int
) -> list[MetricResult]:
    """How probable a head finds the real values, given the inputs; nothing of heads that cannot tell.

    It is the perplexity of a token where the space is discrete, else bits per dimension; of a codec's latents where
    there is a codec. A head that only bounds the likelihood, by importance weights or draws, reports the bound. Chance
    is what it gives when it sees the inputs of another row, which differ from the row's own, as its value does.

    Args:
        model: Whose head it is.
        rows: The n rows.
        given: Fields that are given.
        to: The field.
        batch: Real values of these fields.
        clusters: (n,) the cluster of each row.
        seed: Seed of the noise and of the intervals.
    """
    if model.fusion.joint or len(batch[to]) < 2:  # p(x | given) is an integral over the latent, which no head knows
        return []
    keys, visible = fold(make_keys(seed, len(batch[to])), 1), {name: batch[name].present for name in given}
    other = torch.from_numpy(_others(rows, given, to, seed))
    others = {**batch, **{name: batch[name].pick(other) for name in given}}
    found = log_likelihoods(model, batch, visible, to, keys)
    blind = found and log_likelihoods(model, others, visible, to, keys)
    if found is None or blind is None:
        return []
    (ours, size), (theirs, _) = ([part.double().numpy() for part in pair] for pair in (found, blind))
    kind, latents = model.heads[to].space.kind, " of latents" if to in model.codecs else ""
    if kind == "continuous":
        return [
            MetricResult(
                f"bits per dimension{latents}", -ours / math.log(2), size, chance=bits_per_dimension(theirs, size),
                higher_is_better=False, aspect="likelihood", clusters=clusters,
            )
        ]  # fmt: skip
    low, high = bootstrap_interval(-ours, size, clusters, seed=seed)
    return [
        MetricResult(
            f"perplexity{latents}", np.zeros(0), rows=np.arange(len(ours)), chance=perplexity(theirs, size),
            higher_is_better=False, aspect="likelihood", clusters=clusters,
            whole=(perplexity(ours, size), math.exp(low), math.exp(high)),
        )
    ]  # fmt: skip


def _others(rows: Rows, given: Sequence[str], to: str, seed: int) -> np.ndarray:
    """(n,) places of rows with other inputs and another value; with other inputs alone, where hardly any has both."""
    slots = np.stack([rows.columns[name].slots for name in given], axis=1)
    inputs = np.unique(slots, axis=0, return_inverse=True)[1].reshape(-1)
    both = connected([inputs, len(rows) + rows.columns[to].slots], len(rows))
    return other_rows(both if 2 * np.bincount(both).max() <= len(rows) else inputs, seed=seed)


@torch.no_grad()
def log_likelihoods(
    model: Model, batch: Batch, visible: Mapping[str, Tensor], to: str, keys: Tensor
) -> tuple[Tensor, Tensor] | None:
    """log p of each row's value of a field, in nats (n,), and its number of tokens or dimensions (n,).

    None if the head cannot tell. The latents of a codec are measured where there is a codec.

    Args:
        model: Whose head it is.
        batch: Values of the n rows, on the CPU.
        visible: The rows in which a field is given, by field, (n,).
        to: The field.
        keys: (n,).
    """
    found, sizes = [], []
    for part in torch.arange(len(keys)).split(CHUNK):
        values = {name: field.pick(part).to(model.device) for name, field in batch.items()}
        seen = {name: mask[part] for name, mask in visible.items()}
        target = model.target(values, to)
        log_likelihood = model.condition(values, seen, keys[part].to(model.device)).log_likelihood(to, target)
        if log_likelihood is None:
            return None
        found.append(log_likelihood.cpu())
        sizes.append((target.lengths * (target.value[0].numel() // target.mask.shape[1])).cpu())
    return torch.cat(found), torch.cat(sizes)
