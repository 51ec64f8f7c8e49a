"""What a user types: ``fit`` and ``open`` give a ``Generator``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from polymodal import checkpoint as checkpoints
from polymodal.config import Recipe, load_recipe
from polymodal.data import Data, Rows, infer_fields, load
from polymodal.errors import ConfigError
from polymodal.generation import generate
from polymodal.modalities.base import Modality
from polymodal.model import Model
from polymodal.nn.layers import lay_together
from polymodal.training import stages

if TYPE_CHECKING:
    from polymodal.evaluation import Scorecard
    from polymodal.evaluation.embedder import Embedder
    from polymodal.fill import Filled


class Generator:
    """A trained model that takes and gives raw objects: pictures, strings, sound.

    Args:
        model: Trained.
        run: Folder that it comes from, if any.
        training: Rows that it learned from, if they are at hand.
    """

    def __init__(self, model: Model, run: Path | None = None, training: Rows | None = None):
        lay_together(model)
        self.model, self.run, self.training = model.eval(), run, training

    @classmethod
    def from_pretrained(cls, run: str | Path, *, device: str | None = None) -> Generator:
        """The model of a run, of one of its checkpoints, or of what ``save_pretrained`` wrote.

        Args:
            run: Folder.
            device: Where it computes; None takes a GPU if there is one.

        Raises:
            CheckpointError: The folder holds no whole checkpoint.
        """
        model = checkpoints.load_model(run)
        return cls(model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")), Path(run))

    def save_pretrained(self, folder: str | Path) -> Path:
        """Writes the model, and nothing that only training needs, to a folder of its own.

        Raises:
            CheckpointError: The folder holds something else.
        """
        return checkpoints.save_model(self.model, Path(folder))

    @property
    def fields(self) -> dict[str, Modality]:
        """Modalities by name."""
        return self.model.modalities

    @property
    def inputs(self) -> list[str]:
        """Fields that can be given."""
        return list(self.model.encoders)

    @property
    def outputs(self) -> list[str]:
        """Fields that can be generated."""
        return list(self.model.heads)

    def generate(
        self,
        given: Mapping[str, Any],
        to: str | Sequence[str],
        *,
        n: int = 1,
        seed: int = 0,
        options: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> dict[str, list[Any]]:
        """Samples of the fields ``to``, each conditioned on what is given and on those before it.

        Args:
            given: Raw values by field: a string, a path, bytes, a picture, an array; ``{}`` gives nothing.
            to: Fields to generate, in this order.
            n: Number of samples.
            seed: Sample k of a seed is the same however many are drawn.
            options: Of the heads by field, such as ``{"picture": {"steps": 10, "guidance": 3.0}}``.

        Returns:
            By field, ``n`` objects: strings of text and labels, else objects with ``save(path)``.

        Raises:
            ConfigError: A field is unknown, or cannot be given or generated.
            DataError: A given value cannot be read.
        """
        return generate(self.model, given, [to] if isinstance(to, str) else to, n=n, seed=seed, options=options)

    def fill(self, table: str | Path, output: str | Path, **options: Any) -> Filled:
        """Fills the missing cells of a table from the other cells of their rows; see ``polymodal.fill.fill``."""
        from polymodal.fill import fill

        return fill(self.model, table, output, **options)

    def evaluate(
        self,
        rows: Rows | None = None,
        *,
        training: Rows | None = None,
        judge: Embedder | str | Path | None = None,
        judge_steps: int = 500,
        **options: Any,
    ) -> Scorecard:
        """Scores what is generated from rows that were held out; see ``polymodal.evaluation.evaluate``.

        In a run folder, what was measured is kept in ``evaluation/cells``, and a call that was stopped goes on.

        Args:
            rows: Such as ``data.test``, which is loaded again from where the run was trained if not given.
            training: Real rows that a judge of pictures and sound learns from; those of ``fit`` if not given.
            judge: A judge that has learned already, or its folder; or an encoder of Hugging Face, folder or hub name.
            judge_steps: Steps of the judge's training, done once in a run folder; 0 does without a judge.
            options: Of ``evaluate``.

        Raises:
            ConfigError: No rows are given, and the run does not know where its data are.
            DataError: There is nothing to score.
        """
        from polymodal.evaluation import Judge, evaluate
        from polymodal.evaluation.judges import open_judge

        if rows is None:
            data = self.data()
            rows, training = data.test, data.train if training is None else training
        training = self.training if training is None else training
        seen = any(modality.space.kind == "continuous" and modality.space.grid for modality in self.fields.values())
        if isinstance(judge, str | Path):
            if training is None:
                raise ConfigError(f"judge: {judge} is opened with the training rows; give training=data.train")
            judge = open_judge(judge, training)
        if judge is None and training is not None and judge_steps and seen:
            judge = Judge.train(training, steps=judge_steps, folder=self.run / "judge" if self.run else None)
        folder = {"folder": self.run / "evaluation" / "cells"} if self.run else {}
        return evaluate(self.model, rows, judge=judge, training=training, **(folder | options))

    def data(self, source: Any = None, *, strict: bool = False) -> Data:
        """The data that the model was trained on, or another source with the same columns, read in the same way.

        Raises:
            ConfigError: The source is not given, and the run does not know it.
            DataError: The source is wrong.
        """
        recipe = self.model.recipe
        fields = {
            name: {
                "modality": recipe.fields[name].modality,
                **modality.state(),
                "column": recipe.fields[name].column or name,
            }
            for name, modality in self.fields.items()
        }
        return _load(recipe, source, fields, strict)


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
) -> Generator:
    """Trains a recipe on data. Stopped at any time and called again, it goes on where it was.

    Args:
        recipe: Name of a recipe that comes with the package, a YAML file, or its contents.
        data: What ``load`` gave, or a source as ``load`` takes it, whose fields are the recipe's, else inferred. None
            takes the source that the recipe names.
        run: Folder of the run: recipe as resolved, checkpoints, metrics, samples.
        minutes: Time budget of all stages together, or
        steps: number of steps.
        overwrite: Start anew if another run is there.
        strict: Raise at the first row that cannot be read, instead of setting it aside.
        set: Any other key of the recipe, dotted, such as ``{"train.batch_size": 32}``.

    Returns:
        The model, ready to generate.

    Raises:
        ConfigError: The recipe is wrong or does not fit the data.
        DataError: The source is wrong.
        CheckpointError: The folder holds another run.
    """
    budget = {"train.minutes": minutes, "train.steps": steps}
    given = {key: value for key, value in budget.items() if value is not None}
    if len(given) == 2:
        raise ConfigError("minutes, steps: both are given; give one")
    resolved = load_recipe(recipe, {**(set or {}), **given})
    if isinstance(data, Data):
        resolved = resolved.model_copy(update={"data": type(resolved.data)()})  # where it came from is not known here
    else:
        resolved, data = load_data(resolved, data, strict=strict)
    return Generator(stages.fit(resolved, data, run, overwrite=overwrite), Path(run), data.train)


def load_data(recipe: Recipe, source: Any = None, *, strict: bool = False) -> tuple[Recipe, Data]:
    """The data that a recipe is to be run on, and the recipe with its place in it.

    Args:
        recipe: Its fields are read if it names any, else those of the built-in set, else what the columns seem to be.
        source: As ``load`` takes it; None for the one that the recipe names.
        strict: Raise at the first row that cannot be read.

    Raises:
        ConfigError: Neither names a source, or a field is wrong.
        DataError: The source is wrong.
    """
    fields: dict[str, Any] = {
        name: {"modality": field.modality, **field.arguments, "column": field.column or name}
        for name, field in recipe.fields.items()
    }
    source = recipe.data.source if source is None else source
    data = _load(recipe, source, fields or (infer_fields(source) if source is not None else {}), strict)
    place = str(source) if isinstance(source, str | Path) else None
    if place and Path(place).expanduser().exists():
        place = str(Path(place).expanduser().resolve())  # the run may later be used from another folder
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"source": place})}), data


def _load(recipe: Recipe, source: Any, fields: Mapping[str, Any], strict: bool) -> Data:
    source = recipe.data.source if source is None else source
    if source is None:
        raise ConfigError("data: no source is given, and the recipe names none; give --data, or data.source")
    settings = recipe.data.model_dump(exclude={"source"})
    return load(source, fields, strict=strict, **settings)


def open_run(run: str | Path, *, device: str | None = None) -> Generator:
    """The model of a run; see ``Generator.from_pretrained``."""
    return Generator.from_pretrained(run, device=device)
