"""The model card: what a run's folder knows of the model, as the README that the hub shows.

Nothing is claimed that was not measured: scores, intervals, faults and the privacy audit are read from the files that
``polymodal evaluate`` and ``polymodal audit`` left, and what is missing is said to be missing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader

from polymodal import checkpoint as checkpoints
from polymodal.data.sources.builtin import credits
from polymodal.errors import CheckpointError, printable
from polymodal.evaluation.examiner import direction_name
from polymodal.evaluation.scorecard import number
from polymodal.files import read_json
from polymodal.modalities import kind_of
from polymodal.model import Model

SCORECARDS = ("test", "validation", "test-quick", "validation-quick")
"""Scorecards of held-out rows, the one that says most first."""
UNLICENSED = "The author has not said under which licence the weights may be used."
_MAIN = ("coherence", "quality")
_WORDS = {
    "text": "text",
    "image": "image",
    "audio": "audio",
    "video": "video",
    "points": "3d",
    "molecule": "text",
    "label": "class",
    "vector": "table",
}
"""What the hub's tasks call a modality."""
_TASKS: dict[tuple[str | None, str | None], str] = {
    (None, "image"): "unconditional-image-generation",
    ("text", "image"): "text-to-image",
    ("text", "video"): "text-to-video",
    ("text", "3d"): "text-to-3d",
    ("text", "audio"): "text-to-audio",
    ("text", "text"): "text-generation",
    ("text", "class"): "text-classification",
    ("image", "text"): "image-to-text",
    ("image", "video"): "image-to-video",
    ("image", "3d"): "image-to-3d",
    ("image", "image"): "image-to-image",
    ("image", "class"): "image-classification",
    ("audio", "text"): "automatic-speech-recognition",
    ("audio", "audio"): "audio-to-audio",
    ("audio", "class"): "audio-classification",
    ("video", "text"): "video-text-to-text",
    ("video", "class"): "video-classification",
    ("table", "class"): "tabular-classification",
    ("table", "table"): "tabular-regression",
}
"""The hub's name of generating one kind of value from another, or from nothing."""


def model_card(
    model: Model,
    run: Path | None = None,
    *,
    name: str = "",
    licence: str | None = None,
    data_licence: str | None = None,
    data_name: str | None = None,
) -> str:
    """The text of a README for a model, in Markdown with a head of YAML.

    Args:
        model: The model that is packed.
        run: Folder of its run, whose scorecard, privacy audit and progress are told; None if there is none.
        name: Title, and what the examples call the model.
        licence: Of the weights, by its identifier on the hub, such as ``apache-2.0``.
        data_licence: Of the data that the model learned from, in words.
        data_name: Of these data, where the recipe names a place on somebody's disk.
    """
    document = _newest_scorecard(run)
    source = model.recipe.data.source
    public = source if is_public(source) else None
    scores = document.get("scores", [])
    facts = {
        "title": printable(name or (run.resolve().name if run else "A model")),
        "description": printable(model.recipe.description),
        "licence": licence, "unlicensed": UNLICENSED,
        "data": data_name or public, "data_licence": data_licence, "credits": credits(public) if public else [],
        "inputs": list(model.encoders), "outputs": list(model.heads),
        "fields": _fields(model), "references": checkpoints.config_of(model).get("references", {}),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "progress": _progress(run),
        "split": document.get("title"), "rows": max((score["rows"] for score in scores), default=0),
        "judge": _judge(document),
        "main": [score for score in scores if score["aspect"] in _MAIN],
        "others": [score for score in scores if score["aspect"] not in _MAIN],
        "parts": document.get("parts", []), "faults": document.get("faults", []), "notes": document.get("notes", []),
        "audit": _audit(run),
        "example": _example(model),
        "command": f"polymodal evaluate {run}" if run else "polymodal evaluate RUN",
    }  # fmt: skip
    environment = Environment(
        loader=PackageLoader("polymodal.packaging", ""),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"cell": _cell, "number": number, "python": repr, "direction": _direction}
    head = _head(model, facts, scores)
    return f"---\n{head}---\n\n{environment.get_template('card.md.j2').render(facts)}"


def is_public(source: str | None) -> bool:
    """Whether the name of a source tells others where it is, and nothing of a disk: of the hub, or built in."""
    from polymodal.data.sources.builtin import find

    return bool(source) and (
        str(source).startswith("hf:") or (find(str(source)) is not None and "/" not in str(source))
    )


