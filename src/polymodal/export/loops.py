"""Loops that a graph can hold: heads that draw step by step, written so that one step is traced once.

``torch.while_loop`` becomes a Loop of ONNX. Its state keeps its shapes, so that caches have their full length from the
beginning, and a step sees of them what a mask shows. Each function draws what the head's own ``draw`` draws, number by
number: random numbers come from the same keys.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import groupby, pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from polymodal.heads.autoregressive import Autoregressive
from polymodal.heads.base import Head
from polymodal.heads.flow import Flow, FlowOptions
from polymodal.heads.lengths import draw_positions
from polymodal.heads.likelihoods import Ids
from polymodal.heads.masked import Masked, MaskedOptions
from polymodal.heads.recurrent import Recurrent
from polymodal.heads.token_sampling import END, PAD, SequenceOptions, gumbel
from polymodal.heads.vae import VariationalAutoencoder
from polymodal.nn.attention import LayerCache, Turns, rotation
from polymodal.nn.bounds import clamp_to_bounds
from polymodal.nn.ode import Velocity
from polymodal.nn.random import fold, normal
from polymodal.nn.shortcuts import SHORTCUTS
from polymodal.nn.transformer import Transformer
from polymodal.types import Context, Field

Drawer = Callable[[Any, Context, Tensor, Context | None, Any], Field]
"""A head, its context, (B,) keys, the context of nothing and checked options -> one value per row."""

FEW = 2
"""Steps of the same kind up to which they are written out, in place of a loop."""


def draw(head: Head, context: Context, keys: Tensor, nothing: Context | None, options: Any) -> Field:
    """One value per row, as ``head.draw`` gives it."""
    drawer = DRAWERS.get(type(head))
    if drawer is None:
        return plain(head, context, keys, nothing, options)
    return drawer(head, _apart(context), keys, None if nothing is None else _apart(nothing), options)


def _apart(context: Context) -> Context:
    """A context whose tensors share no memory: what a loop takes in may not be a view of anything else it takes in."""
    return replace(context, tokens=_own(context.tokens), mask=_own(context.mask), pooled=_own(context.pooled))


def plain(head: Head, context: Context, keys: Tensor, nothing: Context | None, options: Any) -> Field:
    """Of a head that draws in one pass."""
    return head.draw(context, keys, nothing, options)


def draw_flow(head: Flow, context: Context, keys: Tensor, nothing: Context | None, options: FlowOptions) -> Field:
    """The solver's steps, of which those that follow each other with the same guidance are one loop."""
    rows, short = len(keys), head.shortcuts > 0 and options.steps in SHORTCUTS
    mask = torch.ones(rows, 1, dtype=torch.bool)
    if head.length is not None:
        mask = head.length.draw(context.pooled, fold(keys, 2))
    seen = head.patches.mask(mask)
    noise = normal(fold(keys, 0), (head.space.channels, *head.patches.canvas))
    x = head.patches.trim(head.patches.cut(noise), seen.shape[1])
    level = torch.full((rows,), SHORTCUTS.index(options.steps)) if short else None
    guides = not short and nothing is not None and options.guidance != 1
    both = context.beside(nothing) if guides and nothing is not None else None
    twice = torch.cat([seen, seen])
    # Compared as ``guide`` compares them, in 32 bits: a time that is an end of the interval is within it.
    begin, end = (float(np.float32(time)) for time in options.guidance_interval)

    def velocity(x: Tensor, time: Tensor, guided: bool) -> Tensor:
        if not guided or both is None:
            return head.velocity(x, seen, time.expand(rows), context, level)
        given, free = head.velocity(torch.cat([x, x]), twice, time.expand(2 * rows), both).chunk(2)
        return torch.lerp(free, given, options.guidance)

    moments = times_of(options.steps)
    times, sizes = torch.tensor(moments), torch.tensor([b - a for a, b in pairwise(moments)])
    where = [guides and begin <= t <= end for t in moments]
    solver = "euler" if short else options.solver
    between = [guides and begin <= float(np.float32((a + b) / 2)) <= end for a, b in pairwise(moments)]
    kinds: list[tuple[str, bool, bool]] = [
        (solver, where[step], between[step] if solver == "midpoint" else where[step + 1])
        for step in range(options.steps - 1)
    ]
    kinds.append(("euler", where[-2], False))  # the last step looks at its beginning only
    for (name, first, second), steps in groupby(range(options.steps), key=lambda step: _merged(kinds[step])):

        def advance(
            x: Tensor, time: Tensor, after: Tensor, size: Tensor, name: str = name, first: bool = first,
            second: bool = second,
        ) -> Tensor:  # fmt: skip
            return STEPS[name](
                lambda x, t: velocity(x, t, first), lambda x, t: velocity(x, t, second), x, time, after, size
            )

        x = _run(advance, x, list(steps), times, sizes)
    value = clamp_to_bounds(head.patches.join(x, mask.shape[1]), head.space)
    made = Field.full(value, mask, head.space.varies)
    return made.with_value(value) if head.space.variable else made


