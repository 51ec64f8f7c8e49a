"""Flow matching: a network learns the velocity that carries noise to data along straight lines.

Source: Lipman et al., "Flow matching for generative modeling", 2023; Liu et al., "Flow straight and fast", 2023;
times and layout: Esser et al., "Scaling rectified flow transformers", 2024; Peebles and Xie, DiT, 2023.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from polymodal.errors import ConfigError
from polymodal.heads.base import Head
from polymodal.heads.lengths import Lengths
from polymodal.nn.bounds import clamp_to_bounds
from polymodal.nn.embeddings import TimeEmbedding, grid_positions
from polymodal.nn.ode import SOLVERS, euler
from polymodal.nn.patches import from_tokens, pad_to_multiple, pool_mask, to_tokens
from polymodal.nn.random import fold, normal, uniform
from polymodal.nn.transformer import Transformer
from polymodal.nn.unet import UNet
from polymodal.types import Context, Field, Losses, Space

SHORTEST = 1e-3
"""Least remaining time by which predicted data are turned into a velocity."""
SHORTCUTS = (1, 2, 4, 8, 16)
"""Numbers of steps that shortcuts are learned for, each a halving of the one before."""


Solver = Literal["euler", "heun", "midpoint"]


@dataclass(frozen=True, kw_only=True)
class FlowOptions:
    """How a sample is drawn; the attributes are those of the constructor of ``Flow``.

    Numbers of steps that there are shortcuts for take them: no solver, no other guidance.
    """

    steps: PositiveInt
    solver: Solver
    guidance: float
    guidance_interval: tuple[float, float]


class Flow(Head):
    """p(field | context) of any continuous space, by rectified flow.

    A sample x_t = (1 - t) noise + t data moves with the velocity data - noise; the network predicts it from x_t, t and
    the context. Where lengths vary, the length is drawn first, from a distribution of its own.

    Args:
        space: Continuous (channels, *grid) of any number of dimensions up to three.
        width: Of the context.
        hidden_size: Width of the network; that of the context if not given.
        depth: Transformer blocks.
        heads: Attention heads.
        patch: Side of the patches that become tokens.
        channels: Of the levels of a U-Net over the patches, from the finest, in place of the transformer; it hears the
            context as one vector. Convolutions learn the texture of pictures sooner. For grids of fixed sides.
        predict: What the network puts out: ``velocity``, or the ``data`` itself, from which the velocity follows. Data
            lie near a manifold and noise does not, so large patches of many numbers are learned much faster as data;
            fine spread, as of low-dimensional vectors, is learned slower.
            Source: Li and He, "Back to basics: let denoising generative models denoise", 2025.
        weight_cap: Largest weight of the squared error of predicted data, which else is 1 / (1 - t)^2, as that of a
            velocity. Late times, of large weight, teach fine detail, and make the gradient noisy.
            Source: Hang et al., "Efficient diffusion training via min-SNR weighting strategy", 2023.
        repeats: Draws of (time, noise) per row and step: the context, which costs more, is computed once for all.
            Source: Li et al., "Autoregressive image generation without vector quantization", 2024.
        time_mean: Mean of the logit-normal distribution of times; below 0 it dwells on noise, where what a sample
            will be is decided.
        time_std: Its standard deviation.
        steps: Solver steps when sampling.
        solver: ``euler``, ``heun`` or ``midpoint``.
        guidance: Scale of classifier-free guidance, 1 for none. Source: Ho and Salimans 2022.
        guidance_interval: Times between which guidance acts. Source: Kynkäänniemi et al. 2024.
        shortcuts: Draws per row and step, beside ``repeats``, that learn to sample in 1, 2, 4, 8 or 16 steps of one
            evaluation each, guidance included; 0 for none. The network is told how far the step goes, and learns that
            one step equals two of half the length, the shortest being two guided steps along the flow. These steps
            know the guidance given here and no other. A draw costs as much as two of the plain ones.
            Source: Frans et al., "One step diffusion via shortcut models", 2024, section 3.
    """

    def __init__(
        self,
        space: Space,
        width: int,
        *,
        hidden_size: int | None = None,
        depth: int = 4,
        heads: int = 4,
        patch: int = 1,
        channels: tuple[int, ...] | None = None,
        predict: Literal["data", "velocity"] = "velocity",
        weight_cap: float = 400.0,
        repeats: int = 4,
        time_mean: float = 0.0,
        time_std: float = 1.0,
        steps: PositiveInt = 25,
        solver: Solver = "heun",
        guidance: float = 2.0,
        guidance_interval: tuple[float, float] = (0.1, 0.9),
        shortcuts: int = 0,
    ):
        super().__init__()
        hidden_size = hidden_size or width
        self.space, self.patch, self.predict, self.repeats = space, patch, predict, repeats
        self.time_mean, self.time_std, self.shortcuts, self.weight_cap = time_mean, time_std, shortcuts, weight_cap
        self.options = FlowOptions(steps=steps, solver=solver, guidance=guidance, guidance_interval=guidance_interval)
        if space.grid and not space.variable and any(side % patch for side in space.grid):
            raise ConfigError(f"patch: {patch} does not divide the grid {'x'.join(map(str, space.grid))}")
        self.canvas = (*space.grid[:-1], -(-space.grid[-1] // patch) * patch) if space.grid else ()
        features = space.channels * patch ** len(space.grid)
        cells = tuple(side // patch for side in self.canvas)
        self.time = TimeEmbedding(hidden_size)
        self.summary = nn.Linear(width, hidden_size)
        # How far a step goes, by its place in SHORTCUTS; the last row is of the velocity itself and stays zero.
        self.reach = nn.Embedding(len(SHORTCUTS) + 1, hidden_size, padding_idx=len(SHORTCUTS)) if shortcuts else None
        if self.reach is not None:
            nn.init.zeros_(self.reach.weight)
        self.unet = None
        if channels:
            if space.variable:
                raise ConfigError("channels: a U-Net is for fixed sides; this field's lengths vary")
            self.unet = UNet(features, cells, hidden_size, channels, blocks=1)
        else:
            self.proj_in = nn.Linear(features, hidden_size)
            self.positions: Tensor
            self.register_buffer("positions", grid_positions(cells, hidden_size), persistent=False)
            self.transformer = Transformer(hidden_size, depth, heads, context_width=width, conditioned=True)
            self.proj_out = nn.Linear(hidden_size, features)
            nn.init.zeros_(self.proj_out.weight)
            nn.init.zeros_(self.proj_out.bias)
        self.length = Lengths(width, space.max_length) if space.variable else None

    @classmethod
    def accepts(cls, space: Space) -> str | None:
        return None if space.kind == "continuous" else "models continuous values; these are ids"

    def velocity(self, x: Tensor, mask: Tensor, time: Tensor, context: Context, reach: Tensor | None = None) -> Tensor:
        """Velocity of tokens x (B * k, N, features) with mask (B * k, N) at times (B * k,); each k share a context.

        With ``reach`` (B * k,), places in SHORTCUTS, it is the mean over a step of that length; one past the last is no
        step, so the velocity itself.
        """
        copies = len(x) // len(context.pooled)
        condition = self.time(time) + self.summary(context.pooled).repeat_interleave(copies, 0)
        if reach is not None and self.reach is not None:
            condition = condition + self.reach(reach)
        out = self._network(x, mask, condition, context)
        if self.predict == "velocity":
            return out
        return (clamp_to_bounds(out, self.space) - x) / (1 - time).clamp(min=SHORTEST)[:, None, None]

    def _network(self, x: Tensor, mask: Tensor, condition: Tensor, context: Context) -> Tensor:
        if self.unet is not None:
            return self.unet(x, F.silu(condition))
        h = self.proj_in(x) + self.positions[: x.shape[1]]
        h = self.transformer(h, mask=mask, context=context.tokens, context_mask=context.mask, condition=condition)
        return self.proj_out(h)

    def _token_mask(self, mask: Tensor) -> Tensor:
        """Mask of the real positions (B, L) -> mask of the tokens (B, N)."""
        cells = math.prod(self.canvas) // self.patch ** len(self.canvas)
        if not self.space.variable:
            return mask[:, :1].expand(-1, cells)
        columns = pool_mask(mask, self.patch)
        above = math.prod(side // self.patch for side in self.canvas[:-1])
        return columns[:, None].expand(-1, above, -1).reshape(len(mask), -1)

    def loss(self, context: Context, target: Field, player: str, keys: Tensor) -> Losses:
        losses = {}
        if self.length is not None:
            losses["length"] = self.length.loss(context.pooled, target.lengths)
        rows, copies = len(target), self.repeats + self.shortcuts
        index = torch.arange(rows, device=keys.device).repeat_interleave(copies)
        keys = fold(keys[index], torch.arange(copies, device=keys.device).repeat(rows))
        value = target.value[index]
        if self.space.variable:
            value = pad_to_multiple(value, self.patch)
        data, mask = to_tokens(value, self.patch), self._token_mask(target.mask)[index]
        noise = normal(fold(keys, 0), data.shape[1:])
        time = torch.sigmoid(self.time_mean + self.time_std * normal(fold(keys, 1)))
        velocity, reach = data - noise, None
        if self.shortcuts:
            here = torch.arange(rows * copies, device=keys.device).view(rows, copies)[:, self.repeats :].flatten()
            level = (uniform(fold(keys[here], 3)) * len(SHORTCUTS)).long()
            steps = 2**level
            time[here] = (uniform(fold(keys[here], 4)) * steps).floor() / steps
            reach = torch.full_like(keys, len(SHORTCUTS)).index_copy(0, here, level)
        x = torch.lerp(noise, data, time[:, None, None])
        if self.shortcuts:
            velocity[here] = self._two_halves(x[here], mask[here], time[here], level, context)
        error = (self.velocity(x, mask, time, context, reach) - velocity).square().mean(2)
        per_draw = ((error * mask).sum(1) / mask.sum(1)).view(rows, copies)
        plain, shortcut = per_draw.split([self.repeats, self.shortcuts], dim=1)
        if self.predict == "data":
            # An error of the data is so much less than that of the velocity. For shortcuts it is the one that counts:
            # their target, a mean of two predictions, is bounded then.
            left, of_shortcut = (1 - time).square().view(rows, copies).split([self.repeats, self.shortcuts], dim=1)
            plain, shortcut = plain * (self.weight_cap * left).clamp(max=1), shortcut * of_shortcut
        losses["flow"] = plain.mean(1)
        if self.shortcuts:
            losses["shortcut"] = shortcut.sum(1) / self.repeats  # each draw weighs as a plain one
        return losses

    @torch.no_grad()
    def _two_halves(self, x: Tensor, mask: Tensor, time: Tensor, level: Tensor, context: Context) -> Tensor:
        """Mean velocity over a step of 1 / SHORTCUTS[level] by two of half that length, guided where they are plain."""
        half = 0.5 / 2**level
        plain = (level + 1 == len(SHORTCUTS)).nonzero()[:, 0]
        scale, (begin, end) = self.options.guidance, self.options.guidance_interval

        def slope(x: Tensor, time: Tensor) -> Tensor:
            given = self.velocity(x, mask, time, context, level + 1)
            if context.nothing is None or scale == 1:
                return given
            some = time[plain]
            free = self.velocity(x[plain], mask[plain], some, context.nothing)
            weight = torch.where((begin <= some) & (some <= end), scale, 1.0)[:, None, None]
            return given.index_copy(0, plain, torch.lerp(free, given[plain], weight))

        first = slope(x, time)
        second = slope(x + half[:, None, None] * first, time + half)
        return (first + second) / 2

    def check_options(self, options: FlowOptions) -> None:
        if self._short(options) and options.guidance != self.options.guidance:
            raise ConfigError(
                f"guidance: the shortcut of {options.steps} steps knows {self.options.guidance} only, not "
                f"{options.guidance}; another number of steps, such as 25, takes any"
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
        noise = normal(fold(keys, 0), (self.space.channels, *self.canvas))
        if self.space.variable:  # the noise is drawn on the whole canvas, so that it does not depend on other rows
            longest = int(mask.sum(1).max())
            mask = mask[:, :longest]
            noise = noise[..., : -(-longest // self.patch) * self.patch]
        grid = tuple(noise.shape[2:])
        x, token_mask = to_tokens(noise, self.patch), self._token_mask(mask)
        scale, (begin, end) = options.guidance, options.guidance_interval
        level = torch.full((rows,), SHORTCUTS.index(options.steps), device=device) if short else None
        both = context.beside(unconditional) if unconditional is not None and scale != 1 and not short else None
        full = token_mask.repeat(2, 1)

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            time = torch.full((rows,), float(t), device=device)  # t is on the CPU: reading it waits for nothing
            if both is None or not begin <= t <= end:
                return self.velocity(x, token_mask, time, context, level)
            given, free = self.velocity(x.repeat(2, 1, 1), full, time.repeat(2), both).chunk(2)
            return torch.lerp(free, given, scale)

        times = torch.linspace(0, 1, options.steps + 1)
        # At the end of time predicted data say nothing of the velocity, so the last step looks at its beginning only.
        # Source: Karras et al., "Elucidating the design space of diffusion-based generative models", 2022, algorithm 1.
        x = (euler if short else SOLVERS[options.solver])(velocity, x, times[:-1])
        x = euler(velocity, x, times[-2:])
        value = clamp_to_bounds(from_tokens(x, self.space.channels, grid, self.patch), self.space)
        if self.space.variable:
            value = value[..., : mask.shape[1]]
        made = Field.full(value, mask, self.space.varies)
        return made.with_value(value) if self.space.variable else made
