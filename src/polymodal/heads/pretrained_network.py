"""A denoising network of diffusers as the network of a flow."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt
from torch import Tensor, nn

from polymodal.errors import CheckpointError, ConfigError
from polymodal.files import read_json
from polymodal.nn.layers import Linear
from polymodal.nn.parameterisation import Parameterisation, PredictAngle, PredictNoise, PredictVelocity
from polymodal.nn.patches import Patches
from polymodal.pretrained import DeviceMapArgument, LazyNetwork, Lora, LoraArguments, PretrainedSource
from polymodal.types import Context

NETWORK_KINDS = {"UNet2DConditionModel": ("scaled_linear", 0.00085, 0.012),
                 "PixArtTransformer2DModel": ("linear", 0.0001, 0.02)}  # fmt: skip
"""Of diffusers, with the schedules of noise that their first checkpoints have learned from."""
_EXTRA = ("class_embed_type", "addition_embed_type", "num_class_embeds", "encoder_hid_dim_type")
"""Keys of configurations that ask for more than a noisy picture, its time and tokens."""


class PretrainedNetwork(BaseModel):
    """Which network of diffusers a flow has, and how it learns.

    Attributes:
        kind: ``pretrained``.
        model: Its folder, such as ``FOLDER/unet``, or as ``pretrained.places.find`` takes it.
        tune: ``lora``: an adapter learns; ``full``: all weights do, and a checkpoint holds them.
        adapter: How the adapter learns.
        device_map: Where a network lies that does not fit, with ``tune: lora``; ``auto``, or as of ``DeviceMap``.
        predicts: What the network puts out: ``noise``; ``angle``, which diffusers calls ``v_prediction``; or ``flow``,
            noise less data along straight lines.
        schedule: How the variance of the noise grows from step to step: ``linear``, or ``scaled_linear``, where its
            root is linear. Not of ``flow``. By default, as its first and last value, that of the kind of network.
        beta_start: Variance that the first step adds.
        beta_end: Variance that the last step adds.
        timesteps: Steps of the schedule; of ``flow``, the number by which times are multiplied.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["pretrained"] = "pretrained"
    model: str
    tune: Literal["lora", "full"] = "lora"
    adapter: LoraArguments = LoraArguments()
    device_map: DeviceMapArgument = None
    predicts: Literal["noise", "angle", "flow"] = "noise"
    schedule: Literal["linear", "scaled_linear"] | None = None
    beta_start: PositiveFloat | None = None
    beta_end: PositiveFloat | None = None
    timesteps: PositiveInt = 1000


