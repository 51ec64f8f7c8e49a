"""What the visible fields of some rows tell the heads: the one place where fields are encoded, aligned and fused, and
where the streams of random numbers of the fusion and of every head begin.

Shapes: B rows of a batch, V tasks for each of them, so V B contexts, all rows with their first task first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from polymodal.heads.base import LIKELIEST, UNGUIDED
from polymodal.nn.random import fingerprints, fold
from polymodal.nn.shapes import keep_shape
from polymodal.types import Batch, Context, Field, Losses, Needs, Tokens

if TYPE_CHECKING:
    from polymodal.model import Model

FUSION = 998
"""Stream of the keys that the fusion draws from."""
LATENT = ".latent"
"""A batch may hold ``picture.latent`` beside ``picture``: the codec's code of it, computed once and cached."""
FEATURES = ".features"
"""A batch may hold ``name.features`` beside ``name``: the tokens (B, N, *) of an encoder that does not learn."""
HEADS = 1000
"""Stream of the keys of the first head; each further one has the next."""


class Condition:
    """The conditioning of some rows: ``loss``, ``sample`` and ``log_likelihood`` of any field given the visible ones.

    Made by ``Model.condition``.

    Args:
        model: Whose fields they are.
        batch: Values (B, ...) in model form; fields that no row sees may be missing.
        visible: By field, (V B,) on the CPU, whether it is given.
        keys: (V B,) random keys, the rows' own first.
        tasks_per_row: V. A row is encoded once for all of its tasks.
        present: By field, (B,) on the CPU: the rows that are encoded for the alignment, visible or not; None for no
            alignment.
        augment: Whether encoders augment what they read, as in training.
        needs: Fields that are encoded and fused although no row here may need them.
        empty: The same rows with nothing visible, where that is known already.
    """

    def __init__(
        self,
        model: Model,
        batch: Batch,
        visible: Mapping[str, Tensor],
        keys: Tensor,
        *,
        tasks_per_row: int = 1,
        present: Mapping[str, Tensor] | None = None,
        augment: bool = False,
        needs: Needs | None = None,
        empty: Condition | None = None,
    ):
        self.model, self.batch, self.visible, self.keys = model, batch, visible, keys
        self.tasks_per_row, self.present, self.augment = tasks_per_row, present, augment
        self.needs, self._empty = needs or Needs(), empty

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def context(self) -> Context:
        """What the fusion makes of the visible fields; with an alignment, its loss is one of the context's."""
        rows = len(self) // self.tasks_per_row
        seen = {name: mask.reshape(self.tasks_per_row, rows).any(0) for name, mask in self.visible.items()}
        read = seen if self.present is None else self.present
        given = self.needs.given
        held = given if self.present is None else self.needs.held
        tokens = encode(self.model, self.batch, read, self.keys[:rows] if self.augment else None, always=held)
        context = fuse(self.model, tokens, self.visible, self.keys, exact=self.present is None, always=given)
        if self.present is not None:
            losses = align(self.model, tokens, read, self.batch)
            context.losses.update({name: term.repeat(self.tasks_per_row) for name, term in losses.items()})
        return context

    @cached_property
    def nothing(self) -> Context:
        """The context of one row in which nothing is visible, without gradient, for heads that learn guided samples."""
        with torch.no_grad():
            return fuse(self.model, {}, {}, None, rows=1)

    @property
    def empty(self) -> Condition:
        """The same rows with nothing visible, which guidance leads away from."""
        self._empty = self._empty or Condition(self.model, {}, {}, self.keys)
        return self._empty

    def of(self, name: str, index: Tensor | None = None) -> tuple[Context, Tensor]:
        """What the head of a field is told, and the keys that it draws by, in the rows at ``index`` (n,) or in all."""
        context, keys = self.context.of(name), fold(self.keys, HEADS + list(self.model.heads).index(name))
        return (context, keys) if index is None else (context.pick(index), keys[index])

    def loss(
        self,
        name: str,
        target: Field,
        player: str = "model",
        *,
        index: Tensor | None = None,
        watch: Callable[[str, Context], None] | None = None,
    ) -> Losses:
        """The terms (n,) of the loss of a field's head.

        Args:
            name: Name of the field.
            target: Real values of the rows at ``index``, as ``Model.target`` gives them.
            player: One of the head's players.
            index: (n,) rows; all if not given.
            watch: Called with the field's name and the context of these rows, which is then this head's alone.
        """
        context, keys = self.of(name, index)
        if player == "model":
            context = replace(context, nothing=self.nothing.of(name))
        if watch:
            watch(name, context)
        return self.model.heads[name].loss(context, target, player, keys)

    def total_loss(self, name: str, target: Field) -> Tensor:
        """(n,) the sum of the terms of the loss of a field's head, for whoever asks how well a value is explained."""
        return torch.stack(list(self.loss(name, target).values())).sum(0)

    @torch.no_grad()
    def sample(self, name: str, index: Tensor | None = None, **options: object) -> Field:
        """One value of a field (n, ...), decoded by its codec, for each of the rows at ``index`` (n,) or for all."""
        context, keys = self.of(name, index)
        unconditional, _ = self.empty.of(name, index)
        head = self.model.heads[name]
        value = keep_shape(head.sample(context, keys, unconditional=unconditional, **options), head.space)
        if name in self.model.codecs:
            codec = self.model.codecs[name]
            value = keep_shape(codec.decode(value), codec.space)
        return value

    @torch.no_grad()
    def log_likelihood(self, name: str, target: Field, index: Tensor | None = None) -> Tensor | None:
        """(n,) log p(target | visible fields) in nats, or a bound below it; None if the head cannot tell.

        Args:
            name: Name of the field.
            target: Of the rows at ``index``, as ``Model.target`` gives them: a codec's code where there is a codec.
            index: (n,) rows; all if not given.
        """
        context, keys = self.of(name, index)
        return self.model.heads[name].log_likelihood(context, target, keys)

    def to_draw(self, name: str, wanted: Tensor, given: Mapping[str, Tensor]) -> Condition:
        """What a field is drawn from in the rows that are ``wanted``, (B,) on the CPU, by ``Recipe.pivots`` and
        ``Recipe.screens``.

        A field that was generated, not ``given``, is not seen beside one that screens it off. The likeliest value of a
        pivot is seen, too, where what is seen has one that is not seen itself.
        """
        recipe, nowhere = self.model.recipe, torch.zeros_like(wanted)
        condition, visible = self, dict(self.visible)
        for source, screens in (recipe.screens or {}).get(name, {}).items():
            beside = torch.stack([self.visible.get(screen, nowhere) for screen in screens]).any(0)
            if (hidden := self.visible.get(source, nowhere) & ~given.get(source, nowhere) & beside).any():
                visible[source] = visible[source] & ~hidden
                condition = Condition(self.model, self.batch, visible, self.keys, empty=self.empty)
        for source, pivot in (recipe.pivots or {}).get(name, {}).items():
            missing = wanted & visible.get(source, nowhere) & ~condition.visible.get(pivot, nowhere)
            if missing.any():
                condition = condition.give_likeliest(pivot, missing.nonzero()[:, 0].to(self.keys.device))
        return condition

    def give_likeliest(self, name: str, index: Tensor | None = None) -> Condition:
        """The same rows; in those at ``index`` (n,), or in all, the likeliest value of a field of ids is given, too."""
        made = self.sample(name, index, **self.model.heads[name].preferring({}, LIKELIEST | UNGUIDED))
        return self.give(name, made if index is None else made.scatter(index, len(self)))

    def give(self, name: str, made: Field) -> Condition:
        """The same rows, in which what was made of a field is given to the fields that are made after it.

        Nothing changes for a field that is an output only, or where all is made from one joint latent.
        """
        if name not in self.model.encoders or self.model.fusion.joint:
            return self
        wanted = made.present.cpu()
        batch = {**self.batch, name: self.batch[name].overlay(made) if name in self.batch else made}
        batch.pop(name + FEATURES, None)  # those are of the values before
        visible = {**self.visible, name: self.visible.get(name, torch.zeros_like(wanted)) | wanted}
        return Condition(self.model, batch, visible, self.keys, empty=self.empty)


