"""A causal language model as a head of texts: the contract of heads, adapters that alone are saved, resumption."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import polymodal as pm
import tiny_models
from contract.spaces import WIDTH, assert_well_formed, behind_mask, make_context
from polymodal.checkpoint import find
from polymodal.errors import CheckpointError, ConfigError
from polymodal.heads.pretrained_lm import PretrainedLM
from polymodal.nn.random import make_keys
from polymodal.parts import build_part
from polymodal.types import Context, Field

transformers = pytest.importorskip("transformers")

TEXT = pm.Text(max_length=12)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return str(tiny_models.llama(tmp_path_factory.mktemp("llama")))


def make(folder: str, **arguments) -> PretrainedLM:
    """A head whose adapter changes something, as it does once it has learned."""
    torch.manual_seed(0)
    part = {"kind": "pretrained_lm", "model": folder, "adapter": {"kind": "lora", "rank": 2}} | arguments
    head = build_part("head", part, "head", TEXT.space, WIDTH)
    head.bind(TEXT)
    for name, parameter in head.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return head.eval()


def texts(*words: str) -> Field:
    return Field.stack([Field.full(torch.from_numpy(TEXT.read(word)).long()[None], varies=0) for word in words])


TARGET = texts("a", "grün", "two words", "x y z")


def test_losses_are_per_row_of_that_row_alone_and_blind_behind_masks(folder):
    head, context, keys = make(folder), make_context(), make_keys(1, 4)
    loss = head.loss(context, TARGET, "model", keys)["nll"]
    assert loss.shape == (4,)
    for k in range(4):
        row = torch.tensor([k])
        real = context.mask[k]  # alone, a row has no padding
        own = Context(context.tokens[row][:, real], context.mask[row][:, real], context.pooled[row])
        alone = head.loss(own, TARGET.pick(row), "model", keys[row])["nll"]
        torch.testing.assert_close(alone[0], loss[k], rtol=1e-4, atol=1e-5)
    other = Context(context.tokens.masked_fill(~context.mask[..., None], 9.0), context.mask, context.pooled)
    torch.testing.assert_close(head.loss(other, behind_mask(TARGET, 3), "model", keys)["nll"], loss)
    loss.sum().backward()
    assert {id(p) for p in head.parameters_of("model")} == {id(p) for p in head.parameters()}
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


def test_the_likelihood_is_that_of_the_model_s_own_tokens(folder):
    """Summed by hand over the model itself, with the context as embeddings in front."""
    head, context = make(folder), make_context()
    network, tokenizer = head._network.network, transformers.AutoTokenizer.from_pretrained(folder)
    row = torch.tensor([2])
    soft = head.scale * head.project(context.tokens[2, context.mask[2]])
    ids = torch.tensor([*tokenizer("two words")["input_ids"], tokenizer.eos_token_id])
    embed = network.get_input_embeddings()
    begin = embed(torch.tensor([tokenizer.eos_token_id]))
    x = torch.cat([begin, soft, begin, embed(ids[:-1])])
    log_probs = network(inputs_embeds=x[None]).logits[0, -len(ids) :].log_softmax(-1)
    expected = log_probs[torch.arange(len(ids)), ids].sum()
    torch.testing.assert_close(head.log_likelihood(context.pick(row), TARGET.pick(row))[0], expected)


def test_a_sample_has_its_own_seed_guidance_and_a_bound(folder):
    head, context, keys = make(folder), make_context(), make_keys(3, 4)
    free = Context(torch.zeros(4, 1, WIDTH), torch.ones(4, 1, dtype=torch.bool), torch.zeros(4, WIDTH))
    for options in ({}, {"guidance": 2.0, "top_k": 20}, {"max_length": 5}):
        together = head.sample(context, keys, unconditional=free, **options)
        assert_well_formed(together, TEXT.space)
        assert together.mask.shape[1] <= options.get("max_length", 12)
        assert all(ids[-1] == TEXT.END for ids in together.values())
        for k in range(4):
            row = torch.tensor([k])
            alone = head.sample(context.pick(row), keys[row], unconditional=free.pick(row), **options)
            assert torch.equal(alone.values()[0], together.values()[k])
    with pytest.raises(ConfigError, match="max_length: 13"):
        head.sample(context, keys, max_length=13)


def test_sampling_step_by_step_is_the_likelihood_s_own_distribution(folder):
    """Greedy texts are those to which, token by token, the likelihood gives the most."""
    head, context, keys = make(folder), make_context(), make_keys(3, 4)
    drawn = head.sample(context, keys, temperature=0.0)
    with torch.no_grad():
        best = head.log_likelihood(context, drawn)
        others = head.log_likelihood(context, head.sample(context, make_keys(9, 4), temperature=1.5))
    assert (best >= others - 1e-4).float().mean() >= 0.5
    assert best.isfinite().all()


def test_an_instruction_stands_around_the_context(folder, tmp_path):
    plain, told = make(folder), make(folder, instruction="Write:")
    assert plain._prompt == ([1], [1])
    decode = told._tokenizer.decode
    assert [decode(part) for part in told._prompt] == ["Write:\n\n", "\n\n"]
    with_template = Path(shutil.copytree(folder, tmp_path / "chat"))
    (with_template / "chat_template.jinja").write_text("<{{ messages[0]['content'] }}>:")
    chat = make(str(with_template), instruction="Write:")
    assert [decode(part) for part in chat._prompt] == ["<Write:\n\n", ">:"]


def test_what_it_cannot_write_is_refused(folder):
    with pytest.raises(ConfigError, match="writes texts, not Vector"):
        make(folder).bind(pm.Vector(1))
    assert "whose length varies" in str(PretrainedLM.accepts(pm.Label(["a", "b"]).space))


@pytest.fixture(scope="module")
def recipe(folder):
    return {
        "width": 16,
        "fields": {
            "a": {"modality": "text", "max_length": 12, "encoder": {"kind": "pretrained", "model": folder, "layer": 0}},
            "b": {"modality": "text", "max_length": 12,
                  "encoder": {"kind": "pretrained", "model": folder, "adapter": {"kind": "lora", "rank": 2}},
                  "head": {"kind": "pretrained_lm", "model": folder, "adapter": {"kind": "lora", "rank": 2}}},
        },
        "fusion": {"kind": "attention", "depth": 1, "heads": 2},
        "defaults": {"text": {"head": {"kind": "autoregressive", "depth": 1, "heads": 2}}},
        "data": {"validation": 0.1, "test": 0.1},
        "train": {"steps": 8, "batch_size": 8, "checkpoint_steps": 4, "keep": 3, "learning_rate": 1e-2},
    }  # fmt: skip


@pytest.fixture(scope="module")
def rows():
    return [{"a": f"{n} up", "b": f"{n} down"} for n in range(40)]


@pytest.fixture(scope="module")
def run(recipe, rows, tmp_path_factory) -> pm.Generator:
    return pm.fit(recipe, rows, run=tmp_path_factory.mktemp("lm") / "run")


def test_a_checkpoint_holds_adapters_alone_in_files_of_their_own(run, folder):
    checkpoint = find(run.run)
    base = load_file(Path(folder) / "model.safetensors")
    assert sorted(path.name for path in (checkpoint.path / "adapters").iterdir()) == [
        "encoders.b.safetensors", "heads.b.safetensors",
    ]  # fmt: skip
    for path in checkpoint.path.rglob("*.safetensors"):
        kept = load_file(path)
        adapted = [name for name in kept if "lora_" in name]
        assert adapted if "adapters" in str(path) else not adapted or path.name != "model.safetensors"
        assert "adapters" not in str(path) or len(adapted) == len(kept)
        sizes = {weight.shape for name, weight in kept.items() if "heads.b" in name}
        assert not {base["model.embed_tokens.weight"].shape, base["model.layers.0.mlp.up_proj.weight"].shape} & sizes
    references = json.loads((checkpoint.path / "config.json").read_text())["references"]
    assert set(references) == {"encoders.a", "encoders.b", "heads.b"}
    assert all(reference["place"] == folder and len(reference["digest"]) == 64 for reference in references.values())


def test_a_round_trip_generates_the_same(run, tmp_path):
    copy = pm.Generator.from_pretrained(run.save_pretrained(tmp_path / "copy"))
    assert (tmp_path / "copy" / "adapters" / "heads.b.safetensors").exists()
    for given in ({"a": "3 up"}, {}):
        made = [each.generate(given, to="b", n=3, seed=5)["b"] for each in (run, pm.open(run.run), copy)]
        assert made[0] == made[1] == made[2]


def test_a_run_that_was_interrupted_ends_the_same(run, recipe, rows, tmp_path):
    shutil.copytree(run.run, tmp_path / "run")
    for path in sorted((tmp_path / "run" / "checkpoints").iterdir())[1:]:
        shutil.rmtree(path)
    again = pm.fit(recipe, rows, run=tmp_path / "run")
    files = ["model", "ema", "trainer/optimizer", "adapters/heads.b", "adapters/encoders.b"]
    for file in files:
        mine, theirs = (load_file(find(each.run).path / f"{file}.safetensors") for each in (run, again))
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_adapters_learn(run):
    first, last = (
        load_file(path / "adapters/heads.b.safetensors") for path in sorted((run.run / "checkpoints").iterdir())
    )
    moved = [name for name in first if not torch.equal(first[name], last[name])]
    assert len(moved) == len(first)
    numbers = [json.loads(line) for line in (run.run / "metrics.jsonl").read_text().splitlines()]
    losses = [line["b.nll"] for line in numbers if "b.nll" in line]
    assert all(math.isfinite(loss) for loss in losses)


def test_another_base_is_refused(recipe, rows, run, folder, tmp_path):
    config = Path(folder) / "config.json"
    before = config.read_text()
    try:
        config.write_text(before.replace('"rms_norm_eps": 1e-06', '"rms_norm_eps": 1e-03'))
        assert config.read_text() != before
        with pytest.raises(CheckpointError, match=r"(encoders|heads)\.[ab]: its weights have the digest") as caught:
            pm.open(run.run)
        assert folder in str(caught.value)
    finally:
        config.write_text(before)
