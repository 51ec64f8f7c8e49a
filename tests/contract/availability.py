"""Walks two processes through every pair of availability patterns of three fields; started by ``test_availability``.

    python -m torch.distributed.run --nproc_per_node 2 availability.py RECIPE RESULT

Each process has one row of a pattern of its own. A step in which one waits for the other in vain never ends.
"""

import itertools
import json
import sys
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs

import polymodal as pm
from polymodal.config import load_recipe
from polymodal.model import MicroBatch, Model
from polymodal.nn.random import make_keys, normal
from polymodal.parts import build_part
from polymodal.training import tasks
from polymodal.training.adaptation import Adaptation
from polymodal.types import Batch, Field, Task

MODALITIES = {"picture": pm.Image(size=16), "name": pm.Text(max_length=8), "place": pm.Vector(size=2)}
PATTERNS = [pattern for pattern in itertools.product([True, False], repeat=3) if any(pattern)]


def make_model(recipe) -> Model:
    """A model in which no part starts at zero, where it would teach those before it nothing yet."""
    torch.manual_seed(0)
    model = Model(load_recipe(recipe), MODALITIES)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def make_batch(patterns) -> Batch:
    """Rows that have the fields that their patterns say, zeros elsewhere."""
    batch, keys = {}, make_keys(7, len(patterns))
    for (name, modality), column in zip(MODALITIES.items(), zip(*patterns, strict=True), strict=True):
        present, space = torch.tensor(column), modality.space
        if space.kind == "discrete":
            value, mask = torch.full((len(column), 4), 5), present[:, None].expand(-1, 4)
        else:
            value, mask = normal(keys, space.shape), present[:, None]
        value = torch.where(present.view(-1, *[1] * (value.dim() - 1)), value, torch.zeros_like(value))
        batch[name] = Field(value, mask.clone(), present, space.varies)
    return batch


def draw(model: Model, batch: Batch, keys: torch.Tensor) -> Task:
    everything = dict.fromkeys(batch, True)
    present = {name: field.present for name, field in batch.items()}
    return tasks.draw(present, everything, everything, model.recipe.tasks, keys)


def micro_batch(model: Model, patterns, keys: torch.Tensor, places: torch.Tensor) -> MicroBatch:
    """The rows at ``places`` of a step of rows of these patterns."""
    batch = make_batch(patterns)
    task = draw(model, batch, keys)
    counts = {name: int(mask.sum()) for name, mask in task.target.items()}
    own = Task(*({name: mask[places] for name, mask in group.items()} for group in (task.visible, task.target)))
    return MicroBatch({name: field.pick(places) for name, field in batch.items()}, own, keys[places], counts, len(keys))


def main() -> None:
    accelerator = Accelerator(cpu=True, kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)])
    model = make_model(json.loads(Path(sys.argv[1]).read_text())).train()
    fields = list(model.heads)
    balancer = build_part("balancer", model.recipe.train.balance, "train.balance", fields)
    model.loss_weigher = adaptation = Adaptation(dict.fromkeys(fields, 1.0), balancer=balancer)
    wrapped, place = accelerator.prepare_model(model), torch.tensor([accelerator.process_index])
    wrong = []
    for step, pair in enumerate(itertools.product(PATTERNS, PATTERNS), 1):
        own = micro_batch(model, pair, make_keys(1, 2, start=2 * step), place)
        for player in model.players:
            model.lr_scale(player, 0.0)
            loss, terms = wrapped(own, player)
            accelerator.backward(loss)
            adaptation.observe(player, terms, own.counts)
            gradients = [p.grad for p in model.parameters_of(player) if p.grad is not None]
            norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
            everyone = accelerator.gather(norm[None])
            if not (loss.isfinite() and norm.isfinite() and torch.equal(everyone[0], everyone[1])):
                wrong.append([step, player, float(loss), everyone.tolist()])
            model.zero_grad(set_to_none=True)
        adaptation.step(step)
    Path(f"{sys.argv[2]}-{accelerator.process_index}").write_text(
        json.dumps({"steps": step, "wrong": wrong, "weights": balancer.weights})
    )
    accelerator.end_training()


if __name__ == "__main__":
    main()
