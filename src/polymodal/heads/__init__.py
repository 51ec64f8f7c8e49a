"""GENERATION: context -> field."""

from polymodal.heads.autoregressive import Autoregressive
from polymodal.heads.base import Head
from polymodal.heads.flow import Flow

HEADS: dict[str, type[Head]] = {"autoregressive": Autoregressive, "flow": Flow}
