"""Structural similarity of pictures."""

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad


def ssim(first: Tensor, second: Tensor, *, data_range: float = 2.0) -> Tensor:
    """Structural similarity (B,) of pictures (B, C, H, W), 1 for equal ones.

    Windows are Gaussians of deviation 1.5 over 11 x 11 pixels, less for tiny pictures, around every pixel; beyond the
    borders a picture is mirrored, as ``torchmetrics`` does.

    Source: Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004, equation 13.

    Args:
        first: Pictures.
        second: Pictures.
        data_range: Range of the values: 2 for pictures in [-1, 1].
    """
    reach = min(5, min(first.shape[2:]) - 1)
    size = 2 * reach + 1
    places = torch.arange(size, dtype=torch.float64) - reach
    line = torch.exp(-(places**2) / (2 * 1.5**2))
    window = (line[:, None] * line / line.sum() ** 2).expand(first.shape[1], 1, size, size)
    x, y = (pad(value.double(), [reach] * 4, mode="reflect") for value in (first, second))

    def mean(value: Tensor) -> Tensor:
        return conv2d(value, window, groups=value.shape[1])

    mean_x, mean_y = mean(x), mean(y)
    variance_x, variance_y = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return (luminance * (2 * covariance + c2) / (variance_x + variance_y + c2)).flatten(1).mean(1)
