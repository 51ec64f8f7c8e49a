"""Places of pretrained models: what a recipe calls one -> a folder on this machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from pathlib import Path

from polymodal.errors import ConfigError

_HUB = re.compile(r"[\w.-]+/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_PACKAGE = "package:"
_WANTED = ["*.json", "*.safetensors", "*.model", "*.txt"]
"""Files of a repository that are fetched: no program, and no pickle."""
_asks_hub: ContextVar[bool] = ContextVar("asks_hub", default=True)


@contextmanager
def without_hub() -> Iterator[None]:
    """Inside, nothing is fetched: a run, which may be anybody's, is opened with what is on this machine."""
    before = _asks_hub.set(False)
    try:
        yield
    finally:
        _asks_hub.reset(before)


def find(place: str, *, pinned: bool = True) -> tuple[Path, str]:
    """The folder, or file in GGUF, of a pretrained model, and the revision that a place on the hub names.

    Args:
        place: A folder; a file that ends in ``.gguf``; ``package:NAME/PATH``, which is either of these within an
            installed package of Python, that is not imported; or a name on the hub with the commit that is meant,
            ``owner/name@commit``.
        pinned: Whether a name on the hub must say its commit.

    Raises:
        ConfigError: There is no such place, or a name on the hub says no commit.
    """
    if place.startswith(_PACKAGE):
        return _within_package(place.removeprefix(_PACKAGE)), ""
    path = Path(place).expanduser()
    if path.is_dir() or path.is_file():
        return path, ""
    name, _, revision = place.partition("@")
    if path.is_absolute() or not _HUB.fullmatch(name):
        raise ConfigError(f"model: {place}: there is no such folder, and it is no name on the hub (owner/name@commit)")
    if pinned and not _COMMIT.fullmatch(revision):
        raise ConfigError(
            f"model: {place}: names no commit, and what a branch holds may change; give one: {name}@ and its 40 digits"
        )
    return _fetched(name, revision or None), revision


def _within_package(inner: str) -> Path:
    name, _, path = inner.partition("/")
    spec = find_spec(name) if name.isidentifier() else None  # which imports nothing
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(f"model: package:{inner}: there is no package '{name}'; install the one that has it")
    root = Path(spec.submodule_search_locations[0])
    found = root / path
    if ".." in Path(path).parts or not found.exists():
        raise ConfigError(f"model: package:{inner}: the package '{name}' has no {path}")
    return found


def _fetched(name: str, revision: str | None) -> Path:
    """A repository's files, from the cache of the hub where they are there."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    asks = _asks_hub.get()
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=_WANTED, local_files_only=not asks))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        if not asks:
            raise ConfigError(
                f"model: {name}: is not on this machine, and a run that names it fetches nothing; if you trust it: "
                f"hf download {name}{f' --revision {revision}' if revision else ''}"
            ) from None
        reason = str(error).strip().splitlines()[:1]
        raise ConfigError(f"model: {name}: is not in a folder here, and the hub gave none: {''.join(reason)}") from None
