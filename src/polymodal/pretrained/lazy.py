"""A network of a part that is none of its modules, and that is in memory only while it is needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from polymodal.errors import ConfigError
from polymodal.pretrained.device_map import hooks_of


class LazyNetwork:
    """A pretrained network beside the part that computes with it: no checkpoint, optimiser or average knows of it.

    Args:
        network: One that stays, such as one with an adapter; or what makes it when it is needed.
    """

    def __init__(self, network: nn.Module | Callable[[], nn.Module]) -> None:
        self._make = None if isinstance(network, nn.Module) else network
        self.network = network if isinstance(network, nn.Module) else None

    def on(self, device: torch.device) -> Any:
        """The network on a device, loaded if need be; one with a device map is where that says.

        Raises:
            ConfigError: An adapter learns in it, and its device map has it computed on another kind of device.
        """
        network = self.network  # a thread that releases it takes it from no other
        if network is None:
            assert self._make is not None
            network = self._make()
        if hooks := hooks_of(network):
            _check_device(network, hooks, device)
        else:
            network.to(device)
        self.network = network
        return network

    def release(self) -> None:
        """Gives back the memory of a network that can be made again when it is needed."""
        if self._make is not None:
            self.network = None


def _check_device(network: nn.Module, hooks: list[Any], device: torch.device) -> None:
    where = next(
        torch.device(hook.execution_device) for hook in hooks if getattr(hook, "execution_device", None) is not None
    )
    if where.type != device.type and any(p.requires_grad for p in network.parameters()):
        raise ConfigError(
            f"device_map: an adapter learns on {where}, where the network is computed; give the run that device"
        )
