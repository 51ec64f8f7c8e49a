import pytest
import torch

from contract.spaces import SPACES, WIDTH, make_context, make_text
from polymodal.errors import ConfigError
from polymodal.heads.masked import Masked, ranks
from polymodal.heads.token_sampling import BEGIN, END, PAD
from polymodal.nn.random import make_keys
from polymodal.types import Field, Space
from refusals import refused

TEXT, LABEL, CODES = (SPACES[name] for name in ("text", "label", "codes"))


def make_head(space, **options):
    torch.manual_seed(0)
    head = Masked(space, WIDTH, **{"depth": 2, "heads": 2} | options).eval()
    with torch.no_grad():  # far from uniform, as after training
        for parameter in head.parameters():
            parameter.mul_(4)
    return head


SAMPLING = [
    {},
    {"temperature": 0.0},
    {"temperature": 0.7, "top_k": 4, "steps": 3},
    {"top_p": 0.8, "noise": 4.5},
    {"guidance": 2.5, "order": "random"},
    {"steps": 1},
]


@pytest.mark.parametrize("space", [TEXT, LABEL, CODES])
@pytest.mark.parametrize("options", SAMPLING)
def test_a_sample_equals_itself_generated_alone(space, options):
    head, context, keys, nothing = make_head(space), make_context(8), make_keys(4, 8), make_context(8, tokens=1)
    together = head.sample(context, keys, unconditional=nothing, **options)
    for k in range(8):
        row = torch.tensor([k])
        alone = head.sample(context.pick(row), keys[row], unconditional=nothing.pick(row), **options)
        length = alone.value.shape[1]
        assert torch.equal(alone.value[0], together.value[k, :length])
        assert not together.value[k, length:].any()


@pytest.mark.parametrize("options", SAMPLING)
def test_texts_end_at_their_length_and_hold_no_other_special_id(options):
    rows = 64
    drawn = make_head(TEXT).sample(
        make_context(rows), make_keys(0, rows), unconditional=make_context(rows, tokens=1), **options
    )
    assert drawn.value.shape[1] == drawn.lengths.max()
    for ids, length in zip(drawn.value.tolist(), drawn.lengths.tolist(), strict=True):
        assert ids[length - 1] == END
        assert not {PAD, END, BEGIN} & set(ids[: length - 1])
        assert not any(ids[length:])


@pytest.mark.parametrize("space", [LABEL, CODES])
def test_values_of_fixed_length_have_no_special_ids(space):
    drawn = make_head(space).sample(make_context(200), make_keys(0, 200), temperature=5.0)
    assert drawn.value.shape == (200, *space.shape)
    assert drawn.mask.shape == (200, 1)
    assert drawn.value.unique().tolist() == list(range(space.vocab))


def test_no_more_steps_than_ids_and_no_more_than_asked(monkeypatch):
    head, context, keys = make_head(TEXT), make_context(32), make_keys(0, 32)
    calls, logits = [], head.logits

    def count(*arguments):
        calls.append(arguments[0])
        return logits(*arguments)

    monkeypatch.setattr(head, "logits", count)
    for steps in (1, 2, 5, 100):
        calls.clear()
        drawn = head.sample(context, keys, steps=steps)
        hidden = torch.stack([(ids == head.hidden_id).sum(1) for ids in calls])
        assert torch.equal(hidden[0], drawn.lengths - 1)
        assert 1 <= len(calls) <= steps
        assert (hidden[1:] <= hidden[:-1]).all()
        assert (hidden[1:].sum(1) < hidden[:-1].sum(1)).all()
    calls.clear()
    head.sample(context.pick(torch.tensor([0])), keys[:1], steps=100)
    assert len(calls) <= 11


