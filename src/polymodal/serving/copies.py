"""Near-copies: samples that are hardly more than one training row are withheld, and that is said."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np

from polymodal.data import Rows
from polymodal.evaluation.examiner import Examiner
from polymodal.evaluation.scorecard.memorisation import TrainingSet
from polymodal.serving.errors import ApiError
from polymodal.types import Field


class Copies:
    """Looks for samples among the rows that a model was trained on, as the scorecard does.

    What an adapter draws is looked for among the rows of the adapter, and among those of the model that it belongs to,
    since an adapter may have been trained from that. Cells of a table, such as labels and short texts, are mostly equal
    to a training row because they are right: only what is a file of its own is looked for.

    Args:
        training: The rows of the model.
        adapters: By the name of an adapter, its rows.
    """

    def __init__(self, training: Rows, adapters: Mapping[str, Rows] | None = None):
        rows = {"": training, **(adapters or {})}
        sets = {own.fingerprint: TrainingSet(own, Examiner(own, None)) for own in rows.values()}
        self._base = sets[training.fingerprint]
        self._own = {name: sets[own.fingerprint] for name, own in rows.items()}
        self._looked_at = [name for name, modality in training.fields.items() if not modality.inline]

    def check(self, made: Mapping[str, Field], adapter: str = "") -> list[ApiError | None]:
        """Of each sample, an error that says of what it is a near-copy; None where it is none.

        Args:
            made: Generated values by field, of as many rows each.
            adapter: Which of them drew it; none if empty.
        """
        errors: list[ApiError | None] = [None] * len(next(iter(made.values())))
        looked_at = [name for name in self._looked_at if name in made and made[name].value.is_floating_point()]
        own = self._own[adapter]
        for known, name in product([self._base] if own is self._base else [self._base, own], looked_at):
            nearest = known.nearest(name, made[name])
            if nearest is None:
                continue
            for place in np.flatnonzero(nearest.copies):
                row, whose = (
                    int(known.training.index[nearest.rows[place]]) + 1,
                    "" if known is self._base else "adapter's ",
                )
                errors[place] = ApiError(
                    403,
                    f"{name}: the sample is a near-copy of row {row} of the {whose}training data, and is withheld; "
                    "another seed may give one that is not",
                    code="near_copy",
                )
        return errors
