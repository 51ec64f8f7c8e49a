"""What is measured of a model's parts: the probability that heads give to real values, and what codecs keep of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from polymodal.data import Rows
from polymodal.evaluation.metrics import (
    active_units,
    bits_per_dimension,
    bootstrap_interval,
    linear_probe,
    log_spectral_distance,
    mel_cepstral_distortion,
    perceptual_distance,
    perplexity,
    psnr,
    ssim,
)
from polymodal.evaluation.scorecard.agreement import Examiner, MetricResult
from polymodal.generation import CHUNK
from polymodal.modalities import Audio, Image, Label
from polymodal.modalities.audio import LOG_MEL_MEAN, LOG_MEL_SCALE
from polymodal.model import Model
from polymodal.nn.random import fold, make_keys
from polymodal.types import Batch, Field

PROBED = 400
"""Most rows of a linear probe."""


def likelihood(model: Model, given: Sequence[str], to: str, batch: Batch, seed: int) -> list[MetricResult]:
    """How probable a head finds the real values, given the inputs; nothing of heads that cannot tell.

    Perplexity of a token where the space is discrete, else bits per dimension; of a codec's latents where there is a
    codec. A head that only bounds the likelihood, by importance weights or draws, reports the bound. The floor is what
    it gives when it sees the input of another row.
    """
    if model.fusion.joint:  # p(x | given) is an integral over the latent, of which no head knows
        return []
    if len(batch[to]) < 2 or (told := _log_likelihood(model, given, to, batch, seed)) is None:
        return []
    ours, size = told
    others = {**batch, **{name: batch[name].pick(torch.arange(len(ours)).roll(1)) for name in given}}
    told = _log_likelihood(model, given, to, others, seed)
    assert told is not None
    blind, _ = told
    latent = " of latents" if to in model.codecs else ""
    nats = -ours
    low, high = bootstrap_interval(nats, size, seed=seed)
    empty, every = np.zeros(0), np.arange(len(ours))
    if model.heads[to].space.kind == "continuous":
        return [
            MetricResult(
                f"bits per dimension{latent}", every, nats / math.log(2), size, None, bits_per_dimension(blind, size),
                {}, False, False, "likelihood",
            )
        ]  # fmt: skip
    whole = (perplexity(ours, size), math.exp(low), math.exp(high))
    chance = perplexity(blind, size)
    return [
        MetricResult(f"perplexity{latent}", every, empty, empty, None, chance, {}, False, False, "likelihood", whole)
    ]  # fmt: skip


@torch.no_grad()
def _log_likelihood(
    model: Model, given: Sequence[str], to: str, batch: Batch, seed: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """log p of each row in nats (n,), and its number of tokens or dimensions (n,); None if the head cannot tell."""
    keys = fold(make_keys(seed, len(batch[to])), 1)
    found, sizes = [], []
    for part in torch.arange(len(keys)).split(CHUNK):
        own = {name: batch[name].pick(part).to(model.device) for name in (*given, to)}
        visible = {name: own[name].present.cpu() for name in given}
        condition, target = model.condition(own, visible, keys[part].to(model.device)), model.target(own, to)
        log_likelihood = condition.log_likelihood(to, target)
        if log_likelihood is None:
            return None
        found.append(log_likelihood.cpu())
        places = math.prod(target.value.shape[1:]) // target.mask.shape[1]
        sizes.append((target.lengths * places).cpu())
    return torch.cat(found).double().numpy(), torch.cat(sizes).double().numpy()


@torch.no_grad()
def reconstruction(model: Model, name: str, rows: Rows, examiner: Examiner) -> list[MetricResult]:
    """What a codec keeps of real values, and what can be read from its latents.

    The ceiling is a perfect copy, the floor the value of another row.
    """
    real = rows.decode(rows.only(name).batch(np.arange(len(rows))))[name]
    copies, latents = [], []
    for part in torch.arange(len(rows)).split(CHUNK):
        latent = model.codecs[name].encode(real.pick(part).to(model.device))
        copies.append(model.codecs[name].decode(latent).to("cpu"))
        latents.append(_pooled(latent).cpu())
    length = real.mask.shape[1]
    made = Field.stack([copy.trim(length).pad(length) for copy in copies])
    outcomes = _copied(name, rows, real, real.with_value(made.value), examiner)
    return outcomes + _latents(torch.cat(latents), rows)


def _copied(name: str, rows: Rows, real: Field, made: Field, examiner: Examiner) -> list[MetricResult]:
    modality, other = rows.fields[name], real.pick(torch.arange(len(real)).roll(1))
    pairs: list[tuple[str, Tensor, Tensor, float, bool]] = []
    if isinstance(modality, Image):
        pairs = [
            ("SSIM", ssim(real.value, made.value), ssim(real.value, other.value), 1.0, True),
            ("PSNR, dB", psnr(real.value, made.value), psnr(real.value, other.value), 100.0, True),
        ]
    elif isinstance(modality, Audio):
        sounds = [field.value.double() * LOG_MEL_SCALE + LOG_MEL_MEAN for field in (real, made, other)]
        both = real.mask & other.mask
        for metric, distance in (
            ("mel-cepstral distortion, dB", mel_cepstral_distortion),
            ("log-spectral distance, dB", log_spectral_distance),
        ):
            ours, chance = distance(sounds[0], sounds[1], real.mask), distance(sounds[0], sounds[2], both)
            pairs.append((metric, ours, chance, 0.0, False))
    if examiner.judge and name in examiner.judge.modalities:
        seen = [examiner.judge.embed(name, field) for field in (real, made, other)]
        far = perceptual_distance(seen[0], seen[2])
        pairs.append(("perceptual distance (judge's features)", perceptual_distance(seen[0], seen[1]), far, 0.0, False))
    every = np.arange(len(real))
    return [
        MetricResult(
            metric, every, ours.numpy(), None, ceiling, float(chance.mean()), {}, False, higher, "reconstruction"
        )
        for metric, ours, chance, ceiling, higher in pairs
    ]  # fmt: skip


def _latents(latents: Tensor, rows: Rows) -> list[MetricResult]:
    outcomes, every = [], np.arange(len(rows))
    if len(rows) > 1:
        share = active_units(latents) / latents.shape[1]
        empty = np.zeros(0)
        outcomes.append(
            MetricResult(
                "active units, share", every, empty, empty, 1.0, 0.0, {}, False, True, "reconstruction",
                (share, share, share),
            )
        )  # fmt: skip
    for name, modality in rows.fields.items():
        if not isinstance(modality, Label) or name not in rows.columns:
            continue
        there = np.flatnonzero(rows.present[name])[:PROBED]
        classes = rows.columns[name].slots[there]
        right = linear_probe(latents[torch.from_numpy(there)].numpy(), classes) if len(there) >= 12 else None
        if right is not None:
            chance = float(np.bincount(classes).max() / len(classes))
            outcomes.append(
                MetricResult(f"linear probe of {name}", there, right, None, 1.0, chance, aspect="reconstruction")
            )
    return outcomes


def _pooled(latent: Field) -> Tensor:
    """(n, F): continuous codes averaged down to at most a few hundred numbers, discrete ones as they are."""
    if not latent.value.is_floating_point():
        return latent.value.double()
    value = latent.value
    if latent.varies is not None:  # the mean over the axis that varies
        real, axis = latent.real, 1 + latent.varies
        return ((value * real).sum(axis) / real.sum(axis).clamp(min=1)).flatten(1).double()
    while value.dim() == 4 and value[0].numel() > 512 and min(value.shape[2:]) > 1:
        value = torch.nn.functional.avg_pool2d(value, 2)
    return value.flatten(1).double()
