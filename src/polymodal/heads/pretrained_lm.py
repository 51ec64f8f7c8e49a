"""A pretrained causal language model as a head of texts: the context is a prefix of soft tokens."""

from __future__ import annotations

from inspect import signature
from typing import Any

import torch
from pydantic import NonNegativeFloat
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from polymodal.errors import ConfigError, DataError
from polymodal.heads.base import Head
from polymodal.heads.token_sampling import (
    PAD,
    SequenceOptions,
    TopP,
    check_length,
    cross_entropy,
    decode,
    forbid,
    forbidden_ids,
    refuse_other_than_sequences,
)
from polymodal.modalities import Modality
from polymodal.nn.layers import Linear
from polymodal.pretrained import DeviceMapArgument, LazyNetwork, Lora, LoraArguments, PretrainedSource
from polymodal.types import Context, Field, Losses, Space

_SHIFT = 3
"""Ids of the model's own tokens come after PAD, END and BEGIN."""
_ADAPTER = LoraArguments()
_SLOT = "\ufffc"
"""Stands in a prompt where the context is put."""


class PretrainedLM(Head):
    """p(text | context), by a causal LM that reads the context's tokens as if they were embeddings of words.

    The text is written out and read again in the model's own tokens, whatever the ids of the field are, so that the
    likelihood is that of these tokens. The model stays as it is, but for its adapter.

    Source: Li and Liang, "Prefix-tuning", 2021; Liu et al., "Visual instruction tuning", 2023, for the projection; Hu
    et al., "LoRA", 2022.

    Args:
        space: That of a text.
        width: D, of the context. Of the model's own width, the projection starts as what the context is.
        model: A folder, ``package:NAME/PATH``, or ``owner/name@commit`` on the hub; see ``pretrained.places.find``.
        adapter: How the model learns; without one, only the projection of the context does.
        device_map: Where a model lies that does not fit; ``auto``, or as of ``DeviceMap``.
        instruction: What the model is told before the context, within its chat template if it has one.
        guidance: Default of the sampling option; see ``SequenceOptions``.
        temperature: Default of the sampling option.
        top_p: Default of the sampling option.

    Raises:
        ConfigError: There is no such model, or it has no matrices as the adapter names them.
        CheckpointError: Its folder must not be read.
    """

    options: SequenceOptions
    _modality: Modality

    def __init__(
        self,
        space: Space,
        width: int,
        *,
        model: str,
        adapter: LoraArguments | None = _ADAPTER,
        device_map: DeviceMapArgument = None,
        instruction: str | None = None,
        guidance: NonNegativeFloat = 1.0,
        temperature: NonNegativeFloat = 1.0,
        top_p: TopP = 1.0,
    ) -> None:
        from accelerate.utils import align_module_device
        from transformers import AutoModelForCausalLM, AutoTokenizer

        super().__init__()
        self.options = SequenceOptions(guidance=guidance, temperature=temperature, top_p=top_p)
        self.space = space
        self.source = PretrainedSource(model)
        self.reference = self.source.reference
        network: Any = self.source.load(AutoModelForCausalLM, device_map, learns=adapter is not None)
        self._network = LazyNetwork(network)
        self._cache = "cache" if "cache" in signature(network.forward).parameters else "past_key_values"
        self._tokenizer = self.source.processor(AutoTokenizer)
        self._prompt = _prompt(self._tokenizer, instruction)
        embedding = network.get_input_embeddings()
        hidden_size = embedding.weight.shape[1]
        if adapter is not None:
            self.adapter = Lora(network, adapter)
        self.project = Linear(width, hidden_size, bias=True)
        if width == hidden_size:
            nn.init.eye_(self.project.weight)
        with align_module_device(embedding):  # which may lie on the disk
            self.scale = nn.Parameter(embedding.weight.detach().std().reshape(1))  # that of a word
        self.tokens = Space("discrete", space.shape, vocab=embedding.weight.shape[0] + _SHIFT, varies=0)
        self.forbidden: Tensor
        self.register_buffer("forbidden", forbidden_ids(self.tokens), persistent=False)

    @property
    def digest(self) -> str:
        """Names the files of the model."""
        return self.source.digest

    @classmethod
    def accepts(cls, space: Space) -> str | None:
        if reason := refuse_other_than_sequences("a pretrained", space):
            return reason
        return None if space.variable else "writes texts, whose length varies"

    def bind(self, modality: Modality) -> None:
        if not isinstance(modality.write(torch.ones(1, dtype=torch.long, device="cpu")), str):
            raise ConfigError(f"kind: 'pretrained_lm' writes texts, not {type(modality).__name__}")
        self._modality = modality

    def loss(self, context: Context, target: Field, player: str, keys: Tensor) -> Losses:
        """``nll``: negative log-likelihood of a row, the mean over the model's own tokens, in nats."""
        nll, count = self._nll(context, target)
        return {"nll": nll / count}

    def log_likelihood(self, context: Context, target: Field, keys: Tensor | None = None) -> Tensor:
        """(B,) log p(target | context) of whole rows, in nats."""
        return -self._nll(context, target)[0]

    def check_options(self, options: SequenceOptions) -> None:
        check_length(self.space, options.max_length)

    def draw(self, context: Context, keys: Tensor, unconditional: Context | None, options: SequenceOptions) -> Field:
        """Texts, written from left to right until every row has ended; one that is too long is cut.

        Raises:
            ConfigError: Guidance is asked for without an unconditional context.
        """
        from transformers import DynamicCache

        network = self._network.on(context.pooled.device)
        x, real = self._prefix(network, options.guided(context, unconditional))
        cache = DynamicCache()

        def step(before: Tensor | None) -> Tensor:
            nonlocal x, real
            if before is not None:
                x = network.get_input_embeddings()((before - _SHIFT).clamp(min=0))[:, None]
                real = torch.cat([real, torch.ones_like(real[:, :1])], dim=1)
            return self._logits(network, x, real, 1, **{self._cache: cache, "use_cache": True})[:, -1]

        drawn = decode(self.tokens, keys, step, options)
        limit = options.max_length or self.space.shape[0]
        rows = [self._read(self._tokenizer.decode(ids[ids >= _SHIFT] - _SHIFT, skip_special_tokens=True), limit)
                for ids in drawn.value.cpu()]  # fmt: skip
        value = pad_sequence(rows, batch_first=True).to(keys.device)
        return Field.full(value, value != PAD, self.space.varies)

    def _nll(self, context: Context, target: Field) -> tuple[Tensor, Tensor]:
        """(B,) negative log-likelihoods in nats, and (B,) numbers of the model's own tokens."""
        device = context.pooled.device
        network = self._network.on(device)
        texts = [self._modality.write(value) for value in target.values()]
        rows = [
            torch.tensor([*ids, self._end]) for ids in self._tokenizer(texts, add_special_tokens=False)["input_ids"]
        ]
        ids = pad_sequence(rows, batch_first=True).to(device)
        real = pad_sequence([torch.ones(len(row), dtype=torch.bool) for row in rows], batch_first=True).to(device)
        x, before = self._prefix(network, context)
        x = torch.cat([x, network.get_input_embeddings()(ids[:, :-1])], dim=1)
        logits = self._logits(network, x, torch.cat([before, real[:, :-1]], dim=1), ids.shape[1], use_cache=False)
        own = torch.where(ids == self._end, 1, ids + _SHIFT)
        return cross_entropy(logits.log_softmax(-1), own, real, self.forbidden), real.sum(1)

    def _prefix(self, network: Any, context: Context) -> tuple[Tensor, Tensor]:
        """The prompt with the context in its place, as embeddings (B, P, hidden), and which are real (B, P)."""
        rows, device = len(context.pooled), context.pooled.device
        before, after = (
            network.get_input_embeddings()(torch.tensor(ids, dtype=torch.long, device=device)).expand(rows, -1, -1)
            for ids in self._prompt
        )
        soft = self.scale * self.project(context.tokens)
        always = torch.ones(rows, 1, dtype=torch.bool, device=device)
        real = [always.expand(-1, before.shape[1]), context.mask, always.expand(-1, after.shape[1])]
        return torch.cat([before, soft, after], dim=1), torch.cat(real, dim=1)

    def _logits(self, network: Any, x: Tensor, real: Tensor, count: int, **more: Any) -> Tensor:
        """Logits (B, count, vocab) of what comes after each of the last ``count`` of ``x`` (B, N, hidden).

        What is not real is seen by none and takes no position, so that a row does not depend on its batch.
        """
        positions = (real.long().cumsum(1) - 1).clamp(min=0)[:, -x.shape[1] :]
        logits = network(
            inputs_embeds=x, attention_mask=real.long(), position_ids=positions, logits_to_keep=count, **more
        ).logits
        # The end has an id of its own among ours, and no other.
        end = logits[..., self._end : self._end + 1]
        none = torch.full_like(end, torch.finfo(logits.dtype).min / 2)
        rest = logits.index_fill(-1, torch.tensor([self._end], device=logits.device), float(none[0, 0, 0]))
        return forbid(torch.cat([none, end, none, rest], dim=-1), self.forbidden)

    def _read(self, text: str, limit: int) -> Tensor:
        """A text as ids of the field, cut so that it has at most ``limit`` of them."""
        try:
            ids = torch.from_numpy(self._modality.read(text)).long()
            if len(ids) <= limit:
                return ids
        except DataError:
            pass
        return self._read(text[: min(len(text) - 1, limit * len(text) // (len(text.encode()) + 1))], limit)

    @property
    def _end(self) -> int:
        return self._tokenizer.eos_token_id


def _prompt(tokenizer: Any, instruction: str | None) -> tuple[list[int], list[int]]:
    """What stands before and after the context, in the model's own tokens: at least one on either side.

    Rows have contexts of different lengths, and what a row attends to first and is continued from must be real in all.
    """
    text = f"{instruction}\n\n{_SLOT}" if instruction else _SLOT
    if instruction and tokenizer.chat_template:
        message = [{"role": "user", "content": text}]
        text = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
    elif instruction:
        text += "\n\n"
    before, after = (tokenizer(part, add_special_tokens=False)["input_ids"] for part in text.split(_SLOT))
    begin = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    return before or [begin], after or [begin]
