"""A joint latent that every visible field has a say in: a product of Gaussian experts."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import pydantic
import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from polymodal.arguments import Probability
from polymodal.fusion.base import Fusion
from polymodal.nn.layers import Linear
from polymodal.nn.mixtures import Mixture
from polymodal.nn.priors import Prior, standard_log_prob
from polymodal.nn.random import choose, fold, normal
from polymodal.types import Context, Tokens

PriorKind = Literal["standard", "mixture", "flow"]


class ProductOfExperts(Fusion):
    """q(z | visible) is the product of the prior expert N(0, 1) and a Gaussian of each visible field.

    What is generated is generated from one z, and nothing else is known of the inputs. The published joint models are
    this fusion with different odds of what is visible in training, where all that a row has is to be told again
    (``tasks.reconstruct``): everything at once is MVAE (Wu and Goodman 2018), one field at a time is MMVAE (Shi et al.
    2019), any subset is MoPoE (Sutter et al. 2021): drawing the subset row by row is an unbiased estimate of their sums
    over subsets. The divergence of such a mixture is bounded by the mean of its parts' (Sutter et al.).

    MMVAE's posterior given several fields is the mixture of what each of them says alone, not their product, which its
    training never sees: with ``experts: mixture`` each row draws one of its visible fields, with even odds, and z from
    that field's expert.

    Where nothing is visible, z is drawn from the prior, which training takes to be N(0, 1), but which may be fitted to
    what the encoders really say and put in its place afterwards (``fit_prior``).

    With ``private`` dimensions each field has a latent w of its own beside z, which its head alone is told: what the
    other fields cannot know of it. The field itself tells it where it is visible. Where it is not, training draws w
    from an auxiliary prior N(0, s), s learned, so that nothing but z can tell of the other fields; generation draws it
    from N(0, 1). With one field visible at a time this is MMVAE+ (Palumbo, Daunhawer and Vogt, "MMVAE+: enhancing the
    generative quality of multimodal VAEs without compromises", 2023), with the ELBO for its bound of several samples.

    Args:
        fields: Names, in order.
        width: Width of the tokens.
        latent: Dimensions of z.
        private: Dimensions of w, of each field.
        experts: Whether the visible fields' experts are multiplied, or z is drawn from one of them. A ``product`` is to
            be learned: some tasks have to show several fields at once.
        kl_weight: Of the divergence of q from N(0, 1), per row, in nats. Source: Higgins et al., beta-VAE, 2017.
        free_bits: Divergence that is not punished, in nats per row, so that z is used at all (Kingma et al. 2016).
        conditional: Share of the divergence that is taken from the visible fields' own experts, on average, in place of
            N(0, 1), so that each comes to say what all say together; with everything visible, 0.9 of it is MVTCAE
            (Hwang et al., "Multi-view representation learning via total correlation objective", 2021).
        prior: ``standard``; ``mixture`` of Gaussians; ``flow``. The latter two know nothing before they are fitted.
        components: Of a mixture.

    Source: products of experts: Hinton 2002; priors fitted to the latents of a trained autoencoder: Ghosh et al., "From
    variational to deterministic autoencoders", 2020.
    """

    joint = True

    def __init__(
        self,
        fields: Sequence[str],
        width: int,
        *,
        latent: Annotated[int, pydantic.Field(ge=2, multiple_of=2)] = 64,
        private: NonNegativeInt = 0,
        experts: Literal["product", "mixture"] = "product",
        kl_weight: NonNegativeFloat = 0.01,
        free_bits: NonNegativeFloat = 0.0,
        conditional: Probability = 0.0,
        prior: PriorKind = "standard",
        components: PositiveInt = 50,
    ):
        super().__init__()
        self.fields, self.size, self.kl_weight = tuple(fields), latent, kl_weight
        self.free_bits, self.conditional, self.mixed = free_bits, conditional, experts == "mixture"
        self.experts = nn.ModuleDict({name: Linear(width, 2 * latent, bias=True) for name in fields})
        self.proj_out = Linear(latent, width, bias=True)
        own = self.fields if private else ()
        self.private = nn.ModuleDict({name: PrivateLatent(width, private) for name in own})
        self.prior = make_prior(prior, latent, components)

    def posterior(self, tokens: Mapping[str, Tokens], rows: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the deviation (B, Z) of the product; 0 and 0 where nothing is visible."""
        return self._product(self._said(tokens), tokens, rows, device)

    def _said(self, tokens: Mapping[str, Tokens]) -> dict[str, tuple[Tensor, Tensor]]:
        """By field, mean and logarithm of the deviation (B, Z) of its own expert."""
        said = {}
        for name in self.fields:
            if name in tokens:
                mean, log_std = self.experts[name](tokens[name].mean).chunk(2, dim=1)
                said[name] = mean, log_std.clamp(-6, 6)
        return said

    def _one_each(
        self, tokens: Mapping[str, Tokens], said: Mapping[str, tuple[Tensor, Tensor]], keys: Tensor | None
    ) -> dict[str, Tokens]:
        """The tokens of one visible field of each row, drawn with even odds; without keys, of the surest expert."""
        names = list(said)
        seen = torch.stack([tokens[name].seen for name in names], dim=1)
        if keys is None:
            spread = torch.stack([log_std.sum(1) for _, log_std in said.values()], dim=1)
            drawn = spread.masked_fill(~seen, torch.inf).argmin(1)
        else:
            drawn = choose(seen, fold(keys, 1)).clamp(max=len(names) - 1)  # any, where nothing is visible
        chosen = nn.functional.one_hot(drawn, len(names)).bool().unbind(1)
        return {
            name: Tokens(tokens[name].x, tokens[name].mask & own[:, None])
            for name, own in zip(names, chosen, strict=True)
        }

    def _product(
        self, said: Mapping[str, tuple[Tensor, Tensor]], tokens: Mapping[str, Tokens], rows: int, device: torch.device
    ) -> tuple[Tensor, Tensor]:
        precision = torch.ones(rows, self.size, device=device)
        weighted = torch.zeros(rows, self.size, device=device)
        for name, (mean, log_std) in said.items():
            own = torch.exp(-2 * log_std) * tokens[name].seen[:, None]
            precision, weighted = precision + own, weighted + own * mean
        return weighted / precision, -0.5 * precision.log()

    def _divergence(
        self,
        mean: Tensor,
        log_std: Tensor,
        said: Mapping[str, tuple[Tensor, Tensor]],
        tokens: Mapping[str, Tokens],
    ) -> Tensor:
        """(B,) of the product from N(0, 1) and, with ``conditional``, from each visible field's own expert."""
        divergence = divergence_of(mean, log_std).clamp(min=self.free_bits)
        if not self.conditional:
            return divergence
        own, count = torch.zeros_like(divergence), torch.zeros_like(divergence)
        for name, expert in said.items():
            seen = tokens[name].seen
            own, count = own + divergence_of(mean, log_std, *expert) * seen, count + seen
        return torch.lerp(divergence, own / count.clamp(min=1), self.conditional)

    def forward(
        self, tokens: Mapping[str, Tokens], rows: int, device: torch.device, keys: Tensor | None = None
    ) -> Context:
        said = self._said(tokens)
        heard = self._one_each(tokens, said, keys) if self.mixed and len(tokens) > 1 else tokens
        mean, log_std = self._product(said, heard, rows, device)
        noise = torch.zeros_like(mean) if keys is None else normal(fold(keys, 0), (self.size,))
        z = mean + log_std.exp() * noise
        if self.prior is not None and not self.training:
            told = torch.zeros(rows, dtype=torch.bool, device=device)
            for part in tokens.values():
                told |= part.seen
            z = torch.where(told[:, None], z, self.draw(keys, noise))
        private, losses = {}, {}
        divergence = self._divergence(mean, log_std, said, heard)
        for place, (name, latent) in enumerate(self.private.items()):
            own_keys = None if keys is None else fold(keys, 2 + place)
            private[name], own = latent(tokens.get(name), rows, device, own_keys)
            divergence = divergence + own
        if self.training:
            losses["kl"] = self.kl_weight * divergence
        pooled = self.proj_out(z)
        mask = torch.ones(rows, 1, dtype=torch.bool, device=device)
        return Context(pooled[:, None], mask, pooled, losses, latent=z, private=private)

    def draw(self, keys: Tensor | None, noise: Tensor) -> Tensor:
        """z (B, Z) from the fitted prior, by keys (B,) and noise (B, Z); without keys, what is likeliest of it."""
        if isinstance(self.prior, Mixture):
            return self.prior.draw(keys, noise)
        assert self.prior is not None
        return self.prior.colour(noise, noise.new_zeros(len(noise), 1))

    def fit_prior(
        self, z: Tensor, *, kind: PriorKind = "mixture", components: int = 50, steps: int = 2000, seed: int = 0
    ) -> float:
        self.prior = None
        if kind != "standard":
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)  # of the flow's weights at the start
                self.prior = make_prior(kind, self.size, components).to(z.device)  # type: ignore[union-attr]
        held_out = max(1, len(z) // 10)
        known, unknown = z[:-held_out], z[-held_out:]
        if isinstance(self.prior, Mixture):
            self.prior.fit(known, seed=seed)
        elif self.prior is not None:
            fit_flow(self.prior, known, seed=seed, steps=steps)
        with torch.no_grad():
            return float(self.log_prior(unknown).mean())

    def log_prior(self, z: Tensor) -> Tensor:
        """log p(z) (B,) of z (B, Z) by the prior that generation draws from, in nats."""
        if self.prior is None:
            return standard_log_prob(z).sum(1)
        told = () if isinstance(self.prior, Mixture) else (z.new_zeros(len(z), 1),)  # a flow is told of no context
        return self.prior.log_prob(z, *told)


class PrivateLatent(nn.Module):
    """A latent w of one field, from which nothing but that field is generated.

    Args:
        width: D, of the tokens.
        size: Dimensions of w.
    """

    def __init__(self, width: int, size: int):
        super().__init__()
        self.size = size
        self.expert = Linear(width, 2 * size, bias=True)
        self.proj_out = Linear(size, width, bias=True)
        self.auxiliary = nn.Parameter(torch.zeros(size))  # logarithms of the deviations s

    def forward(
        self, tokens: Tokens | None, rows: int, device: torch.device, keys: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """What the head is told (B, D), and the divergence of q(w | field) from N(0, 1) (B,), 0 where it is unseen."""
        noise = torch.zeros(rows, self.size, device=device) if keys is None else normal(keys, (self.size,))
        unseen = noise * self.auxiliary.exp() if self.training else noise
        if tokens is None:
            return self.proj_out(unseen), noise.new_zeros(rows)
        mean, log_std = self.expert(tokens.mean).chunk(2, dim=1)
        log_std = log_std.clamp(-6, 3)
        w = torch.where(tokens.seen[:, None], mean + log_std.exp() * noise, unseen)
        return self.proj_out(w), divergence_of(mean, log_std) * tokens.seen


def make_prior(kind: PriorKind, latent: int, components: int) -> Mixture | Prior | None:
    """A prior that knows nothing yet; None for the standard normal."""
    if kind == "mixture":
        return Mixture(latent, components)
    return Prior(latent, 1, kind="flow") if kind == "flow" else None


def fit_flow(flow: Prior, z: Tensor, *, seed: int, steps: int, batch: int = 256) -> None:
    """Fits a flow that knows no context to draws z (N, Z), by maximum likelihood."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(flow.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        some = z[torch.randint(len(z), (batch,), generator=generator).to(z.device)]
        loss = -flow.log_prob(some, some.new_zeros(len(some), 1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def divergence_of(
    mean: Tensor, log_std: Tensor, other_mean: Tensor | float = 0.0, other_log_std: Tensor | None = None
) -> Tensor:
    """KL (B,) of N(mean, exp(log_std)), (B, Z) each, from another such, N(0, 1) if not given, in nats."""
    ratio = log_std if other_log_std is None else log_std - other_log_std
    shift = mean - other_mean
    shift = shift if other_log_std is None else shift * (-other_log_std).exp()
    return (0.5 * ((2 * ratio).exp() + shift.square() - 1) - ratio).sum(1)
