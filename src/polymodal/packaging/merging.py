"""One model of several: the weights of runs of one recipe, averaged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from polymodal import checkpoint as checkpoints
from polymodal.errors import CheckpointError, ConfigError
from polymodal.model import Model


def merge(models: Sequence[Model], shares: Sequence[float] | None = None) -> Model:
    """A model whose weights are the mean of those of several that have the same fields and parts.

    It is worth it for runs that went on from one run, such as with other learning rates or other orders of the rows:
    their weights lie in one valley. Those of runs that started apart do not, and their mean is of no use. It has the
    pivots and the screens of all, or none where they differ.

    Source: Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy without
    increasing inference time", 2022, section 2.

    Args:
        models: Two or more. The first is changed into the mean.
        shares: How much each counts; all alike if not given.

    Raises:
        ConfigError: There are fewer than two, or not as many shares, or they are not positive.
        CheckpointError: They are models of other fields or parts.
    """
    shares = [1.0] * len(models) if shares is None else list(shares)
    if len(models) < 2:
        raise ConfigError("merge: name two runs or more")
    if len(shares) != len(models) or not all(share > 0 for share in shares):
        raise ConfigError(f"shares: {shares} are not {len(models)} positive numbers, one for each run")
    parts = [checkpoints.weights_of(model) for model in models]
    first, forms = _described(models[0]), _forms(parts[0])
    for number, (model, weights) in enumerate(zip(models, parts, strict=True), 1):
        if _described(model) != first:
            raise CheckpointError(
                f"run {number}: its fields, or what they learned from the data, are not those of run 1"
            )
        if _forms(weights) != forms:
            raise CheckpointError(f"run {number}: its parts or their sizes are not those of run 1")
    total = sum(shares)
    merged: dict[str, Tensor] = {}
    for name, weight in parts[0].items():
        if not weight.is_floating_point():
            if any(not torch.equal(weight, other[name]) for other in parts):
                raise CheckpointError(f"{name}: are whole numbers that differ, which have no mean")
            merged[name] = weight
            continue
        mean = sum(share / total * other[name].double() for share, other in zip(shares, parts, strict=True))
        assert isinstance(mean, Tensor)
        merged[name] = mean.to(weight.dtype)
    checkpoints.load_weights(models[0], merged)
    for key in ("pivots", "screens"):
        if any(getattr(model.recipe, key) != getattr(models[0].recipe, key) for model in models):
            models[0].recipe = models[0].recipe.model_copy(update={key: {}})
    return models[0]


def _described(model: Model) -> dict[str, Any]:
    """What two models must have in common for their weights to mean the same."""
    return {name: (type(modality).__name__, modality.state()) for name, modality in model.modalities.items()}


def _forms(weights: dict[str, Tensor]) -> dict[str, tuple[Any, ...]]:
    return {name: (weight.shape, weight.dtype) for name, weight in weights.items()}
