"""Confidence: the probability that a generated cell is right, learned on rows that were held out.

A calibrator for each field, and one for each set of given fields that was seen often enough, turns the scores of a cell
(see ``scored_cells``) into the probability that it is right.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from polymodal.checkpoint import digest_of
from polymodal.data import Rows
from polymodal.errors import CheckpointError
from polymodal.evaluation.calibration.calibrator import Calibrator, expected_calibration_error
from polymodal.evaluation.calibration.scored_cells import ScoredCells, collect, patterns, score_cells
from polymodal.evaluation.judges import Judge
from polymodal.files import read_json, short_digest, write_file
from polymodal.model import Model
from polymodal.types import Batch

FORMAT = 1
PATTERN_CELLS = 200
"""Cells of a set of given fields from which on it has a calibrator of its own."""
FOLDS = 5

_POOLED = ""


@dataclass(frozen=True)
class Report:
    """How well one field is calibrated.

    Attributes:
        cells: Number of cells that were scored.
        right: The share of them that is right.
        before: Expected calibration error of the first score, taken as a probability.
        error: Expected calibration error of the confidence, with calibrators that have not seen the cell's row.
    """

    cells: int
    right: float
    before: float
    error: float


@dataclass(frozen=True)
class Calibration:
    """Calibrators of one model's fields.

    Attributes:
        weights: A digest of the model's weights.
        options: Sampling options of the heads with which the cells were generated.
        calibrators: By field and by set of given fields; that of all sets together is under "".
        reports: By field.
        judge: Judge of pictures, sound and others of which nothing else can say whether they are right.
        draws: Of which a cell is the best guess; 0 where cells were drawn.
    """

    weights: str
    options: dict[str, dict[str, Any]]
    calibrators: dict[str, dict[str, Calibrator]]
    reports: dict[str, Report] = field(default_factory=dict)
    judge: Judge | None = None
    draws: int = 0

    def confidences(
        self, model: Model, batch: Batch, visible: Mapping[str, Tensor], made: Batch, keys: Tensor
    ) -> dict[str, np.ndarray]:
        """Probabilities (B,) of being right, by field, without a meaning where a field was not generated.

        Args:
            model: The model that was calibrated.
            batch: What ``generate_rows`` took.
            visible: What ``generate_rows`` took.
            made: What ``generate_rows`` gave, with the ``options`` of this calibration.
            keys: What ``generate_rows`` took.
        """
        scores = score_cells(model, self.judge, batch, visible, made, keys, self.options)
        given = patterns(visible, len(keys))
        return {name: apply(self.calibrators[name], values, given) for name, values in scores.items()}

    def fits(self, model: Model, options: Mapping[str, Mapping[str, Any]] | None, draws: int = 0) -> bool:
        """Whether it was learned from this model with these options of its heads, and best guesses of these draws."""
        return (self.weights, self.options, self.draws) == (digest_of(model), _plain(options), draws)

    @property
    def digest(self) -> str:
        """A digest of the calibration."""
        return short_digest(json.dumps(self._document()))

    def _document(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "weights": self.weights,
            "options": self.options,
            "draws": self.draws,
            "judge": self.judge.hash if self.judge else None,
            "calibrators": {
                name: {given: calibrator.state() for given, calibrator in by_given.items()}
                for name, by_given in self.calibrators.items()
            },
            "reports": {name: vars(report) for name, report in self.reports.items()},
        }

    def save(self, folder: Path) -> None:
        """Writes ``calibration.json``, and the judge beside it."""
        if self.judge:
            self.judge.save(folder)
        write_file(folder / "calibration.json", json.dumps(self._document(), indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Calibration:
        """The calibration that ``save`` wrote.

        Raises:
            CheckpointError: There is none, or it is broken.
        """
        try:
            document = read_json(folder / "calibration.json")
            form = document.get("format")
        except (OSError, ValueError, AttributeError) as error:
            raise CheckpointError(f"{folder}: holds no calibration that can be read: {error}") from error
        if form != FORMAT:
            raise CheckpointError(f"{folder}: the calibration's format is {form}; this version's is {FORMAT}")
        try:
            return cls._read(folder, document)
        except (KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{folder}: calibration.json does not describe a calibration: {error!r}") from error

    @classmethod
    def _read(cls, folder: Path, document: dict[str, Any]) -> Calibration:
        judge = Judge.load(folder) if document["judge"] else None
        if judge and judge.hash != document["judge"]:
            raise CheckpointError(f"{folder}: the judge is not the calibration's; calibrate again")
        calibrators = {
            name: {given: Calibrator(**state) for given, state in by_given.items()}
            for name, by_given in document["calibrators"].items()
        }
        reports = {name: Report(**report) for name, report in document["reports"].items()}
        return cls(document["weights"], document["options"], calibrators, reports, judge, document.get("draws", 0))


def calibrate(
    model: Model,
    rows: Rows,
    *,
    judge: Judge | None = None,
    cells: int = 2000,
    seed: int = 0,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    draws: int = 0,
) -> Calibration:
    """Learns how sure a model may be of the cells that it fills, from cells whose true value is known.

    Each row is given some of its fields and asked for some of the others, like the rows of a table that lacks cells.

    Args:
        model: To be calibrated.
        rows: Rows that were held out, with the model's fields.
        judge: Judge of pictures and sound, which are left out without one.
        cells: Number of draws of a row; with fewer rows, each is drawn again and given other fields.
        seed: Seed of what is given and of what is generated.
        options: Sampling options of the heads by field.
        draws: Of which cells are the best guess, as of ``guess_rows``; 0 draws them.

    Raises:
        ConfigError: The rows lack a field of the model.
        DataError: There are no rows, or no field of theirs can be scored.
    """
    found = collect(model, rows, judge=judge, cells=cells, seed=seed, options=options, draws=draws)
    calibrators = {name: fit(scored) for name, scored in found.items()}
    reports = {name: _report(scored) for name, scored in found.items()}
    return Calibration(digest_of(model), _plain(options), calibrators, reports, judge, draws)


def fit(cells: ScoredCells) -> dict[str, Calibrator]:
    """A calibrator of all cells, under "", and one for each set of given fields that comes often enough."""
    calibrators = {_POOLED: Calibrator.fit(cells.scores, cells.right)}
    for given, count in zip(*np.unique(cells.given, return_counts=True), strict=True):
        if count >= PATTERN_CELLS:
            these = cells.given == given
            calibrators[str(given)] = Calibrator.fit(cells.scores[these], cells.right[these])
    return calibrators


def apply(calibrators: Mapping[str, Calibrator], scores: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Scores (n, F) of cells and the fields that they were generated from (n,) -> probabilities (n,)."""
    confidence = np.empty(len(scores))
    for pattern in np.unique(given):
        these = given == pattern
        confidence[these] = calibrators.get(str(pattern), calibrators[_POOLED])(scores[these])
    return confidence


def _report(cells: ScoredCells) -> Report:
    """How well a part of the rows calibrates the cells of the others; with one row, a part of the cells."""
    confidence, before = np.empty(len(cells.right)), np.nan_to_num(cells.scores[:, 0])
    rows, group = np.unique(cells.rows, return_inverse=True)
    if len(rows) < 2:
        group = np.arange(len(cells.right))
    if len(group) < 2:
        return Report(len(cells.right), float(cells.right.mean()), math.nan, math.nan)
    for number in range(min(FOLDS, int(group.max()) + 1)):
        out = group % FOLDS == number
        rest = ScoredCells(*(part[~out] for part in vars(cells).values()))
        confidence[out] = apply(fit(rest), cells.scores[out], cells.given[out])
    errors = [expected_calibration_error(values, cells.right) for values in (before, confidence)]
    return Report(len(cells.right), float(cells.right.mean()), *errors)


def _plain(options: Mapping[str, Mapping[str, Any]] | None) -> dict[str, dict[str, Any]]:
    """Options as JSON gives them back."""
    return json.loads(json.dumps({name: dict(values) for name, values in (options or {}).items()}))
