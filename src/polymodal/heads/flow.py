"""Flow matching: a network learns the velocity that carries noise to data along straight lines.

A flow is a network (``nn.backbones``), what it puts out (``nn.parameterisation``), a solver (``nn.ode``) and guidance
(``nn.guidance``), which do not know each other.

Source: Lipman et al., "Flow matching for generative modeling", 2023; Liu et al., "Flow straight and fast", 2023;
times and layout: Esser et al., "Scaling rectified flow transformers", 2024; Peebles and Xie, DiT, 2023.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from polymodal.arguments import Sides, Sizes
from polymodal.errors import ConfigError
from polymodal.heads.base import Head
from polymodal.heads.lengths import Lengths
from polymodal.heads.pretrained_network import PretrainedBackbone, PretrainedNetwork
from polymodal.nn.backbones import BACKBONES
from polymodal.nn.bounds import clamp_to_bounds
from polymodal.nn.guidance import guide
from polymodal.nn.ode import SOLVERS, euler, solve
from polymodal.nn.parameterisation import Parameterisation, PredictData, PredictVelocity
from polymodal.nn.patches import Patches
from polymodal.nn.random import fold, normal, uniform
from polymodal.nn.shapes import longest
from polymodal.nn.shortcuts import SHORTCUTS, draw_steps, two_halves
from polymodal.types import Context, Field, Losses, Space

Solver = Literal["euler", "heun", "midpoint"]


@dataclass(frozen=True, kw_only=True)
class FlowOptions:
    """How a flow is sampled.

    Attributes:
        steps: Solver steps. Numbers of steps that there are shortcuts for take them: by Euler's steps, whatever the
            default solver, and with the guidance that was learned. Another of either is refused.
        solver: Solver of the differential equation; see ``nn.ode``.
        guidance: Scale of classifier-free guidance, 1 for none.
        guidance_interval: Times between which guidance acts, from 0 (noise) to 1 (data).
    """

    steps: PositiveInt = 25
    solver: Solver = "heun"
    guidance: float = 2.0
    guidance_interval: tuple[float, float] = (0.1, 0.9)


class Flow(Head):
    """p(field | context) of any continuous space, by rectified flow.

    A sample x_t = (1 - t) noise + t data moves with the velocity data - noise; the network predicts it from x_t, t and
    the context. Where lengths vary, the length is drawn first, from another distribution.

    Args:
        space: Continuous (channels, *grid) of up to three dimensions, of which any axis may vary.
        width: Width of the context.
        network: A network of diffusers in place of one that begins from nothing, such as ``{kind: pretrained, model:
            FOLDER/unet}``; see ``PretrainedNetwork``. Its patches are of one place, and all that follows up to
            ``predict`` says nothing then.
        hidden_size: Width of the network; that of the context if not given.
        depth: Transformer blocks.
        heads: Attention heads.
        patch: Side of the patches that become tokens, or one for each axis; one that is larger than the grid becomes
            the grid. By default powers of two that give at most ``tokens``, the longest sides being cut most.
        tokens: Most tokens where ``patch`` is not given.
        factorised: Whether the transformer's blocks attend within a frame and over time in turn, for videos of more
            than about 1,000 tokens.
        in_step: Whether half of the attention heads of the transformer begin by looking at what is given where the
            value itself is, for values that go in step with it, as a mouth with speech, or speech with its text. What
            has times of its own has to be as long at its longest; of a text the share of its length counts.
        channels: Of the levels of a U-Net over the patches, from the finest, in place of the transformer. It is for
            grids of which no side but the first varies. Convolutions learn the texture of pictures sooner.
        attention: Whether the coarsest level of a U-Net attends to the context's tokens, in place of seeing the pooled
            context alone.
        sketch: Whether the coarsest level of a U-Net begins with a sketch of the pooled context, place by place, where
            no side varies: things that lie in places of their own, as those of icons do, are learned sooner.
        latents: Of a set, whose members have no order: vectors that read it, in place of attention of all to all.
        members: Of a set: members that a draw learns from, chosen anew each time.
        predict: What the network puts out: ``velocity``, or the ``data`` itself, from which the velocity follows. Data
            lie near a manifold and noise does not, so large patches of many numbers are learned much faster as data;
            fine spread, as of low-dimensional vectors, is learned slower.
        weight_cap: Largest weight of the squared error of predicted data, which else is 1 / (1 - t)^2, as that of a
            velocity. Late times, of large weight, teach fine detail, and make the gradient noisy.
        repeats: Draws of (time, noise) per row and step: the context, which costs more, is computed once for all.
            Source: Li et al., "Autoregressive image generation without vector quantization", 2024.
        time_mean: Mean of the logit-normal distribution of times; below 0 it dwells on noise, where what a sample
            will be is decided.
        time_std: Its standard deviation.
        steps: Default of the sampling option.
        solver: Default of the sampling option.
        guidance: Default of the sampling option.
        guidance_interval: Default of the sampling option.
        shortcuts: Draws per row and step, beside ``repeats``, that learn to sample in 1, 2, 4, 8 or 16 steps of one
            evaluation each, guidance included; 0 for none. The length of a step is an input of the network, which
            learns that one step equals two of half the length, the shortest being two guided steps along the flow.
            These steps have the guidance that is given here and no other. A draw costs as much as two plain ones.
        muon: Whether the network's matrices learn by Muon, whatever ``train.optimizer`` says: for a U-Net, whose
            matrices are small, that takes little time and fewer steps.

    Raises:
        ConfigError: An argument is out of its bounds, or the network is not for this space.
    """

    options: FlowOptions

    def __init__(
        self,
        space: Space,
        width: int,
        *,
        network: PretrainedNetwork | None = None,
        hidden_size: PositiveInt | None = None,
        depth: NonNegativeInt = 4,
        heads: PositiveInt = 4,
        patch: Sides | None = None,
        tokens: PositiveInt = 1024,
        factorised: bool = False,
        in_step: bool = False,
        channels: Sizes | None = None,
        attention: bool = False,
        sketch: bool = False,
        latents: PositiveInt = 32,
        members: PositiveInt = 512,
        predict: Literal["data", "velocity"] = "velocity",
        weight_cap: PositiveFloat = 400.0,
        repeats: PositiveInt = 4,
        time_mean: float = 0.0,
        time_std: float = 1.0,
        steps: PositiveInt = 25,
        solver: Solver = "heun",
        guidance: float = 2.0,
        guidance_interval: tuple[float, float] = (0.1, 0.9),
        shortcuts: NonNegativeInt = 0,
        muon: bool = False,
    ):
        super().__init__()
        self.muon = muon
        self.space, self.repeats, self.shortcuts = space, repeats, shortcuts
        self.time_mean, self.time_std = time_mean, time_std
        self.options = FlowOptions(steps=steps, solver=solver, guidance=guidance, guidance_interval=guidance_interval)
        self.patches = Patches(space, 1 if space.is_set or network else patch, tokens)
        self.sizes = {"patch": self.patches.argument}
        self.members = members if space.is_set else None
        backbone = BACKBONES["set" if space.is_set else "unet" if channels else "transformer"]
        sizes: dict[str, Any] = {"depth": depth, "heads": heads}
        if space.is_set:
            sizes["latents"] = latents
        elif channels:
            sizes = {"channels": channels, "attention": attention, "heads": heads, "sketch": sketch}
        else:
            sizes |= {"factorised": factorised, "in_step": in_step}
        if network is not None:
            if shortcuts or predict == "data":
                raise ConfigError("network: what a pretrained one predicts is given, and it knows no shortcuts")
            self.network: nn.Module = PretrainedBackbone(self.patches, width, network)
            self.parameterisation: Parameterisation = self.network.parameterisation
        else:
            levels = len(SHORTCUTS) if shortcuts else 0
            self.network = backbone(self.patches, width, hidden_size or width, levels, **sizes)
            self.parameterisation = PredictData(space, weight_cap) if predict == "data" else PredictVelocity()
        self.length = Lengths(width, space.max_length) if space.variable else None

    @classmethod
    def accepts(cls, space: Space) -> str | None:
        if space.kind != "continuous":
            return "models continuous values; these are ids"
        return None if len(space.grid) <= 3 else f"models grids of up to three dimensions; this has {len(space.grid)}"

    def velocity(self, x: Tensor, mask: Tensor, time: Tensor, context: Context, level: Tensor | None = None) -> Tensor:
        """Velocity of tokens x (B * k, N, F) with mask (B * k, N) at times (B * k,); each k share a context.

        With ``level`` (B * k,), places in SHORTCUTS, it is the mean over a step of that length; one past the last is no
        step, so the velocity itself.
        """
        return self.parameterisation.velocity(self.network(x, mask, time, context, level), x, time)

    def loss(self, context: Context, target: Field, player: str, keys: Tensor) -> Losses:
        """``flow`` and, with shortcuts, ``shortcut``: weighted squared errors; ``length``, where lengths vary."""
        losses = {}
        if self.length is not None:
            losses["length"] = self.length.loss(context.pooled, target.lengths)
        rows, copies = len(target), self.repeats + self.shortcuts
        index = torch.arange(rows, device=keys.device).repeat_interleave(copies)
        keys = fold(keys[index], torch.arange(copies, device=keys.device).repeat(rows))
        data, mask = self.patches.cut(target.value[index]), self.patches.mask(target.mask)[index]
        if self.members is not None and self.members < data.shape[1]:
            places = uniform(fold(keys, 3), (data.shape[1],)).topk(self.members, dim=1).indices
            data, mask = data.gather(1, places[..., None].expand(-1, -1, data.shape[2])), mask.gather(1, places)
        noise = self._noise(fold(keys, 0), data.shape[1])
        time = torch.sigmoid(self.time_mean + self.time_std * normal(fold(keys, 1)))
        velocity, level = data - noise, None
        if self.shortcuts:
            short = torch.arange(rows * copies, device=keys.device).view(rows, copies)[:, self.repeats :].flatten()
            levels, time[short] = draw_steps(keys[short])
            level = torch.full_like(keys, len(SHORTCUTS)).index_copy(0, short, levels)
        x = torch.lerp(noise, data, time[:, None, None])
        if self.shortcuts:
            velocity[short] = self._two_halves(x[short], mask[short], time[short], levels, context)
        error = (self.velocity(x, mask, time, context, level) - velocity).square().mean(2)
        per_draw = ((error * mask).sum(1) / mask.sum(1)).view(rows, copies)
        plain, shortcut = per_draw.split([self.repeats, self.shortcuts], dim=1)
        of_plain, of_shortcut = time.view(rows, copies).split([self.repeats, self.shortcuts], dim=1)
        losses["flow"] = (plain * self.parameterisation.weight(of_plain)).mean(1)
        if self.shortcuts:
            # The error of what the network puts out counts: the target, a mean of two predictions, is bounded then.
            # Each draw weighs as a plain one.
            losses["shortcut"] = (shortcut * self.parameterisation.error(of_shortcut)).sum(1) / self.repeats
        return losses

    def _noise(self, keys: Tensor, tokens: int) -> Tensor:
        """Of tokens (B, N, F); of a set, of as many members as are looked at."""
        if self.members is not None:
            return normal(keys, (tokens, self.patches.features))
        return self.patches.noise(keys, tokens)

    @torch.no_grad()
    def _two_halves(self, x: Tensor, mask: Tensor, time: Tensor, level: Tensor, context: Context) -> Tensor:
        """Mean velocity over a step of 1 / SHORTCUTS[level] by two of half that length, guided where they are plain."""
        plain = (level + 1 == len(SHORTCUTS)).nonzero()[:, 0]
        scale, (begin, end) = self.options.guidance, self.options.guidance_interval

        def half(x: Tensor, time: Tensor) -> Tensor:
            given = self.velocity(x, mask, time, context, level + 1)
            if context.nothing is None or scale == 1:
                return given
            some = time[plain]
            free = self.velocity(x[plain], mask[plain], some, context.nothing)
            weight = torch.where((begin <= some) & (some <= end), scale, 1.0)[:, None, None]
            return given.index_copy(0, plain, torch.lerp(free, given[plain], weight))

        return two_halves(half, x, time, level)

    def check_options(self, options: FlowOptions) -> None:
        if not self._short(options):
            return
        for name in ("guidance", "guidance_interval", "solver"):
            known, asked = getattr(self.options, name), getattr(options, name)
            if asked != known and not (name == "solver" and asked == "euler"):
                raise ConfigError(
                    f"{name}: the shortcut of {options.steps} steps knows {known} only, not {asked}; another number of "
                    "steps, such as 25, takes any"
                )

    def _short(self, options: FlowOptions) -> bool:
        return self.shortcuts > 0 and options.steps in SHORTCUTS

    @torch.no_grad()
    def draw(self, context: Context, keys: Tensor, unconditional: Context | None, options: FlowOptions) -> Field:
        """One value per row."""
        rows, device, short = len(keys), keys.device, self._short(options)
        mask = torch.ones(rows, 1, dtype=torch.bool, device=device)
        if self.length is not None:
            mask = self.length.draw(context.pooled, fold(keys, 2))
            mask = mask[:, : longest(mask)]
        token_mask = self.patches.mask(mask)
        # The noise is drawn on the whole canvas, so that it does not depend on the longest of the other rows.
        noise = normal(fold(keys, 0), (self.space.channels, *self.patches.canvas))
        x = self.patches.trim(self.patches.cut(noise), token_mask.shape[1])
        level = torch.full((rows,), SHORTCUTS.index(options.steps), device=device) if short else None

        def velocity(x: Tensor, time: Tensor, context: Context) -> Tensor:
            return self.velocity(x, token_mask.repeat(len(x) // rows, 1), time, context, level)

        guided = guide(velocity, context, None if short else unconditional, options.guidance, options.guidance_interval)
        x = solve(euler if short else SOLVERS[options.solver], guided, x, options.steps)
        value = clamp_to_bounds(self.patches.join(x, mask.shape[1]), self.space)
        made = Field.full(value, mask, self.space.varies)
        return made.with_value(value) if self.space.variable else made


__all__ = ["SHORTCUTS", "Flow", "FlowOptions"]
