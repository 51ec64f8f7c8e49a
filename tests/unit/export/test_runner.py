"""The runner of exported files reads and writes as polymodal does, though it shares no code with it."""

import io

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from polymodal.export import runner
from polymodal.modalities import Audio, Image, Label, Molecule, Text, Vector
from polymodal.nn.random import make_keys, uniform

TEXTS = [
    "a red apple",
    "  two  spaces ",
    "it's 12 o'clock, isn't it?",
    "naïve café ½",
    "凉鞋 and 鞋",
    "",
    "!!! ...\n\tx",
]


def form(modality, name="field"):
    """The runner's form of a modality."""
    space = modality.space
    facts = {
        "name": name,
        "kind": space.kind,
        "shape": list(space.shape),
        "varies": space.varies,
        **modality.portable(),
    }
    return runner.FORMS[facts["form"]](facts)


def model_form(modality, raw):
    """What polymodal makes of a raw value."""
    return modality.to_model(torch.from_numpy(np.array(modality.read(raw)))[None])[0].numpy()


def test_keys_and_numbers_are_those_of_polymodal():
    ours = make_keys(-3, 4, start=7)
    assert runner.make_keys(-3, 4, 7).view(np.int64).tolist() == ours.tolist()
    assert np.array_equal(runner.uniform(runner.make_keys(-3, 4, 7), (3, 5)), uniform(ours, (3, 5)).numpy())


@pytest.mark.parametrize("learned", [False, True], ids=["bytes", "pairs"])
def test_texts(learned):
    modality = Text(max_length=64, tokenizer="bpe" if learned else None, vocab_size=330)
    modality.prepare(TEXTS * 3)
    same = form(modality)
    for text in TEXTS:
        ids = model_form(modality, text)
        assert same.read(text).tolist() == ids.tolist(), text
        value, mask = same.model_form(text)
        assert same.thing(value, mask) == text == modality.write(torch.from_numpy(ids))
    with pytest.raises(ValueError, match="field: of shape"):
        same.model_form("x" * 100)


def test_names_and_symbols():
    label = form(Label(names=["b", "a"]))
    assert label.read("a").tolist() == [1]
    assert label.write(np.array([0])) == "b"
    with pytest.raises(ValueError, match="'c' is none of b, a"):
        label.read("c")
    molecule = form(Molecule(notation="selfies", symbols=["[C]", "[Branch1]", "[=O]"]))
    assert molecule.write(molecule.read("[C][=O][C]")) == "[C][=O][C]"
    with pytest.raises(ValueError, match="does not know"):
        molecule.read("[C][N]")


def test_numbers_on_each_scale():
    knots = [None, None, [[0.0, 1.0, 4.0, 10.0], [-2.0, 0.0, 0.5, 2.0]]]
    modality = Vector(3, mean=[1.0, 2.0, 0.1], std=[2.0, 0.5, 1.5], scale=["linear", "log", "quantile"], knots=knots)
    same = form(modality)
    for numbers in ([0.0, 5.0, 3.0], [-7.5, 0.0, -2.0], [3.25, -4.0, 20.0]):
        value = model_form(modality, numbers)
        assert same.read(numbers) == pytest.approx(value, rel=1e-6)
        assert same.write(value) == pytest.approx(modality.write(torch.from_numpy(value)), rel=1e-6)
    assert same.read("1, 2 3") == pytest.approx(same.read([1, 2, 3]))


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures(channels, tmp_path):
    modality, pixels = (
        Image(size=[4, 6], channels=channels),
        np.random.default_rng(0).integers(0, 256, (4, 6, channels)),
    )
    picture = PILImage.fromarray(pixels.astype(np.uint8)[..., 0] if channels == 1 else pixels.astype(np.uint8))
    same, value = form(modality), model_form(modality, picture)
    assert np.array_equal(same.read(np.asarray(picture)), value)
    picture.save(tmp_path / "given.png")
    assert np.array_equal(same.read(tmp_path / "given.png"), value)
    made = same.write(value)
    assert np.array_equal(made, np.asarray(picture))
    same.save(made, tmp_path / "made.png")
    assert np.array_equal(np.asarray(PILImage.open(tmp_path / "made.png")), np.asarray(picture))
    assert PILImage.open(io.BytesIO(runner.png(made))).size == (6, 4)


def test_sound(tmp_path):
    modality = Audio(sample_rate_hz=4000, max_seconds=0.5, mels=12, n_fft=256, hop_length=64, f_min_hz=50.0)
    samples = (0.5 * np.sin(2 * np.pi * 440 * np.arange(1000) / 4000)).astype(np.float32)
    same, value = form(modality), model_form(modality, samples)
    assert same.read(samples) == pytest.approx(value, abs=2e-3)  # polymodal stores 16 bits
    made = same.write(value)
    assert made == pytest.approx(modality.write(torch.from_numpy(value)).samples, abs=1e-3)
    assert len(same.write(model_form(modality, np.zeros(2000, np.float32)))) == 2000  # of 32 frames of 64 samples
    same.save(made, tmp_path / "made.wav")
    expected = same.read(made)
    loud = expected > -1  # 16 bits of a file say little of what is nearly silent
    assert loud.any()
    assert same.read(tmp_path / "made.wav")[loud] == pytest.approx(expected[loud], abs=0.02)
