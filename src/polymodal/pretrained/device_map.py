"""Where the weights of a network lie that is too large for one device, by Hugging Face Accelerate."""

from __future__ import annotations

import os
from functools import cache
from tempfile import TemporaryDirectory, mkdtemp
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict, NonNegativeInt, field_validator
from torch import nn

from polymodal.data.cache import cache_folder


class DeviceMap(BaseModel):
    """The weights of a network that stay as they are, spread over GPUs, main memory and the disk.

    Each device gets as many blocks, from the first on, as it has room for. Blocks in main memory and on the disk are
    brought to the GPU, or to the processor where there is none, whenever they are used.

    Attributes:
        max_memory: Most bytes of weights on each GPU, by its number, and on ``cpu``: ``{0: 20GiB, cpu: 60GiB}``. A
            device that is not named gets none; if none is, each gets what is free. GPUs that a machine does not have
            are passed over, so that a run opens elsewhere.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_memory: dict[NonNegativeInt | Literal["cpu"], int | str] = {}

    @field_validator("max_memory")
    @classmethod
    def _sizes(cls, value: dict[int | str, int | str]) -> dict[int | str, int | str]:
        from accelerate.utils import convert_file_size_to_int

        for device, size in value.items():
            try:
                convert_file_size_to_int(size)
            except ValueError:
                raise ValueError(f"{size} of {device} is no size; 20GiB and 500MB are") from None
        return value

    def options(self, *, learns: bool) -> dict[str, Any]:
        """Arguments of ``from_pretrained``.

        Args:
            learns: Whether an adapter learns in the network. Its weights are on the run's device, and so is all that is
                computed beside them.
        """
        from accelerate.utils import get_max_memory

        free = get_max_memory()
        if learns or "LOCAL_RANK" in os.environ:  # each of several processes has a GPU of its own
            own = torch.cuda.current_device() if torch.cuda.is_available() else "cpu"
            free = {device: size for device, size in free.items() if device in (own, "cpu")}
        limits = {device: size for device, size in self.max_memory.items() if device in free}
        folder = mkdtemp(dir=_scratch().name)  # for what cannot be read where it is
        return {"device_map": "auto", "max_memory": limits or free, "offload_folder": folder}


DeviceMapArgument = Annotated[DeviceMap, BeforeValidator(lambda value: {} if value == "auto" else value)] | None
"""``auto``, for what is free, or a ``DeviceMap``."""


def hooks_of(network: nn.Module) -> list[Any]:
    """Of a network that lies in several places, what brings weights and values to where they are computed with."""
    return [hook for module in network.modules() if (hook := getattr(module, "_hf_hook", None)) is not None]


@cache
def _scratch() -> TemporaryDirectory[str]:
    """A folder of this process in the cache, removed when it ends."""
    folder = cache_folder() / "pretrained"
    folder.mkdir(parents=True, exist_ok=True)
    return TemporaryDirectory(prefix="offload-", dir=folder)
