"""Ranks of a retrieval."""

import torch
from torch import Tensor


def ranks(similarity: Tensor, right: Tensor | None = None) -> Tensor:
    """(N,) rank from 1 of the right answer among (N, M) similarities; ties count half.

    Args:
        similarity: (N, M).
        right: (N,) the column of each row's right answer; column i of row i by default.
    """
    right = similarity.gather(1, _columns(similarity, right))
    return 1 + (similarity > right).sum(1) + ((similarity == right).sum(1) - 1) / 2


def recall_at_k(similarity: Tensor, k: int, right: Tensor | None = None) -> Tensor:
    """(N,) 1 where the right answer is among the ``k`` nearest of (N, M) similarities, else 0.

    Args:
        similarity: (N, M).
        k: Number of answers.
        right: (N,) the column of each row's right answer; column i of row i by default.
    """
    best = similarity.topk(min(k, similarity.shape[1]), dim=1).indices
    return (best == _columns(similarity, right)).any(1).double()


def _columns(similarity: Tensor, right: Tensor | None) -> Tensor:
    return (torch.arange(len(similarity), device=similarity.device) if right is None else right)[:, None]
