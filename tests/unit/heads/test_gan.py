"""The gan head: losses and penalties against closed forms, who moves what, augmentation, and the controller."""

import math

import pytest
import torch
from torch import Tensor, nn

from polymodal.errors import ConfigError
from polymodal.heads.augmentation import augment
from polymodal.heads.gan import CRITIC_LOSSES, MODEL_LOSSES, Gan, shape_of, truncated_normal
from polymodal.heads.gan_controller import BOUNDS, EVERY, PATIENCE, WARM_UP, GanController
from polymodal.nn.random import make_keys, normal
from polymodal.types import Context, Field, Space
from refusals import refused

VECTOR, SOUND, PICTURE = (
    Space("continuous", (3,)), Space("continuous", (4, 12), varies=1), Space("continuous", (1, 8, 8))
)  # fmt: skip
WIDTH = 6


def make(space: Space, **options) -> Gan:
    torch.manual_seed(0)
    return Gan(space, WIDTH, **{"noise": 4, "hidden_size": 8, "channels": (8, 8), "patch": 1, **options})


def context(rows: int, seed: int = 5) -> Context:
    pooled = normal(make_keys(seed, rows), (WIDTH,))
    return Context(pooled[:, None], torch.ones(rows, 1, dtype=torch.bool), pooled)


def full(value: Tensor) -> Field:
    mask = torch.ones(len(value), 1, dtype=torch.bool)
    return Field(value, mask, mask[:, 0])


def values(space: Space, rows: int = 6) -> Field:
    value = normal(make_keys(1, rows), space.shape)
    if not space.variable:
        return full(value)
    mask = torch.arange(space.shape[-1]) < (torch.arange(rows) + 4)[:, None]
    return Field(value * mask[:, None], mask, mask[:, 0], 1)


class LinearCritic(nn.Module):
    """w x, whose gradient is w everywhere."""

    def __init__(self, weight: Tensor):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, value: Tensor, mask: Tensor, pooled: Tensor) -> tuple[Tensor, Tensor]:
        return value @ self.weight, value


def log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x))


@pytest.mark.parametrize(
    ("loss", "critic", "model"),
    [
        ("relativistic", -log_sigmoid(2.5), -log_sigmoid(-2.5)),
        ("hinge", 0.0 + 0.5, 0.5),
        ("non-saturating", -log_sigmoid(2.0) - log_sigmoid(0.5), -log_sigmoid(-0.5)),
        ("wasserstein", -2.5, 0.5),
    ],
)
def test_losses_by_hand(loss, critic, model):
    """Outputs of 2 on what is real and -0.5 on what is made."""
    real, made = torch.tensor([2.0]), torch.tensor([-0.5])
    assert float(CRITIC_LOSSES[loss](real, made)) == pytest.approx(critic, abs=1e-6)
    assert float(MODEL_LOSSES[loss](real, made)) == pytest.approx(model, abs=1e-6)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [("relativistic", 3.0 * 14), ("hinge", 1.5 * 14), ("non-saturating", 1.5 * 14),
     ("wasserstein", 3.0 * (math.sqrt(14) - 1) ** 2)],
)  # fmt: skip
def test_penalties_of_a_linear_critic(loss, expected):
    """Its gradient is w = (1, 2, 3), |w|^2 = 14; R1 and R2 have half the weight of 3 each."""
    head = make(VECTOR, loss=loss, gamma=3.0).eval()
    head.critic = LinearCritic(torch.tensor([1.0, 2.0, 3.0]))
    losses = head.loss(context(6), values(VECTOR), "critic", make_keys(0, 6))
    torch.testing.assert_close(losses["penalty"], torch.full((6,), expected))
    losses["penalty"].sum().backward()
    assert head.critic.weight.grad.abs().sum() > 0


