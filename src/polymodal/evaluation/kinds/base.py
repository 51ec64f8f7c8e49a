"""What evaluation adds to a modality: how values are compared and drawn, and how a judge reads them."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from markupsafe import Markup
from torch import Tensor

from polymodal.encoders import Encoder, PatchEncoder, PointsEncoder, SequenceEncoder, VectorEncoder
from polymodal.errors import ConfigError
from polymodal.evaluation.kinds.drawing import coloured_text, strip
from polymodal.evaluation.metrics.result import MetricResult
from polymodal.modalities import Modality
from polymodal.types import Field

TOLERANCE = 0.1
"""Greatest squared error, in units of a field's variance, with which numbers are called right."""


class Kind:
    """What evaluation does with the values of a field.

    This class follows from the space alone, and is enough for a modality that ``KINDS`` does not name. Ids are right if
    all of them are; numbers without a grid if their squared error is small; of values on a grid (pictures, sound,
    video) only a judge can say whether they are right.

    Args:
        modality: Modality of the field.

    Attributes:
        naming: Place of the modality among those whose values may name concepts, least first; None if they cannot.
        classes: Whether a value is one of a few classes, which says too little of a row for a judge to learn from.
        speech: Whether a speech recogniser can listen to its values, which ``write`` gives as ``Waveform``.
        sayable: Whether its values are words that can be said.
        fine_detail: Whether its values have fine detail, which ``sharpness`` measures.
        tower: Which part of a Hugging Face encoder reads what ``write`` makes: ``image``, ``audio`` or ``text``.
        exact_metric: Name of the share of values that are the same, id by id.
        frechet_metric: Name of the Fréchet distance.
    """

    naming: ClassVar[int | None] = None
    classes: ClassVar[bool] = False
    speech: ClassVar[bool] = False
    sayable: ClassVar[bool] = False
    fine_detail: ClassVar[bool] = False
    tower: ClassVar[str | None] = None
    exact_metric: ClassVar[str] = "exact match"
    frechet_metric: ClassVar[str] = "Fréchet distance"

    def __init__(self, modality: Modality):
        self.modality, self.space = modality, modality.space

    @property
    def judged(self) -> bool:
        """Whether only a judge can say if a value is right."""
        return self.space.kind == "continuous" and bool(self.space.grid)

    def same(self, first: Field, second: Field) -> np.ndarray:
        """(n,) 1 where two values of ids are the same, else 0."""
        pairs = zip(first.values(), second.values(), strict=True)
        return np.array([one.tolist() == other.tolist() for one, other in pairs], dtype=float)

    def compare(self, real: Field, made: Field, *, ceiling: float, chance: float) -> list[MetricResult]:
        """Metrics of generated values against the real values of their rows, where no judge is needed.

        Args:
            real: Real values of n rows.
            made: Generated for the same rows.
            ceiling: How often the best function of the inputs gives the same value.
            chance: How often the most frequent value is the row's.
        """
        if self.space.kind == "discrete":
            same = self.same(real, made)
            return [MetricResult(self.exact_metric, same, ceiling=ceiling, chance=chance, is_right=True)]
        errors = _squared_errors(real, made).double().numpy()
        variance = float((real.value - real.value.mean(0)).square().mean())
        return [MetricResult("squared error", errors, ceiling=0.0, chance=variance, higher_is_better=False)]

    def against(self, real: Field, made: Field) -> list[MetricResult]:
        """Metrics of generated values against the real values of their rows that go beside those of a judge.

        Args:
            real: Real values of n rows.
            made: Generated for the same rows.
        """
        return []

    def right(self, real: Field, made: Field) -> np.ndarray:
        """(n,) 1 where a generated value is right, else 0, where no judge is needed."""
        if self.space.kind == "discrete":
            return self.same(real, made)
        return (_squared_errors(real, made) <= TOLERANCE).double().numpy()

    def likeness(self, first: Field, second: Field) -> np.ndarray:
        """(n,) how alike two values are, from 0 to 1, where no judge is needed.

        For ids it is whether they are the same, for numbers exp(-squared error).
        """
        if self.space.kind == "discrete":
            return self.same(first, second)
        return (-_squared_errors(first, second)).exp().double().numpy()

    def features(self, field: Field) -> Tensor | None:
        """(n, F) numbers in which sets of values are compared without a judge; None if there are none."""
        return field.value if self.space.kind == "continuous" and not self.space.grid else None

    def compare_sets(self, real: Field, made: Field) -> list[MetricResult]:
        """Metrics of generated values as a set that only this modality has.

        Args:
            real: Real values of n rows.
            made: Generated for the same rows.
        """
        return []

    def seen(self, field: Field) -> Field:
        """Values in the form in which they are compared number by number, which may be another than the model's."""
        return field

    def reconstruction(self, real: Field, copy: Field, other: Field) -> list[MetricResult]:
        """Metrics of what a codec gives back of real values that only this modality has.

        Args:
            real: Real values of n rows.
            copy: The same values, through the codec and back.
            other: Real values of other rows, which give what is reached by chance.
        """
        return []

    def encoder(self, width: int) -> Encoder:
        """The encoder of a judge, not yet trained.

        Raises:
            ConfigError: No encoder reads the modality's space.
        """
        if self.space.kind == "discrete":
            return SequenceEncoder(self.space, width, depth=0 if self.space.shape == (1,) else 1)
        if not self.space.grid:
            return VectorEncoder(self.space, width)
        if self.space.is_set:
            return PointsEncoder(self.space, width)
        if reason := PatchEncoder.accepts(self.space):
            raise ConfigError(f"judge: cannot read values of shape {self.space.shape}: its encoder {reason}")
        return PatchEncoder(self.space, width)

    def pieces(self, field: Field) -> list[tuple[str, list[int]]]:
        """The text of each piece of one value of ids, and the places of its ids."""
        (ids,) = field.values()
        if self.space.shape == (1,):
            return [(str(self.modality.write(ids)), [0])]
        return [(f"{number} ", [place]) for place, number in enumerate(ids.tolist())]

    def draw(self, field: Field, part: Tensor) -> Markup:
        """Attributions drawn on the value that they are of.

        Args:
            field: One row.
            part: (L,) for ids, else of the shape of the value.
        """
        if self.space.kind == "discrete":
            return coloured_text([(text, float(part[places].sum())) for text, places in self.pieces(field)])
        (value,) = field.values()
        if not self.space.grid:
            numbers = zip(value.tolist(), part.tolist(), strict=True)
            return coloured_text([(f"{number:.3g} ", share) for number, share in numbers])
        axis = 1 if self.space.varies is None else self.space.varies
        rest = [place for place in range(part.dim()) if place != axis]
        return self.modality.preview(self.modality.write(value)) + strip(part.sum(rest))


def _squared_errors(first: Field, second: Field) -> Tensor:
    """(n,) mean squares of the differences of numbers without a grid."""
    return (first.value - second.value).square().mean(1)
