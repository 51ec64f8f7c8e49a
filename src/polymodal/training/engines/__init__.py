"""Engines: where the modules lie, how gradients are taken and brought together, and what a checkpoint holds of them."""

from polymodal.training.engines.base import Engine
from polymodal.training.engines.data_parallel import DataParallel
from polymodal.training.engines.sharded import Sharded

ENGINES: dict[str, type[Engine]] = {"data_parallel": DataParallel, "sharded": Sharded}

__all__ = ["ENGINES", "Engine"]
