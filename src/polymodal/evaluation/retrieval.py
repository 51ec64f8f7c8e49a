"""Retrieval: whether a value finds what belongs to it."""

import torch
from torch import Tensor


def recall_at_k(similarity: Tensor, k: int) -> Tensor:
    """(N,) 1 where the right answer, column i of row i, is among the ``k`` nearest of (N, M) similarities, else 0."""
    best = similarity.topk(min(k, similarity.shape[1]), dim=1).indices
    return (best == torch.arange(len(similarity), device=best.device)[:, None]).any(1).double()
