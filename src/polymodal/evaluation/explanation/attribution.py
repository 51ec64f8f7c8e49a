"""Which input made the output: Shapley values of the given fields, and integrated gradients of their parts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from polymodal.errors import ConfigError
from polymodal.evaluation.explanation.attention import attention_shares
from polymodal.evaluation.explanation.shapley import coalitions, shapley_values
from polymodal.evaluation.head_loss import head_loss
from polymodal.generation import CHUNK, check_fields, generate_rows, read, write
from polymodal.model import Model
from polymodal.nn.random import make_keys
from polymodal.types import Batch, Field, Space

MOST_FIELDS = 8
"""More have too many subsets: 256 of these."""
_BEND = 4
"""The path is walked as time to this power: normalising layers turn most near the baseline, where small is all."""


@dataclass(frozen=True)
class Explanation:
    """What each input has to do with one output.

    Attributes:
        to: The field that was generated.
        given: What was given, in model form, one row.
        made: The output, as an object.
        unit: Of ``worth``: ``log-likelihood, nats`` or ``nearness``.
        worth: By subset of the inputs, how well it tells the output that all of them made.
        shapley: By input, its share of the worth of all less that of none.
        parts: By input, (L,) for ids, else of the value's own shape: how much each number adds to ``gain``.
        gain: How much less the head's loss of the output is, given all inputs, than given their baselines.
        attention: By input, (N,) the share of the head's attention that each of its tokens gets, or (1,) the field's;
            empty if the head attends to no tokens of fields.
    """

    to: str
    given: Mapping[str, Field]
    made: Any
    unit: str
    worth: Mapping[frozenset[str], float]
    shapley: Mapping[str, float]
    parts: Mapping[str, Tensor]
    gain: float
    attention: Mapping[str, Tensor]


def explain(
    model: Model,
    given: Mapping[str, Any],
    to: str,
    *,
    seed: int = 0,
    draws: int = 4,
    steps: int = 128,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> Explanation:
    """Explains sample 0 of a seed by the values it was generated from.

    Args:
        model: Any.
        given: Raw values by field, as of ``generate``; at least one.
        to: The field to generate.
        seed: Of the sample.
        draws: Samples and likelihoods that the worth of a subset is averaged over; noises that the head's loss is.
        steps: Of the path from the baseline to the values.
        options: Of the head, by field.

    Raises:
        ConfigError: A field is unknown, or cannot be given or generated; or a number is out of range.
        DataError: A value cannot be read.
    """
    given = {name: raw for name, raw in given.items() if raw is not None}
    check_fields(model, given, [to], options)
    for name, number in (("draws", draws), ("steps", steps)):
        if number < 1:
            raise ConfigError(f"{name}: {number} is not at least 1")
    if not given:
        raise ConfigError(f"given: nothing is; give at least one of {', '.join(model.encoders)}")
    if len(given) > MOST_FIELDS:
        raise ConfigError(f"given: {len(given)} fields; give at most {MOST_FIELDS}, of which there are 256 subsets")
    batch = {name: read(name, model.modalities[name], raw) for name, raw in given.items()}
    worth, unit, made = subset_worth(model, batch, to, seed=seed, draws=draws, options=options)
    parts, gain = integrated_gradients(model, batch, made, to, seed=seed, draws=draws, steps=steps)
    output = write(model.modalities[to], made)[0]
    looks = attention_shares(model, batch, made, to, seed=seed, draws=draws)
    return Explanation(to, batch, output, unit, worth, shapley_values(worth), parts, gain, looks)


def subset_worth(
    model: Model,
    batch: Batch,
    to: str,
    *,
    seed: int = 0,
    draws: int = 4,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[dict[frozenset[str], float], str, Field]:
    """How well each subset of the inputs tells what all of them made.

    The log-likelihood of that output, if the head gives one. Otherwise how near what the subset makes lies to what all
    make of the same noise: less the root mean square difference, or the share of differing ids.

    Args:
        model: Any.
        batch: The inputs in model form, one row of each.
        to: The output.
        seed: Of the noise.
        draws: Over which it is averaged.
        options: Of the head, by field.

    Returns:
        Worth by subset; its unit; the output of the first draw.
    """
    subsets = coalitions(list(batch))
    rows = len(subsets) * draws
    many = {name: field.pick(torch.zeros(rows, dtype=torch.int64)) for name, field in batch.items()}
    visible = {name: torch.tensor([name in chosen for chosen in subsets]).repeat(draws) for name in batch}
    keys = make_keys(seed, draws)  # one noise for all subsets of a draw
    full = torch.arange(draws)
    everywhere = torch.ones(draws, dtype=torch.bool)
    inputs = {name: field.pick(torch.zeros(draws, dtype=torch.int64)) for name, field in batch.items()}
    outputs = generate_rows(model, inputs, dict.fromkeys(batch, everywhere), {to: everywhere}, keys, options)[to]
    targets, keys = outputs.pick(full.repeat_interleave(len(subsets))), keys.repeat_interleave(len(subsets))
    values, unit = _log_likelihoods(model, many, visible, targets, to, keys), "log-likelihood, nats"
    if values is None:
        wanted = {to: torch.ones(rows, dtype=torch.bool)}
        made = generate_rows(model, many, visible, wanted, keys, options)[to]
        values, unit = -distances(made, targets, model.modalities[to].space), "nearness"
    means = values.double().view(draws, -1).mean(0).tolist()
    return dict(zip(subsets, means, strict=True)), unit, outputs.pick(full[:1])


def distances(first: Field, second: Field, space: Space) -> Tensor:
    """(B,) root mean square difference of values, or share of ids that differ, over the positions real in either."""
    longest = max(first.mask.shape[1], second.mask.shape[1])
    first, second = first.pad(longest), second.pad(longest)
    x, y = first.value, second.value
    difference = (x != y).double() if space.kind == "discrete" else (x - y).double().square()
    mask = (first.real | second.real).expand_as(difference)
    mean = (difference * mask).flatten(1).sum(1) / mask.flatten(1).sum(1).clamp(min=1)
    return mean if space.kind == "discrete" else mean.sqrt()


@torch.no_grad()
def _log_likelihoods(
    model: Model, batch: Batch, visible: Mapping[str, Tensor], targets: Field, to: str, keys: Tensor
) -> Tensor | None:
    found = []
    for part in torch.arange(len(keys)).split(CHUNK):
        inputs = {name: field.pick(part).to(model.device) for name, field in batch.items()}
        own_visible = {name: mask[part] for name, mask in visible.items()}
        condition = model.condition(inputs, own_visible, keys[part].to(model.device))
        value = condition.log_likelihood(to, model.target({to: targets.pick(part).to(model.device)}, to))
        if value is None:
            return None
        found.append(value.cpu())
    return torch.cat(found)


def integrated_gradients(
    model: Model, batch: Batch, made: Field, to: str, *, seed: int = 0, draws: int = 4, steps: int = 128
) -> tuple[dict[str, Tensor], float]:
    """What each number of the inputs adds to how well the head explains an output.

    The negative loss of the head is integrated along the straight path from a baseline to the values, all inputs at
    once: numbers (pixels, bands) start from zero, the middle of their range; ids from a zero embedding. The parts
    sum to the gain, but for the error of the midpoint rule.

    Args:
        model: Any.
        batch: The inputs in model form, one row of each. One whose encoder embeds no ids of a discrete space in an
            ``nn.Embedding`` has no path: it is seen as it is, and gets no part.
        made: The output, one row.
        to: Its field.
        seed: Of the loss's noise.
        draws: Noises over which the loss is averaged.
        steps: Points on the path.

    Returns:
        Parts by field, (L,) for ids, else of the value's own shape; and the gain.

    Source: Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks", 2017, equations 1 and 3.
    """
    target = made.to(model.device)
    batch = {name: field.to(model.device) for name, field in batch.items()}
    embeddings = {name: _embedding(model, name) for name, field in batch.items() if not field.value.is_floating_point()}
    points = {name: field.value for name, field in batch.items() if name not in embeddings}
    for name, embedding in embeddings.items():
        if embedding is not None:
            points[name] = embedding(batch[name].value.long()).detach()
    sums = {name: torch.zeros_like(point[0], dtype=torch.float64) for name, point in points.items()}

    def scores(shares: Tensor, number: int) -> tuple[Tensor, dict[str, Tensor]]:
        """(n,) negative losses where the inputs are at these shares of the way, and the points on the path."""
        rows = len(shares)
        index = torch.zeros(rows, dtype=torch.int64, device=model.device)
        on_path = {
            name: (point * shares.view(-1, *[1] * (point.dim() - 1))).requires_grad_() for name, point in points.items()
        }
        inputs = {name: field.pick(index) for name, field in batch.items()}
        for name in points.keys() - embeddings.keys():
            inputs[name] = replace(inputs[name], value=on_path[name])
        key = make_keys(seed, 1, start=number).to(model.device).expand(rows)
        with ExitStack() as stack:
            for name, embedding in embeddings.items():
                if embedding is not None:
                    stack.enter_context(_replaced(embedding, on_path[name]))
            condition = model.condition(inputs, dict.fromkeys(inputs, torch.ones(rows, dtype=torch.bool)), key)
            loss = head_loss(condition, {to: target.pick(index)}, to)
        return -loss, on_path

    gain = 0.0
    times = (torch.arange(steps, device=model.device) + 0.5) / steps
    places, weights = times**_BEND, _BEND * times ** (_BEND - 1) / steps
    with torch.enable_grad():
        for number in range(draws):
            for shares, weight in zip(places.split(CHUNK), weights.split(CHUNK), strict=True):
                score, on_path = scores(shares, number)
                gradients = torch.autograd.grad((weight * score).sum(), list(on_path.values()), allow_unused=True)
                for name, gradient in zip(on_path, gradients, strict=True):
                    if gradient is not None:
                        sums[name] += gradient.sum(0).double()
    with torch.no_grad():
        for number in range(draws):
            score, _ = scores(torch.tensor([0.0, 1.0], device=model.device), number)
            gain += float(score[1] - score[0]) / draws
    parts = {}
    for name, total in sums.items():
        part = (points[name][0].double() * total / draws).cpu()
        parts[name] = part.sum(-1) if name in embeddings else part
    return parts, gain


def _embedding(model: Model, name: str) -> nn.Embedding | None:
    """Where a field's ids become vectors."""
    vocab = model.modalities[name].space.vocab
    layers = model.encoders[name].modules()  # type: ignore[attr-defined]
    found = (layer for layer in layers if isinstance(layer, nn.Embedding) and layer.num_embeddings == vocab)
    return next(found, None)


@contextmanager
def _replaced(layer: nn.Module, output: Tensor) -> Iterator[None]:
    """Within, a layer gives this."""
    hook = layer.register_forward_hook(lambda *_: output)
    try:
        yield
    finally:
        hook.remove()


def pieces(model: Model, name: str, field: Field) -> list[tuple[str, list[int]]]:
    """The text of a field of ids, one row, cut so that each piece is whole characters: (text, places of its ids).

    Ids that write nothing, such as an end, have an empty text.
    """
    modality, ids = model.modalities[name], field.value[0]
    if math.prod(ids.shape) == 1:
        return [(str(modality.write(ids)), [0])]
    told: list[tuple[str, list[int]]] = []
    before, places = "", []
    for place in range(int(field.lengths[0])):
        places.append(place)
        text = str(modality.write(ids[: place + 1]))
        if text.endswith("\ufffd"):  # bytes of a character that is not whole yet
            continue
        told.append((text[len(before) :], places))
        before, places = text, []
    return [*told, ("\ufffd", places)] if places else told
