"""Where a model computes, and how much it may remember there."""

import os
import sys

import torch

from polymodal.errors import ConfigError


def choose_device(name: str | None = None) -> torch.device:
    """The device of that name; without one, a GPU if there is one.

    Args:
        name: Such as ``cpu``, ``cuda`` or ``cuda:1``.

    Raises:
        ConfigError: There is no such device on this machine.
    """
    there = {"cpu": 1, "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0}
    there["mps"] = int(torch.backends.mps.is_available())
    if name is None:
        return torch.device("cuda" if there["cuda"] else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or (device.index or 0) >= there.get(device.type, 0):
        known = ", ".join(
            kind if count == 1 else f"{kind}:0 to {kind}:{count - 1}" for kind, count in there.items() if count
        )
        raise ConfigError(f"device: '{name}' is not on this machine, or PyTorch is built without it; there is {known}")
    return device


def memory_bytes() -> int:
    """The main memory of this machine, of all its processes together; more than any where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # such as on Windows
        return sys.maxsize
