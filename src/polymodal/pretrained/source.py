"""One model of Hugging Face: checked, named by a digest, and loaded when it is needed."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from polymodal.claims import without_memory
from polymodal.errors import CheckpointError, ConfigError
from polymodal.files import file_sha256
from polymodal.pretrained import gguf
from polymodal.pretrained.checks import check_folder, claimed_weights
from polymodal.pretrained.device_map import DeviceMap
from polymodal.pretrained.places import find

_MORE = 1.02
"""Factor by which a configuration may describe more numbers than the files have, such as a pooler that nobody reads."""
_UNREAD = ("pooler.", "position_ids")
"""Parts of names of weights that may be missing, since nobody reads them."""


class PretrainedSource:
    """The weights and configurations of a pretrained model, of which nothing is in memory before it is asked for.

    No program that comes with a model is run, no pickle is read, and a configuration that describes more weights than
    the files have is refused before memory is taken for them.

    Args:
        place: A folder, a file in GGUF, ``package:NAME/PATH``, or ``owner/name@commit`` on the hub.
        pinned: Whether a name on the hub must say its commit.
        packages: That read the model.

    Attributes:
        folder: Where the files are.
        reference: What a checkpoint holds in place of the weights: ``place`` and, on the hub, ``revision``.

    Raises:
        ConfigError: A package is missing, or there is no such place.
        CheckpointError: What is there must not be read; see ``checks.check_folder``.
    """

    def __init__(self, place: str, *, pinned: bool = True, packages: Collection[str] = ("transformers",)) -> None:
        for package in packages:
            if find_spec(package) is None:
                raise ConfigError(
                    f"model: {place} is read by {package}; install it: pip install 'polymodal[pretrained]'"
                )
        path, revision = find(place, pinned=pinned)
        self.place, self.folder = place, gguf.unpacked(path) if path.is_file() else path
        self.files = check_folder(self.folder)
        self.reference: Mapping[str, str] = {"place": place, **({"revision": revision} if revision else {})}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all files that say what the model computes."""
        digest = hashlib.sha256()
        for path in self.files:
            status = path.stat()
            digest.update(
                f"{path.name} {_sha256(path, status.st_size, status.st_mtime_ns, status.st_ctime_ns)}\n".encode()
            )
        return digest.hexdigest()

    @cached_property
    def config(self) -> Any:
        """The configuration of a model of transformers.

        Raises:
            CheckpointError: transformers knows no such model.
        """
        from transformers import AutoConfig

        with self._reading():
            return AutoConfig.from_pretrained(self.folder, local_files_only=True, trust_remote_code=False)

    def load(self, kind: Any, device_map: DeviceMap | None = None, *, learns: bool = False) -> nn.Module:
        """The model, frozen, in evaluation mode and in 32 bits on the CPU; on the meta device, if that is the default.

        Args:
            kind: ``AutoModel`` or another of the classes of transformers, or a class of diffusers.
            device_map: Where it lies, if not on the CPU as a whole.
            learns: Whether an adapter is to learn in it.

        Raises:
            CheckpointError: The files do not hold the weights that the configuration describes, or hold no model of
                this kind.
        """
        sketched = torch.get_default_device().type == "meta"
        network = self._sketch(kind)
        if not sketched:
            with self._reading():
                network = self._loaded(kind, device_map.options(learns=learns) if device_map else {})
        return network.requires_grad_(False).eval()

    def processor(self, kind: Any, **settings: Any) -> Any:
        """A tokenizer, an image processor or a feature extractor, by its class ``kind`` of transformers.

        Raises:
            CheckpointError: The folder holds none.
        """
        with self._reading(), torch.device("cpu"):
            return kind.from_pretrained(self.folder, local_files_only=True, trust_remote_code=False, **settings)

    def _sketch(self, kind: Any) -> nn.Module:
        """The network on the meta device, once its configuration is found to describe no more than the files have."""
        claimed = claimed_weights(self.folder)
        with self._reading(), without_memory(len(claimed)):
            if _of_transformers(kind):
                # An automatic class has the one, a class of a single architecture the other.
                automatic = hasattr(kind, "from_config")
                network = kind.from_config(self.config, trust_remote_code=False) if automatic else kind(self.config)
            else:
                network = kind.from_config(kind.load_config(self.folder, local_files_only=True))
        described, there = (sum(t.numel() for t in ts) for ts in (network.parameters(), claimed.values()))
        if described > _MORE * there:
            raise CheckpointError(
                f"{self.folder}: its config.json describes {described:,} numbers, of which its files have {there:,}"
            )
        return network

    def _loaded(self, kind: Any, where: Mapping[str, Any]) -> nn.Module:
        arguments: dict[str, Any] = {"local_files_only": True, "use_safetensors": True, "output_loading_info": True}
        arguments |= where
        arguments["ignore_mismatched_sizes"] = True  # they are in the report, and refused below
        if _of_transformers(kind):
            arguments |= {"dtype": torch.float32, "trust_remote_code": False}
        network, report = kind.from_pretrained(self.folder, **arguments)
        missing = [name for name in report["missing_keys"] if not any(part in name for part in _UNREAD)]
        if missing or report["mismatched_keys"]:
            wrong = sorted(map(str, missing or report["mismatched_keys"]))[0]
            raise CheckpointError(f"{self.folder}: its files lack {wrong} as its config.json describes it")
        return network.float()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Whatever the libraries meet in the files is a ``CheckpointError``; what they print is not shown."""
        from transformers.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

        loggers = [logging.getLogger(name) for name in ("transformers", "diffusers")]
        levels, bars = [logger.level for logger in loggers], is_progress_bar_enabled()
        try:
            disable_progress_bar()
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        except ConfigError:
            raise
        except CheckpointError as error:
            raise (
                error if str(error).startswith(str(self.folder)) else CheckpointError(f"{self.folder}: {error}")
            ) from None
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(f"{self.folder}: cannot be read: {type(error).__name__}: {reason}") from None
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
            if bars:
                enable_progress_bar()


def _of_transformers(kind: Any) -> bool:
    return str(kind.__module__).startswith("transformers")


@cache
def _sha256(path: Path, *stamp: int) -> str:
    """Of a file, read again only if its size or times have changed."""
    return file_sha256(path)
