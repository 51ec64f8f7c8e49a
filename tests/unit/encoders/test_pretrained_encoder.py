"""Pretrained encoders: every kind through the real loading path, with tiny models of random weights."""

from collections import Counter

import numpy as np
import pytest
import torch

import polymodal as pm
import tiny_models
from polymodal.encoders.pretrained import PretrainedEncoder
from polymodal.errors import ConfigError
from polymodal.modalities import Modality
from polymodal.types import Field

transformers = pytest.importorskip("transformers")

TEXT, PICTURE = pm.Text(max_length=16), pm.Image(size=20)
SOUND = pm.Audio(4000, 0.5, mels=12, n_fft=256, hop_length=64)
RANDOM = np.random.default_rng(0)
RAWS = {
    TEXT: ["a", "hello world", ""],
    PICTURE: [RANDOM.integers(0, 256, (20, 20, 3), dtype=np.uint8) for _ in range(3)],
    SOUND: [np.sin(np.arange(n) / 3).astype(np.float32) for n in (400, 1500, 2000)],
}
CASES = [
    *((kind, TEXT) for kind in ("bert", "t5", "llama", "clip", "siglip", "clap")),
    *((kind, PICTURE) for kind in ("clip", "siglip", "dino")),
    *((kind, SOUND) for kind in ("whisper", "wav2vec2", "clap")),
]


def field_of(modality: Modality) -> Field:
    """The values of three rows; an empty text among them, as a model may write one."""
    stored = [modality.to_model(torch.from_numpy(modality.read(raw))[None]) for raw in RAWS[modality]]
    varies = modality.space.varies
    return Field.stack([Field.full(x, varies=varies) for x in stored])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root, made = tmp_path_factory.mktemp("models"), {}

    def folder(kind: str) -> str:
        if kind not in made:
            made[kind] = getattr(tiny_models, kind)(root / kind)
        return str(made[kind])

    return folder


def make(folder: str, modality: Modality, **arguments) -> PretrainedEncoder:
    encoder = PretrainedEncoder(modality.space, 24, model=folder, **arguments)
    encoder.bind(modality)
    return encoder


@pytest.mark.parametrize(("kind", "modality"), CASES, ids=lambda x: x if isinstance(x, str) else type(x).__name__)
def test_tokens_of_each_row_alone_of_any_layer_and_through_an_adapter(folders, kind, modality):
    field, before = field_of(modality), None
    for layer in (None,) if (kind, modality) == ("clap", SOUND) else (0, 1, 2, None):
        encoder = make(folders(kind), modality, layer=layer)
        tokens = encoder(field)
        assert not list(encoder.parameters())
        assert tokens.x.shape == (3, tokens.mask.shape[1], encoder.width)
        assert tokens.mask.any(1).all()
        assert not tokens.x[~tokens.mask].any()
        for k in range(3):
            alone = encoder(field.pick(torch.tensor([k])).trim(int(field.lengths[k])))
            torch.testing.assert_close(alone.x[0][alone.mask[0]], tokens.x[k][tokens.mask[k]], rtol=1e-4, atol=1e-4)
        assert before is None or not torch.equal(before, tokens.x) or layer is None
        before = tokens.x
    pooled = {pool: make(folders(kind), modality, pool=pool)(field) for pool in ("mean", "first", "last")}
    real = tokens.x[1][tokens.mask[1]]
    torch.testing.assert_close(pooled["mean"].x[1, 0], real.mean(0))
    torch.testing.assert_close(pooled["first"].x[1, 0], real[0])
    torch.testing.assert_close(pooled["last"].x[1, 0], real[-1])
    adapted = make(folders(kind), modality, adapter={"kind": "lora", "rank": 2})
    assert adapted.trains
    out = adapted(field)
    assert out.x.shape == (*tokens.mask.shape, 24)
    out.x.square().sum().backward()
    assert all(name.startswith(("adapter.", "project.")) for name in adapted.state_dict())
    assert any(p.grad is not None and p.grad.any() for name, p in adapted.named_parameters() if "lora_B" in name)


