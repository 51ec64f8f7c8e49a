"""What codecs keep of real values, and what can be read from their latents."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, avg_pool3d

from polymodal.data import Rows
from polymodal.evaluation.examiner import Examiner
from polymodal.evaluation.metrics import active_units, linear_probe, other_rows, perceptual_distance
from polymodal.evaluation.metrics.result import MetricResult
from polymodal.generation import CHUNK
from polymodal.model import Model
from polymodal.types import Field

PROBED = 400
"""Most rows of a linear probe."""
FEWEST_PROBED = 12
"""Fewest rows of a linear probe."""
_POOLED = 512
"""Numbers to which latents on a grid are averaged down, at most."""


@torch.no_grad()
def reconstruction(model: Model, name: str, rows: Rows, examiner: Examiner) -> list[MetricResult]:
    """Metrics of a codec. Real values could score as a perfect copy does; chance is the value of another row."""
    real = rows.decode(rows.only(name).batch(np.arange(len(rows))))[name]
    copies, latents = [], []
    for part in torch.arange(len(rows)).split(CHUNK):
        latent = model.codecs[name].encode(real.pick(part).to(model.device))
        copies.append(model.codecs[name].decode(latent).to("cpu"))
        latents.append(_pooled(latent).cpu())
    length = real.mask.shape[1]
    copy = real.with_value(Field.stack([copy.trim(length).pad(length) for copy in copies]).value)
    other = real.pick(torch.from_numpy(other_rows(rows.columns[name].slots)))
    results = examiner.kinds[name].reconstruction(real, copy, other)
    if examiner.judge is not None and examiner.knows(name):
        seen, ours, theirs = (examiner.judge.embed(name, field) for field in (real, copy, other))
        results.append(
            MetricResult(
                "perceptual distance (judge's features)", perceptual_distance(seen, ours).numpy(), ceiling=0.0,
                chance=float(perceptual_distance(seen, theirs).mean()), higher_is_better=False, aspect="reconstruction",
            )
        )  # fmt: skip
    return results + _of_latents(torch.cat(latents), rows, examiner)


def _of_latents(latents: Tensor, rows: Rows, examiner: Examiner) -> list[MetricResult]:
    """The share of active units, and whether a linear function can read each label from the latents (n, F)."""
    results = []
    if len(rows) > 1:
        share = active_units(latents) / latents.shape[1]
        results.append(
            MetricResult(
                "active units, share", np.zeros(0), rows=np.arange(len(rows)), ceiling=1.0, chance=0.0,
                aspect="reconstruction", whole=(share, share, share),
            )
        )  # fmt: skip
    for name, kind in examiner.kinds.items():
        if not kind.classes or name not in rows.columns:
            continue
        labelled = np.flatnonzero(rows.present[name])[:PROBED]
        classes = rows.columns[name].slots[labelled]
        if len(labelled) < FEWEST_PROBED:
            continue
        right = linear_probe(latents[torch.from_numpy(labelled)].numpy(), classes)
        if right is not None:
            chance = float(np.bincount(classes).max() / len(classes))
            about = f"linear probe of {name}"
            results.append(
                MetricResult(about, right, rows=labelled, ceiling=1.0, chance=chance, aspect="reconstruction")
            )
    return results


def _pooled(latent: Field) -> Tensor:
    """(n, F): codes of numbers averaged down to at most a few hundred, codes of ids as they are."""
    value = latent.value
    if not value.is_floating_point():
        return value.double()
    if latent.varies is not None:  # the mean over the axis that varies
        real, axis = latent.real, 1 + latent.varies
        return ((value * real).sum(axis) / real.sum(axis).clamp(min=1)).flatten(1).double()
    pools = {4: avg_pool2d, 5: avg_pool3d}
    while value.dim() in pools and value[0].numel() > _POOLED and min(value.shape[2:]) > 1:
        value = pools[value.dim()](value, 2)
    return value.flatten(1).double()
