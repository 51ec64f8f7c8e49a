"""Every direction of every recipe as a file of ONNX: how near it is to PyTorch, or why it is refused; and how fast.

    python benchmarks/export.py [--recipes any-to-any translation] [--fields picture] [--repeats 5]
        [--folder runs/export]

A model of each recipe is made for a table of 32 rows, with weights that are moved at random, so that none of them is
the zero that it starts as. Every field that it generates is exported with all inputs, any of which a row may lack, so
that one file is all directions to it; the exporter checks it against PyTorch with rows that have all, some and none of
the inputs. If it stands, it is timed with all inputs: the processor's time of one sample in one thread, of onnxruntime
and of our own generation in turns, each the least of the repeats. Writes benchmarks/results/export.json, in which
other files stay as they were measured before. The extra ``export`` is needed.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnxruntime
import torch

from polymodal.config import load_recipe, recipe_names
from polymodal.errors import ConfigError
from polymodal.export import export_direction
from polymodal.export.onnx_file import made_up
from polymodal.model import Model
from polymodal.nn.random import make_keys
from polymodal.preparation import prepare
from polymodal.resolution import resolve
from record import RESULTS, about, save
from tiny_rows import SOME, write_rows

MOVED = 0.02
"""Deviation of the noise that is added to every weight."""


def model_of(recipe: str, folder: Path) -> Model:
    """A model of a recipe, all of whose weights are something."""
    own = bool(load_recipe(recipe).fields)
    table = folder / ("all" if own else "some")
    if not table.exists():
        table.mkdir(parents=True)
        write_rows(table, None if own else SOME)
    few = {"fields.shape.count": 256} if "shape" in load_recipe(recipe).fields else {}
    resolved, data = prepare(recipe, str(table / "rows.jsonl"), few)
    torch.manual_seed(0)
    model = Model(resolve(resolved, data.fields, data.train.names), data.fields).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(MOVED * torch.randn_like(parameter))
    return model


def directions(model: Model, fields: list[str]) -> list[tuple[list[str], str]]:
    """To each of some fields, or to all, from all inputs, any of which a row may lack: one file for all directions."""
    wanted = [to for to in model.heads if not fields or to in fields]
    return [([name for name in model.encoders if name != to], to) for to in wanted]


def seconds_of(call: Callable[[], Any]) -> float:
    """Processor's seconds of a call."""
    begin = time.process_time()
    call()
    return time.process_time() - begin


def timed(model: Model, given: list[str], to: str, path: Path, repeats: int) -> tuple[float, float]:
    """Seconds of one sample, of onnxruntime and of our own generation, which take turns."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    keys = make_keys(0, 1)
    batch = {name: made_up(model.modalities[name].space, keys) for name in given}
    feed = {"keys": keys.numpy()}
    for name, field in batch.items():
        feed |= {f"{name}.value": field.value.numpy(), f"{name}.mask": field.mask.numpy()}
    feed = {value.name: feed[value.name] for value in session.get_inputs()}
    present = torch.ones(1, dtype=torch.bool)
    one, other = [], []
    for _ in range(repeats):
        one.append(seconds_of(lambda: session.run(None, feed)))
        other.append(seconds_of(lambda: model.sample(batch, dict.fromkeys(given, present), {to: present}, keys)))
    return min(one), min(other)


def measured(recipe: str, fields: list[str], folder: Path, repeats: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each direction of a recipe, with difference, size and times, or why it is refused."""
    model = model_of(recipe, folder)
    for given, to in directions(model, fields):
        path, name = folder / f"{recipe}.onnx", f"{'+'.join(given)}->{to}"
        result: dict[str, Any] = {"head": type(model.heads[to]).__name__}
        try:
            done = export_direction(model, given, to, path)
            theirs, ours = timed(model, given, to, path, repeats)
            result |= {"difference": done.difference, "megabytes": done.file_bytes / 1e6}
            result |= {"milliseconds": theirs * 1e3, "ours_milliseconds": ours * 1e3, "ratio": ours / theirs}
        except ConfigError as error:
            result["refused"] = str(error)
        print(f"{recipe}: {name}: {result}", flush=True)
        yield f"{recipe}, {name}", result


def main() -> None:
    """Exports, times and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", default=recipe_names(), choices=recipe_names())
    parser.add_argument("--fields", nargs="+", default=[], help="that files are written to; all by default")
    parser.add_argument("--folder", type=Path, default=Path("runs/export"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULTS / "export.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    known = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    results, calls, minutes = known.get("results", {}), known.get("calls", {}), known.get("minutes_in_all", 0.0)
    begin = time.perf_counter()
    for recipe in arguments.recipes:
        for name, result in measured(recipe, arguments.fields, arguments.folder, arguments.repeats):
            results[name] = result
            refused = sum("refused" in one for one in results.values())
            told = about(60 * minutes + time.perf_counter() - begin, seed=0)
            calls[name] = {"command": told["command"], "commit": told["commit"]}
            told |= {"versions": {"onnxruntime": onnxruntime.__version__}} | of_all(calls)
            counts = {"directions": len(results), "refused": refused, "recipes_of_the_package": len(recipe_names())}
            counts["recipes"] = len({name.split(", ")[0] for name in results})
            save(told | counts | {"calls": calls, "results": dict(sorted(results.items()))}, arguments.output)


def of_all(calls: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The commands whose results stand, and the versions that they measured; of several, how many files of each."""
    counts = Counter(str(call["commit"]) for call in calls.values())
    versions = [f"{commit} ({count} files)" for commit, count in counts.items()] if len(counts) > 1 else [*counts]
    return {"command": "\n".join({call["command"]: None for call in calls.values()}), "commit": "; ".join(versions)}


if __name__ == "__main__":
    main()
