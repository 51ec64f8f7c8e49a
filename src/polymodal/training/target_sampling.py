"""How often each row is drawn and each field is a target: as they come, or more often where there is more to gain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from polymodal.balancing import Seen
from polymodal.nn.random import fold, uniform
from polymodal.types import Task

TEMPER = 0.5
"""Of scarcity: a field that n rows have is a target as often as n ** TEMPER says. 1 would leave the rare ones rare, 0
would see them as often as any other and again and again."""
SINGLE = 0.25
"""Of pairs: how often a row of one field is drawn, beside a row of two."""
LEAST = 0.25
"""Of progress: odds of a field in which nothing moves. Source: the share of even choice in Graves et al. 2017, 3.1."""
FAST, SLOW = 0.5, 0.1
"""Of progress: share of what was seen last in the two running means of a loss, a look."""


class TargetSampler:
    """Odds of the fields as targets, in (0, 1], the largest 1: a field is a target odds x its rows times.

    Args:
        presence: By field that is generated, the share of rows that have it.

    Attributes:
        state: By name, all that changes while it learns: ``odds``, those ``before``, and ``since``, the first step for
            which the new ones hold. The rows of a step are fetched while the one before runs, so that what a step
            teaches can hold only for the second step after it.
    """

    def __init__(self, presence: Mapping[str, float]):
        self.state: dict[str, Any] = {"odds": dict.fromkeys(presence, 1.0), "before": {}, "since": 0}

    def odds(self, step: int) -> Mapping[str, float]:
        """By field, for the rows of a step."""
        state = self.state
        return state["odds"] if step >= state["since"] else state["before"]

    def weights(self, present: Mapping[str, Tensor], odds: Mapping[str, float]) -> Tensor:
        """(n,) how often each row is drawn, given its fields ``present`` (n,) and the odds of the step."""
        return row_weights(present, odds)

    def update(self, seen: Seen) -> None:
        """Draws conclusions from what was seen since the last look."""


class Pairs(TargetSampler):
    """Rows in which fields meet are drawn more often: only they teach how one field tells another.

    A row is drawn as often as it has pairs of fields; a row of one field teaches that field alone, and is drawn
    ``SINGLE`` times as often as a row of two. Where cells are missing at random most rows have few, and what is learned
    of them would crowd out the rest.

    Args:
        presence: By field that is generated, the share of rows that have it.
    """

    def weights(self, present: Mapping[str, Tensor], odds: Mapping[str, float]) -> Tensor:
        fields = torch.stack([there for name, there in present.items() if "." not in name]).sum(0)  # no cached latents
        return torch.where(fields == 1, SINGLE, fields * (fields - 1) / 2).double()


class Scarcity(TargetSampler):
    """What few rows have is drawn more often than they come, and what all have less often.

    Source: the tempered odds of languages in Devlin et al., multilingual BERT, 2018, and Conneau and Lample, "Cross-
    lingual language model pretraining", 2019, section 3.1.

    Args:
        presence: By field that is generated, the share of rows that have it.
    """

    def __init__(self, presence: Mapping[str, float]):
        super().__init__(presence)
        there = [share for share in presence.values() if share > 0]
        rarest = min(there, default=1.0)
        self.state["odds"] = {
            name: (rarest / share) ** (1 - TEMPER) if share > 0 else 1.0 for name, share in presence.items()
        }


class Progress(TargetSampler):
    """What is being learned now is drawn more often than what is known, or is beyond reach.

    Progress is how far a fast and a slow running mean of a loss lie apart, beside the loss itself. A loss that rises,
    as of what is being forgotten, counts as well.

    Source: the prediction gains of Graves et al., "Automated curriculum learning for neural networks", 2017; the
    absolute slope in place of their bandit: Matiisen et al., "Teacher-student curriculum learning", 2017, section 3.

    Args:
        presence: By field that is generated, the share of rows that have it.
    """

    def update(self, seen: Seen) -> None:
        old = self.state
        fast, slow, first = (dict(old.get(name, {})) for name in ("fast", "slow", "first"))
        for name, loss in seen.of_fields().items():
            first.setdefault(name, loss)
            # In this form the first loss leaves both as they are, exactly: no rounding error is taken for a gain.
            fast[name] = (was := fast.get(name, loss)) + FAST * (loss - was)
            slow[name] = (was := slow.get(name, loss)) + SLOW * (loss - was)
        # A loss near 0, which it may cross, is no measure of itself.
        gains = {n: abs(slow[n] - fast[n]) / max(abs(slow[n]), 0.1 * abs(first[n]), 1e-8) for n in fast}
        most = max(gains.values(), default=0.0)
        odds = {n: LEAST + (1 - LEAST) * (gains[n] / most) if most > 0 and n in gains else 1.0 for n in old["odds"]}
        # One assignment: the loader reads it from another thread.
        self.state = {"odds": odds, "before": old["odds"], "since": seen.step + 1} | {
            "fast": fast, "slow": slow, "first": first,
        }  # fmt: skip


TARGET_SAMPLERS: dict[str, type[TargetSampler]] = {"pairs": Pairs, "progress": Progress, "scarcity": Scarcity}
"""Those that depart from the rows as they come (``fixed``)."""


def row_weights(present: Mapping[str, Tensor], odds: Mapping[str, float]) -> Tensor:
    """(n,) how often each row is drawn: as often as the target of the largest odds that it has."""
    weights = torch.stack([present[name] * value for name, value in odds.items()]).amax(0)
    return weights.clamp(min=min(odds.values())).double()  # rows without a target teach the alignment


def thinned(task: Task, odds: Mapping[str, float], keys: Tensor) -> Task:
    """The task with fewer targets: each stays with its odds beside the largest ones in its row, so at least one does.

    Together with ``row_weights`` each field is a target in proportion to its odds x the rows that have it.
    """
    names = list(task.target)
    target = torch.stack([task.target[name] for name in names], dim=1)
    own = target * torch.tensor([odds.get(name, 1.0) for name in names])
    keep = uniform(fold(keys, 3), (len(names),)) * own.amax(1, keepdim=True) < own
    return Task(task.visible, dict(zip(names, (target & keep).unbind(1), strict=True)))
