"""Which rows the furniture data set has: what belongs together, which of it is held out, and what it costs."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from statistics import NormalDist

from polymodal.data.build_dataset import fraction
from polymodal.data.furniture.catalogues import Piece

TEST_SHARE, VALIDATION_SHARE = 0.15, 0.1  # of the groups

RATES = {
    "Bathroom": 14.0,
    "Bedroom": 9.0,
    "Characters": 20.0,
    "Doors and windows": 12.0,
    "Exterior": 5.0,
    "Kitchen": 16.0,
    "Lights": 18.0,
    "Living room": 10.0,
    "Miscellaneous": 7.0,
    "Office": 11.0,
    "Staircases": 8.0,
    "Vehicles": 30.0,
}
"""By category: the price of a piece whose box holds one litre."""
OTHER_RATE = 8.0
VOLUME_POWER = 0.5
"""The power of the volume that a price grows with."""


def groups(pieces: Sequence[Piece]) -> list[str]:
    """Of each piece, the group of near-identical ones that it belongs to, by the name of the group's first.

    Pieces belong together if their English names, or the files of their meshes in one catalogue, are called the same
    but for numbers.
    """
    parent = list(range(len(pieces)))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    seen: dict[str, int] = {}
    for place, piece in enumerate(pieces):
        for key in _keys(piece):
            first = seen.setdefault(key, place)
            first, second = sorted((root(first), root(place)))
            parent[second] = first
    return [_words(pieces[root(place)].names["en"]) for place in range(len(pieces))]


def _keys(piece: Piece) -> Iterator[str]:
    if name := _words(piece.names["en"]):
        yield f"name {name}"
    if stem := _words(PurePosixPath(piece.mesh).stem):
        yield f"file {piece.catalogue.name} {stem}"


def _words(text: str) -> str:
    """The words of a text without case, numbers and signs: ``armchair2`` and ``Armchair`` are one.

    >>> _words("smallTable-02")
    'small table'
    """
    return " ".join(re.findall(r"[^\W\d_]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", text).lower()))


def splits(group: str) -> str:
    """The split of all pieces of a group."""
    place = fraction("split", group)
    return "test" if place < TEST_SHARE else "validation" if place < TEST_SHARE + VALIDATION_SHARE else "train"


def price(piece: Piece, noise: float, rates: Mapping[str, float] = RATES) -> float:
    """What a piece costs, made up: rate of its category x litres ** ``VOLUME_POWER``, times e to the power of noise.

    Args:
        piece: Any.
        noise: Standard deviation of the noise, which depends on the piece's id alone.
        rates: By category.
    """
    width, height, depth = piece.size_cm
    z = NormalDist().inv_cdf(min(max(fraction("price", piece.id), 1e-6), 1 - 1e-6))
    litres = width * height * depth / 1000
    return round(rates.get(piece.category, OTHER_RATE) * litres**VOLUME_POWER * math.exp(noise * z), 2)
