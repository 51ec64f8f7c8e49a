"""Which precision a machine is fast in."""

import torch


def has_bf16(device: str) -> bool:
    """Whether a ``cuda`` or ``cpu`` has units for matrices of bf16."""
    if device == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    able: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # older versions of torch cannot tell
    return bool(able.get("amx_bf16") or able.get("avx512_bf16"))


def precision(wanted: str, device: torch.device | None = None) -> str:
    """``no``, ``bf16`` or ``fp16``: what a recipe asks for, on a device; on a GPU if there is one, where not given."""
    if wanted not in ("auto", "fast"):
        return wanted
    if torch.cuda.is_available() and (device is None or device.type == "cuda"):
        return "bf16" if has_bf16("cuda") else "no"
    return "bf16" if wanted == "fast" and has_bf16("cpu") else "no"
