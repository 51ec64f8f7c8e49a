"""Pages that anyone can open: one HTML file with its pictures and sound inside, no network needed."""

from __future__ import annotations

import base64
import io
import shlex
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

from polymodal.evaluation.report.curves import training_curves
from polymodal.evaluation.report.heat_map import HeatMap, heat_map
from polymodal.evaluation.scorecard.comparison import Difference, Evaluation
from polymodal.evaluation.scorecard.faults import Fault
from polymodal.evaluation.scorecard.scorecard import Score, Scorecard, number
from polymodal.files import write_file
from polymodal.modalities.audio import Waveform

_WAVE_BARS = 64
_INTRODUCTION = (
    "A score with its 95 % bootstrap interval. “Real” is what the row's real value scores by the same judge or, if "
    "that is less, what the best possible use of the input could; “chance” is what a model scores that "
    "does not look at its input."
)
_ASPECTS = {
    "quality": "How like real values the samples are as a set, in the judge's features. “Real” is what other real "
    "values score; “chance” is values each number of which comes from another row. Sharpness is fine detail over that "
    "of the rows' real values.",
    "diversity": "How varied the samples are: the share of real values that have a sample nearby; how far samples of "
    "one input lie apart, in units of how far real values of all inputs do; how often words repeat.",
    "likelihood": "How probable the real value is to the head, given the inputs; “chance” is with other inputs.",
    "memorisation": "Samples much nearer to one training row than to the next ones; “real” is the share among held-out "
    "rows.",
    "reconstruction": "Real values through the codec and back, and what a linear function reads from its latents; "
    "“chance” is the value of another row.",
}


