"""What a model gives away of the rows that it learned from: membership inference, and leakage between fields."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from markupsafe import Markup
from rich.table import Table
from torch import Tensor

from polymodal.data import Rows
from polymodal.errors import ConfigError, DataError
from polymodal.evaluation.head_loss import head_loss
from polymodal.evaluation.privacy.membership import LOW_RATES, Attack, attack
from polymodal.evaluation.report.page import Section, command_line, write_page
from polymodal.files import write_file
from polymodal.generation import CHUNK, generate_rows
from polymodal.model import Model
from polymodal.nn.random import make_keys
from polymodal.types import Field, Space

ALIKE = 8
"""Rows of the most similar input with which a row is compared."""
FEWEST = 2 * ALIKE
"""Rows of either kind below which nothing is said."""
_DEVIATIONS = 2.576
"""Of a 99 % interval: there are many directions, and each is a chance to err."""
_ROC_SIDE = 200


@dataclass(frozen=True)
class Leak:
    """Whether what is generated from one field gives training values of another back.

    Attributes:
        given: The input.
        to: The output.
        own: Share of the training rows alike in input whose value lies further from the output than the row's own,
            averaged over training rows; 0.5 where the row cannot be told.
        own_held_out: The same of held-out rows: what a model that has seen none of them reaches.
        margin: Half the width of the 99 % interval of the difference of the two.
        others: Share of held-out inputs whose output lies nearer to one of the training values alike in input than to
            any of as many held-out values; 0.5 if nothing is memorised.
        others_margin: Half the width of its 99 % interval.
        rows: Of either kind.
    """

    given: str
    to: str
    own: float
    own_held_out: float
    margin: float
    others: float
    others_margin: float
    rows: int

    @property
    def leaks(self) -> bool:
        """Whether either measure is beyond chance."""
        return self.own - self.own_held_out > self.margin or self.others - 0.5 > self.others_margin


@dataclass(frozen=True)
class Audit:
    """What attacks reached.

    Attributes:
        attacks: On the membership of rows.
        leaks: From field to field.
        notes: What was left out, and why.
        facts: Numbers of rows, seed, ...
    """

    attacks: Sequence[Attack]
    leaks: Sequence[Leak]
    notes: Sequence[str]
    facts: Mapping[str, Any]

    def tables(self) -> list[Table]:
        """The attacks and the leaks, to be printed."""
        names = ("field", "attack", "AUC", "95 %", *(f"TPR at {rate:.1%}" for rate in LOW_RATES))
        first = Table(*names, title="Membership inference; TPR at false-positive rates", title_justify="left")
        for one in self.attacks:
            rates = (f"{rate:.3f}" for rate in one.true_positive_rates)
            interval = f"{one.low:.2f}–{one.high:.2f}"
            first.add_row(one.field, one.name, f"{one.auc:.3f}", interval, *rates)
        title = "Leakage (own value: 0.5 tells nothing; others': 0.5 memorised nothing)"
        second = Table(
            "direction", "own value", "held out", "±", "others' values", "±", title=title, title_justify="left"
        )
        for leak in self.leaks:
            numbers = (leak.own, leak.own_held_out, leak.margin, leak.others, leak.others_margin)
            mark = " leaks" * leak.leaks
            second.add_row(f"{leak.given} → {leak.to}{mark}", *(f"{number:.3f}" for number in numbers))
        return [first, second]

    def save(self, path: str | Path) -> Path:
        """Writes all numbers as JSON."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        document = {
            "attacks": [asdict(one) for one in self.attacks],
            "leaks": [asdict(one) | {"leaks": one.leaks} for one in self.leaks],
            "notes": list(self.notes),
            "facts": dict(self.facts),
        }
        write_file(path, json.dumps(document, indent=1) + "\n")
        return path

    def write_page(self, path: str | Path, *, command: str | None = None) -> Path:
        """Writes it as one page: an ROC curve for each attack, on logarithmic axes, and the leaks."""
        curves = {f"{one.field}, {one.name}": _roc(one) for one in self.attacks}
        leaks = {f"{leak.given} → {leak.to}{', leaks' * leak.leaks}": _leak(leak) for leak in self.leaks}
        sections = [
            Section(
                "Membership inference",
                "How well the model's loss of a row tells whether it was learned from, alone and against a reference. "
                "Both axes are logarithmic: the left end is where an attacker is almost never wrong. Dashed: guessing.",
                drawings=curves,
            ),
            Section(
                "From field to field",
                "Own value: how often what is generated from a row's input lies nearer to the row's own value than to "
                "that of a row with a similar input; a leak if that is more on training rows than on held-out rows. "
                "Others' values: how often what is generated from a held-out input lies nearer to a training value of "
                "a similar input than to a held-out one; a leak above 0.5.",
                drawings=leaks,
            ),
        ]
        facts = {"command": command or command_line(), **self.facts}
        return write_page(path, "Privacy", sections, introduction=" ".join(self.notes), facts=facts)


