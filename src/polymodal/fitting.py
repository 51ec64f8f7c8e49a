"""``fit``: trains a recipe on data."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polymodal.api import Generator
from polymodal.config import Recipe
from polymodal.device import choose_device
from polymodal.preparation import describe_data, everyday_settings, prepare
from polymodal.progress import messages_shown
from polymodal.training import stages

_log = logging.getLogger(__name__)


def fit(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    data: Any,
    *,
    run: str | Path,
    minutes: float | None = None,
    steps: int | None = None,
    overwrite: bool = False,
    strict: bool = False,
    set: Mapping[str, Any] | None = None,
    batch_size: int | None = None,
    size: str | None = None,
    device: str | None = None,
    print_progress: bool = True,
) -> Generator:
    """Trains a recipe on data. A call that was stopped, or finished with a smaller budget, goes on when made again.

    Args:
        recipe: Name of a recipe that comes with the package, a YAML file, or its contents.
        data: What ``load`` returned, or a source as for ``load``, whose fields are the recipe's, else inferred. None
            takes the source that the recipe names.
        run: Folder of the run: recipe as resolved, checkpoints, metrics, samples.
        minutes: Time budget of all stages together; give either this or ``steps``.
        steps: Number of steps.
        overwrite: Delete the run that is in the folder, and start anew.
        strict: Raise at the first row that cannot be read, instead of setting it aside.
        set: Any other keys of the recipe, dotted, such as ``{"train.learning_rate": 1e-4}``. A field that is inferred
            is corrected alike: ``{"fields.sound.max_seconds": 10}``; None leaves it out.
        batch_size: Rows of one step.
        size: Of the model: ``tiny``, ``small``, ``base`` or ``large``.
        device: Where the model computes, ``cpu`` or ``cuda``; None takes a GPU if there is one.
        print_progress: Show a bar in a terminal or notebook, or print a line every 30 seconds. What happens is logged
            to the logger ``polymodal`` in any case.

    Returns:
        The model, ready to generate.

    Raises:
        ConfigError: The recipe is wrong or does not fit the data, or there is no such device.
        DataError: The source is wrong.
        CheckpointError: The folder holds another run.
    """
    settings = everyday_settings(set, minutes=minutes, steps=steps, batch_size=batch_size, size=size)
    where = choose_device(device)
    resolved, data = prepare(recipe, data, settings, strict=strict)
    with messages_shown(print_progress):
        for line in describe_data(data):
            _log.info("%s", line)
        model = stages.fit(resolved, data, run, overwrite=overwrite, device=where, print_progress=print_progress)
    return Generator(model, Path(run), data.train.in_memory)