@cache
def times_of(steps: int) -> list[float]:
    """``torch.linspace(0, 1, steps + 1)`` as numbers. While a graph is traced there are none, so it is asked before."""
    return torch.linspace(0, 1, steps + 1).tolist()


def _merged(kind: tuple[str, bool, bool]) -> tuple[str, bool, bool]:
    """The same for steps that are the same: Euler's looks at one time."""
    name, first, second = kind
    return name, first, second and name != "euler"


def _euler(first: Velocity, second: Velocity, x: Tensor, time: Tensor, after: Tensor, size: Tensor) -> Tensor:
    return x + size * first(x, time)


def _heun(first: Velocity, second: Velocity, x: Tensor, time: Tensor, after: Tensor, size: Tensor) -> Tensor:
    slope = first(x, time)
    return x + (slope + second(x + size * slope, after)) * (size / 2)


def _midpoint(first: Velocity, second: Velocity, x: Tensor, time: Tensor, after: Tensor, size: Tensor) -> Tensor:
    return x + size * second(x + first(x, time) * (size / 2), torch.lerp(time, after, 0.5))


STEPS = {"euler": _euler, "heun": _heun, "midpoint": _midpoint}
"""One step of each of ``nn.ode``'s solvers, whose two evaluations may differ in guidance."""


def _own(x: Tensor) -> Tensor:
    """The same numbers in memory of their own, one after the other, as the state of a loop must have them."""
    return x.clone(memory_format=torch.contiguous_format)


