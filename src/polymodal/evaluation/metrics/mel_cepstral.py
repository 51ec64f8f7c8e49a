"""Mel-cepstral distortion."""

import math

import torch
from torch import Tensor


def mel_cepstra(log_mel: Tensor, coefficients: int = 13) -> Tensor:
    """Natural logarithms of mel magnitudes (B, M, L) -> cepstra (B, coefficients, L), the 0th left out.

    They are the amplitudes of the cosines that add up to the logarithm: the discrete cosine transform, type 2.
    """
    mels = log_mel.shape[1]
    order = torch.arange(1, min(coefficients, mels - 1) + 1, dtype=torch.float64)[:, None]
    basis = torch.cos(math.pi / mels * (torch.arange(mels, dtype=torch.float64) + 0.5) * order) * 2 / mels
    return basis @ log_mel.double()


def mel_cepstral_distortion(first: Tensor, second: Tensor, mask: Tensor, coefficients: int = 13) -> Tensor:
    """Decibels (B,), the mean over real frames, between sounds that run in step.

    Source: Kubichek, "Mel-cepstral distance measure for objective speech quality assessment", 1993.

    Args:
        first: Natural logarithms of mel magnitudes (B, M, L).
        second: Natural logarithms of mel magnitudes (B, M, L).
        mask: Real frames (B, L).
        coefficients: Number of coefficients of the cepstra, the 0th (loudness) left out.
    """
    difference = mel_cepstra(first, coefficients) - mel_cepstra(second, coefficients)
    frames = 10 / math.log(10) * (2 * difference.square().sum(1)).sqrt()
    return (frames * mask).sum(1) / mask.sum(1).clamp(min=1)
