"""GENERATION: context -> field."""

from polymodal.heads.autoregressive import Autoregressive
from polymodal.heads.base import Head
from polymodal.heads.decoder import Decoder
from polymodal.heads.flow import Flow
from polymodal.heads.gan import Gan
from polymodal.heads.masked import Masked
from polymodal.heads.mixture import MixtureDensity
from polymodal.heads.pretrained_lm import PretrainedLM
from polymodal.heads.recurrent import Recurrent
from polymodal.heads.vae import VariationalAutoencoder

HEADS: dict[str, type[Head]] = {
    "autoregressive": Autoregressive,
    "decoder": Decoder,
    "flow": Flow,
    "gan": Gan,
    "masked": Masked,
    "mixture": MixtureDensity,
    "pretrained_lm": PretrainedLM,
    "recurrent": Recurrent,
    "vae": VariationalAutoencoder,
}
