"""Which precision a machine is fast in."""

from functools import partial
from typing import Any

import torch
from torch import nn

from polymodal.nn.unet import UNet


def has_bf16(device: str) -> bool:
    """Whether a ``cuda`` or ``cpu`` has units for matrices of bf16."""
    if device == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    able: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # older versions of torch cannot tell
    return bool(able.get("amx_bf16") or able.get("avx512_bf16"))


def precision(wanted: str, device: torch.device | None = None) -> str:
    """``no``, ``bf16``, ``fp16`` or ``convolutions``: what a recipe asks for, on a device; a GPU, where not given."""
    if wanted not in ("auto", "fast", "convolutions"):
        return wanted
    if torch.cuda.is_available() and (device is None or device.type == "cuda"):
        return "bf16" if has_bf16("cuda") else "no"
    if wanted == "auto" or not has_bf16("cpu"):
        return "no"
    return "bf16" if wanted == "fast" else wanted


def quicken_convolutions(model: nn.Module) -> None:
    """Runs the U-Nets of a model in bf16 on a processor; small transformers take longer in it, and keep 32 bits."""
    for module in _unets(model):
        setattr(module, "forward", partial(_in_bf16, module.forward))  # noqa: B010  # a method, to mypy


def restore_convolutions(model: nn.Module) -> None:
    """Undoes ``quicken_convolutions``."""
    for module in _unets(model):
        module.__dict__.pop("forward", None)


def _unets(model: nn.Module) -> list[UNet]:
    return [module for module in model.modules() if isinstance(module, UNet)]


def _in_bf16(forward: Any, *arguments: Any) -> Any:
    with torch.autocast("cpu", torch.bfloat16):
        return forward(*arguments).float()
