"""``torch.compile`` for every network of a model.

A class of modules names the methods that are worth compiling in its attribute ``compiled``; they take and give tensors.
An LSTM has none, for PyTorch runs it as one operation already, and a perceptron of two layers has none either.
"""

from types import FunctionType, MethodType

import torch
from torch import nn


def compile_networks(model: nn.Module) -> None:
    """Compiles the methods that the classes of a model's modules name, for batches and lengths of any size."""
    for module in model.modules():
        for name in getattr(module, "compiled", ()):
            function = getattr(type(module), name)
            # PyTorch counts compilations by the code, and gives up after eight. So each module has code of its own.
            own = FunctionType(
                function.__code__.replace(), function.__globals__, name, function.__defaults__, function.__closure__
            )
            own.__kwdefaults__ = function.__kwdefaults__
            setattr(module, name, torch.compile(MethodType(own, module), dynamic=True))