class PretrainedBackbone(nn.Module):
    """A U-Net or transformer of diffusers, which attends to the context's tokens where it attended to a text's.

    A flow has x = (1 - t) noise + t data. A network of diffusion has learned from x divided by its deviation, at the
    step of its schedule that has as much noise beside data: t^2 / (1 - t)^2 is the ratio of their variances, and the
    steps between two of the schedule are found by its logarithm.

    Source: Kingma et al., "Variational diffusion models", 2021, section 5.1, for what the ratio alone decides; Rombach
    et al., 2022 (UNet2DConditionModel); Chen et al., "PixArt-alpha", 2024.

    Args:
        patches: Of pictures or their latents, one of each place.
        width: W, of the context.
        arguments: Which network it is.

    Attributes:
        parameterisation: How a velocity follows from what the network puts out.

    Raises:
        ConfigError: The network is for values of another shape, or asks for more than tokens.
        CheckpointError: Its folder must not be read, or holds no network that is known.
    """

    def __init__(self, patches: Patches, width: int, arguments: PretrainedNetwork) -> None:
        super().__init__()
        self.patches, self.arguments = patches, arguments
        self.source = PretrainedSource(arguments.model, packages=("diffusers",))
        self.reference = self.source.reference
        if arguments.tune == "full" and arguments.device_map:
            raise ConfigError(
                "network.device_map: is for weights that stay as they are, and with tune: full all learn; take tune: "
                "lora, or leave device_map out and share the weights among processes (train.engine: sharded)"
            )
        network, self._kind = self._load()
        config = network.config
        if len(patches.space.grid) != 2 or patches.space.variable or patches.features != config.in_channels:
            raise ConfigError(
                f"network.model: {arguments.model} is for pictures or latents of {config.in_channels} channels; these "
                f"are {' x '.join(map(str, patches.space.shape))}; give the field the codec that it was trained with"
            )
        if asked := [name for name in _EXTRA if config.get(name)]:
            raise ConfigError(f"network.model: {arguments.model} asks for more than tokens ({asked[0]}); take another")
        if getattr(network, "use_additional_conditions", False):
            raise ConfigError(f"network.model: {arguments.model} asks for sizes of pictures; take one of 512 pixels")
        self._network: LazyNetwork | None = None
        if arguments.tune == "full":
            self.network = network.requires_grad_(True)
        else:
            self._network = LazyNetwork(network)
            self.adapter = Lora(network, arguments.adapter)
        self.project = Linear(width, config.get("caption_channels") or config.cross_attention_dim, bias=True)
        self.log_ratios: Tensor
        self.register_buffer("log_ratios", self._schedule(), persistent=False)
        self.parameterisation = self._parameterisation()

    @property
    def digest(self) -> str:
        """Names the files of the model."""
        return self.source.digest

    def forward(self, x: Tensor, mask: Tensor, time: Tensor, context: Context, level: Tensor | None = None) -> Tensor:
        """As of ``TransformerBackbone``, without levels."""
        copies = len(time) // len(context.tokens)
        tokens = self.project(context.tokens).repeat_interleave(copies, 0)
        seen = context.mask.repeat_interleave(copies, 0)
        network = self._network.on(x.device) if self._network else self.network
        value, steps = self.patches.join(x), self.steps(time)
        if self.arguments.predicts != "flow":
            value = value / torch.sqrt(time.square() + (1 - time).square()).view(-1, 1, 1, 1)
        more = {"added_cond_kwargs": {"resolution": None, "aspect_ratio": None}} if self._kind.startswith("Pix") else {}
        out = network(
            value, timestep=steps, encoder_hidden_states=tokens, encoder_attention_mask=seen.to(tokens.dtype), **more
        ).sample
        made = self.patches.cut(out[:, : value.shape[1]])  # some put out a variance behind it
        return -made if self.arguments.predicts == "flow" else made

    def steps(self, time: Tensor) -> Tensor:
        """Times (B,), 0 of noise and 1 of data, as steps of the network's own, 0 of data."""
        if self.arguments.predicts == "flow":
            return (1 - time) * self.arguments.timesteps
        wanted = 2 * torch.log(time.clamp(min=1e-6) / (1 - time).clamp(min=1e-6))
        falling = self.log_ratios  # from step to step
        after = torch.searchsorted(-falling, -wanted).clamp(1, len(falling) - 1)
        before = after - 1
        part = (falling[before] - wanted) / (falling[before] - falling[after])
        return before + part.clamp(0, 1)

    def _parameterisation(self) -> Parameterisation:
        if self.arguments.predicts == "noise":
            ratio = math.exp(float(self.log_ratios[-1]) / 2)  # of data to noise at the last step
            return PredictNoise(ratio / (1 + ratio))
        return PredictAngle() if self.arguments.predicts == "angle" else PredictVelocity()

    def _schedule(self) -> Tensor:
        """(steps,) logarithms of the ratio of the variance of data to that of noise."""
        kind, start, end = NETWORK_KINDS[self._kind]
        its = self.arguments
        kind, start, end = its.schedule or kind, its.beta_start or start, its.beta_end or end
        if not start <= end < 1:
            raise ConfigError(f"network.beta_end: {end:g}; from beta_start={start:g} to less than 1")
        root = kind == "scaled_linear"
        ends = (math.sqrt(start), math.sqrt(end)) if root else (start, end)
        betas = torch.linspace(*ends, its.timesteps, dtype=torch.float64, device="cpu")  # also where it is sketched
        kept = torch.cumprod(1 - (betas.square() if root else betas), 0)
        return (kept / (1 - kept)).log().float()

    def _load(self) -> tuple[Any, str]:
        """The network, and the name of its class."""
        import diffusers

        try:
            kind = read_json(self.source.folder / "config.json").get("_class_name")
        except (ValueError, OSError, AttributeError):
            kind = None
        if kind not in NETWORK_KINDS:
            raise CheckpointError(f"{self.source.folder}: its config.json describes none of {', '.join(NETWORK_KINDS)}")
        return self.source.load(getattr(diffusers, kind), self.arguments.device_map, learns=True), kind
