"""One model of all fields: encoders x fusion x heads. It owns the loss; heads only give terms per row."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from polymodal.alignment import Alignment
from polymodal.codecs import Codec
from polymodal.condition import FEATURES, LATENT, Condition
from polymodal.config import Recipe
from polymodal.encoders import ENCODERS, Encoder
from polymodal.errors import ConfigError, unknown
from polymodal.fusion import Fusion
from polymodal.heads import Head
from polymodal.heads.base import LIKELIEST
from polymodal.modalities.base import Modality
from polymodal.nn.layers import Linear
from polymodal.parts import Part, build_part
from polymodal.sizes import build_sized, scaled, scaled_part
from polymodal.types import Batch, Context, Field, Losses, Needs, Space, Task, Tokens
from polymodal.vocoders import Vocoder


@dataclasses.dataclass
class MicroBatch:
    """What one process sees of one training step: B rows, each with V tasks, which differ in what is given and wanted.

    Attributes:
        batch: Values (B, ...) in model form.
        task: What is given and what is to be generated, (V B,): all rows in their first view, then in the next.
        keys: (V B,) random keys, the rows' own first.
        counts: How often each field is a target in the whole step, over all processes and parts. A loss is a sum over
            the targets here, divided by these, so that it does not matter how a step is divided.
        rows: Rows of the whole step.
        tasks_per_row: V.
        present: By field, (B,) on the CPU, whether the row has it at all; what is given or wanted, where not said.
        needs: Of the whole step, where there are many processes: parts that no row here needs are called all the same.
    """

    batch: Batch
    task: Task
    keys: Tensor
    counts: Mapping[str, int]
    rows: int
    present: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)
    tasks_per_row: int = 1
    needs: Needs = dataclasses.field(default_factory=Needs)

    @property
    def here(self) -> int:
        """B."""
        return len(self.keys) // self.tasks_per_row


class LossWeigher(Protocol):
    """What training may put into a model, to weigh the losses of its heads by what it sees of them."""

    def weight(self, field: str, term: str) -> float: ...

    def watch(self, field: str, context: Context) -> None: ...


class Model(nn.Module):
    """Fills any field from any others.

    Args:
        recipe: Fields, parts and width.
        modalities: By field, prepared (vocabularies and class names known).

    Attributes:
        recipe: With the parts of each field and all their sizes written out.
        loss_weigher: In training, may weigh the losses beyond the recipe's weights.
    """

    loss_weigher: LossWeigher | None = None

    def __init__(self, recipe: Recipe, modalities: Mapping[str, Modality]):
        super().__init__()
        self.modalities, width = dict(modalities), scaled("width", recipe.width, recipe.size)
        encoders, codecs, heads, vocoders, fields = {}, {}, {}, {}, {}
        for name, modality in modalities.items():
            role, space, where = recipe.fields[name].role, modality.space, f"fields.{name}"
            parts, chosen = recipe.parts(name, space, modality), dict[str, Part | None]()
            if role != "output":
                part = parts.encoder or default_encoder(modality)
                encoders[name], chosen["encoder"] = build_sized(
                    recipe, "encoder", part, f"{where}.encoder", space, width
                )
                _bind(encoders[name], modality, f"{where}.encoder")
            if role != "input":
                if parts.codec:
                    codecs[name], chosen["codec"] = build_sized(recipe, "codec", parts.codec, f"{where}.codec", space)
                    _bind(codecs[name], modality, f"{where}.codec")
                    space = codecs[name].latent
                part = parts.head or default_head(space)
                heads[name], chosen["head"] = build_sized(recipe, "head", part, f"{where}.head", space, width)
                _bind(heads[name], modality, f"{where}.head")
                if parts.vocoder:
                    chosen["vocoder"] = part = scaled_part(recipe, "vocoder", parts.vocoder, f"{where}.vocoder")
                    vocoders[name] = build_part("vocoder", part, f"{where}.vocoder", modality)
            fields[name] = recipe.fields[name].model_copy(update=chosen)
        if not heads:
            raise ConfigError("fields: every role is 'input'; at least one field must be generated")
        self.encoders: Mapping[str, Encoder] = nn.ModuleDict(encoders)  # type: ignore[assignment]
        self.projections: Mapping[str, Linear] = nn.ModuleDict(  # type: ignore[assignment]
            {name: Linear(part.width, width, bias=True) for name, part in encoders.items() if not part.trains}
        )
        for projection in self.projections.values():  # of one width, it starts as what the encoder brings
            if projection.weight.shape[0] == projection.weight.shape[1]:
                nn.init.eye_(projection.weight)
        self.codecs: Mapping[str, Codec] = nn.ModuleDict(codecs)  # type: ignore[assignment]
        self.heads: Mapping[str, Head] = nn.ModuleDict(heads)  # type: ignore[assignment]
        self.vocoders: Mapping[str, Vocoder] = nn.ModuleDict(vocoders)  # type: ignore[assignment]
        for name, vocoder in vocoders.items():
            self.modalities[name] = modalities[name].with_vocoder(vocoder)  # that of the data does without one
        fusion = scaled_part(recipe, "fusion", recipe.fusion, "fusion")
        self.fusion: Fusion = build_part("fusion", fusion, "fusion", list(encoders), width)
        self.alignment: Alignment | None = None
        telling = [name for name in encoders if modalities[name].space.shape != (1,)]  # a label is that of many rows
        if recipe.alignment and len(telling) > 1:
            self.alignment = build_part("alignment", recipe.alignment, "alignment", telling, width)
        self.check_pivots(recipe.pivots or {})
        self.check_screens(recipe.screens or {})
        self._refuse_trained([name for name, field in recipe.fields.items() if recipe.starts_anew(field.modality)])
        resolved = {"fields": fields, "defaults": {}, "width": width, "fusion": fusion}
        self.recipe = recipe.model_copy(update=resolved | {"size": "small", "from_scratch": False})  # both are done
        still = [encoder for encoder in encoders.values() if not encoder.trains]
        self._still: list[Encoder | Codec | Vocoder] = [*still, *codecs.values(), *vocoders.values()]
        for module in self._still:
            module.requires_grad_(False).eval()

    def may_be_pivot(self, name: str) -> bool:
        """Whether a field may be drawn for others: it is of ids, read, generated, and has a likeliest value."""
        ids = name in self.encoders and name in self.heads and self.modalities[name].space.kind == "discrete"
        return ids and not self.heads[name].option_names.isdisjoint(LIKELIEST)

    def may_have_pivots(self, name: str) -> bool:
        """Whether a field may be drawn through others: it is of numbers, of one player, and of no joint latent."""
        numbers = name in self.heads and self.modalities[name].space.kind != "discrete"
        return numbers and self.heads[name].players == ("model",) and not self.fusion.joint

    def check_pivots(self, pivots: Mapping[str, Mapping[str, str]]) -> None:
        """Refuses pivots, as of ``Recipe.pivots``, that cannot be drawn, or through which nothing can be.

        Raises:
            ConfigError: There is one.
        """
        for name in pivots:
            if not self.may_have_pivots(name):
                right = ", ".join(filter(self.may_have_pivots, self.heads)) or "there is none"
                raise ConfigError(
                    f"pivots: '{name}' cannot be drawn through others; generated fields of numbers can ({right})"
                )
        for name, source, pivot in ((name, *pair) for name, pairs in pivots.items() for pair in pairs.items()):
            if source not in self.encoders:
                raise ConfigError(unknown(f"pivots.{name}", source, self.encoders))
            if not self.may_be_pivot(pivot) or pivot == source:
                right = ", ".join(sorted(filter(self.may_be_pivot, self.encoders.keys() - {source}))) or "there is none"
                raise ConfigError(
                    f"pivots.{name}.{source}: '{pivot}' cannot be drawn first; other fields of ids that are read and "
                    f"generated can ({right})"
                )

    def check_screens(self, screens: Mapping[str, Mapping[str, Collection[str]]]) -> None:
        """Refuses screens, as of ``Recipe.screens``, of fields that are not generated, or read.

        Raises:
            ConfigError: There is one.
        """
        for name, sources in screens.items():
            if name not in self.heads:
                raise ConfigError(unknown("screens", name, self.heads))
            for source, beside in sources.items():
                if wrong := sorted({source, *beside} - self.encoders.keys()):
                    raise ConfigError(unknown(f"screens.{name}.{source}", wrong[0], self.encoders))
                if not beside:
                    raise ConfigError(f"screens.{name}.{source}: names no field; leave it out")

    def _refuse_trained(self, anew: list[str]) -> None:
        """Refuses parts that bring weights with them, and vocabularies, of fields that do without.

        Raises:
            ConfigError: There is one.
        """
        for path, part in self.named_modules():
            family, _, name = path.partition(".")
            name = name.partition(".")[0]
            if name in anew and (getattr(part, "reference", {}) or not getattr(type(part), "trains", True)):
                where = f"fields.{name}.{family.removesuffix('s')}"
                raise ConfigError(f"{where}: comes trained, which from_scratch does without; name a kind that learns")
        for name in anew:
            if self.modalities[name].comes_trained:
                raise ConfigError(
                    f"fields.{name}.tokenizer: comes trained, which from_scratch does without; 'bpe' learns one"
                )

    @property
    def players(self) -> tuple[str, ...]:
        """Players in the order in which they move: each field's adversary, ``picture.critic``; then ``model``."""
        others = [
            f"{name}.{player}" for name, head in self.heads.items() for player in head.players if player != "model"
        ]
        return (*others, "model")

    def parameters_of(self, player: str) -> Iterator[nn.Parameter]:
        """The parameters that one player moves; codecs, vocoders and parts that do not learn are frozen."""
        if player == "model":
            learning = (part for part in self.encoders.values() if part.trains)
            for part in (*learning, self.projections, self.fusion, *([self.alignment] if self.alignment else [])):
                yield from part.parameters()  # type: ignore[attr-defined]
        for head, role in self._playing(player):
            yield from head.parameters_of(role)

    def _playing(self, player: str) -> list[tuple[Head, str]]:
        """The heads that move as ``player``, each with its own word for it."""
        if player == "model":
            return [(head, player) for head in self.heads.values()]
        name, _, role = player.rpartition(".")
        return [(self.heads[name], role)] if name in self.heads else []

    def lr_scale(self, player: str, progress: float) -> float:
        """Factor of the learning rate of ``player``'s next move, a share ``progress`` of the training being over."""
        return max(head.lr_scale(role, progress) for head, role in self._playing(player))

    def decisions(self) -> list[str]:
        """What heads decided about their own training since this was last asked."""
        return [f"{name}: {line}" for name, head in self.heads.items() for line in head.decisions()]

    def train(self, mode: bool = True) -> Model:
        super().train(mode)
        for part in self._still:
            part.eval()
        return self

    def release(self) -> None:
        """Gives back the memory of parts that come trained, which are loaded again where they are needed."""
        for part in self._still:
            part.release()

    @property
    def device(self) -> torch.device:
        return next(self.fusion.parameters()).device

    def condition(
        self,
        batch: Batch,
        visible: Mapping[str, Tensor],
        keys: Tensor,
        *,
        tasks_per_row: int = 1,
        present: Mapping[str, Tensor] | None = None,
        augment: bool = False,
        needs: Needs | None = None,
    ) -> Condition:
        """What the visible fields say, and with it losses, samples and likelihoods of any field; see ``Condition``."""
        return Condition(
            self, batch, visible, keys, tasks_per_row=tasks_per_row, present=present, augment=augment, needs=needs
        )

    def tokens(self, name: str, batch: Batch, index: Tensor | None = None, keys: Tensor | None = None) -> Tokens:
        """What the encoder of a field makes of the rows at ``index`` (n,), or of all; from the cache if it is there.

        Args:
            name: Name of the field.
            batch: Values (B, ...), all real in these rows.
            index: (n,) rows.
            keys: (n,) for augmentation in training, where the encoder learns.
        """
        encoder, source = self.encoders[name], name
        if not encoder.trains and name + FEATURES in batch:
            source = name + FEATURES
        field = batch[source] if index is None else batch[source].pick(index)
        if encoder.trains:
            tokens = encoder(field, keys)
        else:
            tokens = encoder(field) if source == name else Tokens(field.value, field.mask)
            tokens = dataclasses.replace(tokens, x=self.projections[name](tokens.x))
        space = self.modalities[name].space
        return dataclasses.replace(tokens, ordered=space.kind == "discrete" and space.variable)

    def given(self, name: str, batch: Batch) -> Field | None:
        """What a batch holds of a field that is read: its value, or the features of an encoder that does not learn."""
        return batch.get(name, batch.get(name + FEATURES))

    def blank(self, name: str) -> Batch:
        """One row that tells nothing, of which ``tokens`` calls all that it calls in training."""
        encoder = self.encoders[name]
        if encoder.trains:
            return {name: Field.blank(self.modalities[name].space, self.device)}
        return {name + FEATURES: Field.full(torch.zeros(1, 1, encoder.width, device=self.device), varies=0)}

    def target(self, batch: Batch, name: str) -> Field:
        """What the head of a field models: the field itself, or its codec's code, from the cache if it is there."""
        if name not in self.codecs:
            return batch[name]
        if name + LATENT in batch:
            return batch[name + LATENT]
        with torch.no_grad():
            return self.codecs[name].encode(batch[name])

    def forward(self, micro_batch: MicroBatch, player: str) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of one player's move: the sum of all terms, and each term by ``field.term``, detached."""
        if player != "model":
            return self._adversary(micro_batch, player)
        task, terms = micro_batch.task, {}
        present = None
        if self.alignment:
            known = {name: task.visible[name] | task.target[name] for name in self.encoders}
            known = {name: mask.view(micro_batch.tasks_per_row, -1).any(0) for name, mask in known.items()}
            present = {name: micro_batch.present.get(name, mask) for name, mask in known.items()}
        condition = self._condition(micro_batch, present)
        context, contexts = condition.context, micro_batch.rows * micro_batch.tasks_per_row
        terms = {f"context.{name}": term.sum() / contexts for name, term in context.losses.items()}
        # Rows that ask for nothing, such as those with inputs only, still give a loss that can be differentiated.
        total = sum(terms.values(), 0.0 * context.pooled.sum())
        for name in self.heads:
            total = total + self._head_loss(name, condition, micro_batch, player, terms)
        return total, terms

    def _condition(self, micro_batch: MicroBatch, present: Mapping[str, Tensor] | None = None) -> Condition:
        return self.condition(
            micro_batch.batch,
            micro_batch.task.visible,
            micro_batch.keys,
            tasks_per_row=micro_batch.tasks_per_row,
            present=present,
            augment=self.training,
            needs=micro_batch.needs,
        )

    def _adversary(self, micro_batch: MicroBatch, player: str) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a field's adversary, which moves nothing but itself: the context is given to it as it is."""
        name, _, role = player.rpartition(".")
        terms: Losses = {}
        condition = self._condition(micro_batch)
        with torch.no_grad():
            condition.context  # noqa: B018  # computed here, and kept
        total = 0.0 * next(self.parameters_of(player)).sum()
        return total + self._head_loss(name, condition, micro_batch, role, terms), terms

    def _head_loss(self, name: str, condition: Condition, micro_batch: MicroBatch, role: str, terms: Losses) -> Tensor:
        """The weighted sum of a head's terms, which are added to ``terms``, detached."""
        total = torch.zeros((), device=self.device)
        index = micro_batch.task.target[name].nonzero()[:, 0]
        if not index.numel():
            return total + 0.0 * self._blank_loss(name, condition, role) if name in micro_batch.needs.wanted else total
        weigher = self.loss_weigher if role == "model" else None
        target, chosen = self.target(micro_batch.batch, name), None
        # Whoever watches the gradient needs a context that is this head's alone.
        if weigher or micro_batch.tasks_per_row > 1 or len(index) < len(condition):
            chosen = index.to(condition.keys.device, non_blocking=True)
            target = target.pick(chosen % micro_batch.here)
        losses = condition.loss(name, target, role, index=chosen, watch=weigher.watch if weigher else None)
        for term, per_row in losses.items():
            mean = per_row.sum() / micro_batch.counts[name]
            terms[f"{name}.{term}" if role == "model" else term] = mean.detach()
            weight = self.recipe.fields[name].weight * (weigher.weight(name, term) if weigher else 1.0)
            total = total + weight * mean
        return total

    def _blank_loss(self, name: str, condition: Condition, role: str) -> Tensor:
        """Calls all that a head's loss calls, for one row that is absent, and so counts in no statistic of the head."""
        head = self.heads[name]
        target, first = Field.blank(head.space, self.device), torch.zeros(1, dtype=torch.int64, device=self.device)
        target.present = torch.zeros_like(target.present)
        losses = condition.loss(name, target, role, index=first)
        return torch.stack([term.sum() for term in losses.values()]).sum()

    @torch.no_grad()
    def sample(
        self,
        batch: Batch,
        visible: Mapping[str, Tensor],
        to: Mapping[str, Tensor],
        keys: Tensor,
        options: Mapping[str, Mapping[str, object]] | None = None,
    ) -> Batch:
        """Generates fields one after the other, each conditioned on those before it, or all from one joint latent.

        A field sees the likeliest values of its pivots, too, and no others that were generated beside what screens them
        off; see ``Condition.to_draw``.

        Args:
            batch: Given values in model form.
            visible: By field, (B,) on the CPU: the rows in which it is given.
            to: By field, (B,) on the CPU: the rows in which it is wanted.
            keys: (B,) random keys.
            options: Options of the heads, by field.

        Returns:
            The wanted fields; rows in which a field is not wanted are absent.
        """
        made: Batch = {}
        condition, rows = self.condition(batch, visible, keys), len(keys)
        for name in self.in_order(to):
            index = to[name].nonzero()[:, 0].to(keys.device)
            if not index.numel():
                made[name] = Field.absent(self.modalities[name].space, rows, keys.device)
                continue
            own = condition.to_draw(name, to[name], visible)
            made[name] = own.sample(name, index, **(options or {}).get(name, {})).scatter(index, rows)
            condition = condition.give(name, made[name])
        return {name: made[name] for name in to}

    def in_order(self, names: Iterable[str]) -> list[str]:
        """Fields in the order in which they are generated: what is most definite comes first.

        Fields of ids, the longest before others, for what is drawn of them is exact; then fields of numbers, those of
        fewest first. A picture that shows something between two things would leave its name and its sound to chance.
        """

        def definiteness(name: str) -> tuple[bool, int]:
            space = self.modalities[name].space
            size = math.prod(space.shape)
            return (False, -size) if space.kind == "discrete" else (True, size)

        return sorted(names, key=definiteness)

    @torch.no_grad()
    def log_likelihood(
        self, batch: Batch, visible: Mapping[str, Tensor], made: Batch, keys: Tensor
    ) -> dict[str, Tensor]:
        """How likely what ``sample`` made is, each field given what it was conditioned on there.

        Args:
            batch: Values in model form that ``sample`` was given.
            visible: By field, (B,) on the CPU: the rows in which it was given.
            made: What it gave.
            keys: (B,) random keys.

        Returns:
            By field of ids, (B,) in nats, exact or a bound below, 0 where the field was not wanted. Fields whose head
            cannot tell, or models the code of a codec, are left out.
        """
        condition, result = self.condition(batch, visible, keys), {}
        for name in self.in_order(made):
            field = made[name]
            index = field.present.nonzero()[:, 0]
            if name not in self.codecs and self.heads[name].space.kind == "discrete" and index.numel():
                value = condition.log_likelihood(name, field.pick(index), index)
                if value is not None:
                    result[name] = value.new_zeros(len(keys)).index_copy(0, index, value)
            condition = condition.give(name, field)
        return result


