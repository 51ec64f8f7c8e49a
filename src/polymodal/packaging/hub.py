"""Models on the hub of Hugging Face, or on a server that speaks as it does (``HF_ENDPOINT``)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polymodal.errors import CheckpointError

FETCHED = ("config.json", "model.safetensors", "checksums.json")
"""Files that every model has. They and adapters are fetched; whatever else its repository holds stays there."""
_ADAPTERS = "adapters/*.safetensors"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


def is_hub_name(text: str) -> bool:
    """Whether a text can be a name on the hub, ``owner/name``."""
    return _NAME.fullmatch(text) is not None


def download(name: str, revision: str | None = None) -> Path:
    """A folder with the weights and the configuration of a model of the hub, fetched once and kept in its cache.

    Args:
        name: ``owner/name``.
        revision: A branch, a tag or, so that the model stays the same, a commit; None for the newest.

    Raises:
        CheckpointError: There is no such model or revision, it is none of polymodal's, or the hub cannot be reached.
    """
    from huggingface_hub import snapshot_download

    with _told_of(name, revision):
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=[*FETCHED, _ADAPTERS]))
    if missing := [file for file in FETCHED if not (folder / file).is_file()]:
        raise CheckpointError(f"{name}: is on the hub, but is no model of polymodal: it has no {', '.join(missing)}")
    return folder


def upload(
    folder: Path, name: str, *, private: bool = False, revision: str | None = None, message: str = "Upload the model"
) -> str:
    """Puts a package on the hub, which is made there if need be.

    Args:
        folder: What ``write_package`` wrote.
        name: ``owner/name``.
        private: Whether a repository that is made now is seen by its owner alone.
        revision: Branch to commit to; None for the main one.
        message: Of the commit.

    Returns:
        Address of the commit.

    Raises:
        CheckpointError: It is no name, or the hub refuses or cannot be reached.
    """
    from huggingface_hub import HfApi

    if not is_hub_name(name):
        raise CheckpointError(f"'{name}': is no name on the hub; owner/name is")
    api = HfApi()
    with _told_of(name, revision):
        api.create_repo(name, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(name, branch=revision, exist_ok=True)
        commit = api.upload_folder(repo_id=name, folder_path=folder, revision=revision, commit_message=message)
    return str(commit)


@contextmanager
def _told_of(name: str, revision: str | None) -> Iterator[None]:
    """Whatever the hub or the way there answers is a ``CheckpointError`` of one line."""
    import httpx
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        yield
    except RepositoryNotFoundError:
        raise CheckpointError(f"{name}: there is no such model on the hub, or it is private (hf auth login)") from None
    except RevisionNotFoundError:
        raise CheckpointError(f"{name}: has no revision '{revision}'") from None
    except (HfHubHTTPError, httpx.HTTPError, OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{name}: {str(error).splitlines()[0] if str(error) else type(error).__name__}") from None
