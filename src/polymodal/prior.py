"""Another prior over the joint latent of a trained model: fitted to what real rows say, used where nothing is given."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from polymodal.data import Rows
from polymodal.errors import ConfigError, DataError
from polymodal.model import Model
from polymodal.nn.random import make_keys, uniform

CHUNK = 250
"""Rows that are encoded together."""
KINDS = ("standard", "mixture", "flow")


@dataclass(frozen=True)
class FittedPrior:
    """How well a prior tells the latents of rows that it was not fitted to.

    Attributes:
        kind: One of ``KINDS``.
        rows: Rows whose latents were drawn, of which a tenth was held out.
        log_likelihood: Mean over those held out, in nats.
        standard: The same of the standard normal.
    """

    kind: str
    rows: int
    log_likelihood: float
    standard: float


def fit_prior(
    model: Model,
    rows: Rows,
    *,
    kind: str = "mixture",
    components: int | None = None,
    steps: int = 2000,
    limit: int = 10_000,
    seed: int = 0,
) -> FittedPrior:
    """Fits a prior to the joint latents of rows, and makes the model draw from it wherever nothing is given.

    Source: Ghosh et al., "From variational to deterministic autoencoders", 2020.

    Args:
        model: Trained, with a joint latent. It is changed, its recipe too.
        rows: That it was trained on.
        kind: ``standard`` normal, which training assumes; ``mixture`` of Gaussians; ``flow``.
        components: Of a mixture; None for one for every 50 rows.
        steps: Of a flow's training.
        limit: Most rows whose latents are drawn.
        seed: Seed of everything that is random.

    Raises:
        ConfigError: The model has no joint latent, or an argument is out of range.
        DataError: There are fewer rows than a fit needs.
    """
    check_joint(model)
    if kind not in KINDS:
        raise ConfigError(f"kind: '{kind}' is unknown; choose {', '.join(KINDS)}")
    for name, value in {"components": components, "steps": steps, "limit": limit}.items():
        if value is not None and value < 1:
            raise ConfigError(f"{name}: {value} is not at least 1")
    z = latents(model.eval(), rows, limit=limit, seed=seed)
    components = components or max(1, len(z) // 50)
    needed = 2 * components if kind == "mixture" else 3
    if len(z) < needed:
        raise DataError(f"prior: {len(z)} rows have a field that the model reads; {needed} are needed")
    standard = model.fusion.fit_prior(z, kind="standard")
    fitted = model.fusion.fit_prior(z, kind=kind, components=components, steps=steps, seed=seed)
    changed = model.recipe.fusion | {"prior": kind} | ({"components": components} if kind == "mixture" else {})
    model.recipe = model.recipe.model_copy(update={"fusion": changed})
    return FittedPrior(kind, len(z), fitted, standard)


def check_joint(model: Model) -> None:
    """Whether a model has a prior at all.

    Raises:
        ConfigError: It has none.
    """
    if not model.fusion.joint:
        kind = model.recipe.fusion["kind"]
        raise ConfigError(f"fusion.kind: '{kind}' has no joint latent, and so no prior; mopoe and its like have one")


@torch.no_grad()
def latents(model: Model, rows: Rows, *, limit: int | None = None, seed: int = 0) -> Tensor:
    """Draws (N, Z) of the joint latent, one for each row, from all of the row's fields that the model reads.

    Args:
        model: In evaluation mode, with a joint latent.
        rows: Those that lack all of these fields are left out.
        limit: Most rows, chosen at random; None for all.
        seed: Seed of the choice and of the draws.
    """
    names = [name for name in model.encoders if name in rows.columns]
    rows = rows.only(*names)
    there = torch.stack([torch.from_numpy(rows.present[name]) for name in names]).any(0)
    index = there.nonzero()[:, 0]
    index = index[uniform(make_keys(seed, len(index))).argsort()][:limit]
    keys, pieces = make_keys(seed, len(index)), []
    for part in torch.arange(len(index)).split(CHUNK):
        batch = rows.decode({name: field.to(model.device) for name, field in rows.batch(index[part]).items()})
        visible = {name: field.present.cpu() for name, field in batch.items()}
        latent = model.condition(batch, visible, keys[part].to(model.device)).context.latent
        assert latent is not None
        pieces.append(latent)
    return torch.cat(pieces) if pieces else torch.zeros(0, 1)
