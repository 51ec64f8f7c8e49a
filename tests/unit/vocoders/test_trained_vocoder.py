"""The vocoder that comes trained: nearer to the sound than Griffin-Lim, frozen or tuned, and no copy of it in a run."""

import json
from importlib.resources import files

import pytest
import torch
from safetensors.torch import load_file

import polymodal as pm
from polymodal.checkpoint import model_from_config
from polymodal.claims import without_memory
from polymodal.config import load_recipe
from polymodal.errors import CheckpointError, ConfigError
from polymodal.modalities.audio import LOG_MEL_MEAN, LOG_MEL_SCALE, Audio
from polymodal.model import Model
from polymodal.nn.random import make_keys
from polymodal.parts import build_part
from polymodal.resolution import replaced, resolve
from polymodal.types import Field
from polymodal.vocoders.istft import IstftVocoder
from polymodal.vocoders.trained import REVISION, TrainedVocoder
from refusals import refused

AUDIO = Audio()


def vowels(rows: int = 4, frames: int = 48) -> torch.Tensor:
    """Voices of several pitches that rise and fall: harmonics under two formants, (rows, samples)."""
    time = torch.arange(frames * AUDIO.hop_length) / AUDIO.sample_rate_hz
    pitch = torch.tensor([95.0, 130.0, 180.0, 220.0])[:rows, None] * (1 + 0.1 * torch.sin(9 * time))
    phase = 2 * torch.pi * pitch.cumsum(1) / AUDIO.sample_rate_hz
    sound = torch.zeros_like(phase)
    for harmonic in range(1, 31):
        heard = sum(torch.exp(-((((harmonic * pitch) - formant) / 300) ** 2)) for formant in (600, 1700))
        sound += (heard + 0.02) / harmonic**0.5 * torch.sin(harmonic * phase)
    return 0.3 * sound / sound.abs().amax(1, keepdim=True)


def spectrograms(samples: torch.Tensor) -> torch.Tensor:
    return (AUDIO.transform.log_mel(samples) - LOG_MEL_MEAN) / LOG_MEL_SCALE


