"""A network of a part that is none of its modules, and that is in memory only while it is needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


class LazyNetwork:
    """A pretrained network beside the part that computes with it: no checkpoint, optimiser or average knows of it.

    Args:
        network: One that stays, such as one with an adapter; or what makes it when it is needed.
    """

    def __init__(self, network: nn.Module | Callable[[], nn.Module]) -> None:
        self._make = None if isinstance(network, nn.Module) else network
        self.network = network if isinstance(network, nn.Module) else None

    def on(self, device: torch.device) -> Any:
        """The network on a device, loaded if need be."""
        network = self.network  # a thread that releases it takes it from no other
        if network is None:
            assert self._make is not None
            network = self._make()
        self.network = network.to(device)
        return network

    def release(self) -> None:
        """Gives back the memory of a network that can be made again when it is needed."""
        if self._make is not None:
            self.network = None