def test_the_penalty_falls_to_its_last_share_in_training():
    head = make(VECTOR, hidden_size=3, gamma=3.0, gamma_final=0.25, penalty_share=1.0, mismatched=0.0)
    head.critic = LinearCritic(torch.tensor([1.0, 2.0, 3.0]))

    def penalty(progress: float) -> float:
        head.lr_scale("critic", progress)
        return float(head.loss(context(4), values(VECTOR, 4), "critic", make_keys(0, 4))["penalty"].detach().mean())

    assert [penalty(progress) for progress in (0.0, 0.5, 1.0, 1.1)] == pytest.approx([42, 21, 10.5, 10.5], rel=1e-5)
    head.eval()
    assert penalty(1.0) == pytest.approx(42, rel=1e-5)


def test_a_share_of_the_rows_bears_the_same_penalty_on_average():
    head = make(VECTOR, hidden_size=3, gamma=3.0, penalty_share=0.25, mismatched=0.0)
    head.critic = LinearCritic(torch.tensor([1.0, 2.0, 3.0]))
    penalty = head.loss(context(8), values(VECTOR, 8), "critic", make_keys(0, 8)).pop("penalty")
    assert (penalty != 0).sum() == 2
    assert float(penalty.detach().mean()) == pytest.approx(3.0 * 14, rel=1e-5)


@pytest.mark.parametrize("space", [VECTOR, SOUND, PICTURE])
@pytest.mark.parametrize("loss", list(CRITIC_LOSSES))
def test_each_player_moves_its_own_and_nothing_else(space, loss):
    head = make(space, loss=loss)
    given = context(6)
    for player, others in (("critic", head.generator), ("model", head.critic)):
        given.pooled.requires_grad_()
        head.zero_grad()
        sum(term.sum() for term in head.loss(given, values(space), player, make_keys(0, 6)).values()).backward()
        assert all(p.grad is None for p in others.parameters())
        assert any(p.grad is not None and p.grad.any() for p in head.parameters_of(player))
        assert (given.pooled.grad is not None) == (player == "model")
        given.pooled.grad = None


def test_the_context_is_no_way_to_please_the_critic():
    """The adversarial term reaches it through the generator only; the critic's view of it is a constant."""
    head, given = make(VECTOR), context(6)
    nn.init.zeros_(head.generator.mix.weight)
    given.pooled.requires_grad_()
    losses = head.loss(given, values(VECTOR), "model", make_keys(0, 6))
    (through_generator,) = torch.autograd.grad(losses["adversarial"].sum(), given.pooled, retain_graph=True)
    assert not through_generator.any()
    (matching,) = torch.autograd.grad(losses["mismatched"].sum(), given.pooled)
    assert matching.any()


def test_pairs_that_do_not_match_count_in_training_only():
    head, given, target = make(VECTOR), context(6), values(VECTOR)
    assert "mismatched" in head.loss(given, target, "critic", make_keys(0, 6))
    assert "mismatched" not in head.eval().loss(given, target, "critic", make_keys(0, 6))
    same = Context(given.tokens, given.mask, given.pooled[:1].expand(6, -1))
    loss = head.train().loss(same, target, "critic", make_keys(0, 6))["mismatched"]
    assert not loss.any()  # what is said of all of them matches


@pytest.mark.parametrize("loss", CRITIC_LOSSES)
def test_a_context_that_equals_another_rows_is_no_mismatch(loss):
    head, given, target = make(VECTOR, loss=loss), context(6), values(VECTOR)
    pooled = given.pooled[torch.tensor([0, 0, 0, 1, 2, 2])]  # each meets that of the row before it
    twice = head.loss(Context(given.tokens, given.mask, pooled), target, "critic", make_keys(0, 6))["mismatched"]
    assert twice.bool().tolist() == [True, False, False, True, True, False]


def test_spectral_norm_bounds_the_critic():
    head = make(PICTURE, spectral_norm=True)
    optimizer = torch.optim.Adam(head.parameters_of("critic"), lr=0.05)
    for step in range(30):
        sum(v.mean() for v in head.loss(context(6), values(PICTURE), "critic", make_keys(step, 6)).values()).backward()
        optimizer.step()
        optimizer.zero_grad()
    for module in head.critic.modules():
        if isinstance(weight := getattr(module, "weight", None), Tensor):
            assert float(torch.linalg.matrix_norm(weight.detach().flatten(1), 2)) < 1.2


