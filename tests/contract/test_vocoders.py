"""What every vocoder keeps to, over every entry of the table."""

import pytest
import torch

from contract.spaces import needs_model
from polymodal.modalities import Audio
from polymodal.nn.random import make_keys
from polymodal.types import Field
from polymodal.vocoders import VOCODERS, Vocoder

SETTINGS = [
    {"sample_rate_hz": 4000, "max_seconds": 0.5, "mels": 12, "n_fft": 256, "hop_length": 64},
    {"sample_rate_hz": 4000, "max_seconds": 0.5, "mels": 20, "n_fft": 200, "hop_length": 80, "f_min_hz": 50.0},
]
SMALL = {"width": 8, "depth": 1, "intermediate_size": 16, "crop_frames": 6}
CASES = [
    (kind, settings, {**options, **SMALL})
    for kind, vocoder in VOCODERS.items()
    if vocoder.trains
    for settings in SETTINGS
    for options in ({}, {"adversarial": 0.1})
] + [
    (kind, {"max_seconds": 0.5}, {"tune": True})
    for kind, vocoder in VOCODERS.items()
    if not vocoder.trains and not needs_model(vocoder)
]


@pytest.fixture(params=CASES, ids=lambda case: case[0])
def audio_and_vocoder(request) -> tuple[Audio, Vocoder]:
    kind, settings, options = request.param
    torch.manual_seed(0)
    audio = Audio(**settings)
    return audio, VOCODERS[kind](audio, **options)


def clips(audio: Audio, frames: tuple[int, ...] = (9, 4, 1)) -> tuple[Field, Field]:
    """Noise of several lengths: its spectrograms and itself."""
    longest, hop = max(frames), audio.hop_length
    mask = torch.arange(longest) < torch.tensor(frames)[:, None]
    generator = torch.Generator().manual_seed(0)
    samples = 0.1 * torch.randn(len(frames), longest * hop, generator=generator)
    samples *= mask.repeat_interleave(hop, dim=1)
    mel = (audio.transform.log_mel(samples) + 5.5) / 2.6 * mask[:, None]
    present = mask[:, 0]
    sounds = samples.view(len(frames), longest, hop).mT
    return Field(mel, mask, present, 1), Field(sounds, mask, present, 1)


def test_sound_is_as_long_as_the_spectrogram_and_rows_are_apart(audio_and_vocoder):
    audio, vocoder = audio_and_vocoder
    mel = clips(audio)[0].value
    with torch.inference_mode():
        for length in (1, 2, 9):
            assert vocoder(mel[..., :length]).shape == (3, length * audio.hop_length)
        together = vocoder(mel)
        torch.testing.assert_close(together[1:2], vocoder(mel[1:2]), atol=1e-5, rtol=1e-4)
        assert torch.equal(together, vocoder(mel))
    assert together.isfinite().all()


def test_losses_are_per_row_and_follow_the_keys(audio_and_vocoder):
    audio, vocoder = audio_and_vocoder
    mel, samples = clips(audio)
    keys = make_keys(0, 3)
    for player in vocoder.players:
        losses = vocoder.loss(mel, samples, player, keys)
        assert losses
        for term in losses.values():
            assert term.shape == (3,)
            assert term.isfinite().all()
        again = vocoder.loss(mel, samples, player, keys)
        assert all(torch.equal(losses[name], again[name]) for name in losses)
    alone = vocoder.loss(mel.pick(torch.tensor([0])), samples.pick(torch.tensor([0])), "model", keys[:1])
    for name, term in vocoder.loss(mel, samples, "model", keys).items():
        torch.testing.assert_close(term[:1], alone[name], atol=1e-4, rtol=1e-4)


def test_players_partition_the_parameters_and_move_their_own(audio_and_vocoder):
    audio, vocoder = audio_and_vocoder
    mel, samples = clips(audio)
    owned = [parameter for player in vocoder.players for parameter in vocoder.parameters_of(player)]
    assert len(owned) == len(set(owned)) == len(list(vocoder.parameters()))
    for player in vocoder.players:
        vocoder.zero_grad(set_to_none=True)
        sum(term.sum() for term in vocoder.loss(mel, samples, player, make_keys(0, 3)).values()).backward()
        moved = {parameter for parameter in vocoder.parameters() if parameter.grad is not None}
        assert moved == set(vocoder.parameters_of(player))


def test_half_precision_trains(audio_and_vocoder):
    audio, vocoder = audio_and_vocoder
    mel, samples = clips(audio)
    keys = make_keys(0, 3)
    optimizers = {player: torch.optim.AdamW(vocoder.parameters_of(player), lr=3e-3) for player in vocoder.players}
    exact, errors = vocoder.loss(mel, samples, "model", keys), []
    for _ in range(12):
        for player in vocoder.players:
            with torch.autocast("cpu", torch.bfloat16):
                losses = vocoder.loss(mel, samples, player, keys)
            sum(term.mean() for term in losses.values()).backward()
            assert all(p.grad.isfinite().all() for p in vocoder.parameters_of(player))
            optimizers[player].step()
            vocoder.zero_grad(set_to_none=True)
        distances = losses.keys() - {"adversarial", "features"}
        errors.append({name: float(losses[name].detach().mean()) for name in distances})
    for name, first in errors[0].items():
        wanted = float(exact[name].detach().mean())
        assert first != wanted, "nothing was rounded"
        assert first == pytest.approx(wanted, rel=0.05)
    assert sum(errors[-1].values()) < 0.8 * sum(errors[0].values())
