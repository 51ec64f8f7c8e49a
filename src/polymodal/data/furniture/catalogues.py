"""The catalogues of Sweet Home 3D: zip files ``*.sh3f`` with properties in many languages, icons and meshes.

Source: "Format of the furniture catalogue", developer's guide of Sweet Home 3D; ``.properties``: the documentation of
``java.util.Properties.load``.
"""

import posixpath
import re
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from polymodal.errors import DataError

DEBIAN_FOLDER = Path("/usr/share/sweethome3d/furniture")
DEBIAN_PACKAGE = "sweethome3d-furniture"
LANGUAGES = ("bg", "cs", "de", "el", "es", "fi", "fr", "hu", "it", "ja", "nl", "pl", "pt", "pt_PT", "ru", "sv", "tr",
             "vi", "zh_CN", "zh_TW")  # fmt: skip
"""Beside English; the catalogues leave some names in English."""

_STEM = "PluginFurnitureCatalog"
_LARGEST_MEMBER = 1 << 28
_ENTRY = re.compile(r"((?:\\.|[^\\=:\s])+)[^\S\n]*[=:]?[^\S\n]*(.*)")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)")
_LETTERS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f"}


@dataclass(frozen=True)
class Piece:
    """One piece of furniture.

    Attributes:
        id: Its name in the catalogue, such as ``Scopia#bed1``.
        catalogue: The file that it comes from.
        names, tags: By language, ``en`` first; what a language lacks is in English.
        category: In English.
        size_cm: Width, height and depth, as the axes of the mesh come.
        rotation: Nine numbers, rows of a matrix that turns the mesh before it is measured.
        icon, mesh: Members of the catalogue.
        author, licence: Who made the model, and its licence, as SPDX names it where it is known.
    """

    id: str
    catalogue: Path
    names: dict[str, str]
    tags: dict[str, str]
    category: str
    size_cm: tuple[float, float, float]
    rotation: tuple[float, ...]
    icon: str
    mesh: str
    author: str
    licence: str


def find(folder: Path | None) -> list[Path]:
    """The catalogues of a folder, or of Debian's package, by name.

    Raises:
        DataError: There are none; says how to get them.
    """
    there = sorted((folder or DEBIAN_FOLDER).glob("*.sh3f"))
    if there:
        return there
    if folder is not None:
        raise DataError(f"data set furniture: {folder} holds no catalogue of Sweet Home 3D (*.sh3f)")
    raise DataError(
        f"data set furniture: the catalogues of Sweet Home 3D are not in {DEBIAN_FOLDER}; either install Debian's "
        f"package: apt-get install {DEBIAN_PACKAGE}; or give a folder of catalogues (*.sh3f): furniture:folder=FOLDER"
    )


def read_pieces(catalogue: Path, languages: Iterable[str]) -> list[Piece]:
    """All pieces of a catalogue that have a name, a category, three sizes, an icon and a mesh.

    Raises:
        DataError: It is no catalogue.
    """
    try:
        with zipfile.ZipFile(catalogue) as archive:
            members = set(archive.namelist())
            english = parse_properties(_read(archive, f"{_STEM}.properties"))
            others = {
                language: parse_properties(_read(archive, name))
                for language in languages
                if (name := f"{_STEM}_{language}.properties") in members
            }
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{catalogue}: is no catalogue of Sweet Home 3D: {error}") from error
    licence = _licence(english.get("license", ""))
    pieces = []
    for key, name in english.items():
        kind, _, number = key.partition("#")
        if kind != "name" or not number:
            continue
        own = {what: english.get(f"{what}#{number}", "") for what in ("id", "category", "icon", "model", "creator")}
        size = _numbers(english.get(f"{side}#{number}", "") for side in ("width", "height", "depth"))
        if len(size) < 3 or min(size) <= 0 or not own["category"]:
            continue
        icon, mesh = (_member(own[what], members) for what in ("icon", "model"))
        if not icon or not mesh:
            continue
        names, tags = {"en": name}, {"en": english.get(f"tags#{number}", "")}
        for language, words in others.items():
            names[language], tags[language] = words.get(key) or name, words.get(f"tags#{number}") or tags["en"]
        rotation = _numbers(english.get(f"modelRotation#{number}", "").split())
        pieces.append(
            Piece(
                own["id"] or f"{catalogue.stem}#{number}",
                catalogue,
                names,
                tags,
                own["category"],
                (size[0], size[1], size[2]),
                rotation if len(rotation) == 9 else (1, 0, 0, 0, 1, 0, 0, 0, 1),
                icon,
                mesh,
                own["creator"] or english.get("provider", ""),
                licence,
            )
        )
    return pieces


def read_members(catalogue: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Members of a catalogue.

    Raises:
        DataError: One cannot be read, or is too large.
    """
    try:
        with zipfile.ZipFile(catalogue) as archive:
            return {name: _read(archive, name) for name in names}
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{catalogue}: {error}") from error


def parse_properties(content: bytes) -> dict[str, str]:
    r"""A ``.properties`` file of Java: keys and values by line, in Latin-1 with escapes.

    >>> parse_properties(b"# note\nname#1=Caf\\u00e9 \\\n  chair\ntags#1 : a\\=b\n")
    {'name#1': 'Café chair', 'tags#1': 'a=b'}
    """
    text = re.sub(r"(?<!\\)((?:\\\\)*)\\\r?\n[ \t\f]*", r"\1", content.decode("latin-1"))
    entries = {}
    for line in text.splitlines():
        line = line.lstrip()
        if line and line[0] not in "#!" and (match := _ENTRY.fullmatch(line)):
            key, value = (_ESCAPE.sub(_unescape, part) for part in match.groups())
            entries[key] = value.strip()
    return entries


def _unescape(match: re.Match[str]) -> str:
    code = match[1]
    return chr(int(code[1:], 16)) if len(code) == 5 else _LETTERS.get(code, code)


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    info = archive.getinfo(name)
    if info.file_size > _LARGEST_MEMBER:
        raise KeyError(f"{name} has {info.file_size:,} bytes; at most {_LARGEST_MEMBER:,} are read")
    return archive.read(info)


def _member(name: str, members: set[str]) -> str | None:
    name = posixpath.normpath(name.lstrip("/"))
    return name if name in members else None


def _numbers(texts: Iterable[str]) -> tuple[float, ...]:
    try:
        return tuple(float(text) for text in texts)
    except ValueError:
        return ()


def _licence(text: str) -> str:
    """A licence by the name that SPDX gives it; as it is where it is another one."""
    known: Sequence[tuple[str, str]] = (
        ("public domain", "CC0-1.0"),
        ("attribution 3.0 united states", "CC-BY-3.0-US"),
        ("attribution 3.0", "CC-BY-3.0"),
    )
    return next((name for words, name in known if words in text.lower()), " ".join(text.split()))
