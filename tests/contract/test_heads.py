"""What every head promises, for every space that it accepts."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

import polymodal as pm
from contract.spaces import SPACES, WIDTH, assert_well_formed, behind_mask, make_context, make_field, needs_model
from polymodal.heads import HEADS
from polymodal.heads.base import Head, NoOptions
from polymodal.nn.random import make_keys, normal
from polymodal.parts import build_part
from polymodal.types import Context, Field, Losses, Space
from refusals import refused

TRANSFORMER = {"depth": 1, "heads": 2}
SMALL: dict[str, dict[str, object]] = {
    "autoregressive": TRANSFORMER,
    "decoder": TRANSFORMER | {"hidden_size": 16, "channels": [8, 8], "likelihood": "laplace"},
    "flow": TRANSFORMER,
    "gan": {"noise": 4, "hidden_size": 16, "channels": [8, 8]},
    "masked": TRANSFORMER,
    "vae": TRANSFORMER | {"latent": 4, "hidden_size": 16, "channels": [8, 8], "prior": "flow"},
}
CASES = [
    (kind, name)
    for kind, head in HEADS.items()
    for name, space in SPACES.items()
    if head.accepts(space) is None and not needs_model(head)
]
CASES.append(("sketch", "vector"))  # somebody's own, below


@pytest.fixture(autouse=True)
def own(monkeypatch) -> None:
    monkeypatch.setitem(HEADS, "sketch", SketchedGan)


def make(kind: str, name: str) -> Head:
    """A small head whose output is not all zero, as it may be at the start."""
    torch.manual_seed(0)
    part = {"kind": kind, **SMALL.get(kind, {})}
    head = build_part("head", part, "head", SPACES[name], WIDTH)
    for parameter in head.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return head.eval()


def test_every_space_has_a_head_and_a_refusal_says_why():
    assert {name for _, name in CASES} == set(SPACES)
    for head in HEADS.values():
        for space in SPACES.values():
            reason = head.accepts(space)
            assert reason is None or len(reason) > 5


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_players_partition_the_parameters(kind, name):
    head = make(kind, name)
    assert head.players[-1] == "model"
    moved = [id(p) for player in head.players for p in head.parameters_of(player)]
    assert len(moved) == len(set(moved))
    assert set(moved) == {id(p) for p in head.parameters()}
    assert not list(head.parameters_of("nobody"))


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_losses_are_per_row_and_of_that_row_alone(kind, name):
    head, target, context, keys = make(kind, name), make_field(SPACES[name]), make_context(), make_keys(1, 4)
    for player in head.players:
        losses = head.loss(context, target, player, keys)
        assert losses
        for term, loss in losses.items():
            assert loss.shape == (4,), term
            assert torch.isfinite(loss).all()
            for k in range(4):
                row = torch.tensor([k])
                alone = head.loss(context.pick(row), target.pick(row), player, keys[row])[term]
                torch.testing.assert_close(alone[0], loss[k], rtol=1e-4, atol=1e-5)
        sum(loss.sum() for loss in losses.values()).backward()
        grads = [p.grad for p in head.parameters_of(player)]
        assert all(grad is None or torch.isfinite(grad).all() for grad in grads)
        assert any(grad is not None and grad.any() for grad in grads)


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_what_is_behind_a_mask_changes_nothing(kind, name):
    head, target, context, keys = make(kind, name), make_field(SPACES[name]), make_context(), make_keys(1, 4)
    other = Context(context.tokens.masked_fill(~context.mask[..., None], 9.0), context.mask, context.pooled)
    for player in head.players:
        clean, dirty = head.loss(context, target, player, keys), head.loss(other, behind_mask(target, 3), player, keys)
        for term in clean:
            torch.testing.assert_close(clean[term], dirty[term], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_sample_has_its_own_seed_and_survives_saving(kind, name):
    head, context, keys, space = make(kind, name), make_context(), make_keys(3, 4), SPACES[name]
    free = Context(torch.zeros(4, 1, WIDTH), torch.ones(4, 1, dtype=torch.bool), torch.zeros(4, WIDTH))
    together = head.sample(context, keys, unconditional=free)
    assert_well_formed(together, space)
    for k in range(4):
        row = torch.tensor([k])
        alone = head.sample(context.pick(row), keys[row], unconditional=free.pick(row))
        assert alone.lengths[0] == together.lengths[k]
        torch.testing.assert_close(alone.values()[0], together.values()[k], rtol=1e-4, atol=1e-4)
    copy = make(kind, name)
    with torch.no_grad():
        for parameter in copy.parameters():
            parameter.add_(1)
    copy.load_state_dict(head.state_dict())
    assert torch.equal(copy.sample(context, keys, unconditional=free).value, together.value)
    with refused("options", "'no_such_option'", *head.option_names, by=pm.ConfigError):
        head.sample(context, keys, no_such_option=1)


class SketchedGan(Head):
    """An adversarial head, to prove that the loop, the model and the recipes need no change for one."""

    players = ("critic", "model")

    def __init__(self, space: Space, width: int, *, hidden_size: int = 32):
        super().__init__()
        self.space = space
        self.generator = nn.Sequential(
            nn.Linear(width + space.channels, hidden_size), nn.SiLU(), nn.Linear(hidden_size, space.channels)
        )
        self.critic = nn.Sequential(
            nn.Linear(width + space.channels, hidden_size), nn.SiLU(), nn.Linear(hidden_size, 1)
        )

    @classmethod
    def accepts(cls, space: Space) -> str | None:
        return None if space.kind == "continuous" and not space.grid else "models vectors"

    def parameters_of(self, player: str) -> Iterator[nn.Parameter]:
        yield from (
            {"critic": self.critic, "model": self.generator}[player].parameters() if player in self.players else ()
        )

    def _make(self, context: Context, keys: Tensor) -> Tensor:
        return self.generator(torch.cat([context.pooled, normal(keys, (self.space.channels,))], dim=1))

    def _score(self, context: Context, value: Tensor) -> Tensor:
        return self.critic(torch.cat([context.pooled, value], dim=1))[:, 0]

    def loss(self, context: Context, target: Field, player: str, keys: Tensor) -> Losses:
        fake = self._make(context, keys)
        if player == "model":
            return {"fool": softplus(-self._score(context, fake))}
        told = Context(context.tokens, context.mask, context.pooled.detach())
        return {"real": softplus(-self._score(told, target.value)), "fake": softplus(self._score(told, fake.detach()))}

    @torch.no_grad()
    def draw(self, context: Context, keys: Tensor, unconditional: Context | None, options: NoOptions) -> Field:
        rows = torch.ones(len(keys), 1, dtype=torch.bool)
        return Field(self._make(context, keys), rows, rows[:, 0])


def test_the_loop_trains_both_players_of_a_gan(world, recipe, tmp_path):
    fields = {name: recipe["fields"][name] for name in ("colour", "place")}
    fields["place"] = fields["place"] | {"head": {"kind": "sketch"}}
    own = recipe | {"fields": fields}
    own["defaults"] = {"label": recipe["defaults"]["label"]}
    before = pm.fit(own, world / "rows.jsonl", run=tmp_path / "one", steps=1).model
    after = pm.fit(own, world / "rows.jsonl", run=tmp_path / "many", steps=9).model
    assert after.players == ("place.critic", "model")
    everyone = [id(p) for player in after.players for p in after.parameters_of(player)]
    assert sorted(everyone) == sorted(id(p) for p in after.parameters())
    for name in ("generator", "critic"):
        for old, new in zip(
            getattr(before.heads["place"], name).parameters(),
            getattr(after.heads["place"], name).parameters(),
            strict=True,
        ):
            assert not torch.equal(old, new)
    metrics = (tmp_path / "many" / "metrics.jsonl").read_text()
    for word in ('"place.critic.real"', '"place.fool"', '"gradient_norm.place.critic"', '"colour.nll"'):
        assert word in metrics
    assert pm.open(tmp_path / "many").generate({"colour": "red"}, to="place", n=2)["place"][0].shape == (2,)
