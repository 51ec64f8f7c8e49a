"""What was measured of one direction, kept in a file so that it is measured once."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save

from polymodal.evaluation.examiner import direction_name
from polymodal.evaluation.metrics.result import MetricResult
from polymodal.evaluation.scorecard.faults import Fault
from polymodal.files import read_json, write_file
from polymodal.types import Field


@dataclass(frozen=True)
class Pick:
    """A sample that is shown.

    Attributes:
        row: Number of its row in the data that are evaluated.
        right: See ``Sample``.
        remark: See ``Sample``.
        nearest: The training row that is nearest to it, if that was measured.
        ratio: See ``Nearest``.
    """

    row: int
    right: bool | None
    remark: str
    nearest: int | None = None
    ratio: float | None = None


@dataclass(frozen=True)
class DirectionResult:
    """What was measured of one direction, or of a codec.

    Attributes:
        inputs: Fields that were given; none for the reconstructions of a codec.
        output: Field that was generated.
        rows: Numbers of the rows in the data that are evaluated.
        results: All metrics, those of coherence first. Values are means over the samples of a row.
        faults: What is wrong with the samples.
        notes: What could not be measured.
        picks: Samples to be shown, failures first.
        made: Their values.
        seconds: Time that it took.
    """

    inputs: tuple[str, ...]
    output: str
    rows: list[int]
    results: list[MetricResult]
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    picks: list[Pick] = field(default_factory=list)
    made: Field | None = None
    seconds: float = 0.0

    @property
    def name(self) -> str:
        return direction_name(self.inputs, self.output)

    def save(self, path: Path) -> None:
        """Writes ``path`` after a file of the samples' tensors beside it, so that both are complete if it exists."""
        document = asdict(replace(self, results=[], made=None))
        document["results"] = [result.to_json() for result in self.results]
        if self.made is not None:
            document["varies"] = self.made.varies
            tensors = {name: getattr(self.made, name).contiguous() for name in ("value", "mask", "present")}
            write_file(path.with_suffix(".safetensors"), save(tensors))
        write_file(path, json.dumps(document, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path: Path, *, samples: bool = True) -> DirectionResult | None:
        """What ``save`` wrote, or None if it is missing or broken.

        Args:
            path: Path of the file.
            samples: Whether to read the values of the samples; the metrics of runs of earlier versions open without.
        """
        try:
            document = read_json(path)
            made = None
            if samples and document["picks"]:
                made = Field(**load(path.with_suffix(".safetensors").read_bytes()), varies=document["varies"])
            results = document["results"] if "results" in document else document["outcomes"]  # of earlier versions
            return cls(
                tuple(document["inputs"]),
                document["output"],
                document["rows"],
                [MetricResult.from_json(entry) for entry in results],
                [Fault(**entry) for entry in document["faults"]],
                document["notes"],
                [Pick(**entry) for entry in document["picks"]],
                made,
                document["seconds"],
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError):
            return None
