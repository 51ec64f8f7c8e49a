"""Attributions drawn on what they are of: text, pictures, sound."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup
from PIL import Image as PILImage
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from polymodal.evaluation.explanation.attention import spread
from polymodal.evaluation.explanation.attribution import Explanation, pieces
from polymodal.evaluation.report.page import Card, Section, command_line, data_address, write_page
from polymodal.generation import write
from polymodal.model import Model
from polymodal.types import Field

_FOR, _AGAINST = (47, 111, 159), (179, 65, 46)
"""Colours of what speaks for the output and against it."""
_CELLS = 16
"""ScoredCells of a heat map along a side; single pixels are noise."""
_SIDE = 192
"""Pixels of a drawn picture."""
_INTRODUCTION = "What each input has to do with the output. Blue speaks for it, red against it; the stronger, the more."
_SHARES = (
    "Shapley values: what a field adds to what the others tell of the output, averaged over every order in which they "
    "could be given. They sum to the worth of all inputs less that of none. Worth is "
)
_UNITS = {
    "nearness": "how near a subset's output lies to that of all inputs, from the same noise (less the root mean square "
    "difference, or the share of ids that differ).",
    "log-likelihood, nats": "the log-likelihood, in nats, of the output of all inputs given a subset of them.",
}
_PARTS = (
    "Integrated gradients of the head's loss of the output, from a baseline (grey, mean loudness, no words) "
    "to the inputs. Numbers are how much an input lowers the loss; all inputs together lower it by {:.3g}, "
    "from which the sum differs by the error of the steps."
)


_LOOKS = (
    "The share of the head's attention that each token of the inputs gets while it explains the output, averaged over "
    "its layers; {:.0%} goes to a token that belongs to no field. Tokens have seen each other before, so that this is "
    "where the head looks, not why."
)


def write_explanation(model: Model, explanation: Explanation, path: str | Path, *, command: str | None = None) -> Path:
    """Writes an explanation as one page.

    Args:
        model: That it is of.
        explanation: As ``explain`` gave it.
        path: Of the HTML file.
        command: That made it; this process's command line if not given.
    """
    values = {name: write(model.modalities[name], field)[0] for name, field in explanation.given.items()}
    subsets = {
        " + ".join(name for name in explanation.given if name in chosen): worth - explanation.worth[frozenset()]
        for chosen, worth in explanation.worth.items()
        if chosen
    }
    parts = {name: draw(model, name, explanation.given[name], part) for name, part in explanation.parts.items()}
    sections = [
        Section("The output", cards=[Card(values, {explanation.to: explanation.made})]),
        Section(
            "Which field",
            _SHARES + _UNITS[explanation.unit],
            drawings={
                "Shapley values": bars(explanation.shapley),
                "worth of each subset beyond nothing": bars(subsets),
            },
        ),
        Section("Which part of it", _PARTS.format(explanation.gain), drawings=parts),
    ]
    if explanation.attention:
        rest = 1 - sum(float(shares.sum()) for shares in explanation.attention.values())
        looks = {name: _looks(model, name, explanation.given[name], own) for name, own in explanation.attention.items()}
        sections.append(Section("Where the head looks", _LOOKS.format(rest), drawings=looks))
    facts = {"command": command or command_line()}
    title = f"{' + '.join(explanation.given)} → {explanation.to}"
    return write_page(path, title, sections, introduction=_INTRODUCTION, facts=facts)


def draw(model: Model, name: str, field: Field, part: Tensor) -> Markup:
    """The attributions (L,) or (channels, *grid) of one row of a field, drawn on its value."""
    total = Markup("<small>{:+.3g} in all</small>").format(float(part.sum()))
    if not field.value.is_floating_point():
        return _text([(text, float(part[places].sum())) for text, places in pieces(model, name, field)]) + total
    if part.dim() == 3:
        value = write(model.modalities[name], field)[0]
        if isinstance(value, PILImage.Image):
            return _picture(value, part.sum(0)) + total
    if part.dim() == 2:
        return _bands(field.value[0], part) + total
    numbers = zip(field.value[0].flatten().tolist(), part.flatten().tolist(), strict=True)
    return _text([(f"{number:.3g} ", share) for number, share in numbers]) + total


def _looks(model: Model, name: str, field: Field, shares: Tensor) -> Markup:
    """The attention to the tokens of one row of a field, drawn on its value where they lie on it."""
    part = spread(shares, field, model.modalities[name].space) if len(shares) > 1 else None
    return bars({name: float(shares.sum())}) if part is None else draw(model, name, field, part)


def bars(values: Mapping[str, float]) -> Markup:
    """Numbers by name as bars from zero, to the right if positive."""
    largest = max((abs(value) for value in values.values()), default=0.0) or 1.0
    lines = [
        Markup(
            '<div style="margin: .35rem 0">{} <b style="float: right">{:+.3g}</b>'
            '<span class="bar"><i style="left: {:.1f}%; width: {:.1f}%; background: rgb({} {} {})"></i></span></div>'
        ).format(
            name,
            value,
            50 + min(0.0, 50 * value / largest),
            50 * abs(value) / largest,
            *(_FOR if value >= 0 else _AGAINST),
        )
        for name, value in values.items()
    ]
    return Markup("").join(lines)


def _text(told: Sequence[tuple[str, float]]) -> Markup:
    """Pieces of text, each on the colour of its share."""
    largest = max((abs(share) for _, share in told), default=0.0) or 1.0
    spans = [
        Markup(
            '<span title="{:+.3g}" style="white-space: pre-wrap; padding: .15em 0; background: rgb({} {} {} / {:.2f})">'
            "{}</span>"
        ).format(share, *(_FOR if share >= 0 else _AGAINST), 0.75 * abs(share) / largest, text or "⏎")
        for text, share in told
    ]
    return Markup('<span class="text" style="font-size: 1.3rem">{}</span>').format(Markup("").join(spans))


def _picture(picture: PILImage.Image, part: Tensor) -> Markup:
    """A picture in grey under a heat map (H, W)."""
    high, wide = part.shape
    cells = min(_CELLS, high), min(_CELLS, wide)
    coarse = adaptive_avg_pool2d(part[None, None].float(), cells)
    size = round(_SIDE * high / max(high, wide)), round(_SIDE * wide / max(high, wide))
    share = interpolate(coarse, size, mode="bilinear")[0, 0]
    strength = (share / share.abs().max().clamp(min=1e-12)).numpy()
    ground = picture.convert("L").convert("RGB").resize((size[1], size[0]), PILImage.Resampling.NEAREST)
    mixed = _mix(128 + (np.asarray(ground, np.float32) - 128) * 0.6 + 40, strength)
    both = picture.convert("RGB").resize((size[1], size[0]), PILImage.Resampling.NEAREST)
    return Markup('<span class="values">{}{}</span>').format(_image(both), _image(PILImage.fromarray(mixed)))


def _bands(value: Tensor, part: Tensor) -> Markup:
    """A spectrogram (bands, L), low bands below, under its attributions, and a bar for each of its frames."""
    level = (value - value.min()) / (value.max() - value.min()).clamp(min=1e-12)
    share = adaptive_avg_pool2d(part[None, None].float(), (min(_CELLS, part.shape[0]), part.shape[1]))
    share = interpolate(share, size=part.shape)[0, 0]
    strength = (share / share.abs().max().clamp(min=1e-12)).flip(0).numpy()
    ground = (255 - 160 * level.flip(0).numpy())[..., None].repeat(3, 2)
    image = PILImage.fromarray(_mix(ground, strength)).resize((2 * _SIDE, _SIDE // 2), PILImage.Resampling.NEAREST)
    frames = part.sum(0)
    strip = np.zeros((24, len(frames), 3), np.float32) + 255
    heights = (frames / frames.abs().max().clamp(min=1e-12)).numpy()
    for place, height in enumerate(heights):
        colour = _FOR if height >= 0 else _AGAINST
        strip[24 - max(1, round(24 * abs(float(height)))) :, place] = colour
    bar = PILImage.fromarray(strip.astype(np.uint8)).resize((2 * _SIDE, 32), PILImage.Resampling.NEAREST)
    return Markup("{}{}").format(_image(image), _image(bar))


def _mix(ground: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Colours laid over grey (H, W, 3), as strong as the shares (H, W) from -1 to 1."""
    colour = np.where(share[..., None] >= 0, np.array(_FOR, np.float32), np.array(_AGAINST, np.float32))
    weight = 0.85 * np.abs(share)[..., None]
    return np.clip(ground * (1 - weight) + colour * weight, 0, 255).astype(np.uint8)


def _image(picture: PILImage.Image) -> Markup:
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    style = "max-width: 100%; display: block; margin-bottom: .3rem; image-rendering: pixelated"
    return Markup('<img alt="" style="{}" src="{}">').format(style, data_address("image/png", file))
