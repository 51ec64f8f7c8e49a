"""One direction of a model as a module of tensors alone, which can be traced: given fields and keys -> one field."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from polymodal.condition import FUSION, HEADS
from polymodal.export.loops import draw, times_of
from polymodal.model import Model
from polymodal.nn.random import fold
from polymodal.nn.shapes import fixed_shapes, keep_shape
from polymodal.types import Context, Field, Tokens


class Direction(nn.Module):
    """Draws one field given others, every one of which a row may lack.

    Args:
        model: Of which the parts that this direction needs are taken.
        given: Fields that can be given.
        to: The field that is drawn.
        options: Sampling options of its head.
    """

    def __init__(self, model: Model, given: Sequence[str], to: str, options: Mapping[str, Any] | None = None):
        super().__init__()
        self.model, self.given, self.to_field = _apart(model), tuple(given), to
        self.options = model.heads[to].options_with(options or {}, f"options.{to}")
        if steps := getattr(self.options, "steps", None):
            times_of(steps)
        self.stream = HEADS + list(model.heads).index(to)

    def forward(self, keys: Tensor, *values_and_masks: Tensor) -> tuple[Tensor, Tensor]:
        """(B,) keys, then of each given field its values (B, *shape) and mask (B, L) -> value (B, *shape) and mask.

        A field that a row lacks has a mask that is False everywhere; its values do not matter.
        """
        with fixed_shapes(), torch.no_grad():
            context, nothing = self._contexts(keys, values_and_masks)
            head = self.model.heads[self.to_field]
            made = keep_shape(draw(head, context, fold(keys, self.stream), nothing, self.options), head.space)
            if self.to_field in self.model.codecs:
                codec = self.model.codecs[self.to_field]
                made = keep_shape(codec.decode(made), codec.space)
        return made.value, made.mask

    def _contexts(self, keys: Tensor, values_and_masks: tuple[Tensor, ...]) -> tuple[Context, Context | None]:
        """What the head is told of the given fields, and of nothing where guidance leads away from that."""
        tokens = {}
        for place, name in enumerate(self.given):
            value, mask = values_and_masks[2 * place : 2 * place + 2]
            tokens[name] = self._tokens(name, value, mask)
        rows, device, told = len(keys), keys.device, fold(keys, FUSION)
        context = self.model.fusion(tokens, rows, device, told).of(self.to_field)
        guided = getattr(self.options, "guidance", 1.0) != 1.0
        nothing = self.model.fusion({}, rows, device, told).of(self.to_field) if guided else None
        return context, nothing

    def _tokens(self, name: str, value: Tensor, mask: Tensor) -> Tokens:
        """Tokens of a field, none of which is real in rows that lack it.

        Encoders read present rows only: a row that lacks the field is one of a single real position until then.
        """
        space = self.model.modalities[name].space
        given = mask.any(1, keepdim=True)
        first = torch.arange(mask.shape[1]) == 0
        field = Field(value, mask | (first & ~given), torch.ones_like(mask[:, 0]), space.varies)
        tokens = self.model.tokens(name, {name: field})
        return replace(tokens, mask=tokens.mask & given)


def _apart(model: Model) -> Model:
    """A copy on the CPU, each parameter in memory of its own, as a tracer wants it; see ``flatten_parameters``."""
    copied = copy.deepcopy(model).cpu()
    for parameter in copied.parameters():
        parameter.data = parameter.data.clone()
    return copied.requires_grad_(False)


def example(model: Model, given: Sequence[str], rows: int) -> tuple[Tensor, ...]:
    """Arguments of ``Direction.forward`` by which it is traced: keys, and rows that lack every field."""
    arguments = [torch.arange(rows)]
    for name in given:
        space = model.modalities[name].space
        dtype = torch.float32 if space.kind == "continuous" else torch.int64
        length = space.max_length if space.variable else 1
        arguments += [torch.zeros(rows, *space.shape, dtype=dtype), torch.zeros(rows, length, dtype=torch.bool)]
    return tuple(arguments)