def _run(advance: Callable[..., Tensor], x: Tensor, steps: list[int], times: Tensor, sizes: Tensor) -> Tensor:
    """The state after so many steps that follow each other."""
    if len(steps) <= FEW:
        for step in steps:
            x = advance(x, times[step : step + 1], times[step + 1 : step + 2], sizes[step : step + 1])
        return x
    last, shape = steps[-1], tuple(x.shape)

    def more(step: Tensor, x: Tensor) -> Tensor:
        return step[0] <= last

    def body(step: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        time, after, size = (
            table.index_select(0, at) for table, at in ((times, step), (times, step + 1), (sizes, step))
        )
        # The tracer may take sizes of what a loop carries for symbols; networks compute with them as numbers.
        return step + 1, _own(advance(x.view(shape), time, after, size))

    return torch.while_loop(more, body, (torch.full((1,), steps[0]), _own(x)))[1]


class FixedCache(LayerCache):
    """Keys and values of one layer at their full length; what is added makes new ones, in place of changing them.

    Keys and values are apart, and one position of each is put in by a Scatter: a graph copies whatever it takes a part
    of, and compares every place to choose by a condition.

    Args:
        keys: (B, heads, L, head width).
        values: (B, heads, L, head width).
        context: Keys and values of the context.
        place: (1,) where what comes is put.
    """

    def __init__(self, keys: Tensor, values: Tensor, context: tuple[Tensor, Tensor] | None, place: Tensor):
        super().__init__(keys, context)
        self.values, self.place = values, place

    def extend(self, packed: Tensor, position: int) -> tuple[Tensor, Tensor, Tensor | None]:
        at = self.place.view(1, 1, 1, 1).expand(packed.shape[1:])
        self.memory, self.values = self.memory.scatter(2, at, packed[0]), self.values.scatter(2, at, packed[1])
        seen = torch.arange(self.memory.shape[2]) <= self.place
        return self.memory, self.values, seen[None, None, None]


class Steps:
    """A transformer that reads one position after another.

    Args:
        transformer: Causal, with rotary positions or without.
        rows: B.
        length: L.
        context: To which it attends, if it does.
    """

    def __init__(self, transformer: Transformer, rows: int, length: int, context: Context):
        self.transformer, self.mask = transformer, context.mask
        shape = (rows, transformer.heads, length, transformer.head_width)
        self.start = tuple(torch.zeros(shape) for _ in transformer.blocks for _ in range(2))
        self.turns = rotation(length, transformer.head_width) if transformer.rotary else None
        self.contexts: list[tuple[Tensor, Tensor] | None] = []
        for block in transformer.blocks:
            if block.crosses:
                cross: Any = block.cross
                key, value = cross._split(context.tokens @ cross.key_value.weight, 2).unbind()
                self.contexts.append((_own(key), _own(value)))
            else:
                self.contexts.append(None)

    def step(self, x: Tensor, place: Tensor, memories: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """x (B, 1, D) at a place (1,) -> (B, D), and the memories after it: keys and values of each block."""
        turns: Turns | None = None
        if self.turns is not None:
            turns = self.turns[0].index_select(0, place), self.turns[1].index_select(0, place)
        kept = zip(memories[::2], memories[1::2], self.contexts, strict=True)
        caches = [FixedCache(keys, values, context, place) for keys, values, context in kept]
        for block, layer in zip(self.transformer.blocks, caches, strict=True):
            x = block(x, context_mask=self.mask, causal=True, cache=layer, turns=turns)
        return self.transformer.norm(x)[:, 0], tuple(each for layer in caches for each in (layer.memory, layer.values))


Logits = Callable[[Tensor, Tensor, Tensor, tuple[Tensor, ...]], tuple[Tensor, tuple[Tensor, ...]]]
"""``(place (1,), ids before (B,), whether there are none, state)`` -> logits (B, vocab) and the state after it."""


def _decode(head: Any, keys: Tensor, logits: Logits, state: tuple[Tensor, ...], options: SequenceOptions) -> Field:
    """Ids (B, L) from left to right until every row has ended; as ``token_sampling.decode``."""
    space, rows, guided = head.space, len(keys), options.guidance != 1.0
    length = options.max_length or space.shape[0]

    def more(place: Tensor, ids: Tensor, before: Tensor, ended: Tensor, *state: Tensor) -> Tensor:
        left = place[0] < length
        return left & ~ended.all() if space.variable else left

    def body(place: Tensor, ids: Tensor, before: Tensor, ended: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        seen = torch.cat([before, before]) if guided else before
        scores, state = logits(place, seen, place == 0, state)
        if guided:
            scores = torch.lerp(scores[rows:], scores[:rows], options.guidance)
        chosen = options.choose(scores, keys, place)  # type: ignore[arg-type]
        if space.variable:
            chosen = torch.where(ended, torch.full_like(chosen, PAD), chosen)
            ended = ended | (chosen == END)
        ids = torch.where(torch.arange(length) == place, chosen[:, None], ids)
        return (place + 1, _own(ids), _own(chosen), _own(ended), *map(_own, state))

    start = (
        torch.zeros(1, dtype=torch.long),
        torch.zeros(rows, length, dtype=torch.long),
        torch.zeros(rows, dtype=torch.long),
        torch.zeros(rows, dtype=torch.bool),
    )
    ids = torch.while_loop(more, body, (*start, *map(_own, state)))[1]
    mask = ids != PAD if space.variable else torch.ones_like(ids[:, :1], dtype=torch.bool)
    return Field.full(ids, mask, space.varies)


def draw_autoregressive(
    head: Autoregressive, context: Context, keys: Tensor, nothing: Context | None, options: SequenceOptions
) -> Field:
    """From left to right."""
    context = options.guided(context, nothing)
    steps = Steps(head.transformer, len(context.pooled), options.max_length or head.space.shape[0], context)
    first = head.begin(context.pooled)

    def logits(
        place: Tensor, before: Tensor, is_first: Tensor, memories: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        x = torch.where(is_first, first, head.embedding(before))
        if head.positions is not None:
            x = x + head.positions.index_select(0, place)
        h, memories = steps.step(x[:, None], place, memories)
        return head._logits(h), memories

    return _decode(head, keys, logits, steps.start, options)


def draw_recurrent(
    head: Recurrent, context: Context, keys: Tensor, nothing: Context | None, options: SequenceOptions
) -> Field:
    """From left to right, by the equations of an LSTM.

    Source: Hochreiter and Schmidhuber, "Long short-term memory", 1997, as ``torch.nn.LSTM`` writes them.
    """
    context = options.guided(context, nothing)
    first = head.begin(context.pooled)

    def logits(
        place: Tensor, before: Tensor, is_first: Tensor, state: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        x = torch.where(is_first, first, head.embedding(before))
        hidden, cell = list(state[0].unbind()), list(state[1].unbind())
        for layer in range(head.depth):
            of_x, of_h, bias_x, bias_h = (
                getattr(head.lstm, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            gates = functional.linear(x, of_x, bias_x) + functional.linear(hidden[layer], of_h, bias_h)
            enter, forget, new, leave = gates.chunk(4, dim=1)
            cell[layer] = forget.sigmoid() * cell[layer] + enter.sigmoid() * new.tanh()
            x = hidden[layer] = leave.sigmoid() * cell[layer].tanh()
        return head._logits(x[:, None], context)[:, 0], (torch.stack(hidden), torch.stack(cell))

    return _decode(head, keys, logits, head._first_state(context), options)


def draw_masked(head: Masked, context: Context, keys: Tensor, nothing: Context | None, options: MaskedOptions) -> Field:
    """All hidden ids guessed in each step, of which some stay."""
    both = options.guided(context, nothing)
    real = draw_positions(head.length, head.space, context.pooled, fold(keys, 0), options.temperature)
    rows, longest = real.shape
    ids = torch.where(real, head.hidden_id, 0)
    if head.space.variable:
        ids = ids.scatter(1, real.sum(1, keepdim=True) - 1, END)
    hidden = ids == head.hidden_id
    count, places = hidden.sum(1, keepdim=True), torch.arange(longest)
    left = [1 - (step + 1) / options.steps for step in range(options.steps)]
    shares, lefts = torch.tensor([math.sin(share * math.pi / 2) for share in left]), torch.tensor(left)
    noise, guided = options.noise if options.temperature else 0.0, options.guidance != 1.0
    all_real = torch.cat([real, real]) if guided else real

    def more(step: Tensor, ids: Tensor, hidden: Tensor) -> Tensor:
        return step[0] < options.steps

    def body(step: Tensor, ids: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ids, hidden = ids.view(rows, longest), hidden.view(rows, longest)
        number = (count * shares.index_select(0, step)).floor()
        logits = head.logits(torch.cat([ids, ids]) if guided else ids, all_real, both)
        if guided:
            logits = torch.lerp(logits[rows:], logits[:rows], options.guidance)
        streams = fold(fold(keys, 1 + 2 * step)[:, None], places).flatten()
        guess = options.choose(logits.flatten(0, 1), streams, 0).view(rows, longest)
        confidence = logits.log_softmax(-1).gather(2, guess[..., None]).squeeze(2)
        spread = gumbel(fold(keys, 2 + 2 * step), (longest,))
        noisy = confidence + noise * lefts.index_select(0, step)[:, None] * spread
        confidence = spread if options.order == "random" else noisy
        keep = _ranks(confidence.masked_fill(~hidden, math.inf)) >= number
        return step + 1, _own(torch.where(hidden & keep, guess, ids)), _own(hidden & ~keep)

    ids = torch.while_loop(more, body, (torch.zeros(1, dtype=torch.long), _own(ids), _own(hidden)))[1]
    mask = real.clone() if head.space.variable else torch.ones_like(real[:, :1])
    return Field.full(ids, mask, head.space.varies)


def _ranks(x: Tensor) -> Tensor:
    """Place of each number (B, L) in its row in ascending order, as ``masked.ranks``; ONNX has no stable sort."""
    one, other, place = x[:, :, None], x[:, None], torch.arange(x.shape[1])
    return ((other < one) | ((other == one) & (place < place[:, None]))).sum(2)


def draw_vae(
    head: VariationalAutoencoder, context: Context, keys: Tensor, nothing: Context | None, options: Any
) -> Field:
    """Values in one pass; ids from left to right."""
    if not isinstance(head.ends, Ids):
        return plain(head, context, keys, nothing, options)
    z = head.prior.colour(options.temperature * normal(fold(keys, 0), (head.latent,)), context.pooled)
    chosen = SequenceOptions(
        temperature=options.decoder_temperature, top_k=options.top_k, top_p=options.top_p, max_length=options.max_length
    )
    return draw_autoregressive(head.ends.decoder, head.ends._with(z, context), fold(keys, 1), None, chosen)


DRAWERS: dict[type[Head], Drawer] = {
    Flow: draw_flow,
    Autoregressive: draw_autoregressive,
    Recurrent: draw_recurrent,
    Masked: draw_masked,
    VariationalAutoencoder: draw_vae,
}
"""Heads that draw step by step. Others draw in one pass, or are refused where their drawing cannot be traced."""
