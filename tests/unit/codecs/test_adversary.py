"""The critic of a codec: it learns to tell, its advice does not move it, and a codec heeds it."""

import pytest
import torch

from polymodal.codecs import CODECS
from polymodal.codecs.adversary import Adversary, make_adversary
from polymodal.nn.random import make_keys, normal
from polymodal.types import Field, Space

PICTURE = Space("continuous", (1, 16, 16))


def sharp(rows: int) -> torch.Tensor:
    """Pictures of two colours."""
    return normal(make_keys(0, rows), (1, 4, 4)).sign().repeat_interleave(4, 2).repeat_interleave(4, 3)


def blurred(value: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.avg_pool2d(value, 5, 1, 2)


def test_it_learns_to_tell_and_its_slope_is_bounded():
    torch.manual_seed(0)
    critic, real = Adversary(PICTURE, 4, 1.0, 0.0), sharp(16)
    optimizer = torch.optim.Adam(critic.parameters(), lr=2e-3)
    for step in range(40):
        terms = critic.loss(real, blurred(real), None, make_keys(step, 16))
        optimizer.zero_grad()
        sum(term.mean() for term in terms.values()).backward()
        optimizer.step()
    assert terms["real"].mean() + terms["fake"].mean() < 1.0
    advice = critic.advice(real, blurred(real), None)["adversarial"]
    assert (advice > critic.advice(real, real, None)["adversarial"]).all()


def test_the_penalty_is_the_squared_gradient_of_a_linear_critic():
    torch.manual_seed(0)
    critic, real = Adversary(PICTURE, 4, 1.0, 0.0), sharp(256)
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.mul_(0.01)  # so small that what is not linear in it does not count
        critic.score.weight.mul_(1e6)
    value = real[:1].clone().requires_grad_()
    scores = critic(value, None)[0]
    squares = [torch.autograd.grad(s, value, retain_graph=True)[0].square().sum() for s in scores.flatten()]
    exact = torch.stack(squares).mean()
    constant = real[:1].expand_as(real)
    estimate = critic.loss(constant, real, None, make_keys(0, 256))["penalty"].mean()
    torch.testing.assert_close(estimate, critic.PENALTY * exact, rtol=0.1, atol=0)


def test_advice_is_nought_where_nothing_differs_and_does_not_move_the_critic():
    critic, real = Adversary(PICTURE, 4, 0.0, 1.0), sharp(4)
    made = blurred(real).requires_grad_()
    assert set(critic.advice(real, made, None)) == {"perceptual"}
    assert not critic.advice(real, real, None)["perceptual"].any()
    critic.advice(real, made, None)["perceptual"].sum().backward()
    assert made.grad is not None
    assert made.grad.any()
    assert all(p.grad is None for p in critic.parameters())


@pytest.mark.parametrize("factor", [1, 2, 4, 7])
def test_any_compression_has_a_critic_of_its_cells(factor):
    value = normal(make_keys(0, 2), (1, 28, 28))
    scores = Adversary(Space("continuous", (1, 28, 28)), factor, 1.0, 0.0)(value, None)[0]
    assert scores.shape == (2, 1, 28 // factor, 28 // factor)


def test_no_critic_where_none_is_asked_for():
    assert make_adversary(PICTURE, 2, 0.0, 0.0) is None
    for kind, options in {"kl": {"latent": 4}, "fsq": {"levels": (4, 4)}}.items():
        codec = CODECS[kind](PICTURE, channels=(8,), patch=2, **options)
        assert codec.players == ("model",)
        assert not list(codec.parameters_of("critic"))


@pytest.mark.parametrize("kind", ["kl", "fsq"])
def test_a_codec_heeds_its_critic(kind):
    """With the critic alone to please, reconstructions still come nearer in its features."""
    torch.manual_seed(0)
    options = {"kl": {"latent": 4, "noise": 0.0}, "fsq": {"levels": (8, 8, 8, 8)}}[kind]
    codec = CODECS[kind](PICTURE, channels=(16,), patch=4, perceptual=1.0, **options)
    mask = torch.ones(8, 1, dtype=torch.bool)
    field = Field(blurred(normal(make_keys(1, 8), (1, 16, 16))), mask, mask[:, 0])
    codec.initialise([field])
    optimizers = {player: torch.optim.Adam(codec.parameters_of(player), lr=2e-3) for player in codec.players}
    before = codec.loss(field, "model", make_keys(0, 8))["perceptual"].mean()
    for _ in range(20):
        codec.zero_grad()
        codec.loss(field, "model", make_keys(0, 8))["perceptual"].mean().backward()
        optimizers["model"].step()
    assert codec.loss(field, "model", make_keys(0, 8))["perceptual"].mean() < 0.9 * before
