"""Where a head looks: the shares of its cross-attention that the tokens of each given field get."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from polymodal.evaluation.explanation.own_modules import with_own_modules
from polymodal.model import Model
from polymodal.nn.attention import Attention
from polymodal.nn.random import make_keys
from polymodal.types import Batch, Field, Space


@torch.no_grad()
def attention_shares(
    model: Model, batch: Batch, made: Field, to: str, *, seed: int = 0, draws: int = 4
) -> dict[str, Tensor]:
    """The head's cross-attention to each token of the inputs while it explains an output.

    It is averaged over blocks, attention heads, positions of the output and draws of the loss's noise. What is missing
    to 1 goes to the token that belongs to no field. Tokens have exchanged information in the fusion, so that the shares
    say where the head looks, not why.

    Args:
        model: To be explained.
        batch: The inputs in model form, one row of each.
        made: The output, one row.
        to: The field of the output.
        seed: Seed of the loss's noise.
        draws: Number of noises.

    Returns:
        By field, (N,) a share for each token of its encoder, or (1,) where the fusion keeps one token of each field;
        empty if the fusion keeps none, or the head does not attend to them.

    Source: Vaswani et al., "Attention is all you need", 2017, appendix.
    """
    keeps = model.fusion.keeps
    if keeps is None:
        return {}
    model = with_own_modules(model)
    # The output is as long as the longest of its batch; what lies behind its end would attend to something as well.
    target = {to: made.trim(int(made.lengths[0])).to(model.device)}
    inputs = {name: field.to(model.device) for name, field in batch.items()}
    ordered = [name for name in model.encoders if name in inputs]
    visible = dict.fromkeys(inputs, torch.ones(1, dtype=torch.bool))
    found: list[Tensor] = []
    for number in range(draws):
        key = make_keys(seed, 1, start=number).to(model.device)
        counts, condition = {}, model.condition(inputs, visible, key)
        for name in ordered:
            counts[name] = int(model.tokens(name, inputs).mask.sum()) if keeps == "tokens" else 1
        length = 1 + sum(counts.values())
        with _watched(model.heads[to], length, found):
            condition.total_loss(to, model.target(target, to))
    if not found:
        return {}
    mean = torch.stack(found).mean(0).cpu()
    return dict(zip(ordered, mean[1:].split(list(counts.values())), strict=True))


def spread(shares: Tensor, field: Field, space: Space) -> Tensor | None:
    """Shares of tokens (N,) laid over the value of a field, one row, with the same sum.

    Returns:
        (L,) for ids, (channels, *grid) for pictures and sequences; None if the tokens do not lie on the value's grid.
    """
    shape = field.value.shape[1:]
    if space.kind == "discrete":
        missing = shape[0] - len(shares)
        return pad(shares, (0, missing)) if missing >= 0 else None
    grid = shape[1:]
    if not grid or len(grid) > 2:
        return None
    cells = [len(shares)]
    if len(grid) == 2:
        high = max(1, round((len(shares) * grid[0] / grid[1]) ** 0.5))
        cells = [high, len(shares) // high]
        if cells[0] * cells[1] != len(shares):
            return None
    if any(count > length for length, count in zip(grid, cells, strict=True)):
        return None
    over = shares.view(cells)
    for axis, (length, count) in enumerate(zip(grid, cells, strict=True)):
        places = _places(length, count)
        size = places.bincount(minlength=count).view(-1, *[1] * (len(cells) - 1 - axis))
        over = (over / size).index_select(axis, places)
    return (over / shape[0]).expand(shape)


def _places(length: int, count: int) -> Tensor:
    """(length,) the token, of ``count``, that each position belongs to.

    Encoders halve a length several times, so that the last token may reach beyond the end; other counts are taken to be
    of tokens of equal size.
    """
    stride = 2 ** math.ceil(math.log2(max(1.0, length / count)))
    positions = torch.arange(length)
    return positions // stride if -(-length // stride) == count else positions * count // length


@contextmanager
def _watched(head: torch.nn.Module, length: int, found: list[Tensor]) -> Iterator[None]:
    """Within, each cross-attention adds its mean shares (length,) of the tokens of the context.

    What a head attends to behind these tokens, such as a latent of a single field, is left out of the shares.
    """

    def note(layer: Attention, arguments: tuple[Tensor, ...], options: dict[str, Any]) -> None:
        context, mask = options["context"], options["mask"]
        real = mask[0].nonzero()[:, 0]
        if len(real) >= length:  # not the context in which nothing is visible
            shares = layer.shares(arguments[0], context, mask)[0, :, :, real[:length]]
            found.append((shares / shares.sum(-1, keepdim=True)).mean((0, 1)))

    layers = [layer for layer in head.modules() if isinstance(layer, Attention) and layer.crosses]
    hooks = [layer.register_forward_pre_hook(note, with_kwargs=True) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
