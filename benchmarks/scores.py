"""The scorecard's figures in worlds whose answer is known.

    python benchmarks/scores.py [--repetitions 400] [--rows 100 200 1000] [--parts sets shares compare copies]

- ``sets``: a model that draws from the real distribution, and four that do not: one that gives its best guess alone
  (``greedy``), one of half the spread (``half``), one that lost half of the dimensions (``blurred``), one that is off
  by a third of a deviation (``shifted``). Each figure of a set should find the first one best, and its 95 % interval
  should hold the known value as often as it says. Rows are alone or four to an input, whose values are half as alike
  as can be. At 1,000 rows, half of the repetitions are of either kind. The known value has a closed form where
  ``known`` says so; where it depends on the number of rows, it is the mean over the repetitions.
- ``shares``: right or wrong, and errors of varying length, whose true means are known; of right or wrong in rows that
  are alone, exactly.
- ``compare``: two models that are equally good; how often one is called significantly better.
- ``copies``: a model that returns training values, of so many thousands.

Figures of other rows and parts that are in the JSON stay. Prints tables and writes benchmarks/results/scores.json.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy.stats import binom

from polymodal.data import Column, Rows
from polymodal.evaluation.examiner import Examiner
from polymodal.evaluation.metrics.result import MetricResult
from polymodal.evaluation.scorecard import Evaluation, Score, compare
from polymodal.evaluation.scorecard.direction_result import DirectionResult
from polymodal.evaluation.scorecard.distribution_metrics import DistributionMetrics
from polymodal.evaluation.scorecard.faults import COPIES, find_faults
from polymodal.evaluation.scorecard.memorisation import TrainingSet, near_copies
from polymodal.modalities import build
from polymodal.types import Field
from record import RESULTS, about, save

WIDTH = 10
"""Dimensions of a value."""
ALIKE = 0.5
"""Share of the variance that rows of one input have in common: their intraclass correlation."""
MODELS = ("perfect", "greedy", "half", "blurred", "shifted")
SHIFT, BLUR = 0.3, 0.3
WORSE = {
    "kernel distance": MODELS[1:],
    "Fréchet distance": MODELS[1:],
    "precision": MODELS[1:],
    "recall": MODELS[1:],
    "spread of an input's samples": ("greedy", "half", "blurred"),
    "sharpness": ("greedy", "blurred"),
    "class share distance": ("greedy", "half", "shifted"),
    "effective number of classes, over that of real rows": ("greedy", "half"),
    "distinct-1": ("greedy", "half"),
}
"""By figure: the models that it should find worse than the perfect one."""
SIDE = 8
"""Pixels of a side of a picture."""
WORDS, CLASSES = 400, 12
SHARES = (0.2, 0.6, 0.95)


class World:
    """Vectors, pictures, labels and words of rows, and what a model makes of them.

    Args:
        rows: Their number.
        alike: Rows of one input.
        seed: Seed of all that is random.
    """

    def __init__(self, rows: int, alike: int, seed: int):
        self.random, self.rows = np.random.default_rng(seed), rows
        self.clusters = np.arange(rows) // alike
        self.inputs = self.random.normal(size=(rows, WIDTH))[self.clusters] * ALIKE**0.5
        self.patterns = self.random.normal(size=(rows, 1, SIDE, SIDE))[self.clusters] * ALIKE**0.5

    def vectors(self, model: str = "perfect") -> np.ndarray:
        """(n, WIDTH), of unit variance about 0 if the model is perfect."""
        values = self.inputs + self.random.normal(size=self.inputs.shape) * (1 - ALIKE) ** 0.5
        if model == "greedy":
            return self.inputs
        if model == "half":
            return values / 2
        if model == "blurred":
            return values * np.repeat([1, BLUR], WIDTH // 2)
        return values + SHIFT * (model == "shifted")

    def pictures(self, model: str = "perfect") -> np.ndarray:
        """(n, 1, SIDE, SIDE)."""
        values = self.patterns + self.random.normal(size=self.patterns.shape) * (1 - ALIKE) ** 0.5
        if model == "greedy":
            return self.patterns
        if model == "blurred":
            return (values + np.roll(values, 1, -1) + np.roll(values, 1, -2) + np.roll(values, (1, 1), (-2, -1))) / 4
        return values

    def numbers(self, count: int, model: str = "perfect") -> np.ndarray:
        """(n,) numbers below ``count``, of which low ones are more frequent."""
        quantile = self.random.random(self.rows)
        if model == "greedy":
            return np.zeros(self.rows, dtype=np.int64)
        if model == "shifted":
            quantile = quantile**0.5
        return (quantile**2 * count * (0.5 if model == "half" else 1)).astype(np.int64)


FIELDS = {
    "vector": build("vector", size=WIDTH),
    "picture": build("image", size=SIDE, channels=1),
    "label": build("label", names=[f"class {number}" for number in range(CLASSES)]),
    "word": build("text", max_length=8),
}


def sets(repetitions: int, rows: int) -> dict[str, Any]:
    """Every figure of a set, for each model and kind of clusters."""
    metrics = DistributionMetrics(Examiner(_rows(), None), seed=0)
    found: dict[tuple[str, str, int], list[tuple[float, float, float]]] = {}
    for alike in (1, 4):
        for number in range(repetitions if rows < 1000 else repetitions // 2):
            for model in MODELS:
                world = World(rows, alike, seed=1000 * number + alike)
                for result in _measured(metrics, world, model):
                    found.setdefault((result.metric, model, alike), []).append(result.interval(0))
    summary: dict[str, Any] = {}
    for metric, worse in WORSE.items():
        known = KNOWN.get(metric)
        told: dict[str, Any] = {"known": "closed form" if known else "mean"}
        kinds = [alike for alike in (1, 4) if (metric, "perfect", alike) in found]  # labels and words have no inputs
        of_perfect = np.concatenate([found[metric, "perfect", alike] for alike in kinds])
        for model in ("perfect", *worse):
            covered, values = [], np.concatenate([found[metric, model, alike] for alike in kinds])
            for alike in kinds:
                value, low, high = np.array(found[metric, model, alike]).T
                truth = known(model) if known else value.mean()
                covered += ((low - 1e-9 <= truth) & (truth <= high + 1e-9)).tolist()
            told[model] = {"mean": float(values[:, 0].mean()), "intervals_that_hold_it": float(np.mean(covered))}
            told[model]["varies"] = bool(np.ptp(values[:, 0]) > 1e-9)
            if model != "perfect":
                better = of_perfect[:, 0] < values[:, 0] if "distance" in metric else of_perfect[:, 0] > values[:, 0]
                told[model]["found_worse"] = float(better.mean())
        means = [told[model]["mean"] * (-1 if "distance" in metric else 1) for model in ("perfect", *worse)]
        summary[metric] = told | {"every_worse_model_is_found": means[0] > max(means[1:])}
    return summary


def _measured(metrics: DistributionMetrics, world: World, model: str) -> list[MetricResult]:
    """All figures of a set that one model reaches in one world."""
    vectors = [_field(world.vectors()), *(_field(world.vectors(model)) for _ in range(2))]
    results = metrics.measure(["input"], "vector", vectors[0], vectors[1:], world.clusters)
    if model in WORSE["sharpness"] or model == "perfect":
        pictures = [_field(world.pictures()), _field(world.pictures(model))]
        results += metrics.measure(["input"], "picture", pictures[0], pictures[1:], world.clusters)
    alone = np.arange(world.rows)
    independent = len(np.unique(world.clusters)) == world.rows
    for name, count in (("label", CLASSES), ("word", WORDS)) if independent else ():
        pair = [_ids(name, world.numbers(count, each)) for each in ("perfect", model)]
        results += [result.in_clusters(alone) for result in metrics.examiner.kinds[name].compare_sets(*pair)]
    return [result for result in results if result.metric in WORSE]


def _ids(name: str, numbers: np.ndarray) -> Field:
    if name == "label":
        return _field(numbers[:, None])
    stored = [torch.from_numpy(FIELDS[name].read(f"w{number}")) for number in numbers]
    return Field.stack([Field.full(FIELDS[name].to_model(value)[None], varies=0) for value in stored])


def _kernel(model: str) -> float:
    """The squared maximum mean discrepancy of two normal distributions, from their first three moments."""

    def moments(model: str) -> list[np.ndarray]:
        mean, covariance = np.zeros(WIDTH), np.eye(WIDTH)
        if model == "greedy":
            covariance = covariance * ALIKE
        elif model == "half":
            covariance = covariance / 4
        elif model == "blurred":
            covariance = np.diag(np.repeat([1, BLUR**2], WIDTH // 2))
        elif model == "shifted":
            mean = mean + SHIFT
        third = np.einsum("i,j,k->ijk", mean, mean, mean) + sum(
            np.einsum(f"{a},{b}->ijk", mean, covariance) for a, b in (("i", "jk"), ("j", "ik"), ("k", "ij"))
        )
        return [mean, covariance + np.outer(mean, mean), third]

    def product(first: str, second: str) -> float:  # E (x y / F + 1)^3 of independent x and y
        one, two, three = ((a * b).sum() for a, b in zip(moments(first), moments(second), strict=True))
        return float(1 + 3 * one / WIDTH + 3 * two / WIDTH**2 + three / WIDTH**3)

    return product("perfect", "perfect") + product(model, model) - 2 * product("perfect", model)


def _frechet(model: str) -> float:
    spread = {"greedy": [ALIKE**0.5], "half": [0.5], "blurred": [1, BLUR]}.get(model, [1])
    return float(((1 - np.repeat(spread, WIDTH // len(spread))) ** 2).sum()) + WIDTH * SHIFT**2 * (model == "shifted")


KNOWN: dict[str, Callable[[str], float]] = {"kernel distance": _kernel, "Fréchet distance": _frechet}


def coverage(rows: int, share: float) -> float:
    """How often the interval of a share holds the true one, where rows are alone: by the binomial distribution."""
    counts = np.arange(rows + 1)
    intervals = [MetricResult("right", (np.arange(rows) < count) * 1.0, is_right=True).interval(0) for count in counts]
    _, low, high = np.array(intervals).T
    return float((binom.pmf(counts, rows, share) * ((low <= share) & (share <= high))).sum())


def shares(repetitions: int, rows: int) -> dict[str, Any]:
    """How often the interval of a mean holds the true one, with rows alone and four to an input."""
    summary = {}
    for alike in (1, 4):
        clusters, random = np.arange(rows) // alike, np.random.default_rng(alike)
        for share in SHARES:
            if alike == 1:
                summary[f"right in {share:.0%}, 1 to an input"] = {"intervals_that_hold_it": coverage(rows, share)}
                continue
            held = []
            for _ in range(repetitions):
                of_input = random.beta(share, 1 - share, size=rows)[clusters]  # correlation 0.5
                right = (random.random(rows) < of_input).astype(float)
                _, low, high = MetricResult("right", right, is_right=True, clusters=clusters).interval(0)
                held.append(low <= share <= high)
            summary[f"right in {share:.0%}, {alike} to an input"] = {"intervals_that_hold_it": float(np.mean(held))}
        held = []
        for _ in range(repetitions):
            lengths = random.integers(4, 20, size=rows).astype(float)
            errors = lengths * np.clip(
                0.3 + 0.1 * (random.normal(size=rows)[clusters] + random.normal(size=rows)), 0, 1
            )
            low, high = MetricResult("errors", errors, lengths, clusters=clusters).interval(0)[1:]
            held.append(low <= _ERROR_RATE <= high)
        summary[f"errors over lengths, {alike} to an input"] = {"intervals_that_hold_it": float(np.mean(held))}
    return summary


_ERROR_RATE = float(np.clip(0.3 + 0.1 * 2**0.5 * np.random.default_rng(0).normal(size=2_000_000), 0, 1).mean())


def equals(repetitions: int, rows: int) -> dict[str, Any]:
    """How often two models that are equally good are told apart at 0.05."""
    summary = {}
    for alike in (1, 4):
        clusters, random = np.arange(rows) // alike, np.random.default_rng(alike)
        for what in ("right or wrong", "errors"):
            alarms = []
            for _ in range(repetitions):
                hard, runs = random.normal(size=rows)[clusters], []
                for name in ("first", "second"):
                    score = hard + random.normal(size=rows)[clusters] + random.normal(size=rows)
                    values = (score > 0).astype(float) if what == "right or wrong" else np.exp(score)
                    result = MetricResult(what, values, is_right=what != "errors", clusters=clusters)
                    direction = DirectionResult(("a",), "b", list(range(rows)), [result])
                    about_it = Score(("a",), "b", what, *result.interval(0), None, None, rows, True, 0.0)
                    facts = {"data": "", "seed": 0, "judge": None}
                    runs.append(Evaluation(name, [about_it], facts, {direction.name: direction}))
                alarms.append(compare(runs)[0][0].better[0] is not None)
            summary[f"{what}, {alike} to an input"] = {"false_alarms": float(np.mean(alarms))}
    return summary


def copies(repetitions: int, thousands: int, rows: int = 200) -> dict[str, Any]:
    """How many copies of training values are found, and how often the fault is."""
    flagged, faults, real = [], [], []
    for number in range(repetitions):
        random = np.random.default_rng(number)
        known = random.normal(size=(1000 * thousands, WIDTH)).astype(np.float32)
        training = _rows(Column(known, None, np.arange(len(known)), "known"))
        examiner = Examiner(_rows(), None)
        batch = {"vector": _field(random.normal(size=(rows, WIDTH))), "input": _field(random.normal(size=(rows, 1)))}
        made = _field(known[random.choice(len(known), rows, replace=False)])
        results, _ = near_copies(TrainingSet(training, examiner), "vector", batch["vector"], made)
        clusters = np.arange(rows)
        results = [result.in_clusters(clusters) for result in results]
        flagged.append(results[0].interval(0)[0])
        real.append(results[0].ceiling)
        names = [fault.name for fault in find_faults(examiner, ["input"], "vector", batch, made, results, clusters, 0)]
        faults.append(COPIES in names)
    return {
        "copies_found": float(np.mean(flagged)),
        "of_real_values": float(np.mean(real)),
        "fault_named": float(np.mean(faults)),
    }


def _field(values: np.ndarray) -> Field:
    present = torch.ones(len(values), dtype=torch.bool)
    tensor = torch.from_numpy(np.ascontiguousarray(values))
    return Field(tensor.float() if tensor.is_floating_point() else tensor, present[:, None], present)


def _rows(vectors: Column | None = None) -> Rows:
    """Rows of the world's fields, with no values but these."""
    count = 0 if vectors is None else len(vectors)
    columns = {} if vectors is None else {"vector": vectors}
    return Rows(FIELDS, columns, None, np.arange(count), {name: name for name in FIELDS})  # type: ignore[arg-type]


