"""The controller of an adversarial pair: it watches the critic, adjusts training within bounds, and logs why."""

import math

import torch
from torch import Tensor, nn

EVERY = 16
"""Moves of the critic between two looks. What is watched is summed on the device; a look is the only wait for it."""
WARM_UP = 16
"""Looks before samples may count as collapsed or as too easily recognised: at first they are all alike."""
PATIENCE = 4
"""Looks in a row before a remedy is tried, or given up for a stronger one."""
FADE_ROWS = 500_000
"""Rows in which the probability of augmentation goes from 0 to 1 at most. Source: Karras et al. 2020, section 3."""
CONFIDENT = 0.6
"""Sign statistic of the critic on real data above which it overfits them. Source: Karras et al. 2020, section 3."""
DEAD = 1e-6
"""Spread of the outputs, or of the gradient at the samples, below which a critic is dead."""
LOUD = 100.0
"""Spread of the outputs from which on every loss is saturated and nothing can be learned from the critic."""
OVERWHELMING = 0.995
"""Share of pairs (real, generated) that the critic orders rightly, from which on it is held back."""
WILD = 0.5
"""Excess of a critic's loss over that of outputs of 0, as a multiple of the latter, that means it learns too fast."""
NARROW, RECOVERED = 0.1, 0.3
"""Ratio of the spread of samples to that of real values in the critic's features: at a collapse, and at its end."""

BOUNDS = {"lr_scale": (0.02, 1.0), "strength": (0.5, 16.0), "noise": (0.0, 0.3)}
LEVELS = ("lr_scale", "strength", "noise", "augment")
COUNTS = ("moves", "looks", "loud", "narrow", "resets")
SUMS = ("rows", "real", "real squared", "made", "made squared", "sign", "ordered", "loss", "model rows", "gradient")


