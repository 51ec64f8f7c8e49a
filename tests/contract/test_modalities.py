"""What every modality promises: shapes, types, lossless storage, a state that builds it again."""

import json
from io import BytesIO

import numpy as np
import pytest
import torch
from markupsafe import Markup
from PIL import Image as PILImage

from polymodal import ConfigError, DataError
from polymodal.data import infer_fields
from polymodal.modalities import MODALITIES, Text, build, kind_of


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


def _csv() -> bytes:
    steps = np.random.default_rng(1).normal(50, 3, (12, 2)).round(3)
    return "".join(["time (s);left;right\n", *(f"{i / 8};{a};{b}\n" for i, (a, b) in enumerate(steps))]).encode()


def _points() -> bytes:
    file = BytesIO()
    np.save(file, np.random.default_rng(0).normal(size=(30, 3)))
    return file.getvalue()


def _webp() -> bytes:
    frames = np.random.default_rng(0).integers(0, 256, (5, 20, 30, 3), dtype=np.uint8)
    first, *rest = map(PILImage.fromarray, frames)
    file = BytesIO()
    first.save(file, "WEBP", save_all=True, append_images=rest, duration=125, lossless=True)
    return file.getvalue()


CASES = {
    "points": ({"count": 30}, _points),
    "image": ({"size": [16, 24]}, _png),
    "text": ({"max_length": 32}, "drei rote Äpfel".encode),
    "audio": ({"max_seconds": 1.0}, _wav),
    "label": ({"names": ["cat", "dog"]}, b"dog".strip),
    "molecule": (
        {"symbols": ["[=Branch1]", "[=C]", "[=O]", "[Branch1]", "[C]", "[O]", "[Ring1]"]},
        b"C1CC1C=O\n".strip,
    ),
    "series": ({"channels": 2, "max_seconds": 2.0, "rate_hz": 8.0, "mean": 50.0, "std": [3.0, 2.0]}, _csv),
    "video": ({"size": [16, 24], "frames": 8}, _webp),
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
        assert stored.shape[1:] == modality.space.rest
        assert 0 < len(stored) <= modality.space.max_length
    else:
        assert stored.shape == modality.space.shape


def test_model_form(case):
    _, modality, raw = case
    stored = torch.from_numpy(modality.read(raw)[None])
    before = stored.clone()
    value = modality.to_model(stored)
    assert torch.equal(stored, before), "to_model changed its argument"
    shape = list(modality.space.shape)
    if modality.space.varies is not None:
        shape[modality.space.varies] = stored.shape[1]
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
    elif kind == "points":  # they are centred and scaled anew, which rounds the last of 24 bits
        np.testing.assert_allclose(modality.read(written), stored, rtol=1e-5, atol=1e-6)
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


@pytest.fixture
def written(case):
    """A modality, what it stores, and what it makes of that."""
    _, modality, raw = case
    stored = modality.read(raw)
    return modality, stored, modality.write(modality.to_model(torch.from_numpy(stored[None]))[0])


def test_its_file_reads_as_the_same_again(case, written, tmp_path):
    modality, stored, thing = written
    content = modality.encode(thing)
    path = tmp_path / f"file{modality.suffix}"
    path.write_bytes(content)
    for raw in (content, path):
        again = modality.read(raw)
        if case[0] == "audio":  # its phase is lost; its length is not
            assert abs(len(again) - len(stored)) <= 1
        elif case[0] == "points":  # of these the last of 24 bits is rounded
            np.testing.assert_allclose(again, stored, rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_array_equal(again, stored)
    if hasattr(thing, "save"):
        thing.save(tmp_path / f"saved{modality.suffix}")
        assert (tmp_path / f"saved{modality.suffix}").read_bytes() == content


def test_its_cell_is_json_and_reads_as_the_same_again(written):
    modality, stored, thing = written
    if modality.inline:
        np.testing.assert_array_equal(modality.read(json.loads(json.dumps(modality.cell(thing)))), stored)


def test_it_is_shown_without_a_network(written):
    modality, _, thing = written
    shown = modality.preview(thing)
    assert isinstance(shown, Markup)
    assert "http" not in shown
    for side in (5, 200):
        picture = modality.thumbnail(thing, side)
        assert picture is None or (picture.mode == "RGB" and max(picture.size) == side)


def test_its_own_column_is_recognised(case, written, tmp_path):
    kind, modality, thing = case[0], written[0], written[2]
    cells = [modality.cell(thing) if modality.inline else {"bytes": modality.encode(thing), "path": None}] * 4
    if kind == "text":
        cells = [f"{thing} {i}" for i in range(4)]  # what is repeated is a label
    (found,) = infer_fields([{"field": cell} for cell in cells], tmp_path).values()
    assert kind_of(found) == kind


def test_its_values_have_names(written):
    modality, stored, thing = written
    assert modality.identity(thing) == modality.identity(thing) == type(modality).identity(thing)
    assert modality.identity(stored) != modality.identity(stored[:0])
    with pytest.raises(DataError):
        modality.identity(object())


def test_text_on_a_page_is_escaped():
    assert "<b>" not in Text().preview("<b>bold</b>")
    assert Text().preview("") == '<span class="text"><i>nothing</i></span>'


def test_only_sound_takes_a_vocoder(case):
    kind, modality, _ = case
    if kind == "audio":
        voiced = modality.with_vocoder(torch.nn.Identity())
        assert voiced.vocoder is not None
        assert modality.vocoder is None
        assert voiced.state() == modality.state()
    else:
        with pytest.raises(ConfigError, match=r"vocoder: .* spectrograms"):
            modality.with_vocoder(torch.nn.Identity())


def test_unknown_names():
    with pytest.raises(ConfigError) as error:
        build("imgae", where="fields.picture")
    assert "fields.picture.modality: 'imgae' is unknown; did you mean 'image'?" in str(error.value)
    with pytest.raises(ConfigError) as error:
        build("image", where="fields.picture", siez=3)
    assert str(error.value) == (
        "fields.picture: 'siez' is unknown; did you mean 'size'? (background, channels, fit, max_pixels, range, size)"
    )
    with pytest.raises(ConfigError, match=r"^fields.v: missing a required argument: 'size'$"):
        build("vector", where="fields.v")
    with pytest.raises(ConfigError, match=r"^fields.p.channels: 2 is neither 3 \(colour\) nor 1 \(grey\)$"):
        build("image", where="fields.p", channels=2)


def test_a_class_that_is_not_registered_is_named():
    class Smell(Text):
        pass

    with pytest.raises(ConfigError, match="modality: Smell is not registered"):
        kind_of(Smell(8))
