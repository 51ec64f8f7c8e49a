"""A model in a folder of its own, laid out as the hub expects it: weights, configuration and model card."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from polymodal import checkpoint as checkpoints
from polymodal.errors import CheckpointError
from polymodal.files import atomic_folder, write_file
from polymodal.model import Model
from polymodal.packaging.card import is_public, model_card
from polymodal.packaging.hub import upload
from polymodal.quantisation import quantise

CARD = "README.md"


def write_package(
    model: Model,
    folder: str | Path,
    *,
    run: Path | None = None,
    overwrite: bool = False,
    int8: bool = False,
    **told: Any,
) -> Path:
    """Writes weights, configuration, checksums and model card, and nothing that only training needs.

    The recipe in ``config.json`` names its data only where they are built in or of the hub: the place of files on the
    author's disk is nobody's business.

    Args:
        model: What is packed.
        folder: Where; it must be empty, or not be there.
        run: Folder of the model's run, for the card.
        overwrite: Whether an older package is replaced.
        int8: Whether large weights are kept in 8 bits, from which they become floats when they are read.
        told: ``name``, ``licence``, ``data_licence`` and ``data_name`` of ``model_card``.

    Returns:
        The folder.

    Raises:
        CheckpointError: The folder holds something, or what the run's folder says of the model is broken.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if not overwrite:
            raise CheckpointError(f"{folder}: is there and not empty; choose another folder, or overwrite a package")
        if not folder.is_dir() or not {"checksums.json", CARD} <= {path.name for path in folder.iterdir()}:
            raise CheckpointError(f"{folder}: holds something other than a package; choose another folder")
    card = model_card(model, run, **told)
    config = checkpoints.config_of(model)
    if not is_public(config["recipe"]["data"]["source"]):
        config["recipe"]["data"] |= {"source": None, "root": None}
    weights = checkpoints.weights_of(model)
    with atomic_folder(folder, replace=overwrite or folder.exists()) as partial:
        checkpoints.write_into(partial, {"model": quantise(model, weights) if int8 else weights}, {"config": config})
        write_file(partial / CARD, card)
    return folder


def push_package(
    model: Model,
    name: str,
    *,
    run: Path | None = None,
    private: bool = False,
    revision: str | None = None,
    message: str = "Upload the model",
    **told: Any,
) -> str:
    """Packs a model and puts it on the hub, where a repository is made if need be.

    Args:
        model: What is packed.
        name: ``owner/name``.
        run: Folder of the model's run, for the card.
        private: Whether a repository that is made now is seen by its owner alone.
        revision: Branch to commit to; None for the main one.
        message: Of the commit.
        told: ``name``, ``licence``, ``data_licence`` and ``data_name`` of ``model_card``.

    Returns:
        Address of the commit.

    Raises:
        CheckpointError: It is no name, or the hub refuses or cannot be reached.
    """
    with TemporaryDirectory() as scratch:
        told = {"name": name.rpartition("/")[2]} | told
        folder = write_package(model, Path(scratch) / "package", run=run, **told)
        return upload(folder, name, private=private, revision=revision, message=message)