class GanController(nn.Module):
    """Watches one critic. Its whole state is in buffers, so that a run that is resumed goes on exactly.

    Each process sums its own observations; a look adds up those of all processes, so that all decide the same.

    Args:
        features: Width of the critic's features.
        blank: Loss of a critic whose outputs are all 0.
        augment: Greatest probability of augmentation; 0 for none.
    """

    levels: Tensor
    counts: Tensor
    sums: Tensor
    moments: Tensor

    def __init__(self, features: int, *, blank: float, augment: float = 0.0):
        super().__init__()
        self.blank = blank
        self.bounds = BOUNDS | {"augment": (0.0, augment)}
        self.register_buffer("levels", torch.tensor([1.0, 1.0, 0.0, 0.0]))
        self.register_buffer("counts", torch.zeros(len(COUNTS), dtype=torch.int64))
        self.register_buffer("sums", torch.zeros(len(SUMS)))
        self.register_buffer("moments", torch.zeros(2, 2, features))  # sums and squares of real and made features
        self._level: dict[str, float] = {}
        self._count: dict[str, int] = {}
        self._decisions: list[str] = []
        self.register_load_state_dict_post_hook(lambda module, _: module._level.clear())

    def level(self, name: str) -> float:
        """``lr_scale``, ``strength`` of the penalties, ``noise`` or probability of augmentation (``augment``) now."""
        self._remember()
        return self._level[name]

    def decisions(self) -> list[str]:
        """What it decided since the last call."""
        made, self._decisions = self._decisions, []
        return made

    @torch.no_grad()
    def watch(
        self,
        outputs: tuple[Tensor, Tensor],
        features: tuple[Tensor, Tensor],
        loss: Tensor,
        centre: bool,
        present: Tensor,
    ) -> None:
        """Adds one move of the critic.

        Args:
            outputs: (B,) on real values and on samples.
            features: (B, F) of both.
            loss: (B,) of the outputs.
            centre: The loss depends on differences of outputs only, so that the sign of an output on a real value is
                taken relative to the output on a sample.
            present: (B,) which rows count.
        """
        real, made = outputs
        ordered = (real > made).to(real.dtype)
        sign = 2 * ordered - 1 if centre else real.sign()
        terms = [torch.ones_like(real), real, real.square(), made, made.square(), sign, ordered, loss]
        there = present.to(real.dtype)
        seen = torch.stack(terms) @ there
        fine = seen.isfinite().all()  # else the step is skipped, and must leave no trace
        self.sums[:8] += seen.where(fine, 0)
        for number, each in enumerate(features):
            self.moments[number] += torch.stack([there @ each, there @ each.square()]).where(fine, 0)

    @torch.no_grad()
    def watch_gradient(self, gradient: Tensor, present: Tensor) -> None:
        """Adds the gradient (B, ...) with which the critic moves what is made, of a loss that is a mean over rows.

        Rows that are not ``present`` (B,) have none, and do not count.
        """
        total = gradient.flatten(1).norm(dim=1).sum() * len(gradient)
        fine = total.isfinite()
        self.sums[8] += present.sum().where(fine, 0)
        self.sums[9] += total.where(fine, 0)

    def move(self) -> bool:
        """Called before every move of the critic; now and then it looks and decides.

        Returns:
            Whether the critic is to be drawn anew.
        """
        self._remember()
        self._count["moves"] += 1
        self.counts[0] += 1
        return self._count["moves"] % EVERY == 0 and self._look()

    def _remember(self) -> None:
        if not self._level:
            self._level = dict(zip(LEVELS, self.levels.tolist(), strict=True))
            self._count = dict(zip(COUNTS, self.counts.tolist(), strict=True))

    @torch.no_grad()
    def _look(self) -> bool:
        seen = torch.cat([self.sums, self.moments.flatten()])
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(seen)
        sums, moments = seen[: len(SUMS)], seen[len(SUMS) :].view_as(self.moments) / seen[0].clamp(min=1)
        spreads = (moments[:, 1] - moments[:, 0].square()).clamp(min=0).sum(1).sqrt()
        values = torch.cat([sums, spreads]).tolist()
        self.sums.zero_()
        self.moments.zero_()
        named = dict(zip(SUMS, values, strict=False))
        if not named["rows"]:
            return False
        self._count["looks"] += 1
        reset = self._decide(named, *values[-2:])
        self.levels.copy_(torch.tensor([self._level[name] for name in LEVELS]))
        self.counts.copy_(torch.tensor([self._count[name] for name in COUNTS]))
        return reset

    def _decide(self, seen: dict[str, float], real_spread: float, made_spread: float) -> bool:
        rows, count = seen["rows"], self._count
        mean = (seen["real"] + seen["made"]) / (2 * rows)
        variance = (seen["real squared"] + seen["made squared"]) / (2 * rows) - mean**2
        spread = math.sqrt(max(variance, 0.0)) if math.isfinite(variance) else math.inf
        gradient = seen["gradient"] / seen["model rows"] if seen["model rows"] else math.inf
        if not math.isfinite(spread) or spread < DEAD * (1 + abs(mean)) or gradient < DEAD * DEAD:
            return self._reset(f"the critic is dead (outputs {mean:.3g} ± {spread:.2g}, gradient {gradient:.2g})")

        count["loud"] = count["loud"] + 1 if spread > LOUD else 0
        if count["loud"] > PATIENCE:
            return self._reset(f"the critic shouts (outputs ± {spread:.3g}) whatever is done")
        if count["loud"]:
            why = f"the critic shouts (outputs ± {spread:.3g})"
            self._set("lr_scale", 0.5 * self._level["lr_scale"], why)
            self._set("strength", 2 * self._level["strength"], why)

        width = made_spread / max(real_spread, 1e-12)
        count["narrow"] = count["narrow"] + 1 if width < NARROW and count["looks"] > WARM_UP else 0
        if count["narrow"] and count["narrow"] % PATIENCE == 0:
            why = f"what is made is all alike (its spread is {width:.2f} of the real one)"
            if count["narrow"] >= 3 * PATIENCE:
                return self._reset(why)
            self._set("noise", self._level["noise"] + 0.1, why)
            self._set("strength", 2 * self._level["strength"], why)

        ordered, excess = seen["ordered"] / rows, seen["loss"] / rows - self.blank
        if excess > WILD * (self.blank or spread):
            why = f"the critic learns too fast (its loss is {excess:.3g} above that of outputs of 0)"
            self._set("lr_scale", 0.5 * self._level["lr_scale"], why)
        elif ordered > OVERWHELMING and count["looks"] > WARM_UP:
            why = f"the critic is too sure (it orders {ordered:.1%} of the pairs rightly)"
            self._set("lr_scale", 0.8 * self._level["lr_scale"], why)
            self._set("strength", 1.25 * self._level["strength"], why)
        elif not count["loud"] and not count["narrow"]:
            why = f"all is well (it orders {ordered:.1%} of the pairs rightly, spread {width:.2f})"
            self._ease("lr_scale", 1.05 * self._level["lr_scale"], 1.0, why)
            if width > RECOVERED:
                self._ease("strength", self._level["strength"] / 1.1, 1.0, why)
                self._ease("noise", 0.8 * self._level["noise"], 0.0, why)
        self._walk(seen["sign"] / rows, rows)
        return False

    def _ease(self, name: str, value: float, normal: float, why: str) -> None:
        """A small step back to normal; a line in the log only when that is reached."""
        if self._level[name] == normal:
            return
        if abs(value - normal) < 0.05 or (value - normal) * (self._level[name] - normal) < 0:
            self._set(name, normal, why)
        else:
            self._level[name] = value

    def _walk(self, sign: float, rows: float) -> None:
        """The probability of augmentation goes up while the critic is surer of real data than it should be."""
        before = self._level["augment"]
        step = math.copysign(rows / FADE_ROWS, sign - CONFIDENT)
        now = self._level["augment"] = min(max(before + step, 0.0), self.bounds["augment"][1])
        if int(10 * now) != int(10 * before):  # a line for every tenth of the way
            self._decisions.append(f"augmentation {before:.2f} -> {now:.2f}: sign statistic on real data {sign:.2f}")

    def _set(self, name: str, value: float, why: str) -> None:
        low, high = self.bounds[name]
        before, now = self._level[name], min(max(value, low), high)
        self._level[name] = now
        if now != before:
            self._decisions.append(f"{name} {before:.3g} -> {now:.3g}: {why}")

    def _reset(self, why: str) -> bool:
        self._count.update(loud=0, narrow=0, resets=self._count["resets"] + 1)
        self._decisions.append(f"the critic is drawn anew: {why}")
        self._set("lr_scale", 0.5 * self._level["lr_scale"], "a new critic starts slowly")
        return True

    @property
    def resets(self) -> int:
        """How often the critic was drawn anew."""
        self._remember()
        return self._count["resets"]
