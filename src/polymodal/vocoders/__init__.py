"""Learned maps from the spectrogram of a sound to its samples."""

from polymodal.vocoders.base import Vocoder
from polymodal.vocoders.istft import IstftVocoder

VOCODERS: dict[str, type[Vocoder]] = {"istft": IstftVocoder}

__all__ = ["VOCODERS", "Vocoder"]
