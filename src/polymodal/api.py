"""What a user calls of a trained model: the ``Generator`` that ``open`` and ``fit`` give."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polymodal import checkpoint as checkpoints
from polymodal import kept
from polymodal.data import SPLITS, Data, Rows, cache_folder, load, places
from polymodal.device import choose_device
from polymodal.errors import CheckpointError, ConfigError, DataError
from polymodal.generation import generate, generate_batch
from polymodal.guess import DRAWS
from polymodal.modalities.base import Modality
from polymodal.model import Model
from polymodal.nn.layers import flatten_parameters
from polymodal.packaging import download, is_hub_name, push_package, write_package
from polymodal.progress import Progress, messages_shown
from polymodal.samples import Samples

if TYPE_CHECKING:
    from polymodal.bulk import EmbeddedTables
    from polymodal.evaluation import Judge, Scorecard
    from polymodal.evaluation.calibration import Calibration
    from polymodal.evaluation.explanation import Explanation
    from polymodal.evaluation.judges import Embedder
    from polymodal.evaluation.privacy import Audit
    from polymodal.familiarity import Familiarity, FamiliarityMeter
    from polymodal.prior import FittedPrior
    from polymodal.search import Hit, Index


class Generator:
    """A trained model that takes and returns raw objects: pictures, strings, sound.

    Args:
        model: The trained model.
        run: The folder that it comes from, if any.
        training: The rows that it learned from, if they are loaded.
    """

    def __init__(self, model: Model, run: Path | None = None, training: Rows | None = None):
        flatten_parameters(model)
        self.model, self.recipe, self.run, self.training = model.eval(), model.recipe, run, training
        self._meter: FamiliarityMeter | None = None

    def __repr__(self) -> str:
        inputs, outputs = ", ".join(self.inputs), ", ".join(self.outputs)
        return f"Generator({self.run or 'of no run'}, on {self.model.device}: takes {inputs}; generates {outputs})"

    @classmethod
    def from_pretrained(cls, run: str | Path, *, revision: str | None = None, device: str | None = None) -> Generator:
        """The model of a run, of a checkpoint, of what ``save_pretrained`` or ``package`` wrote, or of the hub.

        Args:
            run: The folder; or, where there is no such folder, a name on the hub, ``owner/name``.
            revision: Version on the hub: a branch, a tag or, so that the model stays the same, a commit.
            device: Where the model computes, such as ``cuda`` or ``cpu``; None takes a GPU if there is one.

        Raises:
            CheckpointError: The folder holds no whole checkpoint; or the hub has no such model or cannot be reached.
            ConfigError: There is no such device.
        """
        where = choose_device(device)
        if not Path(run).exists() and is_hub_name(str(run)):
            return cls(checkpoints.load_model(download(str(run), revision)).to(where))
        if revision is not None:
            raise CheckpointError(f"{run}: is no name on the hub (owner/name), so there is no revision '{revision}'")
        return cls(checkpoints.load_model(run).to(where), Path(run))

    def save_pretrained(self, folder: str | Path) -> Path:
        """Writes the model, and nothing that only training needs, to a folder of its own.

        Raises:
            CheckpointError: The folder holds something else.
        """
        return checkpoints.save_model(self.model, Path(folder))

    def package(self, folder: str | Path, **options: Any) -> Path:
        """Writes the model and a model card, made from its run's scorecard, to a folder as the hub expects it.

        Args:
            folder: Where; it must be empty, or not be there.
            options: Of ``packaging.write_package``: ``overwrite``, ``name``, ``licence``, ``data_licence`` and
                ``data_name``.

        Raises:
            CheckpointError: The folder holds something else, or the run's scorecard is broken.
        """
        return write_package(self.model, folder, run=self.run, **options)

    def push_to_hub(self, name: str, **options: Any) -> str:
        """Packs the model and puts it on the hub of Hugging Face, as whoever has logged in there (``hf auth login``).

        Args:
            name: ``owner/name``; made if it is not there.
            options: Of ``packaging.push_package``: ``private``, ``revision``, ``message``, and those of ``package``.

        Returns:
            Address of the commit.

        Raises:
            CheckpointError: The hub refuses, or cannot be reached.
        """
        return push_package(self.model, name, run=self.run, **options)

    @property
    def fields(self) -> dict[str, Modality]:
        """The modality of each field."""
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
    ) -> Samples:
        """Samples of the fields ``to``, each conditioned on what is given and on those drawn before it.

        Args:
            given: Raw values by field: a string, a path, bytes, a picture, an array; ``{}`` gives nothing.
            to: Fields to generate.
            n: Number of samples.
            seed: Sample k of a seed is the same however many are drawn.
            options: Sampling options of the heads, by field, such as ``{"picture": {"steps": 10, "guidance": 3.0}}``.

        Returns:
            By field, ``n`` objects, which a notebook shows: strings of text and labels, else with ``save(path)``.

        Raises:
            ConfigError: A field is unknown, or cannot be given or generated.
            DataError: A given value cannot be read.
        """
        made = generate(self.model, given, [to] if isinstance(to, str) else to, n=n, seed=seed, options=options)
        return Samples(made, self.fields)

    def generate_batch(
        self,
        rows: Iterable[Mapping[str, Any]],
        to: str | Sequence[str],
        *,
        seed: int = 0,
        options: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> list[dict[str, Any]]:
        """One sample of the fields ``to`` for each of many rows: its objects by field, in the order of the rows.

        Args:
            rows: What is given, as of ``generate``; each row may lack other fields.
            to: Fields to generate, which no row gives.
            seed: Row k, from 0, has sample k of the seed, whatever the other rows are.
            options: Sampling options of the heads, by field.

        Raises:
            ConfigError: A field is unknown, or cannot be given or generated; names the row.
            DataError: A value cannot be read; names row and field.
        """
        return generate_batch(self.model, rows, to, seed=seed, options=options)

    def fill(
        self,
        table: Any,
        output: str | Path | None = None,
        *,
        bulk: Mapping[str, Any] | None = None,
        confidence: bool = False,
        min_confidence: float | None = None,
        compare: bool = True,
        print_progress: bool = True,
        **filling: Any,
    ) -> Any:
        """Fills the missing cells of a table from the other cells of their rows.

        Args:
            table: A .parquet, .jsonl, .csv or .tsv file; a data frame of pandas or polars; an Arrow table; or Parquet
                files, as a list, a folder, a pattern or URLs.
            output: The file to write, or the folder or its URL for Parquet files; not for a table in memory.
            bulk: How Parquet files are filled to a folder, as of ``polymodal.bulk.share``: ``engine``, ``address``,
                ``workers``, ``device``, ``shard``; and ``group_rows`` and ``lease_seconds``.
            confidence: Add columns with the probability that each filled cell is right. The run is calibrated on its
                validation rows first, if it is not yet.
            min_confidence: Leave a cell empty if that probability is less; implies ``confidence``.
            compare: Compare best guesses with the most frequent value, or the mean, on validation rows (once in a run
                folder), and log a warning where they are worse.
            print_progress: Whether to tell how far it is.
            filling: Options of ``polymodal.fill.fill``: ``overwrite``, ``root``, ``encoding``; and ``columns``,
                ``seed``, ``how``, ``draws``, ``mark`` and ``options`` as of ``polymodal.cell_filler.Filling``.

        Returns:
            What was done, or, of a table in memory, the same table filled, of the same kind.

        Raises:
            ConfigError: A field is unknown, or cannot be generated or calibrated; or the output cannot be there.
            DataError: The table cannot be read.
            CheckpointError: There is an output, or a part of one that was begun with other settings.
        """
        from polymodal.baseline import recall
        from polymodal.bulk import fill_many, is_many
        from polymodal.fill import fill

        many = is_many(table, output)
        if bulk and not many:
            raise ConfigError(
                f"{', '.join(bulk)}: only for Parquet files that are filled to a folder; name one as output"
            )

        if (confidence or min_confidence is not None) and not filling.get("calibration"):
            draws = filling.get("draws", DRAWS) if filling.get("how", "best") == "best" else 0
            there = kept.calibration(self.model, self.run, filling.get("options"), draws)
            filling["calibration"] = there or self.calibrate(options=filling.get("options"), draws=draws)
        with messages_shown(print_progress):
            if compare and (known := recall(self.model, filling, self.run, self.data)):
                known.warn(filling.get("columns"))
                filling.setdefault("numbers", known.numbers)
            filling |= {"min_confidence": min_confidence, "print_progress": print_progress}
            if many:
                return fill_many(self.model, table, output, run=self.run, bulk=bulk, **filling)
            return fill(self.model, table, output, **filling)

    def calibrate(
        self,
        rows: Rows | None = None,
        *,
        training: Rows | None = None,
        judge: Judge | None = None,
        judge_steps: int = 500,
        **options: Any,
    ) -> Calibration:
        """Learns how probable it is that a filled cell is right, and keeps that in the run's folder.

        Args:
            rows: Held-out rows; the validation rows of the run's data if not given.
            training: Real rows that a judge of pictures and sound learns from, as for ``evaluate``.
            judge: A judge that has been trained already.
            judge_steps: Steps of the judge's training; 0 trains none, and leaves pictures and sound out.
            options: Of ``evaluation.calibration.calibrate``: ``cells``, ``seed``, ``draws``, ``options`` of the heads.

        Raises:
            ConfigError: No rows are given, and the run does not know where its data are.
            DataError: There are no rows, or none that can be scored.
        """
        from polymodal.evaluation.calibration import calibrate

        if rows is None:
            data = self.data()
            rows, training = data.validation, data.train if training is None else training
        with messages_shown():
            known = self.training if training is None else training
            judge = judge or kept.judge(self.run, self.fields, known, judge_steps)
            with Progress("calibrating"):
                calibration = calibrate(self.model, rows, judge=judge, **({"draws": DRAWS} | options))
        if self.run:
            calibration.save(self.run / "calibration")
        return calibration

    def familiarity(self, given: Mapping[str, Any], *, learn: bool = True) -> dict[str, Familiarity]:
        """How familiar given values are: how near they lie to what the model learned from, by field.

        A run keeps what is needed since its training; of an older run, or of rows in memory, it is learned now.

        Args:
            given: Raw values by field, as of ``generate``.
            learn: Whether to learn it where the run does not have it; else nothing is told then.

        Returns:
            By field, the share of held-out values that are as unusual, and the unknown words of a text. Fields of
            which no held-out row has a value are left out.

        Raises:
            ConfigError: A field is unknown, or the run does not know where its data are.
            DataError: A value or the data cannot be read.
        """
        if self._meter is None:
            self._meter = kept.familiarity_meter(self.model, self.run, self.data if learn else None)
        return self._meter(given) if self._meter else {}

    def index(self, source: Any = "data") -> Index | EmbeddedTables:
        """Real rows, embedded to be searched; built once, kept in the run's folder, and opened when asked for again.

        Args:
            source: ``data`` (all rows of the run's data), the name of a split, rows such as ``data.test``, a source as
                ``load`` takes it, which may lack fields, or the folder that ``embed`` has written.

        Raises:
            ConfigError: The run has no alignment that tells rows apart, or does not know where its data are.
            DataError: The source is wrong, or has none of the aligned fields.
        """
        from polymodal.bulk import EmbeddedTables, is_embedded
        from polymodal.search import Index, rows_of

        if isinstance(source, Rows | Data):
            rows = source.rows if isinstance(source, Data) else source
        elif source in ("data", *SPLITS):
            rows = self.data().rows if source == "data" else self.data().splits[source]
        elif is_embedded(source):
            return EmbeddedTables(self.model, source)
        else:
            rows = rows_of(source, self._fields())
        reference = rows if (training := self.trained_on()) is None else training
        if self.run is None:
            return Index.build(self.model, rows, reference)
        return Index.open(self.model, rows, reference, self.run / "index")

    def embed(self, tables: Any, output: str | Path, **options: Any) -> Any:
        """Embeds Parquet files to a folder, which ``index`` opens; arguments as of ``polymodal.bulk.embed_many``."""
        from polymodal.bulk import embed_many

        options.setdefault("reference", lambda: self.trained_on() or self.data().train)
        with messages_shown(options.get("print_progress", True)):
            return embed_many(self.model, tables, output, run=self.run, **options)

    def search(self, given: Mapping[str, Any], to: str, *, index: Any = "data", k: int = 10) -> list[Hit]:
        """The real values of a field that are nearest to what is given, in the space of the run's alignment.

        Args:
            given: Raw values by field; the embeddings of several are averaged.
            to: Field to look in.
            index: What ``index`` gave, or takes.
            k: Most values to find.

        Returns:
            Hits, nearest first, each with its similarity, its value and all of its row as objects.

        Raises:
            ConfigError: The run has no alignment, or a field is unknown or not aligned.
            DataError: A value or the source cannot be read.
        """
        return (index if hasattr(index, "search") else self.index(index)).search(given, to, k=k)

    def evaluate(
        self,
        rows: Rows | None = None,
        *,
        training: Rows | None = None,
        judge: Embedder | str | Path | None = None,
        judge_steps: int = 500,
        print_progress: bool = True,
        **options: Any,
    ) -> Scorecard:
        """Scores what is generated from rows that were held out; see ``polymodal.evaluation.evaluate``.

        In a run folder, what was measured is kept in ``evaluation/cells``, and a call that was stopped goes on.

        Args:
            rows: Such as ``data.test``, which is loaded again from where the run was trained if not given.
            training: Real rows that a judge of pictures and sound learns from; those of ``fit`` if not given.
            judge: A judge that has learned already, or its folder; or an encoder of Hugging Face, folder or hub name.
            judge_steps: Steps of the judge's training, done once in a run folder; 0 does without a judge.
            print_progress: Whether to tell how far it is.
            options: Further arguments of ``polymodal.evaluation.evaluate``.

        Raises:
            ConfigError: No rows are given, and the run does not know where its data are.
            DataError: There is nothing to score.
        """
        from polymodal.evaluation import evaluate
        from polymodal.evaluation.judges import load_judge

        if rows is None:
            data = self.data()
            rows, training = data.test, data.train if training is None else training
        training = self.training if training is None else training
        if isinstance(judge, str | Path):
            judge = load_judge(judge, rows if training is None else training)
        cells: dict[str, Any] = {"folder": self.run / "evaluation" / "cells", "run": self.run} if self.run else {}
        with messages_shown(print_progress):
            judge = judge or kept.judge(self.run, self.fields, training, judge_steps, print_progress)
            with Progress("scoring", shown=print_progress and "progress" not in options) as bar:
                cells["progress"] = lambda place, count, name: bar.at(place / count, name)
                scorecard = evaluate(self.model, rows, judge=judge, training=training, **(cells | options))
                bar.at(1.0, f"{len(scorecard.scores):,} scores", left=0.0)
        return scorecard

    def explain(self, given: Mapping[str, Any], to: str, **options: Any) -> Explanation:
        """Which of the inputs, and which part of them, made sample 0 of a seed.

        Args:
            given: Raw values by field, as of ``generate``; at least one.
            to: The field to generate.
            options: Further arguments of ``evaluation.explanation.explain``: ``seed``, ``draws``,
                ``steps``, and ``options`` of the heads.

        Returns:
            Shapley values of the inputs, and attributions of their words, pixels and frames; ``write_explanation`` of
            ``polymodal.evaluation.explanation`` makes a page of them.

        Raises:
            ConfigError: A field is unknown, or cannot be given or generated.
            DataError: A given value cannot be read.
        """
        from polymodal.evaluation.explanation import explain

        return explain(self.model, given, to, **options)

    def audit(
        self,
        members: Rows | None = None,
        others: Rows | None = None,
        *,
        reference: Generator | None = None,
        print_progress: bool = True,
        **options: Any,
    ) -> Audit:
        """How well an attacker can tell training rows from others, and what is given away about them.

        Args:
            members: Rows that the model learned from; the training rows if not given.
            others: Rows that it did not learn from; the test rows of the run's data if not given.
            reference: Another model with the same fields, which learned from neither.
            print_progress: Whether to tell how far it is.
            options: Further arguments of ``evaluation.privacy.audit.audit``, such as ``n_rows`` and ``seed``.

        Raises:
            ConfigError: No rows are given, and the run does not know where its data are; or the models differ.
            DataError: There are too few rows.
        """
        from polymodal.evaluation.privacy import audit

        if members is None or others is None:
            data = self.data()
            members = data.train if members is None else members
            others = data.test if others is None else others
        other = None if reference is None else reference.model
        with messages_shown(print_progress), Progress("attacking", shown=print_progress) as bar:
            told = {"progress": lambda place, count, name: bar.at(place / count, name)} | options
            return audit(self.model, members, others, reference=other, **told)

    def fit_prior(self, rows: Rows | None = None, **options: Any) -> FittedPrior:
        """Fits the prior of the joint latent, from which everything is generated where nothing is given.

        Args:
            rows: The rows that the prior is fitted to; the training rows if not given.
            options: ``kind`` (standard, mixture, flow) and further arguments of ``polymodal.prior.fit_prior``.

        Raises:
            ConfigError: There is no joint latent; or no rows are given, and the run does not know where its data are.
        """
        from polymodal.prior import check_joint, fit_prior

        check_joint(self.model)
        rows = self.training if rows is None else rows
        return fit_prior(self.model, self.data().train if rows is None else rows, **options)

    def data(self, source: Any = None, *, strict: bool = False) -> Data:
        """The data that the model was trained on, or another source with the same columns, read in the same way.

        Raises:
            ConfigError: The source is not given, and the run does not know it.
            DataError: The source is wrong, or it is not given and only the run, which may be anybody's, names it.
        """
        if source is None:
            places.check_known(self.recipe.data.source, cache_folder())
        try:
            source_or_own = self.recipe.data.source if source is None else source
            if source_or_own is None:
                raise ConfigError("data: the run was trained on rows in memory and knows no source; give --data")
            options = self.recipe.data.model_dump(exclude={"source"})
            return load(source_or_own, self._fields(), strict=strict, **options).in_memory
        except DataError as error:
            if source is not None:
                raise
            raise DataError(f"{error}; if the data have moved, give their place (--data SOURCE)") from None

    def trained_on(self) -> Rows | None:
        """The rows that the model was trained on; None if the run has no source, or it is no longer at its place."""
        if self.training is None and self.recipe.data.source is not None:
            with suppress(DataError):
                self.training = self.data().train
        return self.training

    def _fields(self) -> dict[str, Any]:
        """The model's fields as ``load`` takes them."""
        recipe = self.recipe.fields
        return {
            name: {"modality": recipe[name].modality, **modality.state(), "column": recipe[name].column or name}
            for name, modality in self.fields.items()
        }


def open_run(run: str | Path, *, device: str | None = None) -> Generator:
    """The model of a run's folder, as ``from_pretrained`` gives it, which looks on the hub as well; this never does."""
    return Generator(checkpoints.load_model(run).to(choose_device(device)), Path(run))


from_pretrained = Generator.from_pretrained
