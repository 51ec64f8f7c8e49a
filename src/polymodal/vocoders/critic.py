"""A critic that tells real sound from a vocoder's by its spectrum."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from polymodal.modalities.stft import Stft
from polymodal.nn.conv import convolution
from polymodal.types import Losses

_BAND = 16
"""Neighbouring frequencies that are read together."""
_SLOPE = 0.1


class SpectrumCritic(nn.Module):
    """Scores of patches of the complex spectrum, at several resolutions.

    Source: Jang et al., "UnivNet" (2021), the multi-resolution spectrogram discriminator, on complex spectra as in
    Défossez et al., "High fidelity neural audio compression" (2022); Lim and Ye, "Geometric GAN" (2017), the hinge.

    Args:
        resolutions: Of the spectra.
        channels: Channels of the first layer.
    """

    def __init__(self, resolutions: Sequence[Stft], *, channels: int = 32) -> None:
        super().__init__()
        self.parts = nn.ModuleList(_OneResolution(stft, channels) for stft in resolutions)

    def forward(self, samples: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Samples (B, T) -> scores of patches, above 0 where real, (B, 1, *) each; features (B, c, *) each."""
        scores, features = [], []
        for part in self.parts:
            score, own = part(samples)
            scores.append(score)
            features += own
        return scores, features

    def loss(self, real: Tensor, made: Tensor) -> Losses:
        """The critic's own move: ``real`` and ``fake`` hinges (B,)."""
        scores, _ = self(torch.cat([real, made]))
        on_real, on_made = zip(*(score.chunk(2) for score in scores), strict=True)
        return {"real": _mean([F.relu(1 - s) for s in on_real]), "fake": _mean([F.relu(1 + s) for s in on_made])}

    def advice(self, real: Tensor, made: Tensor) -> tuple[Tensor, Tensor]:
        """For the vocoder, (B,) each: minus the scores, and the distance of features. The critic itself is not moved.

        Source: Larsen et al., "Autoencoding beyond pixels using a learned similarity metric" (2016), the features.
        """
        frozen = {name: parameter.detach() for name, parameter in self.named_parameters()}
        scores, features = functional_call(self, frozen, (made,))
        with torch.no_grad():
            _, wanted = self(real)
        distances = [
            row_mean((x - y).abs()) / (row_mean(y.abs()) + 1e-3) for x, y in zip(features, wanted, strict=True)
        ]
        return -_mean(scores), sum(distances[1:], distances[0]) / len(distances)


class _OneResolution(nn.Module):
    """Bands of frequencies, then convolutions over frames and bands."""

    def __init__(self, stft: Stft, channels: int) -> None:
        super().__init__()
        self.stft, self.bands = stft, -(-(stft.n_fft // 2) // _BAND)
        self.proj_in = nn.Linear(2 * _BAND, channels)
        self.place = nn.Parameter(torch.zeros(self.bands, channels))
        self.layers = nn.ModuleList(
            [
                convolution(channels, channels, 2),
                nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1),
                convolution(2 * channels, 2 * channels, 2),
            ]
        )
        self.proj_out = nn.Conv2d(2 * channels, 1, 1)

    def forward(self, samples: Tensor) -> tuple[Tensor, list[Tensor]]:
        spectrum = self.stft.spectrum(samples)[..., :-1]
        spectrum = F.pad(torch.view_as_real(spectrum), (0, 0, 0, self.bands * _BAND - spectrum.shape[2]))
        power = spectrum.square().sum(-1, keepdim=True)
        compressed = spectrum * (power + 1e-6) ** -0.35  # magnitudes to the power of 0.3
        x = compressed.unflatten(2, (self.bands, _BAND)).flatten(3)
        x = (self.proj_in(x) + self.place).permute(0, 3, 1, 2)  # channels last in memory
        features = []
        for layer in self.layers:
            x = layer(F.leaky_relu(x, _SLOPE))
            features.append(x)
        return self.proj_out(F.leaky_relu(x, _SLOPE)), features


def row_mean(x: Tensor) -> Tensor:
    """(B, *) -> (B,)."""
    return x.flatten(1).mean(1)


def _mean(parts: Sequence[Tensor]) -> Tensor:
    """The mean over parts of the means of rows."""
    means = [row_mean(part) for part in parts]
    return sum(means[1:], means[0]) / len(means)
