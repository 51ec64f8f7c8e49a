"""Learned maps from the spectrogram of a sound to its samples."""

from polymodal.vocoders.base import Vocoder
from polymodal.vocoders.istft import IstftVocoder
from polymodal.vocoders.pretrained import PretrainedVocoder
from polymodal.vocoders.trained import TrainedVocoder

VOCODERS: dict[str, type[Vocoder]] = {
    "istft": IstftVocoder,
    "pretrained": PretrainedVocoder,
    "trained": TrainedVocoder,
}

__all__ = ["VOCODERS", "Vocoder"]
