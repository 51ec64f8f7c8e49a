"""The short-time Fourier transform and its inverse by overlap-add, batched and differentiable.

Shapes: B clips, T samples, L frames, F = n_fft / 2 + 1 frequency bins. Frame l is centred on the l-th block of
``hop_length`` samples, so a clip has ceil(T / hop_length) frames, and L frames are L * hop_length samples.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class _Power(torch.autograd.Function):
    """Squared magnitudes of the Fourier transform; twice as fast to train through as the operations it is made of."""

    @staticmethod
    def forward(ctx: Any, frames: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(frames)
        ctx.save_for_backward(spectrum)
        ctx.n_fft = frames.shape[-1]
        return torch.addcmul(spectrum.real.square(), spectrum.imag, spectrum.imag)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (spectrum,) = ctx.saved_tensors
        gradient = gradient * ctx.n_fft
        gradient[..., [0, -1]] *= 2  # the inverse transform counts all other frequencies twice
        return torch.fft.irfft(spectrum * gradient, ctx.n_fft)


class Stft:
    """Sound <-> spectrum, with Hann windows.

    Args:
        n_fft: Samples that a frame covers; even.
        hop_length: Samples from one frame to the next, at most ``n_fft``.
    """

    def __init__(self, n_fft: int, hop_length: int) -> None:
        self.n_fft, self.hop_length = n_fft, hop_length
        self.left = (n_fft - hop_length) // 2
        self.window = torch.hann_window(n_fft)
        # The sum of overlapped squared windows has the period of a hop; the frame is padded to whole hops for it.
        self.hops = math.ceil(n_fft / hop_length)
        self._squares = F.pad(self.window**2, (0, self.hops * hop_length - n_fft)).view(self.hops, hop_length)

    def frames(self, samples: int) -> int:
        """Number of frames of so many samples."""
        return math.ceil(samples / self.hop_length)

    def spectrum(self, samples: Tensor) -> Tensor:
        """Samples (B, T) -> complex (B, L, F)."""
        return torch.fft.rfft(self.cut(self.pad(samples)))

    def power(self, samples: Tensor) -> Tensor:
        """Samples (B, T) -> squared magnitudes (B, L, F)."""
        return _Power.apply(self.cut(self.pad(samples)))

    def samples(self, spectrum: Tensor) -> Tensor:
        """Complex (B, L, F) -> the samples (B, L * hop_length) whose spectrum is nearest to it.

        Source: Griffin and Lim, "Signal estimation from modified short-time Fourier transform" (1984), equation 6.
        """
        frames = spectrum.shape[1]
        padded = self.overlap_add(spectrum, self.overlap_scale(frames).to(spectrum.device))
        return padded[:, self.left : self.left + frames * self.hop_length]

    def pad(self, samples: Tensor) -> Tensor:
        """Zeros around the samples, so that every frame is whole and centred on its hop."""
        length = samples.shape[1]
        whole = self.frames(length) * self.hop_length
        return F.pad(samples, (self.left, whole - length + self.n_fft - self.hop_length - self.left))

    def cut(self, padded: Tensor) -> Tensor:
        """Padded samples -> windowed frames (B, L, n_fft)."""
        return padded.unfold(1, self.n_fft, self.hop_length) * self.window.to(padded.device)

    def overlap_scale(self, frames: int) -> Tensor:
        """1 / (sum of squared windows) at each padded sample."""
        total = torch.zeros(frames + self.hops - 1, self.hop_length)
        for hop in range(self.hops):
            total[hop : hop + frames] += self._squares[hop]
        return total.flatten().clamp(min=1e-8).reciprocal()

    def overlap_add(self, spectrum: Tensor, scale: Tensor) -> Tensor:
        """Spectrum (B, L, F) -> padded samples (B, (L - 1) * hop_length + n_fft)."""
        rows, frames, _ = spectrum.shape
        pieces = torch.fft.irfft(spectrum, self.n_fft) * self.window.to(spectrum.device)
        pieces = F.pad(pieces, (0, self.hops * self.hop_length - self.n_fft))
        pieces = pieces.view(rows, frames, self.hops, self.hop_length)
        total = pieces.new_zeros(rows, frames + self.hops - 1, self.hop_length)
        for hop in range(self.hops):
            total[:, hop : hop + frames] += pieces[:, :, hop]
        padded = total.view(rows, -1) * scale
        return padded[:, : (frames - 1) * self.hop_length + self.n_fft]
