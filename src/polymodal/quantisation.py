"""Weights in 8 bits: one scale for each output channel, from which they become floats again when they are read.

Source: Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference: a whitepaper", 2018, sections
2.2 and 3.1.3 (symmetric, per channel, weights alone).
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from polymodal.errors import CheckpointError
from polymodal.nn.layers import Linear

SCALE = ".int8_scale"
"""What the name of a scale ends in; before it is the name of the weights."""
_FEWEST = 1024
"""Numbers of a weight from which on it is worth it."""
_MOST = 127


def quantise(module: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a module, large matrices among them in 8 bits with their scales beside them.

    Biases, norms, positions and whatever else is small or no matrix stays as it is.

    Args:
        module: Whose weights they are; its layers say which axis is the output's.
        weights: By name.
    """
    last = {f"{name}.weight" for name, part in module.named_modules() if isinstance(part, Linear)}
    out: dict[str, Tensor] = {}
    for name, weight in weights.items():
        if weight.dim() < 2 or weight.numel() < _FEWEST or not weight.is_floating_point():
            out[name] = weight
            continue
        output = weight.dim() - 1 if name in last else 0
        others = [axis for axis in range(weight.dim()) if axis != output]
        largest = weight.detach().float().abs().amax(others, keepdim=True)
        scale = (largest / _MOST).clamp(min=torch.finfo(torch.float32).tiny)
        out[name] = (weight.detach().float() / scale).round().clamp(-_MOST, _MOST).to(torch.int8)
        out[name + SCALE] = scale
    return out


def dequantise(weights: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """The inverse of ``quantise``, but for rounding; weights without scales as they are.

    Args:
        weights: By name; they may be on the meta device.
        where: Place of the file.

    Raises:
        CheckpointError: A scale is not that of weights in 8 bits.
    """
    out = {name: weight for name, weight in weights.items() if not name.endswith(SCALE)}
    for name, scale in weights.items():
        if not name.endswith(SCALE):
            continue
        own = name.removesuffix(SCALE)
        weight = out.get(own)
        fits = (
            weight is not None
            and weight.dtype == torch.int8
            and scale.dtype == torch.float32
            and scale.dim() == weight.dim()
            and all(side in (1, length) for side, length in zip(scale.shape, weight.shape, strict=True))
        )
        if not fits or weight is None:
            raise CheckpointError(f"{where}: {name} is no scale of weights in 8 bits")
        out[own] = weight.float() * scale
    return out
