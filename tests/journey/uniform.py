"""Two processes, each with rows that lack fields at random; started by ``test_two_processes``.

    python -m torch.distributed.run --nproc_per_node 2 uniform.py RECIPES DATA RESULT [ENGINE [STEPS]]

Notes which modules each process calls in every move, how far its gradients and variances are from those of one
process, and what a critic's controller has seen here and there.
"""

import json
import sys
from copy import deepcopy
from pathlib import Path

import torch
from torch import distributed

import polymodal as pm
from polymodal.config import load_recipe
from polymodal.heads.gan_controller import GanController
from polymodal.model import Model
from polymodal.nn.pieces import local, placed_like
from polymodal.resolution import resolve
from polymodal.training import tasks
from polymodal.training.engines import ENGINES, Engine
from polymodal.training.frozen import with_frozen
from polymodal.training.loop import make_optimizer
from polymodal.training.step_loader import StepLoader

STEPS, ROWS = 10, 4
OPTIONS = {"sharded": {"block_weights": 1}}
"""Of engines, so that every block of a small model is a unit of its own."""


def distance(model: Model, alone: Model) -> float:
    """The largest difference of the gradients that this process holds; infinite where only one model has any."""
    pairs = [(p.grad, q.grad) for p, q in zip(model.parameters(), alone.parameters(), strict=True)]
    if any((mine is None) != (theirs is None) for mine, theirs in pairs):
        return float("inf")
    pieces = [(local(mine), local(placed_like(theirs, mine))) for mine, theirs in pairs if mine is not None]
    return max(float((mine - theirs).abs().max()) for mine, theirs in pieces if mine.numel())


def walk(engine: Engine, recipe: dict, source: str, run: Path, steps: int) -> dict:
    """Some steps of one recipe."""
    data = pm.load(source, recipe["fields"], validation=0, test=0)
    recipe = resolve(load_recipe(recipe), data.fields)
    torch.manual_seed(0)
    model = Model(recipe, data.fields).train()
    with torch.no_grad():  # no part starts at zero, where it would teach those before it nothing yet
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    alone, names = deepcopy(model), dict.fromkeys(model.modalities, True)
    rows = with_frozen(model, data.train, run, engine)

    def draw(present, keys):
        own = {name: present[name] for name in names}
        return tasks.draw(own, {n: n in model.encoders for n in names}, {n: n in model.heads for n in names},
                          recipe.tasks, keys)  # fmt: skip

    whole = StepLoader(rows, draw, batch_size=ROWS, tasks_per_row=recipe.tasks.tasks_per_row)
    loader = StepLoader(rows, draw, batch_size=ROWS, tasks_per_row=recipe.tasks.tasks_per_row, process=engine.rank,
                        processes=engine.world_size, uniform=engine.uniform)  # fmt: skip
    engine.prepare(model, lambda player: make_optimizer(model, player, 1e-3, recipe.train))
    calls: list[str] = []
    for name, module in model.named_modules():
        module.register_forward_pre_hook(lambda _, __, name=name: calls.append(name))
    result = {"calls": [], "lacking": 0, "distances": [], "variances": []}
    for step in range(steps):
        [mine], [all_rows] = loader.micro_batches(step), whole.micro_batches(step)
        result["lacking"] += sum(not mine.task.target[name].any() for name in mine.needs.wanted)
        result["lacking"] += sum(not mine.task.visible[name].any() for name in mine.needs.given)
        for player in model.players:
            calls.clear()
            for each in (model, alone):
                each.lr_scale(player, 0.0)
            engine.backward(mine, player, last=True)
            alone(all_rows, player)[0].backward()
            result["calls"].append(list(calls))
            result["distances"].append(distance(model, alone))
            for each in (model, alone):
                each.zero_grad(set_to_none=True)
        result["variances"] += variances(model, alone)
    result["watched"] = [controller.sums.tolist() for each in (model, alone) for controller in controllers(each)]
    return result


def variances(model: Model, alone: Model) -> list[float]:
    """How far the optimal variances of a model are from those of one process."""
    both = zip(model.heads.values(), alone.heads.values(), strict=True)
    pairs = [(mine.ends.variance, theirs.ends.variance) for mine, theirs in both if hasattr(mine, "moves")]
    return [float((mine - theirs).abs().max()) for mine, theirs in pairs]


def controllers(model: Model) -> list[GanController]:
    return [module for module in model.modules() if isinstance(module, GanController)]


def main() -> None:
    recipes, source, folder = json.loads(Path(sys.argv[1]).read_text()), sys.argv[2], Path(sys.argv[3])
    kind, steps = (*sys.argv[4:], "data_parallel")[0], int((*sys.argv[5:], STEPS)[0])
    engine = ENGINES[kind]("no", **OPTIONS.get(kind, {}))
    results = {name: walk(engine, recipe, source, folder / name, steps) for name, recipe in recipes.items()}
    (folder / f"rank-{engine.rank}.json").write_text(json.dumps(results))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