def audit(
    model: Model,
    members: Rows,
    others: Rows,
    *,
    reference: Model | None = None,
    n_rows: int = 200,
    draws: int = 4,
    seed: int = 0,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> Audit:
    """Attacks a model.

    Args:
        model: In evaluation mode.
        members: Rows that it learned from.
        others: Rows of the same kind that it did not.
        reference: Another model of the same fields, which learned from neither.
        n_rows: Most rows of either kind.
        draws: Noises over which a loss is averaged.
        seed: Of the choice of rows and of all noise.
        options: Of the heads, by field.

    Raises:
        ConfigError: The reference is of other fields.
        DataError: There are too few rows.
    """
    if reference is not None:
        for name, modality in model.modalities.items():
            there = reference.modalities.get(name)
            if there is None or there.space != modality.space:
                raise ConfigError(f"reference: its field '{name}' is not the model's; train it on fields of one kind")
    for what, rows in (("training", members), ("held-out", others)):
        if len(rows) < FEWEST:
            raise DataError(f"audit: there are {len(rows)} {what} rows; {FEWEST} or more can be told apart")
    attacks, leaks, notes = [], [], []
    for to in model.heads:
        first, second = (_some(rows, [to], n_rows, seed) for rows in (members, others))
        if min(len(first), len(second)) < FEWEST:
            notes.append(f"{to}: fewer than {FEWEST} rows of either kind have it.")
            continue
        if model.heads[to].players == ("model",):
            attacks += membership_attacks(model, first, second, to, reference=reference, draws=draws, seed=seed)
        else:
            notes.append(f"{to}: no membership attack, as the loss of its head is not of the row's own value.")
        for given in model.encoders:
            if given == to:
                continue
            first, second = (_some(rows, [given, to], n_rows, seed) for rows in (members, others))
            if min(len(first), len(second)) >= FEWEST:
                leaks.append(leakage(model, first, second, given, to, seed=seed, options=options))
    facts = {"training rows": len(members), "held-out rows": len(others), "rows of an attack": n_rows, "seed": seed}
    return Audit(attacks, leaks, notes, facts)


def membership_attacks(
    model: Model,
    members: Rows,
    others: Rows,
    to: str,
    *,
    reference: Model | None = None,
    draws: int = 4,
    seed: int = 0,
) -> list[Attack]:
    """The loss attack and the likelihood-ratio attack on one field, all other fields of a row given.

    The ratio's reference says how hard a row is anyway: the loss of another model, if there is one; otherwise the
    model's own where nothing is given, so that it attacks the pairing of the fields.

    Source: Yeom et al., "Privacy risk in machine learning", 2018 (the loss); Watson et al., "On the importance of
    difficulty calibration in membership inference attacks", 2022 (the ratio).
    """
    every = [name for name in model.encoders if name != to]
    losses = [row_losses(model, rows, every, to, draws=draws, seed=seed) for rows in (members, others)]
    other = reference or model
    easy = [
        row_losses(other, rows, every if reference else [], to, draws=draws, seed=seed) for rows in (members, others)
    ]
    ratios = [hard - loss for loss, hard in zip(losses, easy, strict=True)]
    name = f"ratio to {'the reference' if reference else 'nothing given'}"
    return [
        attack(to, "loss", -losses[0], -losses[1], seed=seed),
        attack(to, name, ratios[0], ratios[1], seed=seed),
    ]


@torch.no_grad()
def row_losses(model: Model, rows: Rows, given: Sequence[str], to: str, *, draws: int = 4, seed: int = 0) -> np.ndarray:
    """(n,) a field's loss in each row, averaged over noises, given those of some fields that the row has."""
    rows = rows.only(*given, to)
    keys, found = make_keys(seed, draws), []
    for part in torch.arange(len(rows)).split(CHUNK):
        batch = {name: field.to(model.device) for name, field in rows.decode(rows.batch(part)).items()}
        total = torch.zeros(len(part), dtype=torch.float64)
        for key in keys.to(model.device):
            own = key.expand(len(part))  # the same noise for all, which makes their losses easier to compare
            visible = {name: batch[name].present.cpu() for name in given}
            total += head_loss(model.condition(batch, visible, own), batch, to).cpu()
        found.append(total / draws)
    return torch.cat(found).numpy()


def leakage(
    model: Model,
    members: Rows,
    others: Rows,
    given: str,
    to: str,
    *,
    seed: int = 0,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> Leak:
    """Whether what is generated from one field gives back training values of another; see ``Leak``.

    Inputs are alike by the mean token of the model's own encoder; outputs are near in the values themselves.
    Both kinds of rows are cut to one number, so that they differ in nothing but having been learned from.

    Args:
        model: Any.
        members: Rows that it learned from, which have both fields.
        others: Rows that it did not, which have both.
        given: The input.
        to: The output.
        seed: Of the noise.
        options: Of the head, by field.
    """
    n = min(len(members), len(others))
    pair = [rows.select(np.arange(n)).only(given, to) for rows in (members, others)]
    batches = [rows.decode(rows.batch(np.arange(n))) for rows in pair]
    inputs = [_features(model, given, batch[given]) for batch in batches]
    everywhere = torch.ones(n, dtype=torch.bool)
    space = model.modalities[to].space
    made = [
        generate_rows(
            model,
            {given: batch[given]},
            {given: everywhere},
            {to: everywhere},
            make_keys(seed, n, start=i * n),
            options,
        )[to]
        for i, batch in enumerate(batches)
    ]
    shares, doubt = [], 0.0
    for rows, batch, feature, output in zip(pair, batches, inputs, made, strict=True):
        slots = torch.from_numpy(rows.columns[to].slots)
        apart = torch.cdist(feature, feature).masked_fill(slots[:, None] == slots, torch.inf)
        near = apart.topk(min(ALIKE, n - 1), largest=False)
        away = distances_between(output, batch[to], space)
        own, of_others = away.diagonal()[:, None], away.gather(1, near.indices)
        real = near.values.isfinite()
        wins = (of_others > own).double() + 0.5 * (of_others == own)
        told = real.any(1)
        shares.append(((wins * real).sum(1) / real.sum(1))[told].numpy())
        doubt += variance_of_mean(shares[-1], rows.columns[given].slots[told.numpy()])
    margin = _DEVIATIONS * doubt**0.5

    held_out, output = batches[1], made[1]
    least = []
    for batch, feature in zip(batches, inputs, strict=True):
        apart = torch.cdist(inputs[1], feature)
        if batch is held_out:
            apart.fill_diagonal_(torch.inf)
        places = apart.topk(min(ALIKE, n - 1), largest=False).indices
        least.append(distances_between(output, batch[to], space).gather(1, places).amin(1))
    nearer = ((least[0] < least[1]).double() + 0.5 * (least[0] == least[1])).numpy()
    own_share, held_share = (float(share.mean()) if len(share) else 0.5 for share in shares)
    return Leak(
        given,
        to,
        own_share,
        held_share,
        margin,
        float(nearer.mean()),
        _DEVIATIONS * variance_of_mean(nearer, pair[1].columns[given].slots) ** 0.5,
        n,
    )


def distances_between(first: Field, second: Field, space: Space) -> Tensor:
    """(n, m) Euclidean distances of values, or numbers of differing ids, padded to the longest there can be."""

    def flat(field: Field) -> Tensor:
        return field.with_value(field.value).pad(space.max_length).value.flatten(1)

    x, y = flat(first), flat(second)
    return torch.cdist(x.double(), y.double(), p=0.0 if space.kind == "discrete" else 2.0)


def variance_of_mean(values: np.ndarray, groups: np.ndarray) -> float:
    """The variance of a mean, where the values of a group (rows of one input) depend on each other.

    Args:
        values: (n,), shares from 0 to 1.
        groups: (n,) any number for each group; if all differ, this is the sample variance over n.

    Source: Liang and Zeger, "Longitudinal data analysis using generalized linear models", 1986, equation 2.
    """
    kinds, places = np.unique(groups, return_inverse=True)
    if len(kinds) < 2:
        return 0.25  # one group tells nothing: the most that a share can vary
    sums = np.bincount(places, values - values.mean())
    return float(len(kinds) / (len(kinds) - 1) * (sums**2).sum() / len(values) ** 2)


@torch.no_grad()
def _features(model: Model, name: str, field: Field) -> Tensor:
    """(n, D) the mean token of each row."""
    parts = torch.arange(len(field)).split(CHUNK)
    pieces = [{name: field.pick(part).to(model.device)} for part in parts]
    return torch.cat([model.tokens(name, piece).mean.cpu() for piece in pieces]).double()


def _some(rows: Rows, names: Sequence[str], most: int, seed: int) -> Rows:
    """Rows that have these fields, drawn at random if there are more."""
    there = np.flatnonzero(np.logical_and.reduce([rows.columns[name].present for name in names]))
    return rows.select(np.sort(np.random.default_rng(seed).permutation(there)[:most]))


def _roc(one: Attack) -> Markup:
    """A curve on logarithmic axes, from 0.1 % to all."""

    def place(rate: float) -> float:
        return _ROC_SIDE * (max(np.log10(max(rate, 1e-9)), -3) + 3) / 3

    points = "L".join(f"{place(x):.1f} {_ROC_SIDE - place(y):.1f}" for x, y in one.curve)
    return Markup(
        '<svg viewBox="0 0 {0} {0}" style="height: 12rem" role="img" aria-label="ROC curve">'
        '<path class="dashed" d="M0 {0}L{0} 0"/><path d="M{1}"/></svg>'
        "<small>AUC {2:.3f} ({3:.3f} – {4:.3f}); finds {5:.1%} at 0.1 % and {6:.1%} at 1 % false alarms</small>"
    ).format(_ROC_SIDE, Markup(points), one.auc, one.low, one.high, *one.true_positive_rates)


def _leak(leak: Leak) -> Markup:
    return Markup(
        "<small>own value {:.3f}, held out {:.3f} (± {:.3f}); others’ values {:.3f} (± {:.3f})</small>"
    ).format(leak.own, leak.own_held_out, leak.margin, leak.others, leak.others_margin)
