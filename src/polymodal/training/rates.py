"""Learning rates by field that follow its progress: slower where a field overfits or stalls."""

from collections.abc import Mapping, Sequence
from typing import Any

from polymodal.balancing import Seen

PERIOD = 8
"""Looks over which a training loss is averaged before it is judged."""
PATIENCE = 2
"""Periods without progress before a field is slowed down."""
PROGRESS = 0.005
"""Part of its best value by which a loss falls if there is progress."""
OVERFIT = 0.02
"""Part of its best value by which the loss of held-out rows lies above it if a field overfits."""
SLOWER, SLOWEST = 0.7, 0.1
"""Factor of a slowing-down, and the least of all."""


class Rates:
    """Factors of the learning rates of each field's encoder and head, in [0.1, 1].

    A modality that is learned soon goes on to learn its rows by heart while the others are still at work, and shares
    its encoder's whims with them. It is slowed down instead, and sped up again once it gains anew.

    Source: Wang, Tran and Feiszli, "What makes training multi-modal classification networks hard?", 2020 (modalities
    overfit at different rates); Peng et al., "Balanced multimodal learning via on-the-fly gradient modulation", 2022.

    Args:
        fields: That are generated.

    Attributes:
        state: By name and field, all that changes while it learns, ``factors`` among it.
    """

    def __init__(self, fields: Sequence[str]):
        self.state: dict[str, Any] = {"looks": 0, "factors": dict.fromkeys(fields, 1.0)}
        for name in ("sums", "counts", "best", "stalled", "training", "held_out", "training_then"):
            self.state[name] = {}
        self._said: list[str] = []

    @property
    def factors(self) -> dict[str, float]:
        """By field."""
        return self.state["factors"]

    def decisions(self) -> list[str]:
        """What it decided since it was last asked."""
        said, self._said = self._said, []
        return said

    def update(self, seen: Seen) -> None:
        """Judges the training losses at the end of every period."""
        state = self.state
        for name, loss in seen.of_fields().items():
            state["sums"][name] = state["sums"].get(name, 0.0) + loss
            state["counts"][name] = state["counts"].get(name, 0) + 1
        state["looks"] += 1
        if state["looks"] % PERIOD:
            return
        for name, total in state["sums"].items():
            loss = state["training"][name] = total / state["counts"][name]
            best = state["best"].get(name)
            if best is None or loss < best - PROGRESS * abs(best):
                if state["stalled"].get(name, 0) >= PATIENCE:
                    self._set(name, self.factors[name] / SLOWER, f"its loss falls again, to {loss:.4g}")
                state["best"][name], state["stalled"][name] = loss, 0
                continue
            state["stalled"][name] += 1
            if state["stalled"][name] % PATIENCE == 0:
                self._set(name, self.factors[name] * SLOWER, f"its loss stays at {loss:.4g}, the best was {best:.4g}")
        state["sums"], state["counts"] = {}, {}

    def validated(self, losses: Mapping[str, float]) -> None:
        """Judges the losses of held-out rows.

        Args:
            losses: By ``field.term``.
        """
        state = self.state
        for name, loss in Seen(0, losses).of_fields().items():
            if name not in self.factors:
                continue
            best, training = state["held_out"].get(name), state["training"].get(name)
            if best is None or loss < best:
                state["held_out"][name] = loss
                if training is not None:
                    state["training_then"][name] = training
            elif training is not None:
                falling = training < state["training_then"].setdefault(name, training)
                if falling and loss > best + OVERFIT * abs(best):
                    why = f"it overfits: {loss:.4g} on held-out rows, {best:.4g} before, while training goes on falling"
                    self._set(name, self.factors[name] * SLOWER, why)

    def _set(self, name: str, value: float, why: str) -> None:
        before, now = self.factors[name], min(max(value, SLOWEST), 1.0)
        self.factors[name] = now
        if now != before:
            self._said.append(f"{name}: learning rate x {before:.2f} -> {now:.2f}: {why}")
