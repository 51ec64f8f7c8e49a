"""A generative adversarial network: one step from noise to a value, taught by a critic.

Source: Goodfellow et al., "Generative adversarial nets", 2014; conditioning by projection: Miyato and Koyama, "cGANs
with projection discriminator", 2018; by pairs that do not match: Reed et al., "Generative adversarial text to image
synthesis", 2016; the default loss: Huang et al., "The GAN is dead; long live the GAN! A modern GAN baseline", 2024.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import pydantic
import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.parametrizations import spectral_norm as spectrally_normalised

from polymodal.arguments import Probability, Sizes
from polymodal.heads.augmentation import augment
from polymodal.heads.base import Head
from polymodal.heads.gan_controller import GanController
from polymodal.heads.lengths import Lengths, length_loss
from polymodal.nn.dcgan import ConvolutionalCritic, ConvolutionalGenerator, leaky
from polymodal.nn.layers import Linear
from polymodal.nn.random import fold, normal, open_uniform, uniform
from polymodal.nn.shapes import longest
from polymodal.types import Context, Field, Losses, Space

CRITIC_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "relativistic": lambda real, fake: F.softplus(fake - real),
    "hinge": lambda real, fake: F.relu(1 - real) + F.relu(1 + fake),
    "non-saturating": lambda real, fake: F.softplus(-real) + F.softplus(fake),
    "wasserstein": lambda real, fake: fake - real,
}
"""Of outputs (B,) on real and on generated values, for the critic to minimise."""

GAMMA = {"wasserstein": 10.0}
"""Usual weights of the gradient penalty, where not 1.

Source: Gulrajani et al., "Improved training of Wasserstein GANs", 2017, section 4.
"""

DIFFERENCES = ("relativistic", "wasserstein")
"""Losses that depend on the difference of the two outputs only."""

MODEL_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "relativistic": lambda real, fake: F.softplus(real - fake),
    "hinge": lambda real, fake: -fake,
    "non-saturating": lambda real, fake: F.softplus(-fake),
    "wasserstein": lambda real, fake: -fake,
}
"""Of the same outputs, for the generator to minimise.