def test_truncation():
    z = truncated_normal(make_keys(0, 4000), 4, 0.8)
    assert z.abs().max() <= 0.8
    # The variance of a normal variable within ± a is 1 - 2 a phi(a) / (2 Phi(a) - 1).
    density, inside = math.exp(-0.32) / math.sqrt(2 * math.pi), math.erf(0.8 / math.sqrt(2))
    assert float(z.var()) == pytest.approx(1 - 1.6 * density / inside, rel=0.03)
    head = make(VECTOR).eval()
    narrow, wide = (head.sample(context(1).pick(torch.zeros(500, dtype=torch.long)), make_keys(1, 500), truncation=t)
                    for t in (0.1, 0))  # fmt: skip
    assert narrow.value.std(0).mean() < 0.3 * wide.value.std(0).mean()


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"truncated": 1.0}, ("options", "'truncated'", "'truncation'")),
        ({"truncation": -1}, ("options.truncation", "not -1", "greater than or equal to 0")),
    ],
)
def test_wrong_options(options, parts):
    with refused(*parts, by=ConfigError):
        make(VECTOR).sample(context(1), make_keys(0, 1), **options)


def test_wrong_arguments():
    with refused("augment", "not 1.5", "less than or equal to 1", by=ConfigError):
        make(PICTURE, augment=1.5)
    assert Gan.accepts(Space("discrete", (4,), vocab=3)) == "models continuous values; these are ids"
    assert "pictures" in Gan.accepts(Space("continuous", (3, 4, 8, 8)))


@pytest.mark.parametrize(
    ("space", "channels", "patch"),
    [
        (Space("continuous", (1, 28, 28)), (64, 32), 2),
        (Space("continuous", (3, 64, 64)), (128, 64, 32), 2),
        (Space("continuous", (16, 7, 7)), (32,), 1),
        (Space("continuous", (80, 60), varies=1), (128, 64, 32), 2),
    ],
)
def test_usual_shapes(space, channels, patch):
    assert shape_of(space) == (channels, patch)
    Gan(space, WIDTH, hidden_size=8)


@pytest.mark.parametrize("space", [SOUND, PICTURE, Space("continuous", (3, 8, 8))])
def test_augmentation(space):
    field, keys, never, always = values(space), make_keys(2, 6), torch.tensor(0.0), torch.tensor(1.0)
    lengths = field.lengths if space.variable else None
    torch.testing.assert_close(augment(field.value, keys, never, flip=True, lengths=lengths), field.value)
    value = field.value.clone().requires_grad_()
    changed = augment(value, keys, always, flip=True, lengths=lengths)
    assert ((changed - value).flatten(1).abs().sum(1) > 0).sum() >= 5
    changed.sum().backward()
    assert value.grad.any()
    row = torch.tensor([3])
    alone = augment(field.value[row], keys[row], always, flip=True, lengths=None if lengths is None else lengths[row])
    torch.testing.assert_close(alone[0], changed.detach()[3])
    if space.variable:
        assert not changed.masked_select(~field.mask[:, None]).any()


def test_vectors_are_not_augmented():
    field = values(VECTOR)
    assert augment(field.value, make_keys(2, 6), torch.tensor(1.0)) is field.value


def look(controller: GanController, real: Tensor, made: Tensor, spread: float = 1.0, gradient: float = 1.0) -> bool:
    """One look at so many moves alike; whether the critic is to be drawn anew."""
    features = normal(make_keys(3, len(real)), (4,))
    for _ in range(EVERY):
        controller.watch(
            (real, made), (features, spread * features), torch.ones(len(real)), False, torch.ones(len(real))
        )
        controller.watch_gradient(torch.full((len(real), 2), gradient), torch.ones(len(real), dtype=torch.bool))
        again = controller.move()
    return again


HEALTHY = (torch.tensor([1.0, 0.2, -0.1, 0.9]), torch.tensor([-1.0, 0.3, -0.5, 0.1]))


