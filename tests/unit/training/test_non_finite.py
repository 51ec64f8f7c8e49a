"""A step without a finite gradient moves nothing; training that cannot go on stops, and keeps what was good."""

import json
import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file

import polymodal as pm
from polymodal import checkpoint as checkpoints
from polymodal.cli.main import main
from polymodal.config import TrainConfig
from polymodal.files import file_sha256
from polymodal.training.ema import Average
from polymodal.training.engines.data_parallel import DataParallel
from polymodal.training.loop import make_optimizer
from polymodal.training.loop import train as run_loop
from polymodal.training.muon import Muon

RATE = 4000


class Line(torch.nn.Module):
    """A model of two fields; a step's loss of ``sound`` is what the step says."""

    players = ("model",)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.heads = torch.nn.ModuleDict({"name": torch.nn.Linear(16, 16), "sound": torch.nn.Linear(16, 16)})

    def parameters_of(self, player):
        return self.parameters()

    def lr_scale(self, player, progress):
        return 1.0

    def decisions(self):
        return []

    def forward(self, micro_batch, player):
        x, times = micro_batch.x, micro_batch.times
        terms = {name: head(x).square().sum() for name, head in self.heads.items()}
        terms["sound"] = micro_batch.of_gradient(terms["sound"]) * times
        return sum(terms.values()), {f"{name}.flow": term.detach() for name, term in terms.items()}


