"""Files in GGUF, unpacked once into a folder of transformers, from which they are read in a moment."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from polymodal.data.cache import cache_folder
from polymodal.errors import CheckpointError, ConfigError
from polymodal.files import atomic_folder, file_sha256, remove_partials

_FORMAT = 1
"""Raise it when the same file is unpacked into other weights."""


def unpacked(file: Path) -> Path:
    """The folder of a model in 32 bits that a file in GGUF holds, in the cache.

    Raises:
        ConfigError: The package ``gguf`` is missing.
        CheckpointError: The file holds no model that transformers knows.
    """
    from transformers.utils import is_gguf_available

    target = cache_folder() / "pretrained" / f"gguf-{_FORMAT}-{file_sha256(file)}"
    if target.exists():
        return target
    if not is_gguf_available():
        raise ConfigError(f"model: {file.name} is read by the package gguf; install it: pip install gguf")
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_partials(target.parent)
    # In a thread of its own it does not matter on which device the caller, who may only sketch a model, makes tensors.
    with ThreadPoolExecutor(1) as pool:
        network, tokenizer = pool.submit(_read, file).result()
    with atomic_folder(target) as partial:
        network.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
    return target


def _read(file: Path) -> tuple[Any, Any]:
    """The network and the tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = {"gguf_file": file.name, "local_files_only": True, "trust_remote_code": False}
    try:
        read = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **where)
        described = {key: value for key, value in read.config.to_dict().items() if key != "quantization_config"}
        network = AutoModelForCausalLM.from_config(type(read.config).from_dict(described))  # which may be saved
        network.load_state_dict(read.state_dict())
        return network, AutoTokenizer.from_pretrained(file.parent, **where)
    except Exception as error:  # the reader trusts the file, and fails in every way on one that is broken
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{file}: holds no model that can be read: {type(error).__name__}: {reason}") from None