def fields(samples: torch.Tensor) -> tuple[Field, Field]:
    """Spectrograms, and the samples by frames."""
    mask = torch.ones(len(samples), samples.shape[1] // AUDIO.hop_length, dtype=torch.bool)
    frames = samples.unflatten(1, (-1, AUDIO.hop_length)).mT
    return Field.full(spectrograms(samples), mask, 1), Field.full(frames, mask, 1)


def distance(made: torch.Tensor, real: torch.Tensor) -> float:
    """Of log-magnitudes, frames of 512 samples."""
    stft = TrainedVocoder(AUDIO).network.resolutions[1]
    made, real = (stft.power(samples).clamp(min=1e-4).log() / 2 for samples in (made, real))
    return float((made - real).abs().mean())


@torch.no_grad()
def test_sound_is_nearer_than_griffin_lim_s_and_a_clip_may_be_of_any_length():
    sound = vowels()
    mel = spectrograms(sound)
    vocoder = TrainedVocoder(Audio(max_seconds=30.0))
    made = vocoder(mel)
    assert distance(made, sound) < distance(AUDIO._griffin_lim(mel), sound)
    assert vocoder(mel[..., :1]).shape == (4, AUDIO.hop_length)
    assert vocoder(mel.repeat(1, 1, 9)).shape == (4, 9 * sound.shape[1])  # of seven seconds


@pytest.mark.parametrize(
    ("settings", "right"),
    [
        ({"sample_rate_hz": 22_050}, ("sample_rate_hz 16000", "f_max_hz 8000")),
        ({"mels": 64, "hop_length": 200}, ("mels 80, hop_length 256",)),
        ({"f_max_hz": 7600.0}, ("f_max_hz 8000",)),
        ({"form": "samples"}, ("form: samples",)),
    ],
)
def test_other_spectrograms_are_refused_or_left_to_griffin_lim(settings, right):
    audio = Audio(**settings)
    with refused("fields.speech.vocoder.kind: 'trained'", *right, by=ConfigError):
        build_part("vocoder", {"kind": "trained"}, "fields.speech.vocoder", audio)
    defaults = {"vocoder": {"kind": "trained"}, "from_scratch": {"vocoder": None}}
    recipe = resolve(load_recipe({}, {"defaults.audio": defaults}), {"speech": audio})
    with torch.device("meta"):
        assert not Model(recipe, {"speech": audio}).vocoders
    (line,) = replaced(recipe, {"speech": audio})
    assert line.startswith("speech: vocoder trained makes sound of spectrograms")
    assert line.endswith("defaults.audio.from_scratch takes its place")


def test_default_sound_of_any_to_any_has_it_and_from_scratch_or_null_does_without():
    fields = {"name": pm.Text(), "speech": AUDIO}
    for changes, kinds in (
        ({}, [TrainedVocoder]),
        ({"from_scratch": True}, []),
        ({"from_scratch": ["audio"]}, []),
        ({"from_scratch": ["image", "text"]}, [TrainedVocoder]),
        ({"defaults.audio.vocoder": None}, []),
        ({"defaults.audio.vocoder.kind": "istft"}, [IstftVocoder]),
    ):
        recipe = resolve(load_recipe("any-to-any", changes), fields)
        with torch.device("meta"):
            model = Model(recipe, fields)
        assert list(map(type, model.vocoders.values())) == kinds
        assert model.recipe.fields["speech"].codec["kind"] == "kl"
        assert not list(replaced(recipe, fields))
        sent = json.loads(json.dumps(recipe.model_dump(mode="json", exclude_unset=True)))
        assert load_recipe(sent) == recipe


def test_the_upper_end_of_the_bands_may_be_said_and_it_is_sketched_without_its_weights():
    assert TrainedVocoder.accepts(Audio(f_max_hz=8000.0, max_seconds=9.0)) is None
    with without_memory(300):
        vocoder = TrainedVocoder(AUDIO)
    assert {weight.device.type for weight in vocoder.state_dict().values()} == {"meta"}


def test_tuning_learns_and_what_is_not_tuned_has_nothing_to_learn():
    sound = vowels()
    vocoder = TrainedVocoder(AUDIO, tune=True)
    with torch.no_grad():
        before = distance(vocoder(spectrograms(sound)), sound)
    optimizer = torch.optim.Adam(vocoder.parameters_of("model"), lr=3e-4)
    for step in range(8):
        losses = vocoder.loss(*fields(sound), "model", make_keys(step, 4))
        assert all(loss.shape == (4,) for loss in losses.values())
        optimizer.zero_grad()
        sum(loss.sum() for loss in losses.values()).backward()
        optimizer.step()
    with torch.no_grad():
        assert distance(vocoder(spectrograms(sound)), sound) < before
    assert not list(TrainedVocoder(AUDIO).parameters_of("model"))


def test_the_weights_are_small_and_have_a_card():
    folder = files("polymodal.vocoders") / "weights"
    content = (folder / f"{REVISION}.safetensors").read_bytes()
    assert len(content) <= 4_000_000
    assert REVISION in (folder / "README.md").read_text("utf-8")


def run_of(world, tmp_path, **vocoder):
    recipe = {
        "width": 16,
        "fields": {
            "colour": {"modality": "label", "role": "input"},
            "tone": {"modality": "audio", "max_seconds": 0.5, "role": "output",
                     "head": {"kind": "flow", "hidden_size": 16, "depth": 1},
                     "vocoder": {"kind": "trained", **vocoder}},
        },
        "train": {"steps": 2, "batch_size": 4, "vocoder_steps": 1, "vocoder_batch_size": 2},
    }  # fmt: skip
    return pm.fit(recipe, world / "rows.jsonl", run=tmp_path / "run", print_progress=False)


def test_a_run_holds_a_reference_and_no_weights(world, tmp_path):
    model = run_of(world, tmp_path)
    (checkpoint,) = (tmp_path / "run" / "checkpoints").iterdir()
    assert not [name for name in load_file(checkpoint / "model.safetensors") if name.startswith("vocoders.")]
    config = json.loads((checkpoint / "config.json").read_text())
    assert config["references"]["vocoders.tone"]["revision"] == REVISION
    assert not (tmp_path / "run" / "vocoders").exists()
    package = model.save_pretrained(tmp_path / "package")
    for opened in (pm.open(tmp_path / "run"), pm.Generator.from_pretrained(package)):
        (made,), (again,) = (each.generate({"colour": "red"}, "tone")["tone"] for each in (model, opened))
        assert (made.samples == again.samples).all()
    config["references"]["vocoders.tone"]["digest"] = "0" * 64
    with refused("a run: vocoders.tone", "digest", REVISION, by=CheckpointError):
        model_from_config(config, "a run")


def test_a_run_that_tunes_it_holds_its_weights(world, tmp_path):
    run_of(world, tmp_path, tune=True)
    (checkpoint,) = (tmp_path / "run" / "checkpoints").iterdir()
    saved = load_file(checkpoint / "model.safetensors")
    assert [name for name in saved if name.startswith("vocoders.tone.network.")]
    with pytest.raises(ConfigError, match="tune"):
        run_of(world, tmp_path / "other", tune="phases")
