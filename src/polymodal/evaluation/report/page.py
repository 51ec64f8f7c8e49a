"""Pages that anyone can open: one HTML file with its pictures and sound inside, no network needed."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from polymodal.evaluation.report.ability import standing
from polymodal.evaluation.report.heat_map import HeatMap
from polymodal.evaluation.scorecard import Difference, Fault, Score, number
from polymodal.files import write_file


@dataclass(frozen=True)
class Card:
    """Inputs beside outputs beside real values, each as HTML that ``Modality.preview`` gave.

    Attributes:
        given: Inputs by field.
        made: Outputs by field.
        truth: Real values by field, if there are any.
        right: Whether the outputs are right; None where that cannot be said.
        remark: A line below.
        nearest: The nearest training values by field, if they were looked for.
    """

    given: Mapping[str, Markup]
    made: Mapping[str, Markup]
    truth: Mapping[str, Markup] = field(default_factory=dict)
    right: bool | None = None
    remark: str = ""
    nearest: Mapping[str, Markup] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Attributes:
        names: Names of the runs.
        rows: The rows of the table.
    """

    names: Sequence[str]
    rows: Sequence[Difference]


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        title: Its heading.
        text: A paragraph below the heading; Markdown and HTML are not interpreted.
        scores: Shown as a table.
        cards: Shown in a grid.
        alerts: Sentences that are shown first, as they change how all else is read.
        faults: Shown next.
        drawings: HTML by title, such as curves.
        grid: A heat map.
        folded: If given, the table is folded under this line.
        comparison: Runs side by side.
    """

    title: str
    text: str = ""
    scores: Sequence[Score] = ()
    cards: Sequence[Card] = ()
    alerts: Sequence[str] = ()
    faults: Sequence[Fault] = ()
    drawings: Mapping[str, Markup] = field(default_factory=dict)
    grid: HeatMap | None = None
    folded: str = ""
    comparison: Comparison | None = None


def write_page(
    path: str | Path,
    title: str,
    sections: Sequence[Section],
    *,
    introduction: str = "",
    facts: Mapping[str, Any] | None = None,
) -> Path:
    """Writes a page of sections.

    Args:
        path: Path of the HTML file, whose folder is made if need be.
        title: Heading of the page.
        sections: In order.
        introduction: A paragraph below the heading.
        facts: Shown at the end by name; mappings are shown as folded YAML.
    """
    environment = Environment(
        loader=PackageLoader("polymodal.evaluation.report", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": number, "percent": _percent, "unit": _unit, "shade": _shade, "standing": standing}
    facts = facts or {}
    page = environment.get_template("page.html.j2").render(
        title=title,
        introduction=introduction,
        sections=sections,
        facts={name: value for name, value in facts.items() if not isinstance(value, Mapping)},
        documents={name: _yaml(value) for name, value in facts.items() if isinstance(value, Mapping)},
    )
    path = Path(path)
    write_file(path, page)
    return path


def command_line() -> str:
    """How this process was called, as a user would type it."""
    program = Path(sys.argv[0])
    name = "python -m polymodal" if program.name == "__main__.py" else shlex.quote(program.name)
    return f"{name} {shlex.join(sys.argv[1:])}".rstrip()


def _percent(value: float | None) -> str:
    """A place on a bar from 0 to 1."""
    return "" if value is None else f"{100 * min(max(value, 0.0), 1.0):.1f}%"


def _shade(share: float | None) -> str:
    """Colours of a cell of the heat map, readable on light and dark ground; dashed where the score tells nothing."""
    if share is None:
        return "outline: 1px dashed var(--quiet); outline-offset: -1px; color: var(--quiet)"
    return f"background: rgb(47 111 159 / {0.12 + 0.88 * share:.2f}); color: {'#fff' if share > 0.45 else 'inherit'}"


def _unit(score: Score) -> bool:
    """Whether a bar from 0 to 1 shows it."""
    return score.low >= 0 and all(end is None or 0 <= end <= 1 for end in (score.ceiling, score.chance))


def _yaml(value: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True, width=100)
