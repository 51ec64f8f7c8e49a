"""The short-time Fourier transform: its power can be trained through, its inverse inverts it."""

import pytest
import torch

from polymodal.modalities.stft import Stft, _Power


def noise(rows: int, samples: int) -> torch.Tensor:
    return torch.randn(rows, samples, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_power_has_the_gradient_of_what_it_computes():
    assert torch.autograd.gradcheck(_Power.apply, noise(3, 16).requires_grad_())


@pytest.mark.parametrize(("n_fft", "hop"), [(64, 16), (50, 20), (32, 32)])
def test_power_is_the_squared_magnitude(n_fft, hop):
    stft, samples = Stft(n_fft, hop), noise(2, 200).float()
    torch.testing.assert_close(stft.power(samples), stft.spectrum(samples).abs().square(), atol=1e-4, rtol=1e-4)
    assert stft.power(samples).shape == (2, stft.frames(200), n_fft // 2 + 1)


def test_the_inverse_can_be_trained_through():
    stft = Stft(64, 16)
    spectrum = stft.spectrum(noise(2, 160).float()).detach().requires_grad_()
    stft.samples(spectrum).square().sum().backward()
    assert spectrum.grad is not None
    assert spectrum.grad.isfinite().all()
    assert spectrum.grad.abs().sum() > 0
