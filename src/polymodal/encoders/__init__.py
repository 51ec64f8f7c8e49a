"""FEATURE: field -> tokens."""

from polymodal.encoders.base import Encoder
from polymodal.encoders.frames import FramesEncoder
from polymodal.encoders.patches import PatchEncoder
from polymodal.encoders.picture import PictureEncoder
from polymodal.encoders.points import PointsEncoder
from polymodal.encoders.pretrained import PretrainedEncoder
from polymodal.encoders.sequence import SequenceEncoder
from polymodal.encoders.spectrogram import SpectrogramEncoder
from polymodal.encoders.trained import TrainedEncoder
from polymodal.encoders.vector import VectorEncoder
from polymodal.encoders.waveform import WaveformEncoder

ENCODERS: dict[str, type[Encoder]] = {
    "frames": FramesEncoder,
    "patches": PatchEncoder,
    "picture": PictureEncoder,
    "points": PointsEncoder,
    "pretrained": PretrainedEncoder,
    "sequence": SequenceEncoder,
    "spectrogram": SpectrogramEncoder,
    "trained": TrainedEncoder,
    "vector": VectorEncoder,
    "waveform": WaveformEncoder,
}
