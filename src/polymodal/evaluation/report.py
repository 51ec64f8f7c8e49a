"""Pages that anyone can open: one HTML file with its pictures and sound inside, no network needed."""

from __future__ import annotations

import base64
import io
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import yaml
from jinja2 import Environment, PackageLoader
from markupsafe import Markup, escape
from PIL import Image as PILImage

from polymodal.evaluation.scorecard import Score, Scorecard, number
from polymodal.modalities.audio import Waveform

_WAVE_BARS = 64


@dataclass(frozen=True)
class Card:
    """Inputs beside outputs beside the truth. Values are pictures, waveforms, strings, or lists of these.

    Attributes:
        given: Inputs by field.
        made: Outputs by field.
        truth: Real values by field, if there are any.
        right: Whether it is right; None where that cannot be said.
        remark: A line below.
    """

    given: Mapping[str, Any]
    made: Mapping[str, Any]
    truth: Mapping[str, Any] = field(default_factory=dict)
    right: bool | None = None
    remark: str = ""


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        title: Its heading.
        text: A paragraph below; Markdown and HTML are not interpreted.
        scores: Shown as a table.
        cards: Shown in a grid.
    """

    title: str
    text: str = ""
    scores: Sequence[Score] = ()
    cards: Sequence[Card] = ()


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
        path: Of the HTML file; its folder is made if need be.
        title: Heading of the page.
        sections: In order.
        introduction: A paragraph below the heading.
        facts: Shown at the end by name; mappings are shown as YAML, folded.
    """
    environment = Environment(
        loader=PackageLoader("polymodal.evaluation", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"show": _show, "number": number, "percent": _percent}
    facts = facts or {}
    page = environment.get_template("page.html.j2").render(
        title=title,
        introduction=introduction,
        sections=sections,
        facts={name: value for name, value in facts.items() if not isinstance(value, Mapping)},
        documents={name: _yaml(value) for name, value in facts.items() if isinstance(value, Mapping)},
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def write_report(
    scorecards: Scorecard | Sequence[Scorecard],
    path: str | Path,
    *,
    title: str = "Scorecard",
    command: str | None = None,
) -> Path:
    """Writes scorecards as one page: all scores first, then samples of every direction, failures first.

    Args:
        scorecards: One, or several of one model.
        path: Of the HTML file.
        title: Heading of the page.
        command: That made it; this process's command line if not given.
    """
    scorecards = [scorecards] if isinstance(scorecards, Scorecard) else list(scorecards)
    several = len(scorecards) > 1
    sections = [Section(card.title, " ".join(card.notes), card.scores) for card in scorecards]
    for card in scorecards:
        for direction, samples in card.samples.items():
            own = [score for score in card.scores if score.direction == direction]
            text = "; ".join(f"{score.metric} {number(score.value)}" for score in own) + f", {own[0].rows} rows."
            if any(sample.right is False for sample in samples):
                text += " Failures first."
            cards = [
                Card(
                    sample.given,
                    {own[0].output: sample.made},
                    {own[0].output: sample.truth},
                    sample.right,
                    sample.remark,
                )
                for sample in samples
            ]
            sections.append(Section(f"{direction}, {card.title}" if several else direction, text, cards=cards))
    introduction = (
        "A score with its 95 % bootstrap interval. “Real” is what the row's real value scores by the same judge or, if "
        "that is less, what the best possible use of the input could; “chance” is what a model scores that "
        "does not look at its input."
    )
    facts: dict[str, Any] = {"command": command or " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])}
    first = scorecards[0].facts
    facts |= {"seed": first["seed"], "rows of a direction": f"at most {first['rows_of_a_direction']}"}
    for card in scorecards:
        facts[f"data, {card.title}" if several else "data"] = f"{card.facts['rows']} rows, {card.facts['data']}"
    facts |= {name: first[name] for name in ("judge", "options", "recipe") if first[name]}
    return write_page(path, title, sections, introduction=introduction, facts=facts)


def _percent(value: float | None) -> str:
    """A place on a bar from 0 to 1."""
    return "" if value is None else f"{100 * min(max(value, 0.0), 1.0):.1f}%"


def _yaml(value: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True, width=100)


def _show(value: Any) -> Markup:
    """An object as HTML."""
    if isinstance(value, list | tuple):
        return Markup("").join(_show(item) for item in value)
    if isinstance(value, PILImage.Image):
        file = io.BytesIO()
        value.save(file, "PNG", optimize=True)
        return Markup('<img alt="" width="{}" height="{}" src="{}">').format(*value.size, _data("image/png", file))
    if isinstance(value, Waveform):
        file = io.BytesIO()
        samples = np.clip(value.samples, -1, 1)
        soundfile.write(file, samples, value.sample_rate_hz, format="WAV", subtype="PCM_16")
        player = Markup('<audio controls preload="none" src="{}"></audio>').format(_data("audio/wav", file))
        return Markup('<span class="sound">{}{}</span>').format(_wave(samples), player)
    if isinstance(value, str):
        return Markup('<span class="text">{}</span>').format(value or Markup("<i>nothing</i>"))
    return Markup('<code class="text">{}</code>').format(escape(np.array2string(np.asarray(value), precision=2)))


def _data(kind: str, file: io.BytesIO) -> str:
    return f"data:{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def _wave(samples: np.ndarray) -> Markup:
    """The loudness of sound over time, drawn."""
    pieces = np.array_split(samples, _WAVE_BARS)
    heights = [round(19 * float(np.abs(piece).max(initial=0)), 1) + 0.5 for piece in pieces]
    bars = "".join(f"M{2 * i + 1} {20 - height:.1f}v{2 * height:.1f}" for i, height in enumerate(heights))
    return Markup('<svg viewBox="0 0 {} 40" aria-hidden="true"><path d="{}"/></svg>').format(2 * _WAVE_BARS, bars)
