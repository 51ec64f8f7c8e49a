"""Muon: against torch's own, and what it takes."""

import pytest
import torch

from polymodal.checkpoint import flatten_optimizer, restore_optimizer
from polymodal.config import TrainConfig
from polymodal.nn.conv import convolution
from polymodal.nn.layers import Linear
from polymodal.training import muon
from polymodal.training.loop import make_optimizer


class Trainee(torch.nn.Module):
    players = ("model",)

    def __init__(self, still: bool = False):
        super().__init__()
        torch.manual_seed(0)
        self.words = torch.nn.Embedding(40, 32)
        self.first, self.second = Linear(32, 48, bias=True), Linear(32, 48)
        self.conv, self.small = convolution(16, 24, 2), Linear(48, 3)
        if still:
            self.first.weight.momentum = 0.0

    def parameters_of(self, player):
        return self.parameters()


def optimizer_of(trainee, decay=0.1):
    return make_optimizer(trainee, "model", 0.1, TrainConfig(optimizer="muon", weight_decay=decay))


def gradients(trainee, step):
    torch.manual_seed(step)
    for parameter in trainee.parameters():
        parameter.grad = torch.randn_like(parameter)


@pytest.mark.parametrize("shape", [(3, 20, 50), (2, 50, 20), (1, 32, 32)])
def test_singular_values_come_near_one_and_directions_stay(shape):
    torch.manual_seed(0)
    x = torch.randn(shape)
    u, _, v = torch.linalg.svd(x, full_matrices=False)
    inside = u.mT @ muon.orthogonalised(x).float() @ v.mT
    values = inside.diagonal(dim1=1, dim2=2)
    assert 0.4 < values.min() < values.max() < 1.3
    assert (inside - torch.diag_embed(values)).abs().max() < 0.1


def test_it_is_what_torch_has(monkeypatch):
    monkeypatch.setattr(muon, "RATIO", 0.2)  # as torch has it to be like Adam
    ours, theirs = Trainee(), Trainee()
    mine = optimizer_of(ours)
    own = torch.optim.Muon(
        [theirs.first.weight, theirs.second.weight], 0.1, 0.02, momentum=0.9, adjust_lr_fn="match_rms_adamw"
    )
    for step in range(3):
        gradients(ours, step)
        gradients(theirs, step)
        mine.step()
        own.step()
    # torch decays by its whole rate, so it is given a fifth of the decay; sums in bf16 differ by their order
    torch.testing.assert_close(ours.first.weight, theirs.first.weight, rtol=0.02, atol=0.01)
    torch.testing.assert_close(ours.second.weight, theirs.second.weight, rtol=0.02, atol=0.01)


def test_it_takes_matrices_inside_and_leaves_the_rest_to_adamw():
    trainee = Trainee(still=True)
    groups = optimizer_of(trainee).param_groups
    assert {id(p) for g in groups if g["orthogonal"] for p in g["params"]} == {
        id(trainee.second.weight), id(trainee.conv.weight)
    }  # fmt: skip
    assert sum(len(g["params"]) for g in groups) == len(list(trainee.parameters()))


def test_resumed_it_goes_on_exactly():
    whole, resumed = Trainee(), Trainee()
    one, other = optimizer_of(whole), optimizer_of(resumed)
    for step in range(4):
        if step == 2:
            tensors = {k: v.clone() for k, v in flatten_optimizer(other.state_dict(), "model").items()}
            other = optimizer_of(resumed)
            restore_optimizer(other, tensors, "model")
        for trainee, optimizer in ((whole, one), (resumed, other)):
            gradients(trainee, step)
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_a_part_may_ask_for_it_alone():
    trainee = Trainee()
    trainee.conv.muon = True
    groups = make_optimizer(trainee, "model", 0.1, TrainConfig()).param_groups
    assert [id(p) for g in groups if g["orthogonal"] for p in g["params"]] == [id(trainee.conv.weight)]
    assert sum(len(g["params"]) for g in groups) == len(list(trainee.parameters()))
    trainee.conv.muon = False
    assert type(make_optimizer(trainee, "model", 0.1, TrainConfig())) is torch.optim.AdamW
