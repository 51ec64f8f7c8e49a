"""The one table of what evaluation adds to each modality; a modality that it does not name follows from its space."""

from polymodal.evaluation.kinds.audio import AudioKind
from polymodal.evaluation.kinds.base import TOLERANCE, Kind
from polymodal.evaluation.kinds.image import ImageKind
from polymodal.evaluation.kinds.label import LabelKind
from polymodal.evaluation.kinds.molecule import MoleculeKind
from polymodal.evaluation.kinds.points import PointsKind
from polymodal.evaluation.kinds.series import SeriesKind
from polymodal.evaluation.kinds.text import TextKind
from polymodal.evaluation.kinds.video import VideoKind
from polymodal.modalities import Audio, Image, Label, Modality, Molecule, Points, Series, Text, Video

KINDS: dict[type[Modality], type[Kind]] = {
    Image: ImageKind,
    Text: TextKind,
    Audio: AudioKind,
    Label: LabelKind,
    Series: SeriesKind,
    Molecule: MoleculeKind,
    Points: PointsKind,
    Video: VideoKind,
}

__all__ = ["KINDS", "TOLERANCE", "Kind", "find_kind"]


def find_kind(modality: Modality) -> Kind:
    """What evaluation does with the values of a field of this modality."""
    return next((KINDS[base] for base in type(modality).__mro__ if base in KINDS), Kind)(modality)
