"""The probability that heads give to values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from polymodal.evaluation.metrics import bits_per_dimension, bootstrap_interval, perplexity
from polymodal.evaluation.metrics.result import MetricResult
from polymodal.generation import CHUNK
from polymodal.model import Model
from polymodal.nn.random import fold, make_keys
from polymodal.types import Batch


def likelihood(model: Model, given: Sequence[str], to: str, batch: Batch, seed: int) -> list[MetricResult]:
    """How probable a head finds the real values, given the inputs; nothing of heads that cannot tell.

    It is the perplexity of a token where the space is discrete, else bits per dimension; of a codec's latents where
    there is a codec. A head that only bounds the likelihood, by importance weights or draws, reports the bound. Chance
    is what it gives when it sees the inputs of another row.
    """
    if model.fusion.joint or len(batch[to]) < 2:  # p(x | given) is an integral over the latent, which no head knows
        return []
    keys, visible = fold(make_keys(seed, len(batch[to])), 1), {name: batch[name].present for name in given}
    others = {**batch, **{name: batch[name].pick(torch.arange(len(keys)).roll(1)) for name in given}}
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
                higher_is_better=False, aspect="likelihood",
            )
        ]  # fmt: skip
    low, high = bootstrap_interval(-ours, size, seed=seed)
    return [
        MetricResult(
            f"perplexity{latents}", np.zeros(0), rows=np.arange(len(ours)), chance=perplexity(theirs, size),
            higher_is_better=False, aspect="likelihood", whole=(perplexity(ours, size), math.exp(low), math.exp(high)),
        )
    ]  # fmt: skip


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
