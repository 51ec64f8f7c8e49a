"""Losses that pull the fields of a row together."""

from polymodal.alignment.base import Alignment
from polymodal.alignment.cca import DeepCCA
from polymodal.alignment.infonce import InfoNCE
from polymodal.alignment.mmd import MMD
from polymodal.alignment.sigmoid import Sigmoid

ALIGNMENTS: dict[str, type[Alignment]] = {"cca": DeepCCA, "infonce": InfoNCE, "mmd": MMD, "sigmoid": Sigmoid}
