"""Engines: where the modules lie, how gradients are taken and brought together, and what a checkpoint holds of them."""

from polymodal.training.engines.base import Engine
from polymodal.training.engines.data_parallel import DataParallel

ENGINES: dict[str, type[Engine]] = {"data_parallel": DataParallel}

__all__ = ["ENGINES", "Engine"]
