"""Claims: what the files of a run say of sizes, checked against each other before memory is taken for it."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from polymodal.errors import CheckpointError

_CALLS_PER_WEIGHT, _FEWEST_CALLS = 20, 4_000
_MOST_BUFFER_BYTES = 1 << 28
"""Of what a model computes from its configuration and keeps, where its weights are fewer."""
_MOST_LINKS_DEEP = 8
_REPLACED = re.compile(r".*\.(json|safetensors|md)|\.gitattributes")
"""Files that are only read, or replaced as a whole, so that one may be a link, as in the cache of the hub."""


def tensors_of(file: Path) -> dict[str, Tensor]:
    """The tensors that a safetensors file claims to have, by name, on the meta device, which takes no memory.

    Raises:
        CheckpointError: It is no such file, or does not have what it claims.
    """
    try:
        with safe_open(file, "pt") as content:
            slices = {name: content.get_slice(name) for name in content.keys()}  # noqa: SIM118
            return {
                name: torch.empty(part.get_shape(), dtype=_dtype(part.get_dtype()), device="meta")
                for name, part in slices.items()
            }
    except (SafetensorError, OSError, RuntimeError, KeyError, ValueError, OverflowError) as error:
        raise CheckpointError(f"{file}: is no whole file of weights: {error}") from None


def _dtype(name: str) -> torch.dtype:
    return {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
            "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8,
            "BOOL": torch.bool}[name]  # fmt: skip


@contextmanager
def without_memory(weights: int) -> Iterator[None]:
    """Modules that are made inside have their weights on the meta device, and there may not be many more than expected.

    Args:
        weights: Number of tensors that are expected.

    Raises:
        CheckpointError: Far more are made.
    """
    with _Ceiling(_FEWEST_CALLS + _CALLS_PER_WEIGHT * weights), torch.device("meta"):
        yield


class _Ceiling(TorchFunctionMode):
    """Refuses to go on after so many calls of torch."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.calls = calls

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls -= 1
        # What ends torch.no_grad() is never refused, else gradients would stay switched off in this thread for good.
        if self.calls < 0 and func is not torch._C._set_grad_enabled:
            raise CheckpointError("its configuration describes far more weights than it has")
        return func(*args, **(kwargs or {}))


def check_weights(module: nn.Module, expected: Mapping[str, Tensor], claimed: Mapping[str, Tensor], where: str) -> None:
    """Refuses weights that are not those of a module, by names, shapes and types.

    Args:
        module: On the meta device.
        expected: Its weights.
        claimed: Those of a file.
        where: Place of the file.

    Raises:
        CheckpointError: One is missing, one too many, or other than it should be.
    """
    if missing := sorted(expected.keys() - claimed.keys()):
        raise CheckpointError(f"{where}: lacks weights that its config.json describes: {_some(missing)}")
    if more := sorted(claimed.keys() - expected.keys()):
        raise CheckpointError(f"{where}: has weights that its config.json does not describe: {_some(more)}")
    for name, weight in expected.items():
        there = claimed[name]
        if there.shape != weight.shape or there.is_floating_point() != weight.is_floating_point():
            raise CheckpointError(f"{where}: {name} is {_form(there)}, but its config.json describes {_form(weight)}")
    weight_bytes = sum(weight.nbytes for weight in expected.values())
    more_bytes = sum(buffer.nbytes for buffer in module.buffers())
    if more_bytes > max(_MOST_BUFFER_BYTES, 4 * weight_bytes):
        raise CheckpointError(
            f"{where}: its config.json describes {more_bytes:,} bytes beside {weight_bytes:,} of weights"
        )


def check_links(run: Path) -> None:
    """Refuses a run folder in which a link leads out, through which what is written to the run would go elsewhere.

    Raises:
        CheckpointError: One does; says which.
    """
    inside, waiting = run.resolve(), [(run, 0)]
    while waiting:
        folder, depth = waiting.pop()
        try:
            entries = sorted(folder.iterdir())
        except OSError as error:
            raise CheckpointError(f"{folder}: cannot be read: {error.strerror}") from None
        for path in entries:
            if path.is_symlink() and not _leads_to(path).is_relative_to(inside):
                if not (_REPLACED.fullmatch(path.name) and path.is_file()):
                    raise CheckpointError(
                        f"{path}: is a link that leads out of the run; put a file or folder in its place"
                    )
            elif path.is_dir() and not path.is_symlink() and depth < _MOST_LINKS_DEEP:
                waiting.append((path, depth + 1))


def _leads_to(link: Path) -> Path:
    try:
        return link.resolve()
    except (OSError, RuntimeError):  # in a circle
        return Path("/")


def _some(names: list[str]) -> str:
    return f"{', '.join(names[:3])}{f' and {len(names) - 3:,} more' if len(names) > 3 else ''}"


def _form(weight: Tensor) -> str:
    return f"{str(weight.dtype).removeprefix('torch.')} {tuple(weight.shape)}"