def test_a_healthy_pair_is_left_alone():
    controller = GanController(4, blank=2.0)
    assert not any(look(controller, *HEALTHY) for _ in range(2 * WARM_UP))
    assert controller.decisions() == []
    assert [controller.level(name) for name in ("lr_scale", "strength", "noise", "augment")] == [1, 1, 0, 0]


def test_what_is_not_finite_leaves_no_trace():
    controller, known = GanController(4, blank=2.0), GanController(4, blank=2.0)
    for one in (controller, known):
        one.watch(HEALTHY, (torch.ones(4, 4), torch.ones(4, 4)), torch.ones(4), False, torch.ones(4))
    bad = torch.full((4,), math.nan)
    controller.watch((bad, bad), (torch.ones(4, 4), torch.ones(4, 4)), bad, False, torch.ones(4))
    controller.watch_gradient(torch.full((4, 2), math.inf), torch.ones(4, dtype=torch.bool))
    for name, buffer in known.named_buffers():
        assert torch.equal(dict(controller.named_buffers())[name], buffer), name


@pytest.mark.parametrize(("real", "gradient"), [(torch.zeros(4), 1.0), (HEALTHY[0], 0.0)])
def test_a_dead_critic_is_drawn_anew(real, gradient):
    controller = GanController(4, blank=2.0)
    made = HEALTHY[1] if gradient == 0 else real
    assert look(controller, real, made, gradient=gradient)
    assert controller.decisions()[0].startswith("the critic is drawn anew: the critic is dead")
    assert controller.resets == 1
    assert not look(controller, *HEALTHY)


def test_a_critic_that_shouts_is_slowed_and_then_drawn_anew():
    controller = GanController(4, blank=2.0)
    resets = [look(controller, 1e4 * HEALTHY[0], 1e4 * HEALTHY[1]) for _ in range(PATIENCE + 1)]
    assert resets == [False] * PATIENCE + [True]
    assert controller.level("lr_scale") < 0.1
    assert controller.level("strength") == BOUNDS["strength"][1]
    for _ in range(80):
        look(controller, *HEALTHY)
    assert (controller.level("lr_scale"), controller.level("strength")) == (1, 1)


def test_a_collapse_is_met_with_noise_then_with_a_new_critic():
    controller = GanController(4, blank=2.0)
    for _ in range(WARM_UP):
        assert not look(controller, *HEALTHY, spread=0.01)
    assert controller.decisions() == []
    resets = [look(controller, *HEALTHY, spread=0.01) for _ in range(3 * PATIENCE)]
    assert resets == [False] * (3 * PATIENCE - 1) + [True]
    assert controller.level("noise") == pytest.approx(0.2)
    assert any("all alike" in line for line in controller.decisions())
    for _ in range(80):
        look(controller, *HEALTHY)
    assert (controller.level("noise"), controller.level("strength")) == (0, 1)


def test_augmentation_follows_the_sign_statistic():
    controller, real = GanController(4, blank=2.0, augment=0.3), torch.ones(2000)
    for _ in range(10):
        look(controller, real, torch.randn(2000, generator=torch.Generator().manual_seed(0)))
    assert controller.level("augment") == pytest.approx(0.3)
    assert [line.split(":")[0] for line in controller.decisions()][:2] == [
        "augmentation 0.06 -> 0.13", "augmentation 0.19 -> 0.26"
    ]  # fmt: skip
    for _ in range(10):
        look(controller, -real, torch.randn(2000, generator=torch.Generator().manual_seed(0)))
    assert controller.level("augment") == 0


def test_a_balance_that_is_resumed_goes_on_exactly():
    one, other = GanController(4, blank=2.0, augment=0.5), GanController(4, blank=2.0, augment=0.5)
    assert other.level("lr_scale") == 1
    loud = (1e3 * HEALTHY[0], 1e3 * HEALTHY[1])
    look(one, *loud)
    one.watch(loud, (normal(make_keys(0, 4), (4,)),) * 2, torch.ones(4), True, torch.ones(4))
    one.move()
    other.load_state_dict(one.state_dict())
    assert other.level("lr_scale") == one.level("lr_scale") == 0.5
    for controller in (one, other):
        for _ in range(3):
            look(controller, *loud)
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
    assert one.level("strength") == other.level("strength")


