"""Learned maps from one space to a smaller one, and back."""

from polymodal.codecs.base import Codec
from polymodal.codecs.fsq import FiniteScalarQuantizer
from polymodal.codecs.kl import KLAutoencoder
from polymodal.codecs.pretrained import PretrainedCodec
from polymodal.codecs.trained import TrainedAutoencoder

CODECS: dict[str, type[Codec]] = {
    "fsq": FiniteScalarQuantizer,
    "kl": KLAutoencoder,
    "pretrained": PretrainedCodec,
    "trained": TrainedAutoencoder,
}
