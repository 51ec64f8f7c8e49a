"""A mixture of Gaussians over a latent vector, fitted once, then drawn from."""

import torch
from torch import Tensor, nn

from polymodal.nn.priors import gaussian_log_prob
from polymodal.nn.random import choose, fold


class Mixture(nn.Module):
    """Gaussians with diagonal covariances. Before it is fitted it is the standard normal.

    Args:
        latent: Z.
        components: K.
    """

    weights: Tensor
    means: Tensor
    log_stds: Tensor

    def __init__(self, latent: int, components: int):
        super().__init__()
        self.register_buffer("weights", torch.full((components,), 1 / components))
        self.register_buffer("means", torch.zeros(components, latent))
        self.register_buffer("log_stds", torch.zeros(components, latent))

    def log_prob(self, z: Tensor) -> Tensor:
        """(B, Z) -> (B,), in nats."""
        each = gaussian_log_prob(z[:, None], self.means, self.log_stds).sum(2)
        return torch.logsumexp(each + self.weights.log(), dim=1)

    def draw(self, keys: Tensor | None, noise: Tensor) -> Tensor:
        """Standard normal noise (B, Z) as draws of components chosen by keys (B,); without keys, of the likeliest."""
        chosen = self.weights.argmax().expand(len(noise)) if keys is None else choose(self.weights, fold(keys, 1))
        return self.means[chosen] + self.log_stds[chosen].exp() * noise

    @torch.no_grad()
    def fit(self, z: Tensor, *, seed: int = 0) -> None:
        """Fits it to z (N, Z) by expectation maximisation, from k-means.

        Source: Dempster, Laird and Rubin 1977, as in scikit-learn's ``GaussianMixture``.
        """
        from sklearn.mixture import GaussianMixture

        found = GaussianMixture(len(self.weights), covariance_type="diag", random_state=seed, reg_covar=1e-5)
        found.fit(z.double().cpu().numpy())
        self.weights.copy_(torch.from_numpy(found.weights_))
        self.means.copy_(torch.from_numpy(found.means_))
        self.log_stds.copy_(torch.from_numpy(found.covariances_).log() / 2)