@pytest.mark.parametrize("kind", ["clip", "siglip", "dino"])
def test_pictures_are_prepared_as_by_the_model_s_own_processor(folders, kind):
    encoder, field, seen = make(folders(kind), PICTURE), field_of(PICTURE), []
    network = encoder._load()
    network.register_forward_pre_hook(lambda module, args, named: seen.append(named["pixel_values"]), with_kwargs=True)
    encoder._network.network = network
    encoder(field)
    processor = transformers.AutoImageProcessor.from_pretrained(folders(kind))
    expected = processor(images=RAWS[PICTURE], return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(seen[0], expected, rtol=0, atol=1e-5)


def test_texts_are_read_in_the_model_s_own_tokens_whatever_the_field_s_are(folders):
    folder = folders("bert")
    other = pm.Text(max_length=16, tokenizer="bpe", vocab_size=280)
    other.prepare(["hello world"] * 4)
    tokens = []
    for modality in (TEXT, other):
        ids = torch.from_numpy(modality.read("hello world")).long()
        tokens.append(make(folder, modality)(Field.full(ids[None], varies=0)).x)
    assert torch.equal(*tokens)
    ids = transformers.AutoTokenizer.from_pretrained(folder)("hello world", return_tensors="pt")
    expected = transformers.BertModel.from_pretrained(folder).eval()(**ids).last_hidden_state
    torch.testing.assert_close(tokens[0], expected)
    assert make(folder, TEXT, max_tokens=3)(field_of(TEXT)).x.shape[1] == 3


def test_what_does_not_fit_is_refused(folders):
    with pytest.raises(ConfigError, match=r"layer: 3 is none of the 3 of .*; 0 to 2 are"):
        make(folders("bert"), TEXT, layer=3)
    with pytest.raises(ConfigError, match=r"layer: .* blocks of several widths"):
        make(folders("clap"), SOUND, layer=1)
    with pytest.raises(ConfigError, match="reads no Series"):
        make(folders("whisper"), SOUND).bind(pm.Series(channels=12, max_seconds=1, rate_hz=20))
    assert "reads texts" in str(PretrainedEncoder.accepts(pm.Vector(3).space))


def test_sound_in_the_form_of_samples_is_heard_as_it_is(folders):
    audio = pm.Audio(max_seconds=1.0, form="samples")
    clip = (0.3 * np.sin(np.arange(9984) / 7)).astype(np.float32)
    field = Field.full(audio.to_model(torch.from_numpy(audio.read(clip))[None]), varies=1)
    heard = make(folders("whisper"), audio)(field)
    network = transformers.AutoModel.from_pretrained(folders("whisper")).get_encoder().eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folders("whisper"))
    with torch.no_grad():
        features = extractor(clip, sampling_rate=16_000, return_tensors="pt").input_features
        expected = network(features).last_hidden_state
    torch.testing.assert_close(heard.x, expected[:, : heard.x.shape[1]], rtol=0.05, atol=0.05)  # samples in 16 bits


def test_a_frozen_encoder_reads_each_distinct_row_once_and_is_then_out_of_memory(folders, tmp_path, monkeypatch):
    read: Counter[str] = Counter()
    plain = PretrainedEncoder._read_words

    def counted(self, network, values, device):
        read.update(values)
        return plain(self, network, values, device)

    monkeypatch.setattr(PretrainedEncoder, "_read_words", counted)
    words = [f"word {n % 20}" for n in range(60)]
    rows = [
        {"a": word, "b": word[::-1], "split": "validation" if n % 6 == 0 else "train"} for n, word in enumerate(words)
    ]
    recipe = {
        "width": 16,
        "fields": {
            "a": {"modality": "text", "max_length": 16, "role": "input",
                  "encoder": {"kind": "pretrained", "model": folders("bert"), "pool": "mean"}},
            "b": {"modality": "text", "max_length": 16, "role": "output",
                  "head": {"kind": "autoregressive", "depth": 1, "heads": 2}},
        },
        "tasks": {"none": 0.0, "one": 1.0, "some": 0.0},
        "train": {"steps": 25, "batch_size": 10, "validate_every": 2.0},
    }  # fmt: skip
    model = pm.fit(recipe, rows, run=tmp_path / "run")
    train, held_out = ({r["a"] for r in rows if r["split"] == split} for split in ("train", "validation"))
    assert read == Counter({word: (word in train) + (word in held_out) for word in train | held_out})
    assert (tmp_path / "run" / "features" / "a" / "values.npy").exists()
    assert model.generate({"a": "word 1"}, to="b")["b"]
