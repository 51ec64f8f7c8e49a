"""Which input made the output: Shapley values of the given fields, and integrated gradients of their parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from polymodal.errors import ConfigError
from polymodal.evaluation.explanation.attention import attention_shares
from polymodal.evaluation.explanation.own_modules import with_own_modules
from polymodal.evaluation.explanation.shapley import coalitions, shapley_values
from polymodal.evaluation.scorecard.likelihood import log_likelihoods
from polymodal.generation import CHUNK, check_fields, generate_rows, read, write
from polymodal.model import Model
from polymodal.nn.random import make_keys
from polymodal.types import Batch, Field, Space

MOST_FIELDS = 8
"""Most fields that can be given, as more have too many subsets."""
_BEND = 4
"""The path is walked as time to this power: near the baseline, where inputs are small, normalising layers turn most."""


@dataclass(frozen=True)
class Explanation:
    """What each input has to do with one output.

    Attributes:
        to: The field that was generated.
        given: The inputs in model form, one row.
        made: The output, as an object.
        unit: Of ``worth``: ``log-likelihood, nats`` or ``nearness``.
        worth: By subset of the inputs, how well it predicts the output that all of them gave.
        shapley: By input, its share of the worth of all inputs less that of none.
        parts: By input, (L,) for ids, else of the shape of the value: how much each number adds to ``gain``.
        gain: How much less the head's loss of the output is, given all inputs, than given their baselines.
        attention: By input, (N,) the share of the head's attention that each of its tokens gets, or (1,) that of the
            whole field; empty if the head attends to no tokens of fields.
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
    """Explains sample 0 of a seed by the values that it was generated from.

    Args:
        model: To be explained.
        given: Raw values by field, as ``generate`` takes them; at least one.
        to: The field to generate.
        seed: Seed of the sample.
        draws: Number of samples over which the worth of a subset is averaged, and of noises for the head's loss.
        steps: Number of points on the path from the baseline to the values.
        options: Sampling options of the heads, by field.

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
        raise ConfigError(
            f"given: {len(given)} fields; give at most {MOST_FIELDS}, which have {2**MOST_FIELDS} subsets"
        )
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
    """How well each subset of the inputs predicts the output of all of them.

    It is the log-likelihood of that output, if the head gives one. Otherwise it is how near the output of the subset
    lies to that of all inputs with the same noise: minus the root mean square difference or the share of differing ids.

    Args:
        model: To be explained.
        batch: The inputs in model form, one row of each.
        to: The field of the output.
        seed: Seed of the noise.
        draws: Number of noises over which the worth is averaged.
        options: Sampling options of the heads, by field.

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
    found = log_likelihoods(model, many | {to: targets}, visible, to, keys)
    if found is not None:
        values, unit = found[0], "log-likelihood, nats"
    else:
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


def integrated_gradients(
    model: Model, batch: Batch, made: Field, to: str, *, seed: int = 0, draws: int = 4, steps: int = 128
) -> tuple[dict[str, Tensor], float]:
    """What each number of the inputs adds to how well the head explains an output.

    The negative loss of the head is integrated along the straight path from a baseline to the values, for all inputs at
    once: numbers (pixels, bands) start from zero, the middle of their range; ids start from a zero embedding. The parts
    sum to the gain, but for the error of the midpoint rule.

    Args:
        model: To be explained.
        batch: The inputs in model form, one row of each. Ids whose encoder does not embed them in an ``nn.Embedding``
            have no path: the head sees them as they are, and they get no part.
        made: The output, one row.
        to: The field of the output.
        seed: Seed of the loss's noise.
        draws: Number of noises over which the loss is averaged.
        steps: Number of points on the path.

    Returns:
        Parts by field, (L,) for ids, else of the shape of the value; and the gain.

    Source: Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks", 2017, equations 1 and 3.
    """
    model = with_own_modules(model)
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
            loss = condition.total_loss(to, model.target({to: target.pick(index)}, to))
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
    """Within, a layer gives this output."""
    hook = layer.register_forward_hook(lambda *_: output)
    try:
        yield
    finally:
        hook.remove()
