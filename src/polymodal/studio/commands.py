"""The commands that the studio runs and shows, as lists of words."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

_TAKEN = {"to", "n", "output", "seed", "option", "device", "given", "help", "draws", "steps", "index"}
"""Options of commands that take fields: a field called like one is given by ``--given``."""


def line(words: Sequence[str]) -> str:
    """What a user would type."""
    return shlex.join(["polymodal", *words])


def inspect(
    source: str, *, fields: Path | None = None, sheet: Path, validation: float | None = None, test: float | None = None
) -> list[str]:
    """``polymodal data inspect``."""
    return [
        "data", "inspect", source, *_option("fields", fields), *_option("validation", validation),
        *_option("test", test), "--sheet", str(sheet),
    ]  # fmt: skip


def train(
    recipe: str,
    source: str,
    run: str,
    *,
    fields: Path | None = None,
    size: str | None = None,
    budget: str = "minutes",
    amount: float,
    settings: Mapping[str, float] | None = None,
) -> list[str]:
    """``polymodal train``.

    Args:
        recipe: A name or a file.
        source: Of the rows.
        run: Folder.
        fields: File of corrected fields.
        size: Of the model; None or empty for the recipe's.
        budget: ``minutes`` or ``steps``.
        amount: Of these.
        settings: Keys of the recipe.
    """
    sets = [word for key, value in (settings or {}).items() for word in ("--set", f"{key}={value:g}")]
    return [
        "train", recipe, "--data", source, *_option("fields", fields), *_option(budget, f"{amount:g}"),
        *_option("size", size), *sets, "-o", run,
    ]  # fmt: skip


def generate(run: str, given: Mapping[str, str], to: Sequence[str], *, n: int, seed: int, folder: Path) -> list[str]:
    """``polymodal generate``; ``given`` by field as it is typed."""
    return [
        "generate", run, *_given(given), "-n", str(n), "--seed", str(seed), "-o", str(folder), "--to", *to
    ]  # fmt: skip


def explain(run: str, given: Mapping[str, str], to: str, *, seed: int, page: Path) -> list[str]:
    """``polymodal explain``."""
    return ["explain", run, *_given(given), "--to", to, "--seed", str(seed), "-o", str(page)]


def search(run: str, given: Mapping[str, str], to: str, *, k: int, folder: Path) -> list[str]:
    """``polymodal search``."""
    return ["search", run, *_given(given), "--to", to, "-k", str(k), "-o", str(folder)]


def fill(run: str, table: str, output: Path, *, confidence: bool, least: float, draw: bool) -> list[str]:
    """``polymodal fill``; ``least`` is the confidence below which cells stay empty, 0 for none."""
    flags = [*(["--confidence"] * confidence), *_option("min-confidence", f"{least:g}" if least else None)]
    return ["fill", run, table, "-o", str(output), "--overwrite", *flags, *(["--draw"] * draw)]


def evaluate(run: str, *, split: str, rows: int, judge_steps: int, quick: bool) -> list[str]:
    """``polymodal evaluate``."""
    words = ["evaluate", run, "--split", split, "--rows", str(rows), "--judge-steps", str(judge_steps)]
    return words + ["--quick"] * quick


def compare(runs: Sequence[str], *, split: str, page: Path) -> list[str]:
    """``polymodal compare``; all with the first."""
    return ["compare", *runs, "--split", split, "--report", str(page)]


def _given(given: Mapping[str, str]) -> list[str]:
    words = []
    for name, text in given.items():
        words += ["--given", f"{name}={text}"] if name in _TAKEN else _option(name, text)
    return words


def _option(name: str, value: object) -> list[str]:
    """An option with its value, nothing for None and empty ones; in one word where the value begins with a dash."""
    text = "" if value is None else str(value)
    if not text:
        return []
    return [f"--{name}={text}"] if text.startswith("-") else [f"--{name}", text]