@dataclass(frozen=True)
class Card:
    """Inputs beside outputs beside the truth. Values are pictures, waveforms, strings, or lists of these.

    Attributes:
        given: Inputs by field.
        made: Outputs by field.
        truth: Real values by field, if there are any.
        nearest: The nearest training values by field, if that was asked.
        right: Whether it is right; None where that cannot be said.
        remark: A line below.
    """

    given: Mapping[str, Any]
    made: Mapping[str, Any]
    truth: Mapping[str, Any] = field(default_factory=dict)
    right: bool | None = None
    remark: str = ""
    nearest: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Attributes:
        names: Of the runs.
        rows: Of the table.
    """

    names: Sequence[str]
    rows: Sequence[Difference]


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        title: Its heading.
        text: A paragraph below; Markdown and HTML are not interpreted.
        scores: Shown as a table.
        cards: Shown in a grid.
        faults: Shown first.
        drawings: SVG by title, such as curves.
        grid: A heat map.
        folded: The table is shown when it is asked for.
        comparison: Runs side by side.
    """

    title: str
    text: str = ""
    scores: Sequence[Score] = ()
    cards: Sequence[Card] = ()
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
        path: Of the HTML file; its folder is made if need be.
        title: Heading of the page.
        sections: In order.
        introduction: A paragraph below the heading.
        facts: Shown at the end by name; mappings are shown as YAML, folded.
    """
    environment = Environment(
        loader=PackageLoader("polymodal.evaluation.report", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"show": _show, "number": number, "percent": _percent, "unit": _unit, "shade": _shade}
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


def write_report(
    scorecards: Scorecard | Sequence[Scorecard],
    path: str | Path,
    *,
    title: str = "Scorecard",
    command: str | None = None,
    run: str | Path | None = None,
) -> Path:
    """Writes scorecards as one page: faults and the heat map, all scores, then samples of every direction, failures
    first, training curves, and what it was made of.

    Args:
        scorecards: One, or several of one model.
        path: Of the HTML file.
        title: Heading of the page.
        command: That made it; this process's command line if not given.
        run: Folder of the run, for the curves of its training.
    """
    scorecards = [scorecards] if isinstance(scorecards, Scorecard) else list(scorecards)
    several = len(scorecards) > 1
    sections = []
    for card in scorecards:
        sections += _overview(card, several)
    for card in scorecards:
        sections += _directions(card, several)
    if curves := training_curves(Path(run)) if run else {}:
        text = "Losses by step, as they were logged; the dashed line is of the validation rows."
        sections.append(Section("Training", text, drawings=curves))
    facts: dict[str, Any] = {"command": command or command_line()}
    first = scorecards[0].facts
    facts |= {"seed": first["seed"], "rows of a direction": f"at most {first['rows_of_a_direction']}"}
    facts["samples of an input"] = first.get("samples_of_an_input", 1)
    for card in scorecards:
        facts[f"data, {card.title}" if several else "data"] = f"{card.facts['rows']} rows, {card.facts['data']}"
    for name, key in (("training data", "training"), ("model", "model")):
        if first.get(key):
            facts[name] = first[key]
    if first["judge"]:
        facts["judge"] = first["judge"]["hash"]
    facts |= {
        f"{name}, all settings" if name == "judge" else name: first[name]
        for name in ("judge", "options", "recipe")
        if first[name]
    }
    return write_page(path, title, sections, introduction=_INTRODUCTION, facts=facts)


def _overview(card: Scorecard, several: bool) -> list[Section]:
    """What is wrong, the heat map, all scores."""
    sections = []
    if card.faults:
        sections.append(Section(f"What is wrong, {card.title}" if several else "What is wrong", faults=card.faults))
    agreement = [score for score in card.scores if score.aspect == "coherence"]
    grid = heat_map(agreement)
    if grid and len(grid.lines) * len(grid.outputs) > 2:
        text = (
            "Agreement with the inputs: the first metric of each direction, from chance (pale) to what real values "
            "score (dark)."
        )
        sections.append(Section(f"Every direction, {card.title}" if several else "Every direction", text, grid=grid))
    sections.append(Section(card.title, " ".join(card.notes), agreement))
    names = {"quality": "Quality", "diversity": "Diversity", "likelihood": "Likelihood", "memorisation": "Memorisation"}
    for aspect, name in names.items():
        scores = [score for score in card.scores if score.aspect == aspect]
        if scores:
            title = f"{name}, {card.title}" if several else name
            sections.append(Section(title, _ASPECTS[aspect], scores, folded=f"{len(scores)} scores"))
    if card.parts:
        sections.append(Section("Codecs", _ASPECTS["reconstruction"], card.parts, folded=f"{len(card.parts)} scores"))
    return sections


def _directions(card: Scorecard, several: bool) -> list[Section]:
    """Samples of every direction, failures first."""
    sections = []
    for direction, samples in card.samples.items():
        own = [score for score in card.scores if score.direction == direction]
        if not own:
            continue
        told = [score for score in own if score.aspect == "coherence"] or own[:1]
        text = "; ".join(f"{score.metric} {number(score.value)}" for score in told) + f", {own[0].rows} rows."
        if any(sample.right is False for sample in samples):
            text += " Failures first."
        cards = [
            Card(
                sample.given,
                {own[0].output: sample.made},
                {own[0].output: sample.truth},
                sample.right,
                sample.remark if sample.ratio is None else _joined(sample.remark, sample.ratio),
                {} if sample.nearest is None else {own[0].output: sample.nearest},
            )
            for sample in samples
        ]
        faults = [fault for fault in card.faults if fault.direction == direction]
        title = f"{direction}, {card.title}" if several else direction
        sections.append(Section(title, text, cards=cards, faults=faults))
    return sections


def write_comparison(
    evaluations: Sequence[Evaluation],
    differences: Sequence[Difference],
    path: str | Path,
    *,
    notes: Sequence[str] = (),
    command: str | None = None,
) -> Path:
    """Writes runs side by side as one page.

    Args:
        evaluations: Of the runs.
        differences: As ``compare`` gave them.
        path: Of the HTML file.
        notes: As ``compare`` gave them.
        command: That made it; this process's command line if not given.
    """
    names = [evaluation.name for evaluation in evaluations]
    better = [sum(row.better[i] is True for row in differences) for i in range(len(names) - 1)]
    worse = [sum(row.better[i] is False for row in differences) for i in range(len(names) - 1)]
    told = [
        f"{name} is significantly better than {names[0]} in {b} and worse in {w} of {len(differences)} scores."
        for name, b, w in zip(names[1:], better, worse, strict=True)
    ]
    section = Section("Scores", " ".join([*notes, *told]), comparison=Comparison(names, differences))
    introduction = (
        f"Every score of {names[0]} beside those of the other runs on the same rows. p is the chance of such a "
        "difference if there were none (paired bootstrap), corrected for the number of comparisons (Holm); “–” where a "
        "metric is of the whole set, or rows could not be paired."
    )
    facts: dict[str, Any] = {"command": command or command_line()}
    for evaluation in evaluations:
        judge = evaluation.facts.get("judge")
        facts[evaluation.name] = (
            f"model {evaluation.facts.get('model', 'unknown')}, data {evaluation.facts['data']}, "
            f"judge {judge['hash'] if judge else 'none'}"
        )
    return write_page(path, "Comparison", [section], introduction=introduction, facts=facts)


def command_line() -> str:
    """How this process was called, as a user would type it."""
    program = Path(sys.argv[0])
    name = "python -m polymodal" if program.name == "__main__.py" else shlex.quote(program.name)
    return f"{name} {shlex.join(sys.argv[1:])}".rstrip()


def _joined(remark: str, ratio: float) -> str:
    near = f"nearest training value at {ratio:.2f} of the next ones' distance"
    return f"{remark} · {near}" if remark else near


def _percent(value: float | None) -> str:
    """A place on a bar from 0 to 1."""
    return "" if value is None else f"{100 * min(max(value, 0.0), 1.0):.1f}%"


def _shade(share: float) -> str:
    """Colours of a cell of the heat map, readable on light and dark ground."""
    return f"background: rgb(47 111 159 / {0.12 + 0.88 * share:.2f}); color: {'#fff' if share > 0.45 else 'inherit'}"


def _unit(score: Score) -> bool:
    """Whether a bar from 0 to 1 shows it."""
    return score.low >= 0 and all(end is None or 0 <= end <= 1 for end in (score.ceiling, score.chance))


def _yaml(value: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True, width=100)


def _show(value: Any) -> Markup:
    """An object as HTML."""
    if isinstance(value, list | tuple):
        return Markup("").join(_show(item) for item in value)
    if isinstance(value, PILImage.Image):
        file = io.BytesIO()
        value.save(file, "PNG", optimize=True)
        return Markup('<img alt="" width="{}" height="{}" src="{}">').format(
            *value.size, data_address("image/png", file)
        )
    if isinstance(value, Waveform):
        file = io.BytesIO()
        samples = np.clip(value.samples, -1, 1)
        kind = "flac" if len(samples) else "wav"  # half as long, and every browser plays it; but it cannot be empty
        soundfile.write(file, samples, value.sample_rate_hz, format=kind)
        player = Markup('<audio controls preload="none" src="{}"></audio>').format(data_address(f"audio/{kind}", file))
        return Markup('<span class="sound">{}{}</span>').format(_wave(samples), player)
    if isinstance(value, str):
        return Markup('<span class="text">{}</span>').format(value or Markup("<i>nothing</i>"))
    return Markup('<code class="text">{}</code>').format(escape(np.array2string(np.asarray(value), precision=2)))


def data_address(kind: str, file: io.BytesIO) -> str:
    """The content of a file, such as ``image/png``, as an address that needs no network."""
    return f"data:{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def _wave(samples: np.ndarray) -> Markup:
    """The loudness of sound over time, drawn."""
    pieces = np.array_split(samples, _WAVE_BARS)
    heights = [round(19 * float(np.abs(piece).max(initial=0)), 1) + 0.5 for piece in pieces]
    bars = "".join(f"M{2 * i + 1} {20 - height:.1f}v{2 * height:.1f}" for i, height in enumerate(heights))
    return Markup('<svg viewBox="0 0 {} 40" aria-hidden="true"><path d="{}"/></svg>').format(2 * _WAVE_BARS, bars)