def _bind(part: Encoder | Codec | Head, modality: Modality, where: str) -> None:
    """Tells a part whose values it reads or makes."""
    try:
        part.bind(modality)
    except ConfigError as error:
        raise ConfigError(f"{where}.{error}") from None


def default_encoder(modality: Modality) -> Part:
    """The encoder of a field whose recipe names none."""
    space = modality.space
    if space.kind == "discrete":
        return {"kind": "sequence"}
    if space.is_set:
        return {"kind": "points"}
    kind = {0: "vector", 2: "picture"}.get(len(space.grid), "patches")
    if modality.waveform_hz is not None:
        return {"kind": "waveform", "sample_rate_hz": modality.waveform_hz}
    if modality.transform is not None:  # neighbouring channels are bands of a spectrogram
        kind = "spectrogram"
    return {"kind": kind if ENCODERS[kind].accepts(space) is None else "patches"}


MOST_NUMBERS = 4
"""Of a vector whose head is a mixture by default; those of more are learned better by a flow."""


def default_head(space: Space) -> dict[str, str]:
    """The head of a field whose recipe names none."""
    if space.kind == "discrete":
        return {"kind": "autoregressive"}
    return {"kind": "mixture" if not space.grid and space.channels <= MOST_NUMBERS else "flow"}
