"""The built-in data set ``furniture``: 820 pieces of furniture with mesh, icon, names, category, sizes and a price.

Built from the catalogues of Sweet Home 3D that Debian's package ``sweethome3d-furniture`` holds, or from a folder of
them. Licence and author are in every row. The price is made up: from the sizes and the category, with noise.

Splits. Pieces whose names, or the files of whose meshes, differ in a number only are one ``group``, and no group is in
two splits: a hash of the group decides, 15 % of them being ``test`` and 10 % ``validation``.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from polymodal.data.build_dataset import assembled, check, identify, make_cells
from polymodal.data.furniture.catalogues import LANGUAGES, Piece, find, read_members, read_pieces
from polymodal.data.furniture.rows import groups, price, splits
from polymodal.files import file_sha256

__all__ = ["FIELDS", "LANGUAGES", "OPTIONAL", "build"]

FIELDS = {
    "shape": {"modality": "points", "count": 2048},
    "icon": {"modality": "image", "size": 32},
    "name": {"modality": "text", "max_length": 40},
    "category": {"modality": "label"},
    "width": {"modality": "vector", "size": 1},
    "depth": {"modality": "vector", "size": 1},
    "height": {"modality": "vector", "size": 1},
    "price": {"modality": "vector", "size": 1},
}
"""What the columns are made of, as a recipe would say it."""

OPTIONAL = {"shape": "meshes", "price": "prices"}
"""By field, the option that leaves it out where it is false."""

CREDITS = {
    "BlendSwap-CC-0": "meshes, icons, names: Sweet Home 3D's catalogue BlendSwap-CC-0, CC0 1.0",
    "BlendSwap-CC-BY": "the same: BlendSwap-CC-BY, contributors of Blend Swap, CC BY 3.0",
    "Scopia": "the same: Scopia, copyright 2010-2012 Scopia Visual Interfaces Systems, CC BY 3.0",
    "KatorLegaz": "the same: KatorLegaz, copyright 2003-2008 Andrew Kator and Jennifer Legaz, CC BY 3.0 US",
    "Reallusion": "the same: Reallusion, copyright 2008-2016 Reallusion, CC BY 3.0 US",
}
_FORMAT = 1  # raise it when the same options give other rows
_ROWS_PER_GROUP = 100
_WORKERS = 2

_check = partial(check, "furniture")
_log = logging.getLogger(__name__)


def build(
    cache: Path,
    *,
    folder: str | None = None,
    languages: Sequence[str] = (),
    meshes: bool = True,
    prices: bool = True,
    noise: float = 0.15,
) -> Path:
    """Builds the data set once and returns its folder.

    The folder has ``rows.parquet`` (columns ``id``, ``shape`` as binary PLY in centimetres, ``icon`` as PNG, ``name``,
    ``tags``, ``category``, ``width``, ``depth``, ``height`` in centimetres, ``price``, ``author``, ``licence``,
    ``catalogue``, ``group``, ``split``; ``name_fr``, ``tags_fr`` and so on) and ``credits.json``.

    Args:
        cache: Where built data sets are kept, one folder for each set of options and content of the catalogues.
        folder: Folder of catalogues, ``*.sh3f``. None: that of Debian's package.
        languages: Languages of further names and tags, such as ``fr`` or ``zh_CN``.
        meshes: Whether there is the column ``shape``, which takes the extra ``shapes`` to build.
        prices: Whether there is the column ``price``.
        noise: Standard deviation of a price's logarithm, where category and sizes are known.

    Raises:
        DataError: There are no catalogues, a package is missing, an option is out of range, or a worker failed.
    """
    _check("languages", set(languages) <= set(LANGUAGES), f"{', '.join(languages)}; known: {', '.join(LANGUAGES)}")
    _check("noise", 0 <= noise <= 2, f"{noise}; from 0 to 2")
    catalogues = find(Path(folder).expanduser() if folder else None)
    options = {"languages": list(languages), "meshes": meshes, "prices": prices, "noise": noise}
    target = cache / f"furniture-{identify(_FORMAT, options, [file_sha256(path) for path in catalogues])}"
    if target.exists():
        return target
    _check("meshes", not meshes or bool(find_spec("trimesh")),
           "true needs: pip install 'polymodal[shapes]'; meshes=false does without")  # fmt: skip
    pieces = [piece for catalogue in catalogues for piece in read_pieces(catalogue, languages)]
    _check("folder", bool(pieces), f"{folder}; its catalogues name no piece of furniture")
    with assembled(target) as (scratch, finished):
        _log.info("building the furniture data set: %d pieces", len(pieces))
        cells: dict[str, bytes] = {}
        if meshes:
            tasks = [(p.id, str(p.catalogue.resolve()), p.mesh, p.rotation, p.size_cm) for p in pieces]
            shares = [tasks[worker::_WORKERS] for worker in range(_WORKERS)]
            cells = make_cells("furniture", "polymodal.data.furniture.meshes", shares, scratch)
        notes = {"options": options, "models": _credits(pieces)}
        (finished / "credits.json").write_text(json.dumps(notes, indent=2, ensure_ascii=False), "utf-8")
        _write(pieces, options, cells, finished / "rows.parquet")
    return target


def _credits(pieces: Sequence[Piece]) -> list[dict[str, Any]]:
    """Who made what, and under which licence."""
    found: dict[tuple[str, str, str], int] = {}
    for piece in pieces:
        key = (piece.catalogue.name, piece.author, piece.licence)
        found[key] = found.get(key, 0) + 1
    names = ("catalogue", "author", "licence")
    return [{**dict(zip(names, key, strict=True)), "pieces": count} for key, count in sorted(found.items())]


def _write(pieces: Sequence[Piece], options: Mapping[str, Any], meshes: Mapping[str, bytes], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    further = [f"{what}_{language}" for language in options["languages"] for what in ("name", "tags")]
    text = ["id", "name", "tags", *further, "category", "author", "licence", "catalogue", "group", "split"]
    numbers = ["width", "depth", "height", *(["price"] if options["prices"] else [])]
    binary = [*(["shape"] if options["meshes"] else []), "icon"]
    schema = pa.schema(
        {column: pa.binary() for column in binary}
        | {column: pa.string() for column in text}
        | {column: pa.float64() for column in numbers}
    )
    icons = {
        catalogue: read_members(catalogue, {piece.icon for piece in pieces if piece.catalogue == catalogue})
        for catalogue in {piece.catalogue for piece in pieces}
    }
    rows = []
    for piece, group in zip(pieces, groups(pieces), strict=True):
        width, height, depth = piece.size_cm
        row: dict[str, Any] = {"id": piece.id, "name": piece.names["en"], "tags": piece.tags["en"] or None}
        for language in options["languages"]:
            row[f"name_{language}"] = piece.names.get(language, piece.names["en"])
            row[f"tags_{language}"] = piece.tags.get(language, piece.tags["en"]) or None
        row |= {"category": piece.category, "author": piece.author, "licence": piece.licence}
        row |= {"catalogue": piece.catalogue.name, "group": group, "split": splits(group)}
        row |= {"width": width, "depth": depth, "height": height, "price": price(piece, options["noise"])}
        rows.append(row | {"icon": icons[piece.catalogue][piece.icon], "shape": meshes.get(piece.id)})
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, len(rows), _ROWS_PER_GROUP):
            part = [{name: row[name] for name in schema.names} for row in rows[start : start + _ROWS_PER_GROUP]]
            writer.write_table(pa.Table.from_pylist(part, schema))