def _head(model: Model, facts: Mapping[str, Any], scores: Sequence[Mapping[str, Any]]) -> str:
    """What the hub reads of a card."""
    kinds = sorted({kind_of(modality) for modality in model.modalities.values()})
    head: dict[str, Any] = {"library_name": "polymodal", "tags": ["polymodal", "multimodal", *kinds]}
    if facts["licence"]:
        head["license"] = facts["licence"]
    if task := _task(model):
        head["pipeline_tag"] = task
    if (source := str(facts["data"] or "")).startswith("hf:"):
        head["datasets"] = [source.removeprefix("hf:").partition(":")[0]]
    if first := _first_of_each(scores):
        data = {"name": facts["data"] or "rows of the author", "type": "polymodal", "split": facts["split"]}
        head["model-index"] = [{"name": facts["title"], "results": [
            {"task": {"type": task or "any-to-any", "name": _direction(score)}, "dataset": data,
             "metrics": [{"type": score["metric"], "name": score["metric"], "value": round(score["value"], 4)}]}
            for score in first
        ]}]  # fmt: skip
    return yaml.dump(head, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=120)


class _Plain(yaml.SafeDumper):
    """YAML without references, which not every reader of cards follows."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _task(model: Model) -> str | None:
    """The hub's name of what a model does; None if it has none."""
    words = {name: _WORDS.get(kind_of(modality)) for name, modality in model.modalities.items()}
    directions = {(words[given], words[to]) for given in model.encoders for to in model.heads if given != to}
    directions = directions or {(None, words[to]) for to in model.heads}
    if len(directions) == 1:
        return _TASKS.get(next(iter(directions)))
    return "any-to-any" if len({to for _, to in directions}) > 1 else None


def _first_of_each(scores: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The first metric of each direction that is a number."""
    first: dict[str, Mapping[str, Any]] = {}
    for score in scores:
        if score["aspect"] in _MAIN and math.isfinite(score["value"]):
            first.setdefault(_direction(score), score)
    return list(first.values())


def _direction(score: Mapping[str, Any]) -> str:
    return direction_name(score["inputs"], score["output"])


def _newest_scorecard(run: Path | None) -> dict[str, Any]:
    """The scorecard of a run, by what it holds; empty if it has none.

    Raises:
        CheckpointError: It has one that is broken.
    """
    for name in SCORECARDS if run else ():
        assert run is not None
        file = run / "evaluation" / f"{name}.json"
        if file.is_file():
            document = _document(file)
            try:
                for score in document["scores"]:
                    _direction(score), float(score["value"]), float(score["low"]), int(score["rows"])
                    score.setdefault("aspect", "coherence")
                return document
            except (KeyError, TypeError, ValueError, AttributeError):
                raise CheckpointError(f"{file}: is no scorecard; run `polymodal evaluate` again") from None
    return {}


def _document(file: Path) -> dict[str, Any]:
    try:
        document = read_json(file)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file}: cannot be read: {error}") from None
    if not isinstance(document, dict):
        raise CheckpointError(f"{file}: holds no JSON object")
    return document


def _judge(document: Mapping[str, Any]) -> str | None:
    judge = document.get("facts", {}).get("judge")
    if not judge:
        return None
    return ", ".join(f"{key} {value}" for key, value in judge.items()) if isinstance(judge, dict) else str(judge)


def _audit(run: Path | None) -> dict[str, Any] | None:
    """What ``polymodal audit`` found, if it was run."""
    if run is None or not (file := run / "evaluation" / "privacy.json").is_file():
        return None
    document = _document(file)
    if not all(isinstance(document.get(key), list) for key in ("attacks", "leaks", "notes")):
        raise CheckpointError(f"{file}: is no privacy audit; run `polymodal audit` again")
    return document


def _progress(run: Path | None) -> dict[str, Any] | None:
    """Steps and minutes of the training, where the folder still has its state."""
    if run is None:
        return None
    checkpoint = checkpoints.find(run)
    if "trainer/state.json" not in checkpoint.files:
        return None
    state = checkpoint.document("trainer/state")
    seconds = state.get("seconds")
    return {"steps": state.get("step"), "minutes": seconds / 60 if isinstance(seconds, int | float) else None}


def _fields(model: Model) -> list[dict[str, str]]:
    roles = {"input": "given", "output": "generated", "both": "given and generated"}
    return [
        {
            "name": name, "kind": kind_of(modality), "role": roles.get(model.recipe.fields[name].role, ""),
            "form": re.sub(r"\s+", " ", repr(modality)),
        }
        for name, modality in model.modalities.items()
    ]  # fmt: skip


def _example(model: Model) -> tuple[str | None, str]:
    """A direction for the examples: what is given, if anything can be, and what is generated."""
    for to in model.heads:
        for given in model.encoders:
            if given != to:
                return given, to
    return None, next(iter(model.heads))


def _cell(text: Any) -> str:
    """Anybody's text in a cell of a Markdown table, or in a line: nothing of it is markup."""
    plain = printable(" ".join(str(text).split()))
    return re.sub(r"([\\`*_|\[\]#~])", r"\\\1", plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))
