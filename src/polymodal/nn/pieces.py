"""Tensors of which each process holds a piece, in code that may meet either these or plain ones."""

from typing import Any

import torch
from torch import Tensor


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor. Every process that holds a piece must call it; a plain tensor is returned as it is."""
    held: Any = tensor
    return held.full_tensor() if hasattr(held, "full_tensor") else tensor


def local(tensor: Tensor) -> Tensor:
    """The piece that this process holds, which may be empty, sharing its memory; a plain tensor is all of itself."""
    held: Any = tensor
    return held.to_local() if hasattr(held, "to_local") else tensor


def placed_like(tensor: Tensor, like: Tensor) -> Tensor:
    """The pieces of a whole tensor, known to every process, in the places where those of another lie."""
    held: Any = like
    if not hasattr(held, "placements"):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(held.device), held.device_mesh, held.placements, src_data_rank=None)


def zeros_apart(like: Tensor) -> Tensor:
    """Zeros in the form of a tensor: in pieces where it is, else on the CPU, which has more memory."""
    held: Any = like
    return torch.zeros_like(like) if hasattr(held, "placements") else torch.zeros(like.shape, dtype=like.dtype)


def largest(tensors: list[Tensor]) -> Tensor:
    """(K,) the largest absolute number of this process's piece of each tensor; 0 where the piece is empty."""
    pieces = [local(tensor.detach()) for tensor in tensors]
    held = [place for place, piece in enumerate(pieces) if piece.numel()]
    result = torch.zeros(len(pieces), device=pieces[0].device if pieces else None)
    if held:
        norms = torch.stack([n.float() for n in torch._foreach_norm([pieces[place] for place in held], torch.inf)])
        result[torch.tensor(held, device=norms.device)] = norms
    return result
