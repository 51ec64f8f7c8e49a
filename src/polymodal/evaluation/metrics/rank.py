"""Median rank of a retrieval."""

import torch
from torch import Tensor


def ranks(similarity: Tensor) -> Tensor:
    """(N,) rank from 1 of the right answer, column i of row i, among (N, M) similarities; ties count half."""
    own = similarity.diagonal()[:, None]
    return 1 + (similarity > own).sum(1) + ((similarity == own).sum(1) - 1) / 2


def median_rank(similarity: Tensor, rows: Tensor | None = None) -> float:
    """The median of ``ranks``, of all rows or of those at ``rows`` (n,)."""
    found = ranks(similarity).double()
    return float(torch.quantile(found if rows is None else found[rows], 0.5))
