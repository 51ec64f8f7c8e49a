"""FEATURE: field -> tokens."""

from polymodal.encoders.base import Encoder
from polymodal.encoders.picture import PictureEncoder
from polymodal.encoders.sequence import SequenceEncoder
from polymodal.encoders.spectrogram import SpectrogramEncoder
from polymodal.encoders.vector import VectorEncoder

ENCODERS: dict[str, type[Encoder]] = {
    "picture": PictureEncoder,
    "sequence": SequenceEncoder,
    "spectrogram": SpectrogramEncoder,
    "vector": VectorEncoder,
}
