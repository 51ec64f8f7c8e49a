"""GENERATION: context -> field."""

from polymodal.heads.autoregressive import Autoregressive
from polymodal.heads.base import Head
from polymodal.heads.flow import Flow
from polymodal.heads.vae import VariationalAutoencoder

HEADS: dict[str, type[Head]] = {"autoregressive": Autoregressive, "flow": Flow, "vae": VariationalAutoencoder}
