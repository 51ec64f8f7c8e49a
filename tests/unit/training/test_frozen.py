"""Parts that do not learn: read once for each distinct value, referred to by checkpoints, the same when reopened."""

import json
import shutil
from collections import Counter
from copy import deepcopy
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import polymodal as pm
from polymodal.codecs import CODECS, Codec
from polymodal.condition import FEATURES, LATENT
from polymodal.data import Column
from polymodal.encoders import ENCODERS, Encoder
from polymodal.types import Field, Space, Tokens

STEPS = 12
SEED = {"spelling": 1, "patches": 2}
"""What the weights of the toys come from."""


def weights(kind: str, *shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(SEED[kind])))


def note(read: Counter[bytes], field: Field) -> None:
    read.update(value.numpy().tobytes() for value in field.values())


class Spelling(Encoder):
    """A fixed random vector for each id: as many tokens as ids."""

    trains, width = False, 12
    reference: ClassVar = {"place": "here/spelling", "revision": "one"}
    read: ClassVar[Counter[bytes]] = Counter()

    def __init__(self, space: Space, width: int, *, entries: int = 100_000):
        super().__init__()
        self.table = weights("spelling", entries, self.width)

    @classmethod
    def accepts(cls, space: Space) -> str | None:
        return None if space.kind == "discrete" else "reads ids"

    def forward(self, field: Field, keys: torch.Tensor | None = None) -> Tokens:
        assert keys is None
        note(self.read, field)
        return Tokens(self.table[field.value], field.mask)


class Patches(Codec):
    """Each 4 x 4 patch of a picture by a fixed random orthogonal map."""

    trains = False
    reference: ClassVar = {"place": "here/patches"}
    read: ClassVar[Counter[bytes]] = Counter()

    def __init__(self, space: Space):
        super().__init__()
        self.space, self.latent = space, Space("continuous", (48, 4, 4))
        self.basis = nn.Parameter(torch.linalg.qr(weights("patches", 48, 48))[0])

    @classmethod
    def accepts(cls, space: Space) -> str | None:
        return None if len(space.grid) == 2 else "compresses pictures"

    def encode(self, field: Field) -> Field:
        note(self.read, field)
        patches = nn.functional.pixel_unshuffle(field.value, 4)
        return Field(torch.einsum("oc,bchw->bohw", self.basis, patches), field.mask, field.present)

    def decode(self, latent: Field) -> Field:
        patches = torch.einsum("oc,bohw->bchw", self.basis, latent.value)
        return Field(nn.functional.pixel_shuffle(patches, 4), latent.mask, latent.present)


@pytest.fixture(scope="module", autouse=True)
def toys():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ENCODERS, "spelling", Spelling)
        patch.setitem(CODECS, "patches", Patches)
        yield


@pytest.fixture(scope="module")
def frozen(recipe):
    """The tiny recipe with a frozen encoder of names and a frozen codec of pictures."""
    own = deepcopy(recipe)
    own["fields"] = {name: own["fields"][name] for name in ("picture", "name", "place")}
    own["defaults"]["text"]["encoder"] = {"kind": "spelling"}
    own["defaults"]["image"]["codec"] = {"kind": "patches"}
    own["data"] = {"validation": 0.0, "test": 0.2}
    own["train"] |= {"steps": STEPS, "checkpoint_steps": 4, "adapt_rates": True}
    return own


@pytest.fixture(scope="module")
def run(frozen, world, tmp_path_factory) -> pm.Generator:
    for toy in (Spelling, Patches):
        toy.read.clear()
    return pm.fit(frozen, world / "rows.jsonl", run=tmp_path_factory.mktemp("frozen") / "run")


@pytest.fixture(scope="module")
def read(run) -> dict[str, Counter[bytes]]:
    """What each toy had read once the training was over."""
    return {"name": Counter(Spelling.read), "picture": Counter(Patches.read)}


def newest(run: pm.Generator) -> Path:
    return max((run.run / "checkpoints").iterdir())


def test_training_reads_each_distinct_value_once(run, read):
    rows = run.data().train
    assert 2 * len(rows) < STEPS * 8
    for name in ("name", "picture"):
        batch = rows.decode(rows.batch(np.flatnonzero(rows.present[name])))
        values: Counter[bytes] = Counter()
        note(values, batch[name])
        assert read[name] == dict.fromkeys(values, 1)
    assert read["name"].total() < rows.present["name"].sum()
    run.generate({"name": "red disc"}, to="picture")
    assert Spelling.read.total() > read["name"].total()


def test_nothing_of_them_is_trained_or_saved(run):
    model = run.model
    parts = {"encoders.name": model.encoders["name"], "codecs.picture": model.codecs["picture"]}
    moved = set(model.parameters_of("model"))
    for part in parts.values():
        assert not any(p.requires_grad or p in moved for p in part.parameters())
    assert set(model.projections["name"].parameters()) < moved
    for file in ("model", "ema"):
        kept = load_file(newest(run) / f"{file}.safetensors")
        assert "projections.name.weight" in kept
        assert not [name for name in kept if name.startswith(tuple(parts))]
    assert sum(p.numel() for p in parts["encoders.name"].parameters()) * 4 > 4e6
    assert sum(path.stat().st_size for path in newest(run).rglob("*") if path.is_file()) < 2e6
    references = json.loads((newest(run) / "config.json").read_text())["references"]
    assert set(references) == set(parts)
    assert references["encoders.name"].items() >= Spelling.reference.items()
    assert not (run.run / "codecs").exists()