def _print(title: str, records: dict[str, Any]) -> None:
    columns = list(dict.fromkeys(key for record in records.values() for key in record))
    table = Table("", *(name.replace("_", " ") for name in columns), title=title, title_justify="left")
    for name, record in records.items():
        table.add_row(name, *(f"{record[key]:.3f}" if key in record else "" for key in columns))
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=400)
    parser.add_argument("--rows", type=int, nargs="*", default=[100, 200, 1000])
    parser.add_argument("--parts", nargs="+", default=["sets", "shares", "compare", "copies"])
    parser.add_argument("--output", type=Path, default=RESULTS / "scores.json")
    arguments = parser.parse_args()
    begin, result = time.process_time(), dict[str, Any]()
    if arguments.output.exists():
        result = json.loads(arguments.output.read_text(encoding="utf-8"))
    for rows in arguments.rows:
        if "sets" in arguments.parts:
            result.setdefault("sets", {})[f"{rows:,} rows"] = found = sets(arguments.repetitions, rows)
            for metric, told in found.items():
                models = {name: told for name, told in told.items() if isinstance(told, dict)}
                _print(f"{metric}, {rows:,} rows (known: {told['known']})", models)
        for part, measure in (("shares", shares), ("compare", equals)):
            if part in arguments.parts:
                result.setdefault(part, {})[f"{rows:,} rows"] = found = measure(arguments.repetitions, rows)
                _print(f"{part}, {rows:,} rows", found)
    if "copies" in arguments.parts:
        few = max(1, arguments.repetitions // 40)
        result["copies"] = {f"{thousands} thousand": copies(few, thousands) for thousands in (5, 20, 60)}
        _print("copies", result["copies"])
    if arguments.rows:
        counts = {f"{rows:,} rows": arguments.repetitions for rows in arguments.rows}
        result["repetitions"] = result.get("repetitions", {}) | counts
    facts = about(time.process_time() - begin, seed=0) | {"command": "python benchmarks/scores.py"}
    facts["minutes_in_all"] = round(facts["minutes_in_all"] + result.get("minutes_in_all", 0), 1)
    save(result | facts, arguments.output)


if __name__ == "__main__":
    main()
