"""Hidden states between the blocks of a network of transformers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from polymodal.errors import ConfigError


class _ReachedError(Exception):
    """Ends a network's forward where its blocks behind are not needed."""

    def __init__(self, hidden: Tensor) -> None:
        super().__init__()
        self.hidden = hidden


def hidden_before(block: nn.Module, run: Callable[[], Any]) -> Tensor:
    """What a network, called by ``run``, would give one of its blocks; that block and those behind it are not run."""

    def stop(module: nn.Module, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        raise _ReachedError(positional[0] if positional else named["hidden_states"])

    hook = block.register_forward_pre_hook(stop, with_kwargs=True)
    try:
        run()
    except _ReachedError as reached:
        return reached.hidden
    finally:
        hook.remove()
    raise ConfigError("layer: the network runs without this block")


def blocks_of(network: nn.Module) -> nn.ModuleList:
    """The blocks of a network, one after the other.

    Raises:
        ConfigError: It does not have them in one list.
    """
    count = getattr(network.config, "num_hidden_layers", None)
    found = [m for m in network.modules() if isinstance(m, nn.ModuleList) and len(m) == count]
    if not found:
        raise ConfigError(f"layer: {type(network).__name__} has no list of blocks; leave it out for the last one")
    return found[-1]  # convolutions that come before them may be as many
