"""What every engine promises the loop, on one process; two are in ``journey/test_two_processes.py``."""

from copy import deepcopy

import pytest
import torch
from torch import nn

import polymodal as pm
from polymodal import checkpoint as checkpoints
from polymodal.config import load_recipe
from polymodal.model import MicroBatch
from polymodal.nn.random import make_keys
from polymodal.training.ema import Average
from polymodal.training.engines import ENGINES, Engine
from polymodal.types import Field, Task

CLIP = 0.1


class Regression(nn.Module):
    """Two players with a matrix each: the second one predicts what the first one makes of the values."""

    players = ("first", "second")

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)

    def parameters_of(self, player):
        return getattr(self, player).parameters()

    def forward(self, micro_batch, player):
        x = micro_batch.batch["x"].value
        made, guess = self.first(x), self.second(x)
        error = (made - x) if player == "first" else (guess - made.detach())
        loss = error.square().sum() / micro_batch.rows
        return loss, {"error": loss.detach()}


def micro_batches(parts: int) -> list[MicroBatch]:
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    return [
        MicroBatch({"x": Field.full(part)}, Task({}, {}), make_keys(0, len(part)), {}, 8) for part in x.chunk(parts)
    ]


@pytest.fixture(params=ENGINES)
def engine(request) -> Engine:
    return ENGINES[request.param]("no")


def prepared(engine: Engine) -> Regression:
    trainee = Regression().to(engine.device)
    engine.prepare(trainee, lambda player: torch.optim.AdamW(trainee.parameters_of(player), lr=0.01, fused=True))
    return trainee


def take_step(engine: Engine, parts: int = 1) -> list[torch.Tensor]:
    norms = []
    for player in engine.optimizers:
        portions = micro_batches(parts)
        for number, micro_batch in enumerate(portions, 1):
            engine.backward(micro_batch, player, last=number == len(portions))
        norms.append(engine.step(player, CLIP))
    return norms


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_a_step_is_a_clipped_step_of_the_optimiser(engine, parts):
    trainee, plain = prepared(engine), Regression()
    norms = take_step(engine, parts)
    for player, norm in zip(plain.players, norms, strict=True):
        optimizer = torch.optim.AdamW(plain.parameters_of(player), lr=0.01, fused=True)
        plain(micro_batches(1)[0], player)[0].backward()
        torch.testing.assert_close(norm, nn.utils.clip_grad_norm_(plain.parameters_of(player), CLIP))
        assert norm > CLIP
        optimizer.step()
        plain.zero_grad()
    for mine, theirs in zip(trainee.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)
        assert mine.grad is None


def test_what_was_saved_is_put_back_and_goes_on_the_same(engine, tmp_path):
    trainee = prepared(engine)
    averages = Average(checkpoints.trained_parameters(trainee))
    take_step(engine)
    averages.update(0)
    engine.save(tmp_path, 1, averages, {"config": {}}, keep=1)
    take_step(engine)
    expected, kept = deepcopy(trainee.state_dict()), {name: value.clone() for name, value in averages.weights.items()}

    trainee = prepared(engine)
    averages = Average(checkpoints.trained_parameters(trainee))
    engine.load(checkpoints.find(tmp_path), averages)
    assert all(torch.equal(averages.weights[name], value) for name, value in kept.items())
    take_step(engine)
    assert all(torch.equal(trainee.state_dict()[name], value) for name, value in expected.items())


def test_the_scale_of_losses_in_fp16_is_put_back(tmp_path, monkeypatch):
    """Else a run that goes on starts at the largest scale again, and leaves out steps until it is small enough."""
    engine = ENGINES["data_parallel"]("no")
    trainee = prepared(engine)
    averages = Average(checkpoints.trained_parameters(trainee))
    take_step(engine)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.load_state_dict(scaler.state_dict() | {"_growth_tracker": 77})
    monkeypatch.setattr(engine.accelerator, "scaler", scaler)
    engine.save(tmp_path, 1, averages, {"config": {}}, keep=1)
    fresh = torch.amp.GradScaler("cpu")
    assert fresh.state_dict() != scaler.state_dict()
    monkeypatch.setattr(engine.accelerator, "scaler", fresh)
    engine.load(checkpoints.find(tmp_path), averages)
    assert fresh.state_dict() == scaler.state_dict()
    monkeypatch.setattr(engine.accelerator, "scaler", None)  # the run goes on in 32 bits
    engine.load(checkpoints.find(tmp_path), averages)


def test_weights_in_pieces_do_without_a_scale_of_losses():
    with pytest.raises(pm.ConfigError, match="fp16 needs it; take bf16"):
        ENGINES["sharded"]("fp16")


@pytest.mark.parametrize("other", ENGINES)
def test_one_engine_goes_on_from_the_checkpoint_of_another(engine, other, tmp_path):
    before = prepared(engine)
    averages = Average(checkpoints.trained_parameters(before))
    take_step(engine)
    averages.update(0)
    engine.save(tmp_path, 1, averages, {"config": {}}, keep=1)
    take_step(engine)

    second = ENGINES[other]("no")
    after = prepared(second)
    second.load(checkpoints.find(tmp_path), Average(checkpoints.trained_parameters(after)))
    take_step(second)
    for name, value in before.state_dict().items():
        torch.testing.assert_close(after.state_dict()[name], value)


def test_one_process_asks_nobody(engine):
    assert (engine.rank, engine.world_size, engine.main, engine.uniform) == (0, 1, True, False)
    assert engine.broadcast(0.1) == 0.1
    engine.wait()


def test_a_recipe_names_its_engine(recipe, world, tmp_path):
    assert load_recipe({"train": {"engine": "data_parallel"}}) == load_recipe({})
    with pytest.raises(pm.ConfigError, match=r"train\.engine\.kind.*'data'.*data_parallel"):
        pm.fit(recipe, world / "rows.jsonl", run=tmp_path / "run", set={"train.engine": "data"})
    assert not (tmp_path / "run").exists()
