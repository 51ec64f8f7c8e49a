"""Adapters: the few weights that learn beside those of a pretrained network, which stay as they are."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, PositiveInt
from torch import nn

from polymodal.errors import ConfigError
from polymodal.pretrained.device_map import hooks_of


class LoraArguments(BaseModel):
    """How a pretrained network learns.

    Attributes:
        kind: ``lora``: each chosen matrix W becomes W + (alpha / rank) B A, of which A and B learn.
        rank: Rows of A.
        alpha: Scale; by default twice the rank.
        modules: Ends of the names of the matrices, such as ``q_proj``; by default those of attention.
        last: Only the last so many blocks have adapters; None for all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["lora"] = "lora"
    rank: PositiveInt = 8
    alpha: PositiveInt | None = None
    modules: tuple[str, ...] | None = None
    last: PositiveInt | None = None


_ATTENTION = (
    *("q_proj", "k_proj", "v_proj", "o_proj", "out_proj"),  # LLaMA and its kin, CLIP, Whisper
    *("query", "key", "value", "q", "k", "v", "o"),  # BERT, ViT; T5
    *("c_attn", "query_key_value", "qkv_proj"),  # GPT-2, GPT-NeoX, Phi
    *("to_q", "to_k", "to_v"),  # diffusers
)
"""Names of the matrices of attention in the models of transformers and diffusers."""


class Lora(nn.Module):
    """The weights of an adapter, which this module alone holds of a network that it is put into.

    The network computes with them, but is no module of this one: a checkpoint holds the adapter, and a reference in
    place of the network. A moved network moves them as well, and the other way round.

    Source: Hu et al., "LoRA: Low-rank adaptation of large language models", 2022, equation 3; by the library PEFT.

    Args:
        network: Gets the adapter in its place.
        arguments: How it learns.

    Raises:
        ConfigError: PEFT is missing, or the network has no such matrices.
    """

    def __init__(self, network: nn.Module, arguments: LoraArguments) -> None:
        super().__init__()
        try:
            from peft import LoraConfig, inject_adapter_in_model
            from peft.tuners.lora import LoraLayer
        except ImportError:
            raise ConfigError("adapter: is made by PEFT; install it: pip install 'polymodal[pretrained]'") from None
        wanted = arguments.modules or _ATTENTION
        layers = int(getattr(network.config, "num_hidden_layers", 0))
        if arguments.last and not layers:
            raise ConfigError("adapter.last: the network has no blocks in one row; leave it out")
        first = layers - arguments.last if arguments.last else 0
        targets = [
            name
            for name, module in network.named_modules()
            if isinstance(module, nn.Linear) and name.rpartition(".")[2] in wanted and _block(name) >= first
        ]
        if not targets:
            names = sorted({n.rpartition(".")[2] for n, m in network.named_modules() if isinstance(m, nn.Linear)})
            raise ConfigError(f"adapter.modules: the network has no {', '.join(wanted)}; it has {', '.join(names)}")
        config = LoraConfig(
            r=arguments.rank,
            lora_alpha=arguments.alpha or 2 * arguments.rank,
            target_modules=targets,
        )
        inject_adapter_in_model(config, network)
        for layer in network.modules() if hooks_of(network) else []:
            if isinstance(layer, LoraLayer) and layer.lora_A["default"].weight.is_meta:  # as those beside it are
                for matrices in (layer.lora_A, layer.lora_B):
                    matrices.to_empty(device="cpu")
                layer.reset_lora_parameters("default", True)
        for name, parameter in network.named_parameters():
            if parameter.requires_grad:
                _register(self, name.split("."), parameter)


def _block(name: str) -> int:
    """The number of the block that a module is in, 0 of one that is in none."""
    return int(next((part for part in name.split(".") if part.isdecimal()), 0))


def _register(module: nn.Module, path: list[str], parameter: nn.Parameter) -> None:
    """Holds a parameter under the name that it has in another module."""
    for part in path[:-1]:
        inner: Any = getattr(module, part, None)
        if inner is None:
            inner = nn.Module()
            module.add_module(part, inner)
        module = inner
    module.register_parameter(path[-1], parameter)
