"""One direction as one file of ONNX, checked against PyTorch before it is written."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polymodal.errors import ConfigError
from polymodal.export.direction import Direction, example
from polymodal.files import atomic_file
from polymodal.generation import check_fields
from polymodal.modalities import kind_of
from polymodal.model import Model
from polymodal.nn.random import fold, make_keys, normal, uniform
from polymodal.nn.shapes import fixed_shapes
from polymodal.types import Field, Space

CLOSE = 1e-4
"""Largest difference of a number, in a space of about unit scale, from what PyTorch computes."""
ARRAYS = ("keys", "value", "mask")
_TRIES = 3


@dataclass(frozen=True)
class Exported:
    """A file that was written.

    Attributes:
        path: The file.
        direction: Such as ``name+speech->picture``.
        difference: Largest difference of a number from what PyTorch drew, over the rows that it was checked with.
        rows: Rows that it was checked with.
        file_bytes: Size.
    """

    path: Path
    direction: str
    difference: float
    rows: int
    file_bytes: int


def parse_direction(text: str, model: Model) -> tuple[list[str], str]:
    """``name+speech->picture`` as fields that can be given and the one that is drawn; ``->picture`` gives none.

    Raises:
        ConfigError: It is of another form, or the model cannot do that.
    """
    given, arrow, to = text.partition("->")
    if not arrow or not to.strip():
        raise ConfigError(f"direction: '{text}' is not of the form name->picture, or name+speech->picture")
    names = [name.strip() for name in given.split("+") if name.strip()]
    check_fields(model, dict.fromkeys(names), [to.strip()])
    if len(set(names)) < len(names):
        raise ConfigError(f"direction: '{text}' names a field twice")
    return names, to.strip()


def export_direction(
    model: Model,
    given: Sequence[str],
    to: str,
    path: str | Path,
    *,
    rows: int = 1,
    options: Mapping[str, Any] | None = None,
) -> Exported:
    """Writes a file that draws a field from others, any of which may be absent, with its random numbers.

    The inputs are ``keys`` (rows,), and of each given field its values in model form and their mask, which is False
    everywhere where the field is absent; the outputs are ``value`` and ``mask``. The file's metadata say under
    ``polymodal`` how raw values become these, as ``polymodal.export.runner`` reads them.

    Args:
        model: Any; a copy on the CPU is exported.
        given: Fields that can be given.
        to: The field that is drawn.
        path: Of the file.
        rows: Rows that are drawn at once.
        options: Sampling options of the head, which become part of the file.

    Raises:
        ConfigError: The direction cannot become a graph, or the graph draws something else than PyTorch; says why.
    """
    _check_installed()
    import onnx

    direction = f"{'+'.join(given)}->{to}"
    if rows < 1:
        raise ConfigError(f"rows: {rows} is not at least 1")
    module = Direction(model, given, to, options).eval()
    _refuse_parts(module, direction)
    program = _traced(module, example(model, given, rows), direction)
    names = ["keys", *(f"{name}.{part}" for name in given for part in ("value", "mask"))]
    document = program.model_proto
    _rename(document, names)
    difference, checked = _difference(document.SerializeToString(), module, names, rows)
    if not difference <= CLOSE:
        raise ConfigError(
            f"{direction}: is not exported: what the graph draws differs by {difference:.2g} from what PyTorch draws; "
            f"at most {CLOSE:g} is the same"
        )
    facts = {
        "direction": direction, "rows": rows, "recipe": model.recipe.description,
        "inputs": [_described(model, name) for name in given], "output": _described(model, to),
        "options": vars(module.options), "difference": difference,
    }  # fmt: skip
    onnx.helper.set_model_props(document, {"polymodal": json.dumps(facts, ensure_ascii=False)})
    path = Path(path)
    with atomic_file(path) as partial:
        partial.write_bytes(document.SerializeToString())
    return Exported(path, direction, difference, checked, path.stat().st_size)


def _check_installed() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise ConfigError(f"export: needs {', '.join(missing)}; install them: pip install 'polymodal[export]'")


def _refuse_parts(module: Direction, direction: str) -> None:
    """Refuses what is known not to become a graph."""
    model, to = module.model, module.to_field
    parts: dict[str, Any] = {f"encoder of '{name}'": model.encoders[name] for name in module.given}
    parts |= {f"codec of '{name}'": codec for name, codec in model.codecs.items() if name == to}
    parts[f"head of '{to}'"] = model.heads[to]
    for name, part in parts.items():
        if any(getattr(inner, "digest", "") for inner in part.modules()):
            raise ConfigError(
                f"{direction}: is not exported: the {name} brings weights of its own ({type(part).__name__}); export "
                "that from where it comes from"
            )
        if reason := getattr(part, "no_graph", ""):
            raise ConfigError(f"{direction}: is not exported: the {name} {reason}")
    if getattr(module.options, "truncation", 0):
        raise ConfigError(f"{direction}: is not exported: truncation needs a function that ONNX lacks (erfinv)")


def _traced(module: Direction, arguments: tuple[Tensor, ...], direction: str) -> Any:
    """What PyTorch's exporter makes of a module."""
    try:
        # What was traced before must not make sizes symbols: those of a loop are all known.
        torch.compiler.reset()
        with _silence(), torch.no_grad(), torch._dynamo.config.patch(automatic_dynamic_shapes=False):
            return torch.onnx.export(module, arguments, dynamo=True, verbose=False)
    except Exception as error:  # whatever the tracer meets in a part that anybody may have written
        root: BaseException = error
        while root.__cause__ is not None:
            root = root.__cause__
        lines = [line.strip() for line in str(root).splitlines() if line.strip()]
        told = [line for line in lines if line.startswith("Explanation: ")] or lines or [type(root).__name__]
        reason = told[0].removeprefix("Explanation: ")
        raise ConfigError(
            f"{direction}: is not exported: its parts ({type(module.model.heads[module.to_field]).__name__}) cannot "
            f"be traced: {type(root).__name__}: {reason}"
        ) from error


