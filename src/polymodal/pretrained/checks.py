"""What a folder of anybody's must be before a pretrained model is read from it: weights without programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from torch import Tensor

from polymodal.claims import tensors_of
from polymodal.errors import CheckpointError, quote
from polymodal.files import read_json

_ORIGINS = ("_name_or_path", "name_or_path")
"""Keys that tell where a model once was, which nothing reads."""
_OTHER_MODELS = ("backbone", "use_pretrained_backbone", "backbone_checkpoint")
"""Keys of configurations that fetch the weights of another model."""
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")
_MOST_FILES = 1000


def check_folder(folder: Path) -> list[Path]:
    """The files of a model, once nothing in its folder leads out of it or asks for a program.

    Args:
        folder: Of a model of transformers or diffusers.

    Returns:
        Its configurations, vocabularies and weights, sorted by name.

    Raises:
        CheckpointError: A link leads out of the folder, a configuration asks for code, names a path or another model,
            there are no weights in safetensors, or there is no configuration; says which, and what would be right.
    """
    inside = [folder.resolve()]
    if folder.parent.name == "snapshots":  # of the hub's cache, whose files lie beside the snapshot
        inside.append(folder.resolve().parent.parent / "blobs")
    entries = sorted(path for path in folder.iterdir() if path.is_file() or path.is_symlink())
    if len(entries) > _MOST_FILES:
        raise CheckpointError(f"{folder}: has more than {_MOST_FILES:,} files; a model has fewer")
    for path in entries:
        if path.is_symlink() and not any(path.resolve().is_relative_to(root) for root in inside):
            raise CheckpointError(f"{path}: is a link that leads out of the folder; put the file in its place")
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"{folder}: holds no config.json; give the folder of a model of transformers or diffusers"
        )
    weights = [path for path in entries if path.suffix == ".safetensors"]
    if not weights:
        pickles = [path.name for path in entries if path.suffix in _PICKLES]
        reason = f"only {pickles[0]}, which can run a program when it is read" if pickles else "no weights"
        raise CheckpointError(f"{folder}: has {reason}; save the model as safetensors")
    for path in entries:
        if path.suffix == ".json" and path.name not in ("tokenizer.json", "vocab.json"):
            _check_json(path, {file.name for file in weights})
    kinds = (".json", ".safetensors", ".txt", ".model")
    return [path for path in entries if path.suffix in kinds]


def claimed_weights(folder: Path) -> dict[str, Tensor]:
    """The weights that the files of a folder have, by name, on the meta device.

    Raises:
        CheckpointError: A file is no whole file of weights.
    """
    return {name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in tensors_of(file).items()}


def _check_json(path: Path, weights: set[str]) -> None:
    try:
        content = read_json(path)
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from None
    if path.name.endswith(".index.json") and isinstance(content, dict):
        named = content.get("weight_map")
        named = set(map(str, named.values())) if isinstance(named, dict) else set()
        if others := sorted(named - weights):
            raise CheckpointError(f"{path}: names the file {others[0]}, which is not in the folder")
    for key, value in _walk(content):
        if key == "auto_map":
            raise CheckpointError(
                f"{path}: auto_map asks for a program of its own, which is not run; use a model that transformers knows"
            )
        if key in _OTHER_MODELS and value:
            raise CheckpointError(f"{path}: {key} asks for the weights of another model, which are not fetched")
        if isinstance(value, str) and key not in _ORIGINS and _is_path(value):
            raise CheckpointError(f"{path}: {key} names the path {quote(value)}, which is not followed; take it out")


def _walk(content: Any) -> Iterator[tuple[str, Any]]:
    """Every key with its value, in lists and mappings of any depth; of a list, each value with the list's key."""
    waiting: list[tuple[str, Any]] = [("", content)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(str(inner), each) for inner, each in value.items()]
            yield from ((str(inner), each) for inner, each in value.items() if isinstance(each, dict | list))
        elif isinstance(value, list):
            waiting += [(key, each) for each in value]
        else:
            yield key, value


def _is_path(value: str) -> bool:
    """Whether a text is a path that is absolute or leads upwards, on any system."""
    if "\n" in value or len(value) > 4096:  # a template of a chat
        return False
    windows = PureWindowsPath(value)
    parts = {*PurePosixPath(value).parts, *windows.parts}
    return (value.startswith("/") and len(value) > 2) or bool(windows.drive) or value.startswith("~") or ".." in parts
