"""Pretrained encoders of Hugging Face: texts, pictures and sounds -> tokens."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, Literal

import numpy as np
import soxr
import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from polymodal.encoders.base import Encoder
from polymodal.errors import ConfigError
from polymodal.modalities import Modality
from polymodal.nn.layers import Linear
from polymodal.pretrained import DeviceMapArgument, LazyNetwork, Lora, LoraArguments, PretrainedSource
from polymodal.pretrained.layers import blocks_of, hidden_before
from polymodal.types import Field, Space, Tokens

_TOWERS = {"pixels": "vision", "samples": "audio", "words": "text"}
"""By the form in which a model reads a field, the tower of a network that has several, such as CLIP."""


class PretrainedEncoder(Encoder):
    """The hidden states of a model of transformers: of BERT, T5 or a causal LM; CLIP, SigLIP or DINO; Whisper or CLAP.

    A field is brought to the form that the model knows by the model's own tokenizer, image processor or feature
    extractor, whatever the field's own ids, sizes and rates are. Without an adapter the model is frozen: it reads each
    distinct training value once, and is not in memory while the rest trains.

    Source: Radford et al., "Learning transferable visual models from natural language supervision", 2021; Oquab et
    al., "DINOv2", 2023; Reimers and Gurevych, "Sentence-BERT", 2019; Radford et al., "Robust speech recognition via
    large-scale weak supervision", 2022.

    Args:
        space: That of a text, a class name, a picture or a spectrogram.
        width: Width of the tokens, where an adapter learns.
        model: A folder, ``package:NAME/PATH``, or ``owner/name@commit`` on the hub; see ``pretrained.places.find``.
        layer: Hidden states of which block, counted from the embeddings, which are 0; the last, normalised, if not
            given. Blocks behind it are not run.
        pool: ``none`` for all hidden states, or one token: their ``mean``, the ``first`` or the ``last``.
        max_tokens: Of a text; what is longer is cut.
        adapter: How the model learns, such as ``{kind: lora, rank: 8}``; it is frozen if not given.
        device_map: Where a model lies that does not fit; ``auto``, or as of ``DeviceMap``.

    Raises:
        ConfigError: There is no such model, or it has no such layer.
        CheckpointError: Its folder must not be read.
    """

    def __init__(
        self,
        space: Space,
        width: int,
        *,
        model: str,
        layer: int | None = None,
        pool: Literal["none", "mean", "first", "last"] = "none",
        max_tokens: PositiveInt | None = None,
        adapter: LoraArguments | None = None,
        device_map: DeviceMapArgument = None,
    ):
        super().__init__()
        self.source = PretrainedSource(model)
        self.reference, self.layer, self.pool, self.max_tokens = self.source.reference, layer, pool, max_tokens
        self.trains, self._device_map = adapter is not None, device_map
        self._form = "words" if space.kind == "discrete" else "pixels" if len(space.grid) == 2 else "samples"
        self._modality: Modality | None = None
        self._network = LazyNetwork(self._load)
        config = self._tower_of(self.source.config, "_config")
        self.width = config.hidden_size
        if layer is not None and hasattr(config, "depths"):
            raise ConfigError(f"layer: {model} has blocks of several widths; leave it out for the last one")
        layers = config.num_hidden_layers if hasattr(config, "num_hidden_layers") else 0
        if layer is not None and not 0 <= layer <= layers:
            raise ConfigError(f"layer: {layer} is none of the {layers + 1} of {model}; 0 to {layers} are")
        if adapter is not None:
            network = self._load()
            self._network = LazyNetwork(network)
            self.adapter = Lora(network, adapter)
            self.project = Linear(self.width, width, bias=True)

    @property
    def digest(self) -> str:
        """Names the files of the model."""
        return self.source.digest

    @classmethod
    def accepts(cls, space: Space) -> str | None:
        picture = len(space.grid) == 2 and space.bounds is not None and space.channels in (1, 3)
        sound = len(space.grid) == 1 and space.variable and not space.is_set
        if space.kind == "discrete" or picture or sound:
            return None
        return "reads texts, class names, pictures and spectrograms of sound"

    def bind(self, modality: Modality) -> None:
        if self._form == "samples" and modality.transform is None:
            raise ConfigError(f"kind: 'pretrained' reads no {type(modality).__name__}, which is no sound")
        self._modality = modality

    def release(self) -> None:
        """Gives back the memory of a frozen model, which is loaded again when it is needed."""
        self._network.release()

    def forward(self, field: Field, keys: Tensor | None = None) -> Tokens:
        assert self._modality is not None, "bind() says whose values these are"
        device = field.value.device
        network = self._network.on(device)
        values = [self._modality.write(value.detach()) for value in field.values()]
        with nullcontext() if self.trains else torch.no_grad():
            x, mask = getattr(self, f"_read_{self._form}")(network, values, device)
            x, mask = self._pooled(x.float().to(device), mask)
        return Tokens(self.project(x) if self.trains else x, mask)

    def _read_words(self, network: nn.Module, values: list[Any], device: torch.device) -> tuple[Tensor, Tensor]:
        from transformers import AutoTokenizer

        if not hasattr(self, "_tokenizer"):
            self._tokenizer = self.source.processor(AutoTokenizer)
            self._tokenizer.padding_side = self._tokenizer.truncation_side = "right"
            self._tokenizer.pad_token = self._tokenizer.pad_token or self._tokenizer.eos_token
        config = self._tower_of(self.source.config, "_config")
        limits = (self.max_tokens, self._tokenizer.model_max_length, getattr(config, "max_position_embeddings", None))
        longest = min(limit for limit in limits if limit)
        tokens = self._tokenizer(
            [str(value) for value in values], padding=True, truncation=True, max_length=longest, return_tensors="pt"
        )
        ids, mask = tokens["input_ids"].long().to(device), tokens["attention_mask"].bool().to(device)
        if not ids.shape[1]:
            ids, mask = (t.new_zeros(len(values), 1) for t in (ids, mask))
        mask[:, 0] = True  # of an empty text the tokenizer may make nothing
        return self._run(network, input_ids=ids, attention_mask=mask.long()), mask

    def _read_pixels(self, network: nn.Module, values: list[Any], device: torch.device) -> tuple[Tensor, Tensor]:
        from transformers import AutoImageProcessor

        if not hasattr(self, "_processor"):
            # Pillow's resizing is the same on every machine; that of torchvision, where it is installed, is another.
            self._processor = self.source.processor(AutoImageProcessor, backend="pil")
        pixels = self._processor(images=[value.convert("RGB") for value in values], return_tensors="pt")
        x = self._run(network, pixel_values=pixels["pixel_values"].to(device))
        x = x.flatten(2).transpose(1, 2) if x.dim() == 4 else x
        return x, torch.ones(x.shape[:2], dtype=torch.bool, device=device)

    def _read_samples(self, network: nn.Module, values: list[Any], device: torch.device) -> tuple[Tensor, Tensor]:
        """Clip by clip: what extractors pad is heard by some networks."""
        from transformers import AutoFeatureExtractor

        if not hasattr(self, "_extractor"):
            self._extractor = self.source.processor(AutoFeatureExtractor)
        rate, rows = self._extractor.sampling_rate, []
        longest = getattr(self._extractor, "n_samples", getattr(self._extractor, "nb_max_samples", None))
        for value in values:
            samples = soxr.resample(np.clip(value.samples, -1, 1), value.sample_rate_hz, rate)[:longest]
            features = self._extractor(samples, sampling_rate=rate, return_tensors="pt")
            x = self._run(network, **{name: t.to(device) for name, t in features.items() if name != "attention_mask"})
            if x.dim() == 4:  # a map over frequencies and time
                x = x.flatten(2).transpose(1, 2)
            elif longest is not None:  # what is padded with silence to a fixed length
                x = x[:, : max(1, -(-x.shape[1] * len(samples) // longest))]
            rows.append(x[0])
        mask = pad_sequence([torch.ones(len(row), dtype=torch.bool, device=device) for row in rows], batch_first=True)
        return pad_sequence(rows, batch_first=True), mask

    def _run(self, network: nn.Module, **inputs: Tensor) -> Tensor:
        """Hidden states (B, N, hidden)."""
        if self.layer is None:
            return network(**inputs).last_hidden_state
        blocks = blocks_of(network)
        if self.layer == len(blocks):
            return network(**inputs, output_hidden_states=True).hidden_states[-1]
        return hidden_before(blocks[self.layer], lambda: network(**inputs))

    def _pooled(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        if self.pool == "none":
            return x * mask[..., None], mask
        one = mask[:, :1]
        if self.pool == "mean":
            return Tokens(x, mask).mean[:, None], one
        place = mask.sum(1) - 1 if self.pool == "last" else torch.zeros_like(mask[:, 0], dtype=torch.long)
        return x[torch.arange(len(x), device=x.device), place][:, None], one

    def _load(self) -> nn.Module:
        from transformers import AutoModel

        network = self._tower_of(self.source.load(AutoModel, self._device_map, learns=self.trains), "_model")
        network = network.get_encoder() if network.config.is_encoder_decoder else network
        network.config.use_cache = False  # nothing is generated
        return network

    def _tower_of(self, whole: Any, suffix: str) -> Any:
        return getattr(whole, _TOWERS[self._form] + suffix, whole)
