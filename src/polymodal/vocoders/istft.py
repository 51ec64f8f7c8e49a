"""A network that predicts the spectrum, magnitudes and phases, from which the inverse Fourier transform makes sound.

Source: Siuzdak, "Vocos: closing the gap between time-domain and Fourier-based neural vocoders for high-quality audio
synthesis" (2023). Unlike there, magnitudes start as a linear map of the spectrogram and are learned from the sound's
own, so that two steps of Griffin and Lim can mend what phases still lack: that is what minutes of training on a CPU
afford. See docs/adr/0007.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from polymodal.errors import ConfigError
from polymodal.modalities.audio import LOG_MEL_MEAN, LOG_MEL_SCALE, Audio
from polymodal.modalities.stft import Stft
from polymodal.nn.layers import layer_norm
from polymodal.nn.random import uniform
from polymodal.types import Field, Losses
from polymodal.vocoders.base import Vocoder
from polymodal.vocoders.critic import SpectrumCritic, row_mean

_FLOOR = 1e-3
"""Of magnitudes before a logarithm: below the noise of 16-bit samples."""
_SILENCE = -2.3
"""A standardised log-mel."""
_TINY = 1e-12


class ConvNeXtBlock(nn.Module):
    """A depthwise convolution over frames, then a wide layer within each frame.

    Source: Liu et al., "A ConvNet for the 2020s" (2022), figure 4; with one dimension in Vocos.

    Args:
        width: D.
        intermediate_size: Width inside.
        kernel: Frames that the convolution sees; odd.
    """

    def __init__(self, width: int, intermediate_size: int, kernel: int) -> None:
        super().__init__()
        # Two dimensions, one of them of size 1: depthwise, that is several times as fast on a CPU as one dimension.
        self.near = nn.Conv2d(width, width, (1, kernel), padding=(0, kernel // 2), groups=width)
        self.norm = layer_norm(width)
        self.widen, self.narrow = nn.Linear(width, intermediate_size), nn.Linear(intermediate_size, width)
        self.scale = nn.Parameter(torch.full((width,), 0.2))

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        near = self.near(x.mT.unsqueeze(2)).squeeze(2).mT
        return x + self.scale * self.narrow(F.gelu(self.widen(self.norm(near))))


class IstftVocoder(Vocoder):
    """Spectrum by ConvNeXt blocks over the frames of a log-mel spectrogram, samples by overlap-add.

    Args:
        audio: Whose spectrograms it reads.
        width: Width of the blocks.
        depth: Number of blocks.
        intermediate_size: Width inside the blocks.
        kernel: Frames that a block's convolution sees; odd.
        refinements: Times that the phases are made consistent with the magnitudes, after training.
        magnitude_weight: Of the distance of magnitudes as predicted, before phases make them overlap.
        crop_frames: Frames of the random crops that one row of a training step is.
        adversarial: Weight of a critic's scores; 0 does without a critic.
        feature_matching: Weight of the distance in the critic's features, times ``adversarial``.

    Raises:
        ConfigError: An argument is out of its bounds.
    """

    compiled_any_length = ("_predict",)

    def __init__(
        self,
        audio: Audio,
        *,
        width: PositiveInt = 128,
        depth: NonNegativeInt = 5,
        intermediate_size: PositiveInt = 384,
        kernel: PositiveInt = 7,
        refinements: NonNegativeInt = 2,
        magnitude_weight: NonNegativeFloat = 1.0,
        crop_frames: PositiveInt = 25,
        adversarial: NonNegativeFloat = 0.0,
        feature_matching: NonNegativeFloat = 2.0,
    ) -> None:
        super().__init__(audio)
        if kernel % 2 == 0:
            raise ConfigError(f"kernel: {kernel} is even; it must be odd")
        self.refinements, self.magnitude_weight, self.crop_frames = refinements, magnitude_weight, crop_frames
        self.adversarial, self.feature_matching = adversarial, feature_matching
        self.stft = audio.transform.stft
        n_fft, hop = self.stft.n_fft, self.stft.hop_length
        self.loudest = math.log(n_fft / 4) + 0.5  # a full-scale sine's log-magnitude, and a little more
        self.resolutions = [Stft(max(2, n_fft // (2 * k) * 2), max(1, hop // k)) for k in (1, 2, 4)]
        bins = n_fft // 2 + 1
        self.proj_in = nn.Conv1d(audio.mels, width, kernel, padding=kernel // 2)
        self.proj_in_norm, self.proj_out_norm = layer_norm(width), layer_norm(width)
        self.blocks = nn.ModuleList(ConvNeXtBlock(width, intermediate_size, kernel) for _ in range(depth))
        self.proj_out = nn.Linear(width, 2 * bins)
        self.magnitudes = nn.Linear(audio.mels, bins)
        self.filters: Tensor
        self.register_buffer("filters", audio.transform.filters, persistent=False)
        self._initialise()
        self.critic = SpectrumCritic(self.resolutions[:2]) if adversarial else None
        self.players = ("critic", "model") if adversarial else ("model",)

    @torch.no_grad()
    def _initialise(self) -> None:
        """Starts the linear map as interpolation of the bands at each frequency, and the correction as a small one."""
        overlap = self.filters.T / self.filters.sum(1)
        weight = overlap / overlap.sum(1, keepdim=True).clamp(min=1e-9)
        self.magnitudes.weight.copy_(LOG_MEL_SCALE * weight)
        self.magnitudes.bias.copy_(LOG_MEL_MEAN - weight @ self.filters.sum(1).log())
        self.proj_out.weight[: len(weight)] *= 0.3
        self.proj_out.bias.zero_()

    def forward(self, mel: Tensor) -> Tensor:
        log_magnitudes, phases = self._predict(mel.to(self.filters.device))
        magnitudes = log_magnitudes.exp()
        samples = self._sound(magnitudes, phases)
        for _ in range(self.refinements):  # Griffin and Lim (1984)
            spectrum = self.stft.spectrum(samples)
            power = torch.addcmul(spectrum.real.square(), spectrum.imag, spectrum.imag)
            samples = self.stft.samples(spectrum * (magnitudes * (power + _TINY).rsqrt()))
        return samples

    def _sound(self, magnitudes: Tensor, phases: Tensor) -> Tensor:
        return self.stft.samples(torch.complex(magnitudes * phases.cos(), magnitudes * phases.sin()))

    def _predict(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """Spectrograms (B, mels, L) -> log-magnitudes and phases (B, L, F) each."""
        x = self.proj_in_norm(self.proj_in(mel).mT)
        for block in self.blocks:
            x = block(x)
        correction, phases = self.proj_out(self.proj_out_norm(x)).float().chunk(2, dim=-1)
        return (self.magnitudes(mel.mT) + correction).clamp(max=self.loudest), phases

    def parameters_of(self, player: str) -> Iterator[nn.Parameter]:
        critics = set(self.critic.parameters()) if self.critic else set()
        if player in self.players:
            yield from (p for p in self.parameters() if (p in critics) == (player == "critic"))

    def loss(self, mel: Field, samples: Field, player: str, keys: Tensor) -> Losses:
        """The critic's ``real`` and ``fake``; the model's ``spectrum``, ``mel`` and ``magnitudes``, distances of
        logarithms, and, with a critic, ``adversarial`` and ``features``.

        Source: Yamamoto et al., "Parallel WaveGAN" (2020), equation 6, the log-magnitude term at several resolutions;
        Kong et al., "HiFi-GAN" (2020), equation 5, the distance of mels; Ai and Ling, "APNet" (2023), section II-C, the
        distance of predicted magnitudes.
        """
        seen, real = self._crop(mel, samples, keys)
        if player == "critic":
            assert self.critic
            with torch.no_grad():
                log_magnitudes, phases = self._predict(seen)
                made = self._sound(log_magnitudes.exp(), phases)
            return self.critic.loss(real, made)
        log_magnitudes, phases = self._predict(seen)
        made = self._sound(log_magnitudes.exp(), phases)
        powers = [(stft.power(made), stft.power(real)) for stft in self.resolutions]
        distances = [row_mean((_log(p) - _log(q)).abs()) for p, q in powers]
        made_mel, real_mel = (self.filters @ power.clamp(min=_FLOOR**2).sqrt().mT for power in powers[0])
        losses = {
            "spectrum": sum(distances[1:], distances[0]) / len(distances),
            "mel": row_mean((made_mel.log() - real_mel.log()).abs()),
            "magnitudes": self.magnitude_weight
            * row_mean((log_magnitudes.clamp(min=math.log(_FLOOR)) - _log(powers[0][1])).abs()),
        }
        if self.critic:
            score, features = self.critic.advice(real, made)
            losses["adversarial"] = self.adversarial * score
            losses["features"] = self.adversarial * self.feature_matching * features
        return losses

    def _crop(self, mel: Field, samples: Field, keys: Tensor) -> tuple[Tensor, Tensor]:
        """A random piece of each row: mels (B, mels, L) and samples (B, L * hop_length), silent after the row's end."""
        frames = min(self.crop_frames, mel.mask.shape[1])
        room = (mel.lengths - frames).clamp(min=0) + 1
        index = (uniform(keys) * room).long()[:, None] + torch.arange(frames, device=keys.device)
        real = mel.mask.gather(1, index)[:, None]

        def piece(value: Tensor) -> Tensor:
            return value.gather(2, index[:, None].expand(-1, value.shape[1], -1))

        return piece(mel.value).masked_fill(~real, _SILENCE), (piece(samples.value) * real).mT.flatten(1)


def _log(power: Tensor) -> Tensor:
    """Natural logarithm of the magnitude."""
    return 0.5 * power.clamp(min=_FLOOR**2).log()
