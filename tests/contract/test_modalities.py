"""What every modality promises: shapes, types, lossless storage, a state that builds it again."""

import json
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from polymodal import ConfigError, DataError
from polymodal.modalities import MODALITIES, build, kind_of


def _png() -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    file = BytesIO()
    PILImage.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _wav() -> bytes:
    import soundfile

    file = BytesIO()
    soundfile.write(file, 0.1 * np.sin(np.arange(8000) / 10), 16000, format="WAV")
    return file.getvalue()


def _npy() -> bytes:
    file = BytesIO()
    np.save(file, np.array([1.0, 2.0, 4.0]))
    return file.getvalue()


CASES = {
    "image": ({"size": [16, 24]}, _png),
    "text": ({"max_length": 32}, "drei rote Äpfel".encode),
    "audio": ({"max_seconds": 1.0}, _wav),
    "label": ({"names": ["cat", "dog"]}, b"dog".strip),
    "vector": ({"size": 3, "mean": [1.0, 0.0, 0.0], "std": 2.0}, _npy),
}


@pytest.fixture(params=MODALITIES)
def case(request):
    arguments, raw = CASES[request.param]
    return request.param, build(request.param, **arguments), raw()


def test_stored_form(case):
    _, modality, raw = case
    stored = modality.read(raw)
    assert stored.dtype == modality.dtype
    if modality.space.variable:
        assert stored.shape[1:] == modality.space.shape[:-1]
        assert 0 < len(stored) <= modality.space.max_length
    else:
        assert stored.shape == modality.space.shape


def test_model_form(case):
    _, modality, raw = case
    stored = torch.from_numpy(modality.read(raw)[None])
    before = stored.clone()
    value = modality.to_model(stored)
    assert torch.equal(stored, before), "to_model changed its argument"
    shape = (*modality.space.shape[:-1], value.shape[-1]) if modality.space.variable else modality.space.shape
    assert value.shape == (1, *shape)
    if modality.space.kind == "discrete":
        assert value.dtype == torch.int64
        assert 0 <= value.min() <= value.max() < modality.space.vocab
    else:
        assert value.dtype == torch.float32
        assert value.isfinite().all()
        assert value.abs().max() < 20


def test_path_and_bytes_agree(case, tmp_path):
    _, modality, raw = case
    path = tmp_path / f"file{modality.suffixes[0]}"
    path.write_bytes(raw)
    np.testing.assert_array_equal(modality.read(path), modality.read(raw))


def test_what_is_written_reads_as_the_same_again(case):
    kind, modality, raw = case
    stored = modality.read(raw)
    value = modality.to_model(torch.from_numpy(stored[None]))[0]
    written = modality.write(value)
    if kind == "audio":  # its phase is lost; its length is not
        assert abs(len(modality.read(written)) - len(stored)) <= 1
    else:
        np.testing.assert_array_equal(modality.read(np.asarray(written) if kind == "image" else written), stored)


def test_state_builds_it_again(case):
    kind, modality, raw = case
    again = build(kind, **json.loads(json.dumps(modality.state())))
    assert again.space == modality.space
    assert again.state() == modality.state()
    assert kind_of(again) == kind
    np.testing.assert_array_equal(again.read(raw), modality.read(raw))


@pytest.mark.parametrize("junk", [b"\xff\xfe junk \x00", 3.5, object(), {"a": 1}])
def test_junk_is_a_data_error(case, junk):
    _, modality, _ = case
    with pytest.raises(DataError):
        modality.read(junk)


def test_saves(case, tmp_path):
    _, modality, raw = case
    stored = torch.from_numpy(modality.read(raw)[None])
    written = modality.write(modality.to_model(stored)[0])
    if not isinstance(written, str):
        path = tmp_path / f"out{modality.suffixes[0]}"
        written.save(path)
        assert modality.read(path).shape[-1] == modality.read(raw).shape[-1]


def test_unknown_names():
    with pytest.raises(ConfigError) as error:
        build("imgae", where="fields.picture")
    assert "fields.picture.modality: 'imgae' is unknown; did you mean 'image'?" in str(error.value)
    with pytest.raises(ConfigError) as error:
        build("image", where="fields.picture", siez=3)
    assert str(error.value) == (
        "fields.picture: 'siez' is unknown; did you mean 'size'? (background, channels, fit, size)"
    )
    with pytest.raises(ConfigError, match=r"^fields.v: missing a required argument: 'size'$"):
        build("vector", where="fields.v")
    with pytest.raises(ConfigError, match=r"^fields.p.channels: 2 is neither 3 \(colour\) nor 1 \(grey\)$"):
        build("image", where="fields.p", channels=2)
