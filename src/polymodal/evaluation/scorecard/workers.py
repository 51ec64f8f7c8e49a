"""Directions measured in parallel: processes that share them, each writing what it has measured."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from copy import deepcopy
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from polymodal import stopping
from polymodal.data import Rows
from polymodal.evaluation.examiner import direction_name
from polymodal.evaluation.scorecard.direction_result import DirectionResult
from polymodal.evaluation.scorecard.drawn_groups import Direction
from polymodal.evaluation.scorecard.evaluator import Evaluator

_evaluator: Evaluator | None = None
"""The evaluator of a worker process."""


def measure_all(
    evaluator: Evaluator,
    directions: Sequence[Direction],
    folder: Path | None,
    workers: int,
    progress: Callable[[int, int, str], None] | None,
    draw: Callable[[Sequence[Direction]], object] | None = None,
) -> tuple[list[DirectionResult], dict[str, str]]:
    """The results of the directions in their order, and the name of each result's file by direction.

    Args:
        evaluator: Measures them.
        directions: Inputs and output of each.
        folder: Where results are kept, and read if they are there already; None keeps none.
        workers: Number of processes; 0 for this one alone.
        progress: See ``evaluate``.
        draw: Draws the samples of directions that are not measured yet, before they are.
    """
    results: dict[int, DirectionResult] = {}
    files: list[Path | None] = [None] * len(directions)
    if folder is not None:
        files = [folder / f"{evaluator.key(inputs, output)}.json" for inputs, output in directions]
        results = {i: result for i, file in enumerate(files) if file and (result := DirectionResult.load(file))}

    def report(place: int, part: str = "") -> None:
        if progress:
            inputs, output = directions[place]
            name = direction_name(inputs, output) if inputs else f"codec of {output}"
            progress(len(results), len(directions), f"{name}: {part}" if part else name)

    missing = [i for i in range(len(directions)) if i not in results]
    if draw and (undrawn := [directions[i] for i in missing if directions[i][0]]):
        draw(undrawn)
    if workers < 2 or len(missing) < 2:
        with stopping.finishing():
            for i in missing:
                report(i)
                evaluator.tell = partial(report, i)
                results[i] = _measure(evaluator, *directions[i], files[i])
                stopping.stop_if_asked()
    else:
        parts = (_portable(evaluator), str(evaluator.model.device))
        with ProcessPoolExecutor(min(workers, len(missing)), get_context("spawn"), _start, parts) as pool:
            waiting = {pool.submit(_work, *directions[i], files[i]): i for i in missing}
            try:
                for done in as_completed(waiting):
                    results[waiting[done]] = done.result()
                    report(waiting[done])
            except KeyboardInterrupt:  # what is being measured is finished, and kept
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    ordered = [results[i] for i in range(len(directions))]
    return ordered, {result.name: file.stem for result, file in zip(ordered, files, strict=True) if file}


def _measure(evaluator: Evaluator, inputs: Sequence[str], output: str, file: Path | None) -> DirectionResult:
    result = evaluator.measure(inputs, output)
    if file is not None:
        result.save(file)
        if inputs:
            evaluator.forget(inputs, output)
    return result


def _portable(evaluator: Evaluator) -> dict[str, Any]:
    """The arguments from which a worker makes an evaluator."""
    names = ("judge", "n_rows", "n_samples", "shown", "seed", "options", "thorough", "drawn")
    return {name: getattr(evaluator, name) for name in names} | {
        "model": deepcopy(evaluator.model).to("cpu"),
        "rows": _without_source(evaluator.rows),
        "training": None if evaluator.training is None else _without_source(evaluator.training),
    }


def _without_source(rows: Rows) -> Rows:
    """The decoded cells alone: a source may hold what another process cannot have, such as open files."""
    return Rows(rows.fields, rows.columns, None, rows.index, rows.names)  # type: ignore[arg-type]


def _start(parts: dict[str, Any], device: str) -> None:
    global _evaluator
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the first one sees to it
    torch.set_num_threads(1)
    _evaluator = Evaluator(**(parts | {"model": parts["model"].to(device)}))


def _work(inputs: Sequence[str], output: str, file: Path | None) -> DirectionResult:
    assert _evaluator is not None
    return _measure(_evaluator, inputs, output, file)
