"""A joint latent that every visible field has a say in: a product of Gaussian experts."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from polymodal.errors import ConfigError
from polymodal.fusion.base import Fusion
from polymodal.nn.layers import Linear
from polymodal.nn.mixtures import Mixture
from polymodal.nn.priors import Prior
from polymodal.nn.random import fold, normal
from polymodal.types import Context, Tokens


class ProductOfExperts(Fusion):
    """q(z | visible) is the product of the prior expert N(0, 1) and a Gaussian of each visible field.

    What is generated is generated from one z, and nothing else is known of the inputs. The published joint models are
    this fusion with different odds of what is visible in training, where all that a row has is to be told again
    (``tasks.reconstruct``): everything at once is MVAE (Wu and Goodman 2018), one field at a time is MMVAE (Shi et al.
    2019), any subset is MoPoE (Sutter et al. 2021): drawing the subset row by row is an unbiased estimate of their sums
    over subsets.

    Where nothing is visible, z is drawn from the prior, which training takes to be N(0, 1), but which may be fitted to
    what the encoders really say and put in its place afterwards (``fit_prior``).

    Args:
        fields: Names, in order.
        width: Of the tokens.
        latent: Dimensions of z.
        kl_weight: Of the divergence of q from N(0, 1), per row, in nats. Source: Higgins et al., beta-VAE, 2017.
        free_bits: Divergence that is not punished, in nats per row, so that z is used at all (Kingma et al. 2016).
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
        latent: int = 64,
        kl_weight: float = 0.01,
        free_bits: float = 0.0,
        prior: Literal["standard", "mixture", "flow"] = "standard",
        components: int = 50,
    ):
        super().__init__()
        if latent < 2 or latent % 2:
            raise ConfigError(f"latent: {latent} is not an even number of at least 2")
        self.fields, self.size, self.kl_weight, self.free_bits = tuple(fields), latent, kl_weight, free_bits
        self.experts = nn.ModuleDict({name: Linear(width, 2 * latent, bias=True) for name in fields})
        self.leave = Linear(latent, width, bias=True)
        self.prior: Mixture | Prior | None = None
        if prior == "mixture":
            self.prior = Mixture(latent, components)
        elif prior == "flow":
            self.prior = Prior(latent, 1, kind="flow")

    def posterior(self, tokens: Mapping[str, Tokens], rows: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the deviation (B, Z) of the product; 0 and 0 where nothing is visible."""
        precision = torch.ones(rows, self.size, device=device)
        weighted = torch.zeros(rows, self.size, device=device)
        for name in self.fields:
            if name in tokens:
                mean, log_std = self.experts[name](tokens[name].mean).chunk(2, dim=1)
                own = torch.exp(-2 * log_std.clamp(-6, 6)) * tokens[name].seen[:, None]
                precision, weighted = precision + own, weighted + own * mean
        return weighted / precision, -0.5 * precision.log()

    def forward(
        self, tokens: Mapping[str, Tokens], rows: int, device: torch.device, keys: Tensor | None = None
    ) -> Context:
        mean, log_std = self.posterior(tokens, rows, device)
        noise = torch.zeros_like(mean) if keys is None else normal(fold(keys, 0), (self.size,))
        z = mean + log_std.exp() * noise
        if self.prior is not None and not self.training:
            told = torch.zeros(rows, dtype=torch.bool, device=device)
            for part in tokens.values():
                told |= part.seen
            z = torch.where(told[:, None], z, self.draw(keys, noise))
        losses = {}
        if self.training:
            divergence = 0.5 * ((2 * log_std).exp() + mean.square() - 1) - log_std
            losses["kl"] = self.kl_weight * divergence.sum(1).clamp(min=self.free_bits)
        pooled = self.leave(z)
        return Context(pooled[:, None], torch.ones(rows, 1, dtype=torch.bool, device=device), pooled, losses)

    def draw(self, keys: Tensor | None, noise: Tensor) -> Tensor:
        """z (B, Z) from the fitted prior, by keys (B,) and noise (B, Z); without keys, what is likeliest of it."""
        if isinstance(self.prior, Mixture):
            return self.prior.draw(keys, noise)
        assert self.prior is not None
        return self.prior.colour(noise, noise.new_zeros(len(noise), 1))

    def fit_prior(self, z: Tensor, *, seed: int = 0, steps: int = 2000) -> float:
        """Fits the prior to draws z (N, Z) of what training rows say, all their fields visible.

        Returns:
            The mean log-likelihood of the last tenth of them, which is held out, in nats.

        Raises:
            ConfigError: The prior is the standard normal, which has nothing to fit.
        """
        if self.prior is None:
            raise ConfigError("prior: 'standard' has nothing to fit; choose mixture or flow")
        held_out = max(1, len(z) // 10)
        known, unknown = z[:-held_out], z[-held_out:]
        if isinstance(self.prior, Mixture):
            self.prior.fit(known, seed=seed)
            return float(self.prior.log_prob(unknown).mean())
        generator = torch.Generator().manual_seed(seed)
        optimizer = torch.optim.AdamW(self.prior.parameters(), lr=2e-3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            some = known[torch.randint(len(known), (256,), generator=generator).to(known.device)]
            loss = -self.prior.log_prob(some, some.new_zeros(len(some), 1)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            return float(self.prior.log_prob(unknown, unknown.new_zeros(len(unknown), 1)).mean())
