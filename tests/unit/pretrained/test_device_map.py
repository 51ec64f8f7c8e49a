"""Networks that do not fit: weights on the disk, brought to where they are used, and computed with as any others."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import polymodal as pm
import tiny_models
from contract.spaces import WIDTH, make_context, make_field
from polymodal.encoders.pretrained import PretrainedEncoder
from polymodal.errors import ConfigError
from polymodal.nn.random import make_keys
from polymodal.parts import build_part
from polymodal.pretrained.device_map import DeviceMap, hooks_of
from polymodal.training.gradient_checkpointing import checkpoint_blocks, restore_blocks
from polymodal.types import Field, Space

pytest.importorskip("transformers")
pytest.importorskip("peft")

TEXT = pm.Text(max_length=12)
LITTLE = {"max_memory": {"cpu": "12KB"}}
"""Less than any of these networks needs, and as much as some of their blocks."""


def texts() -> Field:
    words = ["a", "two words", "x y z", "hello"]
    return Field.stack([Field.full(torch.from_numpy(TEXT.read(word)).long()[None], varies=0) for word in words])


def on_disk(network: nn.Module) -> set[str]:
    return {name for name, parameter in network.named_parameters() if parameter.is_meta}


@pytest.mark.parametrize("layer", [None, 1])
@pytest.mark.parametrize("kind", ["bert", "t5", "llama", "clip"])
def test_a_frozen_encoder_reads_the_same(kind, layer, tmp_path):
    folder = str(getattr(tiny_models, kind)(tmp_path))
    tokens = {}
    for where in (None, "auto", LITTLE):
        encoder = PretrainedEncoder(TEXT.space, WIDTH, model=folder, layer=layer, device_map=where)
        encoder.bind(TEXT)
        tokens[str(where)] = encoder(texts()).x
        assert bool(on_disk(encoder._network.network)) == (where is LITTLE)  # all fits where there is room
    assert all(torch.equal(each, tokens["None"]) for each in tokens.values())
    encoder.release()
    assert torch.equal(encoder(texts()).x, tokens["None"])


def heads(part: dict[str, object], folder: Path, space: Space) -> list[nn.Module]:
    """One with all of the network in memory, and one with most of it on the disk, with the same weights that learn."""
    made = []
    for where in (None, LITTLE):
        own = {**part, "network": {**part["network"], "device_map": where}} if "network" in part else part
        torch.manual_seed(0)
        made.append(build_part("head", own | ({} if own is not part else {"device_map": where}), "head", space, WIDTH))
    for name, parameter in made[0].named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.1)
    made[1].load_state_dict(made[0].state_dict())
    return [head.eval() for head in made]


CASES = {
    "llama": (tiny_models.llama, {"kind": "pretrained_lm"}, TEXT.space),
    **{
        kind: (lambda folder, kind=kind: tiny_models.denoiser(folder, kind),
               {"kind": "flow", "repeats": 1, "network": {"kind": "pretrained"}}, Space("continuous", (4, 8, 8)))
        for kind in ("UNet2DConditionModel", "PixArtTransformer2DModel")
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", CASES)
def test_an_adapter_learns_the_same_and_weights_are_kept_only_while_they_are_used(kind, tmp_path):
    if kind != "llama":
        pytest.importorskip("diffusers")
    make, part, space = CASES[kind]
    folder = {"model": str(make(tmp_path))}
    part = part | ({"network": part["network"] | folder} if "network" in part else folder)
    whole, spread = heads(part, tmp_path, space)
    network = next(held.network for m in spread.modules() for held in vars(m).values() if hasattr(held, "network"))
    assert on_disk(network)
    context, keys = make_context(), make_keys(1, 4)
    target = texts() if space is TEXT.space else make_field(space)
    kept: list[int] = []

    def gradients(head: nn.Module) -> dict[str, Tensor]:
        if space is TEXT.space:
            head.bind(TEXT)
        head.zero_grad()
        saved: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = sum(head.loss(context, target, "model", keys).values()).sum()
        kept.append(sum(saved.values()))
        loss.backward()
        return {name: parameter.grad for name, parameter in head.named_parameters()}

    plain, found = gradients(whole), gradients(spread)
    checkpoint_blocks(spread)
    again = gradients(spread)
    assert all(torch.equal(plain[name], found[name]) and torch.equal(plain[name], again[name]) for name in plain)
    assert kept[2] < 0.5 * kept[1]
    restore_blocks(spread)
    assert hooks_of(network)
    drawn = [
        head.sample(context, keys, **({"steps": 2} if space is not TEXT.space else {})) for head in (whole, spread)
    ]
    assert torch.equal(drawn[0].value, drawn[1].value)
    assert on_disk(network)


def test_a_run_trains_and_opens(tmp_path):
    model = str(tiny_models.llama(tmp_path / "llama"))
    place = {"model": model, "device_map": {"max_memory": {0: "1GiB", "cpu": "12KB"}}}
    field = {"modality": "text", "max_length": 12}
    recipe = {
        "fields": {
            "a": field | {"role": "input", "encoder": {"kind": "pretrained", **place}},
            "b": field | {"role": "output", "head": {"kind": "pretrained_lm", **place}},
        },
        "width": 16,
        "fusion": {"kind": "attention", "depth": 0},
        "train": {"steps": 2, "batch_size": 4, "gradient_checkpointing": True},
        "data": {"validation": 0.0, "test": 0.0},
    }
    run = pm.fit(recipe, [{"a": f"row {k}", "b": f"r{k}"} for k in range(8)], run=tmp_path / "run")
    assert on_disk(run.model.heads["b"]._network.network)
    made = [each.generate({"a": "row 3"}, to="b", seed=1)["b"] for each in (run, pm.open(run.run))]
    assert made[0] == made[1]


def test_a_device_map_that_cannot_be_is_refused(tmp_path):
    folder = str(tiny_models.llama(tmp_path / "llama"))
    lm = {"kind": "pretrained_lm", "model": folder}
    with pytest.raises(ConfigError, match=r"head\.device_map\.max_memory: much of cpu is no size; 20GiB and 500MB are"):
        build_part("head", lm | {"device_map": {"max_memory": {"cpu": "much"}}}, "head", TEXT.space, WIDTH)
    with pytest.raises(ConfigError, match="device_map"):
        build_part("head", lm | {"device_map": "balanced"}, "head", TEXT.space, WIDTH)
    network = {"kind": "pretrained", "model": folder, "tune": "full", "device_map": "auto"}
    flow = {"kind": "flow", "network": network}
    with pytest.raises(ConfigError, match=r"head\.network\.device_map: .*tune: lora"):
        build_part("head", flow, "head", Space("continuous", (4, 8, 8)), WIDTH)


def test_gpus_that_are_not_there_are_passed_over():
    options = DeviceMap(max_memory={99: "1GB", "cpu": "2GB"}).options(learns=False)
    assert options["max_memory"] == {"cpu": "2GB"}
    assert 99 not in DeviceMap(max_memory={99: "1GB"}).options(learns=True)["max_memory"]
    assert Path(options["offload_folder"]).is_dir()
