"""Files in GGUF, unpacked once into a folder of transformers, from which they are read in a moment."""

from __future__ import annotations

import json
from pathlib import Path

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
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import is_gguf_available

    target = cache_folder() / "pretrained" / f"gguf-{_FORMAT}-{file_sha256(file)}"
    if target.exists():
        return target
    if not is_gguf_available():
        raise ConfigError(f"model: {file.name} is read by the package gguf; install it: pip install gguf")
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_partials(target.parent)
    where = {"gguf_file": file.name, "local_files_only": True, "trust_remote_code": False}
    try:
        network = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **where)
        tokenizer = AutoTokenizer.from_pretrained(file.parent, **where)
    except Exception as error:  # the reader trusts the file, and fails in every way on one that is broken
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{file}: holds no model that can be read: {type(error).__name__}: {reason}") from None
    del network.config.quantization_config
    network.config._name_or_path = ""
    with atomic_folder(target) as partial:
        network.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        for name in ("config.json", "tokenizer_config.json"):  # a path of this machine is none of another's
            content = json.loads((partial / name).read_text(encoding="utf-8"))
            content = {
                key: value for key, value in content.items() if key not in ("name_or_path", "quantization_config")
            }
            (partial / name).write_text(json.dumps(content, indent=2), encoding="utf-8")
    return target
