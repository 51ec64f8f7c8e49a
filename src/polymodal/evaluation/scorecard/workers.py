"""ScoredCells in parallel: processes that share a scorecard's directions, each writing what it has measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from copy import deepcopy
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from polymodal.data import Rows
from polymodal.evaluation.scorecard.agreement import direction_name
from polymodal.evaluation.scorecard.evaluator import DirectionResult, Evaluator

_bench: Evaluator | None = None
"""Of a worker process."""


def measure_all(
    bench: Evaluator,
    directions: Sequence[tuple[Sequence[str], str]],
    folder: Path | None,
    workers: int,
    progress: Callable[[int, int, str], None] | None,
) -> tuple[list[DirectionResult], dict[str, str]]:
    """The cells of the directions, in their order, and the names of their files by direction; what is in the folder is
    taken from there.

    Args:
        bench: Measures.
        directions: Inputs and output of each.
        folder: Of the cells' files; None keeps none.
        workers: Processes; 0 for this one alone.
        progress: See ``evaluate``.
    """
    cells: dict[int, DirectionResult] = {}
    files: list[Path | None] = [None] * len(directions)
    if folder is not None:
        facts = bench.facts()
        files = [folder / f"{bench.key(facts, inputs, output)}.json" for inputs, output in directions]
        cells = {i: cell for i, file in enumerate(files) if file and (cell := DirectionResult.load(file))}

    def tell(place: int) -> None:
        if progress:
            inputs, output = directions[place]
            progress(len(cells), len(directions), direction_name(inputs, output) if inputs else f"codec of {output}")

    missing = [i for i in range(len(directions)) if i not in cells]
    if workers < 2 or len(missing) < 2:
        for i in missing:
            tell(i)
            cells[i] = _measure(bench, *directions[i], files[i])
    else:
        parts = (_portable(bench), str(bench.model.device))
        with ProcessPoolExecutor(min(workers, len(missing)), get_context("spawn"), _start, parts) as pool:
            waiting = {pool.submit(_work, *directions[i], files[i]): i for i in missing}
            for done in as_completed(waiting):
                cells[waiting[done]] = done.result()
                tell(waiting[done])
    ordered = [cells[i] for i in range(len(directions))]
    return ordered, {cell.name: file.stem for cell, file in zip(ordered, files, strict=True) if file}


def _measure(bench: Evaluator, inputs: Sequence[str], output: str, file: Path | None) -> DirectionResult:
    cell = bench.measure(inputs, output)
    if file is not None:
        cell.save(file)
    return cell


def _portable(bench: Evaluator) -> dict[str, Any]:
    """What a worker makes its own bench of."""
    settings = {"n_rows": bench.n_rows, "n_samples": bench.n_samples, "shown": bench.shown, "seed": bench.seed}
    return {
        "model": deepcopy(bench.model).to("cpu"),
        "rows": _without_source(bench.rows),
        "training": None if bench.training is None else _without_source(bench.training),
        "judge": bench.judge,
        "options": bench.options,
        "thorough": bench.thorough,
        **settings,
    }


def _without_source(rows: Rows) -> Rows:
    """The decoded cells alone: a source may hold what no other process can have, such as open files."""
    return Rows(rows.fields, rows.columns, None, rows.index, rows.names)  # type: ignore[arg-type]


def _start(parts: dict[str, Any], device: str) -> None:
    global _bench
    torch.set_num_threads(1)
    _bench = Evaluator(**(parts | {"model": parts["model"].to(device)}))


def _work(inputs: Sequence[str], output: str, file: Path | None) -> DirectionResult:
    assert _bench is not None
    return _measure(_bench, inputs, output, file)
