"""The page of a scorecard: faults, a heat map, all scores, samples and training curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from polymodal.evaluation.report.ability import unable_judges
from polymodal.evaluation.report.curves import training_curves
from polymodal.evaluation.report.heat_map import heat_map
from polymodal.evaluation.report.page import Card, Section, command_line, write_page
from polymodal.evaluation.scorecard import Sample, Scorecard, number

_INTRODUCTION = (
    "A score with its 95 % bootstrap interval. “Real” is what the row's real value scores by the same judge or, if "
    "that is less, what the best possible use of the input could; “chance” is what a model scores that "
    "does not look at its input. Green: as real values, within the interval; red: as by chance; grey: real values and "
    "chance are not known, or not apart."
)
_ASPECTS = {
    "quality": "How like real values the samples are as a set, in the judge's features. “Real” is what other real "
    "values score; “chance” is values each number of which comes from another row. Sharpness is the fine detail of the "
    "samples over that of the rows' real values.",
    "diversity": "How varied the samples are: the share of real values that have a sample nearby; how far samples of "
    "one input lie apart, in units of how far real values of all inputs do; how often words repeat.",
    "likelihood": "How probable the real value is to the head, given the inputs; “chance” is with other inputs.",
    "memorisation": "Samples much nearer to one training row than to the next ones; “real” is the share among held-out "
    "rows.",
    "reconstruction": "Real values through the codec and back, and what a linear function reads from its latents; "
    "“chance” is the value of another row.",
}


def write_report(
    scorecards: Scorecard | Sequence[Scorecard],
    path: str | Path,
    *,
    title: str = "Scorecard",
    command: str | None = None,
    run: str | Path | None = None,
    first: Sequence[Section] = (),
) -> Path:
    """Writes scorecards as one page: faults, the heat map, all scores, samples of every direction, training curves.

    Args:
        scorecards: One, or several of one model.
        path: Path of the HTML file.
        title: Heading of the page.
        command: That made the page; by default the command line of this process.
        run: Folder of the run, for the curves of its training.
        first: Sections above all others.
    """
    scorecards = [scorecards] if isinstance(scorecards, Scorecard) else list(scorecards)
    several = len(scorecards) > 1
    sections = list(first)
    for card in scorecards:
        sections += _overview(card, several)
    for card in scorecards:
        sections += _directions(card, several)
    if curves := training_curves(Path(run)) if run else {}:
        text = "Losses by step, as they were logged; dashed lines are of the validation rows."
        sections.append(Section("Training", text, drawings=curves))
    facts: dict[str, Any] = {"command": command or command_line()}
    known = scorecards[0].facts
    facts |= {"seed": known["seed"], "rows of a direction": f"at most {known['rows_of_a_direction']}"}
    facts["samples of an input"] = known.get("samples_of_an_input", 1)
    for card in scorecards:
        facts[f"data, {card.title}" if several else "data"] = f"{card.facts['rows']} rows, {card.facts['data']}"
    for name, key in (("training data", "training"), ("model", "model")):
        if known.get(key):
            facts[name] = known[key]
    if known["judge"]:
        facts["judge"] = known["judge"]["hash"]
    facts |= {
        f"{name}, all settings" if name == "judge" else name: known[name]
        for name in ("judge", "options", "recipe")
        if known[name]
    }
    return write_page(path, title, sections, introduction=_INTRODUCTION, facts=facts)


def _overview(card: Scorecard, several: bool) -> list[Section]:
    """What is wrong, the heat map, all scores."""
    sections = []
    if alerts := unable_judges(card):
        title = f"What the judges are worth, {card.title}" if several else "What the judges are worth"
        sections.append(Section(title, alerts=alerts))
    if card.faults:
        sections.append(Section(f"What is wrong, {card.title}" if several else "What is wrong", faults=card.faults))
    agreement = [score for score in card.scores if score.aspect == "coherence"]
    grid = heat_map(agreement)
    if grid and len(grid.lines) * len(grid.outputs) > 2:
        text = (
            "Agreement with the inputs: the first metric of each direction, from chance (pale) to what real values "
            "score (dark). Dashed: the score tells nothing, as real values score about as chance does, or the judge is "
            "unable."
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
        scores = [score for score in card.scores if score.direction == direction]
        if not scores:
            continue
        agreement = [score for score in scores if score.aspect == "coherence"] or scores[:1]
        text = "; ".join(f"{score.metric} {number(score.value)}" for score in agreement) + f", {scores[0].rows} rows."
        if any(sample.right is False for sample in samples):
            text += " Failures first."
        cards = [_card(card, scores[0].output, sample) for sample in samples]
        faults = [fault for fault in card.faults if fault.direction == direction]
        title = f"{direction}, {card.title}" if several else direction
        sections.append(Section(title, text, cards=cards, faults=faults))
    return sections


def _card(card: Scorecard, output: str, sample: Sample) -> Card:
    def preview(values: Mapping[str, Any]) -> dict[str, Markup]:
        return {name: card.fields[name].preview(value) for name, value in values.items()}

    remark = sample.remark
    if sample.ratio is not None:
        near = f"nearest training value at {sample.ratio:.2f} of the next ones' distance"
        remark = f"{remark} · {near}" if remark else near
    return Card(
        preview(sample.given),
        preview({output: sample.made}),
        preview({output: sample.truth}),
        sample.right,
        remark,
        preview({} if sample.nearest is None else {output: sample.nearest}),
    )
