"""The page of an explanation: attributions drawn on the values that they are of."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup
from torch import Tensor

from polymodal.evaluation.explanation.attention import spread
from polymodal.evaluation.explanation.attribution import Explanation
from polymodal.evaluation.kinds import find_kind
from polymodal.evaluation.kinds.drawing import bars
from polymodal.evaluation.report import Card, Section, command_line, write_page
from polymodal.generation import write
from polymodal.model import Model
from polymodal.types import Field

_INTRODUCTION = "What each input has to do with the output. Blue speaks for it, red against it; the stronger, the more."
_SHARES = (
    "Shapley values: what a field adds to what the others reveal of the output, averaged over every order in which "
    "they could be given. They sum to the worth of all inputs less that of none. Worth is "
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
_ATTENTION = (
    "The share of the head's attention that each token of the inputs gets while it explains the output, averaged over "
    "its layers; {:.0%} goes to a token that belongs to no field. Tokens have exchanged information before, so that "
    "this is where the head looks, not why."
)


def write_explanation(model: Model, explanation: Explanation, path: str | Path, *, command: str | None = None) -> Path:
    """Writes an explanation as one page.

    Args:
        model: The model that is explained.
        explanation: What ``explain`` gave.
        path: Path of the HTML file.
        command: That made the page; by default the command line of this process.
    """
    given, fields = explanation.given, model.modalities
    values = {name: fields[name].preview(write(fields[name], field)[0]) for name, field in given.items()}
    subsets = {
        " + ".join(name for name in given if name in chosen): worth - explanation.worth[frozenset()]
        for chosen, worth in explanation.worth.items()
        if chosen
    }
    made = {explanation.to: fields[explanation.to].preview(explanation.made)}
    sections = [
        Section("The output", cards=[Card(values, made)]),
        Section(
            "Which field",
            _SHARES + _UNITS[explanation.unit],
            drawings={
                "Shapley values": bars(explanation.shapley),
                "worth of each subset beyond nothing": bars(subsets),
            },
        ),
        Section(
            "Which part of it",
            _PARTS.format(explanation.gain),
            drawings={name: _draw(model, name, given[name], part) for name, part in explanation.parts.items()},
        ),
    ]
    if explanation.attention:
        rest = 1 - sum(float(shares.sum()) for shares in explanation.attention.values())
        drawn = {n: _draw_attention(model, n, given[n], shares) for n, shares in explanation.attention.items()}
        sections.append(Section("Where the head looks", _ATTENTION.format(rest), drawings=drawn))
    facts = {"command": command or command_line()}
    return write_page(
        path, f"{' + '.join(given)} → {explanation.to}", sections, introduction=_INTRODUCTION, facts=facts
    )


def _draw(model: Model, name: str, field: Field, part: Tensor) -> Markup:
    """The attributions of one row of a field, (L,) or of the shape of the value, drawn on its value."""
    total = Markup("<small>{:+.3g} in all</small>").format(float(part.sum()))
    return find_kind(model.modalities[name]).draw(field, part) + total


def _draw_attention(model: Model, name: str, field: Field, shares: Tensor) -> Markup:
    """The attention to the tokens of one row of a field, drawn on its value where they lie on it."""
    part = spread(shares, field, model.modalities[name].space) if len(shares) > 1 else None
    return bars({name: float(shares.sum())}) if part is None else _draw(model, name, field, part)
