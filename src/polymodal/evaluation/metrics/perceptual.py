"""Perceptual distance: how different two values look to a network."""

from torch import Tensor
from torch.nn.functional import normalize


def perceptual_distance(first: Tensor, second: Tensor) -> Tensor:
    """Squared distance (B,), 0 to 4, of features (B, F) of unit length.

    Source: Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric" (LPIPS), 2018,
    equation 1, with one layer, the judge's last, and no weights.
    """
    return (normalize(first.double(), dim=1) - normalize(second.double(), dim=1)).square().sum(1)
