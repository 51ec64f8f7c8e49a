"""The layers that everything else is made of."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Linear(nn.Module):
    """``x @ weight + bias`` with the weight stored input-major, (inputs, outputs).

    One row times an input-major matrix reads it front to back, which makes decoding token by token about twice as
    fast on a CPU as with ``torch.nn.Linear``'s (outputs, inputs); training takes the same time.

    Args:
        inputs: Width of the input.
        outputs: Width of the output.
        bias: Whether there is one.
        zero: Start at zero rather than at random: the layer's output is zero until it learns otherwise.
    """

    def __init__(self, inputs: int, outputs: int, *, bias: bool = False, zero: bool = False) -> None:
        super().__init__()
        bound = 0.0 if zero else 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(inputs, outputs).uniform_(-bound, bound))
        self.biased = bias
        if bias:
            self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        y = x @ self.weight
        return y + self.bias if self.biased else y


class RMSNorm(nn.Module):
    """Divides by the root mean square over the last axis and scales by a learned weight.

    Source: Zhang and Sennrich, "Root mean square layer normalization" (2019), equation 4.
    """

    def __init__(self, width: int, *, epsilon: float = 1e-6) -> None:
        super().__init__()
        self.width, self.epsilon = (width,), epsilon
        self.scale = math.sqrt(width)
        self.floor = torch.tensor(math.sqrt(width * epsilon))
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        if x.is_cuda:
            return F.rms_norm(x, self.width, self.weight, self.epsilon)
        # On a CPU that is a dozen operations; these are half as many. The hypotenuse of the norm and the floor is
        # sqrt(sum of squares + width * epsilon).
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True).hypot(self.floor)
        return x * (length.reciprocal() * self.scale) * self.weight


def layer_norm(width: int) -> nn.LayerNorm:
    """Layer normalisation without a bias: one operation, which trains four times as fast on a CPU as ``RMSNorm``."""
    return nn.LayerNorm(width, bias=False)


NORMS: dict[str, Callable[[int], nn.Module]] = {"layer": layer_norm, "rms": RMSNorm}


class SwiGLU(nn.Module):
    """Feed-forward layer ``(silu(x gate) * (x up)) down``, gate and up in one projection.

    Source: Shazeer, "GLU variants improve transformer" (2020), equation 6.

    Args:
        width: Of input and output.
        hidden: Inner width; by default 8/3 of ``width``, which has as many weights as a plain layer of 4 ``width``.
    """

    def __init__(self, width: int, hidden: int | None = None) -> None:
        super().__init__()
        hidden = hidden or 32 * math.ceil(width * 8 / 3 / 32)
        self.gate_up = Linear(width, 2 * hidden)
        self.down = Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        # The weights are used directly: a module's call costs as much as the product does when decoding one token.
        gate, up = (x @ self.gate_up.weight).chunk(2, dim=-1)
        return (F.silu(gate) * up) @ self.down.weight