def encode(
    model: Model,
    batch: Batch,
    read: Mapping[str, Tensor],
    keys: Tensor | None = None,
    *,
    always: Collection[str] = (),
) -> dict[str, Tokens]:
    """Tokens of each field that any row reads, with an all-False mask in the other rows.

    Args:
        model: Whose encoders.
        batch: Values (B, ...).
        read: By field, (B,) on the CPU.
        keys: (B,) for augmentation in training.
        always: Fields whose encoders are called all the same if no row reads them; what they make then is not real.
    """
    tokens = {}
    for place, name in enumerate(model.encoders):
        if name not in read or not (index := read[name].nonzero()[:, 0]).numel():
            if name in always:
                blank = model.tokens(name, model.blank(name))
                x, mask = (t.expand(len(read[name]), *t.shape[1:]) for t in (0.0 * blank.x, blank.mask))
                tokens[name] = Tokens(x, torch.zeros_like(mask), blank.places, blank.ordered)
            continue
        rows, own_keys = len(read[name]), None if keys is None else fold(keys, place)
        if len(index) == rows:  # nothing is to be picked out, nor put back in its place
            tokens[name] = model.tokens(name, batch, keys=own_keys)
            continue
        index = index.to(model.device, non_blocking=True)
        part = model.tokens(name, batch, index, None if own_keys is None else own_keys[index])
        x = part.x.new_zeros(rows, *part.x.shape[1:]).index_copy(0, index, part.x)
        mask = part.mask.new_zeros(rows, part.mask.shape[1]).index_copy(0, index, part.mask)
        tokens[name] = Tokens(x, mask, part.places, part.ordered)
    return tokens


