"""Checkpoints: folders of safetensors and JSON, written all at once or not at all, and checked when read.

    step-00001000/
        config.json          recipe as resolved, fields with what they learned, format number, references to the weights
                             of parts that do not learn
        model.safetensors    all other weights, those of codecs included, but for
        adapters/            those of adapters of pretrained parts: a file for each part
        ema.safetensors      averaged weights of what trains
        trainer/             what resuming needs: optimizer.safetensors, averages.safetensors, state.json
        checksums.json       SHA-256 of every file above

An engine that shards the weights writes folders in place of the safetensors, such as ``model/``: the pieces that each
process holds. They are read alike, by any number of processes.

Nothing is pickled and nothing in it is executed.
"""

import hashlib
import json
import math
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from polymodal.checkpoint_pieces import claimed_pieces, whole_pieces
from polymodal.claims import check_links, check_weights, tensors_of, without_memory
from polymodal.config import Recipe, load_recipe
from polymodal.errors import CheckpointError, ConfigError
from polymodal.files import atomic_folder, file_name, file_sha256, read_json, remove_partials
from polymodal.files import write_tensors as write_file_of_tensors
from polymodal.migration import FORMAT, OLDER, migrate_config, migrate_weights
from polymodal.modalities import Modality
from polymodal.modalities import build as build_modality
from polymodal.model import Model
from polymodal.pretrained.places import without_hub
from polymodal.quantisation import dequantise

CHECKPOINTS = "checkpoints"
SAVED = {"model.safetensors", "adapters", "config.json", "checksums.json"}
"""What ``save_model`` writes."""
_ADAPTERS, _ADAPTER = "adapters/", ".adapter."
WriteTensors = Callable[[Path, Mapping[str, Mapping[str, Tensor]]], dict[str, str]]
"""(folder, tensors by the names of their files) -> SHA-256 of each file that was written, by its path in the folder."""
_PREFIX = "step-"
_FILE = re.compile(r"([a-z_]+/){0,2}[a-z_0-9-]+\.(json|safetensors)|adapters/[^/\\\0]+\.safetensors")