def test_a_run_reopens_and_generates_the_same(run, tmp_path):
    for opened in (pm.open(run.run), pm.Generator.from_pretrained(run.save_pretrained(tmp_path / "copy"))):
        for to in ("picture", "place"):
            mine, theirs = (np.asarray(g.generate({"name": "blue square"}, to=to)[to][0]) for g in (run, opened))
            np.testing.assert_array_equal(mine, theirs)


def test_a_run_that_was_interrupted_ends_the_same_and_reads_nothing_again(run, frozen, world, tmp_path):
    shutil.copytree(run.run, tmp_path / "run")
    for path in sorted((tmp_path / "run" / "checkpoints").iterdir())[1:]:
        shutil.rmtree(path)
    for toy in (Spelling, Patches):
        toy.read.clear()
    again = pm.fit(frozen, world / "rows.jsonl", run=tmp_path / "run")
    assert not Spelling.read
    assert not Patches.read
    for file in ("model", "ema", "trainer/optimizer"):
        mine, theirs = (load_file(newest(each) / f"{file}.safetensors") for each in (run, again))
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.parametrize(("kind", "part", "place"), [
    ("spelling", "encoders.name", "here/spelling"), ("patches", "codecs.picture", "here/patches"),
])  # fmt: skip
def test_other_weights_are_refused(run, frozen, world, monkeypatch, kind, part, place):
    expected = json.loads((newest(run) / "config.json").read_text())["references"][part]["digest"]
    monkeypatch.setitem(SEED, kind, 99)
    with pytest.raises(pm.CheckpointError, match=rf"{part}: .*[0-9a-f]{{64}}.*{place}.*{expected}") as caught:
        pm.open(run.run)
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(pm.CheckpointError, match=rf"references\.{part}\.digest"):
        pm.fit(frozen, world / "rows.jsonl", run=run.run)


def test_what_is_cached_is_what_the_parts_make(run):
    model, rows = run.model, run.data().train
    row = int(np.flatnonzero(rows.present["name"] & rows.present["picture"])[0])
    batch = {name: rows.decode(rows.batch([row]))[name] for name in ("name", "picture")}
    made = model.encoders["name"](batch["name"])
    cached = {"name" + FEATURES: Field(made.x + 1, made.mask, batch["name"].present, varies=0)}
    direct, other = model.tokens("name", batch), model.tokens("name", batch | cached)
    assert direct.x.shape == other.x.shape == (1, int(batch["name"].lengths), 16)
    assert not torch.equal(direct.x, other.x)
    code = model.target(batch, "picture")
    assert model.target(batch | {"picture" + LATENT: code}, "picture") is code
    folder = run.run / "features" / "name"
    values, offsets = np.load(folder / "values.npy", mmap_mode="r"), np.load(folder / "offsets.npy")
    slot = np.unique(rows.columns["name"].slots).tolist().index(rows.columns["name"].slots[row])
    slot -= int(rows.columns["name"].slots.min() < 0)
    kept = Column(values, offsets, np.array([slot]), varies=0).batch(np.array([0])).value
    assert kept.dtype == torch.bfloat16
    assert torch.equal(kept[0], made.x[0].bfloat16())


def test_in_32_bits_they_are_exact_and_what_an_earlier_version_kept_is_taken(run, frozen, world, tmp_path):
    settings = {"train.cache_precision": "no"}
    exact = pm.fit(frozen, world / "rows.jsonl", run=tmp_path / "run", set=settings)
    for family, name in (("features", "name"), ("latents", "picture")):
        both = [np.load(each.run / family / name / "values.npy") for each in (exact, run)]
        assert both[0].dtype == np.float32
        assert both[0].nbytes == 2 * both[1].nbytes
        half = torch.from_numpy(both[1].view(np.int16)).view(torch.bfloat16)
        assert torch.equal(torch.from_numpy(both[0]).bfloat16(), half)
    mine = load_file(newest(exact) / "model.safetensors")
    for path in sorted((exact.run / "checkpoints").iterdir())[1:]:
        shutil.rmtree(path)
    file = exact.run / "config.json"
    config = json.loads(file.read_text())
    del config["recipe"]["train"]["cache_precision"], config["recipe"]["train"]["gradient_checkpointing"]
    file.write_text(json.dumps(config))
    Spelling.read.clear()
    again = load_file(newest(pm.fit(frozen, world / "rows.jsonl", run=exact.run)) / "model.safetensors")
    assert not Spelling.read
    assert all(torch.equal(mine[name], again[name]) for name in mine)


def test_a_process_whose_rows_lack_the_field_does_not_call_a_frozen_encoder(run):
    before = Spelling.read.total()
    assert run.model.tokens("name", run.model.blank("name")).x.shape == (1, 1, 16)
    assert Spelling.read.total() == before
