"""Near-copies: samples that are hardly more than one training row are withheld, and that is said."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from polymodal.data import Rows
from polymodal.evaluation.examiner import Examiner
from polymodal.evaluation.scorecard.memorisation import TrainingSet
from polymodal.serving.errors import ApiError
from polymodal.types import Field


class Copies:
    """Looks for samples among the rows that a model was trained on, as the scorecard does.

    Cells of a table, such as labels and short texts, are mostly equal to a training row because they are right: only
    what is a file of its own is looked for.

    Args:
        training: These rows.
    """

    def __init__(self, training: Rows):
        self._known = TrainingSet(training, Examiner(training, None))
        self._looked_at = [name for name, modality in training.fields.items() if not modality.inline]

    def check(self, made: Mapping[str, Field]) -> list[ApiError | None]:
        """Of each sample, an error that says of what it is a near-copy; None where it is none.

        Args:
            made: Generated values by field, of as many rows each.
        """
        errors: list[ApiError | None] = [None] * len(next(iter(made.values())))
        for name, field in made.items():
            if name not in self._looked_at or not field.value.is_floating_point():
                continue
            nearest = self._known.nearest(name, field)
            if nearest is None:
                continue
            for place in np.flatnonzero(nearest.copies):
                row = int(self._known.training.index[nearest.rows[place]]) + 1
                errors[place] = ApiError(
                    403,
                    f"{name}: the sample is a near-copy of row {row} of the training data, and is withheld; "
                    "another seed may give one that is not",
                    code="near_copy",
                )
        return errors