@contextmanager
def _silence() -> Iterator[None]:
    """What the exporter tells its developers is not shown."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _rename(document: Any, names: Sequence[str]) -> None:
    """Names the inputs and outputs of a graph, in order."""
    graph = document.graph
    new = dict(zip([value.name for value in graph.input], names, strict=True))
    new |= dict(zip([value.name for value in graph.output], ("value", "mask"), strict=True))
    inner = {name for node in graph.node for name in node.output}
    new |= {name: f"{name}_inner" for name in {*new.values()} - new.keys() if name in inner}
    _rename_in(graph, new)


def _rename_in(graph: Any, new: Mapping[str, str]) -> None:
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = new.get(value.name, value.name)
    for node in graph.node:
        for ends in (node.input, node.output):
            for place, name in enumerate(ends):
                ends[place] = new.get(name, name)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _rename_in(attribute.g, new)


def _difference(content: bytes, module: Direction, names: Sequence[str], rows: int) -> tuple[float, int]:
    """The largest difference between what a graph and PyTorch draw, of rows that have and that lack each field."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.log_severity_level = 1, 3
    try:
        session = onnxruntime.InferenceSession(content, settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's own exceptions have no common base
        raise ConfigError(f"onnxruntime cannot read the graph: {str(error).splitlines()[0]}") from error
    asked, model = {value.name for value in session.get_inputs()}, module.model
    worst = 0.0
    for attempt in range(_TRIES):
        keys = make_keys(attempt, rows)
        batch = {
            name: made_up(model.modalities[name].space, fold(keys, place)) for place, name in enumerate(module.given)
        }
        present = {
            name: (uniform(fold(keys, 100 + place)) < 0.7) | (attempt == 0) for place, name in enumerate(module.given)
        }
        if attempt == _TRIES - 1:  # nothing at all is given
            present = {name: torch.zeros_like(mask) for name, mask in present.items()}
        arguments = [keys]
        for name in module.given:
            arguments += [batch[name].value, batch[name].mask & present[name][:, None]]
        feed = {name: part.numpy() for name, part in zip(names, arguments, strict=True) if name in asked}
        value, mask = (torch.from_numpy(np.asarray(part)) for part in session.run(["value", "mask"], feed))
        with fixed_shapes():
            own = model.condition(batch, present, keys).sample(module.to_field, **vars(module.options))
        if own.value.shape != value.shape or not torch.equal(own.mask, mask):
            return float("inf"), 0
        worst = max(worst, float((own.value.double() - value.double()).abs().max()))
    return worst, rows * _TRIES


def made_up(space: Space, keys: Tensor) -> Field:
    """Values of a space that mean nothing: of any length, numbers within the bounds, ids of the vocabulary."""
    rows = len(keys)
    mask = torch.ones(rows, 1, dtype=torch.bool)
    if space.variable:
        lengths = 1 + (uniform(fold(keys, 0)) * space.max_length).long().clamp(max=space.max_length - 1)
        mask = torch.arange(space.max_length) < lengths[:, None]
    if space.kind == "continuous":
        value = normal(fold(keys, 1), space.shape)
        return Field.full(value if space.bounds is None else value.clamp(*space.bounds), mask, space.varies).with_value(
            value if space.bounds is None else value.clamp(*space.bounds)
        )
    first = min(3, space.vocab - 1) if space.variable else 0
    ids = first + (uniform(fold(keys, 1), space.shape) * (space.vocab - first)).long().clamp(
        max=space.vocab - first - 1
    )
    if space.variable:
        ids = (ids * mask).scatter(1, mask.sum(1, keepdim=True) - 1, 1)  # END
    return Field.full(ids, mask, space.varies)


def _described(model: Model, name: str) -> dict[str, Any]:
    """What a runner has to know of a field."""
    modality = model.modalities[name]
    space = modality.space
    return {
        "name": name, "modality": kind_of(modality), "kind": space.kind, "shape": list(space.shape),
        "varies": space.varies, **modality.portable(),
    }  # fmt: skip