Source: relativistic: Jolicoeur-Martineau 2019; hinge: Lim and Ye 2017; Wasserstein: Arjovsky et al. 2017.
"""


class Generator(nn.Module):
    """Noise (B, Z), context (B, W) and, where it varies, the length -> value (B, C, *grid)."""

    def __init__(
        self, space: Space, width: int, hidden_size: int, noise: int, channels: tuple[int, ...], blocks: int, patch: int
    ):
        super().__init__()
        self.longest = space.max_length if space.variable else 0
        self.mix = Linear(noise + width + space.variable, hidden_size, bias=True)
        self.decoder = ConvolutionalGenerator(space, hidden_size, channels=channels, blocks=blocks, patch=patch)

    def forward(self, noise: Tensor, pooled: Tensor, mask: Tensor) -> Tensor:
        parts = [noise, pooled]
        if self.longest:
            parts.append(mask.sum(1, keepdim=True).to(noise.dtype) / self.longest)
        value = self.decoder(leaky(self.mix(torch.cat(parts, dim=1))))
        return value[..., : self.longest] if self.longest else value


class Judgement(nn.Module):
    """Features (B, hidden_size) and context (B, W) -> how real a value looks in its context (B,)."""

    def __init__(self, width: int, hidden_size: int):
        super().__init__()
        self.linear = Linear(hidden_size, 1, bias=True)
        self.project = Linear(width, hidden_size)
        self.scale = 1 / math.sqrt(hidden_size)

    def forward(self, features: Tensor, pooled: Tensor) -> Tensor:
        return self.linear(features)[:, 0] + (self.project(pooled) * features).sum(1) * self.scale


class Critic(nn.Module):
    """Value and context -> how real it looks (B,), and the features (B, hidden_size) that this is read from."""

    def __init__(self, space: Space, width: int, hidden_size: int, channels: tuple[int, ...], blocks: int, patch: int):
        super().__init__()
        self.encoder = ConvolutionalCritic(space, hidden_size, channels=channels[::-1], blocks=blocks, patch=patch)
        self.judge = Judgement(width, hidden_size)

    def forward(self, value: Tensor, mask: Tensor, pooled: Tensor) -> tuple[Tensor, Tensor]:
        features = self.encoder(value, mask)
        return self.judge(features, pooled), features


def frozen(module: nn.Module, *arguments: Tensor) -> Any:
    """The output of a module, whose parameters are constants here."""
    if not torch.is_grad_enabled():  # nothing to hold back; to replace parameters for a call is not for many threads
        return module(*arguments)
    return functional_call(module, {name: p.detach() for name, p in module.named_parameters()}, arguments)


Fraction = Annotated[float, pydantic.Field(ge=1e-3, le=1)]


@dataclass(frozen=True, kw_only=True)
class GanOptions:
    """How a value is drawn.

    Attributes:
        truncation: The noise is drawn anew where it is beyond this; 0 for never. Lower is more typical and less
            diverse. Source: Brock et al., "Large scale GAN training", 2019.
    """

    truncation: NonNegativeFloat = 0.0


class Gan(Head):
    """p(field | context) of any continuous space of up to two dimensions, drawn in one step.

    The critic moves first, then the generator. A controller (``heads.gan_controller``) watches both.

    Args:
        space: Continuous (channels, *grid): vectors, sounds, pictures.
        width: Width of the context.
        noise: Numbers that a value is drawn from.
        hidden_size: Width of the vector that the generator unfolds, and of the critic's features.
        channels: Of the generator's levels, from the coarsest; the critic has the same in reverse. By default the grid
            is halved down to 8 places or fewer.
        blocks: Residual convolutions of each level, besides the convolution between levels.
        patch: Side of the patches at the finest level.
        loss: ``relativistic`` with gradient penalties on real and generated values (R3GAN), ``hinge``,
            ``non-saturating`` with a penalty on real values (R1), or ``wasserstein`` with one between both (WGAN-GP).
        gamma: Weight of the gradient penalty (R1 and R2 have half of it); 0 for none, which only ``hinge`` tolerates.
            By default 10 for ``wasserstein``, as Gulrajani et al. have it, and 1 for the others.
        gamma_final: Share of ``gamma`` that is left at the end of training, reached by equal factors. The penalty keeps
            samples varied early in training. Source: Huang et al. 2024, who let it fall to a tenth.
        penalty_share: Share of the rows of a step that have the penalty; their weight makes up for the others.
        mismatched: Weight of real values with the context of another row, which count as generated. The critic learns
            to recognise them, and the encoders learn from the critic which contexts differ: both share this aim.
        critic_rate: The critic's learning rate as a multiple of the model's; ``wasserstein`` needs about 4. Source:
            Heusel et al., "GANs trained by a two time-scale update rule", 2017.
        spectral_norm: Divide the critic's weights by their spectral norm. Source: Miyato et al. 2018.
        augment: Greatest probability of augmenting what the critic sees, 0 for never; it starts at 0.
        flip: Whether augmentation may mirror pictures.
        truncation: Default of the sampling option.

    Raises:
        ConfigError: An argument is out of its bounds.
    """

    players = ("critic", "model")
    options: GanOptions

    def __init__(
        self,
        space: Space,
        width: int,
        *,
        noise: PositiveInt = 64,
        hidden_size: PositiveInt = 128,
        channels: Sizes | None = None,
        blocks: NonNegativeInt = 0,
        patch: PositiveInt | None = None,
        loss: Literal["relativistic", "hinge", "non-saturating", "wasserstein"] = "relativistic",
        gamma: NonNegativeFloat | None = None,
        gamma_final: Fraction = 1.0,
        penalty_share: Fraction = 0.25,
        mismatched: NonNegativeFloat = 0.5,
        critic_rate: Annotated[float, pydantic.Field(ge=1e-3, le=1e3)] = 1.0,
        spectral_norm: bool = False,
        augment: Probability = 0.0,
        flip: bool = False,
        truncation: NonNegativeFloat = 0.0,
    ):
        super().__init__()
        usual_channels, usual_patch = shape_of(space)
        channels, patch = channels or usual_channels, patch or usual_patch
        self.sizes = {"channels": channels, "patch": patch}
        self.space, self.noise, self.loss_name = space, noise, loss
        self.gamma = GAMMA.get(loss, 1.0) if gamma is None else gamma
        self.gamma_final, self.progress = gamma_final, 0.0
        self.critic_rate = critic_rate
        self.penalty_share, self.mismatched, self.flip = penalty_share, mismatched, flip
        self.options = GanOptions(truncation=truncation)
        self.signed = ("adversarial",) if loss in ("hinge", "wasserstein") else ()  # the output of the critic itself
        self.generator = Generator(space, width, hidden_size, noise, channels, blocks, patch)
        self._critic_shape = (space, width, hidden_size, channels, blocks, patch)
        self.spectral_norm = spectral_norm
        self.critic = self._new_critic()
        self.length = Lengths(width, space.max_length) if space.variable else None
        nothing = torch.zeros(1, device="cpu")
        self.controller = GanController(
            hidden_size, blank=float(CRITIC_LOSSES[loss](nothing, nothing)), augment=augment
        )
        for parameter in (*self.generator.parameters(), *self.critic.parameters()):
            parameter.momentum = 0.0  # type: ignore[attr-defined]  # each follows a moving target

    @classmethod
    def accepts(cls, space: Space) -> str | None:
        if space.kind != "continuous":
            return "models continuous values; these are ids"
        if space.is_set:
            return "models values whose places have an order, not sets"
        if len(space.grid) > 2 or not space.varies_last:
            return "models vectors, sounds and pictures"
        return None

    def _new_critic(self) -> Critic:
        critic = Critic(*self._critic_shape)
        if self.spectral_norm:
            for module in list(critic.modules()):
                if isinstance(module, Linear | nn.Conv1d | nn.Conv2d):
                    if not module.weight.is_meta and not module.weight.any():  # zero has no direction
                        nn.init.normal_(module.weight, std=0.1)
                    spectrally_normalised(module)
        return critic

    def parameters_of(self, player: str) -> Iterator[nn.Parameter]:
        critic = {id(p) for p in self.critic.parameters()}
        if player in self.players:
            yield from (p for p in self.parameters() if (id(p) in critic) == (player == "critic"))

    def lr_scale(self, player: str, progress: float) -> float:
        self.progress = progress
        if player != "critic" or not self.training:
            return 1.0
        if self.controller.move():
            self._redraw_critic()
        return self.critic_rate * self.controller.level("lr_scale")

    def decisions(self) -> list[str]:
        return self.controller.decisions()

    @torch.no_grad()
    def _redraw_critic(self) -> None:
        """New weights in place of a dead critic's, the same on every process."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.controller.resets)
            fresh = self._new_critic().state_dict()
        for name, value in self.critic.state_dict().items():
            value.copy_(fresh[name])

    def loss(self, context: Context, target: Field, player: str, keys: Tensor) -> Losses:
        if player == "critic":
            return self._critic_loss(context.pooled, target, keys)
        losses = length_loss(self.length, context, target)
        pooled, mask, longest = context.pooled.detach(), target.mask, target.mask.shape[1]
        fake = self._make(context.pooled, mask, normal(fold(keys, 1), (self.noise,)))
        fake = fake[..., :longest] if self.space.variable else fake
        if fake.requires_grad and self.training:
            fake.register_hook(partial(self.controller.watch_gradient, present=target.present))
        judged, _ = frozen(self.critic, self._seen(fake, mask, fold(keys, 2)), mask, pooled)
        real, matching = judged.detach(), self.training and self.mismatched > 0
        if matching or self.loss_name == "relativistic":
            with torch.no_grad():
                real, features = self.critic(self._seen(target.value, mask, fold(keys, 3)), mask, pooled)
        losses["adversarial"] = MODEL_LOSSES[self.loss_name](real, judged)
        if matching:  # through the generator alone the encoders learn slowly which contexts must differ
            contexts = context.pooled, context.pooled.roll(1, 0)
            matched, other = (frozen(self.critic.judge, features, c) for c in contexts)
            losses["mismatched"] = self.mismatched * self._mismatch(matched, other, pooled)
        return losses

    def _critic_loss(self, pooled: Tensor, target: Field, keys: Tensor) -> Losses:
        mask, pooled = target.mask, pooled.detach()
        with torch.no_grad():
            fake = self._make(pooled, mask, normal(fold(keys, 4), (self.noise,)))
            fake = fake[..., : mask.shape[1]] if self.space.variable else fake
            seen = torch.cat([self._seen(target.value, mask, fold(keys, 5)), self._seen(fake, mask, fold(keys, 6))])
        outputs, features = self.critic(seen, mask.repeat(2, 1), pooled.repeat(2, 1))
        (real, made), (real_features, made_features) = outputs.chunk(2), features.chunk(2)
        losses = {"adversarial": CRITIC_LOSSES[self.loss_name](real, made)}
        if self.training:
            features = (real_features, made_features)
            centre = self.loss_name in DIFFERENCES
            self.controller.watch((real, made), features, losses["adversarial"], centre, target.present)
            if self.mismatched:
                other = self.critic.judge(real_features, pooled.roll(1, 0))
                losses["mismatched"] = self.mismatched * self._mismatch(real, other, pooled)
        if self.gamma:
            losses["penalty"] = self._penalty(seen, mask, pooled, keys)
        return losses

    def _mismatch(self, matched: Tensor, mismatched: Tensor, pooled: Tensor) -> Tensor:
        """(B,) loss of real values in their context and in another row's, 0 where the two contexts are the same.

        Two rows may say the same in other words. Each is then the mismatch of the other equally often, so that the loss
        has no gradient on average.
        """
        differs = (pooled != pooled.roll(1, 0)).any(1)
        if self.loss_name == "wasserstein":  # its penalty does not bound the slope in the context
            return F.relu(1 + mismatched - matched) * differs
        return CRITIC_LOSSES[self.loss_name](matched, mismatched) * differs

    def _make(self, pooled: Tensor, mask: Tensor, noise: Tensor) -> Tensor:
        return self.generator(noise, pooled, mask)

    def _seen(self, value: Tensor, mask: Tensor, keys: Tensor) -> Tensor:
        """A value as the critic sees it: augmented and with noise, as much as the controller sets."""
        if not self.training:
            return value
        if p := self.controller.level("augment"):
            value = augment(value, keys, value.new_tensor(p), flip=self.flip, lengths=mask.sum(1))
        if noise := self.controller.level("noise"):
            value = value + noise * normal(fold(keys, 100), value.shape[1:])
        return value

    def _penalty(self, seen: Tensor, mask: Tensor, pooled: Tensor, keys: Tensor) -> Tensor:
        """(B,) penalty on the critic's gradient; in training of the first rows of a step, whose order is random.

        Source: R1, R2: Mescheder et al., "Which training methods for GANs do actually converge?", 2018; between real
        and generated values: Gulrajani et al., "Improved training of Wasserstein GANs", 2017.
        """
        rows = len(mask)
        some = math.ceil(self.penalty_share * rows) if self.training else rows
        real, made = seen[:some], seen[rows : rows + some]
        mask, pooled = mask[:some], pooled[:some]
        if self.loss_name == "wasserstein":
            share = uniform(fold(keys[:some], 7)).view(-1, *[1] * (real.dim() - 1))
            penalty = (self._slopes(torch.lerp(made, real, share), mask, pooled).clamp(min=1e-12).sqrt() - 1).square()
        elif self.loss_name == "relativistic":
            slopes = self._slopes(torch.cat([real, made]), mask.repeat(2, 1), pooled.repeat(2, 1))
            penalty = 0.5 * (slopes[:some] + slopes[some:])
        else:
            penalty = 0.5 * self._slopes(real, mask, pooled)
        weight = self.gamma * rows / some
        if self.training:
            weight *= self.controller.level("strength") * self.gamma_final ** min(1.0, self.progress)
        return F.pad(weight * penalty, (0, rows - some))

    def _slopes(self, value: Tensor, mask: Tensor, pooled: Tensor) -> Tensor:
        """(B,) squared norm of the gradient of the critic's output at a value, itself to be differentiated."""
        # A compiled network cannot be differentiated twice.
        with torch.enable_grad(), torch.compiler.set_stance("force_eager"):
            value = value.detach().requires_grad_()
            outputs, _ = self.critic(value, mask, pooled)
            (gradient,) = torch.autograd.grad(outputs.sum(), value, create_graph=True)
            return gradient.square().flatten(1).sum(1)

    @torch.no_grad()
    def draw(self, context: Context, keys: Tensor, unconditional: Context | None, options: GanOptions) -> Field:
        """One value per row, in one step. There is no guidance."""
        rows, device, limit = len(keys), keys.device, options.truncation
        noise = truncated_normal(fold(keys, 0), self.noise, limit) if limit else normal(fold(keys, 0), (self.noise,))
        mask = torch.ones(rows, 1, dtype=torch.bool, device=device)
        if self.length is not None:
            mask = self.length.draw(context.pooled, fold(keys, 8))
        value = self._make(context.pooled, mask, noise)
        made = Field.full(value, mask, self.space.varies)
        return made.with_value(value).trim(longest(mask)) if self.space.variable else made


def truncated_normal(keys: Tensor, count: int, limit: float) -> Tensor:
    """(B, count) standard normal numbers given that they lie within ± ``limit``, by inverting their distribution."""
    inside = math.erf(limit / math.sqrt(2))
    u = (open_uniform(keys, (count,)) * 2 - 1) * inside
    return (torch.erfinv(u) * math.sqrt(2)).clamp(-limit, limit)


def shape_of(space: Space) -> tuple[tuple[int, ...], int]:
    """The usual channels, from the coarsest level, and patch of a space: levels that halve it down to 8 places.

    A fixed side is never halved into a fraction.
    """
    if not space.grid:
        return (256, 256, 256), 1
    sides = space.grid[:-1] if space.variable else space.grid
    patch, levels = 1, 1
    while max(space.grid) > 8 * patch * 2 ** (levels - 1) and not any(
        s % (2 * patch * 2 ** (levels - 1)) for s in sides
    ):
        patch, levels = (2, levels) if patch == 1 else (patch, levels + 1)
    return tuple(min(256, 32 * 2**level) for level in reversed(range(levels))), patch
