"""The scorecard: how good a model is in each direction, beside what real values score and what chance gives."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from polymodal.errors import ConfigError, unknown
from polymodal.evaluation.examiner import direction_name
from polymodal.evaluation.metrics.result import Aspect
from polymodal.evaluation.scorecard.faults import Fault
from polymodal.files import write_file
from polymodal.modalities import Modality


@dataclass(frozen=True)
class Score:
    """One metric in one direction.

    Attributes:
        inputs: Fields that were given.
        output: Field that was generated.
        metric: Its name; the name of a judge is part of it.
        value: The metric over the rows.
        low: Lower end of its 95 % interval.
        high: Upper end of the interval.
        ceiling: What the real values score or, if that is less, what the best function of the inputs could reach.
        chance: What a model scores that does not look at its inputs.
        rows: Number of rows that were measured.
        higher_is_better: None where it is best to score as real values do.
        seconds: Time that the direction took, generation included. Nothing else differs from run to run.
        aspect: What the metric measures.
        clusters: Number of clusters among these rows, which depend on each other within one; None in earlier versions.
    """

    inputs: tuple[str, ...]
    output: str
    metric: str
    value: float
    low: float
    high: float
    ceiling: float | None
    chance: float | None
    rows: int
    higher_is_better: bool | None
    seconds: float = field(compare=False)
    aspect: Aspect = "coherence"
    clusters: int | None = None

    @property
    def direction(self) -> str:
        return direction_name(self.inputs, self.output)


@dataclass(frozen=True)
class Sample:
    """One generated value beside its inputs and its row's real value, all as objects.

    Attributes:
        given: The inputs by field.
        made: What was generated.
        truth: The row's real value.
        right: Whether the direction's first metric calls it right; None if the metric does not say right or wrong.
        remark: What the judges saw in it.
        nearest: The training value that is nearest to it, if that was measured.
        ratio: Its distance, over the mean distance of the next-nearest ones.
    """

    given: dict[str, Any]
    made: Any
    truth: Any
    right: bool | None
    remark: str = ""
    nearest: Any = None
    ratio: float | None = None


@dataclass(frozen=True)
class Scorecard:
    """Scores and samples of one model on one set of rows.

    Attributes:
        title: Title of the rows, such as ``test``.
        scores: In the order of the directions.
        samples: By direction, failures first.
        fields: The modality of each field, which shows its values.
        facts: What the scores depend on: data, seed, judge, options, recipe.
        notes: What a reader should know: rows or names that were left out, and why.
        faults: What is wrong with the samples.
        parts: Scores of the model's codecs.
        files: The name of the file that holds a direction's results row by row, by direction.
    """

    title: str
    scores: list[Score]
    samples: dict[str, list[Sample]]
    fields: Mapping[str, Modality]
    facts: dict[str, Any]
    notes: list[str]
    faults: list[Fault] = field(default_factory=list)
    parts: list[Score] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict, repr=False)

    def score(self, inputs: str | Sequence[str], output: str, metric: str | None = None) -> Score:
        """The score of a direction: its first metric, or the one whose name starts with ``metric``.

        Raises:
            ConfigError: It was not scored.
        """
        name = direction_name([inputs] if isinstance(inputs, str) else inputs, output)
        for score in self.scores:
            if score.direction == name and score.metric.startswith(metric or ""):
                return score
        known = {score.direction for score in self.scores}
        raise ConfigError(unknown("scorecard", f"{name}{f' ({metric})' if metric else ''}", known))

    def to_json(self, path: str | Path | None = None) -> str:
        """Scores, facts and notes as JSON, without the seconds, so that the same run gives the same text."""
        document = {
            "title": self.title,
            "scores": [_timeless(score) for score in self.scores],
            "faults": [asdict(fault) for fault in self.faults],
            "parts": [_timeless(score) for score in self.parts],
            "notes": self.notes,
            "facts": self.facts,
        }
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        if path is not None:
            write_file(Path(path), text)
        return text

    def table(self) -> Table:
        """The scores, to be printed."""
        table = Table(title=self.title, title_justify="left", box=None, pad_edge=False)
        for name in ("direction", "metric"):
            table.add_column(name, overflow="fold")
        for name in ("score", "95 % interval", "real", "chance", "rows", "s"):
            table.add_column(name, justify="right", no_wrap=True)
        for score in self.scores:
            interval = f"{number(score.low)}–{number(score.high)}"
            values = (number(score.value), interval, number(score.ceiling), number(score.chance))
            table.add_row(score.direction, score.metric, *values, str(score.rows), f"{score.seconds:.0f}")
        return table


def _timeless(score: Score) -> dict[str, Any]:
    return {name: value for name, value in asdict(score).items() if name != "seconds"}


def number(value: float | None) -> str:
    """A score in three decimals.

    >>> number(0.8412), number(None)
    ('0.841', '–')
    """
    return "–" if value is None else f"{value:.3f}"