def ring(head: Gan, rows: int = 64) -> tuple[Tensor, Context]:
    """Centres of eight Gaussians on a circle, and contexts that name them in turn."""
    angle = torch.arange(8) * math.pi / 4
    marks = torch.eye(8)[torch.arange(rows) % 8]
    told = Context(marks[:, None], torch.ones(rows, 1, dtype=torch.bool), marks)
    return 1.5 * torch.stack([angle.cos(), angle.sin()], dim=1), told


def play(head: Gan, steps: int, rate: float = 2e-3, critic_rate: float = 1.0, begin: int = 0) -> list[str]:
    """Trains on the ring as the loop does; the decisions."""
    centres, told = ring(head)
    optimizers = {p: torch.optim.Adam(head.parameters_of(p), lr=rate, betas=(0.0, 0.98)) for p in head.players}
    said: list[str] = []
    for step in range(begin, begin + steps):
        keys = make_keys(2, 64, start=64 * step)
        data = full(centres[torch.arange(64) % 8] + 0.1 * normal(keys, (2,)))
        for player, optimizer in optimizers.items():
            optimizer.param_groups[0]["lr"] = (
                rate * head.lr_scale(player, 0.0) * (critic_rate if player == "critic" else 1)
            )
            sum(term.mean() for term in head.loss(told, data, player, keys).values()).backward()
            nn.utils.clip_grad_norm_(list(head.parameters_of(player)), 1.0)
            optimizer.step()
            for each in optimizers.values():
                each.zero_grad()
        said += head.decisions()
    return said


def found(head: Gan) -> float:
    """Share of samples that lie nearest to the centre that was asked for, within 0.75 of it."""
    centres, told = ring(head, 512)
    head.eval()
    distance = torch.cdist(head.sample(told, make_keys(9, 512)).value, centres)
    head.train()
    asked = torch.arange(512) % 8
    return float(((distance.argmin(1) == asked) & (distance.min(1).values < 0.75)).float().mean())


def ring_gan(**options) -> Gan:
    torch.manual_seed(0)
    return Gan(Space("continuous", (2,)), 8, noise=4, hidden_size=32, channels=(64, 64), **{"gamma": 0.3, **options})


def test_a_critic_whose_weights_are_zero_comes_back_to_life():
    head = ring_gan()
    play(head, 40)
    with torch.no_grad():
        for parameter in head.critic.parameters():
            parameter.zero_()
    said = play(head, 200, begin=40)
    assert any("drawn anew: the critic is dead" in line for line in said)
    assert found(head) > 0.95


def test_a_critic_that_learns_far_too_fast_is_reined_in():
    """A hundred times the rate: left alone, a twentieth of the samples were where they should be."""
    head = ring_gan(loss="hinge", gamma=0.01)
    said = play(head, 320, critic_rate=100.0)
    assert any(line.startswith("lr_scale") for line in said)
    assert head.controller.level("lr_scale") < 0.5
    assert found(head) > 0.8


def test_the_penalty_has_the_weight_of_its_paper():
    """Ten for a Wasserstein critic (Gulrajani et al. 2017); what a recipe says comes first."""
    weights = {loss: make(VECTOR, loss=loss).gamma for loss in CRITIC_LOSSES}
    assert weights == {"wasserstein": 10.0, "relativistic": 1.0, "hinge": 1.0, "non-saturating": 1.0}
    assert make(VECTOR, loss="wasserstein", gamma=2.0).gamma == 2.0
    head = make(VECTOR, loss="wasserstein").eval()
    head.critic = LinearCritic(torch.zeros(3))  # has no slope, and is one short of it
    losses = head.loss(context(6), values(VECTOR), "critic", make_keys(0, 6))
    torch.testing.assert_close(losses["penalty"].detach(), torch.full((6,), 10.0), rtol=1e-4, atol=0)
