"""Tensors in files of several processes, each of which wrote its own pieces: the folder ``NAME/`` of a checkpoint.

Written and read by ``torch.distributed.checkpoint`` as safetensors, in whose headers it says where each piece begins.
Nothing is pickled.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from polymodal.claims import tensors_of
from polymodal.errors import CheckpointError
from polymodal.files import naming

_OFFSETS = "DCP_SHARDING_INFO"
"""In a header, as the library has it: by name of a tensor, ``saved_offsets`` along its axes."""


def write_pieces(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes the pieces that this process holds; every process calls it with the same folder and names.

    Raises:
        OSError: A process could not write its file.
    """
    from torch.distributed.checkpoint import CheckpointException, DefaultSavePlanner, save
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter

    own = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    with _quiet():
        try:
            # What every process has, such as counts of what its rows showed, is the first one's, all of it.
            planner = DefaultSavePlanner(dedup_save_to_lowest_rank=True)
            save(own, storage_writer=HuggingFaceStorageWriter(str(folder), save_distributed=True), planner=planner)
        except CheckpointException as error:
            reasons = "; ".join(f"process {rank}: {failure[0]}" for rank, failure in error.failures.items())
            with naming(folder):
                raise OSError(f"cannot be written: {reasons}") from None


def file_of(folder: Path, rank: int) -> Path:
    """The file of a process, counted from 0."""
    return folder / f"shard-{rank + 1:05d}-model-00001-of-00001.safetensors"


def read_pieces(folder: Path, targets: Mapping[str, Tensor]) -> None:
    """Fills tensors with what is there under their names, each process its own pieces, however many wrote them.

    Raises:
        CheckpointError: A tensor is not there, or has another shape.
    """
    from torch.distributed.checkpoint import CheckpointException, load
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

    there = claimed_pieces(folder)
    for name, target in targets.items():
        if name not in there:
            raise CheckpointError(f"{folder}: {name} is missing")
        if there[name].shape != target.shape:
            shapes = f"{tuple(there[name].shape)}, not {tuple(target.shape)}"
            raise CheckpointError(f"{folder}: {name} has the shape {shapes}")
    together = any(hasattr(target, "placements") for target in targets.values())
    with _quiet():
        try:
            load(dict(targets), storage_reader=HuggingFaceStorageReader(str(folder)), no_dist=not together)
        except CheckpointException as error:
            raise CheckpointError(f"{folder}: cannot be read: {error}") from None


def claimed_pieces(folder: Path) -> dict[str, Tensor]:
    """By name, what the pieces make together, on the meta device.

    Raises:
        CheckpointError: A file cannot be read, or pieces do not make a whole.
    """
    sizes: dict[str, list[int]] = {}
    filled: dict[str, int] = {}
    kinds: dict[str, torch.dtype] = {}
    for file in sorted(folder.glob("*.safetensors")):
        for name, (piece, begin) in _pieces_of(file).items():
            ends = [at + length for at, length in zip(begin, piece.shape, strict=True)]
            sizes[name] = [max(pair) for pair in zip(sizes.get(name, ends), ends, strict=True)]
            filled[name] = filled.get(name, 0) + piece.numel()
            kinds[name] = piece.dtype
    for name, size in sizes.items():
        if math.prod(size) != filled[name]:
            raise CheckpointError(f"{folder}: the pieces of {name} do not make {tuple(size)}; a file is missing")
    return {name: torch.empty(size, dtype=kinds[name], device="meta") for name, size in sizes.items()}


def whole_pieces(folder: Path) -> dict[str, Tensor]:
    """By name, the whole tensors, for a single process.

    Raises:
        CheckpointError: A file cannot be read, or pieces do not make a whole.
    """
    made = {name: torch.zeros_like(claim, device="cpu") for name, claim in claimed_pieces(folder).items()}
    read_pieces(folder, made)
    return made


def _pieces_of(file: Path) -> dict[str, tuple[Tensor, list[int]]]:
    """By name, the pieces in a file, on the meta device, and where each begins along the axes of the whole."""
    pieces = tensors_of(file)
    try:
        with safe_open(file, "pt") as content:
            offsets = json.loads((content.metadata() or {})[_OFFSETS])
        begins = {name: [int(at) for at in offsets[name]["saved_offsets"]] for name in pieces}
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{file}: does not say where its pieces begin ({error})") from None
    for name, begin in begins.items():
        if len(begin) != pieces[name].ndim or min(begin, default=0) < 0:
            raise CheckpointError(f"{file}: a piece of {name} begins at {begin}, in no tensor of its shape")
    return {name: (piece, begins[name]) for name, piece in pieces.items()}


@contextmanager
def _quiet() -> Iterator[None]:
    """The library warns of a single process, and of what it will do otherwise one day."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