class Checkpoint:
    """A checked checkpoint.

    Args:
        path: Its folder.

    Raises:
        CheckpointError: A file is missing or is not what was written; says which.
    """

    def __init__(self, path: Path):
        self.path = path
        sums_file = path / "checksums.json"
        if not sums_file.is_file():
            raise CheckpointError(f"{path}: not a checkpoint: checksums.json is missing")
        try:
            sums = read_json(sums_file)
        except (ValueError, OSError):
            sums = None
        if not isinstance(sums, dict) or "config.json" not in sums:
            raise CheckpointError(f"{path}: checksums.json is corrupt")
        self.files = sums
        if not self.has("model"):
            raise CheckpointError(f"{path}: checksums.json is corrupt")
        for name, expected in sums.items():
            if not _FILE.fullmatch(name):
                raise CheckpointError(f"{path}: checksums.json is corrupt: it names '{name}'")
            if not (path / name).is_file():
                raise CheckpointError(f"{path}: {name} is missing")
            try:
                whole = file_sha256(path / name) == expected
            except OSError as error:
                raise CheckpointError(f"{path}: {name} cannot be read: {error.strerror}") from None
            if not whole:
                raise CheckpointError(f"{path}: {name} is corrupt: its checksum differs from checksums.json")

    @property
    def step(self) -> int:
        return int(self.path.name.removeprefix(_PREFIX))

    def has(self, name: str) -> bool:
        """Whether there is a ``name``.safetensors, or a folder of its pieces."""
        return f"{name}.safetensors" in self.files or self.in_pieces(name)

    def in_pieces(self, name: str) -> bool:
        """Whether several processes wrote the pieces of ``name`` that they held."""
        return any(file.startswith(f"{name}/") and file.endswith(".safetensors") for file in self.files)

    def tensors(self, name: str, *, missing: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
        """The tensors of ``name``, whole; ``missing``, if given, where an earlier version wrote no such file.

        Raises:
            CheckpointError: There is no such file, or it is none of tensors.
        """
        if missing is not None and not self.has(name):
            return missing
        if self.in_pieces(name):
            return whole_pieces(self.folder(name))
        weights: dict[str, Tensor] = {}
        for file in self._parts(name):
            try:
                weights |= load_file(self._file(file))
            except (SafetensorError, OSError, RuntimeError, ValueError) as error:
                raise CheckpointError(f"{self.path}: {file} cannot be read: {error}") from None
        return dequantise(migrate_weights(weights), str(self.path))

    def claimed(self, name: str) -> dict[str, Tensor]:
        """What ``tensors`` would give, on the meta device.

        Raises:
            CheckpointError: There is no such file, or it is none of tensors.
        """
        if self.in_pieces(name):
            return claimed_pieces(self.folder(name))
        weights: dict[str, Tensor] = {}
        for file in self._parts(name):
            weights |= tensors_of(self._file(file))
        return dequantise(migrate_weights(weights), str(self.path))

    def document(self, name: str) -> dict[str, Any]:
        """The contents of ``name``.json.

        Raises:
            CheckpointError: There is no such file, or it holds no JSON object.
        """
        try:
            document = read_json(self._file(f"{name}.json"))
        except (ValueError, OSError) as error:
            raise CheckpointError(f"{self.path}: {name}.json cannot be read: {error}") from None
        if not isinstance(document, dict):
            raise CheckpointError(f"{self.path}: {name}.json holds no JSON object")
        return document

    def model(self) -> Model:
        """A model as ``config.json`` describes it, with fresh weights, once its sizes are found to be the files'.

        Raises:
            CheckpointError: They are not, or it describes none that this version knows.
        """
        where, config = str(self.path), self.document("config")
        weights = self.claimed("model")
        with _described_at(where):
            description = _description(config, where)
            with without_memory(len(weights)):
                sketch = Model(*description)
        check_weights(sketch, weights_of(sketch), weights, f"{where}/model.safetensors")
        if self.has("ema"):
            averaged = self.claimed("ema")
            check_weights(sketch, trained_parameters(sketch), averaged, f"{where}/ema.safetensors")
        return model_from_config(config, where)

    def _parts(self, name: str) -> list[str]:
        """The files that hold the tensors of ``name``: those of adapters lie apart from the model's others."""
        adapters = sorted(file for file in self.files if file.startswith(_ADAPTERS)) if name == "model" else []
        return [f"{name}.safetensors", *adapters]

    def folder(self, name: str) -> Path:
        """The folder of the pieces of ``name``.

        Raises:
            CheckpointError: It holds a file that this checkpoint does not know.
        """
        folder = self.path / name
        if more := sorted(file.name for file in folder.iterdir() if f"{name}/{file.name}" not in self.files):
            raise CheckpointError(f"{folder}: {more[0]} is no file of this checkpoint; remove it")
        return folder

    def _file(self, name: str) -> Path:
        if name not in self.files:
            raise CheckpointError(f"{self.path}: {name} is missing")
        return self.path / name


def save(
    stage: Path,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    documents: Mapping[str, Any],
    keep: int,
    keep_bytes: float = math.inf,
    write_tensors: WriteTensors | None = None,
) -> Path:
    """Writes a checkpoint of a stage, then removes older ones.

    Args:
        stage: Folder of the run or of one of its stages.
        step: Number of steps taken.
        tensors: By file name without suffix, such as ``trainer/optimizer``.
        documents: By file name without suffix, as JSON.
        keep: Most checkpoints that stay, at least 1.
        keep_bytes: Most bytes of them; the newest stays however large it is.
        write_tensors: Writes the tensors, where this process does not hold all of them.
    """
    folder = stage / CHECKPOINTS
    remove_partials(folder)
    final = write(folder / f"{_PREFIX}{step:08d}", tensors, documents, write_tensors)
    size = 0
    for place, path in enumerate(reversed(_all(stage))):
        size += sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        if place >= keep or (place and size > keep_bytes):
            shutil.rmtree(path)
    return final


def write(
    final: Path,
    tensors: Mapping[str, Mapping[str, Tensor]],
    documents: Mapping[str, Any],
    write_tensors: WriteTensors | None = None,
) -> Path:
    """Writes the folder ``final``, in place of an older one, all at once."""
    with atomic_folder(final, replace=True) as partial:
        write_into(partial, tensors, documents, write_tensors)
    return final


def write_into(
    folder: Path,
    tensors: Mapping[str, Mapping[str, Tensor]],
    documents: Mapping[str, Any],
    write_tensors: WriteTensors | None = None,
) -> None:
    """Writes the files of a checkpoint, and their checksums, into a folder that is not yet at its place."""
    sums = (write_tensors or _write_files)(folder, tensors)
    for name, document in documents.items():
        path = folder / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        sums[f"{name}.json"] = file_sha256(path)
    (folder / "checksums.json").write_text(json.dumps(sums, indent=2) + "\n")


def _write_files(folder: Path, tensors: Mapping[str, Mapping[str, Tensor]]) -> dict[str, str]:
    sums = {}
    for name, group in _adapters_apart(tensors).items():
        path = folder / f"{name}.safetensors"
        path.parent.mkdir(exist_ok=True)
        write_file_of_tensors(path, group)
        sums[f"{name}.safetensors"] = file_sha256(path)
    return sums


def _adapters_apart(tensors: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Mapping[str, Tensor]]:
    """The tensors by file, of the model's those of each part's adapter in a file of its own."""
    groups: dict[str, dict[str, Tensor]] = {name: {} for name in tensors}
    for name, group in tensors.items():
        for key, value in group.items():
            part, is_adapter, _ = key.partition(_ADAPTER)
            file = f"{_ADAPTERS}{file_name(part)}" if is_adapter and name == "model" else name
            groups.setdefault(file, {})[key] = value
    return dict(groups)


def save_model(model: Model, folder: Path) -> Path:
    """Writes what ``load_model`` reads, and nothing that only training needs.

    Raises:
        CheckpointError: The folder holds something else.
    """
    if folder.exists():
        if not folder.is_dir() or (any(folder.iterdir()) and not (folder / "checksums.json").exists()):
            raise CheckpointError(f"{folder}: is there and holds no saved model; choose another folder")
        if more := sorted({path.name for path in folder.iterdir()} - SAVED):
            raise CheckpointError(f"{folder}: holds more than a saved model ({', '.join(more)}); choose another folder")
    return write(folder, {"model": weights_of(model)}, {"config": config_of(model)})


def newest(stage: Path) -> Checkpoint | None:
    """The newest checkpoint that is whole; each corrupt one is named in a warning. None if there is none."""
    for path in reversed(_all(stage)):
        try:
            return Checkpoint(path)
        except CheckpointError as error:
            warnings.warn(f"{error}; the checkpoint before it is used", stacklevel=2)
    return None


def find(run: str | Path) -> Checkpoint:
    """The checkpoint at ``run``, or the newest one of the run there.

    Raises:
        CheckpointError: There is none.
    """
    run = Path(run)
    if not run.is_dir():
        raise CheckpointError(f"{run}: there is no such run folder")
    check_links(run)
    if (run / "checksums.json").exists():
        return Checkpoint(run)
    if checkpoint := newest(run):
        return checkpoint
    raise CheckpointError(f"{run}: holds no whole checkpoint; a run folder has one under {CHECKPOINTS}/")


def load_model(run: str | Path, *, averaged: bool = True) -> Model:
    """The model of a run or checkpoint, ready to generate.

    Args:
        run: Folder of either.
        averaged: Take the averaged weights, which generate better, in place of the last ones.

    Raises:
        CheckpointError: The folder holds no whole checkpoint, or one of a newer format; or a part that does not learn
            has other weights than when the run was trained.
    """
    checkpoint = find(run)
    model = checkpoint.model()
    weights = checkpoint.tensors("model")
    if averaged and checkpoint.has("ema"):
        weights |= checkpoint.tensors("ema")
    for name, weight in weights.items():
        if not weight.isfinite().all():
            raise CheckpointError(f"{checkpoint.path}: a number of {name} is not finite; train the run anew")
    load_weights(model, weights)
    return model.eval()


def config_of(model: Model) -> dict[str, Any]:
    """What ``config.json`` holds."""
    config = {
        "format": FORMAT,
        "recipe": model.recipe.model_dump(mode="json"),
        "fields": {name: modality.state() for name, modality in model.modalities.items()},
    }
    references = {name: {**part.reference, "digest": reference_digest(part)} for name, part in referring(model).items()}
    return config | ({"references": references} if references else {})


def model_from_config(config: Mapping[str, Any], where: str) -> Model:
    """A model with fresh weights from the contents of a ``config.json``; parts that do not learn bring theirs.

    Raises:
        CheckpointError: Its format is not known, it describes no model, or a part that does not learn has other weights
            than it refers to.
    """
    with _described_at(where):
        model = Model(*_description(config, where))
    for name, part in referring(model).items():
        reference, found = config.get("references", {}).get(name, {}), reference_digest(part)
        if found != reference.get("digest"):
            known = ", ".join(f"{key} {value}" for key, value in reference.items())
            raise CheckpointError(
                f"{where}: {name}: its weights have the digest {found}, but the run was trained with other ones "
                f"({known or 'no reference is kept'}); put those back"
            )
    return model


def _description(config: Mapping[str, Any], where: str) -> tuple[Recipe, dict[str, Modality]]:
    """The recipe and the modalities of a ``config.json``."""
    config = migrate_config(config)
    if config.get("format") != FORMAT:
        known = ", ".join(map(str, (*OLDER, FORMAT)))
        raise CheckpointError(f"{where}: its format is {config.get('format')}; this version reads formats {known}")
    recipe, fields = config.get("recipe"), config.get("fields")
    if not isinstance(recipe, Mapping) or not isinstance(fields, Mapping):
        raise ConfigError("it has no recipe, or no fields")
    checked = load_recipe(recipe)
    if checked.fields.keys() != fields.keys() or not all(isinstance(state, Mapping) for state in fields.values()):
        raise ConfigError("its fields are not those of its recipe")
    kinds = {name: field.modality for name, field in checked.fields.items()}
    return checked, {
        name: build_modality(kinds[name], where=f"fields.{name}", **state) for name, state in fields.items()
    }


@contextmanager
def _described_at(where: str) -> Iterator[None]:
    """Whatever a constructor meets in a configuration that nobody's recipe has is a ``CheckpointError``."""
    try:
        with without_hub():
            yield
    except CheckpointError as error:
        raise error if str(error).startswith(where) else CheckpointError(f"{where}: {error}") from None
    except ConfigError as error:
        raise CheckpointError(f"{where}: its config.json is wrong: {error}") from None
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise CheckpointError(f"{where}: its config.json describes no model: {reason}") from error


def untrained_parts(module: nn.Module) -> dict[str, Any]:
    """By name in the module, the parts that do not learn, of whose weights a checkpoint holds references."""
    return {name: part for name, part in module.named_modules() if not getattr(part, "trains", True)}


def referring(module: nn.Module) -> dict[str, Any]:
    """By name in the module, the parts of which a checkpoint holds references: those that do not learn, and adapted."""
    adapted = {name: part for name, part in module.named_modules() if getattr(part, "digest", "")}
    return untrained_parts(module) | adapted


def reference_digest(part: nn.Module) -> str:
    """Names the weights that a checkpoint refers to: those of the place that they come from, or all of the part."""
    return getattr(part, "digest", "") or digest_of(part)


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """The weights that a checkpoint holds."""
    absent = tuple(f"{name}." for name in untrained_parts(module))
    return {name: value for name, value in module.state_dict().items() if not name.startswith(absent)}


def load_weights(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Puts back what ``weights_of`` gave.

    Raises:
        CheckpointError: They are another module's.
    """
    state = module.state_dict()
    kept = {name: state[name] for name in state.keys() - weights_of(module).keys()}
    try:
        module.load_state_dict({**kept, **weights})
    except RuntimeError as error:
        raise CheckpointError(f"the weights are not those of the model: {' '.join(str(error).split())}") from None


def digest_of(*modules: nn.Module) -> str:
    """Names the weights of modules, and those that they refer to: equal where they are."""
    digest = hashlib.sha256()
    for module in modules:
        for name, part in module.named_modules():
            if there := getattr(part, "digest", ""):
                digest.update(f"{name} {there}".encode())
        for name, tensor in module.state_dict().items():
            digest.update(
                name.encode() + tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
            )
    return digest.hexdigest()


def trained_parameters(trainee: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that train, by name: what the average keeps."""
    return {name: parameter for name, parameter in trainee.named_parameters() if parameter.requires_grad}


def buffers(trainee: nn.Module) -> dict[str, Tensor]:
    """What else a checkpoint holds of a module that learns, by name: what the average does not keep."""
    parameters = dict(trainee.named_parameters())
    return {name: tensor for name, tensor in weights_of(trainee).items() if name not in parameters}


@contextmanager
def going_on(checkpoint: Checkpoint) -> Iterator[None]:
    """Whatever training meets in a checkpoint that is whole, but not of this training, is a ``CheckpointError``."""
    try:
        yield
    except CheckpointError:
        raise
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RuntimeError) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise CheckpointError(f"{checkpoint.path}: is not a checkpoint of this training ({reason})") from error


def _all(stage: Path) -> list[Path]:
    found = (path for path in (stage / CHECKPOINTS).glob(f"{_PREFIX}*") if path.is_dir())
    return sorted(path for path in found if path.name.removeprefix(_PREFIX).isdecimal())


def flatten_optimizer(state: Mapping[str, Any], prefix: str) -> dict[str, Tensor]:
    """The tensors of an optimizer's ``state_dict`` by ``prefix.parameter.name``."""
    return {
        f"{prefix}.{number}.{name}": torch.as_tensor(value)
        for number, entry in state["state"].items()
        for name, value in entry.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], prefix: str) -> None:
    """Puts back what ``flatten_optimizer`` took.

    A file knows no strides. The fused optimizers walk a parameter and its averages by their places in memory, so each
    average must lie there as its parameter does, transposed or channels last.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        player, number, name = key.rsplit(".", 2)
        if player == prefix:
            parameter = parameters[int(number)]
            if value.shape == parameter.shape:
                value = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
            state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
