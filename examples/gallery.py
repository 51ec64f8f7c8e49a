"""What the demo's page begins with: pictures to look at and sounds to hear, failures among them; tables come below."""

from collections.abc import Iterable, Mapping
from typing import Any

from markupsafe import Markup

import polymodal as pm
from polymodal.data import Data, Rows
from polymodal.evaluation import Card, Section
from polymodal.generation import between

SAMPLES = 4
"""Pictures of each name."""
ROWS = 16
"""Cards of a section."""
PAIRS, STEPS = 8, 6
"""Of names, with pictures in between."""


def some(rows: Rows, count: int = ROWS) -> Rows:
    """Rows at even distances."""
    return rows.select(range(0, len(rows), max(1, len(rows) // count))[:count])


def sections(model: pm.Generator, data: Data, seed: int = 0) -> list[Section]:
    """Pictures and players, of inputs that were held out where the direction allows it.

    Args:
        model: The demo's.
        data: It was trained on.
        seed: Of all samples.
    """
    names, voices = some(data.train.unique("name")), some(data.test.where(held_out="voice"))
    unseen = some(data.test.where(held_out="style").unique("picture"))
    return [
        Section(
            "Pictures from names",
            f"{SAMPLES} samples for each of {len(names)} names, at even distances in the data: nothing is chosen.",
            cards=[_card(model, row, ["name"], ["picture"], SAMPLES, seed) for row in names],
        ),
        Section(
            "Spoken",
            "Each name spoken by the model, which was told nothing else, beside a real voice.",
            cards=[_card(model, row, ["name"], ["speech"], 1, seed) for row in names],
        ),
        Section(
            "Voices never heard",
            "What the model writes and draws when a voice that training never had says a name.",
            cards=[_card(model, row, ["speech"], ["name", "picture"], 1, seed) for row in voices],
        ),
        Section(
            "Styles never seen",
            "Pictures of names that training showed in other styles only, and what the model calls them.",
            cards=[_card(model, row, ["picture"], ["name"], 1, seed) for row in unseen],
        ),
        Section(
            "In between",
            f"From one name to another in {STEPS} steps: what the model is told is mixed, all else stays as it is.",
            cards=[
                _way(model, one, other, seed)
                for one, other in zip(list(names)[:PAIRS], list(names)[PAIRS:], strict=False)
            ],
        ),
        Section(
            "From nothing",
            "Picture, name and speech of one thing, which the model made up.",
            cards=[_card(model, None, [], ["picture", "name", "speech"], 1, seed + number) for number in range(8)],
        ),
    ]


def _card(model: pm.Generator, row: Any, given: list[str], to: list[str], count: int, seed: int) -> Card:
    """One input with what was made of it and, of a row, what is real."""
    raws = {name: row[name] for name in given}
    made = model.generate(raws, to, n=count, seed=seed)
    real = {} if row is None else {name: row[name] for name in to if row[name] is not None}
    right = made["name"][0] == real["name"] if "name" in real else None
    shown = {
        name: _side_by_side(model.fields[name].preview(thing) for thing in things) for name, things in made.items()
    }
    return Card(_previews(model, raws), shown, _previews(model, real), right)


def _way(model: pm.Generator, one: Any, other: Any, seed: int) -> Card:
    """The pictures from one name to another."""
    made = between(model.model, {"name": one["name"]}, {"name": other["name"]}, "picture", n=STEPS, seed=seed)
    shown = {"picture": _side_by_side((model.fields["picture"].preview(thing) for thing in made), columns=3)}
    return Card(_previews(model, {"name": f"{one['name']} to {other['name']}"}), shown, {}, None)


def _side_by_side(previews: Iterable[Markup], columns: int = 2) -> Markup:
    first, *others = previews
    if not others:
        return first
    joined = Markup("").join([first, *others])
    style = f"display: grid; grid-template-columns: repeat({columns}, auto); gap: 4px; zoom: 0.72"
    return Markup('<div style="{}">{}</div>').format(style, joined)


def _previews(model: pm.Generator, things: Mapping[str, Any]) -> dict[str, Markup]:
    return {name: model.fields[name].preview(thing) for name, thing in things.items()}
