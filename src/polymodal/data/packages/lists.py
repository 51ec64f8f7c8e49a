"""What apt knows of packages: its lists, packed or not, as records of fields."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from polymodal.errors import DataError

LISTS = Path("/var/lib/apt/lists")
"""Where apt keeps its lists."""
_INDEX = re.compile(r".*(_Packages|_i18n_Translation-[A-Za-z_%\d]+)(\.(lz4|gz|xz|bz2|zst))?")
_PACKED = {".lz4": "lz4", ".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
_BULLET = re.compile(r"[-*+•o] ")


@dataclass
class Package:
    """One package.

    Attributes:
        name: Of the package.
        source: Of what it is built from, which it shares with its siblings.
        section: What Debian files it under, such as ``games``.
        digest: Of its English description, by which translations are found.
        texts: By language, its short and its long description.
    """

    name: str
    source: str
    section: str
    digest: str
    texts: dict[str, tuple[str, str]] = field(default_factory=dict)


def find(place: Path) -> list[Path]:
    """The lists in a folder, or the one file that is given, such as what ``apt-cache dumpavail`` printed.

    Raises:
        DataError: There are none.
    """
    if place.is_file():
        return [place]
    found = sorted(path for path in place.glob("*") if _INDEX.fullmatch(path.name)) if place.is_dir() else []
    if not found:
        raise DataError(f"data set packages: folder={place}; it holds no lists of apt, such as ..._Packages.lz4")
    return found


def read_packages(files: list[Path]) -> list[Package]:
    """The packages that lists name, each name once, with the descriptions that any of the lists has in any language.

    Raises:
        DataError: A list cannot be read.
    """
    packages: dict[str, Package] = {}
    texts: dict[tuple[str, str], dict[str, tuple[str, str]]] = {}
    for file in files:
        for record in _records(file):
            name, digest = record["Package"], record.get("Description-md5", "")
            found = {_language(key): _text(value) for key, value in record.items() if _is_description(key)}
            texts.setdefault((name, digest), {}).update({k: text for k, text in found.items() if text[1]})
            if "Section" in record and name not in packages:
                source = record.get("Source", name).partition(" ")[0]
                section = record["Section"].rpartition("/")[2]
                packages[name] = Package(name, source, section, digest)
    for package in packages.values():
        package.texts = texts[package.name, package.digest]
    return list(packages.values())


def _is_description(key: str) -> bool:
    return key.partition("-")[0] == "Description" and key != "Description-md5"


def _language(key: str) -> str:
    return key.partition("-")[2] or "en"


def _text(value: str) -> tuple[str, str]:
    """A description as a record has it -> its first line, and what follows with one line for each paragraph or item."""
    short, *lines = value.split("\n")
    paragraphs: list[str] = []
    fresh = True
    for line in lines:
        text = line.strip()
        if text in ("", "."):
            fresh = True
            continue
        if fresh or line.startswith("  ") or _BULLET.match(text):
            paragraphs.append(text)
        else:
            paragraphs[-1] += f" {text}"
        fresh = False
    return short.strip(), "\n".join(paragraphs)


def _records(file: Path) -> Iterator[dict[str, str]]:
    """The records of a list: by field, its value, whose further lines begin with a space."""
    record: dict[str, str] = {}
    last = ""
    for line in [*_lines(file), ""]:
        if not line.strip():
            if "Package" in record:
                yield record
            record = {}
        elif line[0] in " \t":
            record[last] = f"{record.get(last, '')}\n{line}"
        else:
            last, _, value = line.partition(":")
            record[last] = value.strip()


def _lines(file: Path) -> list[str]:
    import lzma

    import pyarrow as pa

    try:
        if file.suffix == ".xz":
            content = lzma.decompress(file.read_bytes())
        elif file.suffix in _PACKED:
            with pa.input_stream(str(file), compression=_PACKED[file.suffix]) as stream:
                content = stream.read()
        else:
            content = file.read_bytes()
        return content.decode().split("\n")
    except (OSError, ValueError, lzma.LZMAError) as error:
        raise DataError(f"data set packages: {file}: cannot be read: {error}") from None