def test_the_surest_are_kept_first():
    """With one step fewer than ids, the first id kept is the one that the first guess was surest of."""
    head, context, keys = make_head(CODES), make_context(32), make_keys(0, 32)
    everything = torch.full((32, 6), head.hidden_id)
    guess = head.logits(everything, torch.ones(32, 6, dtype=torch.bool), context).log_softmax(-1).max(-1)
    drawn = head.sample(context, keys, temperature=0.0, steps=6).value
    surest = guess.values.argmax(1, keepdim=True)
    assert torch.equal(drawn.gather(1, surest), guess.indices.gather(1, surest))


def test_samples_of_a_label_follow_the_likelihood():
    head, rows = make_head(LABEL), 20_000
    context = make_context(1).pick(torch.zeros(rows, dtype=torch.long))
    drawn = head.sample(context, make_keys(0, rows)).value[:, 0]
    every = Field(torch.arange(5)[:, None], torch.ones(5, 1, dtype=torch.bool), torch.ones(5, dtype=torch.bool))
    expected = head.log_likelihood(context.pick(torch.arange(5)), every, make_keys(0, 5)).exp()
    assert expected.sum().item() == pytest.approx(1.0, abs=1e-5)
    error = (drawn.bincount(minlength=5) / rows - expected) / (expected * (1 - expected) / rows).sqrt()
    assert error.abs().max() < 5


def test_what_is_hidden_is_not_seen():
    """All ids but one are hidden where a row has one to hide, so that the loss cannot depend on what it is."""
    head, context = make_head(LABEL), make_context(1).pick(torch.zeros(5, dtype=torch.long))
    every = Field(torch.arange(5)[:, None], torch.ones(5, 1, dtype=torch.bool), torch.ones(5, dtype=torch.bool))
    losses = [head.loss(context, every, "model", make_keys(seed, 5))["nll"] for seed in (0, 1)]
    assert torch.equal(*losses)
    assert (-losses[0]).exp().sum().item() == pytest.approx(1.0, abs=1e-5)


def test_a_text_of_nothing_but_its_end_has_a_length_only():
    head, context = make_head(TEXT), make_context(2)
    losses = head.loss(context, make_text([END], [5, 6, END]), "model", make_keys(0, 2))
    assert losses["nll"][0] == 0
    assert losses["nll"][1] > 0
    assert (losses["length"] > 0).all()


def test_many_ids_are_hidden_more_often_with_the_cosine():
    counts = {}
    for ratios in ("cosine", "uniform"):
        head, seen = make_head(CODES, ratios=ratios, repeats=1), []
        head.logits = lambda ids, real, context, seen=seen: seen.append(ids) or torch.zeros(*ids.shape, 9)
        value = torch.zeros(4000, 6, dtype=torch.long)
        target = Field(value, value[:, :1] == 0, value[:, 0] == 0)
        head.loss(make_context(4000), target, "model", make_keys(0, 4000))
        counts[ratios] = (seen[0] == head.hidden_id).sum(1).bincount(minlength=7) / 4000
    torch.testing.assert_close(counts["uniform"], torch.tensor([0.0, *[1 / 6] * 6]), atol=0.03, rtol=0)
    edges = 2 / torch.pi * torch.arange(7).div(6).clamp(max=1).acos()  # n is ceil(6 cos(pi u / 2))
    expected = torch.cat([torch.zeros(1), edges[:-1] - edges[1:]])
    torch.testing.assert_close(counts["cosine"], expected, atol=0.03, rtol=0)


def test_guidance_of_zero_is_unconditional():
    head, keys = make_head(CODES), make_keys(0, 8)
    context, nothing = make_context(8), make_context(8, tokens=1)
    guided = head.sample(context, keys, unconditional=nothing, guidance=0.0)
    assert torch.equal(guided.value, head.sample(nothing, keys).value)


