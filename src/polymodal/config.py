"""Recipes: strict models of the YAML."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from importlib.resources import files
from inspect import signature
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from polymodal.arguments import validate
from polymodal.data.fields import check_name
from polymodal.errors import ConfigError, unknown
from polymodal.migration import migrate_recipe
from polymodal.modalities import MODALITIES, Modality, build
from polymodal.parts import STRICT, DefaultParts, FieldConfig, Part, Parts, check_part
from polymodal.types import Space
from polymodal.yaml_text import parse_yaml


class ShardsConfig(BaseModel):
    """How rows are read from shards, tar or Parquet files of which a disk need not hold all at once.

    Attributes:
        window: Shards whose rows are mixed with each other; more mix better, and take more room.
        cache_megabytes: Of decoded values on this machine's disk, in millions of bytes: of a window's shards, and of
            the next ones that are fetched ahead.
        sample_rows: Training rows that statistics, classes and vocabularies, codecs and vocoders are learned from.
        held_out: Most rows that are kept in memory to validate with, and as many to test with.
    """

    model_config = STRICT
    window: int = Field(8, ge=1)
    cache_megabytes: float = Field(4096.0, gt=0)
    sample_rows: int = Field(10_000, ge=1)
    held_out: int = Field(2_000, ge=1)


class DataConfig(BaseModel):
    """Where rows come from and how they are split; the arguments of ``polymodal.load``."""

    model_config = STRICT
    source: str | None = None
    key: str | None = None
    group: bool = True
    split: str | None = None
    validation: float = Field(0.05, ge=0, lt=1)
    test: float = Field(0.1, ge=0, lt=1)
    limit: int | None = Field(None, ge=1)
    root: str | None = None
    follow_links: bool = False
    encoding: str | None = None
    shards: ShardsConfig | None = None


class TasksConfig(BaseModel):
    """Which fields of a row are given in training: the odds of the four ways to choose, and of each field.

    Attributes:
        none: Nothing is given: unconditional generation, and what guidance needs.
        one: Exactly one field is given.
        some: Any number of fields is given, each number but none and all as often as another.
        all: Every field is given that may be, which needs an output that is no input, or ``reconstruct``.
        few: Of rows with more fields than that, ``one`` is as much rarer, and ``some`` the more frequent: one of many
            fields tells little of the others. None leaves the odds as they are for any number of fields.
        inputs: Odds of a field where one is given; 1 where not said.
        reconstruct: What is given is to be generated as well, as autoencoders do; a joint latent needs it.
        alone: Share of the rows with a single field that are given it and asked for it, which teaches its encoder too;
            the others are given nothing.
        tasks_per_row: Tasks drawn for each row of a step, which is read and encoded once for all of them.
        sampling: How often each field is a target: as the rows have it (``fixed``); more often what few rows have
            (``scarcity``); more often what is being learned now (``progress``). ``pairs`` draws the rows with more
            fields more often, for data of which many cells are missing.
    """

    model_config = STRICT
    none: float = Field(0.1, ge=0)
    one: float = Field(0.6, ge=0)
    some: float = Field(0.3, ge=0)
    all: float = Field(0.0, ge=0)
    few: int | None = Field(None, ge=1)
    inputs: dict[str, float] = {}
    reconstruct: bool = False
    alone: float = Field(0.5, ge=0, le=1)
    tasks_per_row: int = Field(1, ge=1)
    sampling: Literal["fixed", "pairs", "progress", "scarcity"] = "fixed"

    @model_validator(mode="after")
    def _some_odds(self) -> TasksConfig:
        if self.none + self.one + self.some + self.all <= 0:
            raise ValueError("none, one, some and all are 0; at least one must be above")
        return self


class TrainConfig(BaseModel):
    """The training loop.

    Attributes:
        minutes: Time budget of all stages together; the schedule follows the clock.
        clock: Of the minutes: the ``wall``'s, or the ``processor``'s time of this process, which others on a busy
            machine do not shorten.
        steps: Number of steps of the main stage, in place of a time budget; the run is then exactly repeatable.
        codec_share: Share of the minutes, divided evenly among the codecs, that their training takes. The part of one
            that comes trained is the model's.
        codec_steps: Steps of each codec's training, with ``steps``.
        vocoder_share: Share of the minutes, divided evenly among the vocoders, that their training takes.
        vocoder_steps: Steps of each vocoder's training, with ``steps``.
        vocoder_from: Folder of a run whose vocoders are taken, in place of any training of these.
        batch_size: Rows of one step, over all processes and accumulated parts.
        codec_batch_size: Rows of one step of a codec's training; all distinct values, where there are fewer.
        vocoder_batch_size: Clips of one step of a vocoder's training, of each of which it sees a piece; all, where
            there are fewer.
        accumulate: Parts that a step's rows are processed in.
        optimizer: ``adamw``, or ``muon``, which takes fewer steps and longer ones: its updates of matrices have no weak
            direction. Parts that learn without momentum, as adversaries do, keep AdamW.
        learning_rate: Peak, reached after the warm-up.
        codec_learning_rate: Peak of a codec's training.
        vocoder_learning_rate: Peak of a vocoder's training.
        warmup: Share of the training in which the learning rate climbs.
        decay: Share of the training, its last, in which it falls in a line; without, it falls by half a cosine from the
            warm-up on.
        final_rate: Share of the peak that it ends at. Players that chase one another find their best in the average of
            their weights only, which needs them to keep moving: about 1 where there is a critic.
        weight_decay: Of matrices; vectors have none.
        clip: Largest norm of a player's gradient.
        ema_length: How far back the averaged weights, which generate, reach, as the standard deviation of a
            curve and a share of the training. If not given, that with the least loss of held-out rows is chosen at the
            end, or 0.1 where there are no such rows or an adversary, whose loss says nothing. See ``training.ema``.
        precision: ``no`` is 32-bit; ``auto`` is bf16 where a GPU has it, else ``no``; ``fast`` is that, and bf16 on a
            processor with units for it (AMX, AVX-512 BF16) too; ``convolutions`` is that for U-Nets alone, as small
            transformers are slower in it there.
        cache_precision: On disk, of what parts that do not learn make of training rows, and codecs: ``bf16``, half the
            room, or ``no`` for 32 bits.
        gradient_checkpointing: Keep of each block of transformers and U-Nets only what goes in, and compute the block
            again when its gradient is taken: the same gradients in much less memory, and about a third more time.
        compile: Compile all networks but LSTMs with ``torch.compile``, which takes minutes and needs a C++ compiler.
        engine: The part that runs the steps: ``data_parallel`` gives each process all weights and some of the rows.
        balance: The part that weighs the fields' losses against each other.
        keep_best: At the end, take the averaged weights of the validation whose losses were the least, if those of the
            end are worse: for a few hundred rows, which are learned by heart. It is not for adversaries, whose losses
            tell nothing of their quality.
        adapt_rates: The encoder and head of a field that overfits or stalls learn more slowly.
        seed: Seed of everything that is random.
        log_every: Steps between two lines of metrics.
        validate_every: Share of the training between two validations, with samples.
        checkpoint_every: Minutes between two checkpoints.
        checkpoint_steps: Steps between two checkpoints, in place of minutes.
        keep: Newest checkpoints that are kept; of a codec's or vocoder's training, one.
        keep_megabytes: Most bytes of them, in millions; the newest one is kept however large it is.
    """

    model_config = STRICT
    minutes: float | None = Field(None, gt=0)
    clock: Literal["wall", "processor"] = "wall"
    steps: int | None = Field(None, ge=1)
    codec_share: float = Field(0.3, ge=0, lt=1)
    codec_steps: int = Field(1000, ge=1)
    vocoder_share: float = Field(0.1, ge=0, lt=1)
    vocoder_steps: int = Field(1000, ge=1)
    vocoder_from: str | None = None
    batch_size: int = Field(64, ge=1)
    codec_batch_size: int = Field(32, ge=1)
    vocoder_batch_size: int = Field(8, ge=1)
    accumulate: int = Field(1, ge=1)
    optimizer: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = Field(1e-3, gt=0)
    codec_learning_rate: float = Field(1e-3, gt=0)
    vocoder_learning_rate: float = Field(2e-3, gt=0)
    warmup: float = Field(0.05, ge=0, lt=1)
    decay: float | None = Field(None, gt=0, le=1)
    final_rate: float = Field(0.0, ge=0, le=1)
    weight_decay: float = Field(0.05, ge=0)
    clip: float = Field(1.0, gt=0)
    ema_length: float | None = Field(None, ge=0.03, le=0.2)
    precision: Literal["auto", "fast", "convolutions", "no", "bf16", "fp16"] = "auto"
    cache_precision: Literal["bf16", "no"] = "bf16"
    gradient_checkpointing: bool = False
    compile: bool = False
    engine: Part = {"kind": "data_parallel"}
    balance: Part = {"kind": "fixed"}
    keep_best: bool = False
    adapt_rates: bool = False
    seed: int = Field(0, ge=-(1 << 63), lt=1 << 63)
    log_every: int = Field(20, ge=1)
    validate_every: float = Field(0.2, gt=0)
    checkpoint_every: float = Field(2.0, gt=0)
    checkpoint_steps: int | None = Field(None, ge=1)
    keep: int = Field(2, ge=1)
    keep_megabytes: float = Field(300.0, gt=0)

    @field_validator("engine", mode="before")
    @classmethod
    def _engine_by_name(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value

    @field_validator("precision", "cache_precision", mode="before")
    @classmethod
    def _yaml_no(cls, value: Any) -> Any:
        return "no" if value is False else value  # YAML reads an unquoted no as false

    @model_validator(mode="after")
    def _agrees(self) -> TrainConfig:
        if self.minutes and self.steps:
            raise ValueError("both minutes and steps are given; give one")
        if (warmup := self.warmup) + (decay := self.decay or 0) > 1:
            raise ValueError(f"warmup {warmup:g} and decay {decay:g} are more than the training; make one less")
        return self


class Recipe(BaseModel):
    """A whole recipe.

    Attributes:
        description: One line for ``polymodal recipes``.
        fields: By name. A recipe without fields takes those of the data that it is run on.
        defaults: Parts by modality.
        width: Width of the tokens and of the context.
        size: Scales the width and all parts: ``tiny``, ``small`` (as the recipe says), ``base`` or ``large``; see
            ``sizes.scaled``. Wider networks want a lower ``train.learning_rate``.
        from_scratch: Whether all is learned from the run's own rows, in its own minutes, in place of parts that come
            trained, or the modalities of which this holds: those that ``defaults.MODALITY.from_scratch`` names take
            the place of these, and others that come trained are refused. A run stores the parts, not this word.
        fusion: The part that joins the fields.
        alignment: The part that pulls the fields of a row together; none if not given.
        pivots: By output field and input field, the field of ids whose likeliest value is drawn first and given, though
            nobody asked for it: ``{speech: {picture: name}}``. Chosen by held-out rows at the end of the training where
            not given; ``{}`` is none. See ``polymodal.pivots``.
        screens: By output and input field, the fields of ids beside which a generated input is not shown:
            ``{speech: {picture: [name]}}``. Chosen likewise.
        tasks: What is given in training.
        data: Where the rows come from.
        train: The loop.
    """

    model_config = STRICT
    description: str = ""
    fields: dict[str, FieldConfig] = {}
    defaults: dict[str, DefaultParts] = {}
    width: int = Field(192, ge=8)
    size: Literal["tiny", "small", "base", "large"] = "small"
    from_scratch: bool | list[str] = False
    fusion: Part = {"kind": "attention"}
    alignment: Part | None = None
    pivots: dict[str, dict[str, str]] | None = None
    screens: dict[str, dict[str, list[str]]] | None = None
    tasks: TasksConfig = TasksConfig()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()

    @field_validator("from_scratch", mode="before")
    @classmethod
    def _true_false_or_modalities(cls, given: Any) -> Any:
        if not isinstance(given, bool | list):
            raise ValueError(f"true, false, or a list of modalities such as [image] is right, not {given!r}")
        return given

    def parts(self, name: str, space: Space | None = None, modality: Modality | None = None) -> Parts:
        """The parts of a field: its own, else the defaults of its modality; arguments of one kind are merged.

        Args:
            name: Name of the field.
            space: Its space, where that is known: small fields may have defaults of their own.
            modality: What it is made of, where that is known: a vocoder may not take it.
        """
        field = self.fields[name]
        default = self.defaults.get(field.modality, DefaultParts()).of(
            space, modality, self.starts_anew(field.modality)
        )
        return Parts(**{part: _merge(getattr(default, part), getattr(field, part)) for part in Parts.model_fields})

    def starts_anew(self, modality: str) -> bool:
        """Whether fields of a modality do without parts that come trained."""
        return modality in self.from_scratch if isinstance(self.from_scratch, list) else self.from_scratch


def _merge(default: Part | None, own: Part | None) -> Part | None:
    if own is None or default is None:
        return default if own is None else own
    return own if own.get("kind", default.get("kind")) != default.get("kind") else default | own


def check_recipe(recipe: Recipe) -> None:
    """Refuses a recipe of which a modality, a part or an argument of either is wrong, whatever the data are.

    Whether the parts fit the fields, which may come from the data, is for ``resolution.check_fit`` to say.

    Raises:
        ConfigError: It is; says where and what would be right.
    """
    anew = recipe.from_scratch if isinstance(recipe.from_scratch, list) else []
    for where, names in {"defaults": recipe.defaults, "from_scratch": anew}.items():
        for name in sorted(set(names) - set(MODALITIES)):
            raise ConfigError(unknown(f"{where}: modality", name, MODALITIES))
    for name, field in recipe.fields.items():
        check_name(name)
        constructor = signature(MODALITIES[field.modality]).parameters if field.modality in MODALITIES else {}
        needed = {key for key, parameter in constructor.items() if parameter.default is parameter.empty}
        if needed <= field.arguments.keys():  # else the data have what is missing
            build(field.modality, where=f"fields.{name}", **field.arguments)
    places: dict[str, tuple[Parts, Parts]] = {}
    for name, parts in recipe.defaults.items():
        kinds: dict[str, Parts | None] = {"": parts, ".from_scratch": parts.from_scratch, ".small": parts.small}
        places |= {f"defaults.{name}{which}": (each, each) for which, each in kinds.items() if each}
    places |= {f"fields.{name}": (field, recipe.parts(name)) for name, field in recipe.fields.items()}
    for place, (given, merged) in places.items():
        for family in Parts.model_fields:
            if getattr(given, family) is not None:
                check_part(family, getattr(merged, family), f"{place}.{family}")
    check_part("fusion", recipe.fusion, "fusion")
    if recipe.alignment is not None:
        check_part("alignment", recipe.alignment, "alignment")
    check_part("balancer", recipe.train.balance, "train.balance")


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(item.name.removesuffix(".yaml") for item in _shipped().iterdir() if item.name.endswith(".yaml"))


def recipe_notes(name: str) -> list[str]:
    """The comment at the head of a recipe: its command, then its minutes and scores and how they were measured."""
    lines = _shipped().joinpath(f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    return [line.removeprefix("#").strip() for line in itertools.takewhile(lambda line: line.startswith("#"), lines)]


def _shipped() -> Any:
    return files("polymodal").joinpath("recipes")


def load_recipe(recipe: str | Path | Mapping[str, Any] | Recipe, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """A recipe by name, from a YAML file or from a mapping, with dotted overrides such as ``train.minutes``.

    Raises:
        ConfigError: There is no such recipe, or it is wrong; says where and what would be right.
    """
    if isinstance(recipe, Recipe):
        tree = recipe.model_dump(exclude_unset=True)
    elif isinstance(recipe, Mapping):
        tree = dict(recipe)
    else:
        tree = _read_yaml(recipe)
    for key, value in (overrides or {}).items():
        _set(tree, key, value)
    checked: Recipe = validate(Recipe, migrate_recipe(tree))
    check_recipe(checked)
    return checked


def _read_yaml(recipe: str | Path) -> dict[str, Any]:
    path = Path(recipe)
    shipped = _shipped().joinpath(f"{recipe}.yaml")
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise ConfigError(f"recipe: there is no file {path}")
        text: str | Path = path
        place = str(path)
    elif shipped.is_file():
        text, place = shipped.read_text(encoding="utf-8"), str(recipe)
    else:
        raise ConfigError(unknown("recipe", str(recipe), recipe_names()))
    tree = parse_yaml(text, f"recipe {place}") or {}
    if not isinstance(tree, dict):
        raise ConfigError(f"recipe {place}: a mapping of keys is needed, not {type(tree).__name__}")
    return tree


def _set(tree: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        inner = tree.get(parent)
        tree[parent] = dict(inner) if isinstance(inner, Mapping) else {}
        tree = tree[parent]
    if value is not None and last in ("minutes", "steps"):  # one budget replaces the other
        tree.pop("steps" if last == "minutes" else "minutes", None)
    tree[last] = value
