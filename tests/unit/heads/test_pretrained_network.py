"""Networks of diffusers as those of flows: tiny and random, through the real loading path."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import polymodal as pm
import tiny_models
from contract.spaces import WIDTH, make_context, make_field
from polymodal.checkpoint import find
from polymodal.errors import CheckpointError, ConfigError
from polymodal.export.onnx_file import export_direction
from polymodal.heads.pretrained_network import NETWORK_KINDS, PretrainedBackbone, PretrainedNetwork
from polymodal.nn.patches import Patches
from polymodal.nn.random import make_keys, normal
from polymodal.parts import build_part
from polymodal.types import Context, Space
from refusals import refused

diffusers = pytest.importorskip("diffusers")
pytest.importorskip("peft")

SPACE = Space("continuous", (4, 8, 8))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("networks")
    return {kind: str(tiny_models.denoiser(root / kind, kind)) for kind in NETWORK_KINDS}


def make(folder, **arguments):
    torch.manual_seed(0)
    network = {"kind": "pretrained", "model": folder, **arguments}
    head = build_part("head", {"kind": "flow", "repeats": 2, "network": network}, "head", SPACE, WIDTH)
    return head.eval()


@pytest.mark.parametrize("kind", NETWORK_KINDS)
@pytest.mark.parametrize("tune", ["lora", "full"])
def test_losses_and_samples_are_per_row_and_the_right_weights_learn(folders, kind, tune):
    head, context, target, keys = make(folders[kind], tune=tune), make_context(), make_field(SPACE), make_keys(1, 4)
    losses = head.loss(context, target, "model", keys)
    assert losses.keys() == {"flow"}
    sampled = head.sample(context, keys, unconditional=make_context(seed=3), steps=2)
    assert sampled.value.shape == (4, *SPACE.shape)
    for k in (0, 3):
        row = torch.tensor([k])
        real = context.mask[k]  # alone, a row has no padding
        own = Context(context.tokens[row][:, real], context.mask[row][:, real], context.pooled[row])
        alone = head.loss(own, target.pick(row), "model", keys[row])["flow"]
        torch.testing.assert_close(alone[0], losses["flow"][k], rtol=1e-3, atol=1e-4)
    dirty = Context(context.tokens.masked_fill(~context.mask[..., None], 9.0), context.mask, context.pooled)
    torch.testing.assert_close(head.loss(dirty, target, "model", keys)["flow"], losses["flow"], rtol=1e-4, atol=1e-5)
    losses["flow"].sum().backward()
    names = {name for name, parameter in head.named_parameters() if parameter.grad is not None}
    assert names
    whole = sum(p.numel() for p in getattr(diffusers, kind).from_pretrained(folders[kind]).parameters())
    own = sum(p.numel() for name, p in head.network.named_parameters() if not name.startswith("project."))
    assert own == whole if tune == "full" else own < whole
    assert all(p.requires_grad for p in head.parameters())


@pytest.mark.parametrize("kind", NETWORK_KINDS)
@pytest.mark.parametrize("predicts", ["noise", "angle"])
def test_a_step_of_the_flow_is_the_network_s_own_at_the_same_ratio_of_data_to_noise(folders, kind, predicts):
    """The data that follow from the velocity are those that DDIM of diffusers finds from the same noisy picture."""
    head = make(folders[kind], predicts=predicts)
    schedule, start, end = NETWORK_KINDS[kind]
    scheduler = diffusers.DDIMScheduler(
        beta_schedule=schedule, beta_start=start, beta_end=end, clip_sample=False,
        prediction_type="epsilon" if predicts == "noise" else "v_prediction",
    )  # fmt: skip
    scheduler.set_timesteps(1000)
    step = 400
    kept = scheduler.alphas_cumprod[step]
    ratio = float((kept / (1 - kept)).sqrt())
    time = torch.full((4,), ratio / (1 + ratio))
    torch.testing.assert_close(head.network.steps(time), torch.full((4,), float(step)), rtol=1e-3, atol=0.05)
    context, noisy = make_context(), normal(make_keys(0, 4), SPACE.shape)
    network = getattr(diffusers, kind).from_pretrained(folders[kind]).eval()
    tokens = head.network.project(context.tokens)
    more = {"added_cond_kwargs": {"resolution": None, "aspect_ratio": None}} if kind.startswith("PixArt") else {}
    with torch.no_grad():
        out = network(noisy, timestep=torch.full((4,), step), encoder_hidden_states=tokens,
                      encoder_attention_mask=context.mask.float(), **more).sample[:, :4]  # fmt: skip
        expected = scheduler.step(out, step, noisy).pred_original_sample
        spread = (time.square() + (1 - time).square()).sqrt()[0]
        x = head.patches.cut(noisy * spread)
        velocity = head.velocity(x, torch.ones(4, 64, dtype=torch.bool), time, context)
    data = head.patches.join(x + (1 - time)[:, None, None] * velocity)
    torch.testing.assert_close(data, expected, rtol=0.02, atol=0.02)


def test_a_network_of_flows_is_told_the_time_of_noise_and_its_direction_is_turned(folders):
    kind = "PixArtTransformer2DModel"
    head, context = make(folders[kind], predicts="flow"), make_context()
    network = diffusers.PixArtTransformer2DModel.from_pretrained(folders[kind]).eval()
    value, time = normal(make_keys(0, 4), SPACE.shape), torch.full((4,), 0.25)
    with torch.no_grad():
        expected = -network(
            value, timestep=torch.full((4,), 750.0), encoder_hidden_states=head.network.project(context.tokens),
            encoder_attention_mask=context.mask.float(), added_cond_kwargs={"resolution": None, "aspect_ratio": None},
        ).sample[:, :4]  # fmt: skip
        made = head.velocity(head.patches.cut(value), torch.ones(4, 64, dtype=torch.bool), time, context)
    torch.testing.assert_close(head.patches.join(made), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tune", ["lora", "full"])
def test_a_run_holds_what_learns_and_opens_again(tmp_path, tune):
    random = np.random.default_rng(0)
    unet = str(tiny_models.denoiser(tmp_path / "unet", "UNet2DConditionModel", channels=3))
    rows = [{"p": random.integers(0, 256, (8, 8, 3), dtype=np.uint8), "c": "ab"[n % 2]} for n in range(12)]
    network = {"kind": "pretrained", "model": unet, "tune": tune}
    recipe = {
        "width": 16,
        "fields": {
            "p": {"modality": "image", "size": 8, "role": "output",
                  "head": {"kind": "flow", "network": network, "repeats": 1, "steps": 2}},
            "c": {"modality": "label", "role": "input"},
        },
        "data": {"validation": 0.0, "test": 0.0},
        "train": {"steps": 3, "batch_size": 4},
    }  # fmt: skip
    run = pm.fit(recipe, rows, run=tmp_path / "run")
    checkpoint = find(run.run)
    config = json.loads((checkpoint.path / "config.json").read_text())
    assert config["references"]["heads.p.network"]["place"] == unet
    held = [name for name in load_file(checkpoint.path / "model.safetensors") if ".network.conv_in" in name]
    assert bool(held) == (tune == "full")
    assert (checkpoint.path / "adapters").is_dir() == (tune == "lora")
    mine, theirs = (np.asarray(each.generate({"c": "a"}, to="p")["p"][0]) for each in (run, pm.open(run.run)))
    np.testing.assert_array_equal(mine, theirs)
    with refused("c->p: is not exported", "the head of 'p' brings weights of its own", by=ConfigError):
        export_direction(run.model, ["c"], "p", tmp_path / "model.onnx")


def test_what_does_not_fit_is_refused(folders, tmp_path):
    unet = folders["UNet2DConditionModel"]
    with refused("network.model: ", "of 4 channels; these are 3 x 16 x 16", "codec", by=ConfigError):
        PretrainedBackbone(Patches(Space("continuous", (3, 16, 16)), 1), WIDTH, PretrainedNetwork(model=unet))
    with refused(str(tmp_path), "describes none of UNet2DConditionModel", by=CheckpointError):
        make(str(tiny_models.autoencoder(tmp_path / "vae", "AutoencoderKL")))
    with pytest.raises(ConfigError, match="knows no shortcuts"):
        build_part("head", {"kind": "flow", "network": {"model": unet}, "shortcuts": 1}, "head", SPACE, WIDTH)
    with pytest.raises(ConfigError, match=r"adapter.last: .* leave it out"):
        make(unet, adapter={"kind": "lora", "last": 1})
    with pytest.raises(ConfigError, match=r"network.beta_end: 1e-05; from beta_start=0.00085"):
        make(unet, beta_end=0.00001)
    asking = tiny_models.denoiser(tmp_path / "asking", "UNet2DConditionModel")
    config = json.loads((asking / "config.json").read_text()) | {"class_embed_type": "identity"}
    (asking / "config.json").write_text(json.dumps(config))
    with refused("", "asks for more than tokens (class_embed_type)", by=ConfigError):
        make(str(asking))
