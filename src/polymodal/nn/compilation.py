"""``torch.compile`` for every network of a model, while it trains.

A class of modules names its methods that are compiled, whose arguments and results are tensors: in ``compiled`` those
that see other numbers of rows, in ``compiled_any_length`` those that see other lengths as well.

An LSTM is left out, for PyTorch runs it as one operation already. So are the codecs and critics of values whose length
varies: the compiler of PyTorch 2.13 fails at their patches, of which it cannot know how many there are.
"""

from collections.abc import Iterator
from types import FunctionType, MethodType

import torch
from torch import nn


def _methods(model: nn.Module) -> Iterator[tuple[nn.Module, str, bool | None]]:
    """Modules, names of their methods, and whether ``torch.compile`` is to expect any shape, or to find out."""
    for module in model.modules():
        yield from ((module, name, None) for name in getattr(module, "compiled", ()))
        yield from ((module, name, True) for name in getattr(module, "compiled_any_length", ()))


def compile_networks(model: nn.Module) -> None:
    """Compiles the methods that the modules of a model name."""
    for module, name, dynamic in _methods(model):
        function = getattr(type(module), name)
        # PyTorch counts compilations by the code, and gives up after eight. So each module has code of its own.
        code = function.__code__.replace()
        own = FunctionType(code, function.__globals__, name, function.__defaults__, function.__closure__)
        own.__kwdefaults__ = function.__kwdefaults__
        setattr(module, name, torch.compile(MethodType(own, module), dynamic=dynamic))


def restore_networks(model: nn.Module) -> None:
    """Undoes ``compile_networks``, so that the model can be copied, and a sample waits for no compiler."""
    for module, name, _ in _methods(model):
        module.__dict__.pop(name, None)
