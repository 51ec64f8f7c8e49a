"""Log-mel spectrograms and the way back to sound, batched.

Shapes: B clips, T samples, L frames, F = n_fft / 2 + 1 frequency bins, M mel bands. Frame l is centred on the l-th
block of ``hop_length`` samples, so a clip has ceil(T / hop_length) frames, and L frames are L * hop_length samples.
"""

import math

import torch
from torch import Tensor

from polymodal.modalities.stft import Stft
from polymodal.nn.random import uniform

_FLOOR = 1e-5  # of mel magnitudes before the logarithm, as in HiFi-GAN (Kong et al., 2020)
_TINY = 1e-16
_CHUNK_FRAMES = 256  # so many frames at a time stay in a core's cache
_MEL_AT_1_KHZ = 15.0
_MELS_PER_LOG = 27 / math.log(6.4)


def hz_to_mel(frequency_hz: Tensor) -> Tensor:
    """Slaney's mel scale: linear below 1 kHz, logarithmic above.

    Source: M. Slaney, "Auditory Toolbox" (1998); the default of librosa and of most speech models.
    """
    logarithmic = _MEL_AT_1_KHZ + _MELS_PER_LOG * torch.log(frequency_hz.clamp(min=1000) / 1000)
    return torch.where(frequency_hz < 1000, frequency_hz * (_MEL_AT_1_KHZ / 1000), logarithmic)


def mel_to_hz(mel: Tensor) -> Tensor:
    """Inverse of ``hz_to_mel``."""
    logarithmic = 1000 * torch.exp((mel - _MEL_AT_1_KHZ) / _MELS_PER_LOG)
    return torch.where(mel < _MEL_AT_1_KHZ, mel * (1000 / _MEL_AT_1_KHZ), logarithmic)


def mel_filters(sample_rate_hz: int, n_fft: int, mels: int, f_min_hz: float, f_max_hz: float) -> Tensor:
    """Triangular filters (M, F), evenly spaced in mel, each of unit area over Hz."""
    first, last = hz_to_mel(torch.tensor([f_min_hz, f_max_hz], dtype=torch.float64)).tolist()
    corners = mel_to_hz(torch.linspace(first, last, mels + 2, dtype=torch.float64))[:, None]
    bins = torch.linspace(0, sample_rate_hz / 2, n_fft // 2 + 1, dtype=torch.float64)
    low, peak, high = corners[:-2], corners[1:-1], corners[2:]
    triangles = torch.minimum((bins - low) / (peak - low), (high - bins) / (high - peak)).clamp(min=0)
    return (triangles * (2 / (high - low))).float()


def _rows(frames: int) -> int:
    """Clips to transform at a time."""
    return max(1, _CHUNK_FRAMES // max(1, frames))


def _magnitude(spectrum: Tensor) -> Tensor:
    """Absolute value; several times faster than ``Tensor.abs`` of complex numbers."""
    return torch.addcmul(spectrum.real.square(), spectrum.imag, spectrum.imag).sqrt_()


class MelTransform:
    """Sound <-> log-mel spectrogram for one choice of settings.

    Args:
        sample_rate_hz: Of the sound.
        n_fft: Samples that a frame covers; even.
        hop_length: Samples from one frame to the next.
        mels: Number of bands.
        f_min_hz, f_max_hz: Lower and upper end of the bands.
    """

    def __init__(
        self, *, sample_rate_hz: int, n_fft: int, hop_length: int, mels: int, f_min_hz: float, f_max_hz: float
    ) -> None:
        self.stft = Stft(n_fft, hop_length)
        self.filters = mel_filters(sample_rate_hz, n_fft, mels, f_min_hz, f_max_hz)
        self._inverse_filters = torch.linalg.pinv(self.filters)

    def log_mel(self, samples: Tensor) -> Tensor:
        """Samples (B, T) -> natural logarithm of mel magnitudes (B, M, L), at least log(1e-5)."""
        return torch.cat([self._log_mel(part) for part in samples.split(_rows(self.stft.frames(samples.shape[1])))])

    def _log_mel(self, samples: Tensor) -> Tensor:
        magnitude = _magnitude(self.stft.spectrum(samples))
        return (self.filters @ magnitude.mT).clamp_(min=_FLOOR).log_()

    def magnitudes(self, log_mel: Tensor, steps: int = 30) -> Tensor:
        """Log-mel (B, M, L) -> the non-negative linear magnitudes (B, L, F) whose mels are nearest to it.

        Source: multiplicative updates for least squares, Lee and Seung, "Algorithms for non-negative matrix
        factorization" (2001), equation 4, with the filters fixed, from the clipped pseudo-inverse.
        """
        mel = log_mel.mT.exp()
        linear = (mel @ self._inverse_filters.mT).clamp_(min=_FLOOR)
        target = mel @ self.filters
        for _ in range(steps):
            linear *= target / (linear @ self.filters.mT @ self.filters).clamp_(min=_TINY)
        return linear

    def griffin_lim(self, magnitudes: Tensor, keys: Tensor, *, iterations: int = 32, momentum: float = 0.99) -> Tensor:
        """Linear magnitudes (B, L, F) -> samples (B, L * hop_length) whose spectrogram comes near to them.

        Args:
            magnitudes: Of the short-time Fourier transform.
            keys: (B,) random keys of the initial phases; see ``nn.random``.
            iterations: Times that the phases are made consistent.
            momentum: 0 is the original algorithm, 0.99 the fast one.

        Source: Griffin and Lim (1984); Perraudin, Balazs and Sondergaard, "A fast Griffin-Lim algorithm" (2013).
        """
        rows = _rows(magnitudes.shape[1])
        parts = zip(magnitudes.split(rows), keys.split(rows), strict=True)
        return torch.cat([self._griffin_lim(part, part_keys, iterations, momentum) for part, part_keys in parts])

    def _griffin_lim(self, magnitudes: Tensor, keys: Tensor, iterations: int, momentum: float) -> Tensor:
        phases = uniform(keys, tuple(magnitudes.shape[1:])) * (2 * math.pi)
        spectrum = torch.polar(magnitudes, phases)
        scale = self.stft.overlap_scale(magnitudes.shape[1])
        previous = torch.zeros_like(spectrum)
        for _ in range(iterations):
            rebuilt = torch.fft.rfft(self.stft.cut(self.stft.overlap_add(spectrum, scale)))
            spectrum = torch.sub(rebuilt, previous, alpha=momentum / (1 + momentum))
            previous = rebuilt
            spectrum *= magnitudes / _magnitude(spectrum).clamp_(min=_TINY)
        return self.stft.samples(spectrum)
