"""Tasks: which fields of each row are given, and which are to be generated."""

from collections.abc import Mapping

import torch
from torch import Tensor

from polymodal.config import TasksConfig
from polymodal.nn.random import choose, fold, uniform
from polymodal.types import Task


def draw(
    present: Mapping[str, Tensor],
    inputs: Mapping[str, bool],
    outputs: Mapping[str, bool],
    config: TasksConfig,
    keys: Tensor,
) -> Task:
    """Draws a task for every row.

    A row's present fields are given all, none, one, or some of them, with the odds of ``config``; what is present and
    not given is generated. A row that would have nothing to generate is given nothing instead; of the rows with a
    single field ``alone`` are given it and asked for it, so that they teach its head and its encoder. With
    ``reconstruct`` all that is present is generated, and ``some`` is any subset but that of none, with even odds: each
    is a posterior of the joint latent (MoPoE: Sutter et al. 2021).

    Args:
        present: By field, (B,) on the CPU.
        inputs: Whether each field may be given.
        outputs: Whether each field may be generated.
        config: Odds.
        keys: (B,) on the CPU.
    """
    names = list(present)
    there = torch.stack([present[name] for name in names], dim=1)
    givable = there & torch.tensor([inputs[name] for name in names])
    wanted = there & torch.tensor([outputs[name] for name in names])

    odds = torch.tensor([config.none, config.one, config.some, config.all])
    if config.few:
        odds = (odds / odds.sum()).expand(len(keys), -1).clone()
        kept = odds[:, 1] * (config.few / givable.sum(1).clamp(min=1)).clamp(max=1)
        odds[:, 2] += odds[:, 1] - kept
        odds[:, 1] = kept
    way = choose(odds, fold(keys, 0))[:, None]

    share = givable * torch.tensor([config.inputs.get(name, 1.0) for name in names])
    reach = share.cumsum(1)
    mark = uniform(fold(keys, 1))[:, None] * reach[:, -1:]
    one = (reach > mark) & (torch.nn.functional.pad(reach, (1, 0))[:, :-1] <= mark)
    some = _subset(givable, keys) if config.reconstruct else _some(givable, wanted, keys)

    visible = torch.where(way == 1, one, some | (way == 3)) & (way > 0) & givable
    if config.reconstruct:
        target = wanted
    else:
        nothing_left = ~(wanted & ~visible).any(1, keepdim=True)
        visible &= ~nothing_left
        target = wanted & ~visible
        if len(names) > 1:  # nobody asks for another field of the only one there is
            single = givable & wanted & (there.sum(1, keepdim=True) == 1)
            visible |= single & (uniform(fold(keys, 4)) < config.alone)[:, None]
    return Task(dict(zip(names, visible.unbind(1), strict=True)), dict(zip(names, target.unbind(1), strict=True)))


def _some(givable: torch.Tensor, wanted: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """Any number of what is givable (B, fields) in each row, with even odds, so that something is left to generate."""
    most = givable.sum(1) - (wanted & ~givable).logical_not().all(1).int()
    number = 1 + (uniform(fold(keys, 5)) * most.clamp(min=1)).long()
    order = uniform(fold(keys, 2), (givable.shape[1],)).masked_fill(~givable, 2.0)
    return givable & (order.argsort(1).argsort(1) < number[:, None])


def _subset(givable: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """One of the subsets, not empty, of what is givable (B, fields) in each row, with even odds."""
    subsets = 2 ** givable.sum(1) - 1
    number = 1 + (uniform(fold(keys, 2)).double() * subsets).long()  # whose bits say what is in it
    return givable & (number[:, None] >> (givable.cumsum(1) - 1).clamp(min=0) & 1).bool()
