"""An optimiser for matrices: the mean gradient, its singular values all set to about one.

Source: Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024; the kernels of convolutions
are taken as matrices (outputs, inputs x places), as there. ``torch.optim.Muon`` takes no kernels, and one matrix after
another, where a model has a hundred small ones.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from polymodal.nn.layers import Linear
from polymodal.nn.pieces import placed_like, whole
from polymodal.training.precision import has_bf16

LEAST = 16
"""Rows and columns from which on a matrix has singular values enough to be worth it."""
RATIO = 0.5
"""Learning rate of the matrices beside that of all else: an orthogonal update has no weak direction, and does more."""
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic that brings singular values near one in few rounds; they end in [0.7, 1.2], which does no harm."""


class Muon(torch.optim.AdamW):
    """Muon for the groups that say ``orthogonal``, AdamW for the others.

    An orthogonal update of (m, n) is multiplied by sqrt(max(m, n)), so that its numbers are about one, as Adam's are,
    whichever way a matrix is stored. Source: Liu et al., "Muon is scalable for LLM training", 2025, section 2.2.

    Args:
        groups: Of parameters, as of AdamW; the first of ``betas`` is the momentum.
        lr: Learning rate of AdamW's; the orthogonal ones have ``RATIO`` of it.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float) -> None:
        super().__init__(groups, lr=lr, fused=True)
        self._step_supports_amp_scaling = False  # fp16's overflows are to be seen to before the step

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        found = getattr(
            self, "found_inf", None
        )  # as of AdamW's fused kernel: 1 if a gradient is not finite, 0 if all are
        every, orthogonal = self.param_groups, [g for g in self.param_groups if g["orthogonal"]]
        self.param_groups = [g for g in every if not g["orthogonal"]]
        try:
            loss = super().step(closure)
        finally:
            self.param_groups = every
        for group in orthogonal:
            self._turn(group, found)
        return loss

    def _turn(self, group: dict[str, Any], found_inf: Tensor | None) -> None:
        beta, rate, decay = group["betas"][0], RATIO * group["lr"], RATIO * group["lr"] * group["weight_decay"]
        change: float | Tensor = 1 - beta
        if found_inf is not None:  # nothing moves, and nobody waits to know it
            change, rate, decay = (1 - found_inf) * change, (1 - found_inf) * rate, (1 - found_inf) * decay
        updates: dict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = {}
        for p in group["params"]:
            if p.grad is None:
                continue
            if p not in self.state:
                self.state[p].update(step=torch.zeros(()), exp_avg=torch.zeros_like(p))  # AdamW looks for a step
            gradient = p.grad if found_inf is None else torch.where(found_inf > 0, 0.0, p.grad)
            mean = self.state[p]["exp_avg"].lerp_(gradient, change)
            update = torch.lerp(gradient, mean, beta)  # Nesterov's
            updates.setdefault((len(p), p.numel() // len(p)), []).append((p, update))
        for (rows, columns), pairs in updates.items():  # all of one shape at once
            # An update has no pieces that could be turned by themselves: each process turns the whole of it.
            stack = orthogonalised(torch.stack([whole(update).flatten(1) for _, update in pairs]))
            scale = rate * max(rows, columns) ** 0.5
            for (p, _), update in zip(pairs, stack, strict=True):
                turn = placed_like(update.view(p.shape).to(p.dtype), p)
                p.mul_(1 - decay)
                p.sub_(turn, alpha=scale) if found_inf is None else p.sub_(turn * scale)


def orthogonalised(matrices: Tensor, rounds: int = 5) -> Tensor:
    """(K, m, n) -> about U V^T of each one's singular value decomposition, by Newton-Schulz iterations.

    They bear bf16, and are done in it where it is fast.
    """
    if matrices.shape[1] > matrices.shape[2]:
        return orthogonalised(matrices.mT, rounds).mT
    a, b, c = COEFFICIENTS
    x = matrices.bfloat16() if has_bf16(matrices.device.type) else matrices.float()
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(rounds):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def hidden_matrices(module: nn.Module) -> set[Tensor]:
    """Those for Muon: weights of linear layers and convolutions, but for small ones, as those at the ends."""
    kinds = (Linear, nn.Linear, nn.Conv1d, nn.Conv2d)
    weights = (child.weight for child in module.modules() if isinstance(child, kinds))
    return {w for w in weights if min(len(w), w.numel() // len(w)) >= LEAST}


def of_muon(module: nn.Module) -> set[Tensor]:
    """The hidden matrices of those parts within a module that say ``muon``."""
    return set().union(*(hidden_matrices(part) for part in module.modules() if getattr(part, "muon", False)))
