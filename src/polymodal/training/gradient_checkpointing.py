"""Gradient checkpointing: blocks of which only what goes in is kept, and which are computed again for their gradients.

The blocks are those of our transformers and U-Nets and of their kin over sets, wherever a model has them, and of the
networks of transformers and diffusers that a part brings with it. A block computes the same again: random numbers come
from keys, and those of dropout from a generator whose state is put back.

Source: Chen et al., "Training deep nets with sublinear memory cost", 2016, section 4.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from polymodal.nn.sets import SetBlock
from polymodal.nn.transformer import Block
from polymodal.nn.unet import TimedBlock
from polymodal.pretrained import LazyNetwork

_BLOCKS = (Block, SetBlock, TimedBlock)
_OF_TRANSFORMERS = "GradientCheckpointingLayer"
"""The class of what transformers would compute again, though only of a network in training mode, which has dropout."""


def checkpoint_blocks(model: nn.Module) -> None:
    """Has the blocks of a model, and of networks beside its parts, computed again when their gradients are taken."""
    for block in _blocks(model):
        if hasattr(block, "enable_gradient_checkpointing"):
            block.enable_gradient_checkpointing()
        else:
            setattr(block, "forward", partial(_again, block.forward))  # noqa: B010  # a method, to mypy


def restore_blocks(model: nn.Module) -> None:
    """Undoes ``checkpoint_blocks``, so that the model can be copied."""
    for block in _blocks(model):
        if hasattr(block, "disable_gradient_checkpointing"):
            block.disable_gradient_checkpointing()
        elif getattr(vars(block).get("forward"), "func", None) is _again:
            before = vars(block).pop("forward").args[0]
            if getattr(before, "__self__", None) is not block:  # one that brings the block's weights
                block.forward = before


def _again(forward: Any, *arguments: Any, **named: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*arguments, **named)
    return checkpoint(forward, *arguments, use_reentrant=False, **named)


def _blocks(model: nn.Module) -> Iterator[Any]:
    """Blocks, none of which lies in another, and whole networks of diffusers, which see to theirs themselves."""
    beside = (held.network for module in model.modules() for held in vars(module).values() if _is_held(held))
    for root in (model, *beside):
        waiting = [root]
        while waiting:
            module = waiting.pop()
            if isinstance(module, _BLOCKS) or hasattr(module, "enable_gradient_checkpointing") or _is_foreign(module):
                yield module
            else:
                waiting += module.children()


def _is_held(value: Any) -> bool:
    return isinstance(value, LazyNetwork) and value.network is not None


def _is_foreign(module: nn.Module) -> bool:
    return any(kind.__name__ == _OF_TRANSFORMERS for kind in type(module).__mro__)
