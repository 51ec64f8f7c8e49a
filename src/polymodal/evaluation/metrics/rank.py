"""Ranks of a retrieval."""

import torch
from torch import Tensor


def ranks(similarity: Tensor) -> Tensor:
    """(N,) rank from 1 of the right answer, column i of row i, among (N, M) similarities; ties count half."""
    right = similarity.diagonal()[:, None]
    return 1 + (similarity > right).sum(1) + ((similarity == right).sum(1) - 1) / 2


def median_rank(similarity: Tensor, rows: Tensor | None = None) -> float:
    """The median of ``ranks``, of all rows or of those at ``rows`` (n,)."""
    found = ranks(similarity).double()
    return float(torch.quantile(found if rows is None else found[rows], 0.5))


def recall_at_k(similarity: Tensor, k: int) -> Tensor:
    """(N,) 1 where the right answer, column i of row i, is among the ``k`` nearest of (N, M) similarities, else 0."""
    best = similarity.topk(min(k, similarity.shape[1]), dim=1).indices
    return (best == torch.arange(len(similarity), device=best.device)[:, None]).any(1).double()
