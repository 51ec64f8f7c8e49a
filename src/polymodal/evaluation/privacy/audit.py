"""The audit of what a model gives away of the rows that it learned from, by membership inference and leakage."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from rich.table import Table

from polymodal.data import Rows
from polymodal.errors import ConfigError, DataError
from polymodal.evaluation.metrics import holm
from polymodal.evaluation.privacy.leakage import ALIKE, SURE, Leak, leakage
from polymodal.evaluation.privacy.matching import blind_scores, match
from polymodal.evaluation.privacy.membership import LOW_RATES, Attack, attack, membership_attacks
from polymodal.evaluation.report import Section, command_line, write_page
from polymodal.files import write_file
from polymodal.model import Model

FEWEST = 2 * ALIKE
"""Fewest training rows, and held-out rows, that can be compared."""
BLIND = "no model"
"""Name of the attack that knows the rows alone."""
_ROC_SIDE = 200
"""Pixels of a side of the drawing of an ROC curve."""


@dataclass(frozen=True)
class Audit:
    """How well a model was attacked.

    Attributes:
        attacks: On the membership of rows.
        leaks: From field to field.
        notes: What was left out, and why.
        facts: Numbers of rows and the seed.
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
        title = "Leakage (own value: 0.5 reveals nothing; others': 0.5 memorised nothing; p for all tests, Holm)"
        second = Table(
            "direction", "own value", "held out", "p", "others' values", "p", title=title, title_justify="left"
        )
        for leak in self.leaks:
            numbers = (leak.own, leak.own_held_out, leak.own_p, leak.others, leak.others_p)
            mark = " leaks" * leak.leaks
            second.add_row(f"{leak.given} → {leak.to}{mark}", *(f"{number:.3f}" for number in numbers))
        return [first, second]

    def save(self, path: str | Path) -> Path:
        """Writes all numbers as JSON."""
        path = Path(path)
        document = {
            "attacks": [asdict(one) for one in self.attacks],
            "leaks": [asdict(one) | {"leaks": one.leaks} for one in self.leaks],
            "notes": list(self.notes),
            "facts": dict(self.facts),
        }
        write_file(path, json.dumps(document, indent=1) + "\n")
        return path

    def write_page(self, path: str | Path, *, command: str | None = None) -> Path:
        """Writes a page with the ROC curve of each attack, on logarithmic axes, and the leaks."""
        curves = {f"{one.field}, {one.name}": _roc(one) for one in self.attacks}
        leaks = {f"{leak.given} → {leak.to}{', leaks' * leak.leaks}": _leak(leak) for leak in self.leaks}
        sections = [
            Section(
                "Membership inference",
                "How well the model's loss of a row predicts whether the row was learned from, by itself and less that "
                "of a reference; and how well the rows predict it without any model. Both axes are logarithmic: at the "
                "left end an attacker is hardly ever wrong. Dashed: guessing.",
                drawings=curves,
            ),
            Section(
                "From field to field",
                "Own value: how often what is generated from a row's input lies nearer to the row's own value than to "
                "that of a row with a similar input; a leak if that is more on training rows than on held-out rows. "
                "Others' values: how often what is generated from a held-out input lies nearer to a training value of "
                "a similar input than to a held-out one; a leak above 0.5. p is the probability of as much if it did "
                f"not matter which rows were learned from (rows are shuffled), corrected for all {2 * len(self.leaks)} "
                f"tests (Holm): below {SURE} it is called a leak.",
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
    progress: Callable[[int, int, str], None] | None = None,
) -> Audit:
    """Attacks a model.

    Args:
        model: In evaluation mode.
        members: Rows that it learned from.
        others: Rows of the same distribution that it did not learn from.
        reference: Another model of the same fields, which learned from neither.
        n_rows: Most training rows, and most held-out rows.
        draws: Number of noises over which a loss is averaged.
        seed: Seed of the choice of rows and of all noise.
        options: Sampling options of the heads, by field.
        progress: Called before each attack with its number from 0, the count of all and its name.

    Raises:
        ConfigError: The reference is of other fields.
        DataError: There are too few rows.
    """
    if reference is not None:
        for name, modality in model.modalities.items():
            other = reference.modalities.get(name)
            if other is None or other.space != modality.space:
                raise ConfigError(f"reference: its field '{name}' is not the model's; train it on fields of one kind")
    for what, rows in (("training", members), ("held-out", others)):
        if len(rows) < FEWEST:
            raise DataError(f"audit: there are {len(rows)} {what} rows; {FEWEST} or more can be told apart")
    attacks, leaks, notes = [], [], []
    same_members, same_others, matched = match(members, others, seed=seed)
    if min(len(same_members), len(same_others)) >= FEWEST and matched:
        members, others = same_members, same_others
        notes.append(f"Training and held-out rows have the same numbers of each {' and '.join(matched)}.")
    count = sum(1 + sum(given != to for given in model.encoders) for to in model.heads)
    steps = itertools.count()

    def tell(name: str) -> None:
        if progress:
            progress(next(steps), count, name)

    for to in model.heads:
        tell(f"membership by {to}")
        first, second = (_some(rows, [to], n_rows, seed) for rows in (members, others))
        if min(len(first), len(second)) < FEWEST:
            notes.append(f"{to}: fewer than {FEWEST} rows of either kind have it.")
            continue
        if model.heads[to].players == ("model",):
            attacks += membership_attacks(model, first, second, to, reference=reference, draws=draws, seed=seed)
            blind = attack(to, BLIND, *blind_scores(first, second, seed=seed), seed=seed)
            attacks.append(blind)
            if blind.low > 0.5:
                notes.append(
                    f"{to}: training and held-out rows differ in distribution: without any model they are told apart "
                    f"with an AUC of {blind.auc:.2f}. Attacks that find no more are no proof of memory."
                )
        else:
            notes.append(f"{to}: no membership attack, as the loss of its head is not of the row's own value.")
        for given in model.encoders:
            if given == to:
                continue
            tell(f"{given} → {to}")
            first, second = (_some(rows, [given, to], n_rows, seed) for rows in (members, others))
            if min(len(first), len(second)) >= FEWEST:
                leaks.append(leakage(model, first, second, given, to, seed=seed, options=options))
    facts = {"training rows": len(members), "held-out rows": len(others), "rows of an attack": n_rows, "seed": seed}
    return Audit(attacks, _corrected(leaks), notes, facts)


def _corrected(leaks: Sequence[Leak]) -> list[Leak]:
    """Leaks with probabilities corrected for the number of all tests: many directions are many chances to err."""
    if not leaks:
        return []
    corrected = holm(np.array([p for leak in leaks for p in (leak.own_p, leak.others_p)])).reshape(-1, 2).tolist()
    return [replace(leak, own_p=own, others_p=others) for leak, (own, others) in zip(leaks, corrected, strict=True)]


def _some(rows: Rows, names: Sequence[str], most: int, seed: int) -> Rows:
    """Rows that have these fields, drawn at random if there are more."""
    complete = np.flatnonzero(np.logical_and.reduce([rows.columns[name].present for name in names]))
    return rows.select(np.sort(np.random.default_rng(seed).permutation(complete)[:most]))


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
    ).format(leak.own, leak.own_held_out, leak.own_p, leak.others, leak.others_p)
