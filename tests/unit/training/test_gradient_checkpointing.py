"""Gradient checkpointing: the same gradients, of blocks that keep little, whoever's blocks they are."""

import shutil
from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import polymodal as pm
import tiny_models
from contract.spaces import SPACES, WIDTH, make_context, make_field
from polymodal.checkpoint import find
from polymodal.encoders.pretrained import PretrainedEncoder
from polymodal.nn.random import make_keys
from polymodal.parts import build_part
from polymodal.training import gradient_checkpointing
from polymodal.training.gradient_checkpointing import _blocks, checkpoint_blocks, restore_blocks
from polymodal.types import Field, Space

PICTURES, TEXT = Space("continuous", (4, 8, 8)), pm.Text(max_length=12)
OURS = {
    "transformer": ({"kind": "flow", "depth": 4, "heads": 2, "repeats": 1}, PICTURES),
    "unet": ({"kind": "flow", "channels": [8, 16], "patch": 1, "repeats": 1}, PICTURES),
    "set": ({"kind": "flow", "depth": 4, "heads": 2, "repeats": 1}, SPACES["set"]),
    "dropout": ({"kind": "autoregressive", "depth": 4, "heads": 2, "dropout": 0.3}, TEXT.space),
}


def bytes_kept(module: nn.Module, compute: Callable[[], Tensor]) -> int:
    """Bytes that gradients of a loss need: what operations save, and what goes into blocks that are computed again."""
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor  # which holds the storage, so that no other has its place
        return tensor

    def enter(block: nn.Module, positional: tuple, named: dict) -> None:
        for value in (*positional, *named.values()):
            if isinstance(value, Tensor):
                keep(value)

    hooks = [block.register_forward_pre_hook(enter, with_kwargs=True) for block in _blocks(module)]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        compute()
    for hook in hooks:
        hook.remove()
    weights = {p.untyped_storage().data_ptr() for p in module.parameters()}
    return sum(t.untyped_storage().nbytes() for place, t in kept.items() if place not in weights)


def assert_the_same_in_less(module: nn.Module, compute: Callable[[], Tensor]) -> None:
    def gradients() -> dict[str, Tensor]:
        module.zero_grad()
        torch.manual_seed(3)
        compute().backward()
        return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}

    plain, before = gradients(), bytes_kept(module, compute)
    checkpoint_blocks(module)
    again, after = gradients(), bytes_kept(module, compute)
    assert plain.keys() == again.keys() != set()
    assert all(torch.equal(plain[name], again[name]) for name in plain)
    assert after < 0.5 * before
    restore_blocks(module)
    assert bytes_kept(module, compute) == before
    deepcopy(module)


@pytest.mark.parametrize("kind", OURS)
def test_blocks_of_ours(kind):
    part, space = OURS[kind]
    torch.manual_seed(0)
    head = build_part("head", part, "head", space, WIDTH).train()
    for parameter in head.parameters():
        parameter.data.normal_(std=0.2)  # what starts as zero would pass no gradient on
    context, target, keys = make_context(), make_field(space), make_keys(1, 4)
    assert_the_same_in_less(head, lambda: sum(head.loss(context, target, "model", keys).values()).sum())


def texts() -> Field:
    words = ["a", "two words", "x y z", "hello"]
    return Field.stack([Field.full(torch.from_numpy(TEXT.read(word)).long()[None], varies=0) for word in words])


@pytest.mark.parametrize("kind", ["bert", "t5", "llama", "whisper", "wav2vec2", "dino"])
def test_blocks_of_transformers(kind, tmp_path):
    pytest.importorskip("peft")
    folder, adapter = str(getattr(tiny_models, kind)(tmp_path)), {"kind": "lora", "rank": 2}
    if kind in ("whisper", "wav2vec2"):
        modality: pm.Modality = pm.Audio(4000, 0.5, mels=12, n_fft=256, hop_length=64)
    else:
        modality = pm.Image(size=28) if kind == "dino" else TEXT
    encoder = PretrainedEncoder(modality.space, 24, model=folder, adapter=adapter)
    encoder.bind(modality)
    for name, parameter in encoder.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.1)
    field = texts() if modality is TEXT else make_field(modality.space)
    assert_the_same_in_less(encoder, lambda: encoder(field).x.square().sum())


def test_blocks_of_a_language_model_as_a_head(tmp_path):
    pytest.importorskip("peft")
    folder = str(tiny_models.llama(tmp_path))
    head = build_part("head", {"kind": "pretrained_lm", "model": folder}, "head", TEXT.space, WIDTH)
    head.bind(TEXT)
    context, keys = make_context(), make_keys(1, 4)
    assert_the_same_in_less(head, lambda: head.loss(context, texts(), "model", keys)["nll"].sum())
    checkpoint_blocks(head)
    assert len(head.sample(context, keys).value) == 4  # which keeps a cache


@pytest.mark.parametrize("tune", ["lora", "full"])
@pytest.mark.parametrize("kind", ["UNet2DConditionModel", "PixArtTransformer2DModel"])
def test_blocks_of_diffusers(kind, tune, tmp_path):
    pytest.importorskip("diffusers")
    network = {"kind": "pretrained", "model": str(tiny_models.denoiser(tmp_path, kind)), "tune": tune}
    head = build_part("head", {"kind": "flow", "repeats": 1, "network": network}, "head", PICTURES, WIDTH).eval()
    context, target, keys = make_context(), make_field(PICTURES), make_keys(1, 4)
    assert_the_same_in_less(head, lambda: head.loss(context, target, "model", keys)["flow"].sum())


def test_a_run_goes_on_with_it_and_ends_the_same(recipe, world, tmp_path, monkeypatch):
    calls: list[object] = []
    again_of = gradient_checkpointing.checkpoint
    monkeypatch.setattr(
        gradient_checkpointing, "checkpoint", lambda f, *a, **n: (calls.append(f), again_of(f, *a, **n))[1]
    )
    recipe = recipe | {"fields": {name: recipe["fields"][name] for name in ("name", "place")}}
    settings = {"train.checkpoint_steps": 2, "train.steps": 4, "data.validation": 0.0}
    run = pm.fit(recipe, world / "rows.jsonl", run=tmp_path / "run", set=settings)
    plain = load_file(find(run.run).path / "model.safetensors")
    assert not calls
    shutil.rmtree(max((run.run / "checkpoints").iterdir()))
    again = pm.fit(recipe, world / "rows.jsonl", run=run.run, set=settings | {"train.gradient_checkpointing": True})
    assert calls
    found = load_file(find(again.run).path / "model.safetensors")
    assert all(torch.equal(plain[name], found[name]) for name in plain)
    assert not any("forward" in vars(module) for module in again.model.modules())