def fuse(
    model: Model,
    tokens: Mapping[str, Tokens],
    visible: Mapping[str, Tensor],
    keys: Tensor | None,
    *,
    rows: int | None = None,
    exact: bool = False,
    always: Collection[str] = (),
) -> Context:
    """The context of V B rows.

    Args:
        model: Whose fusion.
        tokens: By field, of B rows.
        visible: By field, (V B,) on the CPU.
        keys: (V B,); a fusion that draws takes what is likeliest without them.
        rows: V B, where there are no keys.
        exact: With V = 1, no row was encoded that does not see the field.
        always: Fields that the fusion takes in all the same if no row sees them.
    """
    rows = len(keys) if keys is not None else rows or 0
    seen = {}
    for name, part in tokens.items():
        if name not in visible or not (visible[name].any() or name in always):
            continue
        copies = rows // len(part.x)
        x, mask = (part.x, part.mask) if copies == 1 else (part.x.repeat(copies, 1, 1), part.mask.repeat(copies, 1))
        if copies > 1 or not exact:
            mask = mask & visible[name].to(model.device, non_blocking=True)[:, None]
        seen[name] = Tokens(x, mask, part.places, part.ordered)
    return model.fusion(seen, rows, model.device, None if keys is None else fold(keys, FUSION))


def align(model: Model, tokens: Mapping[str, Tokens], present: Mapping[str, Tensor], batch: Batch) -> Losses:
    """The terms (B,) of the alignment of the fields that the rows have, whether they are visible or not."""
    if model.alignment is None:
        return {}
    encodings, encoded, contents = {}, {}, {}
    for name in model.encoders:
        if name in tokens:
            encodings[name], encoded[name] = tokens[name].mean, tokens[name].seen
        else:  # other processes may have it, and wait for this one where the alignment gathers all rows
            rows, width = len(present[name]), model.recipe.width
            encodings[name] = torch.zeros(rows, width, device=model.device, requires_grad=torch.is_grad_enabled())
            encoded[name] = present[name].to(model.device, non_blocking=True)
        field = model.given(name, batch)
        contents[name] = torch.zeros(len(present[name]), 4, device=model.device) if field is None else content(field)
    return model.alignment(encodings, encoded, contents)


def content(field: Field) -> Tensor:
    """(B, 4) numbers that are equal where the values of two rows of a field are, whatever the longest row's length."""
    value = field.value.masked_fill(~field.real, 0)
    return fingerprints(value if field.varies is None else value.movedim(1 + field.varies, 1))
