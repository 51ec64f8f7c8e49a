"""Losses that pull the fields of a row together."""

from polymodal.alignment.base import Alignment
from polymodal.alignment.infonce import InfoNCE

ALIGNMENTS: dict[str, type[Alignment]] = {"infonce": InfoNCE}