@pytest.mark.parametrize("ratios", ["cosine", "uniform"])
def test_learns_texts_by_heart(ratios):
    torch.manual_seed(0)
    head = Masked(TEXT, WIDTH, depth=1, heads=2, ratios=ratios, dropout=0.05, label_smoothing=0.05, repeats=4)
    context, target = make_context(3), make_text([5, 6, 5, 7, END], [9, END], [7, 7, 8, END])
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    for step in range(100):
        optimizer.zero_grad()
        losses = head.loss(context, target, "model", make_keys(step, 3))
        (losses["nll"] + 10 * losses["length"]).mean().backward()
        optimizer.step()
    for options in ({}, {"steps": 1}, {"order": "random"}):
        drawn = head.eval().sample(context, make_keys(0, 3), temperature=0.0, **options)
        assert torch.equal(drawn.value, target.value)
        assert torch.equal(drawn.mask, target.mask)


def test_what_was_sampled_can_be_trained_on():
    head, context, keys = make_head(TEXT), make_context(4), make_keys(0, 4)
    sum(head.loss(context, head.sample(context, keys), "model", keys).values()).mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


@pytest.mark.parametrize("space", [TEXT, CODES])
def test_no_rows(space):
    empty = torch.zeros(0, dtype=torch.long)
    assert len(make_head(space).sample(make_context(2).pick(empty), empty)) == 0


def test_ranks():
    assert ranks(torch.tensor([[0.3, 0.1, 0.2], [1.0, 2.0, 3.0]])).tolist() == [[2, 0, 1], [0, 1, 2]]


def test_accepts_sequences_of_ids_only():
    assert Masked.accepts(TEXT) is None
    assert Masked.accepts(Space("continuous", (4,))) == "a masked head models discrete spaces; this one is continuous"


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"heads": 3}, ("heads: 3", str(WIDTH))),
        ({"depth": 0}, ("depth", "not 0", "greater than 0")),
        ({"repeats": 0}, ("repeats", "not 0", "greater than 0")),
        ({"dropout": 1.0}, ("dropout", "not 1.0", "less than 1")),
        ({"order": "left"}, ("order", "'left'", "'confidence' or 'random'")),
    ],
)
def test_wrong_arguments(options, parts):
    with refused(*parts, by=ConfigError):
        Masked(TEXT, WIDTH, **{"depth": 1, "heads": 2} | options)


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"temperature": -1.0}, ("options.temperature", "not -1.0", "greater than or equal to 0")),
        ({"steps": 0}, ("options.steps", "not 0", "greater than 0")),
        ({"noise": -1.0}, ("options.noise", "not -1.0", "greater than or equal to 0")),
        ({"order": "left"}, ("options.order", "'left'", "'confidence' or 'random'")),
        ({"guidance": 2.0}, ("guidance: 2.0", "unconditional", "1")),
        ({"max_length": 3}, ("options", "'max_length'", "steps")),
    ],
)
def test_wrong_sampling_options(options, parts):
    with refused(*parts, by=ConfigError):
        make_head(TEXT).sample(make_context(2), make_keys(0, 2), **options)


class Coin(Masked):
    """Knows that each of 16 places is 1 in a fifth of all rows, whatever the others are."""

    def logits(self, ids, mask, context):
        return torch.tensor([0.8, 0.2]).log().expand(*ids.shape, 2)


def test_noise_on_the_confidence_keeps_rare_ids():
    """A rare id is unsure, and hidden again: without noise it is drawn anew until it is the common one."""
    head, keys = Coin(Space("discrete", (16,), vocab=2), WIDTH, depth=1, heads=2), make_keys(0, 2000)
    context = make_context(2000)
    share = {noise: float(head.sample(context, keys, noise=noise).value.double().mean()) for noise in (0.0, 1.0, 4.5)}
    usual = float(head.sample(context, keys).value.double().mean())
    exact = float(head.sample(context, keys, order="random").value.double().mean())
    assert exact == pytest.approx(0.2, abs=0.01)
    assert usual == share[4.5]
    assert share[0.0] < share[1.0] < 0.05
    assert 0.1 < usual < exact