class Infinite(torch.autograd.Function):
    """A finite number whose gradient is not."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * torch.inf


class Huge(Infinite):
    """A finite number whose gradient is so large that only its square is infinite."""

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 1e35


class Steps:
    """Rows of steps: the loss of ``sound`` is multiplied by a number, and its gradient may be infinite."""

    batch_size = 4

    def __init__(self, times, of_gradient=lambda term: term):
        self.times, self.of_gradient = times, of_gradient

    def stream(self, start):
        for step in range(start, 10**6):
            x = torch.randn(4, 16, generator=torch.Generator().manual_seed(step))
            times = self.times(step)
            yield [SimpleNamespace(x=x, times=times, of_gradient=self.of_gradient, counts={})]


def go(stage: Path, loader: Steps, *, steps: int = 24, optimizer: str = "adamw", **settings) -> Line:
    trainee = Line()
    config = TrainConfig(optimizer=optimizer, log_every=2, checkpoint_steps=4, **settings)
    run_loop(trainee, loader, config, stage, engine=DataParallel("no"), learning_rate=config.learning_rate, steps=steps)
    return trainee


def saved_steps(stage: Path) -> list[int]:
    return sorted(int(path.name[5:]) for path in (stage / "checkpoints").glob("step-*"))


@pytest.mark.parametrize("bad", [torch.inf, torch.nan, 1e38])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_bad_step_is_skipped_counted_and_named(tmp_path, caplog, bad, optimizer):
    with caplog.at_level(logging.WARNING):
        go(tmp_path / "run", Steps(lambda step: bad if step == 5 else 1.0), optimizer=optimizer)
    assert "skipped 1 of the last steps; not finite: sound.flow" in caplog.text
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["decision"] for line in lines if "decision" in line] == [
        "skipped 1 of the last steps; not finite: sound.flow"
    ]
    assert all(np.isfinite(value) for line in lines for value in line.values() if isinstance(value, float))
    assert checkpoints.newest(tmp_path / "run").document("trainer/state")["skipped"] == 1


def test_a_skipped_step_leaves_weights_and_optimiser_as_they_were():
    for optimizer in ("adamw", "muon"):
        trainee, engine = Line(), DataParallel("no")
        config = TrainConfig(optimizer=optimizer)
        engine.prepare(trainee, lambda player, t=trainee, c=config: make_optimizer(t, player, 1e-2, c))
        for times in (1.0, torch.nan):
            micro_batch = next(Steps(lambda step, times=times: times).stream(0))[0]
            engine.backward(micro_batch, "model", last=True)
            before = [p.clone() for p in trainee.parameters()]
            state = checkpoints.flatten_optimizer(engine.optimizers["model"].state_dict(), "model")
            state = {name: value.clone() for name, value in state.items()}
            norm = engine.step("model", 1.0)
        assert norm.isnan()
        assert all(torch.equal(p, was) for p, was in zip(trainee.parameters(), before, strict=True))
        after = checkpoints.flatten_optimizer(engine.optimizers["model"].state_dict(), "model")
        assert state
        assert all(torch.equal(after[name], value) for name, value in state.items())


def test_nobody_waits_to_know_that_a_step_is_skipped():
    """As on a GPU: told on the device that a gradient is not finite, the optimiser moves nothing."""
    weights = [torch.nn.Parameter(torch.randn(16, 16, generator=torch.Generator().manual_seed(k))) for k in range(2)]
    both = [weight.detach().clone().requires_grad_() for weight in weights]
    common = {"weight_decay": 0.1, "betas": (0.9, 0.98)}
    optimizers = [
        Muon([{"params": [w], "orthogonal": k == 0, **common} for k, w in enumerate(mine)], 0.01)
        for mine in (weights, both)
    ]
    for bad in (0.0, 1.0, 0.0):
        for mine, optimizer in zip((weights, both), optimizers, strict=True):
            for k, weight in enumerate(mine):
                weight.grad = torch.randn(16, 16, generator=torch.Generator().manual_seed(7 + k))
                weight.grad += torch.nan if bad else 0.0
            if mine is both:
                optimizer.found_inf = torch.tensor(bad)
            if mine is both or not bad:
                optimizer.step()
    for mine, other in zip(weights, both, strict=True):
        torch.testing.assert_close(mine, other)
    assert optimizers[1].state[both[1]]["step"] == 2


def test_an_infinite_loss_with_a_finite_gradient_is_skipped():
    trainee, engine = Line(), DataParallel("no")
    engine.prepare(trainee, lambda player: make_optimizer(trainee, player, 1e-2, TrainConfig()))
    engine.wrapped = lambda micro_batch, player: (trainee.heads["name"](micro_batch.x).sum() + torch.inf, {})
    engine.backward(next(Steps(lambda step: 1.0).stream(0))[0], "model", last=True)
    assert engine.step("model", 1.0).isnan()


def test_a_few_in_a_row_stop_the_training_and_the_good_stays(tmp_path):
    with pytest.raises(
        pm.TrainingError, match=r"run: not finite in \d+ steps in a row.*sound\.flow; training has stopped.*0\.001"
    ) as told:
        go(tmp_path / "run", Steps(lambda step: torch.nan if step >= 6 else 1.0), keep=1)
    assert "name" not in str(told.value)
    assert saved_steps(tmp_path / "run")[-1] < 24
    assert all(value.isfinite().all() for value in checkpoints.find(tmp_path / "run").tensors("model").values())


def test_where_only_a_gradient_overflows_its_part_is_named(tmp_path):
    with pytest.raises(pm.TrainingError, match=r"the gradient of heads\.sound; training has stopped"):
        go(tmp_path / "run", Steps(lambda step: 1.0, Infinite.apply))


def test_where_gradients_overflow_only_together_the_largest_is_named(tmp_path):
    with pytest.raises(pm.TrainingError, match=r"the gradient of heads\.sound; training has stopped"):
        go(tmp_path / "run", Steps(lambda step: 1.0, Huge.apply))


def test_a_training_of_skipped_steps_is_none_however_short(tmp_path):
    for _ in range(2):  # and is none when it is asked for again
        with pytest.raises(pm.TrainingError, match="3 of 3 steps were skipped"):
            go(tmp_path / "run", Steps(lambda step: torch.nan), steps=3)
    assert saved_steps(tmp_path / "run") == []


def test_poisoned_weights_are_never_saved(tmp_path):
    class Poisoned(Steps):
        def stream(self, start):
            for step, micro_batches in enumerate(super().stream(start), start):
                if step == 11:  # while the twelfth step is worked on
                    with torch.no_grad():
                        trainee.heads["sound"].weight[0, 0] = torch.inf
                yield micro_batches

    trainee = Line()
    loop = {"engine": DataParallel("no"), "learning_rate": 1e-3, "steps": 24}
    with pytest.raises(
        pm.TrainingError, match=r"weights are no longer finite \(heads\.sound\); the checkpoint of step 8 stays"
    ):
        run_loop(trainee, Poisoned(lambda step: 1.0), TrainConfig(checkpoint_steps=4), tmp_path / "run", **loop)
    assert saved_steps(tmp_path / "run")[-1] == 8

    newest = checkpoints.find(tmp_path / "run").path  # one that was poisoned before any of this was looked at
    for name in ("model", "ema"):
        weights = load_file(newest / f"{name}.safetensors")
        weights["heads.sound.weight"][0, 0] = torch.nan
        save_file(weights, newest / f"{name}.safetensors")
        sums = json.loads((newest / "checksums.json").read_text())
        sums[f"{name}.safetensors"] = file_sha256(newest / f"{name}.safetensors")
        (newest / "checksums.json").write_text(json.dumps(sums))
    with pytest.raises(pm.TrainingError, match=r"heads\.sound"):
        go(tmp_path / "run", Steps(lambda step: 1.0), steps=8)


def test_a_loud_clip_costs_a_cell_and_a_mad_rate_the_run(recipe, world, tmp_path, capsys):
    """As one would: a float WAV that is far too loud, and a learning rate that is far too high."""
    defaults = {kind: {k: v for k, v in parts.items() if k != "codec"} for kind, parts in recipe["defaults"].items()}
    (tmp_path / "plain.yaml").write_text(json.dumps(recipe | {"defaults": defaults}))
    rows = [json.loads(line) for line in (world / "rows.jsonl").read_text().splitlines()]
    loud = next(row for row in rows if row.get("tone"))
    samples, rate = soundfile.read(world / loud["tone"], dtype="float32")
    soundfile.write(tmp_path / "loud.wav", samples * np.float32(1e20), rate, subtype="FLOAT")
    for row in rows:
        row |= {name: str(world / row[name]) for name in ("picture", "tone") if row.get(name)}
    loud["tone"] = str(tmp_path / "loud.wav")
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["train", str(tmp_path / "plain.yaml"), "--data", str(tmp_path / "rows.jsonl"), "--set", "data.root=/"]
    assert main([*command, "-o", str(tmp_path / "good")]) == 0
    assert "1 cells cannot be read and are missing" in capsys.readouterr().out

    assert main([*command, "-o", str(tmp_path / "mad"), "--set", "train.learning_rate=1e30"]) == 1
    told = capsys.readouterr()
    assert "is trained" not in told.out
    errors = [line.startswith("polymodal: error") for line in told.err.splitlines()]
    assert errors.index(True) == len(errors) - 1 <= 4
    assert "lower the learning rate (1e+30)" in told.err
    for step in saved_steps(tmp_path / "mad"):
        kept = load_file(tmp_path / "mad" / "checkpoints" / f"step-{step:08d}" / "model.safetensors")
        assert all(value.isfinite().all() for value in kept.values())
    assert main([*command, "-o", str(tmp_path / "inf"), "--set", "train.learning_rate=.inf"]) == 2
    assert "train.learning_rate" in capsys.readouterr().err


def test_weights_and_averages_are_looked_at():
    from polymodal.training.non_finite import check_weights

    trainee = Line()
    averages = Average(checkpoints.trained_parameters(trainee))
    check_weights(trainee, averages, "run", None, "")
    with torch.no_grad():
        trainee.heads["sound"].bias[1] = -torch.inf
    with pytest.raises(pm.TrainingError, match=r"heads\.sound\); the checkpoint of step 3 stays"):
        check_weights(trainee, averages, "run", 3, "")
    trainee = Line()
    averages.weights["heads.name.bias"][3] = torch.nan
    with pytest.raises(pm.TrainingError, match=r"heads\.name\); nothing is kept"):
        check_weights(trainee, averages, "run", None, "")
